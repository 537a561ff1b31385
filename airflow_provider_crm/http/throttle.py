"""When the next call may leave: calls in flight, calls a minute, the quota and the pauses a CRM announces.

Knows time and threads only, no HTTP and no vendor. One :class:`Throttle` is shared by all threads of a client.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from airflow_provider_crm.exceptions import CrmError, CrmRateLimitError
from airflow_provider_crm.http.clock import TOO_LATE, Clock
from airflow_provider_crm.http.quota import Quota


class Pacer(Protocol):
    """Spreads calls over time: those of a process, or of all workers."""

    def reserve(self) -> float:
        """Reserve the next place.

        :return: how many seconds from now it is.
        :raises CrmError: there is no place to be had.
        """


class EvenPacer:
    """A GCRA with a burst of one: calls leave at even distances, never in bursts.

    Libraries that were measured let a whole second's quota through at once.

    :param per_minute: calls a minute.
    :param now: the time in seconds.
    """

    def __init__(self, per_minute: float, now: Callable[[], float] = time.monotonic) -> None:
        self._interval = 60.0 / per_minute
        self._now = now
        self._next = 0.0
        self._lock = threading.Lock()

    def reserve(self) -> float:
        with self._lock:
            now = self._now()
            place = max(now, self._next)
            self._next = place + self._interval
        return place - now


class Unpaced:
    """No bound on calls a minute."""

    def reserve(self) -> float:
        return 0.0


class _Window:
    """The calls that a CRM says are left until a moment, less those that left since it said so."""

    def __init__(self, limit: int | None, left: int, resets_at: float) -> None:
        self.limit = limit
        self.left = left
        self.resets_at = resets_at
        self.last_leave = 0.0

    def delay(self, now: float) -> float:
        if self.left <= 0:
            return self.resets_at - now
        if self.limit is not None and self.left > self.limit / 2:
            return 0.0  # far from the limit: a short job need not be slowed down
        return self.last_leave + (self.resets_at - now) / self.left - now


class _Slots:
    """A semaphore that serves those who wait in their order.

    Python's own lets the thread that gives a slot back have it again before one that waits has woken up: the write of a
    batch waited until all look-ups of the batches behind it had been made.
    """

    def __init__(self, number: int) -> None:
        self._lock = threading.Lock()
        self._free = number
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        turn, counts = threading.Lock(), False
        turn.acquire()
        try:
            with self._lock:
                counts = True
                if self._free > 0:
                    self._free -= 1
                    return
                self._waiting.append(turn)
            turn.acquire()
        except BaseException:  # of a signal's handler, wherever it was just then
            with self._lock:
                if turn in self._waiting:
                    self._waiting.remove(turn)
                elif counts:
                    self._pass_on()
            raise

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._pass_on()

    def _pass_on(self) -> None:
        if self._waiting:
            self._waiting.popleft().release()
        else:
            self._free += 1


class Throttle:
    """Admits calls one by one.

    :param concurrency: calls in flight at once.
    :param pacer: the bound on calls a minute.
    :param clock: the time; calls that wait give up when it says that the task has ended.
    """

    def __init__(self, concurrency: int, pacer: Pacer, clock: Clock) -> None:
        self._slots = _Slots(concurrency)
        self._pacer = pacer
        self._clock = clock
        self._lock = threading.Lock()
        self._in_flight = 0
        self._resume_at = 0.0
        self._window: _Window | None = None

    @contextmanager
    def slot(self, *, patience: float = math.inf) -> Iterator[None]:
        """Wait until one more call may leave, and count it as in flight meanwhile.

        :param patience: seconds that a pause may last at most for the call to wait until its end.
        :raises CrmRateLimitError: the CRM asked for a longer pause.
        :raises CrmError: the task ended while the call was waiting.
        """
        with self._slots:
            paused: float | None = None
            while paused != self._resume_at:
                paused = self._resume_at
                self._sit_out(paused - self._clock.now(), patience)
                # After a pause, since places from before it would all be due at once.
                self._wait(self._pacer.reserve())
            while (delay := self._admit()) > 0:
                self._sit_out(delay, patience)
            try:
                yield
            finally:
                with self._lock:
                    self._in_flight -= 1

    @property
    def in_flight(self) -> int:
        """Calls that have left and are not answered; asked for in signal handlers, so without a lock."""
        return self._in_flight

    def pause(self, seconds: float) -> None:
        """Hold all calls back for a while: the CRM asked for it."""
        with self._lock:
            self._resume_at = max(self._resume_at, self._clock.now() + seconds)

    def announce(self, quota: Quota) -> None:
        """Heed the quota in an answer; to be called while its call is still in flight."""
        with self._lock:
            # The other calls in flight may not be in the CRM's count yet.
            left = quota.left - max(self._in_flight - 1, 0)
            resets_at = self._clock.now() + quota.reset_in
            known = self._window
            # Of one window, each answer gives the end in whole seconds, and took its own time to arrive.
            if known is None or resets_at - known.resets_at > 2.0:
                self._window = _Window(quota.limit, left, resets_at)
            elif quota.left < known.left:  # somebody else uses the same key
                known.left = left

    def _admit(self) -> float:
        """Count a call as in flight, if it may leave.

        :return: seconds after which to ask again; 0 or less when it may leave.
        """
        with self._lock:
            now = self._clock.now()
            if self._window is not None and now >= self._window.resets_at:
                self._window = None
            delay = self._resume_at - now
            if self._window is not None:
                delay = max(delay, self._window.delay(now))
            if delay <= 0:
                self._in_flight += 1
                if self._window is not None:
                    self._window.left -= 1
                    self._window.last_leave = now
            return delay

    def _sit_out(self, delay: float, patience: float) -> None:
        if delay > patience:
            raise CrmRateLimitError(
                f"The CRM asked for a pause of {delay:.0f} s: too long to wait; a later run may pass",
                retry_after=delay,
            )
        self._wait(delay)

    def _wait(self, seconds: float) -> None:
        if self._clock.wait(seconds):
            raise CrmError(TOO_LATE)
