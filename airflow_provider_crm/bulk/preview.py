"""What a run would do, row by row and field by field, for whoever is to see it before. Knows no CRM."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, Generic, Protocol

import msgspec

from airflow_provider_crm.bulk.batches import Batch, Ended
from airflow_provider_crm.bulk.outcomes import Changes, Destination, Item, Outcome, R, Step, Verdict
from airflow_provider_crm.rows.jsonlines import encode_line
from airflow_provider_crm.rows.targets import target_at

log = logging.getLogger(__name__)


class ShowingDestination(Destination[R], Protocol):
    """A destination that can say what its steps change."""

    def changes(self, steps: Sequence[Step[R]]) -> Sequence[Changes | None]:
        """Return what each step changes, with calls that read only; None where nobody can tell."""


class EvenSample(Generic[R]):
    """Draws a number of items that lie evenly among all of them, however many there are.

    It keeps each item, then each second one, each fourth, so that at most twice as many are held as are wanted.

    :param size: how many are wanted.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._every = 1
        self._kept: list[Item[R]] = []
        self.seen = 0

    def add(self, items: Iterable[Item[R]]) -> None:
        for item in items:
            if self.seen % self._every == 0:
                self._kept.append(item)
                if len(self._kept) > 2 * self._size:
                    self._kept = self._kept[::2]
                    self._every *= 2
            self.seen += 1

    def drawn(self) -> Sequence[Item[R]]:
        """Return the items that are drawn."""
        kept = len(self._kept)
        if kept <= self._size:
            return self._kept
        return [self._kept[place * kept // self._size] for place in range(self._size)]


class Preview(Generic[R]):
    """Shows what becomes of rows: of those that end without a call all, of the others a sample.

    :param path: takes a JSON line for each row that is shown.
    :param rows: of how many rows the CRM is asked at most.
    """

    def __init__(self, destination: ShowingDestination[R], path: str, rows: int) -> None:
        self._destination = destination
        self._path = path
        self._sample: EvenSample[R] = EvenSample(rows)
        self._file: BinaryIO | None = None

    def planned(self, dry: Destination[R]) -> Destination[R]:
        """Return a destination that only plans, as this one does, and says what its steps would change."""
        return _Showing(dry, self._destination)

    def batches(self, stream: Generator[Batch[R], None, None]) -> Generator[Batch[R], None, None]:
        """Return of the items that would be looked up those that are drawn."""
        number = 0
        for batch in stream:
            self._sample.add(batch.items)
            if batch.rows_ended:
                number += 1
                yield Batch(number, ended=batch.ended, alike=batch.alike)
        drawn = self._sample.drawn()
        if len(drawn) < self._sample.seen:
            log.info(
                "The preview is a sample: %s of %s rows that would be looked up, drawn evenly",
                f"{len(drawn):,}",
                f"{self._sample.seen:,}",
            )
        size = self._destination.batch_size
        for start in range(0, len(drawn), size):
            number += 1
            yield Batch(number, list(drawn[start : start + size]))

    def add(self, rows: Iterable[Ended]) -> None:
        """Write down how rows would end."""
        assert self._file is not None
        self._file.writelines(encode_line(_line_of(row)) for row in rows)

    @property
    def counts(self) -> dict[str, Any]:
        """How many rows were drawn, of how many; nothing where that is all of them."""
        drawn, seen = len(self._sample.drawn()), self._sample.seen
        return {"sample": {"rows": drawn, "of": seen}} if drawn < seen else {}

    @contextmanager
    def file(self) -> Iterator[None]:
        """Try the file's place before anything is asked, and put it there when all went well.

        :raises CrmInputError: it cannot be written.
        """
        target = target_at(self._path)
        try:
            self._file = target.open()
            with target.writing():
                yield
            target.commit()
        finally:
            target.abandon()


class _Showing(Generic[R]):
    def __init__(self, dry: Destination[R], destination: ShowingDestination[R]) -> None:
        self.batch_size = dry.batch_size
        self.opt_outs = dry.opt_outs
        self.read = dry.read
        self.plan = dry.plan
        self._apply = dry.apply
        self._changes = destination.changes

    def apply(self, steps: Sequence[Step[R]]) -> Sequence[Verdict]:
        return [
            msgspec.structs.replace(verdict, changes=changes) if isinstance(verdict, Outcome) else verdict
            for verdict, changes in zip(self._apply(steps), self._changes(steps), strict=True)
        ]


def changed(wanted: Mapping[str, Any], held: Mapping[str, Any] | None) -> Changes:
    """Return the changes to values that are wanted.

    :param held: the values that are there, as far as they are known.
    """
    held = held or {}
    return {field: {"from": held.get(field), "to": value} for field, value in wanted.items()}


def _line_of(row: Ended) -> dict[str, Any]:
    outcome = row.outcome
    return {
        "row": row.number,
        "key": row.key,
        "end": outcome.ending.value,
        "reason": outcome.reason or None,
        "crm_id": outcome.crm_id,
        "changes": outcome.changes,
    }
