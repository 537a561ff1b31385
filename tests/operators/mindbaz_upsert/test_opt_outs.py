"""Several rows of one person, some of which opt out: the opt-out wins, at any distance and in any order."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_crm.bulk import batches
from airflow_provider_crm.exceptions import CrmTransientError
from tests.helpers.state import TaskState

from .upserting import Row, Upsert

EMAIL = "ana@example.fr"
FIELDS = {"email": 1, "status": 7, "name": 14, "left": 4}


@pytest.fixture(params=[30_000, 0], ids=["near", "far"])
def distance(request: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    """Whether the rows of one person are seen together or go into batches of their own."""
    monkeypatch.setitem(batches.batches.__kwdefaults__, "window", request.param)
    return int(request.param)


def person(**values: Any) -> Row:
    return {"email": EMAIL, "status": None, "name": None, "left": None, **values}


def run(upsert: Upsert, rows: list[Row], **parameters: Any) -> dict[str, Any]:
    return upsert(rows, field_map=FIELDS, batch_size=1, **parameters)


@pytest.mark.parametrize("held", [None, 0, 1])
@pytest.mark.parametrize("allow_resubscribe", [False, True])
@pytest.mark.parametrize("order", [1, -1])
def test_an_opt_out_wins_over_every_other_row(
    upsert: Upsert, distance: int, held: int | None, allow_resubscribe: bool, order: int
) -> None:
    if held is not None:
        upsert.sandbox.mindbaz.insert({1: EMAIL, 7: held})
    rows = [person(status=1, name="Ana"), person(status=0, name="Anna")][::order]
    run(upsert, rows, allow_resubscribe=allow_resubscribe)
    assert upsert.held(EMAIL)[7] == 1
    assert "rejected" not in upsert.endings or order == -1


def test_the_last_row_wins_in_all_but_the_opt_out(upsert: Upsert, distance: int) -> None:
    upsert.sandbox.mindbaz.insert({1: EMAIL, 7: 0})
    rows = [
        person(status=1, left="2024-05-01 10:00:00", name="Ana"),
        person(name="Anna"),  # says nothing about the status
        person(status=0, name="Annette"),
    ]
    run(upsert, rows)
    held = upsert.held(EMAIL)
    assert (held[7], held[14]) == (1, "Annette")
    assert str(held[4]).startswith("2024-05-01")
    assert upsert.endings[-1] == "updated"


@pytest.mark.parametrize("status", [2, 5, 9, 12])
def test_every_way_to_opt_out_counts_and_the_latest_stands(
    upsert: Upsert, distance: int, status: int
) -> None:
    run(upsert, [person(status=status), person(status=0)])
    assert upsert.held(EMAIL)[7] == status
    run(upsert, [person(status=1), person(status=status), person(status=0)])
    assert upsert.held(EMAIL)[7] == status


def test_a_technical_status_is_no_opt_out(upsert: Upsert, distance: int) -> None:
    upsert.sandbox.mindbaz.insert({1: EMAIL, 7: 7})
    run(upsert, [person(status=7), person(status=0)], allow_resubscribe=True)
    assert upsert.held(EMAIL)[7] == 0


def test_nobody_else_is_opted_out(upsert: Upsert, distance: int) -> None:
    others = [{**person(status=0), "email": f"other{number}@example.fr"} for number in range(50)]
    run(upsert, [person(status=1), *others, person(status=0)])
    assert {upsert.held(other["email"]).get(7, 0) for other in others} == {0}
    assert upsert.held(EMAIL)[7] == 1


def test_an_opt_out_before_a_row_that_cannot_be_sent_is_carried_out(upsert: Upsert, distance: int) -> None:
    upsert.sandbox.mindbaz.insert({1: EMAIL, 7: 0})
    run(upsert, [person(status=1), person(status=0, left="no date")])
    assert upsert.held(EMAIL)[7] == 1
    assert upsert.endings == ["updated", "rejected"]


@pytest.mark.usefixtures("impatient")
def test_a_retry_remembers_the_opt_outs_of_the_try_before(upsert: Upsert, distance: int) -> None:
    store = TaskState()
    others = [{**person(status=0), "email": f"other{number}@example.fr"} for number in range(20)]
    rows = [person(status=1), *others, person(status=0)]
    upsert.sandbox.fault("error_before", system="mindbaz", method="POST", after=10, status=500)
    with pytest.raises(CrmTransientError):
        run(upsert, rows, store=store, concurrency=1, allow_resubscribe=True)
    upsert.sandbox.clear()
    assert store
    run(upsert, rows, store=store, concurrency=1, allow_resubscribe=True)
    assert upsert.held(EMAIL)[7] == 1
