"""What the suppression list does to a task: retries, runs one after the other, rows that name people by an id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.bulk import checkpoint
from airflow_provider_crm.exceptions import CrmInputError, CrmTransientError
from airflow_provider_crm.operators.expertsender import ExpertSenderUpsertCustomersOperator
from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator
from airflow_provider_crm.operators.spread import (
    SpreadCreateConsentsOperator,
    SpreadCreditLoyaltyOperator,
    SpreadUpdateEmailsOperator,
)
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.connections import set_connection
from tests.helpers.state import TaskState
from tests.helpers.tasks import TaskRunner


class TaskInstance:
    """A run's task instance, as far as XComs of this run and the ones before go."""

    task_id, map_index = "task", -1

    def __init__(self, kept: dict[str, Any]) -> None:
        self.kept = kept

    def xcom_push(self, key: str, value: Any) -> None:
        self.kept[key] = value

    def xcom_pull(self, *, task_ids: str, key: str, include_prior_dates: bool, map_indexes: int) -> Any:
        return self.kept.get(key) if include_prior_dates else None


def emails(*names: str) -> list[dict[str, Any]]:
    return [{"email": f"{name}@example.fr"} for name in names]


def in_mindbaz(sandbox: Sandbox) -> set[str]:
    return {one["fields"][1].partition("@")[0] for one in sandbox.records("mindbaz", "subscribers")}


@pytest.mark.parametrize("listed", ["gone.csv", "noise.csv.gz", "names.csv"])
def test_a_list_that_cannot_be_read_is_named_in_the_error(
    listed: str, crm_sandbox: Sandbox, run_task: TaskRunner, tmp_path: Path
) -> None:
    (tmp_path / "noise.csv.gz").write_bytes(b"email\nanna@example.fr\n")
    (tmp_path / "names.csv").write_text("name\nAnna\n")
    with pytest.raises(CrmInputError, match=r"^`suppression_source`: "):
        run_task(MindbazUpsertSubscribersOperator, emails("anna"), suppression_source=str(tmp_path / listed))
    assert in_mindbaz(crm_sandbox) == set()


def test_a_list_that_has_become_empty_is_no_list(crm_sandbox: Sandbox, run_task: TaskRunner) -> None:
    kept: dict[str, Any] = {}

    def run(listed: list[Any]) -> Any:
        context = {"ti": TaskInstance(kept)}
        rows = emails("anna", "zoe")
        return run_task(
            MindbazUpsertSubscribersOperator, rows, suppression_source=listed, context=context
        ).ends

    assert run([]) == ["created", "created"], "it may have been empty from the beginning"
    assert run(emails("zoe")) == ["unchanged", "skipped"]
    with pytest.raises(CrmInputError, match="is empty, and had 1 entries"):
        run([])


def test_a_retry_goes_on_with_the_list_of_its_own_time(
    crm_sandbox: Sandbox,
    run_task: TaskRunner,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    no_waiting: None,
) -> None:
    set_connection(monkeypatch, crm_sandbox, "mindbaz", max_retries=0)
    monkeypatch.setattr(checkpoint, "SAVE_EVERY", 0.0)
    rows = emails(*(f"p{number}" for number in range(40)))
    listed = tmp_path / "suppressed.csv"
    store = TaskState()

    def run() -> Any:
        return run_task(
            MindbazUpsertSubscribersOperator,
            rows,
            suppression_source=str(listed),
            batch_size=10,
            concurrency=1,
            store=store,
        )

    listed.write_text("email\np0@example.fr\n")
    crm_sandbox.fault("error_before", system="mindbaz", method="POST", after=2, status=500)
    with pytest.raises(CrmTransientError):
        run()
    crm_sandbox.clear()
    written = crm_sandbox.calls.count("mindbaz", "POST")
    listed.write_text("email\np0@example.fr\np39@example.fr\n")
    ended = run()
    assert ended.counts == {"created": 38, "skipped": 2}
    assert in_mindbaz(crm_sandbox) == {f"p{number}" for number in range(1, 39)}
    again = crm_sandbox.calls.count("mindbaz", "POST") - written
    assert again == 2, "what was done has not been done again"


def test_people_are_found_by_the_match_key(crm_sandbox: Sandbox, run_task: TaskRunner) -> None:
    rows = [{"email": f"{name}@example.fr", "IdClient": number} for number, name in enumerate("abc", start=1)]
    ended = run_task(
        MindbazUpsertSubscribersOperator,
        [{"43": row["IdClient"], "1": row["email"]} for row in rows],
        match_by="IdClient",
        suppression_source=[{"idclient": "1.0"}, {"idclient": 2}],
    )
    assert ended.said == ["skipped: suppressed", "skipped: suppressed", "created"]
    ended = run_task(
        ExpertSenderUpsertCustomersOperator,
        [{"phone": "+33 6 12 34 56 78"}, {"phone": "+33600000000"}],
        match_by="PhoneNumber",
        suppression_source=[{"PHONE": "+33612345678"}],
    )
    assert ended.said == ["skipped: suppressed", "updated"]


def test_an_id_does_not_hide_somebody_whom_the_list_names_by_address(
    crm_sandbox: Sandbox, run_task: TaskRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    anna = crm_sandbox.spread.add_customer("anna@example.fr").id
    ledger = {"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}
    monkeypatch.setenv("AIRFLOW_CONN_CRM_LEDGER_DEFAULT", json.dumps(ledger))
    credit = {"credit_key": "k", "customer_id": anna, "amount": 5}
    consent = {
        "customer_id": anna,
        "consent_id": 9876,
        "status": "accepted",
        "created_at": "2026-01-01 00:00:00",
    }
    for kind, row in ((SpreadCreditLoyaltyOperator, credit), (SpreadCreateConsentsOperator, consent)):
        (said,) = run_task(kind, [row], suppression_source=emails("anna")).said
        assert said.startswith("rejected: nobody can tell whether this person is suppressed"), kind
        (said,) = run_task(kind, [row], suppression_source=[{"customer_id": anna}]).said
        assert said == "skipped: suppressed", kind
    assert not crm_sandbox.records("spread", "lines")


@pytest.mark.parametrize("which", ["old", "new"])
def test_nobody_leaves_the_list_by_another_address(
    crm_sandbox: Sandbox, run_task: TaskRunner, which: str
) -> None:
    crm_sandbox.spread.add_customer("old@example.fr")
    rows = [{"old_email": "old@example.fr", "new_email": "new@example.fr"}]
    ended = run_task(SpreadUpdateEmailsOperator, rows, suppression_source=emails(which))
    assert ended.said == ["skipped: suppressed"]
    assert [one["email"] for one in crm_sandbox.records("spread", "customers")] == ["old@example.fr"]


def test_an_opt_out_goes_alone(crm_sandbox: Sandbox, run_task: TaskRunner) -> None:
    """Of a row of somebody suppressed only the opt-out is written, and whoever is absent stays so."""
    crm_sandbox.mindbaz.insert({1: "zoe@example.fr", 14: "Zoé"})
    rows = [{"email": f"{name}@example.fr", "nom": "Other", "statut": 1} for name in ("zoe", "absent")]
    ended = run_task(MindbazUpsertSubscribersOperator, rows, suppression_source=emails("zoe", "absent"))
    assert ended.said == ["updated", "skipped: suppressed"]
    (zoe,) = crm_sandbox.records("mindbaz", "subscribers")
    assert (zoe["fields"][14], zoe["fields"][7]) == ("Zoé", 1)
    rows = [{"email": "absent@example.fr", "firstName": "Other", "consents.1": "False"}]
    ended = run_task(ExpertSenderUpsertCustomersOperator, rows, suppression_source=emails("absent"))
    assert ended.said == ["skipped: suppressed"]
    assert not crm_sandbox.records("expertsender", "customers")
