"""What a connection, and the Redis connection that it names, say about calls a minute."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from requests_mock import ANY

from airflow_provider_crm._compat import AirflowNotFoundException, Connection
from airflow_provider_crm.exceptions import CrmConnectionError
from airflow_provider_crm.hooks.base.pacing import redis_arguments
from airflow_provider_crm.hooks.expertsender import ExpertSenderHook
from airflow_provider_crm.hooks.mindbaz import MindbazHook


@pytest.fixture
def limited(make: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make a hook whose limit is shared through the given connection."""

    def limited(redis: dict[str, Any] | None, hook_class: Any = ExpertSenderHook, **extra: Any) -> Any:
        extra = {"requests_per_minute": 600, "rate_limit_conn_id": "limits", **extra}
        hook = make(hook_class, password="key", extra=extra)
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


def test_a_limit_of_the_process(make: Any, requests_mock: Any, clock: Any) -> None:
    requests_mock.get("https://api.ecdp.app/customerconsents", json={"status": 0, "data": []})
    hook = make(ExpertSenderHook, password="key", extra={"requests_per_minute": 1200})
    hook.side_by_side(lambda _: hook.list_consents(), range(6))
    assert clock.waits == pytest.approx([0.05] * 5)


def test_hooks_share_the_limit_of_one_key_on_one_system(redis: Any, limited: Any, requests_mock: Any) -> None:
    requests_mock.get(ANY, json={"success": True, "status": 0, "data": []})
    connection = {"conn_type": "redis", **redis.arguments()}

    def limits() -> set[bytes]:
        with redis.client() as client:
            return {key.split(b"/")[0] for key in client.scan_iter()}

    for _ in range(2):
        limited(connection).list_consents()
    assert len(limits()) == 1
    limited(connection, MindbazHook, site_id=3).list_fields()
    assert len(limits()) == 2


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
def test_a_redis_connection_is_read_as_airflow_means_it(
    uri: str, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LIMITS", uri)
    arguments = redis_arguments(ExpertSenderHook.get_connection("limits"))
    assert {name: arguments[name] for name in expected} == expected
    assert ("ssl" in arguments) == ("ssl" in expected)


def test_extras_for_others_are_not_passed_on() -> None:
    extra = json.dumps({"socket_timeout": 0, "ssl": "false", "ssl_keyfile": "/key"})
    arguments = redis_arguments(Connection(conn_id="limits", conn_type="redis", extra=extra))
    assert set(arguments) == {"host", "port", "db", "username", "password"}
