"""One hook in many threads: set up once, never stuck, and over when the task is."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmError, CrmInputError
from airflow_provider_crm.hooks.expertsender import ExpertSenderHook

URL = "https://api.ecdp.app/customerconsents"


def test_the_connection_is_looked_up_once(make: Any, requests_mock: Any, monkeypatch: Any) -> None:
    requests_mock.get(URL, json={"status": 0, "data": []})
    hook = make(ExpertSenderHook, password="key")
    looked_up = []
    look_up = hook.get_connection

    def slow(conn_id: str) -> Any:
        looked_up.append(conn_id)
        time.sleep(0.02)
        return look_up(conn_id)

    monkeypatch.setattr(hook, "get_connection", slow)
    barrier = threading.Barrier(8)

    def call(_: int) -> list[Any]:
        barrier.wait()
        return hook.list_consents()  # type: ignore[no-any-return]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(8))) == [[]] * 8
    assert looked_up == ["expertsender_cdp_default"]
    assert hook.counters.requests == 8


@pytest.mark.parametrize("concurrency", [1, 2, 8])
def test_side_by_side_inside_side_by_side(make: Any, concurrency: int) -> None:
    hook = make(ExpertSenderHook, concurrency, password="key")

    def square(item: int) -> int:
        return item * item

    def outer(item: int) -> list[int]:
        return hook.side_by_side(square, range(item))  # type: ignore[no-any-return]

    assert hook.side_by_side(outer, range(20)) == [[n * n for n in range(item)] for item in range(20)]


def test_results_keep_the_order_of_the_items(make: Any) -> None:
    hook = make(ExpertSenderHook, 4, password="key")

    def slow_first(item: int) -> int:
        time.sleep(0.01 if item == 0 else 0)
        return item

    assert hook.side_by_side(slow_first, iter(range(20))) == list(range(20))
    assert hook.side_by_side(slow_first, []) == []


def test_a_failure_is_the_callers(make: Any) -> None:
    hook = make(ExpertSenderHook, 2, password="key")

    def fail(item: int) -> int:
        if item == 3:
            raise CrmInputError("three")
        return item

    with pytest.raises(CrmInputError, match="three"):
        hook.side_by_side(fail, range(100))
    assert hook.side_by_side(fail, range(3)) == [0, 1, 2]


@pytest.mark.usefixtures("real_time")
def test_closing_ends_the_waits_of_all_threads(make: Any, requests_mock: Any) -> None:
    requests_mock.get(URL, status_code=503, headers={"Retry-After": "60"})
    hook = make(ExpertSenderHook, 4, password="key")
    threading.Timer(0.1, hook.close).start()
    begin = time.monotonic()
    with pytest.raises(CrmError):
        hook.side_by_side(lambda _: hook.list_consents(), range(8))
    assert time.monotonic() - begin < 5


def test_each_connection_setting_of_concurrency(make: Any) -> None:
    assert make(ExpertSenderHook).concurrency == 8
    assert make(ExpertSenderHook, extra={"concurrency": 3}).concurrency == 3
    assert make(ExpertSenderHook, 5, extra={"concurrency": 3}).concurrency == 5


def test_nothing_begins_after_the_end(make: Any) -> None:
    hook = make(ExpertSenderHook, password="key")
    hook.in_background(int).result()
    hook.close()
    with pytest.raises(CrmError, match="The task ended"):
        hook.in_background(int)
