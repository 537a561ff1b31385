"""What every upsert of people takes besides its own parameters: a snapshot of what was accepted, a preview."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_provider_crm.operators.base.upserts import CrmUpsertOperator

from .registry import DESTINATIONS
from .trial import Trial, by_name, first_modes

UPSERTS = [one for one in DESTINATIONS if issubclass(one.operator, CrmUpsertOperator)]

each_upsert = pytest.mark.parametrize("each", first_modes(UPSERTS), ids=by_name, indirect=True)


@each_upsert
def test_what_a_snapshot_knows_costs_no_call(trial: Trial, tmp_path: Path) -> None:
    accepted = [end in ("created", "updated", "unchanged") for end in trial.ends]
    snapshot = str(tmp_path / "snapshot")
    trial.check(trial.run(snapshot=snapshot))
    trial.sandbox.clear()
    ended = trial.run(snapshot=snapshot)
    assert [end == "unchanged" for end in ended.ends] == accepted
    assert ended.summary["known"] == sum(accepted)
    trial.check_held()


@each_upsert
def test_a_preview_has_a_line_for_each_row(trial: Trial, tmp_path: Path) -> None:
    path = tmp_path / "preview.jsonl"
    ended = trial.run(dry_run=True, preview_path=str(path))
    lines = sorted(map(json.loads, path.read_text().splitlines()), key=lambda line: line["row"])
    assert [line["row"] for line in lines] == list(range(1, len(trial.rows) + 1))
    assert [line["end"] for line in lines] == ended.ends
    assert all(line["changes"] for line in lines if line["end"] in ("created", "updated"))
    assert trial.held() == trial.before
