"""Rows that are read a slice at a time become what they become one by one, or are left to that."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crm.bulk.batches import batches
from airflow_provider_crm.bulk.outcomes import InvalidRowError
from airflow_provider_crm.destinations.expertsender.upserts import UpsertCustomers
from airflow_provider_crm.destinations.mindbaz.upserts import UpsertSubscribers
from airflow_provider_crm.rows.mapping import FieldMapping
from airflow_provider_crm.rows.row import Row
from airflow_provider_crm.schemas.expertsender.write import CustomerFields
from airflow_provider_crm.schemas.mindbaz.write import BOOLEAN, DATE, INTEGER, STATUS, TEXT, Fields, FieldType

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


#: Rows are read without any call.
NO_HOOK: Any = None


def mindbaz(nulls: str, match_by: str) -> UpsertSubscribers:
    columns = {name: name for name in ("email", "last_name", "first_name", "born", "client", "points", "vip")}
    key_column = {"Email": "email", "IdClient": "client"}[match_by]
    return subscribers(FieldMapping(MINDBAZ.find, columns, nulls=nulls), key_column, match_by)


def subscribers(
    mapping: FieldMapping[FieldType], key_column: str, match_by: str = "Email"
) -> UpsertSubscribers:
    return UpsertSubscribers(
        NO_HOOK,
        mapping,
        key_column=key_column,
        match_by=match_by,
        mode="upsert",
        batch_size=5000,
        allow_resubscribe=False,
    )


def expertsender(nulls: str, match_by: str) -> UpsertCustomers:
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
        NO_HOOK,
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
        together = crm.read_many([Row(number, row) for number, row in enumerate(rows, start=1)])
        names = tuple(CELLS)
        ordered = [{name: row[name] for name in names} for row in rows]
        cells = [Row(number, tuple(row.values()), names) for number, row in enumerate(ordered, start=1)]
        assert crm.read_many(cells) == crm.read_many([Row(number, row) for number, row in enumerate(ordered)])
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
    assert (
        destination("skip", "Email").read_many([Row(1, row), Row(2, row | {"email": "c@d.fr"})]) is not None
    )
    assert destination("skip", "Email").read_many([Row(1, row), Row(2, {"email": "c@d.fr"})]) is None


@pytest.mark.parametrize("text", ["\u3164", "\u2800", "\ufe0f"])
def test_a_text_of_signs_that_show_nothing_is_empty(text: str) -> None:
    row = {"email": "a@b.fr", "last_name": text, "first_name": "Ana", "born": None, "client": None}
    row |= {"points": None, "vip": None}
    read = {1: "a@b.fr", 15: "Ana"}
    assert mindbaz("skip", "Email").read(row)[1] == read
    together = mindbaz("skip", "Email").read_many([Row(1, row)])
    assert together is not None
    assert list(together[1]) == [read]
    customer = expertsender("skip", "Email").read(row)[1]
    assert customer == {"email": "a@b.fr", "firstName": "Ana"}


class OneByOne:
    """A destination whose rows are read one by one."""

    def __init__(self, destination: Any) -> None:
        self.batch_size, self.opt_outs = destination.batch_size, destination.opt_outs
        self.read = destination.read


PEOPLE = st.builds(
    lambda number, name: (
        ({} if number == 9 else {"email": f"p{number}@b.fr" if number else "none"}) | {"last_name": name}
    ),
    st.integers(0, 9),
    st.sampled_from(["Ana", "Zoé", "a" * 13, None]),
)


@pytest.mark.slow
@pytest.mark.parametrize("destination", [mindbaz, expertsender])
@given(people=st.lists(PEOPLE, min_size=1, max_size=60), filler=st.integers(0, 250))
def test_the_batches_are_the_same_however_rows_are_read(
    destination: Any, people: list[dict[str, Any]], filler: int
) -> None:
    rest = dict.fromkeys(("first_name", "born", "client", "points", "vip"))
    people = [{"email": f"f{number}@b.fr", "last_name": "Bo"} for number in range(filler)] + people
    rows = [Row(number, person | rest) for number, person in enumerate(people, start=1)]

    def cut(crm: Any) -> list[Any]:
        return [
            (
                batch.number,
                [(item.row.number, item.key, item.record) for item in batch.items],
                batch.locks,
                sorted((row.number, row.key, row.outcome) for row in batch.ended),
            )
            for batch in batches(iter(rows), crm, window=100, size=50)
        ]

    crm = destination("skip", "Email")
    together, alone = cut(crm), cut(OneByOne(crm))
    assert [one for batch in together for one in batch[1]] == [one for batch in alone for one in batch[1]]
    assert sorted(one for batch in together for one in batch[3]) == sorted(
        one for batch in alone for one in batch[3]
    )
    assert all(locks == [key for _, key, _ in items] for _, items, locks, _ in together)


def test_rows_without_the_column_of_the_key_are_rejected_one_by_one() -> None:
    crm = subscribers(FieldMapping(MINDBAZ.find, {"last_name": "last_name"}), "")
    (batch,) = batches([Row(1, {"last_name": "Zoé"})], crm)
    assert (batch.items, [row.outcome.reason for row in batch.ended]) == ([], ["the e-mail is empty"])


@pytest.mark.parametrize("cell", [1, "1"])
def test_a_status_is_a_number_whatever_the_site_says(cell: Any) -> None:
    fields = Fields([FieldType(1, "email", TEXT), FieldType(STATUS, "status", TEXT)])
    crm = subscribers(FieldMapping(fields.find, {"email": "email", "status": "status"}), "email")
    row = {"email": "a@b.fr", "status": cell}
    read = crm.read_many([Row(1, row)])
    assert read is not None
    assert list(read[1]) == [{1: "a@b.fr", STATUS: 1}]
    held = [{STATUS: "0"}, {STATUS: "1"}]
    assert crm._missing([{STATUS: 1}, {STATUS: 1}], held, {STATUS}) == [{STATUS: 1}, {}]
