"""A CRM that applies calls, or shows them, 1.5 s late: nothing is done twice, and what was applied is not rejected."""

from __future__ import annotations

import pytest

from airflow_provider_crm.operators.expertsender import (
    ExpertSenderDeleteCustomersOperator,
    ExpertSenderUpsertCustomersOperator,
)
from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.tasks import TaskRunner
from tests.helpers.waits import one_time

from .expertsender_runs import AWAITING


@pytest.fixture(autouse=True)
def _one_time(monkeypatch: pytest.MonkeyPatch, crm_sandbox: Sandbox) -> None:
    one_time(monkeypatch, crm_sandbox)


@pytest.fixture(params=["late_commit", "late_reads"])
def late(request: pytest.FixtureRequest, crm_sandbox: Sandbox) -> None:
    """Let the first answer to a write be lost, and what it did be seen later."""
    if request.param == "late_commit":
        crm_sandbox.fault("late_commit", ms=1500, method="POST", times=1)
    else:
        crm_sandbox.fault("late_reads", ms=1500)
        crm_sandbox.fault("drop_after", method="POST", times=1)


@pytest.mark.sampled
@pytest.mark.parametrize("mode", ["AddOrUpdate", "Add"])
@pytest.mark.parametrize(("settle_seconds", "calls"), [(10, 1), (0, 2)])
def test_a_confirmation_is_asked_for_in_one_call(
    crm_sandbox: Sandbox, run_task: TaskRunner, late: None, mode: str, settle_seconds: float, calls: int
) -> None:
    rows = [{"email": f"p{n}@x.fr", "consents.1": AWAITING} for n in range(3)]
    ended = run_task(ExpertSenderUpsertCustomersOperator, rows, mode=mode, settle_seconds=settle_seconds)
    assert ended.ends == ["updated" if mode == "AddOrUpdate" else "created"] * 3
    assert crm_sandbox.calls.count("expertsender", "POST", "/customers") == calls


@pytest.mark.sampled
@pytest.mark.parametrize("held", [{}, {1: AWAITING}], ids=["new", "asked before"])
def test_a_forced_confirmation_is_asked_for_once(
    crm_sandbox: Sandbox, run_task: TaskRunner, late: None, held: dict[int, str]
) -> None:
    """Each goes alone: that the first one's answer is lost keeps none of the others from being forced."""
    rows = [{"email": f"p{n}@x.fr", "consents.1": AWAITING, "force": True} for n in range(3)]
    for row in rows:
        crm_sandbox.expertsender.add_customer(row["email"], consents=held)
    assert run_task(ExpertSenderUpsertCustomersOperator, rows).ends == ["updated"] * 3
    crm_sandbox.clear()
    mails = [mail["email"] for mail in crm_sandbox.records("expertsender", "mailbox")]
    assert sorted(mails) == [row["email"] for row in rows]


@pytest.mark.sampled
@pytest.mark.parametrize("existing_email", ["abort", "minus_one"])
@pytest.mark.parametrize("mode", ["upsert", "create"])
def test_a_subscriber_who_was_created_is_not_rejected(
    crm_sandbox: Sandbox, run_task: TaskRunner, late: None, mode: str, existing_email: str
) -> None:
    crm_sandbox.switch("mindbaz", existing_email=existing_email)
    rows = [{"email": f"p{n}@example.fr", "nom": "P"} for n in range(3)]
    ended = run_task(MindbazUpsertSubscribersOperator, rows, mode=mode)
    assert ended.said == ["created"] * 3
    assert crm_sandbox.calls.count("mindbaz", "POST", "/Subscribers") == 1


@pytest.mark.parametrize("existing_email", ["abort", "minus_one"])
def test_subscribers_before_the_one_at_fault_are_not_rejected_where_reads_lag(
    crm_sandbox: Sandbox, run_task: TaskRunner, existing_email: str
) -> None:
    """The call is refused for one row, and has created those before it, whom no look shows at once."""
    crm_sandbox.switch("mindbaz", existing_email=existing_email)
    crm_sandbox.fault("late_reads", ms=1500)
    crm_sandbox.fault("abort_at", item=4, times=1)
    rows = [{"email": f"p{n}@example.fr", "nom": "P"} for n in range(6)]
    assert run_task(MindbazUpsertSubscribersOperator, rows).said == ["created"] * 6


def test_whoever_was_deleted_a_moment_ago_and_is_still_shown_is_not_rejected(
    crm_sandbox: Sandbox, run_task: TaskRunner
) -> None:
    """As a try that was killed leaves them; a CRM that goes on to show somebody is believed in the end."""
    for name in ("gone", "kept"):
        crm_sandbox.expertsender.add_customer(f"{name}@x.fr")
    crm_sandbox.fault("late_reads", ms=1500)
    rows = [{"email": "gone@x.fr"}]
    assert run_task(ExpertSenderDeleteCustomersOperator, rows).ends == ["deleted"]
    assert run_task(ExpertSenderDeleteCustomersOperator, rows).ends == ["deleted"]
    crm_sandbox.clear()
    crm_sandbox.fault("answer_before", method="DELETE", status=404, times=None)
    assert run_task(ExpertSenderDeleteCustomersOperator, [{"email": "kept@x.fr"}]).ends == ["rejected"]
