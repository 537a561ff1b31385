"""Which stretch of time an export covers: given, or the run's data interval.

Knows no CRM but that its filters take local times without a zone, and not whether their bounds are in or out.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.parameters import moment

#: How far an incremental export stays behind the clock, so that what the CRM is just about to show is not passed by.
SETTLING = dt.timedelta(seconds=60)
_SECOND = dt.timedelta(seconds=1)


def zone_named(name: str) -> ZoneInfo:
    """Find a time zone.

    :raises CrmInputError: there is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise CrmInputError(f"`timezone` names no time zone: {name!r}; an example is Europe/Paris") from None


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of local time, as the CRM's filters take it.

    :param after: as it is sent; None for no bound.
    :param before: as it is sent; None for no bound.
    :param start: the first local time whose rows belong to it, where others may come with them.
    :param end: the first local time whose rows do not any more.
    """

    after: str | None = None
    before: str | None = None
    start: dt.datetime | None = None
    end: dt.datetime | None = None

    @classmethod
    def given(cls, after: Any, before: Any, zone: ZoneInfo) -> Window:
        """Return the window of these bounds; those with a zone are converted.

        :raises CrmInputError: a bound is no time, or the window is turned round.
        """
        first = None if after is None else moment("created_after", after)
        last = None if before is None else moment("created_before", before)
        if first is not None and last is not None and _is_turned(first, last, zone):
            raise CrmInputError(f"The window is turned round: it begins at {first} and ends at {last}")
        return cls(_sent(after, first, zone), _sent(before, last, zone))

    @classmethod
    def from_to(cls, start: dt.datetime | None, end: dt.datetime) -> Window:
        """Return a window of local times, its start included and its end not.

        Whether the CRM counts a bound in is not documented: it is asked from a second earlier on, and rows of that
        second and of the end are left out.
        """
        end = end.replace(microsecond=0)
        if start is None:
            return cls(None, str(end), end=end)
        start = start.replace(microsecond=0)
        # In local time: the second before two o'clock is not a second before when the clock is set back to it.
        return cls(str(start - _SECOND), str(end), start, end)

    def in_either_zone(self, zone: ZoneInfo) -> Window:
        """Ask for more, for rows that carry their zone and can be told apart.

        They are shown in UTC, whose times their filters may be in as well: which of the two is not documented.
        """
        if self.end is None:
            return self
        end = max(self.end, _in_utc(self.end, zone))
        if self.start is None:
            return replace(self, before=str(end))
        start = min(self.start, _in_utc(self.start, zone))
        return replace(self, after=str(start - _SECOND), before=str(end))

    def holds(self, local: dt.datetime | None) -> bool:
        """Return whether a row of this local time belongs to it."""
        if local is None:
            return True
        return (self.start is None or local >= self.start) and (self.end is None or local < self.end)

    def described(self) -> dict[str, str | None]:
        """Return the bounds for people."""
        return {"created_after": self.after, "created_before": self.before}


def local_time(moment: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """Return what a clock in the zone shows."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def interval_of(context: Any, zone: ZoneInfo) -> Window | None:
    """Return the window of the run's data interval.

    A bound in the hour that comes twice is taken as the beginning of that hour: all of its rows, which do not say of
    which coming they are, belong to the run that goes beyond it.

    :return: None when the run has none, or one without extent, as those that are triggered by hand have.
    """
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    if start is None or end is None or start >= end:
        return None
    bounds = (local_time(moment, zone) for moment in (start, end))
    return Window.from_to(*(_hour(bound) if _comes_twice(bound, zone) else bound for bound in bounds))


def next_start(newest: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """Return from where on the next incremental export reads.

    :param newest: the newest local time that was read.
    """
    if _comes_twice(newest, zone):
        # Its second coming may not have begun: read the hour all again rather than miss it.
        return _hour(newest)
    return newest.replace(microsecond=0) + _SECOND


def _comes_twice(local: dt.datetime, zone: ZoneInfo) -> bool:
    first, second = (local.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    return first is not None and second is not None and first > second


def _in_utc(local: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    return local.replace(tzinfo=zone).astimezone(dt.UTC).replace(tzinfo=None)


def _hour(local: dt.datetime) -> dt.datetime:
    return local.replace(minute=0, second=0, microsecond=0)


def _is_turned(first: dt.datetime, last: dt.datetime, zone: ZoneInfo) -> bool:
    if first.tzinfo is not None and last.tzinfo is not None:
        return first >= last  # the clock may be set back between them
    return _in_zone(first, zone) >= _in_zone(last, zone)


def _in_zone(value: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    return value if value.tzinfo is None else local_time(value, zone)


def _sent(given: Any, time: dt.datetime | None, zone: ZoneInfo) -> str | None:
    if time is None:
        return None
    if isinstance(given, str) and time.tzinfo is None:
        return given.strip().replace("/", "-")
    return dt.datetime.isoformat(_in_zone(time, zone), " ", "seconds")
