"""What sensors ask SPREAD, and what its event triggers watch."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from itertools import islice

from airflow_provider_crm.exceptions import CrmUnreadableAnswerError
from airflow_provider_crm.hooks.spread import MAX_PAGE, SpreadHook
from airflow_provider_crm.schemas.spread import Row
from airflow_provider_crm.triggers.questions import Question, Seen

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

    def ask(self, hook: SpreadHook) -> Seen:
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
        return Seen(count >= self.min_count, result)

    def _counts(self, row: Row) -> bool:
        # A server that overlooks a filter must not end the wait.
        return (
            self.status in (None, row.get("customerConsentStatus"))
            and str(row.get("customerConsentCreatedAt") or "") >= self.created_after
        )


class CustomerQuestion(Question[SpreadHook], frozen=True, kw_only=True):
    """Is there a customer with this e-mail, or with this external id?"""

    hook_class = SpreadHook

    email: str | None = None
    external_id: str | None = None

    def ask(self, hook: SpreadHook) -> Seen:
        customer = hook.find_customer(email=self.email, external_id=self.external_id)
        return Seen(False) if customer is None else Seen(True, {"id": customer.get("id")})


class BalanceQuestion(Question[SpreadHook], frozen=True, kw_only=True):
    """Has a customer so many points?

    :param min_amount: a number as text.
    """

    hook_class = SpreadHook

    min_amount: str
    email: str | None = None
    customer_id: str | None = None

    def ask(self, hook: SpreadHook) -> Seen:
        if self.customer_id is not None:
            customer = hook.get_customer(self.customer_id)
        else:
            customer = hook.find_customer(email=self.email)
        if customer is None:
            return Seen(False)
        amount = str(customer.get("cagnotteAmount") or "0")
        return Seen(
            _number(amount) >= Decimal(self.min_amount), {"id": customer.get("id"), "cagnotteAmount": amount}
        )


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise CrmUnreadableAnswerError("A customer's `cagnotteAmount` is no number") from None
