"""Mindbaz' destinations, for the contract suite."""

from __future__ import annotations

from typing import Any

from airflow_provider_crm.operators.mindbaz import (
    MindbazExportSubscribersOperator,
    MindbazUnsubscribeOperator,
    MindbazUpsertSubscribersOperator,
)
from airflow_provider_crm.sandbox.server import Sandbox
from airflow_provider_crm.sensors.mindbaz import MindbazSubscriberSensor

from .entry import Destination, Export, Mode, Sensor

NAME, STATUS, UNSUBSCRIBED_AT, POINTS = 14, 7, 4, 102
LONG_AGO = "2020-01-01T10:00:00+01:00"
#: A number that the stand-in cannot decode, which makes it refuse the whole call.
POISON = 2**70


def _seed(sandbox: Sandbox) -> None:
    for email, fields in (
        ("known@example.fr", {NAME: "Before"}),
        ("same@example.fr", {NAME: "Same", POINTS: 5}),
        ("out@example.fr", {NAME: "Out", STATUS: 1, UNSUBSCRIBED_AT: LONG_AGO}),
        ("spam@example.fr", {NAME: "Spam", STATUS: 9}),
        ("leaving@example.fr", {NAME: "Leaving"}),
    ):
        sandbox.mindbaz.insert({1: email, **fields})


def _held(sandbox: Sandbox) -> dict[str, Any]:
    """Names and statuses by e-mail."""
    lines = [line["fields"] for line in sandbox.records("mindbaz", "subscribers")]
    people = {fields[1]: (fields.get(NAME), fields[STATUS]) for fields in lines}
    assert len(people) == len(lines), "nobody is there twice"
    return people


def _opted_out(sandbox: Sandbox) -> set[str]:
    """Who is unsubscribed, on the suppression list or has complained."""
    return {email for email, (_, status) in _held(sandbox).items() if status in (1, 2, 5, 9, 12)}


BEFORE = {
    "known@example.fr": ("Before", 0),
    "same@example.fr": ("Same", 0),
    "out@example.fr": ("Out", 1),
    "spam@example.fr": ("Spam", 9),
    "leaving@example.fr": ("Leaving", 0),
}
CHANGED = {
    "known@example.fr": ("After", 0),
    "spam@example.fr": ("Still", 9),
    "leaving@example.fr": ("Left", 1),
}
ADDED = {
    "new@example.fr": ("Later", 0),
    **{f"new{number}@example.fr": (f"New {number}", number % 2) for number in range(4)},
}

UPSERT = Destination(
    name="mindbaz-upsert",
    system="mindbaz",
    operator=MindbazUpsertSubscribersOperator,
    parameters={"batch_size": 4, "concurrency": 3},
    seed=_seed,
    rows=[
        {"email": "new@example.fr", "nom": "Earlier"},
        {"email": " Known@Example.fr", "nom": "After", "statut": 0},
        {"email": "same@example.fr", "nom": "Same", "points_fidelite": 5},
        {"email": "out@example.fr", "nom": "In", "statut": 0},
        {"email": "spam@example.fr", "nom": "Still", "statut": 9},
        {"email": "invalid@nodot", "nom": "Invalid"},
        {"email": "", "nom": "Nobody"},
        {"email": "wrong@example.fr", "points_fidelite": "many"},
        {"email": "poison@example.fr", "points_fidelite": POISON},
        *({"email": f"new{n}@example.fr", "nom": f"New {n}", "statut": n % 2} for n in range(4)),
        {"email": "leaving@example.fr", "nom": "Left", "statut": 1},
        {"email": "new@example.fr", "nom": "Later"},
    ],
    modes={
        "upsert": Mode(
            ends="skipped updated unchanged rejected updated rejected rejected rejected rejected"
            " created created created created updated created",
            dry="skipped updated unchanged rejected updated created rejected rejected created"
            " created created created created updated created",
            held={**BEFORE, **CHANGED, **ADDED},
        ),
        "create": Mode(
            parameters={"mode": "create"},
            ends="skipped skipped skipped skipped skipped rejected rejected rejected rejected"
            " created created created created skipped created",
            dry="skipped skipped skipped skipped skipped created rejected rejected created"
            " created created created created skipped created",
            again="skipped skipped skipped skipped skipped rejected rejected rejected rejected"
            " skipped skipped skipped skipped skipped skipped",
            held={**BEFORE, **ADDED},
        ),
        "update": Mode(
            parameters={"mode": "update"},
            ends="skipped updated unchanged rejected updated skipped rejected rejected skipped"
            " skipped skipped skipped skipped updated skipped",
            held={**BEFORE, **CHANGED},
        ),
    },
    held=_held,
    opted_out=_opted_out,
    will=({"email": "Known@example.fr", "statut": 1}, {"email": "known@example.fr", "statut": 0}),
)

UNSUBSCRIBE = Destination(
    name="mindbaz-unsubscribe",
    system="mindbaz",
    operator=MindbazUnsubscribeOperator,
    seed=_seed,
    rows=[
        {"email": " Known@example.fr"},
        {"email": "out@example.fr"},
        {"email": "nobody@example.fr"},
        {"email": ""},
        {"email": "spam@example.fr"},
        {"email": "leaving@example.fr"},
        {"email": "known@example.fr"},
    ],
    modes={
        "unsubscribe": Mode(
            ends="skipped unchanged skipped rejected unchanged updated updated",
            held={**BEFORE, "known@example.fr": ("Before", 1), "leaving@example.fr": ("Leaving", 1)},
        )
    },
    held=_held,
    opted_out=_opted_out,
)

SUBSCRIBERS = Export(
    name="mindbaz-subscribers",
    system="mindbaz",
    operator=MindbazExportSubscribersOperator,
    parameters={
        "source": [{"email": email} for email in (*BEFORE, "nobody@example.fr", " Known@example.fr")]
    },
    seed=_seed,
    column="email",
    values=list(BEFORE),
)

SUBSCRIBER = Sensor(
    name="mindbaz-subscriber",
    system="mindbaz",
    sensor=MindbazSubscriberSensor,
    parameters={"email": "new@example.fr", "status": [0, 1]},
    seed=_seed,
    arrive=lambda sandbox: sandbox.mindbaz.insert({1: "New@example.fr", STATUS: 1}),
    seen={"id": 723086, "status": 1},
)
