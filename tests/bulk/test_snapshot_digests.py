"""What a snapshot tells apart, and what it takes for the same."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from itertools import combinations
from typing import Any

import pytest

from airflow_provider_crm.bulk.snapshot_digests import Digests
from airflow_provider_crm.rows.row import Block, Row, UnreadableRow
from airflow_provider_crm.rows.shared_cells import SharedCells

DIGESTS = Digests(b"salt", "secret")
SOME_UUID = uuid.UUID(int=5)


@pytest.mark.parametrize(
    "cells",
    [
        [1, 1.0, "1", True, Decimal(1), b"1"],
        [Decimal("1.0"), "1.0", 1.0, Decimal("1.00")],
        [dt.date(2026, 1, 2), "2026-01-02", dt.datetime(2026, 1, 2)],
        [dt.datetime(2026, 1, 2, tzinfo=dt.UTC), "2026-01-02T00:00:00+00:00"],
        [SOME_UUID, str(SOME_UUID), SOME_UUID.bytes],
        [None, "", "None", [], {}, False, 0],
        [[dt.date(2026, 1, 2)], ["2026-01-02"]],
        ["\ud800", "\udfff", "?"],
        [2**64, str(2**64), float(2**64)],
    ],
    ids=str,
)
def test_cells_that_differ_in_their_type_only_are_others(cells: list[Any]) -> None:
    for one, other in combinations(cells, 2):
        first, second = DIGESTS.cells([Row(1, {"column": one}), Row(2, {"column": other})])
        assert first != second, (one, other)
        columns = ("column",)
        first, second = DIGESTS.cells([Row(1, (one,), columns), Row(2, (other,), columns)])
        assert first != second, (one, other)


def test_a_row_is_another_one_in_another_column_and_the_same_each_time() -> None:
    rows = [{"a": "1", "b": None}, {"a": None, "b": "1"}, {"a": "1"}, {"a": "1", "b": None}]
    one, *others, again = DIGESTS.cells([Row(number, row) for number, row in enumerate(rows)])
    assert one == again
    assert one not in others


def test_the_columns_of_many_rows_are_digested_with_each() -> None:
    first, second = ("a", "b"), ("b", "a")
    one, other, broken, again, more = DIGESTS.cells(
        [
            Row(1, ("1", None), first),
            Row(2, ("1", None), second),
            UnreadableRow(3, "", {"cells": ["1", None]}),
            Row(4, ("1", None), ("a", "b")),
            Row(5, ("1", None), ("a", "b", "c")),
        ]
    )
    assert one == again
    assert len({one, other, broken, more}) == 4


@pytest.mark.parametrize(
    "columns",
    [
        [["1", None], [Decimal(1), 2]],
        [["\ud800", "a"], [2**64, dt.date(2026, 1, 2)]],
        [["a", "b"], ["", None]],
    ],
    ids=str,
)
def test_a_row_is_the_same_whether_it_is_read_alone_or_by_column(columns: list[list[Any]]) -> None:
    block = Block(1, ("a", "b"), columns, SharedCells())
    alone = [DIGESTS.cells([row])[0] for row in block]
    assert DIGESTS.cells(block) == DIGESTS.cells(list(block)) == alone


def test_what_is_sent_is_the_same_in_whatever_order() -> None:
    one, same, other_key, other_values = DIGESTS.values(
        [
            ("key", {1: "x", 14: "y"}),
            ("key", {14: "y", 1: "x"}),
            ("other", {1: "x", 14: "y"}),
            ("key", {1: "y", 14: "x"}),
        ]
    )
    assert one == same
    assert len({one, other_key, other_values}) == 3


def test_people_have_numbers_of_their_own_in_each_snapshot_and_for_each_secret() -> None:
    keys = ["a", "b", "\ud800", ""]
    numbers = [
        DIGESTS.people(keys),
        Digests(b"other", "secret").people(keys),
        Digests(b"salt", "x").people(keys),
    ]
    assert len({number for some in numbers for number in some}) == 12
    assert list(DIGESTS.people(keys)) == [DIGESTS.person(key) for key in keys]
