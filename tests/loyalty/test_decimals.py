"""Amounts that round to each other: what SPREAD makes of decimals is believed once its answers have shown it."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest

from airflow_provider_crm.exceptions import CrmFailError, CrmTransientError
from airflow_provider_crm.loyalty.doubts import MAY_BE_ROUNDED
from airflow_provider_crm.operators.spread.loyalty import SpreadAuditLoyaltyOperator

from .credits import SETTLE, amounts, posts, row

YEARS_AHEAD = "2030-01-01 00:00:00"
WHOLE_ONLY = "rejected: amount: SPREAD keeps whole points only: it has rounded another credit"


@pytest.mark.slow
@pytest.mark.parametrize("order", [("12", "12.5"), ("12.5", "12"), ("13", "12.5"), ("12.5", "13")])
def test_a_line_of_a_credits_own_amount_is_rather_its_own(spread, add, credit, lose, order):
    """The whole points were applied, the call with decimals never arrived."""
    zoe = add("zoe@example.fr")
    lose(after=[one for one in order if "." not in one], before=["12.5"])
    assert credit([row(f"k{one}", amount=one) for one in order])["credited"] == 2
    assert amounts(spread) == {(zoe, Decimal(one)): 1 for one in order}
    audit = SpreadAuditLoyaltyOperator(task_id="a", settle_seconds=SETTLE).execute({})
    assert audit["credits"] == audit["lines"] == 2


@pytest.mark.slow
def test_points_given_by_hand_are_no_rounded_credit(spread, add, ends, credit, lose):
    """Where answers have shown that decimals are kept."""
    zoe = add("zoe@example.fr")
    credit([row("a", amount="2.5")])
    lose(before=["12.5"])
    give_while_sending(spread, zoe, "12")
    assert ends([row("b", amount="12.5"), row("c", "zoe@example.fr", 1)]) == ["created", "created"]
    assert amounts(spread)[zoe, Decimal("12.5")] == 1


def give_while_sending(spread, customer_id, amount):
    """Let somebody give points by hand with the next credit that SPREAD applies."""
    add = spread.loyalty.add

    def add_both(*arguments, **more):
        del spread.loyalty.add
        add(customer_id, Decimal(amount), YEARS_AHEAD)
        return add(*arguments, **more)

    spread.loyalty.add = add_both


def test_a_rounded_credit_is_found_by_a_later_run(spread, add, ends, lose, crm_sandbox):
    """What an earlier run was answered counts: its line is compared with what was sent."""
    zoe = add("zoe@example.fr")
    crm_sandbox.switch("spread", decimal_amount="round")
    assert ends([row("a", amount="2.6")]) == ["created"]
    lose(after=["3.6"])
    assert ends([row("b", amount="3.6")]) == ["created"]
    assert amounts(spread) == {(zoe, Decimal(3)): 1, (zoe, Decimal(4)): 1}
    assert ends([row("c", amount="4.6")]) == ["created"]  # nothing in doubt asks what the CRM makes of it
    assert posts(crm_sandbox) == 3


def test_once_an_answer_shows_that_decimals_are_rounded_no_more_of_them_leave(
    spread, add, ends, crm_sandbox, ledger
):
    """Nor those that were planned together with the one that has shown it."""
    people = [f"p{number}@example.fr" for number in range(40)]
    add(*people)
    crm_sandbox.switch("spread", decimal_amount="round")
    rows = [row(f"k{number}", email, "2.5") for number, email in enumerate(people)]
    said = Counter(ends(rows, concurrency=1))
    assert said.keys() == {"created", WHOLE_ONLY}
    assert said["created"] == posts(crm_sandbox) < 10  # what was about to leave when the first answer came
    assert Counter(entry.state for entry in ledger().values())["refused"] == said[WHOLE_ONLY]


def test_a_rounded_credit_is_found_once_others_of_its_batch_are_answered(
    spread, add, ends, lose, crm_sandbox
):
    zoe = add("zoe@example.fr")
    bob = add("bob@example.fr")
    crm_sandbox.switch("spread", decimal_amount="round")
    lose(after=["3.6"])
    assert ends([row("a", amount="3.6"), row("b", "bob@example.fr", "7.6")]) == ["created", "created"]
    assert amounts(spread) == {(zoe, Decimal(4)): 1, (bob, Decimal(8)): 1}


@pytest.mark.slow
def test_nothing_is_decided_before_the_crm_has_shown_what_it_makes_of_decimals(
    spread, add, ends, lose, crm_sandbox, ledger
):
    """Sending it again might double it, and to take the line for its own might lose it."""
    zoe = add("zoe@example.fr")
    crm_sandbox.switch("spread", decimal_amount="round")
    lose(after=["2.6"])
    for _ in range(2):
        assert ends([row("a", amount="2.6"), row("b", amount=7)])[0] == f"rejected: {MAY_BE_ROUNDED}"
        assert ledger()["a"].state == "unknown"
    assert amounts(spread) == {(zoe, Decimal(3)): 1, (zoe, Decimal(7)): 1}
    add("bob@example.fr")
    assert ends([row("c", "bob@example.fr", "5.5"), row("a", amount="2.6")]) == ["created", "created"]
    assert amounts(spread, zoe) == {(zoe, Decimal(3)): 1, (zoe, Decimal(7)): 1}


def test_decimals_from_elsewhere_tell_nothing(spread, add, ends, lose, crm_sandbox):
    """What was imported or given by hand may be kept otherwise than what comes by API."""
    zoe = add("zoe@example.fr")
    spread.loyalty.add(zoe, Decimal("0.5"), YEARS_AHEAD)
    crm_sandbox.switch("spread", decimal_amount="round")
    assert ends([row("a", amount="2.6")]) == ["created"]
    lose(after=["3.6"])
    assert ends([row("b", amount="3.6")]) == ["created"]
    assert amounts(spread) == {(zoe, Decimal("0.5")): 1, (zoe, Decimal(3)): 1, (zoe, Decimal(4)): 1}


@pytest.mark.slow
def test_a_line_is_left_to_another_runs_credit_of_its_amount(
    spread, add, ends, credit, lose, crm_sandbox, ledger
):
    zoe = add("zoe@example.fr")
    crm_sandbox.switch("spread", decimal_amount="round")
    credit([row("a", amount="2.6")])
    lose(after=["12"], before=["11.5"])
    crm_sandbox.fault("error_before", method="GET", path="/cagnottes", after=3)
    with pytest.raises(CrmTransientError):
        credit([row("theirs", amount=12), row("ours", amount="11.5")])
    crm_sandbox.clear()
    assert (ledger()["theirs"].state, ledger()["ours"].state) == ("unknown", "unknown")
    assert ends([row("ours", amount="11.5")]) == [WHOLE_ONLY]
    assert ends([row("theirs", amount=12)]) == ["created"]
    assert amounts(spread) == {(zoe, Decimal(3)): 1, (zoe, Decimal(12)): 1}


def test_of_two_lines_one_is_left_to_the_other_credit(spread, add, ends, credit, lose, crm_sandbox):
    zoe = add("zoe@example.fr")
    crm_sandbox.switch("spread", decimal_amount="round")
    credit([row("a", amount="2.6")])
    lose(after=["11.6", "12"])
    assert ends([row("b", amount="11.6"), row("c", amount=12)]) == ["created", "created"]
    assert amounts(spread) == {(zoe, Decimal(3)): 1, (zoe, Decimal(12)): 2}
    assert posts(crm_sandbox) == 3


def test_the_audit_fails_when_a_line_has_another_amount(add, credit, crm_sandbox, tmp_path):
    add("zoe@example.fr")
    crm_sandbox.switch("spread", decimal_amount="round")
    credit([row("a", amount="2.6")])
    with pytest.raises(CrmFailError, match="1 one of another amount"):
        SpreadAuditLoyaltyOperator(task_id="a", settle_seconds=SETTLE).execute({})
