"""Credits that are noted some at a time, on SQLite and on servers: as if each had been noted alone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal

import pytest
import sqlalchemy as sa

from airflow_provider_crm.databases import database
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.loyalty import claims
from airflow_provider_crm.loyalty.claims import ClaimLostError
from airflow_provider_crm.loyalty.credits import Credit
from airflow_provider_crm.loyalty.database import LedgerError
from airflow_provider_crm.loyalty.entries import TOGETHER
from airflow_provider_crm.loyalty.ledger import LaneTakenError, LineTakenError, LoyaltyLedger
from airflow_provider_crm.loyalty.states import Entry

from .credits import posts, row
from .ledger_credits import CREDITED, DOUBT, claim, die, start


def some(number):
    return [Credit(f"k{n}", Decimal(5), customer_hash=f"hash-{n}") for n in range(number)]


def states(rows):
    return {key: row.state for key, row in rows().items()}


@pytest.fixture
def transactions(process):
    """Make a ledger whose transactions are counted."""

    def transactions():
        ledger, commits = process(), []
        sa.event.listen(ledger._database._engine, "commit", commits.append)
        return ledger, commits

    return transactions


def test_they_are_noted_in_one_transaction(transactions, rows):
    one, commits = transactions()
    entries = [replace(entry, baseline="base") for entry in one.claim(some(20))]
    commits.clear()
    sent = one.start_all(entries)
    assert [entry.id for entry in sent] == [entry.id for entry in entries]
    assert {(r.state, r.attempts, r.baseline, r.version) for r in rows().values()} == {
        ("sending", 1, "base", 1)
    }
    assert {r.credit_key: r.lane for r in rows().values()} == {e.credit.key: e.credit.lane for e in sent}
    assert one.finish_all([(entry, f"line-{entry.id}", "123") for entry in sent]) == [None] * 20
    assert len(commits) == 2
    assert {(r.state, r.lane, r.owner, r.customer_id) for r in rows().values()} == {
        ("credited", None, "", "123")
    }
    assert {r.line_id for r in rows().values()} == {f"line-{entry.id}" for entry in entries}


def test_a_group_is_changed_by_one_statement(process):
    """Drivers that carry out many send each by itself, and wait for its answer."""
    one, updates = process(), []
    entries = one.claim(some(20))

    def note(connection, cursor, statement, parameters, context, executemany):
        if statement.startswith("UPDATE"):
            updates.append(executemany)

    sa.event.listen(one._database._engine, "before_cursor_execute", note)
    sent = one.start_all(entries)
    one.finish_all([(entry, f"line-{entry.id}", "123") for entry in sent])
    assert updates == [False, False]


def test_credits_of_one_group_keep_values_of_their_own(process, rows):
    """More of them than one statement changes, some of them for the second time."""
    one, number = process(), 2 * TOGETHER + 20
    entries = one.claim(some(number))
    for place in range(0, number, 3):
        entries[place] = one.unsend(start(one, replace(entries[place], baseline=f"base-{place}")))
    sent = one.start_all([replace(entry, baseline=f"base-{place}") for place, entry in enumerate(entries)])
    again = {place for place in range(number) if place % 3 == 0}
    kept = [rows()[f"k{place}"] for place in range(number)]
    assert [(r.attempts, r.version, r.baseline, r.lane) for r in kept] == [
        (
            1 + (place in again),
            1 + 2 * (place in again),
            f"base-{place}",
            some(number)[place].lane,
        )
        for place in range(number)
    ]
    assert (
        one.finish_all([(e, f"line-{place}", str(place)) for place, e in enumerate(sent)]) == [None] * number
    )
    kept = [rows()[f"k{place}"] for place in range(number)]
    assert [(r.line_id, r.customer_id) for r in kept] == [(f"line-{n}", str(n)) for n in range(number)]


def test_a_credit_that_is_lost_leaves_none_before_it_noted_twice(process, rows):
    """It is not in the first statement of its group, so that what that has changed is taken back."""
    one, two, number = process(), process(), TOGETHER + 10
    entries = one.claim(some(number))
    lost = entries[-1]
    die(one)
    one._closing.clear()
    claim(two, lost.credit)
    sent = one.start_all(entries)
    assert [type(entry) for entry in sent] == [Entry] * (number - 1) + [ClaimLostError]
    assert {(r.state, r.attempts, r.version) for key, r in rows().items() if key != lost.credit.key} == {
        ("sending", 1, 1)
    }


def test_an_entry_is_the_same_as_one_that_was_started_alone(process):
    one, clock = process(clock=lambda: 100.0), 100.0
    first, second = one.claim(some(2))
    together, alone = one.start_all([first])[0], one.start(second, None)
    assert replace(together, id=0, credit=second.credit, lane=second.credit.lane) == replace(alone, id=0)
    assert together.checked_at == clock


def test_a_lane_that_is_taken_keeps_no_other_credit(process, rows):
    one, two = process(), process()
    start(two, claim(two, Credit("other", Decimal(5), customer_hash="hash-1")))
    sent = one.start_all(one.claim(some(3)))
    assert [type(entry) for entry in sent] == [Entry, LaneTakenError, Entry]
    assert states(rows) == {"other": "sending", "k0": "sending", "k1": "claimed", "k2": "sending"}


def test_a_credit_that_another_run_has_taken_over_is_not_started(process, rows):
    """As one that was in doubt: its lane is already that of the credit, and its version one more."""
    one, two = process(), process()
    doubt = one.doubt(start(one, claim(one, some(1)[0])))
    others = one.claim(some(3)[1:])
    die(one)
    one._closing.clear()
    assert claim(two, some(1)[0]).standing is DOUBT
    taken = rows()["k0"]
    assert (taken.version, taken.lane) == (doubt.version + 1, doubt.lane)
    sent = one.start_all([doubt, *others])
    assert [type(entry) for entry in sent] == [ClaimLostError, Entry, Entry]
    assert states(rows) == {"k0": "unknown", "k1": "sending", "k2": "sending"}


def test_a_line_that_is_taken_keeps_no_other_credit_from_being_noted(process, rows):
    one = process()
    sent = one.start_all(one.claim(some(3)))
    one.finish(start(one, claim(one, Credit("other", Decimal(7), "1"))), "line-1", "1")
    problems = one.finish_all([(entry, f"line-{place}", None) for place, entry in enumerate(sent)])
    assert [type(problem) for problem in problems] == [type(None), LineTakenError, type(None)]
    assert states(rows) == {"other": "credited", "k0": "credited", "k1": "sending", "k2": "credited"}


def test_an_answer_counts_also_when_another_run_has_taken_one_over(process, rows):
    one, two = process(), process()
    sent = one.start_all(one.claim(some(2)))
    die(one)
    doubt = claim(two, some(1)[0])
    assert one.finish_all([(entry, f"line-{entry.id}", "123") for entry in sent]) == [None, None]
    assert states(rows) == {"k0": "credited", "k1": "credited"}
    assert claim(two, some(1)[0]).standing is CREDITED
    with pytest.raises(ClaimLostError):
        start(two, doubt)


def test_nothing_is_started_once_the_ledger_is_closed(process, rows):
    one = process()
    entries = one.claim(some(2))
    one.__exit__(None, None, None)
    with pytest.raises(LedgerError):
        one.start_all(entries)
    assert set(states(rows).values()) == {"claimed"}


def test_renewing_claims_gets_in_no_groups_way(process, rows, monkeypatch):
    """Each locks many rows, the one by their place in the table and the other by their lanes."""
    conflicts = []
    is_conflict = database._is_conflict
    monkeypatch.setattr(database, "_is_conflict", lambda error: conflicts.append(error) or is_conflict(error))
    one = process(lease=3600.0)  # so that it renews nothing by itself
    entries = one.claim(some(320))

    def renew():
        for _ in range(40):
            one._renew_all()

    def send(group):
        sent = one.start_all(group)
        one.finish_all([(entry, f"line-{entry.id}", "123") for entry in sent])

    renewer = threading.Thread(target=renew)
    renewer.start()
    with ThreadPoolExecutor(claims.GROUPS) as pool:
        list(pool.map(send, [entries[start::20] for start in range(20)]))
    renewer.join()
    assert conflicts == []
    assert set(states(rows).values()) == {"credited"}


# The operator


def test_a_credit_costs_few_transactions(spread, add, credit, crm_sandbox, monkeypatch):
    transactions = []
    write = claims.Database.write
    monkeypatch.setattr(
        claims.Database, "write", lambda self, work: transactions.append(1) or write(self, work)
    )
    for number in range(160):
        add(f"p{number}@example.fr")
    assert credit([row(f"k{n}", f"p{n}@example.fr") for n in range(160)])["credited"] == 160
    assert posts(crm_sandbox) == 160
    # Of sixteen credits each, since eight calls are in flight; and those of the run.
    assert len(transactions) <= 2 * 160 / 16 + 5


def test_an_answer_is_noted_while_another_is_waited_for(spread, add, credit, monkeypatch):
    for number in range(4):
        add(f"p{number}@example.fr")
    send, finish_all = SpreadHook.credit_loyalty, LoyaltyLedger.finish_all
    noted, others_noted = [], threading.Event()

    def finish_and_tell(self, answered):
        problems = finish_all(self, answered)
        noted.extend(entry.credit.amount for entry, *_ in answered)
        if len(noted) == 3:
            others_noted.set()
        return problems

    def the_first_waits(self, *, amount, **more):
        answer = send(self, amount=amount, **more)
        assert amount != 1 or others_noted.wait(60)
        return answer

    monkeypatch.setattr(LoyaltyLedger, "finish_all", finish_and_tell)
    monkeypatch.setattr(SpreadHook, "credit_loyalty", the_first_waits)
    rows = [row(f"k{n}", f"p{n}@example.fr", amount=n + 1) for n in range(4)]
    assert credit(rows)["credited"] == 4
    assert noted[-1] == 1


def test_a_credit_whose_line_cannot_be_sorted_out_spoils_no_others_end(spread, add, ends, monkeypatch):
    for number in range(4):
        add(f"p{number}@example.fr")
    finish_all, take_line = LoyaltyLedger.finish_all, LoyaltyLedger.take_line

    def the_first_is_taken(self, answered):
        problems = finish_all(self, answered)
        return [
            LineTakenError() if entry.credit.key == "k0" else problem
            for (entry, *_), problem in zip(answered, problems, strict=True)
        ]

    def taken_over(self, entry, line_id, customer_id):
        take_line(self, entry, line_id, customer_id)
        raise ClaimLostError("Another run has taken it over")

    monkeypatch.setattr(LoyaltyLedger, "finish_all", the_first_is_taken)
    monkeypatch.setattr(LoyaltyLedger, "take_line", taken_over)
    assert ends([row(f"k{n}", f"p{n}@example.fr", amount=n + 1) for n in range(4)]) == [
        "unchanged: credited before",
        "created",
        "created",
        "created",
    ]


def test_an_error_that_nobody_has_thought_of_leaves_no_other_in_doubt(
    spread, add, credit, ledger, monkeypatch
):
    for number in range(4):
        add(f"p{number}@example.fr")
    send = SpreadHook.credit_loyalty

    def the_first_breaks(self, *, amount, **more):
        answer = send(self, amount=amount, **more)
        if amount == 1:
            raise ZeroDivisionError
        return answer

    monkeypatch.setattr(SpreadHook, "credit_loyalty", the_first_breaks)
    rows = [row(f"k{n}", f"p{n}@example.fr", amount=n + 1) for n in range(4)]
    with pytest.raises(ZeroDivisionError):
        credit(rows)
    # Those that had left are noted, and those that had not have not left.
    states = {one.state for key, one in ledger().items() if key != "k0"}
    assert states <= {"credited", "claimed"}
    assert ledger()["k0"].state == "unknown"
    monkeypatch.setattr(SpreadHook, "credit_loyalty", send)
    credit(rows)
    assert len(spread.loyalty.lines) == 4
