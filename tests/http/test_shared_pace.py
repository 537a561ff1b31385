"""Calls a minute of all workers together, against a real Redis that these tests start, and what happens without one."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Mapping
from typing import Any

import pytest
from redis import Redis

from airflow_provider_crm.exceptions import CrmConnectionError, CrmTransientError
from airflow_provider_crm.http.calls import Call
from airflow_provider_crm.http.client import HttpClient
from airflow_provider_crm.http.shared_pace import SharedPacer, shared_pacer

from .conftest import HOST, MakeClient

KEY = "api-key-0123456789"
CALLED = "Redis connection 'limits'"
URL = f"{HOST}/thing"
GET = Call("GET", "/thing")

# A worker: makes so many calls as fast as it may, once it is told to begin.
WORKER = """
import sys
from airflow_provider_crm.hooks.expertsender import ExpertSenderHook

name, calls = sys.argv[1], int(sys.argv[2])
hook = ExpertSenderHook(concurrency=8)
hook.settings
print("ready", flush=True)
sys.stdin.readline()
hook.side_by_side(hook.get_customer, [f"{name}{number}@example.com" for number in range(calls)])
"""


@pytest.fixture
def limited(make_client: MakeClient) -> MakeClient:
    """Make a client whose limit is shared through a Redis."""

    def limited(redis: Mapping[str, Any], **settings: Any) -> HttpClient:
        pacer = shared_pacer(redis, per_minute=600, whose=[KEY, HOST], called=CALLED)
        return make_client(pacer=pacer, **settings)

    return limited


class StoppedRedis(Redis):
    """A Redis whose clock stands."""

    moment = 1_000_000

    def time(self, **_: Any) -> tuple[int, int]:
        return (self.moment, 0)


def pacer(redis: Any, name: str = "key", *, per_minute: float = 120, **parts: Any) -> SharedPacer:
    client = StoppedRedis(**redis.arguments())
    return SharedPacer(
        client, name=name, per_minute=per_minute, called=CALLED, **{"now": lambda: 0.0, **parts}
    )


# The limit


@pytest.mark.slow  # two processes that import Airflow
def test_two_processes_together_keep_the_limit(redis: Any, crm_sandbox: Any) -> None:
    calls, interval = 30, 0.05
    connection = json.loads(crm_sandbox.connections()["expertsender_cdp_default"])
    limit = {"requests_per_minute": 60 / interval, "rate_limit_conn_id": "limits"}
    connection["extra"] = {**connection.get("extra", {}), **limit}
    environ = {
        **os.environ,
        "AIRFLOW_CONN_EXPERTSENDER_CDP_DEFAULT": json.dumps(connection),
        "AIRFLOW_CONN_LIMITS": json.dumps({"conn_type": "redis", **redis.arguments()}),
    }
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, name, str(calls)],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("first", "second")
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert any(line.strip() == "ready" for line in worker.stdout)
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        worker.communicate(timeout=300)
        assert worker.returncode == 0

    with redis.client() as client:
        keys = [key.split(b"/") for key in client.scan_iter()]
    assert len({name for name, *_ in keys}) == 1
    places = sorted(int(slot) * interval for _, slot, *_ in keys)
    arrived = sorted(call.at for call in crm_sandbox.calls)
    # Each call has a place of its own, and none leaves before it.
    assert len(places) == len(arrived) == 2 * calls
    assert all(moment >= place - 0.001 for moment, place in zip(arrived, places, strict=True))


def test_places_of_several_workers_are_at_even_distances(redis: Any) -> None:
    workers = [pacer(redis) for _ in range(3)]
    taken = [worker.reserve() for _ in range(8) for worker in workers]
    assert taken == [0.5 * number for number in range(24)]


def test_a_worker_that_comes_late_queues_up_behind_the_others(redis: Any) -> None:
    early = pacer(redis)
    for _ in range(20):
        early.reserve()
    assert pacer(redis).reserve() == 10


def test_a_clock_that_is_off_does_not_matter(redis: Any) -> None:
    first, second = pacer(redis, now=lambda: 0.0), pacer(redis, now=lambda: 86400.0)
    assert [first.reserve(), second.reserve(), first.reserve()] == [0, 0.5, 1]


@pytest.mark.parametrize(("other", "per_minute"), [("another key", 120), ("key", 240)])
def test_another_key_or_rate_is_another_limit(redis: Any, other: str, per_minute: float) -> None:
    for name, rate in (("key", 120), (other, per_minute)):
        whose = [shared_pacer(redis.arguments(), per_minute=rate, whose=[name], called=CALLED) for _ in "ab"]
        for one in whose:
            one.reserve()
    with redis.client() as client:
        assert len({key.split(b"/")[0] for key in client.scan_iter()}) == 2


def test_redis_sees_neither_keys_nor_addresses_and_forgets(
    redis: Any, limited: Any, requests_mock: Any
) -> None:
    requests_mock.get(URL, content=b"")
    limited(redis.arguments()).request(GET, bytes)
    with redis.client() as client:
        (name,) = client.keys()
        assert KEY.encode() not in name
        assert b"example" not in name
        assert 0 < client.ttl(name) <= 1000


# Without a Redis


def test_no_call_leaves_while_redis_is_down(
    redis: Any, limited: Any, requests_mock: Any, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    requests_mock.get(URL, content=b"")
    client = limited(redis.arguments(), max_retries=3)
    redis.stop()
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(
            CrmTransientError, match=r"'limits'.* does not answer .*after 4 tries; a later run may pass"
        ) as e,
    ):
        client.request(GET, bytes)
    assert (requests_mock.call_count, client.counters.requests, len(clock.waits)) == (0, 0, 3)
    shown = caplog.text + "".join(traceback.format_exception(e.value))
    assert redis.password not in shown
    assert KEY not in shown


@pytest.mark.slow
def test_calls_go_on_when_redis_is_back(redis: Any, limited: Any, requests_mock: Any, clock: Any) -> None:
    requests_mock.get(URL, content=b"")
    client = limited(redis.arguments())
    client.request(GET, bytes)
    redis.stop()
    clock.while_waiting = lambda: redis.start() if client.counters.requests == 1 else None
    assert client.request(GET, bytes) == b""
    assert (requests_mock.call_count, client.counters.retries) == (2, 1)


def test_a_connection_that_redis_has_cut_is_made_again(redis: Any, limited: Any, requests_mock: Any) -> None:
    requests_mock.get(URL, content=b"")
    client = limited(redis.arguments())
    client.request(GET, bytes)
    with redis.client() as other:
        other.client_kill_filter(_type="normal", skipme=True)
    client.request(GET, bytes)
    assert client.counters.retries == 0


@pytest.mark.parametrize(
    "parts", [{"password": "wrong-0123456789"}, {"username": "nobody"}, {"password": None}], ids=str
)
def test_a_login_that_redis_refuses_fails_at_once(
    redis: Any, limited: Any, clock: Any, parts: dict[str, Any]
) -> None:
    client = limited(redis.arguments(**parts))
    with pytest.raises(CrmConnectionError, match=r"'limits'.* refuses its login") as caught:
        client.request(GET, bytes)
    assert clock.waits == []
    assert "0123456789" not in "".join(traceback.format_exception(caught.value))
