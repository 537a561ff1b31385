"""From when to when: the data interval, bounds of one's own, zones, and the hour that October repeats."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.operators.spread.exports import (
    SpreadExportConsentsOperator,
    SpreadExportCustomersOperator,
)
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.exports import export, lines

from .exporting import answer, spread_calls

UTC = dt.UTC


def interval(start: str, end: str) -> dict[str, Any]:
    return {
        "data_interval_start": dt.datetime.fromisoformat(start),
        "data_interval_end": dt.datetime.fromisoformat(end),
    }


def test_the_window_is_the_data_interval(spread: Sandbox, tmp_path: Path) -> None:
    spread.seed(1, ["spread"])
    spread.spread.consents.__init__()  # type: ignore[misc]
    times = ("2024-01-01 23:59:59", "2024-01-02 00:00:00", "2024-01-02 12:00:00", "2024-01-02 23:59:59")
    tracks = [answer(spread, at) for at in (*times, "2024-01-03 00:00:00")]
    for bounds in ("exclusive", "inclusive"):
        spread.switch("spread", date_bounds=bounds)
        path = tmp_path / f"{bounds}.jsonl"
        # Midnight in Paris.
        run = interval("2024-01-01T23:00:00+00:00", "2024-01-02T23:00:00+00:00")
        export(SpreadExportConsentsOperator, path, run, consent_id=9876)
        assert [row["trackId"] for row in lines(path)] == tracks[1:4]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris"])
@pytest.mark.parametrize("bounds", ["exclusive", "inclusive"])
def test_customers_of_an_interval_whatever_zone_filters_are_in(
    spread: Sandbox, tmp_path: Path, zone: str, bounds: str
) -> None:
    """Customers are shown in UTC: an hour or two of a day must not depend on what the filters mean by a time."""
    spread.switch("spread", zone=zone, date_bounds=bounds)
    midnight = dt.datetime(2024, 7, 1, 22, tzinfo=UTC)  # in Paris
    seconds = (-1, 0, 1, 3600, 7200, 79_200, 86_399, 86_400)
    for after in seconds:
        customer = spread.spread.add_customer(f"p{after}@example.fr")
        customer.created_at = f"{midnight + dt.timedelta(seconds=after):%Y-%m-%dT%H:%M:%S}+0000"
    path = tmp_path / "x.jsonl"
    run = interval(midnight.isoformat(), (midnight + dt.timedelta(days=1)).isoformat())
    export(SpreadExportCustomersOperator, path, run)
    assert [row["email"] for row in lines(path)] == [f"p{after}@example.fr" for after in seconds[1:-1]]


@pytest.mark.parametrize(
    "context",
    [
        {"ti": None},
        interval("2024-01-02T00:00:00+00:00", "2024-01-02T00:00:00+00:00"),
        {"data_interval_start": None},
    ],
    ids=["none", "without extent", "null"],
)
def test_a_run_without_an_interval_is_refused(
    spread: Sandbox, tmp_path: Path, context: dict[str, Any]
) -> None:
    spread.seed(30, ["spread"])
    path = tmp_path / "x.jsonl"
    with pytest.raises(
        CrmInputError, match=r"CronDataIntervalTimetable.*created_after.*created_before.*window="
    ):
        export(SpreadExportCustomersOperator, path, context)
    assert not path.exists()
    assert not spread_calls(spread)
    assert export(SpreadExportCustomersOperator, path, context, window="all")["rows"] == 30
    assert export(SpreadExportCustomersOperator, path, context, created_after="2001-01-01")["rows"] == 30


def test_a_filter_on_changes_or_window_all_leaves_the_interval_out(spread: Sandbox, tmp_path: Path) -> None:
    spread.seed(30, ["spread"])
    run = interval("2030-01-01T00:00:00+00:00", "2030-01-02T00:00:00+00:00")
    path = tmp_path / "x.jsonl"
    assert export(SpreadExportCustomersOperator, path, run)["rows"] == 0
    assert export(SpreadExportCustomersOperator, path, run, window="all")["rows"] == 30
    assert export(SpreadExportCustomersOperator, path, run, modified_after="2001-01-01")["rows"] == 30


def sent(sandbox: Sandbox) -> dict[str, str]:
    from urllib.parse import parse_qsl

    return dict(parse_qsl(next(call for call in sandbox.calls if call.query).query))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2024-06-01 00:00:00", "2024-06-01 00:00:00"),
        ("2024-06-01", "2024-06-01"),
        ("2024-06-01T00:00:00+00:00", "2024-06-01 02:00:00"),
        (dt.datetime(2024, 1, 1, tzinfo=UTC), "2024-01-01 01:00:00"),
        (dt.datetime(2024, 1, 1), "2024-01-01 00:00:00"),
        (dt.date(2024, 1, 1), "2024-01-01 00:00:00"),
    ],
)
def test_bounds_are_sent_as_given_or_in_the_zone(
    spread: Sandbox, tmp_path: Path, given: Any, expected: str
) -> None:
    export(SpreadExportCustomersOperator, tmp_path / "x.jsonl", created_after=given)
    assert sent(spread)["createdAfter"] == expected


def test_the_zone_can_be_another_one(spread: Sandbox, tmp_path: Path) -> None:
    spread.seed(1, ["spread"])
    answer(spread, "2024-07-01 10:00:00")
    path = tmp_path / "x.jsonl"
    parameters = {"consent_id": 9876, "timezone": "UTC", "created_after": "2024-07-01T00:00:00+02:00"}
    export(SpreadExportConsentsOperator, path, **parameters)
    assert sent(spread)["createdAfter"] == "2024-06-30 22:00:00"
    assert [row["customerConsentCreatedAt"] for row in lines(path)] == ["2024-07-01T10:00:00+00:00"]


@pytest.mark.sampled
@pytest.mark.parametrize("minutes", [15, 20, 30, 60, 90])
@pytest.mark.parametrize("offset", [0, 30])
def test_the_repeated_hour_of_october(spread: Sandbox, tmp_path: Path, offset: int, minutes: int) -> None:
    """Runs lose nothing and repeat nothing, although each sees only the rows of which the hour has come."""
    spread.seed(1, ["spread"])
    spread.spread.consents.__init__()  # type: ignore[misc]
    tracks, got = [], []
    start = dt.datetime(2024, 10, 26, 23, offset, tzinfo=UTC)
    answered = dt.datetime(2024, 10, 26, 23, 59, 59, tzinfo=UTC)
    while start < dt.datetime(2024, 10, 27, 2, tzinfo=UTC):
        end = start + dt.timedelta(minutes=minutes)
        while answered < min(end, dt.datetime(2024, 10, 27, 2, tzinfo=UTC)):
            local = answered.astimezone(ZoneInfo("Europe/Paris"))
            tracks.append(answer(spread, f"{local:%Y-%m-%d %H:%M:%S}"))
            answered += dt.timedelta(minutes=10)
        run = {"data_interval_start": start, "data_interval_end": end}
        path = tmp_path / f"{start:%H%M}.jsonl"
        export(SpreadExportConsentsOperator, path, run, consent_id=9876)
        rows = lines(path)
        assert all(row["customerConsentCreatedAt"].endswith("+02:00") for row in rows)
        got += [row["trackId"] for row in rows]
        start = end
    assert sorted(got) == sorted(tracks)


def test_bounds_given_across_the_repeated_hour(spread: Sandbox, tmp_path: Path) -> None:
    """The clock shows the same at both ends: no reason to take them for turned round."""
    bounds = {"created_after": "2024-10-27T00:30:00+00:00", "created_before": "2024-10-27T01:30:00+00:00"}
    export(SpreadExportConsentsOperator, tmp_path / "x.jsonl", consent_id=9876, **bounds)
    assert sent(spread)["createdAfter"] == sent(spread)["createBefore"] == "2024-10-27 02:30:00"
