"""Every transition of a credit in the ledger, on SQLite and on PostgreSQL, and whose credit it is."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest

from airflow_provider_crm.loyalty.credits import Credit, hash_email
from airflow_provider_crm.loyalty.ledger import LaneTakenError, LineTakenError, LoyaltyLedger
from airflow_provider_crm.loyalty.states import Origin, State
from airflow_provider_crm.loyalty.tables import account_of

from .ledger_credits import BUSY, CONFLICT, CREDITED, DOUBT, FREE, INCOMPARABLE, A, B, claim, start


def test_the_way_of_a_credit(process, rows):
    one = process(origin=Origin("dag", "run", "task", 3))
    entry = claim(one, A)
    assert (entry.standing, entry.state) == (FREE, State.CLAIMED)
    sent = start(one, entry, "base")
    assert rows()["a"].state == "sending"
    assert rows()["a"].sent_at == pytest.approx(time.time(), abs=5)
    one.finish(sent, "17", "123")
    row = rows()["a"]
    assert (row.state, row.line_id, row.customer_id, row.attempts) == ("credited", "17", "123", 1)
    assert (row.owner, row.lane, row.baseline) == ("", None, "base")
    assert (row.dag_id, row.run_id, row.task_id, row.map_index) == ("dag", "run", "task", 3)
    assert claim(one, A).standing is CREDITED


def test_amounts_are_kept_exactly(process, rows):
    one = process()
    texts = ["0.01", "5", "12.5", "999999999999.99", "1E+3", "-5"]
    one.claim([Credit(f"k{n}", Decimal(text), "1") for n, text in enumerate(texts)])
    kept = one.claim([Credit(f"k{n}", Decimal(text), "1") for n, text in enumerate(texts)])
    assert [entry.credit.amount for entry in kept] == list(map(Decimal, texts))
    assert [f"{entry.credit.amount}" for entry in kept] == [
        "0.01",
        "5",
        "12.5",
        "999999999999.99",
        "1000",
        "-5",
    ]


def test_many_keys_keep_their_order(process):
    one = process()
    credits_ = [Credit(f"k{n % 7}-{n}", Decimal(1), "1") for n in range(1200)]
    assert [entry.credit.key for entry in one.claim(credits_)] == [credit.key for credit in credits_]


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("again", "standing"),
    [
        (A, CREDITED),
        (Credit("a", Decimal("5.00"), customer_id="123"), CREDITED),
        (Credit("a", Decimal(6), customer_hash="zoe"), CONFLICT),
        (Credit("a", Decimal(5), customer_id="124"), CONFLICT),
        (Credit("a", Decimal(5), customer_hash="bob"), INCOMPARABLE),
        (Credit("a", Decimal(5), customer_id="124", customer_hash="bob"), CONFLICT),
    ],
)
def test_a_credited_key_that_comes_again(process, again, standing):
    one = process()
    one.finish(start(one, claim(one, A)), "17", "123")
    assert claim(one, again).standing is standing
    assert one.peek([again])[0].standing is standing
    assert one.peek([Credit("never", Decimal(5), "1")]) == [None]


def test_a_refused_credit_may_come_again_with_another_payload(process, rows):
    one = process()
    one.refuse(start(one, claim(one, A), "base"), "no zoe@example.fr here")
    assert (rows()["a"].state, rows()["a"].reason) == ("refused", "no <email> here")
    repaired = claim(one, Credit("a", Decimal(7), customer_id="9"))
    assert (repaired.standing, repaired.credit.amount, repaired.baseline) == (FREE, Decimal(7), None)
    assert rows()["a"].customer_hash is None


def test_what_certainly_did_not_arrive_is_free_again(process, rows):
    one = process()
    again = one.unsend(start(one, claim(one, A)))
    assert (again.standing, rows()["a"].state, rows()["a"].lane) == (FREE, "claimed", None)
    assert start(one, again).attempts == 2


def test_an_earlier_doubt_is_looked_up_once_more_after_a_refusal(process, rows):
    one = process()
    in_doubt = one.doubt(start(one, claim(one, A)))
    second = one.unsend(start(one, in_doubt))
    assert (second.standing, rows()["a"].state) == (DOUBT, "unknown")


def test_two_credits_of_one_customer_and_amount_are_never_on_their_way_together(process, rows):
    one, two = process(), process()
    first, second = claim(one, A), claim(two, B)
    sent = start(one, first)
    with pytest.raises(LaneTakenError):
        start(two, second)
    assert rows()["b"].state == "claimed"
    in_doubt = one.doubt(sent)
    with pytest.raises(LaneTakenError):
        start(two, second)
    assert two.in_the_way(second).standing is BUSY
    one.finish(in_doubt, "17", None)
    assert two.in_the_way(second) is None
    assert start(two, second).state is State.SENDING


def test_other_customers_and_amounts_are_on_their_way_together(process):
    one = process()
    others = [Credit("b", Decimal(6), customer_hash="zoe"), Credit("c", Decimal(5), customer_hash="bob")]
    for entry in claim(one, A, *others):
        assert start(one, entry).state is State.SENDING


def test_a_line_belongs_to_one_credit(process, rows):
    one, two = process(), process()
    one.finish(start(one, claim(one, A)), "17", None)
    sent = start(two, claim(two, B))
    with pytest.raises(LineTakenError):
        two.finish(sent, "17", None)
    assert rows()["b"].state == "sending"
    assert two.lines_taken(["17", "18"]) == {"17"}
    two.finish(sent, "18", None)


def test_a_line_can_be_taken_back_for_the_credit_whose_answer_names_it(process, rows):
    one = process()
    one.finish(one.doubt(start(one, claim(one, A))), "17", "123")
    sent = start(one, claim(one, B))
    other = one.take_line(sent, "17", "123")
    assert (other.credit.key, other.standing, other.line_id) == ("a", DOUBT, None)
    assert {key: row.state for key, row in rows().items()} == {"a": "unknown", "b": "credited"}
    one.finish(other, "16", "123")


def test_a_line_that_the_crm_has_given_twice(process, rows):
    """Two answers that name the same line: both credits were applied."""
    one = process()
    one.finish(start(one, claim(one, A)), "17", "123")
    assert one.take_line(start(one, claim(one, B)), "17", "123") is None
    assert {key: (row.state, row.line_id) for key, row in rows().items()} == {
        "a": ("credited", None),
        "b": ("credited", "17"),
    }


# Accounts and people


def test_accounts_do_not_see_each_other(process, engine):
    one = process()
    one.finish(start(one, claim(one, A)), "17", None)
    other = LoyaltyLedger(engine, account="another")
    assert other.claim([A])[0].standing is FREE
    assert list(other.history(states=[State.CREDITED])) == []


def test_an_account_is_the_same_however_its_address_is_written():
    same = ("https://social-sb.com/api/v2", "https://Social-SB.com:443/api/v2", "http://social-sb.com/api/v2")
    assert len({account_of(url, "public") for url in same}) == 1
    assert account_of(same[0], "public") != account_of(same[0], "other")
    assert account_of("http://127.0.0.1:1", "public") != account_of("http://127.0.0.1:2", "public")


def test_emails_are_hashed_with_the_key():
    assert hash_email("zoe@example.fr", "one") != hash_email("zoe@example.fr", "two")
    assert "zoe" not in hash_email("zoe@example.fr", "one")
