"""Where bars and lines are drawn: how rows have ended each day, and how many there were a second. Knows no HTML."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from airflow_provider_crm.history.runs import Day

#: Days that are drawn.
DAYS = 30
#: How rows end, from the bottom of a bar to its top.
ENDS = ("exported", "unchanged", "created", "updated", "skipped", "rejected")

#: The drawing: its size, the room left of it for numbers, how high bars and lines are, and from where the lines hang.
WIDTH, LEFT, RIGHT = 960.0, 52.0, 8.0
BARS_TOP, BARS_HEIGHT, LINE_TOP, LINE_HEIGHT = 18.0, 150.0, 214.0, 56.0
#: Few among many are seen all the same.
LEAST_HEIGHT = 2.0


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a bar: the rows that ended in one way."""

    end: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """A day.

    :param top: where the bar ends, above which its sign stands.
    :param speed_y: where the line passes; None where it does not.
    """

    day: dt.date
    x: float
    width: float
    top: float
    parts: tuple[Part, ...]
    told: Day | None
    speed_y: float | None

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


class Charts:
    """Bars and a line over the same days.

    :param days: those on which there was something.
    :param first: the first day that is drawn, and
    :param last: the last one.
    """

    def __init__(self, days: Iterable[Day], first: dt.date, last: dt.date) -> None:
        told = {day.day: day for day in days}
        self.most = _round_up(max((_rows(day) for day in told.values()), default=0))
        self.fastest = _round_up(max((day.rows_per_second or 0 for day in told.values()), default=0))
        self.is_empty = not told
        count = (last - first).days + 1
        step = (WIDTH - LEFT - RIGHT) / count
        self.bars = tuple(
            self._bar(first + dt.timedelta(days=n), told, LEFT + n * step + step * 0.14, step * 0.72)
            for n in range(count)
        )

    @property
    def ends(self) -> tuple[str, ...]:
        """The ends that there are."""
        drawn = {part.end for bar in self.bars for part in bar.parts}
        return tuple(end for end in ENDS if end in drawn)

    @property
    def lines(self) -> tuple[str, ...]:
        """The points of the line, cut where a day has none."""
        lines: list[list[str]] = [[]]
        for bar in self.bars:
            if bar.speed_y is None:
                lines.append([])
            else:
                lines[-1].append(f"{bar.middle:.1f},{bar.speed_y:.1f}")
        return tuple(" ".join(line) for line in lines if len(line) > 1)

    def _bar(self, day: dt.date, told: dict[dt.date, Day], x: float, width: float) -> Bar:
        one = told.get(day)
        y = BARS_TOP + BARS_HEIGHT
        parts = []
        for end in ENDS if one else ():
            rows = getattr(one, end)
            if rows:
                height = max(LEAST_HEIGHT, rows / self.most * BARS_HEIGHT)
                y -= height
                parts.append(Part(end, round(y, 1), round(height, 1)))
        speed = one.rows_per_second if one else None
        speed_y = None if speed is None else LINE_TOP + LINE_HEIGHT * (1 - speed / self.fastest)
        return Bar(day, round(x, 1), round(width, 1), round(y, 1), tuple(parts), one, speed_y)


def last_days(chosen: dt.date | None) -> tuple[dt.date, dt.date]:
    """Return the first and the last of the days that are drawn: up to today, or to an older one that is chosen."""
    last = dt.datetime.now(dt.UTC).date()
    if chosen is not None and chosen <= last - dt.timedelta(days=DAYS):
        last = chosen
    return last - dt.timedelta(days=DAYS - 1), last


def shares(numbers: Iterable[tuple[str, int | None]]) -> list[tuple[str, float, float]]:
    """Return the parts of a bar that is a hundred wide.

    :param numbers: what each part is called, and how much it is.
    :return: what it is called, where it begins, how wide it is.
    """
    there = [(name, number) for name, number in numbers if number]
    total = sum(number for _, number in there)
    parts, at = [], 0.0
    for name, number in there:
        width = number / total * 100
        parts.append((name, round(at, 2), round(width, 2)))
        at += width
    return parts


def _rows(day: Day) -> int:
    return sum(getattr(day, end) for end in ENDS)


def _round_up(number: float) -> float:
    """Return the next number that is easily read."""
    size = 1.0
    while size * 10 < number:
        size *= 10
    return next((size * step for step in (1, 1.5, 2, 3, 4, 5, 6, 8) if size * step >= number), size * 10)
