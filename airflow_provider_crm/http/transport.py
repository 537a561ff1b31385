"""How a call gets to a server: by which proxy, and over connections that can be ended and tell whether it has left.

Knows the HTTP libraries only: requests finds the way, urllib3 keeps the connections.
"""

from __future__ import annotations

import http.client
import io
import math
import os
import socket
import ssl
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit

import requests.adapters
import requests.utils
import urllib3
import urllib3.connection
import urllib3.connectionpool
import urllib3.exceptions
import urllib3.util.connection

from airflow_provider_crm.exceptions import CrmConnectionError
from airflow_provider_crm.http.urls import is_loopback, origin
from airflow_provider_crm.http.wire import Answer, Request, read_answer, request_bytes


class NotConnectedError(urllib3.exceptions.NewConnectionError):
    """No connection was made, so that nothing of a call can have left."""


class _Live:
    """The connections that stand, or are being made: for whoever has to end them from another thread.

    It takes no lock: that may be asked for in a signal handler, which interrupts whoever holds it.
    """

    def __init__(self) -> None:
        self._known: set[weakref.ref[socket.socket]] = set()
        self._ended = False

    def add(self, one: socket.socket) -> None:
        self._known.add(weakref.ref(one, self._known.discard))
        if self._ended:
            _hang_up(one)

    def end(self) -> None:
        """End all of them, those to come too: whoever waits for an answer gets none."""
        self._ended = True
        for reference in self._known.copy():
            if (one := reference()) is not None:
                _hang_up(one)


def _hang_up(one: socket.socket) -> None:
    plain = getattr(one, "socket", one)  # of TLS within TLS
    with suppress(OSError):
        # That of TLS would take its state from under the thread that is reading.
        socket.socket.shutdown(plain, socket.SHUT_RDWR)


class _BoundedReader(io.RawIOBase):
    """Reads from a socket until a moment: its own timeout would begin anew with every byte.

    A timeout of the library "is not a time limit on the entire response download"
    (requests.readthedocs.io, "Quickstart", "Timeouts").
    """

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._socket = sock
        self._until = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left)
        return self._socket.recv_into(buffer)


class _TunnelAnswer(http.client.HTTPResponse):
    """What a proxy answers, within the timeout."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.fp = _within(sock, sock.gettimeout())


def _within(sock: socket.socket, seconds: float | None) -> io.BufferedReader:
    """Return what reads from a socket until so many seconds are over."""
    return io.BufferedReader(_BoundedReader(sock, math.inf if seconds is None else seconds))


class _Connection(urllib3.connection.HTTPConnection):
    """Speaks with :mod:`.wire`, which the pools of the library let their connections do.

    Says so of whatever fails before a connection stands, TLS and a proxy's tunnel included.
    """

    response_class = _TunnelAnswer
    live: _Live

    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **_: Any) -> None:
        """Send a request."""
        data = request_bytes(method, url, headers, body)
        if self.sock is None:
            self.connect()
        self.sock.settimeout(self.timeout)
        self.sock.sendall(data)

    def getresponse(self) -> Any:
        """Read the answer: whole within the timeout, or not at all."""
        answer = read_answer(_within(self.sock, self.timeout))
        if not answer.keeps:
            self.close()
        return answer

    def connect(self) -> None:
        self._guards: list[socket.socket] = []
        try:
            super().connect()
        except urllib3.exceptions.ConnectTimeoutError:
            raise
        except (OSError, UnicodeError, http.client.HTTPException, urllib3.exceptions.HTTPError) as error:
            raise NotConnectedError(self, type(error).__name__) from error
        else:
            self.live.add(self.sock)
        finally:
            for guard in self._guards:
                guard.close()

    def _new_conn(self) -> socket.socket:
        # The library's own shows its socket only once it is connected.
        problem: OSError | None = None
        family = urllib3.util.connection.allowed_gai_family()
        for of_family, kind, protocol, _, address in socket.getaddrinfo(
            self._dns_host, self.port, family, socket.SOCK_STREAM
        ):
            one = socket.socket(of_family, kind, protocol)
            try:
                # Another handle on it, since TLS takes this one away before it has shaken hands.
                self._guards.append(one.dup())
                self.live.add(self._guards[-1])
                for option in self.socket_options or ():
                    one.setsockopt(*option)
                one.settimeout(self.timeout)
                one.connect(address)
            except OSError as error:
                one.close()
                problem = error.with_traceback(None)
            else:
                return one
        raise problem or OSError("the name has no address")


class _HttpsConnection(_Connection, urllib3.connection.HTTPSConnection):
    pass


class _Pool(urllib3.connectionpool.HTTPConnectionPool):
    ConnectionCls: Any = _Connection

    def __init__(self, *args: Any, live: _Live, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._live = live

    def _new_conn(self) -> Any:
        connection: Any = super()._new_conn()
        connection.live = self._live
        return connection


class _HttpsPool(_Pool, urllib3.connectionpool.HTTPSConnectionPool):
    ConnectionCls: Any = _HttpsConnection


def _by_socks(pool: type[_Pool], theirs: Any) -> Any:
    """Make a class of pools whose connections the library makes by SOCKS, for which PySocks need not be installed."""
    makes = theirs.ConnectionCls
    connection = type("_SocksConnection", (pool.ConnectionCls, makes), {"_new_conn": makes._new_conn})
    return type("_SocksPool", (pool,), {"ConnectionCls": connection})


class _Adapter(requests.adapters.HTTPAdapter):
    """Makes pools of such connections, to servers and to proxies, as requests would make its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.live = _Live()
        self._pools: Any = {
            "http": partial(_Pool, live=self.live),
            "https": partial(_HttpsPool, live=self.live),
        }
        super().__init__(*args, **kwargs)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        is_new = proxy not in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = self._pools
        elif is_new:
            manager.pool_classes_by_scheme = {
                scheme: partial(_by_socks(pool, manager.pool_classes_by_scheme[scheme]), live=self.live)
                for scheme, pool in (("http", _Pool), ("https", _HttpsPool))
            }
        return manager


@dataclass(frozen=True, slots=True)
class Route:
    """How a server is reached.

    :param name: scheme, host and port, and the proxy that leads there, for messages.
    :param host: how requests name it.
    :param pool: the connections to it.
    :param whole_urls: whether who takes the request is to be told the whole URL: a proxy that sends it on.
    """

    name: str
    host: str
    pool: urllib3.connectionpool.HTTPConnectionPool
    whole_urls: bool


class Transport:
    """Sends requests over connections that are kept. Safe to share between threads.

    What the environment says of proxies and certificates is asked for once a server: it costs a third of a call.

    :param verify: check certificates, or the path of a CA bundle to check them with.
    :param called: how messages name the connection.
    :param concurrency: connections that are kept.
    :param connect: seconds within which a connection has to stand.
    :param read: seconds within which an answer has to be there as a whole.
    """

    def __init__(
        self, verify: bool | str, called: str, *, concurrency: int, connect: float, read: float
    ) -> None:
        self._verify = verify
        self._called = called
        self._timeout = urllib3.Timeout(connect=connect, read=read)
        self._adapter = _Adapter(pool_maxsize=concurrency)
        self._routes: dict[tuple[str, str, int], Route] = {}

    def send(self, request: Request, route: Route) -> Answer:
        """Send a request, once.

        :raises urllib3.exceptions.HTTPError: there is no whole answer.
        :raises OSError: the same.
        """
        target = request.url if route.whole_urls else _target(request.url)
        answer = route.pool.urlopen(
            request.method,
            target,
            body=request.body,
            headers={"Host": route.host, **request.headers},
            retries=False,
            redirect=False,
            assert_same_host=False,
            timeout=self._timeout,
        )
        return cast(Answer, answer)  # as :class:`_Connection` gives it

    def hang_up(self) -> None:
        """End all connections, those with a call in flight too, and those to come."""
        self._adapter.live.end()

    def close(self) -> None:
        """Close the connections that are kept and not in use."""
        for route in list(self._routes.values()):
            route.pool.close()

    def route(self, url: str) -> Route:
        """Return how a URL is reached.

        :raises CrmConnectionError: the certificates that are to be trusted cannot be read, or the proxy is none.
        """
        server = origin(url)
        route = self._routes.get(server)
        if route is None:
            route = self._routes[server] = self._find(url, server)
        return route

    def _find(self, url: str, server: tuple[str, str, int]) -> Route:
        settings: dict[str, Any] = dict(
            requests.Session().merge_environment_settings(url, {}, True, self._verify, None)
        )
        if is_loopback(server[1]):
            # To a proxy it is another machine, and the key would go there in clear; that NO_PROXY has to name it is
            # easily forgotten (meteor/meteor, issue 5417; puppetlabs/puppet, pull request 7662).
            settings["proxies"] = {}
        if server[0] == "https" and isinstance(settings["verify"], str):
            self._check_certificates(settings["verify"])
        try:
            return self._make(url, server, settings["verify"], settings["proxies"])
        except requests.exceptions.InvalidSchema:
            problem = "one of SOCKS needs the package PySocks"
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, ValueError):
            problem = "it has to look like http://host:port"
        # Without what was raised, which may quote the password.
        raise CrmConnectionError(
            f"The proxy that the environment names for {_address(server)} of {self._called} cannot be used "
            f"({problem}): see HTTP_PROXY, HTTPS_PROXY and ALL_PROXY"
        )

    def _make(self, url: str, server: tuple[str, str, int], verify: Any, proxies: Any) -> Route:
        address = _address(server)
        name = address
        if proxy := requests.utils.select_proxy(url, proxies):
            # Without its user and password; that it is http need not be said.
            name += f" by the proxy {_address(origin(proxy if '://' in proxy else f'http://{proxy}'))}"
        request = requests.PreparedRequest()
        request.url = url
        adapter: Any = self._adapter
        pool = adapter.get_connection_with_tls_context(request, verify, proxies)
        adapter.cert_verify(pool, url, verify, None)
        whole_urls = adapter.request_url(request, proxies) == url
        default = f":{443 if server[0] == 'https' else 80}"
        host = address.partition("://")[2].removesuffix(default)
        return Route(name, host, pool, whole_urls)

    def _check_certificates(self, path: str) -> None:
        try:
            if not os.path.isdir(path):
                ssl.create_default_context(cafile=path)
        except OSError as error:
            raise CrmConnectionError(
                f"The extra `verify` of {self._called}, or REQUESTS_CA_BUNDLE, names {path!r}, which is no file of "
                f"certificates on this machine"
            ) from error.with_traceback(None)


def _target(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"


def _address(server: tuple[str, str, int]) -> str:
    scheme, host, port = server
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
