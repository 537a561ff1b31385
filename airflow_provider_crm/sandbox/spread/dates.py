"""The three ways SPREAD writes a date, and how a date in a filter is understood. Knows no record."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from airflow_provider_crm.sandbox.spread.switches import SpreadSwitches

WITHOUT_ZONE = "%Y-%m-%d %H:%M:%S"

_SPACE_ONLY = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d)?").fullmatch


class Clock:
    """The vendor's clock.

    :param switches: how far it is ahead, and its zone.
    """

    def __init__(self, switches: SpreadSwitches) -> None:
        self._switches = switches

    @property
    def zone(self) -> tzinfo:
        """The zone of dates without one."""
        return ZoneInfo(self._switches.zone)

    def now(self) -> datetime:
        """Return the time as the vendor sees it."""
        return datetime.fromtimestamp(time.time() + self._switches.clock_shift, UTC)

    def with_offset(self, moment: datetime) -> str:
        """``2018-04-10T14:15:48+0000``, as customers have it."""
        return moment.astimezone(UTC).isoformat()[:19] + "+0000"

    def without_zone(self, moment: datetime) -> str:
        """``2019-08-29 13:36:52``, as consents and loyalty lines have it."""
        return moment.astimezone(self.zone).isoformat(" ")[:19]

    def read_filter(self, text: str) -> datetime | None:
        """Understand a date of a filter; None when it is not one."""
        if self._switches.filter_dates == "space_only" and not _SPACE_ONLY(text):
            return None
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError:
            return None
        return moment if moment.tzinfo else moment.replace(tzinfo=self.zone)


def is_date_time(text: object) -> bool:
    """Return whether a text is a date in the form ``YYYY-MM-DD HH:MM:SS``."""
    try:
        return isinstance(text, str) and datetime.strptime(text, WITHOUT_ZONE).strftime(WITHOUT_ZONE) == text
    except ValueError:
        return False
