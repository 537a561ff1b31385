"""What an export tells Airflow: what was written, what was read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.operators.spread.exports import SpreadExportCustomersOperator
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.exports import export, lines

from .incremental import Incremental


def test_the_event_of_the_outlet_asset_says_what_was_written(spread: Sandbox, tmp_path: Path) -> None:
    spread.seed(1, ["spread"])

    class Event:
        extra: dict[str, Any] = {}

    class Events(dict[Any, Event]):
        def __missing__(self, asset: Any) -> Event:
            self[asset] = Event()
            return self[asset]

    events = Events()
    path = tmp_path / "x.jsonl"
    export(Incremental, path, {"outlet_events": events}, consent_id=9876, created_after="2020-01-01")
    [event] = events.values()
    rows = len(lines(path))
    assert event.extra == {
        "rows": rows,
        "path": str(path),
        "window": {"created_after": "2020-01-01", "created_before": None},
    }


@pytest.mark.slow
def test_openlineage_names_inputs_and_outputs(spread: Sandbox, tmp_path: Path) -> None:
    extractors = pytest.importorskip(
        "airflow.providers.openlineage.extractors.base", reason="the OpenLineage provider is not installed"
    )
    path = tmp_path / "x.jsonl"
    task = SpreadExportCustomersOperator(task_id="export", path=str(path), window="all")
    extractor = extractors.DefaultExtractor(task)
    nothing = extractor.extract_on_failure(None)
    assert not nothing.inputs, "nothing is known before it ran"
    assert not nothing.outputs
    task.execute({})
    lineage = extractor.extract_on_complete(None)
    [read], [written] = lineage.inputs, lineage.outputs
    assert (written.namespace, written.name) == ("file", str(path))
    assert (read.namespace, read.name) == (spread.url, "spread/api/v2/customers")
