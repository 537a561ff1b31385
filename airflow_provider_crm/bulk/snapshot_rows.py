"""Rows as a snapshot compares them: whom each is about, and what is known of it. Knows no CRM and no store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, compress
from typing import Any, NamedTuple, Protocol

from airflow_provider_crm.bulk.outcomes import Destination, R
from airflow_provider_crm.bulk.snapshot_digests import Digests
from airflow_provider_crm.rows.row import AnyRow, Block, Row, RowSlice, by_column, cut, numbers_of, slices_of
from airflow_provider_crm.values import are_plain_emails

#: Rows that are digested in one go, where the source gives them one by one.
SLICE = 200


class KeyedDestination(Destination[R], Protocol):
    """A destination whose rows can be told apart before they are read."""

    key_column: str
    """The column that holds the match key."""

    is_keyed_by_email: bool
    """Whether that is an e-mail address, in the spelling of :func:`.normal_email`."""

    def key(self, data: Mapping[str, Any]) -> str:
        """Return the text of the key that :meth:`read` gives, which is all that the row holds in flight.

        :raises ValueError: it cannot be read.
        """


def keys_of(rows: RowSlice, destination: KeyedDestination[Any]) -> Sequence[str | None]:
    """Return the keys of rows, None where one cannot be read."""
    if destination.is_keyed_by_email:
        columns = rows.by_name if isinstance(rows, Block) else by_column(rows)
        cells = columns.get(destination.key_column) if columns else None
        if cells and are_plain_emails(cells):
            return cells
    return [_key_of(row, destination) for row in rows]


def _key_of(row: AnyRow, destination: KeyedDestination[Any]) -> str | None:
    try:
        return destination.key(row.data) if isinstance(row, Row) else None
    except ValueError:
        return None  # reading it will say so


class LookedUp(NamedTuple):
    """Rows, in the slices in which they were read, with their keys, people, digests of their cells, and entries."""

    slices: Sequence[RowSlice]
    keys: Sequence[str | None]
    people: Sequence[int]
    cells: Sequence[bytes]
    entries: Sequence[bytes] = ()

    @property
    def rows(self) -> Iterator[AnyRow]:
        """Return the rows one by one."""
        return chain.from_iterable(self.slices)

    @property
    def numbers(self) -> Sequence[int]:
        """Return the numbers of the rows."""
        return list(chain.from_iterable(map(numbers_of, self.slices)))

    def chosen(self, which: Sequence[bool]) -> LookedUp:
        """Return the rows at some places."""
        rows: list[AnyRow] = []
        start = 0
        for some in self.slices:
            end = start + len(some)
            part = which[start:end]
            rows += some.chosen(part) if isinstance(some, Block) else compress(some, part)
            start = end
        columns: Iterable[Any] = self[1:]
        return LookedUp([rows], *(list(compress(column, which)) for column in columns))

    def parts(self) -> Iterator[LookedUp]:
        """Cut them so that no part holds two rows of one person."""
        if len({*self.people}) == len(self.people):
            yield self
            return
        rows = list(self.rows)
        columns: list[Any] = [*self[1:]]
        start = 0
        seen: set[int] = set()
        for at, (person, key) in enumerate(zip(self.people, self.keys, strict=True)):
            if person in seen and key is not None:
                yield LookedUp([rows[start:at]], *(column[start:at] for column in columns))
                start, seen = at, set()
            seen.add(person)
        yield LookedUp([rows[start:]], *(column[start:] for column in columns))


def digested(
    rows: Iterable[AnyRow], destination: KeyedDestination[Any], digests: Digests, together: int
) -> Iterator[LookedUp]:
    """Yield so many rows at once, with their digests."""
    slices: list[RowSlice] = []
    keys: list[str | None] = []
    people: list[int] = []
    cells: list[bytes] = []
    for read in slices_of(rows, min(SLICE, together)):
        for some in cut(read, together - len(keys), together):
            its_keys = keys_of(some, destination)
            slices.append(some)
            keys += its_keys
            people += digests.people([key or "" for key in its_keys])
            cells += digests.cells(some)
            if len(keys) == together:
                yield LookedUp(slices, keys, people, cells)
                slices, keys, people, cells = [], [], [], []
    if slices:
        yield LookedUp(slices, keys, people, cells)
