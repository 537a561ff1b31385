"""dlt loads into a destination that makes the calls of the loop: ``python dlt_writes.py CRM URL FILE IN_FLIGHT``."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import dlt
import loop_writes
from measured import measure

#: Files of a batch each are loaded side by side.
os.environ |= {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "LOAD__WORKERS": str(loop_writes.concurrency),
    "NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS": str(loop_writes.BATCH),
}
COLUMNS = tuple(loop_writes.NAMES)


@dlt.resource(name="people", max_table_nesting=0)
def people() -> Iterator[list[dict[str, str]]]:
    yield from loop_writes.batches(loop_writes.BATCH)


@dlt.destination(
    batch_size=loop_writes.BATCH,
    loader_parallelism_strategy="parallel",
    name="crm",
    skip_dlt_columns_and_tables=True,
)
def crm(items: list[dict[str, Any]], table: Any) -> None:
    loop_writes.write_all([{name: item[name] for name in COLUMNS} for item in items])


def main() -> int:
    pipeline = dlt.pipeline("benchmark", destination=crm(), pipelines_dir=tempfile.mkdtemp())
    pipeline.run(people())
    return int(pipeline.last_trace.last_normalize_info.row_counts["people"])


measure(main)
