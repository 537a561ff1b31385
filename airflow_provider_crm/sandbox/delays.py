"""Changes that are made, or shown, only after a while. Knows no CRM."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from airflow_provider_crm.sandbox.system import System

#: Seconds for which earlier states are kept.
LONGEST_DELAY = 60.0


class Delays:
    """What is still on its way, and how systems were before their latest changes.

    :ivar now: the time in seconds; a test may put a clock of its own here.
    """

    def __init__(self) -> None:
        self.now: Callable[[], float] = time.monotonic
        self._due: list[tuple[float, Callable[[], object]]] = []
        self._earlier: dict[str, list[tuple[float, dict[str, Any]]]] = {}

    def clear(self) -> None:
        """Forget everything, and go by the machine's clock."""
        self.now = time.monotonic
        self._due.clear()
        self._earlier.clear()

    def later(self, seconds: float, change: Callable[[], object]) -> None:
        """Make a change after so many seconds."""
        self._due.append((self.now() + seconds, change))

    def catch_up(self, *, all_of_it: bool = False) -> None:
        """Make the changes that are due."""
        now = self.now()
        due = [one for one in self._due if all_of_it or one[0] <= now]
        self._due = [one for one in self._due if one not in due]
        for _, change in sorted(due, key=lambda one: one[0]):
            change()

    def keep(self, system: System) -> None:
        """Keep how a system is, before it changes."""
        now = self.now()
        kept = [one for one in self._earlier.get(system.name, ()) if one[0] > now - LONGEST_DELAY]
        self._earlier[system.name] = [*kept, (now, _records(system))]

    @contextmanager
    def as_before(self, system: System, seconds: float) -> Iterator[None]:
        """Let a system be as it was so many seconds ago."""
        since = self.now() - seconds
        earlier = next((state for at, state in self._earlier.get(system.name, ()) if at > since), None)
        if earlier is None:
            yield
            return
        present = {name: system.__dict__[name] for name in earlier}
        system.__dict__.update(earlier)
        try:
            yield
        finally:
            system.__dict__.update(present)


def _records(system: System) -> dict[str, Any]:
    """Copy all that a system holds, but for its switches and what it is made of."""
    held = {name: value for name, value in system.__dict__.items() if name not in _MADE_OF}
    return copy.deepcopy(held, {id(system.switches): system.switches})


_MADE_OF = ("switches", "_initial_switches", "_routes")
