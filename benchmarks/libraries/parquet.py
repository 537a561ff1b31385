"""Write customers to Parquet, and read them as rows: ``parquet.py write FOLDER ROWS``, ``parquet.py WHAT FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from measured import measure

WHAT, PATH = sys.argv[1], Path(sys.argv[2], "customers.parquet")
if WHAT.startswith("polars"):
    import polars
else:
    import pyarrow as pa
    import pyarrow.parquet as pq


def write(rows: int) -> None:
    numbers = range(rows)
    table = pa.table(
        {
            "email": [f"person-{number:08d}@example.fr" for number in numbers],
            "last_name": [f"Lefèvre {number}" for number in numbers],
            "first_name": ["Jeanne"] * rows,
            "city": ["Saint-Étienne"] * rows,
            "points": [number % 500 for number in numbers],
        }
    )
    pq.write_table(table, PATH, row_group_size=50_000)


def job() -> int:
    rows = 0
    if WHAT.startswith("polars"):
        for _ in polars.read_parquet(PATH).iter_rows(named=True):
            rows += 1
    else:
        for batch in pq.ParquetFile(PATH).iter_batches(5_000):
            for _ in batch.to_pylist():
                rows += 1
    return rows


if WHAT == "write":
    write(int(sys.argv[3]))
else:
    measure(job)
