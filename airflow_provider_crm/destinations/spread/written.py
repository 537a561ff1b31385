"""What a run has written to the histories of consents, where SPREAD need not show it yet; and whose turn it is.

Rows may name one person by an e-mail and by an id, and one consent by an id and by a name: only once they are looked up
is it known that they must not be on their way together.
"""

from __future__ import annotations

import enum
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from airflow_provider_crm.schemas.spread.read import Record

#: Seconds for which a line is kept at least: as long as a row may have been looked up before it is sent.
KEPT_AT_LEAST = 60.0
A_MOMENT = 1.0


class Turn(enum.Enum):
    """Whether a row may be sent."""

    ITS_OWN = enum.auto()
    BUSY = enum.auto()
    """What became of another row's call for the same history is not known yet."""
    LOOK_AGAIN = enum.auto()
    """Others have written to the history since it was read."""


class Written:
    """Keeps the lines that a run has written, by the history they are in; safe to call from several threads.

    :param seconds: how long a line may take to be shown.
    :param now: the time in seconds.
    """

    def __init__(self, seconds: float, now: Callable[[], float]) -> None:
        self._seconds = max(seconds, KEPT_AT_LEAST)
        self._now = now
        self._lock = threading.Lock()
        self._turn_ended = threading.Condition(self._lock)
        self._lines: dict[str, dict[int, Record]] = {}
        #: Which line is kept until when.
        self._ends: deque[tuple[float, str, int]] = deque()
        self._number = 0
        self._turns: dict[str, int] = {}

    def read(self, history: str) -> tuple[int, list[Record]]:
        """Return the number of the last line, 0 where there is none, and all of them."""
        with self._lock:
            lines = self._lines.get(history, {})
            return max(lines, default=0), list(lines.values())

    def take_turn(self, history: str, row: int, last: int) -> Turn:
        """Let no other row write to a history until this one's turn has ended; wait a moment where it is another's.

        :param last: the number of the last line that the row has been planned with.
        """
        with self._lock:
            if not self._turn_ended.wait_for(lambda: self._turns.get(history, row) == row, A_MOMENT):
                return Turn.BUSY
            if max(self._lines.get(history, ()), default=0) != last:
                return Turn.LOOK_AGAIN
            self._turns[history] = row
            return Turn.ITS_OWN

    def end_turn(self, history: str, row: int, line: Record | None = None) -> None:
        """Let others write to a history, where it was this row's turn.

        :param line: what has come of it.
        """
        with self._lock:
            if self._turns.get(history) == row:
                del self._turns[history]
                self._turn_ended.notify_all()
            now = self._now()
            while self._ends and self._ends[0][0] <= now:
                _, other, number = self._ends.popleft()
                self._lines[other].pop(number)
                if not self._lines[other]:
                    del self._lines[other]
            if line is not None:
                self._number += 1
                self._lines.setdefault(history, {})[self._number] = line
                self._ends.append((now + self._seconds, history, self._number))


def own_line(status: str, created_at: str, track_id: Any) -> Record:
    """Return an answer of ours as the history will show it."""
    return {
        "trackId": track_id,
        "customerConsentCreatedAt": created_at,
        "customerConsentStatus": status,
        "shown": False,
    }


def with_own(history: Sequence[Record], own: Sequence[Record]) -> list[Record]:
    """Return a history with the lines that the run has written and SPREAD does not show yet."""
    shown = {str(row.get("trackId")) for row in history}
    return [*history, *(row for row in own if str(row.get("trackId")) not in shown)]
