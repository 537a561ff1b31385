"""A destination of the Airbyte CDK makes the calls of the loop: ``python airbyte_writes.py CRM URL FILE IN_FLIGHT``.

The messages that a source would send are made of the CSV on the way, in the same process. The CDK has declarative
sources only.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import loop_writes
from airbyte_cdk.destinations import Destination
from airbyte_cdk.models import AirbyteConnectionStatus, AirbyteMessage, Status, Type
from measured import measure
from orjson import dumps

written = 0


class Crm(Destination):
    def check(self, logger: Any, config: Mapping[str, Any]) -> AirbyteConnectionStatus:
        return AirbyteConnectionStatus(status=Status.SUCCEEDED)

    def write(
        self, config: Mapping[str, Any], configured_catalog: Any, input_messages: Iterable[AirbyteMessage]
    ) -> Iterable[AirbyteMessage]:
        global written
        batch: list[dict[str, Any]] = []
        for message in input_messages:
            if message.type == Type.RECORD:
                batch.append(message.record.data)
                if len(batch) == loop_writes.BATCH:
                    written += loop_writes.write_all(batch)
                    batch = []
            yield message
        written += loop_writes.write_all(batch)


class Messages(io.TextIOBase):
    """What a source writes."""

    def __iter__(self) -> Iterator[Any]:
        with open(loop_writes.source, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                record = {"stream": "people", "data": row, "emitted_at": 0}
                yield dumps({"type": "RECORD", "record": record})


def main() -> int:
    destination = Crm()
    for _ in destination.write({}, None, destination._parse_input_stream(Messages())):
        pass
    return written


measure(main)
