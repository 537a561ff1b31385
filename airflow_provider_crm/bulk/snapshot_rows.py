"""Rows as a snapshot compares them: whom each is about, and what is known of it. Knows no CRM and no store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress
from typing import Any, NamedTuple, Protocol

from airflow_provider_crm.bulk.outcomes import Destination, R
from airflow_provider_crm.rows.row import AnyRow, Row, by_column
from airflow_provider_crm.values import are_plain_emails


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


def keys_of(rows: Sequence[AnyRow], destination: KeyedDestination[Any]) -> Sequence[str | None]:
    """Return the keys of rows, None where one cannot be read."""
    if destination.is_keyed_by_email:
        columns = by_column(rows)
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
    """Rows by column: with their keys, people, digests of their cells, and what is known of the people."""

    rows: Sequence[AnyRow]
    keys: Sequence[str | None]
    people: Sequence[int]
    cells: Sequence[bytes]
    entries: Sequence[bytes]

    def chosen(self, which: Sequence[bool]) -> LookedUp:
        columns: Iterable[Any] = self
        return LookedUp(*(list(compress(column, which)) for column in columns))

    def parts(self) -> Iterator[LookedUp]:
        """Cut them so that no part holds two rows of one person."""
        if len({*self.people}) == len(self.people):
            yield self
            return
        columns: Iterable[Any] = self
        start = 0
        seen: set[int] = set()
        for at, (person, key) in enumerate(zip(self.people, self.keys, strict=True)):
            if person in seen and key is not None:
                yield LookedUp(*(column[start:at] for column in columns))
                start, seen = at, set()
            seen.add(person)
        yield LookedUp(*(column[start:] for column in columns))
