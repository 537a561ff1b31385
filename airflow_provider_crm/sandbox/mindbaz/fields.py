"""The fields of the Mindbaz site and how a value is read into each. Knows no subscriber and no HTTP.

Field ids, names and types: https://learn.mindbaz.com/docs/dbfieldsmanagement and
https://learn.mindbaz.com/docs/dbaddsubscriber; the custom fields are invented.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from airflow_provider_crm.sandbox.mindbaz.switches import MindbazSwitches

Value = str | int | float | bool | None

ID, EMAIL, FIRST_SUBSCRIPTION, LAST_SUBSCRIPTION, STATUS, DOMAIN, CLIENT_ID = 0, 1, 2, 3, 7, 37, 43
TEXT_TYPE, INTEGER_TYPE, DATE_TYPE, LIST_TYPE, BOOLEAN_TYPE = 1, 2, 3, 4, 5


class BadValueError(Exception):
    """A value that a field cannot take, with the reason."""


class ListItem(msgspec.Struct, frozen=True):
    """One choice of a list field."""

    key: int
    value: str


class Field(msgspec.Struct, frozen=True, rename="camel"):
    """One field as ``fields/list`` shows it.

    :param field_type: 1 text, 2 integer, 3 date, 4 list, 5 boolean.
    """

    id: int
    name: str
    field_type: int
    description: str
    length: int = 0
    list: tuple[ListItem, ...] = ()
    is_system: bool = True
    is_visible: bool = True
    is_editable: bool = True
    is_hidden_by_client: bool = False


def _choices(*labels: str, start: int = 0) -> tuple[ListItem, ...]:
    return tuple(ListItem(key, label) for key, label in enumerate(labels, start))


STATUSES = _choices(
    "Abonné",
    "Désabonné",
    "Désabonnement manuel",
    "Assainissement / Domaine invalide",
    "Assainissement / Syntaxe invalide",
    "Assainissement / Liste repoussoir",
    "Assainissement / Doublon",
    "Assainissement NPAI",
    "En attente de confirmation d'inscription",
    "Spam",
    "En attente de validation",
    "Test FAI",
    "Désabonnement groupe",
)

FIELDS = (
    Field(ID, "id", INTEGER_TYPE, "Identifiant", is_editable=False),
    Field(EMAIL, "email", TEXT_TYPE, "Email", 255),
    Field(FIRST_SUBSCRIPTION, "premier_abonnement", DATE_TYPE, "Première date d'abonnement"),
    Field(LAST_SUBSCRIPTION, "dernier_abonnement", DATE_TYPE, "Dernière date d'abonnement"),
    Field(4, "desabonnement", DATE_TYPE, "Date de désabonnement"),
    Field(5, "premiere_provenance", TEXT_TYPE, "Première provenance", 255),
    Field(6, "derniere_provenance", TEXT_TYPE, "Dernière provenance", 255),
    Field(STATUS, "statut", LIST_TYPE, "État de l'abonné", list=STATUSES),
    Field(8, "offres_partenaires", BOOLEAN_TYPE, "Abonnement aux offres partenaires"),
    Field(13, "civilite", LIST_TYPE, "Civilité", list=_choices("M.", "Mme", "Mlle")),
    Field(14, "nom", TEXT_TYPE, "Nom", 255),
    Field(15, "prenom", TEXT_TYPE, "Prénom", 255),
    Field(17, "ville", TEXT_TYPE, "Ville", 255),
    Field(18, "code_postal", TEXT_TYPE, "Code postal", 20),
    Field(19, "pays", TEXT_TYPE, "Pays", 100),
    Field(20, "date_naissance", DATE_TYPE, "Date de naissance"),
    Field(
        21,
        "mode_collecte",
        LIST_TYPE,
        "Mode de collecte",
        list=_choices("Achat", "Échange", "Naturel", "Autre"),
    ),
    Field(
        22,
        "type_collecte",
        LIST_TYPE,
        "Type de collecte",
        list=_choices("Site", "Jeu", "Corégistration", "Viral", "Formulaire externe", "Autre"),
    ),
    Field(DOMAIN, "webmail", TEXT_TYPE, "Webmail", 255, is_editable=False),
    Field(CLIENT_ID, "id_client", TEXT_TYPE, "Identifiant client", 128),
    Field(101, "magasin_prefere", TEXT_TYPE, "Magasin préféré", 100, is_system=False),
    Field(102, "points_fidelite", INTEGER_TYPE, "Points de fidélité", is_system=False),
    Field(103, "dernier_achat", DATE_TYPE, "Date du dernier achat", is_system=False),
    Field(
        104,
        "segment",
        LIST_TYPE,
        "Segment",
        list=_choices("Bronze", "Argent", "Or", start=1),
        is_system=False,
    ),
    Field(105, "carte_fidelite", BOOLEAN_TYPE, "Possède la carte de fidélité", is_system=False),
)
CUSTOM_QUOTA = 50


class FieldTable:
    """Reads values into fields.

    :param switches: what happens to long texts, how booleans come back, the zone of dates.
    """

    def __init__(self, switches: MindbazSwitches) -> None:
        self._switches = switches
        self._keys = {field.id: {item.key for item in field.list} for field in FIELDS}
        readers = {
            TEXT_TYPE: self._text,
            INTEGER_TYPE: self._integer,
            DATE_TYPE: self._date,
            LIST_TYPE: self._list,
            BOOLEAN_TYPE: self._boolean,
        }
        self.readers: dict[int, tuple[Field, Callable[[Field, Any], Value]]] = {
            field.id: (field, readers[field.field_type]) for field in FIELDS
        }

    def _text(self, field: Field, value: Any) -> Value:
        if isinstance(value, dict | list):
            raise BadValueError(f"Field {field.id}: not a text")
        text = value if isinstance(value, str) else str(value)
        if len(text) > field.length:
            if self._switches.long_text == "abort":
                raise BadValueError(f"Field {field.id}: the value is longer than {field.length} characters")
            return text[: field.length]
        return text

    def _integer(self, field: Field, value: Any) -> Value:
        if not isinstance(value, int | str) or isinstance(value, bool):
            raise BadValueError(f"Field {field.id}: not an integer")
        try:
            number = int(value)
        except ValueError:
            raise BadValueError(f"Field {field.id}: not an integer") from None
        if abs(number) >= 1 << 63:
            raise BadValueError(f"Field {field.id}: the number is too large")
        return number

    def _list(self, field: Field, value: Any) -> Value:
        key = self._integer(field, value)
        if key not in self._keys[field.id]:
            raise BadValueError(f"Field {field.id}: {key} is not in its list")
        return key

    def _boolean(self, field: Field, value: Any) -> Value:
        truth = {"1": True, "true": True, "0": False, "false": False}.get(str(value).lower())
        if truth is None:
            raise BadValueError(f"Field {field.id}: not a boolean")
        return truth if self._switches.boolean_as == "bool" else int(truth)

    def _date(self, field: Field, value: Any) -> Value:
        date = read_date(value, self._switches.zone) if isinstance(value, str) else None
        if date is None:
            raise BadValueError(f"Field {field.id}: not a date")
        return date


@lru_cache(maxsize=8192)
def read_date(text: str, zone: str) -> str | None:
    """Normalise a date to ISO 8601 with the offset of its zone, as the vendor's samples do.

    :param text: ``2023/01/04 17:39`` as documented, or anything ISO 8601.
    :param zone: of dates without an offset.
    :return: such as ``2023-01-04T17:39:00+01:00``; None when it is no date.
    """
    try:
        date = datetime.fromisoformat(text.strip().replace("/", "-"))
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=ZoneInfo(zone))
    return date.isoformat()
