"""From rows to batches: who each row is about, and which of several rows of one person counts. Knows no CRM."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from airflow_provider_crm.bulk.outcomes import Ending, Outcome, RowKey, rejected
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
class Batch:
    """Some consecutive work.

    :param rows: the rows to send, each with what it is about.
    :param ended: rows before or between them that ended without a call.
    """

    number: int
    rows: list[tuple[RowKey, Row]] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)


def batches(
    rows: Iterable[Row | UnreadableRow],
    key_of: Callable[[Mapping[str, Any]], RowKey],
    *,
    size: int,
    window: int = WINDOW,
) -> Generator[Batch, None, None]:
    """Cut rows into batches, the same ones whenever the same rows come in.

    :param key_of: tells what a row is about; raises ValueError when it does not say.
    :param size: rows a batch at most.
    :param window: rows that are held back to find duplicates.
    """
    waiting: OrderedDict[object, tuple[RowKey, Row]] = OrderedDict()
    batch = Batch(1)

    def fill() -> Batch:
        nonlocal batch
        full, batch = batch, Batch(batch.number + 1)
        while waiting and len(full.rows) < size:
            full.rows.append(waiting.popitem(last=False)[1])
        return full

    for row in rows:
        if isinstance(row, UnreadableRow):
            batch.ended.append(Ended(row.number, None, row.data, rejected("read", row.reason)))
        else:
            try:
                key = key_of(row.data)
            except ValueError as error:
                batch.ended.append(Ended(row.number, None, row.data, rejected("validate", str(error))))
            else:
                identity = key.text if key.merges else row.number
                earlier = waiting.pop(identity, None)
                if earlier is not None:
                    batch.ended.append(_duplicate(earlier[1], key.text, row.number))
                waiting[identity] = key, row
        if len(waiting) >= window + size:
            yield fill()
        elif len(batch.ended) >= max(size, 1000):
            full, batch = batch, Batch(batch.number + 1)
            yield full
    while waiting or batch.ended:
        yield fill()


def _duplicate(row: Row, key: str, later: int) -> Ended:
    reason = f"row {later} is about the same person"
    return Ended(row.number, key, row.data, Outcome(Ending.SKIPPED, reason))
