"""What a cell holds: the only place that decides it. Knows no CRM."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from typing import Any

_ADDRESS = re.compile(r"[^\s,;@]+@[^\s,;@]+")


def is_empty(value: Any) -> bool:
    """Tell whether a cell holds nothing: None, a text without any sign, or the NaN or NaT of a data frame."""
    if isinstance(value, str):
        return not value or value.isspace()
    if isinstance(value, Decimal):
        return value.is_nan()
    return value is None or (isinstance(value, float | dt.datetime) and value != value)


def normal_email(value: Any) -> str:
    """Trim and lower-case an e-mail.

    :raises ValueError: empty, or something that no server takes for an address.
    """
    email = str("" if value is None else value).strip().lower()
    if not email:
        raise ValueError("the e-mail is empty")
    if not _ADDRESS.fullmatch(email):
        raise ValueError("this is not an e-mail address")
    return email
