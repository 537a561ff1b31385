"""How many calls it takes to settle a batch, and when it is given up."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from airflow_provider_crm.bulk.outcomes import UNSAID, Ending, Item, Outcome, Step, Verdict
from airflow_provider_crm.bulk.settle import Settler, named_rows
from airflow_provider_crm.exceptions import (
    CrmOutcomeUnknownError,
    CrmRequestError,
    CrmTooLargeError,
    CrmTransientError,
)
from airflow_provider_crm.rows.sources import Row

Answers = Sequence[Verdict]


class Numbers:
    """Takes numbers; what the CRM holds is a set, what a call does is a function of the numbers in it."""

    batch_size = 1000

    def __init__(self, call: Callable[[Numbers, list[int]], Answers]) -> None:
        self.held: set[int] = set()
        self.calls: list[list[int]] = []
        self.looks = 0
        self._call = call

    def plan(self, items: Sequence[Item[int]]) -> list[Outcome | Step[int]]:
        self.looks += 1
        return [
            Outcome(Ending.UPDATED) if item.record in self.held else Step(item, Outcome(Ending.CREATED))
            for item in items
        ]

    def apply(self, steps: Sequence[Step[int]]) -> Answers:
        numbers = [step.item.record for step in steps]
        self.calls.append(numbers)
        return self._call(self, numbers)

    def take(self, numbers: Sequence[int]) -> list[Verdict]:
        self.held.update(numbers)
        return [Outcome(Ending.CREATED) for _ in numbers]


def settle(
    numbers: Numbers, rows: int, *, max_retries: int = 3, waits: list[float] | None = None
) -> list[int]:
    """Settle rows numbered from 0.

    :return: those that were rejected.
    """
    sleep = (lambda seconds: None) if waits is None else waits.append
    settler: Settler[int] = Settler(numbers, max_retries=max_retries, sleep=sleep)  # type: ignore[arg-type]
    items = [Item(Row(number, {}), f"key{number}", number) for number in range(rows)]
    ended = settler.settle(items)
    assert sorted(item.record for item, _ in ended) == list(range(rows))
    return sorted(item.record for item, outcome in ended if outcome.ending is Ending.REJECTED)


@pytest.mark.parametrize("bad", [0, 1, 499, 500, 640, 999])
def test_one_bad_row_costs_few_calls_and_no_row_is_sent_needlessly(bad: int) -> None:
    def stop_at_it(crm: Numbers, numbers: list[int]) -> Answers:
        if bad in numbers:
            crm.take(numbers[: numbers.index(bad)])
            raise CrmRequestError("bad")
        return crm.take(numbers)

    crm = Numbers(stop_at_it)
    assert settle(crm, 1000) == [bad]
    assert crm.held == set(range(1000)) - {bad}
    assert len(crm.calls) <= 2 * math.log2(1000)
    before = [number for call in crm.calls for number in call if number < bad]
    assert len(before) == len(set(before)), "what was applied before the bad row is not sent again"


def test_a_row_that_the_error_names_is_found_at_once() -> None:
    def name_it(crm: Numbers, numbers: list[int]) -> Answers:
        if 640 in numbers:
            raise CrmRequestError("no", errors=("key640 is not valid",))
        return crm.take(numbers)

    crm = Numbers(name_it)
    assert settle(crm, 1000) == [640]
    assert [len(call) for call in crm.calls] == [1000, 999, 1]


@pytest.mark.parametrize(
    ("errors", "places"),
    [
        (["data[2].email is not valid"], {2}),
        (["A@example.fr: not valid", "row c@example.fr."], {0, 2}),
        (["[16] is not valid"], set()),
        (["a@example.fr, b@example.fr, c@example.fr, d@example.fr, e@example.fr"], set()),
        ([], set()),
    ],
)
def test_named_rows(errors: list[str], places: set[int]) -> None:
    keys = [f"{letter}@example.fr" for letter in "abcdefghijklmnop"]
    assert named_rows(keys, errors) == places, "more than a quarter cannot mean single rows"


def test_a_size_that_is_refused_is_not_tried_again() -> None:
    def take_seventy(crm: Numbers, numbers: list[int]) -> Answers:
        if len(numbers) > 70:
            raise CrmTooLargeError("too large")
        return crm.take(numbers)

    crm = Numbers(take_seventy)
    settler: Settler[int] = Settler(crm, max_retries=0, sleep=lambda seconds: None)  # type: ignore[arg-type]
    for start in (0, 500):
        settler.settle([Item(Row(n, {}), str(n), n) for n in range(start, start + 500)])
    assert crm.held == set(range(1000))
    assert [len(call) for call in crm.calls].count(500) == 1
    assert len([call for call in crm.calls if len(call) > 70]) == 3


def test_a_row_too_large_alone_is_rejected_and_the_others_go_on_together() -> None:
    def refuse_it(crm: Numbers, numbers: list[int]) -> Answers:
        if 5 in numbers:
            raise CrmTooLargeError("too large")
        return crm.take(numbers)

    crm = Numbers(refuse_it)
    assert settle(crm, 64) == [5]


@pytest.mark.parametrize("applied", [False, True])
def test_an_unanswered_call_is_looked_up_before_anything_is_sent_again(applied: bool) -> None:
    def lose_the_first(crm: Numbers, numbers: list[int]) -> Answers:
        if len(crm.calls) == 1:
            if applied:
                crm.take(numbers)
            raise CrmOutcomeUnknownError("no answer", retry_after=7.0)
        return crm.take(numbers)

    crm = Numbers(lose_the_first)
    waits: list[float] = []
    assert settle(crm, 100, waits=waits) == []
    assert len(crm.calls) == (1 if applied else 2)
    assert crm.looks == 2
    assert waits == [7.0]


def test_a_call_that_is_never_answered_is_given_up() -> None:
    def never(crm: Numbers, numbers: list[int]) -> Answers:
        raise CrmOutcomeUnknownError("no answer")

    crm = Numbers(never)
    with pytest.raises(CrmTransientError):
        settle(crm, 100, max_retries=3)
    assert [len(call) for call in crm.calls] == [100] * 4, "silence is no reason to halve"


def test_progress_renews_patience() -> None:
    def one_at_a_time(crm: Numbers, numbers: list[int]) -> Answers:
        if len(crm.calls) % 2:
            raise CrmOutcomeUnknownError("no answer")
        return [*crm.take(numbers[:1]), *[UNSAID] * (len(numbers) - 1)]

    crm = Numbers(one_at_a_time)
    assert settle(crm, 10, max_retries=1) == []


@pytest.mark.parametrize("applied", [False, True])
def test_an_answer_that_says_nothing_is_not_believed(applied: bool) -> None:
    def say_nothing(crm: Numbers, numbers: list[int]) -> Answers:
        if applied:
            crm.take(numbers)
        return [UNSAID] * len(numbers)

    crm = Numbers(say_nothing)
    assert settle(crm, 8) == ([] if applied else list(range(8)))
    assert len(crm.calls) <= (1 if applied else 7 + 8 * 3)


def test_a_key_that_cannot_be_looked_up_is_rejected_alone() -> None:
    class Picky(Numbers):
        def plan(self, items: Sequence[Item[int]]) -> list[Outcome | Step[int]]:
            if any(item.record == 13 for item in items):
                raise CrmTooLargeError("this key is too long")
            return super().plan(items)

    crm = Picky(lambda crm, numbers: crm.take(numbers))
    settler: Settler[int] = Settler(crm, max_retries=0, sleep=lambda seconds: None)  # type: ignore[arg-type]
    for start in (0, 100):
        ended: Any = settler.settle([Item(Row(n, {}), str(n), n) for n in range(start, start + 100)])
        assert [item.record for item, outcome in ended if outcome.ending is Ending.REJECTED] == [13][start:]
    assert len(crm.calls[-1]) == 100, "the length of one key is no reason for small batches"


def test_a_look_that_was_answered_late_shows_what_was_then() -> None:
    seconds = 0.0

    def now() -> float:
        return seconds

    def sleep(more: float) -> None:
        nonlocal seconds
        seconds += more

    def lose_the_first(crm: Numbers, numbers: list[int]) -> Answers:
        if len(crm.calls) == 1:
            raise CrmOutcomeUnknownError("no answer")
        return crm.take(numbers)

    class AppliesLateAndAnswersSlowly(Numbers):
        def plan(self, items: Sequence[Item[int]]) -> list[Outcome | Step[int]]:
            if self.calls and seconds > 5:
                self.take(self.calls[0])
            seen = super().plan(items)
            if self.calls:
                sleep(20)
            return [
                Step(one.item, one.outcome, settle_seconds=10) if isinstance(one, Step) else one
                for one in seen
            ]

    crm = AppliesLateAndAnswersSlowly(lose_the_first)
    settler: Settler[int] = Settler(crm, max_retries=3, sleep=sleep, now=now)  # type: ignore[arg-type]
    ((_, outcome),) = settler.settle([Item(Row(1, {}), "key1", 1)])
    assert outcome.ending is Ending.UPDATED
    assert crm.calls == [[1]]
