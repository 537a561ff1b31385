"""A person's approval: who is asked when, what it is about, what of it lasts, and what it gets along with."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm._compat import PAUSES
from airflow_provider_crm.exceptions import (
    CrmError,
    CrmInputError,
    CrmNotApprovedError,
    CrmRejectsError,
    CrmTransientError,
)
from airflow_provider_crm.history.store import History
from airflow_provider_crm.links import REJECTS_KEY
from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator
from airflow_provider_crm.operators.spread import SpreadCreditLoyaltyOperator
from airflow_provider_crm.rows.sources import SqlSource
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.approvals import Person, needs_a_person
from tests.helpers.connections import set_connection
from tests.helpers.instances import Instance
from tests.helpers.state import TaskState
from tests.helpers.tasks import TaskRunner, resume

from .erasures import SYSTEMS, Erasure, address
from .propagations import People

pytestmark = needs_a_person

Answering = Callable[[], dict[str, Any]]


@pytest.fixture(autouse=True)
def _at_once(no_waiting: None) -> None:
    pass


@pytest.fixture(autouse=True)
def _where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RUNS", "DB", "CRM_LEDGER_DEFAULT"):
        connection = {"conn_type": "sqlite", "host": str(tmp_path / f"{name.lower()}.db")}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))


def people(number: int) -> list[dict[str, str]]:
    return [{"1": f"p{one}@example.fr"} for one in range(number)]


class Task:
    """An upsert into Mindbaz, with its state, through pauses and tries."""

    def __init__(self, sandbox: Sandbox, person: Person) -> None:
        self.sandbox = sandbox
        self.person = person
        self.instance = Instance()
        self.store: Any = TaskState()
        self.pause: Any = None

    @property
    def _context(self) -> Any:
        return {"ti": self.instance, **({} if self.store is None else {"task_state_store": self.store})}

    @staticmethod
    def _operator(source: Any, **parameters: Any) -> Any:
        given = {"task_id": "task", "approval": True, "max_rejects": 1.0, **parameters}
        return MindbazUpsertSubscribersOperator(source=source, **given)

    def begin(self, source: Any, **parameters: Any) -> dict[str, Any] | None:
        """Begin a try; return what it returns, None where it waits for an answer."""
        self.instance.xcoms.clear()  # as Airflow does
        try:
            return self._operator(source, **parameters).execute(self._context)  # type: ignore[no-any-return]
        except PAUSES as pause:
            self.pause = pause
            return None

    def answered(self, answer: Answering, source: Any, **parameters: Any) -> dict[str, Any]:
        """Go on after an answer."""
        operator = self._operator(source, **parameters)
        return resume(operator, self.pause, answer(), self._context)  # type: ignore[no-any-return]

    @property
    def sent(self) -> int:
        """How many people are in the CRM."""
        return len(self.sandbox.mindbaz.subscribers)

    @property
    def report(self) -> dict[str, Any]:
        return self.instance.report


@pytest.fixture
def task(crm_sandbox: Sandbox, person: Person) -> Task:
    return Task(crm_sandbox, person)


# Who is asked


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


# What came of it


def test_approved(task: Task) -> None:
    task.begin(people(3))
    summary = task.answered(task.person.approves, people(3))
    assert (summary["created"], task.sent) == (3, 3)
    assert (task.report["state"], task.report["approved_by"]) == ("success", "ada")
    assert task.store == {}


def test_nobody_has_answered(task: Task) -> None:
    task.begin(people(3), approval_timeout=90)
    trigger = getattr(task.pause, "trigger", None)  # before Airflow 3.3
    waits = trigger.timeout_datetime - dt.datetime.now(dt.UTC) if trigger else task.pause.timeout
    assert dt.timedelta(seconds=60) < waits <= dt.timedelta(seconds=90)
    with pytest.raises(CrmNotApprovedError, match="Nobody has approved it within 90 s: nothing was sent"):
        task.answered(task.person.is_away, people(3), approval_timeout=90)
    assert (task.sent, task.report["state"]) == (0, "refused")


def test_an_answer_that_airflow_could_not_use(task: Task) -> None:
    task.begin(people(3))
    with pytest.raises(CrmNotApprovedError, match="cannot be used"):
        task.answered(lambda: {"error": "for zoe@example.fr", "error_type": "validation"}, people(3))
    assert task.sent == 0
    assert "zoe" not in str(task.report)


def test_the_history_has_no_run_that_waits_and_knows_who_approved(task: Task) -> None:
    task.begin(people(3), history_conn_id="runs")
    with History.at("runs") as history:
        assert history.page().runs == ()
        task.answered(task.person.approves, people(3), history_conn_id="runs")
        task.begin(people(4), history_conn_id="runs")
        with pytest.raises(CrmNotApprovedError):
            task.answered(task.person.refuses, people(4), history_conn_id="runs")
        refused, approved = history.page().runs
    assert (approved.state, approved.approved_by, approved.created) == ("success", "ada", 3)
    assert (refused.state, refused.approved_by, refused.created) == ("refused", None, 0)


# What it is about


@pytest.mark.parametrize(
    "rows",
    [
        people(4),
        people(2),
        [*people(2), {"1": "p9@example.fr"}],
        [*people(2), {"1": "p2@example.fr", "14": "x"}],
    ],
    ids=["more", "fewer", "another", "changed"],
)
def test_a_source_that_has_changed_since_is_not_sent(task: Task, rows: Any) -> None:
    task.begin(people(3))
    with pytest.raises(CrmNotApprovedError, match="rows of the source are not those any more that ada"):
        task.answered(task.person.approves, rows)
    assert (task.sent, task.report["state"]) == (0, "refused")
    assert task.begin(people(3)) is None


def test_other_parameters_are_not_what_was_approved(task: Task) -> None:
    task.begin(people(3))
    with pytest.raises(CrmNotApprovedError, match="parameters are not those"):
        task.answered(task.person.approves, people(3), allow_resubscribe=True)
    assert task.sent == 0


def test_the_order_of_rows_does_not_matter(task: Task) -> None:
    task.begin(people(3))
    task.answered(task.person.approves, people(3)[::-1])
    assert task.sent == 3


def test_a_query_is_run_once_for_the_question_and_once_for_the_run(task: Task, tmp_path: Path) -> None:
    """A third person comes in between, and what is planned, approved and sent are the same rows all the same."""
    with sqlite3.connect(tmp_path / "db.db") as database:
        database.execute("CREATE TABLE person (email TEXT)")
        database.executemany("INSERT INTO person VALUES (?)", [("a@example.fr",), ("b@example.fr",)])
    query = SqlSource("db", 'SELECT email AS "1" FROM person')
    task.begin(query, min_rows=1)
    assert task.person.asked[-1]["subject"].startswith("2 of 2 rows")
    with sqlite3.connect(tmp_path / "db.db") as database:
        database.execute("INSERT INTO person VALUES ('c@example.fr')")
    with pytest.raises(CrmNotApprovedError, match="of a query, let all runs"):
        task.answered(task.person.approves, query, min_rows=1)
    assert task.begin(query, min_rows=1, approval=9)
    assert task.sent == 3


# What lasts


def fail_once(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a try fail after the first ten rows were sent, once it was approved."""
    set_connection(monkeypatch, task.sandbox, "mindbaz", max_retries=0)
    task.begin(people(30), batch_size=10, concurrency=1)
    task.sandbox.fault("error_before", system="mindbaz", method="POST", after=1)
    with pytest.raises(CrmTransientError):
        task.answered(task.person.approves, people(30), batch_size=10, concurrency=1)
    assert (task.report["state"], task.report["approved_by"]) == ("failed", "ada")
    assert task.sent == 10
    task.sandbox.clear()


def test_a_retry_does_not_ask_again(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_once(task, monkeypatch)
    summary = task.begin(people(30), batch_size=10, concurrency=1)
    assert summary
    assert summary["created"] == task.sent == 30
    assert len(task.person.asked) == 1
    assert task.report["approved_by"] == "ada"


def test_a_retry_with_another_source_asks_again(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_once(task, monkeypatch)
    assert task.begin(people(31), batch_size=10, concurrency=1) is None
    assert task.person.asked[-1]["subject"] == "21 of 31 rows would be written in Mindbaz"
    assert task.sent == 10
    task.answered(task.person.approves, people(31), batch_size=10, concurrency=1)
    assert task.sent == 31


def test_a_retry_asks_again_where_airflow_keeps_nothing_for_it(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    task.store = None
    fail_once(task, monkeypatch)
    assert task.begin(people(30), batch_size=10, concurrency=1) is None
    assert len(task.person.asked) == 2


def test_a_task_that_is_cleared_after_it_ended_well_asks_again(task: Task) -> None:
    task.begin(people(3))
    task.answered(task.person.approves, people(3))
    assert task.begin(people(3)) is None


def test_a_refusal_takes_back_an_earlier_approval(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_once(task, monkeypatch)
    task.begin(people(31), batch_size=10, concurrency=1)
    with pytest.raises(CrmNotApprovedError):
        task.answered(task.person.refuses, people(31), batch_size=10, concurrency=1)
    assert task.begin(people(30), batch_size=10, concurrency=1) is None


def test_a_state_that_cannot_be_used_costs_a_question_and_no_run(task: Task) -> None:
    class Broken:
        def get(self, *_: Any) -> Any:
            raise ConnectionError("the API server is away")

        set = delete = get

    task.store = Broken()
    task.begin(people(3))
    task.answered(task.person.approves, people(3))
    assert (task.sent, task.report["state"]) == (3, "success")


def test_nothing_that_is_kept_tells_whose_row_it_is(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain hash of the only row would tell it to whoever tries addresses out."""
    task.begin(people(1))
    asked = task.pause.kwargs["asked"]
    task.sandbox.switch("mindbaz", api_key="another")
    set_connection(monkeypatch, task.sandbox, "mindbaz", password="another")
    task.begin(people(1))
    assert task.pause.kwargs["asked"]["rows"] != asked["rows"]
    assert "@" not in json.dumps(asked)


# What it gets along with


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
