"""How ExpertSender takes what somebody wants: a consent, which is never given again to who has refused it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_crm.bulk.outcomes import Ending, Outcome, Step
from airflow_provider_crm.bulk.propagation import OPTED_OUT, Taker, Will
from airflow_provider_crm.destinations.expertsender.upserts import Customer, CustomerItem, UpsertCustomers
from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.hooks.expertsender import ExpertSenderHook
from airflow_provider_crm.hooks.expertsender.consents import read_consents
from airflow_provider_crm.rows.mapping import FieldMapping
from airflow_provider_crm.schemas.expertsender.cells import AWAITING_CONFIRMATION, GRANTED, REFUSED
from airflow_provider_crm.schemas.expertsender.consents import consents_of
from airflow_provider_crm.schemas.expertsender.write import CustomerFields

#: Customers a call; the vendor publishes no limit.
BATCH = 100


class TakeConsents(UpsertCustomers):
    """Sets consents, of people who are looked up.

    The CRM does not tell when somebody has refused, so that no acceptance is known to be later.

    :param consents: ids of the consents that are set.
    """

    def __init__(self, hook: ExpertSenderHook, consents: list[int]) -> None:
        known = read_consents(hook, needed=True)
        ids = {consent["id"] for consent in known}
        if known and (unknown := [number for number in consents if number not in ids]):
            raise CrmInputError(
                f"ExpertSender has no consent {', '.join(map(str, unknown))}; it has {sorted(ids)}"
            )
        fields = CustomerFields(known)
        columns = {"email": "email", **{f"consents.{number}": f"consents.{number}" for number in consents}}
        mapping = FieldMapping(fields.find, columns, known=fields.names)
        super().__init__(
            hook,
            mapping,
            key_column="email",
            match_by="Email",
            mode="AddOrUpdate",
            batch_size=BATCH,
            allow_resubscribe=False,
            settle_seconds=0,  # nothing is forced, so that a confirmation cannot be asked for twice
        )

    def _has_to_be_seen(self, item: CustomerItem) -> bool:
        return True

    def _plan_seen(self, item: CustomerItem, held: Mapping[str, Any] | None) -> Outcome | Step[Customer]:
        ((consent, wanted),) = consents_of(item.record).items()
        standing = consents_of(held).get(consent)
        if standing == wanted:
            return Outcome(Ending.UPDATED if item.maybe_applied else Ending.UNCHANGED)
        if wanted == GRANTED and standing == REFUSED:
            return OPTED_OUT
        if wanted == GRANTED and standing == AWAITING_CONFIRMATION:
            return Outcome(Ending.SKIPPED, "is to confirm it there")
        return super()._plan_seen(item, held)


def expertsender_taker(hook: ExpertSenderHook, consents: Mapping[str, int]) -> Taker:
    """Return what takes the answers to these consents, by the consent's id here."""

    def row(will: Will) -> dict[str, Any] | None:
        number = consents.get(will.consent)
        if number is None:
            return None
        return {"email": will.email, f"consents.{number}": will.opts_in}

    return Taker("expertsender", TakeConsents(hook, list(consents.values())), row)
