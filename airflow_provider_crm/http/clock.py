"""The time, and waits that the end of the task cuts short: handed to everything that waits, so that a test need not."""

from __future__ import annotations

import threading
import time

from airflow_provider_crm.http.forks import renew_in_children

TOO_LATE = "The task ended before this call was made"


class Clock:
    """The machine's clock, and whether the task that is being worked for has ended."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        renew_in_children(self)

    def after_fork(self) -> None:
        """Renew the event: a thread that is not here may have held the lock of the other."""
        ended, self._ended = self.ended, threading.Event()
        if ended:
            self.end()

    def now(self) -> float:
        """Return seconds that only grow, whatever happens to the date."""
        return time.monotonic()

    def unix_time(self) -> float:
        """Return the date in seconds since 1970."""
        return time.time()

    def wait(self, seconds: float) -> bool:
        """Wait, unless the task ends meanwhile.

        :return: whether it has ended.
        """
        return self._ended.wait(max(seconds, 0.0))

    def end(self) -> None:
        """End all waits, those to come too."""
        self._ended.set()

    @property
    def ended(self) -> bool:
        """Whether the task has ended."""
        return self._ended.is_set()
