"""When calls leave: evenly, within the quota, after the pause, and never more at once than allowed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crm.exceptions import CrmError, CrmRateLimitError
from airflow_provider_crm.http.calls import Call
from airflow_provider_crm.http.clock import Clock
from airflow_provider_crm.http.quota import Quota
from airflow_provider_crm.http.throttle import EvenPacer, Throttle, Unpaced
from tests.helpers.waits import wait_until

from .conftest import HOST, MakeClient


def throttle(clock: Clock, concurrency: int = 1) -> Throttle:
    return Throttle(concurrency, Unpaced(), clock)


def leave(throttle: Throttle) -> None:
    with throttle.slot():
        pass


# Calls a minute


@pytest.mark.slow
@given(
    per_minute=st.floats(0.5, 6000),
    gaps=st.lists(st.floats(0, 5), min_size=1, max_size=50),
)
def test_calls_leave_at_even_distances(per_minute: float, gaps: list[float]) -> None:
    now = 0.0
    pacer = EvenPacer(per_minute, now=lambda: now)
    leaves = []
    for gap in gaps:
        now += gap
        leaves.append(now + pacer.reserve())
    distances = [later - earlier for earlier, later in pairwise(leaves)]
    assert all(distance >= 60 / per_minute - 1e-9 for distance in distances)


def test_an_idle_time_earns_no_burst() -> None:
    now = 0.0
    pacer = EvenPacer(60, now=lambda: now)
    pacer.reserve()
    now = 100.0
    assert [pacer.reserve() for _ in range(3)] == [0, 1, 2]


def test_threads_share_the_pace() -> None:
    pacer = EvenPacer(60, now=lambda: 0.0)
    with ThreadPoolExecutor(8) as pool:
        places = list(pool.map(lambda _: pacer.reserve(), range(200)))
    assert sorted(places) == pytest.approx(range(200))


def test_a_client_keeps_the_pace_of_its_settings(
    make_client: MakeClient, requests_mock: Any, clock: Any
) -> None:
    requests_mock.get(f"{HOST}/thing", content=b"")
    client = make_client(pacer=EvenPacer(1200, now=clock.now))
    for _ in range(6):
        client.request(Call("GET", "/thing"), bytes)
    assert clock.waits == pytest.approx([0.05] * 5)


# Calls at once


def test_no_more_calls_at_once_than_allowed(clock: Clock) -> None:
    lock = threading.Lock()
    now, most = 0, 0
    shared = throttle(clock, 3)
    together = threading.Barrier(3)

    def call(_: int) -> None:
        nonlocal now, most
        with shared.slot():
            with lock:
                now += 1
                most = max(most, now)
            together.wait()
            with lock:
                now -= 1

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(call, range(48)))
    assert (now, most) == (0, 3)


def test_who_waits_first_leaves_first(clock: Clock) -> None:
    shared = throttle(clock, 1)
    left: list[int] = []

    def call(number: int) -> None:
        for turn in range(2):
            with shared.slot():
                left.append(10 * turn + number)
                if turn == 0:  # the one before has come again, and waits
                    wait_until(lambda: len(shared._slots._waiting) == 2)

    with ThreadPoolExecutor(3) as pool:
        with shared.slot():
            calls = []
            for number in range(3):
                calls.append(pool.submit(call, number))
                wait_until(lambda: len(shared._slots._waiting) == len(calls))
        for one in calls:
            one.result(60)
    assert left == [0, 1, 2, 10, 11, 12]


@pytest.mark.parametrize("handed_over", [False, True])
def test_a_signal_takes_no_place_away(monkeypatch: Any, clock: Clock, handed_over: bool) -> None:
    shared = throttle(clock, 1)
    first = shared.slot()

    class Interrupted:
        """Waits until a signal's handler raises: before its turn has come, or in the very moment."""

        begun = False

        def acquire(self) -> None:
            if self.begun:
                if handed_over:
                    first.__exit__(None, None, None)
                raise TimeoutError
            self.begun = True

        def release(self) -> None:
            assert handed_over

    first.__enter__()
    with monkeypatch.context() as patch:
        patch.setattr("airflow_provider_crm.http.throttle.threading", SimpleNamespace(Lock=Interrupted))
        with pytest.raises(TimeoutError):
            leave(shared)
    if not handed_over:
        first.__exit__(None, None, None)
    for _ in range(2):
        leave(shared)


@pytest.mark.parametrize("is_free", [False, True])
def test_a_signal_before_it_waits_takes_no_place_away(monkeypatch: Any, clock: Clock, is_free: bool) -> None:
    shared = throttle(clock, 1)
    slots, lock = shared._slots, shared._slots._lock

    class Interrupted:
        """The lock, after which the handler of a signal raises, once."""

        def __enter__(self) -> None:
            lock.acquire()

        def __exit__(self, *error: object) -> None:
            monkeypatch.undo()
            lock.release()
            raise TimeoutError

    with nullcontext() if is_free else shared.slot():
        monkeypatch.setattr(slots, "_lock", Interrupted())
        with pytest.raises(TimeoutError):
            leave(shared)
    assert (slots._free, len(slots._waiting)) == (1, 0)


def test_a_failed_call_gives_its_place_back(clock: Clock) -> None:
    shared = throttle(clock, 1)
    for _ in range(3):
        with pytest.raises(KeyError), shared.slot():
            raise KeyError
    leave(shared)


def test_a_call_that_was_not_admitted_gives_its_place_back(clock: Any) -> None:
    shared = throttle(clock, 1)
    shared.pause(100)
    for _ in range(3):
        with pytest.raises(CrmRateLimitError), shared.slot(patience=10):
            pass
    clock.seconds += 100
    leave(shared)
    assert clock.waits == []


# Pauses


def test_a_pause_is_waited_for_once(clock: Any) -> None:
    shared = throttle(clock, 2)
    shared.pause(5)
    shared.pause(3)  # a shorter one does not end it
    leave(shared)
    leave(shared)
    assert clock.waits == [5]


def test_a_pause_that_grows_meanwhile(clock: Any) -> None:
    shared = throttle(clock)
    shared.pause(5)
    clock.while_waiting = lambda: shared.pause(2) if len(clock.waits) == 1 else None
    leave(shared)
    assert clock.waits == [5, 2]


def test_a_pause_earns_no_burst(clock: Any) -> None:
    shared = Throttle(4, EvenPacer(60, now=clock.now), clock)
    shared.pause(100)
    begin = clock.now()
    leaves = []
    for _ in range(3):
        leave(shared)
        leaves.append(clock.now() - begin)
    assert leaves == [100, 101, 102]


def test_a_call_that_waits_for_its_place_takes_another_one_after_a_pause(clock: Any) -> None:
    shared = Throttle(4, EvenPacer(60, now=clock.now), clock)
    leave(shared)
    clock.while_waiting = lambda: shared.pause(10) if len(clock.waits) == 1 else None
    begin = clock.now()
    leave(shared)  # its place was a second away, and came when the pause had begun
    leave(shared)
    assert clock.now() - begin == 12


def test_the_end_of_the_task_ends_the_waits() -> None:
    clock = Clock()
    shared = throttle(clock, 2)
    shared.pause(600)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(leave, shared)
        clock.end()
        with pytest.raises(CrmError, match="task ended"):
            waiting.result(60)
    with pytest.raises(CrmError, match="task ended"):
        leave(shared)


# Quotas that the CRM announces


def test_a_quota_far_from_its_end_slows_nothing_down(clock: Any) -> None:
    shared = throttle(clock)
    with shared.slot():
        shared.announce(Quota(left=59, reset_in=60, limit=60))
    for _ in range(20):
        leave(shared)
    assert clock.waits == []


def test_the_second_half_of_a_quota_is_spread_over_its_window(clock: Any) -> None:
    shared = throttle(clock)
    with shared.slot():
        shared.announce(Quota(left=6, reset_in=60, limit=60))
    begin = clock.now()
    leaves = []
    for _ in range(7):
        leave(shared)
        leaves.append(clock.now() - begin)
    assert leaves == pytest.approx([0, 12, 24, 36, 48, 60, 60], abs=1e-6)


def test_without_a_limit_a_quota_is_spread_at_once(clock: Any) -> None:
    shared = throttle(clock)
    with shared.slot():
        shared.announce(Quota(left=60, reset_in=60, limit=None))
    leave(shared)
    leave(shared)
    assert sum(clock.waits) == pytest.approx(1, rel=0.1)


def test_an_exhausted_quota_is_waited_out(clock: Any) -> None:
    shared = throttle(clock)
    with shared.slot():
        shared.announce(Quota(left=0, reset_in=42, limit=60))
    leave(shared)
    assert clock.waits == [pytest.approx(42)]


def test_calls_in_flight_count_against_the_quota(clock: Any) -> None:
    shared = throttle(clock, 4)
    with shared.slot(), shared.slot(), shared.slot():
        # Three in flight, one of which brings this answer: two more may not be in the count yet.
        shared.announce(Quota(left=2, reset_in=30, limit=10))
    leave(shared)
    assert clock.waits == [pytest.approx(30)]


def test_answers_out_of_order_do_not_raise_the_quota(clock: Any) -> None:
    shared = throttle(clock, 4)
    with shared.slot():
        shared.announce(Quota(left=0, reset_in=30, limit=10))
        shared.announce(Quota(left=5, reset_in=30, limit=10))
    leave(shared)
    assert clock.waits == [pytest.approx(30)]


def test_another_user_of_the_key_lowers_the_quota(clock: Any) -> None:
    shared = throttle(clock)
    with shared.slot():
        shared.announce(Quota(left=50, reset_in=30, limit=60))
        shared.announce(Quota(left=0, reset_in=30, limit=60))
    leave(shared)
    assert clock.waits == [pytest.approx(30)]


def test_a_new_window_brings_a_new_quota(clock: Any) -> None:
    shared = throttle(clock)
    with shared.slot():
        shared.announce(Quota(left=0, reset_in=10, limit=60))
        shared.announce(Quota(left=59, reset_in=60, limit=60))
    leave(shared)
    assert clock.waits == []


@pytest.mark.slow
@given(
    concurrency=st.integers(1, 5),
    answers=st.lists(
        st.tuples(st.integers(-5, 20), st.floats(0, 60), st.none() | st.integers(0, 20)), max_size=30
    ),
)
def test_no_announcement_blocks_for_longer_than_its_window(
    new_clock: Any, concurrency: int, answers: list[tuple[int, float, int | None]]
) -> None:
    clock = new_clock()
    shared = throttle(clock, concurrency)
    for left, window, limit in answers:
        clock.waits.clear()
        with shared.slot():
            shared.announce(Quota(left=left, reset_in=window, limit=limit))
        assert sum(clock.waits) <= 60.1
