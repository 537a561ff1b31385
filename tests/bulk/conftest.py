"""A ledger on SQLite and on PostgreSQL, opened anew by each process of a test."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from airflow_provider_crm.loyalty.ledger import LoyaltyLedger
from airflow_provider_crm.loyalty.states import credits_table, metadata


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
