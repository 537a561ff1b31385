"""How customers are created and updated through one of SPREAD's API versions; here, through version 2."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol, TypeVar

from airflow_provider_crm.hooks.spread.wire import read_customer
from airflow_provider_crm.http.calls import Call, encode_json
from airflow_provider_crm.schemas.spread.read import Record
from airflow_provider_crm.schemas.spread.write import CUSTOMER_FIELDS, wire_customer

T = TypeVar("T")


class Request(Protocol):
    """Makes a call, as :meth:`~airflow_provider_crm.hooks.spread.SpreadHook.request` does."""

    def __call__(self, call: Call, read: Callable[[bytes], T], /) -> T: ...


class CustomerWrites(Protocol):
    """Creates and updates customers."""

    @property
    def writable_fields(self) -> Collection[str]:
        """The fields of a customer that can be written, by their names in version 2."""

    def create(self, customer: Mapping[str, Any]) -> Record:
        """Create a customer.

        :return: the customer as the CRM holds it now.
        :raises CrmOutcomeUnknownError: it may have been created.
        """

    def update(self, customer_id: str | int, customer: Mapping[str, Any]) -> Record:
        """Update the given fields of a customer.

        :param customer: the fields to change, and always ``email``, the current one.
        :return: the customer as the CRM holds it now.
        """


class CustomerWritesV2:
    """Writes through version 2, which can do so although the vendor recommends version 1.

    :param request: makes a call.
    """

    writable_fields: Collection[str] = CUSTOMER_FIELDS

    def __init__(self, request: Request) -> None:
        self._request = request

    def create(self, customer: Mapping[str, Any]) -> Record:
        """Create a customer, see :class:`CustomerWrites`."""
        call = Call("POST", "/customers", body=_body(customer), repeatable=False)
        return self._request(call, read_customer)

    def update(self, customer_id: str | int, customer: Mapping[str, Any]) -> Record:
        """Update a customer, see :class:`CustomerWrites`."""
        call = Call("PUT", "/customers/{id}", values={"id": customer_id}, body=_body(customer))
        return self._request(call, read_customer)


def _body(customer: Mapping[str, Any]) -> bytes:
    return encode_json({"customer": wire_customer(customer)})
