"""Who has left the source is named once, and never on a guess."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmInputError, CrmRejectsError

from .nightly import Nightly, OneTask, Row, in_a_file


def leavers(nightly: Nightly, rows: Sequence[Row], **parameters: Any) -> list[Row]:
    """Run with a file of leavers.

    :return: its lines.
    """
    path = nightly.path.with_name("leavers.jsonl")
    ended = nightly(rows, **{"leavers_path": str(path), "max_leavers": 1.0, **parameters})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert ended.summary["leavers"] == len(lines)
    return lines


@in_a_file
def test_people_who_have_left_are_named_once_and_sent_when_they_come_back(nightly: Nightly) -> None:
    assert leavers(nightly, nightly.people(1, 2, 3)) == []
    assert len(leavers(nightly, nightly.people(2))) == 2
    assert leavers(nightly, nightly.people(2)) == []
    path = nightly.path.with_name("leavers.jsonl")
    ended = nightly(nightly.people(1, 2), leavers_path=str(path), max_leavers=1.0)
    assert ended.summary["known"] == 1
    assert nightly.looks + nightly.writes > 0
    assert leavers(nightly, nightly.people(2)) == [{"email": "p1@example.fr"}]


@in_a_file
def test_all_who_have_left_are_named(nightly: Nightly) -> None:
    leavers(nightly, nightly.people(1, 2, 3))
    named = leavers(nightly, nightly.people(2))
    assert sorted(line["email"] for line in named) == ["p1@example.fr", "p3@example.fr"]


@in_a_file
@pytest.mark.slow
@pytest.mark.parametrize(
    ("most", "refused"), [(0.1, True), (1, True), (2, False), ("0.7", False), ("0", True)]
)
def test_too_many_leavers_are_refused_before_anything_is_sent(
    nightly: Nightly, most: Any, refused: bool
) -> None:
    leavers(nightly, nightly.people(1, 2, 3))
    rows = nightly.people(2, name="Martin")
    if not refused:
        assert len(leavers(nightly, rows, max_leavers=most)) == 2
        return
    nightly.path.with_name("leavers.jsonl").unlink()
    with pytest.raises(CrmInputError, match="2 of 3 people of earlier sources are not in this one"):
        leavers(nightly, rows, max_leavers=most)
    assert nightly.writes == 0
    assert not nightly.path.with_name("leavers.jsonl").exists()
    assert len(leavers(nightly, rows)) == 2, "they have not been forgotten"


@in_a_file
def test_an_empty_source_is_all_leavers(nightly: Nightly) -> None:
    leavers(nightly, nightly.people(1, 2))
    with pytest.raises(CrmInputError, match="2 of 2 people"):
        leavers(nightly, [], max_leavers=0.99)
    assert len(leavers(nightly, [])) == 2


@in_a_file
def test_leavers_of_a_run_that_fails_are_named_by_the_next_one(nightly: Nightly) -> None:
    leavers(nightly, nightly.people(1, 2))
    with pytest.raises(CrmRejectsError):
        leavers(nightly, [{"email": "nobody"}, *nightly.people(2)], max_rejects=0)
    assert leavers(nightly, nightly.people(2)) == [{"email": "p1@example.fr"}]


@in_a_file
def test_nobody_has_left_a_source_that_cannot_be_read(
    nightly: Nightly, caplog: pytest.LogCaptureFixture
) -> None:
    leavers(nightly, nightly.people(1, 2))
    assert leavers(nightly, [*nightly.people(2), "torn"]) == []  # type: ignore[list-item]
    assert "cannot be read" in caplog.text
    assert leavers(nightly, nightly.people(2)) == [{"email": "p1@example.fr"}]


@in_a_file
def test_a_dry_run_counts_leavers_and_writes_no_file(nightly: Nightly) -> None:
    leavers(nightly, nightly.people(1, 2))
    path = nightly.path.with_name("leavers.jsonl")
    path.unlink()
    ended = nightly(nightly.people(2), leavers_path=str(path), max_leavers=1.0, dry_run=True)
    assert ended.summary["leavers"] == 1
    assert not path.exists()
    assert leavers(nightly, nightly.people(2)) == [{"email": "p1@example.fr"}]


@in_a_file
def test_another_map_of_fields_and_a_full_resync_forget_nobody(nightly: Nightly) -> None:
    leavers(nightly, nightly.people(1, 2, 3))
    field_map = {"email": "email", nightly.upsert.name: nightly.upsert.name}
    assert leavers(nightly, nightly.people(2, 3), field_map=field_map) == [{"email": "p1@example.fr"}]
    assert leavers(nightly, nightly.people(3), field_map=field_map, full_resync=True) == [
        {"email": "p2@example.fr"}
    ]


@in_a_file
def test_keys_are_kept_in_clear_only_for_leavers(nightly: Nightly) -> None:
    leavers(nightly, nightly.people(1, 2))
    assert b"p1@example.fr" in nightly.path.read_bytes()
    nightly(nightly.people(1, 2))
    assert b"example.fr" not in nightly.path.read_bytes()


@in_a_file
def test_leavers_need_a_snapshot_and_the_whole_source(nightly: Nightly) -> None:
    with pytest.raises(CrmInputError, match="needs a `snapshot`"):
        leavers(nightly, nightly.people(1), snapshot=None)

    class Mapped(OneTask):
        map_index = 0

    with pytest.raises(CrmInputError, match="needs the whole source"):
        leavers(nightly, nightly.people(1), context={"ti": Mapped()})


def test_nobody_has_left_of_whom_several_tasks_see_a_part_each(nightly: Nightly) -> None:
    if isinstance(nightly.place, str):
        pytest.skip("a file is one task's own")
    with pytest.raises(CrmInputError, match="needs a `snapshot` in a file"):
        leavers(nightly, nightly.people(1))
    assert nightly.writes == 0
