"""Credentials on requests, and tokens that run out, are refused, or are wanted by many threads at once."""

from __future__ import annotations

import threading
from base64 import b64decode
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from airflow_provider_crm.exceptions import (
    CrmAuthenticationError,
    CrmRequestError,
    CrmTransientError,
    CrmUnreadableAnswerError,
)
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.http.auth import BasicAuth, PasswordGrantAuth

SSO = "https://sso.mindbaz.com/oauth2/token"
FIELDS = "https://api.mindbaz.com/api/3/fields/list"
EMPTY = {"json": {"success": True, "data": []}}


def blank() -> requests.PreparedRequest:
    return requests.Request("GET", "https://crm.example.com").prepare()


def test_basic() -> None:
    header = BasicAuth("clé", "a:b")(blank()).headers["Authorization"]
    assert b64decode(header.removeprefix("Basic ")).decode() == "clé:a:b"


def test_nothing_comes_from_a_netrc(
    spread: Any, requests_mock: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login stranger password stranger\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    requests_mock.get(f"{spread.default_url}/customers", json={"customers": []})
    spread.test_connection()
    sent = requests_mock.last_request.headers["Authorization"]
    assert b64decode(sent.removeprefix("Basic ")) == b"public-key:private-key"


class TokenService:
    """Gives numbered tokens, and remembers what it was asked."""

    def __init__(self, **answer: Any) -> None:
        self.asked: list[str] = []
        self.answer = {"expires_in": 300, "refresh_token": "refresh", **answer}
        self.refuses_refresh = False
        self.lock = threading.Lock()

    def __call__(self, form: Mapping[str, str]) -> dict[str, Any]:
        with self.lock:
            self.asked.append(form["grant_type"])
            if form["grant_type"] == "refresh_token" and self.refuses_refresh:
                raise CrmRequestError("invalid_grant")
            return {"access_token": f"token-{len(self.asked)}", **self.answer}


def grant(service: TokenService) -> PasswordGrantAuth:
    return PasswordGrantAuth(service, user="bob", password="password", client_id="100")


def token(auth: PasswordGrantAuth) -> str:
    return str(auth(blank()).headers["Authorization"])


def test_one_token_serves_many_calls() -> None:
    service = TokenService()
    auth = grant(service)
    assert [token(auth) for _ in range(5)] == ["Bearer token-1"] * 5
    assert service.asked == ["password"]


def test_it_is_renewed_before_it_expires(clock: Any) -> None:
    service = TokenService()
    auth = grant(service)
    token(auth)
    clock.now += 239
    assert token(auth) == "Bearer token-1"
    clock.now += 1
    assert token(auth) == "Bearer token-2"
    assert service.asked == ["password", "refresh_token"]


def test_a_short_lived_token_is_used_half_its_life(clock: Any) -> None:
    service = TokenService(expires_in=10)
    auth = grant(service)
    token(auth)
    clock.now += 4
    assert token(auth) == "Bearer token-1"
    clock.now += 1
    assert token(auth) == "Bearer token-2"


@pytest.mark.parametrize("lifetime", [None, "", "soon", [], 0])
def test_a_token_without_a_lifetime_is_used_once(lifetime: Any) -> None:
    auth = grant(TokenService(expires_in=lifetime, refresh_token=None))
    assert [token(auth), token(auth)] == ["Bearer token-1", "Bearer token-2"]


def test_a_refused_refresh_leads_to_the_password(clock: Any) -> None:
    service = TokenService()
    auth = grant(service)
    token(auth)
    service.refuses_refresh = True
    clock.now += 1000
    assert token(auth) == "Bearer token-3"
    assert service.asked == ["password", "refresh_token", "password"]


def test_no_refresh_without_a_refresh_token(clock: Any) -> None:
    service = TokenService(refresh_token=None)
    auth = grant(service)
    token(auth)
    clock.now += 1000
    token(auth)
    assert service.asked == ["password", "password"]


@pytest.mark.parametrize("access", [None, "", 5, ["x"]])
def test_an_answer_without_a_token(access: Any) -> None:
    with pytest.raises(CrmUnreadableAnswerError, match="without an access_token"):
        token(grant(TokenService(access_token=access)))


def test_a_refused_token_is_renewed_by_one_thread_only() -> None:
    service = TokenService()
    auth = grant(service)
    refused = auth(blank())
    barrier = threading.Barrier(16)

    def renew(_: int) -> bool:
        barrier.wait()
        return auth.renew(refused)

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(renew, range(16)))
    assert service.asked == ["password", "refresh_token"]
    assert token(auth) == "Bearer token-2"


def test_the_first_token_is_fetched_by_one_thread_only() -> None:
    service = TokenService()
    auth = grant(service)
    barrier = threading.Barrier(16)

    def call(_: int) -> str:
        barrier.wait()
        return token(auth)

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(call, range(16))) == {"Bearer token-1"}
    assert service.asked == ["password"]


# Through the hook


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
    clock.now += 1000
    hook.list_fields()
    assert [request.text.split("&")[0] for request in service.request_history] == [
        "grant_type=password",
        "grant_type=refresh_token",
        "grant_type=password",
    ]
    assert requests_mock.last_request.headers["Authorization"] == "Bearer t3"
