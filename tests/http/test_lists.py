"""Lists read several pages ahead: complete, in order, each row once, whatever happens to them meanwhile."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crm.exceptions import (
    CrmListChangedError,
    CrmNotFoundError,
    CrmRateLimitError,
    CrmRequestError,
    CrmTransientError,
    CrmUnreachableError,
    CrmUnreadableAnswerError,
)
from airflow_provider_crm.http import lists
from airflow_provider_crm.http.lists import PagedList, RowPage, at_once, in_order
from tests.helpers.properties import at_least


def page_of(keys: list[str]) -> RowPage[str]:
    return RowPage(keys, keys)


class Server:
    """A list behind an API with offsets, which notes what it is asked for."""

    def __init__(self, rows: int | list[str], *, cap: int = 10**9) -> None:
        self.rows = list(map(str, range(rows))) if isinstance(rows, int) else rows
        self.cap = cap
        self.asked: list[tuple[int, int]] = []
        self.before: Callable[[int, int], None] = lambda start, size: None

    def fetch(self, start: int, size: int) -> RowPage[str]:
        self.asked.append((start, size))
        self.before(start, size)
        return page_of(self.rows[start : start + min(size, self.cap)])


def read(server: Server, *, size: int = 10, ahead: int = 4, submit: Any = at_once) -> list[str]:
    pages = PagedList(server.fetch, size=size, call="GET /rows", submit=submit, ahead=ahead)
    return [key for page in pages for key in page.keys]


@pytest.mark.parametrize("rows", [0, 1, 2, 9, 10, 11, 18, 19, 20, 100, 101])
@pytest.mark.parametrize("size", [1, 2, 3, 10])
@pytest.mark.parametrize("ahead", [1, 4])
def test_a_list_is_read_whole_and_in_order(rows: int, size: int, ahead: int) -> None:
    server = Server(rows)
    assert read(server, size=size, ahead=ahead) == server.rows


@pytest.mark.slow
@given(total=st.integers(0, 60), cap=st.integers(1, 70))
def test_whatever_a_server_caps_pages_at_no_page_is_asked_for_twice(total: int, cap: int) -> None:
    server = Server(total, cap=cap)
    assert read(server, size=5000, ahead=1) == server.rows
    assert max(Counter(start for start, _ in server.asked).values()) == 1


@pytest.mark.slow
@given(st.lists(st.integers(2, 10), max_size=20))
def test_a_server_may_give_pages_of_any_length(sizes: list[int]) -> None:
    rows = list(map(str, range(sum(sizes))))
    caps = iter(sizes)
    pages = PagedList(
        lambda start, size: page_of(rows[start : start + min(size, next(caps, 2))]),
        size=100,
        call="GET /rows",
    )
    assert [row for page in pages for row in page.rows] == rows


def test_pages_are_asked_for_as_they_are_wanted() -> None:
    server = Server(100)
    next(iter(PagedList(server.fetch, size=10, call="GET /rows")))
    assert server.asked == [(0, 10)]


@pytest.mark.parametrize("rows", [0, 5, 10, 19, 1000])
def test_few_pages_are_asked_for_past_the_end_and_none_twice(rows: int) -> None:
    server = Server(rows)
    read(server, ahead=4)
    assert max(Counter(server.asked).values()) == 1
    assert sum(1 for start, _ in server.asked if start >= max(rows, 1)) <= 4


def test_a_short_first_page_is_followed_by_one_more_call_only() -> None:
    server = Server(5)
    assert read(server) == server.rows
    assert server.asked == [(0, 10), (4, 10)]


@pytest.mark.parametrize("cap", [1, 2, 3, 7])
@pytest.mark.parametrize("rows", [50, 57, 100])
def test_a_server_that_caps_its_pages_is_read_to_the_end(cap: int, rows: int) -> None:
    server = Server(rows, cap=cap)
    assert read(server, size=20) == server.rows


def test_the_cap_is_learnt() -> None:
    server = Server(1000, cap=100)
    assert read(server, size=500, ahead=4) == server.rows
    assert len(server.asked) <= 3 + 1000 / 99 + 4
    assert {size for _, size in server.asked} == {500, 100}


def test_a_cap_that_comes_in_the_middle_loses_nothing() -> None:
    server = Server(1000)

    def cap(start: int, size: int) -> None:
        if start > 300:
            server.cap = 30

    server.before = cap
    assert read(server, size=100) == server.rows


def test_a_server_that_ignores_the_offset_is_told_from_a_long_list() -> None:
    class Stubborn(Server):
        def fetch(self, start: int, size: int) -> RowPage[str]:
            return super().fetch(0, size)

    for rows in (5, 10, 100):
        with pytest.raises(CrmUnreadableAnswerError, match="ignores the offset"):
            read(Stubborn(rows))


def test_a_server_that_bounds_the_offset_is_told_from_a_long_list() -> None:
    class Bounded(Server):
        def fetch(self, start: int, size: int) -> RowPage[str]:
            return super().fetch(min(start, 50), size)

    with pytest.raises(CrmUnreadableAnswerError, match="ignores the offset"):
        read(Bounded(1000))


@pytest.mark.parametrize(
    "pages",
    [
        [["1"]],
        [["1", "2", "3"]],
        [["1", "2"], ["3", "4"]],
        # The list grows or shrinks meanwhile.
        [["1", "2", "3"], ["0", "1", "2", "3"]],
        [["1", "2", "3"], ["9", "1", "2"]],
        [["1", "2", "3"], ["1", "2", "4"]],
    ],
)
def test_a_server_that_gives_the_same_rows_for_ever(pages: list[list[str]]) -> None:
    answers = chain(pages, repeat(pages[-1]))
    asked = iter(range(100))

    def fetch(start: int, size: int) -> RowPage[str]:
        next(asked)
        return page_of(next(answers))

    with pytest.raises((CrmUnreadableAnswerError, CrmListChangedError)):
        list(PagedList(fetch, size=3, call="GET /rows"))


def test_rows_pushed_on_by_new_ones_are_no_reason_to_stop() -> None:
    answers = iter([["5", "4", "3"], ["4", "3", "2", "1"], ["1"]])
    pages = PagedList(lambda start, size: page_of(next(answers)), size=100, call="GET /rows")
    assert [page.rows for page in pages] == [["5", "4", "3"], ["2", "1"]]


# A list ends or fails


class Gaps(Server):
    """A list of which the server gives nothing from some offsets on.

    :param gaps: these.
    :param says: what it raises there; None for an empty page.
    """

    def __init__(self, rows: int, gaps: Collection[int], says: type[CrmNotFoundError] | None = None) -> None:
        super().__init__(rows)
        self.gaps = gaps
        self.says = says

    def fetch(self, start: int, size: int) -> RowPage[str]:
        page = super().fetch(start, size)
        if start not in self.gaps:
            return page
        if self.says is not None:
            raise self.says("404")
        return page_of([])


each_way_to_say_nothing = pytest.mark.parametrize("says", [None, CrmNotFoundError])


@each_way_to_say_nothing
@pytest.mark.parametrize("ahead", [1, 4])
@pytest.mark.parametrize("gap", [9, 18, 54])
def test_an_empty_page_in_the_middle_hides_nothing_behind_it(
    gap: int, ahead: int, says: type[CrmNotFoundError] | None
) -> None:
    server = Gaps(100, {gap}, says)
    assert read(server, ahead=ahead) == server.rows
    assert len(server.asked) < 25


@each_way_to_say_nothing
@pytest.mark.parametrize("ahead", [1, 4])
@pytest.mark.parametrize("size", [2, 7, 10, 60])
def test_a_server_that_stops_giving_rows_at_an_offset_fails_soon(
    size: int, ahead: int, says: type[CrmNotFoundError] | None
) -> None:
    server = Gaps(1000, range(21, 2000), says)
    with pytest.raises(says or CrmUnreadableAnswerError):
        read(server, size=size, ahead=ahead)
    assert len(server.asked) < 400


def test_a_404_behind_the_end_is_the_end() -> None:
    for rows in (1, 10, 11, 18, 19, 20):
        server = Gaps(rows, range(rows, 1000), CrmNotFoundError)
        assert read(server) == server.rows


@pytest.mark.parametrize("exists", [True, False])
def test_a_404_for_a_whole_list_is_one_without_rows_where_it_belongs_to_something(exists: bool) -> None:
    server = Gaps(0, {0}, CrmNotFoundError)
    rows = PagedList(server.fetch, size=10, call="GET /rows", exists=lambda: exists)
    if exists:
        assert list(rows) == []
    else:
        with pytest.raises(CrmNotFoundError):
            list(rows)


def on_call(number: int, change: Callable[[], None]) -> Callable[[int, int], None]:
    calls = iter(range(1, 10**6))

    def before(start: int, size: int) -> None:
        if next(calls) == number:
            change()

    return before


@pytest.mark.parametrize("ahead", [1, 2, 4])
@pytest.mark.parametrize("at", [2, 3, 5])
@pytest.mark.parametrize("count", [1, 3, 9, 15, 40])
def test_rows_that_come_in_in_front_are_not_repeated(at: int, count: int, ahead: int) -> None:
    server = Server(100)
    before = list(server.rows)
    server.before = on_call(
        at, lambda: server.rows.__setitem__(slice(0, 0), [f"9{n}" + "0" * 6 for n in range(count)])
    )
    got = read(server, ahead=ahead)
    assert len(got) == len(set(got))
    assert [key for key in got if key in set(before)] == before


@pytest.mark.parametrize("apart", [1, 40_000])
def test_rows_that_come_in_far_in_front_are_not_repeated_however_far_apart_their_ids_are(apart: int) -> None:
    server = Server([str(number * apart) for number in range(20_000, 0, -1)])
    before = dict.fromkeys(server.rows)
    server.before = on_call(
        5, lambda: server.rows.__setitem__(slice(0, 0), [f"9{n:05}" + "0" * 10 for n in range(10_000)])
    )
    got = read(server, size=4000, ahead=1)
    assert len(got) == len(set(got))
    assert [key for key in got if key in before] == list(before)


@pytest.mark.parametrize("ahead", [1, 2, 4])
@pytest.mark.parametrize("at", [2, 3, 5])
@pytest.mark.parametrize("count", [1, 3, 8, 15])
def test_rows_that_go_away_in_front_take_no_others_along(at: int, count: int, ahead: int) -> None:
    server = Server(100)
    server.before = on_call(at, lambda: server.rows.__delitem__(slice(0, count)))
    got = read(server, ahead=ahead)
    assert len(got) == len(set(got))
    assert set(server.rows) <= set(got)
    assert got == sorted(got, key=int)


def test_a_list_that_empties_faster_than_it_is_read_is_said_to_have_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lists, "LOOKING_BACK", (10, 100))
    server = Server(2000)
    server.before = on_call(50, lambda: server.rows.__delitem__(slice(0, 300)))
    with pytest.raises(CrmListChangedError, match="went away"):
        read(server, ahead=1)


@pytest.mark.slow
@at_least(150)
@given(seed=st.integers(0, 10**9), size=st.integers(4, 12), ahead=st.integers(1, 5))
def test_what_stays_is_read_once_whatever_goes_and_comes(seed: int, size: int, ahead: int) -> None:
    """Each call may find one row less, or one more, in front of where it reads, never both."""
    chance = random.Random(seed)
    server = Server(80)
    new = iter(range(10_000, 20_000))
    stays = set(server.rows)
    deletes = chance.random() < 0.5

    def change(start: int, size: int) -> None:
        if chance.random() < 0.3 and server.rows:
            place = chance.randrange(len(server.rows))
            if deletes:
                stays.discard(server.rows.pop(place))
            else:
                server.rows.insert(place, str(next(new)))

    server.before = change
    got = read(server, size=size, ahead=ahead)
    assert len(got) == len(set(got))
    assert stays <= set(got)


@pytest.mark.slow
def test_pages_are_fetched_side_by_side_and_no_further_ahead_than_allowed() -> None:
    server = Server(200)
    under_way, most = 0, 0
    lock = threading.Lock()
    both = threading.Event()

    def slow(start: int, size: int) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
            if under_way == 3:
                both.set()
        both.wait(0.05)
        with lock:
            under_way -= 1

    server.before = slow
    with ThreadPoolExecutor(8) as pool:
        pages = PagedList(server.fetch, size=10, call="GET /rows", submit=pool.submit, ahead=3)
        iterator = iter(pages)
        first = [next(iterator), next(iterator)]
        threading.Event().wait(0.3)
        assert len(server.asked) <= 1 + 1 + 3  # what was taken, and three that wait
        rest = list(iterator)
    assert [key for page in first + rest for key in page.keys] == server.rows
    assert most == 3


def test_whoever_stops_reading_leaves_nothing_under_way() -> None:
    server = Server(10_000)
    with ThreadPoolExecutor(1) as pool:
        iterator: Iterator[RowPage[str]] = iter(
            PagedList(server.fetch, size=10, call="GET /rows", submit=pool.submit, ahead=4)
        )
        next(iterator)
        next(iterator)
        iterator.close()  # type: ignore[attr-defined]
    assert len(server.asked) <= 6


def test_a_page_that_fails_is_asked_for_in_halves() -> None:
    server = Server(1000)

    def too_much(start: int, size: int) -> None:
        if size > 40:
            raise CrmTransientError("504")

    server.before = too_much
    assert read(server, size=100, ahead=2) == server.rows
    # Once that is known, the server is not asked for more than it can give.
    assert sum(1 for _, size in server.asked if size == 100) <= 3


def test_halving_stops_after_four() -> None:
    server = Server(10_000)

    def down(start: int, size: int) -> None:
        raise CrmTransientError("500")

    server.before = down
    with pytest.raises(CrmTransientError, match="500"):
        read(server, size=5000)
    assert [size for _, size in server.asked] == [5000, 2500, 1250, 625, 312]


@pytest.mark.parametrize(
    "error", [CrmRateLimitError("429"), CrmUnreachableError("refused"), CrmRequestError("400")]
)
def test_what_no_smaller_page_would_change_is_not_halved(error: Exception) -> None:
    server = Server(100)

    def refuse(start: int, size: int) -> None:
        raise error

    server.before = refuse
    with pytest.raises(type(error)):
        read(server)
    assert len(server.asked) == 1


def test_a_halved_page_at_the_end_of_the_list() -> None:
    for rows in range(1, 60):
        server = Server(rows)

        def too_much(start: int, size: int) -> None:
            if size > 8:
                raise CrmTransientError("504")

        server.before = too_much
        assert read(server, size=20, ahead=2) == server.rows


# In order


def test_results_come_in_the_order_of_the_items() -> None:
    with ThreadPoolExecutor(4) as pool:
        assert list(in_order(pool.submit, lambda n: n * n, range(50), ahead=4)) == [n * n for n in range(50)]


def test_no_more_items_are_taken_than_may_wait() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = in_order(at_once, lambda n: n, items(), ahead=3)
    next(results)
    assert len(taken) <= 4
