"""Exports of known people against the sandbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmInputError, CrmRejectsError
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.operators.expertsender.exports import ExpertSenderExportCustomersOperator
from airflow_provider_crm.operators.mindbaz.exports import MindbazExportSubscribersOperator
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.exports import export, lines

BOTH = pytest.mark.parametrize(
    "operator",
    [MindbazExportSubscribersOperator, ExpertSenderExportCustomersOperator],
    ids=["mindbaz", "ecdp"],
)


@pytest.fixture
def people(crm_sandbox: Sandbox) -> list[str]:
    """The e-mails of a hundred people whom all CRMs know."""
    crm_sandbox.seed(100)
    return [customer.email for customer in crm_sandbox.spread.customers.values()]


def rows_of(emails: list[str]) -> list[dict[str, str]]:
    return [{"email": email} for email in emails]


@BOTH
def test_people_come_in_the_order_of_the_source_each_once(
    people: list[str], tmp_path: Path, operator: Any
) -> None:
    asked = [people[5], people[3].upper(), "nobody@example.fr", people[5].title(), people[0]]
    path, absent = tmp_path / "x.jsonl", tmp_path / "absent.jsonl"
    summary = export(operator, path, source=rows_of(asked), absent_path=str(absent))
    assert [row["email"] for row in lines(path)] == [people[5], people[3], people[0]]
    assert lines(absent) == [{"email": "nobody@example.fr"}]
    assert (summary["rows"], summary["absent"]) == (3, 1)


@BOTH
def test_a_row_without_a_key_is_rejected(people: list[str], tmp_path: Path, operator: Any) -> None:
    path, rejects = tmp_path / "x.jsonl", tmp_path / "rejects.jsonl"
    source = [{"email": people[0]}, {"email": " "}, {"email": people[1]}]
    with pytest.raises(CrmRejectsError, match="1 of 3"):
        export(operator, path, source=source, rejects_path=str(rejects))
    assert not path.exists()
    assert [line["row"] for line in lines(rejects)] == [2]
    assert export(operator, path, source=source, max_rejects=1)["rows"] == 2


@BOTH
def test_an_empty_source_gives_an_empty_file(people: list[str], tmp_path: Path, operator: Any) -> None:
    path = tmp_path / "x.csv"
    assert export(operator, path, source=[])["rows"] == 0
    assert path.read_text().startswith(("id,", "email,"))


@BOTH
def test_a_source_without_the_column_is_refused(crm_sandbox: Sandbox, tmp_path: Path, operator: Any) -> None:
    with pytest.raises(CrmInputError, match="mail"):
        export(operator, tmp_path / "x.csv", source=[{"mail": "a@example.fr"}])
    with pytest.raises(CrmInputError, match="`by` is one of"):
        export(operator, tmp_path / "x.csv", source=[{"name": "Zoé"}], by="name")
    assert len(crm_sandbox.calls) == 0


def test_keys_that_cannot_be_asked_for_are_rejected_alone(people: list[str], tmp_path: Path) -> None:
    keys = ["..", "\ud800", "c" * 200, None, float("nan"), "  "]
    source = [*({"crmId": key} for key in keys), {"crmId": "C0000003"}, {"crmId": "a,b"}]
    rejects = tmp_path / "rejects.jsonl"
    parameters = {"source": source, "by": "crmId", "rejects_path": str(rejects), "max_rejects": 6}
    summary = export(ExpertSenderExportCustomersOperator, tmp_path / "x.jsonl", **parameters)
    assert (summary["rows"], summary["absent"] + len(lines(rejects))) == (1, 7)
    assert {1, 2, 4, 5, 6} <= {line["row"] for line in lines(rejects)}

    source = [{"client_id": key} for key in ["\ud800", "a,b", float("nan"), "C0000003"]]
    parameters |= {"source": source, "by": "client_id"}
    summary = export(MindbazExportSubscribersOperator, tmp_path / "x.jsonl", **parameters)
    assert (summary["rows"], [line["row"] for line in lines(rejects)]) == (1, [1, 2, 3])


def test_a_key_that_the_crm_refuses_is_rejected_alone(
    people: list[str], crm_sandbox: Sandbox, tmp_path: Path
) -> None:
    crm_sandbox.fault(
        "answer_before", system="expertsender", path="/customers/email/odd", status=400, times=None
    )
    rejects = tmp_path / "rejects.jsonl"
    source = rows_of([people[0], "odd@@x", people[1]])
    summary = export(
        ExpertSenderExportCustomersOperator,
        tmp_path / "x.jsonl",
        source=source,
        rejects_path=str(rejects),
        max_rejects=1,
    )
    assert summary["rows"] == 2
    assert [(line["row"], line["key"]) for line in lines(rejects)] == [(2, "odd@@x")]


def test_whole_numbers_of_a_data_frame_are_keys(crm_sandbox: Sandbox, tmp_path: Path) -> None:
    """A column of numbers with an empty cell comes as floats."""
    crm_sandbox.mindbaz.insert({1: "a@example.fr", 43: "7"})
    crm_sandbox.expertsender.add_customer("a@example.fr", crm_id="7")
    for operator, by in (
        (MindbazExportSubscribersOperator, "client_id"),
        (ExpertSenderExportCustomersOperator, "crmId"),
    ):
        summary = export(operator, tmp_path / "x.jsonl", source=[{by: 7.0}], by=by)
        assert (summary["rows"], summary["absent"]) == (1, 0)


def test_a_phone_written_in_groups_is_found_once(crm_sandbox: Sandbox, tmp_path: Path) -> None:
    crm_sandbox.expertsender.add_customer("a@example.fr", phone="+48123456789")
    source = [{"phone": "+48 123 456 789"}, {"phone": "+48123456789"}]
    summary = export(ExpertSenderExportCustomersOperator, tmp_path / "x.jsonl", source=source, by="phone")
    assert (summary["rows"], summary["absent"]) == (1, 0)


@pytest.mark.slow
def test_mindbaz_may_answer_a_look_up_in_part(
    people: list[str], crm_sandbox: Sandbox, tmp_path: Path
) -> None:
    crm_sandbox.switch("mindbaz", lookup_limit=7, lookup_over_limit="truncate")
    path = tmp_path / "x.jsonl"
    summary = export(MindbazExportSubscribersOperator, path, source=rows_of([*people, "nobody@example.fr"]))
    assert [row["email"] for row in lines(path)] == people
    assert (summary["rows"], summary["absent"]) == (100, 1)


def test_a_subscriber_who_is_answered_twice_is_in_the_file_once(
    people: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = MindbazHook.get_subscribers
    monkeypatch.setattr(MindbazHook, "get_subscribers", lambda *args, **options: 2 * once(*args, **options))
    assert export(MindbazExportSubscribersOperator, tmp_path / "x.csv", source=rows_of(people))["rows"] == 100


def test_mindbaz_by_client_id_with_chosen_fields(
    people: list[str], crm_sandbox: Sandbox, tmp_path: Path
) -> None:
    path = tmp_path / "x.jsonl"
    source = [{"client_id": "C0000003"}, {"client_id": "C0000001"}]
    export(MindbazExportSubscribersOperator, path, source=source, by="client_id", fields=["7", "email"])
    rows = lines(path)
    assert [row["email"] for row in rows] == [people[3], people[1]]
    assert [set(row) for row in rows] == [{"id", "id_client", "statut", "email"}] * 2
    assert all(isinstance(row["id"], str) and isinstance(row["statut"], int) for row in rows)


def test_mindbaz_refuses_a_field_that_is_not_there(people: list[str], tmp_path: Path) -> None:
    with pytest.raises(CrmInputError, match="no field"):
        export(
            MindbazExportSubscribersOperator, tmp_path / "x.csv", source=rows_of(people), fields=["nothing"]
        )


@pytest.mark.slow
def test_consents_of_expertsender_as_a_map_or_as_columns(people: list[str], tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    export(ExpertSenderExportCustomersOperator, path, source=rows_of(people))
    maps = [row["consentsData"] for row in lines(path)]
    export(ExpertSenderExportCustomersOperator, path, source=rows_of(people), flatten_consents=True)
    for given, row in zip(maps, lines(path), strict=True):
        assert "consentsData" not in row
        flat = {name.removeprefix("consent_"): row[name] for name in row if name.startswith("consent_")}
        assert {name: value for name, value in flat.items() if value is not None} == given


def test_an_address_that_is_not_expertsender_is_told(
    crm_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an address where everything is 404, everybody would be absent and the file empty."""
    connection = {"conn_type": "expertsender_cdp", "host": f"{crm_sandbox.url}/elsewhere", "password": "key"}
    monkeypatch.setenv("AIRFLOW_CONN_EXPERTSENDER_CDP_DEFAULT", json.dumps(connection))
    crm_sandbox.fault("answer_before", path="/elsewhere", status=404, times=None)
    with pytest.raises(CrmInputError, match="check the base URL"):
        export(ExpertSenderExportCustomersOperator, tmp_path / "x.csv", source=rows_of(["a@example.fr"]))
    assert not (tmp_path / "x.csv").exists()


def test_a_text_is_no_yes_or_no(people: list[str], tmp_path: Path) -> None:
    with pytest.raises(CrmInputError, match="flatten_consents"):
        export(
            ExpertSenderExportCustomersOperator,
            tmp_path / "x.csv",
            source=rows_of(people),
            flatten_consents="No",
        )


@pytest.mark.slow
def test_expertsender_is_asked_side_by_side(people: list[str], crm_sandbox: Sandbox, tmp_path: Path) -> None:
    crm_sandbox.fault("latency", system="expertsender", ms=20)
    export(ExpertSenderExportCustomersOperator, tmp_path / "x.jsonl", source=rows_of(people))
    assert crm_sandbox.calls.max_in_flight["expertsender"] == 4
