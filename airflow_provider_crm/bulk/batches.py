"""From rows to batches: who each row is about, and which of several rows of one person counts. Knows no CRM."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic

import msgspec

from airflow_provider_crm.bulk.opt_outs import OptOutMemory
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
from airflow_provider_crm.rows.sources import Row, UnreadableRow

#: Rows that are held back to see whether a later one is about the same person. A source with fewer rows has each
#: person sent once; in a longer one, rows of one person that lie farther apart are sent one after the other.
WINDOW = 30_000


class Ended(msgspec.Struct, frozen=True, gc=False):
    """A row whose end is known."""

    number: int
    key: str | None
    data: Mapping[str, Any]
    outcome: Outcome


@dataclass(slots=True)
class Batch(Generic[R]):
    """Some consecutive work.

    :param items: the rows to send.
    :param locks: what they hold while they are in flight.
    :param ended: rows before or between them that ended without a call.
    """

    number: int
    items: list[Item[R]] = field(default_factory=list)
    locks: list[str] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)

    def add(self, key: RowKey, item: Item[R]) -> None:
        self.items.append(item)
        self.locks += key.held


def batches(
    rows: Iterable[Row | UnreadableRow],
    destination: Destination[R],
    *,
    window: int = WINDOW,
) -> Generator[Batch[R], None, None]:
    """Cut rows into batches, the same ones whenever the same rows come in.

    A row that cannot be sent is rejected, and takes the place of none that can.

    :param destination: reads the rows, and says how many a batch takes.
    :param window: rows that are held back to find duplicates.
    """
    size = destination.batch_size
    opt_outs = OptOutMemory(destination.opt_outs) if destination.opt_outs else None
    waiting: OrderedDict[object, tuple[RowKey, Item[R]]] = OrderedDict()
    batch: Batch[R] = Batch(1)

    def fill() -> Batch[R]:
        nonlocal batch
        full, batch = batch, Batch(batch.number + 1)
        while waiting and len(full.items) < size:
            full.add(*waiting.popitem(last=False)[1])
        return full

    for row in rows:
        if isinstance(row, UnreadableRow):
            batch.ended.append(Ended(row.number, None, row.data, rejected("read", row.reason)))
        else:
            try:
                key, record = destination.read(row.data)
            except ValueError as error:
                name = error.key if isinstance(error, InvalidRowError) else None
                batch.ended.append(Ended(row.number, name, row.data, rejected("validate", str(error))))
            else:
                identity = key.text if key.merges else row.number
                if opt_outs:
                    opt_outs.apply(key.text, record)
                earlier = waiting.pop(identity, None)
                if earlier is not None:
                    batch.ended.append(_duplicate(earlier[1], row.number))
                waiting[identity] = key, Item(row, key.text, record)
        if len(waiting) >= window + size:
            yield fill()
        elif len(batch.ended) >= max(size, 1000):
            full, batch = batch, Batch(batch.number + 1)
            yield full
    while waiting or batch.ended:
        yield fill()


def _duplicate(item: Item[Any], later: int) -> Ended:
    reason = f"row {later} is about the same person"
    return Ended(item.row.number, item.key, item.row.data, Outcome(Ending.SKIPPED, reason))
