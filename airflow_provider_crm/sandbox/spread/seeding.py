"""What the made-up people have done at SPREAD before a test begins. Knows no HTTP and no switch."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from airflow_provider_crm.sandbox.people import Person
from airflow_provider_crm.sandbox.spread.consents import DEFINITIONS, SOURCES, STATUSES, Consents
from airflow_provider_crm.sandbox.spread.customers import Changes, Customers
from airflow_provider_crm.sandbox.spread.dates import Clock
from airflow_provider_crm.sandbox.spread.loyalty import Loyalty

CAMPAIGN_ID = "46354"


def plant(person: Person, customers: Customers, consents: Consents, loyalty: Loyalty, clock: Clock) -> None:
    """Make a customer of a person, with up to three answers to consents and up to two loyalty lines."""
    number = person.number
    values: dict[str, str | None] = {
        "last_name": person.last_name,
        "first_name": person.first_name,
        "country": "FR",
        "city": person.city,
        "zip": person.zip,
        "mobile": person.phone,
        "birthday": person.birthday.isoformat(),
        "gender": person.gender,
        "external_id": f"C{number:07d}",
        "is_buyer": str(number % 2),
    }
    changes = Changes(
        values, ["VIP"] if number % 5 == 0 else [], {"34567": "Basket"} if number % 4 == 0 else {}
    )
    customer = customers.add(person.email, changes, clock.with_offset(person.created_at))
    for step in range(number % 4):
        given_at = clock.without_zone(person.created_at + timedelta(days=step, seconds=number % 60))
        consent, status = DEFINITIONS[(number + step) % 3], STATUSES[(number + step) % 4]
        consents.add(customer.id, consent, status, given_at, SOURCES[number % len(SOURCES)], "65745")
    for step in range(number % 3):
        earned_at = clock.without_zone(person.created_at + timedelta(days=7 * step + 1))
        amount = Decimal(-5) if step else Decimal(100)
        loyalty.add(customer.id, amount, earned_at, campaign_id=None if step else CAMPAIGN_ID)
