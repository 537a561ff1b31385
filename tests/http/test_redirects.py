"""Redirects: method, body and credentials stay together, and go to the connection's own host only."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmOutcomeUnknownError, CrmRedirectError
from airflow_provider_crm.http.answers import read_json
from airflow_provider_crm.http.calls import Call

from .conftest import HOST, MakeClient

CALLS = [
    Call("GET", "/thing"),
    Call("PUT", "/thing", body=b'{"a":1}'),
    Call("DELETE", "/thing"),
    Call("POST", "/thing", body=b'{"a":1}', repeatable=False),
]
each_call = pytest.mark.parametrize("call", CALLS, ids=lambda call: call.method)


def read(body: bytes) -> dict[str, int]:
    return read_json(body, dict[str, int])


@each_call
@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize(
    "location", ["/api/thing/?x=1", f"{HOST}/api/thing/?x=1", f"{HOST.upper()}:443/api/thing/?x=1"]
)
def test_on_the_same_host(client: Any, requests_mock: Any, call: Call, status: int, location: str) -> None:
    requests_mock.register_uri(
        call.method, f"{HOST}/thing", status_code=status, headers={"Location": location}
    )
    requests_mock.register_uri(call.method, f"{HOST}/api/thing/?x=1", json={"ok": 1})
    assert client.request(call, read) == {"ok": 1}
    first, second = requests_mock.request_history
    assert (second.method, second.body) == (first.method, first.body) == (call.method, call.body)
    assert second.headers["x-api-key"] == "api-key"
    assert client.counters.retries == 0


@each_call
@pytest.mark.parametrize(
    "location",
    [
        "https://evil.example/thing",
        "//evil.example/thing",
        "https://crm.example.com.evil.example/thing",
        "https://crm.example.com@evil.example/thing",
        "https://evil.example\\@crm.example.com/thing",
        "https://crm.example.com:8443/thing",
        "http://crm.example.com/thing",
        "http://crm.example.com:443/thing",
        "ftp://crm.example.com/thing",
        "file:///etc/passwd",
        "https://[::1",
        "https://crm.example.com:port/",
        "https://crm.example.com:99999/",
        "mailto:bob@example.com",
    ],
)
def test_elsewhere(client: Any, requests_mock: Any, call: Call, location: str) -> None:
    requests_mock.register_uri(call.method, f"{HOST}/thing", status_code=307, headers={"Location": location})
    with pytest.raises(CrmRedirectError) as caught:
        client.request(call, read)
    assert caught.value.call == call.name
    assert "bob@example.com" not in str(caught.value)
    assert requests_mock.call_count == 1


def test_from_http_to_https(make_client: MakeClient, requests_mock: Any) -> None:
    client = make_client("http://crm.example.com")
    requests_mock.get(
        "http://crm.example.com/thing", status_code=301, headers={"Location": "https://crm.example.com/thing"}
    )
    requests_mock.get("https://crm.example.com/thing", json={"ok": 1})
    assert client.request(CALLS[0], read) == {"ok": 1}


@pytest.mark.parametrize(
    "location", ["https://crm.example.com/thing", "http://crm.example.com:8081/thing", "https://x.example/"]
)
def test_from_another_port_of_http(make_client: MakeClient, requests_mock: Any, location: str) -> None:
    client = make_client("http://crm.example.com:8080")
    requests_mock.get("http://crm.example.com:8080/thing", status_code=301, headers={"Location": location})
    with pytest.raises(CrmRedirectError):
        client.request(CALLS[0], read)


def test_a_circle(client: Any, requests_mock: Any) -> None:
    requests_mock.get(f"{HOST}/thing", status_code=302, headers={"Location": "/thing"})
    with pytest.raises(CrmRedirectError, match="circle"):
        client.request(CALLS[0], read)
    assert requests_mock.call_count == 6


def test_see_other_is_followed_by_reading_only(client: Any, requests_mock: Any) -> None:
    requests_mock.get(f"{HOST}/thing", status_code=303, headers={"Location": "/other"})
    requests_mock.get(f"{HOST}/other", json={"ok": 1})
    assert client.request(CALLS[0], read) == {"ok": 1}


def test_see_other_deletes_nothing_else(client: Any, requests_mock: Any) -> None:
    requests_mock.delete(f"{HOST}/thing", status_code=303, headers={"Location": "/"})
    everything = requests_mock.delete(f"{HOST}/")
    with pytest.raises(Exception, match="303"):
        client.request(CALLS[2], read, budget=0.0)
    assert not everything.called


def test_see_other_after_a_credit_is_an_unknown_outcome(client: Any, requests_mock: Any) -> None:
    requests_mock.post(f"{HOST}/thing", status_code=303, headers={"Location": "/thing/1"})
    with pytest.raises(CrmOutcomeUnknownError):
        client.request(CALLS[3], read)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_credit_is_not_repeated_at_another_resource(client: Any, requests_mock: Any, status: int) -> None:
    """It may have been carried out, and its result, or the next page, be there."""
    requests_mock.post(f"{HOST}/thing", status_code=status, headers={"Location": "/thing/1"})
    elsewhere = requests_mock.post(f"{HOST}/thing/1", status_code=404)
    with pytest.raises(CrmOutcomeUnknownError):
        client.request(CALLS[3], read)
    assert not elsewhere.called


def test_a_redirect_to_nowhere(client: Any, requests_mock: Any) -> None:
    requests_mock.get(f"{HOST}/thing", status_code=302)
    with pytest.raises(Exception, match="302"):
        client.request(CALLS[0], read)
