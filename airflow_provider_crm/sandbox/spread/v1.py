"""The two calls of SPREAD's API version 1 that create and update accounts. Knows version 2 only as a store.

https://help.spreadfamily.fr/api/tFhSLgP1aV7CPGteu85q5Q/api-updateaccount/uRjewDGGjU1iQSQ1NL14nE. What an answer
looks like is not documented but for the key ``return`` of an error and the key ``datas`` of a success.
"""

from __future__ import annotations

import re
from typing import Any

from airflow_provider_crm.sandbox.spread.consents import DEFINITIONS, V1_SOURCE
from airflow_provider_crm.sandbox.spread.customers import (
    Customer,
    InvalidCustomerError,
    read_changes,
    valid_email,
)
from airflow_provider_crm.sandbox.spread.store import Store
from airflow_provider_crm.sandbox.wire import TEXT, Answer, Call, json_answer

# The page exists in two versions that spell the second and third line of an address differently.
NAMES = {
    "external_id": "externalId",
    "customer_name": "lastName",
    "customer_firstname": "firstName",
    "customer_gender": "gender",
    "customer_address": "address",
    "customer_address2": "address2",
    "customer_address_2": "address2",
    "customer_address3": "address3",
    "customer_address_3": "address3",
    "customer_cp": "zip",
    "customer_city": "city",
    "customer_country": "country",
    "customer_tel": "phone",
    "customer_mobile": "mobile",
    "customer_fonction": "fonction",
    "customer_company": "company",
    "customer_birthday": "birthday",
}
OPTIN = {"1": "accepted", "0": "refused", "-1": "unknown"}

_KEY = re.compile(r"^data\[(\w+)\](?:\[(\w*)\])?$").match


class VersionOne:
    """Answers ``CreateAccount`` and ``UpdateAccount``.

    :param store: where the accounts are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def create_account(self, call: Call) -> Answer:
        """Create an account; with an e-mail that exists, a switch decides."""
        return self._write(
            call, may_create=True, may_update=self._store.switches.v1_create_existing == "update"
        )

    def update_account(self, call: Call) -> Answer:
        """Update an account; with an e-mail that does not exist, a switch decides."""
        return self._write(
            call, may_create=self._store.switches.v1_update_missing == "create", may_update=True
        )

    def _write(self, call: Call, *, may_create: bool, may_update: bool) -> Answer:
        store = self._store
        data, lists, maps = _read_form(call)
        call.rows = 1
        email = data.get("customer_email", "").strip()
        if not valid_email(email):
            return self._error("ERR-EMAIL")
        customer = store.customers.by_email(email)
        if not (may_create if customer is None else may_update):
            return self._error("ERR-UNKNOWN" if customer is None else "ERR-EXISTS")
        body: dict[str, Any] = {NAMES[name]: value for name, value in data.items() if name in NAMES}
        if "customer_lang" in data:
            body["lang"] = data["customer_lang"][:2]
        body["tags"] = lists.get("add_tag") or [tag for tag in data.get("add_tag", "").split(",") if tag]
        body["custom_fields"] = maps.get("custom_fields", {})
        try:
            changes = read_changes(body, store.switches)
        except InvalidCustomerError:
            return self._error("ERR-INVALID")
        if customer is None:
            customer = store.customers.add(email, changes, store.now())
        else:
            store.customers.change(customer, changes, store.now())
        gone = lists.get("del_tag") or data.get("del_tag", "").split(",")
        store.customers.remove_tags(customer, gone)
        self._note_optin(customer, data.get("customer_isoptin"))
        return self._success(customer)

    def _note_optin(self, customer: Customer, optin: str | None) -> None:
        consents, newsletter = self._store.consents, DEFINITIONS[0]
        status = OPTIN.get(optin or "")
        latest = consents.latest(customer.id, newsletter.id)
        if status is None or (status == "unknown" and latest is None) or (latest and latest.status == status):
            return
        clock = self._store.clock
        consents.add(customer.id, newsletter, status, clock.without_zone(clock.now()), V1_SOURCE)

    def _success(self, customer: Customer) -> Answer:
        shape = self._store.switches.v1_answer
        if shape == "json":
            return json_answer({"return": "OK", "datas": {"customer_id": customer.id}})
        return Answer(200, b"OK" if shape == "text" else b"", TEXT)

    def _error(self, code: str) -> Answer:
        return json_answer({"return": code}, self._store.switches.v1_error_status)


def _read_form(call: Call) -> tuple[dict[str, str], dict[str, list[str]], dict[str, dict[str, str]]]:
    """Read the nested names of PHP's ``http_build_query``: single values, lists, and maps by key."""
    single: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    maps: dict[str, dict[str, str]] = {}
    for key, value in call.form:
        match = _KEY(key)
        if match is None:
            continue
        name, inner = match.groups()
        if inner is None:
            single[name] = value
        else:
            lists.setdefault(name, []).append(value)
            maps.setdefault(name, {})[inner] = value
    return single, lists, maps
