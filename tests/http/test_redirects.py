"""Redirects: method, body and credentials stay together, and go to the connection's own host only."""

from __future__ import annotations

from typing import Any

import pytest
import requests_mock as requests_mock_module

from airflow_provider_crm.exceptions import CrmOutcomeUnknownError, CrmRedirectError
from airflow_provider_crm.http.answers import read_json
from airflow_provider_crm.http.calls import Call

from .conftest import HOST, MakeClient

GET = Call("GET", "/thing")
DELETE = Call("DELETE", "/thing")
#: A call whose repetition could do something twice.
CREDIT = Call("POST", "/thing", body=b'{"a":1}', repeatable=False)
REPEATABLE = [GET, Call("PUT", "/thing", body=b'{"a":1}'), DELETE]


def each_of(*calls: Call) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("call", calls, ids=lambda call: call.method)


def read(body: bytes) -> dict[str, int]:
    return read_json(body, dict[str, int])


@pytest.mark.slow
@each_of(*REPEATABLE)
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


@pytest.mark.slow
@each_of(*REPEATABLE, CREDIT)
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
    assert client.request(GET, read) == {"ok": 1}


@pytest.mark.parametrize(
    "location", ["https://crm.example.com/thing", "http://crm.example.com:8081/thing", "https://x.example/"]
)
def test_from_another_port_of_http(make_client: MakeClient, requests_mock: Any, location: str) -> None:
    client = make_client("http://crm.example.com:8080")
    requests_mock.get("http://crm.example.com:8080/thing", status_code=301, headers={"Location": location})
    with pytest.raises(CrmRedirectError):
        client.request(GET, read)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_circle(client: Any, requests_mock: Any, status: int) -> None:
    requests_mock.get(f"{HOST}/thing", status_code=status, headers={"Location": "/thing"})
    with pytest.raises(CrmRedirectError, match="circle"):
        client.request(GET, read)
    assert requests_mock.call_count == 1


def test_a_larger_circle(client: Any, requests_mock: Any) -> None:
    requests_mock.get(f"{HOST}/thing", status_code=302, headers={"Location": "/thing/"})
    requests_mock.get(f"{HOST}/thing/", status_code=302, headers={"Location": "/thing"})
    with pytest.raises(CrmRedirectError, match="circle"):
        client.request(GET, read)
    assert requests_mock.call_count == 2


def test_a_way_without_an_end(client: Any, requests_mock: Any) -> None:
    def further(request: Any, context: Any) -> str:
        context.status_code, context.headers["Location"] = 302, f"{request.url}/x"
        return ""

    requests_mock.get(requests_mock_module.ANY, text=further)
    with pytest.raises(CrmRedirectError, match="again and again"):
        client.request(GET, read)
    assert requests_mock.call_count == 6


def test_see_other_is_followed_by_reading_only(client: Any, requests_mock: Any) -> None:
    requests_mock.get(f"{HOST}/thing", status_code=303, headers={"Location": "/other"})
    requests_mock.get(f"{HOST}/other", json={"ok": 1})
    assert client.request(GET, read) == {"ok": 1}


def test_see_other_deletes_nothing_else(client: Any, requests_mock: Any) -> None:
    requests_mock.delete(f"{HOST}/thing", status_code=303, headers={"Location": "/"})
    everything = requests_mock.delete(f"{HOST}/")
    with pytest.raises(Exception, match="303"):
        client.request(DELETE, read, budget=0.0)
    assert not everything.called


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_deletion_that_leads_back_to_itself_is_asked_for_again(
    client: Any, requests_mock: Any, status: int
) -> None:
    back = {"status_code": status, "headers": {"Location": "/thing"}}
    requests_mock.delete(f"{HOST}/thing", [back, {"json": {"ok": 1}}])
    assert client.request(DELETE, read) == {"ok": 1}
    assert (client.counters.requests, client.counters.retries) == (2, 1)


# What must not be repeated


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("location", ["/thing/", f"{HOST}/thing/", f"{HOST.upper()}:443/thing/"])
def test_a_credit_follows_to_a_slash(client: Any, requests_mock: Any, status: int, location: str) -> None:
    requests_mock.post(f"{HOST}/thing", status_code=status, headers={"Location": location})
    there = requests_mock.post(f"{HOST}/thing/", json={"ok": 1})
    assert client.request(CREDIT, read) == {"ok": 1}
    assert (there.last_request.body, there.last_request.headers["x-api-key"]) == (CREDIT.body, "api-key")
    assert (requests_mock.call_count, client.counters.retries) == (2, 0)


@pytest.mark.parametrize("status", [307, 308])
def test_a_credit_follows_to_https(make_client: MakeClient, requests_mock: Any, status: int) -> None:
    client = make_client("http://crm.example.com")
    requests_mock.post(
        "http://crm.example.com/thing", status_code=status, headers={"Location": f"{HOST}/thing"}
    )
    requests_mock.post(f"{HOST}/thing", json={"ok": 1})
    assert client.request(CREDIT, read) == {"ok": 1}


@pytest.mark.parametrize("status", [301, 302, 303])
@pytest.mark.parametrize(
    "location",
    ["/thing", "/thing/", "/thing/1", "?done=1", "https://elsewhere.example/thing", "https://[::1"],
)
def test_a_credit_that_is_answered_as_a_form_is_an_unknown_outcome(
    client: Any, requests_mock: Any, status: int, location: str
) -> None:
    """It may have been carried out, and its result, or the next page, be there."""
    requests_mock.register_uri(requests_mock_module.ANY, requests_mock_module.ANY, status_code=404)
    requests_mock.post(f"{HOST}/thing", status_code=status, headers={"Location": location})
    with pytest.raises(CrmOutcomeUnknownError, match=str(status)):
        client.request(CREDIT, read)
    assert requests_mock.call_count == 1


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("location", ["/thing/1", "/", "/things", "/Thing", "?done=1", "/thing?done=1"])
def test_a_credit_is_not_repeated_at_another_resource(
    client: Any, requests_mock: Any, status: int, location: str
) -> None:
    requests_mock.post(f"{HOST}/thing", status_code=status, headers={"Location": location})
    with pytest.raises(CrmOutcomeUnknownError):
        client.request(CREDIT, read)
    assert requests_mock.call_count == 1


@pytest.mark.parametrize("status", [307, 308])
def test_a_credit_is_not_repeated_in_a_circle(client: Any, requests_mock: Any, status: int) -> None:
    requests_mock.post(f"{HOST}/thing", status_code=status, headers={"Location": "/thing/"})
    requests_mock.post(f"{HOST}/thing/", status_code=status, headers={"Location": "/thing"})
    with pytest.raises(CrmOutcomeUnknownError):
        client.request(CREDIT, read)
    assert requests_mock.call_count == 2


def test_a_redirect_to_nowhere(client: Any, requests_mock: Any) -> None:
    requests_mock.get(f"{HOST}/thing", status_code=302)
    with pytest.raises(Exception, match="302"):
        client.request(GET, read)
