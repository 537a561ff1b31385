"""Made-up French people, the same ones in every run and every stand-in. Knows no CRM."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import msgspec

FIRST_NAMES = (
    ("Zoé", "female"),
    ("François", "male"),
    ("Chloé", "female"),
    ("Jérôme", "male"),
    ("Anaïs", "female"),
    ("Loïc", "male"),
    ("Hélène", "female"),
    ("Rémi", "male"),
    ("Inès", "female"),
    ("Gaël", "male"),
    ("Françoise", "female"),
    ("Benoît", "male"),
    ("Noémie", "female"),
    ("Théo", "male"),
    ("Maëlle", "female"),
    ("Jean-Noël", "male"),
    ("Marie", "female"),
    ("Cédric", "male"),
    ("Aurélie", "female"),
)
LAST_NAMES = (
    "Lefèvre",
    "Müller",
    "Garçon",
    "Bénard",
    "D'Artois",
    "Châtelain",
    "Noël",
    "Le Goff",
    "Guérin",
    "Maçon",
    "Prévost",
    "Sœur",
    "Dubois",
    "Gaëtan",
    "Hervé",
    "Lemaître",
    "Pérès",
    "Rousseau",
    "Tréhout",
    "Vallée",
    "Île-Dieu",
    "Çelik",
    "Moreau",
)
CITIES = (
    ("Besançon", "25000"),
    ("Saint-Étienne", "42000"),
    ("Nîmes", "30000"),
    ("Orléans", "45000"),
    ("Angoulême", "16000"),
    ("Évry", "91000"),
    ("Béziers", "34500"),
    ("Lille", "59000"),
    ("Mâcon", "71000"),
    ("Châlons-en-Champagne", "51000"),
    ("Alès", "30100"),
    ("Sète", "34200"),
    ("Rouen", "76000"),
)
DOMAINS = ("example.fr", "courriel.example", "poste.example.org", "exemple.test", "mail.example.com")
EPOCH = datetime(2024, 1, 1, 8, 0, tzinfo=UTC)


class Person(msgspec.Struct, frozen=True, gc=False):
    """Somebody who does not exist."""

    number: int
    first_name: str
    last_name: str
    gender: str
    email: str
    phone: str
    city: str
    zip: str
    birthday: date
    created_at: datetime


def people(start: int, count: int) -> Iterator[Person]:
    """Make up people.

    :param start: the number of the first one; person 7 is always the same.
    :param count: how many.
    """
    return (person(number) for number in range(start, start + count))


def person(number: int) -> Person:
    """Make up the person of that number."""
    # The three lists have lengths without a common divisor, so neighbours differ in every column.
    first_name, gender = FIRST_NAMES[number % len(FIRST_NAMES)]
    last_name = LAST_NAMES[number % len(LAST_NAMES)]
    city, zip_code = CITIES[number % len(CITIES)]
    domain = DOMAINS[number % len(DOMAINS)]
    return Person(
        number=number,
        first_name=first_name,
        last_name=last_name,
        gender=gender,
        email=f"{_PLAIN[first_name]}.{_PLAIN[last_name]}.{number}@{domain}",
        phone=f"+336{number % 100_000_000:08d}",
        city=city,
        zip=zip_code,
        birthday=date(1950, 1, 1) + timedelta(days=number * 37 % 20_000),
        created_at=EPOCH + timedelta(minutes=number),
    )


def _plain(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name.replace("œ", "oe").replace("Œ", "Oe"))
    return "".join(c for c in letters if c.isascii() and c.isalnum()).lower()


_PLAIN = {name: _plain(name) for name in (*LAST_NAMES, *(first for first, _ in FIRST_NAMES))}
