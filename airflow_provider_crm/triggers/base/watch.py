"""What every event trigger shares: how a list of a CRM is watched, and how a watcher remembers how far it has come.

Knows Airflow's event triggers and no CRM. A watcher fires at least once for every change, and once only unless the
triggerer dies within the second between an event's arrival in Airflow's database and the watcher's note of it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from airflow_provider_crm._compat import BaseEventTrigger, SharedStreamProducer, TriggerEvent
from airflow_provider_crm.exceptions import CrmError, CrmTransientError
from airflow_provider_crm.parameters import number
from airflow_provider_crm.triggers.base.cursor import Change, Cursor, Watched
from airflow_provider_crm.triggers.base.hook_cache import HOOK_CACHE

log = logging.getLogger(__name__)

#: How far back a watcher looks when it begins, to know what is old: further than a clock in another zone of Europe.
BEGINS_BEFORE = dt.timedelta(hours=3)
#: Seconds to wait after a refusal, which somebody has to do something about.
AFTER_REFUSAL = 300.0
#: Seconds between two looks at least: a watcher looks for ever, with calls that others need.
SHORTEST_POLL_INTERVAL = 1.0


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a list has shown.

    :param since: from when on it has looked.
    """

    number: int
    since: dt.datetime
    changes: Sequence[Change]


class Watcher:
    """One watcher, and how far it has come.

    :param cursor: how far it has come; None when it begins, and what there is is old to it.
    :param begins: where it begins then.
    :param store: where it remembers; None is nowhere.
    """

    def __init__(
        self, watched: Watched[Any], cursor: Cursor | None, begins: dt.datetime, store: Any, key: str
    ) -> None:
        self._watched = watched
        self._cursor = cursor or Cursor(begins)
        self._begins = cursor is None
        self._store = store
        self._key = key
        self._unnoted: tuple[int, Cursor] | None = None

    @property
    def since(self) -> dt.datetime:
        """From when on it has to look."""
        return self._cursor.since

    def take(self, look: Look) -> list[Change]:
        """Add what a look has shown.

        :return: what is new.
        """
        if look.since > self.since:
            return []  # made for others: it does not reach back to where this watcher is
        new = self._cursor.unseen(look.changes)
        if new:
            self._cursor = self._cursor.moved(new, self._watched)
        begins, self._begins = self._begins, False
        if new or begins:
            self._unnoted = (look.number, self._cursor)
        return [] if begins else new

    async def note(self, number: int) -> None:
        """Remember that all up to that look has arrived where it had to."""
        if self._unnoted is None or self._unnoted[0] > number:
            return
        cursor = self._unnoted[1]
        try:
            if self._store is not None:
                await self._store.aset(self._key, cursor.packed())
        except Exception as error:
            # The next note makes up for it.
            log.warning("The cursor of %s could not be kept (%s)", self._key, type(error).__name__)
        else:
            if self._unnoted is not None and self._unnoted[1] is cursor:
                self._unnoted = None


class Watchers:
    """The watchers of one list, which share its looks."""

    def __init__(self) -> None:
        self._watchers: list[Watcher] = []

    @contextmanager
    def joined(self, watcher: Watcher) -> Any:
        """Add a watcher."""
        self._watchers.append(watcher)
        try:
            yield
        finally:
            self._watchers.remove(watcher)

    async def since(self) -> dt.datetime:
        """Wait until there is a watcher, and tell from when on the first of them has to look."""
        while not self._watchers:
            await asyncio.sleep(0.1)
        return min(watcher.since for watcher in self._watchers)

    async def note(self, number: int) -> None:
        """Remember that all up to that look has arrived where it had to."""
        for watcher in list(self._watchers):
            await watcher.note(number)


#: The watchers of this process by what they watch.
_WATCHERS: dict[Hashable, Watchers] = {}


async def looks(
    watched: Watched[Any], watchers: Watchers, *, conn_id: str, poll_interval: float
) -> AsyncIterator[Look]:
    """Look again and again, whatever happens: nobody would notice a watcher that gives up."""
    clock = asyncio.get_running_loop().time
    number, due = 0, clock()
    while True:
        await asyncio.sleep(due - clock())
        due = max(due + poll_interval, clock())
        since = await watchers.since()
        try:
            changes = await HOOK_CACHE.call(
                watched.hook_class, conn_id, partial(watched.changes, since=since)
            )
        except CrmTransientError as error:
            log.warning("%s; looking again", error)
            due = max(due, clock() + (error.retry_after or 0.0))
        except CrmError as error:
            log.error("%s; looking again in %.0f s at the earliest", error, AFTER_REFUSAL)
            due = max(due, clock() + AFTER_REFUSAL)
        except Exception as error:
            # Its message may quote a record. Raised, it would make Airflow start the trigger again at once.
            log.error("%s while looking; looking again later", type(error).__name__)
            due = max(due, clock() + AFTER_REFUSAL)
        else:
            number += 1
            yield Look(number, since, changes)


class CrmEventTrigger(BaseEventTrigger):
    """Fires when something happens in a CRM.

    On Airflow 3.3 and later its cursor is kept with the asset, and watchers of the same list share its looks.
    Before, it begins anew with each start of the triggerer: what happens in between is missed.

    :param conn_id: the connection.
    :param poll_interval: seconds between two looks, at least one.
    """

    def __init__(self, *, conn_id: str, poll_interval: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.conn_id = conn_id
        number(SHORTEST_POLL_INTERVAL, 86_400)("poll_interval", poll_interval)
        self.poll_interval = poll_interval

    # What a subclass adds

    def _watched(self) -> Watched[Any]:
        raise NotImplementedError

    def _list_key(self) -> tuple[str, ...]:
        """Name the list among those of the connection."""
        raise NotImplementedError

    def _own_key(self) -> str:
        """Name the watcher among those of its asset."""
        return ".".join(("crm_watch", self.conn_id, *self._list_key()))

    def _payload(self, new: Sequence[Change]) -> dict[str, Any] | None:
        """Return the event, without what names a person; None when there is nothing for this watcher."""
        raise NotImplementedError

    # Airflow 3.3 and later

    def shared_stream_key(self) -> Hashable:
        """Return the key of watchers that share their looks."""
        return (type(self).__name__, self.conn_id, *self._list_key(), str(self.poll_interval))

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> Any:
        """Return what looks for all watchers, and is told when their events have arrived."""
        return _Looks(cls(**kwargs))

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Look]) -> AsyncIterator[TriggerEvent]:
        """Yield the events of the looks."""
        watcher = await self._watcher()
        with _watchers(self).joined(watcher):
            async for look in shared_stream:
                if (event := self._event(watcher, look)) is not None:
                    yield event

    # Before

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event for every look that shows something new, for ever."""
        watcher, watchers = await self._watcher(), Watchers()
        with watchers.joined(watcher):
            async for look in looks(
                self._watched(), watchers, conn_id=self.conn_id, poll_interval=self.poll_interval
            ):
                if (event := self._event(watcher, look)) is not None:
                    yield event
                await watcher.note(look.number)

    # Both

    def _event(self, watcher: Watcher, look: Look) -> TriggerEvent | None:
        new = watcher.take(look)
        payload = self._payload(new) if new else None
        return None if payload is None else TriggerEvent(payload)  # type: ignore[no-untyped-call]

    async def _watcher(self) -> Watcher:
        watched, key = self._watched(), self._own_key()
        begins = watched.clock(dt.datetime.now(dt.UTC)).replace(microsecond=0) - BEGINS_BEFORE
        store = getattr(self, "asset_state_store", None)
        cursor: Cursor | None = None
        while store is not None:
            try:
                kept = await store.aget(key)
                cursor = None if kept is None else Cursor.unpacked(kept)
            except ValueError as error:
                # Airflow gives no way to choose one of several assets here.
                log.warning(
                    "The cursor of %s cannot be kept: %s. A watcher needs an asset of its own", key, error
                )
                store = None
            except Exception as error:
                log.warning("The cursor of %s cannot be read yet (%s)", key, type(error).__name__)
                await asyncio.sleep(5)
                continue
            break
        return Watcher(watched, cursor, begins, store, key)


def _watchers(trigger: CrmEventTrigger) -> Watchers:
    return _WATCHERS.setdefault(trigger.shared_stream_key(), Watchers())


class _Looks(SharedStreamProducer):
    """Looks for all watchers of a list."""

    def __init__(self, trigger: CrmEventTrigger) -> None:
        self._trigger = trigger
        self._watchers = _watchers(trigger)

    async def open_stream(self) -> AsyncIterator[tuple[Look, int]]:
        """Look."""
        trigger = self._trigger
        async for look in looks(
            trigger._watched(), self._watchers, conn_id=trigger.conn_id, poll_interval=trigger.poll_interval
        ):
            yield look, look.number

    async def advance(self, batch: Sequence[Any]) -> None:
        """Advance the watchers' cursors: their events are in Airflow's database."""
        await self._watchers.note(max(item.broker_payload for item in batch))
