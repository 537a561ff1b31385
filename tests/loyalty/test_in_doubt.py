"""What one run leaves in doubt, the next one or another one settles before it credits the like."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal

import pytest
import sqlalchemy as sa

from airflow_provider_crm.exceptions import CrmFailError, CrmOutcomeUnknownError, CrmTransientError
from airflow_provider_crm.loyalty import destination
from airflow_provider_crm.loyalty.ledger import LoyaltyLedger
from airflow_provider_crm.loyalty.states import Standing
from airflow_provider_crm.loyalty.tables import credits_table
from airflow_provider_crm.operators.spread import loyalty as operators

from .credits import amounts, posts, row

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


@pytest.mark.slow
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


# Two runs


@pytest.mark.slow
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


@pytest.mark.sampled
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


@pytest.mark.slow
def test_of_two_rows_the_one_in_doubt_is_sent_first(spread, add, credit, crm_sandbox, ledger):
    """It keeps the other one from being sent, so that the two would wait for each other."""
    zoe = add("zoe@example.fr")
    leave_in_doubt(credit, crm_sandbox, ledger, [row("first")], applied=False)
    assert credit([row("second"), row("first")])["credited"] == 2
    assert amounts(spread) == {(zoe, Decimal(5)): 2}


@pytest.mark.slow
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
        assert found[:2] == [f"rejected: {destination.UNTRACEABLE}"] * 2
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


@pytest.mark.slow
def test_a_run_that_is_stopped_while_it_waits_ends(spread, add, credit, monkeypatch):
    add("zoe@example.fr")
    hooks = []
    monkeypatch.setattr(operators.SpreadCreditLoyaltyOperator, "_hook", keep_hook(hooks))
    monkeypatch.setattr(LoyaltyLedger, "claim", busy(LoyaltyLedger.claim))
    monkeypatch.setattr(destination, "POLL_EVERY", 60.0)
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


def test_a_credit_whose_like_another_run_holds_is_not_waited_for_for_ever(
    spread, add, credit, crm_sandbox, monkeypatch, tmp_path
):
    """Each look tries to start it anew, which must not begin the wait anew."""
    add("zoe@example.fr")
    crm_sandbox.fault("drop_after", method="POST", path="/cagnottes")
    crm_sandbox.fault("error_before", method="GET", path="/cagnottes", after=2)
    with pytest.raises(CrmTransientError):
        credit([row("a")])
    crm_sandbox.clear()
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
    with engine.begin() as connection:
        connection.execute(credits_table.update().values(owner="another run", lease_until=9e12))
    engine.dispose()
    looks = iter(range(200))
    ends = operators.SpreadHook.pause
    monkeypatch.setattr(destination, "WAIT_FOR_OTHERS", 0.1)
    monkeypatch.setattr(
        operators.SpreadHook, "pause", lambda hook, seconds: next(looks, None) is None or ends(hook, seconds)
    )
    with pytest.raises(CrmTransientError, match="for too long"):
        credit([row("b")])
    assert posts(crm_sandbox) == 1


def busy(claim):
    return lambda self, credits_: [replace(entry, standing=Standing.BUSY) for entry in claim(self, credits_)]


@pytest.mark.slow
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
