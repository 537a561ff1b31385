"""Lists are read to their very end, whatever a server says about it, and not beyond sense."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crm.exceptions import CrmUnreadableAnswerError
from airflow_provider_crm.http.lists import offset_pages


@given(total=st.integers(0, 60), cap=st.integers(1, 70))
def test_every_row_comes_once_in_order(total: int, cap: int) -> None:
    asked = []

    def fetch(start: int) -> list[int]:
        asked.append(start)
        return list(range(total))[start : start + cap]

    rows = [row for page in offset_pages(fetch, call="GET /rows") for row in page]
    assert rows == list(range(total))
    # Once for each page, and once to see that there is nothing more.
    assert asked == [*range(0, total, cap), total]


@given(st.lists(st.integers(1, 10), max_size=20))
def test_a_server_may_give_pages_of_any_length(sizes: list[int]) -> None:
    rows = list(range(sum(sizes)))
    caps = iter(sizes)
    pages = offset_pages(lambda start: rows[start : start + next(caps, 1)], call="GET /rows")
    assert [row for page in pages for row in page] == rows


@pytest.mark.parametrize(
    "pages",
    [
        [[1, 2, 3], [1, 2, 3]],
        [[1]] * 2,
        [[1, 2], [3, 4], [3, 4]],
        # It ignores the offset while the list grows or shrinks.
        [[1, 2, 3], [0, 1, 2, 3]],
        [[1, 2, 3], [9, 1, 2]],
        [[1, 2, 3], [1, 2]],
    ],
)
def test_a_server_that_ignores_the_offset(pages: list[list[int]]) -> None:
    answers = iter(pages)
    with pytest.raises(CrmUnreadableAnswerError, match="GET /rows gives rows from offset"):
        list(offset_pages(lambda start: next(answers), call="GET /rows"))


def test_rows_pushed_on_by_new_ones_are_no_reason_to_stop() -> None:
    answers = iter([[5, 4, 3], [3, 2, 1], []])
    assert list(offset_pages(lambda start: next(answers), call="GET /rows")) == [[5, 4, 3], [3, 2, 1]]


def test_pages_are_asked_for_as_they_are_wanted() -> None:
    asked = []

    def fetch(start: int) -> list[int]:
        asked.append(start)
        return [start]

    next(iter(offset_pages(fetch, call="GET /rows")))
    assert asked == [0]
