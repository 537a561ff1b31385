"""What a run tells and leaves: dry runs, limits, files, progress."""

from __future__ import annotations

import json
import logging
from functools import partial
from pathlib import Path

import pytest

from airflow_provider_crm._compat import ObjectStoragePath
from airflow_provider_crm.bulk import engine, report
from airflow_provider_crm.bulk.batches import batches
from airflow_provider_crm.exceptions import CrmFailError, CrmRejectsError
from tests.helpers.state import TaskState

from .upserting import Upsert


def test_a_dry_run_calls_nothing_that_writes(upsert: Upsert) -> None:
    upsert.sandbox.mindbaz.insert({1: "zoe@example.fr"})
    upsert.sandbox.mindbaz.insert({1: "out@example.fr", 7: 1})
    rows = [
        {"email": "zoe@example.fr", "nom": "New"},
        {"email": "max@example.fr", "nom": "New"},
        {"email": "max@example.fr", "nom": "Newer"},
        {"email": "out@example.fr", "statut": 0},
        {"email": "nobody"},
    ]
    store = TaskState()
    summary = upsert(rows, dry_run=True, store=store)
    assert summary.items() >= {"created": 1, "updated": 1, "skipped": 1, "rejected": 2, "read": 5}.items()
    assert upsert.endings == ["updated", "skipped", "created", "rejected", "rejected"]
    assert len(upsert.rejects) == 2
    assert upsert.writes() == []
    assert store == {}


@pytest.mark.slow
def test_too_many_rejects_fail_after_all_other_rows(upsert: Upsert) -> None:
    rows = [{"email": "private.person@nodot"}, {"email": "private.person"}]
    rows += [{"email": f"a{number}@example.fr"} for number in range(8)]
    for most in (1, 0.1, "1", "0.1", 0):
        with pytest.raises(CrmRejectsError) as raised:
            upsert(rows, max_rejects=most)
        assert "private" not in str(raised.value)
        assert str(upsert.rejects_path) in str(raised.value)
        assert isinstance(raised.value, CrmFailError)
        assert len(upsert.emails()) == 8
        assert len(upsert.results) == 10
    for most in (2, 0.2, "2", "0.2", 1.0):
        assert upsert(rows, max_rejects=most)["rejected"] == 2


def test_the_rejects_file_repaired_is_a_source(upsert: Upsert, tmp_path: Path) -> None:
    upsert([{"email": "zoe", "nom": "Zoé"}, {"email": "max@example.fr", "nom": "Max"}])
    (reject,) = upsert.rejects
    assert reject["row"] == 1
    assert reject["stage"] == "validate"
    assert reject["data"] == {"email": "zoe", "nom": "Zoé"}
    repaired = tmp_path / "repaired.jsonl"
    repaired.write_text(upsert.rejects_path.read_text().replace('"zoe"', '"zoe@example.fr"'))
    assert upsert(str(repaired))["created"] == 1
    assert upsert.held("zoe@example.fr")[14] == "Zoé"


def test_rejects_without_data(upsert: Upsert) -> None:
    upsert([{"email": "zoe", "nom": "Zoé"}], reject_data=False)
    assert "Zoé" not in upsert.rejects_path.read_text()


def test_without_files(upsert: Upsert) -> None:
    rows = [{"email": "zoe@example.fr"}, {"email": ""}]
    summary = upsert(rows, rejects_path="", results_path="None", min_rows=0)
    assert summary["created"] == summary["rejected"] == 1
    assert summary["rejects_path"] is None


def test_paths_may_be_objects_and_their_folders_are_made(upsert: Upsert, tmp_path: Path) -> None:
    upsert.rejects_path, upsert.results_path = (
        tmp_path / "2026" / "rejects.jsonl",
        tmp_path / "11" / "results.jsonl",
    )
    results = ObjectStoragePath(upsert.results_path.as_uri())
    summary = upsert([{"email": "zoe"}], rejects_path=upsert.rejects_path, results_path=results)
    assert json.loads(json.dumps(summary))["rejects_path"] == str(upsert.rejects_path)
    assert len(upsert.rejects) == 1


@pytest.mark.slow
def test_progress_is_said(
    upsert: Upsert, csv: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "PROGRESS_EVERY", 0.0)
    monkeypatch.setattr(engine, "batches", partial(batches, window=100))
    csv.write_text("email,nom\n" + "".join(f"a{number}@example.fr,{'x' * 200}\n" for number in range(8000)))
    with caplog.at_level(logging.INFO):
        upsert(str(csv), batch_size=200, concurrency=1)
    lines = [line for line in caplog.messages if "rows/s" in line]
    assert lines
    assert all(" rejected, " in line and "% read" in line for line in lines)
    assert any("s left" in line for line in lines)
    assert "@" not in caplog.text
