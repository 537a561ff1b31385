"""What databases ask of the ledger: tables made at once, connections that break, and MySQL's dialect."""

from __future__ import annotations

import threading
from decimal import Decimal

import pytest
import sqlalchemy as sa

from airflow_provider_crm.databases.database import Database
from airflow_provider_crm.loyalty import entries
from airflow_provider_crm.loyalty.credits import Credit
from airflow_provider_crm.loyalty.database import LedgerError
from airflow_provider_crm.loyalty.ledger import LoyaltyLedger
from airflow_provider_crm.loyalty.states import Origin
from airflow_provider_crm.loyalty.tables import metadata

from .ledger_credits import FREE, A, claim, start


def test_workers_that_make_the_tables_at_once(engine):
    metadata.drop_all(engine)
    engines = [sa.create_engine(engine.url) for _ in range(6)]
    errors = []

    def work(own):
        try:
            Database(own, LedgerError).create(metadata)
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


def test_a_connection_that_the_server_has_closed_is_made_anew(process, engine):
    if engine.dialect.name != "postgresql":
        pytest.skip("only PostgreSQL has a call for it")
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
    texts = [line for line in tables.splitlines() if "VARCHAR" in line]
    assert len(texts) > 15
    assert all("CHARACTER SET utf8mb4 COLLATE utf8mb4_bin" in line for line in texts)
    assert "UNIQUE (account, lane)" in tables
    update = entries._update(("state", "lane", "version"), True, True)
    assert "UPDATE crm_loyalty_credit" in str(update.compile(dialect=mock.dialect))


def test_words_that_a_database_would_not_take(process, rows):
    """Reasons are the CRM's own words, and DAGs are named as people like."""
    one = process(origin=Origin("Données\0 Łódź 🎁" * 30, "run_žluť", "task_漢字" * 50))
    one.refuse(start(one, claim(one, A)), "Zoé n’est pas \0 là: 不行 🎁 \ud83c " + "é" * 900)
    claim(one, Credit("clé-Ł-漢字-🎁", Decimal(5), customer_hash="zoe"))
    kept = rows()
    assert set(kept) == {"a", "clé-Ł-漢字-🎁"}
    assert kept["a"].reason.startswith("Zoé n’est pas � là: 不行 🎁 ? é")
    assert kept["a"].reason.endswith("é…")
    assert (len(kept["a"].reason), len(kept["a"].dag_id), len(kept["a"].task_id)) == (500, 250, 250)
    assert [row["credit_key"] for row in one.history(run_id="run_žluť")] == ["a", "clé-Ł-漢字-🎁"]


def test_keys_are_compared_letter_by_letter(process):
    one = process()
    one.claim([Credit(key, Decimal(5), "1") for key in ("a", "A", "á", "ä")])
    assert len(list(one.history())) == 4
