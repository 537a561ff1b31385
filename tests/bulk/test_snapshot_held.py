"""Known rows that wait for a later one of their person."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crm.bulk.batches import Alike, Batch, Ended, RowReader, batches
from airflow_provider_crm.bulk.outcomes import Ending, Outcome
from airflow_provider_crm.bulk.snapshot_entries import KNOWN
from airflow_provider_crm.bulk.snapshot_held import HeldRows, KnownRows

EARLIER = Outcome(Ending.CREATED, "in an earlier try")
WINDOW = 3


def each(held: HeldRows, most: int) -> Iterator[Ended]:
    for rows in held.let_go(most):
        yield from rows.each() if isinstance(rows, Alike) else rows


@given(
    slices=st.lists(
        st.tuples(
            st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=5, unique_by=lambda one: one[0]),
            st.lists(st.integers(0, 5), max_size=2),
        ),
        max_size=8,
    )
)
def test_of_each_person_the_last_row_counts_and_every_row_ends_once(
    slices: list[tuple[list[tuple[int, bool]], list[int]]],
) -> None:
    held = HeldRows()
    number = 0
    waiting: dict[int, int] = {}
    wanted: dict[int, Outcome | int] = {}
    ended: list[Ended] = []
    for known, others in slices:
        if known:
            numbers = list(range(number + 1, number + 1 + len(known)))
            number = numbers[-1]
            outcomes = [KNOWN if as_before else EARLIER for _, as_before in known]
            for (person, _), at, outcome in zip(known, numbers, outcomes, strict=True):
                if person in waiting:
                    wanted[waiting[person]] = at
                waiting[person] = at
                wanted[at] = outcome
            people = [person for person, _ in known]
            held.hold(KnownRows(numbers, list(map(str, people)), people, outcomes))
        for person in others:
            number += 1
            held.displace(person, str(person), number)
            if person in waiting:
                wanted[waiting.pop(person)] = number
        ended += held.displaced()
        for row in each(held, WINDOW):
            ended.append(row)
            waiting = {person: at for person, at in waiting.items() if at != row.number}
    ended += each(held, 0)
    assert sorted(row.number for row in ended) == sorted(wanted)
    for row in ended:
        end = wanted[row.number]
        assert row.outcome == end if isinstance(end, Outcome) else f"row {end} " in row.outcome.reason


def test_whole_slices_are_let_go_and_no_row_before_the_window_is_full() -> None:
    held = HeldRows()
    for start in (1, 3, 5):
        numbers = [start, start + 1]
        held.hold(KnownRows(numbers, list(map(str, numbers)), numbers, [KNOWN, KNOWN]))
    assert list(held.let_go(5)) == []
    assert list(held.let_go(WINDOW)) == [Alike([1, 2], ["1", "2"], KNOWN)]
    assert [row.number for row in each(held, 0)] == [3, 4, 5, 6]


def test_known_rows_that_come_one_by_one_are_counted_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    monkeypatch.setattr(Batch, "rows_ended", property(lambda batch: looks.append(len(batch.alike)) or 0))
    crm: Any = SimpleNamespace(read=None, opt_outs=None)
    reader: Any = RowReader(crm)
    each = [([Alike([number], ["a"], KNOWN)], None) for number in range(1, 3001)]
    reader.slices = lambda rows: iter(each)
    cut = list(batches([], crm, window=5, size=2, reader=reader))
    assert sum(len(batch.alike) for batch in cut) == 3000
    assert sum(looks) <= 3000
