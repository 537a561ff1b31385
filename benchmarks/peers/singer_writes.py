"""A target of the Singer SDK that makes the calls of the loop: ``python singer_writes.py CRM URL FILE IN_FLIGHT``.

The messages that a tap would send are made of the CSV on the way, in the same process.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import loop_writes
from measured import measure
from singer_sdk import BatchSink, Target
from singer_sdk import typing as th

written = 0


class People(BatchSink):
    max_size = loop_writes.BATCH

    def process_batch(self, context: dict[str, Any]) -> None:
        global written
        rows = [{name: row[name] for name in loop_writes.NAMES} for row in context["records"]]
        written += loop_writes.write_all(rows)


class TargetCrm(Target):
    name = "target-crm"
    config_jsonschema = th.PropertiesList().to_dict()
    default_sink_class = People


class Messages(io.TextIOBase):
    """What a tap writes."""

    def __iter__(self) -> Iterator[str]:
        properties = {name: {"type": "string"} for name in loop_writes.NAMES}
        schema = {"type": "object", "properties": properties}
        yield json.dumps(
            {"type": "SCHEMA", "stream": "people", "schema": schema, "key_properties": ["email"]}
        )
        with open(loop_writes.source, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                yield json.dumps({"type": "RECORD", "stream": "people", "record": row})


def main() -> int:
    TargetCrm(config={}).listen(Messages())
    return written


measure(main)
