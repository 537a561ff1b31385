"""How a call gets to a server: by which proxy, and over connections that tell whether it can have left.

Knows the HTTP library only.
"""

from __future__ import annotations

import http.client
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests.adapters
import requests.utils
import urllib3.connection
import urllib3.connectionpool
import urllib3.exceptions

from airflow_provider_crm.exceptions import CrmConnectionError
from airflow_provider_crm.http.urls import is_loopback, origin


class NotConnectedError(urllib3.exceptions.NewConnectionError):
    """No connection was made, so that nothing of a call can have left."""


class _Connecting(urllib3.connection.HTTPConnection):
    """Says so of whatever fails before a connection stands, TLS and a proxy's tunnel included."""

    def connect(self) -> None:
        try:
            super().connect()
        except urllib3.exceptions.ConnectTimeoutError:
            raise
        except (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError) as error:
            raise NotConnectedError(self, type(error).__name__) from error


class _HttpConnection(_Connecting):
    pass


class _HttpsConnection(_Connecting, urllib3.connection.HTTPSConnection):
    pass


class _HttpPool(urllib3.connectionpool.HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(urllib3.connectionpool.HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


_POOLS = {"http": _HttpPool, "https": _HttpsPool}


class Adapter(requests.adapters.HTTPAdapter):
    """Makes such connections, to servers and to proxies."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _POOLS
        return manager


@dataclass(frozen=True, slots=True)
class Way:
    """How a server is reached.

    :param name: scheme, host and port, and the proxy that leads there, for messages.
    :param settings: what a session is to be told: proxies, and whose certificates to trust.
    """

    name: str
    settings: Mapping[str, Any]


class Ways:
    """What the environment says of each server, which is asked for once: it costs a third of a call.

    :param verify: check certificates, or the path of a CA bundle to check them with.
    :param called: how messages name the connection.
    """

    def __init__(self, verify: bool | str, called: str) -> None:
        self._verify = verify
        self._called = called
        self._known: dict[tuple[str, str, int], Way] = {}

    def to(self, url: str) -> Way:
        """Return how a URL is reached.

        :raises CrmConnectionError: the certificates that are to be trusted cannot be read.
        """
        server = origin(url)
        way = self._known.get(server)
        if way is None:
            way = self._known[server] = self._find(url, server)
        return way

    def _find(self, url: str, server: tuple[str, str, int]) -> Way:
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
        return Way(name, settings)

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
