"""Ledger and CRM compared: which credits of the ledger have no line in SPREAD, or one of another amount."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.loyalty.entries import utc_now
from airflow_provider_crm.loyalty.ledger import LoyaltyLedger
from airflow_provider_crm.loyalty.lines import (
    CustomerLines,
    Line,
    is_credit_line,
    line_amount,
    line_id,
    line_pages,
)
from airflow_provider_crm.loyalty.states import State
from airflow_provider_crm.parameters import moment
from airflow_provider_crm.values import moment_of


@dataclass(frozen=True, slots=True)
class AuditWindow:
    """The credits to compare: those of the ledger that were noted in it, and the lines that are dated in it.

    :param after: begin, without a zone: the CRM's local time, and UTC in the ledger.
    :param before: end, not in it.
    """

    after: datetime | None
    before: datetime | None

    @classmethod
    def given(cls, after: datetime | str | None, before: datetime | str | None) -> AuditWindow:
        """Read the bounds; a time with a zone is taken as UTC.

        :raises CrmInputError: a bound is no time, or the window is turned round.
        """
        first = None if after is None else _without_zone(moment("created_after", after))
        last = None if before is None else _without_zone(moment("created_before", before))
        if first is not None and last is not None and first >= last:
            raise CrmInputError(f"The window is turned round: it begins at {first} and ends at {last}")
        return cls(first, last)

    def holds(self, line: Line) -> bool:
        """Return True if a line is dated in it; one without a date that can be read is."""
        try:
            dated = _without_zone(moment_of(line.get("cagnotteLineDate")))
        except ValueError:
            return True
        return (self.after is None or dated >= self.after) and (self.before is None or dated < self.before)


@dataclass(frozen=True, slots=True)
class Findings:
    """What a comparison found.

    :param credits: credits of the ledger that were compared.
    :param lines: lines of the CRM in the window.
    :param in_doubt: credits of the ledger of which nobody knows yet whether they were applied.
    :param without_line: credits of the ledger that have no line.
    :param another_amount: credits whose line has another amount.
    :param without_credit: lines that the ledger does not know.
    """

    credits: int
    lines: int
    in_doubt: int
    without_line: Sequence[Mapping[str, Any]]
    another_amount: Sequence[Mapping[str, Any]]
    without_credit: Sequence[Line]

    def counts(self) -> dict[str, int]:
        return {
            "credits": self.credits,
            "lines": self.lines,
            "credits_without_line": len(self.without_line),
            "credits_with_another_amount": len(self.another_amount),
            "credits_in_doubt": self.in_doubt,
            "lines_without_credit": len(self.without_credit),
        }

    def records(self) -> list[dict[str, Any]]:
        """Return what differs, as the lines of a file."""
        named = {
            "credit without line": self.without_line,
            "credit with another amount": self.another_amount,
            "line without credit": self.without_credit,
        }
        return [
            {
                "problem": problem,
                "credit_key": row.get("credit_key"),
                "customer_id": row.get("customer_id", row.get("customerId")),
                "amount": str(row.get("amount")),
                "line_id": row.get("line_id", row.get("cagnotteLineId")),
            }
            for problem, rows in named.items()
            for row in rows
        ]


class Audit:
    """Compares the ledger with SPREAD's lines.

    :param hook: through which lines are read.
    :param ledger: which credits there are.
    :param margin: how far the CRM's clock may be from the database's; beyond it, lines are looked for customer by
        customer.
    :param settle_seconds: how long a line may take to be seen.
    """

    def __init__(
        self, hook: SpreadHook, ledger: LoyaltyLedger, *, margin: timedelta, settle_seconds: float
    ) -> None:
        self._hook = hook
        self._ledger = ledger
        self._margin = margin
        self._settle_seconds = settle_seconds

    def compare(self, window: AuditWindow) -> Findings:
        """Compare what belongs to a window."""
        noted = self._ledger.history(states=[State.CREDITED], since=window.after, until=window.before)
        credits_ = {str(row["line_id"]): row for row in noted}
        in_doubt = sum(1 for _ in self._ledger.history(states=[State.SENDING, State.UNKNOWN]))
        lines = self._lines(window)
        missing = [row for line, row in credits_.items() if line not in lines]
        self._wait_until_shown(missing)
        lines = self._lines_of_customers(missing) | lines
        inside = [one for one, line in lines.items() if window.holds(line)]
        known = credits_.keys() | self._ledger.lines_taken([one for one in inside if one not in credits_])
        return Findings(
            credits=len(credits_),
            lines=len(inside),
            in_doubt=in_doubt,
            without_line=[row for line, row in credits_.items() if line not in lines],
            another_amount=[
                row
                for line, row in credits_.items()
                if line in lines and line_amount(lines[line]) != row["amount"]
            ],
            without_credit=[lines[one] for one in inside if one not in known],
        )

    def _lines(self, window: AuditWindow) -> dict[str, Line]:
        """Read the lines of the window and of a margin around it, since the two clocks need not agree."""
        pages = line_pages(
            self._hook,
            created_after=window.after and window.after - self._margin,
            created_before=window.before and window.before + self._margin,
        )
        return {line_id(line): line for page in pages for line in page if is_credit_line(line)}

    def _wait_until_shown(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Wait until the lines of credits that were noted just now have had the time to be seen."""
        if rows:
            age = (utc_now() - max(row["updated_at"] for row in rows)).total_seconds()
            self._hook.pause(min(max(self._settle_seconds - age, 0.0), self._settle_seconds))

    def _lines_of_customers(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Line]:
        """Look once more for lines that were not among those of the window: the CRM's clock may be days away."""
        customers = dict.fromkeys(str(row["customer_id"]) for row in rows if row["customer_id"])
        found, _ = CustomerLines(self._hook, lambda: None).of(customers)
        return {line_id(line): line for lines in found.values() for line in lines if is_credit_line(line)}


def _without_zone(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time
