"""How SPREAD takes a customer: look it up, create or update it, and find out what an unanswered call has done.

Knows what a SPREAD call means and what it leaves unsaid; knows neither batches of a source nor retries. The CRM has no
call for several rows, so that a batch is one row and the engine runs batches side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_crm.bulk.outcomes import (
    SETTLE_SECONDS,
    Changes,
    Ending,
    InvalidRowError,
    Item,
    Outcome,
    R,
    RowKey,
    Step,
    Verdict,
    rejected,
)
from airflow_provider_crm.bulk.preview import changed
from airflow_provider_crm.bulk.suppression import Identifier, matched_identifiers
from airflow_provider_crm.bulk.upserts import Held, decide
from airflow_provider_crm.destinations.spread.known import PAGE_SIZE, KnownCustomers
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.rows.mapping import FieldMapping
from airflow_provider_crm.schemas.spread.read import Record
from airflow_provider_crm.schemas.spread.write import (
    CUSTOM_FIELD,
    customer_values,
    differing,
    overlaid,
)
from airflow_provider_crm.values import key_of, normal_email

MATCH_BY = ("email", "externalId")


# What the destinations share


def send_each(hook: SpreadHook, steps: Sequence[Step[R]]) -> list[Verdict]:
    """Carry out steps whose payloads are changes of customers, each with a method ``send``."""
    return [Outcome(step.outcome.ending, crm_id=step.payload.send(hook).get("id")) for step in steps]


# Creates and updates


@dataclass(frozen=True, slots=True)
class NewCustomer:
    """The creation of a customer."""

    fields: Record

    def send(self, hook: SpreadHook) -> Record:
        return hook.create_customer(self.fields)


@dataclass(frozen=True, slots=True)
class NewEmail:
    """A change of e-mail, for which there is a call of its own; what an update makes of another one is not said."""

    old: str
    new: str

    def send(self, hook: SpreadHook) -> Record:
        return hook.update_customer_email(self.old, self.new)


@dataclass(frozen=True, slots=True)
class ChangedCustomer:
    """An update, after the change of e-mail where the row has another one."""

    customer_id: str
    fields: Record
    first: NewEmail | None = None

    def send(self, hook: SpreadHook) -> Record:
        if self.first is not None:
            self.first.send(hook)
        return hook.update_customer(self.customer_id, self.fields)


class UpsertCustomers:
    """Writes customers: a look-up, then a POST for one who is absent and a PUT for one who is there.

    Whether a PUT clears what it does not mention is not documented. So it carries all that the CRM holds, with the
    row's values on top, and only where that is refused the row's own values alone.

    :param mapping: which column goes into which field.
    :param key_column: the column that holds the match key.
    :param match_by: ``email`` or ``externalId``.
    :param mode: one of :data:`~airflow_provider_crm.bulk.upserts.MODES`.
    """

    batch_size = 1
    opt_outs: None = None

    def __init__(
        self,
        hook: SpreadHook,
        mapping: FieldMapping[str],
        *,
        key_column: str,
        match_by: str,
        mode: str,
    ) -> None:
        self._hook = hook
        self._mapping = mapping
        self.key_column = key_column
        self.is_keyed_by_email = match_by == "email"
        self._match_by = match_by
        self._mode = mode
        self.identifiers: Sequence[Identifier[Record]] = matched_identifiers(
            "email",
            lambda item: (item.record.get("email"),),
            match_by=match_by,
            key_column=key_column,
            normal=self._key,
        )
        self._known = KnownCustomers(
            hook.customer_pages(page_size=PAGE_SIZE, show_custom_fields=True), now=hook.clock.now
        )

    def read(self, data: Mapping[str, Any]) -> tuple[RowKey, Record]:
        key = self.key(data)
        try:
            return RowKey(key), customer_values(
                self._mapping.fields(data), send_blanks=self._mapping.send_nulls
            )
        except ValueError as error:
            raise InvalidRowError(str(error), key) from None

    def refusal(self, record: Record) -> None:
        return None

    def key(self, data: Mapping[str, Any]) -> str:
        return self._key(data.get(self.key_column))

    def _key(self, value: Any) -> str:
        if self._match_by == "email":
            return normal_email(value)
        key = key_of(value)
        if not key:
            raise ValueError("the external id is empty")
        return key

    def plan(self, items: Sequence[Item[Record]]) -> list[Outcome | Step[Record]]:
        return [self._plan_one(item) for item in items]

    def apply(self, steps: Sequence[Step[Record]]) -> list[Verdict]:
        return send_each(self._hook, steps)

    def changes(self, steps: Sequence[Step[Record]]) -> list[Changes]:
        return [changed(_new(step), _flat(step.held or {})) for step in steps]

    def _plan_one(self, item: Item[Record]) -> Outcome | Step[Record]:
        if self._match_by != "email":
            return self._plan_for(item, self._hook.find_customer(external_id=item.key))
        if number := self._known_to_hold(item):
            return Outcome(Ending.UNCHANGED, crm_id=number)
        plan = self._plan_for(item, self._hook.find_customer(email=item.key))
        if isinstance(plan, Step):
            self._known.distrust(item.key)
        self._known.looked_up(in_vain=isinstance(plan, Outcome) and plan.ending is Ending.UNCHANGED)
        return plan

    def _known_to_hold(self, item: Item[Record]) -> str | None:
        if self._mode == "create" or item.maybe_applied or item.refused:
            return None
        return self._known.holds(item.key, item.record)

    def _plan_for(self, item: Item[Record], held: Record | None) -> Outcome | Step[Record]:
        return self._plan_absent(item) if held is None else self._plan_present(item, held)

    def _plan_absent(self, item: Item[Record]) -> Outcome | Step[Record]:
        if not decide(self._mode, item, Held.NOBODY).writes:
            return Outcome(Ending.SKIPPED, "not in SPREAD")
        email = item.record.get("email")
        if not email:
            return rejected("validate", "a customer cannot be created without an e-mail")
        if taken := self._taken(email):
            return taken
        fields = {name: value for name, value in item.record.items() if value is not None}
        return Step(item, Outcome(Ending.CREATED), NewCustomer(fields), SETTLE_SECONDS)

    def _plan_present(self, item: Item[Record], held: Record) -> Outcome | Step[Record]:
        number = held["id"]
        changes = differing(held, item.record)
        decision = decide(self._mode, item, Held.OTHER if changes else Held.SAME)
        if decision.ending is Ending.SKIPPED:
            return Outcome(Ending.SKIPPED, "already in SPREAD", number)
        done = Outcome(decision.ending, crm_id=number)
        if not decision.writes:
            return done
        if "email" not in changes:
            return self._update(item, held, done, email=held.get("email"))
        email = item.record["email"]
        if taken := self._taken(email, other_than=number):
            return taken
        rename = NewEmail(held["email"], email) if held.get("email") else None
        if rename is not None and changes == ["email"]:
            return Step(item, done, rename, SETTLE_SECONDS, held)
        return self._update(item, held, done, email=email, first=rename)

    def _update(
        self,
        item: Item[Record],
        held: Record,
        done: Outcome,
        *,
        email: str | None,
        first: NewEmail | None = None,
    ) -> Outcome | Step[Record]:
        if not email:
            return rejected("validate", "a customer cannot be updated without an e-mail", held["id"])
        fields = item.record
        if not (item.refused and isinstance(item.refused.payload, ChangedCustomer)):
            fields = overlaid(held, fields, self._hook.writable_fields)
        change = ChangedCustomer(held["id"], {**fields, "email": email}, first)
        return Step(item, done, change, SETTLE_SECONDS if first else 0.0, held)

    def _taken(self, email: str, other_than: str | None = None) -> Outcome | None:
        """Reject a row whose e-mail is somebody else's; what the CRM does with it is not documented."""
        if self._match_by == "email":
            return None
        owner = self._hook.find_customer(email=email)
        if owner is None or owner["id"] == other_than:
            return None
        said = "the e-mail belongs to another customer, who does not have this external id"
        return rejected("crm", said, owner["id"])


def _new(step: Step[Record]) -> Record:
    """Return the values of a row that its customer does not have."""
    if step.held is None:
        return _flat(step.payload.fields)
    return {
        name: value
        for name, value in _flat(step.item.record).items()
        if differing(step.held, _nested(name, value))
    }


def _flat(values: Mapping[str, Any]) -> Record:
    """Return a customer with a name for each custom field, as columns have them."""
    rest = {name: value for name, value in values.items() if name != "custom_fields"}
    custom = values.get("custom_fields") or {}
    return rest | {CUSTOM_FIELD + number: value for number, value in custom.items()}


def _nested(name: str, value: Any) -> Record:
    if name.startswith(CUSTOM_FIELD):
        return {"custom_fields": {name.removeprefix(CUSTOM_FIELD): value}}
    return {name: value}
