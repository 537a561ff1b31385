"""Keys, days and opt-outs as sources really write them, through the operators."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.operators.expertsender import (
    ExpertSenderDeleteCustomersOperator,
    ExpertSenderUpsertCustomersOperator,
)
from airflow_provider_crm.operators.mindbaz import (
    MindbazExportSubscribersOperator,
    MindbazUnsubscribeOperator,
    MindbazUpsertSubscribersOperator,
)
from airflow_provider_crm.operators.spread import (
    SpreadCreateConsentsOperator,
    SpreadDeleteCustomersOperator,
    SpreadUpdateEmailsOperator,
    SpreadUpsertCustomersOperator,
)
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.tasks import TaskRunner

CLIENT_IDS = [Decimal("123.000000000"), "123.0", "123,0", 123.0, "\u200b123", b"123", memoryview(b"123\0\0")]
ADDRESSES = [
    "\u200ba@x.fr",
    "a@x.fr\ufeff",
    "a\u202c@x.fr",
    "a\u00ad@x.fr",
    "a@x.fr\0",
    b"a@x.fr\0",
    "mailto:A@x.fr",
    "<a@x.fr>",
    "“a@x.fr”",
    "mailto:a@x.fr?subject=Stop",
    "a@x.fr\ufe0f",
]
CONSENT = {"consent_id": 1, "status": "refused", "created_at": "2026-03-01 09:00:00"}
TOKYO = dt.timezone(dt.timedelta(hours=9))


@pytest.fixture
def run(tmp_path: Path) -> TaskRunner:
    return TaskRunner(tmp_path)


@pytest.mark.sampled
@pytest.mark.parametrize("key", CLIENT_IDS, ids=lambda key: type(key).__name__)
def test_an_opt_out_finds_a_client_however_the_id_is_written(
    crm_sandbox: Sandbox, run: TaskRunner, key: Any
) -> None:
    crm_sandbox.mindbaz.insert({1: "a@x.fr", 7: 0, 43: "123"})
    ended = run(MindbazUnsubscribeOperator, [{"id": key}], match_by="IdClient", key_field="id")
    assert ended.said == ["updated"]
    assert crm_sandbox.mindbaz.by_email("a@x.fr")[7] == 1


@pytest.mark.slow
@pytest.mark.parametrize("address", ADDRESSES, ids=repr)
def test_an_address_with_signs_that_nobody_sees_is_the_same_person(
    crm_sandbox: Sandbox, run: TaskRunner, address: Any
) -> None:
    crm_sandbox.mindbaz.insert({1: "a@x.fr", 7: 0})
    crm_sandbox.spread.add_customer("a@x.fr")
    crm_sandbox.expertsender.add_customer("a@x.fr")
    for operator, column in (
        (MindbazUpsertSubscribersOperator, "nom"),
        (SpreadUpsertCustomersOperator, "lastName"),
        (ExpertSenderUpsertCustomersOperator, "lastName"),
    ):
        assert run(operator, [{"email": address, column: "Noël"}]).ends == ["updated"]
    assert run(MindbazUnsubscribeOperator, [{"email": address}]).ends == ["updated"]
    for operator in (SpreadDeleteCustomersOperator, ExpertSenderDeleteCustomersOperator):
        assert run(operator, [{"email": address}]).ends == ["deleted"]
    assert crm_sandbox.mindbaz.by_email("a@x.fr")[7] == 1
    assert crm_sandbox.spread.by_email("a@x.fr") is None
    assert crm_sandbox.expertsender.by_email("a@x.fr") is None


NOBODY = ["\x1b", "\0", "\u200b", " \u00ad\ufeff ", b"\xe2\x80\x8b", b"\0\0", float("nan"), None]
PLACED: list[tuple[type[Any], str, dict[str, Any], dict[str, Any]]] = [
    (MindbazUpsertSubscribersOperator, "email", {}, {}),
    (MindbazUpsertSubscribersOperator, "id_client", {"email": "b@x.fr"}, {"match_by": "IdClient"}),
    (MindbazUnsubscribeOperator, "email", {}, {}),
    (MindbazUnsubscribeOperator, "id", {}, {"match_by": "IdClient", "key_field": "id"}),
    (SpreadUpsertCustomersOperator, "email", {}, {}),
    (SpreadUpsertCustomersOperator, "externalId", {"email": "b@x.fr"}, {"match_by": "externalId"}),
    (SpreadDeleteCustomersOperator, "id", {}, {}),
    (SpreadDeleteCustomersOperator, "email", {}, {}),
    (SpreadUpdateEmailsOperator, "old_email", {"new_email": "b@x.fr"}, {}),
    (SpreadUpdateEmailsOperator, "new_email", {"old_email": "a@x.fr"}, {}),
    (SpreadCreateConsentsOperator, "customer_id", CONSENT, {}),
    (SpreadCreateConsentsOperator, "email", CONSENT, {}),
    (ExpertSenderUpsertCustomersOperator, "email", {}, {}),
    (ExpertSenderUpsertCustomersOperator, "phone", {}, {"match_by": "PhoneNumber"}),
    (ExpertSenderUpsertCustomersOperator, "crmId", {}, {"match_by": "CrmId"}),
    (ExpertSenderDeleteCustomersOperator, "id", {}, {"by": "id"}),
    (ExpertSenderDeleteCustomersOperator, "email", {}, {}),
    (ExpertSenderDeleteCustomersOperator, "phone", {}, {"by": "phone"}),
    (ExpertSenderDeleteCustomersOperator, "crmId", {}, {"by": "crmId"}),
]


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("operator", "column", "row", "more"), PLACED, ids=[f"{one[0].__name__} {one[1]}" for one in PLACED]
)
def test_a_key_of_signs_that_nobody_sees_is_nobodys(
    crm_sandbox: Sandbox,
    run: TaskRunner,
    operator: type[Any],
    column: str,
    row: dict[str, Any],
    more: dict[str, Any],
) -> None:
    crm_sandbox.mindbaz.insert({1: "a@x.fr", 7: 0})
    crm_sandbox.spread.add_customer("a@x.fr")
    crm_sandbox.expertsender.add_customer("a@x.fr")
    ended = run(operator, [{column: key, **row} for key in NOBODY], **more)
    assert ended.ends == ["rejected"] * len(NOBODY)
    assert {line["stage"] for line in ended.rejects} == {"validate"}


@pytest.mark.parametrize("number", [float("nan"), None, "", Decimal("NaN")], ids=repr)
def test_a_missing_id_beside_an_address_is_none(crm_sandbox: Sandbox, run: TaskRunner, number: Any) -> None:
    crm_sandbox.spread.add_customer("a@x.fr")
    assert run(SpreadDeleteCustomersOperator, [{"id": number, "email": "a@x.fr"}]).said == ["deleted"]


@pytest.mark.parametrize("number", [float("nan"), True, "."])
def test_what_is_no_id_becomes_no_part_of_a_url(crm_sandbox: Sandbox, number: Any) -> None:
    with pytest.raises(CrmInputError, match=r"^id"):
        SpreadHook().get_customer(number)
    assert not crm_sandbox.calls


@pytest.mark.parametrize("date", ["2O26-06-30 09:10:34", "30/06/2026", 1710121501000, "1710121501000", True])
def test_a_consent_is_evidence_and_needs_its_date(crm_sandbox: Sandbox, date: Any) -> None:
    with pytest.raises(CrmInputError, match="created_at"):
        SpreadHook().create_consent("1", status="accepted", created_at=date, consent_id=1)
    assert not crm_sandbox.calls


@pytest.mark.sampled
@pytest.mark.parametrize(
    "birth", [dt.datetime(1990, 5, 17, tzinfo=TOKYO), "1990-05-17T00:00:00+09:00", dt.date(1990, 5, 17)]
)
def test_a_birthday_is_the_day_that_it_is_where_it_was_written(
    crm_sandbox: Sandbox, run: TaskRunner, tmp_path: Path, birth: Any
) -> None:
    run(MindbazUpsertSubscribersOperator, [{"email": "a@x.fr", "date_naissance": birth}])
    run(SpreadUpsertCustomersOperator, [{"email": "a@x.fr", "birthday": birth}])
    run(ExpertSenderUpsertCustomersOperator, [{"email": "a@x.fr", "dateOfBirth": birth}])
    assert crm_sandbox.mindbaz.by_email("a@x.fr")[20].startswith("1990-05-17T00:00")
    assert crm_sandbox.spread.by_email("a@x.fr").birthday == "1990-05-17"
    assert crm_sandbox.expertsender.by_email("a@x.fr").date_of_birth.startswith("1990-05-17T00:00")
    path = tmp_path / "x.jsonl"
    MindbazExportSubscribersOperator(
        task_id="x", source=[{"email": "a@x.fr"}], path=str(path), fields=["date_naissance"]
    ).execute({})
    assert json.loads(path.read_text())["date_naissance"] == "1990-05-17"


def test_an_unsubscription_by_an_upsert_has_its_date(crm_sandbox: Sandbox, run: TaskRunner) -> None:
    crm_sandbox.mindbaz.insert({1: "a@x.fr", 7: 0})
    row = {"email": "a@x.fr", "statut": 1, "desabonnement": None}
    rows = [
        row,
        {**row, "email": "new@x.fr"},
        {**row, "email": "dated@x.fr", "desabonnement": "2023-01-04 17:39"},
    ]
    assert run(MindbazUpsertSubscribersOperator, rows).ends == ["updated", "created", "created"]
    today = dt.datetime.now(dt.UTC).date()
    for email in ("a@x.fr", "new@x.fr"):
        date = dt.datetime.fromisoformat(crm_sandbox.mindbaz.by_email(email)[4]).date()
        assert abs(date - today) <= dt.timedelta(days=1)
    assert crm_sandbox.mindbaz.by_email("dated@x.fr")[4] == "2023-01-04T17:39:00+01:00"
    assert run(MindbazUpsertSubscribersOperator, rows).ends == ["unchanged"] * 3


def test_blanks_and_the_encoding_of_accents_are_no_change(crm_sandbox: Sandbox, run: TaskRunner) -> None:
    crm_sandbox.mindbaz.insert({1: "a@x.fr", 14: "No\u00ebl"})
    crm_sandbox.spread.add_customer("a@x.fr", last_name="No\u00ebl")
    assert run(MindbazUpsertSubscribersOperator, [{"email": "a@x.fr", "nom": "Noe\u0308l    "}]).ends == [
        "unchanged"
    ]
    assert run(SpreadUpsertCustomersOperator, [{"email": "a@x.fr", "lastName": "Noe\u0308l   "}]).ends == [
        "unchanged"
    ]
