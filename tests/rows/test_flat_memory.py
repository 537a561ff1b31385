"""Memory does not grow with the rows: twenty times as many need no more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

#: Reads a small and then a large source of each kind, and tells by how many megabytes the peak rose.
_PROBE = """
import json, os, resource
import pyarrow, pyarrow.parquet
from airflow_provider_crm.rows.journal import Journal
from airflow_provider_crm.rows.sources import SqlSource, open_source, split_source

NAMES = "id,email,first,last,street,zip,city,at"
LINES = [
    f"{i},user{i}@example.com,First name,Last name,Some street 12,75001,Paris,2024-01-02 03:04:05"
    for i in range(10_000)
]
os.environ["AIRFLOW_CONN_DB"] = '{"conn_type": "sqlite", "host": ":memory:"}'
QUERY = '''WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
SELECT i, 'user' || i || '@example.com' AS email, 'First name' AS first, 'Some street 12' AS street FROM n'''


def csv(times):
    block = "\\n".join(LINES) + "\\n"
    with open("rows.csv", "w") as file:
        file.write(NAMES + "\\n")
        for _ in range(times):
            file.write(block)
    return "rows.csv"


def parquet(times):
    columns = map(pyarrow.array, zip(*(line.split(",") for line in LINES)))
    table = pyarrow.table(list(columns), names=NAMES.split(","))
    with pyarrow.parquet.ParquetWriter("rows.parquet", table.schema) as writer:
        for _ in range(times):
            writer.write_table(table)
    return "rows.parquet"


def sql(times):
    return SqlSource("db", QUERY, [times * 10_000])


def read(source):
    return sum(1 for _ in open_source(source))


def split(source):
    shards = split_source(source, 25_000, "shards")
    return sum(map(read, shards))


def journal(source):
    journal = Journal("journal.jsonl")
    journal.open()
    count = 0
    for row in open_source(source):
        journal.append(row.data)
        count += 1
    journal.close()
    return count


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


growth = {}
for make, use in ((csv, split), (sql, journal), (parquet, read)):
    assert use(make(1)) == 10_000
    large = make(20)
    before = peak()
    assert use(large) == 200_000
    growth[f"{use.__name__} {make.__name__}"] = peak() - before
print(json.dumps(growth))
"""


@pytest.mark.slow
def test_flat_memory(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROBE], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    growth = json.loads(done.stdout.splitlines()[-1])
    # As dicts, 200,000 such rows take some 200 MB.
    assert max(growth.values()) < 25, growth
