"""How Mindbaz takes a batch of subscribers: look them up, create and update in one call, read the outcome of each.

Knows what a Mindbaz call means and what it leaves unsaid; knows neither batches of a source nor retries.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from itertools import repeat
from typing import Any

from airflow_provider_crm.bulk.outcomes import (
    SETTLE_SECONDS,
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
from airflow_provider_crm.destinations.mindbaz.opt_outs import OptOutStatus, Values
from airflow_provider_crm.destinations.mindbaz.verdicts import send
from airflow_provider_crm.destinations.mindbaz.written import WrittenField, missing_values
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.hooks.mindbaz.lookups import (
    KEY_FIELDS,
    key_text,
    look_again,
    look_up,
)
from airflow_provider_crm.rows.mapping import ABSENT, FieldMapping
from airflow_provider_crm.rows.row import Row
from airflow_provider_crm.schemas.mindbaz.write import (
    CLIENT_ID,
    EMAIL,
    LIST,
    STATUS,
    SUBSCRIBED,
    SYSTEM_FIELDS,
    TEXT,
    FieldType,
    Subscriber,
    wire_subscriber,
    with_date,
)
from airflow_provider_crm.values import (
    UNSEEN,
    are_plain_emails,
    clean_texts,
    is_empty,
    key_of,
    normal_email,
)

_CREATED = Outcome(Ending.CREATED)
# A member of an enumeration is looked up slowly, and this is done for each row.
_SKIPPED = Ending.SKIPPED
_NOBODY, _OTHER, _SAME = Held.NOBODY, Held.OTHER, Held.SAME


class UpsertSubscribers:
    """Writes subscribers: one look-up of the batch, then one POST of what differs, or one PUT when none is new.

    :param mapping: which column goes into which field.
    :param key_column: the column that holds the match key.
    :param mode: one of :data:`~airflow_provider_crm.bulk.upserts.MODES`.
    :param allow_resubscribe: let a row put somebody back to subscribed who is not.
    """

    def __init__(
        self,
        hook: MindbazHook,
        mapping: FieldMapping[FieldType],
        *,
        key_column: str,
        match_by: str,
        mode: str,
        batch_size: int,
        allow_resubscribe: bool,
    ) -> None:
        self.batch_size = batch_size
        self.opt_outs = OptOutStatus(KEY_FIELDS[match_by])
        self._hook = hook
        self._mapping = mapping
        self.key_column = key_column
        self.is_keyed_by_email = match_by == "Email"
        self._match_by = match_by
        self._mode = mode
        self._allow_resubscribe = allow_resubscribe
        self._key_field = KEY_FIELDS[match_by]
        self._written: dict[int, WrittenField] = {}
        #: The columns of the rows read last, and how their fields are written.
        self._fields: tuple[Mapping[str, FieldType], list[WrittenField]] = ({}, [])
        #: So many keys the server has been seen to answer for in whole.
        self._answered_whole = 0
        self.identifiers: Sequence[Identifier[Values]] = matched_identifiers(
            "Email",
            lambda item: (item.record.get(EMAIL),),
            match_by=match_by,
            key_column=key_column,
            normal=lambda value: key_text(value, match_by),
        )

    def key(self, data: Mapping[str, Any]) -> str:
        return key_text(data.get(self.key_column), self._match_by)

    def read(self, data: Mapping[str, Any]) -> tuple[RowKey, Values]:
        key = None
        try:
            key = self.key(data)
            return RowKey(key), self._values(data, key)
        except ValueError as error:
            raise InvalidRowError(str(error), key, self._opt_out_in(data)) from None

    def read_many(self, rows: Sequence[Row]) -> tuple[Sequence[str], Sequence[Values]] | None:
        found = self._mapping.columns(rows)
        if found is None:
            return None
        fields, columns = self._fields_of(found[0]), found[1]
        numbers = [field.id for field in fields]
        if self._key_field not in numbers:
            return None
        place = numbers.index(self._key_field)
        try:
            keys = columns[place] = self._keys(columns[place], fields[place].longest)
            columns = [self._column(field, cells) for field, cells in zip(fields, columns, strict=True)]
        except ValueError:
            return None
        records = map(dict, map(zip, repeat(numbers), zip(*columns, strict=True)))
        if any(ABSENT in column for column in columns):
            records = map(_present, records)
        return keys, list(records)

    def _keys(self, cells: Sequence[Any], longest: int) -> Sequence[str]:
        if self._match_by == "Email" and are_plain_emails(cells, longest):
            return cells
        return [key_text(cell, self._match_by) for cell in cells]

    def _column(self, field: WrittenField, cells: Sequence[Any]) -> Sequence[Any]:
        """Return what the cells of one column become, :data:`ABSENT` where nothing is sent.

        :raises ValueError: one of them cannot be sent.
        """
        if field.is_text or field.id == self._key_field:
            texts = clean_texts(cells, field.longest)
            if texts is not None and None not in texts:
                return texts
            if texts is not None and not self._mapping.send_nulls:
                return [ABSENT if text is None else text for text in texts]
        return [self._value(field, cell) for cell in cells]

    def refusal(self, record: Values) -> Values | None:
        said = self.opt_outs.find(record)
        return self.opt_outs.alone(record[self._key_field], said) if said else None

    def _values(self, data: Mapping[str, Any], key: str) -> Values:
        columns, cells = self._mapping.values(data)
        values: Values = {}
        for field, cell in zip(self._fields_of(columns), cells, strict=True):
            value = self._value(field, key if field.id == self._key_field else cell)
            if value is not ABSENT:
                values[field.id] = value
        return values

    def _value(self, field: WrittenField, cell: Any) -> Any:
        """Return what a cell becomes, :data:`ABSENT` where nothing is sent.

        :raises ValueError: it cannot be sent; names the field.
        """
        if (
            field.is_text
            and cell.__class__ is str
            and cell.isprintable()  # so that it has no halves of characters
            and 0 < len(text := cell.strip()) <= field.longest
            and text[0] not in UNSEEN
        ):
            return text
        try:
            if not is_empty(cell):
                return field.write(cell)
            return _emptied(field.id) if self._mapping.send_nulls and cell is not ABSENT else ABSENT
        except ValueError as error:
            raise ValueError(f"{field.name}: {error}") from None

    def _fields_of(self, columns: Mapping[str, FieldType]) -> list[WrittenField]:
        known, fields = self._fields
        if known is not columns:
            fields = [self._written_field(field) for field in columns.values()]
            self._fields = columns, fields
        return fields

    def _written_field(self, field: FieldType) -> WrittenField:
        written = self._written.get(field.id)
        if written is None:
            is_text = field.type == TEXT and field.id != STATUS and field.id not in _NORMALISERS
            longest = (field.length or sys.maxsize) if field.type == TEXT else 0
            written = WrittenField(field.id, field.name, is_text, longest, _writer(field))
            self._written[field.id] = written
        return written

    def _opt_out_in(self, data: Mapping[str, Any]) -> list[tuple[int, Any]]:
        """Find what a row opts out of, whatever else of it cannot be read."""
        values: Values = {}
        for field, value in self._mapping.readable(data):
            with suppress(ValueError):
                values[field.id] = None if value is None else self._written_field(field).write(value)
        return self.opt_outs.find(values)

    def plan(self, items: Sequence[Item[Values]]) -> list[Outcome | Step[Values]]:
        compared = self._compared(items)
        found = self._find([item.key for item in items], self._match_by, compared)
        taken = self._taken([item for item in items if item.key not in found])
        present = [item for item in items if item.key in found]
        missing = iter(
            self._missing(
                [item.record for item in present],
                [found[item.key][0]["fields"] for item in present],
                compared,
            )
        )
        return [
            self._plan_present(item, there, next(missing))
            if (there := found.get(item.key))
            else self._plan_absent(item, taken.get(item.record.get(EMAIL, "")))
            for item in items
        ]

    def _missing(
        self, rows: Sequence[Values], held: Sequence[Mapping[int, Any]], compared: Collection[int]
    ) -> list[Values]:
        fields = list(self._written.values())  # another thread may be reading rows
        return missing_values(
            rows, held, [field for field in fields if field.id in compared and field.id != self._key_field]
        )

    def _find(
        self, keys: Sequence[str], match_by: str, field_ids: Collection[int]
    ) -> dict[str, list[Subscriber]]:
        how: dict[str, Any] = {"match_by": match_by, "field_ids": sorted(field_ids)}
        found = look_up(self._hook, keys, **how)
        if self._mode == "upsert" and len(keys) <= self._answered_whole:
            return found
        more = look_again(self._hook, keys, found, **how)
        if not more:
            self._answered_whole = max(self._answered_whole, len(keys))
        return found | more

    def _compared(self, items: Sequence[Item[Values]]) -> set[int]:
        """Name the fields to ask for: what is not compared is not needed."""
        compared = [item for item in items if item.maybe_applied] if self._mode == "create" else items
        return set().union(*(item.record for item in compared))

    def _taken(self, absent: Sequence[Item[Values]]) -> dict[str, list[Subscriber]]:
        """Find who already has the e-mails of those that were not found by another key."""
        if self._match_by == "Email" or self._mode == "update":
            return {}
        emails = dict.fromkeys(email for item in absent if (email := item.record.get(EMAIL)))
        return self._find(list(emails), "Email", ()) if emails else {}

    def _plan_absent(
        self, item: Item[Values], email_owners: Sequence[Subscriber] | None
    ) -> Outcome | Step[Values]:
        if not decide(self._mode, item, _NOBODY).writes:
            return Outcome(Ending.SKIPPED, "not in Mindbaz")
        if not item.record.get(EMAIL):
            return rejected("validate", "a subscriber cannot be created without an e-mail")
        if email_owners:
            owner = email_owners[0]["id"]
            return rejected("crm", f"its e-mail belongs to a subscriber with another {self._match_by}", owner)
        fields = with_date(_for_creation(item.record), item.record)
        return Step(item, _CREATED, wire_subscriber(None, fields), SETTLE_SECONDS)

    def changes(self, steps: Sequence[Step[Values]]) -> list[Changes]:
        return [
            {
                self._name(field.idField): {
                    "from": (step.held or {}).get(field.idField),
                    "to": field.value,
                }
                for field in step.payload.fields
            }
            for step in steps
        ]

    def _name(self, number: int) -> str:
        field = self._written.get(number)
        return field.name if field else str(number)

    def _plan_present(
        self, item: Item[Values], found: Sequence[Subscriber], missing: Values
    ) -> Outcome | Step[Values]:
        """Return what becomes of a row whose subscriber is there.

        :param missing: what of the row the CRM does not hold yet. The rest is not sent: so an opt-out between look-up
            and call is not undone, and nobody else's change.
        """
        number = found[0]["id"]
        held = found[0]["fields"]
        decision = decide(self._mode, item, _OTHER if missing else _SAME)
        if decision.ending is _SKIPPED:
            return Outcome(Ending.SKIPPED, "already in Mindbaz", number)
        if len(found) > 1:
            return rejected("crm", f"{len(found)} subscribers share this {self._match_by}")
        outcome = Outcome(decision.ending, crm_id=number)
        if not decision.writes:
            return outcome
        if missing.get(STATUS) == SUBSCRIBED and held.get(STATUS) is not None and not self._allow_resubscribe:
            reason = f"the subscriber's status is {held[STATUS]}, not subscribed: see `allow_resubscribe`"
            return rejected("crm", reason, number)
        return Step(item, outcome, wire_subscriber(number, with_date(missing, item.record)), held=held)

    def apply(self, steps: Sequence[Step[Values]]) -> list[Verdict]:
        return send(self._hook, steps)


def _writer(field: FieldType) -> Callable[[Any], Any]:
    """Return what turns values into those of a field."""
    if field.id == STATUS and field.type != LIST:
        field = SYSTEM_FIELDS[STATUS]  # a number whatever the site says: opt-outs are told by it
    convert = field.converter()
    normalise = _NORMALISERS.get(field.id)
    return (lambda value: convert(normalise(value))) if normalise else convert


def _emptied(number: int) -> Any:
    """Return what empties a field.

    :raises ValueError: nothing does.
    """
    if number in (EMAIL, STATUS):
        raise ValueError("this field cannot be emptied")
    return None


_NORMALISERS: Mapping[int, Callable[[Any], Any]] = {EMAIL: normal_email, CLIENT_ID: key_of}


def _present(values: Values) -> Values:
    return {number: value for number, value in values.items() if value is not ABSENT}


def _for_creation(fields: Values) -> Values:
    """Leave out what a new subscriber has anyway.

    Without status 0, a POST that meets somebody who came in between cannot put them back to subscribed.
    """
    if STATUS not in fields and None not in fields.values():
        return fields
    return {
        number: value
        for number, value in fields.items()
        if value is not None and not (number == STATUS and value == SUBSCRIBED)
    }
