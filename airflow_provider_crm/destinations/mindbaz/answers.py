"""How Mindbaz takes what somebody wants: a status, and never an opt-in against an opt-out that is as late or later."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from airflow_provider_crm.bulk.outcomes import Ending, Item, Outcome, Step
from airflow_provider_crm.bulk.propagation import OPTED_OUT, Taker, Will
from airflow_provider_crm.destinations.mindbaz.opt_outs import Values, has_opted_out
from airflow_provider_crm.destinations.mindbaz.upserts import UpsertSubscribers
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.hooks.mindbaz.fields import read_fields
from airflow_provider_crm.rows.mapping import FieldMapping
from airflow_provider_crm.schemas.mindbaz.write import (
    EMAIL,
    MAX_SUBSCRIBERS,
    STATUS,
    SUBSCRIBED,
    UNSUBSCRIBED,
    UNSUBSCRIBED_AT,
    ZONE,
    Subscriber,
    date_text,
)
from airflow_provider_crm.values import is_midnight, moment_of


class TakeStatuses(UpsertSubscribers):
    """Sets statuses.

    Whoever unsubscribed themselves is subscribed again by an acceptance that is later than the date of it. Any other
    way of having opted out (complained, on the suppression list, by hand, as a group) has no date that is the person's
    own, and stays.
    """

    def __init__(self, hook: MindbazHook) -> None:
        fields = read_fields(hook, names_needed=False)
        mapping = FieldMapping(
            fields.find, {"email": EMAIL, "status": STATUS, "at": UNSUBSCRIBED_AT}, known=fields.names
        )
        super().__init__(
            hook,
            mapping,
            key_column="email",
            match_by="Email",
            mode="upsert",
            batch_size=MAX_SUBSCRIBERS,
            allow_resubscribe=True,
        )

    def _plan_present(
        self, item: Item[Values], found: Sequence[Subscriber], missing: Values
    ) -> Outcome | Step[Values]:
        number, held = found[0]["id"], found[0]["fields"]
        wanted, status = item.record[STATUS], held.get(STATUS)
        opted_out = has_opted_out(status)
        if wanted != SUBSCRIBED and opted_out:
            return Outcome(Ending.UPDATED if item.maybe_applied else Ending.UNCHANGED, crm_id=number)
        if wanted == SUBSCRIBED and str(status) != str(SUBSCRIBED):
            if not opted_out:
                return Outcome(Ending.SKIPPED, f"the subscriber's status is {status}", number)
            if not _may_return(item.row.data["since"], status, held.get(UNSUBSCRIBED_AT)):
                return OPTED_OUT
        return super()._plan_present(item, found, missing)

    def _compared(self, items: Sequence[Item[Values]]) -> set[int]:
        return {STATUS, UNSUBSCRIBED_AT} | super()._compared(items)


def _may_return(since: dt.datetime, status: Any, unsubscribed_at: Any) -> bool:
    """Return whether an acceptance is later than an opt-out: the CRM keeps minutes, and perhaps days only."""
    if int(status) != UNSUBSCRIBED:
        return False
    try:
        at = moment_of(unsubscribed_at)
    except ValueError:
        return False
    end = at + (dt.timedelta(days=1) if is_midnight(at) else dt.timedelta(minutes=1))
    return since >= (end if end.tzinfo else end.replace(tzinfo=ZONE, fold=1))


def mindbaz_taker(hook: MindbazHook, consents: frozenset[str]) -> Taker:
    """Return what takes the answers to these consents as statuses."""

    def row(will: Will) -> dict[str, Any] | None:
        if will.consent not in consents:
            return None
        if will.opts_in:
            return {"email": will.email, "status": SUBSCRIBED, "since": will.at}
        return {"email": will.email, "status": UNSUBSCRIBED, "at": date_text(will.at)}

    return Taker("mindbaz", TakeStatuses(hook), row)
