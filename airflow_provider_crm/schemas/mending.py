"""What servers do to a value of a record without changing what it says, and how it is undone. Knows no CRM.

Seen in public APIs: numbers for texts and texts for numbers (mevdschee/php-crud-api, issue 159; MISP/MISP, issue
10379), a list with gaps as a map (directus/v8-archive, pull request 1318: ``json_encode`` of PHP), MySQL's zero dates
(dev.mysql.com, "The DATE, DATETIME, and TIMESTAMP Types").
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal

Kind = Literal[
    "text", "boolean", "integer", "decimal", "moment", "local_moment", "date", "texts", "named_values", "map"
]
"""What a column holds:

``text``; ``boolean``; ``integer``; ``decimal``, a text of at most 29 digits before and 9 after the point;
``moment``, a datetime with its zone; ``local_moment``, one that the CRM shows without its zone, kept as text in the
form of ISO 8601 once it has it; ``date``; ``texts``, a list; ``named_values``, ``{id: {"name", "value"}}``; ``map``,
``{text: text}``.
"""

TEXTUAL = frozenset({"text", "texts", "map"})
"""Kinds of columns that hold texts, or lists or maps of them."""

Aware = Callable[[dt.datetime], dt.datetime]
"""Gives a moment without a zone the vendor's."""

_DECIMAL = re.compile(r"[+-]?\d{1,29}(\.\d{1,9})?", re.ASCII)
#: What follows a date that is kept as a moment, as ExpertSender's of birth: the day is that of the moment's zone.
_MIDNIGHT = re.compile(r"[ T]00:00:00(\.0+)?(Z|[+-]\d\d:?\d\d)?$", re.ASCII)


def check_decimal(text: str) -> None:
    """Raise ValueError for what is no amount, or one that no column of amounts can hold.

    :raises ValueError: it is.
    """
    # Most amounts are short whole numbers, for which a regular expression is slow.
    if not (len(text) < 20 and text.isdecimal() and text.isascii()) and not _DECIMAL.fullmatch(text):
        raise ValueError("Expected a number with at most 29 digits before and 9 after its point")


def mended(kind: Kind, value: Any, aware: Aware) -> Any:
    """Undo what a server may do to a value without changing what it says."""
    if kind in TEXTUAL:
        return plain_texts(kind, value)
    if kind == "named_values":
        return value
    if value == "" or (value is False and kind != "boolean"):
        return None  # two of PHP's ways to say that there is nothing
    if kind == "decimal" and _is_number(value):
        return format(Decimal(str(value)), "f")
    if isinstance(value, str) and value.startswith("0000-00-00"):
        return None  # MySQL's way to say that there is no date
    if kind == "date" and isinstance(value, str):
        return _MIDNIGHT.sub("", value)
    if kind == "moment" and isinstance(value, str):
        return _moment(value, aware)
    return value


def _moment(text: str, aware: Aware) -> Any:
    try:
        return aware(dt.datetime.fromisoformat(text))
    except ValueError:
        return text  # msgspec says what is wrong with it


def plain_texts(kind: Kind, value: Any) -> Any:
    """Write numbers as text, in a column that holds texts; all else is left as it is."""
    if kind == "text":
        return plain_text(value)
    if isinstance(value, dict):
        if kind == "map":
            return {name: plain_text(one) for name, one in value.items()}
        value = list(value.values())  # how PHP prints a list with gaps
    return [plain_text(one) for one in value] if isinstance(value, list) else value


def plain_text(value: Any) -> Any:
    return str(value) if _is_number(value) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
