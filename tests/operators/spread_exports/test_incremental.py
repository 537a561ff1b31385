"""An export that goes on where the last one ended skips no row, and a run that is repeated exports its own again."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmInputError, CrmTransientError
from airflow_provider_crm.operators.base.watermarks import Watermark
from airflow_provider_crm.operators.spread.exports import SpreadExportConsentsOperator
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.exports import export, lines

from .exporting import answer, spread_calls
from .incremental import AssetStates, Incremental, IncrementalLoyalty, Run

FIRST, SECOND, THIRD = "2024-01-01 10:00:00", "2024-01-02 10:00:00", "2024-01-03 10:00:00"


@pytest.fixture
def answers(spread: Sandbox) -> Sandbox:
    """A SPREAD with two customers who have answered nothing yet."""
    spread.seed(2, ["spread"])
    spread.spread.consents.__init__()  # type: ignore[misc]
    return spread


@pytest.fixture
def states() -> AssetStates:
    return AssetStates()


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


def test_mapped_over_three_consents_each_goes_its_own_way(
    answers: Sandbox, states: AssetStates, tmp_path: Path
) -> None:
    for day in range(3):
        for consent, (consent_id, hour) in enumerate(((9876, 20), (9875, 15), (9874, 10))):
            track = answer(answers, f"2024-01-0{1 + day} {hour}:00:00", consent=consent)
            path = tmp_path / "{{ ti.map_index }}.jsonl"  # nothing is rendered here
            run = Run(states, path, map_index=consent)
            assert run(consent_id=consent_id) == [track]


def another_consent(answers: Sandbox) -> tuple[str, dict[str, Any]]:
    return answer(answers, FIRST, consent=1), {"consent_id": 9875}


def another_name(answers: Sandbox) -> tuple[str, dict[str, Any]]:
    return answer(answers, FIRST, consent=1), {"consent_id": None, "consent_tech_name": "NewsSMS"}


def another_status(answers: Sandbox) -> tuple[str, dict[str, Any]]:
    return answer(answers, FIRST, status="refused"), {"status": "refused"}


def other_customers(answers: Sandbox) -> tuple[str, dict[str, Any]]:
    _, second = answers.spread.customers
    return answer(answers, FIRST, customer=second), {"source": [second]}


@pytest.mark.sampled
@pytest.mark.parametrize("other", [another_consent, another_name, another_status, other_customers])
def test_a_later_run_for_other_rows_skips_none(
    answers: Sandbox, states: AssetStates, tmp_path: Path, other: Any
) -> None:
    first, _ = answers.spread.customers
    before = {"consent_id": 9876, "status": "accepted", "source": [first]}
    track, changed = other(answers)
    assert Run(states, tmp_path / "a.jsonl")(**before) == []
    answer(answers, SECOND, customer=first)
    assert len(Run(states, tmp_path / "b.jsonl")(**before)) == 1
    assert Run(states, tmp_path / "c.jsonl")(**{**before, **changed}) == [track]
    assert Run(states, tmp_path / "d.jsonl")(**before) == []


def test_another_filter_of_loyalty_lines_skips_none(
    answers: Sandbox, states: AssetStates, tmp_path: Path
) -> None:
    people = tuple(answers.spread.customers)
    for customer, at in zip(people, ("2030-01-02 10:00:00", "2030-01-01 10:00:00"), strict=True):
        answers.spread.loyalty.add(customer, Decimal(5), at)
        held = [line for line in answers.spread.loyalty.lines if line.customer_id == customer]
        exported = Run(states, tmp_path / "x.jsonl")(
            IncrementalLoyalty, customer_id=customer, created_before="2031-01-01"
        )
        assert exported == [line.cagnotte_line_id for line in held]


def test_another_connection_skips_none(
    answers: Sandbox, states: AssetStates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = json.loads(answers.connections()["spread_default"])
    connection["host"] = connection["host"].replace("127.0.0.1", "localhost")
    monkeypatch.setenv("AIRFLOW_CONN_SPREAD_OTHER", json.dumps(connection))
    track = answer(answers, FIRST)
    assert Run(states, tmp_path / "x.jsonl")(consent_id=9876) == [track]
    assert Run(states, tmp_path / "x.jsonl")(consent_id=9876, spread_conn_id="spread_other") == [track]


def test_another_path_goes_on(answers: Sandbox, states: AssetStates, tmp_path: Path) -> None:
    assert Run(states, tmp_path / "x.jsonl")(consent_id=9876) == []
    track = answer(answers, FIRST)
    assert Run(states, tmp_path / "y.jsonl")(consent_id=9876) == [track]
    assert Run(states, tmp_path / "z.jsonl")(consent_id=9876, page_size=7) == []


def test_a_source_that_may_change_unseen_is_refused(
    answers: Sandbox, states: AssetStates, tmp_path: Path
) -> None:
    (tmp_path / "people.csv").write_text("id\n1\n")
    with pytest.raises(CrmInputError, match="a list"):
        Run(states, tmp_path / "x.jsonl")(source=str(tmp_path / "people.csv"))


def test_an_instance_that_ends_later_does_not_set_the_watermark_back(states: AssetStates) -> None:
    slow, quick = (Watermark(states, "rows") for _ in range(2))
    quick.advance(dt.datetime(2024, 1, 2))
    slow.advance(dt.datetime(2024, 1, 1))
    assert slow.get() == dt.datetime(2024, 1, 2)


OLD = "crm_export..export"


def test_the_watermark_of_an_earlier_version_is_taken_over_once(
    answers: Sandbox, states: AssetStates, tmp_path: Path
) -> None:
    answer(answers, FIRST)
    answer(answers, FIRST, consent=1)
    track = answer(answers, SECOND)
    states.values[OLD] = "2024-01-01T10:00:01"
    assert Run(states, tmp_path / "x.jsonl")(consent_id=9876) == [track]
    assert OLD not in states.values
    assert len(Run(states, tmp_path / "x.jsonl")(consent_id=9875)) == 1


@pytest.mark.parametrize("uncertain", ["mapped", "template"])
def test_an_old_watermark_of_uncertain_rows_is_not_taken_over(
    answers: Sandbox, states: AssetStates, tmp_path: Path, uncertain: str, capsys: pytest.CaptureFixture[str]
) -> None:
    track = answer(answers, FIRST)
    states.values[OLD] = "2024-01-01T10:00:01"
    written = SimpleNamespace(consent_id="{{ params.consent_id }}")
    dag = SimpleNamespace(dag_id="", get_task=lambda task_id: written)
    run = (
        Run(states, tmp_path / "x.jsonl", map_index=0)
        if uncertain == "mapped"
        else Run(states, tmp_path / "x.jsonl", dag=dag)
    )
    assert run(consent_id=9876) == [track]
    assert f"kept under '{OLD}', is not used" in capsys.readouterr().out


class BrokenEvents:
    """A place for the events of assets that is out of order."""

    def __getitem__(self, asset: Any) -> Any:
        raise ConnectionError("no events today")


def test_a_failure_after_the_file_moves_no_watermark(
    answers: Sandbox, states: AssetStates, tmp_path: Path
) -> None:
    track = answer(answers, FIRST)
    run = Run(states, tmp_path / "x.jsonl", outlet_events=BrokenEvents())
    with pytest.raises(ConnectionError):
        run(consent_id=9876)
    assert states.values == {}
    del run.context["outlet_events"]
    assert run(consent_id=9876) == [track]


def test_a_retry_has_the_window_of_the_first_try(
    few_retries: Sandbox, states: AssetStates, tmp_path: Path
) -> None:
    few_retries.seed(1, ["spread"])
    few_retries.spread.consents.__init__()  # type: ignore[misc]
    track = answer(few_retries, FIRST)
    answer(few_retries, SECOND)
    run = Run(states, tmp_path / "x.jsonl")
    few_retries.fault("error_before", system="spread")
    # Each try would have another end, as it has where that is the time of day.
    with pytest.raises(CrmTransientError):
        run(consent_id=9876, created_before="2024-01-02")
    few_retries.clear()
    assert run(consent_id=9876, created_before="2024-01-03") == [track]


def test_a_run_that_is_cleared_exports_its_own_window_again(
    answers: Sandbox, states: AssetStates, tmp_path: Path
) -> None:
    tracks, runs, files = [], [], []
    for at, end in ((FIRST, "2024-01-02"), (SECOND, "2024-01-03"), (THIRD, "2024-01-04")):
        tracks.append(answer(answers, at))
        runs.append(Run(states, tmp_path / f"{len(runs)}.jsonl"))
        assert runs[-1](consent_id=9876, created_before=end) == tracks[-1:]
        files.append(runs[-1].path.read_bytes())
    reached = dict(states.values)
    for run, before in zip(runs, files, strict=True):
        run(consent_id=9876)
        assert run.path.read_bytes() == before
    assert states.values == reached


def test_a_run_that_is_cleared_with_another_consent_exports_that_one(
    answers: Sandbox, states: AssetStates, tmp_path: Path
) -> None:
    tracks = [answer(answers, at, consent=consent) for consent, at in enumerate((SECOND, FIRST))]
    run = Run(states, tmp_path / "x.jsonl")
    assert run(consent_id=9876) == tracks[:1]
    assert run(consent_id=9875) == tracks[1:]
    assert run(consent_id=9876) == tracks[:1]


def test_a_failed_run_that_another_has_overtaken_repeats_none_of_its_rows(
    answers: Sandbox, states: AssetStates, tmp_path: Path
) -> None:
    track = answer(answers, FIRST)
    failed = Run(states, tmp_path / "a.jsonl", outlet_events=BrokenEvents())
    with pytest.raises(ConnectionError):
        failed(consent_id=9876)
    assert Run(states, tmp_path / "b.jsonl")(consent_id=9876) == [track]
    del failed.context["outlet_events"]
    assert failed(consent_id=9876) == []


def test_without_a_state_of_tasks_a_retry_goes_on_from_the_watermark(
    answers: Sandbox, states: AssetStates, tmp_path: Path
) -> None:
    track = answer(answers, FIRST)
    run = Run(states, tmp_path / "x.jsonl", outlet_events=BrokenEvents())
    del run.context["task_state_store"]
    with pytest.raises(ConnectionError):
        run(consent_id=9876)
    del run.context["outlet_events"]
    assert run(consent_id=9876) == [track]
    assert run(consent_id=9876) == []
