"""What the ledger of credits holds: the states of a credit, its table, and the terms in which runs speak of it.

Knows SQL and what a credit is; what may be changed when is in :mod:`airflow_provider_crm.loyalty.ledger`.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.dialects import mysql


class State(enum.StrEnum):
    """Where a credit stands."""

    CLAIMED = "claimed"
    """Somebody means to send it; nothing of it is in the CRM."""
    SENDING = "sending"
    """The request may have left."""
    CREDITED = "credited"
    """The CRM holds it, as the line noted."""
    REFUSED = "refused"
    """The CRM does not take it; it may come again, repaired."""
    UNKNOWN = "unknown"
    """The request ended without an answer that tells."""


class Standing(enum.Enum):
    """What a run may do with a credit it asks for."""

    FREE = enum.auto()
    """It is claimed for this run, and certainly not in the CRM."""
    DOUBT = enum.auto()
    """It is claimed for this run, and has to be looked for in the CRM first."""
    CREDITED = enum.auto()
    """The CRM holds it already."""
    OTHER = enum.auto()
    """Its key was used with another amount or for somebody else."""
    BUSY = enum.auto()
    """Another run holds it, or another thread of this one."""
    WHO = enum.auto()
    """Its key is known for a customer named in another way: their ids have to be compared."""


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


def plain(amount: Decimal) -> Decimal:
    """Write an amount without superfluous zeros and without an exponent."""
    return Decimal(f"{amount.normalize():f}")


def _key_type() -> sa.String:
    # MySQL would otherwise take "A" and "a" for the same key.
    return sa.String(255).with_variant(mysql.VARCHAR(255, collation="utf8mb4_bin"), "mysql")


metadata = sa.MetaData()

#: One row a credit. No e-mail: ``customer_hash`` is keyed with a secret that is not in the database.
credits_table = sa.Table(
    "crm_loyalty_credit",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("account", sa.String(64), nullable=False),
    sa.Column("credit_key", _key_type(), nullable=False),
    sa.Column("customer_id", sa.String(64)),
    sa.Column("customer_hash", sa.String(64)),
    sa.Column("amount", _Amount, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    # Customer and amount, while the credit is on its way or in doubt.
    sa.Column("lane", sa.String(64)),
    sa.Column("line_id", sa.String(64)),
    sa.Column("baseline", sa.String(32)),
    sa.Column("reason", sa.String(500)),
    sa.Column("owner", sa.String(64), nullable=False, default=""),
    sa.Column("lease_until", sa.Float(53), nullable=False, default=0.0),
    sa.Column("sent_at", sa.Float(53)),
    sa.Column("ended_at", sa.Float(53)),
    sa.Column("version", sa.Integer, nullable=False, default=0),
    sa.Column("dag_id", sa.String(250)),
    sa.Column("run_id", sa.String(250)),
    sa.Column("task_id", sa.String(250)),
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
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("account", sa.String(64), nullable=False),
    sa.Column("parent", sa.String(32)),
    sa.Column("lines", sa.LargeBinary(2**24 - 1), nullable=False),
    sa.Column("created_at", sa.DateTime, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Credit:
    """What somebody is to get.

    :param key: the user's own reference, unique for each credit.
    :param amount: points, at most four decimals.
    :param customer_id: the CRM's id of the customer, when it is known.
    :param customer_hash: the keyed hash of the customer's e-mail, when it is known.
    """

    key: str
    amount: Decimal
    customer_id: str | None = None
    customer_hash: str | None = None

    @property
    def lane(self) -> str:
        """What two credits share that must not be on their way together: customer and amount.

        The e-mail counts before the id, since a row may name a customer by it alone: whoever sends a credit by id
        finds out the e-mail first.
        """
        who = f"hash:{self.customer_hash}" if self.customer_hash else f"id:{self.customer_id}"
        return hashlib.sha256(f"{who}|{plain(self.amount):f}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Entry:
    """A credit as it stands in the ledger, for one run.

    :param lane: that of the credit on its way; None when it is not.
    :param baseline: the lines that the CRM held before the next or last attempt; None when there was none yet.
    :param ended_at: when the request ended at the latest, by the database's clock.
    :param doubted: an attempt ended without an answer that tells, so that the CRM was or is to be asked.
    :param checked_at: when it was last certain that no other run may send it, by this machine's clock.
    """

    id: int
    version: int
    standing: Standing
    state: State
    credit: Credit
    lane: str | None = None
    attempts: int = 0
    line_id: str | None = None
    baseline: str | None = None
    ended_at: float | None = None
    doubted: bool = False
    checked_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Origin:
    """The run and task that send a credit."""

    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int | None = None


def account_of(base_url: str, public_key: str) -> str:
    """Name an account of a CRM without telling which one it is: the same however its address is written.

    :param base_url: without a slash at its end.
    """
    parts = urlsplit(base_url)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    address = f"{parts.hostname}" + ("" if port in (80, 443) else f":{port}") + parts.path
    return hashlib.sha256(f"{address}|{public_key}".encode()).hexdigest()


def hash_email(email: str, secret: str) -> str:
    """Hash an e-mail so that only somebody with the secret can find it by trying.

    :param email: trimmed and in lower case.
    :param secret: the account's private key.
    """
    return hmac.new(secret.encode(), email.encode(), hashlib.sha256).hexdigest()
