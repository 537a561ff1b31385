"""The durable record of credits: what became of each one, from the moment before it leaves.

Knows what a credit is; knows neither HTTP nor how a CRM is asked. Who may send a credit is in
:mod:`airflow_provider_crm.loyalty.claims`.

    claimed -> sending -> credited | refused | unknown -> sending | credited | refused

``sending`` is committed before the request leaves: a row in that state whose owner is gone is in doubt, never free.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from airflow_provider_crm.exceptions import redact
from airflow_provider_crm.loyalty.claims import CHUNK, ClaimLostError, Claims
from airflow_provider_crm.loyalty.credits import Credit
from airflow_provider_crm.loyalty.entries import Change, compare
from airflow_provider_crm.loyalty.states import Entry, Standing, State
from airflow_provider_crm.loyalty.tables import credits_table

_c = credits_table.c


class LaneTakenError(Exception):
    """Another credit of the same customer and amount is on its way or in doubt."""


class LineTakenError(Exception):
    """The CRM's line is noted for another credit already."""


class _NotTogetherError(Exception):
    """One of several changes cannot be made as it stands."""


class LoyaltyLedger(Claims):
    """The ledger, for one process and one account. Safe to share between threads.

    See :class:`~airflow_provider_crm.loyalty.claims.Claims` for the parameters.
    """

    # The way of one credit

    def start(self, entry: Entry, baseline: str | None) -> Entry:
        """Note that the request leaves, before it does.

        :param baseline: the lines that the CRM held before.
        :raises LaneTakenError: another credit of this customer and amount is on its way or in doubt.
        :raises ClaimLostError: another run has taken it over.
        :raises LedgerError: it could not be noted: it must not be sent.
        """
        checked_at = self._still_open()
        entry = replace(entry, baseline=baseline)
        try:
            self._move(entry, lambda now: self._sending(entry, now))
        except IntegrityError:
            raise LaneTakenError from None
        return _started(entry, checked_at)

    def start_all(self, entries: Sequence[Entry]) -> list[Entry | LaneTakenError | ClaimLostError]:
        """Note that some requests leave, as :meth:`start` does for each with its baseline, in one transaction.

        Each alone where one of them cannot be noted.

        :return: each as it stands now, or why it must not be sent.
        :raises LedgerError: they could not be noted: none must be sent.
        """
        checked_at = self._still_open()

        def changes(now: float) -> list[Change]:
            return [Change(one.id, one.version, self._sending(one, now)) for one in entries]

        if self._change_together(changes):
            return [_started(entry, checked_at) for entry in entries]
        return [self._start_alone(entry) for entry in entries]

    def _change_together(self, changes: Callable[[float], Sequence[Change]]) -> bool:
        """Make the changes of a group in one transaction, beside which no claims are renewed.

        :param changes: makes them for a moment.
        :return: False where one of them cannot be made as it stands, and so none is.
        """

        def change(connection: Connection, now: float) -> None:
            if not self._rows.change_all(connection, self._owner, changes(now)):
                raise _NotTogetherError

        try:
            with self._groups:
                self._database.write(change)
        except (_NotTogetherError, IntegrityError):
            return False
        return True

    def _start_alone(self, entry: Entry) -> Entry | LaneTakenError | ClaimLostError:
        try:
            return self.start(entry, entry.baseline)
        except (LaneTakenError, ClaimLostError) as error:
            return error

    def _sending(self, entry: Entry, now: float) -> dict[str, Any]:
        return {
            "state": State.SENDING.value,
            "owner": self._owner,
            "attempts": entry.attempts + 1,
            "lane": entry.credit.lane,
            "baseline": entry.baseline,
            "customer_hash": entry.credit.customer_hash,
            "sent_at": now,
            "ended_at": None,
            "lease_until": now + self._lease,
        }

    def confirm(self, entry: Entry) -> Entry:
        """Check, just before the request leaves, that no other run has taken the credit over.

        :param entry: started.
        :raises ClaimLostError: another run has.
        :raises LedgerError: the ledger cannot tell any more: it must not be sent.
        """
        if self._is_fresh(entry.checked_at):
            return entry
        checked_at = self._still_open()
        self._move(entry, lambda now: {"sent_at": now, "lease_until": now + self._lease})
        return replace(entry, version=entry.version + 1, checked_at=checked_at)

    def finish(self, entry: Entry, line_id: str, customer_id: str | None) -> None:
        """Note that the CRM holds the credit.

        The CRM's answer counts also when another run has taken the credit over, as long as that has not sent it.

        :param line_id: the CRM's line.
        :raises LineTakenError: the line is noted for another credit.
        :raises ClaimLostError: another run has sent it once more, or has found another line.
        """
        try:
            self._database.write(
                lambda connection, _: self._finish_in(connection, entry, line_id, customer_id),
            )
        except IntegrityError:
            raise LineTakenError from None

    def finish_all(
        self, answered: Sequence[tuple[Entry, str, str | None]]
    ) -> list[LineTakenError | ClaimLostError | None]:
        """Note that the CRM holds some credits, as :meth:`finish` does for each, in one transaction.

        Each alone where one of them cannot be noted.

        :return: for each, why it could not be noted.
        """
        changes = [
            Change(entry.id, entry.version, _credited(entry, line_id, customer_id))
            for entry, line_id, customer_id in answered
        ]
        if self._change_together(lambda now: changes):
            return [None] * len(answered)
        return [self._finish_alone(*one) for one in answered]

    def _finish_alone(
        self, entry: Entry, line_id: str, customer_id: str | None
    ) -> LineTakenError | ClaimLostError | None:
        try:
            self.finish(entry, line_id, customer_id)
        except (LineTakenError, ClaimLostError) as error:
            return error
        return None

    def _finish_in(self, connection: Connection, entry: Entry, line_id: str, customer_id: str | None) -> None:
        version = entry.version
        while not self._rows.change(connection, entry.id, version, **_credited(entry, line_id, customer_id)):
            row = self._rows.where(connection, _c.id == entry.id)[0]
            if row.line_id == line_id:
                return
            same = row.attempts == entry.attempts and row.amount == entry.credit.amount
            if row.state == State.CREDITED or not same or row.version == version:
                raise ClaimLostError(
                    "A credit was sent, and another run has taken it over meanwhile: let the audit compare"
                )
            version = row.version

    def take_line(self, entry: Entry, line_id: str, customer_id: str | None) -> Entry | None:
        """Note a line for a credit whose own answer names it, though it is noted for another one.

        :return: the other one, in doubt again and claimed for this run.
        """

        def swap(connection: Connection, now: float) -> Entry | None:
            other = None
            for row in self._rows.where(connection, _c.line_id == line_id):
                if row.id == entry.id:
                    continue
                if row.ended_at is None or compare(entry.credit, row) is Standing.CONFLICT:
                    # Its own answer named the line as well: the CRM has given an id twice.
                    reason = f"the CRM has given line {line_id} to another credit, too"
                    self._rows.change(connection, row.id, row.version, line_id=None, reason=reason)
                    continue
                values = {"line_id": None, "ended_at": row.ended_at}
                other = self._take(connection, now, row, Standing.DOUBT, State.UNKNOWN, **values)
            self._finish_in(connection, entry, line_id, customer_id)
            return other

        return self._database.write(swap)

    def refuse(self, entry: Entry, reason: str) -> None:
        """Note that the CRM does not take the credit."""
        values = {"lane": None, "owner": "", "lease_until": 0.0, "reason": redact(reason)}
        self._move(entry, lambda _: {"state": State.REFUSED.value, **values})

    def doubt(self, entry: Entry) -> Entry:
        """Note that the request ended without an answer that tells."""
        now = self._move(entry, lambda now: {"state": State.UNKNOWN.value, "ended_at": now})
        return replace(
            entry,
            version=entry.version + 1,
            state=State.UNKNOWN,
            standing=Standing.DOUBT,
            ended_at=now,
            doubted=True,
        )

    def unsend(self, entry: Entry) -> Entry:
        """Note that the request certainly was not applied; what an earlier one did is looked up once more."""
        if entry.doubted:
            return self.doubt(entry)
        self._move(entry, lambda _: {"state": State.CLAIMED.value, "lane": None, "ended_at": None})
        return replace(
            entry, version=entry.version + 1, state=State.CLAIMED, lane=None, standing=Standing.FREE
        )

    def set_free(self, entry: Entry) -> None:
        """Note that a credit of another run was not applied: whoever it belongs to may send it."""
        self._move(
            entry, lambda _: {"state": State.CLAIMED.value, "lane": None, "owner": "", "lease_until": 0.0}
        )

    def know_customer(self, entry: Entry, customer_id: str) -> Entry:
        """Note the CRM's id of a customer who was named by e-mail."""
        self._move(entry, lambda _: {"customer_id": customer_id})
        return replace(
            entry, version=entry.version + 1, credit=replace(entry.credit, customer_id=customer_id)
        )

    def now(self) -> float:
        """Return the database's time, in seconds since 1970."""
        return self._database.now()

    def lines_taken(self, line_ids: Collection[str]) -> set[str]:
        """Return which of the CRM's lines are noted for credits."""
        wanted = list(line_ids)
        taken: set[str] = set()
        for start in range(0, len(wanted), CHUNK):
            some = wanted[start : start + CHUNK]
            query = sa.select(_c.line_id).where(_c.account == self._rows.account, _c.line_id.in_(some))
            with self._database.reading() as connection:
                taken.update(row.line_id for row in connection.execute(query))
        return taken

    def count_open(self, credit: Credit) -> int:
        """Return how many credits of a customer and amount are on their way or in doubt."""
        named = [credit.lane, replace(credit, customer_hash=None).lane]
        query = sa.select(sa.func.count()).where(_c.account == self._rows.account, _c.lane.in_(named))
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def answered_with_decimals(self, most: int) -> dict[str, tuple[str, Decimal]]:
        """Return the last credits with decimals whose line SPREAD's own answer has named.

        :return: by the line, the customer's id and the amount that was sent.
        """
        query = (
            sa.select(_c.line_id, _c.customer_id, _c.amount)
            .where(
                _c.account == self._rows.account,
                _c.state == State.CREDITED.value,
                _c.ended_at.is_(None),
                _c.line_id.isnot(None),
                _c.customer_id.isnot(None),
                _c.amount != sa.cast(_c.amount, sa.BigInteger),
            )
            .order_by(_c.id.desc())
            .limit(most)
        )
        with self._database.reading() as connection:
            return {row.line_id: (row.customer_id, row.amount) for row in connection.execute(query)}

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
        query = sa.select(credits_table).where(_c.account == self._rows.account).order_by(_c.id)
        if states:
            query = query.where(_c.state.in_([state.value for state in states]))
        if since is not None:
            query = query.where(_c.updated_at >= since)
        if until is not None:
            query = query.where(_c.updated_at < until)
        if run_id is not None:
            query = query.where(_c.run_id == run_id)
        with self._database.reading() as connection:
            for row in connection.execution_options(stream_results=True).execute(query):
                yield dict(row._mapping)

    # Inside

    def _move(self, entry: Entry, values: Callable[[float], dict[str, Any]]) -> float:
        """Change the state of a credit that this run holds.

        :return: the database's time.
        :raises ClaimLostError: it does not hold it any more.
        """

        def move(connection: Connection, now: float) -> float:
            if not self._rows.change(
                connection, entry.id, entry.version, owner_before=self._owner, **values(now)
            ):
                raise ClaimLostError(
                    "Another run has taken over a credit of this one: a later try sorts it out"
                )
            return now

        return float(self._database.write(move))


def _started(entry: Entry, checked_at: float) -> Entry:
    return replace(
        entry,
        version=entry.version + 1,
        state=State.SENDING,
        attempts=entry.attempts + 1,
        lane=entry.credit.lane,
        ended_at=None,
        checked_at=checked_at,
    )


def _credited(entry: Entry, line_id: str, customer_id: str | None) -> dict[str, Any]:
    return {
        "state": State.CREDITED.value,
        "line_id": line_id,
        # As the row named them, for it may come again: a CRM may answer for a customer who has taken them over.
        "customer_id": entry.credit.customer_id or customer_id,
        "lane": None,
        "owner": "",
        "lease_until": 0.0,
        "reason": None,
    }
