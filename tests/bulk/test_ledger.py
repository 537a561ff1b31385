"""Every transition of the ledger, on SQLite and on PostgreSQL, as two processes see it."""

from __future__ import annotations

import re
import threading
import time
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from airflow_provider_crm.bulk import ledger as ledger_module
from airflow_provider_crm.bulk import ledger_baselines, ledger_rows
from airflow_provider_crm.bulk.ledger import (
    ClaimLostError,
    LaneTakenError,
    LineTakenError,
    LoyaltyLedger,
)
from airflow_provider_crm.bulk.ledger_baselines import LineSet
from airflow_provider_crm.bulk.ledger_db import Database, LedgerError
from airflow_provider_crm.bulk.ledger_rows import utc_now
from airflow_provider_crm.bulk.ledger_tables import (
    Credit,
    Origin,
    Standing,
    State,
    account_of,
    baselines_table,
    credits_table,
    hash_email,
    metadata,
)

FREE, DOUBT, CREDITED, BUSY, OTHER, WHO = (
    Standing.FREE,
    Standing.DOUBT,
    Standing.CREDITED,
    Standing.BUSY,
    Standing.OTHER,
    Standing.WHO,
)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request, tmp_path):
    """An empty database."""
    if request.param == "sqlite":
        engine = sa.create_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
    else:
        engine = sa.create_engine(request.getfixturevalue("postgres"))
        metadata.drop_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def process(engine):
    """Make ledgers, each as a process of its own has one."""
    opened = []

    def process(lease=60.0, **parameters):
        own = sa.create_engine(engine.url)
        ledger = LoyaltyLedger(own, account="account", lease=lease, **parameters).__enter__()
        opened.append((ledger, own))
        return ledger

    yield process
    for ledger, own in opened:
        ledger._closing.set()
        own.dispose()


@pytest.fixture
def rows(engine):
    def rows():
        with engine.connect() as connection:
            return {row.credit_key: row for row in connection.execute(sa.select(credits_table))}

    return rows


def die(ledger):
    """End a process without any word to the ledger, and let its lease run out."""
    ledger._closing.set()
    ledger._renewer.join()
    with ledger._database._engine.begin() as connection:
        connection.execute(
            credits_table.update()
            .where(credits_table.c.owner == ledger._owner)
            .values(lease_until=1.0, sent_at=1.0)
        )


A = Credit("a", Decimal(5), customer_hash="zoe")
B = Credit("b", Decimal(5), customer_hash="zoe")


def claim(ledger, *credits_):
    entries = ledger.claim(credits_)
    return entries[0] if len(credits_) == 1 else entries


def start(ledger, entry, baseline=None):
    return ledger.start(entry, baseline)


# One process


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


@pytest.mark.parametrize(
    ("again", "standing"),
    [
        (A, CREDITED),
        (Credit("a", Decimal("5.00"), customer_id="123"), CREDITED),
        (Credit("a", Decimal(6), customer_hash="zoe"), OTHER),
        (Credit("a", Decimal(5), customer_id="124"), OTHER),
        (Credit("a", Decimal(5), customer_hash="bob"), WHO),
        (Credit("a", Decimal(5), customer_id="124", customer_hash="bob"), OTHER),
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


# Another process


def test_a_live_claim_keeps_others_away(process):
    one, two = process(), process()
    claim(one, A)
    assert claim(two, A).standing is BUSY
    one.__exit__(None, None, None)
    assert claim(two, A).standing is FREE


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


def test_a_credit_that_waited_after_its_start_is_confirmed_before_it_leaves(process, monkeypatch):
    one, two = process(), process()
    sent = start(one, claim(one, A))
    assert one.confirm(sent) is sent
    clock = ledger_module._machine_clock
    monkeypatch.setattr(ledger_module, "_machine_clock", lambda: clock() + 11)
    confirmed = one.confirm(sent)
    assert confirmed.version == sent.version + 1
    die(one)
    one._closing.clear()
    assert claim(two, A).standing is DOUBT
    monkeypatch.setattr(ledger_module, "_machine_clock", lambda: clock() + 22)
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


def test_workers_that_make_the_tables_at_once(engine):
    metadata.drop_all(engine)
    engines = [sa.create_engine(engine.url) for _ in range(6)]
    errors = []

    def work(own):
        try:
            Database(own).create(metadata)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(own,)) for own in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for own in engines:
        own.dispose()
    assert errors == []
    assert sa.inspect(engine).has_table("crm_loyalty_credit")


def test_accounts_do_not_see_each_other(process, engine):
    one = process()
    one.finish(start(one, claim(one, A)), "17", None)
    other = LoyaltyLedger(engine, account="another")
    assert other.claim([A])[0].standing is FREE
    assert list(other.history(states=[State.CREDITED])) == []


# Baselines


def test_line_sets():
    numbers = LineSet([["3", "1"], ["2", "1", "x7", "007", "99999999999999999999"], ["1000000"]])
    for lines in (numbers, LineSet.unpack(numbers.pack())):
        asked = ["0", "1", "2", "3", "4", "7", "007", "x7", "1000000", "99999999999999999999"]
        assert [one for one in asked if one not in lines] == ["0", "4", "7"]
        assert len(lines) == 7
    assert len(LineSet.unpack(LineSet().pack())) == 0
    assert len(LineSet([map(str, range(500_000, 1_500_000))]).pack()) < 10_000


def test_baselines_hold_those_before_them(process):
    one, two = process(), process()
    first = one.baselines.save(LineSet([["1", "2"]]))
    second = one.baselines.save(LineSet([["x"]]), parent=first)
    for ledger in (one, two):
        assert [ledger.baselines.holds(second, line) for line in ("1", "x", "3")] == [True, True, False]
        assert [ledger.baselines.holds(first, line) for line in ("1", "x")] == [True, False]
        assert not ledger.baselines.holds(None, "1")
    with pytest.raises(LedgerError):
        two.baselines.holds("lost", "1")


def test_baselines_are_thrown_away_when_nobody_needs_them(process, engine):
    one = process()
    old = one.baselines.save(LineSet([["1"]]))
    child = one.baselines.save(LineSet([["2"]]), parent=old)
    unneeded = one.baselines.save(LineSet([["3"]]))
    one.doubt(start(one, claim(one, A), child))
    with engine.begin() as connection:
        then = ledger_baselines.datetime(2020, 1, 1)
        connection.execute(baselines_table.update().values(created_at=then))
    young = one.baselines.save(LineSet([["4"]]))
    one.baselines.sweep()
    with engine.connect() as connection:
        assert {row.id for row in connection.execute(sa.select(baselines_table))} == {old, child, young}
    assert unneeded


# People


def test_an_account_is_the_same_however_its_address_is_written():
    same = ("https://social-sb.com/api/v2", "https://Social-SB.com:443/api/v2", "http://social-sb.com/api/v2")
    assert len({account_of(url, "public") for url in same}) == 1
    assert account_of(same[0], "public") != account_of(same[0], "other")
    assert account_of("http://127.0.0.1:1", "public") != account_of("http://127.0.0.1:2", "public")


def test_the_sql_for_finance(process, engine):
    """As the documentation has it."""
    document = Path(__file__).parents[2] / "docs" / "loyalty.md"
    view, by_day, open_ones = re.search(r"```sql\n(.*?)```", document.read_text(), re.S)[1].split(";")[:3]
    one = process()
    one.finish(start(one, claim(one, A)), "17", "123")
    start(one, claim(one, B))
    with engine.begin() as connection:
        connection.execute(sa.text(view))
        try:
            days = connection.execute(sa.text(by_day)).fetchall()
            doubts = connection.execute(sa.text(open_ones)).fetchall()
        finally:
            connection.execute(sa.text("drop view loyalty_credits"))
    assert [(str(row.day), row.credits, row.points) for row in days] == [(str(utc_now().date()), 1, A.amount)]
    assert [row.credit_key for row in doubts] == [B.key]


def test_the_history(process):
    one = process(origin=Origin("dag", "run", "task"))
    one.finish(start(one, claim(one, A)), "17", "123")
    claim(one, B)
    assert [row["credit_key"] for row in one.history()] == ["a", "b"]
    assert [row["line_id"] for row in one.history(states=[State.CREDITED], run_id="run")] == ["17"]
    later = ledger_baselines.datetime(2100, 1, 1)
    assert list(one.history(since=later)) == []
    assert len(list(one.history(until=later))) == 2


def test_reading_the_history_slowly_keeps_nobody_from_writing(process, engine):
    one = process()
    one.claim([Credit(f"k{n}", Decimal(1), "1") for n in range(2000)])
    reader = LoyaltyLedger(sa.create_engine(engine.url), account="account").history()
    next(reader)
    began = time.monotonic()
    start(one, claim(one, A))
    assert time.monotonic() - began < 5
    assert len(list(reader)) == 1999


def test_emails_are_hashed_with_the_key():
    assert hash_email("zoe@example.fr", "one") != hash_email("zoe@example.fr", "two")
    assert "zoe" not in hash_email("zoe@example.fr", "one")


# Databases


def test_a_connection_that_the_server_has_closed_is_made_anew(process, engine):
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no connections to lose")
    one = process()
    claim(one, A)
    with engine.connect() as connection:
        connection.execute(
            sa.text(
                "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
                " and backend_type = 'client backend'"
            )
        )
    assert claim(one, A).standing is FREE


def test_a_database_out_of_reach_is_said_without_its_password(tmp_path):
    pytest.importorskip("psycopg2")
    away = sa.create_engine("postgresql+psycopg2://user:hidden@127.0.0.1:9/db")
    with pytest.raises(LedgerError) as caught, LoyaltyLedger(away, account="account"):
        pass
    assert "No credit is sent without it" in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_the_tables_and_statements_suit_mysql():
    said = []
    mock = sa.create_mock_engine(
        "mysql://", lambda statement, *_: said.append(str(statement.compile(dialect=mock.dialect)))
    )
    metadata.create_all(mock, checkfirst=False)
    tables = "\n".join(said)
    assert "utf8mb4_bin" in tables
    assert "UNIQUE (account, lane)" in tables
    update = ledger_rows._update(("state", "lane", "version"), True, True)
    assert "UPDATE crm_loyalty_credit" in str(update.compile(dialect=mock.dialect))
