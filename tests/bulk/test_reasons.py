"""Reasons are counted by fault, and say nothing of a person."""

from __future__ import annotations

import tracemalloc
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crm.bulk.batches import Ended
from airflow_provider_crm.bulk.outcomes import Ending, Outcome
from airflow_provider_crm.bulk.reasons import LONGEST, MOST_REASONS, OTHERS, Reasons
from airflow_provider_crm.bulk.report import EndedRows, Report


def told(*rows: tuple[str, str, Any]) -> dict[str, int]:
    reasons = Reasons()
    for reason, key, data in rows:
        reasons.add("rejected", "crm", reason, key, data)
    return {one["reason"]: one["rows"] for one in reasons.told()}


OUTCOMES = [
    Outcome(Ending.CREATED),
    Outcome(Ending.UPDATED, crm_id=7),
    Outcome(Ending.UPDATED, amount=Decimal(5)),
    Outcome(Ending.UNCHANGED, "as it was accepted before"),
    Outcome(Ending.SKIPPED, "not in the CRM"),
    Outcome(Ending.SKIPPED, "row 12 is about the same person"),
    Outcome(Ending.SKIPPED, "zoe is suppressed"),
    Outcome(Ending.REJECTED, "bad", stage="crm"),
]


@given(runs=st.lists(st.tuples(st.sampled_from(OUTCOMES), st.integers(1, 5)), max_size=8))
def test_rows_that_ended_alike_count_as_each_alone(runs: list[tuple[Outcome, int]]) -> None:
    at_once, alone = Report(), Report()
    number = 0
    for outcome, many in runs:
        rows = [
            Ended(number + place, f"key{place}", {"name": ("zoe", "bob")[place % 2]}, outcome)
            for place in range(1, many + 1)
        ]
        number += many
        at_once.add(rows)
        for row in rows:
            alone.add([row])
    at_once.add([])
    for report in (at_once, alone):
        assert sum(report.counts.values()) == report.last_row == number
    assert at_once.summary() == alone.summary()
    assert (at_once.amount, at_once.reasons.told()) == (alone.amount, alone.reasons.told())


@pytest.mark.parametrize(
    ("reason", "masked"),
    [
        ("nom: 'Dupont-Moretti' is too long", "nom: '<value>' is too long"),
        ("NOM: DUPONT-MORETTI is too long", "NOM: <value> is too long"),
        ("the phone +33 6 12 34 56 78 is taken", "the phone <number> is taken"),
        ("zoe@example.fr is blocked", "<email> is blocked"),
        ("the key order-17 was credited", "the key <value> was credited"),
        ("order-170 is another one", "order-170 is another one"),  # of nobody: it is not this row's
        ("in a list: 4711", "in a list: <value>"),
        ("row 12 is about the same person", "another row is about the same person"),
        ("of 12 fields, fr is one", "of 12 fields, fr is one"),  # too short to name anybody
    ],
)
def test_what_a_reason_says_of_a_row_is_not_told(reason: str, masked: str) -> None:
    data = {
        "email": "zoe@example.fr",
        "nom": " Dupont-Moretti ",
        "phone": "+33 6 12 34 56 78",
        "country": "fr",
        "lists": [{"id": 4711}],
    }
    assert told((reason, "order-17", data)) == {masked: 1}


def test_rows_with_the_same_fault_are_counted_together() -> None:
    rows = [(f"points: {value!r} is no number", f"key{value}", {"points": value}) for value in ("abc", "xyz")]
    assert told(*rows, ("no consent", "a", {}), ("no consent", "b", {})) == {
        "points: '<value>' is no number": 2,
        "no consent": 2,
    }


def test_a_reason_that_is_nobodys_stays_so_for_whoever_has_it_as_a_value() -> None:
    assert told(("not in SPREAD", "a", {}), ("not in SPREAD", "b", {"nom": "spread"})) == {"not in SPREAD": 2}


def test_there_are_fifty_reasons_at_most_and_all_rows_count() -> None:
    reasons = Reasons()
    for number in range(200):
        reasons.add("rejected", "crm", f"reason number {number}", None, {})
        reasons.add("skipped", None, f"cause number {number}", None, {})
    found = reasons.told()
    assert len(found) <= MOST_REASONS
    assert sum(one["rows"] for one in found) == 400
    assert found[0]["reason"] == OTHERS


def test_a_reason_is_short() -> None:
    (reason,) = told(("x" * 500, "key", {}))
    assert len(reason) == LONGEST


def test_a_retry_goes_on_counting() -> None:
    first, second = Reasons(), Reasons()
    first.add("rejected", "crm", "no", None, {})
    second.take_up(first.told())
    second.add("rejected", "crm", "no", None, {})
    assert second.told() == [{"end": "rejected", "stage": "crm", "reason": "no", "rows": 2}]


@pytest.mark.parametrize(
    ("numbers", "last"),
    [([], 0), ([2, 3], 0), ([1, 2, 4], 2), ([3, 1, 2], 3), ([5, 4, 1, 3, 2], 5), ([1, 3, 4, 6, 2], 4)],
)
def test_up_to_which_row_all_have_ended(numbers: list[int], last: int) -> None:
    ended = EndedRows()
    for number in numbers:
        ended.add([number])
    at_once = EndedRows()
    at_once.add(numbers)
    assert ended.last == at_once.last == last


@pytest.mark.slow
def test_rows_that_end_beyond_one_that_waits_take_no_memory() -> None:
    ended = EndedRows()
    tracemalloc.start()
    try:
        for start in range(2, 200_000, 1000):
            ended.add(range(start, start + 1000))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 10_000
    assert 150_000 in ended
    assert 1 not in ended
    ended.add([1])
    assert ended.last == 200_001
