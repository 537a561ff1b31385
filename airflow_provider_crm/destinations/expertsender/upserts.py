"""How ExpertSender CDP takes customers: look where that tells something, then one POST a batch.

Knows what a call means and what the vendor leaves unsaid; knows neither batches of a source nor retries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

from airflow_provider_crm.bulk.outcomes import (
    Changes,
    Ending,
    InvalidRowError,
    Item,
    Outcome,
    RowKey,
    Step,
    Verdict,
    rejected,
)
from airflow_provider_crm.bulk.suppression import Identifier, matched_identifiers
from airflow_provider_crm.bulk.upserts import Held, decide
from airflow_provider_crm.exceptions import CrmInputError, CrmRequestError, redact
from airflow_provider_crm.hooks.expertsender import ExpertSenderHook
from airflow_provider_crm.rows.mapping import FieldMapping
from airflow_provider_crm.rows.row import Row
from airflow_provider_crm.schemas.expertsender.cells import identifier
from airflow_provider_crm.schemas.expertsender.consents import (
    asks_for_confirmation,
    differences,
    holds,
    opts_in,
    refuse,
    refused_ids,
    undone_refusals,
    without_standing,
)
from airflow_provider_crm.schemas.expertsender.write import (
    KEY_FIELDS,
    By,
    CustomerField,
    MatchBy,
    Mode,
    customer_of,
    customers_of,
    refusals_in,
)
from airflow_provider_crm.values import is_empty

#: The vendor's modes, and what they are called in :mod:`airflow_provider_crm.bulk.upserts`.
MODES: Mapping[str, str] = {"AddOrUpdate": "upsert", "Add": "create", "Update": "update"}

#: How one customer is read, by the way of matching; the vendor has no call for the other ways.
READ_BY: Mapping[str, By] = {"Email": "email", "PhoneNumber": "phone", "CrmId": "crmId"}

ABSENT = "not in ExpertSender"

_CREATED, _UPDATED = Outcome(Ending.CREATED), Outcome(Ending.UPDATED)

#: A refusal that begins with this parameter of the call is about no row: the vendor's page wants it to be the
#: account's own. To look for the row at fault would take two calls a row, and reject them all.
_OF_THE_CALL = re.compile(r"\W*matchBy\b", re.IGNORECASE)

Customer = dict[str, Any]
"""A row in ExpertSender's terms: the vendor's fields, the match key among them."""
CustomerItem = Item[Customer]


class UpsertCustomers:
    """Writes customers, one POST a batch.

    ``Add`` and ``Update`` look first, since nobody says what becomes of an ``Add`` of somebody who exists. So do
    rows that subscribe somebody or ask for it, who may have opted out. Where there is no way to look (GUID,
    VisitorId) the vendor's word counts, and nobody is subscribed.

    :param mapping: which column goes into which field.
    :param key_column: the column that holds the match key.
    :param mode: one of :data:`MODES`.
    :param allow_resubscribe: let a row subscribe, or ask, somebody who has opted out.
    :param settle_seconds: how long it may take until a customer shows that a message was asked for.
    """

    def __init__(
        self,
        hook: ExpertSenderHook,
        mapping: FieldMapping[CustomerField],
        *,
        key_column: str,
        match_by: str,
        mode: str,
        batch_size: int,
        allow_resubscribe: bool,
        settle_seconds: float,
    ) -> None:
        self._hook = hook
        self._mapping = mapping
        self.key_column = key_column
        self.is_keyed_by_email = match_by == "Email"
        self._key_field = KEY_FIELDS[match_by]
        self._match_by = cast(MatchBy, match_by)
        self._mode = cast(Mode, mode)
        self._read_by = READ_BY.get(match_by)
        self._allow_resubscribe = allow_resubscribe
        self._settle_seconds = settle_seconds
        self.opt_outs = RefusedConsents(self._key_field)
        self.identifiers: Sequence[Identifier[Customer]] = matched_identifiers(
            "Email",
            lambda item: (item.record.get("email"),),
            match_by=match_by,
            key_column=key_column,
            normal=partial(key_text, self._key_field),
        )
        # Where nobody can be looked up, nothing could tell afterwards which customers of a refused call were added.
        self.batch_size = 1 if mode == "Add" and self._read_by is None else batch_size

    def key(self, data: Mapping[str, Any]) -> str:
        return key_text(self._key_field, data.get(self.key_column))

    def read(self, data: Mapping[str, Any]) -> tuple[RowKey, Customer]:
        key = None
        try:
            key = self.key(data)
            customer = customer_of(self._mapping.fields(data), send_blanks=self._mapping.send_nulls)
            if self._read_by is None and not self._allow_resubscribe and opts_in(customer):
                raise ValueError(
                    f"whether somebody has opted out cannot be looked up by {self._match_by}: "
                    f"see `allow_resubscribe`"
                )
        except ValueError as error:
            raise InvalidRowError(str(error), key, refusals_in(self._mapping.readable(data))) from None
        # Of somebody who was asked before, no look tells whether they were asked again.
        return RowKey(key, noted=_forces(customer) and asks_for_confirmation(customer)), customer

    def read_many(self, rows: Sequence[Row]) -> tuple[Sequence[str], Sequence[Customer]] | None:
        found = None if self._mapping.send_nulls else self._mapping.columns(rows)
        if found is None:
            return None
        try:
            customers = customers_of(list(found[0].values()), found[1])
        except ValueError:
            return None
        keys: list[Any] = [customer.get(self._key_field) for customer in customers or ()]
        return (keys, customers) if customers and all(keys) else None

    def refusal(self, record: Customer) -> Customer | None:
        said = self.opt_outs.find(record)
        return self.opt_outs.alone(record[self._key_field], said) if said else None

    def plan(self, items: Sequence[CustomerItem]) -> list[Outcome | Step[Customer]]:
        seen = [item for item in items if self._has_to_be_seen(item)]
        held = dict(zip((item.key for item in seen), self._look_up(seen), strict=True))
        return [
            self._plan_seen(item, held[item.key]) if item.key in held else self._plan_unseen(item)
            for item in items
        ]

    def changes(self, steps: Sequence[Step[Customer]]) -> list[Changes | None]:
        if self._read_by is None:
            return [None] * len(steps)
        unseen = [step.item for step in steps if step.held is None]
        held = dict(zip((item.key for item in unseen), self._look_up(unseen), strict=True))
        return [
            {
                field: {"from": there, "to": wanted}
                for field, (there, wanted) in differences(
                    step.held or held.get(step.item.key), step.payload
                ).items()
            }
            for step in steps
        ]

    def _has_to_be_seen(self, item: CustomerItem) -> bool:
        if self._read_by is None:
            return False
        if self._mode != "AddOrUpdate" or not item.may_create or item.checked:
            return True
        if self._allow_resubscribe:
            return asks_for_confirmation(item.record) and not _sends_as_is(item)
        return opts_in(item.record)

    def _look_up(self, items: Sequence[CustomerItem]) -> Sequence[Mapping[str, Any] | None]:
        read_by = self._read_by
        if read_by is None:
            return ()
        return self._hook.side_by_side(
            lambda key: self._hook.get_customer(key, by=read_by), [item.key for item in items]
        )

    def _plan_unseen(self, item: CustomerItem) -> Outcome | Step[Customer]:
        if not item.may_create:
            return Outcome(
                Ending.SKIPPED, f"whether they are in ExpertSender cannot be looked up by {self._match_by}"
            )
        if item.refused and item.maybe_applied and self._mode == "Add":
            said = "an earlier call, whose answer was lost, may have added the customer"
            return rejected("crm", f"{item.refused.reason} ({said})")
        outcome = _CREATED if self._mode == "Add" else _UPDATED
        return self._step(item, outcome, self._to_send(item, None))

    def _plan_seen(self, item: CustomerItem, held: Mapping[str, Any] | None) -> Outcome | Step[Customer]:
        customer = self._to_send(item, held)
        ending, writes = decide(MODES[self._mode], item, self._found(item, held, customer))
        if ending is Ending.SKIPPED:
            return Outcome(ending, ABSENT if held is None else "already in ExpertSender")
        if self._mode == "AddOrUpdate" and ending is Ending.CREATED:
            ending = Ending.UPDATED  # mostly nobody looks, and then nobody knows
        if not writes:
            return Outcome(ending)
        undone = [] if self._allow_resubscribe else undone_refusals(customer, held)
        if undone:
            listed = ", ".join(map(str, undone))
            return rejected("crm", f"the customer has refused consent {listed}: see `allow_resubscribe`")
        return self._step(item, Outcome(ending), customer, held)

    def _step(
        self,
        item: CustomerItem,
        outcome: Outcome,
        customer: Mapping[str, Any],
        held: Mapping[str, Any] | None = None,
    ) -> Step[Customer]:
        # Sent twice, a customer is the same; a message is not.
        settle = self._settle_seconds if asks_for_confirmation(customer) else 0.0
        return Step(item, outcome, customer, settle, held)

    def _found(self, item: CustomerItem, held: Mapping[str, Any] | None, customer: Mapping[str, Any]) -> Held:
        if held is None:
            return Held.NOBODY
        if self._mode == "Add" or item.checked:
            return Held.SAME if holds(held, item.record) else Held.OTHER
        return (
            Held.SAME
            if customer.keys() == {self._key_field} and "consentsData" in item.record
            else Held.OTHER
        )

    @staticmethod
    def _to_send(item: CustomerItem, held: Mapping[str, Any] | None) -> Mapping[str, Any]:
        if not opts_in(item.record) or _sends_as_is(item):
            return item.record
        return without_standing(item.record, held, again=item.maybe_applied)

    def apply(self, steps: Sequence[Step[Customer]]) -> list[Verdict]:
        try:
            self._hook.upsert_customers(
                [step.payload for step in steps], mode=self._mode_of(steps), match_by=self._match_by
            )
        except CrmRequestError as error:
            if any(map(_OF_THE_CALL.match, error.errors or (error.reason,))):
                raise CrmInputError(
                    f"ExpertSender refuses `match_by` {self._match_by!r}: {redact(error.reason)}. It has to be the "
                    f"account's own (Settings > Customers > Default matching mode)"
                ) from error
            raise
        return [step.outcome for step in steps]

    def _mode_of(self, steps: Sequence[Step[Customer]]) -> Mode:
        # Customers whom an earlier call may have added would be refused, and GET may not show them yet: what was just
        # created is often not to be found for seconds (github.com/HubSpot/hubspot-api-php issue 59).
        if all(step.item.was_absent and step.item.maybe_applied for step in steps):
            return "AddOrUpdate"
        return self._mode


class RefusedConsents:
    """The consents that a row refuses.

    :param key_field: the field by which customers are found.
    """

    def __init__(self, key_field: str) -> None:
        self._key_field = key_field

    def find(self, record: Customer) -> list[int]:
        return refused_ids(record) if "consentsData" in record else []

    def keep(self, record: Customer, said: list[int]) -> None:
        refuse(record, said)

    def alone(self, key: str, said: list[int]) -> Customer:
        record: Customer = {self._key_field: key}
        refuse(record, said)
        return record


def _sends_as_is(item: CustomerItem) -> bool:
    """Return True if a message that was sent before is to be sent again: where the row says so, and once."""
    return _forces(item.record) and not item.maybe_applied


def _forces(customer: Customer) -> bool:
    return bool((customer.get("consentsData") or {}).get("force"))


def key_text(field: str, value: Any) -> str:
    try:
        return identifier(field, None if is_empty(value) else value)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None
