"""Texts of which one object is enough."""

from __future__ import annotations

from typing import Any

from airflow_provider_crm.rows.shared_cells import LOOK_EVERY, MOST_SHARED, SharedCells


def _text(value: str) -> str:
    return "".join([value, "!"])  # an object of its own


def test_texts_that_come_again_are_one_object() -> None:
    shared = SharedCells()
    for _ in range(3):
        cells = [_text("Lyon"), None, _text("Lyon"), _text("Lyon")]
        (found,) = shared.columns([cells])
        assert found == cells
        assert found[0] is found[2] is found[3] is shared.kept["Lyon!"]


def test_cells_of_other_types_keep_them() -> None:
    shared = SharedCells()
    shared.columns([[_text("a")] * 4])
    cells: list[Any] = [1, 1.0, True, "1"]
    (found,) = shared.columns([cells])
    assert list(map(type, found)) == [int, float, bool, str]
    (found,) = shared.columns([[{}, [], {}, []]])
    assert found == [{}, [], {}, []]


def test_no_more_are_kept_than_said_and_others_are_left_alone() -> None:
    shared = SharedCells()
    for call in range(10 * LOOK_EVERY):
        shared.columns([[f"p{call}-{number}" for number in range(100)], ["Lyon", f"city {call}"] * 50])
        assert len(shared.kept) <= MOST_SHARED + 2
    assert not any(text.startswith("p") for text in shared.kept)
