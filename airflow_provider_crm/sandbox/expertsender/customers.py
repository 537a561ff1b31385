"""The customers of ExpertSender and the ways to find them. Knows no HTTP and no switch.

https://help.expertsender.com/pl/ecdp/api-klienci
"""

from __future__ import annotations

from typing import Any

import msgspec

FIRST_ID = 12  # the id of the vendor's sample

# Where each matchBy looks; GUID is not among them, for no field of a customer holds one.
MATCH_BY = {"Email": "email", "PhoneNumber": "phone", "CrmId": "crm_id", "VisitorId": "visitor_id"}
IDENTIFIERS = tuple(MATCH_BY.values())


class Customer(msgspec.Struct, kw_only=True):
    """A customer.

    :param consents: the value of each consent, by its id.
    :param confirmed: consents for which a confirmation e-mail was sent at least once.
    """

    id: int
    email: str | None = None
    phone: str | None = None
    crm_id: str | None = None
    visitor_id: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    date_of_birth: str | None = None
    gender: str | None = None
    attributes: dict[str, str | None] = {}
    consents: dict[int, str] = {}
    confirmed: set[int] = set()

    def show(self, *, without_consents: bool = False) -> dict[str, Any]:
        """As GET shows it: neither the id nor the visitor id is among it.

        :param without_consents: leave the consents out when there are none.
        """
        shown: dict[str, Any] = {
            "email": self.email,
            "phone": self.phone,
            "crmId": self.crm_id,
            "firstName": self.first_name,
            "lastName": self.last_name,
            "dateOfBirth": self.date_of_birth,
            "gender": self.gender or "NotSpecified",
            "rfmSegment": None,
            "totalSpent": 0,
            "totalOrders": 0,
            "totalOrderReturns": 0,
            "avgOrder": 0,
            "avgPricePoint": 0,
            "lastOrder": None,
            "avgTimeBetweenOrdersInDays": 0,
            "currencySymbol": None,
            "customAttributes": [{"name": name, "value": value} for name, value in self.attributes.items()],
        }
        if self.consents or not without_consents:
            shown["consentsData"] = {
                "consents": [{"id": one, "value": v} for one, v in self.consents.items()]
            }
        return shown


class Customers(dict[int, Customer]):
    """Customers by id, each also to be found by its identifiers."""

    def __init__(self) -> None:
        super().__init__()
        self._next_id = FIRST_ID
        self._found: dict[str, dict[str, int]] = {identifier: {} for identifier in IDENTIFIERS}
        self._journal: list[tuple[int, Customer | None]] = []

    def find(self, identifier: str, value: str) -> Customer | None:
        """Return the customer with this identifier.

        :param identifier: ``email`` (compared without case), ``phone``, ``crm_id`` or ``visitor_id``.
        """
        customer_id = self._found[identifier].get(_key(identifier, value))
        return None if customer_id is None else self[customer_id]

    def new(self) -> Customer:
        """Return a customer of whom nothing is known, not yet among the others."""
        self._next_id += 1
        return Customer(id=self._next_id - 1)

    def put(self, customer: Customer) -> None:
        """Add a customer, or take a changed copy in place of the one with the same id.

        An identifier that belonged to somebody else moves to this customer.
        """
        for identifier in IDENTIFIERS:
            value = getattr(customer, identifier)
            other = self.find(identifier, value) if value else None
            if other is not None and other.id != customer.id:
                self._set(other.id, msgspec.structs.replace(other, **{identifier: None}))
        self._set(customer.id, customer)

    def remove(self, customer: Customer) -> None:
        """Delete a customer."""
        self._set(customer.id, None)

    def begin(self) -> None:
        """From here on, changes can be taken back."""
        self._journal.clear()

    def take_back(self) -> None:
        """Undo all changes since :meth:`begin`."""
        for customer_id, before in reversed(list(self._journal)):
            self._set(customer_id, before)
        self._journal.clear()

    def _set(self, customer_id: int, customer: Customer | None) -> None:
        before = self.get(customer_id)
        self._journal.append((customer_id, before))
        for identifier, found in self._found.items():
            if before is not None and (value := getattr(before, identifier)):
                found.pop(_key(identifier, value), None)
            if customer is not None and (value := getattr(customer, identifier)):
                found[_key(identifier, value)] = customer_id
        if customer is not None:
            self[customer_id] = customer
        else:
            self.pop(customer_id, None)


def _key(identifier: str, value: str) -> str:
    return value.lower() if identifier == "email" else value
