"""How a call proves who it comes from: one small class per scheme. Knows neither retries nor a vendor's paths."""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_crm.exceptions import CrmAuthenticationError, CrmRequestError, CrmUnreadableAnswerError
from airflow_provider_crm.http.wire import Request


class CrmAuth(ABC):
    """Puts credentials on a request."""

    @abstractmethod
    def __call__(self, request: Request) -> None:
        """Put them on it."""

    def renew(self, refused: Request) -> bool:
        """Get new credentials after a 401.

        :param refused: the request that got it.
        :return: whether the same call is worth sending once more.
        """
        return False

    def secrets(self) -> tuple[str, ...]:
        """Return what must not be shown when the other side quotes it."""
        return ()


class NoAuth(CrmAuth):
    """For calls that carry their credentials in the body."""

    def __call__(self, request: Request) -> None:
        pass


class BasicAuth(CrmAuth):
    """HTTP Basic, sent with the first request already."""

    def __init__(self, user: str, password: str) -> None:
        self._secrets = (password, b64encode(f"{user}:{password}".encode()).decode())
        self._header = f"Basic {self._secrets[1]}"

    def __call__(self, request: Request) -> None:
        request.headers["Authorization"] = self._header

    def secrets(self) -> tuple[str, ...]:
        return self._secrets


class ApiKeyAuth(CrmAuth):
    """A key in a header of its own."""

    def __init__(self, header: str, key: str) -> None:
        self._name = header
        self._key = key

    def __call__(self, request: Request) -> None:
        request.headers[self._name] = self._key

    def secrets(self) -> tuple[str, ...]:
        return (self._key,)


class PasswordGrantAuth(CrmAuth):
    """OAuth2 password grant: a short-lived token, renewed before it expires and once when it is refused.

    :param fetch: posts a form to the token service and returns its JSON answer.
    :param user: login of the API account.
    :param password: its password.
    :param client_id: the vendor's constant.
    :param now: the time in seconds.
    """

    #: Seconds before its expiry from which on a token is not used any more.
    MARGIN = 60.0

    def __init__(
        self,
        fetch: Callable[[Mapping[str, str]], Mapping[str, Any]],
        *,
        user: str,
        password: str,
        client_id: str,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._now = now
        self._password_form = {
            "grant_type": "password",
            "username": user,
            "password": password,
            "client_id": client_id,
        }
        self._lock = threading.Lock()
        self._token = ""
        self._refresh_token = ""
        self._use_until = 0.0

    def __call__(self, request: Request) -> None:
        with self._lock:
            if self._now() >= self._use_until:
                self._get_token()
            request.headers["Authorization"] = f"Bearer {self._token}"

    def renew(self, refused: Request) -> bool:
        with self._lock:
            # Another thread may have renewed it while this call was under way.
            if refused.headers.get("Authorization") == f"Bearer {self._token}":
                self._get_token()
        return True

    def secrets(self) -> tuple[str, ...]:
        return self._password_form["password"], self._token, self._refresh_token

    def _get_token(self) -> None:
        if self._refresh_token:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": self._refresh_token,
                "client_id": self._password_form["client_id"],
            }
            self._refresh_token = ""
            try:
                self._keep(self._fetch(form))
            except (CrmRequestError, CrmAuthenticationError):
                pass  # expired or used up ("invalid_grant", RFC 6749, section 5.2); the password still holds
            else:
                return
        self._keep(self._fetch(self._password_form))

    def _keep(self, answer: Mapping[str, Any]) -> None:
        token = answer.get("access_token")
        if not isinstance(token, str) or not token:
            raise CrmUnreadableAnswerError("The token service answered without an access_token")
        self._token = token
        self._refresh_token = str(answer.get("refresh_token") or "")
        try:
            lifetime = float(answer.get("expires_in") or 0)
        except (TypeError, ValueError):
            lifetime = 0.0
        # `expires_in` need not be there (RFC 6749, section 5.1); such a token is good until it is refused.
        usable = max(lifetime - self.MARGIN, lifetime / 2) if lifetime > 0 else math.inf
        self._use_until = self._now() + usable
