"""Unsubscriptions in Mindbaz over real HTTP: who is reached, who is left as is, and what a lost answer changes."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.operators.mindbaz import MindbazUnsubscribeOperator
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.tasks import TaskRunner

STATUS, AT, CLIENT_ID = 7, 4, 43
FIRST_DATE = "2020-01-01T10:00:00+01:00"


class Run:
    def __init__(self, sandbox: Sandbox, run_task: TaskRunner) -> None:
        self.sandbox = sandbox
        self.mindbaz = sandbox.mindbaz
        self._run_task = run_task

    def __call__(self, rows: list[dict[str, Any]], **options: Any) -> Counter[str]:
        self.sandbox.calls.clear()
        return self._run_task(MindbazUnsubscribeOperator, rows, **options).counts

    def writes(self) -> list[int]:
        return [call.rows for call in self.sandbox.calls if call.method in ("PUT", "POST")]

    def status(self, email: str) -> tuple[Any, Any]:
        fields = self.mindbaz.by_email(email) or {}
        return fields.get(STATUS), fields.get(AT)


@pytest.fixture
def run(crm_sandbox: Sandbox, run_task: TaskRunner, no_waiting: None) -> Run:
    return Run(crm_sandbox, run_task)


def people(run: Run, statuses: list[int]) -> list[dict[str, Any]]:
    for n, status in enumerate(statuses):
        fields = {1: f"p{n}@x.fr", STATUS: status, CLIENT_ID: f"C{n}"}
        run.mindbaz.insert(fields | ({} if status == 0 else {AT: FIRST_DATE}))
    return [{"email": f"P{n}@x.fr ", "client": f"C{n}"} for n in range(len(statuses))]


def test_who_can_still_be_reached_is_unsubscribed_with_the_date(run: Run) -> None:
    rows = people(run, list(range(13)))
    before = dt.datetime.now(ZoneInfo("Europe/Paris")).replace(second=0, microsecond=0)
    assert run([*rows, {"email": "nobody@x.fr"}, {"email": ""}]) == {
        "updated": 8,
        "unchanged": 5,
        "skipped": 1,
        "rejected": 1,
    }
    assert run.writes() == [8]
    for n in range(13):
        status, at = run.status(f"p{n}@x.fr")
        if n in (1, 2, 5, 9, 12):
            assert (status, at) == (n, FIRST_DATE)
        else:
            assert status == 1
            assert before <= dt.datetime.fromisoformat(at) <= before + dt.timedelta(minutes=2)


def test_a_second_run_changes_nothing(run: Run) -> None:
    rows = people(run, [0, 8])
    assert run(rows) == {"updated": 2}
    before = run.sandbox.records("mindbaz", "subscribers")
    assert run(rows) == {"unchanged": 2}
    assert run.writes() == []
    assert run.sandbox.records("mindbaz", "subscribers") == before


@pytest.mark.sampled
@pytest.mark.parametrize(
    "kind",
    ["rate_limited", "error_before", "drop_before", "error_after", "drop_after", "truncate", "html_after"],
)
def test_a_call_may_fail_in_any_way(run: Run, kind: str) -> None:
    rows = people(run, [0, 0, 1, 0])
    run.sandbox.fault(kind, system="mindbaz", method="PUT", times=1)
    assert run([*rows, {"email": "nobody@x.fr"}]) == {"updated": 3, "unchanged": 1, "skipped": 1}
    assert all(run.status(f"p{n}@x.fr")[0] == 1 for n in range(4))


@pytest.mark.parametrize("failure_status", [200, 400])
def test_a_batch_that_breaks_off_in_the_middle_is_settled(run: Run, failure_status: int) -> None:
    run.sandbox.switch("mindbaz", failure_status=failure_status)
    rows = people(run, [0] * 9)
    run.sandbox.fault("abort_at", system="mindbaz", method="PUT", item=5, times=1)
    assert run(rows) == {"updated": 9}
    assert all(run.status(f"p{n}@x.fr")[0] == 1 for n in range(9))
    # Those before the one at which it broke off were done, and are not sent again.
    assert run.writes()[0] == 9
    assert sum(run.writes()[1:]) == 4


def test_whom_the_crm_refuses_is_rejected_alone(run: Run) -> None:
    rows = people(run, [0] * 4)
    run.sandbox.fault("abort_at", system="mindbaz", method="PUT", item=0)
    assert run(rows) == {"rejected": 4}


def test_people_are_found_by_client_id(run: Run) -> None:
    rows = people(run, [0, 1, 0])
    run.mindbaz.insert({1: "twin@x.fr", CLIENT_ID: "C2"})
    assert run([*rows, {"client": "C9"}, {"client": "a,b"}], match_by="IdClient", key_field="client") == {
        "updated": 1,
        "unchanged": 1,
        "skipped": 1,
        "rejected": 2,
    }
    assert run.status("twin@x.fr")[0] == 0


def test_a_dry_run_only_reads(run: Run) -> None:
    rows = people(run, [0, 1])
    assert run([*rows, {"email": "nobody@x.fr"}], dry_run=True) == {
        "updated": 1,
        "unchanged": 1,
        "skipped": 1,
    }
    assert run.writes() == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"match_by": "mail"}, "`match_by` is one of 'Email', 'IdClient'"),
        ({"match_by": "IdClient"}, "`key_field` has to name the column that holds the client ids"),
        ({"key_field": "mail"}, "Missing columns in the list: mail"),
    ],
)
def test_bad_input_fails_before_anything_is_sent(run: Run, options: dict[str, Any], said: str) -> None:
    rows = people(run, [0])
    with pytest.raises(CrmInputError) as caught:
        run(rows, **options)
    assert said in str(caught.value)
    assert run.writes() == []
