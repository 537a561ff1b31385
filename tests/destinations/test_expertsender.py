"""Upserts of ExpertSender customers over real HTTP: how many to a call, by which key, with which nulls."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmInputError, CrmOutcomeUnknownError
from airflow_provider_crm.hooks.expertsender import ExpertSenderHook

from .expertsender_runs import AWAITING, Run


def test_a_call_that_is_too_large_is_halved_and_the_size_remembered(run: Run) -> None:
    run.switch(batch_limit=7)
    assert run.upsert([{"email": f"p{n}@x.fr"} for n in range(120)], concurrency=1) == {"updated": 120}
    posts = run.posts()
    assert max(posts[5:]) <= 7
    assert len(posts) < 30


@pytest.mark.parametrize("said", ["Too many customers in one request", "Something else"])
def test_a_refusal_in_no_documented_words_is_halved(run: Run, said: str) -> None:
    run.fault("answer_before", status=400, body=json.dumps({"title": "Bad", "errors": [said]}))
    rows = [{"email": f"p{n}@x.fr"} for n in range(16)]
    assert run.upsert(rows, batch_size=8, concurrency=1) == {"updated": 16}
    assert run.posts()[1:] == [4, 4, 8]


def test_a_row_too_long_is_no_matter_of_size(run: Run) -> None:
    said = "data[1].customAttributes: maximum length exceeded, at most 3 items"
    run.fault("answer_before", status=400, body=json.dumps({"errors": [said]}))
    assert run.upsert([{"email": f"p{n}@x.fr"} for n in range(16)], batch_size=8, concurrency=1) == {
        "updated": 16
    }
    assert run.posts()[1:] == [7, 1, 8]


@pytest.mark.parametrize("match_by", ["GUID", "CrmId"])
def test_another_match_by_than_the_accounts_own_fails_at_once(run: Run, match_by: str) -> None:
    run.switch(default_match_by="Email")
    rows = [{"email": f"p{n}@x.fr", "crmId": f"C{n}", "visitorId": f"V{n}"} for n in range(50)]
    with pytest.raises(CrmInputError, match="match_by") as caught:
        run.upsert(rows, match_by=match_by, batch_size=5, concurrency=1)
    assert "Default matching mode" in str(caught.value)
    assert run.posts() == [5]
    assert run.emails() == set()


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("match_by", "column", "value"),
    [
        ("PhoneNumber", "phone", "+33 6 00 00 0{}"),
        ("CrmId", "crmId", "a/b {}?"),
        ("VisitorId", "visitorId", "V{}"),
    ],
)
def test_customers_are_matched_by_other_keys(run: Run, match_by: str, column: str, value: str) -> None:
    rows = [{column: value.format(n), "firstName": f"P{n}", "consents.1": AWAITING} for n in range(4)]
    run.fault("drop_after")
    assert run.upsert(rows, match_by=match_by, allow_resubscribe=True) == {"updated": 4}
    assert len(run.sandbox.expertsender.mailbox) == 4
    seen = match_by != "VisitorId"
    again = run.upsert(rows, match_by=match_by, mode="Add", allow_resubscribe=True)
    assert again == {"skipped" if seen else "rejected": 4}
    assert len(run.sandbox.expertsender.customers) == 4


def test_add_by_a_key_that_cannot_be_read_goes_row_by_row(run: Run) -> None:
    run.switch(failed_batch="good_rows")
    rows = [{"visitorId": f"V{n}", "customAttributes.VIP": n != 3 or "?"} for n in range(6)]
    assert run.upsert(rows, match_by="VisitorId", mode="Add") == {"created": 5, "rejected": 1}
    assert run.posts() == [1] * 6
    run.fault("drop_after")
    assert run.upsert([{"visitorId": "W"}], match_by="VisitorId", mode="Add") == {"rejected": 1}
    assert "an earlier call, whose answer was lost, may have added the customer" in run.reasons()[1]


def test_nulls_are_sent_when_asked_for(run: Run) -> None:
    run.switch(null_value="clear")
    run.sandbox.expertsender.add_customer("a@x.fr", first_name="A", attributes={"Ville": "Nîmes"})
    rows = [{"email": "a@x.fr", "firstName": "", "customAttributes.Ville": None, "consents.1": ""}]
    run.upsert(rows)
    assert run.customer("a@x.fr")["firstName"] == "A"
    run.upsert(rows, nulls="send")
    assert run.customer("a@x.fr")["firstName"] is None
    assert run.customer("a@x.fr")["customAttributes"] == []


@pytest.mark.parametrize(("theirs", "end"), [({}, "created"), ({"first_name": "Theirs"}, "skipped")])
def test_an_add_without_an_answer_counts_where_the_crm_holds_what_was_sent(
    run: Run, monkeypatch: pytest.MonkeyPatch, theirs: dict[str, Any], end: str
) -> None:
    send = ExpertSenderHook.upsert_customers
    rows = [
        {
            "email": "a@x.fr",
            "firstName": "Ana",
            "dateOfBirth": "1990-05-17",
            "gender": "female",
            "phone": "+33 612",
            "customAttributes.Ville": "Nîmes",
            "consents.2": False,
        }
    ]

    def lose(self: ExpertSenderHook, *args: Any, **how: Any) -> None:
        send(self, *args, **how)
        for name, value in theirs.items():
            setattr(run.sandbox.expertsender.by_email("a@x.fr"), name, value)
        raise CrmOutcomeUnknownError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(ExpertSenderHook, "upsert_customers", lose)
        assert run.upsert(rows, mode="Add") == {end: 1}
