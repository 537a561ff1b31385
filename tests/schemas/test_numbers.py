"""Numbers where a CRM's records hold texts: written as texts, and read as fast as the others once they are known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from airflow_provider_crm.schemas.envelopes import RowsUnder
from airflow_provider_crm.schemas.records import Column, RecordReader, RecordType

CONTACTS = RecordType(
    "contacts",
    (
        Column("id", "text", "id", required=True),
        Column("name", "text", "name"),
        Column("lists", "texts", "ids of lists"),
        Column("attributes", "map", "attributes"),
    ),
    key="id",
)


class Reading:
    """Reads pages, and counts the rows that were completed together."""

    def __init__(self) -> None:
        self.together: list[int] = []
        self._reader = RecordReader(CONTACTS, RowsUnder("contacts"), self._finish, lambda moment: moment)

    def _finish(self, rows: Sequence[Any]) -> None:
        self.together.append(len(rows))

    def page(self, *rows: dict[str, Any] | str) -> tuple[list[tuple[Any, ...]], list[str], list[str]]:
        """Read a page: its records, the ids of all its rows, and why some do not fit."""
        self.together.clear()
        texts = ", ".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
        [slice_] = self._reader.slices(f'{{"contacts": [{texts}]}}'.encode())
        values = [(one.id, one.name, one.lists, one.attributes) for one in slice_.values]
        return values, slice_.keys, [misfit.reason for misfit in slice_.misfits]


ROW = {"id": 5, "name": 7, "lists": [1, "2", 3], "attributes": {"points": 12, "city": "Lyon", "none": None}}
READ = ("5", "7", ["1", "2", "3"], {"points": "12", "city": "Lyon", "none": None})


def test_numbers_become_texts() -> None:
    assert Reading().page(ROW) == ([READ], ["5"], [])


def test_numbers_are_exact() -> None:
    text = '{"id": 123456789012345678901234567890, "name": 0.10, "attributes": {"points": 12.50}}'
    reading = Reading()
    for _ in range(2):
        values, keys, misfits = reading.page(text, text)
        assert (keys, misfits) == (["123456789012345678901234567890"] * 2, [])
        assert {one[1] for one in values} == {"0.10"}
        assert [one[3] for one in values] == [{"points": "12.50"}] * 2


def test_pages_with_numbers_are_read_together_once_they_are_known() -> None:
    reading = Reading()
    reading.page(ROW, ROW)
    assert reading.together == [1, 1]
    others = ({"id": "6", "name": "Zoé", "lists": [], "attributes": {}}, {"id": 7})
    values, keys, misfits = reading.page(ROW, *others)
    assert reading.together == [3]
    assert values == [READ, ("6", "Zoé", [], {}), ("7", None, None, None)]
    assert (keys, misfits) == (["5", "6", "7"], [])


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"id": None}, "id"),
        ({"id": [5]}, "id"),
        ({"id": True}, "id"),
        ({"id": 5, "name": {"first": "Zoé"}}, "name"),
        ({"id": 5, "lists": [[1]]}, "lists"),
        ({"id": 5, "lists": 1}, "lists"),
        ({"id": 5, "attributes": {"points": True}}, "attributes"),
        ({"id": 5, "attributes": 1}, "attributes"),
    ],
)
@pytest.mark.parametrize("known", [False, True])
def test_what_is_no_text_and_no_number_is_set_aside(wrong: dict[str, Any], where: str, known: bool) -> None:
    reading = Reading()
    if known:
        reading.page(ROW)
    values, _, [reason] = reading.page(ROW, wrong)
    assert values == [READ]
    assert where in reason
