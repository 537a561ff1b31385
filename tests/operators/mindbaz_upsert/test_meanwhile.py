"""Opt-outs stay, and what others do between look-up and write is not undone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.destinations.mindbaz.upserts import UpsertSubscribers

from .upserting import Upsert

# Opt-outs


@pytest.mark.sampled
@pytest.mark.parametrize("wanted", [0, "0", "Abonné"])
def test_nobody_is_put_back_to_subscribed_in_passing(upsert: Upsert, wanted: Any) -> None:
    statuses = range(1, 13)
    for status in statuses:
        upsert.sandbox.mindbaz.insert({1: f"out{status}@example.fr", 7: status})
    rows = [{"email": f"out{status}@example.fr", "nom": "In", "statut": wanted} for status in statuses]
    upsert(rows)
    assert upsert.endings == ["rejected"] * 12
    assert all("allow_resubscribe" in reject["reason"] for reject in upsert.rejects)
    assert [upsert.held(f"out{status}@example.fr")[7] for status in statuses] == list(statuses)
    assert upsert.writes() == []
    upsert(rows, allow_resubscribe=True)
    assert upsert.endings == ["updated"] * 12
    assert {upsert.held(f"out{status}@example.fr")[7] for status in statuses} == {0}


def test_protection_without_the_list_of_fields(upsert: Upsert) -> None:
    upsert.sandbox.mindbaz.insert({1: "out@example.fr", 7: 1})
    upsert.sandbox.fault("answer_before", path="/fields/list", status=400)
    upsert(
        [{"mail": "out@example.fr", "state": "0", "name": "In"}],
        field_map={"mail": 1, "state": 7, "name": 14},
    )
    assert upsert.endings == ["rejected"]


def test_an_opt_out_between_look_up_and_update_stays(
    upsert: Upsert, before_write: Callable[..., None]
) -> None:
    number = upsert.sandbox.mindbaz.insert({1: "zoe@example.fr"})
    before_write(lambda: upsert.sandbox.mindbaz.subscribers.update(number, {7: 1}))
    upsert([{"email": "zoe@example.fr", "nom": "New", "statut": 0}])
    assert upsert.held("zoe@example.fr")[7] == 1
    assert upsert.held("zoe@example.fr")[14] == "New"


@pytest.mark.parametrize("existing_email", ["abort", "minus_one", "update"])
def test_an_opt_out_between_look_up_and_creation_stays(
    upsert: Upsert, before_write: Callable[..., None], existing_email: str
) -> None:
    upsert.sandbox.switch("mindbaz", existing_email=existing_email)
    before_write(lambda: upsert.sandbox.mindbaz.insert({1: "zoe@example.fr", 7: 1}))
    upsert([{"email": "zoe@example.fr", "nom": "New", "statut": 0}, {"email": "max@example.fr", "statut": 0}])
    assert upsert.held("zoe@example.fr")[7] == 1
    assert upsert.held("max@example.fr")[7] == 0
    assert upsert.endings[1] == "created"


# Others at the same time


@pytest.mark.sampled
@pytest.mark.parametrize("existing_email", ["abort", "minus_one", "update"])
def test_two_runs_at_once_over_the_same_people(
    upsert: Upsert, tmp_path: Path, existing_email: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upsert.sandbox.switch("mindbaz", existing_email=existing_email)
    together = threading.Barrier(2)
    apply = UpsertSubscribers.apply

    def at_once(self: UpsertSubscribers, steps: Any) -> Any:
        # Both have looked, and neither has found anybody.
        try:
            together.wait(0.05)
        except threading.BrokenBarrierError:
            together.reset()
        return apply(self, steps)

    monkeypatch.setattr(UpsertSubscribers, "apply", at_once)
    runs = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        runs.append(Upsert(upsert.sandbox, folder))
    rows = [{"email": f"a{number}@example.fr", "nom": "Same", "points_fidelite": 5} for number in range(60)]
    threads = [threading.Thread(target=run, args=(rows,), kwargs={"batch_size": 20}) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert upsert.emails() == sorted(row["email"] for row in rows)
    for run in runs:
        assert len(run.results) == 60
        assert run.rejects == []
    assert all(upsert.held(row["email"])[102] == 5 for row in rows)


@pytest.mark.sampled
@pytest.mark.parametrize("unknown_id", ["abort", "minus_one", "ignore"])
@pytest.mark.parametrize("minus_one_fields", ["echo", "empty", "null"])
def test_somebody_who_is_deleted_before_the_update_is_created_anew(
    upsert: Upsert, before_write: Callable[..., None], unknown_id: str, minus_one_fields: str
) -> None:
    upsert.sandbox.switch("mindbaz", unknown_id=unknown_id, minus_one_fields=minus_one_fields)
    people = [upsert.sandbox.mindbaz.insert({1: f"a{number}@example.fr"}) for number in range(6)]
    before_write(lambda: [upsert.sandbox.mindbaz.subscribers.remove(number) for number in people[2:4]])
    upsert([{"email": f"a{number}@example.fr", "nom": "New"} for number in range(6)])
    assert upsert.endings == ["updated", "updated", "created", "created", "updated", "updated"]
    assert all(upsert.held(f"a{number}@example.fr")[14] == "New" for number in range(6))
