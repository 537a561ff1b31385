"""What the hooks of all CRMs share: from an Airflow connection to an HTTP client, its Test and its form.

Knows neither how a call is made nor which calls a CRM has.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, ClassVar, Generic, TypeVar

from airflow_provider_crm._compat import AirflowNotFoundException, BaseHook, Connection
from airflow_provider_crm.exceptions import CrmConnectionError, CrmError, CrmNotFoundError
from airflow_provider_crm.hooks.base.forms import add_form
from airflow_provider_crm.hooks.base.pacing import pacer_of
from airflow_provider_crm.hooks.base.settings import E, Settings, read_settings
from airflow_provider_crm.http.auth import CrmAuth
from airflow_provider_crm.http.calls import Call
from airflow_provider_crm.http.client import RETRY_BUDGET, Counters, HttpClient
from airflow_provider_crm.http.clock import Clock
from airflow_provider_crm.http.forks import renew_in_children
from airflow_provider_crm.http.quota import QuotaHeaders

T = TypeVar("T")
S = TypeVar("S")

#: Clients that belong to the process this one was forked off.
_OF_PARENTS: list[HttpClient] = []


class CrmHook(BaseHook, Generic[E]):
    """The base of all hooks. Safe to share between threads, and with processes that are forked off, each of which
    has connections, threads and counts of its own. Nothing is looked up before the first call.

    :param conn_id: the Airflow connection.
    :param concurrency: calls in flight at once; the connection's extra and then 8 otherwise.
    """

    conn_name_attr: ClassVar[str]
    default_conn_name: ClassVar[str]
    conn_type: ClassVar[str]
    hook_name: ClassVar[str]
    default_url: ClassVar[str]
    extras_type: type[E]
    #: In which headers the CRM tells how many calls it still takes.
    quota: ClassVar[QuotaHeaders | None] = None

    #: Calls in flight at once, where neither the caller nor the connection says how many.
    default_concurrency = 8
    #: Seconds after which a call is not sent again; a smaller one makes an answer to a person faster.
    retry_budget = RETRY_BUDGET

    def __init__(self, conn_id: str, *, concurrency: int | None = None) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.counters = Counters()
        self.clock = Clock()
        self._concurrency = concurrency
        self._making = threading.RLock()
        self._settings: Settings[E] | None = None
        self._client: HttpClient | None = None
        renew_in_children(self)

    def after_fork(self) -> None:
        """Renew client, counts and lock: those of the parent process are not this one's."""
        if self._client is not None:
            # Letting go of it would empty a queue of connections, of which a thread that is not here may have held the
            # lock.
            _OF_PARENTS.append(self._client)
        self._client = None
        self._making = threading.RLock()
        self.counters = Counters()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "conn_type" in cls.__dict__:
            add_form(cls)

    # What a CRM's hook adds

    def _auth(self) -> CrmAuth:
        """Return what puts the connection's credentials on requests."""
        raise NotImplementedError

    def _probe(self) -> str:
        """Make one cheap read, and return a sentence that says what was reached."""
        raise NotImplementedError

    # From the connection to the client

    @property
    def settings(self) -> Settings[E]:
        """The connection, checked.

        :raises CrmConnectionError: it does not exist, or something in it cannot be used.
        """
        with self._making:
            if self._settings is None:
                connection = self._connection(self.conn_id)
                self._settings = read_settings(
                    connection,
                    conn_type=self.conn_type,
                    default_url=self.default_url,
                    extras_type=self.extras_type,
                )
        return self._settings

    @property
    def concurrency(self) -> int:
        """Calls in flight at once."""
        return self._concurrency or self.settings.extras.concurrency or self.default_concurrency

    @property
    def client(self) -> HttpClient:
        """The client that the connection describes.

        :raises CrmConnectionError: as for :attr:`settings`, or something is missing that calls need.
        """
        with self._making:
            if self._client is None:
                self._client = self._make_client()
        return self._client

    def _make_client(self) -> HttpClient:
        settings, extras = self.settings, self.settings.extras
        return HttpClient(
            settings.base_url,
            auth=self._auth(),
            called=f"connection {self.conn_id!r}",
            concurrency=self.concurrency,
            timeout=extras.timeout,
            max_retries=extras.max_retries,
            verify=extras.verify,
            pacer=pacer_of(
                extras,
                look_up=lambda conn_id: self._connection(
                    conn_id, named_by=f", which the extra `rate_limit_conn_id` of {self.conn_id!r} names,"
                ),
                whose=(self.conn_type, settings.base_url, settings.login or settings.password),
                now=self.clock.now,
            ),
            quota=self.quota,
            name=self.conn_type,
            counters=self.counters,
            clock=self.clock,
        )

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

    # Calls

    def test_connection(self) -> tuple[bool, str]:
        """Try the credentials with one cheap read.

        :return: whether it worked, and a sentence for the person who asked.
        """
        self.retry_budget = 10.0
        try:
            return True, self._probe()
        except CrmNotFoundError as error:
            return (
                False,
                f"{str(error).rstrip('.')}. A base URL is all before the resource, such as {self.default_url}",
            )
        except (CrmError, ValueError) as error:
            return False, str(error)

    def try_access(self) -> None:
        """Try the credentials with one cheap read.

        :raises CrmError: the CRM does not take them, or cannot be reached.
        """
        self._probe()

    def request(self, call: Call, read: Callable[[bytes], T]) -> T:
        """Send a call until its answer can be read: see :meth:`HttpClient.request`."""
        return self.client.request(call, read, budget=self.retry_budget)

    def side_by_side(self, function: Callable[[S], T], items: Iterable[S]) -> list[T]:
        """Call a function for many items, as many at once as calls may be in flight: see :meth:`Pool.side_by_side`."""
        return self.client.pool.side_by_side(function, items)

    def in_background(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Start a function in another thread; as many run at once as calls may be in flight."""
        return self.client.pool.in_background(function, *arguments)

    def pause(self, seconds: float) -> bool:
        """Wait, unless the hook is closed meanwhile.

        :return: whether it is.
        """
        return self.clock.wait(seconds)

    def close(self) -> None:
        """End calls that wait, and close the connections that are kept open."""
        self.clock.end()
        with self._making:
            if self._client is not None:
                self._client.close()
