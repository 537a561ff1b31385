"""The calls of Mindbaz: subscribers, fields, thematics. Knows the documented rules; the rest is in the switches.

https://learn.mindbaz.com/docs/dbaddsubscriber, https://learn.mindbaz.com/docs/dbfieldsmanagement
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from airflow_provider_crm.sandbox.mindbaz.access import RateLimit, Tokens, denied
from airflow_provider_crm.sandbox.mindbaz.fields import (
    CUSTOM_QUOTA,
    DOMAIN,
    EMAIL,
    FIELDS,
    FIRST_SUBSCRIPTION,
    ID,
    LAST_SUBSCRIPTION,
    STATUS,
    BadValueError,
    FieldTable,
    Value,
)
from airflow_provider_crm.sandbox.mindbaz.subscribers import HASHES, Subscribers
from airflow_provider_crm.sandbox.mindbaz.switches import MindbazSwitches
from airflow_provider_crm.sandbox.people import people
from airflow_provider_crm.sandbox.system import System
from airflow_provider_crm.sandbox.wire import Answer, Call, json_answer

MAX_BATCH = 5000
BASE = "/api/{site}"
TYPE_NAME = "Subscriber[]"

_VALID_EMAIL = re.compile(r"[^@\s,;<>()\"]{1,64}@(?:[^@\s.,;<>()\"]{1,63}\.)+[^@\s.,;<>()\"]{2,63}").fullmatch


class FieldData(msgspec.Struct, rename="camel", gc=False):
    """One field of a subscriber, in and out."""

    id_field: int
    value: Any  # not a union: a lenient decoder would turn the name "Null" into nothing


class SubscriberData(msgspec.Struct, gc=False, omit_defaults=True):
    """One subscriber, in and out. Without an id, or with -1, it is to be created."""

    fields: list[FieldData]
    id: int | None = None


class SubscriberOut(msgspec.Struct, gc=False):
    """One subscriber of an answer."""

    id: int
    fields: list[FieldData] | None


class Envelope(msgspec.Struct, rename="camel"):
    """Every answer of the API."""

    success: bool
    data: Any
    error: str | None
    type_name: str


_read_batch = msgspec.json.Decoder(list[SubscriberData], strict=False).decode


class Mindbaz(System):
    """The stand-in for Mindbaz.

    :ivar subscribers: the subscribers of the one site there is, by id.
    """

    name = "mindbaz"
    switches_type = MindbazSwitches
    switches: MindbazSwitches
    subscribers: Subscribers

    def __init__(self, switches: MindbazSwitches | None = None) -> None:
        super().__init__(switches)
        self.add_route("POST", "", "/oauth2/token", lambda call: self._tokens.issue(call, self.switches))
        self.add_route("GET", BASE, "/Subscribers", self._look_up)
        self.add_route("POST", BASE, "/Subscribers", self._write)
        self.add_route("PUT", BASE, "/Subscribers", self._write)
        self.add_route("GET", BASE, "/fields/list", self._list_fields)
        self.add_route("GET", BASE, "/fields/quota", self._quota)
        self.add_route("GET", BASE, "/thematics", self._thematics)
        self.reset()

    # --- the sandbox's side ---

    def by_email(self, email: str) -> dict[int, Value] | None:
        """Return all fields of the subscriber with this e-mail, field 0 included; None when there is none."""
        subscriber_id = self.subscribers.by_email(email)
        return None if subscriber_id is None else {ID: subscriber_id, **self.subscribers[subscriber_id]}

    def insert(self, fields: dict[int, Value]) -> int:
        """Put a subscriber there without a call, with the documented defaults.

        :param fields: ``{field id: value}`` with an e-mail in field 1.
        :return: the new id.
        :raises ValueError: the e-mail is taken.
        """
        if self.subscribers.by_email(str(fields[EMAIL])) is not None:
            raise ValueError("This e-mail exists already")
        return self.subscribers.insert(self._with_defaults(dict(fields), self._now()))

    def expire_tokens(self, *, refresh_too: bool = False) -> None:
        """Expire all access tokens now."""
        self._tokens.expire(refresh_too=refresh_too)

    def reset(self) -> None:
        """Forget all subscribers and tokens."""
        self.subscribers = Subscribers()
        self._tokens = Tokens()
        self._rate_limit = RateLimit()

    def seed(self, count: int) -> None:
        """Add that many subscribers, always the same ones."""
        for person in people(len(self.subscribers), count):
            subscribed = person.created_at.astimezone(ZoneInfo(self.switches.zone)).isoformat()
            fields: dict[int, Value] = {
                EMAIL: person.email,
                FIRST_SUBSCRIPTION: subscribed,
                LAST_SUBSCRIPTION: subscribed,
                5: "import",
                STATUS: 0 if person.number % 10 else 1,
                13: 0 if person.gender == "male" else 1,
                14: person.last_name,
                15: person.first_name,
                17: person.city,
                18: person.zip,
                43: f"C{person.number:07d}",
                102: person.number % 500,
                104: person.number % 3 + 1,
            }
            if self.subscribers.by_email(person.email) is None:
                self.subscribers.insert(fields)

    def counts(self) -> dict[str, int]:
        """Return how many subscribers there are."""
        return {"subscribers": len(self.subscribers)}

    def records(self, kind: str) -> Iterator[Any]:
        """Return all subscribers as ``{"id": ..., "fields": {field id: value}}``."""
        if kind != "subscribers":
            raise KeyError(kind)
        return ({"id": one, "fields": self.subscribers[one]} for one in self.subscribers)

    def connection(self, url: str) -> tuple[str, dict[str, Any]]:
        """Return an Airflow connection with the API key."""
        extra = {"site_id": str(self.switches.site_id)}
        host, key = f"{url}/mindbaz/api", self.switches.api_key
        return "mindbaz_default", {"conn_type": "mindbaz", "host": host, "password": key, "extra": extra}

    # --- the doors ---

    def admit(self, call: Call) -> dict[str, str]:
        """Check key or token, then the site, then the limit per minute."""
        if call.route == "/oauth2/token":
            return {}
        token = call.headers.get("authorization", "")
        if call.headers.get("x-api-key") != self.switches.api_key and not (
            token[:7].lower() == "bearer " and self._tokens.alive(token[7:].strip())
        ):
            raise denied(401)
        if call.handler is not None and call.arguments["site"] != str(self.switches.site_id):
            raise denied(self.switches.denied_site_status)
        return self._rate_limit.take(self.switches)

    def no_route(self, call: Call, status: int) -> Answer:
        """ASP.NET's words for an address it does not know."""
        if status == 405:
            return json_answer({"message": "The requested resource does not support this http method."}, 405)
        return json_answer({"message": "No HTTP resource was found that matches the request URI."}, 404)

    # --- reading ---

    def _look_up(self, call: Call) -> Answer:
        # The pages write "filter.by"; the vendor's own node sends "by". Names and values are matched without case.
        query = {name.lower().removeprefix("filter."): value for name, value in call.parameters.items()}
        values = [value.strip() for value in query.get("values", "").split(",") if value.strip()]
        by, encoding = query.get("by", "").lower(), query.get("emailencoding", "NONE").upper()
        if not values or by not in ("idsubscriber", "idclient", "email"):
            return self._fail("filter.by and filter.values are mandatory")
        if encoding != "NONE" and encoding not in HASHES:
            return self._fail("filter.emailEncoding is not valid")
        limit = self.switches.lookup_limit
        if limit is not None and len(values) > limit:
            if self.switches.lookup_over_limit == "error":
                return self._fail(f"filter.values takes {limit} values at most")
            values = values[:limit]
        # A dict in place of a set keeps the order of the input.
        ids = list(dict.fromkeys(one for value in values for one in self._find(by, encoding, value)))
        if self.switches.lookup_order != "input":
            ids.sort(reverse=self.switches.lookup_order == "reversed")
        call.rows = len(ids)
        wanted = [int(part) for part in query.get("idfields", "").split(",") if part.strip().isdigit()]
        return self._succeed([self._show(one, wanted) for one in ids] or None)

    def _find(self, by: str, encoding: str, value: str) -> tuple[int, ...]:
        if by == "idclient":
            return self.subscribers.by_client(value)
        if by == "idsubscriber":
            number = int(value) if value.isdigit() else -1
            return (number,) if number in self.subscribers else ()
        by_email = encoding == "NONE"
        found = self.subscribers.by_email(value) if by_email else self.subscribers.by_hash(value, encoding)
        return () if found is None else (found,)

    def _show(self, subscriber_id: int, wanted: list[int]) -> SubscriberOut:
        values = {ID: subscriber_id, **self.subscribers[subscriber_id]}
        if not wanted:
            wanted = [field.id for field in FIELDS]
        if self.switches.unset_fields == "null":
            return SubscriberOut(subscriber_id, [FieldData(key, values.get(key)) for key in wanted])
        return SubscriberOut(subscriber_id, [FieldData(key, values[key]) for key in wanted if key in values])

    # --- writing ---

    def _write(self, call: Call) -> Answer:
        try:
            batch = _read_batch(call.body)
        except msgspec.DecodeError as error:
            return json_answer({"message": f"The request is invalid. {error}"}, 400)
        call.rows = len(batch)
        if len(batch) > MAX_BATCH:
            if self.switches.over_limit == "refuse":
                return self._fail(f"{MAX_BATCH} subscribers at most")
            batch = batch[:MAX_BATCH]
        table, now, abort_at = FieldTable(self.switches), self._now(), call.hints.get("abort_at")
        may_create = call.method == "POST"
        done: list[SubscriberOut] = []
        for index, item in enumerate(batch):
            try:
                # An error stops the batch: what came before stays, what follows is not looked at.
                if index == abort_at:
                    raise BadValueError("An error has occurred.")
                result = self._write_one(item, table, now, may_create=may_create)
            except BadValueError as error:
                return self._fail(str(error), done if self.switches.abort_data == "processed" else None)
            if result is not None:
                done.append(result)
        if self.switches.answer_order == "reversed":
            done.reverse()
        return self._succeed(done)

    def _write_one(
        self, item: SubscriberData, table: FieldTable, now: str, *, may_create: bool
    ) -> SubscriberOut | None:
        values = self._read(item, table)
        # The vendor's own node names the subscriber by field 0 in place of the id.
        subscriber_id = item.id if item.id is not None else values.get(ID)
        values.pop(ID, None)
        values.pop(DOMAIN, None)  # always computed from the e-mail
        if may_create and subscriber_id in (None, -1):
            return self._create(item, values, now)
        if subscriber_id not in self.subscribers:
            if self.switches.unknown_id == "abort":
                raise BadValueError(f"Subscriber {subscriber_id} does not exist")
            return None if self.switches.unknown_id == "ignore" else self._rejected(item)
        return self._update(int(subscriber_id or 0), item, values)

    def _read(self, item: SubscriberData, table: FieldTable) -> dict[int, Value]:
        values: dict[int, Value] = {}
        readers = table.readers  # this loop runs tens of thousands of times per call
        for entry in item.fields:
            key, value = entry.id_field, entry.value
            if key not in readers:
                if self.switches.unknown_field == "abort":
                    raise BadValueError(f"Field {key} does not exist")
            elif value is not None and value != "":
                field, read = readers[key]
                values[key] = read(field, value)
            elif self.switches.empty_value == "clear":
                values[key] = None
            elif self.switches.empty_value == "abort":
                raise BadValueError(f"Field {key}: a value is mandatory")
        return values

    def _create(self, item: SubscriberData, values: dict[int, Value], now: str) -> SubscriberOut:
        email = str(values.get(EMAIL) or "").strip()
        if not _VALID_EMAIL(email):
            return self._rejected(item)
        existing = self.subscribers.by_email(email)
        if existing is not None:
            if self.switches.existing_email == "abort":
                raise BadValueError("A subscriber with this email already exists")
            if self.switches.existing_email == "minus_one":
                return self._rejected(item)
            return self._update(existing, item, values)
        values[EMAIL] = email.lower() if self.switches.email_case == "lower" else email
        if None in values.values():
            values = {key: value for key, value in values.items() if value is not None}
        values = self._with_defaults(values, now)
        subscriber_id = self.subscribers.insert(values)
        values[ID] = subscriber_id
        return SubscriberOut(subscriber_id, [FieldData(key, values[key]) for key in sorted(values)])

    def _update(self, subscriber_id: int, item: SubscriberData, values: dict[int, Value]) -> SubscriberOut:
        if EMAIL in values:
            old = str(self.subscribers[subscriber_id][EMAIL])
            new = str(values[EMAIL] or "").strip()
            if new.lower() == old.lower() or self.switches.put_email == "ignore":
                values[EMAIL] = old
            elif self.switches.put_email == "abort":
                raise BadValueError("Field 1 cannot be changed")
            elif not _VALID_EMAIL(new) or self.subscribers.by_email(new) is not None:
                if self.switches.put_bad_email == "abort":
                    raise BadValueError("Field 1: the email is not valid or belongs to another subscriber")
                return self._rejected(item)
            else:
                values[EMAIL] = new.lower() if self.switches.email_case == "lower" else new
        self.subscribers.update(subscriber_id, values)
        shown = [FieldData(ID, subscriber_id)] + [FieldData(key, value) for key, value in values.items()]
        return SubscriberOut(subscriber_id, shown)

    def _rejected(self, item: SubscriberData) -> SubscriberOut:
        shape = self.switches.minus_one_fields
        return SubscriberOut(-1, None if shape == "null" else item.fields if shape == "echo" else [])

    def _with_defaults(self, values: dict[int, Value], now: str) -> dict[int, Value]:
        values.setdefault(FIRST_SUBSCRIPTION, now)
        values.setdefault(LAST_SUBSCRIPTION, now)
        values.setdefault(STATUS, 0)
        return values

    def _now(self) -> str:
        return datetime.fromtimestamp(
            time.time() + self.switches.clock_shift, ZoneInfo(self.switches.zone)
        ).isoformat()

    # --- dictionaries ---

    def _list_fields(self, call: Call) -> Answer:
        wanted = call.parameters.get("type")
        fields = [field for field in FIELDS if wanted in (None, "", "0", str(field.field_type))]
        call.rows = len(fields)
        return self._succeed(fields, "Field[]")

    def _quota(self, call: Call) -> Answer:
        used = sum(not field.is_system for field in FIELDS)
        quota = {"quota": CUSTOM_QUOTA, "nbSpecificFields": used, "nbRemainingFields": CUSTOM_QUOTA - used}
        return self._succeed(quota, "FieldsQuota")

    def _thematics(self, call: Call) -> Answer:
        return self._succeed([{"id": 1, "name": "Newsletter"}, {"id": 2, "name": "Bons plans"}], "Thematic[]")

    # --- envelopes ---

    def _succeed(self, data: Any, type_name: str = TYPE_NAME) -> Answer:
        return json_answer(Envelope(True, data, None, type_name))

    def _fail(self, error: str, data: Any = None) -> Answer:
        return json_answer(Envelope(False, data, error, TYPE_NAME), self.switches.failure_status)
