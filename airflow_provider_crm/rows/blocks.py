"""What a file of records is made of: columns, and blocks of encoded records.

Knows no CRM and no format: a column has a name and a kind, a record has an attribute of each.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from operator import attrgetter
from typing import Any, BinaryIO, Protocol, Self

import msgspec

#: The column of CSV and Parquet that takes the fields which are not documented, as JSON.
EXTRA = "extra"

# A foreign number is a Decimal, so that it is written as it came.
encoder = msgspec.json.Encoder(decimal_format="number")


class Column(Protocol):
    """What a writer has to know of a column; for the kinds see the readers of records."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def attribute(self) -> str:
        """The name of a record's attribute."""


class Block(Protocol):
    """Some encoded records."""

    @property
    def rows(self) -> int: ...

    def without(self, positions: Collection[int]) -> Self:
        """Return the block without the records at these places, counted from 0."""

    def from_record(self, first: int) -> Self:
        """Return the block from this record on."""

    def followed_by(self, others: Sequence[Self]) -> Self:
        """Return one block with the records of all."""


class Format(Protocol):
    """A file format."""

    def encode(self, records: Sequence[Any], unknown: Sequence[str]) -> Block:
        """Encode records; called by several threads.

        :param unknown: the fields that no column is for; a record holds them as ``unknown_0`` and so on.
        """

    def open(self, file: BinaryIO) -> Writer:
        """Begin a file."""


class Writer(Protocol):
    """A file that is being written."""

    def write(self, block: Any) -> None:
        """Add records."""

    def finish(self) -> None:
        """Complete the file, without closing it; an empty one gets its header or schema."""

    def abandon(self) -> None:
        """Close the file without finishing it; do nothing after :meth:`finish`."""


def values(column: Column, records: Sequence[Any]) -> list[Any]:
    return list(map(attrgetter(column.attribute), records))


def json_text(value: Any) -> str:
    return encoder.encode(value).decode()


def extras(records: Sequence[Any], unknown: Sequence[str]) -> list[str | None]:
    """Gather the fields that no column is for."""
    if not unknown:
        return [None] * len(records)
    extras: list[str | None] = []
    for record in records:
        found = {name: getattr(record, f"unknown_{number}") for number, name in enumerate(unknown)}
        found = {name: value for name, value in found.items() if value is not msgspec.UNSET}
        extras.append(json_text(found) if found else None)
    return extras
