"""The Mindbaz upsert operator against the sandbox: what each parameter does, and what becomes of odd rows."""

from __future__ import annotations

import inspect
import json
import logging
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.bulk import checkpoint, engine, report, settle
from airflow_provider_crm.bulk.batches import batches
from airflow_provider_crm.destinations.mindbaz import UpsertSubscribers
from airflow_provider_crm.exceptions import CrmFailError, CrmInputError, CrmRejectsError
from airflow_provider_crm.hooks import retry
from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator
from airflow_provider_crm.sandbox.mindbaz.subscribers import Subscribers
from airflow_provider_crm.sandbox.server import Sandbox

Row = dict[str, Any]


class Store(dict[str, Any]):
    """A state store as Airflow's."""

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        self.pop(key, None)


class Upsert:
    """Runs the operator on rows, and reads what it left."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.rejects_path = folder / "rejects.jsonl"
        self.results_path = folder / "results.jsonl"

    def __call__(self, source: Any, *, store: Store | None = None, **parameters: Any) -> dict[str, Any]:
        settings = {
            "max_rejects": 1.0,
            "rejects_path": str(self.rejects_path),
            "results_path": str(self.results_path),
            **parameters,
        }
        operator = MindbazUpsertSubscribersOperator(task_id="upsert", source=source, **settings)
        context: Any = {} if store is None else {"task_state_store": store}
        # Airflow 2 wraps the method in a way that works in the main thread only.
        summary: dict[str, Any] = inspect.unwrap(type(operator).execute)(operator, context)
        return summary

    @property
    def rejects(self) -> list[Row]:
        return [json.loads(line) for line in self.rejects_path.read_text().splitlines()]

    @property
    def results(self) -> list[Row]:
        lines = [json.loads(line) for line in self.results_path.read_text().splitlines()]
        return sorted(lines, key=lambda line: line["row"])

    @property
    def endings(self) -> list[str]:
        """How the rows ended, in the order of the source."""
        return [line["outcome"] for line in self.results]

    @property
    def reason(self) -> str:
        """Why the only rejected row was rejected."""
        (reject,) = self.rejects
        return str(reject["reason"])

    def writes(self) -> list[tuple[str, int]]:
        """The writing calls so far, as method and number of rows."""
        return [(call.method, call.rows) for call in self.sandbox.calls if call.method in ("POST", "PUT")]

    def held(self, email: str) -> dict[int, Any]:
        subscriber = self.sandbox.mindbaz.by_email(email)
        assert subscriber is not None, f"{email} is not there"
        return subscriber

    def emails(self) -> list[str]:
        return sorted(line["fields"][1] for line in self.sandbox.records("mindbaz", "subscribers"))


@pytest.fixture
def upsert(crm_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Upsert:
    monkeypatch.setattr(retry._Wait, "_backoff", staticmethod(lambda state: 0.001))
    monkeypatch.setattr(settle, "FIRST_WAIT", 0.001)
    return Upsert(crm_sandbox, tmp_path)


@pytest.fixture
def before_write(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Let something happen between the first look-up and the call that follows it."""

    def before_write(happens: Callable[[], Any]) -> None:
        apply = UpsertSubscribers.apply
        todo = [happens]

        def after_it_happened(self: UpsertSubscribers, steps: Any) -> Any:
            while todo:
                todo.pop()()
            return apply(self, steps)

        monkeypatch.setattr(UpsertSubscribers, "apply", after_it_happened)

    return before_write


# Modes and keys


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


# Values


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
    rows = [{"id_client": f"C{number}", "email": f"a{number}@example.fr"} for number in range(40)]
    rows[3]["id_client"] = "C" * 2000
    upsert(rows, match_by="IdClient", field_map={"id_client": 43, "email": 1}, batch_size=20, concurrency=1)
    assert upsert.endings.count("created") == 39
    assert upsert.writes()[-1] == ("POST", 20)


# Opt-outs


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


# Dry runs, limits, files


def test_a_dry_run_calls_nothing_that_writes(upsert: Upsert) -> None:
    upsert.sandbox.mindbaz.insert({1: "zoe@example.fr"})
    upsert.sandbox.mindbaz.insert({1: "out@example.fr", 7: 1})
    rows = [
        {"email": "zoe@example.fr", "nom": "New"},
        {"email": "max@example.fr", "nom": "New"},
        {"email": "max@example.fr", "nom": "Newer"},
        {"email": "out@example.fr", "statut": 0},
        {"email": "nobody"},
    ]
    store = Store()
    summary = upsert(rows, dry_run=True, store=store)
    assert summary.items() >= {"created": 1, "updated": 1, "skipped": 1, "rejected": 2, "read": 5}.items()
    assert upsert.endings == ["updated", "skipped", "created", "rejected", "rejected"]
    assert len(upsert.rejects) == 2
    assert upsert.writes() == []
    assert store == {}


def test_too_many_rejects_fail_after_all_other_rows(upsert: Upsert) -> None:
    rows = [{"email": "private.person@nodot"}, {"email": "private.person"}]
    rows += [{"email": f"a{number}@example.fr"} for number in range(8)]
    for most in (1, 0.1, "1", "0.1", 0):
        with pytest.raises(CrmRejectsError) as raised:
            upsert(rows, max_rejects=most)
        assert "private" not in str(raised.value)
        assert str(upsert.rejects_path) in str(raised.value)
        assert isinstance(raised.value, CrmFailError)
        assert len(upsert.emails()) == 8
        assert len(upsert.results) == 10
    for most in (2, 0.2, "2", "0.2", 1.0):
        assert upsert(rows, max_rejects=most)["rejected"] == 2


def test_the_rejects_file_repaired_is_a_source(upsert: Upsert, tmp_path: Path) -> None:
    upsert([{"email": "zoe", "nom": "Zoé"}, {"email": "max@example.fr", "nom": "Max"}])
    (reject,) = upsert.rejects
    assert reject["row"] == 1
    assert reject["stage"] == "validate"
    assert reject["data"] == {"email": "zoe", "nom": "Zoé"}
    repaired = tmp_path / "repaired.jsonl"
    repaired.write_text(upsert.rejects_path.read_text().replace('"zoe"', '"zoe@example.fr"'))
    assert upsert(str(repaired))["created"] == 1
    assert upsert.held("zoe@example.fr")[14] == "Zoé"


def test_rejects_without_data(upsert: Upsert) -> None:
    upsert([{"email": "zoe", "nom": "Zoé"}], reject_data=False)
    assert "Zoé" not in upsert.rejects_path.read_text()


def test_without_files(upsert: Upsert) -> None:
    rows = [{"email": "zoe@example.fr"}, {"email": ""}]
    summary = upsert(rows, rejects_path="", results_path=None, min_rows=-1)
    assert summary["created"] == summary["rejected"] == 1
    assert summary["rejects_path"] is None


# Bad input


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    path.write_text("email,nom\nzoe@example.fr,Zoé\n")
    return path


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown mode": ({"mode": "merge"}, "'upsert'"),
    "unknown key": ({"match_by": "Phone"}, "'IdClient'"),
    "unknown nulls": ({"nulls": "keep"}, "'skip'"),
    "batch too large": ({"batch_size": 5001}, "5000"),
    "batch too small": ({"batch_size": 0}, "between 1"),
    "batch as a text": ({"batch_size": "500"}, "between 1"),
    "a text that is true": ({"allow_resubscribe": "False"}, "True or False"),
    "rejects as a text": ({"max_rejects": "few"}, "max_rejects"),
    "rejects beyond all": ({"max_rejects": 1.5}, "at most 1.0"),
    "rejects below none": ({"max_rejects": -1}, "max_rejects"),
    "rows as a text": ({"min_rows": "many"}, "min_rows"),
    "too few rows": ({"min_rows": 2}, "fewer than min_rows"),
    "unknown field": ({"field_map": {"email": 1, "nom": "surname"}}, "'surname' is no field"),
    "unknown id": ({"field_map": {"email": 1, "nom": 999}}, "999 is no field"),
    "the CRM's own field": ({"field_map": {"email": 1, "nom": 0}}, "given by Mindbaz"),
    "missing column": ({"field_map": {"email": 1, "name": 14}}, "name"),
    "one field twice": ({"field_map": {"email": 1, "nom": "email"}}, "already fills"),
    "map without the key": ({"field_map": {"nom": 14}}, "match key"),
    "key not in the source": ({"match_by": "IdClient"}, "match key"),
    "a list as map": ({"field_map": ["email"]}, "mapping"),
    "no such folder": ({"rejects_path": "/no/such/folder/rejects.jsonl"}, "folder must exist"),
    "no such folder for results": ({"results_path": "/no/such/folder/results.jsonl"}, "folder must exist"),
    "a folder as file": ({"rejects_path": "/tmp"}, "cannot be written"),
    "one file for two": (
        {"rejects_path": "/tmp/../tmp/one.jsonl", "results_path": "/tmp/one.jsonl"},
        "same file",
    ),
    "no such source": ({"source": "/no/such/people.csv"}, "no file"),
    "no known format": ({"source": __file__}, "format"),
    "a text as list": ({"source": "[{'email': 'zoe@example.fr'}]"}, "list"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_fails_at_once_and_writes_nothing(upsert: Upsert, csv: Path, case: str) -> None:
    parameters, words = BAD[case]
    with pytest.raises(CrmInputError) as raised:
        upsert(**{"source": str(csv), **parameters})
    assert words in str(raised.value)
    assert isinstance(raised.value, CrmFailError)
    assert upsert.writes() == []


@pytest.mark.parametrize("content", ["", "\n\n", "email,email\na@example.fr,b\n"])
def test_files_without_rows_to_take(upsert: Upsert, csv: Path, content: str) -> None:
    csv.write_text(content)
    with pytest.raises(CrmInputError):
        upsert(str(csv))
    csv.write_text("email\n")
    with pytest.raises(CrmInputError, match="0 rows"):
        upsert(str(csv), min_rows=1)
    assert upsert.writes() == []
    assert upsert(str(csv))["read"] == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"extra": {"site_id": "3", "retries": 5}}, "unknown extra(s) retries"),
        ({"extra": {}}, "site_id"),
        ({"extra": {"site_id": "4"}}, "403"),
        ({"password": "wrong-key"}, "401"),
        ({"password": ""}, "API key"),
        ({"host": "http://example.com/api"}, "plain http"),
    ],
)
def test_a_bad_connection_fails_at_once(
    upsert: Upsert, monkeypatch: pytest.MonkeyPatch, change: Row, words: str
) -> None:
    connection = json.loads(upsert.sandbox.connections()["mindbaz_default"])
    monkeypatch.setenv("AIRFLOW_CONN_MINDBAZ_DEFAULT", json.dumps({**connection, **change}))
    with pytest.raises(CrmFailError) as raised:
        upsert([{"email": "zoe@example.fr"}])
    assert words in str(raised.value)
    assert upsert.writes() == []


@pytest.mark.parametrize("as_pattern", [False, True])
def test_the_source_is_not_written_over(upsert: Upsert, tmp_path: Path, as_pattern: bool) -> None:
    upsert([{"email": "zoe"}])
    repaired = upsert.rejects_path.read_text().replace('"zoe"', '"zoe@example.fr"')
    upsert.rejects_path.write_text(repaired)
    with pytest.raises(CrmInputError, match="overwritten"):
        upsert(str(tmp_path / "rej*.jsonl") if as_pattern else f"{tmp_path}/./rejects.jsonl")
    assert upsert.rejects_path.read_text() == repaired


# Retries


def broken_after(sandbox: Sandbox, calls: int) -> None:
    """Let no writing call pass after so many."""
    sandbox.fault("error_before", system="mindbaz", method="POST", after=calls, status=500)


@pytest.fixture
def impatient(crm_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up after the first try of a call; note what is done after each batch."""
    connection = json.loads(crm_sandbox.connections()["mindbaz_default"])
    connection["extra"]["max_retries"] = 0
    monkeypatch.setenv("AIRFLOW_CONN_MINDBAZ_DEFAULT", json.dumps(connection))
    monkeypatch.setattr(checkpoint, "SAVE_EVERY", 0.0)


ROWS = [{"email": f"a{number}@example.fr" if number % 10 else "nobody"} for number in range(100)]


@pytest.mark.usefixtures("impatient")
def test_a_retry_goes_on_where_the_first_try_stopped(
    upsert: Upsert, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store()
    broken_after(upsert.sandbox, 4)
    with pytest.raises(Exception, match="500"):
        upsert(ROWS, store=store, batch_size=10, concurrency=1)
    assert "nobody" not in json.dumps(store)
    upsert.sandbox.clear()
    sent = sum(rows for _, rows in upsert.writes())
    with caplog.at_level(logging.INFO):
        summary = upsert(ROWS, store=store, batch_size=10, concurrency=1)
    assert "going on after them" in caplog.text
    assert summary.items() >= {"read": 100, "created": 90, "rejected": 10, "updated": 0}.items()
    assert len(upsert.results) == 100
    assert sorted(reject["row"] for reject in upsert.rejects) == list(range(1, 101, 10))
    assert sum(rows for _, rows in upsert.writes()) - sent <= 50
    assert store == {}


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
    store = Store()
    broken_after(upsert.sandbox, 4)
    with pytest.raises(Exception, match="500"):
        upsert(ROWS, store=store, batch_size=10, concurrency=1)
    upsert.sandbox.clear()
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
    store = Store()
    broken_after(upsert.sandbox, 4)
    with pytest.raises(Exception, match="500"):
        upsert(ROWS, store=store, batch_size=10, concurrency=1)
    upsert.sandbox.clear()
    upsert.sandbox.mindbaz.reset()
    if change == "site":
        upsert.sandbox.switch("mindbaz", site_id=4)
    connection = json.loads(upsert.sandbox.connections()["mindbaz_default"])
    if change == "host":
        connection["host"] = connection["host"].replace("127.0.0.1", "localhost")
    monkeypatch.setenv("AIRFLOW_CONN_MINDBAZ_DEFAULT", json.dumps(connection))
    assert upsert(ROWS, store=store, batch_size=10)["created"] == 90
    assert len(upsert.emails()) == 90


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("harm", ["gone", "short", "state"])
def test_a_retry_without_what_the_first_try_left_starts_afresh(
    upsert: Upsert, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store()
    broken_after(upsert.sandbox, 4)
    with pytest.raises(Exception, match="500"):
        upsert(ROWS, store=store, batch_size=10, concurrency=1)
    upsert.sandbox.clear()
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
    broken_after(upsert.sandbox, 4)
    with pytest.raises(Exception, match="500"):
        upsert(ROWS, batch_size=10, concurrency=1)
    upsert.sandbox.clear()
    held = len(upsert.emails())
    before = len(upsert.writes())
    summary = upsert(ROWS, batch_size=10)
    assert sum(rows for _, rows in upsert.writes()[before:]) == 90 - held
    assert summary.items() >= {"unchanged": held, "created": 90 - held, "rejected": 10}.items()


def test_a_store_that_fails_costs_nothing_but_a_warning(
    upsert: Upsert, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Store):
        def _fail(self, *args: Any) -> Any:
            raise RuntimeError("no supervisor")

        get = set = delete = _fail  # type: ignore[assignment]

    monkeypatch.setattr(checkpoint, "SAVE_EVERY", 0.0)
    assert upsert(ROWS, store=Broken(), batch_size=10)["read"] == 100
    assert "no supervisor" in caplog.text


def test_progress_is_said(
    upsert: Upsert, csv: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "PROGRESS_EVERY", 0.0)
    monkeypatch.setattr(engine, "batches", partial(batches, window=100))
    csv.write_text("email,nom\n" + "".join(f"a{number}@example.fr,{'x' * 200}\n" for number in range(8000)))
    with caplog.at_level(logging.INFO):
        upsert(str(csv), batch_size=200, concurrency=1)
    lines = [line for line in caplog.messages if "rows/s" in line]
    assert lines
    assert all(" rejected, " in line and "% read" in line for line in lines)
    assert any("s left" in line for line in lines)
    assert "@" not in caplog.text
