"""How a call gets to a server: by which proxy, and over connections that can be ended and tell whether it has left.

Knows the HTTP library only.
"""

from __future__ import annotations

import http.client
import io
import os
import socket
import ssl
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import requests.adapters
import requests.utils
import urllib3.connection
import urllib3.connectionpool
import urllib3.exceptions
import urllib3.util.connection

from airflow_provider_crm.exceptions import CrmConnectionError
from airflow_provider_crm.http.urls import is_loopback, origin


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

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, seconds: float) -> None:
        self._raw = raw
        self._socket = sock
        self._until = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    """Is whole within the timeout, or not at all."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        seconds = sock.gettimeout()
        if seconds is not None:
            self.fp = io.BufferedReader(_BoundedReader(self.fp.detach(), sock, seconds))


class _Connection(urllib3.connection.HTTPConnection):
    """Says so of whatever fails before a connection stands, TLS and a proxy's tunnel included."""

    response_class = _Answer
    live: _Live

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
    ConnectionCls = _Connection

    def __init__(self, *args: Any, live: _Live, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._live = live

    def _new_conn(self) -> Any:
        connection: Any = super()._new_conn()
        connection.live = self._live
        return connection


class _HttpsPool(_Pool, urllib3.connectionpool.HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


class Adapter(requests.adapters.HTTPAdapter):
    """Makes such connections, to servers and to proxies."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._live = _Live()
        self._pools: Any = {
            "http": partial(_Pool, live=self._live),
            "https": partial(_HttpsPool, live=self._live),
        }
        super().__init__(*args, **kwargs)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = self._pools
        return manager

    def hang_up(self) -> None:
        """End all connections, those with a call in flight too, and those to come."""
        self._live.end()


@dataclass(frozen=True, slots=True)
class Route:
    """How a server is reached.

    :param name: scheme, host and port, and the proxy that leads there, for messages.
    :param settings: what a session is to be told: proxies, and whose certificates to trust.
    """

    name: str
    settings: Mapping[str, Any]


class Routes:
    """What the environment says of each server, which is asked for once: it costs a third of a call.

    :param verify: check certificates, or the path of a CA bundle to check them with.
    :param called: how messages name the connection.
    """

    def __init__(self, verify: bool | str, called: str) -> None:
        self._verify = verify
        self._called = called
        self._known: dict[tuple[str, str, int], Route] = {}

    def to(self, url: str) -> Route:
        """Return how a URL is reached.

        :raises CrmConnectionError: the certificates that are to be trusted cannot be read.
        """
        server = origin(url)
        route = self._known.get(server)
        if route is None:
            route = self._known[server] = self._find(url, server)
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
        name = _address(server)
        if proxy := requests.utils.select_proxy(url, settings["proxies"]):
            # Without its user and password; that it is http need not be said.
            name += f" by the proxy {_address(origin(proxy if '://' in proxy else f'http://{proxy}'))}"
        return Route(name, settings)

    def _check_certificates(self, path: str) -> None:
        try:
            if not os.path.isdir(path):
                ssl.create_default_context(cafile=path)
        except OSError as error:
            raise CrmConnectionError(
                f"The extra `verify` of {self._called}, or REQUESTS_CA_BUNDLE, names {path!r}, which is no file of "
                f"certificates on this machine"
            ) from error.with_traceback(None)


def _address(server: tuple[str, str, int]) -> str:
    scheme, host, port = server
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
