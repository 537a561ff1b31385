"""The cursor alone: nothing is lost, nothing is repeated, and it does not grow."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crm.triggers.base import cursor
from airflow_provider_crm.triggers.base.cursor import Change, Cursor
from airflow_provider_crm.triggers.spread import _ConsentAnswers

START = dt.datetime(2026, 3, 1, 10)
WATCHED = _ConsentAnswers("9876")


def change(second: int, key: object) -> Change:
    return Change(START + dt.timedelta(seconds=second), str(key))


def taken(mark: Cursor, *changes: Change) -> tuple[list[str], Cursor]:
    new = mark.unseen(changes)
    return sorted(one.key for one in new), mark.moved(new, WATCHED) if new else mark


def test_rows_of_the_same_second() -> None:
    mark = Cursor(START)
    new, mark = taken(mark, change(5, 1), change(5, 2))
    assert new == ["1", "2"]
    new, mark = taken(mark, change(5, 1), change(5, 2), change(5, 3))
    assert new == ["3"]
    assert taken(mark, change(5, 1), change(5, 2), change(5, 3))[0] == []


def test_a_row_that_shows_late() -> None:
    _, mark = taken(Cursor(START), change(250, 1))
    assert taken(mark, change(250, 1), change(3, 2))[0] == ["2"]


def test_a_row_twice_in_one_look() -> None:
    assert taken(Cursor(START), change(5, 1), change(5, 1))[0] == ["1"]


def test_it_names_the_last_minutes_only() -> None:
    mark = Cursor(START)
    for second in range(0, 3600, 10):
        _, mark = taken(mark, change(second, second))
    assert mark.since == START + dt.timedelta(seconds=3590) - cursor.OVERLAP
    assert len(mark.seen) == 31


@pytest.mark.slow
def test_many_rows_shorten_it() -> None:
    second = cursor.MOST_NAMED // 2 - 100
    _, mark = taken(Cursor(START), *(change(number // second, number) for number in range(10 * second)))
    assert mark.since == START + dt.timedelta(seconds=8)
    assert sum(map(len, mark.seen.values())) == 2 * second
    many = range(20 * second, 24 * second)
    _, mark = taken(mark, *(change(20, number) for number in many))
    assert len(mark.seen[START + dt.timedelta(seconds=20)]) == len(many)  # a second is never cut


@pytest.mark.slow
def test_an_import_of_many_rows_in_one_second_is_kept_short() -> None:
    _, mark = taken(Cursor(START), *(change(1, number) for number in range(100_000)))
    assert len(json.dumps(mark.packed())) < 200


def test_the_hour_that_comes_twice() -> None:
    """At three o'clock clocks go back to two: the answers after that look an hour old."""
    mark = Cursor(dt.datetime(2026, 10, 25, 1))
    night = dt.datetime(2026, 10, 25)
    _, mark = taken(mark, Change(night.replace(hour=2, minute=59), "1"))
    assert taken(mark, Change(night.replace(hour=2, minute=1), "2"))[0] == ["2"]
    _, mark = taken(mark, Change(night.replace(hour=3, minute=30), "3"))
    assert mark.since == night.replace(hour=3, minute=25)


keys = st.one_of(
    st.integers(0, 300).map(str), st.text(max_size=4), st.sampled_from(["007", "1-2", "=1", "٣"])
)


@pytest.mark.slow
@given(st.dictionaries(st.integers(0, 300), st.frozensets(keys, min_size=1), max_size=5))
def test_it_is_the_same_after_it_was_kept(seen: dict[int, frozenset[str]]) -> None:
    mark = Cursor(START, {START + dt.timedelta(seconds=at): keys for at, keys in seen.items()})
    again = Cursor.unpacked(json.loads(json.dumps(mark.packed())))
    assert (again.since, again.seen) == (mark.since, mark.seen)


@pytest.mark.parametrize("kept", ["text", 3, [], {}, {"since": "soon", "seen": {}}, {"since": 1, "seen": {}}])
def test_something_else_than_a_cursor(kept: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its words do not matter
        Cursor.unpacked(kept)


@pytest.mark.slow
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 4), st.integers(0, 10_000)), max_size=8),  # how late, and what
        max_size=15,
    )
)
def test_every_change_is_told_once(batches: list[list[tuple[int, int]]]) -> None:
    """Looks of the whole list while it grows, at whose end rows may show late, within the overlap."""
    mark, there, told = Cursor(START), set(), []
    for number, batch in enumerate(batches):
        there |= {change(60 * (number + 4 - late), key) for late, key in batch}
        new = mark.unseen(one for one in there if one.at >= mark.since)
        told += [(one.at, one.key) for one in new]
        mark = mark.moved(new, WATCHED) if new else mark
    assert sorted(told) == sorted((one.at, one.key) for one in there)


def test_a_row_of_next_year_does_not_hide_those_until_then() -> None:
    now = WATCHED.clock(dt.datetime.now(dt.UTC)).replace(microsecond=0)
    _, mark = taken(Cursor(now), Change(now + dt.timedelta(days=400), "1"))
    new, mark = taken(mark, Change(now + dt.timedelta(days=400), "1"), Change(now, "2"))
    assert new == ["2"]
    assert taken(mark, Change(now + dt.timedelta(days=400), "1"), Change(now, "2"))[0] == []
