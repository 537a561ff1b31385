"""Calls that must not be made twice, to a CRM that applies them, or shows them, a second late."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmOutcomeUnknownError, CrmTransientError
from airflow_provider_crm.operators.spread import (
    SpreadCreateConsentsOperator,
    SpreadDeleteCustomersOperator,
    SpreadUpdateEmailsOperator,
)
from airflow_provider_crm.sandbox.spread.consents import DEFINITIONS
from tests.helpers.connections import set_connection
from tests.helpers.state import TaskState, second_try
from tests.helpers.waits import one_time

from .calls import writes

NEWSLETTER, *_ = DEFINITIONS


@pytest.fixture(autouse=True)
def _one_time(monkeypatch, crm_sandbox):
    one_time(monkeypatch, crm_sandbox)


@pytest.fixture(params=["late_commit", "late_reads"])
def late(request, crm_sandbox):
    """Let the first answer be lost, and the change be seen 1.5 s later."""
    if request.param == "late_commit":
        crm_sandbox.fault("late_commit", ms=1500, method="POST", times=1)
        crm_sandbox.fault("late_commit", ms=1500, method="PUT", times=1)
    else:
        crm_sandbox.fault("late_reads", ms=1500)
        crm_sandbox.fault("drop_after", method="POST", times=1)
        crm_sandbox.fault("drop_after", method="PUT", times=1)


def answer(status: str, created_at: str, **more: Any) -> dict[str, Any]:
    return {"email": "a@example.fr", "consent_id": 9876, "status": status, "created_at": created_at, **more}


@pytest.mark.sampled
@pytest.mark.parametrize("only_changes", [True, False])
def test_an_answer_to_a_consent_is_recorded_once(crm_sandbox, spread, run, late, only_changes):
    spread.add_customer("a@example.fr")
    rows = [answer("accepted", "2024-01-01 00:00:00"), answer("refused", "2024-02-01 00:00:00", ip="::1")]
    assert run(SpreadCreateConsentsOperator, rows, only_changes=only_changes) == ["created", "created"]
    crm_sandbox.clear()
    assert [event["customerConsentStatus"] for event in crm_sandbox.records("spread", "consents")] == [
        "accepted",
        "refused",
    ]


def recorded(spread) -> list[tuple[str, str]]:
    return [(event.customer_id, event.created_at) for event in spread.consents.events]


@pytest.mark.parametrize("only_changes", [True, False])
def test_another_rows_line_that_was_not_shown_yet_is_not_taken_for_a_rows_own(
    crm_sandbox, spread, run, only_changes
):
    """The first answer is seen late, and the call of the second never arrives."""
    spread.add_customer("a@example.fr")
    crm_sandbox.fault("late_reads", ms=1500)
    crm_sandbox.fault("drop_before", method="POST", after=1, times=2)
    moments = ["2024-01-01 00:00:00", "2024-02-01 00:00:00"]
    rows = [answer("refused", moment) for moment in moments]
    assert run(SpreadCreateConsentsOperator, rows, only_changes=only_changes) == ["created", "created"]
    assert [moment for _, moment in recorded(spread)] == moments


@pytest.mark.sampled
@pytest.mark.parametrize("late_reads", [False, True])
def test_an_answer_named_by_email_and_by_id_is_recorded_once(crm_sandbox, spread, run, late_reads):
    """Such rows hold no name in common that would keep them apart before the customer is looked up."""
    people = [spread.add_customer(f"p{number}@example.fr") for number in range(20)]
    if late_reads:
        crm_sandbox.fault("late_reads", ms=1500)
    rows = [
        answer("accepted", "2024-01-01 00:00:00", **who)
        for person in people
        for who in ({"email": person.email, "customer_id": None}, {"email": None, "customer_id": person.id})
    ]
    said = run(SpreadCreateConsentsOperator, rows)
    assert (said.count("created"), said.count("unchanged")) == (20, 20)
    assert len(recorded(spread)) == 20


@pytest.mark.slow
def test_answers_named_by_email_and_by_id_wait_for_what_is_in_doubt(crm_sandbox, spread, run):
    """Otherwise the line of the one would be taken for the other's, whose call has never arrived."""
    people = [spread.add_customer(f"p{number}@example.fr") for number in range(20)]
    crm_sandbox.fault("late_reads", ms=1500)
    crm_sandbox.fault("drop_before", method="POST", probability=0.4, seed=3)
    rows = []
    for person in people:
        rows.append(answer("refused", "2024-01-01 00:00:00", customer_id=None, email=person.email))
        rows.append(answer("refused", "2024-02-01 00:00:00", customer_id=person.id, email=None))
    assert run(SpreadCreateConsentsOperator, rows, only_changes=False) == ["created"] * 40
    assert len(set(recorded(spread))) == 40


def test_a_consent_without_time_to_settle_is_recorded_twice(crm_sandbox, spread, run, late):
    """What the parameter is for."""
    spread.add_customer("a@example.fr")
    run(SpreadCreateConsentsOperator, [answer("accepted", "2024-01-01 00:00:00")], settle_seconds=0)
    crm_sandbox.clear()
    assert len(crm_sandbox.records("spread", "consents")) == 2


def test_a_customer_is_created_once(crm_sandbox, spread, upsert, late):
    assert upsert([{"email": "a@example.fr", "lastName": "A"}]) == ["created"]
    assert len(writes(crm_sandbox)) == 1


def test_whoever_was_deleted_a_moment_ago_and_is_still_shown_is_not_rejected(crm_sandbox, spread, run):
    """As a try that was killed leaves them."""
    spread.add_customer("a@example.fr")
    crm_sandbox.fault("late_reads", ms=1500)
    for _ in range(2):
        assert run(SpreadDeleteCustomersOperator, [{"email": "a@example.fr"}]) == ["deleted"]


def test_an_email_is_changed_once(crm_sandbox, spread, run, late):
    spread.add_customer("a@example.fr")
    rows = [{"old_email": "a@example.fr", "new_email": "b@example.fr"}]
    assert run(SpreadUpdateEmailsOperator, rows) == ["updated"]
    assert len(writes(crm_sandbox)) == 1


def test_only_rows_in_doubt_wait(crm_sandbox, spread, run, monkeypatch):
    waits = []
    monkeypatch.setattr(
        "airflow_provider_crm.http.clock.Clock.wait", lambda clock, seconds: bool(waits.append(seconds))
    )
    spread.add_customer("a@example.fr")
    rows = [answer("accepted", "2024-01-01 00:00:00"), answer("refused", "2024-02-01 00:00:00")]
    crm_sandbox.fault("drop_after", method="POST", times=1)
    assert run(SpreadCreateConsentsOperator, rows) == ["created", "created"]
    assert max(waits) < 1, "what the CRM shows at once has not to be waited for"


@pytest.mark.sampled
@pytest.mark.parametrize("kind", ["drop_after", "late_commit"])
@pytest.mark.parametrize("after", [0, 3])
def test_a_try_that_failed_without_an_answer_is_not_doubled_by_the_next(
    crm_sandbox, spread, run, run_task, monkeypatch, kind, after
):
    """Every row is an entry; the last one sent is in the CRM, and the task's state says nothing of it."""
    spread.add_customer("a@example.fr")
    rows = [answer(("accepted", "refused")[n % 2], f"2024-01-01 00:00:{n:02}") for n in range(6)]
    state = TaskState()
    crm_sandbox.fault(kind, method="POST", after=after, ms=1500, times=1)
    crm_sandbox.fault("error_before", method="GET", path="/customers-consents")
    with pytest.raises(CrmTransientError):
        run(SpreadCreateConsentsOperator, rows, only_changes=False, store=state)
    crm_sandbox.clear()
    ends = run(SpreadCreateConsentsOperator, rows, only_changes=False, store=state)
    assert set(ends) <= {"created", "unchanged"}
    held = [event["customerConsentCreatedAt"] for event in crm_sandbox.records("spread", "consents")]
    assert sorted(held) == [row["created_at"] for row in rows]
    assert run(SpreadCreateConsentsOperator, rows, only_changes=False, store=state) == ["created"] * 6


class UnreadableState(TaskState):
    """The state of a task, of which nobody learns anything."""

    def get(self, key: str, default: Any = None) -> Any:
        raise OSError("it is down")


@pytest.mark.sampled
@pytest.mark.parametrize("only_changes", [True, False])
@pytest.mark.parametrize("told", [{"context": second_try()}, {"store": UnreadableState()}])
def test_a_second_try_without_state_waits_for_what_the_first_may_have_sent(
    crm_sandbox, spread, run, monkeypatch, told, only_changes
):
    """Before Airflow 3.3, where nothing but its number tells that there was a first one, or when its state is lost."""
    spread.add_customer("a@example.fr")
    rows = [answer("accepted", "2024-01-01 00:00:00")]
    set_connection(monkeypatch, crm_sandbox, "spread", max_retries=0)
    crm_sandbox.fault("late_commit", ms=1500, method="POST", times=1)
    options = {"only_changes": only_changes}
    with pytest.raises(CrmOutcomeUnknownError):
        run(SpreadCreateConsentsOperator, rows, **options)
    crm_sandbox.clear()
    assert run(SpreadCreateConsentsOperator, rows, **told, **options) == ["unchanged"]
    assert len(recorded(spread)) == 1


@pytest.mark.sampled
@pytest.mark.parametrize("only_changes", [True, False])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_answers_for_channels_are_told_apart_after_a_try_that_failed(
    crm_sandbox, spread, run, only_changes, after
):
    """All of one moment, which is all that the history shows of them."""
    spread.add_customer("a@example.fr")
    rows = [answer("accepted", "2024-01-01 00:00:00", channel_id=str(n)) for n in range(4)]
    state = TaskState()
    options = {"only_changes": only_changes, "store": state, "settle_seconds": 0, "concurrency": 1}
    crm_sandbox.fault("drop_after", method="POST", after=after, times=1)
    crm_sandbox.fault("error_before", method="GET", path="/customers-consents", after=after + 1)
    with pytest.raises(CrmTransientError):
        run(SpreadCreateConsentsOperator, rows, **options)
    crm_sandbox.clear()
    assert run(SpreadCreateConsentsOperator, rows, **options) == ["created"] * 4
    assert [event.channel_id for event in spread.consents.events] == ["0", "1", "2", "3"]


def test_an_address_that_its_owner_has_just_left_is_given_to_another(crm_sandbox, spread, run):
    """By an earlier row, which a look does not show yet."""
    ada, bert = (spread.add_customer(f"{name}@example.fr") for name in ("ada", "bert"))
    spread.add_customer("carla@example.fr")
    crm_sandbox.fault("late_reads", ms=1500)
    changes = [("bert", "dora"), ("ada", "bert"), ("dora", "carla")]
    rows = [{"old_email": f"{old}@example.fr", "new_email": f"{new}@example.fr"} for old, new in changes]
    taken = "rejected: another customer has the new e-mail"
    assert run(SpreadUpdateEmailsOperator, rows) == ["updated", "updated", taken]
    assert (ada.email, bert.email) == ("bert@example.fr", "dora@example.fr")
