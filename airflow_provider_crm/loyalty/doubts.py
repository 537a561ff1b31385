"""What became of credits in doubt: SPREAD's lines tell, once they have had the time to be seen.

Knows what makes a line a credit's own; states and transactions are :mod:`airflow_provider_crm.loyalty.ledger`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from airflow_provider_crm.exceptions import CrmTransientError, CrmUnreadableAnswerError
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.loyalty.baselines import Baselines
from airflow_provider_crm.loyalty.decimals import Decimals, roundings
from airflow_provider_crm.loyalty.ledger import LineTakenError, LoyaltyLedger
from airflow_provider_crm.loyalty.lines import Line, is_credit_line, line_amount, line_id
from airflow_provider_crm.loyalty.states import Entry, Standing, State

log = logging.getLogger(__name__)

#: Why nobody can tell yet what became of a credit with decimals.
MAY_BE_ROUNDED = (
    "an earlier call may have credited it as whole points: SPREAD has a new line of such an amount, and has not shown "
    "yet what it makes of decimals"
)


@dataclass(slots=True)
class _Look:
    """What one look at the lines of customers shows.

    :param lines: by customer.
    :param known: credits that are settled, or whose lines SPREAD does not give, by their id.
    :param missing: those of which no line was found.
    """

    lines: Mapping[str, Sequence[Line]]
    known: dict[int, Entry] = field(default_factory=dict)
    missing: list[Entry] = field(default_factory=list)


class Doubts:
    """Looks for credits in doubt.

    :param hook: through which lines are read.
    :param ledger: where what is found is noted.
    :param baselines: what was there before.
    :param decimals: what SPREAD makes of amounts with decimals.
    :param settle_seconds: after a request ended, how long its line may take to be seen.
    """

    def __init__(
        self,
        hook: SpreadHook,
        ledger: LoyaltyLedger,
        baselines: Baselines,
        decimals: Decimals,
        *,
        settle_seconds: float,
    ) -> None:
        self._hook = hook
        self._ledger = ledger
        self._baselines = baselines
        self._decimals = decimals
        self._settle_seconds = settle_seconds

    def resolve(self, entries: Sequence[Entry]) -> dict[int, Entry]:
        """Look for the lines of credits, and note those that are found as credited.

        :param entries: in doubt, claimed for this run, their customers' ids known.
        :return: each by its id: credited with its line; or free, since its line is not there and has had the time to
            be seen, so that it certainly was not applied (the lines that were seen are then its new baseline); or
            still in doubt, with the reason.
        :raises CrmTransientError: the task ends before that time is over.
        """
        began = self._ledger.now()
        look = self._look(entries)
        known = look.known
        settled_at = (
            max((entry.ended_at or began for entry in look.missing), default=began) + self._settle_seconds
        )
        if look.missing and began < settled_at:
            self._wait_until(settled_at)  # once for all of them
            look = self._look(look.missing)
            known |= look.known
        if look.missing:
            before = self._baselines.of_lines(list(look.lines.values()))
            for entry in look.missing:
                if self._rounded_lines(entry, look.lines):
                    known[entry.id] = replace(entry, reason=MAY_BE_ROUNDED)
                else:
                    known[entry.id] = replace(entry, standing=Standing.FREE, baseline=before)
        return known

    def _wait_until(self, moment: float) -> None:
        while (left := moment - self._ledger.now()) > 0:
            if self._hook.pause(left + 0.002):
                raise CrmTransientError(
                    "The task ended before it was known what became of a credit; the next try looks again"
                )

    def _look(self, entries: Sequence[Entry]) -> _Look:
        lines, errors = self._baselines.lines.of([_customer(entry) for entry in entries])
        look = _Look(lines)
        exact: dict[int, list[str]] = {}
        for entry in entries:
            customer = _customer(entry)
            if customer in errors:
                look.known[entry.id] = replace(entry, reason=errors[customer].reason)
            else:
                exact[entry.id] = self._new_lines(entry, lines[customer], entry.credit.amount)
        taken = self._ledger.lines_taken({one for some in exact.values() for one in some})
        left = [entry for entry in entries if entry.id in exact]
        left = [entry for entry in left if not self._found(entry, exact[entry.id], taken, look)]
        # Only now: a line of a credit's own amount is rather its own than another one's, rounded.
        for entry in left:
            rounded = self._rounded_lines(entry, lines)
            if not (self._decimals.rounds and self._found(entry, rounded, (), look)):
                look.missing.append(entry)
        return look

    def _found(self, entry: Entry, candidates: Sequence[str], taken: Collection[str], look: _Look) -> bool:
        """Note a credit as credited with the first of some lines that no other credit has."""
        for one in candidates:
            if one not in taken and self._note(entry, one):
                look.known[entry.id] = replace(
                    entry, standing=Standing.CREDITED, state=State.CREDITED, line_id=one
                )
                return True
        return False

    def _note(self, entry: Entry, one: str) -> bool:
        try:
            self._ledger.finish(entry, one, entry.credit.customer_id)
        except LineTakenError:
            return False  # another credit has just been found in it
        return True

    def _rounded_lines(self, entry: Entry, lines: Mapping[str, Sequence[Line]]) -> list[str]:
        """Return the lines that may be a credit's own if SPREAD rounds, as far as it is not known to keep decimals.

        Of lines of one amount, as many as there are other open credits of the customer and that very amount are left
        to those.
        """
        new = {
            amount: self._new_lines(entry, lines[_customer(entry)], amount)
            for amount in roundings(entry.credit.amount)
        }
        if not any(new.values()):
            return []
        self._decimals.compare_earlier()
        if self._decimals.keeps and not self._decimals.rounds:
            return []
        free: list[str] = []
        for amount, some in new.items():
            # In this order: a credit that ends meanwhile is no longer open, but its line is taken.
            others = self._ledger.count_open(replace(entry.credit, amount=amount))
            taken = self._ledger.lines_taken(some)
            free += [one for one in some if one not in taken][others:]
        return free

    def _new_lines(self, entry: Entry, lines: Sequence[Line], amount: Decimal) -> list[str]:
        """Find what can be the line of a credit among its customer's: of its amount, no campaign's, no purchase's,
        and not there before it was sent.

        :raises CrmUnreadableAnswerError: one may be it, and does not say whose it is, or how much.
        """
        new = [
            line
            for line in lines
            if line_id(line)
            and is_credit_line(line)
            and not self._ledger.baselines.holds(entry.baseline, line_id(line))
        ]
        if any(line_amount(line) is None or not line.get("customerId") for line in new):
            raise CrmUnreadableAnswerError(
                "GET /cagnottes gives a new line without customer or amount: whether it is a credit's cannot be told",
                call="GET /cagnottes",
            )
        return [line_id(line) for line in new if line_amount(line) == amount]


def _customer(entry: Entry) -> str:
    assert entry.credit.customer_id is not None
    return entry.credit.customer_id
