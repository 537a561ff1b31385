"""Who has opted out in the rows read so far, so that no later row of the same source opts them in again.

Knows no CRM: what an opt-out is, a destination says. Keeps no person's data in clear, and none in memory: keyed
fingerprints in a temporary file.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from typing import Any, Generic

import msgspec

from airflow_provider_crm.bulk.outcomes import OptOuts, R
from airflow_provider_crm.rows.files import not_written

#: A byte each tells whether the file is worth asking: most people have opted out of nothing.
_MARKS = 1 << 20


class OptOutMemory(Generic[R]):
    """Remembers opt-outs; for one thread.

    :param opt_outs: says what a row opts out of.
    """

    def __init__(self, opt_outs: OptOuts[R]) -> None:
        self._opt_outs = opt_outs
        self._marks = bytearray(_MARKS)
        self._salt = secrets.token_bytes(16)
        # Without a name it is a temporary file, which goes with the connection.
        self._store = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        for statement in (
            "PRAGMA journal_mode=OFF",
            "PRAGMA synchronous=OFF",
            "CREATE TABLE opted_out (person BLOB PRIMARY KEY, said BLOB) WITHOUT ROWID",
            "BEGIN",  # one transaction for all: what is thrown away in the end needs none for each
        ):
            self._store.execute(statement)

    def close(self) -> None:
        """Forget everything."""
        self._store.close()

    def apply(self, person: str, record: R) -> None:
        """Write into a row what earlier rows of the person have opted out of; remember what this one does."""
        earlier = self._recall(person) if self._marks[hash(person) % _MARKS] else None
        if earlier:
            self._opt_outs.keep(record, earlier)
        said = self._opt_outs.find(record)
        if said and said != earlier:
            self._marks[hash(person) % _MARKS] = 1
            row = self._fingerprint(person), msgspec.json.encode(said)
            try:
                self._store.execute("INSERT OR REPLACE INTO opted_out VALUES (?, ?)", row)
            except sqlite3.OperationalError as error:
                folder = "SQLite's temporary folder (SQLITE_TMPDIR, TMPDIR or /var/tmp)"
                raise not_written("The list of the source's opt-outs", error, folder) from error

    def remembers(self, person: str) -> bool:
        """Return whether an earlier row of the person has opted out of something."""
        return bool(self._recall(person))

    def _recall(self, person: str) -> Any:
        wanted = (self._fingerprint(person),)
        found = self._store.execute("SELECT said FROM opted_out WHERE person = ?", wanted).fetchone()
        return None if found is None else msgspec.json.decode(found[0])

    def _fingerprint(self, person: str) -> bytes:
        return hashlib.blake2b(person.encode(), digest_size=16, key=self._salt).digest()
