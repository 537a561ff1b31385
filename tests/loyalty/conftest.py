"""The operator that credits points, over real HTTP and a real ledger, with nothing to wait for; and ledgers alone."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
import sqlalchemy as sa

from airflow_provider_crm.bulk import settle
from airflow_provider_crm.exceptions import CrmOutcomeUnknownError
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.http import retry
from airflow_provider_crm.loyalty import destination
from airflow_provider_crm.loyalty.ledger import LoyaltyLedger
from airflow_provider_crm.loyalty.tables import credits_table, metadata
from airflow_provider_crm.operators.spread import loyalty as operators
from airflow_provider_crm.operators.spread.loyalty import SpreadCreditLoyaltyOperator
from airflow_provider_crm.sandbox.spread.customers import Changes

from .credits import LEDGER, NOW, SETTLE


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(settle, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(destination, "POLL_EVERY", 0.02)
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
        ids = [spread.customers.add(email, Changes({}, [], {}), NOW).id for email in emails]
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
def lose(monkeypatch):
    """Lose the next answers to credits of some amounts: ``after`` they were applied, or ``before``."""

    def lose(**when):
        left = {Decimal(amount): moment for moment, some in when.items() for amount in some}
        send = SpreadHook.credit_loyalty

        def credit_loyalty(hook, *, amount, **more):
            moment = left.pop(amount, None)
            if moment != "before":
                answer = send(hook, amount=amount, **more)
            if moment:
                raise CrmOutcomeUnknownError("POST /cagnottes was not answered", call="POST /cagnottes")
            return answer

        monkeypatch.setattr(SpreadHook, "credit_loyalty", credit_loyalty)

    return lose


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


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.slow),
        pytest.param("mariadb", marks=pytest.mark.slow),
    ]
)
def engine(request, tmp_path):
    """An empty database."""
    if request.param == "sqlite":
        engine = sa.create_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
    else:
        server = {"postgresql": "postgres", "mariadb": "mariadb"}[request.param]
        engine = sa.create_engine(request.getfixturevalue(server))
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
