"""Who may send which credit: one run at a time claims it, for as long as its process lives.

Knows what a credit is; knows neither HTTP nor how a CRM is asked. Every change is one transaction that changes nothing
when somebody else has changed the row meanwhile.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from sqlalchemy.engine import Connection, Engine, Row
from sqlalchemy.exc import IntegrityError

from airflow_provider_crm.databases.database import Database
from airflow_provider_crm.exceptions import CrmTransientError
from airflow_provider_crm.loyalty.baseline_store import BaselineStore
from airflow_provider_crm.loyalty.credits import Credit
from airflow_provider_crm.loyalty.database import LedgerError
from airflow_provider_crm.loyalty.entries import (
    CreditRows,
    compare,
    entry_of,
    origin_values,
    payload_of,
    seen,
    utc_now,
)
from airflow_provider_crm.loyalty.states import Entry, Origin, Standing, State
from airflow_provider_crm.loyalty.tables import credits_table, metadata

log = logging.getLogger(__name__)

#: Seconds for which a claim holds when its process does not renew it any more.
LEASE = 60.0
#: Part of a lease after which a credit that has not left yet has to be confirmed in the ledger once more.
FRESH = 1 / 6
#: Groups of credits that are changed side by side.
GROUPS = 3
#: Keys in one query: far below what any database takes.
CHUNK = 500

_c = credits_table.c
_IN_DOUBT = (State.SENDING, State.UNKNOWN)


class ClaimLostError(CrmTransientError):
    """Another run has taken the credit over: this process did nothing for longer than its lease."""


#: This machine's clock, which goes on while it is suspended where the system has such a clock.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def machine_clock() -> float:
    return time.clock_gettime(_CLOCK)


class Claims:
    """The claims of one process on credits of one account. Safe to share between threads.

    :param engine: any database that SQLAlchemy knows; SQLite serves one machine.
    :param account: from :func:`~airflow_provider_crm.loyalty.tables.account_of`.
    :param origin: noted with the credits that this process sends.
    :param lease: seconds a claim holds when it is not renewed; ``LEASE`` when left out.
    :param longest_call: seconds that a request may last from its start until it has failed.
    :param clock: this machine's, in seconds.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        account: str,
        origin: Origin | None = None,
        lease: float | None = None,
        longest_call: float = 0.0,
        clock: Callable[[], float] = machine_clock,
    ) -> None:
        self._database = Database(engine, LedgerError)
        self._rows = CreditRows(account)
        self._lease = lease = LEASE if lease is None else lease
        # A request leaves this long after its credit was confirmed at the latest, and lasts so long at most.
        self._over_after = lease * FRESH + longest_call
        # Of this process, not of the task: a second try must not mistake the first one's claims for its own.
        self._owner = uuid.uuid4().hex
        self._origin = origin_values(origin or Origin())
        self._in_other_hands: set[int] = set()
        self._groups = threading.Semaphore(GROUPS)
        self._clock = clock
        self._closing = threading.Event()
        self._renewer = threading.Thread(target=self._renew_for_ever, name="crm-ledger-lease", daemon=True)
        self.baselines = BaselineStore(self._database, account)

    def __enter__(self) -> Self:
        """Create the tables when they are missing, and begin to renew what is claimed.

        :raises LedgerError: the database cannot be used.
        """
        self._database.create(metadata)
        self.baselines.sweep()
        self._renewer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release what is claimed, so that a next try need not wait for the lease to run out."""
        self._closing.set()
        self._renewer.join(timeout=self._lease / 4)
        try:
            self._release()
        except LedgerError as failure:
            log.warning("Claims could not be released (%s); they run out in %.0f s", failure, self._lease)
        self._database.close()

    def claim(self, credits_: Sequence[Credit]) -> list[Entry]:
        """Ask for credits.

        :param credits_: of different keys.
        :return: where each stands, in their order.
        :raises LedgerError: the ledger cannot be reached.
        """
        entries: dict[str, Entry] = {}
        # In one order for all runs, so that two of them do not wait for each other.
        ordered = sorted(credits_, key=lambda credit: credit.key)
        for start in range(0, len(ordered), CHUNK):
            for entry in self._claim_some(ordered[start : start + CHUNK]):
                entries[entry.credit.key] = entry
        return [entries[credit.key] for credit in credits_]

    def peek(self, credits_: Sequence[Credit]) -> list[Entry | None]:
        """Return where credits stand, without claiming them; None for a key that is not known."""
        entries: list[Entry | None] = []
        for start in range(0, len(credits_), CHUNK):
            some = credits_[start : start + CHUNK]
            with self._database.reading() as connection:
                rows = self._rows.where(connection, _c.credit_key.in_([credit.key for credit in some]))
            by_key = {row.credit_key: row for row in rows}
            entries += [
                entry_of(by_key[one.key], seen(one, by_key[one.key])) if one.key in by_key else None
                for one in some
            ]
        return entries

    def states(self, keys: Sequence[str]) -> dict[str, State]:
        """Return the states of the credits with these keys; a key that is not known is left out."""
        states: dict[str, State] = {}
        for start in range(0, len(keys), CHUNK):
            with self._database.reading() as connection:
                rows = self._rows.where(connection, _c.credit_key.in_(keys[start : start + CHUNK]))
            states |= {row.credit_key: State(row.state) for row in rows}
        return states

    def _claim_some(self, credits_: Sequence[Credit]) -> list[Entry]:
        for _ in range(10):
            try:
                return self._database.write(lambda connection, now: self._claim_in(connection, now, credits_))
            except IntegrityError:
                continue  # another run has just claimed one of them: look again
        raise LedgerError("The ledger is changed by others faster than credits can be claimed")

    def _claim_in(self, connection: Connection, now: float, credits_: Sequence[Credit]) -> list[Entry]:
        keys = [credit.key for credit in credits_]
        held = {row.credit_key: row for row in self._rows.where(connection, _c.credit_key.in_(keys))}
        new = [credit for credit in credits_ if credit.key not in held]
        self._insert(connection, now, new)
        new_keys = [credit.key for credit in new]
        inserted = self._rows.where(connection, _c.credit_key.in_(new_keys)) if new else []
        entries = [entry_of(row, Standing.FREE) for row in inserted]
        entries += [
            self._stand(connection, now, credit, held[credit.key])
            for credit in credits_
            if credit.key in held
        ]
        return entries

    def _insert(self, connection: Connection, now: float, new: Sequence[Credit]) -> None:
        if new:
            moment = utc_now()
            values = {
                "account": self._rows.account,
                "state": State.CLAIMED.value,
                "attempts": 0,
                "owner": self._owner,
                "lease_until": now + self._lease,
                "version": 0,
                "created_at": moment,
                "updated_at": moment,
                **self._origin,
            }
            connection.execute(credits_table.insert(), [{**values, **payload_of(one)} for one in new])

    def _stand(self, connection: Connection, now: float, credit: Credit, row: Row[Any]) -> Entry:
        """Return where a known key stands, and take it when it is free."""
        state = State(row.state)
        if state is State.CREDITED:
            return entry_of(row, compare(credit, row) or Standing.CREDITED)
        if self._is_held(row, now):
            return entry_of(row, Standing.BUSY)
        difference = compare(credit, row)
        if state in _IN_DOUBT:
            return entry_of(row, difference) if difference else self._doubt(connection, now, row)
        if row.owner == self._owner and difference is None and state is State.CLAIMED:
            return entry_of(row, Standing.FREE)
        # Nothing of it is in the CRM, so that it may come with another amount or customer; a baseline that was
        # taken for an earlier attempt may be another customer's.
        values = {**payload_of(credit), "baseline": None, "reason": None}
        return self._take(connection, now, row, Standing.FREE, State.CLAIMED, **values)

    def _is_held(self, row: Row[Any], now: float) -> bool:
        if row.owner == self._owner:
            return row.id in self._in_other_hands
        return bool(row.owner) and row.lease_until > now

    def _doubt(self, connection: Connection, now: float, row: Row[Any]) -> Entry:
        ended_at = row.ended_at
        if row.owner == self._owner and row.state == State.UNKNOWN:
            return entry_of(row, Standing.DOUBT)
        if row.state == State.SENDING:
            # Its process is gone, or was cut off from the ledger while its last request may have been under way.
            ended_at = max(row.lease_until, (row.sent_at or now) + self._over_after)
        return self._take(connection, now, row, Standing.DOUBT, State.UNKNOWN, ended_at=ended_at)

    def _take(
        self,
        connection: Connection,
        now: float,
        row: Row[Any],
        standing: Standing,
        state: State,
        **values: Any,
    ) -> Entry:
        """Claim a row for this run; it is busy when somebody else was faster."""
        changed = self._rows.change(
            connection,
            row.id,
            row.version,
            # Its owner may be renewing it in this very moment.
            lease_before=None if row.owner == self._owner else row.lease_until + 0.001,
            state=state.value,
            owner=self._owner,
            lease_until=now + self._lease,
            **self._origin,
            **values,
        )
        if not changed:
            return entry_of(row, Standing.BUSY)
        return entry_of(self._rows.where(connection, _c.id == row.id)[0], standing)

    def in_the_way(self, entry: Entry) -> Entry | None:
        """Find the credit that holds this one's lane, and take it over when its run is gone.

        :return: it, in doubt or busy; None when the lane is free again. One in doubt is kept from other threads of
            this run until :meth:`hand_back`.
        """

        def find(connection: Connection, now: float) -> Entry | None:
            rows = self._rows.where(connection, _c.lane == entry.credit.lane)
            if not rows:
                return None
            # One of this very process is being settled by the thread that sends it.
            if rows[0].owner == self._owner or self._is_held(rows[0], now):
                return entry_of(rows[0], Standing.BUSY)
            return self._doubt(connection, now, rows[0])

        found = self._database.write(find)
        if found is not None and found.standing is Standing.DOUBT:
            self._in_other_hands.add(found.id)
        return found

    def hand_back(self, entry: Entry) -> None:
        """Release a credit that was in the way, whatever became of it."""
        still_in_doubt = credits_table.update().where(
            _c.id == entry.id, _c.owner == self._owner, _c.state == State.UNKNOWN.value
        )
        try:
            self._database.write(
                lambda connection, _: connection.execute(
                    still_in_doubt.values(owner="", lease_until=0.0, version=_c.version + 1)
                )
            )
        except LedgerError as error:
            log.warning("A claim could not be released: %s", error)
        finally:
            self._in_other_hands.discard(entry.id)

    # The lease

    def _still_open(self) -> float:
        if self._closing.is_set():
            raise LedgerError("The ledger was closed: nothing more is sent")
        return self._clock()

    def _is_fresh(self, checked_at: float) -> bool:
        """Return True if no other run can have taken over what was certain at this time of the machine's clock."""
        return self._clock() - checked_at < self._lease * FRESH and not self._closing.is_set()

    def _renew_for_ever(self) -> None:
        while not self._closing.wait(self._lease / 6):
            try:
                self._renew_all()
            except LedgerError as error:
                log.warning("Claims could not be renewed: %s", error)

    def _renew_all(self) -> None:
        """Renew what is claimed, while no group is being changed: both lock many rows, each in an order of its own, and
        PostgreSQL lets them wait for a second before it ends such a deadlock.
        """
        for _ in range(GROUPS):
            self._groups.acquire()
        try:
            self._database.write(self._renew)
        finally:
            self._groups.release(GROUPS)

    def _renew(self, connection: Connection, now: float) -> None:
        mine = credits_table.update().where(_c.owner == self._owner)
        connection.execute(mine.values(lease_until=now + self._lease))

    def _release(self) -> None:
        """Release all but what may still be under way: its lease runs out by itself."""

        def release(connection: Connection, now: float) -> None:
            mine = credits_table.update().where(_c.owner == self._owner, _c.state != State.SENDING.value)
            connection.execute(mine.values(owner="", lease_until=0.0, version=_c.version + 1))

        self._database.write(release)
