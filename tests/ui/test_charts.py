"""Where bars and lines are drawn."""

from __future__ import annotations

import datetime as dt

import pytest

from airflow_provider_crm.history.runs import Day
from airflow_provider_crm.ui import charts
from airflow_provider_crm.ui.charts import Charts, last_days, shares

FIRST = dt.date(2026, 11, 1)


def a_day(number: int, *, seconds: float = 1.0, **ends: int) -> Day:
    values = dict.fromkeys(("created", "updated", "unchanged", "skipped", "rejected", "exported"), 0) | ends
    day = FIRST + dt.timedelta(days=number)
    return Day(day, runs=1, bad=0, read=sum(values.values()) - values["exported"], seconds=seconds, **values)


def drawn(*days: Day, count: int = 5) -> Charts:
    return Charts(days, FIRST, FIRST + dt.timedelta(days=count - 1))


def test_each_day_has_its_place() -> None:
    found = drawn(a_day(1, created=5))
    assert [bar.day.day for bar in found.bars] == [1, 2, 3, 4, 5]
    assert [len(bar.parts) for bar in found.bars] == [0, 1, 0, 0, 0]
    for bar, following in zip(found.bars, found.bars[1:], strict=False):
        assert bar.x + bar.width < following.x
    assert found.bars[0].x > charts.LEFT
    assert found.bars[-1].x + found.bars[-1].width < charts.WIDTH


def test_a_bar_is_as_high_as_its_rows() -> None:
    found = drawn(a_day(0, created=50, updated=30), a_day(1, created=100))
    high, whole = found.bars[0], found.bars[1]
    assert found.most == 100
    assert [(part.end, part.height) for part in high.parts] == [("created", 75.0), ("updated", 45.0)]
    assert high.parts[0].y == high.parts[1].y + high.parts[1].height
    assert whole.parts[0].height == charts.BARS_HEIGHT
    assert found.ends == ("created", "updated")


def test_few_among_many_are_seen() -> None:
    bar = drawn(a_day(0, unchanged=1_000_000, rejected=1)).bars[0]
    assert (bar.parts[-1].end, bar.parts[-1].height) == ("rejected", charts.LEAST_HEIGHT)


def test_the_line_is_cut_where_nothing_lasted() -> None:
    days = [a_day(0, created=5), a_day(1, created=5), a_day(2, created=5, seconds=0), a_day(3, created=5)]
    found = drawn(*days)
    assert [len(line.split()) for line in found.lines] == [2]
    assert [bar.speed_y is None for bar in found.bars] == [False, False, True, False, True]


def test_nothing_can_be_drawn_too() -> None:
    assert drawn().is_empty
    assert drawn(a_day(0)).lines == ()  # runs without rows


@pytest.mark.parametrize(
    ("rows", "most"), [(1, 1), (9, 10), (11, 15), (101, 150), (7500, 8000), (99_999, 100_000)]
)
def test_the_scale_is_easily_read(rows: int, most: float) -> None:
    assert drawn(a_day(0, created=rows)).most == most


def test_the_days_reach_to_today_or_to_the_one_that_is_chosen() -> None:
    today = dt.datetime.now(dt.UTC).date()
    for chosen in (None, today, today - dt.timedelta(days=charts.DAYS - 1)):
        assert last_days(chosen) == (today - dt.timedelta(days=charts.DAYS - 1), today)
    old = today - dt.timedelta(days=charts.DAYS)
    assert last_days(old)[1] == old


def test_the_parts_of_a_bar() -> None:
    assert shares([("a", 1), ("b", None), ("c", 3), ("d", 0)]) == [("a", 0.0, 25.0), ("c", 25.0, 75.0)]
    assert shares([]) == []
