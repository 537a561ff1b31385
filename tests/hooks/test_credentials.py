"""Whose credentials a hook sends, where it gets tokens from, and what it does when they are refused."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmAuthenticationError, CrmTransientError
from airflow_provider_crm.hooks.mindbaz import MindbazHook

SSO = "https://sso.mindbaz.com/oauth2/token"
FIELDS = "https://api.mindbaz.com/api/3/fields/list"
EMPTY = {"json": {"success": True, "data": []}}


def test_nothing_comes_from_a_netrc(
    spread: Any, requests_mock: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login stranger password stranger\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    requests_mock.get(f"{spread.default_url}/customers", json={"customers": []})
    spread.test_connection()
    sent = requests_mock.last_request.headers["Authorization"]
    assert b64decode(sent.removeprefix("Basic ")) == b"public-key:private-key"


@pytest.fixture
def hook(make: Any) -> MindbazHook:
    return make(  # type: ignore[no-any-return]
        MindbazHook, login="api@client.example", password="pass&word", extra={"site_id": 3, "auth": "jwt"}
    )


def answer(number: int, **more: Any) -> dict[str, Any]:
    return {"json": {"access_token": f"t{number}", "refresh_token": f"r{number}", "expires_in": 300, **more}}


def test_the_password_is_sent_as_a_form_and_without_other_credentials(hook: Any, requests_mock: Any) -> None:
    service = requests_mock.post(SSO, **answer(1))
    requests_mock.get(FIELDS, **EMPTY)
    hook.list_fields()
    assert service.last_request.text == (
        "grant_type=password&username=api%40client.example&password=pass%26word&client_id=100"
    )
    assert service.last_request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert "Authorization" not in service.last_request.headers
    assert requests_mock.last_request.headers["Authorization"] == "Bearer t1"


def test_a_call_refused_with_401_is_sent_once_more(hook: Any, requests_mock: Any) -> None:
    service = requests_mock.post(SSO, [answer(1), answer(2)])
    calls = requests_mock.post("https://api.mindbaz.com/api/3/Subscribers", [{"status_code": 401}, EMPTY])
    assert hook.create_subscribers([{"fields": {1: "a@b.fr"}}]) == []
    first, second = calls.request_history
    assert (first.headers["Authorization"], second.headers["Authorization"]) == ("Bearer t1", "Bearer t2")
    assert first.body == second.body
    assert service.last_request.text == "grant_type=refresh_token&refresh_token=r1&client_id=100"


def test_a_second_401_is_final(hook: Any, requests_mock: Any) -> None:
    requests_mock.post(SSO, [answer(1), answer(2), answer(3)])
    calls = requests_mock.get(FIELDS, status_code=401)
    with pytest.raises(CrmAuthenticationError):
        hook.list_fields()
    assert calls.call_count == 2


@pytest.mark.parametrize("status", [400, 401])
def test_a_wrong_password(hook: Any, requests_mock: Any, status: int) -> None:
    service = requests_mock.post(SSO, status_code=status, json={"error": "invalid_grant"})
    with pytest.raises(CrmAuthenticationError, match="invalid_grant"):
        hook.list_fields()
    assert service.call_count == 1


def test_a_token_service_that_is_down_for_a_while(hook: Any, requests_mock: Any) -> None:
    requests_mock.post(SSO, [{"status_code": 503}, {"text": "<html>"}, answer(1)])
    requests_mock.get(FIELDS, **EMPTY)
    assert hook.list_fields() == []


def test_a_token_service_that_is_down(make: Any, requests_mock: Any) -> None:
    extra = {"site_id": 3, "auth": "jwt", "max_retries": 2}
    hook = make(MindbazHook, login="api", password="password", extra=extra)
    service = requests_mock.post(SSO, status_code=503)
    with pytest.raises(CrmTransientError, match="POST /oauth2/token"):
        hook.list_fields()
    assert service.call_count == 3


@pytest.mark.parametrize(
    ("parts", "url"),
    [
        ({}, SSO),
        ({"host": "https://api.mindbaz.com:443/v2"}, SSO),
        ({"host": "http://127.0.0.1:8765/mindbaz/api"}, "http://127.0.0.1:8765/oauth2/token"),
        ({"host": "api.other.example"}, "https://api.other.example/oauth2/token"),
        ({"extra": {"token_url": "https://sso.other.example/token"}}, "https://sso.other.example/token"),
    ],
)
def test_where_the_password_goes(make: Any, requests_mock: Any, parts: Any, url: str) -> None:
    extra = {"site_id": 3, "auth": "jwt", **parts.pop("extra", {})}
    hook = make(MindbazHook, login="api", password="password", extra=extra, **parts)
    service = requests_mock.post(url, **answer(1))
    requests_mock.get(f"{hook.settings.base_url}/3/fields/list", **EMPTY)
    hook.list_fields()
    assert service.call_count == 1


def test_a_password_goes_over_https_only(make: Any, requests_mock: Any) -> None:
    extra = {"site_id": 3, "auth": "jwt", "token_url": "http://sso.other.example/token"}
    works, sentence = make(MindbazHook, login="api", password="password", extra=extra).test_connection()
    assert not works
    assert "token_url" in sentence
    assert not requests_mock.called


def test_a_hostile_token_reaches_no_header(hook: Any, requests_mock: Any) -> None:
    requests_mock.post(SSO, **answer(1, access_token="x\r\nX-Evil: 1"))
    works, sentence = hook.test_connection()
    assert not works
    assert "Evil" not in sentence
    assert requests_mock.call_count == 1


def test_one_call_at_a_time_leaves_room_for_the_token(make: Any, requests_mock: Any) -> None:
    extra = {"site_id": 3, "auth": "jwt", "concurrency": 1}
    hook = make(MindbazHook, login="api", password="password", extra=extra)
    requests_mock.post(SSO, **answer(1))
    requests_mock.get(FIELDS, **EMPTY)
    assert hook.side_by_side(lambda _: hook.list_fields(), range(4)) == [[]] * 4


@pytest.mark.parametrize(
    "refused", [{"status_code": 400, "json": {"error": "invalid_grant"}}, {"status_code": 401}]
)
def test_a_refresh_token_that_is_used_up(hook: Any, requests_mock: Any, clock: Any, refused: Any) -> None:
    service = requests_mock.post(SSO, [answer(1), refused, answer(3)])
    requests_mock.get(FIELDS, **EMPTY)
    hook.list_fields()
    clock.seconds += 1000
    hook.list_fields()
    assert [request.text.split("&")[0] for request in service.request_history] == [
        "grant_type=password",
        "grant_type=refresh_token",
        "grant_type=password",
    ]
    assert requests_mock.last_request.headers["Authorization"] == "Bearer t3"
