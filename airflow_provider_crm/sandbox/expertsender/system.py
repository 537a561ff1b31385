"""The calls of ExpertSender CDP: customers and dictionaries. Knows the documented rules; the rest is in the switches.

https://help.expertsender.com/pl/ecdp/api-klienci, https://help.expertsender.com/ecdp/how-to-use-ecdp-api
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from airflow_provider_crm.sandbox.expertsender.customers import IDENTIFIERS, MATCH_BY, Customer, Customers
from airflow_provider_crm.sandbox.expertsender.rows import ATTRIBUTES, CONSENTS, Mail, RowError, RowReader
from airflow_provider_crm.sandbox.expertsender.switches import ExpertSenderSwitches
from airflow_provider_crm.sandbox.people import people
from airflow_provider_crm.sandbox.system import System
from airflow_provider_crm.sandbox.wire import TEXT, Answer, Call, RefusalError, json_answer

MODES = ("Add", "Update", "AddOrUpdate")
MATCHES = ("Email", "PhoneNumber", "CrmId", "GUID", "VisitorId")
# GET writes crmId, DELETE writes crmid; routes are compared without case.
LOOK_UPS = {"id": None, "email": "email", "phone": "phone", "crmid": "crm_id"}


class Written(NamedTuple):
    """What a row has come to: whom it concerned, what was known before, and the e-mails it causes."""

    customer_id: int
    before: Customer | None
    mails: list[Mail]


class ExpertSender(System):
    """The stand-in for ExpertSender CDP.

    :ivar customers: customers by id.
    :ivar mailbox: the confirmation e-mails sent, oldest first.
    :ivar anonymized: ids of customers deleted with anonymization.
    """

    name = "expertsender"
    switches_type = ExpertSenderSwitches
    switches: ExpertSenderSwitches

    def __init__(self, switches: ExpertSenderSwitches | None = None) -> None:
        super().__init__(switches)
        self.add_route("POST", "", "/customers", self._write)
        self.add_route("GET", "", "/customers/{by}/{value}", self._get)
        self.add_route("DELETE", "", "/customers/{by}/{value}", self._delete)
        self.add_route(
            "GET", "", "/customerconsents", lambda call: json_answer({"status": 0, "data": CONSENTS})
        )
        self.add_route(
            "GET", "", "/customerattributes", lambda call: json_answer({"status": 0, "data": ATTRIBUTES})
        )
        self.reset()

    # --- the sandbox's side ---

    def by_email(self, email: str) -> Customer | None:
        """Return the customer with this e-mail, compared without case."""
        return self.customers.find("email", email)

    def add_customer(self, email: str, **values: Any) -> Customer:
        """Put a customer there without a call.

        :param values: by the attributes of :class:`Customer`, such as ``crm_id`` or ``consents``.
        """
        customer = self.customers.new()
        for attribute, value in {"email": email, **values}.items():
            setattr(customer, attribute, value)
        self.customers.put(customer)
        return customer

    def reset(self) -> None:
        """Forget all customers and e-mails."""
        self.customers = Customers()
        self.mailbox: list[Mail] = []
        self.anonymized: list[int] = []
        # What GET still shows of a customer whose change is too recent: None when there was nobody.
        self._before: dict[int, tuple[float, Customer | None]] = {}

    def seed(self, count: int) -> None:
        """Add that many customers, always the same ones."""
        for person in people(len(self.customers), count):
            if self.by_email(person.email) is None:
                self.add_customer(
                    person.email,
                    phone=person.phone,
                    crm_id=f"C{person.number:07d}",
                    first_name=person.first_name,
                    last_name=person.last_name,
                    date_of_birth=f"{person.birthday.isoformat()}T00:00:00.000Z",
                    gender=person.gender.capitalize(),
                    attributes={"Ville": person.city, "Points de fidélité": str(person.number % 500)},
                    consents={1: ("True", "False", "AwaitingConfirmation")[person.number % 3]},
                )

    def counts(self) -> dict[str, int]:
        """Return how many records there are."""
        return {
            "customers": len(self.customers),
            "mailbox": len(self.mailbox),
            "anonymized": len(self.anonymized),
        }

    def records(self, kind: str) -> Iterator[Any]:
        """Return all customers (with their ids), e-mails, or ids of anonymized customers."""
        if kind == "customers":
            return (
                {"id": one.id, "visitorId": one.visitor_id, **one.show()} for one in self.customers.values()
            )
        if kind == "mailbox":
            return (msgspec.to_builtins(mail) for mail in self.mailbox)
        if kind == "anonymized":
            return iter(self.anonymized)
        raise KeyError(kind)

    def connection(self, url: str) -> tuple[str, dict[str, Any]]:
        """Return an Airflow connection with the API key."""
        host, key = f"{url}/expertsender", self.switches.api_key
        return "expertsender_cdp_default", {"conn_type": "expertsender_cdp", "host": host, "password": key}

    # --- the doors ---

    def admit(self, call: Call) -> dict[str, str]:
        """Check the key, then the content type."""
        if call.headers.get("x-api-key") != self.switches.api_key:
            raise RefusalError(
                self._problem(call, self.switches.wrong_key_status, "The API key is missing or wrong")
            )
        asked = self.switches.content_type
        is_json = call.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"
        if not is_json and (asked == "every" or (asked == "post" and call.method == "POST")):
            raise RefusalError(self._problem(call, 415, "Content-Type must be application/json"))
        return {}

    def no_route(self, call: Call, status: int) -> Answer:
        """Return the answer for a path or method that is not documented."""
        return self._problem(call, status, "Method not allowed" if status == 405 else "Not found")

    # --- reading and deleting ---

    def _get(self, call: Call) -> Answer:
        customer = self._visible(self._find(call))
        if customer is None:
            return self._problem(call, 404, "Customer not found")
        call.rows = 1
        shown = customer.show(without_consents=self.switches.no_consents == "absent")
        return json_answer({"status": 0, "data": shown})

    def _delete(self, call: Call) -> Answer:
        customer = self._find(call)
        if customer is None:
            return self._problem(call, 404, "Customer not found")
        self.customers.remove(customer)
        if self._with_anonymization(call):
            self.anonymized.append(customer.id)
        return Answer(200, b"", TEXT)

    def _find(self, call: Call) -> Customer | None:
        by, value = call.arguments["by"].lower(), call.arguments["value"]
        if by not in LOOK_UPS:
            raise RefusalError(self._problem(call, 404, "Not found"))
        identifier = LOOK_UPS[by]
        if identifier is not None:
            return self.customers.find(identifier, value)
        return self.customers.get(int(value)) if value.isdigit() else None

    def _visible(self, customer: Customer | None) -> Customer | None:
        if customer is None or customer.id not in self._before:
            return customer
        shows_at, before = self._before[customer.id]
        if time.time() < shows_at:
            return before
        del self._before[customer.id]
        return customer

    def _with_anonymization(self, call: Call) -> bool:
        place = self.switches.anonymization_in
        given: list[Any] = []
        if place in ("query", "both"):
            given.append(call.parameters.get("withAnonymization", ""))
        if place in ("body", "both") and call.body:
            try:
                body = msgspec.json.decode(call.body)
            except msgspec.DecodeError:
                body = None
            given.append(body.get("withAnonymization") if isinstance(body, dict) else None)
        return any(str(value).lower() == "true" for value in given)

    # --- writing ---

    def _write(self, call: Call) -> Answer:
        mode, identifier, rows = self._envelope(call)
        limit = self.switches.batch_limit
        if limit is not None and len(rows) > limit:
            return self._problem(call, 413, f"{limit} customers at most")
        behaviour = self.switches.failed_batch
        self.customers.begin()
        done: list[Written] = []
        errors: list[tuple[int, RowError]] = []
        for index, row in enumerate(rows):
            try:
                done.append(self._write_one(row, mode, identifier))
            except RowError as error:
                errors.append((index, error))
                if behaviour == "up_to_error":
                    break
        if errors and behaviour == "none":
            self.customers.take_back()
        else:
            self._note(done)
        if errors and behaviour != "good_rows_201":
            return self._invalid(call, errors)
        if self.switches.created_body == "empty":
            return Answer(201, b"", TEXT)
        return json_answer({"status": 0}, 201)

    def _note(self, done: list[Written]) -> None:
        shows_at = time.time() + self.switches.visible_after
        for written in done:
            self.mailbox += written.mails
            if self.switches.visible_after:
                self._before[written.customer_id] = (shows_at, self._visible(written.before))

    def _envelope(self, call: Call) -> tuple[str, str, list[Any]]:
        try:
            body = msgspec.json.decode(call.body)
        except msgspec.DecodeError:
            body = None
        if not isinstance(body, dict) or not isinstance(body.get("data"), list):
            raise RefusalError(self._invalid(call, [(-1, RowError("data", "is mandatory"))]))
        call.rows = len(body["data"])
        mode, match_by = body.get("mode"), body.get("matchBy")
        if mode not in MODES:
            raise RefusalError(
                self._invalid(call, [(-1, RowError("mode", f"must be one of {', '.join(MODES)}"))])
            )
        try:
            identifier = self._identifier(match_by)
        except RowError as error:
            raise RefusalError(self._invalid(call, [(-1, error)])) from None
        return mode, identifier, body["data"]

    def _identifier(self, match_by: Any) -> str:
        spellings, match_by = {name: name for name in MATCHES}, str(match_by)
        if self.switches.match_by_case == "visitorId":
            del spellings["VisitorId"]
            spellings["visitorId"] = "VisitorId"
        elif self.switches.match_by_case == "any":
            spellings, match_by = {name.lower(): name for name in MATCHES}, match_by.lower()
        if match_by not in spellings:
            raise RowError("matchBy", f"must be one of {', '.join(spellings.values())}")
        name = spellings[match_by]
        if self.switches.default_match_by not in (None, name):
            raise RowError("matchBy", "must match the default matching mode of the account")
        if name not in MATCH_BY:
            raise RowError("matchBy", "GUID needs a GUID, which no field of a customer holds")
        return MATCH_BY[name]

    def _write_one(self, row: Any, mode: str, identifier: str) -> Written:
        if not isinstance(row, dict):
            raise RowError("data", "must be a list of objects")
        key = {"crm_id": "crmId", "visitor_id": "visitorId"}.get(identifier, identifier)
        value = row.get(key)
        if not isinstance(value, str) or not value:
            raise RowError(key, "is required by matchBy")
        found = self.customers.find(identifier, value)
        if not self._wanted(mode, key, found):
            return Written(found.id if found else -1, found, [])
        # A copy, so that an error in the middle of a row leaves nothing behind.
        customer = self.customers.new() if found is None else msgspec.structs.replace(found)
        mails = RowReader(self.switches).apply(row, customer)
        self._check_identifiers(customer)
        self.customers.put(customer)
        return Written(customer.id, found, mails)

    def _wanted(self, mode: str, key: str, found: Customer | None) -> bool:
        if found is not None and mode == "Add":
            if self.switches.add_existing == "400":
                raise RowError(key, "a customer with this value exists already")
            return self.switches.add_existing == "update"
        if found is None and mode == "Update":
            if self.switches.update_missing == "400":
                raise RowError(key, "no customer has this value")
            return self.switches.update_missing == "create"
        return True

    def _check_identifiers(self, customer: Customer) -> None:
        if self.switches.taken_identifier == "move":
            return
        for identifier in IDENTIFIERS:
            value = getattr(customer, identifier)
            other = self.customers.find(identifier, value) if value else None
            if other is not None and other.id != customer.id:
                raise RowError(identifier, "belongs to another customer")

    # --- errors ---

    def _invalid(self, call: Call, errors: list[tuple[int, RowError]]) -> Answer:
        lines = [str(error) if index < 0 else f"data[{index}].{error}" for index, error in errors]
        listed: Any = lines
        if self.switches.errors == "object":
            listed = {}
            for (index, error), line in zip(errors, lines, strict=True):
                listed.setdefault(error.field if index < 0 else f"data[{index}].{error.field}", []).append(
                    line
                )
        more = {} if self.switches.errors == "none" else {"errors": listed}
        return self._problem(call, 400, "One or more validation errors occurred.", **more)

    def _problem(self, call: Call, status: int, title: str, **more: Any) -> Answer:
        """Problem details after RFC 7807, as the samples show them."""
        problem: dict[str, Any] = {
            "type": f"https://httpstatuses.com/{status}",
            "title": title,
            "status": status if self.switches.problem_status == "http" else 0,
        }
        if self.switches.substatus == "always" or (
            self.switches.substatus == "delete" and call.method == "DELETE"
        ):
            problem["substatus"] = "CustomerInvalidModelState"
        problem |= {"detail": title, "instance": call.resource, **more}
        answer = json_answer(problem, status)
        answer.content_type = "application/problem+json; charset=utf-8"
        return answer
