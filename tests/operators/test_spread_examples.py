"""SPREAD's example DAGs run in a real Airflow against the sandbox."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

EXAMPLES = Path(__file__).parents[2] / "example_dags"


@pytest.fixture
def run(run_dag, crm_sandbox):
    """Run an example; its tasks have to succeed."""

    def run(name, **conf):
        result = run_dag(EXAMPLES / f"{name}.py", env=crm_sandbox.environ(), conf=conf)
        assert result["state"] == "success", result["log"]
        return {name: task["xcom"] for name, task in result["tasks"].items()}

    return run


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_upsert(run, crm_sandbox, tmp_path):
    old = crm_sandbox.spread.add_customer("bert@example.fr", last_name="Martin", country="FR")
    source = write(
        tmp_path / "customers.csv",
        "email,last_name,first_name,country,client_id,segments,favourite_sport",
        "zoe@example.fr,Noël,Zoé,fr,C1,vip|new,Basket",
        "Bert@example.fr,Martin,,FR,,,",
        "carla@example.fr,Petit,,XX,,,",
    )
    rejects = tmp_path / "rejects.jsonl"
    xcom = run(
        "spread_upsert",
        source=source,
        rejects_path=str(rejects),
        results_path=str(tmp_path / "results.jsonl"),
        max_rejects="1",
    )["upsert_customers"]
    assert {
        name: xcom[name] for name in ("read", "created", "updated", "unchanged", "skipped", "rejected")
    } == {
        "read": 3,
        "created": 1,
        "updated": 0,
        "unchanged": 1,
        "skipped": 0,
        "rejected": 1,
    }
    zoe = crm_sandbox.spread.by_email("zoe@example.fr")
    assert (zoe.external_id, zoe.tags, zoe.country) == ("C1", ["vip", "new"], "FR")
    assert crm_sandbox.spread.customers.custom_fields[zoe.id] == {"34567": "Basket"}
    assert old.created_at == old.updated_at
    assert "country" in json.loads(rejects.read_text())["reason"]


def test_upsert_sharded(run, crm_sandbox, tmp_path, airflow_db):
    with closing(sqlite3.connect(airflow_db, isolation_level=None)) as database:
        database.execute(
            "insert or ignore into slot_pool (pool, slots, description, include_deferred) values (?, ?, ?, ?)",
            ("spread_api", 2, "", False),
        )
    database.close()
    rows = [f"p{number}@example.fr,Name {number}" for number in range(25)]
    source = write(tmp_path / "customers.csv", "email,lastName", *rows)
    folder = tmp_path / "shards"
    xcoms = run("spread_upsert_sharded", source=source, rows_per_shard=10, folder=str(folder))
    assert [Path(path).name for path in xcoms["split"]] == [
        f"shard-00000{number}.jsonl" for number in range(3)
    ]
    assert [xcoms[f"upsert_customers[{number}]"]["created"] for number in range(3)] == [10, 10, 5]
    assert (xcoms["add_up"]["read"], xcoms["add_up"]["created"], xcoms["add_up"]["rejected"]) == (25, 25, 0)
    assert len(crm_sandbox.spread.customers) == 25
    assert {path.name for path in folder.glob("rejects-*")} == {
        f"rejects-{number}.jsonl" for number in range(3)
    }


def test_consents(run, crm_sandbox, tmp_path):
    customer = crm_sandbox.spread.add_customer("zoe@example.fr")
    source = write(
        tmp_path / "consents.csv",
        "email,consent,answer,answered_at,ip",
        "zoe@example.fr,NewsEmail,accepted,2024-01-31T10:00:00Z,1.1.1.1",
        "zoe@example.fr,NewsEmail,accepted,2024-02-01T10:00:00Z,1.1.1.1",
    )
    xcom = run("spread_consents", source=source, rejects_path=str(tmp_path / "rejects.jsonl"))[
        "create_consents"
    ]
    assert (xcom["created"], xcom["unchanged"]) == (1, 1)
    (event,) = crm_sandbox.spread.consents.of_customer(customer.id)
    assert (event.status, event.created_at, event.ip) == ("accepted", "2024-01-31 11:00:00", "1.1.1.1")


def test_emails(run, crm_sandbox, tmp_path):
    customer = crm_sandbox.spread.add_customer("old@example.fr")
    source = write(tmp_path / "emails.csv", "email_before,email_now", "old@example.fr,new@example.fr")
    xcom = run("spread_emails", source=source, rejects_path=str(tmp_path / "rejects.jsonl"))["update_emails"]
    assert xcom["updated"] == 1
    assert customer.email == "new@example.fr"


def test_delete(run, crm_sandbox, tmp_path):
    customer = crm_sandbox.spread.add_customer("a@example.fr")
    crm_sandbox.spread.add_customer("b@example.fr")
    source = write(
        tmp_path / "erase.csv",
        "email,spread_id",
        f"a@example.fr,{customer.id}",
        "absent@example.fr,",
    )
    results = tmp_path / "erased.jsonl"
    xcom = run("spread_delete", source=source, results_path=str(results), require_confirmation_count=2)
    assert (xcom["delete_customers"]["updated"], xcom["delete_customers"]["skipped"]) == (1, 1)
    assert [one.email for one in crm_sandbox.spread.customers.values()] == ["b@example.fr"]
    assert len(results.read_text().splitlines()) == 2
