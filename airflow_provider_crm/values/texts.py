"""What a cell says: a text, a number, yes or no."""

from __future__ import annotations

import datetime as dt
import math
import re
import unicodedata
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from airflow_provider_crm.values.cells import plain

#: More digits than any number has that people keep; Python refuses to print much longer ones.
MOST_DIGITS = 400

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
_WHOLE = re.compile(r"([+-]?\d+)(?:\.0*)?", re.ASCII)

_YES = frozenset(("1", "1.0", "true", "t", "yes", "y", "oui", "vrai"))
_NO = frozenset(("0", "0.0", "false", "f", "no", "n", "non", "faux"))
#: How MySQL hands out a BIT(1).
_BITS = {b"\x00": False, b"\x01": True}


def _moment_text(value: dt.datetime) -> str:
    return value.isoformat(" ")


def text_of(
    value: Any,
    *,
    moment: Callable[[dt.datetime], str] = _moment_text,
    flags: tuple[str, str] = ("false", "true"),
) -> str:
    """Return a value as text without blanks around it.

    Numbers are written without an exponent, whole ones without a point.

    :param moment: how moments are written.
    :param flags: how no and yes are written.
    :raises ValueError: it is nothing that a text says: a list, a map, a duration, bytes that are no text.
    """
    if type(value) is str:
        text = value.strip()
        return text if text.isascii() or text.isprintable() else _encodable(text)
    value = plain(value)
    if isinstance(value, str):
        return _encodable(value.strip())
    if isinstance(value, bool):
        return flags[value]
    if isinstance(value, int | float | Decimal):
        return number_text(value)
    if isinstance(value, dt.datetime):
        return moment(value)
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    raise ValueError(f"a value of type {type(value).__name__} cannot be written as text")


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        pass  # its message quotes the value
    else:
        return text
    raise ValueError("the text holds half a character, and such characters cannot be sent")


def comparable(text: str) -> str:
    """Return a text as it is compared: blanks around it and how accents are encoded make no difference."""
    text = text.strip()
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def number_text(value: int | float | Decimal) -> str:
    """Return a number as text: exactly, without an exponent, and without a point where it is whole.

    :raises ValueError: it is not finite, or longer than any number that people keep.
    """
    if isinstance(value, int):
        if value.bit_length() > MOST_DIGITS * 3:
            raise ValueError(f"a number has at most {MOST_DIGITS} digits")
        return str(value)
    if not _is_finite(value):
        raise ValueError("this is not a number (NaN or infinite), a finite one is expected")
    number = Decimal(repr(value)) if isinstance(value, float) else value
    if abs(number.adjusted()) > MOST_DIGITS or len(number.as_tuple().digits) > MOST_DIGITS:
        raise ValueError(f"a number has at most {MOST_DIGITS} digits")
    if number == number.to_integral_value():
        return str(int(number))
    return format(number, "f")


def _is_finite(value: float | Decimal) -> bool:
    # Beyond a float's range, math.isfinite takes a Decimal for infinite.
    return math.isfinite(value) if isinstance(value, float) else value.is_finite()


def number_of(value: Any) -> Decimal:
    """Return the number that a cell holds, exactly.

    :raises ValueError: it holds none, or one that is not finite.
    """
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise ValueError("a number is expected")
    if isinstance(value, str):
        text = value.strip()
        if text.lower().lstrip("+-") in ("nan", "inf", "infinity"):
            raise ValueError("a finite number is expected")
        if len(text) > MOST_DIGITS or not _NUMBER.fullmatch(text):
            raise ValueError("a number is expected")
        value = Decimal(text)
    return Decimal(number_text(value))


def whole_number(value: Any) -> int:
    """Return the whole number that a cell holds, also where it is written ``5.0``.

    :raises ValueError: it holds none.
    """
    if type(value) is int:
        return value
    value = plain(value)
    if isinstance(value, str):
        found = _WHOLE.fullmatch(value.strip())
        if found and len(found[1]) <= MOST_DIGITS:
            return int(found[1])
    elif isinstance(value, int):
        return int(value)
    elif isinstance(value, float | Decimal) and _is_finite(value):
        text = number_text(value)
        if "." not in text:
            return int(text)
    raise ValueError("a whole number is expected")


def yes_or_no(value: Any) -> bool:
    """Return True for yes and False for no, in the words of Python, SQL, spreadsheets and French.

    :raises ValueError: it is neither.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, bytes | bytearray | memoryview) and bytes(value) in _BITS:
        return _BITS[bytes(value)]
    word = text_of(value).lower()
    if word in _YES:
        return True
    if word in _NO:
        return False
    raise ValueError("allowed are 0 and 1, true and false, yes and no, oui and non")
