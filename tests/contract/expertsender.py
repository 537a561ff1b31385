"""ExpertSender's destinations, for the contract suite."""

from __future__ import annotations

from collections import Counter
from typing import Any

from airflow_provider_crm.operators.expertsender import (
    ExpertSenderDeleteCustomersOperator,
    ExpertSenderExportCustomersOperator,
    ExpertSenderUpsertCustomersOperator,
)
from airflow_provider_crm.sandbox.server import Sandbox
from airflow_provider_crm.sensors.expertsender import ExpertSenderCustomerSensor

from .entry import Destination, Export, Mode, Sensor

AWAITING = "AwaitingConfirmation"
POINTS = "customAttributes.Points de fidélité"
_WORD = "no body is documented for what was done: any answer of 200 is the vendor's word"
BLIND = {
    "answer_before": _WORD,
    "answer_after": _WORD,
    "failed_batch=good_rows_201": _WORD,
    "unknown_attribute=ignore": "the row that is refused otherwise is taken",
    "attribute_types=store": "the row that is refused otherwise is taken",
}


def _seed(sandbox: Sandbox) -> None:
    for number in (0, 2, 4):
        sandbox.expertsender.add_customer(f"p{number}@x.fr", first_name="old")
    sandbox.expertsender.add_customer("leaving@x.fr", first_name="old", consents={1: "True"})
    sandbox.expertsender.add_customer("out@x.fr", first_name="old", consents={1: "False"})


def _held(sandbox: Sandbox) -> tuple[dict[str, Any], Counter[tuple[str, int]]]:
    """First names and consents by e-mail, and the mails that were sent."""
    people = sandbox.records("expertsender", "customers")
    held = {one["email"].lower(): (one["firstName"], _consents(one)) for one in people}
    assert len(held) == len(people), "nobody is there twice"
    mails = Counter(
        (one["email"].lower(), one["consent_id"]) for one in sandbox.records("expertsender", "mailbox")
    )
    return held, mails


def _consents(customer: dict[str, Any]) -> dict[int, str]:
    return {one["id"]: one["value"] for one in customer.get("consentsData", {}).get("consents", [])}


def _opted_out(sandbox: Sandbox) -> set[tuple[int, int]]:
    """Who has refused which consent."""
    people = sandbox.records("expertsender", "customers")
    return {
        (one["id"], consent)
        for one in people
        for consent, value in _consents(one).items()
        if value == "False"
    }


NOBODY_NEW = {"p0@x.fr": ("old", {}), "p2@x.fr": ("old", {}), "p4@x.fr": ("old", {})}
OUT = {"out@x.fr": ("old", {1: "False"})}
LEAVING, LEFT = {"leaving@x.fr": ("old", {1: "True"})}, {"leaving@x.fr": ("Left", {1: "False"})}
KNOWN = {"p0@x.fr": ("Z", {}), "p2@x.fr": ("P2", {1: AWAITING}), "p4@x.fr": ("P4", {})}
NEW = {"p1@x.fr": ("P1", {}), "p3@x.fr": ("P3", {1: AWAITING, 2: "True"}), "p6@x.fr": ("P6", {})}

UPSERT = Destination(
    name="expertsender-upsert",
    system="expertsender",
    operator=ExpertSenderUpsertCustomersOperator,
    parameters={"batch_size": 4},
    seed=_seed,
    rows=[
        {"email": "p0@x.fr", "firstName": "P0"},
        {"email": "p1@x.fr", "firstName": "P1", POINTS: 1},
        {"email": "p2@x.fr", "firstName": "P2", "consents.1": AWAITING},
        {"email": "p3@x.fr", "firstName": "P3", "consents": {"1": AWAITING, "2": True}},
        {"email": "p4@x.fr", "firstName": "P4"},
        {"email": "p5@x.fr", "firstName": "P5", POINTS: "many"},  # not of its type: the CRM finds out
        {"email": "p6@x.fr", "firstName": "P6"},
        {"email": "p7@x.fr", "customAttributes": {"Unknown": "x"}},
        {"email": "two..dots@x", "firstName": "P8"},  # more than a light check sees
        {"email": "leaving@x.fr", "firstName": "Left", "consents.1": False},
        {"email": " "},
        {"email": "bad@x.fr", "gender": "?"},
        {"email": "out@x.fr", "firstName": "In", "consents.1": True},
        {"email": "P0@X.fr", "firstName": "Z"},
    ],
    modes={
        "AddOrUpdate": Mode(
            ends="skipped updated updated updated updated rejected updated rejected rejected updated"
            " rejected rejected rejected updated",
            dry="skipped updated updated updated updated updated updated updated updated updated"
            " rejected rejected rejected updated",
            again="skipped updated updated updated updated rejected updated rejected rejected updated"
            " rejected rejected rejected updated",
            held=({**KNOWN, **NEW, **LEFT, **OUT}, {("p2@x.fr", 1): 1, ("p3@x.fr", 1): 1}),
        ),
        "Add": Mode(
            parameters={"mode": "Add"},
            ends="skipped created skipped created skipped rejected created rejected rejected skipped"
            " rejected rejected skipped skipped",
            dry="skipped created skipped created skipped created created created created skipped"
            " rejected rejected skipped skipped",
            again="skipped skipped skipped skipped skipped rejected skipped rejected rejected skipped"
            " rejected rejected skipped skipped",
            held=({**NOBODY_NEW, **NEW, **LEAVING, **OUT}, {("p3@x.fr", 1): 1}),
        ),
        "Update": Mode(
            parameters={"mode": "Update"},
            ends="skipped skipped updated skipped updated skipped skipped skipped skipped updated"
            " rejected rejected rejected updated",
            again="skipped skipped updated skipped updated skipped skipped skipped skipped updated"
            " rejected rejected rejected updated",
            held=({**KNOWN, **LEFT, **OUT}, {("p2@x.fr", 1): 1}),
        ),
    },
    held=_held,
    opted_out=_opted_out,
    will=({"email": "P0@x.fr", "consents.1": False}, {"email": "p0@x.fr", "consents.1": True}),
    blind={
        **BLIND,
        "stale": "no call writes on condition of what is held: whom no look shows is written as somebody new",
    },
)

DELETE = Destination(
    name="expertsender-delete",
    system="expertsender",
    operator=ExpertSenderDeleteCustomersOperator,
    seed=_seed,
    rows=[
        {"email": " P0@x.fr"},
        {"email": "nobody@x.fr"},
        {"email": "p2@x.fr"},
        {"email": ""},
        {"email": "p0@x.fr"},
    ],
    modes={
        "delete": Mode(
            ends="skipped skipped deleted rejected deleted",
            again="skipped skipped skipped rejected skipped",
            held=({"p4@x.fr": ("old", {}), **LEAVING, **OUT}, {}),
        )
    },
    held=_held,
    opted_out=_opted_out,
    blind=BLIND,
)

CUSTOMERS = Export(
    name="expertsender-customers",
    system="expertsender",
    operator=ExpertSenderExportCustomersOperator,
    parameters={
        "source": [{"email": email} for email in ("p0@x.fr", "leaving@x.fr", "nobody@x.fr", " P0@x.fr")]
    },
    seed=_seed,
    column="email",
    values=["p0@x.fr", "leaving@x.fr"],
)

CUSTOMER = Sensor(
    name="expertsender-customer",
    system="expertsender",
    sensor=ExpertSenderCustomerSensor,
    parameters={"value": "new@x.fr", "consent_id": 1, "consent_value": "True"},
    seed=_seed,
    arrive=lambda sandbox: sandbox.expertsender.add_customer("new@x.fr", consents={1: "True"}),
    seen={"by": "email", "consent_id": "1", "consent_value": "True"},
)
