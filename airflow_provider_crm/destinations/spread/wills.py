"""What people want, as SPREAD's histories of answers have it: by customer, and by the address that customers share."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from airflow_provider_crm.bulk.outcomes import Ending, Outcome, RowKey
from airflow_provider_crm.bulk.propagation import Will
from airflow_provider_crm.exceptions import CrmNotFoundError
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.schemas.spread.cells import ZONE, consent_moment, id_of
from airflow_provider_crm.values import compared_email, normal_email

ACCEPTED, REFUSED = "accepted", "refused"
NO_EARLIER, NO_LATER = dt.datetime(1900, 1, 1, tzinfo=dt.UTC), dt.datetime(2900, 1, 1, tzinfo=dt.UTC)
GONE = Outcome(Ending.SKIPPED, "the customer is not in SPREAD any more")
NO_ADDRESS = Outcome(Ending.SKIPPED, "the customer has no e-mail, by which others would know them")
ACCEPTED_SINCE = Outcome(Ending.SKIPPED, "accepted again since")
NEITHER = Outcome(Ending.SKIPPED, "the last answer is neither yes nor no")
NOT_ASKED = Outcome(Ending.SKIPPED, "an opt-in: see `opt_ins`")


@dataclass(frozen=True, slots=True)
class ConsentAnswer:
    """An answer that was given: what holds by now is looked up.

    :param refused: whether it was a refusal.
    """

    customer_id: str
    consent_id: str
    refused: bool


class Last(NamedTuple):
    """The last answer of a customer: the later one, and of two of one moment the stricter."""

    at: dt.datetime
    refused: bool
    accepted: bool


class SpreadWills:
    """Reads what people want.

    A person is an address: of several customers with one address each last answer counts, and the strictest of them
    holds. Local times do not tell the hour that October repeats from the one before it: a refusal is taken to be in the
    second of them, an acceptance in the first.

    :param opt_ins: whether acceptances are passed on; otherwise a refusal is, whatever came after it.
    """

    def __init__(self, hook: SpreadHook, *, opt_ins: bool) -> None:
        self._hook = hook
        self._opt_ins = opt_ins

    def read(self, data: Mapping[str, Any]) -> tuple[RowKey, ConsentAnswer]:
        answer = ConsentAnswer(id_of(data["customer_id"]), str(data["consent_id"]), data["status"] == REFUSED)
        return RowKey(f"{answer.customer_id}|{answer.consent_id}|{data['status']}"), answer

    def of(self, records: Sequence[ConsentAnswer]) -> list[Will | Outcome]:
        """Look up what the people behind some answers want by now."""
        customers = {
            row["id"]: row for row in self._hook.iter_customers(ids={one.customer_id for one in records})
        }
        return self._hook.side_by_side(lambda one: self._of(one, customers.get(one.customer_id)), records)

    def _of(self, answer: ConsentAnswer, customer: Mapping[str, Any] | None) -> Will | Outcome:
        if customer is None:
            return GONE
        try:
            email = normal_email(customer.get("email"))
        except ValueError:
            return NO_ADDRESS
        lasts = [
            last
            for one in {answer.customer_id, *self._sharing(email)}
            if (last := self._last(one, answer.consent_id)) is not None
        ]
        refusals = [last.at for last in lasts if last.refused]
        acceptances = [last.at for last in lasts if last.accepted]
        if refusals:
            return Will(email, answer.consent_id, False, max(refusals))
        if answer.refused and not self._opt_ins:
            at = max((last.at for last in lasts), default=dt.datetime.now(dt.UTC))
            return Will(email, answer.consent_id, False, at)
        if len(acceptances) < len(lasts) or not acceptances:
            return NEITHER
        if answer.refused:
            return ACCEPTED_SINCE
        return Will(email, answer.consent_id, True, max(acceptances)) if self._opt_ins else NOT_ASKED

    def _sharing(self, email: str) -> Iterable[str]:
        """Find the customers with an address."""
        found = self._hook.iter_customers(email=email, case_insensitive=True)
        return [row["id"] for row in found if compared_email(row.get("email")) == email]

    def _last(self, customer_id: str, consent_id: str) -> Last | None:
        """Return the last answer of a customer to a consent, whatever the filter lets through, see :mod:`.consents`."""
        try:
            history = list(self._hook.iter_customer_consents(customer_id, consent_id=consent_id))
        except CrmNotFoundError:
            return None
        answers = (_last_of(row) for row in history if str(row.get("consentId") or consent_id) == consent_id)
        return max(answers, key=lambda last: (last.at, last.refused, not last.accepted), default=None)


def _last_of(row: Mapping[str, Any]) -> Last:
    status = row.get("customerConsentStatus")
    refused = status == REFUSED
    try:
        local = dt.datetime.fromisoformat(consent_moment(row.get("customerConsentCreatedAt")))
    except ValueError:  # nobody can tell when it was: a refusal holds, anything else does not
        return Last(NO_LATER if refused else NO_EARLIER, refused, status == ACCEPTED)
    return Last(local.replace(tzinfo=ZONE, fold=int(refused)).astimezone(dt.UTC), refused, status == ACCEPTED)
