"""How rows become the files of mapped tasks, those of one person in one of them. Knows no CRM."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from operator import itemgetter
from typing import Any

from airflow_provider_crm.rows.files import Location
from airflow_provider_crm.rows.formats import is_reject
from airflow_provider_crm.rows.jsonlines import encode_line
from airflow_provider_crm.rows.row import Row, UnreadableRow
from airflow_provider_crm.rows.scratch import scratch_table, scratching
from airflow_provider_crm.rows.targets import Target
from airflow_provider_crm.values import normal_email, phone_of

_NOT_TOLD_APART = re.compile(r"\W")
_WHAT = "The rows, sorted by person,"
_CHUNK = 1000


class Shards:
    """Writes files of at most so many rows, each whole or absent.

    :param folder: where they go.
    :param prefix: what their names begin with.
    """

    def __init__(self, folder: Location, prefix: str, most: int) -> None:
        self._folder = folder
        self._prefix = prefix
        self._most = most
        self._pattern = re.compile(re.escape(prefix) + r"-\d{6,}\.jsonl")

    def is_one(self, location: Location) -> bool:
        """Return whether a file is a shard of this folder, or was."""
        name = location.name
        return bool(self._pattern.fullmatch(name)) and self._folder.child(name).same_as(location)

    def write(self, groups: Iterable[Sequence[bytes]]) -> list[Location]:
        """Write lines; at least one file, and no file that was there is left.

        :param groups: lines that stay together, however many.
        """
        self._folder.create_folder()
        shards: list[Location] = []
        groups = itertools.chain(groups)
        first: Sequence[bytes] | None = next(groups, ())
        while first is not None:
            shard = self._folder.child(f"{self._prefix}-{len(shards):06d}.jsonl")
            first = self._fill(shard, first, groups)
            shards.append(shard)
        kept = {shard.name for shard in shards}
        for stale in self._folder.files():
            if self._pattern.fullmatch(stale.name) and stale.name not in kept:
                stale.remove()
        return shards

    def _fill(
        self, shard: Location, group: Sequence[bytes], groups: Iterator[Sequence[bytes]]
    ) -> Sequence[bytes] | None:
        """Write one file.

        :return: the group that has no room in it; None where there is none.
        """
        target = Target(shard)
        try:
            file, rows = target.open(), 0
            lines: list[bytes] = []
            left: Sequence[bytes] | None = group
            while left is not None and (rows == 0 or rows + len(left) <= self._most):
                rows += len(left)
                lines += left
                left = next(groups, None)
                if len(lines) >= _CHUNK or left is None or rows + len(left) > self._most:
                    with target.writing():
                        file.write(b"".join(lines))
                    lines.clear()
            target.commit()
            return left
        finally:
            target.abandon()


def one_by_one(rows: Iterable[Row | UnreadableRow]) -> Iterator[Sequence[bytes]]:
    """Yield each row's line alone, in order."""
    for row in rows:
        yield (_line(row),)


def by_person(rows: Iterable[Row | UnreadableRow], key: str) -> Iterator[Sequence[bytes]]:
    """Yield the lines of each person together, and among them in order.

    :param key: the column that says whom a row is about.
    """
    lines = ((_person(row, key), _line(row)) for row in rows)
    with closing(scratch_table("line (person INTEGER, text BLOB)")) as store:
        while chunk := list(itertools.islice(lines, _CHUNK)):
            with scratching(_WHAT):
                store.executemany("INSERT INTO line VALUES (?, ?)", chunk)
        with scratching(_WHAT):
            found = store.execute("SELECT person, text FROM line ORDER BY person, rowid")
            for _, group in itertools.groupby(found, itemgetter(0)):
                yield [text for _, text in group]


def _person(row: Row | UnreadableRow, key: str) -> int:
    """Return a number that is the same for two rows of one person, in whatever way they write the key.

    It may be the same for some others, which does no harm.
    """
    text = (
        "" if isinstance(row, UnreadableRow) else _NOT_TOLD_APART.sub("", _key(row.data.get(key)).casefold())
    )
    digest = hashlib.blake2b((text or f"row {row.number}").encode(errors="surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), signed=True)


def _key(value: Any) -> str:
    for normal in (normal_email, phone_of):
        try:
            return normal(value)
        except ValueError:
            continue
    return ""  # it is rejected wherever it is


def _line(row: Row | UnreadableRow) -> bytes:
    if isinstance(row, UnreadableRow):
        return encode_line(
            {"row": row.number, "key": None, "stage": "read", "reason": row.reason, "data": row.data}
        )
    if is_reject(row.data):  # such a line would be unwrapped when it is read, so wrap it once more
        return encode_line(
            {"row": row.number, "key": None, "stage": "validate", "reason": "", "data": row.data}
        )
    return encode_line(row.data)
