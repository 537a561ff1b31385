"""dlt finds what has changed, and sends that: ``python dlt_changes.py CRM URL FILE IN_FLIGHT FOLDER``.

It merges the rows into a table that keeps each row's versions (strategy "scd2", by a digest of the row), which it does
for databases alone; what is new there is given to a destination that makes the calls of the loop.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import dlt
import loop_writes
from measured import measure

os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "LOAD__WORKERS": str(loop_writes.concurrency)}
FOLDER = Path(sys.argv[5])
COLUMNS = tuple(loop_writes.NAMES)
NEW = "_dlt_valid_from = (SELECT max(_dlt_valid_from) FROM people) AND _dlt_valid_to IS NULL"


@dlt.resource(
    name="people",
    primary_key="email",
    max_table_nesting=0,
    write_disposition={"disposition": "merge", "strategy": "scd2"},
)
def people() -> Iterator[list[dict[str, str]]]:
    yield from loop_writes.batches(loop_writes.BATCH)


def main() -> int:
    kept = dlt.destinations.duckdb(str(FOLDER / "kept.duckdb"))
    pipeline = dlt.pipeline("kept", destination=kept, dataset_name="sent", pipelines_dir=str(FOLDER))
    pipeline.run(people())
    read = int(pipeline.last_trace.last_normalize_info.row_counts["people"])
    with (
        pipeline.sql_client() as client,
        client.execute_query(f"SELECT {', '.join(COLUMNS)} FROM people WHERE {NEW}") as changed,
    ):
        for some in iter(lambda: changed.fetchmany(loop_writes.BATCH), []):
            loop_writes.write_all([dict(zip(COLUMNS, row, strict=True)) for row in some])
    return read


measure(main)
