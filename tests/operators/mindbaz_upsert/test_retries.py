"""A retry goes on where the first try stopped, or starts afresh where that would be wrong."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from airflow_provider_crm.bulk import checkpoint
from tests.helpers.state import TaskState

from .upserting import Row, Upsert

ROWS = [{"email": f"a{number}@example.fr" if number % 10 else "nobody"} for number in range(100)]


def fail_in_the_middle(upsert: Upsert, store: TaskState | None) -> None:
    """Run a first try of which no writing call passes after four."""
    upsert.sandbox.fault("error_before", system="mindbaz", method="POST", after=4, status=500)
    with pytest.raises(Exception, match="500"):
        upsert(ROWS, store=store, batch_size=10, concurrency=1)
    upsert.sandbox.clear()


@pytest.mark.usefixtures("impatient")
def test_a_retry_goes_on_where_the_first_try_stopped(
    upsert: Upsert, caplog: pytest.LogCaptureFixture
) -> None:
    store = TaskState()
    fail_in_the_middle(upsert, store)
    assert "nobody" not in json.dumps(store)
    sent = sum(rows for _, rows in upsert.writes())
    with caplog.at_level(logging.INFO):
        summary = upsert(ROWS, store=store, batch_size=10, concurrency=1)
    assert "going on after them" in caplog.text
    assert summary.items() >= {"read": 100, "created": 90, "rejected": 10, "updated": 0}.items()
    assert len(upsert.results) == 100
    assert sorted(reject["row"] for reject in upsert.rejects) == list(range(1, 101, 10))
    assert sum(rows for _, rows in upsert.writes()) - sent <= 50
    assert store == {}


@pytest.mark.sampled
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("rows", "parameters"),
    [
        ([*ROWS[:5], {"email": "other@example.fr"}, *ROWS[6:]], {}),
        ([{**row, "nom": "New"} for row in ROWS], {}),
        (ROWS[:20], {}),
        (ROWS, {"mode": "create"}),
        (ROWS, {"nulls": "send"}),
        (ROWS, {"batch_size": 20}),
        (ROWS, {"field_map": {"email": "email"}}),
        (ROWS, {"results_path": None}),
    ],
    ids=["one row", "one column", "fewer", "mode", "nulls", "batches", "map", "files"],
)
def test_a_retry_of_something_else_starts_afresh(
    upsert: Upsert, rows: list[Row], parameters: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    store = TaskState()
    fail_in_the_middle(upsert, store)
    with caplog.at_level(logging.INFO):
        summary = upsert(rows, store=store, **{"batch_size": 10, **parameters})
    assert "starting from the first row" in caplog.text
    assert summary["read"] == len(rows)
    assert len(upsert.rejects) == summary["rejected"] == sum(row["email"] == "nobody" for row in rows)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("change", ["site", "host"])
def test_a_retry_towards_another_account_starts_afresh(
    upsert: Upsert, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TaskState()
    fail_in_the_middle(upsert, store)
    upsert.sandbox.mindbaz.reset()
    if change == "site":
        upsert.sandbox.switch("mindbaz", site_id=4)
    connection = json.loads(upsert.sandbox.connections()["mindbaz_default"])
    if change == "host":
        connection["host"] = connection["host"].replace("127.0.0.1", "localhost")
    monkeypatch.setenv("AIRFLOW_CONN_MINDBAZ_DEFAULT", json.dumps(connection))
    assert upsert(ROWS, store=store, batch_size=10)["created"] == 90
    assert len(upsert.emails()) == 90


@pytest.mark.sampled
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("harm", ["gone", "short", "state"])
def test_a_retry_without_what_the_first_try_left_starts_afresh(
    upsert: Upsert, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = TaskState()
    fail_in_the_middle(upsert, store)
    if harm == "gone":
        upsert.results_path.unlink()
    elif harm == "short":
        upsert.rejects_path.write_text("")
    else:
        store.set(checkpoint.KEY, {"what": "is this"})
    with caplog.at_level(logging.INFO):
        summary = upsert(ROWS, store=store, batch_size=10)
    assert "starting from the first row" in caplog.text
    assert summary["read"] == len(upsert.results) == 100
    assert summary["rejected"] == len(upsert.rejects) == 10


@pytest.mark.usefixtures("impatient")
def test_a_retry_without_a_state_store_says_so_and_sends_what_is_missing(
    upsert: Upsert, caplog: pytest.LogCaptureFixture
) -> None:
    fail_in_the_middle(upsert, None)
    held = len(upsert.emails())
    before = len(upsert.writes())
    summary = upsert(ROWS, batch_size=10)
    assert sum(rows for _, rows in upsert.writes()[before:]) == 90 - held
    assert summary.items() >= {"unchanged": held, "created": 90 - held, "rejected": 10}.items()


def test_a_store_that_fails_costs_nothing_but_a_warning(
    upsert: Upsert, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(TaskState):
        def _fail(self, *args: Any) -> Any:
            raise RuntimeError("no supervisor")

        get = set = delete = _fail  # type: ignore[assignment]

    monkeypatch.setattr(checkpoint, "SAVE_EVERY", 0.0)
    assert upsert(ROWS, store=Broken(), batch_size=10)["read"] == 100
    assert "no supervisor" in caplog.text
