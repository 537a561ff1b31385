"""How ExpertSender CDP takes customers: look where that tells something, then one POST a batch or one DELETE a row.

Knows what a call means and what the vendor leaves unsaid; knows neither batches of a source nor retries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from airflow_provider_crm.bulk.outcomes import Ending, Item, Outcome, RowKey, Step, rejected
from airflow_provider_crm.exceptions import (
    CrmInputError,
    CrmRequestError,
    CrmTooLargeError,
    redact,
)
from airflow_provider_crm.hooks.expertsender import ExpertSenderHook
from airflow_provider_crm.rows.mapping import FieldMapping
from airflow_provider_crm.schemas.expertsender.cells import identifier
from airflow_provider_crm.schemas.expertsender.write import (
    KEY_FIELDS,
    By,
    CustomerField,
    MatchBy,
    Mode,
    asks_for_confirmation,
    customer_of,
    unconfirmed,
)
from airflow_provider_crm.values import is_empty

MODES = ("AddOrUpdate", "Add", "Update")


#: How one customer is read, by the way of matching; the vendor has no call for the other ways.
READ_BY: Mapping[str, By] = {"Email": "email", "PhoneNumber": "phone", "CrmId": "crmId"}


ABSENT = "not in ExpertSender"


#: A refusal of the call itself, such as "matchBy: must match the default matching mode".
_OF_THE_CALL = re.compile(r"\W*(?:the )?(?:value (?:of|for) )?\W*(?:match ?by|mode)\b", re.IGNORECASE)


#: A refusal for the number of customers, in words that no row's own refusal has: it would name the row or a field.
_SIZE = re.compile(r"too (?:many|large|big|long)|at most|maximum|limit|exceed", re.IGNORECASE)


_MANY = re.compile(
    r"\b(?:customers|items|elements|entries|records|rows|objects|collection|array|batch|request|body|payload)\b",
    re.IGNORECASE,
)


_OF_A_ROW = re.compile(r"\[\d+\]")


@dataclass(slots=True)
class CustomerRecord:
    """A row in ExpertSender's terms.

    :param customer: the vendor's fields, the match key among them.
    :param was_absent: the first look-up did not find the customer.
    """

    customer: dict[str, Any]
    was_absent: bool = False

    @property
    def asks(self) -> bool:
        """Whether it makes the CRM write to the person."""
        return asks_for_confirmation(self.customer)

    @property
    def forces(self) -> bool:
        """Whether the person is to be written to even if that was done before."""
        return bool((self.customer.get("consentsData") or {}).get("force"))


class UpsertCustomers:
    """Writes customers, one POST a batch.

    ``Add`` and ``Update`` look first, since nobody says what becomes of an ``Add`` of somebody who exists. So do
    rows that ask for a confirmation: it is an e-mail to a person, who may have confirmed already. Where there is no
    way to look (GUID, VisitorId) the vendor's word counts.

    :param mapping: which column goes into which field.
    :param key_column: the column that holds the match key.
    :param mode: ``Add`` leaves those who exist alone, ``Update`` those who do not.
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
    ) -> None:
        if type(batch_size) is not int or batch_size < 1:
            raise CrmInputError("`batch_size` is at least 1, a whole number")
        self._hook = hook
        self._mapping = mapping
        self._key_column = key_column
        self._key_field = KEY_FIELDS[match_by]
        self._match_by = cast(MatchBy, match_by)
        self._mode = cast(Mode, mode)
        self._read_by = READ_BY.get(match_by)
        self._plan_one = self._plan_either
        self._then = Outcome(Ending.UPDATED)
        self.batch_size = batch_size
        if mode == "Add":
            self._then = Outcome(Ending.CREATED)
            if self._read_by is None:
                # Nothing could tell afterwards which customers of a refused call were added.
                self.batch_size = 1
            else:
                self._plan_one = self._plan_add
        elif mode == "Update" and self._read_by is not None:
            self._plan_one = self._plan_update

    def key(self, data: Mapping[str, Any]) -> RowKey:
        return RowKey(key_text(self._key_field, data.get(self._key_column)))

    def record(self, data: Mapping[str, Any]) -> CustomerRecord:
        return CustomerRecord(customer_of(self._mapping.fields(data)))

    def plan(self, items: Sequence[Item[CustomerRecord]]) -> list[Outcome | Step[CustomerRecord]]:
        held = self._look_up([item.key for item in items if self._has_to_be_seen(item)])
        return [self._plan_one(item, held.get(item.key)) for item in items]

    def _has_to_be_seen(self, item: Item[CustomerRecord]) -> bool:
        if self._read_by is None:
            return False
        if self._mode != "AddOrUpdate":
            return True
        return item.record.asks and not item.refusal and not self._sends_as_is(item)

    def _look_up(self, keys: Sequence[str]) -> dict[str, dict[str, Any] | None]:
        read_by = self._read_by
        if read_by is None:
            return {}
        found = self._hook.side_by_side(lambda key: self._hook.get_customer(key, by=read_by), keys)
        return dict(zip(keys, found, strict=True))

    def _plan_either(
        self, item: Item[CustomerRecord], held: Mapping[str, Any] | None
    ) -> Outcome | Step[CustomerRecord]:
        """Plan what needs no look, or allows none."""
        if not item.refusal:
            return self._step(item, held)
        if item.maybe_applied and self._mode == "Add":
            return rejected(
                "crm", f"{item.refusal} (an earlier call, whose answer was lost, may have added the customer)"
            )
        return rejected("crm", item.refusal)

    def _plan_add(
        self, item: Item[CustomerRecord], held: Mapping[str, Any] | None
    ) -> Outcome | Step[CustomerRecord]:
        if held is not None:
            # Absent at first and here after a call that failed or was not answered: that call has added it.
            if item.record.was_absent and item.maybe_applied:
                return self._then
            return Outcome(Ending.SKIPPED, "already in ExpertSender")
        if item.refusal:
            return rejected("crm", item.refusal)
        item.record.was_absent = True
        return self._step(item, held)

    def _plan_update(
        self, item: Item[CustomerRecord], held: Mapping[str, Any] | None
    ) -> Outcome | Step[CustomerRecord]:
        if held is None:
            return Outcome(Ending.SKIPPED, ABSENT)
        if item.refusal:
            return rejected("crm", item.refusal)
        return self._step(item, held)

    def _step(
        self, item: Item[CustomerRecord], held: Mapping[str, Any] | None
    ) -> Outcome | Step[CustomerRecord]:
        customer: Mapping[str, Any] = item.record.customer
        if item.record.asks and not self._sends_as_is(item):
            customer = unconfirmed(customer, held, again=item.maybe_applied)
            if customer.keys() == {self._key_field} and held is not None:
                return self._then if item.maybe_applied else Outcome(Ending.UNCHANGED)
        return Step(item, self._then, customer)

    @staticmethod
    def _sends_as_is(item: Item[CustomerRecord]) -> bool:
        """Tell whether a message that was sent before is to be sent again: where the user says so, and once."""
        return item.record.forces and not item.maybe_applied

    def apply(self, steps: Sequence[Step[CustomerRecord]]) -> list[Outcome | None]:
        # A forced message goes alone: beside a bad row, nobody could tell afterwards whether it was sent.
        forced = [step for step in steps if self._sends_as_is(step.item)]
        others = [step for step in steps if not self._sends_as_is(step.item)]
        ends = {step.item.row.number: self._apply_alone(step) for step in forced}
        if others:
            self._send(others)
        return [ends.get(step.item.row.number, step.then) for step in steps]

    def _apply_alone(self, step: Step[CustomerRecord]) -> Outcome | None:
        try:
            self._send([step])
        except CrmRequestError as error:
            return step.item.refuse(error.reason)
        return step.then

    def _send(self, steps: Sequence[Step[CustomerRecord]]) -> None:
        try:
            self._hook.upsert_customers(
                [step.payload for step in steps], mode=self._mode_of(steps), match_by=self._match_by
            )
        except CrmRequestError as error:
            raise self._meaning(error, len(steps)) from error

    def _mode_of(self, steps: Sequence[Step[CustomerRecord]]) -> Mode:
        # Customers whom an earlier call may have added would be refused, and GET may not show them yet.
        if all(step.item.record.was_absent and step.item.maybe_applied for step in steps):
            return "AddOrUpdate"
        return self._mode

    def _meaning(self, error: CrmRequestError, rows: int) -> Exception:
        """Tell what a refusal is about: the call's parameters, its size, or rows in it."""
        said = error.errors or (error.reason,)
        if any(_OF_THE_CALL.match(one) for one in said):
            return CrmInputError(
                f"ExpertSender refuses `match_by` {self._match_by!r} or `mode` {self._mode!r}: "
                f"{redact(error.reason)}. `match_by` has to be the account's own "
                f"(Settings > Customers > Default matching mode)"
            )
        if rows > 1 and any(map(_is_about_size, said)):
            return CrmTooLargeError(
                str(error), reason=error.reason, errors=error.errors, call=error.call, status=error.status
            )
        return error


def key_text(field: str, value: Any) -> str:
    try:
        return identifier(field, None if is_empty(value) else value)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None


def _is_about_size(said: str) -> bool:
    return bool(_SIZE.search(said) and _MANY.search(said)) and not _OF_A_ROW.search(said)
