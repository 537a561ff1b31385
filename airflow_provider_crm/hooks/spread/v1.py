"""SPREAD's API version 1, which the vendor recommends for creating and updating customers.

Knows the two calls and their names for the fields. What they answer is not documented, so that what became of one is
read back through version 2. Facts: the vendor's pages "API - createAccount" and "API - updateAccount".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from airflow_provider_crm.exceptions import (
    CrmConnectionError,
    CrmNotFoundError,
    CrmOutcomeUnknownError,
    CrmRequestError,
    redact,
)
from airflow_provider_crm.hooks.spread.writes import Request
from airflow_provider_crm.http.answers import UnreadableError, said_in
from airflow_provider_crm.http.calls import Call
from airflow_provider_crm.schemas.spread.read import Record
from airflow_provider_crm.schemas.spread.write import differing, wire_customer

#: Version 2's name of a field -> version 1's. The four flags such as isBuyer have none.
NAMES = {
    "email": "customer_email",
    "externalId": "external_id",
    "lastName": "customer_name",
    "firstName": "customer_firstname",
    "gender": "customer_gender",
    "address": "customer_address",
    "address2": "customer_address2",
    "address3": "customer_address3",
    "zip": "customer_cp",
    "city": "customer_city",
    "country": "customer_country",
    "phone": "customer_tel",
    "mobile": "customer_mobile",
    "fonction": "customer_fonction",
    "company": "customer_company",
    "birthday": "customer_birthday",
    "lang": "customer_lang",
    "tags": "add_tag",
    "custom_fields": "custom_fields",
}
#: Version 1 wants a locale where version 2 shows a language.
LOCALES = {
    "de": "de_DE",
    "en": "en_GB",
    "es": "es_ES",
    "fr": "fr_FR",
    "it": "it_IT",
    "nl": "nl_NL",
    "pl": "pl_PL",
    "pt": "pt_PT",
}
FORM = "application/x-www-form-urlencoded"


class CustomerWritesV1:
    """Writes customers as version 1's accounts.

    :param request: makes a call.
    :param base_url: of version 1.
    :param find: reads the customer with an e-mail back, through version 2.
    """

    writable_fields: Collection[str] = tuple(NAMES)

    def __init__(self, request: Request, base_url: str, find: Callable[[str], Record | None]) -> None:
        self._request = request
        self._base_url = base_url
        self._find = find

    def create(self, customer: Mapping[str, Any]) -> Record:
        """Create a customer.

        :return: the customer as version 2 shows it then.
        :raises CrmRequestError: there is no such customer afterwards.
        :raises CrmOutcomeUnknownError: nor where the answer says success: it may be shown in a moment.
        """
        wire = wire_customer(customer)
        said = self._send("/CreateAccount", wire)
        created = self._find(wire["email"])
        if created is None and said is None:
            raise CrmOutcomeUnknownError(
                "POST /CreateAccount was answered with success, and there is no such customer",
                call="POST /CreateAccount",
            )
        if created is None:
            raise _refusal("POST /CreateAccount", f"{said or 'nothing'}, and there is no such customer")
        return created

    def update(self, customer_id: str | int, customer: Mapping[str, Any]) -> Record:
        """Update the customer who has this e-mail: version 1 takes no id.

        :param customer_id: version 2's, of that very customer.
        :return: the customer as version 2 shows it then.
        :raises CrmNotFoundError: there is no such customer afterwards.
        :raises CrmRequestError: the answer does not say that it was done, and the customer shows that it was not.
        """
        wire = wire_customer(customer)
        said = self._send("/UpdateAccount", wire)
        updated = self._find(wire["email"])
        if updated is None or updated.get("id") != str(customer_id):
            raise CrmNotFoundError(
                "POST /UpdateAccount: there is no such customer", call="POST /UpdateAccount"
            )
        if said is not None and (missing := differing(updated, wire)):
            raise _refusal(
                "POST /UpdateAccount", f"{said or 'nothing'}, and did not set {', '.join(missing)}"
            )
        return updated

    def _send(self, path: str, wire: Mapping[str, Any]) -> str | None:
        """Send one of the two calls.

        :return: what was answered, where that is no success that can be recognised; None where it is one.
        """
        call = Call(
            "POST",
            path,
            url=self._base_url + path,
            body=urlencode(list(form_fields(wire))).encode(),
            content_type=FORM,
            repeatable=False,
        )
        return self._request(call, _read_answer)


def base_url_of_v1(base_url: str, conn_id: str) -> str:
    """Return version 1's base URL, which stands beside version 2's.

    :raises CrmConnectionError: the base URL is not that of version 2.
    """
    if base_url.endswith("/v2"):
        return base_url.removesuffix("/v2")
    raise CrmConnectionError(
        f"Connection {conn_id!r}: the extra `write_api` names v1, whose address is that of a base URL ending in /v2, "
        f"which this one does not"
    )


def form_fields(wire: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name a customer's fields as PHP's ``http_build_query`` does, ``data[add_tag][0]``; None is sent empty."""
    for field, value in wire.items():
        name = f"data[{NAMES[field]}]"
        if isinstance(value, Mapping):
            yield from ((f"{name}[{key}]", part or "") for key, part in value.items())
        elif isinstance(value, list):
            yield from ((f"{name}[{place}]", part) for place, part in enumerate(value))
        elif field == "lang":
            yield name, LOCALES.get(str(value), str(value or ""))
        else:
            yield name, "" if value is None else str(value)


def _read_answer(body: bytes) -> str | None:
    """Read an answer: known are ``{"return": "ERR-..."}`` and the key ``datas`` of a success.

    :return: None for a success, the words of any other answer.
    :raises CrmRequestError: an error.
    """
    text = body.decode("utf-8", "replace").strip()
    if text.startswith("<"):
        raise UnreadableError("HTML in place of JSON")
    try:
        answer = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return text[:500]
    if not isinstance(answer, dict):
        return text[:500]
    code = str(answer.get("return") or "")
    if code.upper().startswith("ERR"):
        raise _refusal("POST", code)
    if "datas" in answer or code.upper() == "OK":
        return None
    return "; ".join(said_in(answer))


def _refusal(call: str, said: str) -> CrmRequestError:
    return CrmRequestError(f"{call}: SPREAD's version 1 answered {redact(said)}", reason=said, call=call)
