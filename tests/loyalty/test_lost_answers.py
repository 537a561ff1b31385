"""Answers that do not tell what happened: SPREAD's own lines decide, and nobody is credited twice."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from airflow_provider_crm.exceptions import (
    CrmFailError,
    CrmNotFoundError,
    CrmOutcomeUnknownError,
    CrmTransientError,
    CrmUnreadableAnswerError,
)
from airflow_provider_crm.loyalty import baselines
from airflow_provider_crm.operators.spread import loyalty as operators

from .credits import SETTLE, amounts, others, posts, row

AFTER = ["drop_after", "error_after", "html_after", "truncate"]
BEFORE = ["drop_before", "error_before", "html_before"]


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.sampled
@pytest.mark.parametrize("shown", ["5,00", "5.000", "+5", " 5 "])
def test_amounts_in_other_notations(spread, add, credit, crm_sandbox, monkeypatch, shown):
    add("zoe@example.fr")
    show_lines_as(monkeypatch, spread, amount=shown)
    crm_sandbox.fault("drop_after", method="POST", path="/cagnottes", times=1)
    assert credit([row("a")])["credited"] == 1
    assert len(spread.loyalty.lines) == 1


@pytest.mark.slow
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


@pytest.mark.sampled
@pytest.mark.parametrize("lines", [0, 1, 7])
@pytest.mark.parametrize("most_pages", [0, 400])
@pytest.mark.parametrize("first", [0, 1])
def test_a_server_that_calls_an_empty_page_not_found(
    spread, add, credit, crm_sandbox, monkeypatch, lines, most_pages, first
):
    zoe = add("zoe@example.fr")
    monkeypatch.setattr(baselines, "MOST_PAGES", most_pages)
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_server_that_ignores_the_filter_by_customer(spread, add, credit, crm_sandbox, monkeypatch):
    people = [add(f"p{n}@example.fr") for n in range(30)]
    for person in people:
        spread.loyalty.add(person, Decimal(5), "2030-01-01 00:00:00")
    search = spread._search.lines

    def all_lines(call, *rest):
        call.parameters.pop("customerId", None)
        return search(call, *rest)

    monkeypatch.setattr(spread._search, "lines", all_lines)
    monkeypatch.setattr(baselines, "MOST_PAGES", 0)  # so that the baseline is read by customer too
    crm_sandbox.fault("drop_after", method="POST", path="/cagnottes", every=2)
    crm_sandbox.fault("drop_before", method="POST", path="/cagnottes", after=1, every=2)
    assert credit([row(f"k{n}", person) for n, person in enumerate(people)])["credited"] == 30
    assert amounts(spread) == {(person, Decimal(5)): 2 for person in people}
    assert others(crm_sandbox) < 40


@pytest.mark.slow
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
    assert others(crm_sandbox) < 60  # all customers and all lines at once, and not each alone


@pytest.mark.slow
def test_customers_lines_are_read_one_by_one_where_there_are_too_many(
    spread, add, credit, crm_sandbox, monkeypatch
):
    zoe = add("zoe@example.fr")
    monkeypatch.setattr(baselines, "MOST_PAGES", 1)
    crm_sandbox.switch("spread", page_cap=10)
    for _ in range(25):
        spread.loyalty.add(zoe, Decimal(5), "2030-01-01 00:00:00")
    crm_sandbox.fault("drop_before", method="POST", path="/cagnottes", times=1)
    assert credit([row("a"), row("b", amount=6)])["credited"] == 2
    assert amounts(spread) == {(zoe, Decimal(5)): 26, (zoe, Decimal(6)): 1}


@pytest.mark.slow
def test_a_repaired_row_does_not_inherit_the_baseline_of_another_customer(
    spread, add, ends, crm_sandbox, monkeypatch
):
    """Else an old line of the new customer would be taken for the credit."""
    monkeypatch.setattr(baselines, "MOST_PAGES", 0)
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


def test_a_crm_that_takes_whole_points_only(spread, add, ends, crm_sandbox):
    zoe = add("zoe@example.fr")
    crm_sandbox.switch("spread", decimal_amount="400")
    assert ends([row("a", amount="2.6"), row("b", amount=3)])[1] == "created"
    assert amounts(spread) == {(zoe, Decimal(3)): 1}
