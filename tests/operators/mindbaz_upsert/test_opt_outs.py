"""Several rows of one person, some of which opt out: the opt-out wins, at any distance and in any order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.bulk import batches
from airflow_provider_crm.exceptions import CrmTransientError
from airflow_provider_crm.rows.sources import split_source
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


def run(upsert: Upsert, rows: list[Row] | str, **parameters: Any) -> dict[str, Any]:
    return upsert(rows, field_map=FIELDS, batch_size=1, **parameters)


@pytest.mark.sampled
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


@pytest.mark.sampled
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


@pytest.mark.sampled
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


@pytest.mark.sampled
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


@pytest.mark.parametrize("held", [None, 0, 1])
def test_an_opt_out_in_a_row_that_cannot_be_read_is_carried_out(upsert: Upsert, held: int | None) -> None:
    if held is not None:
        upsert.sandbox.mindbaz.insert({1: EMAIL, 7: held, 14: "Ana"})
    rows = [person(status="1", left="2024-05-01", name="x" * 300)]
    run(upsert, rows)
    assert upsert.endings == ["rejected"]
    if held is None:
        assert upsert.reason.endswith("(its opt-out is not carried out: not in Mindbaz)")
        assert upsert.emails() == []
        return
    assert upsert.reason.startswith("nom: the text has 300 characters")
    assert upsert.reason.endswith("(its opt-out is carried out)")
    assert (upsert.held(EMAIL)[7], upsert.held(EMAIL)[14]) == (1, "Ana")
    run(upsert, rows)
    assert upsert.reason.endswith("(its opt-out is carried out)"), "a second run finds it done"


@pytest.mark.parametrize("order", [1, -1])
def test_an_opt_out_in_a_row_that_cannot_be_read_wins_over_the_others(
    upsert: Upsert, distance: int, order: int
) -> None:
    upsert.sandbox.mindbaz.insert({1: EMAIL, 7: 0, 14: "Ana"})
    bad, good = person(status=1, left="yesterday"), person(status=0, name="Anna")
    run(upsert, [bad, good][::order], allow_resubscribe=True)
    assert (upsert.held(EMAIL)[7], upsert.held(EMAIL)[14]) == (1, "Anna")
    assert sorted(upsert.endings) == ["rejected", "updated"]
    row = 2 if order == 1 else 1
    said = f"its opt-out goes with row {row}" if distance else "its opt-out is carried out"
    assert upsert.reason == f"desabonnement: a date is written YYYY-MM-DD or YYYY-MM-DD HH:MM:SS ({said})"


def test_an_opt_out_of_nobody_is_said_to_be_lost(upsert: Upsert) -> None:
    run(upsert, [{**person(status=1), "email": "ana@"}])
    assert upsert.reason == "this is not an e-mail address (its opt-out is not carried out)"


def test_an_opt_out_in_a_row_that_mindbaz_refuses_is_carried_out(upsert: Upsert) -> None:
    upsert.sandbox.mindbaz.insert({1: EMAIL, 7: 0, 43: "C1"})
    upsert.sandbox.mindbaz.insert({1: "taken@example.fr", 7: 0, 43: "C2"})
    rows = [{"id_client": "C1", "email": "taken@example.fr", "statut": 1}]
    upsert(rows, match_by="IdClient")
    assert upsert.endings == ["rejected"]
    assert upsert.reason.endswith("(its opt-out is carried out)")
    assert upsert.held(EMAIL)[7] == 1
    assert upsert.held("taken@example.fr")[7] == 0


def test_what_opts_nobody_out_is_rejected_without_a_word_on_it(upsert: Upsert) -> None:
    upsert.sandbox.mindbaz.insert({1: EMAIL, 7: 1})
    run(upsert, [person(status=0, left="yesterday")])
    assert "opt-out" not in upsert.reason
    assert upsert.writes() == []


def test_an_opt_out_that_two_subscribers_share_is_said_to_be_lost(upsert: Upsert) -> None:
    for email in (EMAIL, "ana2@example.fr"):
        upsert.sandbox.mindbaz.insert({1: email, 7: 0, 43: "C1"})
    upsert([{"id_client": "C1", "statut": 1}], match_by="IdClient")
    assert upsert.reason == "2 subscribers share this IdClient (its opt-out is not carried out)"


@pytest.mark.sampled
@pytest.mark.parametrize("order", [1, -1])
def test_shards_know_the_opt_outs_of_their_people(upsert: Upsert, tmp_path: Path, order: int) -> None:
    upsert.sandbox.mindbaz.insert({1: EMAIL, 7: 0})
    others = [person(name="x") | {"email": f"p{number}@example.fr"} for number in range(20)]
    rows = [person(status=1), *others, {**person(status=0), "email": " ANA@example.fr"}]
    for shard in split_source(rows, 5, str(tmp_path / "shards"), key="email")[::order]:
        run(upsert, shard, allow_resubscribe=True)
    assert upsert.held(EMAIL)[7] == 1


@pytest.mark.sampled
@pytest.mark.parametrize("again", [True, False], ids=["beside its known row", "alone"])
def test_an_opt_out_in_a_rejected_row_wins_over_a_snapshot(
    upsert: Upsert, tmp_path: Path, distance: int, again: bool
) -> None:
    snapshot = str(tmp_path / "snapshot")
    good, bad = person(status=0, name="Ana"), person(status=1, left="yesterday")
    run(upsert, [good], snapshot=snapshot)
    for rows in ([good, bad] if again else [bad], [bad]):
        run(upsert, rows, snapshot=snapshot)
        assert upsert.endings[-1] == "rejected"
        assert (upsert.held(EMAIL)[7], upsert.held(EMAIL)[14]) == (1, "Ana")
    run(upsert, [good], snapshot=snapshot, allow_resubscribe=True)
    assert upsert.endings == ["updated"], "what the snapshot said of them is not so any more"
