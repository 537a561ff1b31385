"""Consents: whose answers are recorded, in which order, and which say nothing new."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.operators.spread import SpreadCreateConsentsOperator
from airflow_provider_crm.sandbox.spread.consents import DEFINITIONS

from .calls import writes

NEWSLETTER, SMS, PHONE, *_ = DEFINITIONS


@pytest.fixture
def consent(run):
    return lambda source, **parameters: run(SpreadCreateConsentsOperator, source, **parameters)


def answer(status, created_at, **more) -> dict[str, Any]:
    return {"email": "a@example.fr", "consent_id": 9876, "status": status, "created_at": created_at, **more}


def events(spread):
    return [(event.consent.id, event.status, event.created_at) for event in spread.consents.events]


@pytest.mark.slow
def test_one_persons_answers_keep_their_order(crm_sandbox, spread, consent):
    spread.add_customer("a@example.fr")
    spread.add_customer("b@example.fr")
    crm_sandbox.fault("latency", ms=20, probability=0.5, seed=1)
    rows = [
        answer(("accepted", "refused")[number % 2], f"2024-01-01 00:00:{number:02}", email=email)
        for number in range(12)
        for email in ("a@example.fr", "B@example.fr")
    ]
    assert consent(rows) == ["created"] * 24
    for email in ("a@example.fr", "b@example.fr"):
        dates = [one.created_at for one in spread.consents.of_customer(spread.by_email(email).id)]
        assert dates == sorted(dates)
        assert len(dates) == 12
    assert set(consent(rows)) == {"unchanged"}


def test_a_refusal_is_sent_however_old_but_once(spread, consent):
    customer = spread.add_customer("a@example.fr")
    spread.consents.add(customer.id, NEWSLETTER, "accepted", "2024-01-01 00:00:00", "manualImport")
    rows = [answer("refused", "2020-01-01 00:00:00")]
    assert consent(rows) == ["created"]
    assert consent(rows) == ["unchanged"]
    assert len(spread.consents.events) == 2


def test_an_acceptance_newer_than_the_refusal_counts(spread, consent):
    customer = spread.add_customer("a@example.fr")
    spread.consents.add(customer.id, NEWSLETTER, "refused", "2024-01-01 00:00:00", "manualImport")
    rows = [
        answer("accepted", "2023-12-31 23:59:59"),
        answer("accepted", "2024-01-01T00:00:01+01:00"),
        answer("accepted", "2023-12-31 23:59:58"),
    ]
    # The last one's status holds by then.
    assert consent(rows) == [
        "skipped: a refusal that is as new or newer is in SPREAD",
        "created",
        "unchanged",
    ]


@pytest.mark.parametrize("first", ["accepted", "refused"])
def test_of_two_answers_at_once_the_refusal_counts(spread, consent, first):
    customer = spread.add_customer("a@example.fr")
    moment = "2024-01-01 00:00:00"
    second = {"accepted": "refused", "refused": "accepted"}[first]
    consent([answer(first, moment), answer(second, moment)])
    assert spread.consents.of_customer(customer.id)[-1].status == "refused"


def test_a_refusal_is_the_last_word_where_an_acceptance_of_the_same_moment_came_in_after_it(spread, consent):
    customer = spread.add_customer("a@example.fr")
    for status in ("refused", "accepted"):
        spread.consents.add(customer.id, NEWSLETTER, status, "2024-01-01 00:00:00", "manualImport")
    rows = [answer("refused", "2024-01-01 00:00:00")]
    assert consent(rows) == ["created"]
    assert consent(rows) == ["unchanged"]


@pytest.mark.sampled
@pytest.mark.parametrize(
    "refused",
    ["2025-10-26T02:10:00+01:00", "2025-10-26T01:10:00Z", "2025-10-26 02:10:00"],
    ids=["second hour", "UTC", "either hour"],
)
@pytest.mark.parametrize("order", [1, -1], ids=["in order", "the other way round"])
def test_no_acceptance_of_the_hour_that_october_repeats_lies_after_a_refusal(spread, consent, refused, order):
    """02:50 in summer time is twenty minutes before 02:10 in winter time."""
    customer = spread.add_customer("a@example.fr")
    rows = [answer("accepted", "2025-10-26T02:50:00+02:00"), answer("refused", refused)]
    consent(rows[::order])
    consent(rows[::order])
    answers = spread.consents.of_customer(customer.id)
    assert max(answers, key=lambda one: one.created_at).status == "refused"
    assert [one.created_at for one in answers if one.status == "refused"] == ["2025-10-26 02:59:59"]


def test_an_acceptance_lies_after_no_refusal_that_the_crm_took_in_that_hour(spread, consent):
    customer = spread.add_customer("a@example.fr")
    spread.consents.add(customer.id, NEWSLETTER, "refused", "2025-10-26 02:10:00", "manualImport")
    rows = [
        answer("accepted", "2025-10-26T02:50:00+02:00"),
        answer("accepted", "2025-10-26T03:00:00+01:00"),
    ]
    assert consent(rows) == ["skipped: a refusal that is as new or newer is in SPREAD", "created"]


@pytest.mark.parametrize("moment", ["2025-03-30 02:30:00", "2025-10-26 01:59:59", "2025-10-26 03:00:00"])
def test_other_hours_are_kept_as_they_are(spread, consent, moment):
    spread.add_customer("a@example.fr")
    consent([answer("refused", moment)])
    assert [event.created_at for event in spread.consents.events] == [moment]


def test_another_consents_refusal_does_not_count(crm_sandbox, spread, consent):
    customer = spread.add_customer("a@example.fr")
    spread.consents.add(customer.id, SMS, "refused", "2024-01-01 00:00:00", "manualImport")
    spread.consents.add(customer.id, SMS, "accepted", "2025-01-01 00:00:00", "manualImport")
    assert consent([answer("accepted", "2023-01-01 00:00:00")]) == ["created"]


def test_a_filter_that_is_overlooked_misleads_nobody(crm_sandbox, spread, consent, monkeypatch):
    customer = spread.add_customer("a@example.fr")
    spread.consents.add(customer.id, SMS, "refused", "2024-01-01 00:00:00", "manualImport")
    history = SpreadHook.iter_customer_consents
    monkeypatch.setattr(SpreadHook, "iter_customer_consents", lambda self, number, **_: history(self, number))
    assert consent([answer("accepted", "2023-01-01 00:00:00")]) == ["created"]
    row = answer("accepted", "2023-01-01 00:00:00", consent_id=None, consent_tech_name="NewsEmail")
    assert consent([row]) == ["unchanged"]


def test_every_row_is_an_entry_when_changes_are_not_asked_for(crm_sandbox, spread, consent):
    spread.add_customer("a@example.fr")
    rows = [answer("accepted", "2024-01-01 00:00:00"), answer("accepted", "2025-01-01 00:00:00")]
    assert consent(rows, only_changes=False) == ["created", "created"]
    assert crm_sandbox.calls.count(method="GET", route="/customers-consents/{id}") == 0
    assert consent(rows, only_changes=False) == ["created", "created"]
    assert len(spread.consents.events) == 4


@pytest.mark.sampled
@pytest.mark.parametrize("only_changes", [True, False])
@pytest.mark.parametrize("kind", ["latency", "drop_after", "drop_before"])
def test_each_channel_has_an_answer_of_its_own(crm_sandbox, spread, consent, only_changes, kind):
    customer = spread.add_customer("a@example.fr")
    spread.consents.add(customer.id, NEWSLETTER, "accepted", "2023-01-01 00:00:00", "manualImport")
    crm_sandbox.fault(kind, method="POST", after=1, times=1)
    rows = [answer("accepted", "2024-01-01 00:00:00", channel_id=channel) for channel in (7, 8, 8, 9)]
    assert consent(rows, only_changes=only_changes) == [
        "created",
        "skipped: row 3 is about the same person",
        "created",
        "created",
    ]
    assert [event.channel_id for event in spread.consents.events] == [None, "7", "8", "9"]
    old = [answer("refused", "2025-01-01", channel_id=7), answer("accepted", "2024-06-01", channel_id=7)]
    assert consent(old) == ["created", "skipped: a refusal that is as new or newer is in SPREAD"]


@pytest.mark.sampled
@pytest.mark.parametrize("only_changes", [True, False])
@pytest.mark.parametrize(("kind", "calls"), [("drop_after", 1), ("drop_before", 2), ("html_after", 1)])
def test_an_unanswered_call_makes_one_entry(crm_sandbox, spread, consent, only_changes, kind, calls):
    customer = spread.add_customer("a@example.fr")
    spread.consents.add(customer.id, NEWSLETTER, "accepted", "2020-01-01 00:00:00", "manualImport")
    spread.consents.add(customer.id, NEWSLETTER, "refused", "2021-01-01 00:00:00", "manualImport")
    crm_sandbox.fault(kind, method="POST", times=1)
    rows = [answer("accepted", "2024-01-01 00:00:00")]
    assert consent(rows, only_changes=only_changes) == ["created"]
    assert len(writes(crm_sandbox)) == calls
    assert events(spread)[2:] == [("9876", "accepted", "2024-01-01 00:00:00")]


def test_columns_are_renamed_and_a_customer_may_be_an_id(crm_sandbox, spread, consent):
    customer = spread.add_customer("a@example.fr")
    rows = [
        {
            "kunde": customer.id,
            "was": PHONE.consent_tech_name,
            "wie": "accepted",
            "wann": "2024-01-01",
            "ort": "::1",
        },
        {"kunde": 4711, "was": "NewsEmail", "wie": "accepted", "wann": "2024-01-01", "ort": None},
        {"kunde": customer.id, "was": "Nonsense", "wie": "accepted", "wann": "2024-01-01", "ort": None},
    ]
    names = {
        "kunde": "customer_id",
        "was": "consent_tech_name",
        "wie": "status",
        "wann": "created_at",
        "ort": "ip",
    }
    assert consent(rows, field_map=names) == [
        "created",
        "rejected: Customer not found",
        "rejected: Consent not found",
    ]
    assert spread.consents.events[0].ip == "::1"
    assert crm_sandbox.calls.count(route="/consents") == 2  # read once, in two pages, for all rows
    assert crm_sandbox.calls.count(route="/customers") == 1  # nobody had to be found


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (answer("yes", "2024-01-01"), "status: allowed are accepted, refused, unknown"),
        (answer(None, "2024-01-01"), "status is empty"),
        (answer("accepted", None), "created_at is empty"),
        (answer("accepted", "2O24-01-01"), "created_at: required is a moment such as 2018-06-30 09:10:34"),
        (answer("accepted", "2024-01-01", email=""), "customer_id and email are both empty"),
        (answer("accepted", "2024-01-01", email="x"), "email: this is not an e-mail address"),
        (
            answer("accepted", "2024-01-01", consent_id=None),
            "consent_id and consent_tech_name are both empty",
        ),
        (
            answer("accepted", "2024-01-01", consent_id="News"),
            "consent_id: an id of SPREAD is a number such as 123456",
        ),
        (answer("accepted", "2024-01-01", email="b@example.fr"), "no customer has this e-mail"),
    ],
)
def test_an_answer_that_cannot_be_recorded(crm_sandbox, spread, consent, row, reason):
    spread.add_customer("a@example.fr")
    assert consent([{"customer_id": None, "consent_tech_name": None, **row}]) == [f"rejected: {reason}"]
    assert writes(crm_sandbox) == []


@pytest.mark.parametrize("who", ["email", "customer_id"])
def test_a_404_in_place_of_a_history_without_answers(crm_sandbox, spread, consent, who):
    customer = spread.add_customer("a@example.fr")
    crm_sandbox.fault(
        "answer_before", method="GET", path="/customers-consents", status=404, body='{"error": "None"}'
    )
    row = answer("accepted", "2024-01-01 00:00:00")
    if who == "customer_id":
        row = {**row, "email": None, "customer_id": customer.id}
    assert consent([row]) == ["created"]
    unknown = {**row, "email": None, "customer_id": "999999"}
    assert consent([unknown]) == ["rejected: None"]
    assert len(events(spread)) == 1


@pytest.mark.parametrize("missing", ["email", "consent_id", "status", "created_at"])
def test_a_missing_column_of_a_consent_is_told_before_any_call(crm_sandbox, missing):
    row = answer("accepted", "2024-01-01")
    del row[missing]
    with pytest.raises(CrmInputError, match=missing):
        SpreadCreateConsentsOperator(task_id="t", source=[row]).execute({})
    with pytest.raises(CrmInputError, match=missing):
        SpreadCreateConsentsOperator(
            task_id="t", source=[answer("accepted", "2024-01-01")], field_map={name: name for name in row}
        ).execute({})
    assert len(crm_sandbox.calls) == 0


def test_an_unknown_column_of_a_consent_is_told_before_any_call(crm_sandbox):
    source = [answer("accepted", "2024-01-01", chanel_id=1)]
    with pytest.raises(CrmInputError, match="chanel_id"):
        SpreadCreateConsentsOperator(task_id="t", source=source).execute({})
    assert len(crm_sandbox.calls) == 0
