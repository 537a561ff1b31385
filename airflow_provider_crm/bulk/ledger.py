"""The durable record of credits: who may send which one, what became of it, and what is still in doubt.

Knows SQL and what a credit is; knows neither HTTP nor how a CRM is asked. Every change of state is one transaction
that fails when somebody else has changed the row meanwhile.

    claimed -> sending -> credited | refused | unknown -> sending | credited | refused

``sending`` is committed before the request leaves: a row in that state whose owner is gone is in doubt, never free.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import logging
import threading
import time
import uuid
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from types import TracebackType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Connection, Engine, Row
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from airflow_provider_crm.exceptions import CrmTransientError, redact

log = logging.getLogger(__name__)

#: Seconds for which a claim holds when its process does not renew it any more.
LEASE = 60.0
#: Keys in one query: far below what any database takes.
CHUNK = 500


class State(enum.StrEnum):
    """Where a credit stands."""

    CLAIMED = "claimed"
    """Somebody means to send it; nothing has left."""
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
    """It is claimed for this run, and nothing of it was sent."""
    DOUBT = enum.auto()
    """It is claimed for this run, and has to be looked for in the CRM first."""
    CREDITED = enum.auto()
    """The CRM holds it already."""
    OTHER = enum.auto()
    """Its key was credited with another amount or to somebody else."""
    BUSY = enum.auto()
    """Another run holds it."""
    WHO = enum.auto()
    """Its key is known for a customer given in another way: their ids have to be compared."""


class LedgerError(CrmTransientError):
    """The ledger cannot be reached or written: nothing more is sent."""


class LaneTakenError(Exception):
    """Another credit of the same customer and amount is on its way or in doubt."""


class LineTakenError(Exception):
    """The CRM's line is noted for another credit already."""


class ClaimLostError(CrmTransientError):
    """Another run has taken the credit over: this process did nothing for longer than its lease."""


class _Amount(sa.types.TypeDecorator[Decimal]):
    """An exact decimal everywhere: SQLite has none, and keeps the text."""

    impl = sa.Numeric(18, 4)
    cache_ok = True

    def load_dialect_impl(self, dialect: Any) -> Any:
        return dialect.type_descriptor(sa.String(32) if dialect.name == "sqlite" else sa.Numeric(18, 4))

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return str(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Any) -> Decimal | None:
        return None if value is None else Decimal(str(value))


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
    # What the credit must not share with another one on its way, and the same while it is on its way itself.
    sa.Column("lane_name", sa.String(64), nullable=False),
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

_c = credits_table.c


@dataclass(frozen=True, slots=True)
class Credit:
    """What somebody is to get.

    :param key: the user's own reference, unique for each credit.
    :param amount: points, at most four decimals.
    :param customer_id: the CRM's id of the customer, when it is known.
    :param customer_hash: the e-mail's keyed hash, when the customer is named by it.
    """

    key: str
    amount: Decimal
    customer_id: str | None = None
    customer_hash: str | None = None

    @property
    def lane(self) -> str:
        """What two credits share that must not be on their way together: customer and amount."""
        who = f"id:{self.customer_id}" if self.customer_id else f"hash:{self.customer_hash}"
        return hashlib.sha256(f"{who}|{self.amount.normalize():f}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Entry:
    """A credit as it stands in the ledger, for one run."""

    id: int
    version: int
    standing: Standing
    state: State
    credit: Credit
    lane: str
    attempts: int = 0
    line_id: str | None = None
    baseline: str | None = None
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """The run and task that send a credit."""

    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int | None = None


def account_of(base_url: str, public_key: str) -> str:
    """Name an account of a CRM without telling which one it is."""
    return hashlib.sha256(f"{base_url}|{public_key}".encode()).hexdigest()


def hash_email(email: str, secret: str) -> str:
    """Hash an e-mail so that only somebody with the secret can find it by trying.

    :param email: trimmed and in lower case.
    :param secret: the account's private key.
    """
    return hmac.new(secret.encode(), email.encode(), hashlib.sha256).hexdigest()


class LoyaltyLedger:
    """The ledger, for one process and one account. Safe to share between threads.

    :param engine: any database that SQLAlchemy knows; SQLite serves one machine.
    :param account: from :func:`account_of`.
    :param origin: noted with the credits that this process sends.
    :param lease: seconds a claim holds when it is not renewed.
    """

    def __init__(
        self, engine: Engine, *, account: str, origin: Origin | None = None, lease: float = LEASE
    ) -> None:
        self._engine = engine
        self._account = account
        self._origin = origin or Origin()
        self._lease = lease
        # Of this process, not of the task: a second try must not mistake the first one's claims for its own.
        self._owner = uuid.uuid4().hex
        self._renewed = time.monotonic()
        self._closing = threading.Event()
        self._renewer = threading.Thread(target=self._renew_for_ever, name="crm-ledger-lease", daemon=True)
        self._clock = _database_clock(engine.dialect.name)
        if engine.dialect.name == "sqlite":
            _make_sqlite_durable(engine)

    def __enter__(self) -> LoyaltyLedger:
        """Make the tables when they are missing, and begin to renew what is claimed.

        :raises LedgerError: the database cannot be used.
        """
        with _said_plainly():
            try:
                metadata.create_all(self._engine)
            except SQLAlchemyError:
                metadata.create_all(self._engine)  # another worker was making them at the same time
        self._renewer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of what is claimed, so that a next try need not wait for the lease to run out."""
        self._closing.set()
        self._renewer.join()
        try:
            self._release()
        except LedgerError as failure:
            log.warning("Claims could not be released (%s); they run out in %.0f s", failure, self._lease)

    # Claims

    def claim(self, credits_: Sequence[Credit]) -> list[Entry]:
        """Ask for credits.

        :param credits_: of different keys.
        :return: where each stands, in their order.
        :raises LedgerError: the ledger cannot be reached.
        """
        entries: list[Entry] = []
        for start in range(0, len(credits_), CHUNK):
            entries += self._claim_some(credits_[start : start + CHUNK])
        return entries

    def peek(self, credits_: Sequence[Credit]) -> list[Entry | None]:
        """Tell where credits stand, without claiming them; None for a key that is not known."""
        entries: list[Entry | None] = []
        for start in range(0, len(credits_), CHUNK):
            some = credits_[start : start + CHUNK]
            with self._transaction() as (connection, _):
                rows = self._rows(connection, _c.credit_key.in_([credit.key for credit in some]))
            by_key = {row.credit_key: row for row in rows}
            entries += [
                _entry(by_key[one.key], _seen(one, by_key[one.key])) if one.key in by_key else None
                for one in some
            ]
        return entries

    def _claim_some(self, credits_: Sequence[Credit]) -> list[Entry]:
        for _ in range(10):
            try:
                with self._transaction() as (connection, now):
                    return self._claim_in(connection, now, credits_)
            except IntegrityError:
                continue  # another run has just claimed one of them: look again
        raise LedgerError("The ledger is changed by others faster than credits can be claimed")

    def _claim_in(self, connection: Connection, now: float, credits_: Sequence[Credit]) -> list[Entry]:
        keys = [credit.key for credit in credits_]
        held = {row.credit_key: row for row in self._rows(connection, _c.credit_key.in_(keys))}
        new = [credit for credit in credits_ if credit.key not in held]
        self._insert(connection, now, new)
        new_keys = [credit.key for credit in new]
        inserted = self._rows(connection, _c.credit_key.in_(new_keys)) if new else []
        entries = {row.credit_key: _entry(row, Standing.FREE) for row in inserted}
        for credit in credits_:
            if credit.key in held:
                entries[credit.key] = self._stand(connection, now, credit, held[credit.key])
        return [entries[key] for key in keys]

    def _insert(self, connection: Connection, now: float, new: Sequence[Credit]) -> None:
        if new:
            moment = _utc_now()
            values = {
                "account": self._account,
                "state": State.CLAIMED.value,
                "attempts": 0,
                "owner": self._owner,
                "lease_until": now + self._lease,
                "version": 0,
                "created_at": moment,
                "updated_at": moment,
                **self._origin_values(),
            }
            connection.execute(credits_table.insert(), [{**values, **_payload(one)} for one in new])

    def _stand(self, connection: Connection, now: float, credit: Credit, row: Row[Any]) -> Entry:
        """Tell where a known key stands, and take it when it is free."""
        state = State(row.state)
        mine = row.owner == self._owner
        if state is State.CREDITED:
            return _entry(row, _compare(credit, row) or Standing.CREDITED)
        if not mine and row.owner and row.lease_until > now:
            return _entry(row, Standing.BUSY)
        if state in (State.CLAIMED, State.REFUSED):
            # Nothing of it is in the CRM, so that it may come with another amount or customer.
            return self._take(connection, now, row, Standing.FREE, State.CLAIMED, **_payload(credit))
        difference = _compare(credit, row)
        if difference is not None:
            return _entry(row, difference)
        return self._doubt(connection, now, row)

    def _doubt(self, connection: Connection, now: float, row: Row[Any]) -> Entry:
        if row.state == State.UNKNOWN:
            return self._take(connection, now, row, Standing.DOUBT, State.UNKNOWN)
        # Its process died, or was taken for dead, before it could note the end of the request.
        return self._take(
            connection,
            now,
            row,
            Standing.DOUBT,
            State.UNKNOWN,
            ended_at=min(row.lease_until, now) or row.sent_at or now,
        )

    def _take(
        self,
        connection: Connection,
        now: float,
        row: Row[Any],
        standing: Standing,
        state: State,
        **values: Any,
    ) -> Entry:
        changed = self._change(
            connection,
            row.id,
            row.version,
            state=state.value,
            owner=self._owner,
            lease_until=now + self._lease,
            **self._origin_values(),
            **values,
        )
        if not changed:
            return _entry(row, Standing.BUSY)
        return _entry(self._rows(connection, _c.id == row.id)[0], standing)

    def in_the_way(self, entry: Entry) -> Entry | None:
        """Find the credit that holds this one's lane, and take it over when its run is gone.

        :return: it, in doubt or busy; None when the lane is free again.
        """
        with self._transaction() as (connection, now):
            rows = self._rows(connection, _c.lane == entry.lane)
            if not rows:
                return None
            row = rows[0]
            # One of this very process is being settled by the thread that sent it.
            if row.owner == self._owner or (row.owner and row.lease_until > now):
                return _entry(row, Standing.BUSY)
            return self._doubt(connection, now, row)

    # The way of one credit

    def start(self, entry: Entry, baseline: str | None) -> Entry:
        """Note that the request leaves, before it does.

        :param baseline: the lines that the CRM held before; that of the first attempt is kept.
        :raises LaneTakenError: another credit of this customer and amount is on its way or in doubt.
        :raises ClaimLostError: another run has taken it over.
        :raises LedgerError: it could not be noted: it must not be sent.
        """
        if time.monotonic() - self._renewed > self._lease / 2:
            raise LedgerError("The claims in the ledger could not be renewed in time: nothing more is sent")
        try:
            with self._transaction() as (connection, now):
                kept = entry.baseline or baseline
                self._must_change(
                    connection,
                    entry,
                    state=State.SENDING.value,
                    lane=entry.lane,
                    attempts=entry.attempts + 1,
                    baseline=kept,
                    sent_at=now,
                    ended_at=None,
                    lease_until=now + self._lease,
                )
        except IntegrityError:
            raise LaneTakenError from None
        return replace(
            entry,
            version=entry.version + 1,
            state=State.SENDING,
            attempts=entry.attempts + 1,
            baseline=kept,
        )

    def finish(self, entry: Entry, line_id: str, customer_id: str | None) -> None:
        """Note that the CRM holds the credit.

        :param line_id: the CRM's line.
        :raises LineTakenError: the line is noted for another credit.
        :raises ClaimLostError: another run has taken it over, and has not found the same line.
        """
        try:
            with self._transaction() as (connection, _):
                changed = self._change(
                    connection,
                    entry.id,
                    entry.version,
                    state=State.CREDITED.value,
                    line_id=line_id,
                    customer_id=customer_id or entry.credit.customer_id,
                    lane=None,
                    owner="",
                    lease_until=0.0,
                    reason=None,
                )
                if not changed and self._rows(connection, _c.id == entry.id)[0].line_id != line_id:
                    raise ClaimLostError(
                        "A credit was sent, and another run has taken it over meanwhile: compare ledger and CRM"
                    )
        except IntegrityError:
            raise LineTakenError from None

    def refuse(self, entry: Entry, reason: str) -> None:
        """Note that the CRM does not take the credit."""
        self._close(entry, State.REFUSED, lane=None, owner="", lease_until=0.0, reason=redact(reason)[:500])

    def doubt(self, entry: Entry) -> Entry:
        """Note that the request ended without an answer that tells."""
        with self._transaction() as (connection, now):
            self._must_change(connection, entry, state=State.UNKNOWN.value, ended_at=now)
        return replace(
            entry, version=entry.version + 1, state=State.UNKNOWN, standing=Standing.DOUBT, ended_at=now
        )

    def unsend(self, entry: Entry) -> Entry:
        """Note that the request certainly did not reach the CRM."""
        if entry.attempts > 1:
            return self.doubt(entry)
        self._close(entry, State.CLAIMED, lane=None)
        return replace(entry, version=entry.version + 1, state=State.CLAIMED, standing=Standing.FREE)

    def set_free(self, entry: Entry) -> None:
        """Note that a credit of another run was not applied: whoever it belongs to may send it."""
        self._close(entry, State.CLAIMED, lane=None, owner="", lease_until=0.0)

    def know_customer(self, entry: Entry, customer_id: str) -> Entry:
        """Note the CRM's id of a customer who was named by e-mail."""
        with self._transaction() as (connection, _):
            self._must_change(connection, entry, customer_id=customer_id)
        return replace(
            entry, version=entry.version + 1, credit=replace(entry.credit, customer_id=customer_id)
        )

    def give_back(self, line_id: str) -> Entry | None:
        """Take a line from the credit it was noted for: the CRM's own answer says that it is another's.

        :return: that credit, in doubt again and claimed for this run.
        """
        with self._transaction() as (connection, now):
            rows = self._rows(connection, _c.line_id == line_id)
            if not rows:
                return None
            row = rows[0]
            return self._take(
                connection,
                now,
                row,
                Standing.DOUBT,
                State.UNKNOWN,
                line_id=None,
                ended_at=row.ended_at or now,
            )

    def age(self, entry: Entry) -> float:
        """Tell how many seconds ago the request of a credit in doubt ended, by the database's clock."""
        with self._transaction() as (_, now):
            return now - (entry.ended_at if entry.ended_at is not None else now)

    def lines_taken(self, line_ids: Collection[str]) -> set[str]:
        """Tell which of the CRM's lines are noted for credits."""
        wanted = list(line_ids)
        taken: set[str] = set()
        with _said_plainly(), self._engine.connect() as connection:
            for start in range(0, len(wanted), CHUNK):
                some = wanted[start : start + CHUNK]
                query = sa.select(_c.line_id).where(_c.account == self._account, _c.line_id.in_(some))
                taken.update(row.line_id for row in connection.execute(query))
        return taken

    # Baselines

    def save_baseline(self, lines: Iterable[str], parent: str | None = None) -> str:
        """Keep which lines the CRM holds.

        :param lines: their ids.
        :param parent: an earlier baseline whose lines count too.
        :return: its name.
        """
        name = uuid.uuid4().hex
        with self._transaction() as (connection, _):
            connection.execute(
                baselines_table.insert(),
                {
                    "id": name,
                    "account": self._account,
                    "parent": parent,
                    "lines": zlib.compress("\n".join(sorted(lines)).encode()),
                    "created_at": _utc_now(),
                },
            )
        return name

    def baseline(self, name: str | None) -> frozenset[str]:
        """Give the lines of a baseline and of those before it."""
        lines: set[str] = set()
        with _said_plainly(), self._engine.connect() as connection:
            while name:
                row = connection.execute(
                    sa.select(baselines_table).where(baselines_table.c.id == name)
                ).first()
                if row is None:
                    raise LedgerError(
                        f"The ledger has lost the baseline {name}: nothing is decided without it"
                    )
                lines.update(zlib.decompress(row.lines).decode().split("\n"))
                name = row.parent
        return frozenset(lines - {""})

    # For people

    def history(
        self,
        *,
        states: Collection[State] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        run_id: str | None = None,
    ) -> Iterator[dict[str, Any]]:
        """List credits of this account, oldest first.

        :param states: only these; all when empty.
        :param since: changed at or after, UTC without a zone.
        :param until: changed before, UTC without a zone.
        :param run_id: of the DAG run that did it.
        :return: one dict a credit, with the table's columns.
        """
        query = sa.select(credits_table).where(_c.account == self._account).order_by(_c.id)
        if states:
            query = query.where(_c.state.in_([state.value for state in states]))
        if since is not None:
            query = query.where(_c.updated_at >= since)
        if until is not None:
            query = query.where(_c.updated_at < until)
        if run_id is not None:
            query = query.where(_c.run_id == run_id)
        with _said_plainly(), self._engine.connect() as connection:
            for row in connection.execution_options(stream_results=True).execute(query):
                yield dict(row._mapping)

    # Inside

    @contextmanager
    def _transaction(self) -> Iterator[tuple[Connection, float]]:
        with _said_plainly(), self._engine.begin() as connection:
            yield connection, float(connection.execute(self._clock).scalar_one())

    def _rows(self, connection: Connection, condition: Any) -> Sequence[Row[Any]]:
        query = sa.select(credits_table).where(_c.account == self._account, condition)
        return connection.execute(query).fetchall()

    def _change(self, connection: Connection, row_id: int, version: int, **values: Any) -> bool:
        done = connection.execute(
            credits_table.update()
            .where(_c.id == row_id, _c.version == version)
            .values(version=version + 1, updated_at=_utc_now(), **values)
        )
        return bool(done.rowcount)

    def _must_change(self, connection: Connection, entry: Entry, **values: Any) -> None:
        if not self._change(connection, entry.id, entry.version, **values):
            raise ClaimLostError("Another run has taken over a credit of this one: a later try sorts it out")

    def _close(self, entry: Entry, state: State, **values: Any) -> None:
        with self._transaction() as (connection, _):
            self._must_change(connection, entry, state=state.value, **values)

    def _origin_values(self) -> dict[str, Any]:
        origin = self._origin
        return {
            "dag_id": origin.dag_id,
            "run_id": origin.run_id,
            "task_id": origin.task_id,
            "map_index": origin.map_index,
        }

    def _renew_for_ever(self) -> None:
        while not self._closing.wait(self._lease / 4):
            before = time.monotonic()
            try:
                with self._transaction() as (connection, now):
                    connection.execute(
                        credits_table.update()
                        .where(_c.owner == self._owner)
                        .values(lease_until=now + self._lease)
                    )
            except LedgerError as error:
                log.warning("Claims could not be renewed: %s", error)
            else:
                self._renewed = before

    def _release(self) -> None:
        with self._transaction() as (connection, now):
            mine = credits_table.update().where(_c.owner == self._owner)
            connection.execute(
                mine.where(_c.state == State.SENDING.value).values(
                    state=State.UNKNOWN.value, ended_at=now, version=_c.version + 1
                )
            )
            connection.execute(mine.values(owner="", lease_until=0.0))


def _entry(row: Row[Any], standing: Standing) -> Entry:
    return Entry(
        id=row.id,
        version=row.version,
        standing=standing,
        state=State(row.state),
        credit=Credit(row.credit_key, row.amount, row.customer_id, row.customer_hash),
        lane=row.lane_name,
        attempts=row.attempts,
        line_id=row.line_id,
        baseline=row.baseline,
        ended_at=row.ended_at,
    )


def _payload(credit: Credit) -> dict[str, Any]:
    return {
        "credit_key": credit.key,
        "amount": credit.amount,
        "customer_id": credit.customer_id,
        "customer_hash": credit.customer_hash,
        "lane_name": credit.lane,
    }


def _compare(credit: Credit, row: Row[Any]) -> Standing | None:
    """Tell in what a credit differs from the one its key is known for; None when it is the same."""
    if credit.amount != row.amount:
        return Standing.OTHER
    if credit.customer_id and row.customer_id:
        return None if credit.customer_id == row.customer_id else Standing.OTHER
    if credit.customer_hash and row.customer_hash and credit.customer_hash == row.customer_hash:
        return None
    return Standing.WHO


def _seen(credit: Credit, row: Row[Any]) -> Standing:
    difference = _compare(credit, row)
    if row.state in (State.CLAIMED, State.REFUSED):
        return Standing.FREE
    return difference or (Standing.CREDITED if row.state == State.CREDITED else Standing.DOUBT)


def _utc_now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def _database_clock(dialect: str) -> Any:
    """Read the database's clock, in seconds: the only one that all workers share."""
    known = {
        "sqlite": "select (julianday('now') - 2440587.5) * 86400.0",
        "postgresql": "select extract(epoch from clock_timestamp())",
        "mysql": "select unix_timestamp(now(6))",
        "mariadb": "select unix_timestamp(now(6))",
    }
    return sa.text(known[dialect]) if dialect in known else sa.select(sa.literal(time.time()))


def _make_sqlite_durable(engine: Engine) -> None:
    """Let SQLite commit to the disk, let readers read meanwhile, and take the write lock when a transaction begins."""

    @sa.event.listens_for(engine, "connect")
    def connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # the driver would begin transactions too late
        cursor = connection.cursor()
        for pragma in ("busy_timeout = 30000", "journal_mode = WAL", "synchronous = FULL"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def _said_plainly() -> Iterator[None]:
    """Turn a database's error into ours, without its parameters."""
    try:
        yield
    except IntegrityError:
        raise
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        problem = f"{type(cause).__name__}: {redact(cause, limit=200)}"
    else:
        return
    raise LedgerError(f"The loyalty ledger cannot be used ({problem}). No credit is sent without it")
