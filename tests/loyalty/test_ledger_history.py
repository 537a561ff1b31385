"""What people read in the ledger: its history, and the SQL that the documentation gives to finance."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from airflow_provider_crm.loyalty.credits import Credit
from airflow_provider_crm.loyalty.entries import utc_now
from airflow_provider_crm.loyalty.ledger import LoyaltyLedger
from airflow_provider_crm.loyalty.states import Origin, State

from .ledger_credits import A, B, claim, start


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
    later = datetime(2100, 1, 1)
    assert list(one.history(since=later)) == []
    assert len(list(one.history(until=later))) == 2


@pytest.mark.slow
def test_reading_the_history_slowly_keeps_nobody_from_writing(process, engine):
    one = process()
    one.claim([Credit(f"k{n}", Decimal(1), "1") for n in range(2000)])
    reader = LoyaltyLedger(sa.create_engine(engine.url), account="account").history()
    next(reader)
    start(one, claim(one, A))
    assert len(list(reader)) == 1999
