"""What sensors ask SPREAD, and what its event triggers watch."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import Any, get_args

from airflow_provider_crm.exceptions import CrmUnreadableAnswerError
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.hooks.spread.wire import MAX_PAGE
from airflow_provider_crm.parameters import is_nothing, one_of, text_or_number
from airflow_provider_crm.schemas.spread.cells import ZONE, ShownStatus
from airflow_provider_crm.schemas.spread.read import Record
from airflow_provider_crm.triggers.base.cursor import Change, Watched
from airflow_provider_crm.triggers.base.questions import Question, Reply
from airflow_provider_crm.triggers.base.watch import CrmEventTrigger

#: Rows of a page where a few are enough.
FEW = 100


class ConsentQuestion(Question[SpreadHook], frozen=True, kw_only=True):
    """Are there so many answers to a consent?

    :param created_after: local time of the CRM, ``YYYY-MM-DD HH:MM:SS``.
    :param status: None counts all answers.
    """

    hook_class = SpreadHook

    created_after: str
    consent_id: str | None = None
    consent_tech_name: str | None = None
    status: str | None = None
    min_count: int = 1

    def ask(self, hook: SpreadHook) -> Reply:
        rows = hook.iter_consents(
            consent_id=self.consent_id,
            consent_tech_name=self.consent_tech_name,
            created_after=self.created_after,
            status=self.status,
            page_size=min(max(self.min_count, FEW), MAX_PAGE),
        )
        # No page more than it takes to know.
        count = sum(1 for _ in islice(filter(self._counts, rows), max(self.min_count, FEW)))
        which = "consent_id" if self.consent_id is not None else "consent_tech_name"
        result = {
            which: getattr(self, which),
            "status": self.status,
            "created_after": self.created_after,
            "count": count,
        }
        return Reply(count >= self.min_count, result)

    def _counts(self, row: Record) -> bool:
        # Whether a bound itself is in or out is not documented, and filters of the CRM go by changing names.
        return (
            self.status in (None, row.get("customerConsentStatus"))
            and str(row.get("customerConsentCreatedAt") or "") >= self.created_after
        )


class CustomerQuestion(Question[SpreadHook], frozen=True, kw_only=True):
    """Is there a customer with this e-mail, or with this external id?"""

    hook_class = SpreadHook

    email: str | None = None
    external_id: str | None = None

    def ask(self, hook: SpreadHook) -> Reply:
        customer = hook.find_customer(email=self.email, external_id=self.external_id)
        return Reply(False) if customer is None else Reply(True, {"id": customer.get("id")})


class BalanceQuestion(Question[SpreadHook], frozen=True, kw_only=True):
    """Has a customer so many points?

    :param min_amount: a number as text.
    """

    hook_class = SpreadHook

    min_amount: str
    email: str | None = None
    customer_id: str | None = None

    def ask(self, hook: SpreadHook) -> Reply:
        if self.customer_id is not None:
            customer = hook.get_customer(self.customer_id)
        else:
            customer = hook.find_customer(email=self.email)
        if customer is None:
            return Reply(False)
        amount = str(customer.get("cagnotteAmount") or "0")
        return Reply(
            _number(amount) >= Decimal(self.min_amount), {"id": customer.get("id"), "cagnotteAmount": amount}
        )


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise CrmUnreadableAnswerError("A customer's `cagnotteAmount` is no number") from None


# What is watched

_SECOND = dt.timedelta(seconds=1)


class _ConsentAnswers(Watched[SpreadHook]):
    """Everyone's answers to one consent, by the local time that the CRM shows, in which it also filters."""

    hook_class = SpreadHook

    def __init__(self, consent_id: str) -> None:
        self._consent_id = consent_id

    def changes(self, hook: SpreadHook, since: dt.datetime) -> list[Change]:
        # Whether the bound itself is in or out is not documented.
        rows = hook.iter_consents(consent_id=self._consent_id, created_after=str(since - _SECOND))
        return [
            Change(at, str(row.get("trackId")), row.get("customerConsentStatus"))
            for row in rows
            if (at := _time(row.get("customerConsentCreatedAt"))) is not None
        ]

    def clock(self, moment: dt.datetime) -> dt.datetime:
        return moment.astimezone(ZONE).replace(tzinfo=None, fold=0)

    def complete_before(self, newest: dt.datetime) -> dt.datetime:
        offsets = [newest.replace(tzinfo=ZONE, fold=fold).utcoffset() for fold in (0, 1)]
        if offsets[0] != offsets[1]:
            # The hour comes twice: the second time, answers look as old as those of the first.
            return min(newest.replace(minute=0, second=0), super().complete_before(newest))
        return super().complete_before(newest)


class _Customers(Watched[SpreadHook]):
    """Customers by their last change, which has its zone and is taken as UTC here."""

    hook_class = SpreadHook

    def changes(self, hook: SpreadHook, since: dt.datetime) -> list[Change]:
        # In which zone the CRM filters is not documented. What a clock in UTC shows is no later than what any clock in
        # France shows: at worst two hours are read that are known.
        rows = hook.iter_customers(modified_after=str(since - _SECOND))
        return [
            Change(at, str(row.get("id")))
            for row in rows
            if (at := _time(row.get("updatedAt") or row.get("createdAt"))) is not None
        ]

    def clock(self, moment: dt.datetime) -> dt.datetime:
        return moment.astimezone(dt.UTC).replace(tzinfo=None)


def _time(text: Any) -> dt.datetime | None:
    """Read a time to the second; None where the CRM shows none."""
    try:
        moment = dt.datetime.fromisoformat(str(text or ""))
    except ValueError:
        return None
    if moment.tzinfo is not None:
        moment = moment.astimezone(dt.UTC).replace(tzinfo=None)
    return moment.replace(microsecond=0)


class SpreadConsentEventTrigger(CrmEventTrigger):
    """Fires when people have answered a consent.

    The event is ``{"system", "consent_id", "status", "count", "created_after", "created_before"}``: how many new
    answers there are, and a window in the CRM's local time that holds them, as the export of consents takes it.

    .. seealso:: The vendor's page "API - Customer Consentement" at help.spreadfamily.fr.

    :param consent_id: the consent.
    :param status: only these answers: ``accepted``, ``refused``, ``toBeConfirmed`` or ``unknown``.
    :param poll_interval: seconds between two looks, at least one.
    :param spread_conn_id: the connection.
    """

    def __init__(
        self,
        consent_id: str | int,
        status: str | None = None,
        poll_interval: float = 60,
        spread_conn_id: str = SpreadHook.default_conn_name,
    ) -> None:
        super().__init__(conn_id=spread_conn_id, poll_interval=poll_interval)
        self.consent_id = text_or_number("consent_id", consent_id)
        self.status = None if is_nothing(status) else one_of(*get_args(ShownStatus))("status", status)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes the same trigger again."""
        return f"{__name__}.{type(self).__name__}", {
            "consent_id": self.consent_id,
            "status": self.status,
            "poll_interval": self.poll_interval,
            "spread_conn_id": self.conn_id,
        }

    def _watched(self) -> Watched[SpreadHook]:
        return _ConsentAnswers(self.consent_id)

    def _list_key(self) -> tuple[str, ...]:
        return ("consent", self.consent_id)

    def _own_key(self) -> str:
        return super()._own_key() + (f".{self.status}" if self.status else "")

    def _payload(self, new: Sequence[Change]) -> dict[str, Any] | None:
        mine = [change.at for change in new if self.status in (None, change.kind)]
        if not mine:
            return None
        return {
            "system": "spread",
            "consent_id": self.consent_id,
            "status": self.status,
            "count": len(mine),
            "created_after": str(min(mine) - _SECOND),
            "created_before": str(max(mine) + _SECOND),
        }


class SpreadCustomerEventTrigger(CrmEventTrigger):
    """Fires when customers have been created or modified.

    The event is ``{"system", "count", "modified_after", "modified_before"}``: how many changes there are, and a window
    in UTC that holds them, as the export of customers takes it.

    .. seealso:: The vendor's page "Customers" at help.spreadfamily.fr.

    :param poll_interval: seconds between two looks, at least one.
    :param spread_conn_id: the connection.
    """

    def __init__(self, poll_interval: float = 60, spread_conn_id: str = SpreadHook.default_conn_name) -> None:
        super().__init__(conn_id=spread_conn_id, poll_interval=poll_interval)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes the same trigger again."""
        return f"{__name__}.{type(self).__name__}", {
            "poll_interval": self.poll_interval,
            "spread_conn_id": self.conn_id,
        }

    def _watched(self) -> Watched[SpreadHook]:
        return _Customers()

    def _list_key(self) -> tuple[str, ...]:
        return ("customers",)

    def _payload(self, new: Sequence[Change]) -> dict[str, Any] | None:
        times = [change.at.replace(tzinfo=dt.UTC) for change in new]
        return {
            "system": "spread",
            "count": len(times),
            "modified_after": (min(times) - _SECOND).isoformat(),
            "modified_before": (max(times) + _SECOND).isoformat(),
        }
