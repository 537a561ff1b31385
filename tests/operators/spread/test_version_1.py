"""Upserts that write with version 1 of the API, and learn from version 2 what became of it."""

from __future__ import annotations

import json

import pytest

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.operators.spread import SpreadUpsertCustomersOperator
from tests.helpers.waits import one_time

from .calls import writes


def use_v1(crm_sandbox, monkeypatch):
    connection = {**json.loads(crm_sandbox.connections()["spread_default"]), "extra": {"write_api": "v1"}}
    monkeypatch.setenv("AIRFLOW_CONN_SPREAD_DEFAULT", json.dumps(connection))


V1_SWITCHES = [
    {},
    *({"v1_answer": value} for value in ("text", "empty")),
    {"v1_create_existing": "error"},
    {"v1_update_missing": "create"},
    {"v1_error_status": 400},
    {"email_case": "lower"},
]


@pytest.mark.sampled
@pytest.mark.parametrize("switches", V1_SWITCHES, ids=str)
def test_version_1_writes_and_version_2_tells_what_became_of_it(
    crm_sandbox, spread, upsert, monkeypatch, switches
):
    use_v1(crm_sandbox, monkeypatch)
    crm_sandbox.switch("spread", **switches)
    held = spread.add_customer("A@example.fr", last_name="Old", city="Nîmes")
    held.tags = ["one"]
    rows = [
        {
            "email": "a@example.fr",
            "lastName": "Noël & fils",
            "tags": ["two", "three"],
            "custom_fields": {"1239": ["x", "y"]},
            "lang": "fr_FR",
        },
        {"email": "b@example.fr", "firstName": "Zoé", "birthday": "1970-12-31", "zip": "01000"},
        {"email": "nobody"},
    ]
    assert upsert(rows)[:2] == ["updated", "created"]
    assert set(writes(crm_sandbox)) == {"POST /CreateAccount", "POST /UpdateAccount"}
    assert (held.last_name, held.city, held.tags) == ("Noël & fils", "Nîmes", ["one", "two", "three"])
    assert spread.customers.custom_fields[held.id] == {"1239": "x|y"}
    new = spread.by_email("b@example.fr")
    assert (new.first_name, new.birthday, new.zip) == ("Zoé", "1970-12-31", "01000")
    assert upsert(rows)[:2] == ["unchanged", "unchanged"]


@pytest.mark.sampled
@pytest.mark.parametrize(
    "kind",
    ["drop_after", "drop_before", "error_after", "truncate", "html_after", "html_before", "redirect_after"],
)
def test_version_1_is_not_called_twice_blindly(crm_sandbox, spread, upsert, monkeypatch, kind):
    use_v1(crm_sandbox, monkeypatch)
    crm_sandbox.switch("spread", v1_create_existing="error")
    spread.add_customer("a@example.fr", last_name="Old")
    crm_sandbox.fault(kind, path="/CreateAccount", times=1)
    crm_sandbox.fault(kind, path="/UpdateAccount", times=1)
    rows = [{"email": "a@example.fr", "lastName": "Noël"}, {"email": "b@example.fr", "lastName": "Noël"}]
    assert upsert(rows) == ["updated", "created"]
    assert len(writes(crm_sandbox)) == (2 if kind.endswith("after") or kind == "truncate" else 4)


def test_a_customer_whom_version_2_shows_later_is_not_rejected(crm_sandbox, spread, upsert, monkeypatch):
    use_v1(crm_sandbox, monkeypatch)
    one_time(monkeypatch, crm_sandbox)
    crm_sandbox.fault("late_reads", ms=1500)
    assert upsert([{"email": "a@example.fr", "lastName": "Noël"}]) == ["created"]
    assert len(writes(crm_sandbox)) == 1


@pytest.mark.parametrize("switches", [{}, {"v1_error_status": 400}])
def test_what_version_1_refuses_is_rejected(crm_sandbox, spread, upsert, monkeypatch, switches):
    use_v1(crm_sandbox, monkeypatch)
    crm_sandbox.switch("spread", unknown_custom_field="400", **switches)
    spread.add_customer("a@example.fr", last_name="Old")
    rows = [{"email": email, "custom_fields": {"99": "x"}} for email in ("a@example.fr", "b@example.fr")]
    assert upsert(rows) == ["rejected: ERR-INVALID"] * 2


def test_an_answer_of_version_1_that_says_nothing_is_held_against_the_crm(
    crm_sandbox, spread, upsert, monkeypatch
):
    use_v1(crm_sandbox, monkeypatch)
    spread.add_customer("a@example.fr", last_name="Old")
    crm_sandbox.fault("answer_before", path="/UpdateAccount", body="Erreur")
    crm_sandbox.fault("answer_before", path="/CreateAccount", body="Erreur")
    rows = [{"email": "a@example.fr", "lastName": "Noël"}, {"email": "b@example.fr", "lastName": "Noël"}]
    assert upsert(rows) == [
        "rejected: Erreur, and did not set lastName",
        "rejected: Erreur, and there is no such customer",
    ]


def test_version_1_has_no_flags(crm_sandbox, monkeypatch):
    use_v1(crm_sandbox, monkeypatch)
    operator = SpreadUpsertCustomersOperator(task_id="t", source=[{"email": "a@example.fr", "isBuyer": 1}])
    with pytest.raises(CrmInputError, match="isBuyer"):
        operator.execute({})
    assert len(crm_sandbox.calls) == 0
