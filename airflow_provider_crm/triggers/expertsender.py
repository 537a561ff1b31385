"""What sensors ask ExpertSender CDP."""

from __future__ import annotations

from typing import Any

from airflow_provider_crm.exceptions import CrmUnreadableAnswerError
from airflow_provider_crm.hooks.expertsender import ExpertSenderHook
from airflow_provider_crm.schemas.expertsender.write import By
from airflow_provider_crm.triggers.base.questions import Question, Reply


class CustomerQuestion(Question[ExpertSenderHook], frozen=True, kw_only=True):
    """Is there a customer, who has answered a consent in this way?

    :param consent_id: as text; None asks for the customer only.
    :param consent_value: ``True``, ``False`` or ``AwaitingConfirmation``; None accepts each of them.
    """

    hook_class = ExpertSenderHook

    value: str
    by: By = "email"
    consent_id: str | None = None
    consent_value: str | None = None

    def ask(self, hook: ExpertSenderHook) -> Reply:
        customer = hook.get_customer(self.value, by=self.by)
        if customer is None:
            return Reply(False)
        if self.consent_id is None:
            return Reply(True, {"by": self.by})
        given = _consent(customer, self.consent_id)
        done = given is not None and self.consent_value in (None, given)
        return Reply(
            done, {"by": self.by, "consent_id": self.consent_id, "consent_value": given} if done else {}
        )


def _consent(customer: dict[str, Any], consent_id: str) -> str | None:
    try:
        for consent in (customer.get("consentsData") or {}).get("consents") or ():
            if str(consent.get("id")) == consent_id and consent.get("value") is not None:
                return str(consent["value"])
    except (AttributeError, TypeError):
        raise CrmUnreadableAnswerError(
            "A customer's `consentsData` has another shape than documented"
        ) from None
    return None
