"""People are erased everywhere, with a certificate that says what was done, through failures and retries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.exceptions import (
    CrmFailError,
    CrmInputError,
    CrmRejectsError,
    CrmTransientError,
)
from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.connections import set_connection
from tests.helpers.tasks import TaskRunner

from .erasures import SYSTEMS, Erasure, address

EVERYWHERE = {"spread": "erased", "mindbaz": "by_hand", "expertsender": "erased"}
NOWHERE = dict.fromkeys(SYSTEMS, "absent")


@pytest.fixture
def erasure(
    crm_sandbox: Sandbox,
    run_task: TaskRunner,
    tmp_path: Path,
    no_waiting: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Erasure:
    for system in SYSTEMS:
        set_connection(monkeypatch, crm_sandbox, system, max_retries=1)
    erasure = Erasure(crm_sandbox, run_task, tmp_path)
    erasure.add("anna", *SYSTEMS)
    erasure.add("bert", "mindbaz")
    erasure.add("carla", "spread", "expertsender")
    erasure.add("zoe", *SYSTEMS)  # who stays
    return erasure


def test_people_are_gone_and_the_certificate_says_so(erasure: Erasure) -> None:
    ended = erasure.run("anna", "bert", "carla", "nobody")
    assert ended.ends == ["updated", "updated", "updated", "skipped"]
    assert ended.summary["by_hand"] == 2
    assert erasure.results() == {
        "anna": EVERYWHERE,
        "bert": {**NOWHERE, "mindbaz": "by_hand"},
        "carla": {**EVERYWHERE, "mindbaz": "absent"},
        "nobody": NOWHERE,
    }
    for name in ("anna", "bert", "carla"):
        assert not any(erasure.is_in(name, system) for system in SYSTEMS), name
    assert all(erasure.is_in("zoe", system) for system in SYSTEMS)
    text = erasure.certificate_path.read_text()
    assert "@" not in text
    anna = erasure.lines()[0]
    assert (anna["dag_id"], anna["run_id"], anna["approved_by"]) == ("privacy", "run-1", None)
    assert anna["systems"]["mindbaz"]["ids"] == [erasure.sandbox.records("mindbaz", "subscribers")[0]["id"]]
    assert anna["systems"]["mindbaz"]["unsubscribed"] is True
    assert anna["systems"]["spread"]["at"].endswith("+00:00")
    assert not list(erasure.certificate_path.parent.glob("*.draft"))


def test_the_report_names_the_certificate_and_counts_what_is_left_to_somebody(erasure: Erasure) -> None:
    """Also where the task fails over it; but no certificate that is not there."""
    erasure.sandbox.fault("error_before", system="expertsender", status=503)
    with pytest.raises(CrmTransientError) as raised:
        erasure.run("anna", "bert")
    assert raised.value.report is not None
    assert raised.value.report["certificate_path"] is None
    erasure.sandbox.clear()
    with pytest.raises(CrmFailError) as left:
        erasure.run("anna", "bert", by_hand="fail")
    assert left.value.report is not None
    told = {name: left.value.report[name] for name in ("by_hand", "certificate_path")}
    assert told == {"by_hand": 2, "certificate_path": str(erasure.certificate_path)}


@pytest.mark.slow
def test_whoever_is_erased_does_not_come_back(erasure: Erasure, run_task: TaskRunner) -> None:
    erasure.run("anna", "nobody")
    erasure.run("anna", "carla", run_id="run-2", certificate_path=str(erasure.certificate_path) + "2")
    assert erasure.suppressed() == ["anna", "nobody", "carla"]
    rows = [{"email": address(name), "statut": 0} for name in ("anna", "nobody", "dora")]
    ended = run_task(MindbazUpsertSubscribersOperator, rows, suppression_source=str(erasure.suppression_path))
    assert ended.said == ["skipped: suppressed", "skipped: suppressed", "created"]


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_system_that_is_down_does_not_keep_the_others_from_being_done(
    erasure: Erasure, system: str
) -> None:
    erasure.sandbox.fault("error_before", system=system, status=503)
    with pytest.raises(CrmTransientError, match=f"not erased|{system}") as raised:
        erasure.run("anna", "carla")
    assert "@" not in str(raised.value)
    assert not erasure.certificate_path.exists()
    for other in set(SYSTEMS) - {system}:
        assert not erasure.is_in("anna", other)
    assert erasure.is_in("anna", system)
    erasure.sandbox.clear()
    erasure.run("anna", "carla")
    assert erasure.results() == {"anna": EVERYWHERE, "carla": {**EVERYWHERE, "mindbaz": "absent"}}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["DELETE", "GET", "PUT"])
@pytest.mark.parametrize("kind", ["error_after", "truncate", "error_before"])
def test_a_retry_knows_what_the_try_before_has_erased(erasure: Erasure, kind: str, method: str) -> None:
    """Each call in turn goes wrong once, with all after it: afterwards nobody could see who was there."""
    for after in range(0, 9, 2):
        erasure.sandbox.reset()
        erasure.add("anna", *SYSTEMS)
        erasure.add("bert", "mindbaz")
        erasure.certificate_path.unlink(missing_ok=True)
        settings: dict[str, Any] = {"status": 500} if kind.startswith("error") else {}
        erasure.sandbox.fault(kind, method=method, after=after, **settings)
        try:
            erasure.run("anna", "bert", concurrency=1)
        except CrmTransientError:
            erasure.sandbox.clear()
            erasure.run("anna", "bert", concurrency=1)
        expected = {"anna": EVERYWHERE, "bert": {**NOWHERE, "mindbaz": "by_hand"}}
        assert erasure.results() == expected, after
        assert not any(erasure.is_in("anna", system) for system in SYSTEMS)


def test_a_run_that_is_cleared_keeps_what_it_has_proved(erasure: Erasure) -> None:
    erasure.run("anna", "carla")
    before = erasure.lines()
    erasure.run("anna", "carla")
    assert erasure.lines() == before


def test_another_runs_certificate_is_not_written_over(erasure: Erasure) -> None:
    erasure.run("anna")
    before = erasure.certificate_path.read_bytes()
    with pytest.raises(CrmInputError, match="certificate of another run"):
        erasure.run("carla", run_id="run-2")
    assert erasure.certificate_path.read_bytes() == before
    assert erasure.is_in("carla", "spread")


def test_whom_a_system_still_shows_is_not_said_to_be_gone(erasure: Erasure) -> None:
    erasure.sandbox.fault(
        "answer_before", system="spread", method="DELETE", status=200, body='{"success": true}'
    )
    with pytest.raises(CrmRejectsError):
        erasure.run("anna", "bert", max_rejects=0)
    assert erasure.results()["anna"] == {**EVERYWHERE, "spread": "still_there"}
    assert erasure.is_in("anna", "spread")
    erasure.sandbox.clear()
    assert erasure.run("anna", "bert").ends == ["updated", "updated"]
    assert erasure.results()["anna"] == EVERYWHERE


def test_keys_of_two_people_erase_nobody(erasure: Erasure) -> None:
    anna, carla, _ = (one["id"] for one in erasure.sandbox.records("spread", "customers"))
    erasure.sandbox.expertsender.add_customer(address("dora"), crm_id="d-1")
    rows = [{"email": address("anna"), "id": carla}, {"email": address("bert"), "crmId": "d-1"}]
    ended = erasure.run(rows=rows)
    assert ended.said == [
        "rejected: spread: the customer of this id has another e-mail",
        "rejected: expertsender: the customer of this crmId has another e-mail",
    ]
    assert erasure.results()["anna"] == {**EVERYWHERE, "spread": "refused"}
    assert erasure.is_in("carla", "spread")
    assert erasure.is_in("dora", "expertsender")
    assert anna


def test_several_profiles_of_one_person_are_all_erased(erasure: Erasure) -> None:
    for number in (1, 2):
        erasure.sandbox.expertsender.add_customer(None, crm_id=f"d-{number}")
    erasure.sandbox.mindbaz.insert({1: address("dora"), 43: "c-7"})
    rows = [
        {"email": address("dora"), "crmId": "d-1", "client_id": "c-7"},
        {"email": address("dora"), "crmId": "d-2", "client_id": ""},
    ]
    assert erasure.run(rows=rows).ends == ["updated", "updated"]
    assert not [one for one in erasure.sandbox.records("expertsender", "customers") if one["crmId"]]
    assert not erasure.is_in("dora", "mindbaz")


def test_fields_that_are_named_are_emptied(erasure: Erasure) -> None:
    erasure.run("anna", blank_fields=["nom", "102"])
    (anna, *_) = erasure.sandbox.records("mindbaz", "subscribers")
    assert not anna["fields"].get(14)
    assert erasure.lines()[0]["systems"]["mindbaz"]["emptied_fields"] == [14, 102]
    with pytest.raises(CrmInputError, match="blank_fields"):
        erasure.run("anna", run_id="2", certificate_path=f"{erasure.certificate_path}2", blank_fields="Email")


def test_what_is_left_to_somebody_may_fail_the_task(erasure: Erasure) -> None:
    with pytest.raises(CrmFailError, match=r"To be erased by a person's hand: 1\. The ids are in"):
        erasure.run("bert", by_hand="fail")
    assert erasure.results()["bert"]["mindbaz"] == "by_hand"


@pytest.mark.slow
def test_systems_may_be_left_out_and_data_anonymised(erasure: Erasure) -> None:
    erasure.run("anna", mindbaz_conn_id=None, spread_conn_id=None, with_anonymization=True)
    (line,) = erasure.lines()
    assert {name: one["result"] for name, one in line["systems"].items()} == {"expertsender": "anonymised"}
    assert erasure.is_in("anna", "spread")
    with pytest.raises(CrmInputError, match="No system"):
        erasure.run("anna", mindbaz_conn_id=None, spread_conn_id=None, expertsender_conn_id=None)


def test_a_dry_run_erases_nobody_and_proves_nothing(erasure: Erasure) -> None:
    assert erasure.run("anna", "nobody", dry_run=True).ends == ["updated", "skipped"]
    assert erasure.is_in("anna", "spread")
    assert not erasure.certificate_path.exists()
    assert not erasure.suppression_path.exists()


def test_another_number_of_people_than_announced_suppresses_nobody(erasure: Erasure) -> None:
    with pytest.raises(CrmInputError, match="announced"):
        erasure.run("anna", require_confirmation_count=2)
    assert not erasure.suppression_path.exists()
    assert erasure.is_in("anna", "spread")
