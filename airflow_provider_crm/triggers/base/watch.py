"""What every event trigger shares: how a list of a CRM is watched, and how a watcher remembers how far it has come.

Knows Airflow's event triggers and no CRM. A watcher fires at least once for every change, and once only unless the
triggerer dies within the second between an event's arrival in Airflow's database and the watcher's note of it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import AsyncIterator, Hashable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

from airflow_provider_crm._compat import BaseEventTrigger, SharedStreamProducer, TriggerEvent
from airflow_provider_crm.exceptions import CrmError, CrmTransientError
from airflow_provider_crm.hooks.base.hook import CrmHook
from airflow_provider_crm.triggers.base.hooks import HOOKS

log = logging.getLogger(__name__)

H = TypeVar("H", bound=CrmHook[Any])

#: How far before the newest change a look begins: the CRM may show a change after later ones.
OVERLAP = dt.timedelta(minutes=5)
#: How far back a watcher looks when it begins, to know what is old: further than a clock in another zone of Europe.
BEGINS_BEFORE = dt.timedelta(hours=3)
#: Changes that a watermark names, unless more than that share a second: about 64 KiB.
MOST_NAMED = 4000
#: Seconds to wait after a refusal, which somebody has to do something about.
AFTER_REFUSAL = 300.0


@dataclass(frozen=True, slots=True)
class Change:
    """Something that has happened in the CRM.

    :param at: when, in whole seconds on the clock of the list, without zone.
    :param key: names it among those of the same second.
    :param kind: what watchers of the same list may choose by.
    """

    at: dt.datetime
    key: str
    kind: str | None = None


class Watched(Generic[H]):
    """A list of a CRM that can be read from a moment on.

    :cvar hook_class: what reads it.
    """

    hook_class: ClassVar[type[CrmHook[Any]]]

    def changes(self, hook: H, since: dt.datetime) -> list[Change]:
        """Read what has happened from that second on; some that is older does no harm."""
        raise NotImplementedError

    def clock(self, moment: dt.datetime) -> dt.datetime:
        """Tell what the clock of the list shows at a moment, as far as it is known."""
        raise NotImplementedError

    def settled(self, newest: dt.datetime) -> dt.datetime:
        """Tell before which second nothing will happen any more, when this is the newest change."""
        return newest - OVERLAP


class Watermark:
    """How far a watcher has come: of what has happened from ``since`` on, it has seen what is named here."""

    def __init__(self, since: dt.datetime, seen: Mapping[dt.datetime, frozenset[str]] | None = None) -> None:
        self.since = since
        self.seen = dict(seen or {})

    def unseen(self, changes: Iterable[Change]) -> list[Change]:
        """Pick what is new."""
        new: dict[tuple[dt.datetime, str], Change] = {}
        for change in changes:
            if change.at >= self.since and change.key not in self.seen.get(change.at, ()):
                new[change.at, change.key] = change
        return list(new.values())

    def moved(self, new: Sequence[Change], watched: Watched[Any]) -> Watermark:
        """Give the watermark after these changes."""
        seen = {at: set(keys) for at, keys in self.seen.items()}
        for change in new:
            seen.setdefault(change.at, set()).add(change.key)
        # Who writes an answer chooses its time: one of next year must not blind the watcher until then.
        newest = min(max(seen), watched.clock(dt.datetime.now(dt.UTC)).replace(microsecond=0))
        since = max(self.since, watched.settled(newest))
        kept: dict[dt.datetime, frozenset[str]] = {}
        for at in sorted(seen, reverse=True):
            if at < since:
                break
            if kept and sum(map(len, kept.values())) + len(seen[at]) > MOST_NAMED:
                since = min(kept)
                break
            kept[at] = frozenset(seen[at])
        return Watermark(since, kept)

    def packed(self) -> dict[str, Any]:
        """Write it as JSON, numbers that follow each other in one piece."""
        return {
            "since": self.since.isoformat(),
            "seen": {at.isoformat(): _ranges(keys) for at, keys in sorted(self.seen.items())},
        }

    @classmethod
    def unpacked(cls, value: Any) -> Watermark:
        """Read what :meth:`packed` wrote.

        :raises ValueError: it is something else.
        """
        try:
            seen = {dt.datetime.fromisoformat(at): _keys(parts) for at, parts in value["seen"].items()}
            return cls(dt.datetime.fromisoformat(value["since"]), seen)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError("no watermark") from error


def _ranges(keys: Iterable[str]) -> list[str]:
    numbers = sorted(int(key) for key in keys if _is_plain(key))
    parts = [f"={key}" for key in sorted(keys) if not _is_plain(key)]
    start = 0
    for place, number in enumerate(numbers):
        if place + 1 == len(numbers) or numbers[place + 1] != number + 1:
            parts.append(f"{numbers[start]}-{number}" if place > start else str(number))
            start = place + 1
    return parts


def _is_plain(key: str) -> bool:
    return key.isascii() and key.isdecimal() and (key == "0" or key[0] != "0")


def _keys(parts: Iterable[str]) -> frozenset[str]:
    keys: set[str] = set()
    for part in parts:
        if part.startswith("="):
            keys.add(part[1:])
            continue
        first, _, last = part.partition("-")
        keys.update(map(str, range(int(first), int(last or first) + 1)))
    return frozenset(keys)


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a list has shown.

    :param since: from when on it has looked.
    """

    number: int
    since: dt.datetime
    changes: Sequence[Change]


class Place:
    """The place of one watcher in what happens.

    :param mark: how far it has come; None when it begins, and what there is is old to it.
    :param begins: where it begins then.
    :param store: where it remembers; None is nowhere.
    """

    def __init__(
        self, watched: Watched[Any], mark: Watermark | None, begins: dt.datetime, store: Any, key: str
    ) -> None:
        self._watched = watched
        self._mark = mark or Watermark(begins)
        self._begins = mark is None
        self._store = store
        self._key = key
        self._unnoted: tuple[int, Watermark] | None = None

    @property
    def since(self) -> dt.datetime:
        """From when on it has to look."""
        return self._mark.since

    def take(self, look: Look) -> list[Change]:
        """Take in what a look has shown.

        :return: what is new.
        """
        if look.since > self.since:
            return []  # made for others: it does not reach back to this place
        new = self._mark.unseen(look.changes)
        if new:
            self._mark = self._mark.moved(new, self._watched)
        begins, self._begins = self._begins, False
        if new or begins:
            self._unnoted = (look.number, self._mark)
        return [] if begins else new

    async def note(self, number: int) -> None:
        """Remember that all up to that look has arrived where it had to."""
        if self._unnoted is None or self._unnoted[0] > number:
            return
        mark = self._unnoted[1]
        try:
            if self._store is not None:
                await self._store.aset(self._key, mark.packed())
        except Exception as error:
            # The next note makes up for it.
            log.warning("The watermark of %s could not be kept (%s)", self._key, type(error).__name__)
        else:
            if self._unnoted is not None and self._unnoted[1] is mark:
                self._unnoted = None


class Places:
    """The watchers of one list, which share its looks."""

    def __init__(self) -> None:
        self._places: list[Place] = []

    @contextmanager
    def joined(self, place: Place) -> Any:
        """Take a place."""
        self._places.append(place)
        try:
            yield
        finally:
            self._places.remove(place)

    async def since(self) -> dt.datetime:
        """Wait until there is a watcher, and tell from when on the first of them has to look."""
        while not self._places:
            await asyncio.sleep(0.1)
        return min(place.since for place in self._places)

    async def note(self, number: int) -> None:
        """Remember that all up to that look has arrived where it had to."""
        for place in list(self._places):
            await place.note(number)


#: The watchers of this process by what they watch.
_PLACES: dict[Hashable, Places] = {}


async def looks(
    watched: Watched[Any], places: Places, *, conn_id: str, poll_interval: float
) -> AsyncIterator[Look]:
    """Look again and again, whatever happens: a watcher that gives up is missed by nobody."""
    clock = asyncio.get_running_loop().time
    number, due = 0, clock()
    while True:
        await asyncio.sleep(due - clock())
        due = max(due + poll_interval, clock())
        since = await places.since()
        try:
            changes = await HOOKS.call(watched.hook_class, conn_id, partial(watched.changes, since=since))
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

    On Airflow 3.3 and later its watermark is kept with the asset, and watchers of the same list share its looks.
    Before, it begins anew with each start of the triggerer: what happens in between is missed.

    :param conn_id: the connection.
    :param poll_interval: seconds between two looks.
    """

    def __init__(self, *, conn_id: str, poll_interval: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.conn_id = conn_id
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
        """Make the event, without what names a person; None when there is nothing for this watcher."""
        raise NotImplementedError

    # Airflow 3.3 and later

    def shared_stream_key(self) -> Hashable:
        """Name what watchers share their looks by."""
        return (type(self).__name__, self.conn_id, *self._list_key(), str(self.poll_interval))

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> Any:
        """Make what looks for all watchers, and is told when their events have arrived."""
        return _Looks(cls(**kwargs))

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Look]) -> AsyncIterator[TriggerEvent]:
        """Make events of the looks."""
        place = await self._place()
        with _places(self).joined(place):
            async for look in shared_stream:
                if (event := self._event(place, look)) is not None:
                    yield event

    # Before

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event for every look that shows something new, for ever."""
        place, places = await self._place(), Places()
        with places.joined(place):
            async for look in looks(
                self._watched(), places, conn_id=self.conn_id, poll_interval=self.poll_interval
            ):
                if (event := self._event(place, look)) is not None:
                    yield event
                await place.note(look.number)

    # Both

    def _event(self, place: Place, look: Look) -> TriggerEvent | None:
        new = place.take(look)
        payload = self._payload(new) if new else None
        return None if payload is None else TriggerEvent(payload)  # type: ignore[no-untyped-call]

    async def _place(self) -> Place:
        watched, key = self._watched(), self._own_key()
        begins = watched.clock(dt.datetime.now(dt.UTC)).replace(microsecond=0) - BEGINS_BEFORE
        store = getattr(self, "asset_state_store", None)
        mark: Watermark | None = None
        while store is not None:
            try:
                kept = await store.aget(key)
                mark = None if kept is None else Watermark.unpacked(kept)
            except ValueError as error:
                # Airflow gives no way to choose one of several assets here.
                log.warning(
                    "The watermark of %s cannot be kept: %s. A watcher needs an asset of its own", key, error
                )
                store = None
            except Exception as error:
                log.warning("The watermark of %s cannot be read yet (%s)", key, type(error).__name__)
                await asyncio.sleep(5)
                continue
            break
        return Place(watched, mark, begins, store, key)


def _places(trigger: CrmEventTrigger) -> Places:
    return _PLACES.setdefault(trigger.shared_stream_key(), Places())


class _Looks(SharedStreamProducer):
    """Looks for all watchers of a list."""

    def __init__(self, trigger: CrmEventTrigger) -> None:
        self._trigger = trigger
        self._places = _places(trigger)

    async def open_stream(self) -> AsyncIterator[tuple[Look, int]]:
        """Look."""
        trigger = self._trigger
        async for look in looks(
            trigger._watched(), self._places, conn_id=trigger.conn_id, poll_interval=trigger.poll_interval
        ):
            yield look, look.number

    async def advance(self, batch: Sequence[Any]) -> None:
        """Let the watchers remember: their events are in Airflow's database."""
        await self._places.note(max(item.broker_payload for item in batch))
