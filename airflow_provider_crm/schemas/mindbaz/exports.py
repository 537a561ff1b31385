"""Mindbaz' subscribers as typed records: the columns of their exports, and how answers become them.

Knows no HTTP and no file. Facts: the vendor's page "Gestion des abonnés" (learn.mindbaz.com).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_crm.schemas.envelopes import RowsUnder
from airflow_provider_crm.schemas.mending import Kind
from airflow_provider_crm.schemas.mindbaz.write import (
    BOOLEAN,
    DATE,
    DAY_FIELDS,
    INTEGER,
    LIST,
    ZONE,
    FieldType,
)
from airflow_provider_crm.schemas.records import Column, RecordReader, RecordType

_KINDS: dict[int, Kind] = {
    INTEGER: "integer",
    DATE: "moment",
    LIST: "integer",
    BOOLEAN: "boolean",
}


def subscriber_type(fields: Sequence[FieldType]) -> tuple[RecordType, dict[int, str]]:
    """Return the columns of an export of Mindbaz' subscribers.

    :param fields: what is exported besides the subscriber's id.
    :return: the columns, and their names by field id.
    """
    names: dict[int, str] = {}
    columns = [Column("id", "text", "Mindbaz' id of the subscriber", required=True)]
    for field in fields:
        taken = {"id", "extra", *names.values()}
        name = names[field.id] = field.name if field.name not in taken else f"{field.name} ({field.id})"
        kind: Kind = "date" if field.id in DAY_FIELDS else _KINDS.get(field.type, "text")
        columns.append(Column(name, kind, f"field {field.id} of the site"))
    return RecordType("subscribers", columns, key="id"), names


def subscriber_reader(record_type: RecordType) -> RecordReader:
    """Read subscribers as :meth:`~airflow_provider_crm.hooks.mindbaz.MindbazHook.get_subscribers` gives them."""
    return RecordReader(record_type, RowsUnder("subscribers"), _nothing_more, _in(ZONE))


def subscriber_row(subscriber: Mapping[str, Any], names: Mapping[int, str]) -> dict[str, Any]:
    """Name a subscriber's fields; a field that holds a day is without the time that the CRM shows with it."""
    row = {
        names[field]: value[:10] if field in DAY_FIELDS and isinstance(value, str) else value
        for field, value in subscriber["fields"].items()
        if field in names
    }
    return {"id": subscriber["id"], **row}


def _nothing_more(rows: Sequence[Any]) -> None:
    """Leave the rows as they are."""


def _in(zone: dt.tzinfo) -> Any:
    return lambda moment: moment if moment.tzinfo else moment.replace(tzinfo=zone)
