"""The comparison that RudderStack makes in a warehouse: the rows that are not in a copy of those sent last.

``python sql_diff.py FILE STATE``: both tables in SQLite, values in clear, without the calls that would follow. Rows
that differ are read, and the copy is replaced.
"""

from __future__ import annotations

import csv
import sqlite3
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from measured import measure

COLUMNS = "email, last_name, first_name, city, zip"


def main() -> int:
    source, state = sys.argv[1:3]
    db = sqlite3.connect(state, isolation_level=None)
    db.execute(f"CREATE TABLE IF NOT EXISTS sent ({COLUMNS})")
    db.execute(f"CREATE TABLE now ({COLUMNS})")
    db.execute("BEGIN")
    with open(source, newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        next(rows)
        db.executemany("INSERT INTO now VALUES (?, ?, ?, ?, ?)", rows)
    for _ in db.execute(f"SELECT {COLUMNS} FROM now EXCEPT SELECT {COLUMNS} FROM sent"):
        pass
    (number,) = db.execute("SELECT count(*) FROM now").fetchone()
    db.execute("DROP TABLE sent")
    db.execute("ALTER TABLE now RENAME TO sent")
    db.execute("COMMIT")
    return int(number)


measure(main)
