"""How far a watcher has come in a list: what it has seen of the last minutes, as it is kept with an asset.

Knows no CRM.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from airflow_provider_crm.hooks.base.hook import CrmHook

H = TypeVar("H", bound=CrmHook[Any])

#: How far before the newest change a look begins: a change can show after later ones, where its transaction took longer
#: (PostHog/posthog, pull request 64417; airbytehq/airbyte, issue 80152).
OVERLAP = dt.timedelta(minutes=5)
#: Changes that a cursor names, unless more than that share a second: about 64 KiB.
MOST_NAMED = 4000


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
        """Return what the clock of the list shows at a moment, as far as it is known."""
        raise NotImplementedError

    def complete_before(self, newest: dt.datetime) -> dt.datetime:
        """Return before which second nothing will happen any more, when this is the newest change."""
        return newest - OVERLAP


class Cursor:
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

    def moved(self, new: Sequence[Change], watched: Watched[Any]) -> Cursor:
        """Return the cursor after these changes."""
        seen = {at: set(keys) for at, keys in self.seen.items()}
        for change in new:
            seen.setdefault(change.at, set()).add(change.key)
        # Who writes an answer chooses its time: one of next year must not blind the watcher until then.
        newest = min(max(seen), watched.clock(dt.datetime.now(dt.UTC)).replace(microsecond=0))
        since = max(self.since, watched.complete_before(newest))
        kept: dict[dt.datetime, frozenset[str]] = {}
        for at in sorted(seen, reverse=True):
            if at < since:
                break
            if kept and sum(map(len, kept.values())) + len(seen[at]) > MOST_NAMED:
                since = min(kept)
                break
            kept[at] = frozenset(seen[at])
        return Cursor(since, kept)

    def packed(self) -> dict[str, Any]:
        """Write it as JSON, numbers that follow each other in one piece."""
        return {
            "since": self.since.isoformat(),
            "seen": {at.isoformat(): _ranges(keys) for at, keys in sorted(self.seen.items())},
        }

    @classmethod
    def unpacked(cls, value: Any) -> Cursor:
        """Read what :meth:`packed` wrote.

        :raises ValueError: it is something else.
        """
        try:
            seen = {dt.datetime.fromisoformat(at): _keys(parts) for at, parts in value["seen"].items()}
            return cls(dt.datetime.fromisoformat(value["since"]), seen)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError("no cursor") from error


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
