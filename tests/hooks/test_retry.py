"""What is sent again and what is not, and how long a hook waits before."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

import pytest
import requests
import urllib3.exceptions

from airflow_provider_crm.exceptions import (
    CrmAuthenticationError,
    CrmConnectionError,
    CrmNotFoundError,
    CrmOutcomeUnknownError,
    CrmRateLimitError,
    CrmRequestError,
    CrmTooLargeError,
    CrmTransientError,
    CrmUnreadableAnswerError,
)
from airflow_provider_crm.hooks.expertsender import ExpertSenderHook
from airflow_provider_crm.http.answers import read_json
from airflow_provider_crm.http.calls import Call
from airflow_provider_crm.http.retry import reset_in, seconds_asked

URL = "https://api.ecdp.app/thing"
GET = Call("GET", "/thing")
#: A call whose repetition could do something twice.
CREDIT = Call("POST", "/thing", body=b"{}", repeatable=False)
UPDATE = Call("PUT", "/thing", body=b"{}")
OK = {"json": {"ok": 1}}

REFUSED = requests.exceptions.ConnectionError(
    urllib3.exceptions.MaxRetryError(
        None,  # type: ignore[arg-type]
        "/thing",
        urllib3.exceptions.NewConnectionError(None, "connection refused"),  # type: ignore[arg-type]
    )
)
NO_CONNECTION_IN_TIME = requests.exceptions.ConnectTimeout()
NO_ANSWER_IN_TIME = requests.exceptions.ReadTimeout()
CUT_OFF = requests.exceptions.ConnectionError(urllib3.exceptions.ProtocolError("Connection aborted."))


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


@pytest.fixture
def hook(make: Any) -> ExpertSenderHook:
    return make(ExpertSenderHook, password="api-key", extra={"max_retries": 3})  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", both)
@pytest.mark.parametrize("call", [GET, UPDATE], ids=lambda call: call.method)
def test_a_repeatable_call_is_sent_again(hook: Any, requests_mock: Any, name: str, call: Call) -> None:
    if name == "303" and call is GET:
        pytest.skip("followed")
    requests_mock.register_uri(call.method, URL, [both[name], both[name], OK])
    assert hook.request(call, read) == {"ok": 1}
    assert (hook.counters.requests, hook.counters.retries) == (3, 2)


@pytest.mark.parametrize("name", NOT_DONE)
def test_what_did_not_arrive_is_sent_again(hook: Any, requests_mock: Any, name: str) -> None:
    requests_mock.post(URL, [NOT_DONE[name], NOT_DONE[name], OK])
    assert hook.request(CREDIT, read) == {"ok": 1}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_may_have_been_done_is_not_sent_again(hook: Any, requests_mock: Any, name: str) -> None:
    requests_mock.post(URL, [UNKNOWN[name], OK])
    with pytest.raises(CrmOutcomeUnknownError, match=r"POST /thing .* look there before") as caught:
        hook.request(CREDIT, read)
    assert requests_mock.call_count == 1
    assert caught.value.call == "POST /thing"


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_after_a_try_that_did_not_arrive(hook: Any, requests_mock: Any, name: str) -> None:
    requests_mock.post(URL, [NOT_DONE["429"], UNKNOWN[name], OK])
    with pytest.raises(CrmOutcomeUnknownError):
        hook.request(CREDIT, read)
    assert requests_mock.call_count == 2


@pytest.mark.parametrize("name", NOT_DONE)
def test_what_never_arrives_is_known_not_to_be_done(hook: Any, requests_mock: Any, name: str) -> None:
    requests_mock.post(URL, **NOT_DONE[name])
    with pytest.raises(CrmTransientError, match="Given up after 4 tries") as caught:
        hook.request(CREDIT, read)
    assert not isinstance(caught.value, CrmOutcomeUnknownError)
    assert isinstance(caught.value, CrmRateLimitError) is (name == "429")
    assert requests_mock.call_count == 4


@pytest.mark.parametrize(("status", "error"), FINAL.items())
@pytest.mark.parametrize("call", [GET, UPDATE, CREDIT], ids=lambda call: call.method)
def test_a_refusal_is_final(
    hook: Any, requests_mock: Any, call: Call, status: int, error: type[Exception]
) -> None:
    requests_mock.register_uri(call.method, URL, status_code=status, json={"detail": "No.", "status": 0})
    with pytest.raises(error, match=f"{call.name} was answered {status}: No.") as caught:
        hook.request(call, read)
    assert type(caught.value) is error
    assert requests_mock.call_count == 1
    if isinstance(caught.value, CrmRequestError):
        assert (caught.value.reason, caught.value.errors, caught.value.status) == ("No.", ("No.",), status)


def test_a_server_that_stays_down(hook: Any, requests_mock: Any, clock: Any) -> None:
    requests_mock.get(URL, status_code=503, text="<h1>Down &amp; out</h1>")
    with pytest.raises(CrmTransientError, match=r"503: Down & out\. Given up after 4 tries") as caught:
        hook.request(GET, read)
    assert not isinstance(caught.value, (CrmUnreadableAnswerError, CrmRateLimitError))
    assert caught.value.status == 503
    assert len(clock.waits) == 3


def test_a_server_that_talks_nonsense(hook: Any, requests_mock: Any) -> None:
    requests_mock.get(URL, text="<html>Login</html>")
    with pytest.raises(CrmUnreadableAnswerError, match="answered 200 with HTML in place of JSON"):
        hook.request(GET, read)


def test_no_retries_when_the_connection_says_so(make: Any, requests_mock: Any) -> None:
    hook = make(ExpertSenderHook, password="api-key", extra={"max_retries": 0})
    requests_mock.get(URL, status_code=503)
    with pytest.raises(CrmTransientError):
        hook.request(GET, read)
    assert requests_mock.call_count == 1


def test_a_certificate_that_is_not_trusted(hook: Any, requests_mock: Any) -> None:
    requests_mock.get(URL, exc=requests.exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"))
    with pytest.raises(CrmConnectionError, match="`verify`"):
        hook.request(GET, read)
    assert requests_mock.call_count == 1


def test_a_reader_that_stumbles_is_an_unknown_outcome(hook: Any, requests_mock: Any) -> None:
    def stumble(body: bytes) -> None:
        raise KeyError("secret@example.com")

    requests_mock.post(URL, **OK)
    with pytest.raises(CrmOutcomeUnknownError, match="another shape than documented") as caught:
        hook.request(CREDIT, stumble)
    assert "secret" not in str(caught.value)


def test_a_deletion_whose_answer_was_lost(hook: Any, requests_mock: Any) -> None:
    requests_mock.delete(URL, [UNKNOWN["502"], {"status_code": 404}])
    with pytest.raises(CrmNotFoundError) as caught:
        hook.request(Call("DELETE", "/thing"), read)
    assert caught.value.after_unknown


@pytest.mark.parametrize("first", [NOT_DONE["429"], NOT_DONE["refused connection"]])
def test_a_deletion_that_did_not_arrive_before(hook: Any, requests_mock: Any, first: Any) -> None:
    requests_mock.delete(URL, [first, {"status_code": 404}])
    with pytest.raises(CrmNotFoundError) as caught:
        hook.request(Call("DELETE", "/thing"), read)
    assert not caught.value.after_unknown


# How long to wait


def test_the_crms_wish_is_the_least(hook: Any, requests_mock: Any, clock: Any) -> None:
    requests_mock.get(URL, [{"status_code": 429, "headers": {"Retry-After": "7"}}, OK])
    hook.request(GET, read)
    assert 7 <= sum(clock.waits) < 14


def test_a_pause_holds_for_the_other_calls_too(hook: Any, requests_mock: Any, clock: Any) -> None:
    requests_mock.get(URL, [{"status_code": 503, "headers": {"Retry-After": "7"}}, OK])
    hook.retry_budget = 5.0
    with pytest.raises(CrmTransientError):
        hook.request(GET, read)
    hook.retry_budget = 300.0
    before = clock.now
    hook.request(GET, read)
    assert clock.now - before == pytest.approx(7)


def test_a_wish_that_is_too_long_is_not_waited_for(hook: Any, requests_mock: Any, clock: Any) -> None:
    requests_mock.get(URL, status_code=429, headers={"Retry-After": "3600"})
    with pytest.raises(CrmRateLimitError) as caught:
        hook.request(GET, read)
    assert caught.value.retry_after == 3600
    # Nor does the next call hang until then, or ask again before.
    with pytest.raises(CrmRateLimitError, match="pause of 3600 s") as caught:
        hook.request(GET, read)
    assert caught.value.retry_after == pytest.approx(3600)
    assert (requests_mock.call_count, clock.waits) == (1, [])
    clock.now += 3601
    requests_mock.get(URL, **OK)
    assert hook.request(GET, read) == {"ok": 1}


def test_a_person_who_tests_the_connection_does_not_wait(
    expertsender: Any, requests_mock: Any, clock: Any
) -> None:
    requests_mock.get("https://api.ecdp.app/customerconsents", status_code=429, headers={"Retry-After": "60"})
    works, sentence = expertsender.test_connection()
    assert not works
    assert "429" in sentence
    assert sum(clock.waits) < 10


def test_waits_grow_and_end(hook: Any, make: Any, requests_mock: Any, clock: Any) -> None:
    hook = make(ExpertSenderHook, password="api-key", extra={"max_retries": 40})
    hook.retry_budget = 1e9
    requests_mock.get(URL, status_code=503)
    with pytest.raises(CrmTransientError, match="41 tries"):
        hook.request(GET, read)
    assert all(0 <= wait <= 0.5 * 2**number for number, wait in enumerate(clock.waits))
    assert 10 < max(clock.waits) <= 60


def test_a_hook_that_is_closed_tries_no_further(hook: Any, requests_mock: Any) -> None:
    def close(request: Any, context: Any) -> str:
        context.status_code = 503
        hook.close()
        return ""

    requests_mock.get(URL, text=close)
    with pytest.raises(CrmTransientError):
        hook.request(GET, read)
    assert requests_mock.call_count == 1


def test_a_hook_that_is_closed_while_waiting_tries_no_further(
    hook: Any, requests_mock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tenacity

    monkeypatch.setattr(tenacity, "sleep_using_event", lambda event: lambda seconds: event.set())
    requests_mock.get(URL, status_code=503)
    with pytest.raises(CrmTransientError):
        hook.request(GET, read)
    assert requests_mock.call_count == 1


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
def test_how_long_the_crm_asks_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert seconds_asked(headers) == seconds


@pytest.mark.parametrize("date", [None, "yesterday", "Fri, 31 Feb 99999 00:00:00 GMT"])
def test_our_clock_where_the_server_shows_none(date: str | None) -> None:
    headers = {"X-RateLimit-Reset": str(time.time() + 30), **({"Date": date} if date else {})}
    assert reset_in(headers) == pytest.approx(30, abs=1)


# Exhausted quotas


def test_an_exhausted_quota_is_waited_for_without_a_refusal(
    hook: Any, requests_mock: Any, clock: Any
) -> None:
    headers = {
        "X-RateLimit-Limit": "60",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(int(1e9 + 30)),
        "Date": formatdate(1e9, usegmt=True),
    }
    requests_mock.get(URL, json={"ok": 1}, headers=headers)
    hook.request(GET, read)
    hook.request(GET, read)
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
def test_a_quota_that_makes_no_sense(hook: Any, requests_mock: Any, clock: Any, headers: Any) -> None:
    headers = {**headers, "Date": formatdate(1e9, usegmt=True)}
    requests_mock.get(URL, json={"ok": 1}, headers=headers)
    hook.request(GET, read)
    hook.request(GET, read)
    assert clock.waits == [] or headers["X-RateLimit-Remaining"] == "1"
