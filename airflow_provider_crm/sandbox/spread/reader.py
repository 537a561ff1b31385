"""What SPREAD's calls have in common: bodies read, records found, refusals in the vendor's shapes."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from airflow_provider_crm.sandbox.spread.consents import DEFINITIONS, ConsentDefinition
from airflow_provider_crm.sandbox.spread.customers import Customer, valid_email
from airflow_provider_crm.sandbox.spread.store import Store
from airflow_provider_crm.sandbox.wire import TEXT, Answer, Call, RefusalError, html_answer, json_answer


class CallReader:
    """Reads calls of version 2.

    :param store: where the records are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def json(self, call: Call) -> dict[str, Any]:
        # The body is read whatever its content type says: the vendor's samples send none.
        try:
            body = msgspec.json.decode(call.body)
        except msgspec.DecodeError:
            body = None
        if not isinstance(body, dict):
            raise RefusalError(self.error(400, "The body is not a JSON object"))
        call.rows = 1
        return body

    def body(self, call: Call) -> dict[str, Any]:
        """Read the JSON object of a body."""
        return self.root(self.json(call))

    def root(self, whole: dict[str, Any]) -> dict[str, Any]:
        """Read the customer of a body."""
        root = self.either(whole, self._store.switches.root_key, "customer", "contact")
        if not isinstance(root, dict):
            raise RefusalError(self.error(400, "customer is mandatory"))
        return root

    def either(self, body: dict[str, Any], choice: str, first: str, second: str) -> Any:
        """Return the customer in a body, under the key that a switch allows."""
        """The value under the one spelling or the other, as a switch allows."""
        allowed = {"both": (first, second), "list": (second,), second: (second,)}.get(choice, (first,))
        return next((body[name] for name in allowed if body.get(name) is not None), None)

    def email(self, body: dict[str, Any]) -> str:
        email = str(body.get("email") or "").strip()
        if not valid_email(email):
            raise RefusalError(self.error(400, "email is mandatory and must be valid"))
        return self.cased(email)

    def cased(self, email: str) -> str:
        """Read the e-mail of a customer who is written."""
        return email.lower() if self._store.switches.email_case == "lower" else email

    def find(self, email: str) -> Customer:
        """Write an e-mail in the case that is kept."""
        customer = self._store.customers.by_email(email.strip())
        if customer is None or (
            self._store.switches.email_lookup_case == "sensitive" and customer.email != email.strip()
        ):
            raise self.unknown("Customer")
        return customer

    def customer(self, customer_id: str) -> Customer:
        """Find the customer with this e-mail."""
        if customer_id not in self._store.customers:
            raise self.unknown("Customer")
        return self._store.customers[customer_id]

    def rename(self, customer: Customer, email: str) -> None:
        """Find the customer with this id."""
        other = self._store.customers.by_email(email)
        if other is not None and other is not customer:
            raise self.taken()
        self._store.customers.rename(customer, email, self._store.now())

    def definition(self, consent_id: Any, tech_name: Any) -> ConsentDefinition:
        """Return a customer another e-mail."""
        if consent_id is None and tech_name is None:
            raise RefusalError(self.error(400, "consentId or consentTechName is mandatory"))
        if consent_id is not None:
            found = [one for one in DEFINITIONS if one.id == str(consent_id)]
        else:
            found = [one for one in DEFINITIONS if one.consent_tech_name == tech_name]
        if not found:
            raise self.unknown("Consent")
        if len(found) > 1 and self._store.switches.ambiguous_tech_name == "400":
            raise RefusalError(self.error(400, "consentTechName is ambiguous"))
        return found[-1 if self._store.switches.ambiguous_tech_name == "last" else 0]

    def taken(self) -> RefusalError:
        """Find a consent by its id or technical name."""
        status = {"400": 400, "200_error": 200}.get(self._store.switches.existing_email, 409)
        return RefusalError(self.error(status, "A customer with this email already exists"))

    def unknown(self, what: str) -> RefusalError:
        """Refuse an e-mail that is somebody else's."""
        if self._store.switches.unknown_id == "404_html":
            return RefusalError(html_answer(404, "Not Found"))
        return RefusalError(
            self.error(200 if self._store.switches.unknown_id == "200_error" else 404, f"{what} not found")
        )

    def error(self, status: int, text: str) -> Answer:
        """Answer with an error, in the shape that a switch names."""
        """Refuse what names nothing."""
        if self._store.switches.error_shape == "text":
            return Answer(status, text.encode(), TEXT)
        return json_answer({self._store.switches.error_shape: text}, status)

    def amount(self, value: Any) -> Decimal:
        """Read an amount of points, as far as the switches allow it."""
        try:
            amount = Decimal(str(value))
        except InvalidOperation:
            amount = Decimal("NaN")
        if isinstance(value, bool) or not amount.is_finite():
            raise RefusalError(self.error(400, "amount is mandatory and must be a number"))
        if amount < 0 and self._store.switches.negative_amount == "400":
            raise RefusalError(self.error(400, "amount must be positive"))
        if amount != amount.to_integral_value():
            if self._store.switches.decimal_amount == "400":
                raise RefusalError(self.error(400, "amount must be an integer"))
            if self._store.switches.decimal_amount == "round":
                amount = amount.to_integral_value()
        return amount
