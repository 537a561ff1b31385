"""No person and no credential shows in an error, its traceback or a log line, whatever goes wrong and who says it."""

from __future__ import annotations

import logging
import traceback
from base64 import b64encode
from typing import Any

import pytest
import urllib3.exceptions

from airflow_provider_crm.exceptions import CrmError, CrmRequestError
from airflow_provider_crm.hooks.expertsender import ExpertSenderHook
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.hooks.spread import SpreadHook

EMAIL = "marie.curie+radium@sorbonne.example"
PHONE = "+33 6 12 34 56 78"
KEY = "Kx7-public-0123456789"
SECRET = "Zq9-private-0123456789"
#: Parts that would show any of them, encoded or not.
BASIC = b64encode(f"{KEY}:{SECRET}".encode()).decode()
TRACES = ("marie", "curie", "sorbonne", "612345678", "12 34 56", "12%2034", "Zq9", BASIC[:12])
QUOTE = f"Unknown person {EMAIL} ({PHONE}), key {SECRET}, Authorization: Basic {BASIC}"


def spread(make: Any) -> SpreadHook:
    return make(SpreadHook, login=KEY, password=SECRET, extra={"max_retries": 1})  # type: ignore[no-any-return]


def mindbaz(make: Any) -> MindbazHook:
    return make(  # type: ignore[no-any-return]
        MindbazHook, password=SECRET, extra={"site_id": 3, "max_retries": 1}
    )


def mindbaz_jwt(make: Any) -> MindbazHook:
    return make(  # type: ignore[no-any-return]
        MindbazHook, login=EMAIL, password=SECRET, extra={"site_id": 3, "auth": "jwt", "max_retries": 1}
    )


def expertsender(make: Any) -> ExpertSenderHook:
    return make(  # type: ignore[no-any-return]
        ExpertSenderHook, password=SECRET, extra={"max_retries": 1}
    )


CALLS = {
    "find": (spread, lambda hook: hook.find_customer(email=EMAIL)),
    "list": (spread, lambda hook: list(hook.iter_customers(email=EMAIL, mobile_phone_number=PHONE))),
    "create": (spread, lambda hook: hook.create_customer({"email": EMAIL, "mobile": PHONE})),
    "rename": (spread, lambda hook: hook.update_customer_email(EMAIL, EMAIL)),
    "credit": (spread, lambda hook: hook.credit_loyalty(amount=1, email=EMAIL)),
    "subscribers": (mindbaz, lambda hook: hook.get_subscribers([EMAIL])),
    "jwt": (mindbaz_jwt, lambda hook: hook.get_subscribers([EMAIL])),
    "get": (expertsender, lambda hook: hook.get_customer(EMAIL)),
    "phone": (expertsender, lambda hook: hook.get_customer(PHONE, by="phone")),
    "delete": (expertsender, lambda hook: hook.delete_customer(EMAIL)),
    "upsert": (expertsender, lambda hook: hook.upsert_customers([{"email": EMAIL}], mode="Add")),
}


def answer(**parts: Any) -> Any:
    return lambda request: parts


def failing(make_error: Any) -> Any:
    return lambda request: {"exc": make_error(request)}


def broken(cause: Any) -> Any:
    """Quote the URL as the HTTP libraries do."""
    return failing(
        lambda request: urllib3.exceptions.MaxRetryError(None, request.url, cause)  # type: ignore[arg-type]
    )


FAILURES = {
    "400": answer(status_code=400, json={"errors": [QUOTE], "detail": QUOTE}),
    "400 text": answer(status_code=400, text=QUOTE),
    "401": answer(status_code=401, json={"error": QUOTE}),
    "403": answer(status_code=403, json={"message": QUOTE}),
    "409": answer(status_code=409, json={EMAIL: [QUOTE]}),
    "429": answer(status_code=429, text=QUOTE),
    "500": answer(status_code=500, text=f"<h1>{QUOTE}</h1>"),
    "reason": answer(status_code=500, reason=QUOTE),
    "200 refusal": answer(json={"success": False, "error": QUOTE, "errors": [QUOTE]}),
    "200 html": answer(text=f"<html>{QUOTE}</html>"),
    "200 shape": answer(json={"success": True, "customers": QUOTE, "customer": QUOTE, "data": QUOTE}),
    "200 shapes": answer(
        json={"success": True, "customers": {EMAIL: 1}, "customer": [QUOTE], "data": [EMAIL]}
    ),
    "redirect": lambda request: {
        "status_code": 307,
        "headers": {"Location": request.url.replace("https://", "https://evil.example/")},
    },
    "circle": lambda request: {"status_code": 307, "headers": {"Location": request.url}},
    "broken redirect": lambda request: {"status_code": 307, "headers": {"Location": f"https://[{EMAIL}"}},
    "redirect to a person": lambda request: {
        "status_code": 307,
        "headers": {"Location": f"https://{EMAIL}/{PHONE}"},
    },
    "no connection": broken(urllib3.exceptions.NewConnectionError(None, EMAIL)),  # type: ignore[arg-type]
    "reset": broken(ConnectionResetError(EMAIL)),
    "certificate": failing(
        lambda request: urllib3.exceptions.SSLError(f"CERTIFICATE_VERIFY_FAILED {request.url}")
    ),
    "timeout": failing(
        lambda request: urllib3.exceptions.ReadTimeoutError(None, request.url, request.url)  # type: ignore[arg-type]
    ),
    "os": failing(lambda request: OSError(5, request.url)),
    "invalid": failing(lambda request: urllib3.exceptions.LocationParseError(request.url)),
}


@pytest.mark.slow
@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize(("who", "call"), CALLS.values(), ids=CALLS)
def test_nothing_shows(
    make: Any, requests_mock: Any, caplog: pytest.LogCaptureFixture, who: Any, call: Any, failure: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    fail_with(requests_mock, failure)
    logging.getLogger("requests_mock").setLevel(logging.ERROR)
    shown = []
    try:
        call(who(make))
    except CrmError as error:
        shown += [str(error), repr(error), *traceback.format_exception(error)]
    else:  # not all calls look into the answer
        assert failure in (FAILURES["200 shape"], FAILURES["200 shapes"], FAILURES["200 html"])
    shown += [caplog.text, *(str(vars(record)) for record in caplog.records)]
    own = TRACES if who is spread else TRACES[:-1]
    for trace in own:
        assert not [text for text in shown if trace.lower() in text.lower()], trace


def fail_with(requests_mock: Any, failure: Any) -> None:
    """Answer every request with what the failure makes of it."""

    def matcher(request: Any) -> Any:
        parts = dict(failure(request))
        if "exc" in parts:
            raise parts["exc"]
        import requests_mock as library

        return library.create_response(request, **parts)

    requests_mock.add_matcher(matcher)


def test_the_rejects_file_may_say_who_but_not_with_which_key(make: Any, requests_mock: Any) -> None:
    requests_mock.post("https://api.ecdp.app/customers", status_code=400, json={"errors": [QUOTE]})
    with pytest.raises(CrmRequestError) as caught:
        expertsender(make).upsert_customers([{"email": EMAIL}])
    assert EMAIL in caught.value.reason
    assert EMAIL in caught.value.errors[0]
    for text in (caught.value.reason, *caught.value.errors):
        assert SECRET not in text


def test_a_refusal_with_status_200_hides_the_key_too(make: Any, requests_mock: Any) -> None:
    requests_mock.get("https://social-sb.com/api/v2/customers/1", json={"error": QUOTE})
    with pytest.raises(CrmRequestError) as caught:
        spread(make).get_customer(1)
    assert EMAIL in caught.value.reason
    assert SECRET not in f"{caught.value.reason}{caught.value.errors}"
