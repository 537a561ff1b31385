"""Every run leaves a report, however it ends: as XCom, on the error, in the log."""

from __future__ import annotations

import datetime as dt
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_crm._compat import PAUSES
from airflow_provider_crm.bulk import engine
from airflow_provider_crm.exceptions import CrmError, CrmInputError, CrmRejectsError, CrmTransientError
from airflow_provider_crm.links import REJECTS_KEY
from airflow_provider_crm.operators.base import run
from airflow_provider_crm.operators.expertsender import ExpertSenderDeleteCustomersOperator
from airflow_provider_crm.operators.mindbaz import (
    MindbazExportSubscribersOperator,
    MindbazUpsertSubscribersOperator,
)
from airflow_provider_crm.operators.spread import (
    SpreadAuditLoyaltyOperator,
    SpreadCreditLoyaltyOperator,
    SpreadDeleteCustomersOperator,
    SpreadExportCustomersOperator,
)
from airflow_provider_crm.rows.sources import FileSource
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.connections import set_connection
from tests.helpers.instances import Instance
from tests.helpers.state import TaskState
from tests.helpers.tasks import TaskRunner, read_lines

COMMON = {
    "version",
    "system",
    "operator",
    "state",
    "requests",
    "retries",
    "seconds",
    "started_at",
    "ended_at",
    "last_row",
    "reasons",
    "rejects_path",
    "results_path",
    "error",
}
ENDS = {"read", "created", "updated", "unchanged", "skipped", "rejected"}

PEOPLE = [{"1": "zoe@example.fr"}, {"1": "bert@example.fr"}, {"1": "nobody"}, {"1": "Zoe@example.fr"}]


@pytest.fixture(autouse=True)
def _at_once(no_waiting: None) -> None:
    pass


@pytest.fixture
def ti() -> Instance:
    return Instance()


def upsert(source: Any, ti: Instance, **parameters: Any) -> dict[str, Any]:
    store = parameters.pop("store", None)
    context: Any = {"ti": ti} if store is None else {"ti": ti, "task_state_store": store}
    return MindbazUpsertSubscribersOperator(task_id="upsert", source=source, **parameters).execute(context)


def test_a_run_that_ends_well(crm_sandbox: Sandbox, ti: Instance, tmp_path: Path) -> None:
    rejects, results = str(tmp_path / "rejects.jsonl"), str(tmp_path / "results.jsonl")
    before = dt.datetime.now(dt.UTC)
    summary = upsert(PEOPLE, ti, rejects_path=rejects, results_path=results, max_rejects=1)
    report = ti.report
    assert set(report) == COMMON | ENDS | {"approved_by"}
    assert {name: report[name] for name in ENDS} == {
        "read": 4,
        "created": 2,
        "updated": 0,
        "unchanged": 0,
        "skipped": 1,
        "rejected": 1,
    }
    assert (report["version"], report["system"]) == (1, "mindbaz")
    assert report["operator"] == "MindbazUpsertSubscribersOperator"
    assert (report["state"], report["error"], report["last_row"]) == ("success", None, 4)
    assert (report["requests"], report["retries"]) == (summary["requests"], 0)
    assert (report["rejects_path"], report["results_path"]) == (rejects, results)
    started, ended = (dt.datetime.fromisoformat(report[name]) for name in ("started_at", "ended_at"))
    assert before - dt.timedelta(milliseconds=1) <= started <= ended
    assert started.utcoffset() == dt.timedelta(0)
    assert sorted((one["end"], one["stage"], one["rows"]) for one in report["reasons"]) == [
        ("rejected", "validate", 1),
        ("skipped", None, 1),
    ]
    assert "another row is about the same person" in [one["reason"] for one in report["reasons"]]
    assert ti.xcoms[REJECTS_KEY] == rejects


def test_too_many_rejects(crm_sandbox: Sandbox, ti: Instance) -> None:
    with pytest.raises(CrmRejectsError) as caught:
        upsert(PEOPLE, ti)
    assert caught.value.report == ti.report
    assert (ti.report["state"], ti.report["created"], ti.report["rejected"]) == ("rejects", 2, 1)
    assert ti.report["error"]["type"] == "CrmRejectsError"
    assert ti.report["error"]["message"].startswith("1 of 4 rows were rejected")


def test_an_error_names_the_files_as_they_are(crm_sandbox: Sandbox, ti: Instance, tmp_path: Path) -> None:
    """The day or the run in a path is nobody's number."""
    rejects = str(tmp_path / "manual__2026-11-27T13:25:33.013822+00:00.jsonl")
    with pytest.raises(CrmRejectsError):
        upsert(PEOPLE, ti, rejects_path=rejects)
    assert f"they are in {rejects}. All" in ti.report["error"]["message"]
    for missing in ("/data/2026-11-27.csv", FileSource("/data/20261127/people.csv")):
        with pytest.raises(CrmInputError):
            upsert(missing, ti)
        assert str(getattr(missing, "path", missing)) in ti.report["error"]["message"]
    with pytest.raises(CrmInputError):
        upsert("/data/zoe@example.fr/2026-11-27.csv", ti)
    assert "<email>" in ti.report["error"]["message"]


def test_the_link_to_the_rejects_never_misses_its_xcom(
    crm_sandbox: Sandbox, ti: Instance, tmp_path: Path
) -> None:
    upsert(PEOPLE[:1], ti, rejects_path=str(tmp_path / "rejects.jsonl"))
    assert ti.xcoms[REJECTS_KEY] == ""


def test_an_abort_counts_what_has_ended(
    crm_sandbox: Sandbox, ti: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_connection(monkeypatch, crm_sandbox, "mindbaz", max_retries=0)
    crm_sandbox.fault("error_before", system="mindbaz", method="POST", after=3)
    source = [{"1": f"p{number}@example.fr"} for number in range(100)]
    with pytest.raises(CrmTransientError) as caught:
        upsert(source, ti, batch_size=10, concurrency=1)
    report = ti.report
    assert caught.value.report == report
    assert (report["state"], report["read"], report["created"], report["last_row"]) == ("failed", 30, 30, 30)
    assert len(crm_sandbox.mindbaz.subscribers) == 30
    assert report["error"]["type"] == type(caught.value).__name__
    assert report["requests"] > 0


def test_a_gap_is_not_passed_over(
    crm_sandbox: Sandbox, ti: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that are rejected at once, or batches that end before an earlier one, do not make it the last row."""
    set_connection(monkeypatch, crm_sandbox, "mindbaz", max_retries=0)
    crm_sandbox.fault("error_before", system="mindbaz", method="POST", after=1)
    source = [{"1": f"p{number}@example.fr"} for number in range(30)] + [{"1": "nobody"}]
    with pytest.raises(CrmTransientError):
        upsert(source, ti, batch_size=10, concurrency=1)
    assert (ti.report["read"], ti.report["rejected"], ti.report["last_row"]) == (11, 1, 10)


def test_a_retry_that_goes_on_counts_the_rows_of_the_try_before(
    crm_sandbox: Sandbox, ti: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_connection(monkeypatch, crm_sandbox, "mindbaz", max_retries=0)
    crm_sandbox.fault("error_before", system="mindbaz", method="POST", after=2)
    source = [{"1": f"p{number}@example.fr"} for number in range(40)]
    source[3] = {"1": "nobody"}
    state, first = TaskState(), Instance()
    with pytest.raises(CrmTransientError):
        upsert(source, first, store=state, batch_size=10, concurrency=1, max_rejects=1)
    crm_sandbox.clear()
    upsert(source, ti, store=state, batch_size=10, concurrency=1, max_rejects=1)
    assert 0 < first.report["read"] < 40
    assert (ti.report["read"], ti.report["created"], ti.report["rejected"]) == (40, 39, 1)
    assert ti.report["last_row"] == 40
    assert [one["rows"] for one in ti.report["reasons"]] == [1]
    assert ti.report["reasons"] == first.report["reasons"]


def test_a_parameter_that_makes_no_sense(crm_sandbox: Sandbox, ti: Instance) -> None:
    with pytest.raises(CrmInputError) as caught:
        upsert("/nowhere/at/all.csv", ti)
    report = ti.report
    assert caught.value.report == report
    assert (report["state"], report["read"], report["last_row"], report["requests"]) == ("failed", 0, 0, 0)
    assert report["error"]["type"] == "CrmInputError"


def test_an_error_before_any_run_has_no_report() -> None:
    with pytest.raises(CrmError) as caught:
        MindbazUpsertSubscribersOperator(task_id="upsert", source=[], max_rejects="many")
    assert caught.value.report is None


def test_a_task_that_lets_go_of_its_worker_has_not_ended(
    crm_sandbox: Sandbox, ti: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Paused(*PAUSES[:1]):  # type: ignore[misc]
        def __init__(self) -> None:
            pass

    class Pausing(MindbazUpsertSubscribersOperator):
        def _checks(self) -> Any:
            raise Paused

    with pytest.raises(Paused):
        Pausing(task_id="upsert", source=PEOPLE).execute({"ti": ti})
    assert ti.xcoms == {}


def test_an_error_of_a_library_is_not_told_in_its_words(
    crm_sandbox: Sandbox, ti: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(MindbazUpsertSubscribersOperator):
        def _checks(self) -> Any:
            raise KeyError("Dupont")

    with pytest.raises(KeyError):
        Broken(task_id="upsert", source=PEOPLE).execute({"ti": ti})
    assert ti.report["error"] == {"type": "KeyError", "message": "see the log of the task"}


def test_xcoms_that_cannot_be_written_do_not_change_the_end(
    crm_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away(Instance):
        def xcom_push(self, key: str, value: Any) -> None:
            raise RuntimeError("no answer")

    assert upsert(PEOPLE[:2], Away())["created"] == 2


# Dry runs


def test_a_dry_run_says_so_everywhere(
    crm_sandbox: Sandbox, ti: Instance, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    results = tmp_path / "results.jsonl"
    with caplog.at_level(logging.INFO):
        upsert(PEOPLE, ti, results_path=str(results), max_rejects=1, dry_run=True)
    assert (ti.report["state"], ti.report["created"]) == ("dry_run", 2)
    assert all(line["dry_run"] is True for line in read_lines(results))
    lines = [one.getMessage() for one in caplog.records if one.name == run.__name__]
    assert len(lines) == 2
    assert all("dry run" in line.lower() for line in lines), lines
    assert not crm_sandbox.mindbaz.subscribers


def test_a_dry_run_that_fails_was_a_dry_run(crm_sandbox: Sandbox, ti: Instance) -> None:
    with pytest.raises(CrmRejectsError):
        upsert(PEOPLE, ti, dry_run=True)
    assert (ti.report["state"], ti.report["error"]["type"]) == ("dry_run", "CrmRejectsError")


# What the log says


def test_the_log_ends_with_short_lines(
    crm_sandbox: Sandbox, ti: Instance, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source: list[dict[str, Any]] = [{"1": "zoe@example.fr"}]
    source += [{"1": "nobody"}] * 3 + [{"1": ""}] * 2
    with caplog.at_level(logging.INFO), pytest.raises(CrmRejectsError):
        upsert(source, ti)
    ours = [one for one in caplog.records if one.name == run.__name__]
    place = next(place for place, one in enumerate(ours) if one.getMessage().startswith("Done in "))
    assert "read 6, created 1, " in ours[place].getMessage()
    warnings = ours[place + 1 :]
    assert [one.levelname for one in warnings] == ["WARNING"] * len(warnings)
    assert [one.getMessage().partition(":")[0] for one in warnings] == ["3 rejected", "2 rejected"]
    assert all(len(one.getMessage()) <= 120 for one in ours[place:])


def test_tolerated_rejects_are_a_warning_with_their_reasons(
    crm_sandbox: Sandbox, ti: Instance, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        upsert(PEOPLE, ti, max_rejects=0.5)
    warnings = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert any(one.startswith("1 rejected: ") for one in warnings), warnings


# Erasures


def test_an_erasure_says_who_was_deleted_and_when(crm_sandbox: Sandbox, run_task: TaskRunner) -> None:
    crm_sandbox.spread.add_customer("zoe@example.fr")
    ti, before = Instance(), dt.datetime.now(dt.UTC) - dt.timedelta(milliseconds=1)
    ended = run_task(
        SpreadDeleteCustomersOperator,
        [{"email": "zoe@example.fr"}, {"email": "absent@example.fr"}, {"email": ""}],
        context={"ti": ti},
    )
    assert ended.ends == ["deleted", "skipped", "rejected"]
    deleted, skipped, rejected = (line["at"] for line in ended.results)
    for moment in (deleted, skipped):
        assert before <= dt.datetime.fromisoformat(moment) <= dt.datetime.now(dt.UTC)
    assert dt.datetime.fromisoformat(deleted).utcoffset() == dt.timedelta(0)
    assert rejected is None  # nobody was asked about it
    assert (ti.report["updated"], ti.report["skipped"]) == (1, 1)


@pytest.mark.parametrize(("anonymise", "word"), [(True, "anonymised"), (False, "deleted")])
def test_an_erasure_says_who_was_anonymised(
    crm_sandbox: Sandbox, run_task: TaskRunner, anonymise: bool, word: str
) -> None:
    crm_sandbox.expertsender.add_customer("zoe@example.fr")
    ended = run_task(
        ExpertSenderDeleteCustomersOperator, [{"email": "zoe@example.fr"}], with_anonymization=anonymise
    )
    assert ended.ends == [word]


# Exports, credits, the audit


def test_an_export(crm_sandbox: Sandbox, ti: Instance, tmp_path: Path) -> None:
    crm_sandbox.spread.add_customer("zoe@example.fr")
    path = str(tmp_path / "customers.jsonl")
    SpreadExportCustomersOperator(task_id="export", path=path, window="all").execute({"ti": ti})  # type: ignore[typeddict-item]
    report = ti.report
    assert set(report) == COMMON | {"rows", "bytes", "path"}
    assert (report["state"], report["rows"], report["path"]) == ("success", 1, path)
    assert report["bytes"] == Path(path).stat().st_size
    assert report["system"] == "spread"


def test_an_export_without_a_file(
    crm_sandbox: Sandbox, ti: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_connection(monkeypatch, crm_sandbox, "spread", max_retries=0)
    crm_sandbox.spread.add_customer("zoe@example.fr")
    crm_sandbox.fault("error_before", system="spread", path="/customers")
    path = str(tmp_path / "customers.jsonl")
    with pytest.raises(CrmTransientError) as caught:
        SpreadExportCustomersOperator(task_id="export", path=path, window="all").execute({"ti": ti})  # type: ignore[typeddict-item]
    assert caught.value.report == ti.report
    assert (ti.report["state"], ti.report["rows"], ti.report["bytes"]) == ("failed", 0, 0)


def test_an_export_of_people_that_are_rejected(crm_sandbox: Sandbox, ti: Instance, tmp_path: Path) -> None:
    upsert([{"1": "zoe@example.fr"}], Instance())
    export = MindbazExportSubscribersOperator(
        task_id="export",
        source=[{"email": "zoe@example.fr"}, {"email": "nobody"}, {"email": "absent@example.fr"}],
        path=str(tmp_path / "people.jsonl"),
        rejects_path=str(tmp_path / "rejects.jsonl"),
    )
    with pytest.raises(CrmRejectsError):
        export.execute({"ti": ti})  # type: ignore[typeddict-item]
    assert (ti.report["state"], ti.report["rows"], ti.report["absent"]) == ("rejects", 0, 1)
    assert [(one["end"], one["rows"]) for one in ti.report["reasons"]] == [("rejected", 1)]
    assert ti.report["rejects_path"] == str(tmp_path / "rejects.jsonl")


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    connection = json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")})
    monkeypatch.setenv("AIRFLOW_CONN_CRM_LEDGER_DEFAULT", connection)


def test_credits_and_their_audit(crm_sandbox: Sandbox, ti: Instance, ledger: None) -> None:
    crm_sandbox.spread.add_customer("zoe@example.fr")
    source = [{"credit_key": "a", "email": "zoe@example.fr", "amount": "2.50"}]
    SpreadCreditLoyaltyOperator(task_id="credit", source=source, settle_seconds=0).execute({"ti": ti})  # type: ignore[typeddict-item]
    assert set(ti.report) == COMMON | ENDS | {"approved_by", "credited", "already_credited", "amount"}
    assert (ti.report["credited"], ti.report["already_credited"]) == (1, 0)
    assert float(ti.report["amount"]) == 2.5
    audit = Instance()
    SpreadAuditLoyaltyOperator(task_id="audit", settle_seconds=0).execute({"ti": audit})  # type: ignore[typeddict-item]
    assert (audit.report["state"], audit.report["credits"], audit.report["lines"]) == ("success", 1, 1)
    crm_sandbox.spread.loyalty.lines[0].amount = "7"
    failed = Instance()
    with pytest.raises(CrmError) as caught:
        SpreadAuditLoyaltyOperator(task_id="audit", settle_seconds=0).execute({"ti": failed})  # type: ignore[typeddict-item]
    assert caught.value.report == failed.report
    assert (failed.report["state"], failed.report["credits_with_another_amount"]) == ("failed", 1)


def test_rows_that_were_finished_while_the_task_failed_are_counted(
    crm_sandbox: Sandbox, ti: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in the CRM is told, also where an earlier batch has not ended."""
    monkeypatch.setattr(engine, "BATCHES_READY", 20)
    set_connection(monkeypatch, crm_sandbox, "mindbaz", max_retries=0)
    crm_sandbox.fault("error_before", system="mindbaz", method="POST", times=1)
    source = [{"1": f"p{number}@example.fr"} for number in range(100)]
    with pytest.raises(CrmTransientError):
        upsert(source, ti, batch_size=10, concurrency=2)
    assert ti.report["created"] == len(crm_sandbox.mindbaz.subscribers)
    assert ti.report["last_row"] <= ti.report["read"]


def test_an_event_of_an_asset_carries_the_counts(crm_sandbox: Sandbox, ti: Instance) -> None:
    asset, alias = SimpleNamespace(uri="mindbaz://subscribers"), SimpleNamespace(name="alias")
    for dry_run in (True, False):
        events = {asset.uri: SimpleNamespace(extra={})}
        operator = MindbazUpsertSubscribersOperator(
            task_id="upsert", source=PEOPLE, max_rejects=1, dry_run=dry_run
        )
        operator.outlets = [asset, alias]
        operator.execute({"ti": ti, "outlet_events": ByUri(events)})  # type: ignore[typeddict-item]
        assert events[asset.uri].extra == ({} if dry_run else {name: ti.report[name] for name in ENDS})


class ByUri(dict[str, Any]):
    """Events, asked for by an asset."""

    def __getitem__(self, asset: Any) -> Any:
        return super().__getitem__(asset.uri)
