"""How long a server asks to wait, whatever it says, and quotas that it tells in headers."""

from __future__ import annotations

from dataclasses import replace
from email.utils import formatdate
from typing import Any

import pytest

from airflow_provider_crm.http.answers import read_json
from airflow_provider_crm.http.calls import Call
from airflow_provider_crm.http.clock import Clock
from airflow_provider_crm.http.quota import QuotaHeaders, seconds_asked

from .conftest import HOST, MakeClient

URL = f"{HOST}/thing"
GET = Call("GET", "/thing")
QUOTA = QuotaHeaders(
    limit="X-RateLimit-Limit",
    remaining="X-RateLimit-Remaining",
    reset="X-RateLimit-Reset",
    reset_is="unix",
    window=60.0,
)


def read(body: bytes) -> dict[str, int]:
    return read_json(body, dict[str, int])


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": "120"}, 120),
        ({"Retry-After": " 1.5 "}, 1.5),
        ({"Retry-After": "-5"}, 0),
        ({"Retry-After": "1e12"}, 86400),
        # Hostile or broken: as if it said nothing.
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Fri, 99 Foo 99999 99:99:99 GMT"}, None),
        # Dates count by the server's clock, which is an hour off.
        ({"Retry-After": formatdate(1e9 + 30, usegmt=True), "Date": formatdate(1e9, usegmt=True)}, 30),
        ({"Retry-After": formatdate(1e9 - 30, usegmt=True), "Date": formatdate(1e9, usegmt=True)}, 0),
        # A quota's reset, a Unix time stamp; never more than the window of a minute.
        ({"X-RateLimit-Reset": "1000000020", "Date": formatdate(1e9, usegmt=True)}, 20),
        (
            {
                "X-RateLimit-Reset": "1000000020",
                "X-RateLimit-Remaining": "0",
                "Date": formatdate(1e9, usegmt=True),
            },
            20,
        ),
        ({"X-RateLimit-Reset": "9999999999999", "Date": formatdate(1e9, usegmt=True)}, 60),
        ({"X-RateLimit-Reset": "20", "Date": formatdate(1e9, usegmt=True)}, 0),
        ({"X-RateLimit-Reset": "nan"}, None),
        # It is not exhausted: the failure has another reason.
        (
            {
                "X-RateLimit-Reset": "1000000020",
                "X-RateLimit-Remaining": "50",
                "Date": formatdate(1e9, usegmt=True),
            },
            None,
        ),
        ({"Retry-After": "3", "X-RateLimit-Reset": "1000000020", "Date": formatdate(1e9, usegmt=True)}, 3),
    ],
)
def test_how_long_the_crm_asks_to_wait(clock: Clock, headers: dict[str, str], seconds: float | None) -> None:
    assert seconds_asked(headers, QUOTA, clock) == seconds


@pytest.mark.parametrize("date", [None, "yesterday", "Fri, 31 Feb 99999 00:00:00 GMT"])
def test_our_clock_where_the_server_shows_none(clock: Clock, date: str | None) -> None:
    headers = {"X-RateLimit-Reset": str(clock.unix_time() + 30), **({"Date": date} if date else {})}
    assert QUOTA.reset_in(headers, clock) == 30


@pytest.mark.parametrize(("reset", "seconds"), [("20", 20), ("-1", 0), ("900", 60), ("soon", None)])
def test_a_reset_in_seconds(clock: Clock, reset: str, seconds: float | None) -> None:
    quota = replace(QUOTA, reset_is="seconds")
    assert (
        quota.reset_in({"X-RateLimit-Reset": reset, "Date": formatdate(5e8, usegmt=True)}, clock) == seconds
    )


def test_only_the_headers_that_are_named_are_a_quota(clock: Clock) -> None:
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1000000020"}
    assert seconds_asked(headers, None, clock) is None


# Exhausted quotas


def test_an_exhausted_quota_is_waited_for_without_a_refusal(
    make_client: MakeClient, requests_mock: Any, clock: Any
) -> None:
    client = make_client(quota=QUOTA)
    headers = {
        "X-RateLimit-Limit": "60",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(int(1e9 + 30)),
        "Date": formatdate(1e9, usegmt=True),
    }
    requests_mock.get(URL, json={"ok": 1}, headers=headers)
    client.request(GET, read)
    client.request(GET, read)
    assert clock.waits == [pytest.approx(30)]


@pytest.mark.parametrize(
    "headers",
    [
        {"X-RateLimit-Remaining": "many", "X-RateLimit-Reset": "1000000030"},
        {"X-RateLimit-Remaining": "-1", "X-RateLimit-Reset": "1000000030"},
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "soon"},
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "nan"},
        {"X-RateLimit-Remaining": "0"},
        {"X-RateLimit-Remaining": "1", "X-RateLimit-Reset": "1000000030", "X-RateLimit-Limit": "x"},
    ],
)
def test_a_quota_that_makes_no_sense(
    make_client: MakeClient, requests_mock: Any, clock: Any, headers: Any
) -> None:
    client = make_client(quota=QUOTA)
    headers = {**headers, "Date": formatdate(1e9, usegmt=True)}
    requests_mock.get(URL, json={"ok": 1}, headers=headers)
    client.request(GET, read)
    client.request(GET, read)
    assert clock.waits == [] or headers["X-RateLimit-Remaining"] == "1"
