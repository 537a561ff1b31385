"""Tables that go with the process: for what has to be looked up or sorted and is too much for memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_crm.rows.files import not_written


def scratch_table(definition: str) -> sqlite3.Connection:
    """Make a temporary database of one table, in one transaction: what is thrown away in the end needs no other.

    :param definition: what follows ``CREATE TABLE``.
    """
    # Without a name it is a temporary file, which goes with the connection.
    store = sqlite3.connect("", check_same_thread=False, isolation_level=None)
    for statement in (
        "PRAGMA journal_mode=OFF",
        "PRAGMA synchronous=OFF",
        f"CREATE TABLE {definition}",
        "BEGIN",
    ):
        store.execute(statement)
    return store


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
