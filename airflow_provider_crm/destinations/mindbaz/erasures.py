"""How far Mindbaz lets a person be erased: its pages document no deletion, so the rest is left to somebody's hand."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import Any

from airflow_provider_crm.bulk.erasure import BY_HAND, Found, Person
from airflow_provider_crm.destinations.mindbaz.opt_outs import has_opted_out
from airflow_provider_crm.exceptions import CrmInputError, CrmRequestError
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.hooks.mindbaz.fields import read_fields
from airflow_provider_crm.hooks.mindbaz.lookups import look_up_surely
from airflow_provider_crm.schemas.mindbaz.write import (
    EMAIL,
    ID,
    STATUS,
    UNSUBSCRIBED,
    UNSUBSCRIBED_AT,
    ZONE,
    Subscriber,
    date_text,
)
from airflow_provider_crm.values import compared_email, is_empty

#: By these the person is known, or known to have opted out.
_KEPT = frozenset({ID, EMAIL, STATUS, UNSUBSCRIBED_AT})


class EraseSubscriber:
    """Unsubscribes a person, with the date, and empties fields.

    .. seealso:: The vendor's page "Gestion des abonnés" at learn.mindbaz.com.

    :param client_id_field: the key of a person that is the client id.
    :param blank_fields: names or numbers of the fields to empty.
    """

    name = "mindbaz"
    result = BY_HAND

    def __init__(self, hook: MindbazHook, *, client_id_field: str, blank_fields: Collection[str]) -> None:
        self._hook = hook
        self._client_id_field = client_id_field
        self._blank_names = blank_fields
        self._blank_fields: list[int] = []

    def prepare(self) -> None:
        fields = read_fields(self._hook, names_needed=not all(name.isdecimal() for name in self._blank_names))
        for name in self._blank_names:
            field = fields.find(name)
            if field is None or field.id in _KEPT:
                raise CrmInputError(f"`blank_fields`: {name!r} is no field of the site that can be emptied")
            self._blank_fields.append(field.id)

    def find(self, person: Person) -> Found | None:
        found = self._by("Email", person.email, person.email)
        if number := person.keys.get(self._client_id_field):
            found |= self._by("IdClient", number, person.email)
        if not found:
            return None
        left = {number: wanted for number, one in found.items() if (wanted := self._wanted(one))}
        details: dict[str, Any] = {
            "ids": sorted(found),
            "unsubscribed": not any(STATUS in wanted for wanted in left.values()),
        }
        if self._blank_fields:
            details["emptied_fields"] = [
                field for field in self._blank_fields if not any(field in wanted for wanted in left.values())
            ]
        return Found(details, left=bool(left), target=left)

    def _by(self, match_by: str, key: str, email: str) -> dict[int, Subscriber]:
        fields = (EMAIL, STATUS, *self._blank_fields)
        found = look_up_surely(self._hook, [key], match_by=match_by, field_ids=fields).get(key, [])
        if any(compared_email(one["fields"].get(EMAIL)) not in ("", email) for one in found):
            raise CrmRequestError(f"the subscriber of this {match_by} has another e-mail")
        return {one["id"]: one for one in found}

    def _wanted(self, subscriber: Subscriber) -> dict[int, Any]:
        held = subscriber["fields"]
        wanted: dict[int, Any] = {
            field: None for field in self._blank_fields if not is_empty(held.get(field))
        }
        if not has_opted_out(held.get(STATUS)):
            wanted |= {STATUS: UNSUBSCRIBED, UNSUBSCRIBED_AT: date_text(dt.datetime.now(ZONE))}
        return wanted

    def erase(self, person: Person, found: Found | None) -> bool:
        if found is not None and found.target:
            self._hook.update_subscribers(
                [{"id": number, "fields": wanted} for number, wanted in found.target.items()]
            )
        return found is not None
