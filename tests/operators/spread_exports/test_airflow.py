"""What an export and Airflow tell each other: where the last one ended, what was written, what was read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmInputError, CrmTransientError
from airflow_provider_crm.operators.spread.exports import (
    SpreadExportConsentsOperator,
    SpreadExportCustomersOperator,
)
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.exports import export, lines

from .exporting import answer, spread_calls


class AssetStates:
    """What Airflow 3.3 gives a task for its assets."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def __getitem__(self, asset: Any) -> AssetStates:
        return self

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        self.values[key] = value


class Asset:
    uri = "file:///exports/consents"


class Incremental(SpreadExportConsentsOperator):
    """The same task with an outlet that needs no Airflow of a certain version."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.outlets = [Asset()]  # type: ignore[list-item]


def test_an_incremental_export_goes_on_where_the_last_one_ended(spread: Sandbox, tmp_path: Path) -> None:
    spread.seed(1, ["spread"])
    spread.spread.consents.__init__()  # type: ignore[misc]
    states = AssetStates()
    context = {"asset_state_store": states}
    got = []
    for at in (
        ["2024-01-01 10:00:00", "2024-01-01 10:00:05"],
        [],
        ["2024-01-01 10:00:06"],
        ["2024-02-01 00:00:00"],
    ):
        tracks = [answer(spread, one) for one in at]
        path = tmp_path / "x.jsonl"
        export(Incremental, path, context, consent_id=9876, incremental=True)
        got.append([row["trackId"] for row in lines(path)])
        assert got[-1] == tracks
    [watermark] = states.values.values()
    assert watermark == "2024-02-01T00:00:01"


def test_the_watermark_stays_when_the_export_fails(few_retries: Sandbox, tmp_path: Path) -> None:
    few_retries.seed(100, ["spread"])
    states = AssetStates()
    few_retries.fault("error_before", system="spread", after=1)
    with pytest.raises(CrmTransientError):
        export(
            Incremental,
            tmp_path / "x.jsonl",
            {"asset_state_store": states},
            consent_id=9876,
            incremental=True,
            page_size=10,
        )
    assert states.values == {}


def test_incremental_without_a_store_is_refused_with_a_clear_word(spread: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(CrmInputError, match="needs Airflow 3"):
        export(Incremental, tmp_path / "x.jsonl", consent_id=9876, incremental=True)
    assert spread_calls(spread) == []


def test_incremental_without_an_asset_is_refused(spread: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(CrmInputError, match="exactly one"):
        export(
            SpreadExportConsentsOperator,
            tmp_path / "x.jsonl",
            {"asset_state_store": AssetStates()},
            consent_id=9876,
            incremental=True,
        )


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
    task = SpreadExportCustomersOperator(task_id="export", path=str(path))
    extractor = extractors.DefaultExtractor(task)
    assert extractor.extract_on_failure(None) is None, "nothing is known before it ran"
    task.execute({})
    lineage = extractor.extract_on_complete(None)
    [read], [written] = lineage.inputs, lineage.outputs
    assert (written.namespace, written.name) == ("file", str(path))
    assert (read.namespace, read.name) == (spread.url, "spread/api/v2/customers")
