"""From rows to batches: who each row is about, and which of several rows of one person counts. Knows no CRM."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, repeat, takewhile
from typing import Any, Generic, NamedTuple

import msgspec

from airflow_provider_crm.bulk.opt_outs import NOT_CARRIED_OUT, OptOutMemory, opt_out_alone, with_reason
from airflow_provider_crm.bulk.outcomes import (
    Destination,
    Ending,
    InvalidRowError,
    Item,
    Outcome,
    R,
    RowKey,
    rejected,
)
from airflow_provider_crm.rows.row import AnyRow, Row, UnreadableRow

#: Rows that are held back to see whether a later one is about the same person. A source with fewer rows has each
#: person sent once; in a longer one, rows of one person that lie farther apart are sent one after the other.
WINDOW = 10_000

#: Rows that are read at once; and in what parts where one of them cannot be read as most are.
TOGETHER, PART = 200, 20

Waiting = OrderedDict[object, Item[R]]
"""Rows that are held back, by what they are about."""


class Ended(msgspec.Struct, frozen=True, gc=False):
    """A row whose end is known.

    :ivar data: the row, where there is something to be said of it.
    :ivar at: when, in seconds since 1970; None where no call was made for it.
    :ivar mark: what a snapshot knows of the row.
    """

    number: int
    key: str | None
    data: Mapping[str, Any]
    outcome: Outcome
    at: float | None = None
    mark: Any = None


class Alike(NamedTuple):
    """Rows that have ended alike without a call, of which nothing else is to be said."""

    numbers: Sequence[int]
    keys: Sequence[str | None]
    outcome: Outcome

    def each(self) -> Iterator[Ended]:
        """Yield them one by one."""
        return map(Ended, self.numbers, self.keys, repeat({}), repeat(self.outcome))


@dataclass(slots=True)
class Batch(Generic[R]):
    """Some consecutive work.

    :param items: the rows to send.
    :param ended: rows before or between them that ended without a call.
    :param alike: further ones, many at once.
    """

    number: int
    items: list[Item[R]] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    alike: list[Alike] = field(default_factory=list)

    @property
    def locks(self) -> list[str]:
        """Return what the rows to send hold while they are in flight."""
        return [lock for item in self.items for lock in item.locks or (item.key,)]

    @property
    def rows_ended(self) -> int:
        """Return how many rows have ended without a call."""
        return len(self.ended) + sum(len(some.numbers) for some in self.alike)

    def numbers(self) -> Iterator[Sequence[int]]:
        """Yield the numbers of its rows."""
        yield [item.row.number for item in self.items] + [row.number for row in self.ended]
        yield from (some.numbers for some in self.alike)


Read = tuple[Sequence[str], Sequence[R]]
"""Of several rows the texts of their keys, and what they are in a destination's terms."""

InRow = AnyRow | list[Ended] | Alike
"""A row, or several whose end is known."""

Slice = tuple[Sequence[InRow], dict[str, Item[R]] | None]
"""Some rows, with their items by what they are about; None where they are to be read one by one."""


class RowReader(Generic[R]):
    """Reads each row once, with what earlier rows of the person have opted out of."""

    def __init__(self, destination: Destination[R]) -> None:
        self._read = destination.read
        self._read_many: Callable[..., Any] | None = getattr(destination, "read_many", None)
        #: Rows that are read already, by their number.
        self._ready: dict[int, tuple[RowKey, R]] = {}
        self._rule = destination.opt_outs
        self._opt_outs = OptOutMemory(self._rule) if self._rule else None

    def opted_out(self) -> Callable[[str], bool] | None:
        """Return what tells whether a row read so far has opted a person out of something; None where none has."""
        return self._opt_outs.remembers if self._opt_outs and self._opt_outs.any else None

    def opt_out_of(self, row: Row, key: str, said: Any, ends: Outcome) -> Item[R]:
        """Return what is left to do of a row that is rejected and opts its person out of something."""
        assert self._rule is not None
        assert self._opt_outs is not None
        item = opt_out_alone(self._rule, row, key, said, ends)
        self._opt_outs.apply(key, item.record)
        return item

    def keep(self, item: Item[R], said: Any) -> None:
        """Write into another row of a person what they have opted out of."""
        assert self._rule is not None
        assert self._opt_outs is not None
        self._rule.keep(item.record, said)
        self._opt_outs.apply(item.key, item.record)

    def slices(self, rows: Iterable[AnyRow]) -> Iterator[Slice[R]]:
        """Yield rows in slices."""
        iterator = iter(rows)
        while some := list(islice(iterator, TOGETHER)):
            if self._read_many is None or {*map(type, some)} != {Row}:
                yield some, None
                continue
            for part, read in self._read_slice(some):
                yield part, self._items(part, read) if read else None

    def _read_slice(self, rows: Sequence[Any]) -> Iterator[tuple[Sequence[Any], Read[R] | None]]:
        """Yield rows with what is read of them: all together, else in parts, since mostly one row alone is at fault."""
        assert self._read_many is not None
        read = self._read_many(rows)
        if read or len(rows) <= PART:
            yield rows, read
            return
        for start in range(0, len(rows), PART):
            part = rows[start : start + PART]
            yield part, self._read_many(part)

    def _items(self, rows: Sequence[Row], read: Read[R]) -> dict[str, Item[R]] | None:
        if len({*read[0]}) < len(rows):  # which of a person's rows counts is seen one by one
            self._keep_ready(rows, read)
            return None
        if self._opt_outs:
            self._opt_outs.apply_to_all(*read)
        return dict(zip(read[0], map(Item, rows, *read), strict=True))

    def _keep_ready(self, rows: Sequence[Row], read: Read[R]) -> None:
        keys = map(RowKey, read[0])
        self._ready |= zip((row.number for row in rows), zip(keys, read[1], strict=True), strict=True)

    def read(self, row: Row) -> tuple[RowKey, Item[R]]:
        """Return what a row is about, and the row in the destination's terms.

        :raises ValueError: it cannot be sent.
        """
        ready = self._ready.pop(row.number, None) if self._ready else None
        key, record = ready or self._read(row.data)
        if self._opt_outs:
            self._opt_outs.apply(key.text, record)
        item = Item(row, key.text, record, noted=key.noted)
        if key.locks:
            item.locks = key.locks
        return key, item


def batches(
    rows: Iterable[AnyRow],
    destination: Destination[R],
    *,
    window: int = WINDOW,
    size: int | None = None,
    reader: RowReader[R] | None = None,
) -> Generator[Batch[R], None, None]:
    """Cut rows into batches, the same ones whenever the same rows come in.

    A row that cannot be sent is rejected, and takes the place of none that can.

    :param destination: reads the rows, and says how many a batch takes.
    :param window: rows that are held back to find duplicates, where rows of one person merge.
    :param size: rows of a batch, where these are not what a call takes.
    :param reader: reads the rows in the destination's place.
    """
    size = size or destination.batch_size
    most_ended = max(size, 1000)
    reader = reader or RowReader(destination)
    waiting: Waiting[R] = OrderedDict()
    held_back = window
    batch: Batch[R] = Batch(1)
    rows_alike = 0

    def fill(most: int = size) -> Batch[R]:
        nonlocal batch, rows_alike
        full, batch, rows_alike = batch, Batch(batch.number + 1), 0
        full.items += [waiting.popitem(last=False)[1] for _ in range(min(most, len(waiting)))]
        return full

    for some, items in reader.slices(rows):
        if items is not None:
            if not waiting.keys().isdisjoint(items):
                for person, item in items.items():
                    if (earlier := waiting.pop(person, None)) is not None:
                        batch.ended.append(_duplicate(earlier, item.row.number))
            waiting.update(items)
            while len(waiting) >= window + size:
                yield fill()
            if len(batch.ended) + rows_alike >= most_ended:
                yield fill(0)
            continue
        for row in some:
            if isinstance(row, (Alike, list)):
                if isinstance(row, Alike):
                    batch.alike.append(row)
                    rows_alike += len(row.numbers)
                    last = row.numbers[-1]
                else:
                    batch.ended += row
                    last = row[-1].number
                if len(batch.ended) + rows_alike >= most_ended:
                    yield fill(min(size, _older(waiting, last - window)))
                continue
            if isinstance(row, UnreadableRow):
                batch.ended.append(Ended(row.number, None, row.data, rejected("read", row.reason)))
            else:
                try:
                    key, item = reader.read(row)
                except InvalidRowError as error:
                    ends = _opted_out(reader, waiting, row, error) if error.said else _invalid(error)
                    if ends is not None:
                        batch.ended.append(Ended(row.number, error.key, row.data, ends))
                except ValueError as error:
                    batch.ended.append(Ended(row.number, None, row.data, rejected("validate", str(error))))
                else:
                    identity = key.text if key.merges else row.number
                    earlier = waiting.pop(identity, None)
                    if earlier is not None:
                        batch.ended.append(_duplicate(earlier, row.number))
                    waiting[identity] = item
                    held_back = window if key.merges else 0
            if len(waiting) >= held_back + size:
                yield fill()
            elif len(batch.ended) + rows_alike >= most_ended:
                yield fill(0)
    while waiting or batch.ended or batch.alike:
        yield fill()


def _older(waiting: Waiting[Any], number: int) -> int:
    """Count the rows before one of that number."""
    return sum(1 for _ in takewhile(lambda item: item.row.number < number, waiting.values()))


def superseded(later: int) -> Outcome:
    """Return how a row ends of whose person there is a later one."""
    return Outcome(Ending.SKIPPED, f"row {later} is about the same person")


def _duplicate(item: Item[Any], later: int) -> Ended:
    if item.rejected is not None:
        outcome = with_reason(item.rejected, f"its opt-out goes with row {later}")
    else:
        outcome = superseded(later)
    return Ended(item.row.number, item.key, item.row.data, outcome)


def _invalid(error: InvalidRowError) -> Outcome:
    return rejected("validate", str(error))


def _opted_out(reader: RowReader[R], waiting: Waiting[R], row: Row, error: InvalidRowError) -> Outcome | None:
    """Send the opt-out of a row that cannot be sent with another row of the person, or alone.

    :return: how the row ends; None where what becomes of its opt-out is not known yet.
    """
    outcome = _invalid(error)
    if error.key is None:
        return with_reason(outcome, NOT_CARRIED_OUT)
    if error.key in waiting:
        other = waiting[error.key]
        reader.keep(other, error.said)
        return with_reason(outcome, f"its opt-out goes with row {other.row.number}")
    waiting[error.key] = reader.opt_out_of(row, error.key, error.said, outcome)
    return None
