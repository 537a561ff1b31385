"""The ledger as several processes see it: who holds a credit, who takes it over, who has to wait."""

from __future__ import annotations

import threading
import time
from decimal import Decimal

import pytest

from airflow_provider_crm.loyalty.claims import ClaimLostError, machine_clock
from airflow_provider_crm.loyalty.credits import Credit
from airflow_provider_crm.loyalty.database import LedgerError
from airflow_provider_crm.loyalty.ledger import LaneTakenError
from airflow_provider_crm.loyalty.states import State
from airflow_provider_crm.loyalty.tables import credits_table

from .ledger_credits import BUSY, DOUBT, FREE, A, B, claim, die, start


def test_a_live_claim_keeps_others_away(process):
    one, two = process(), process()
    claim(one, A)
    assert claim(two, A).standing is BUSY
    one.__exit__(None, None, None)
    assert claim(two, A).standing is FREE


@pytest.mark.slow
def test_a_claim_is_renewed_as_long_as_its_process_lives(process):
    one, two = process(lease=0.6), process()
    claim(one, A)
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        assert claim(two, A).standing is BUSY
        time.sleep(0.05)
    die(one)
    assert claim(two, A).standing is FREE


def test_what_a_dead_process_was_sending_is_in_doubt_and_not_free(process, rows):
    one, two = process(), process(longest_call=7)
    start(one, claim(one, A), "base")
    die(one)
    entry = claim(two, A)
    assert (entry.standing, entry.state, entry.baseline) == (DOUBT, State.UNKNOWN, "base")
    # Its request ended at the latest when one that left at the last moment has failed.
    assert entry.ended_at == pytest.approx(1.0 + 60 / 6 + 7)


def test_what_is_under_way_is_not_let_go_of_at_the_end(process, rows):
    one, two = process(), process()
    start(one, claim(one, A))
    one.__exit__(None, None, None)
    assert claim(two, A).standing is BUSY
    assert rows()["a"].state == "sending"


def test_nothing_is_started_once_the_ledger_is_closed(process, rows):
    one = process()
    entry = claim(one, A)
    sent = start(one, claim(one, Credit("c", Decimal(1), "1")))
    one.__exit__(None, None, None)
    with pytest.raises(LedgerError):
        start(one, entry)
    with pytest.raises(LedgerError):
        one.confirm(sent)
    assert rows()["a"].state == "claimed"


def test_a_process_that_slept_for_too_long_sends_nothing(process):
    one, two = process(), process()
    entry = claim(one, A)
    die(one)
    one._closing.clear()
    assert claim(two, A).standing is FREE
    with pytest.raises(ClaimLostError):
        start(one, entry)


def test_a_credit_that_waited_after_its_start_is_confirmed_before_it_leaves(process):
    ahead = 0
    one, two = process(clock=lambda: machine_clock() + ahead), process()
    sent = start(one, claim(one, A))
    assert one.confirm(sent) is sent
    ahead = 11
    confirmed = one.confirm(sent)
    assert confirmed.version == sent.version + 1
    die(one)
    one._closing.clear()
    assert claim(two, A).standing is DOUBT
    ahead = 22
    with pytest.raises(ClaimLostError):
        one.confirm(confirmed)


def test_a_lease_renewed_in_the_last_moment_wins(process, engine, monkeypatch):
    """The taker has read an expired lease; the owner renews it before the taker's change."""
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    one, two = process(), process()
    start(one, claim(one, A))
    with engine.begin() as connection:
        connection.execute(credits_table.update().values(lease_until=1.0))
    change = two._rows.change

    def renew_first(*arguments, **values):
        one._database.write(one._renew)
        return change(*arguments, **values)

    monkeypatch.setattr(two._rows, "change", renew_first)
    assert claim(two, A).standing is BUSY


def test_an_answer_counts_also_when_another_run_has_taken_over(process, rows):
    one, two = process(), process()
    sent = start(one, claim(one, A))
    die(one)
    taken = claim(two, A)
    one.finish(sent, "17", "123")
    assert (rows()["a"].state, rows()["a"].line_id) == ("credited", "17")
    with pytest.raises(ClaimLostError):
        start(two, taken)
    two.finish(taken, "17", "123")  # it found the same line


def test_an_answer_that_comes_after_a_second_sending_is_said(process):
    one, two = process(), process()
    sent = start(one, claim(one, A))
    die(one)
    again = start(two, claim(two, A))
    with pytest.raises(ClaimLostError):
        one.finish(sent, "17", "123")
    two.finish(again, "18", "123")
    with pytest.raises(ClaimLostError):
        one.finish(sent, "17", "123")


def test_a_dead_process_in_the_way_is_taken_over_and_set_free(process, rows):
    one, two = process(), process()
    start(one, claim(one, A))
    die(one)
    ours = claim(two, B)
    with pytest.raises(LaneTakenError):
        start(two, ours)
    theirs = two.in_the_way(ours)
    assert (theirs.credit.key, theirs.standing) == ("a", DOUBT)
    assert claim(two, A).standing is BUSY  # another thread is settling it
    two.set_free(theirs)
    two.hand_back(theirs)
    assert (rows()["a"].state, rows()["a"].owner) == ("claimed", "")
    assert start(two, ours).state is State.SENDING
    three = process()
    assert claim(three, A).standing is FREE


def test_what_could_not_be_settled_is_left_to_others(process):
    one, two, three = process(), process(), process()
    one.doubt(start(one, claim(one, A)))
    one.__exit__(None, None, None)
    theirs = two.in_the_way(claim(two, B))
    two.hand_back(theirs)
    assert claim(three, A).standing is DOUBT


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 5])
def test_workers_that_claim_the_same_keys_at_once(process, workers):
    ledgers = [process() for _ in range(workers)]
    keys = [Credit(f"k{n}", Decimal(n + 1), "1") for n in range(300)]
    found, errors = [], []

    def work(ledger, turn):
        try:
            mine = keys if turn % 2 else list(reversed(keys))
            found.extend(entry.credit.key for entry in ledger.claim(mine) if entry.standing is FREE)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(ledger, turn)) for turn, ledger in enumerate(ledgers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(found) == sorted(credit.key for credit in keys)


def test_workers_that_send_the_same_lane_at_once(process):
    ledgers = [process() for _ in range(4)]
    entries = [claim(ledger, Credit(f"k{n}", Decimal(5), "1")) for n, ledger in enumerate(ledgers)]
    started, errors = [], []

    def work(ledger, entry):
        try:
            started.append(start(ledger, entry))
        except LaneTakenError:
            pass
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(ledgers, entries, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(started) == 1
