"""What became of an attempt of a call, and whether another one is made: decided here and nowhere else. Knows no vendor.

=============================================  ==========================  ===============================
what came back                                 what the server did         sent again
=============================================  ==========================  ===============================
no connection was made; 429                    nothing                     always
no whole answer; 408, 5xx; an answer that      perhaps what it was asked   where repeating changes nothing
cannot be read; a redirect that may be to
the result
another status; a redirect to another server   it refused                  never
=============================================  ==========================  ===============================

What is sent again is so after a wait, and as often and for as long as the client allows.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import urllib3.exceptions

from airflow_provider_crm.exceptions import (
    CrmAuthenticationError,
    CrmConnectionError,
    CrmError,
    CrmNotFoundError,
    CrmOutcomeUnknownError,
    CrmRateLimitError,
    CrmRedirectError,
    CrmRequestError,
    CrmTooLargeError,
    CrmTransientError,
    CrmUnreachableError,
    CrmUnreadableAnswerError,
    redact,
)
from airflow_provider_crm.http.answers import is_json
from airflow_provider_crm.http.calls import Call
from airflow_provider_crm.http.clock import Clock
from airflow_provider_crm.http.reach import causes, lasting_fault, system_error, why_unreached
from airflow_provider_crm.http.redirects import target_of

log = logging.getLogger(__name__)

#: Seconds: first wait at most this long, then twice as long at most, and so on.
FIRST_WAIT = 0.5
LONGEST_WAIT = 60.0


class AttemptError(CrmTransientError):
    """One attempt of a call failed in a way that may pass.

    :param maybe_applied: whether the CRM may have carried the call out all the same.
    :param ends_as: the error to raise when there is no other attempt.
    """

    def __init__(
        self,
        message: str,
        *,
        maybe_applied: bool,
        ends_as: type[CrmTransientError] = CrmTransientError,
        call: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, call=call, status=status, retry_after=retry_after)
        self.maybe_applied = maybe_applied
        self.ends_as = ends_as


# What became of an attempt


def without_answer(call: Call, error: Exception, *, called: str, server: str) -> CrmError:
    """Return the error for a request that got no whole answer, without its URL, which may name a person.

    :param called: how messages name the connection.
    :param server: how they name what was asked: scheme, host and port, and the proxy that leads there.
    """
    if not _was_never_sent(error):
        timeout = isinstance(error, urllib3.exceptions.TimeoutError)
        kind = "no answer in time" if timeout else type(error).__name__
        message = f"{call.name} got no whole answer from {server} ({kind})"
        return AttemptError(message, call=call.name, maybe_applied=True)
    fault = lasting_fault(error)
    unsent = (
        f"{call.name} could not be sent: {called} does not reach {server} ({fault or why_unreached(error)})"
    )
    failure = CrmConnectionError(unsent, call=call.name) if fault else unreachable(unsent, call=call.name)
    failure.__cause__ = system_error(error)
    return failure


def unreachable(message: str, *, call: str | None = None) -> AttemptError:
    """Return the error for a call that did not leave."""
    return AttemptError(message, maybe_applied=False, ends_as=CrmUnreachableError, call=call)


def _was_never_sent(error: Exception) -> bool:
    """Return whether no connection was made at all, so that the CRM certainly did not see the request.

    What the libraries call an error of a proxy says little: they do so too where the connection broke after the call
    had gone through the proxy (urllib3 2.8: closing a connection forgets that it was one).
    """
    kinds = (urllib3.exceptions.ConnectTimeoutError, urllib3.exceptions.ClosedPoolError)
    return any(isinstance(one, kinds) for one in causes(error))


def with_status(
    call: Call,
    status: int,
    body: bytes,
    *,
    errors: tuple[str, ...],
    reason: str,
    retry_after: float | None,
    called: str,
) -> CrmError:
    """Return the error for an answer whose status is none of success.

    To be raised without being kept in a variable, which would leave garbage behind.

    :param errors: the CRM's own words, in clear.
    :param reason: in place of them, where there are none.
    :param retry_after: seconds that it asks to wait.
    :param called: whose credentials these are.
    """
    said = "; ".join(errors) or reason or "no reason given"
    message = f"{call.name} was answered {status}: {redact(said)}"
    detail: dict[str, Any] = {"call": call.name, "status": status}
    if status == 429:
        return AttemptError(
            message, maybe_applied=False, ends_as=CrmRateLimitError, retry_after=retry_after, **detail
        )
    if status == 408 or status >= 500:
        return AttemptError(message, maybe_applied=True, retry_after=retry_after, **detail)
    if status in (401, 403):
        advice = f"Check the credentials of {called} and what they may do"
        return CrmAuthenticationError(f"{message.rstrip('.')}. {advice}", **detail)
    error = _REFUSALS.get(status, CrmRequestError)(message, reason=said, errors=errors, **detail)
    if isinstance(error, CrmNotFoundError):
        error.in_json = is_json(body)
    return error


# RFC 9110, section 15.5; 431: RFC 6585, section 5.
_REFUSALS: Mapping[int, type[CrmRequestError]] = {
    404: CrmNotFoundError,
    410: CrmNotFoundError,
    413: CrmTooLargeError,
    414: CrmTooLargeError,
    431: CrmTooLargeError,
}


def unreadable(call: Call, status: int, problem: str) -> AttemptError:
    """Return the error for an answer of success that says nothing that can be read."""
    return AttemptError(
        f"{call.name} was answered {status} with {problem}",
        maybe_applied=True,
        ends_as=CrmUnreadableAnswerError,
        call=call.name,
        status=status,
    )


def redirected(call: Call, status: int, asked: Sequence[str], location: str) -> str:
    """Return where a call is to be sent instead, as it is.

    With method and body, whatever the status: SPREAD's own samples set ``CURLOPT_POSTREDIR`` to all of 301, 302, 303.
    Where a call must not be repeated, only 307 and 308 say that nothing was done with it (RFC 9110, sections 15.4.8
    and 15.4.9: the same method, to another address); after the others (15.4.2 to 15.4.4) the next address may as well
    be that of the result, which is how a form is answered once it is carried out.

    :param asked: the addresses that were asked, in their order.
    :param location: what the last one answered.
    :raises CrmRedirectError: credentials must not go there, or what is read is not to be had.
    :raises AttemptError: the answer may be that of a call that was carried out, and must not be repeated.
    """
    only_reads = call.method == "GET"
    if (status == 303 and not only_reads) or (status < 307 and not call.repeatable):
        raise _perhaps_done(call, status)
    target = target_of(call, asked[-1], location)
    if not call.repeatable and _resource(target) != _resource(asked[-1]):
        raise _perhaps_done(call, status)
    if target not in asked:
        return target
    if only_reads:
        raise CrmRedirectError(f"{call.name} is redirected in a circle", call=call.name)
    raise _perhaps_done(call, status)


def _perhaps_done(call: Call, status: int) -> AttemptError:
    return AttemptError(
        f"{call.name} was answered {status}, a redirect that is not followed (is the connection's base URL right?)",
        maybe_applied=True,
        call=call.name,
        status=status,
    )


def _resource(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.path.rstrip("/"), parts.query


# Whether there is another


class Attempts:
    """The attempts of one call.

    :param max_retries: attempts after the first.
    :param budget: seconds after which no further attempt begins.
    :param clock: the time; there is no further attempt once it says that the task has ended.
    """

    def __init__(self, call: Call, *, max_retries: int, budget: float, clock: Clock) -> None:
        self._call = call
        self._max_retries = max_retries
        self._clock = clock
        self._deadline = clock.now() + budget
        self._failed = 0
        #: Whether an attempt that failed may have been carried out.
        self.maybe_applied = False

    def should_retry(self, failure: AttemptError, wait: float) -> bool:
        """Return whether the call is sent again after some seconds.

        A call that the CRM may have applied is sent again only when repeating it changes nothing; what certainly did
        not reach the CRM, or was refused for being one too many, always may.
        """
        if failure.maybe_applied and not self._call.repeatable:
            return False
        if self._failed > self._max_retries or self._clock.ended:
            return False
        return self._clock.now() + wait < self._deadline

    def wait_for_next(self, failure: AttemptError) -> bool:
        """Wait until the call is to be sent again.

        :return: False where it is not.
        """
        self._failed += 1
        self.maybe_applied = self.maybe_applied or failure.maybe_applied
        wait = wait_after(self._failed, failure.retry_after)
        if not self.should_retry(failure, wait):
            return False
        log.warning("%s; trying again in %.1f s", failure, wait)
        return not self._clock.wait(wait)

    def given_up(self, last: AttemptError) -> CrmTransientError:
        """Return the error to raise when there is no other attempt."""
        detail: dict[str, Any] = {
            "call": self._call.name,
            "status": last.status,
            "retry_after": last.retry_after,
        }
        if last.maybe_applied and not self._call.repeatable:
            return CrmOutcomeUnknownError(
                f"{last}. Whether the CRM applied it is unknown: look there before sending it again", **detail
            )
        tries = "1 try" if self._failed == 1 else f"{self._failed} tries"
        error = last.ends_as(f"{last}. Given up after {tries}; a later run may pass", **detail)
        error.__cause__ = last.__cause__
        return error


def wait_after(failures: int, asked: float | None) -> float:
    """Return the seconds to wait: exponential backoff with full jitter, and never less than the CRM asked for.

    :param failures: attempts that failed.
    :param asked: seconds that the CRM asked to wait.
    """
    backoff = random.uniform(0.0, min(FIRST_WAIT * 2.0 ** min(failures - 1, 50), LONGEST_WAIT))
    # Spread the threads that were told the same moment.
    return max(backoff, asked + 0.1 * backoff) if asked else backoff
