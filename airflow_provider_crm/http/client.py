"""From a call to a checked answer: authentication, limits, redirects and attempts. Knows neither a vendor nor Airflow.

It is made of plain settings; whose they are, and how a CRM's calls look, is up to the hooks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TypeVar

import msgspec
import requests
import urllib3.exceptions

from airflow_provider_crm import __version__
from airflow_provider_crm.exceptions import (
    CrmConnectionError,
    CrmNotFoundError,
    CrmRedirectError,
    CrmRequestError,
    redact,
)
from airflow_provider_crm.http.answers import UnreadableError, in_utf8, vendor_errors
from airflow_provider_crm.http.auth import CrmAuth
from airflow_provider_crm.http.calls import Call
from airflow_provider_crm.http.clock import Clock
from airflow_provider_crm.http.log_privacy import no_urls_in_logs
from airflow_provider_crm.http.pool import Pool
from airflow_provider_crm.http.quota import QuotaHeaders, seconds_asked
from airflow_provider_crm.http.retry import (
    AttemptError,
    Attempts,
    redirected,
    unreadable,
    with_status,
    without_answer,
)
from airflow_provider_crm.http.throttle import Pacer, Throttle, Unpaced
from airflow_provider_crm.http.transport import Transport
from airflow_provider_crm.http.wire import Answer, Request

T = TypeVar("T")

CONNECT_TIMEOUT = 10.0
MAX_REDIRECTS = 5
#: Seconds that calls in flight still have when the task ends: few, since Airflow's workers are killed after some more.
GRACE = 1.0
#: Seconds after which a call is not tried again: minutes, since limits are counted in minutes.
RETRY_BUDGET = 300.0


class Counters:
    """How many requests were sent, and how many of them again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests = 0
        self.retries = 0

    def sent(self) -> None:
        with self._lock:
            self.requests += 1

    def repeated(self) -> None:
        with self._lock:
            self.retries += 1


class HttpClient:
    """Sends the calls of one API. Safe to share between threads.

    :param base_url: all before the path of a call, without a slash at its end.
    :param auth: puts credentials on the requests.
    :param called: how messages name what the settings come from, such as ``connection 'spread_default'``.
    :param concurrency: calls in flight at once.
    :param timeout: seconds within which an answer has to be there as a whole, once the call is sent.
    :param max_retries: attempts after the first.
    :param verify: check the server's certificate, or the path of a CA bundle to check it with.
    :param pacer: the bound on calls a minute.
    :param quota: in which headers the server tells how many calls it still takes.
    :param name: what the names of the threads begin with.
    :param counters: counts the requests.
    :param clock: the time, and whether the task has ended.
    """

    def __init__(
        self,
        base_url: str,
        *,
        auth: CrmAuth,
        called: str,
        concurrency: int = 8,
        timeout: float = 60.0,
        max_retries: int = 10,
        verify: bool | str = True,
        pacer: Pacer | None = None,
        quota: QuotaHeaders | None = None,
        name: str = "http",
        counters: Counters | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.counters = counters or Counters()
        self._clock = clock or Clock()
        self.pool = Pool(concurrency, name=name, clock=self._clock)
        self._base_url = base_url
        self._auth = auth
        self._called = called
        self._max_retries = max_retries
        self._quota = quota
        self._throttle = Throttle(concurrency, pacer or Unpaced(), self._clock)
        self._transport = Transport(
            verify, called, concurrency=concurrency, connect=min(CONNECT_TIMEOUT, timeout), read=timeout
        )

    def close(self) -> None:
        """End calls that wait, and close the connections that are kept open.

        Calls in flight have :data:`GRACE` seconds to be answered, since what became of them is unknown otherwise.
        """
        self._clock.end()
        self.pool.close()
        if self._throttle.in_flight:
            timer = threading.Timer(GRACE, self._transport.hang_up)
            timer.daemon = True
            timer.start()
        else:
            self._transport.hang_up()
        self._transport.close()

    def request(self, call: Call, read: Callable[[bytes], T], *, budget: float = RETRY_BUDGET) -> T:
        """Send a call until its answer can be read, as far as repeating it is safe.

        :param call: what to send.
        :param read: turns the body of a successful answer into the result; raises
            :class:`~airflow_provider_crm.http.answers.UnreadableError` when it cannot.
        :param budget: seconds after which it is not sent again.
        :raises CrmAuthenticationError: 401 or 403.
        :raises CrmRequestError: the CRM refuses the call for what is in it; it was not applied.
        :raises CrmOutcomeUnknownError: a call that is not repeatable may have been applied.
        :raises CrmTransientError: no usable answer within the time for retries; a later try may pass.
        """
        attempts = Attempts(call, max_retries=self._max_retries, budget=budget, clock=self._clock)
        while True:
            try:
                return self._attempt(call, read, budget)
            except CrmNotFoundError as error:
                error.after_unknown = attempts.maybe_applied
                raise
            except AttemptError as error:
                # With its traceback it would hold this frame, which holds it: dozens of objects a call that only
                # Python's garbage collector frees, which stops all threads while it goes through all that Airflow
                # has imported.
                failure = error.with_traceback(None)
            if not attempts.wait_for_next(failure):
                raise attempts.given_up(failure)
            self.counters.repeated()

    def _attempt(self, call: Call, read: Callable[[bytes], T], patience: float) -> T:
        auth = call.auth or self._auth
        request = self._prepare(call, auth)
        answer = self._exchange(call, request, patience)
        if answer.status == 401 and auth.renew(request):
            answer = self._exchange(call, self._prepare(call, auth), patience)
        status, body = answer.status, in_utf8(answer.body, answer.headers.get("Content-Type", ""))
        if not 200 <= status < 300:
            raise with_status(
                call,
                status,
                body,
                errors=tuple(map(self._hide, vendor_errors(body))),
                reason=self._hide(answer.reason),
                retry_after=seconds_asked(answer.headers, self._quota, self._clock),
                called=self._called,
            )
        try:
            return read(body)
        except CrmRequestError as error:
            error.call, error.status = call.name, status
            hidden = self._hide(error.reason)
            error.args = (str(error).replace(redact(error.reason), redact(hidden)),)
            error.reason, error.errors = hidden, tuple(map(self._hide, error.errors))
            raise
        except UnreadableError as error:
            problem = str(error)
        except (msgspec.MsgspecError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
            problem = "another shape than documented"  # in words of ours: theirs may quote the answer
        raise unreadable(call, status, problem)

    def _prepare(self, call: Call, auth: CrmAuth) -> Request:
        url, _, query = call.url_below(self._base_url).partition("?")
        try:
            url = _prepared_url(url) + (f"?{query}" if query else "")
        except (requests.exceptions.InvalidURL, UnicodeError):
            pass  # its message quotes the credentials
        else:
            request = Request(call.method, url, {**_HEADERS, "Content-Type": call.content_type}, call.body)
            auth(request)
            # The transport would refuse such a header too, as if nothing were wrong with the connection.
            if all(value.isascii() and value.isprintable() for value in request.headers.values()):
                return request
        raise CrmConnectionError(
            f"The host or the credentials of {self._called} hold characters that HTTP cannot carry"
        )

    def _exchange(self, call: Call, request: Request, patience: float) -> Answer:
        """Send a request and follow redirects as far as credentials may go, to no address twice.

        :param patience: seconds that a pause may last for which the CRM asked.
        """
        asked = [request.url]
        while True:
            answer = self._send(call, request, patience)
            location = answer.headers.get("Location")
            if answer.status not in (301, 302, 303, 307, 308) or not location:
                return answer
            if len(asked) > MAX_REDIRECTS:
                raise CrmRedirectError(f"{call.name} is redirected again and again", call=call.name)
            asked.append(redirected(call, answer.status, asked, location))
            request = replace(request, url=asked[-1])

    def _send(self, call: Call, request: Request, patience: float) -> Answer:
        route = self._transport.route(request.url)
        with self._throttle.slot(patience=patience), no_urls_in_logs():
            if call.before is not None:
                call.before()
            self.counters.sent()
            try:
                answer = self._transport.send(request, route)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                failure = error
            else:
                self._heed(answer)
                return answer
        raise without_answer(call, failure, called=self._called, server=route.name)

    def _heed(self, answer: Answer) -> None:
        """Slow the other calls down as the answer asks to; to be called while its call is in flight."""
        headers = answer.headers
        if answer.status in (429, 503) and (asked := seconds_asked(headers, self._quota, self._clock)):
            self._throttle.pause(asked)
        if self._quota is not None and (told := self._quota.read(headers, self._clock)) is not None:
            self._throttle.announce(told)

    def _hide(self, text: str) -> str:
        """Remove the credentials from the CRM's words, which may quote them."""
        for secret in self._auth.secrets():
            if len(secret) > 3:
                text = text.replace(secret, "<secret>")
        return text


_HEADERS: Mapping[str, str] = {
    "User-Agent": f"airflow-provider-crm/{__version__}",
    "Accept": "application/json",
    "Accept-Encoding": "gzip",
    "Connection": "keep-alive",
}


@lru_cache(maxsize=256)
def _prepared_url(url: str) -> str:
    """Check a URL without its query, and write it as the library does.

    :raises requests.exceptions.InvalidURL: it is none.
    """
    request = requests.PreparedRequest()
    request.prepare_url(url, None)
    return str(request.url)
