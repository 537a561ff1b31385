"""What became of credits in doubt: SPREAD's lines tell, once they have had the time to be seen.

Knows what makes a line a credit's own; states and transactions are :mod:`airflow_provider_crm.loyalty.ledger`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR

from airflow_provider_crm.exceptions import CrmTransientError, CrmUnreadableAnswerError
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.loyalty.baselines import Baselines
from airflow_provider_crm.loyalty.ledger import LineTakenError, LoyaltyLedger
from airflow_provider_crm.loyalty.lines import Line, is_credit_line, line_amount, line_id
from airflow_provider_crm.loyalty.states import Entry, Standing, State

log = logging.getLogger(__name__)


class Doubts:
    """Looks for credits in doubt.

    :param hook: through which lines are read.
    :param ledger: where what is found is noted.
    :param baselines: what was there before.
    :param settle_seconds: after a request ended, how long its line may take to be seen.
    """

    def __init__(
        self, hook: SpreadHook, ledger: LoyaltyLedger, baselines: Baselines, *, settle_seconds: float
    ) -> None:
        self._hook = hook
        self._ledger = ledger
        self._baselines = baselines
        self._settle = settle_seconds
        #: Whether SPREAD is known to keep decimals (True) or to round them away (False).
        self.keeps_decimals: bool | None = None

    def resolve(self, entries: Sequence[Entry]) -> dict[int, Entry]:
        """Look for the lines of credits, and note those that are found as credited.

        :param entries: in doubt, claimed for this run, their customers' ids known.
        :return: each by its id: credited with its line; or free, since its line is not there and has had the time to
            be seen, so that it certainly was not applied (the lines that were seen are then its new baseline); or
            still in doubt, with the reason.
        :raises CrmTransientError: the task ends before that time is over.
        """
        began = self._ledger.now()
        known, lines = self._look(entries)
        missing = [entry for entry in entries if entry.id not in known]
        settled_at = max((entry.ended_at or began for entry in missing), default=began) + self._settle
        if missing and began < settled_at:
            self._wait_until(settled_at)  # once for all of them
            found, lines = self._look(missing)
            known.update(found)
            missing = [entry for entry in missing if entry.id not in found]
        if missing:
            before = self._baselines.of_lines(list(lines.values()))
            known.update(
                (entry.id, replace(entry, standing=Standing.FREE, baseline=before)) for entry in missing
            )
        return known

    def _wait_until(self, moment: float) -> None:
        while (left := moment - self._ledger.now()) > 0:
            if self._hook.pause(left + 0.002):
                raise CrmTransientError(
                    "The task ended before it was known what became of a credit; the next try looks again"
                )

    def _look(self, entries: Sequence[Entry]) -> tuple[dict[int, Entry], Mapping[str, Sequence[Line]]]:
        lines, errors = self._baselines.lines.of([_customer(entry) for entry in entries])
        found = {
            entry.id: replace(entry, reason=errors[_customer(entry)].reason)
            for entry in entries
            if _customer(entry) in errors
        }
        entries = [entry for entry in entries if entry.id not in found]
        candidates = {entry.id: self._candidates(entry, lines[_customer(entry)]) for entry in entries}
        taken = self._ledger.lines_taken({one for some in candidates.values() for one in some})
        for entry in entries:
            for one in candidates[entry.id]:
                if one not in taken and self._note(entry, one):
                    found[entry.id] = replace(
                        entry, standing=Standing.CREDITED, state=State.CREDITED, line_id=one
                    )
                    break
        return found, lines

    def _note(self, entry: Entry, one: str) -> bool:
        try:
            self._ledger.finish(entry, one, entry.credit.customer_id)
        except LineTakenError:
            return False  # another credit has just been found in it
        return True

    def _candidates(self, entry: Entry, lines: Sequence[Line]) -> list[str]:
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
        amount = entry.credit.amount
        exact = [line_id(line) for line in new if line_amount(line) == amount]
        if exact or amount == amount.to_integral_value():
            return exact
        if any(_is_fraction(line) for line in lines):
            self.keeps_decimals = True
        if self.keeps_decimals:
            return []
        # A CRM that rounds notes another amount than was sent; sending it again would not change that.
        rounded = (amount.to_integral_value(ROUND_FLOOR), amount.to_integral_value(ROUND_CEILING))
        return [line_id(line) for line in new if line_amount(line) in rounded]


def _customer(entry: Entry) -> str:
    assert entry.credit.customer_id is not None
    return entry.credit.customer_id


def _is_fraction(line: Line) -> bool:
    amount = line_amount(line)
    return amount is not None and amount != amount.to_integral_value()
