"""What comes of an answer: what it is about, and what of it lasts."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.exceptions import (
    CrmNotApprovedError,
    CrmTransientError,
)
from airflow_provider_crm.history.store import History
from airflow_provider_crm.rows.sources import SqlSource
from tests.helpers.approvals import needs_a_person
from tests.helpers.connections import set_connection

from .asking import Task, people

pytestmark = needs_a_person


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


@pytest.mark.slow
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


@pytest.mark.sampled
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
    with closing(sqlite3.connect(tmp_path / "db.db", isolation_level=None)) as database:
        database.execute("CREATE TABLE person (email TEXT)")
        database.executemany("INSERT INTO person VALUES (?)", [("a@example.fr",), ("b@example.fr",)])
    query = SqlSource("db", 'SELECT email AS "1" FROM person')
    task.begin(query, min_rows=1)
    assert task.person.asked[-1]["subject"].startswith("2 of 2 rows")
    with closing(sqlite3.connect(tmp_path / "db.db", isolation_level=None)) as database:
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
