"""The examples of exports in a real Airflow against the sandbox."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from airflow_provider_crm.sandbox.server import Sandbox

pytestmark = pytest.mark.system

EXAMPLES = Path(__file__).parents[2] / "example_dags"
Run = Callable[..., Any]

try:
    from airflow.sdk.execution_time.context import AssetStateStoreAccessor  # noqa: F401

    HAS_ASSET_STATES = True
except ImportError:  # before 3.3
    HAS_ASSET_STATES = False


needs_active_assets = pytest.mark.skipif(
    version("apache-airflow").startswith("3.0."),
    reason="dag.test() of Airflow 3.0 runs no task with outlets: only its DAG processor makes assets active",
)


@pytest.fixture
def sandbox(crm_sandbox: Sandbox) -> Sandbox:
    crm_sandbox.switch("spread", zone="Europe/Paris")
    crm_sandbox.seed(300)
    return crm_sandbox


@pytest.fixture
def run(run_dag: Any, sandbox: Sandbox) -> Run:
    """Run an example of one task, which has to succeed; gives its summary."""

    def run(name: str, *, logical_date: str | None = None, **conf: Any) -> Any:
        path = EXAMPLES / f"{name}.py"
        result = run_dag(path, env=sandbox.environ(), conf=conf, logical_date=logical_date)
        assert result["state"] == "success", result["log"]
        [task] = result["tasks"].values()
        return task["xcom"]

    return run


def test_customers(run: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "customers.jsonl.gz"
    summary = run("spread_export_customers", path=str(path), rejects_path=str(tmp_path / "rejects.jsonl"))
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    assert [row["id"] for row in rows] == list(sandbox.spread.customers)
    assert summary == {
        "rows": 300,
        "path": str(path),
        "bytes": path.stat().st_size,
        "requests": summary["requests"],
        "retries": 0,
        "seconds": summary["seconds"],
    }
    assert (tmp_path / "rejects.jsonl").read_bytes() == b""


@needs_active_assets
def test_consents_of_a_day(run: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    held = [event for event in sandbox.spread.consents.events if event.created_at.startswith("2024-01-02")]
    assert held
    # A run by hand covers the last whole day before its date.
    first = run("spread_export_consents", logical_date="2024-01-03T12:00:00+01:00", folder=str(tmp_path))
    path = Path(first["path"])
    assert path.name == "2024-01-02.parquet"
    table = pyarrow.parquet.read_table(path)
    assert sorted(table["trackId"].to_pylist()) == sorted(event.track_id for event in held)
    before = path.read_bytes()
    again = run("spread_export_consents", logical_date="2024-01-03T12:00:00+01:00", folder=str(tmp_path))
    assert again["rows"] == first["rows"]
    assert path.read_bytes() == before


@needs_active_assets
@pytest.mark.skipif(
    version("apache-airflow").startswith("2."), reason="each run of Airflow 2 has an interval"
)
def test_consents_by_hand_without_a_date(run: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    summary = run("spread_export_consents", folder=str(tmp_path))
    assert Path(summary["path"]).name == "all.parquet"
    assert summary["rows"] == len(sandbox.spread.consents.events)


def test_loyalty(run: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "loyalty.csv"
    run("spread_export_loyalty", path=str(path))
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["cagnotteLineId"] for row in rows] == [
        line.cagnotte_line_id for line in sandbox.spread.loyalty.lines
    ]


@needs_active_assets
def test_incremental(run: Run, run_dag: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    if not HAS_ASSET_STATES:
        result = run_dag(
            EXAMPLES / "spread_export_incremental.py", env=sandbox.environ(), conf={"folder": str(tmp_path)}
        )
        assert result["state"] == "failed"
        assert "needs Airflow 3.3" in result["log"]
        assert list(tmp_path.glob("*.gz")) == []
        return
    folder = str(tmp_path / "out")
    held = [event for event in sandbox.spread.consents.events if event.consent.id == "9876"]
    assert run("spread_export_incremental", folder=folder)["rows"] == len(held)
    assert run("spread_export_incremental", folder=folder)["rows"] == 0
    customer = held[0].customer_id
    sandbox.spread.consents.add(customer, held[0].consent, "refused", "2024-06-01 10:00:00", "manualImport")
    assert run("spread_export_incremental", folder=folder)["rows"] == 1


def people(tmp_path: Path, emails: list[str]) -> str:
    path = tmp_path / "people.csv"
    path.write_text("\n".join(["email", *emails, "nobody@example.fr"]) + "\n")
    return str(path)


def test_mindbaz(run: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    emails = [customer.email for customer in sandbox.spread.customers.values()][:100]
    path, absent = tmp_path / "subscribers.parquet", tmp_path / "absent.jsonl"
    summary = run(
        "mindbaz_export_subscribers",
        source=people(tmp_path, emails),
        path=str(path),
        absent_path=str(absent),
    )
    assert (summary["rows"], summary["absent"]) == (100, 1)
    rows = pyarrow.parquet.read_table(path).to_pylist()
    assert [row["email"] for row in rows] == emails
    assert json.loads(absent.read_text()) == {"email": "nobody@example.fr"}


def test_expertsender(run: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    emails = [customer.email for customer in sandbox.spread.customers.values()][:50]
    path, absent = tmp_path / "customers.csv", tmp_path / "absent.jsonl"
    summary = run(
        "expertsender_export_customers",
        source=people(tmp_path, emails),
        path=str(path),
        absent_path=str(absent),
    )
    assert (summary["rows"], summary["absent"]) == (50, 1)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["email"] for row in rows] == emails
    assert {"consent_1", "consent_2"} <= set(rows[0])
