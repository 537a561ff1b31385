"""Who is created and who is updated, and by which key people are found."""

from __future__ import annotations

from functools import partial

import pytest

from airflow_provider_crm.bulk import engine
from airflow_provider_crm.bulk.batches import batches
from airflow_provider_crm.sandbox.mindbaz.subscribers import Subscribers

from .upserting import Upsert


@pytest.mark.parametrize(
    ("mode", "endings", "name"),
    [
        ("upsert", ["updated", "created", "unchanged"], "New"),
        ("create", ["skipped", "created", "skipped"], "Old"),
        ("update", ["updated", "skipped", "unchanged"], "New"),
    ],
)
def test_modes(upsert: Upsert, mode: str, endings: list[str], name: str) -> None:
    number = upsert.sandbox.mindbaz.insert({1: "zoe@example.fr", 14: "Old"})
    upsert.sandbox.mindbaz.insert({1: "ida@example.fr", 14: "Same"})
    summary = upsert(
        [
            {"email": "zoe@example.fr", "nom": "New"},
            {"email": "max@example.fr", "nom": "New"},
            {"email": "ida@example.fr", "nom": "Same"},
        ],
        mode=mode,
    )
    assert upsert.endings == endings
    assert upsert.held("zoe@example.fr")[14] == name
    assert upsert.results[0]["id"] == number
    assert summary.items() >= {"read": 3, "rejected": 0, "rejects_path": str(upsert.rejects_path)}.items()
    if endings[1] == "created":
        assert upsert.results[1]["id"] == upsert.held("max@example.fr")[0]
    else:
        assert upsert.emails() == ["ida@example.fr", "zoe@example.fr"]
    assert upsert.rejects == []


def test_creates_and_updates_go_in_one_call(upsert: Upsert) -> None:
    for number in range(10):
        upsert.sandbox.mindbaz.insert({1: f"a{number}@example.fr"})
    upsert([{"email": f"a{number}@example.fr", "nom": "New"} for number in range(20)])
    upsert([{"email": f"a{number}@example.fr", "nom": "Newer"} for number in range(20)])
    assert upsert.writes() == [("POST", 20), ("PUT", 20)]
    look_ups = [call.query for call in upsert.sandbox.calls if call.route == "/Subscribers" and call.query]
    # The absent ones are asked for twice, until the server is known to answer for all.
    assert len(look_ups) == 3
    assert all("filter.idFields=0,1,14&" in f"{query}&" for query in look_ups)


def test_the_last_row_of_a_person_counts(upsert: Upsert) -> None:
    rows = [
        {"email": " Zoe@Example.FR ", "nom": "First"},
        {"email": "max@example.fr", "nom": "Max"},
        {"email": "zoe@example.fr", "nom": "Second"},
        {"email": "ZOE@example.fr\n", "prenom": "Zoé"},
    ]
    summary = upsert(rows, nulls="send")
    assert upsert.endings == ["skipped", "created", "skipped", "created"]
    assert summary["skipped"] == 2
    assert upsert.held("zoe@example.fr").get(14) is None
    assert upsert.held("zoe@example.fr")[15] == "Zoé"


def test_rows_of_a_person_that_lie_far_apart_are_sent_in_order(
    upsert: Upsert, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "batches", partial(batches, window=5))
    rows = [{"email": f"a{number % 20}@example.fr", "nom": f"Turn {number // 20}"} for number in range(100)]
    upsert(rows, batch_size=5, concurrency=6)
    assert upsert.endings == ["created"] * 20 + ["updated"] * 80
    assert all(upsert.held(f"a{number}@example.fr")[14] == "Turn 4" for number in range(20))


def test_matching_by_client_id(upsert: Upsert) -> None:
    insert = upsert.sandbox.mindbaz.insert
    insert({1: "zoe@example.fr", 43: "C1", 14: "Old"})
    insert({1: "twin1@example.fr", 43: "C2"})
    insert({1: "twin2@example.fr", 43: "C2"})
    insert({1: "taken@example.fr"})
    rows = [
        {"id_client": " C1 ", "email": "zoe@example.fr", "nom": "New"},
        {"id_client": "C2", "email": "twin1@example.fr", "nom": "New"},
        {"id_client": "C3", "email": "Max@example.fr", "nom": "Max"},
        {"id_client": "C4", "email": None, "nom": "Nobody"},
        {"id_client": "C5", "email": "Taken@example.fr", "nom": "Somebody"},
        {"id_client": "C,6", "email": "comma@example.fr", "nom": "Comma"},
        {"id_client": float("nan"), "email": "nan@example.fr", "nom": "NaN"},
        {"id_client": 7.0, "email": "seven@example.fr", "nom": "Seven"},
    ]
    upsert(rows, match_by="IdClient")
    assert upsert.endings == [
        "updated",
        "rejected",
        "created",
        "rejected",
        "rejected",
        "rejected",
        "rejected",
        "created",
    ]
    reasons = [reject["reason"] for reject in sorted(upsert.rejects, key=lambda reject: reject["row"])]
    for reason, words in zip(
        reasons, ("2 subscribers share", "without an e-mail", "belongs to", "comma", "empty"), strict=True
    ):
        assert words in reason
    assert upsert.held("zoe@example.fr")[14] == "New"
    assert upsert.held("max@example.fr")[43] == "C3"
    assert upsert.held("seven@example.fr")[43] == "7"
    assert 43 not in upsert.held("taken@example.fr")
    assert upsert.writes() == [("POST", 3)], "nothing had to be isolated"
    upsert(rows, match_by="IdClient")
    assert upsert.endings[0] == upsert.endings[2] == upsert.endings[7] == "unchanged"


def test_a_client_id_without_an_e_mail_updates(upsert: Upsert) -> None:
    upsert.sandbox.mindbaz.insert({1: "zoe@example.fr", 43: "C1"})
    upsert([{"id_client": "C1", "email": None, "nom": "New"}], match_by="IdClient")
    assert upsert.endings == ["updated"]
    assert upsert.held("zoe@example.fr")[14] == "New"


@pytest.mark.parametrize("put_email", ["update", "ignore", "abort"])
def test_another_e_mail_for_a_client_id(upsert: Upsert, put_email: str) -> None:
    upsert.sandbox.switch("mindbaz", put_email=put_email)
    upsert.sandbox.mindbaz.insert({1: "old@example.fr", 43: "C1"})
    upsert.sandbox.mindbaz.insert({1: "zoe@example.fr", 43: "C2"})
    rows = [
        {"id_client": "C1", "email": "new@example.fr", "nom": "New"},
        {"id_client": "C2", "email": "ZOE@example.fr", "nom": "New"},
    ]
    upsert(rows, match_by="IdClient")
    assert upsert.endings == ["updated" if put_email == "update" else "rejected", "updated"]
    assert upsert.held("new@example.fr" if put_email == "update" else "old@example.fr")[43] == "C1"
    assert upsert.held("zoe@example.fr")[14] == "New"


def test_client_ids_that_the_crm_compares_without_case(
    upsert: Upsert, monkeypatch: pytest.MonkeyPatch
) -> None:
    exactly = Subscribers.by_client
    monkeypatch.setattr(Subscribers, "by_client", lambda self, text: exactly(self, text.lower()))
    upsert.sandbox.mindbaz.insert({1: "zoe@example.fr", 43: "abc"})
    upsert([{"id_client": "ABC", "email": "zoe@example.fr", "nom": "New"}], match_by="IdClient")
    assert upsert.endings == ["updated"]
    assert upsert.held("zoe@example.fr")[43] == "abc"


def test_two_client_ids_with_one_e_mail(upsert: Upsert) -> None:
    rows = [{"id_client": f"C{number}", "email": "zoe@example.fr"} for number in (1, 2)]
    upsert(rows, match_by="IdClient")
    assert sorted(upsert.endings) == ["created", "rejected"]
    assert upsert.emails() == ["zoe@example.fr"]
