"""Who is asked when, and what they are told."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.exceptions import (
    CrmInputError,
)
from airflow_provider_crm.links import REJECTS_KEY
from tests.helpers.approvals import needs_a_person
from tests.helpers.instances import Instance

from .asking import Task, people

pytestmark = needs_a_person


def test_the_question(task: Task) -> None:
    assert task.begin([*people(3), {"1": "nobody"}, *people(1)]) is None
    [asked] = task.person.asked
    assert asked["ti_id"] == task.instance.id
    assert asked["options"] == ["Approve", "Reject"]
    assert asked["subject"] == "3 of 5 rows would be written in Mindbaz"
    assert asked["body"] == (
        "**3 of 5 rows would be written in Mindbaz**, says a dry run of `MindbazUpsertSubscribersOperator` through "
        "`mindbaz_default` on a list of 5 rows. Nothing was sent yet.\n\n"
        "    read 5, created 3, updated 0, unchanged 0, skipped 1, rejected 1\n\n"
        "The most frequent reasons:\n\n"
        "    1 rejected: this is not an e-mail address\n"
        "    1 skipped: another row is about the same person"
    )
    assert task.pause.timeout is None
    assert task.sent == 0


def test_whoever_waits_has_left_no_report_and_a_link_that_is_not_missed(task: Task, tmp_path: Path) -> None:
    rejects, results = tmp_path / "rejects.jsonl", tmp_path / "results.jsonl"
    task.begin([{"1": "nobody"}], rejects_path=str(rejects), results_path=str(results))
    assert task.instance.xcoms == {REJECTS_KEY: ""}
    assert not rejects.exists()
    assert not results.exists()


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("approval", "asked"),
    [(False, 0), (4, 0), (3, 1), ("3", 1), (0, 1), (0.8, 0), (0.79, 1), ("0.79", 1), ("True", 1), (1.0, 0)],
    ids=str,
)
def test_a_number_or_share_of_rows_above_which_somebody_is_asked(
    task: Task, approval: Any, asked: int
) -> None:
    """Four of five rows would be written."""
    summary = task.begin([*people(4), {"1": "nobody"}], approval=approval)
    assert len(task.person.asked) == asked
    if not asked:
        assert summary
        assert summary["created"] == task.sent == 4
        assert task.report["approved_by"] is None
        assert task.report["state"] == "success"


def test_whoever_is_asked_may_see_a_preview_and_all_rows_are_counted(task: Task, tmp_path: Path) -> None:
    path = tmp_path / "preview.jsonl"
    how = {"preview_path": str(path), "preview_rows": 2, "rejects_path": str(tmp_path / "rejects.jsonl")}
    assert task.begin(people(5), **how) is None
    assert task.sent == 0
    assert "5 of 5 rows would be written" in task.person.read
    assert "example.fr" not in task.person.read
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["end"] for line in lines] == ["created"] * 2
    assert not (tmp_path / "rejects.jsonl").exists()
    path.unlink()
    task.answered(task.person.approves, people(5), **how)
    assert task.sent == 5
    assert not path.exists()


def test_nobody_is_asked_about_an_empty_source(task: Task) -> None:
    assert task.begin([])
    assert task.person.asked == []


def test_what_is_there_already_does_not_count(task: Task) -> None:
    task.begin(people(9), approval=False)
    assert task.begin(people(10), approval=1)


def test_a_dry_run_asks_nobody(task: Task) -> None:
    assert task.begin(people(2), dry_run=True)
    assert (task.person.asked, task.report["state"]) == ([], "dry_run")


@pytest.mark.parametrize("wrong", ["yes", -1, 1.5, [], "nan"], ids=str)
def test_what_an_approval_may_not_be(wrong: Any) -> None:
    with pytest.raises(CrmInputError, match="`approval`"):
        Task._operator([], approval=wrong)


def test_an_airflow_that_cannot_ask_says_so_while_the_dag_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "airflow.sdk.execution_time.hitl", None)
    Task._operator([], approval=False)
    rendered_later = Task._operator([], approval="{{ params.approval }}")
    with pytest.raises(CrmInputError, match=r"needs Airflow 3\.1"):
        Task._operator([], approval=0.5)
    rendered_later.approval = True
    with pytest.raises(CrmInputError, match=r"needs Airflow 3\.1"):
        rendered_later.execute({"ti": Instance()})
