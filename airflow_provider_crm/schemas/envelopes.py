"""Where the rows of a page stand in an answer. Knows no vendor."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec


class Envelope(Protocol):
    """Where the rows stand in an answer."""

    def around(self, rows: Any) -> Any:
        """Return the type of a whole answer.

        :param rows: the type of its list of rows.
        """

    def rows_in(self, answer: Any) -> Any:
        """Return the list of rows in a decoded answer."""

    def about(self, answer: Any) -> dict[str, Any]:
        """Return what the answer says once for all its rows, by column."""


class RowsUnder:
    """``{"customers": [...], "count": ..., "nextPageUrl": ...}``.

    :param key: under which the rows stand.
    """

    def __init__(self, key: str) -> None:
        self._key = key

    def around(self, rows: Any) -> Any:
        return msgspec.defstruct("Envelope", [("rows", rows)], rename={"rows": self._key})

    def rows_in(self, answer: Any) -> Any:
        return answer.rows

    def about(self, answer: Any) -> dict[str, Any]:
        return {}
