"""The ledger's two tables, and how they name an account."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from airflow_provider_crm.databases.columns import Text
from airflow_provider_crm.loyalty.credits import plain


class _Amount(sa.types.TypeDecorator[Decimal]):
    """An exact decimal everywhere: SQLite has none, and keeps the text."""

    impl = sa.Numeric(18, 4)
    cache_ok = True

    def load_dialect_impl(self, dialect: Any) -> Any:
        return dialect.type_descriptor(sa.String(32) if dialect.name == "sqlite" else sa.Numeric(18, 4))

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return f"{value:f}" if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Any) -> Decimal | None:
        return None if value is None else plain(Decimal(str(value)))


metadata = sa.MetaData()

#: One row a credit. No e-mail: ``customer_hash`` is keyed with a secret that is not in the database.
credits_table = sa.Table(
    "crm_loyalty_credit",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("account", Text(64), nullable=False),
    sa.Column("credit_key", Text(255), nullable=False),
    sa.Column("customer_id", Text(64)),
    sa.Column("customer_hash", Text(64)),
    sa.Column("amount", _Amount, nullable=False),
    sa.Column("state", Text(10), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    # Customer and amount, while the credit is on its way or in doubt.
    sa.Column("lane", Text(64)),
    sa.Column("line_id", Text(64)),
    sa.Column("baseline", Text(32)),
    sa.Column("reason", Text(500, words=True)),
    sa.Column("owner", Text(64), nullable=False, default=""),
    sa.Column("lease_until", sa.Float(53), nullable=False, default=0.0),
    sa.Column("sent_at", sa.Float(53)),
    sa.Column("ended_at", sa.Float(53)),
    sa.Column("version", sa.Integer, nullable=False, default=0),
    sa.Column("dag_id", Text(250, words=True)),
    sa.Column("run_id", Text(250, words=True)),
    sa.Column("task_id", Text(250, words=True)),
    sa.Column("map_index", sa.Integer),
    sa.Column("created_at", sa.DateTime, nullable=False),
    sa.Column("updated_at", sa.DateTime, nullable=False),
    sa.UniqueConstraint("account", "credit_key", name="crm_loyalty_credit_key"),
    # One credit of a customer and amount on its way at a time, whoever sends it.
    sa.UniqueConstraint("account", "lane", name="crm_loyalty_credit_lane"),
    # A line of the CRM belongs to one credit only.
    sa.UniqueConstraint("account", "line_id", name="crm_loyalty_credit_line"),
    sa.Index("crm_loyalty_credit_owner", "owner"),
    sa.Index("crm_loyalty_credit_run", "dag_id", "run_id"),
)

#: The lines that the CRM held before credits were sent. A later baseline holds those of its parent too.
baselines_table = sa.Table(
    "crm_loyalty_baseline",
    metadata,
    sa.Column("id", Text(32), primary_key=True),
    sa.Column("account", Text(64), nullable=False),
    sa.Column("parent", Text(32)),
    sa.Column("lines", sa.LargeBinary(2**24 - 1), nullable=False),
    sa.Column("created_at", sa.DateTime, nullable=False),
)


def account_of(base_url: str, public_key: str) -> str:
    """Name an account of a CRM without telling which one it is: the same however its address is written.

    :param base_url: without a slash at its end.
    """
    parts = urlsplit(base_url)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    address = f"{parts.hostname}" + ("" if port in (80, 443) else f":{port}") + parts.path
    return hashlib.sha256(f"{address}|{public_key}".encode()).hexdigest()
