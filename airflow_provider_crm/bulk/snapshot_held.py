"""Known rows that are held back: a later row of the person may come, which counts then. Knows no store."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress, repeat
from typing import Any, NamedTuple

from airflow_provider_crm.bulk.batches import Alike, Ended, superseded
from airflow_provider_crm.bulk.outcomes import Outcome
from airflow_provider_crm.bulk.snapshot_entries import KNOWN

_LEFT_OUT: Mapping[str, Any] = {}


class KnownRows(NamedTuple):
    """Known rows by column: their numbers, keys, people, and how they end if no later one of their person comes."""

    numbers: Sequence[int]
    keys: Sequence[str | None]
    people: Sequence[int]
    outcomes: Sequence[Outcome]

    def chosen(self, which: Sequence[bool]) -> KnownRows:
        """Return the rows at some places."""
        columns: Iterable[Any] = self
        return KnownRows(*(list(compress(column, which)) for column in columns))


class HeldRows:
    """Known rows in their order, one of each person."""

    def __init__(self) -> None:
        self._slices: deque[KnownRows] = deque()
        self._rows = 0
        #: The number of each person's row.
        self._numbers: dict[int, int] = {}
        #: The numbers of those in the slices that a later row has displaced, and how these end.
        self._gone: set[int] = set()
        self._displaced: list[Ended] = []

    def hold(self, known: KnownRows) -> None:
        """Hold rows of as many people."""
        if not self._numbers.keys().isdisjoint(known.people):
            for person, key, number in zip(known.people, known.keys, known.numbers, strict=True):
                self.displace(person, key, number)
        self._numbers.update(zip(known.people, known.numbers, strict=True))
        self._rows += len(known.numbers)
        self._slices.append(known)

    def displace(self, person: int, key: str | None, later: int) -> None:
        """Let a later row count in place of the one that is held of a person, if there is one."""
        number = self._numbers.pop(person, None)
        if number is not None:
            self._gone.add(number)
            self._displaced.append(Ended(number, key, _LEFT_OUT, superseded(later)))

    def displaced(self) -> list[Ended]:
        """Return those that were displaced since the last call."""
        displaced, self._displaced = self._displaced, []
        return displaced

    def let_go(self, least: int) -> Iterator[Alike | list[Ended]]:
        """Yield the first of them.

        :param least: so many stay, and no whole slice more.
        """
        while self._slices and self._rows - len(self._slices[0].numbers) >= least:
            first = self._slices.popleft()
            self._rows -= len(first.numbers)
            if not self._gone.isdisjoint(first.numbers):
                stay = [number not in self._gone for number in first.numbers]
                self._gone.difference_update(first.numbers)
                first = first.chosen(stay)
            numbers, keys, people, outcomes = first
            deque(map(self._numbers.__delitem__, people), maxlen=0)
            if outcomes.count(KNOWN) < len(outcomes):
                yield list(map(Ended, numbers, keys, repeat(_LEFT_OUT), outcomes))
            elif numbers:
                yield Alike(numbers, keys, KNOWN)
