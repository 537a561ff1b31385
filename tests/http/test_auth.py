"""Credentials on requests, and tokens that run out, are refused, or are wanted by many threads at once."""

from __future__ import annotations

import threading
from base64 import b64decode
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmRequestError, CrmUnreadableAnswerError
from airflow_provider_crm.http.auth import BasicAuth, CrmAuth, PasswordGrantAuth
from airflow_provider_crm.http.wire import Request


def with_credentials(auth: CrmAuth) -> Request:
    request = Request("GET", "https://crm.example.com/", {})
    auth(request)
    return request


def authorization(auth: CrmAuth) -> str:
    return with_credentials(auth).headers["Authorization"]


def test_basic() -> None:
    header = authorization(BasicAuth("clé", "a:b"))
    assert b64decode(header.removeprefix("Basic ")).decode() == "clé:a:b"


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


def grant(service: TokenService, now: Callable[[], float] = lambda: 0.0) -> PasswordGrantAuth:
    return PasswordGrantAuth(service, user="bob", password="password", client_id="100", now=now)


def token(auth: PasswordGrantAuth) -> str:
    return authorization(auth)


def test_one_token_serves_many_calls() -> None:
    service = TokenService()
    auth = grant(service)
    assert [token(auth) for _ in range(5)] == ["Bearer token-1"] * 5
    assert service.asked == ["password"]


def test_it_is_renewed_before_it_expires(clock: Any) -> None:
    service = TokenService()
    auth = grant(service, clock.now)
    token(auth)
    clock.seconds += 239
    assert token(auth) == "Bearer token-1"
    clock.seconds += 1
    assert token(auth) == "Bearer token-2"
    assert service.asked == ["password", "refresh_token"]


def test_a_short_lived_token_is_used_half_its_life(clock: Any) -> None:
    service = TokenService(expires_in=10)
    auth = grant(service, clock.now)
    token(auth)
    clock.seconds += 4
    assert token(auth) == "Bearer token-1"
    clock.seconds += 1
    assert token(auth) == "Bearer token-2"


@pytest.mark.parametrize("lifetime", [None, "", "soon", [], 0, -1, "nan"])
def test_a_token_without_a_lifetime_is_used_until_it_is_refused(clock: Any, lifetime: Any) -> None:
    service = TokenService(expires_in=lifetime, refresh_token=None)
    auth = grant(service, clock.now)
    for _ in range(40):
        clock.seconds += 3600
        assert token(auth) == "Bearer token-1"
    assert auth.renew(with_credentials(auth))
    assert token(auth) == "Bearer token-2"
    assert service.asked == ["password", "password"]


def test_a_refused_refresh_leads_to_the_password(clock: Any) -> None:
    service = TokenService()
    auth = grant(service, clock.now)
    token(auth)
    service.refuses_refresh = True
    clock.seconds += 1000
    assert token(auth) == "Bearer token-3"
    assert service.asked == ["password", "refresh_token", "password"]


def test_no_refresh_without_a_refresh_token(clock: Any) -> None:
    service = TokenService(refresh_token=None)
    auth = grant(service, clock.now)
    token(auth)
    clock.seconds += 1000
    token(auth)
    assert service.asked == ["password", "password"]


@pytest.mark.parametrize("access", [None, "", 5, ["x"]])
def test_an_answer_without_a_token(access: Any) -> None:
    with pytest.raises(CrmUnreadableAnswerError, match="without an access_token"):
        token(grant(TokenService(access_token=access)))


def test_a_refused_token_is_renewed_by_one_thread_only() -> None:
    service = TokenService()
    auth = grant(service)
    refused = with_credentials(auth)
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
