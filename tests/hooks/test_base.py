"""What all hooks share: one in many threads, set up once, and patient with nobody who waits for an answer."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmError
from airflow_provider_crm.hooks.expertsender import ExpertSenderHook
from airflow_provider_crm.http.clock import Clock

URL = "https://api.ecdp.app/customerconsents"


def test_the_connection_is_looked_up_once(make: Any, requests_mock: Any, monkeypatch: Any) -> None:
    requests_mock.get(URL, json={"status": 0, "data": []})
    hook = make(ExpertSenderHook, password="key")
    looked_up = []
    all_came = threading.Event()
    look_up = hook.get_connection

    def slow(conn_id: str) -> Any:
        looked_up.append(conn_id)
        assert all_came.wait(60)
        return look_up(conn_id)

    monkeypatch.setattr(hook, "get_connection", slow)
    barrier = threading.Barrier(8, action=all_came.set)

    def call(_: int) -> list[Any]:
        barrier.wait()
        return hook.list_consents()  # type: ignore[no-any-return]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(8))) == [[]] * 8
    assert looked_up == ["expertsender_cdp_default"]
    assert hook.counters.requests == 8


def test_each_connection_setting_of_concurrency(make: Any) -> None:
    assert make(ExpertSenderHook).concurrency == 8
    assert make(ExpertSenderHook, extra={"concurrency": 3}).concurrency == 3
    assert make(ExpertSenderHook, 5, extra={"concurrency": 3}).concurrency == 5


def test_a_person_who_tests_the_connection_does_not_wait(
    expertsender: Any, requests_mock: Any, clock: Any
) -> None:
    requests_mock.get(URL, status_code=429, headers={"Retry-After": "60"})
    works, sentence = expertsender.test_connection()
    assert not works
    assert "429" in sentence
    assert sum(clock.waits) < 10


def test_closing_ends_the_waits_of_all_threads(make: Any, requests_mock: Any) -> None:
    asked = threading.Semaphore(0)

    def busy(request: Any, context: Any) -> str:
        asked.release()
        context.status_code = 503
        context.headers["Retry-After"] = "200"
        return ""

    requests_mock.get(URL, text=busy)
    hook = make(ExpertSenderHook, 4, password="key")
    hook.clock = Clock()
    calls = [hook.in_background(hook.list_consents) for _ in range(8)]
    assert asked.acquire(timeout=60)
    hook.close()
    for call in calls:
        with pytest.raises(CrmError):
            call.result(60)
