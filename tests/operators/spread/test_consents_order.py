"""Whoever has refused last does not end as accepted, whatever the order of answers, files and histories."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_crm.operators.spread import SpreadCreateConsentsOperator
from airflow_provider_crm.sandbox.spread.consents import DEFINITIONS, ConsentEvent

NEWSLETTER, *_ = DEFINITIONS
NEWER_IN_CRM = "skipped: a refusal that is as new or newer is in SPREAD"


@pytest.fixture
def consent(run):
    return lambda source, **parameters: run(SpreadCreateConsentsOperator, source, **parameters)


def answer(status: str, created_at: str) -> dict[str, Any]:
    return {"email": "a@example.fr", "consent_id": 9876, "status": status, "created_at": created_at}


def hold(spread, *answers: tuple[str, str]) -> list[ConsentEvent]:
    """Put a customer with a history there."""
    customer = spread.add_customer("a@example.fr")
    for status, created_at in answers:
        spread.consents.add(customer.id, NEWSLETTER, status, created_at, "manualImport")
    return spread.consents.of_customer(customer.id)


def test_a_refusal_newer_than_the_one_held_is_sent_and_an_acceptance_between_them_is_not(spread, consent):
    answers = hold(spread, ("refused", "2024-01-01 00:00:00"))
    rows = [answer("refused", "2024-03-15 00:00:00"), answer("accepted", "2024-03-08 00:00:00")]
    assert consent(rows) == ["created", NEWER_IN_CRM]
    assert answers[-1].status == "refused"
    assert consent(rows) == ["unchanged", NEWER_IN_CRM]


def test_a_refusal_older_than_the_one_held_changes_nothing(spread, consent):
    answers = hold(spread, ("refused", "2024-03-15 00:00:00"))
    assert consent([answer("refused", "2024-03-01 00:00:00")]) == ["unchanged"]
    assert len(answers) == 1


def test_a_refusal_is_sent_again_where_an_older_acceptance_came_in_after_it(spread, consent):
    answers = hold(spread, ("refused", "2024-03-15 00:00:00"), ("accepted", "2024-03-08 00:00:00"))
    rows = [answer("refused", "2024-03-15 00:00:00")]
    assert consent(rows) == ["created"]
    assert consent(rows) == ["unchanged"]
    assert [one.status for one in answers] == ["refused", "accepted", "refused"]


def test_an_acceptance_newer_than_a_refusal_of_the_file_is_sent_although_one_is_held(spread, consent):
    answers = hold(spread, ("accepted", "2024-01-01 00:00:00"))
    rows = [answer("refused", "2024-03-15 00:00:00"), answer("accepted", "2024-03-20 00:00:00")]
    assert consent(rows) == ["created", "created"]
    assert answers[-1].status == "accepted"
    assert consent(rows) == ["unchanged", "unchanged"]


def test_a_refusal_of_the_file_counts_before_the_crm_shows_it(crm_sandbox, spread, consent):
    hold(spread)
    body = '{"customer": {"id": "123456", "consents": []}, "count": 0}'
    crm_sandbox.fault("answer_before", method="GET", path="/customers-consents", body=body)
    refusal = {**answer("refused", "2024-03-15 00:00:00"), "email": None, "customer_id": "123456"}
    acceptance = {**answer("accepted", "2024-03-08 00:00:00"), "customer_id": None}
    assert consent([refusal, acceptance], concurrency=1) == [
        "created",
        "skipped: a refusal that is as new or newer is in an earlier row",
    ]
    assert [one.status for one in spread.consents.events] == ["refused"]


#: Few moments, so that there are ties; those of October's repeated hour among them, with and without a zone.
MOMENTS = {
    "2024-03-08 00:00:00": "2024-03-08 00:00:00",
    "2024-03-15 00:00:00": "2024-03-15 00:00:00",
    "2025-10-26T00:50:00Z": "2025-10-26 02:50:00",
    "2025-10-26T01:10:00Z": "2025-10-26 02:10:00",
    "2025-10-26 02:30:00": "2025-10-26 02:30:00",
    "2025-10-26 03:00:00": "2025-10-26 03:00:00",
}
HOUR = "2025-10-26 02"
answers = st.lists(
    st.tuples(st.sampled_from(["accepted", "refused"]), st.sampled_from(sorted(MOMENTS))), max_size=5
)


def moment(one: tuple[str, str]) -> tuple[str, bool]:
    """Return when an answer was given, a refusal at the latest that it may have been, and after all of its moment."""
    status, created_at = one[0], MOMENTS.get(one[1], one[1])
    if status == "refused" and created_at.startswith(HOUR):
        created_at = f"{HOUR}:59:59"
    return created_at, status == "refused"


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=answers, rows=answers.filter(bool))
def test_whoever_refused_last_is_not_accepted_in_the_end(crm_sandbox, spread, consent, history, rows):
    spread.reset()
    history = [(status, MOMENTS[created_at]) for status, created_at in history]
    held = hold(spread, *history)
    before = len(held)

    consent([answer(*row) for row in rows])

    held = spread.consents.events
    latest = max(history + rows, key=moment)
    if latest[0] == "refused" and moment(latest) in map(moment, rows):
        # Whichever way SPREAD goes by: the date of an answer, or when it came in.
        assert max(enumerate(held), key=lambda one: (one[1].created_at, one[0]))[1].status == "refused"
        assert held[-1].status == "refused"
    for place, one in enumerate(held[before:], start=before):
        earlier = [moment((other.status, other.created_at)) for other in held[:place]]
        newest = max((created_at for created_at, refused in earlier if refused), default="")
        assert one.status == "refused" or one.created_at > newest

    consent([answer(*row) for row in rows])
    assert len(spread.consents.events) == len(held), "a second run changes nothing"
