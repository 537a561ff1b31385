"""Tables and files that go with whoever made them: for what has to be kept and is too much for memory."""

from __future__ import annotations

import sqlite3
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from airflow_provider_crm.rows.files import not_written

#: Bytes of a file that stay in memory.
IN_MEMORY = 8 * 2**20


def scratch_table(definition: str, owner: object = None) -> sqlite3.Connection:
    """Create a temporary database of one table, in one transaction: what is thrown away in the end needs no other.

    :param definition: what follows ``CREATE TABLE``.
    :param owner: with whom it is closed; None: its user closes it.
    """
    # Without a name it is a temporary file, which goes with the connection.
    store = sqlite3.connect("", check_same_thread=False, isolation_level=None)
    if owner is not None:
        weakref.finalize(owner, store.close)
    for statement in (
        "PRAGMA journal_mode=OFF",
        "PRAGMA synchronous=OFF",
        f"CREATE TABLE {definition}",
        "BEGIN",
    ):
        store.execute(statement)
    return store


def scratch_file(owner: object) -> IO[bytes]:
    """Return a temporary file without a name; a small one stays in memory.

    :param owner: with whom it is closed.
    """
    file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115
    weakref.finalize(owner, file.close)
    return file


@contextmanager
def scratching(what: str) -> Iterator[None]:
    """Use such a database.

    :param what: what is kept in it, for an error.
    :raises CrmFileError: the disk is full.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        folder = "SQLite's temporary folder (SQLITE_TMPDIR, TMPDIR or /var/tmp)"
        raise not_written(what, error, folder) from error
