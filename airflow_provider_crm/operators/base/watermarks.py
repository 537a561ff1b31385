"""How far incremental exports have come, and which stretch of it one run exports. Knows no CRM.

The watermark lies with the outlet asset and goes from run to run. The window lies with the run: all of its tries, and
the run when it is cleared, export the same.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from airflow_provider_crm._compat import keep_with_run
from airflow_provider_crm.exceptions import CrmInputError


class Watermark:
    """How far incremental exports of the same rows have come.

    :param store: the asset's state.
    :param key: tells these rows from all others that are exported to the asset.
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
        """Return the local time from which on nothing has been read."""
        return _time(self._store.get(self._key))

    def advance(self, start: dt.datetime) -> None:
        """Move it forward, never back: an instance of the task that ran beside this one may have read further."""
        kept = self.get()
        if kept is None or start > kept:
            self._store.set(self._key, start.isoformat())

    def former(self, key: str) -> dt.datetime | None:
        """Return what is kept under a key of an earlier version, which did not say of which rows it is."""
        return _time(self._store.get(key))

    def take_over(self, key: str) -> None:
        """Copy what is kept under a key of an earlier version into this watermark, once."""
        self._store.set(self._key, self._store.get(key))
        self._store.delete(key)


class Stretch(msgspec.Struct, frozen=True):
    """The local times that a run exports."""

    start: dt.datetime | None
    end: dt.datetime
    exported: bool = False
    """Whether the file was in its place and announced, so that the rows are this run's for good."""

    def from_watermark(self, watermark: dt.datetime | None) -> Stretch:
        """Return what is left of it to a run that failed before it was done, and that others may have overtaken."""
        if self.exported or watermark is None or (self.start is not None and watermark <= self.start):
            return self
        return Stretch(watermark, max(self.end, watermark))


class RunStretch:
    """Keeps the stretch of a run with the run.

    :param store: the task's state, which tries and clears of a run share; None before Airflow 3.3, where nothing is
        kept.
    :param key: of the rows: a run that is cleared with other parameters has a stretch of its own.
    """

    def __init__(self, store: Any, key: str) -> None:
        self._store = store
        self._key = key

    def get(self) -> Stretch | None:
        """Return what an earlier try of this run has kept."""
        kept = None if self._store is None else self._store.get(self._key)
        return None if kept is None else msgspec.convert(kept, Stretch)

    def set(self, stretch: Stretch) -> None:
        """Keep it."""
        if self._store is not None:
            keep_with_run(self._store, self._key, msgspec.to_builtins(stretch))


def _time(text: str | None) -> dt.datetime | None:
    return None if text is None else dt.datetime.fromisoformat(text)
