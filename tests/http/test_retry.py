"""What is sent again and what is not, and how long a hook waits before."""

from __future__ import annotations

from typing import Any

import pytest
import urllib3.exceptions

from airflow_provider_crm.exceptions import (
    CrmAuthenticationError,
    CrmNotFoundError,
    CrmOutcomeUnknownError,
    CrmRateLimitError,
    CrmRequestError,
    CrmTooLargeError,
    CrmTransientError,
    CrmUnreadableAnswerError,
)
from airflow_provider_crm.http.answers import read_json
from airflow_provider_crm.http.calls import Call
from airflow_provider_crm.http.client import HttpClient

from .conftest import HOST, MakeClient

URL = f"{HOST}/thing"
GET = Call("GET", "/thing")
#: A call whose repetition could do something twice.
CREDIT = Call("POST", "/thing", body=b"{}", repeatable=False)
UPDATE = Call("PUT", "/thing", body=b"{}")
OK = {"json": {"ok": 1}}

REFUSED = urllib3.exceptions.NewConnectionError(None, "connection refused")  # type: ignore[arg-type]
NO_CONNECTION_IN_TIME = urllib3.exceptions.ConnectTimeoutError()
NO_ANSWER_IN_TIME = urllib3.exceptions.ReadTimeoutError(None, "/thing", "timed out")  # type: ignore[arg-type]
CUT_OFF = urllib3.exceptions.ProtocolError("Connection aborted.")


def read(body: bytes) -> dict[str, int]:
    return read_json(body, dict[str, int])


def failing(exc: Exception) -> dict[str, Any]:
    return {"exc": exc}


#: Answers after which nobody knows whether the CRM did what it was asked to.
UNKNOWN = {
    "500": {"status_code": 500, "text": "<html>Oops</html>"},
    "502": {"status_code": 502},
    "503": {"status_code": 503},
    "504": {"status_code": 504},
    "408": {"status_code": 408},
    "no answer in time": failing(NO_ANSWER_IN_TIME),
    "cut off": failing(CUT_OFF),
    "html": {"text": "<!DOCTYPE html><title>Maintenance</title>"},
    "truncated": {"text": '{"ok": '},
    "empty": {"text": ""},
    "another shape": {"json": ["ok"]},
    "nested without end": {"text": '{"ok":' + "[" * 100_000},
    "not utf-8": {"content": b'{"\xff": 1}'},
    "303": {"status_code": 303, "headers": {"Location": "/thing/1"}},
}
#: Answers after which it certainly did not.
NOT_DONE = {
    "429": {"status_code": 429},
    "refused connection": failing(REFUSED),
    "no connection in time": failing(NO_CONNECTION_IN_TIME),
}
#: Answers that another try would not change.
FINAL = {
    400: CrmRequestError,
    401: CrmAuthenticationError,
    403: CrmAuthenticationError,
    404: CrmNotFoundError,
    405: CrmRequestError,
    409: CrmRequestError,
    410: CrmNotFoundError,
    413: CrmTooLargeError,
    414: CrmTooLargeError,
    422: CrmRequestError,
    431: CrmTooLargeError,
}
both = {**UNKNOWN, **NOT_DONE}


@pytest.mark.parametrize("name", both)
@pytest.mark.parametrize("call", [GET, UPDATE], ids=lambda call: call.method)
def test_a_repeatable_call_is_sent_again(
    client: HttpClient, requests_mock: Any, name: str, call: Call
) -> None:
    if name == "303" and call is GET:
        pytest.skip("followed")
    requests_mock.register_uri(call.method, URL, [both[name], both[name], OK])
    assert client.request(call, read) == {"ok": 1}
    assert (client.counters.requests, client.counters.retries) == (3, 2)


@pytest.mark.parametrize("name", NOT_DONE)
def test_what_did_not_arrive_is_sent_again(client: HttpClient, requests_mock: Any, name: str) -> None:
    requests_mock.post(URL, [NOT_DONE[name], NOT_DONE[name], OK])
    assert client.request(CREDIT, read) == {"ok": 1}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_may_have_been_done_is_not_sent_again(client: HttpClient, requests_mock: Any, name: str) -> None:
    requests_mock.post(URL, [UNKNOWN[name], OK])
    with pytest.raises(CrmOutcomeUnknownError, match=r"POST /thing .* look there before") as caught:
        client.request(CREDIT, read)
    assert requests_mock.call_count == 1
    assert caught.value.call == "POST /thing"


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_after_a_try_that_did_not_arrive(client: HttpClient, requests_mock: Any, name: str) -> None:
    requests_mock.post(URL, [NOT_DONE["429"], UNKNOWN[name], OK])
    with pytest.raises(CrmOutcomeUnknownError):
        client.request(CREDIT, read)
    assert requests_mock.call_count == 2


@pytest.mark.parametrize("name", NOT_DONE)
def test_what_never_arrives_is_known_not_to_be_done(
    client: HttpClient, requests_mock: Any, name: str
) -> None:
    requests_mock.post(URL, **NOT_DONE[name])
    with pytest.raises(CrmTransientError, match="Given up after 4 tries") as caught:
        client.request(CREDIT, read)
    assert not isinstance(caught.value, CrmOutcomeUnknownError)
    assert isinstance(caught.value, CrmRateLimitError) is (name == "429")
    assert requests_mock.call_count == 4


@pytest.mark.parametrize(("status", "error"), FINAL.items())
@pytest.mark.parametrize("call", [GET, UPDATE, CREDIT], ids=lambda call: call.method)
def test_a_refusal_is_final(
    client: HttpClient, requests_mock: Any, call: Call, status: int, error: type[Exception]
) -> None:
    requests_mock.register_uri(call.method, URL, status_code=status, json={"detail": "No.", "status": 0})
    with pytest.raises(error, match=f"{call.name} was answered {status}: No.") as caught:
        client.request(call, read)
    assert type(caught.value) is error
    assert requests_mock.call_count == 1
    if isinstance(caught.value, CrmRequestError):
        assert (caught.value.reason, caught.value.errors, caught.value.status) == ("No.", ("No.",), status)


def test_a_server_that_stays_down(client: HttpClient, requests_mock: Any, clock: Any) -> None:
    requests_mock.get(URL, status_code=503, text="<h1>Down &amp; out</h1>")
    with pytest.raises(CrmTransientError, match=r"503: Down & out\. Given up after 4 tries") as caught:
        client.request(GET, read)
    assert not isinstance(caught.value, (CrmUnreadableAnswerError, CrmRateLimitError))
    assert caught.value.status == 503
    assert len(clock.waits) == 3


def test_a_server_that_talks_nonsense(client: HttpClient, requests_mock: Any) -> None:
    requests_mock.get(URL, text="<html>Login</html>")
    with pytest.raises(CrmUnreadableAnswerError, match="answered 200 with HTML in place of JSON"):
        client.request(GET, read)


def test_no_retries_when_the_settings_say_so(make_client: MakeClient, requests_mock: Any) -> None:
    client = make_client(max_retries=0)
    requests_mock.get(URL, status_code=503)
    with pytest.raises(CrmTransientError):
        client.request(GET, read)
    assert requests_mock.call_count == 1


def test_a_reader_that_stumbles_is_an_unknown_outcome(client: HttpClient, requests_mock: Any) -> None:
    def stumble(body: bytes) -> None:
        raise KeyError("secret@example.com")

    requests_mock.post(URL, **OK)
    with pytest.raises(CrmOutcomeUnknownError, match="another shape than documented") as caught:
        client.request(CREDIT, stumble)
    assert "secret" not in str(caught.value)


def test_a_deletion_whose_answer_was_lost(client: HttpClient, requests_mock: Any) -> None:
    requests_mock.delete(URL, [UNKNOWN["502"], {"status_code": 404}])
    with pytest.raises(CrmNotFoundError) as caught:
        client.request(Call("DELETE", "/thing"), read)
    assert caught.value.after_unknown


@pytest.mark.parametrize("first", [NOT_DONE["429"], NOT_DONE["refused connection"]])
def test_a_deletion_that_did_not_arrive_before(client: HttpClient, requests_mock: Any, first: Any) -> None:
    requests_mock.delete(URL, [first, {"status_code": 404}])
    with pytest.raises(CrmNotFoundError) as caught:
        client.request(Call("DELETE", "/thing"), read)
    assert not caught.value.after_unknown


# How long to wait


def test_the_crms_wish_is_the_least(client: HttpClient, requests_mock: Any, clock: Any) -> None:
    requests_mock.get(URL, [{"status_code": 429, "headers": {"Retry-After": "7"}}, OK])
    client.request(GET, read)
    assert 7 <= sum(clock.waits) < 14


def test_a_pause_holds_for_the_other_calls_too(client: HttpClient, requests_mock: Any, clock: Any) -> None:
    requests_mock.get(URL, [{"status_code": 503, "headers": {"Retry-After": "7"}}, OK])
    with pytest.raises(CrmTransientError):
        client.request(GET, read, budget=5.0)
    before = clock.now()
    client.request(GET, read)
    assert clock.now() - before == pytest.approx(7)


def test_a_wish_that_is_too_long_is_not_waited_for(
    client: HttpClient, requests_mock: Any, clock: Any
) -> None:
    requests_mock.get(URL, status_code=429, headers={"Retry-After": "3600"})
    with pytest.raises(CrmRateLimitError) as caught:
        client.request(GET, read)
    assert caught.value.retry_after == 3600
    # Nor does the next call hang until then, or ask again before.
    with pytest.raises(CrmRateLimitError, match="pause of 3600 s") as caught:
        client.request(GET, read)
    assert caught.value.retry_after == pytest.approx(3600)
    assert (requests_mock.call_count, clock.waits) == (1, [])
    clock.seconds += 3601
    requests_mock.get(URL, **OK)
    assert client.request(GET, read) == {"ok": 1}


def test_waits_grow_and_end(make_client: MakeClient, requests_mock: Any, clock: Any) -> None:
    client = make_client(max_retries=40)
    requests_mock.get(URL, status_code=503)
    with pytest.raises(CrmTransientError, match="41 tries"):
        client.request(GET, read, budget=1e9)
    assert all(0 <= wait <= 0.5 * 2**number for number, wait in enumerate(clock.waits))
    assert 10 < max(clock.waits) <= 60


def test_no_attempt_begins_after_the_time_for_them(
    make_client: MakeClient, requests_mock: Any, clock: Any
) -> None:
    client = make_client(max_retries=1000)
    requests_mock.get(URL, status_code=503)
    with pytest.raises(CrmTransientError, match="Given up after"):
        client.request(GET, read, budget=120.0)
    assert 60 < sum(clock.waits) < 120


def test_a_client_that_is_closed_tries_no_further(client: HttpClient, requests_mock: Any) -> None:
    def close(request: Any, context: Any) -> str:
        context.status_code = 503
        client.close()
        return ""

    requests_mock.get(URL, text=close)
    with pytest.raises(CrmTransientError):
        client.request(GET, read)
    assert requests_mock.call_count == 1


def test_a_client_that_is_closed_while_waiting_tries_no_further(
    client: HttpClient, requests_mock: Any, clock: Any
) -> None:
    clock.while_waiting = client.close
    requests_mock.get(URL, status_code=503)
    with pytest.raises(CrmTransientError):
        client.request(GET, read)
    assert (requests_mock.call_count, len(clock.waits)) == (1, 1)
