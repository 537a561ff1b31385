"""Columns and their values: where they go, what counts as a change, and what becomes of odd rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .upserting import Upsert


def test_columns_are_found_by_id_name_and_label(upsert: Upsert) -> None:
    rows = [{"mail": "zoe@example.fr", "a": "Z", "b": "Paris", "c": "75001", "d": "Mme", "e": True}]
    field_map = {"mail": 1, "a": "14", "b": "Ville", "c": "fld18", "d": "CIVILITE", "e": "carte_fidelite"}
    upsert(rows, field_map=field_map)
    held = upsert.held("zoe@example.fr")
    assert {number: held[number] for number in (14, 17, 18, 13, 105)} == {
        14: "Z",
        17: "Paris",
        18: "75001",
        13: 1,
        105: 1,
    }


@pytest.mark.sampled
@pytest.mark.parametrize("nothing", [None, "", "  ", float("nan")], ids=["none", "empty", "blank", "nan"])
@pytest.mark.parametrize("nulls", ["skip", "send"])
def test_nulls(upsert: Upsert, nulls: str, nothing: Any) -> None:
    upsert.sandbox.mindbaz.insert({1: "zoe@example.fr", 14: "Old", 103: "2023-01-04T17:39:00+01:00"})
    upsert.sandbox.mindbaz.insert({1: "ida@example.fr"})
    rows = [
        {"email": email, "nom": nothing, "dernier_achat": nothing}
        for email in ("zoe@example.fr", "ida@example.fr", "max@example.fr")
    ]
    upsert(rows, nulls=nulls)
    assert upsert.endings == ["updated" if nulls == "send" else "unchanged", "unchanged", "created"]
    assert (14 in upsert.held("zoe@example.fr")) == (nulls == "skip")
    assert 14 not in upsert.held("max@example.fr")


def test_a_status_cannot_be_emptied(upsert: Upsert) -> None:
    upsert.sandbox.mindbaz.insert({1: "out@example.fr", 7: 1})
    upsert([{"email": "out@example.fr", "statut": None}], nulls="send")
    assert upsert.endings == ["rejected"]
    assert upsert.held("out@example.fr")[7] == 1
    assert upsert.writes() == []


def test_what_is_held_already_is_told_from_what_is_not(upsert: Upsert) -> None:
    row = {
        "email": "zoe@example.fr",
        "nom": "Zoé",
        "dernier_achat": "2023-07-04 17:39:12",
        "points_fidelite": "12",
        "carte_fidelite": "oui",
        "segment": "Or",
        "statut": 0,
    }
    upsert([row])
    upsert([row])
    assert upsert.endings == ["unchanged"]
    for name, value in [
        ("nom", "zoé"),
        ("dernier_achat", "2023-07-04 17:40"),
        ("points_fidelite", 13),
        ("carte_fidelite", 0),
        ("segment", 2),
        ("statut", 8),
    ]:
        upsert([{**row, name: value}])
        assert upsert.endings == ["updated"]
    assert upsert.writes() == [("POST", 1), *[("PUT", 1)] * 6]


def test_only_what_differs_is_sent(upsert: Upsert, before_write: Callable[..., None]) -> None:
    number = upsert.sandbox.mindbaz.insert({1: "zoe@example.fr", 14: "Old", 17: "Paris"})
    before_write(lambda: upsert.sandbox.mindbaz.subscribers.update(number, {17: "Lyon"}))
    upsert([{"email": "zoe@example.fr", "nom": "New", "ville": "Paris"}])
    assert upsert.held("zoe@example.fr")[17] == "Lyon", "somebody else's change is not undone in passing"


def test_odd_rows_are_rejected_alone(upsert: Upsert) -> None:
    rows = [
        {"email": "zoe@example.fr", "nom": "Zoé"},
        {"email": "half@example.fr", "nom": "half a \ud83d surrogate"},
        {"email": "\udc00@example.fr", "nom": "in the key"},
        {"email": "object@example.fr", "nom": {"a": object()}},
        {"email": "long@example.fr", "nom": "x" * 300},
        {"email": f"{'x' * 3000}@example.fr", "nom": "Long"},
        {"email": "giant@example.fr", "points_fidelite": 2**70},
        {"email": "date@example.fr", "dernier_achat": "yesterday"},
        {"email": "list@example.fr", "segment": 9},
        {"email": "no address", "nom": "?"},
        {"email": "a@b,c", "nom": "two"},
        "no dict",
        {"email": "ünï@example.fr", "nom": "Accents"},
        {"email": "o'hara+news%20@example.fr", "nom": "O'Hara & Co"},
    ]
    upsert(rows)
    assert upsert.endings == ["created", *["rejected"] * 11, "created", "created"]
    assert upsert.held("o'hara+news%20@example.fr")[14] == "O'Hara & Co"
    assert [reject["stage"] for reject in upsert.rejects].count("crm") == 1
    upsert([rows[-1], rows[-2]])
    assert upsert.endings == ["unchanged", "unchanged"]


def test_a_key_too_long_for_a_look_up_does_not_shrink_the_batches(upsert: Upsert) -> None:
    upsert.sandbox.fault("query_too_long", system="mindbaz", limit=1500)
    rows = [{"id_client": f"C{number}", "email": f"a{number}@example.fr"} for number in range(41)]
    rows[3]["id_client"] = "C" * 2000
    upsert(rows, match_by="IdClient", field_map={"id_client": 43, "email": 1}, batch_size=20, concurrency=1)
    assert upsert.endings.count("created") == 40
    assert upsert.writes()[-1] == ("POST", 20)
