"""How long a server asks to wait: by ``Retry-After``, which is general, and by headers that tell a quota.

Knows no vendor: which headers these are, a hook says.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Literal, NamedTuple, Protocol

from airflow_provider_crm.http.clock import Clock

#: Seconds: a server that asks for more is taken to mean this.
LONGEST_ASKED = 86400.0


class Headers(Protocol):
    def get(self, name: str, /) -> str | None: ...


class Quota(NamedTuple):
    """What an answer says of the current window.

    :param left: calls that the server still takes.
    :param reset_in: seconds until the next window begins.
    :param limit: calls it takes in a whole window, where it says so.
    """

    left: int
    reset_in: float
    limit: int | None


@dataclass(frozen=True, slots=True)
class QuotaHeaders:
    """The headers in which a server tells its quota, such as ``X-RateLimit-Remaining: 59``.

    :param limit: name of the one with the calls of a whole window.
    :param remaining: name of the one with the calls that are left.
    :param reset: name of the one with the end of the window.
    :param reset_is: whether that is a Unix time, or seconds from now.
    :param window: seconds of a whole window: a longer wait can only be a clock that is off.
    """

    limit: str
    remaining: str
    reset: str
    reset_is: Literal["unix", "seconds"]
    window: float

    def read(self, headers: Headers, clock: Clock) -> Quota | None:
        """Return the quota that an answer tells, or None."""
        left, limit = headers.get(self.remaining) or "", headers.get(self.limit) or ""
        reset_in = self.reset_in(headers, clock)
        if reset_in is None or not left.isdecimal():
            return None
        return Quota(int(left), reset_in, int(limit) if limit.isdecimal() else None)

    def reset_in(self, headers: Headers, clock: Clock) -> float | None:
        """Return the seconds until the window ends, or None."""
        reset = _number(headers.get(self.reset))
        if reset is not None and self.reset_is == "unix":
            reset -= _server_time(headers, clock)
        return None if reset is None else min(max(reset, 0.0), self.window)

    def is_exhausted(self, headers: Headers) -> bool:
        """Return whether no call is left, or none can be told to be."""
        return not _number(headers.get(self.remaining))


def seconds_asked(headers: Headers, quota: QuotaHeaders | None, clock: Clock) -> float | None:
    """Return how long a refusal asks to wait, by ``Retry-After`` or by the end of a quota that is exhausted.

    :return: seconds, from 0 to a day; None when it does not say.
    """
    asked = retry_after(headers, clock)
    if asked is None and quota is not None and quota.is_exhausted(headers):
        return quota.reset_in(headers, clock)
    return asked


def retry_after(headers: Headers, clock: Clock) -> float | None:
    """Read ``Retry-After``, a number of seconds or a date (RFC 9110, section 10.2.3).

    :return: seconds, from 0 to a day; None when it is absent or neither of both.
    """
    given = (headers.get("Retry-After") or "").strip()
    seconds = _number(given)
    if seconds is None and given:
        with suppress(TypeError, ValueError, OverflowError):
            seconds = parsedate_to_datetime(given).timestamp() - _server_time(headers, clock)
    return None if seconds is None else min(max(seconds, 0.0), LONGEST_ASKED)


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _server_time(headers: Headers, clock: Clock) -> float:
    # By the clock that the moment was set by, where the server shows it (RFC 9110, section 6.6.1): ours may be off.
    try:
        return parsedate_to_datetime(headers.get("Date") or "").timestamp()
    except (TypeError, ValueError, OverflowError):
        return clock.unix_time()
