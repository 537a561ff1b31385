"""Reading loyalty lines while others come and go: none that stays is overlooked."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crm.exceptions import CrmUnreadableAnswerError
from airflow_provider_crm.loyalty.lines import is_credit_line, line_amount, line_id, line_pages
from tests.helpers.properties import at_least


class Crm:
    """A list that changes between two looks.

    :param cap: lines a page at most.
    :param grow: lines that are added in front at each look, for so many looks.
    """

    def __init__(self, lines, cap, grow):
        self.lines = [f"old{number}" for number in range(lines)]
        self.cap = cap
        self.grow = list(grow)
        self.looks = 0

    def loyalty_page(self, start, size, **filters):
        self.looks += 1
        page = self.lines[start : start + min(size, self.cap)]
        added = self.grow.pop(0) if self.grow else 0
        self.lines[:0] = [f"new{self.looks}-{number}" for number in range(added)]
        return [{"cagnotteLineId": one} for one in page]


def read(crm):
    return [line_id(line) for page in line_pages(crm) for line in page]


@pytest.mark.slow
@at_least(300)
@given(lines=st.integers(0, 40), cap=st.integers(1, 9), grow=st.lists(st.integers(0, 12), max_size=8))
def test_lines_added_in_front_hide_none_behind(lines, cap, grow):
    crm = Crm(lines, cap, grow)
    try:
        found = read(crm)
    except CrmUnreadableAnswerError:
        return  # so many at once that it looks like the same page again: said, and nothing decided
    assert len(found) == len(set(found))
    assert {f"old{number}" for number in range(lines)} <= set(found)


@pytest.mark.parametrize(("lines", "looks"), [(0, 1), (1, 2), (7, 2)])
def test_a_list_of_one_page_costs_two_calls(lines, looks):
    crm = Crm(lines, 5000, [])
    assert len(read(crm)) == lines
    assert crm.looks == looks


def test_a_server_that_ignores_the_offset_is_found_out():
    crm = Crm(10, 5, [])
    original = crm.loyalty_page
    crm.loyalty_page = lambda start, size: original(0, size)
    with pytest.raises(CrmUnreadableAnswerError):
        read(crm)


@pytest.mark.parametrize("nothing", [None, "", "0", 0])
def test_what_a_line_tells(nothing):
    assert is_credit_line({"campaignId": nothing, "code": nothing})
    assert not is_credit_line({"campaignId": "46354", "code": nothing})
    assert not is_credit_line({"campaignId": nothing, "code": "kodeKDO_1"})
    assert line_amount({"amount": nothing}) in (None, 0)
    assert line_amount({"amount": str(random.Random(1).randint(1, 9))})
