"""Who may call Mindbaz, and how often: the API key, the access tokens, the limit per minute. Knows no subscriber.

https://learn.mindbaz.com/en/docs/apikey, https://learn.mindbaz.com/en/docs/token
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
import secrets
import time

from airflow_provider_crm.sandbox.mindbaz.switches import MindbazSwitches
from airflow_provider_crm.sandbox.wire import Answer, Call, RefusalError, json_answer, to_json


class Tokens:
    """The token service: a password grant and its refresh, and which access tokens are alive."""

    def __init__(self) -> None:
        self._access: dict[str, float] = {}
        self._refresh: dict[str, float] = {}
        self._key = secrets.token_bytes(32)

    def issue(self, call: Call, switches: MindbazSwitches) -> Answer:
        """Answer ``POST /oauth2/token``."""
        form = dict(call.form)
        if "application/x-www-form-urlencoded" not in call.headers.get("content-type", ""):
            return json_answer({"error": "unsupported_grant_type"}, 400)
        if form.get("client_id") != switches.client_id:
            return json_answer({"error": "invalid_client"}, 400)
        grant = form.get("grant_type")
        if grant == "password":
            if (form.get("username"), form.get("password")) != (switches.login, switches.password):
                return json_answer({"error": "invalid_grant"}, 400)
            return self._answer(secrets.token_hex(16), switches)
        if grant == "refresh_token":
            return self._renew(form.get("refresh_token", ""), switches)
        return json_answer({"error": "unsupported_grant_type"}, 400)

    def alive(self, token: str) -> bool:
        """Whether an access token is valid now."""
        return self._access.get(token, 0.0) > time.time()

    def expire(self, *, refresh_too: bool) -> None:
        """Expire all access tokens now."""
        self._access.clear()
        if refresh_too:
            self._refresh.clear()

    def _renew(self, refresh_token: str, switches: MindbazSwitches) -> Answer:
        if self._refresh.get(refresh_token, 0.0) <= time.time():
            return json_answer({"error": "invalid_grant"}, 400)
        if switches.rotate_refresh_token:
            del self._refresh[refresh_token]
            refresh_token = secrets.token_hex(16)
        return self._answer(refresh_token, switches)

    def _answer(self, refresh_token: str, switches: MindbazSwitches) -> Answer:
        now = time.time()
        token = self._sign(now, switches)
        self._access[token] = now + switches.token_lifetime
        self._refresh.setdefault(refresh_token, now + switches.refresh_lifetime)
        answer: dict[str, object] = {
            "access_token": token,
            "token_type": "bearer",
            "refresh_token": refresh_token,
        }
        if switches.expires_in:
            answer["expires_in"] = math.floor(switches.token_lifetime)
        return json_answer(answer)

    def _sign(self, now: float, switches: MindbazSwitches) -> str:
        claims = {
            "iss": "https://sso.mindbaz.com",
            "aud": "RestAPI",
            "iat": int(now),
            "exp": math.ceil(now + switches.token_lifetime),
            "jti": secrets.token_hex(16),
            "sub": switches.login,
        }
        text = b".".join(_base64(to_json(part)) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
        return (text + b"." + _base64(hmac.new(self._key, text, hashlib.sha256).digest())).decode()


class RateLimit:
    """A fixed number of calls per window, for the one key there is."""

    def __init__(self) -> None:
        self._window = 0
        self._used = 0

    def take(self, switches: MindbazSwitches) -> dict[str, str]:
        """Count a call.

        :return: the headers that belong on its answer.
        :raises RefusalError: the window is used up; 429.
        """
        if switches.rate_limit is None:
            return {}
        now = time.time()
        window = int(now // switches.rate_limit_window)
        if window != self._window:
            self._window, self._used = window, 0
        self._used += 1
        reset = (window + 1) * switches.rate_limit_window
        headers = {}
        if switches.rate_limit_headers:
            headers = {
                "X-RateLimit-Limit": str(switches.rate_limit),
                "X-RateLimit-Remaining": str(max(0, switches.rate_limit - self._used)),
                "X-RateLimit-Reset": str(math.ceil(reset)),
            }
        if self._used > switches.rate_limit:
            if switches.rate_limit_retry_after:
                headers["Retry-After"] = str(math.ceil(reset - now))
            refusal = json_answer({"message": "Too many requests"}, 429)
            refusal.headers.update(headers)
            raise RefusalError(refusal)
        return headers


def denied(status: int) -> RefusalError:
    """The refusal of a caller without the right credentials; its body is not documented."""
    return RefusalError(json_answer({"message": "Authorization has been denied for this request."}, status))


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
