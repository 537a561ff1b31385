"""What may be sent again, after how long, and for how long altogether. Knows no vendor.

A call that the CRM may have applied is sent again only when repeating it changes nothing; what certainly did
not reach the CRM, or was refused for being too many, always may.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Protocol

import requests
import tenacity
import urllib3.exceptions

from airflow_provider_crm.exceptions import CrmConnectionError, CrmError, CrmTransientError

log = logging.getLogger(__name__)

#: Seconds: first wait at most this long, then twice as long at most, and so on.
FIRST_WAIT = 0.5
LONGEST_WAIT = 60.0
#: Seconds: a server that asks for more is taken to mean this.
LONGEST_ASKED = 86400.0


class Headers(Protocol):
    def get(self, name: str, /) -> str | None: ...


class AttemptError(CrmTransientError):
    """One attempt of a call failed in a way that may pass.

    :param maybe_applied: whether the CRM may have carried the call out all the same.
    """

    def __init__(
        self,
        message: str,
        *,
        maybe_applied: bool,
        call: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, call=call, status=status, retry_after=retry_after)
        self.maybe_applied = maybe_applied


class _Wait(tenacity.wait.wait_base):
    """Exponential backoff with full jitter, and never less than what the CRM asked for."""

    _backoff = tenacity.wait_random_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT)

    def __call__(self, retry_state: tenacity.RetryCallState) -> float:
        error = retry_state.outcome.exception() if retry_state.outcome else None
        asked = getattr(error, "retry_after", None) or 0.0
        # Spread the threads that were told the same moment.
        return max(self._backoff(retry_state), asked + (0.1 * self._backoff(retry_state) if asked else 0.0))


def retrying(
    *, repeatable: bool, max_retries: int, budget: float, closing: threading.Event
) -> tenacity.Retrying:
    """Make the loop around the attempts of one call.

    :param repeatable: whether sending the call twice leaves the CRM as sending it once does.
    :param max_retries: tries after the first.
    :param budget: seconds after which no further try begins.
    :param closing: ends the loop when set.
    """

    def may_repeat(error: BaseException) -> bool:
        return isinstance(error, AttemptError) and (repeatable or not error.maybe_applied)

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(may_repeat),
        wait=_Wait(),
        stop=tenacity.stop_any(
            tenacity.stop_after_attempt(max_retries + 1),
            tenacity.stop_before_delay(budget),
            tenacity.stop_when_event_set(closing),
        ),
        sleep=tenacity.sleep_using_event(closing),
        before_sleep=_say_so,
        reraise=True,
    )


def _say_so(retry_state: tenacity.RetryCallState) -> None:
    error = retry_state.outcome.exception() if retry_state.outcome else None
    log.warning("%s; trying again in %.1f s", error, retry_state.upcoming_sleep)


def never_sent(error: Exception) -> bool:
    """Tell whether a failed attempt certainly did not reach the CRM: no connection was made at all."""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return True
    reason = getattr(error.args[0], "reason", error.args[0]) if error.args else None
    return isinstance(reason, (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError))


def seconds_asked(headers: Headers) -> float | None:
    """Read how long the CRM asks to wait, from ``Retry-After`` or the reset of an exhausted quota.

    :return: seconds, from 0 to a day; None when it does not say.
    """
    given = (headers.get("Retry-After") or "").strip()
    seconds = _seconds(given)
    if seconds is None and given:
        with suppress(TypeError, ValueError, OverflowError):
            seconds = parsedate_to_datetime(given).timestamp() - _server_time(headers)
    if seconds is not None:
        return min(max(seconds, 0.0), LONGEST_ASKED)
    if _seconds(headers.get("X-RateLimit-Remaining")):
        return None
    return reset_in(headers)


def reset_in(headers: Headers) -> float | None:
    """Read the seconds until the quota's window ends from ``X-RateLimit-Reset``, a Unix time stamp.

    The vendor documents limits per minute, so that a longer wait can only be a clock that is off.
    """
    stamp = _seconds(headers.get("X-RateLimit-Reset"))
    if stamp is None:
        return None
    return min(max(stamp - _server_time(headers), 0.0), 60.0)


def _seconds(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _server_time(headers: Headers) -> float:
    # The server's own clock where it shows it: ours may be hours away from it.
    try:
        return parsedate_to_datetime(headers.get("Date") or "").timestamp()
    except (TypeError, ValueError, OverflowError):
        return time.time()


def failure_of(call: str, error: Exception) -> CrmError:
    """Say what became of a request that got no whole answer, without its URL, which may name a person."""
    kind = type(error).__name__
    if isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return CrmConnectionError(f"{call}: the server's certificate is not trusted; see the extra `verify`")
    if isinstance(error, requests.exceptions.Timeout | urllib3.exceptions.TimeoutError):
        kind = "no answer in time"
    if never_sent(error):
        return AttemptError(f"{call} could not be sent ({kind})", call=call, maybe_applied=False)
    return AttemptError(f"{call} got no whole answer ({kind})", call=call, maybe_applied=True)
