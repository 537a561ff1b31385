"""What an approval gets along with: checks, snapshots, mapped tasks, other operators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.exceptions import (
    CrmError,
    CrmInputError,
    CrmNotApprovedError,
    CrmRejectsError,
)
from airflow_provider_crm.operators.spread import SpreadCreditLoyaltyOperator
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.approvals import Person, needs_a_person
from tests.helpers.connections import set_connection
from tests.helpers.instances import Instance
from tests.helpers.tasks import TaskRunner
from tests.operators.erasures import SYSTEMS, Erasure, address
from tests.operators.propagations import People

from .asking import Answering, Task, people

pytestmark = needs_a_person


@pytest.mark.slow
def test_checks_of_the_source_come_before_the_question(task: Task) -> None:
    with pytest.raises(CrmInputError, match="min_rows"):
        task.begin(people(3), min_rows=4)
    for _ in range(3):
        task.begin(people(3), approval=False, history_conn_id="runs")
    with pytest.raises(CrmInputError, match="max_deviation"):
        task.begin(people(9), max_deviation=0.5, history_conn_id="runs")
    assert task.person.asked == []


def test_too_many_rejects_are_shown_and_fail_the_task_in_the_end(task: Task) -> None:
    rows = [*people(2), {"1": "nobody"}]
    assert task.begin(rows, max_rejects=0) is None
    with pytest.raises(CrmRejectsError):
        task.answered(task.person.approves, rows, max_rejects=0)
    assert (task.sent, task.report["state"], task.report["approved_by"]) == (2, "rejects", "ada")


def test_whoever_is_suppressed_is_not_counted(task: Task) -> None:
    suppressed = [{"email": "p0@example.fr"}]
    task.begin(people(3), suppression_source=suppressed)
    assert task.person.asked[-1]["subject"].startswith("2 of 3 rows")
    task.answered(task.person.approves, people(3), suppression_source=suppressed)
    assert task.sent == 2


@pytest.mark.slow
def test_with_a_snapshot_the_question_is_about_what_has_changed(task: Task, tmp_path: Path) -> None:
    kept = {
        "snapshot": str(tmp_path / "snapshot"),
        "leavers_path": str(tmp_path / "left.jsonl"),
        "max_leavers": 9,
    }
    task.begin(people(5), approval=False, **kept)
    before = (tmp_path / "snapshot").read_bytes()
    rows = [*people(4), {"1": "new@example.fr"}]
    assert task.begin(rows, approval=0, **kept) is None
    assert task.person.asked[-1]["subject"].startswith("1 of 5 rows")
    assert "known 4, leavers 1" in task.person.asked[-1]["body"]
    assert (tmp_path / "snapshot").read_bytes() == before
    with pytest.raises(CrmNotApprovedError):
        task.answered(task.person.refuses, rows, approval=0, **kept)
    assert (tmp_path / "snapshot").read_bytes() == before
    assert (tmp_path / "left.jsonl").read_text() == ""
    task.begin(rows, approval=0, **kept)
    summary = task.answered(task.person.approves, rows, approval=0, **kept)
    assert (summary["known"], summary["created"], summary["leavers"]) == (4, 1, 1)
    assert "p4@" in (tmp_path / "left.jsonl").read_text()


def test_each_instance_of_a_mapped_task_asks_for_itself(task: Task) -> None:
    task.begin(people(3))
    first, task.instance = task.instance, Instance(map_index=1)
    task.begin(people(3))
    assert [one["ti_id"] for one in task.person.asked] == [first.id, task.instance.id]


def test_credits_are_claimed_once_they_are_approved(
    crm_sandbox: Sandbox, person: Person, run_task: TaskRunner, tmp_path: Path
) -> None:
    crm_sandbox.spread.add_customer("zoe@example.fr")
    rows = [{"credit_key": "a", "email": "zoe@example.fr", "amount": "2.50"}]

    def credit(answer: Answering) -> dict[str, Any]:
        return run_task(
            SpreadCreditLoyaltyOperator,
            rows,
            approval=True,
            settle_seconds=0,
            context={"ti": Instance()},
            answer=answer,
        ).summary

    with pytest.raises(CrmNotApprovedError):
        credit(person.refuses)
    assert "1 of 1 rows would be credited in SPREAD" in person.read
    assert "amount 2.5" in person.read
    assert credit(person.approves)["credited"] == 1
    assert len(crm_sandbox.records("spread", "lines")) == 1


@pytest.fixture
def erasure(crm_sandbox: Sandbox, run_task: TaskRunner, tmp_path: Path) -> Erasure:
    erasure = Erasure(crm_sandbox, run_task, tmp_path)
    erasure.add("anna", *SYSTEMS)
    return erasure


def test_an_erasure_that_is_refused_erases_and_suppresses_nobody(erasure: Erasure, person: Person) -> None:
    with pytest.raises(CrmNotApprovedError):
        erasure.run("anna", "nobody", approval=True, answer=person.refuses)
    assert person.asked[-1]["subject"] == "1 of 2 rows would be erased in SPREAD, Mindbaz, ExpertSender CDP"
    assert all(erasure.is_in("anna", system) for system in ("spread", "expertsender"))
    assert not erasure.certificate_path.exists()
    assert not Path(f"{erasure.certificate_path}.draft").exists()
    assert not erasure.suppression_path.exists()


def test_the_certificate_says_who_has_approved(erasure: Erasure, person: Person) -> None:
    erasure.run("anna", "nobody", approval=True, answer=person.approves)
    lines = [json.loads(line) for line in erasure.certificate_path.read_text().splitlines()]
    assert {line["approved_by"] for line in lines} == {"ada"}
    assert not erasure.is_in("anna", "spread")
    assert address("anna") not in person.read


@pytest.mark.slow
def test_an_unusual_number_of_people_suppresses_nobody(
    erasure: Erasure, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {"history_conn_id": "runs", "suppression_path": None}
    for run in range(3):
        erasure.run(
            "anna", run_id=f"usual-{run}", certificate_path=f"{erasure.certificate_path}{run}", **given
        )
    with pytest.raises(CrmInputError, match="max_deviation"):
        erasure.run("anna", "bert", "carla", history_conn_id="runs", max_deviation=0.5)
    assert not erasure.suppression_path.exists()


def test_answers_are_passed_on_once_it_is_approved(
    crm_sandbox: Sandbox, person: Person, run_task: TaskRunner
) -> None:
    people = People(crm_sandbox, run_task)
    people.add("anna")
    people.answer("anna", "refused", 1)
    context = {"ti": Instance()}
    with pytest.raises(CrmNotApprovedError):
        people.run(approval=True, context=context, answer=person.refuses)
    assert people.status("anna") == 0

    def late() -> dict[str, Any]:
        people.answer("anna", "refused", 2)
        return person.approves()

    with pytest.raises(CrmNotApprovedError, match="rows of the source"):
        people.run(approval=True, context=context, answer=late)
    assert people.status("anna") == 0
    people.run(approval=True, context=context, answer=person.approves)
    assert people.status("anna") == 1


def test_a_plan_that_fails_is_a_failed_run(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    set_connection(monkeypatch, task.sandbox, "mindbaz", max_retries=0)
    task.sandbox.fault("error_before", system="mindbaz", method="GET")
    with pytest.raises(CrmError):
        task.begin(people(3))
    assert (task.report["state"], task.report["read"]) == ("failed", 0)
    assert task.person.asked == []
