"""The calls of SPREAD's API version 2. Knows the documented rules; the rest is in the switches.

Pages: https://help.spreadfamily.fr/api/tFhSLgP1aV7CPGteu85q5Q (customers, customer-consentement, consentement,
cagnotte, customfields).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec

from airflow_provider_crm.sandbox.people import people
from airflow_provider_crm.sandbox.spread.consents import (
    API_SOURCE,
    DEFINITIONS,
    SETTABLE,
    Consents,
)
from airflow_provider_crm.sandbox.spread.customers import (
    CUSTOM_FIELDS,
    Changes,
    Customer,
    Customers,
    InvalidCustomerError,
    cleared,
    read_changes,
    valid_email,
)
from airflow_provider_crm.sandbox.spread.dates import Clock, is_date_time
from airflow_provider_crm.sandbox.spread.loyalty import Loyalty, plain
from airflow_provider_crm.sandbox.spread.pages import PageError, cut_page
from airflow_provider_crm.sandbox.spread.reader import CallReader
from airflow_provider_crm.sandbox.spread.search import Search
from airflow_provider_crm.sandbox.spread.seeding import plant
from airflow_provider_crm.sandbox.spread.store import Store
from airflow_provider_crm.sandbox.spread.switches import SpreadSwitches
from airflow_provider_crm.sandbox.spread.v1 import VersionOne
from airflow_provider_crm.sandbox.system import System
from airflow_provider_crm.sandbox.wire import Answer, Call, RefusalError, json_answer

BASE = "/api/v2"
LEVELS = ((Decimal(200), "Statut or"), (Decimal(100), "Statut argent"), (Decimal(0), "Statut bronze"))


class Spread(System):
    """The stand-in for SPREAD."""

    name = "spread"
    switches_type = SpreadSwitches
    switches: SpreadSwitches

    def __init__(self, switches: SpreadSwitches | None = None) -> None:
        super().__init__(switches)
        self._store = Store(self.switches)
        self._reader = CallReader(self._store)
        self._search = Search(self.switches, self.clock)
        for method, template, handler in (
            ("GET", "/customers", self._list_customers),
            ("POST", "/customers", self._create_customer),
            ("PUT", "/customers/email/update", self._update_email),
            ("GET", "/customers/{id}", self._get_customer),
            ("PUT", "/customers/{id}", self._update_customer),
            ("DELETE", "/customers/{id}", self._delete_customer),
            ("GET", "/consents", self._list_definitions),
            ("GET", "/consents/{id}", self._get_definition),
            ("GET", "/customers-consents", self._list_answers),
            ("GET", "/customers-consents/{id}", self._list_history),
            ("POST", "/customers-consents/{id}", self._create_answer),
            ("GET", "/cagnottes", self._list_lines),
            ("POST", "/cagnottes", self._credit),
            ("GET", "/customfields", self._list_custom_fields),
        ):
            self.add_route(method, BASE, template, handler)
        version_one = VersionOne(self._store)
        self.add_route("POST", "/api", "/CreateAccount", version_one.create_account)
        self.add_route("POST", "/api", "/UpdateAccount", version_one.update_account)

    # --- the sandbox's side ---

    @property
    def customers(self) -> Customers:
        """The customers by id."""
        return self._store.customers

    @property
    def consents(self) -> Consents:
        """Everyone's answers to the consents."""
        return self._store.consents

    @property
    def loyalty(self) -> Loyalty:
        """The lines of the loyalty pots, and the balances."""
        return self._store.loyalty

    @property
    def clock(self) -> Clock:
        """The vendor's clock."""
        return self._store.clock

    def by_email(self, email: str) -> Customer | None:
        """Return the customer with this e-mail, compared without case."""
        return self.customers.by_email(email)

    def add_customer(self, email: str, **values: str | None) -> Customer:
        """Put a customer there without a call.

        :param values: by the attributes of :class:`Customer`, such as ``last_name``.
        :raises ValueError: the e-mail is taken.
        """
        if self.customers.by_email(email) is not None:
            raise ValueError("This e-mail exists already")
        return self.customers.add(email, Changes(values), self._store.now())

    def reset(self) -> None:
        """Forget all records."""
        self._store.clear()
        self._search = Search(self.switches, self.clock)

    def seed(self, count: int) -> None:
        """Add that many customers, with a history of consents and with loyalty lines, always the same ones."""
        for person in people(len(self.customers), count):
            if self.customers.by_email(person.email) is None:
                plant(person, self.customers, self.consents, self.loyalty, self.clock)

    def counts(self) -> dict[str, int]:
        """Return how many records there are."""
        return {
            "customers": len(self.customers),
            "consents": len(self.consents.events),
            "lines": len(self.loyalty.lines),
        }

    def records(self, kind: str) -> Iterator[Any]:
        """Return all customers (with custom fields), answers to consents, or loyalty lines."""
        if kind == "customers":
            return (self.show(customer, by_id=True) for customer in self.customers.values())
        if kind == "consents":
            return (
                {"customerId": event.customer_id, **event.for_customer()} for event in self.consents.events
            )
        if kind == "lines":
            return (msgspec.to_builtins(line) for line in self.loyalty.lines)
        raise KeyError(kind)

    def connection(self, url: str) -> tuple[str, dict[str, Any]]:
        """Return an Airflow connection with the two keys."""
        login, password = self.switches.public_key, self.switches.private_key
        host = f"{url}/spread{BASE}"
        return "spread_default", {"conn_type": "spread", "host": host, "login": login, "password": password}

    # --- the doors ---

    def admit(self, call: Call) -> dict[str, str]:
        """Check HTTP Basic with the public and the private key."""
        kind, _, encoded = call.headers.get("authorization", "").partition(" ")
        keys = f"{self.switches.public_key}:{self.switches.private_key}"
        if kind.lower() != "basic" or encoded.strip() != base64.b64encode(keys.encode()).decode():
            answer = self._reader.error(401, "Unauthorized")
            answer.headers["WWW-Authenticate"] = 'Basic realm="SPREAD API"'
            raise RefusalError(answer)
        return {}

    def handle(self, call: Call) -> Answer:
        """Answer a call, after the loyalty lines that were due."""
        self.loyalty.show_due()
        try:
            return super().handle(call)
        except (PageError, InvalidCustomerError) as error:
            return self._reader.error(400, str(error))

    def no_route(self, call: Call, status: int) -> Answer:
        """Return the answer for a path or method that is not documented."""
        return self._reader.error(status, "Method not allowed" if status == 405 else "Not found")

    # --- customers ---

    def _list_customers(self, call: Call) -> Answer:
        rows = self._search.once(
            call,
            (self.customers.version, self.loyalty.version),
            lambda: self._search.customers(call, self.customers),
        )
        page, beside = cut_page(call, rows, self.switches, size_name="maxResults")
        if call.parameters.get("showCustomFields") != "1":
            return json_answer({"customers": page, **beside})
        shown = [
            msgspec.to_builtins(customer) | {"custom_fields": self._custom_fields(customer)}
            for customer in page
        ]
        return json_answer({"customers": shown, **beside})

    def _get_customer(self, call: Call) -> Answer:
        return json_answer({"customer": self.show(self._reader.customer(call.arguments["id"]), by_id=True)})

    def _create_customer(self, call: Call) -> Answer:
        body = self._reader.body(call)
        email = self._reader.email(body)
        changes = read_changes(body, self.switches)
        existing = self.customers.by_email(email)
        if existing is None:
            customer = self.customers.add(email, changes, self._store.now())
        elif self.switches.existing_email == "upsert":
            customer = existing
            self.customers.change(customer, changes, self._store.now())
        else:
            raise self._reader.taken()
        return json_answer({"customer": customer})

    def _update_customer(self, call: Call) -> Answer:
        customer = self._reader.customer(call.arguments["id"])
        body = self._reader.body(call)
        email = self._reader.email(body)
        changes = read_changes(body, self.switches)
        if self.switches.put_missing_fields == "clear":
            changes.values = cleared() | changes.values
        if email != customer.email and self.switches.put_email != "ignore":
            if self.switches.put_email == "400":
                raise RefusalError(self._reader.error(400, "The email cannot be changed"))
            self._reader.rename(customer, email)
        self.customers.change(customer, changes, self._store.now())
        return json_answer({"customer": customer})

    def _update_email(self, call: Call) -> Answer:
        body = self._reader.body(call)
        old, new = str(body.get("old_email") or ""), str(body.get("new_email") or "").strip()
        customer = self._reader.find(old)
        if not valid_email(new):
            raise InvalidCustomerError("new_email is not valid")
        self._reader.rename(customer, self._reader.cased(new))
        return json_answer({"customer": customer})

    def _delete_customer(self, call: Call) -> Answer:
        self.customers.remove(self._reader.customer(call.arguments["id"]))
        return json_answer({"response": "Customer deleted."})

    # --- consents ---

    def _list_definitions(self, call: Call) -> Answer:
        page, beside = cut_page(call, DEFINITIONS, self.switches, size_name="maxResult")
        return json_answer({"consents": page, **beside})

    def _get_definition(self, call: Call) -> Answer:
        return json_answer({"consent": self._reader.definition(call.arguments["id"], None)})

    def _list_history(self, call: Call) -> Answer:
        customer = self._reader.customer(call.arguments["id"])
        given = call.parameters
        events = self.consents.of_customer(customer.id)
        if consent_id := given.get("consentId"):
            events = [event for event in events if event.consent.id == consent_id]
        if tech_name := given.get("consentTechName"):
            events = [event for event in events if event.consent.consent_tech_name == tech_name]
        rows = self._search.events(call, events, self.customers)
        page, beside = cut_page(call, rows, self.switches, size_name="maxResult")
        shown = [event.for_customer() for event in page]
        return json_answer({"customer": {"id": customer.id, "consents": shown}, **beside})

    def _list_answers(self, call: Call) -> Answer:
        given = call.parameters
        if track_id := given.get("trackId"):
            event = self.consents.by_track_id(track_id)
            if event is None:
                raise self._reader.unknown("trackId")
            consent, rows = event.consent, [event]
        elif given.get("consentId") or given.get("consentTechName"):
            consent = self._reader.definition(given.get("consentId"), given.get("consentTechName"))
            rows = self._search.once(
                call,
                (self.consents.version, self.customers.version),
                lambda: self._search.events(call, self.consents.of_consent(consent.id), self.customers),
            )
        else:
            return self._reader.error(400, "consentId, consentTechName or trackId is mandatory")
        page, beside = cut_page(call, rows, self.switches, size_name="maxResult")
        shown = [event.for_consent() for event in page]
        about = {"id": consent.id, "consentTechName": consent.consent_tech_name, "customers": shown}
        return json_answer({"consent": about, **beside})

    def _create_answer(self, call: Call) -> Answer:
        customer = self._reader.customer(call.arguments["id"])
        body = self._reader.json(call).get("consent")
        if not isinstance(body, dict):
            return self._reader.error(400, "consent is mandatory")
        consent = self._reader.definition(
            *(
                self._reader.either(body, self.switches.consent_keys, *keys)
                for keys in (("id", "consentId"), ("techName", "consentTechName"))
            )
        )
        status, created_at = body.get("customerConsentStatus"), body.get("createdAt")
        if status not in SETTABLE:
            return self._reader.error(400, f"customerConsentStatus must be one of {', '.join(SETTABLE)}")
        if not created_at or (self.switches.consent_date == "strict" and not is_date_time(created_at)):
            return self._reader.error(400, "createdAt must be YYYY-MM-DD HH:MM:SS")
        if status == "unknown" and self.consents.latest(customer.id, consent.id) is None:
            return self._reader.error(400, "unknown needs an earlier value of this consent")
        ip, channel_id = body.get("ip"), body.get("channelId")
        channel = None if channel_id is None else str(channel_id)
        event = self.consents.add(
            customer.id, consent, status, str(created_at), API_SOURCE, ip=ip, channel_id=channel
        )
        shown = {
            "id": customer.id,
            "trackId": event.track_id,
            "customerConsentCreatedAt": event.created_at,
            "customerConsentStatus": event.status,
        }
        consent_id = int(consent.id) if self.switches.consent_id_type == "int" else consent.id
        return json_answer(
            {"consent": {"id": consent_id, "techName": consent.consent_tech_name, "customer": shown}}
        )

    # --- loyalty ---

    def _list_lines(self, call: Call) -> Answer:
        rows = self._search.once(
            call,
            (self.loyalty.version, self.customers.version),
            lambda: self._search.lines(call, self.loyalty, self.customers),
        )
        page, beside = cut_page(call, rows, self.switches, size_name="maxResult")
        if not page and self.switches.empty_lines == "404":
            return self._reader.error(404, "No cagnotte")
        return json_answer({"cagnottes": page, **beside})

    def _credit(self, call: Call) -> Answer:
        whole = self._reader.json(call)
        who, pot = self._reader.root(whole), whole.get("cagnotte")
        if not isinstance(pot, dict):
            return self._reader.error(400, "cagnotte is mandatory")
        customer_id = self._reader.either(who, self.switches.customer_id_key, "customerId", "id")
        customer = (
            self._reader.find(str(who["email"]))
            if who.get("email")
            else self._reader.customer(str(customer_id))
        )
        amount = self._reader.amount(
            self._reader.either(pot, self.switches.amount_key, "amount", "cagnotteAmount")
        )
        date = self.clock.without_zone(self.clock.now())
        line = self.loyalty.add(customer.id, amount, date, delay=self.switches.line_delay)
        balance = plain(self.loyalty.balance(customer.id))
        return json_answer({"customer": {"id": customer.id, "cagnotteAmount": balance}, "cagnotte": line})

    # --- custom fields ---

    def _list_custom_fields(self, call: Call) -> Answer:
        since = "2019-01-08 15:46:39"
        fields = [
            {
                "id": i,
                "name": name,
                "type": "radio",
                "createdAt": since,
                "updatedAt": since,
                "status": "1",
                "question": None,
            }
            for i, name in CUSTOM_FIELDS.items()
        ]
        page, beside = cut_page(call, fields, self.switches, size_name="maxResult")
        return json_answer({"customfields": page, **beside})

    # --- what the calls have in common ---

    def show(self, customer: Customer, *, by_id: bool) -> dict[str, Any]:
        """Return a customer as plain data.

        :param by_id: with the custom fields and the loyalty status, as only the call by id shows them.
        """
        shown: dict[str, Any] = msgspec.to_builtins(customer)
        if by_id:
            balance = Decimal(customer.cagnotte_amount or 0)
            status = next((label for least, label in LEVELS if balance >= least), LEVELS[-1][1])
            shown |= {"custom_fields": self._custom_fields(customer), "status": status}
        return shown

    def _custom_fields(self, customer: Customer) -> Any:
        values = self.customers.custom_fields.get(customer.id)
        if values:
            return {field_id: f"{CUSTOM_FIELDS[field_id]}:{value}" for field_id, value in values.items()}
        empty: dict[str, Any] = {"list": [], "object": {}, "null": None}
        return empty[self.switches.empty_custom_fields]
