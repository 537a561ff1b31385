"""What a row of a source is, and what its columns may be called.

Knows neither where rows come from nor what the columns mean.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import compress, count, repeat
from typing import Any, cast

import msgspec

from airflow_provider_crm.exceptions import CrmInputError, redact
from airflow_provider_crm.rows.shared_cells import SharedCells

log = logging.getLogger(__name__)

#: How many characters of an unreadable row's text are kept.
MAX_UNPARSED = 10_000


# There are millions of them: a struct is made in a ninth of the time a frozen dataclass takes.
class Row(msgspec.Struct, frozen=True, gc=False):
    """A row as the source has it.

    :param number: its number in the source, from 1, running on over several files.
    :param cells: its columns: a dict, or the values alone where all rows have the same columns.
    :param columns: their names, one object for all rows of a file; None where ``cells`` is a dict.
    """

    number: int
    cells: Any
    columns: Sequence[str] | None = None

    @property
    def data(self) -> dict[str, Any]:
        """Return its columns as a dict: a new one where the row has its values alone."""
        if self.columns is None:
            data: dict[str, Any] = self.cells
            return data
        return dict(zip(self.columns, self.cells, strict=False))


class UnreadableRow(msgspec.Struct, frozen=True, gc=False):
    """A row of the source that cannot be read.

    :param number: its number in the source, from 1.
    :param reason: why, and in which line of which file; may quote the row.
    :param data: what is there: ``{"cells": [...]}`` or ``{"unparsed": "the raw text"}``.
    """

    number: int
    reason: str
    data: dict[str, Any]


AnyRow = Row | UnreadableRow


class Block(msgspec.Struct, frozen=True):
    """Rows one after the other that have the same columns, as the values of each column.

    :param first: the number of the first row.
    :param names: the names of the columns, one object for all rows of a file.
    :param columns: the values of each column, as many as there are rows.
    :param shared: keeps once what comes again, where rows are made of it.
    """

    first: int
    names: Sequence[str]
    columns: Sequence[Sequence[Any]]
    shared: SharedCells

    def __len__(self) -> int:
        return len(self.columns[0])

    def __iter__(self) -> Iterator[Row]:
        columns = self.shared.columns(self.columns)
        return map(Row, count(self.first), zip(*columns, strict=True), repeat(self.names))

    @property
    def numbers(self) -> range:
        """Return the numbers of its rows."""
        return range(self.first, self.first + len(self))

    @property
    def by_name(self) -> Mapping[str, Sequence[Any]]:
        """Return the values of each column by its name."""
        return dict(zip(self.names, self.columns, strict=False))

    def part(self, start: int, stop: int) -> Block:
        """Return the rows from one place to before another."""
        columns = [cells[start:stop] for cells in self.columns]
        return Block(self.first + start, self.names, columns, self.shared)

    def chosen(self, which: Sequence[bool]) -> list[Row]:
        """Return the rows at some places."""
        cells = zip(*(compress(column, which) for column in self.columns), strict=True)
        return list(map(Row, compress(self.numbers, which), cells, repeat(self.names)))


Part = AnyRow | Block
"""A row of a source, or several."""

RowSlice = Block | Sequence[AnyRow]
"""Some rows of a source."""


def each_row(parts: Iterable[Part]) -> Iterator[AnyRow]:
    """Yield rows one by one."""
    for part in parts:
        if isinstance(part, Block):
            yield from part
        else:
            yield part


def slices_of(source: Iterable[AnyRow], size: int) -> Iterator[RowSlice]:
    """Yield a source's rows in slices: by column where they are read so, others in lists of so many."""
    rows: list[AnyRow] = []
    for part in getattr(source, "parts", source.__iter__)():
        if isinstance(part, Block):
            if rows:
                yield rows
                rows = []
            yield part
        else:
            rows.append(part)
            if len(rows) == size:
                yield rows
                rows = []
    if rows:
        yield rows


def cut(rows: RowSlice, first: int, size: int) -> Iterator[RowSlice]:
    """Cut rows into slices of at most a size, of which the first one may be smaller.

    :param first: the size of the first slice.
    """
    start = 0
    while start < len(rows):
        end = start + (first if start == 0 else size)
        yield rows.part(start, end) if isinstance(rows, Block) else rows[start:end]
        start = end


def numbers_of(rows: RowSlice) -> Sequence[int]:
    """Return the numbers of rows."""
    return rows.numbers if isinstance(rows, Block) else [row.number for row in rows]


def same_columns(rows: Sequence[AnyRow]) -> Sequence[str] | None:
    """Return the columns that all rows have, and no dicts; None where that is not sure."""
    if {*map(type, rows)} != {Row}:
        return None
    columns = [row.columns for row in cast(Sequence[Row], rows)]
    return columns[0] if columns.count(columns[0]) == len(columns) else None


def by_column(rows: Sequence[AnyRow]) -> Mapping[str, Sequence[Any]] | None:
    """Return the values of rows that have the same columns; None where that is not sure."""
    columns = same_columns(rows)
    if columns is None:
        return None
    cells = [row.cells for row in cast(Sequence[Row], rows)]
    return dict(zip(columns, zip(*cells, strict=False), strict=False))


def check_column_names(names: Sequence[str], where: str) -> list[str]:
    """Raise an error for columns of one name, of which a row would keep only one.

    :param names: the names of the columns, in order.
    :param where: whose columns these are, for the message.
    :raises CrmInputError: a name is empty, or there twice.
    """
    if any(not name.strip() for name in names):
        raise CrmInputError(f"{where} has a column without a name. Give every column a name.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CrmInputError(
            f"{where} has several columns named {list_names(twice)}. Rename or leave out all but one."
        )
    return list(names)


def require_columns(wanted: Collection[str], present: Collection[str], where: str) -> None:
    """Refuse a source that lacks columns.

    :param where: whose columns are present, for the message.
    :raises CrmInputError: names the missing columns, and those that there are.
    """
    missing = [name for name in wanted if name not in present]
    if missing:
        raise CrmInputError(
            f"Missing columns in {where}: {list_names(missing)}. Columns there: {list_names(list(present))}. "
            f"Correct the source, or the names that the task expects."
        )


def warn_of_absent(optional: Collection[str], present: Collection[str], where: str) -> None:
    """Log which of the columns that may be absent are: it may be a slip of the pen."""
    absent = [name for name in optional if name not in present]
    if absent:
        log.warning(
            "No row looked at in %s has the columns %s: nothing is sent of them", where, list_names(absent)
        )


def list_names(names: Sequence[str]) -> str:
    """Write column names for a message; where a file lacks its header they are people's data, so they are redacted."""
    shown = ", ".join(map(show_name, names[:50]))
    return f"{shown} and {len(names) - 50} more" if len(names) > 50 else shown


def show_name(name: object) -> str:
    """Write one column's name for a message, redacted."""
    name = str(name)
    shown = redact(name, limit=60)
    return shown if name == name.strip() else f"{shown} (with spaces around it)"
