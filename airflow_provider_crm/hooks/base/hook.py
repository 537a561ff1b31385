"""From an Airflow connection to a checked answer: the one way in which this package talks to a CRM.

Knows HTTP, authentication, retries, limits and redirects; knows neither a vendor's calls nor rows of a source.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any, ClassVar, Generic, TypeVar, cast

import msgspec
import requests
import urllib3.exceptions

from airflow_provider_crm import __version__
from airflow_provider_crm._compat import AirflowNotFoundException, BaseHook, Connection
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
from airflow_provider_crm.hooks.base.forms import connection_form_widgets, ui_field_behaviour
from airflow_provider_crm.hooks.base.settings import E, Settings, read_settings
from airflow_provider_crm.http.answers import UnreadableError, in_utf8, is_json, vendor_errors
from airflow_provider_crm.http.auth import CrmAuth
from airflow_provider_crm.http.calls import Call
from airflow_provider_crm.http.log_privacy import no_urls_in_logs
from airflow_provider_crm.http.redirects import redirect_target
from airflow_provider_crm.http.retry import AttemptError, failure_of, reset_in, retrying, seconds_asked
from airflow_provider_crm.http.shared_pace import shared_pacer
from airflow_provider_crm.http.throttle import EvenPacer, Pacer, Throttle, Unpaced
from airflow_provider_crm.http.transport import Transport

T = TypeVar("T")
S = TypeVar("S")

CONNECT_TIMEOUT = 10.0
MAX_REDIRECTS = 5
#: Seconds after which a call is not tried again: minutes, since limits are counted in minutes.
RETRY_BUDGET = 300.0
TOO_LATE = "The task ended before this call was made"


class Counters:
    """How many requests a hook has sent, and how many of them again."""

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


class CrmHook(BaseHook, Generic[E]):
    """The base of the three hooks. Safe to share between threads; nothing is looked up before the first call.

    :param conn_id: the Airflow connection.
    :param concurrency: calls in flight at once; the connection's extra and then 8 otherwise.
    """

    conn_name_attr: ClassVar[str]
    default_conn_name: ClassVar[str]
    conn_type: ClassVar[str]
    hook_name: ClassVar[str]
    default_url: ClassVar[str]
    extras_type: type[E]

    #: Calls in flight at once, where neither the caller nor the connection says how many.
    default_concurrency = 8
    #: Seconds; a smaller one makes an answer to a person faster.
    retry_budget = RETRY_BUDGET

    def __init__(self, conn_id: str, *, concurrency: int | None = None) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.counters = Counters()
        self._concurrency = concurrency
        self._closing = threading.Event()
        self._local = threading.local()
        self._making = threading.RLock()
        self._settings: Settings[E] | None = None
        self._made: _Shared | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "conn_type" in cls.__dict__:
            # Airflow < 3.2 asks the class for its form, and overlooks inherited methods; later versions read
            # it from the provider's metadata.
            form = {
                "get_connection_form_widgets": lambda hook: connection_form_widgets(hook.conn_type),
                "get_ui_field_behaviour": lambda hook: ui_field_behaviour(hook.conn_type),
            }
            for name, function in form.items():
                setattr(cls, name, classmethod(function))

    @property
    def settings(self) -> Settings[E]:
        """The connection, checked.

        :raises CrmConnectionError: it does not exist, or something in it cannot be used.
        """
        with self._making:
            if self._settings is None:
                self._settings = read_settings(
                    self._connection(self.conn_id), default_url=self.default_url, extras_type=self.extras_type
                )
        return self._settings

    def _connection(self, conn_id: str, *, named_by: str = "") -> Connection:
        try:
            return self.get_connection(conn_id)
        except AirflowNotFoundException:
            pass
        raise CrmConnectionError(f"Connection {conn_id!r}{named_by} is not defined")

    @property
    def account(self) -> tuple[str, ...]:
        """Whose records the calls are about: the base URL and the login, and what else tells accounts apart."""
        return (self.settings.base_url, self.settings.login)

    @property
    def concurrency(self) -> int:
        """Calls in flight at once."""
        return self._concurrency or self.settings.extras.concurrency or self.default_concurrency

    def test_connection(self) -> tuple[bool, str]:
        """Try the credentials with one cheap read.

        :return: whether it worked, and a sentence for the person who asked.
        """
        self.retry_budget = 10.0
        try:
            return True, self._probe()
        except (CrmError, ValueError) as error:
            return False, str(error)

    def pause(self, seconds: float) -> bool:
        """Wait, unless the hook is closed meanwhile.

        :return: whether it is.
        """
        return self._closing.wait(seconds)

    def close(self) -> None:
        """Give up calls that wait, and the connections that are kept open."""
        self._closing.set()
        with self._making:
            if self._made is not None:
                # Without cancelling: whoever waits for a future that is cancelled here would wait for ever.
                self._made.pool.shutdown(wait=False)
                self._made.adapter.close()

    def side_by_side(self, function: Callable[[S], T], items: Iterable[S]) -> list[T]:
        """Call a function for many items, as many at once as calls may be in flight.

        Nothing of it goes on after it returns or raises: the first failure keeps the rest from being begun.

        :return: the results in the order of the items.
        """
        todo = list(items)
        # A thread of the pool that waited for others of the pool could wait for ever.
        if len(todo) < 2 or getattr(self._local, "of_pool", False):
            return [function(item) for item in todo]
        futures = [self.in_background(function, item) for item in todo]
        _, unfinished = wait(futures, return_when=FIRST_EXCEPTION)
        for future in unfinished:
            future.cancel()
        wait(unfinished)
        for future in futures:
            if not future.cancelled() and (error := future.exception()) is not None:
                raise error
        if any(future.cancelled() for future in futures):
            raise CrmError(TOO_LATE)
        return [future.result() for future in futures]

    def in_background(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Start a call in another thread; as many run at once as calls may be in flight."""
        try:
            return self._shared.pool.submit(self._begin, function, *arguments)
        except RuntimeError:  # the pool is shut down
            if not self._closing.is_set():
                raise
        raise CrmError(TOO_LATE)

    def _begin(self, function: Callable[..., T], *arguments: Any) -> T:
        if self._closing.is_set():
            raise CrmError(TOO_LATE)
        return function(*arguments)

    # What a vendor's hook adds

    def _auth(self) -> CrmAuth:
        raise NotImplementedError

    def _probe(self) -> str:
        raise NotImplementedError

    # The way of a call

    def request(self, call: Call, read: Callable[[bytes], T]) -> T:
        """Send a call until its answer can be read, as far as repeating it is safe.

        :param call: what to send.
        :param read: turns the body of a successful answer into the result; raises
            :class:`~airflow_provider_crm.http.answers.UnreadableError` when it cannot.
        :raises CrmAuthenticationError: 401 or 403.
        :raises CrmRequestError: the CRM refuses the call for what is in it; it was not applied.
        :raises CrmOutcomeUnknownError: a call that is not repeatable may have been applied.
        :raises CrmTransientError: no usable answer within the time for retries; a later try may pass.
        """
        failures: list[AttemptError] = []
        refusals: list[CrmError] = []

        def attempt() -> T | None:
            if failures:
                if self._closing.is_set():
                    raise failures[-1]
                self.counters.repeated()
            try:
                return self._attempt(call, read)
            except AttemptError as error:
                failures.append(error)
                raise
            except CrmError as error:
                if isinstance(error, CrmNotFoundError):
                    error.after_unknown = any(failure.maybe_applied for failure in failures)
                refusals.append(error)
                return None

        loop = retrying(
            repeatable=call.repeatable,
            max_retries=self.settings.extras.max_retries,
            budget=self.retry_budget,
            closing=self._closing,
        )
        try:
            result = loop(attempt)
        except AttemptError as error:
            last = error
        else:
            if refusals:
                raise refusals.pop()
            return cast(T, result)
        finally:
            # The loop refers to itself, and so does what is raised in it: dozens of objects a call that only Python's
            # garbage collector frees, which stops all threads while it goes through all that Airflow has imported.
            loop.iter_state.reset()
            for failure in failures:
                failure.__traceback__ = None
        raise self._given_up(call, last, len(failures))

    @staticmethod
    def _given_up(call: Call, last: AttemptError, tries: int) -> CrmTransientError:
        detail: dict[str, Any] = {"call": call.name, "status": last.status, "retry_after": last.retry_after}
        if last.maybe_applied and not call.repeatable:
            return CrmOutcomeUnknownError(
                f"{last}. Whether the CRM applied it is unknown: look there before sending it again", **detail
            )
        message = f"{last}. Given up after {tries} tries; a later run may pass"
        if last.status == 429:
            return CrmRateLimitError(message, **detail)
        if isinstance(last, _UnreadableAttemptError):
            return CrmUnreadableAnswerError(message, **detail)
        if not last.maybe_applied:
            return CrmUnreachableError(message, **detail)
        return CrmTransientError(message, **detail)

    def _attempt(self, call: Call, read: Callable[[bytes], T]) -> T:
        auth = call.auth or self._shared.auth
        request = self._prepare(call, auth)
        response, body = self._exchange(call, request)
        if response.status_code == 401 and auth.renew(request):
            response, body = self._exchange(call, self._prepare(call, auth))
        self._check(call, response, body)
        try:
            return read(body)
        except CrmRequestError as error:
            error.call, error.status = call.name, response.status_code
            hidden = self._hide(error.reason)
            error.args = (str(error).replace(redact(error.reason), redact(hidden)),)
            error.reason, error.errors = hidden, tuple(map(self._hide, error.errors))
            raise
        except UnreadableError as error:
            problem = str(error)
        except (msgspec.MsgspecError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
            problem = "another shape than documented"  # in words of ours: theirs may quote the answer
        raise _UnreadableAttemptError(
            f"{call.name} was answered {response.status_code} with {problem}",
            call=call.name,
            status=response.status_code,
            maybe_applied=True,
        )

    def _prepare(self, call: Call, auth: CrmAuth) -> requests.PreparedRequest:
        headers = {"Accept": "application/json", "Content-Type": call.content_type}
        url, _, query = call.url_below(self.settings.base_url).partition("?")
        try:
            request = self._session.prepare_request(
                requests.Request(call.method, url, headers=headers, data=call.body, auth=auth)
            )
            if query:
                # The library would take it apart and encode it anew, which is most of the work for a long one.
                request.url = f"{request.url}?{query}"
        except (requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL, UnicodeError):
            pass  # its message quotes the credentials
        else:
            # The HTTP library would refuse such a header too, quoting it.
            if all(str(value).isascii() and str(value).isprintable() for value in request.headers.values()):
                return request
        raise CrmConnectionError(
            f"Connection {self.conn_id!r}: the host or the credentials hold characters that HTTP cannot carry"
        )

    def _exchange(self, call: Call, request: requests.PreparedRequest) -> tuple[requests.Response, bytes]:
        """Send a request and follow redirects as far as credentials may go."""
        for _ in range(MAX_REDIRECTS + 1):
            response, body = self._send(call, request)
            location = response.headers.get("Location")
            if response.status_code not in (301, 302, 303, 307, 308) or not location:
                return response, body
            if response.status_code == 303 and call.method != "GET":
                # "See other" is an answer to a call that was carried out; what is there is to be read only.
                raise AttemptError(f"{call.name} was answered 303", call=call.name, maybe_applied=True)
            request = request.copy()
            request.url = redirect_target(call, str(request.url), location)
        raise CrmRedirectError(f"{call.name} is redirected in a circle", call=call.name)

    def _send(self, call: Call, request: requests.PreparedRequest) -> tuple[requests.Response, bytes]:
        timeouts = (min(CONNECT_TIMEOUT, self.settings.extras.timeout), self.settings.extras.timeout)
        with self._shared.throttle.slot(patience=self.retry_budget), no_urls_in_logs():
            if call.before is not None:
                call.before()
            self.counters.sent()
            try:
                response = self._session.send(
                    request, allow_redirects=False, timeout=timeouts, **self._shared.environment
                )
                with response:
                    # Several times as fast as `.content`, which reads ten KiB at a time.
                    body: bytes = response.raw.read(decode_content=True)
            except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                failure = error
            else:
                self._heed(response)
                return response, in_utf8(body, response.headers.get("Content-Type", ""))
        raise failure_of(call.name, failure)

    def _heed(self, response: requests.Response) -> None:
        headers = response.headers
        if response.status_code in (429, 503) and (asked := seconds_asked(headers)):
            self._shared.throttle.pause(asked)
        left, window = headers.get("X-RateLimit-Remaining", ""), reset_in(headers)
        if left.isdecimal() and window is not None:
            limit = headers.get("X-RateLimit-Limit", "")
            self._shared.throttle.announce(
                left=int(left), reset_in=window, limit=int(limit) if limit.isdecimal() else None
            )

    def _check(self, call: Call, response: requests.Response, body: bytes) -> None:
        status = response.status_code
        if 200 <= status < 300:
            return
        errors = tuple(map(self._hide, vendor_errors(body)))
        said = "; ".join(errors) or self._hide(response.reason or "no reason given")
        message = f"{call.name} was answered {status}: {redact(said)}"
        if status == 429 or status == 408 or status >= 500:
            raise AttemptError(
                message,
                call=call.name,
                status=status,
                retry_after=seconds_asked(response.headers),
                maybe_applied=status != 429,
            )
        if status in (401, 403):
            raise CrmAuthenticationError(
                f"{message.rstrip('.')}. Check the credentials of connection {self.conn_id!r} and what they may do",
                call=call.name,
                status=status,
            )
        raise _refusal(message, body, reason=said, errors=errors, call=call.name, status=status)

    def _hide(self, text: str) -> str:
        """Take the credentials out of the CRM's words, which may quote them."""
        for secret in self._shared.auth.secrets():
            if len(secret) > 3:
                text = text.replace(secret, "<secret>")
        return text

    # What all threads share

    @property
    def _shared(self) -> _Shared:
        with self._making:
            if self._made is None:
                self._made = self._make()
        return self._made

    def _make(self) -> _Shared:
        extras = self.settings.extras
        concurrency = self.concurrency
        if isinstance(extras.verify, str) and not os.path.exists(extras.verify):
            raise CrmConnectionError(
                f"Connection {self.conn_id!r}: the extra `verify` names a file that is not on this machine"
            )
        adapter = Transport(pool_connections=4, pool_maxsize=concurrency)
        return _Shared(
            auth=self._auth(),
            throttle=Throttle(concurrency, self._pacer(), self._closing),
            pool=ThreadPoolExecutor(
                concurrency, thread_name_prefix=self.conn_type, initializer=self._join_pool
            ),
            adapter=adapter,
            # Asking the environment for proxies on every call costs a third of the call.
            environment=requests.Session().merge_environment_settings(
                self.settings.base_url, {}, True, extras.verify, None
            ),
        )

    def _pacer(self) -> Pacer:
        settings = self.settings
        per_minute, redis_conn_id = settings.extras.requests_per_minute, settings.extras.rate_limit_conn_id
        if not per_minute:
            return Unpaced()
        if not redis_conn_id:
            return EvenPacer(per_minute)
        return shared_pacer(
            self._connection(
                redis_conn_id, named_by=f", which the extra `rate_limit_conn_id` of {self.conn_id!r} names,"
            ),
            per_minute=per_minute,
            whose=(self.conn_type, settings.base_url, settings.login or settings.password),
        )

    def _join_pool(self) -> None:
        self._local.of_pool = True

    @property
    def _session(self) -> requests.Session:
        """One session a thread, all of them on one pool of connections."""
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = _Session()
            session.mount("https://", self._shared.adapter)
            session.mount("http://", self._shared.adapter)
            session.headers["User-Agent"] = f"airflow-provider-crm/{__version__}"
            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            self._local.session = session
        return session


@dataclass(frozen=True, slots=True)
class _Shared:
    """What the threads of one hook have in common."""

    auth: CrmAuth
    throttle: Throttle
    pool: ThreadPoolExecutor
    adapter: Transport
    environment: Mapping[str, Any]


class _Session(requests.Session):
    """Leaves redirects to the hook: requests prepares the next request even where told not to follow."""

    def resolve_redirects(self, *_: Any, **__: Any) -> Iterator[Any]:
        yield from ()


class _UnreadableAttemptError(AttemptError):
    """The answer came and could not be read."""


_REFUSALS: Mapping[int, type[CrmRequestError]] = {
    404: CrmNotFoundError,
    410: CrmNotFoundError,
    413: CrmTooLargeError,
    414: CrmTooLargeError,
    431: CrmTooLargeError,
}


def _refusal(message: str, body: bytes, *, status: int, **more: Any) -> CrmRequestError:
    """Make the error of an answer; whoever raised it from a variable would leave garbage behind."""
    error = _REFUSALS.get(status, CrmRequestError)(message, status=status, **more)
    if isinstance(error, CrmNotFoundError):
        error.in_json = is_json(body)
    return error


def iterate(pages: Iterable[Sequence[T]]) -> Iterator[T]:
    """Turn pages into rows."""
    for page in pages:
        yield from page
