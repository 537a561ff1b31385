"""A person whose every value is marked, and a search for them in all that runs leave behind."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

#: Part of every text that is somebody's; a phone number and an address of the net have marks of their own.
MARK = "qvzx"
EMAIL, NAME, KEY = f"{MARK}.Marie@{MARK}-sorbonne.example", f"{MARK}Curie", f"{MARK}-key-1"
PHONE, IP = "+33 6 98 76 54 32", "203.0.113.77"
SECRET = f"{MARK}-secret-0123456789"
MARKS = re.compile(f"{MARK}|98[ .-]?76[ .-]?54[ .-]?32|203\\.0\\.113\\.77", re.IGNORECASE)
#: What a CRM says that quotes whom it was asked about.
QUOTE = json.dumps({"message": f"{EMAIL} ({NAME}, {PHONE}) is wrong", "errors": [{"message": EMAIL}]})


class Left:
    """Everything that runs have left behind, by where it is."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []

    def add(self, where: str, what: object) -> None:
        self.texts.append((where, what if isinstance(what, str) else json.dumps(what, default=repr)))

    def add_database(self, path: Path) -> None:
        """Add every cell of a SQLite database."""
        with closing(sqlite3.connect(path)) as database:
            database.text_factory = bytes
            tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in tables:
                name = table.decode()
                for row in database.execute(f'SELECT * FROM "{name}"'):
                    cells = [
                        cell.decode(errors="replace") if isinstance(cell, bytes) else cell for cell in row
                    ]
                    self.add(f"{path.name}: {name}", json.dumps(cells, default=str, ensure_ascii=False))

    def check(self) -> None:
        """Nobody is named in any of it."""
        for where, text in self.texts:
            found = MARKS.search(text)
            said = found and text[max(0, found.start() - 200) : found.end() + 200]
            assert not found, f"{where} says: {said}"
