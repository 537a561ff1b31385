"""Changes that are made, or shown, only after a while. Knows no CRM."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping

from airflow_provider_crm.sandbox.system import System

#: Seconds for which earlier states are kept.
LONGEST_DELAY = 60.0


class Delays:
    """What is still on its way, and how stand-ins were before their latest changes.

    :ivar now: the time in seconds; a test may put a clock of its own here.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything, and go by the machine's clock."""
        self.now: Callable[[], float] = time.monotonic
        self._due: list[tuple[float, Callable[[float], object]]] = []
        self._earlier: list[tuple[float, System]] = []

    def later(self, at: float, change: Callable[[float], object]) -> None:
        """Make a change at a moment, which it is handed."""
        self._due.append((at, change))

    def catch_up(self, *, all_of_it: bool = False) -> float:
        """Make the changes that are due.

        :return: the moment until which all are made.
        """
        now = self.now()
        due = [one for one in self._due if all_of_it or one[0] <= now]
        self._due = [one for one in self._due if one not in due]
        for at, change in sorted(due, key=lambda one: one[0]):
            change(at)
        return now

    def keep(self, system: System, at: float) -> None:
        """Keep how a stand-in is, before it changes at a moment."""
        kept = [one for one in self._earlier if one[0] > at - LONGEST_DELAY]
        self._earlier = [*kept, (at, copy.deepcopy(system))]

    def before(self, since: float) -> Mapping[str, System]:
        """Return the stand-ins that have changed since a moment, as they were then."""
        return {system.name: system for at, system in reversed(self._earlier) if at > since}
