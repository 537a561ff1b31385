"""SPREAD's destinations, for the contract suite."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

from airflow_provider_crm.operators.spread import (
    SpreadCreateConsentsOperator,
    SpreadCreditLoyaltyOperator,
    SpreadDeleteCustomersOperator,
    SpreadExportConsentsOperator,
    SpreadExportCustomersOperator,
    SpreadExportLoyaltyOperator,
    SpreadUpdateEmailsOperator,
    SpreadUpsertCustomersOperator,
)
from airflow_provider_crm.sandbox.server import Sandbox
from airflow_provider_crm.sandbox.spread.consents import DEFINITIONS
from airflow_provider_crm.sensors.spread import (
    SpreadConsentSensor,
    SpreadCustomerSensor,
    SpreadLoyaltyBalanceSensor,
)

from .entry import Destination, Export, Mode, Sensor

NEWSLETTER, _, PHONE, *_ = DEFINITIONS
PAST = "2024-05-01 12:00:00"
#: The body's root is called customer in all of the vendor's samples.
BLIND = {"root_key=contact": "a body of another form than in the vendor's samples"}


def _emails(sandbox: Sandbox) -> dict[str, str]:
    """E-mails by id."""
    customers = sandbox.records("spread", "customers")
    emails = {one["id"]: one["email"].lower() for one in customers}
    assert len(set(emails.values())) == len(emails), "nobody is there twice"
    return emails


def _opted_out(sandbox: Sandbox) -> set[tuple[str, str]]:
    """Whose last answer to which consent is a refusal."""
    latest = {}
    for event in sorted(sandbox.spread.consents.events, key=lambda event: event.created_at):
        latest[event.customer_id, event.consent.id] = event.status
    return {which for which, status in latest.items() if status == "refused"}


# --- customers -----------------------------------------------------------------------------------------------------


def _seed_customers(sandbox: Sandbox) -> None:
    spread = sandbox.spread
    anna = spread.add_customer("anna@example.fr", last_name="Noël", is_buyer="1", country="FR")
    anna.tags = ["VIP", "other"]
    bert = spread.add_customer(
        "bert@example.fr", last_name="Old", city="Nîmes", is_fan="1", birthday="1970-12-31"
    )
    spread.customers.custom_fields[bert.id] = {"34567": "Foot"}


def _customers(sandbox: Sandbox) -> dict[str, Any]:
    """Everything that a row, or an update that clears what it does not mention, could change, by e-mail."""
    _emails(sandbox)
    spread = sandbox.spread
    return {
        one.email.lower(): (
            one.last_name,
            one.city,
            one.is_fan,
            one.birthday,
            tuple(one.tags),
            spread.customers.custom_fields.get(one.id, {}),
        )
        for one in spread.customers.values()
    }


ANNA = {"anna@example.fr": ("Noël", None, "0", None, ("VIP", "other"), {})}
BERT_BEFORE = {"bert@example.fr": ("Old", "Nîmes", "1", "1970-12-31", (), {"34567": "Foot"})}
BERT = {
    "bert@example.fr": ("Martin", "Nîmes", "1", "1970-12-31", ("VIP", "new"), {"34567": "Foot", "1235": "2"})
}
ADDED = {
    "new@example.fr": ("Zoé", None, "0", None, (), {"34567": "Basket", "1239": "a|b"}),
    "other@example.fr": ("Autre", None, "0", None, (), {}),
}

UPSERT = Destination(
    name="spread-upsert",
    system="spread",
    operator=SpreadUpsertCustomersOperator,
    seed=_seed_customers,
    rows=[
        {"email": "new@example.fr", "lastName": "Earlier"},
        {"email": " Anna@Example.FR", "lastName": "Noël", "isBuyer": True, "tags": "VIP", "country": "fr"},
        {"email": "bert@example.fr", "lastName": "Martin", "tags": ["VIP", "new"], "custom_fields.1235": 2},
        {
            "email": "new@example.fr",
            "lastName": "Zoé",
            "custom_fields": '{"34567": "Basket", "1239": ["a", "b"]}',
        },
        {"email": "other@example.fr", "lastName": "Autre"},
        {"email": "carla@example.fr", "country": "XX"},
        {"email": "nobody", "country": "FR"},
    ],
    modes={
        "upsert": Mode(
            ends="skipped unchanged updated created created rejected rejected",
            held={**ANNA, **BERT, **ADDED},
        ),
        "create": Mode(
            parameters={"mode": "create"},
            ends="skipped skipped skipped created created rejected rejected",
            again="skipped skipped skipped skipped skipped rejected rejected",
            held={**ANNA, **BERT_BEFORE, **ADDED},
        ),
        "update": Mode(
            parameters={"mode": "update"},
            ends="skipped unchanged updated skipped skipped rejected rejected",
            held={**ANNA, **BERT},
        ),
    },
    held=_customers,
    opted_out=_opted_out,
    blind=BLIND,
)

# --- consents ------------------------------------------------------------------------------------------------------


def _seed_consents(sandbox: Sandbox) -> None:
    spread = sandbox.spread
    anna, _, carla = (spread.add_customer(f"{name}@example.fr").id for name in ("anna", "bert", "carla"))
    for customer, consent, status, date in (
        (anna, NEWSLETTER, "refused", "2019-01-01 00:00:00"),
        (anna, NEWSLETTER, "accepted", "2022-01-01 00:00:00"),
        (carla, NEWSLETTER, "refused", "2022-01-01 00:00:00"),
        (carla, PHONE, "accepted", "2023-01-01 00:00:00"),
    ):
        spread.consents.add(customer, consent, status, date, "manualImport")


def _consents(sandbox: Sandbox) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """The answers that were added, in their order, by person and consent."""
    emails = _emails(sandbox)
    answers: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for event in sandbox.spread.consents.events:
        if event.source == "upstreamAPIv2POST":
            of = answers.setdefault((emails[event.customer_id], event.consent.id), [])
            of.append((event.status, event.created_at))
    return answers


CONSENTS = Destination(
    name="spread-consents",
    system="spread",
    operator=SpreadCreateConsentsOperator,
    seed=_seed_consents,
    rows=[
        {"email": who, "consent_id": consent, "consent_tech_name": name, "status": status, "created_at": date}
        for who, consent, name, status, date in (
            ("anna@example.fr", 9876, None, "accepted", "2020-01-01 00:00:00"),  # as the CRM says
            ("bert@example.fr", 9876, None, "accepted", "2020-01-01T10:00:00"),
            ("bert@example.fr", 9876, None, "refused", "2021-01-01T09:00:00Z"),
            ("bert@example.fr", 9876, None, "refused", "2021-01-01 10:00:00"),  # the same once more
            ("Bert@Example.fr", None, PHONE.consent_tech_name, "Accepted", PAST),
            ("carla@example.fr", 9876, None, "accepted", "2020-01-01 00:00:00"),  # older than her refusal
            ("carla@example.fr", 9875, None, "unknown", PAST),  # unknown, and no value before
            ("carla@example.fr", 4711, None, "accepted", PAST),  # no such consent
            ("nobody@example.fr", 9876, None, "accepted", PAST),
            ("anna@example.fr", 9876, None, "toBeConfirmed", PAST),
            ("anna@example.fr", None, "LegalBasisOptin", "accepted", PAST),  # two consents
        )
    ],
    modes={
        "only-changes": Mode(
            ends="unchanged created skipped created created skipped rejected rejected rejected rejected rejected",
            again="unchanged unchanged skipped unchanged unchanged skipped"
            " rejected rejected rejected rejected rejected",
            # What only the CRM can refuse is not known beforehand.
            dry="unchanged created skipped created created skipped created created rejected rejected rejected",
            held={
                ("bert@example.fr", "9876"): [
                    ("accepted", "2020-01-01 10:00:00"),
                    ("refused", "2021-01-01 10:00:00"),
                ],
                ("bert@example.fr", "9874"): [("accepted", PAST)],
            },
        )
    },
    held=_consents,
    opted_out=_opted_out,
    will=(
        {"email": "Bert@example.fr", "consent_id": 9876, "status": "refused", "created_at": PAST},
        {"email": "bert@example.fr", "consent_id": 9876, "status": "accepted", "created_at": PAST},
    ),
    blind=BLIND,
)

# --- e-mails -------------------------------------------------------------------------------------------------------


def _seed_emails(sandbox: Sandbox) -> None:
    for name in ("A", "b", "c", "done"):
        sandbox.spread.add_customer(f"{name}@example.fr")


EMAILS = Destination(
    name="spread-emails",
    system="spread",
    operator=SpreadUpdateEmailsOperator,
    seed=_seed_emails,
    rows=[
        {"old_email": old, "new_email": new}
        for old, new in (
            ("a@example.fr", "a2@example.fr"),
            ("A2@example.fr", "a3@example.fr"),
            ("b@example.fr", "c@example.fr"),  # belongs to somebody else
            ("done-old@example.fr", "done@example.fr"),
            ("nobody@example.fr", "nowhere@example.fr"),
            ("c@example.fr", "C@example.fr"),
            ("c@example.fr", None),
            ("done-old@example.fr", "done@example.fr"),
        )
    ],
    modes={
        "emails": Mode(
            ends="updated updated rejected skipped rejected unchanged rejected unchanged",
            # The first address of the chain leads nowhere any more.
            again="rejected unchanged rejected skipped rejected unchanged rejected unchanged",
            # The second link of the chain is not there before the first is made.
            dry="updated rejected rejected skipped rejected unchanged rejected unchanged",
            held=["a3@example.fr", "b@example.fr", "c@example.fr", "done@example.fr"],
        )
    },
    held=lambda sandbox: sorted(_emails(sandbox).values()),
    opted_out=_opted_out,
    blind=BLIND,
)

# --- deletions -----------------------------------------------------------------------------------------------------


def _seed_deletions(sandbox: Sandbox) -> None:
    for name in ("a", "b", "c", "d", "kept"):  # their ids run from 123456
        sandbox.spread.add_customer(f"{name}@example.fr")


DELETE = Destination(
    name="spread-delete",
    system="spread",
    operator=SpreadDeleteCustomersOperator,
    seed=_seed_deletions,
    rows=[
        {"id": "123456", "email": None},
        {"id": 123457, "email": "B@example.fr"},
        {"id": "", "email": "C@Example.fr"},
        {"id": "123459", "email": "somebody-else@example.fr"},
        {"id": None, "email": "absent@example.fr"},
        {"id": "99", "email": "absent-too@example.fr"},
        {"id": "98", "email": "kept@example.fr"},  # registered anew, under another id
        {"id": None, "email": None},
        {"id": "12,34", "email": None},
        {"id": 123456, "email": None},
    ],
    modes={
        "delete": Mode(
            ends="skipped deleted deleted rejected skipped skipped rejected rejected rejected deleted",
            again="skipped skipped skipped rejected skipped skipped rejected rejected rejected skipped",
            held=["d@example.fr", "kept@example.fr"],
        )
    },
    held=lambda sandbox: sorted(_emails(sandbox).values()),
    opted_out=_opted_out,
    blind={
        **BLIND,
        "stale": "it is deleted by SPREAD's id only, and what a call by an unknown one answers is not documented",
    },
)

# --- loyalty -------------------------------------------------------------------------------------------------------


def _seed_loyalty(sandbox: Sandbox) -> None:
    for name in ("anna", "bert"):
        sandbox.spread.add_customer(f"{name}@example.fr")


def _lines(sandbox: Sandbox) -> Counter[tuple[str, str]]:
    """How often which amount was credited to whom."""
    emails = _emails(sandbox)
    return Counter(
        (emails[line["customerId"]], line["amount"]) for line in sandbox.records("spread", "lines")
    )


CREDIT = Destination(
    name="spread-credit",
    system="spread",
    operator=SpreadCreditLoyaltyOperator,
    parameters={"settle_seconds": 0.05},
    seed=_seed_loyalty,
    rows=[
        {"credit_key": key, "email": email, "amount": amount}
        for key, email, amount in (
            ("k1", "anna@example.fr", 5),
            ("k2", " Anna@Example.fr", 5),  # the same amount, for another reason
            ("k3", "bert@example.fr", "7.5"),
            ("k3", "bert@example.fr", "7.50"),
            ("k4", "nobody@example.fr", 5),
            ("k5", "bert@example.fr", 0),
            ("", "bert@example.fr", 1),
        )
    ],
    modes={
        "credit": Mode(
            ends="created created created unchanged rejected rejected rejected",
            again="unchanged unchanged unchanged unchanged rejected rejected rejected",
            dry="created created created unchanged created rejected rejected",  # nobody is looked up
            held={("anna@example.fr", "5"): 2, ("bert@example.fr", "7.5"): 1},
        )
    },
    held=_lines,
    opted_out=_opted_out,
    blind={
        **BLIND,
        "amount_key=cagnotteAmount": "a body of another form than in the vendor's samples",
        **dict.fromkeys(
            ("late_commit", "late_reads"),
            "the ledger waits by the clock of its database: tests/loyalty/test_lost_answers.py, test_machine.py",
        ),
        "decimal_amount=round": "rows with decimals are rejected after the first that was rounded",
        "decimal_amount=400": "the row that is taken otherwise is refused",
    },
)

# --- exports and sensors -------------------------------------------------------------------------------------------

ALL = {"window": "all", "page_size": 2}


def _seed_lines(sandbox: Sandbox) -> None:
    for number in range(5):
        customer = sandbox.spread.add_customer(f"p{number}@example.fr")
        _credit(sandbox, customer.id, number + 1)


def _credit(sandbox: Sandbox, customer_id: str, amount: int) -> None:
    sandbox.spread.loyalty.add(customer_id, Decimal(amount), PAST, campaign_id=None)


CUSTOMERS = Export(
    name="spread-customers",
    system="spread",
    operator=SpreadExportCustomersOperator,
    parameters=ALL,
    seed=_seed_deletions,
    column="email",
    values=[f"{name}@example.fr" for name in ("a", "b", "c", "d", "kept")],
)

ANSWERS = Export(
    name="spread-answers",
    system="spread",
    operator=SpreadExportConsentsOperator,
    parameters={"consent_id": "all", **ALL},
    seed=_seed_consents,
    column="id",
    values=["123456", "123456", "123458", "123458"],
)

LINES = Export(
    name="spread-lines",
    system="spread",
    operator=SpreadExportLoyaltyOperator,
    parameters=ALL,
    seed=_seed_lines,
    column="customerId",
    values=[str(123456 + number) for number in range(5)],
)

ANSWERED = Sensor(
    name="spread-answered",
    system="spread",
    sensor=SpreadConsentSensor,
    parameters={"consent_id": NEWSLETTER.id, "created_after": "2024-01-01", "status": "accepted"},
    seed=_seed_consents,
    arrive=lambda sandbox: sandbox.spread.consents.add(
        "123456", NEWSLETTER, "accepted", PAST, "manualImport"
    ),
    seen={
        "consent_id": NEWSLETTER.id,
        "status": "accepted",
        "created_after": "2024-01-01 00:00:00",
        "count": 1,
    },
)

CUSTOMER = Sensor(
    name="spread-customer",
    system="spread",
    sensor=SpreadCustomerSensor,
    parameters={"email": "New@example.fr"},
    seed=_seed_deletions,
    arrive=lambda sandbox: sandbox.spread.add_customer("new@example.fr"),
    seen={"id": "123461"},
)

BALANCE = Sensor(
    name="spread-balance",
    system="spread",
    sensor=SpreadLoyaltyBalanceSensor,
    parameters={"customer_id": 123456, "min_amount": 3},
    seed=_seed_lines,
    arrive=lambda sandbox: _credit(sandbox, "123456", 2),
    seen={"id": "123456", "cagnotteAmount": "3"},
)
