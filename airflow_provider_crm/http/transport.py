"""Connections that tell whether a call can have left. Knows the HTTP library only."""

from __future__ import annotations

import http.client
from typing import Any

import requests.adapters
import urllib3.connection
import urllib3.connectionpool
import urllib3.exceptions


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
