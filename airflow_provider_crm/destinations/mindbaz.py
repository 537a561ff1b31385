"""How Mindbaz takes a batch of subscribers: look them up, create and update in one call, read the outcome of each.

Knows what a Mindbaz call means and what it leaves unsaid; knows neither batches of a source nor retries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from airflow_provider_crm.bulk.outcomes import Ending, Item, Outcome, Step, rejected
from airflow_provider_crm.exceptions import CrmInputError, CrmNotFoundError, CrmRequestError
from airflow_provider_crm.hooks.mindbaz import By, MindbazHook
from airflow_provider_crm.rows.mapping import FieldMapping
from airflow_provider_crm.schemas.mindbaz import (
    CLIENT_ID,
    EMAIL,
    ID,
    MAX_SUBSCRIBERS,
    STATUS,
    SUBSCRIBED,
    Fields,
    FieldType,
    Subscriber,
    field_type,
    normal_email,
)

#: The field that each way of matching looks at.
KEY_FIELDS: Mapping[str, int] = {"Email": EMAIL, "IdClient": CLIENT_ID}
MODES = ("upsert", "create", "update")


def key_text(value: Any, match_by: str) -> str:
    """Normalise a match key.

    :raises ValueError: it is empty, no address, or something that the look-up cannot express.
    """
    if match_by == "Email":
        return normal_email(value)
    text = str("" if value is None else value).strip()
    if not text:
        raise ValueError("the client id is empty")
    if "," in text:
        raise ValueError("the client id holds a comma, which Mindbaz' look-up cannot express")
    return text


def look_up(
    hook: MindbazHook, keys: Sequence[str], *, match_by: str, field_ids: Sequence[int]
) -> dict[str, list[Subscriber]]:
    """Find subscribers by their keys.

    :return: those found by key; more than one where several share a client id.
    """
    key_field = KEY_FIELDS[match_by]
    found: dict[str, list[Subscriber]] = {}
    seen: set[int] = set()
    for subscriber in hook.get_subscribers(
        keys, by=cast(By, match_by), field_ids=sorted({ID, key_field, *field_ids})
    ):
        key = subscriber["fields"].get(key_field)
        if key is None and len(keys) == 1:
            key = keys[0]
        if key is None or subscriber["id"] in seen or subscriber["id"] < 0:
            continue
        seen.add(subscriber["id"])
        text = str(key).strip()
        found.setdefault(text.lower() if match_by == "Email" else text, []).append(subscriber)
    return found


def read_fields(hook: MindbazHook, *, names_needed: bool) -> Fields:
    """Read the site's fields, by which names are found and values converted.

    :param names_needed: whether the user names fields; ids alone can do without, when the key may not list them.
    """
    try:
        return Fields(field_type(data) for data in hook.list_fields())
    except CrmNotFoundError:
        raise CrmInputError(
            f"Mindbaz has no list of fields for site {hook.site_id}: check base URL and site id of the connection"
        ) from None
    except CrmRequestError:
        if names_needed:
            raise
        return Fields(())


@dataclass(slots=True)
class SubscriberRecord:
    """A row in Mindbaz' terms.

    :param fields: values by field id, the key among them.
    :param was_absent: the first look-up did not find the subscriber.
    """

    fields: dict[int, Any]
    was_absent: bool = False


class UpsertSubscribers:
    """Writes subscribers: one look-up of the batch, then one POST, or one PUT when none is new.

    :param mapping: which column goes into which field.
    :param key_column: the column that holds the match key.
    :param mode: ``create`` leaves those that exist alone, ``update`` those that do not.
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
        if not 1 <= batch_size <= MAX_SUBSCRIBERS:
            raise CrmInputError(f"`batch_size` is between 1 and {MAX_SUBSCRIBERS}")
        self.batch_size = batch_size
        self._hook = hook
        self._mapping = mapping
        self._key_column = key_column
        self._match_by = match_by
        self._mode = mode
        self._allow_resubscribe = allow_resubscribe

    def key(self, data: Mapping[str, Any]) -> str:
        return key_text(data.get(self._key_column), self._match_by)

    def lanes(self, key: str) -> tuple[str, ...]:
        return (key,)

    def record(self, data: Mapping[str, Any]) -> SubscriberRecord:
        fields: dict[int, Any] = {}
        for field, value in self._mapping.fields(data):
            try:
                fields[field.id] = _value(field, value)
            except ValueError as error:
                raise ValueError(f"{field.name}: {error}") from None
        return SubscriberRecord(fields)

    def plan(self, items: Sequence[Item[SubscriberRecord]]) -> list[Outcome | Step[SubscriberRecord]]:
        status = (STATUS,) if any(STATUS in item.record.fields for item in items) else ()
        found = look_up(self._hook, [item.key for item in items], match_by=self._match_by, field_ids=status)
        return [self._plan_one(item, found.get(item.key, ())) for item in items]

    def _plan_one(
        self, item: Item[SubscriberRecord], found: Sequence[Subscriber]
    ) -> Outcome | Step[SubscriberRecord]:
        if not found:
            return self._plan_absent(item)
        if len(found) > 1:
            return rejected("crm", f"{len(found)} subscribers share this {self._match_by}")
        return self._plan_present(item, found[0])

    def _plan_absent(self, item: Item[SubscriberRecord]) -> Outcome | Step[SubscriberRecord]:
        if item.refusal:
            return rejected("crm", item.refusal)
        if self._mode == "update":
            return Outcome(Ending.SKIPPED, "not in Mindbaz")
        if not item.record.fields.get(EMAIL):
            return rejected("validate", "a subscriber cannot be created without an e-mail")
        item.record.was_absent = True
        return Step(item, Outcome(Ending.CREATED), {"fields": item.record.fields})

    def _plan_present(
        self, item: Item[SubscriberRecord], subscriber: Subscriber
    ) -> Outcome | Step[SubscriberRecord]:
        number = subscriber["id"]
        # Absent at first and here after a call that was not answered: that call has created it.
        ours = item.record.was_absent and item.maybe_applied
        if self._mode == "create":
            if ours:
                return Outcome(Ending.CREATED, crm_id=number)
            return Outcome(Ending.SKIPPED, "already in Mindbaz", number)
        fields = dict(item.record.fields)
        del fields[KEY_FIELDS[self._match_by]]
        if STATUS in fields:
            held = subscriber["fields"].get(STATUS)
            if _same_status(fields[STATUS], held):
                # Not sent, so that an opt-out between look-up and call is not undone.
                del fields[STATUS]
            elif _is_resubscription(fields[STATUS], held) and not self._allow_resubscribe:
                return rejected(
                    "crm",
                    f"the subscriber's status is {held}, not subscribed: see `allow_resubscribe`",
                    number,
                )
        if not fields:
            return Outcome(Ending.CREATED if ours else Ending.UNCHANGED, crm_id=number)
        return Step(
            item,
            Outcome(Ending.CREATED if ours else Ending.UPDATED, crm_id=number),
            {"id": number, "fields": fields},
        )

    def apply(self, steps: Sequence[Step[SubscriberRecord]]) -> list[Outcome | None]:
        return send(self._hook, steps)


def send(hook: MindbazHook, steps: Sequence[Step[SubscriberRecord]]) -> list[Outcome | None]:
    """Send subscribers in one call: a POST takes new ones and updates together."""
    payloads = [step.payload for step in steps]
    if all("id" in payload for payload in payloads):
        answers = hook.update_subscribers(payloads)
    else:
        answers = hook.create_subscribers(payloads)
    return _outcomes(steps, answers)


def _outcomes(steps: Sequence[Step[SubscriberRecord]], answers: Sequence[Subscriber]) -> list[Outcome | None]:
    """Tell which answer is whose: by id, else by e-mail, else by place where nothing speaks against it."""
    by_id = {answer["id"]: answer for answer in answers if answer["id"] >= 0}
    by_email = {email: answer for answer in answers if (email := _email_of(answer))}
    in_order = len(answers) == len(steps)
    outcomes: list[Outcome | None] = []
    for place, step in enumerate(steps):
        number = step.payload.get("id")
        email = step.payload["fields"].get(EMAIL)
        answer = by_email.get(email) if number is None else by_id.get(number)
        if answer is None and in_order and not _email_of(answers[place]):
            at_place = answers[place]
            if at_place["id"] < 0 or number is None:
                answer = at_place
        outcomes.append(_outcome(step, answer, echoed=bool(answers)))
    return outcomes


def _outcome(step: Step[SubscriberRecord], answer: Subscriber | None, *, echoed: bool) -> Outcome | None:
    if answer is None:
        # An update is done when the call succeeded, unless the answer shows that it left some out.
        return step.then if "id" in step.payload and not echoed else None
    if answer["id"] < 0:
        return step.item.refuse("Mindbaz takes this e-mail address for invalid (it answered with id -1)")
    return Outcome(step.then.ending, crm_id=answer["id"])


def _email_of(subscriber: Subscriber) -> str:
    return str(subscriber["fields"].get(EMAIL) or "").strip().lower()


def _value(field: FieldType, value: Any) -> Any:
    if value is None:
        return None
    if field.id == EMAIL:
        return normal_email(value)
    return field.convert(value)


def _same_status(wanted: Any, held: Any) -> bool:
    return wanted is not None and held is not None and str(wanted) == str(held)


def _is_resubscription(wanted: Any, held: Any) -> bool:
    return str(wanted) == str(SUBSCRIBED) and held is not None
