"""Which day or moment a cell holds."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

from airflow_provider_crm.values.cells import plain

_MOMENT = re.compile(
    r"(\d{4})[-/](\d\d)[-/](\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?) ?(Z|UTC|[+-]\d\d(?::?\d\d(?::\d\d)?)?)?)?",
    re.ASCII | re.IGNORECASE,
)


def moment_of(value: Any) -> dt.datetime:
    """Return the moment that a cell holds; a day is its midnight, without a zone.

    No number is a moment, nor a text of digits alone: nobody can tell what it counts.

    :raises ValueError: it holds none.
    """
    value = plain(value)
    if isinstance(value, dt.datetime):
        return value
    if isinstance(value, dt.date):
        return dt.datetime(value.year, value.month, value.day)
    found = _MOMENT.fullmatch(value.strip()) if isinstance(value, str) else None
    if found:
        year, month, day, time, zone = found.groups()
        zone = "" if zone is None else "+00:00" if zone.upper() in ("Z", "UTC") else zone
        try:
            return dt.datetime.fromisoformat(f"{year}-{month}-{day}T{time or '00:00'}{zone}")
        except ValueError:
            pass
    raise ValueError("a date is written YYYY-MM-DD or YYYY-MM-DD HH:MM:SS")


def day_of(value: Any) -> dt.date:
    """Return the day that a cell holds; of a moment with a zone, the day there.

    :raises ValueError: it holds none.
    """
    return moment_of(value).date()


def is_midnight(moment: dt.datetime) -> bool:
    """Return True for a moment that is a day of its own zone rather than a time of day."""
    return moment.time() == dt.time()
