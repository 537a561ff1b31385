"""SPREAD's address, a customer of its pages, and a server of lists, for the tests beside it."""

from __future__ import annotations

import datetime as dt
from typing import Any
from urllib.parse import parse_qsl, urlsplit

BASE = "https://social-sb.com/api/v2"
JOHN = {"id": "123456", "email": "email-example@gmail.com", "tags": ["tag1"], "cagnotteAmount": "99"}
UTC_NOON = dt.datetime(2024, 7, 1, 12, tzinfo=dt.UTC)


def query(request: Any) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(request.url).query, keep_blank_values=True)


class List:
    """Serves rows in pages, as the vendor documents it, and notes what it was asked for."""

    def __init__(self, rows: list[dict[str, Any]], wrap: Any, cap: int = 5000) -> None:
        self.rows, self.wrap, self.cap = rows, wrap, cap
        self.queries: list[list[tuple[str, str]]] = []

    def __call__(self, request: Any, context: Any) -> dict[str, Any]:
        self.queries.append(query(request))
        asked = dict(self.queries[-1])
        start, size = int(asked.get("startAt", 0)), int(asked.get("maxResults", 10))
        rows = self.rows[start : start + min(size, self.cap)]
        # Both lie: there is no next page at this address, and the count is not the total.
        return {**self.wrap(rows), "count": len(rows), "nextPageUrl": "http:evil.example/customers?startAt=2"}
