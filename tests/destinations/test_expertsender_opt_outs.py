"""Consents that somebody has refused: no upsert undoes that, and a refusal in any row of a person wins."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_crm.bulk import batches
from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.hooks.expertsender import ExpertSenderHook

from .expertsender_runs import AWAITING, Run

EMAIL = "a@x.fr"


def consents(run: Run) -> dict[int, str]:
    data = run.customer(EMAIL)["consentsData"] or {"consents": []}
    return {one["id"]: one["value"] for one in data["consents"]}


def hold(run: Run, values: dict[int, str]) -> None:
    run.sandbox.expertsender.add_customer(EMAIL).consents.update(values)


@pytest.mark.sampled
@pytest.mark.parametrize("mode", ["AddOrUpdate", "Update"])
@pytest.mark.parametrize("value", [True, AWAITING])
@pytest.mark.parametrize("more", [{}, {"firstName": "A"}, {"force": True}, {"consents.2": True}], ids=str)
def test_a_refusal_that_is_held_is_not_undone(run: Run, mode: str, value: Any, more: dict[str, Any]) -> None:
    hold(run, {1: "False"})
    row = {"email": EMAIL, "consents.1": value, **more}
    for _ in range(2):
        assert run.upsert([row], mode=mode) == {"rejected": 1}
        assert run.reasons()[1] == "crm: the customer has refused consent 1: see `allow_resubscribe`"
    assert consents(run) == {1: "False"}
    assert not run.mailbox()
    assert run.posts() == []


@pytest.mark.parametrize(("value", "held"), [(True, "True"), (AWAITING, AWAITING)])
def test_it_is_undone_where_the_task_says_so(run: Run, value: Any, held: str) -> None:
    hold(run, {1: "False"})
    row = {"email": EMAIL, "consents.1": value}
    assert run.upsert([row], allow_resubscribe=True) == {"updated": 1}
    assert consents(run) == {1: held}


def test_a_consent_that_nobody_has_refused_is_given(run: Run) -> None:
    hold(run, {2: "False"})
    rows = [
        {"email": EMAIL, "consents.1": True, "consents.2": False},
        {"email": "b@x.fr", "consents.1": True, "consents.2": AWAITING},
    ]
    assert run.upsert(rows) == {"updated": 2}
    assert consents(run) == {1: "True", 2: "False"}
    assert run.mailbox() == {("b@x.fr", 2): 1}
    assert run.upsert(rows) == {"unchanged": 2}


def test_a_refusal_after_the_message_stands(run: Run) -> None:
    row = {"email": EMAIL, "consents.1": AWAITING}
    assert run.upsert([row]) == {"updated": 1}
    run.sandbox.expertsender.by_email(EMAIL).consents[1] = "False"  # the person has declined
    assert run.upsert([row]) == {"rejected": 1}
    assert run.mailbox() == {(EMAIL, 1): 1}


@pytest.mark.parametrize("kind", ["drop_after", "drop_before"])
def test_a_refusal_that_comes_in_while_an_answer_is_lost_stands(
    run: Run, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    hold(run, {})
    run.fault(kind)
    send = ExpertSenderHook.upsert_customers

    def refuse_meanwhile(self: ExpertSenderHook, *rows: Any, **how: Any) -> None:
        try:
            send(self, *rows, **how)
        finally:
            run.sandbox.expertsender.by_email(EMAIL).consents[1] = "False"

    monkeypatch.setattr(ExpertSenderHook, "upsert_customers", refuse_meanwhile)
    assert run.upsert([{"email": EMAIL, "consents.1": AWAITING}]) == {"rejected": 1}
    assert consents(run) == {1: "False"}


@pytest.mark.parametrize("match_by", ["VisitorId", "GUID"])
@pytest.mark.parametrize("value", [True, AWAITING])
def test_nobody_is_opted_in_who_cannot_be_looked_up(run: Run, match_by: str, value: Any) -> None:
    rows = [{"visitorId": "V1", "consents.1": value}]
    assert run.upsert(rows, match_by=match_by) == {"rejected": 1}
    said = (
        f"validate: whether somebody has opted out cannot be looked up by {match_by}: see `allow_resubscribe`"
    )
    assert run.reasons()[1] == said
    assert run.posts() == []


def test_without_a_look_consents_are_refused_and_given_where_the_task_says_so(run: Run) -> None:
    rows = [{"visitorId": "V1", "consents.1": True}, {"visitorId": "V2", "consents.1": False}]
    assert run.upsert(rows, match_by="VisitorId") == {"rejected": 1, "updated": 1}
    assert run.upsert(rows, match_by="VisitorId", allow_resubscribe=True) == {"updated": 2}


def test_a_text_that_says_no_allows_nothing(run: Run) -> None:
    hold(run, {1: "False"})
    rows = [{"email": EMAIL, "consents.1": True}]
    assert run.upsert(rows, allow_resubscribe="False") == {"rejected": 1}
    with pytest.raises(CrmInputError, match="allow_resubscribe"):
        run.upsert(rows, allow_resubscribe="perhaps")


@pytest.mark.sampled
@pytest.mark.parametrize("window", [30_000, 0], ids=["near", "far"])
@pytest.mark.parametrize("allow_resubscribe", [False, True])
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("value", [True, AWAITING])
def test_a_refusal_in_any_row_wins(
    run: Run, monkeypatch: pytest.MonkeyPatch, window: int, allow_resubscribe: bool, order: int, value: Any
) -> None:
    monkeypatch.setitem(batches.batches.__kwdefaults__, "window", window)
    hold(run, {1: "True"})
    rows: list[dict[str, Any]] = [
        {"email": EMAIL, "consents.1": False, "firstName": "A"},
        {"email": EMAIL, "consents.1": value, "consents.2": True, "firstName": "B"},
        {"email": EMAIL, "firstName": "C"},
    ]
    ends = run.upsert(rows[::order], batch_size=1, allow_resubscribe=allow_resubscribe)
    assert consents(run)[1] == "False"
    assert run.customer(EMAIL)["firstName"] == ("C" if order == 1 else "A")
    assert ends["rejected"] == 0


BAD_ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "another column": ({"gender": "?", "consents.1": False}, "validate: gender: allowed are"),
    "another consent": ({"consents": {2: "maybe", 1: "no"}}, "validate: consents: allowed are"),
    "the same consent": (
        {"consents.1": False, "consents": {1: True}},
        "validate: consents: consent 1 is given",
    ),
    "refused by the CRM": ({"consents.1": False, "phone": "+33611111111"}, "crm: data[0].phone: belongs"),
    "another refusal": ({"consents.1": False, "consents.2": True}, "crm: the customer has refused consent 2"),
}


@pytest.mark.parametrize(("row", "reason"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_refusal_in_a_row_that_is_rejected_is_carried_out(
    run: Run, row: dict[str, Any], reason: str
) -> None:
    run.sandbox.expertsender.add_customer("b@x.fr", phone="+33611111111")
    hold(run, {1: "True", 2: "False"})
    assert run.upsert([{"email": "c@x.fr"}, {"email": EMAIL, **row}]) == {"updated": 1, "rejected": 1}
    said = run.reasons()[2]
    assert said.startswith(reason), said
    assert said.endswith("(its opt-out is carried out)")
    assert consents(run) == {1: "False", 2: "False"}
    assert "phone" not in run.customer(EMAIL) or run.customer(EMAIL)["phone"] is None


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("window", [30_000, 0], ids=["near", "far"])
def test_a_refusal_in_a_row_that_cannot_be_read_wins_over_the_others(
    run: Run, monkeypatch: pytest.MonkeyPatch, order: int, window: int
) -> None:
    monkeypatch.setitem(batches.batches.__kwdefaults__, "window", window)
    hold(run, {1: "True"})
    bad = {"email": EMAIL, "gender": "?", "consents.1": False, "firstName": "A"}
    good = {"email": EMAIL, "gender": None, "consents.1": True, "firstName": "B"}
    run.upsert([bad, good][::order], batch_size=1, allow_resubscribe=True)
    assert consents(run) == {1: "False"}
    assert run.customer(EMAIL)["firstName"] == "B"


def test_a_refusal_of_nobody_is_said_to_be_lost(run: Run) -> None:
    rows = [{"email": "a@", "consents.1": False}, {"email": "new@x.fr", "gender": "?", "consents.1": False}]
    field_map = {name: name for name in ("email", "gender", "consents.1")}
    assert run.upsert(rows, field_map=field_map) == {"rejected": 2}
    assert run.reasons()[1].endswith("not an e-mail address (its opt-out is not carried out)")
    assert run.reasons()[2].endswith("(its opt-out is not carried out: not in ExpertSender)")
    assert run.emails() == set()
