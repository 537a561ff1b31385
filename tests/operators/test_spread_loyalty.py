"""What the operator that credits loyalty points promises, over real HTTP and a real ledger."""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
import sqlalchemy as sa

from airflow_provider_crm.bulk import ledger as ledger_module
from airflow_provider_crm.bulk import settle
from airflow_provider_crm.bulk.ledger import LedgerError, LoyaltyLedger
from airflow_provider_crm.bulk.ledger_tables import Standing, credits_table
from airflow_provider_crm.destinations import spread_baseline, spread_loyalty
from airflow_provider_crm.exceptions import (
    CrmFailError,
    CrmInputError,
    CrmNotFoundError,
    CrmOutcomeUnknownError,
    CrmRejectsError,
    CrmTransientError,
    CrmUnreadableAnswerError,
)
from airflow_provider_crm.hooks import retry
from airflow_provider_crm.operators import spread_loyalty as operators
from airflow_provider_crm.operators.spread_loyalty import (
    SpreadAuditLoyaltyOperator,
    SpreadCreditLoyaltyOperator,
)
from airflow_provider_crm.sandbox.spread.customers import Changes

SETTLE = 0.15
LEDGER = "AIRFLOW_CONN_CRM_LEDGER_DEFAULT"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(settle, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(retry._Wait, "__call__", lambda self, state: 0.0)
    monkeypatch.setattr(spread_loyalty, "POLL_EVERY", 0.02)
    monkeypatch.setattr(operators, "CONNECT_TIMEOUT", 0.0)


@pytest.fixture
def spread(crm_sandbox, monkeypatch, tmp_path):
    connection = {**json.loads(crm_sandbox.connections()["spread_default"]), "extra": {"timeout": 5}}
    monkeypatch.setenv("AIRFLOW_CONN_SPREAD_DEFAULT", json.dumps(connection))
    monkeypatch.setenv(LEDGER, json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}))
    return crm_sandbox.spread


@pytest.fixture
def add(spread):
    """Add customers; gives the id of the first."""

    def add(*emails):
        ids = [spread.customers.add(email, Changes({}, [], {}), spread.now()).id for email in emails]
        return ids[0]

    return add


@pytest.fixture
def credit(spread):
    def credit(source, **parameters):
        parameters = {"settle_seconds": SETTLE, **parameters}
        return SpreadCreditLoyaltyOperator(task_id="t", source=source, **parameters).execute({})

    return credit


@pytest.fixture
def ends(credit, tmp_path):
    """Run the operator and give each row's end, with its reason where it has one."""

    def ends(source, **parameters):
        results = tmp_path / "results.jsonl"
        credit(source, results_path=str(results), **{"max_rejects": len(source), **parameters})
        lines = sorted(map(json.loads, results.read_text().splitlines()), key=lambda line: line["row"])
        return [
            f"{line['outcome']}: {line['reason']}" if line["reason"] else line["outcome"] for line in lines
        ]

    return ends


@pytest.fixture
def ledger(spread, tmp_path):
    """The ledger's rows, by key."""

    def ledger():
        engine = sa.create_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
        with engine.connect() as connection:
            rows = connection.execute(sa.select(credits_table)).fetchall()
        engine.dispose()
        return {row.credit_key: row for row in rows}

    return ledger


def row(key, who="zoe@example.fr", amount=5, **more):
    name = "email" if "@" in str(who) else "customer_id"
    return {"credit_key": key, name: who, "amount": amount, **more}


def amounts(spread, customer=None):
    """The lines of SPREAD, as a customer and an amount each, as often as they are there."""
    return Counter(
        (line.customer_id, Decimal(line.amount))
        for line in spread.loyalty.lines
        if customer in (None, line.customer_id)
    )


def posts(crm_sandbox):
    return sum(call.method == "POST" for call in crm_sandbox.calls)


def others(crm_sandbox):
    return sum(call.method != "POST" for call in crm_sandbox.calls)


# The counts


def test_each_row_is_credited_once_and_counted(spread, add, credit, crm_sandbox):
    zoe = add("zoe@example.fr")
    source = [row("a"), row("b", zoe, "2.50"), row("c", amount=10), row("d", amount=5.0)]
    result = credit(source)
    assert (result["read"], result["created"], result["credited"], result["already_credited"]) == (4, 4, 4, 0)
    assert result["amount"] == "22.50" or Decimal(result["amount"]) == Decimal("22.5")
    assert amounts(spread) == {(zoe, Decimal(5)): 2, (zoe, Decimal("2.5")): 1, (zoe, Decimal(10)): 1}
    again = credit(source)
    assert (again["credited"], again["already_credited"], again["unchanged"]) == (0, 4, 4)
    assert Decimal(again["amount"]) == 0
    assert posts(crm_sandbox) == 4


def test_amounts_are_exact_numbers_on_the_wire(spread, add, credit, monkeypatch):
    add("zoe@example.fr")
    bodies = []
    body = operators.SpreadHook.request
    monkeypatch.setattr(
        operators.SpreadHook,
        "request",
        lambda self, call, read: bodies.append(call.body) or body(self, call, read),
    )
    credit([row("a", amount="10"), row("b", amount="0.10"), row("c", amount="1e3"), row("d", amount=0.3)])
    lines = [line.amount for line in spread.loyalty.lines]
    assert sorted(map(Decimal, lines)) == [Decimal("0.1"), Decimal("0.3"), Decimal(10), Decimal(1000)]
    sent = [body.split(b'"amount":')[1].rstrip(b"}") for body in bodies if body]
    assert sorted(sent) == [b"0.1", b"0.3", b"10", b"1000"]


def test_a_key_that_comes_twice_in_one_source(spread, add, ends):
    zoe = add("zoe@example.fr")
    assert ends([row("a"), row("a"), row("a", amount=6), row("a", zoe)]) == [
        "created",
        "unchanged: credited before",
        f"rejected: this key was credited with 5 points for customer {zoe}",
        "unchanged: credited before",
    ]
    assert amounts(spread) == {(zoe, Decimal(5)): 1}


def test_a_key_that_comes_very_often_costs_no_waits(spread, add, credit, monkeypatch):
    zoe = add("zoe@example.fr")
    monkeypatch.setattr(spread_loyalty, "POLL_EVERY", 1.0)
    source = [row("a") for _ in range(40)]
    for created in (1, 0):
        result = credit(source)
        assert (result["credited"], result["already_credited"]) == (created, 40 - created)
        assert result["seconds"] < 5
    assert amounts(spread) == {(zoe, Decimal(5)): 1}


def test_a_key_whose_answer_names_another_customer(spread, add, credit, crm_sandbox):
    """Another record may have taken hers over; the row is the same one all the same when it comes again."""
    zoe = add("zoe@example.fr")
    line = '{"cagnotteLineId": "146964", "customerId": "77", "amount": "5"}'
    body = f'{{"customer": {{"id": "77"}}, "cagnotte": {line}}}'
    crm_sandbox.fault("answer_after", method="POST", path="/cagnottes", times=1, body=body)
    assert credit([row("a", zoe)])["credited"] == 1
    assert credit([row("a", zoe)])["already_credited"] == 1


def test_cells_of_a_data_frame(spread, add, ends):
    """Where some are missing, it holds NaN, and whole numbers become fractions."""
    zoe, nan = add("zoe@example.fr"), float("nan")
    assert ends(
        [
            {"credit_key": nan, "customer_id": nan, "email": "zoe@example.fr", "amount": 5},
            {"credit_key": 7.0, "customer_id": nan, "email": "zoe@example.fr", "amount": 5.0},
            {"credit_key": 7, "customer_id": None, "email": "zoe@example.fr", "amount": 5},
            {"credit_key": "8", "customer_id": float(zoe), "email": nan, "amount": 6},
            {"credit_key": "9", "customer_id": nan, "email": nan, "amount": 6},
        ]
    ) == [
        "rejected: credit_key: a credit needs a reference of its own",
        "created",
        "unchanged: credited before",
        "created",
        "rejected: email or customer_id is required",
    ]
    assert amounts(spread) == {(zoe, Decimal(5)): 1, (zoe, Decimal(6)): 1}


@pytest.mark.parametrize("wrong", ["0{}", "{}.0", "{}a", "+{}", " {},{} "])
def test_an_id_that_the_crm_may_take_for_another_one(spread, add, ends, crm_sandbox, wrong):
    zoe = add("zoe@example.fr")
    named = wrong.format(zoe, zoe)
    assert ends([{"credit_key": "a", "customer_id": named, "amount": 5}]) == [
        "rejected: customer_id: an id such as 123456 is required"
    ]
    assert posts(crm_sandbox) == 0


def test_a_key_seen_again_for_somebody_else(spread, add, ends):
    zoe, bob = add("zoe@example.fr"), add("bob@example.fr")
    assert ends([row("a"), row("b", bob)]) == ["created", "created"]
    assert ends([row("a", bob), row("b", "bob@example.fr"), row("a", "bob@example.fr")]) == [
        f"rejected: this key was credited with 5 points for customer {zoe}",
        "unchanged: credited before",
        f"rejected: this key was credited with 5 points for customer {zoe}",
    ]
    assert amounts(spread).total() == 2


def test_refused_rows_may_come_again_repaired(spread, add, ends, ledger):
    zoe = add("zoe@example.fr")
    first = ends([row("a", "nobody@example.fr"), row("b", "999999")])
    assert all(end.startswith("rejected") for end in first)
    assert {one.state for one in ledger().values()} == {"refused"}
    assert ends([row("a"), row("b", zoe, 7)]) == ["created", "created"]
    assert amounts(spread) == {(zoe, Decimal(5)): 1, (zoe, Decimal(7)): 1}


def test_bad_rows_are_rejected_with_the_reason_and_nothing_is_sent(spread, add, ends, crm_sandbox):
    add("zoe@example.fr")
    bad = [
        row(""),
        row("k" * 256),
        row("a\nb"),
        {"credit_key": "c", "amount": 5},
        row("d", "not-an-address@"),
        *(row(f"n{number}", amount=amount) for number, amount in enumerate(BAD_AMOUNTS)),
    ]
    found = ends(bad)
    assert all(end.startswith("rejected: ") for end in found)
    assert [end.split(": ", 1)[1] for end in found[5:]] == list(BAD_AMOUNTS.values())
    assert posts(crm_sandbox) == 0


NO_NUMBER = "amount: a number such as 5 or 12.50 is required"
BAD_AMOUNTS = {
    0: "amount: zero credits nothing",
    "-5": "amount: negative; see `allow_debit`",
    "nan": "amount: a finite number is required",
    float("inf"): "amount: a finite number is required",
    None: NO_NUMBER,
    "five": NO_NUMBER,
    "1_000": NO_NUMBER,
    "5,50": NO_NUMBER,
    "1.005": "amount: at most 2 decimals",
    "1." + "0" * 40 + "1": "amount: at most 2 decimals",
    0.1 + 0.2: "amount: at most 2 decimals",
    "1" * 13: "amount: at most 12 digits",
    "1e400": "amount: at most 12 digits",
}


def test_debits_when_they_are_allowed(spread, add, ends):
    zoe = add("zoe@example.fr")
    assert ends([row("a", amount=-5)], allow_debit=True) == ["created"]
    assert amounts(spread) == {(zoe, Decimal(-5)): 1}


def test_a_dry_run_claims_nothing_and_sends_nothing(spread, add, ends, ledger, crm_sandbox):
    add("zoe@example.fr")
    source = [row("a"), row("a"), row("b"), row("a", amount=6), row("c", amount=0)]
    assert ends(source, dry_run=True) == [
        "created",
        "unchanged: credited by an earlier row",
        "created",
        "rejected: this key was credited with 5 points by an earlier row",
        "rejected: amount: zero credits nothing",
    ]
    assert ledger() == {}
    assert posts(crm_sandbox) == 0
    ends(source)
    assert ends([row("a"), row("d")], dry_run=True) == ["unchanged: credited before", "created"]


# Naming people


def test_one_person_named_in_several_ways_is_one_person(spread, add, credit):
    zoe = add("Zoe@Example.fr")
    credit([row("a", "zoe@example.fr"), row("b", zoe), row("c", "ZOE@example.FR"), row("d", zoe)])
    assert amounts(spread) == {(zoe, Decimal(5)): 4}


def test_an_email_in_another_case_is_found(spread, add, ends, ledger):
    zoe = add("Zoe@Example.fr")
    assert ends([row("a", "zoe@example.fr")]) == ["created"]
    assert ledger()["a"].customer_id == zoe


@pytest.mark.parametrize("unknown_id", ["404_json", "200_error", "404_html"])
def test_an_unknown_customer_is_rejected(spread, add, ends, crm_sandbox, unknown_id):
    crm_sandbox.switch("spread", unknown_id=unknown_id)
    zoe = add("Zoe@Example.fr")
    found = ends([row("a", "nobody@example.fr"), row("b", "424242"), row("c", "zoe@example.fr")])
    assert [end.split(":")[0] for end in found] == ["rejected", "rejected", "created"]
    assert amounts(spread) == {(zoe, Decimal(5)): 1}


def test_a_crm_that_takes_ids_under_another_name(spread, add, ends, crm_sandbox):
    crm_sandbox.switch("spread", customer_id_key="id")
    zoe = add("Zoe@Example.fr")
    assert ends([row("a", zoe), row("b", "zoe@example.fr")]) == ["created", "created"]
    assert amounts(spread) == {(zoe, Decimal(5)): 2}


def test_with_both_the_id_counts(spread, add, ends):
    zoe, bob = add("zoe@example.fr"), add("bob@example.fr")
    assert ends([row("a", zoe, email="bob@example.fr")]) == ["created"]
    assert amounts(spread) == {(zoe, Decimal(5)): 1}
    assert bob


# Answers that do not tell

AFTER = ["drop_after", "error_after", "html_after", "truncate"]
BEFORE = ["drop_before", "error_before", "html_before"]


@pytest.mark.parametrize("kind", AFTER + BEFORE)
@pytest.mark.parametrize("delay", [0, SETTLE * 0.6])
def test_an_answer_that_is_lost(spread, add, credit, crm_sandbox, kind, delay):
    zoe = add("zoe@example.fr")
    add("bob@example.fr")
    crm_sandbox.switch("spread", line_delay=delay)
    crm_sandbox.fault(kind, method="POST", path="/cagnottes", every=2)
    source = [row(f"k{n}", who, 5) for n in range(6) for who in ["zoe@example.fr"]]
    source += [row(f"b{n}", "bob@example.fr", n + 1) for n in range(20)]
    result = credit(source)
    assert result["credited"] == 26
    assert amounts(spread)[zoe, Decimal(5)] == 6
    assert len(spread.loyalty.lines) == 26


@pytest.mark.parametrize("order", ["oldest_first", "newest_first", "least_recently_modified"])
@pytest.mark.parametrize("page_cap", [None, 3])
def test_lines_that_are_not_ours(spread, add, credit, crm_sandbox, order, page_cap):
    """Campaigns, vouchers and points given by hand before are never taken for a credit."""
    zoe = add("zoe@example.fr")
    crm_sandbox.switch("spread", list_order=order, page_cap=page_cap, clock_shift=-8 * 3600.0)
    for _ in range(4):
        spread.loyalty.add(zoe, Decimal(5), "2030-01-01 00:00:00")
    crm_sandbox.fault("drop_before", method="POST", path="/cagnottes", times=3)
    original = spread.loyalty.add

    def add_others_too(customer_id, amount, date, **more):
        original(customer_id, amount, date, campaign_id="46354")
        original(customer_id, amount, date).code = "kodeKDO_1"
        return original(customer_id, amount, date, **more)

    spread.loyalty.add = add_others_too
    try:
        assert credit([row(f"k{n}") for n in range(3)])["credited"] == 3
    finally:
        del spread.loyalty.add
    ours = [line for line in spread.loyalty.lines[4:] if not line.campaign_id and not line.code]
    assert len(ours) == 3


def show_lines_as(monkeypatch, spread, **fields):
    """Let the lines that are added from now on look otherwise."""
    original = spread.loyalty.add

    def add(*arguments, **more):
        line = original(*arguments, **more)
        for name, value in fields.items():
            setattr(line, name, value)
        return line

    monkeypatch.setattr(spread.loyalty, "add", add)


@pytest.mark.parametrize("shown", ["5,00", "5.000", "+5", " 5 "])
def test_amounts_in_other_notations(spread, add, credit, crm_sandbox, monkeypatch, shown):
    add("zoe@example.fr")
    show_lines_as(monkeypatch, spread, amount=shown)
    crm_sandbox.fault("drop_after", method="POST", path="/cagnottes", times=1)
    assert credit([row("a")])["credited"] == 1
    assert len(spread.loyalty.lines) == 1


@pytest.mark.parametrize(
    "fields",
    [{"cagnotte_line_id": ""}, {"customer_id": ""}, {"amount": "five"}, {"amount": "1,000"}],
    ids=str,
)
def test_lines_that_do_not_tell_decide_nothing(spread, add, credit, crm_sandbox, monkeypatch, ledger, fields):
    """Sending it again would be a guess."""
    zoe = add("zoe@example.fr")
    crm_sandbox.switch("spread", deleted_rows="kept")
    show_lines_as(monkeypatch, spread, **fields)
    crm_sandbox.fault("drop_after", method="POST", path="/cagnottes", times=1)
    for _ in range(2):
        with pytest.raises(CrmUnreadableAnswerError):
            credit([row("a")])
    assert ledger()["a"].state == "unknown"
    assert posts(crm_sandbox) == len(spread.loyalty.lines) == 1
    spread.loyalty.lines[0].cagnotte_line_id = "146964"
    spread.loyalty.lines[0].customer_id = zoe
    spread.loyalty.lines[0].amount = "5"
    assert credit([row("a")])["credited"] == 1
    assert len(spread.loyalty.lines) == 1


def test_an_old_line_that_says_little_keeps_nobody_waiting(spread, add, credit, crm_sandbox):
    """As that of an erased customer."""
    zoe = add("zoe@example.fr")
    old = spread.loyalty.add(zoe, Decimal(5), "2030-01-01 00:00:00")
    crm_sandbox.switch("spread", deleted_rows="kept")
    old.customer_id, old.amount = "", ""
    crm_sandbox.fault("drop_after", method="POST", path="/cagnottes", times=1)
    crm_sandbox.fault("drop_before", method="POST", path="/cagnottes", after=1, times=1)
    assert credit([row("a"), row("b")])["credited"] == 2
    assert len(spread.loyalty.lines) == 3


@pytest.mark.parametrize("lines", [0, 1, 7])
@pytest.mark.parametrize("most_pages", [0, 400])
@pytest.mark.parametrize("first", [0, 1])
def test_a_server_that_calls_an_empty_page_not_found(
    spread, add, credit, crm_sandbox, monkeypatch, lines, most_pages, first
):
    zoe = add("zoe@example.fr")
    monkeypatch.setattr(spread_baseline, "MOST_PAGES", most_pages)
    for _ in range(lines):
        spread.loyalty.add(zoe, Decimal(5), "2030-01-01 00:00:00")
    page = operators.SpreadHook.loyalty_page

    def or_not_found(hook, start, *size, **filters):
        found = page(hook, start, *size, **filters)
        if start >= first and not found:
            raise CrmNotFoundError("GET /cagnottes was answered 404", status=404)
        return found

    monkeypatch.setattr(operators.SpreadHook, "loyalty_page", or_not_found)
    crm_sandbox.fault("drop_after", method="POST", path="/cagnottes", times=1)
    assert credit([row("a"), row("b")])["credited"] == 2
    assert amounts(spread) == {(zoe, Decimal(5)): 2 + lines}


def test_a_404_for_the_lines_of_an_api_that_is_not_there_sends_nothing(spread, add, credit, crm_sandbox):
    add("zoe@example.fr")
    for path in ("/cagnottes", "/customers"):
        crm_sandbox.fault("answer_before", method="GET", path=path, status=404, body="{}")
    with pytest.raises(CrmTransientError):
        credit([row("a")])
    assert posts(crm_sandbox) == 0


def test_a_list_that_is_refused_rejects_no_row(spread, add, credit, crm_sandbox):
    add("zoe@example.fr")
    crm_sandbox.fault("answer_before", method="GET", path="/cagnottes", status=400, body='{"error": "no"}')
    with pytest.raises(CrmTransientError) as caught:
        credit([row("a"), row("b")], max_rejects=2)
    assert not isinstance(caught.value, CrmFailError)
    assert posts(crm_sandbox) == 0


def test_line_ids_that_do_not_rise(spread, add, credit, crm_sandbox, monkeypatch):
    zoe = add("zoe@example.fr")
    original = spread.loyalty.add
    numbers = iter([907, 12, 455, 3, 800, 41, 600, 7, 999, 5])

    def add_line(*arguments, **more):
        line = original(*arguments, **more)
        line.cagnotte_line_id = f"x{next(numbers)}" if len(spread.loyalty.lines) % 2 else str(next(numbers))
        return line

    monkeypatch.setattr(spread.loyalty, "add", add_line)
    add_line(zoe, Decimal(5), "2030-01-01 00:00:00")
    crm_sandbox.fault("drop_after", method="POST", path="/cagnottes", every=2)
    crm_sandbox.fault("drop_before", method="POST", path="/cagnottes", after=1, times=1)
    assert credit([row(f"k{n}") for n in range(4)])["credited"] == 4
    assert amounts(spread) == {(zoe, Decimal(5)): 5}


def test_a_server_that_ignores_the_filter_by_customer(spread, add, credit, crm_sandbox, monkeypatch):
    people = [add(f"p{n}@example.fr") for n in range(30)]
    for person in people:
        spread.loyalty.add(person, Decimal(5), "2030-01-01 00:00:00")
    search = spread._search.lines

    def all_lines(call, *rest):
        call.parameters.pop("customerId", None)
        return search(call, *rest)

    monkeypatch.setattr(spread._search, "lines", all_lines)
    monkeypatch.setattr(spread_baseline, "MOST_PAGES", 0)  # so that the baseline is read by customer too
    crm_sandbox.fault("drop_after", method="POST", path="/cagnottes", every=2)
    crm_sandbox.fault("drop_before", method="POST", path="/cagnottes", after=1, every=2)
    assert credit([row(f"k{n}", person) for n, person in enumerate(people)])["credited"] == 30
    assert amounts(spread) == {(person, Decimal(5)): 2 for person in people}
    assert others(crm_sandbox) < 40


def test_hundreds_of_unknown_outcomes_cost_one_wait(spread, add, credit, crm_sandbox, monkeypatch):
    people = [add(f"p{number}@example.fr") for number in range(300)]
    waits = []
    pause = operators.SpreadHook.pause
    monkeypatch.setattr(
        operators.SpreadHook, "pause", lambda self, seconds: waits.append(seconds) or pause(self, seconds)
    )
    crm_sandbox.switch("spread", line_delay=1.5)
    fault = crm_sandbox.fault("drop_after", method="POST", path="/cagnottes", after=1)
    source = [row(f"k{n}", person) for n, person in enumerate(people)]
    assert credit(source, settle_seconds=2)["credited"] == 300
    assert fault.fired == 299
    assert len(spread.loyalty.lines) == 300
    assert sum(seconds > 0.3 for seconds in waits) <= 1  # none when the machine is busy for that long
    assert others(crm_sandbox) < 12  # all customers and all lines at once


def test_customers_lines_are_read_one_by_one_where_there_are_too_many(
    spread, add, credit, crm_sandbox, monkeypatch
):
    zoe = add("zoe@example.fr")
    monkeypatch.setattr(spread_baseline, "MOST_PAGES", 1)
    crm_sandbox.switch("spread", page_cap=10)
    for _ in range(25):
        spread.loyalty.add(zoe, Decimal(5), "2030-01-01 00:00:00")
    crm_sandbox.fault("drop_before", method="POST", path="/cagnottes", times=1)
    assert credit([row("a"), row("b", amount=6)])["credited"] == 2
    assert amounts(spread) == {(zoe, Decimal(5)): 26, (zoe, Decimal(6)): 1}


def test_a_repaired_row_does_not_inherit_the_baseline_of_another_customer(
    spread, add, ends, crm_sandbox, monkeypatch
):
    """Else an old line of the new customer would be taken for the credit."""
    monkeypatch.setattr(spread_baseline, "MOST_PAGES", 0)
    add("zoe@example.fr")
    bob = add("bob@example.fr")
    spread.loyalty.add(bob, Decimal(5), "2030-01-01 00:00:00")
    crm_sandbox.fault("answer_before", method="POST", path="/cagnottes", status=400, body='{"error": "no"}')
    assert ends([row("a")])[0].startswith("rejected")
    crm_sandbox.clear()
    crm_sandbox.fault("drop_before", method="POST", path="/cagnottes", times=1)
    assert ends([row("a", "bob@example.fr")]) == ["created"]
    assert amounts(spread) == {(bob, Decimal(5)): 2}


def test_a_refusal_counts_as_not_applied_and_so_does_429(spread, add, credit, crm_sandbox):
    zoe = add("zoe@example.fr")
    crm_sandbox.fault("rate_limited", method="POST", path="/cagnottes", every=2)
    assert credit([row(f"k{n}") for n in range(5)])["credited"] == 5
    assert amounts(spread) == {(zoe, Decimal(5)): 5}
    assert not [call for call in crm_sandbox.calls if "customerId" in (call.query or "")]


def test_the_answer_without_a_line_id_is_looked_up(spread, add, credit, crm_sandbox):
    zoe = add("zoe@example.fr")
    body = '{"customer": {"id": "1"}, "cagnotte": {"amount": "5"}}'
    crm_sandbox.fault("answer_after", method="POST", path="/cagnottes", times=1, body=body)
    assert credit([row("a")])["credited"] == 1
    assert amounts(spread) == {(zoe, Decimal(5)): 1}


def test_answers_without_a_line_id_that_lead_nowhere_come_to_an_end(
    spread, add, credit, crm_sandbox, monkeypatch
):
    """Each may have been a credit that shows too late: not more of them than of other unknown outcomes."""
    connection = json.loads(crm_sandbox.connections()["spread_default"])
    monkeypatch.setenv("AIRFLOW_CONN_SPREAD_DEFAULT", json.dumps({**connection, "extra": {"max_retries": 1}}))
    add("zoe@example.fr")
    body = '{"customer": {"id": "1"}, "cagnotte": {"amount": "5"}}'
    crm_sandbox.fault("answer_before", method="POST", path="/cagnottes", times=9, status=200, body=body)
    with pytest.raises(CrmOutcomeUnknownError, match="without the line's id"):
        credit([row("a")], settle_seconds=0)
    assert posts(crm_sandbox) == 2


def test_an_answer_without_the_amount_says_nothing_about_decimals(spread, add, ends, crm_sandbox):
    add("zoe@example.fr")
    line = '{"cagnotteLineId": "146964", "customerId": "77"}'
    body = f'{{"customer": {{"id": "77"}}, "cagnotte": {line}}}'
    crm_sandbox.fault("answer_after", method="POST", path="/cagnottes", times=1, body=body)
    # The second waits for the first, which is of the same amount.
    assert ends([row("a", amount="5.5"), row("b", amount="5.5")]) == ["created", "created"]


def test_a_crm_that_rounds(spread, add, ends, crm_sandbox):
    zoe = add("zoe@example.fr")
    crm_sandbox.switch("spread", decimal_amount="round")
    crm_sandbox.fault("drop_after", method="POST", path="/cagnottes", times=1)
    assert ends([row("a", amount="2.6")]) == ["created"]
    assert ends([row("b", amount="3.6")]) == ["created"]
    assert amounts(spread) == {(zoe, Decimal(3)): 1, (zoe, Decimal(4)): 1}


def test_a_crm_that_takes_whole_points_only(spread, add, ends, crm_sandbox):
    zoe = add("zoe@example.fr")
    crm_sandbox.switch("spread", decimal_amount="400")
    assert ends([row("a", amount="2.6"), row("b", amount=3)])[1] == "created"
    assert amounts(spread) == {(zoe, Decimal(3)): 1}


# Outcomes that stay unknown, and next tries


def test_an_outcome_unknown_at_the_end_is_a_failure_that_may_be_retried(
    spread, add, credit, crm_sandbox, ledger
):
    zoe = add("zoe@example.fr")
    crm_sandbox.fault("drop_after", method="POST", path="/cagnottes")
    crm_sandbox.fault("error_before", method="GET", path="/cagnottes", after=2)
    with pytest.raises(CrmTransientError) as caught:
        credit([row("a")])
    assert not isinstance(caught.value, CrmFailError)
    assert ledger()["a"].state == "unknown"
    crm_sandbox.clear()
    result = credit([row("a")])
    assert (result["credited"], result["amount"]) == (1, "5")
    assert amounts(spread) == {(zoe, Decimal(5)): 1}


def test_a_crm_that_never_answers(spread, add, credit, crm_sandbox, monkeypatch):
    connection = {
        **json.loads(crm_sandbox.connections()["spread_default"]),
        "extra": {"max_retries": 1},
    }
    monkeypatch.setenv("AIRFLOW_CONN_SPREAD_DEFAULT", json.dumps(connection))
    zoe = add("zoe@example.fr")
    fault = crm_sandbox.fault("drop_before", method="POST", path="/cagnottes")
    with pytest.raises(CrmOutcomeUnknownError):
        credit([row("a")])
    assert fault.fired == 2
    crm_sandbox.clear()
    assert credit([row("a")])["credited"] == 1
    assert amounts(spread) == {(zoe, Decimal(5)): 1}


def test_credentials_that_are_refused_end_it_at_once(spread, add, credit, crm_sandbox, ledger):
    for number in range(100):
        add(f"p{number}@example.fr")
    crm_sandbox.fault("answer_before", method="POST", path="/cagnottes", status=403, body='{"error": "no"}')
    with pytest.raises(CrmFailError):
        credit([row(f"k{n}", f"p{n}@example.fr") for n in range(100)])
    assert posts(crm_sandbox) <= 16
    assert {one.state for one in ledger().values()} == {"claimed"}


# The ledger out of reach


def test_no_ledger_no_credit(spread, add, credit, crm_sandbox, monkeypatch):
    add("zoe@example.fr")
    monkeypatch.delenv(LEDGER)
    with pytest.raises(CrmInputError, match="AIRFLOW_CONN_CRM_LEDGER_DEFAULT"):
        credit([row("a")])
    monkeypatch.setenv(LEDGER, json.dumps({"conn_type": "sqlite", "host": "/nowhere/at/all.db"}))
    with pytest.raises(LedgerError) as caught:
        credit([row("a")])
    assert not isinstance(caught.value, CrmFailError)
    assert len(crm_sandbox.calls) == 0


@pytest.mark.parametrize("moment", ["start", "finish"])
def test_a_ledger_that_goes_away_in_the_middle(spread, add, credit, crm_sandbox, monkeypatch, moment):
    for number in range(50):
        add(f"p{number}@example.fr")
    source = [row(f"k{n}", f"p{n}@example.fr") for n in range(50)]
    original, calls, gone = getattr(LoyaltyLedger, moment), [], threading.Event()
    write = ledger_module.Database.write

    def fail_from_the_tenth_on(self, *arguments, **more):
        calls.append(1)
        if len(calls) >= 10:
            gone.set()
        return original(self, *arguments, **more)

    def write_or_fail(self, work):
        if gone.is_set():
            raise LedgerError("The ledger is gone")
        return write(self, work)

    monkeypatch.setattr(LoyaltyLedger, moment, fail_from_the_tenth_on)
    monkeypatch.setattr(ledger_module.Database, "write", write_or_fail)
    with pytest.raises(LedgerError):
        credit(source)
    sent = posts(crm_sandbox)
    assert sent < 10 + 2 * 8
    monkeypatch.undo()
    monkeypatch.setattr(ledger_module, "LEASE", 0.1)
    assert sent == posts(crm_sandbox)


def test_a_claim_is_confirmed_after_a_long_wait(spread, add, credit, crm_sandbox, monkeypatch):
    """A 429 may hold a call back for longer than the lease: the ledger decides again before it leaves."""
    add("zoe@example.fr")
    monkeypatch.setattr(ledger_module, "LEASE", 0.3)
    monkeypatch.setattr(retry._Wait, "__call__", lambda self, state: 0.2)
    confirmed = []
    still_open = LoyaltyLedger._still_open
    monkeypatch.setattr(LoyaltyLedger, "_still_open", lambda self: confirmed.append(1) or still_open(self))
    crm_sandbox.fault("rate_limited", method="POST", path="/cagnottes", times=2)
    assert credit([row("a")])["credited"] == 1
    assert len(confirmed) >= 3  # once at the start, and once for each try that came later


# Two runs


def test_two_runs_of_one_source_at_once(spread, add, credit, crm_sandbox):
    for number in range(60):
        add(f"p{number}@example.fr")
    source = [row(f"k{n}", f"p{n % 60}@example.fr", 5) for n in range(120)]
    crm_sandbox.fault("drop_after", method="POST", path="/cagnottes", probability=0.1, seed=4)
    crm_sandbox.fault("drop_before", method="POST", path="/cagnottes", probability=0.1, seed=5)
    results, failures = [], []

    def run():
        with suppress(ImportError, AttributeError):  # Airflow 2 prepares the main thread only
            from airflow.models.baseoperator import ExecutorSafeguard

            ExecutorSafeguard._sentinel.callers = {}
        try:
            results.append(credit(source))
        except CrmTransientError as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(spread.loyalty.lines) == 120
    assert [one["read"] for one in results] == [120] * len(results)
    assert sum(one["credited"] for one in results) == 120 or failures


def leave_in_doubt(credit, crm_sandbox, ledger, source, *, applied):
    """Let a run die while its credits are on their way."""
    crm_sandbox.fault("drop_after" if applied else "drop_before", method="POST", path="/cagnottes")
    crm_sandbox.fault("error_before", method="GET", path="/cagnottes", after=2)
    with pytest.raises(CrmTransientError):
        credit(source)
    crm_sandbox.clear()
    assert {one.state for one in ledger().values()} == {"unknown"}


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("by_id", [True, False])
def test_another_runs_credit_stands_in_the_way(spread, add, credit, crm_sandbox, ledger, applied, by_id):
    """It is settled first, also when it is not in our own source, and however the rows name the customer."""
    zoe = add("zoe@example.fr")
    leave_in_doubt(credit, crm_sandbox, ledger, [row("theirs")], applied=applied)
    assert credit([row("ours", zoe if by_id else "zoe@example.fr")])["credited"] == 1
    assert ledger()["theirs"].state == ("credited" if applied else "claimed")
    result = credit([row("theirs")])
    assert result["already_credited" if applied else "credited"] == 1
    assert amounts(spread) == {(zoe, Decimal(5)): 2}


def test_of_two_rows_the_one_in_doubt_is_sent_first(spread, add, credit, crm_sandbox, ledger):
    """It keeps the other one from being sent, so that the two would wait for each other."""
    zoe = add("zoe@example.fr")
    leave_in_doubt(credit, crm_sandbox, ledger, [row("first")], applied=False)
    assert credit([row("second"), row("first")])["credited"] == 2
    assert amounts(spread) == {(zoe, Decimal(5)): 2}


def test_a_customer_who_is_not_to_be_found_any_more(spread, add, ends, credit, crm_sandbox, ledger):
    """Nobody can tell what became of the credit: others like it must not be sent, and need not wait."""
    add("zoe@example.fr")
    crm_sandbox.fault("drop_after", method="POST", path="/cagnottes")
    crm_sandbox.fault("error_before", method="GET", path="/customers")
    with pytest.raises(CrmTransientError):
        credit([row("a")])
    crm_sandbox.clear()
    spread.customers.by_email("zoe@example.fr").email = "new@example.fr"
    for _ in range(2):
        found = ends([row("a"), row("b"), row("c", amount=6)])
        assert found[:2] == [f"rejected: {spread_loyalty.UNTRACEABLE}"] * 2
        assert found[2].startswith("rejected: ")
    assert ledger()["a"].state == "unknown"
    assert len(spread.loyalty.lines) == 1


def test_a_line_taken_by_mistake_is_given_back(spread, add, credit, crm_sandbox, ledger, tmp_path):
    """The CRM's own answer counts more than a look at its lines."""
    zoe = add("zoe@example.fr")
    credit([row("mistaken")])
    next_line = str(int(spread.loyalty.lines[0].cagnotte_line_id) + 1)
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
    with engine.begin() as connection:
        connection.execute(credits_table.update().values(line_id=next_line, ended_at=1.0))
    engine.dispose()
    assert credit([row("ours")])["credited"] == 1
    assert ledger()["ours"].line_id == next_line
    assert ledger()["mistaken"].line_id == spread.loyalty.lines[0].cagnotte_line_id
    assert amounts(spread) == {(zoe, Decimal(5)): 2}


def test_a_run_that_is_stopped_while_it_waits_ends(spread, add, credit, monkeypatch):
    add("zoe@example.fr")
    hooks = []
    monkeypatch.setattr(operators.SpreadCreditLoyaltyOperator, "_hook", keep_hook(hooks))
    monkeypatch.setattr(LoyaltyLedger, "claim", busy(LoyaltyLedger.claim))
    monkeypatch.setattr(spread_loyalty, "POLL_EVERY", 60.0)
    stopper = threading.Timer(0.5, lambda: [hook.close() for hook in hooks])
    stopper.start()
    with pytest.raises(CrmTransientError):
        credit([row("a")])
    stopper.join()


def keep_hook(hooks):
    make = operators.SpreadCreditLoyaltyOperator._hook

    def make_hook(self):
        hooks.append(make(self))
        return hooks[-1]

    return make_hook


def busy(claim):
    return lambda self, credits_: [replace(entry, standing=Standing.BUSY) for entry in claim(self, credits_)]


def test_a_look_that_is_cut_short_decides_nothing(spread, add, credit, crm_sandbox, monkeypatch, ledger):
    """When the task ends during the wait, the line may still be about to show."""
    zoe = add("zoe@example.fr")
    hooks = []
    monkeypatch.setattr(operators.SpreadCreditLoyaltyOperator, "_hook", keep_hook(hooks))
    crm_sandbox.switch("spread", line_delay=1.5)
    crm_sandbox.fault("drop_after", method="POST", path="/cagnottes")
    stopper = threading.Timer(0.5, lambda: [hook.close() for hook in hooks])
    stopper.start()
    with pytest.raises(CrmTransientError):
        credit([row("a")], settle_seconds=2)
    stopper.join()
    assert ledger()["a"].state == "unknown"
    crm_sandbox.clear()
    assert credit([row("a")], settle_seconds=2)["credited"] == 1
    assert amounts(spread) == {(zoe, Decimal(5)): 1}


# What must not be seen


def test_no_email_and_no_secret_anywhere(spread, add, credit, crm_sandbox, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    add("zoe@example.fr")
    crm_sandbox.fault("drop_after", method="POST", path="/cagnottes", times=1)
    body = '{"error": "zoe@example.fr is not allowed, demo-private"}'
    crm_sandbox.fault("answer_before", method="POST", path="/cagnottes", after=1, status=400, body=body)
    with pytest.raises(CrmRejectsError) as caught:
        credit([row("a"), row("b", amount=7), row("c", "nobody@example.fr")])
    files = b"".join(path.read_bytes() for path in tmp_path.glob("ledger.db*"))
    logged = "".join(str(one.getMessage()) for one in caplog.records if "uvicorn" not in one.name)
    for secret in ("example.fr", "demo-private"):
        assert secret not in logged
        assert secret not in str(caught.value)
        assert secret.encode() not in files


# The audit


@pytest.fixture
def audit(spread, tmp_path):
    def audit(**parameters):
        report = tmp_path / "audit.jsonl"
        parameters = {"settle_seconds": SETTLE, **parameters}
        operator = SpreadAuditLoyaltyOperator(task_id="a", report_path=str(report), **parameters)
        try:
            return operator.execute({})
        except CrmFailError as error:
            return str(error), [json.loads(line) for line in report.read_text().splitlines()]

    return audit


def test_the_audit_finds_nothing_after_a_run(spread, add, credit, audit, crm_sandbox):
    zoe = add("zoe@example.fr")
    spread.loyalty.add(zoe, Decimal(9), "2030-01-01 00:00:00", campaign_id="46354")
    spread.loyalty.add(zoe, Decimal(9), "2030-01-01 00:00:00")
    crm_sandbox.fault("drop_after", method="POST", path="/cagnottes", every=2)
    credit([row(f"k{n}") for n in range(5)])
    assert audit() == {
        "credits": 5,
        "lines": 6,
        "credits_without_line": 0,
        "credits_with_another_amount": 0,
        "credits_in_doubt": 0,
        "lines_without_credit": 1,
    }


def test_the_audit_fails_when_a_line_is_missing(spread, add, credit, audit):
    zoe = add("zoe@example.fr")
    credit([row("a"), row("b")])
    line = spread.loyalty.lines.pop(0)
    spread.loyalty.of_customer(zoe).remove(line)
    message, report = audit()
    assert message.startswith("1 credits of the ledger have no line in SPREAD")
    assert [(one["problem"], one["credit_key"]) for one in report] == [("credit without line", "a")]


def test_the_audit_waits_for_lines_that_show_late(spread, add, credit, audit, crm_sandbox):
    zoe = add("zoe@example.fr")
    spread.loyalty.add(zoe, Decimal(9), "2030-01-01 00:00:00")
    crm_sandbox.switch("spread", line_delay=1.0)
    credit([row("a")])
    found = audit(settle_seconds=2)
    assert found["credits_without_line"] == 0
    assert (found["lines"], found["lines_without_credit"]) == (2, 1)


def test_the_audit_takes_a_window_with_a_zone(spread, add, credit, audit):
    add("zoe@example.fr")
    credit([row("a")])
    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    ahead = timezone(timedelta(hours=14))
    assert audit(created_after=(now - hour).astimezone(ahead))["credits"] == 1
    assert audit(created_after=(now + hour).astimezone(ahead))["credits"] == 0


def test_the_audit_does_not_trust_the_crms_clock(spread, add, credit, audit, crm_sandbox):
    add("zoe@example.fr")
    crm_sandbox.switch("spread", clock_shift=-40 * 3600.0)
    credit([row("a")])
    found = audit(created_after="2020-01-01 00:00:00", created_before="2100-01-01 00:00:00")
    assert found["credits_without_line"] == 0
