"""Baselines of the ledger: which lines they hold, and how long they are kept."""

from __future__ import annotations

from datetime import datetime

import pytest
import sqlalchemy as sa

from airflow_provider_crm.loyalty.baseline_store import LineSet
from airflow_provider_crm.loyalty.database import LedgerError
from airflow_provider_crm.loyalty.tables import baselines_table

from .ledger_credits import A, claim, start


@pytest.mark.slow
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
        then = datetime(2020, 1, 1)
        connection.execute(baselines_table.update().values(created_at=then))
    young = one.baselines.save(LineSet([["4"]]))
    one.baselines.sweep()
    with engine.connect() as connection:
        assert {row.id for row in connection.execute(sa.select(baselines_table))} == {old, child, young}
    assert unneeded
