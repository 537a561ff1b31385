"""Which stretch of time an export covers: given, the run's data interval, or from a watermark on.

Knows no CRM but that its filters take local times without a zone, and not whether their bounds are in or out.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from airflow_provider_crm.exceptions import CrmInputError

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
    :param edges: local times whose rows are left out: they belong to the stretch before or after this one.
    """

    after: str | None = None
    before: str | None = None
    edges: frozenset[dt.datetime] = frozenset()

    @classmethod
    def given(cls, after: Any, before: Any, zone: ZoneInfo) -> Window:
        """Take bounds as they are; those with a zone are converted.

        :raises CrmInputError: a bound is no time, or the window is turned round.
        """
        start, end = _local("created_after", after, zone), _local("created_before", before, zone)
        if start is not None and end is not None and start >= end:
            raise CrmInputError(f"The window is turned round: it begins at {start} and ends at {end}")
        return cls(_sent(after, start), _sent(before, end))

    @classmethod
    def from_to(cls, start: dt.datetime | None, end: dt.datetime) -> Window:
        """Make a window of local times, its start included and its end not.

        Whether the CRM counts a bound in is not documented: it is asked from a second earlier on, and rows of that
        second and of the end are left out.
        """
        end = end.replace(microsecond=0)
        if start is None:
            return cls(None, str(end), frozenset((end,)))
        # In local time: the second before two o'clock is not a second before when the clock is set back to it.
        after = start.replace(microsecond=0) - _SECOND
        return cls(str(after), str(end), frozenset((after, end)))

    def described(self) -> dict[str, str | None]:
        """Give the bounds for people."""
        return {"created_after": self.after, "created_before": self.before}


def local_time(moment: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """Give what a clock in the zone shows."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def interval_of(context: Any, zone: ZoneInfo) -> Window | None:
    """Make a window of the run's data interval.

    :return: None when the run has none, or one without extent, as those that are triggered by hand have.
    """
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    if start is None or end is None or start >= end:
        return None
    return Window.from_to(local_time(start, zone), local_time(end, zone))


def next_start(newest: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """Tell from where on the next incremental export reads.

    :param newest: the newest local time that was read.
    """
    first, second = (newest.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    if first is not None and second is not None and first > second:
        # The hour comes twice, and its second coming may not have begun: read it all again rather than miss it.
        return newest.replace(minute=0, second=0, microsecond=0)
    return newest.replace(microsecond=0) + _SECOND


def _local(name: str, value: Any, zone: ZoneInfo) -> dt.datetime | None:
    if value is None or value == "":
        return None
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value.strip())
        except ValueError:
            raise CrmInputError(
                f"`{name}` is no time: {value!r}; write YYYY-MM-DD HH:MM:SS, or ISO 8601 with a zone"
            ) from None
    if not isinstance(value, dt.datetime):
        if not isinstance(value, dt.date):
            raise CrmInputError(f"`{name}` is no time but a {type(value).__name__}")
        value = dt.datetime.combine(value, dt.time())
    return local_time(value, zone) if value.tzinfo is not None else value


def _sent(given: Any, local: dt.datetime | None) -> str | None:
    if local is None:
        return None
    if isinstance(given, str) and dt.datetime.fromisoformat(given.strip()).tzinfo is None:
        return given.strip()
    return dt.datetime.isoformat(local, " ", "seconds")


class Watermark:
    """How far incremental exports have come, kept with the outlet asset.

    :param store: the asset's state.
    :param key: of this task.
    """

    def __init__(self, store: Any, key: str) -> None:
        self._store = store
        self._key = key

    @classmethod
    def of(cls, context: Any, outlets: Any, key: str) -> Watermark:
        """Find where the watermark is kept.

        :raises CrmInputError: this Airflow keeps no state for assets, or the task has not exactly one outlet asset.
        """
        stores = context.get("asset_state_store")
        if stores is None:
            raise CrmInputError(
                "`incremental` needs Airflow 3.3 or later, which keeps state with assets. Leave it out: the window is "
                "then the run's data interval"
            )
        assets = [outlet for outlet in outlets or () if getattr(outlet, "uri", None)]
        if len(assets) != 1:
            raise CrmInputError(
                f"`incremental` keeps its watermark with the outlet asset: the task needs exactly one, it has "
                f"{len(assets)}"
            )
        return cls(stores[assets[0]], key)

    def get(self) -> dt.datetime | None:
        """Give the local time from which on nothing has been read."""
        text = self._store.get(self._key)
        return None if text is None else dt.datetime.fromisoformat(text)

    def set(self, start: dt.datetime) -> None:
        """Move it."""
        self._store.set(self._key, start.isoformat())
