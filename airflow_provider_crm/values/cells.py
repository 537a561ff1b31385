"""What a cell is, whatever a source hands out: empty, or a value of one of Python's own types.

Imports neither pandas nor NumPy, whose values it takes all the same.
"""

from __future__ import annotations

import datetime as dt
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from uuid import UUID

_OWN = frozenset(
    (str, int, bool, float, Decimal, dt.date, dt.datetime, dt.time, list, dict, tuple, type(None))
)
#: Signs of other kinds that show nothing: fillers, joiners, a blank of Braille, what picks a form of the sign before.
UNSEEN = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
_SEEMS_EMPTY = UNSEEN | {" "}


def is_empty(value: Any) -> bool:
    """Return True if a cell holds nothing.

    That is None, a text of blanks and invisible signs, an empty list or map, and what data frames have in the place of
    a missing value.
    """
    kind = type(value)
    if kind is str:
        if not value or value.isspace():
            return True
        return (not value.isprintable() or value[0] in _SEEMS_EMPTY) and not visible(value)
    if value is None:
        return True
    if kind is int or kind is bool:
        return False
    if isinstance(value, (float, dt.datetime)):
        return bool(value != value)
    if isinstance(value, Decimal):
        return value.is_nan()
    if isinstance(value, str):
        return not visible(value)
    if isinstance(value, bytes | bytearray | memoryview):
        with suppress(ValueError):  # of bytes that are no text, such as a BIT(1) of MySQL
            return is_empty(_decoded(bytes(value)))
        return False
    if isinstance(value, list | tuple | dict | set | frozenset):
        return not value
    own = plain(value)
    return own is not value and is_empty(own)


def visible(text: str) -> str:
    """Return a text without control and format signs, such as U+200B and NUL, and blanks around it."""
    if text.isascii() and text.isprintable():
        return text.strip()
    return "".join(sign for sign in text if sign.isspace() or not _is_unseen(sign)).strip()


def _is_unseen(sign: str) -> bool:
    return sign in UNSEEN or unicodedata.category(sign) in ("Cc", "Cf")


def plain(value: Any) -> Any:
    """Return a cell's value as one of Python's own types, where it is one in another guise.

    NumPy's scalars and pandas' moments become Python's, their missing values None; bytes become text; UUIDs and
    addresses of the net become text. Anything else is returned as it is.

    :raises ValueError: bytes that are no UTF-8.
    """
    if type(value) in _OWN:
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return _decoded(bytes(value))
    if isinstance(value, UUID | IPv4Address | IPv6Address):
        return str(value)
    if getattr(value, "dtype", None) is not None:
        return _plain_numpy(value)
    if isinstance(value, str):
        return str.__str__(value)  # a member of an Enum, too, which prints its name
    if isinstance(value, dt.datetime):
        return _plain_moment(value)
    if isinstance(value, dt.date):
        return dt.date(value.year, value.month, value.day)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, Mapping):
        return dict(value)
    return None if type(value).__name__ == "NAType" else value  # pandas.NA


def _decoded(data: bytes) -> str:
    text = ""
    with suppress(UnicodeDecodeError):  # its message quotes the value
        text = data.decode().rstrip("\0")  # with these, MySQL fills up a BINARY column
    if text and not any(sign < " " and sign not in "\t\n\r" for sign in text):
        return text
    if not data:
        return ""
    raise ValueError("bytes that are no UTF-8 text")


def _plain_numpy(value: Any) -> Any:
    if getattr(value, "shape", ()):
        return value.tolist()
    kind = value.dtype.kind
    if kind == "f":
        return float(str(value))  # of a float32 its own digits, not those of the float64 beside it
    if kind == "m":
        return value  # a duration, which nanoseconds would make a number
    if kind == "M" and isinstance(value.item(), int):
        value = value.astype("datetime64[us]")  # nanoseconds, which Python's moments have not
    return plain(value.item())


def _plain_moment(value: dt.datetime) -> dt.datetime | None:
    if value != value:
        return None  # NaT
    day = (value.year, value.month, value.day)
    time = (value.hour, value.minute, value.second, value.microsecond)
    return dt.datetime(*day, *time, tzinfo=value.tzinfo, fold=value.fold)
