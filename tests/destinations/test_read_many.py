"""Rows that are read a slice at a time become what they become one by one, or are left to that."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crm.bulk.outcomes import Destination, InvalidRowError
from airflow_provider_crm.destinations.expertsender.upserts import UpsertCustomers
from airflow_provider_crm.destinations.mindbaz.upserts import UpsertSubscribers
from airflow_provider_crm.rows.mapping import FieldMapping
from airflow_provider_crm.schemas.expertsender.write import CustomerFields
from airflow_provider_crm.schemas.mindbaz.write import BOOLEAN, DATE, INTEGER, TEXT, Fields, FieldType

MINDBAZ = Fields(
    [
        FieldType(1, "email", TEXT, 40),
        FieldType(14, "last_name", TEXT, 12),
        FieldType(15, "first_name", TEXT),
        FieldType(20, "born", DATE),
        FieldType(43, "client", TEXT),
        FieldType(50, "points", INTEGER),
        FieldType(51, "vip", BOOLEAN),
    ]
)


def mindbaz(nulls: str, match_by: str) -> Destination[Any]:
    columns = {name: name for name in ("email", "last_name", "first_name", "born", "client", "points", "vip")}
    return UpsertSubscribers(
        None,  # type: ignore[arg-type]
        FieldMapping(MINDBAZ.find, columns, nulls=nulls),
        key_column={"Email": "email", "IdClient": "client"}[match_by],
        match_by=match_by,
        mode="upsert",
        batch_size=5000,
        allow_resubscribe=False,
    )


def expertsender(nulls: str, match_by: str) -> Destination[Any]:
    columns = {
        "email": "email",
        "last_name": "lastName",
        "first_name": "firstName",
        "born": "dateOfBirth",
        "client": "crmId",
        "points": "customAttributes.points",
        "vip": "customAttributes.vip",
    }
    return UpsertCustomers(
        None,  # type: ignore[arg-type]
        FieldMapping(CustomerFields().find, columns, nulls=nulls),
        key_column={"Email": "email", "IdClient": "client"}[match_by],
        match_by={"Email": "Email", "IdClient": "CrmId"}[match_by],
        mode="AddOrUpdate",
        batch_size=1000,
        allow_resubscribe=False,
        settle_seconds=10.0,
    )


TEXTS = [
    "Lefèvre",
    "Zoé ",
    " Ana",
    "Łucja",
    "",
    "  ",
    "\u3164",
    "\u200bAna",
    "a" * 13,
    "é\ud800",
    "O'Neil",
    None,
    7,
    7.5,
]
CELLS: dict[str, list[Any]] = {
    "email": [
        "a@b.fr",
        "A@b.fr",
        "c@d.fr ",
        "x@y.fr\nz@y.fr",
        "no address",
        None,
        "mailto:d@e.fr",
        "ł@b.pl",
        "e@f.fr",
    ],
    "last_name": TEXTS,
    "first_name": TEXTS,
    "born": ["1980-05-01", "", None, "01/05/1980", "soon"],
    "client": ["C1", " C2", 3, "4.0", "", None, "a,b", "C5"],
    "points": ["1", 2, 2.0, "many", None, ""],
    "vip": ["yes", True, 0, "perhaps", None],
}
ROWS = st.lists(
    st.fixed_dictionaries({name: st.sampled_from(cells) for name, cells in CELLS.items()}), min_size=1
)


@pytest.mark.slow
@pytest.mark.parametrize("destination", [mindbaz, expertsender])
@pytest.mark.parametrize("nulls", ["skip", "send"])
@pytest.mark.parametrize("match_by", ["Email", "IdClient"])
def test_a_slice_is_what_its_rows_are(destination: Any, nulls: str, match_by: str) -> None:
    crm = destination(nulls, match_by)

    def one_by_one(row: dict[str, Any]) -> Any:
        try:
            key, record = crm.read(row)
        except InvalidRowError:
            return None
        return key.text, record

    @given(ROWS)
    def check(rows: list[dict[str, Any]]) -> None:
        together = crm.read_many(rows)
        alone = list(map(one_by_one, rows))
        if together is not None:
            assert list(zip(*together, strict=True)) == alone
        elif None not in alone and nulls == "skip":
            pytest.fail("rows that can be read one by one can be read together")

    check()


@pytest.mark.parametrize("destination", [mindbaz, expertsender])
def test_rows_as_nearly_all_are_read_together(destination: Any) -> None:
    row = {"email": "a@b.fr", "last_name": "Łucja", "first_name": None, "born": "1980-05-01", "client": "C1"}
    row |= {"points": "3", "vip": ""}
    assert destination("skip", "Email").read_many([row, row | {"email": "c@d.fr"}]) is not None
    assert destination("skip", "Email").read_many([row, {"email": "c@d.fr"}]) is None


@pytest.mark.parametrize("text", ["\u3164", "\u2800", "\ufe0f"])
def test_a_text_of_signs_that_show_nothing_is_empty(text: str) -> None:
    row = {"email": "a@b.fr", "last_name": text, "first_name": "Ana", "born": None, "client": None}
    row |= {"points": None, "vip": None}
    read = {1: "a@b.fr", 15: "Ana"}
    assert mindbaz("skip", "Email").read(row)[1] == read
    assert mindbaz("skip", "Email").read_many([row])[1] == [read]  # type: ignore[attr-defined]
