"""What a customer to be sent says about consents, beside what ExpertSender holds of them.

Knows no HTTP. Facts: the vendor's page on customers (help.expertsender.com, "Klienci - metody API").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from airflow_provider_crm.schemas.expertsender.cells import AWAITING_CONFIRMATION, GRANTED, REFUSED
from airflow_provider_crm.values import comparable


def consents_of(customer: Mapping[str, Any] | None) -> dict[Any, Any]:
    """Return a customer's consents, sent or held, as id to value."""
    data = customer.get("consentsData") if customer else None
    if not data:
        return {}
    return {consent.get("id"): consent.get("value") for consent in data.get("consents") or ()}


def asks_for_confirmation(customer: Mapping[str, Any]) -> bool:
    """Return True if sending this customer makes the CRM send a confirmation message to the person."""
    return "consentsData" in customer and AWAITING_CONFIRMATION in consents_of(customer).values()


def opts_in(customer: Mapping[str, Any]) -> bool:
    """Return True if a customer is sent to be subscribed, or to be asked for it."""
    if "consentsData" not in customer:  # as in nearly all rows
        return False
    values = consents_of(customer).values()
    return GRANTED in values or AWAITING_CONFIRMATION in values


def refused_ids(customer: Mapping[str, Any] | None) -> list[int]:
    """Return the ids of the consents that are refused."""
    return [number for number, value in consents_of(customer).items() if value == REFUSED]


def undone_refusals(customer: Mapping[str, Any], held: Mapping[str, Any] | None) -> list[int]:
    """Return the ids of the consents that are held as refused, and that sending this customer would undo."""
    wanted = consents_of(customer)
    return [number for number in refused_ids(held) if wanted.get(number) in (GRANTED, AWAITING_CONFIRMATION)]


def refuse(customer: dict[str, Any], ids: Iterable[int]) -> None:
    """Write into a customer that these consents are refused, whatever it says of them."""
    data = customer.get("consentsData") or {}
    consents = consents_of(customer) | dict.fromkeys(ids, REFUSED)
    customer["consentsData"] = {
        **data,
        "consents": [{"id": number, "value": value} for number, value in consents.items()],
    }


def without_standing(
    customer: Mapping[str, Any], held: Mapping[str, Any] | None, *, again: bool
) -> Mapping[str, Any]:
    """Leave the consents out of a customer that stand already.

    So nobody is written to once more who awaits confirmation or has confirmed, and an opt-out that comes in
    between is not undone.

    :param customer: with ``consentsData``, as :func:`.write.customer_of` gives it.
    :param held: the customer as the CRM holds it; None when there is none, or nobody can tell.
    :param again: an earlier call may have been applied; ``force`` would then ask for the message twice.
    """
    standing = consents_of(held)
    data = customer["consentsData"]
    kept = [one for one in data["consents"] if not _stands(one["value"], standing.get(one["id"]))]
    rest = {name: value for name, value in customer.items() if name != "consentsData"}
    if not kept:
        return rest
    options = {name: value for name, value in data.items() if not (again and name == "force")}
    return {**rest, "consentsData": {**options, "consents": kept}}


def _stands(wanted: Any, held: Any) -> bool:
    return bool(wanted == held) or (wanted == AWAITING_CONFIRMATION and held == GRANTED)


def holds(held: Mapping[str, Any], customer: Mapping[str, Any]) -> bool:
    """Return True if the CRM holds what was sent, as far as the vendor's page says that it is shown."""
    standing = consents_of(held)
    return (
        all(_same(customer[name], held.get(name)) for name in _SHOWN if name in customer)
        and all(_stands(value, standing.get(number)) for number, value in consents_of(customer).items())
        and all(_same(value, _attributes(held).get(name)) for name, value in _attributes(customer).items())
    )


def differences(held: Mapping[str, Any] | None, customer: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return by field what the CRM holds, as far as it is shown, and what is wanted, where they are not the same."""
    there, wanted = _flat(held or {}), _flat(customer)
    return {
        name: (there.get(name), value)
        for name, value in wanted.items()
        if not (_same(value, there.get(name)) or _stands(value, there.get(name)))
    }


def _flat(customer: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: value for name, value in customer.items() if name not in _NESTED}
    values |= {f"customAttributes.{name}": value for name, value in _attributes(customer).items()}
    return values | {f"consents.{number}": value for number, value in consents_of(customer).items()}


_NESTED = ("customAttributes", "consentsData")
_SHOWN = ("email", "phone", "crmId", "firstName", "lastName", "gender", "dateOfBirth")


def _attributes(customer: Mapping[str, Any]) -> dict[Any, Any]:
    return {one.get("name"): one.get("value") for one in customer.get("customAttributes") or ()}


def _same(wanted: Any, held: Any) -> bool:
    """Compare two texts; of a moment, the seconds count."""
    one, other = ("" if value is None else comparable(str(value)).casefold() for value in (wanted, held))
    return one == other or bool(_MOMENT.match(one) and one[:19] == other[:19])


_MOMENT = re.compile(r"\d{4}-\d\d-\d\dt\d\d:\d\d:\d\d")
