"""Many calls at once: in order, never stuck, and over when the task is."""

from __future__ import annotations

import threading

import pytest

from airflow_provider_crm.exceptions import CrmError, CrmInputError
from airflow_provider_crm.http.clock import Clock
from airflow_provider_crm.http.pool import Pool


@pytest.mark.parametrize("concurrency", [1, 2, 8])
def test_side_by_side_inside_side_by_side(clock: Clock, concurrency: int) -> None:
    pool = Pool(concurrency, name="crm", clock=clock)

    def square(item: int) -> int:
        return item * item

    def outer(item: int) -> list[int]:
        return pool.side_by_side(square, range(item))

    assert pool.side_by_side(outer, range(20)) == [[n * n for n in range(item)] for item in range(20)]


def test_results_keep_the_order_of_the_items(clock: Clock) -> None:
    pool = Pool(4, name="crm", clock=clock)

    others = threading.Event()

    def last_first(item: int) -> int:
        if item == 0:
            assert others.wait(60)
        if item == 19:
            others.set()
        return item

    assert pool.side_by_side(last_first, iter(range(20))) == list(range(20))
    assert pool.side_by_side(last_first, []) == []


def test_a_failure_is_the_callers(clock: Clock) -> None:
    pool = Pool(2, name="crm", clock=clock)

    def fail(item: int) -> int:
        if item == 3:
            raise CrmInputError("three")
        return item

    with pytest.raises(CrmInputError, match="three"):
        pool.side_by_side(fail, range(100))
    assert pool.side_by_side(fail, range(3)) == [0, 1, 2]


def test_nothing_begins_after_the_end(clock: Clock) -> None:
    pool = Pool(4, name="crm", clock=clock)
    pool.in_background(int).result()
    clock.end()
    with pytest.raises(CrmError, match="The task ended"):
        pool.in_background(int).result()
    pool.close()
    with pytest.raises(CrmError, match="The task ended"):
        pool.in_background(int)
