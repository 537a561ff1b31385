"""The HTTP library's connections, without the work it does a second time. Knows neither calls nor CRMs.

urllib3 looks at each byte of an address in Python, to encode what is not yet encoded. For a look-up of hundreds of
people that is a third of the whole call.
"""

from __future__ import annotations

import re
from typing import Any

import requests.adapters
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool

#: A query in which nothing is left to encode.
_ENCODED = re.compile(r"[\w.~%@,=&-]*", re.ASCII)


class _EncodedQueries:
    """Takes a query that is encoded already past the library, to the connection."""

    def urlopen(
        self, method: str, url: str, *arguments: Any, encoded: str = "", **more: Any
    ) -> BaseHTTPResponse:
        path, mark, query = url.partition("?")
        if mark and _ENCODED.fullmatch(query):
            url, encoded = path, mark + query
        # What the library does not know it hands on to `_make_request`.
        return super().urlopen(method, url, *arguments, encoded=encoded, **more)  # type: ignore[misc, no-any-return]

    def _make_request(self, *arguments: Any, encoded: str = "", **more: Any) -> Any:
        connection, method, url, *others = arguments
        return super()._make_request(connection, method, url + encoded, *others, **more)  # type: ignore[misc]


class _HttpPool(_EncodedQueries, HTTPConnectionPool):
    pass


class _HttpsPool(_EncodedQueries, HTTPSConnectionPool):
    pass


class Transport(requests.adapters.HTTPAdapter):
    """The adapter for all sessions of a hook."""

    def init_poolmanager(self, *arguments: Any, **more: Any) -> None:
        super().init_poolmanager(*arguments, **more)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
