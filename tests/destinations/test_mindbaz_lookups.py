"""Look-ups that a server answers only in part: nobody is taken for unknown because of it."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.operators.mindbaz import (
    MindbazUnsubscribeOperator,
    MindbazUpsertSubscribersOperator,
)

PEOPLE = [f"person{number}@example.fr" for number in range(40)]


@pytest.fixture
def crm(crm_sandbox: Any) -> Any:
    for email in PEOPLE:
        crm_sandbox.mindbaz.insert({1: email, 7: 0})
    crm_sandbox.switch("mindbaz", lookup_limit=7, lookup_over_limit="truncate")
    return crm_sandbox


def test_every_opt_out_reaches_the_crm(crm: Any) -> None:
    source = [{"email": email} for email in [*PEOPLE, "nobody@example.fr"]]
    summary = MindbazUnsubscribeOperator(task_id="unsubscribe", source=source).execute({})
    assert (summary["updated"], summary["skipped"]) == (40, 1)
    assert {crm.mindbaz.by_email(email)[7] for email in PEOPLE} == {1}


def test_an_update_leaves_nobody_out(crm: Any) -> None:
    source = [{"email": email, "name": "Martin"} for email in [*PEOPLE, "nobody@example.fr"]]
    summary = MindbazUpsertSubscribersOperator(
        task_id="update", source=source, field_map={"email": 1, "name": 14}, mode="update"
    ).execute({})
    assert (summary["updated"], summary["skipped"]) == (40, 1)


@pytest.mark.sampled
@pytest.mark.parametrize("existing_email", ["abort", "minus_one", "update"])
def test_an_upsert_creates_nobody_who_exists(crm: Any, existing_email: str) -> None:
    crm.switch("mindbaz", existing_email=existing_email)
    source = [{"email": email, "name": "Martin"} for email in [*PEOPLE, "nobody@example.fr"]]
    field_map = {"email": 1, "name": 14}
    for ending in ("updated", "unchanged"):
        summary = MindbazUpsertSubscribersOperator(
            task_id="upsert", source=source, field_map=field_map
        ).execute({})
        assert summary[ending] >= 40
    posted = [call for call in crm.calls if call.method == "POST"]
    assert len(posted) == 1


def test_a_creation_leaves_everybody_who_exists_alone(crm: Any) -> None:
    crm.switch("mindbaz", existing_email="update")
    source = [{"email": email, "name": "Martin"} for email in [*PEOPLE, "nobody@example.fr"]]
    summary = MindbazUpsertSubscribersOperator(
        task_id="create", source=source, field_map={"email": 1, "name": 14}, mode="create"
    ).execute({})
    assert (summary["created"], summary["skipped"]) == (1, 40)
    assert {crm.mindbaz.by_email(email).get(14) for email in PEOPLE} == {None}


def test_an_upsert_asks_once_for_the_absent_when_the_server_answers_for_all(crm_sandbox: Any) -> None:
    source = [{"email": email} for email in PEOPLE]
    MindbazUpsertSubscribersOperator(
        task_id="upsert", source=source, field_map={"email": 1}, batch_size=10, concurrency=1
    ).execute({})
    look_ups = [call for call in crm_sandbox.calls if call.method == "GET" and call.route == "/Subscribers"]
    assert len(look_ups) == 5


@pytest.mark.parametrize(
    "wrong", [{"reject_data": "no"}, {"dry_run": "no"}, {"concurrency": 0}, {"concurrency": "8.5"}]
)
def test_what_is_no_yes_or_no_and_no_number_is_refused(crm: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(CrmInputError, match=next(iter(wrong))):
        MindbazUnsubscribeOperator(task_id="unsubscribe", source=[{"email": PEOPLE[0]}], **wrong).execute({})
    assert len(crm.calls) == 0
