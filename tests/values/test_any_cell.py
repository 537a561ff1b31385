"""Any cell in any column ends as a value that the CRM can hold and that stays what it is, or as a reason."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from airflow_provider_crm.hooks.expertsender import ExpertSenderHook
from airflow_provider_crm.http.calls import encode_json
from airflow_provider_crm.loyalty.source_rows import CreditFields, CreditReader
from airflow_provider_crm.operators.expertsender import ExpertSenderUpsertCustomersOperator
from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator
from airflow_provider_crm.operators.spread import SpreadUpsertCustomersOperator
from airflow_provider_crm.sandbox.mindbaz.fields import FIELDS
from airflow_provider_crm.sandbox.server import Sandbox
from airflow_provider_crm.schemas.expertsender.consents import holds
from airflow_provider_crm.schemas.expertsender.write import CustomerFields, customer_of, wire_customer
from airflow_provider_crm.schemas.mindbaz.write import FieldType
from airflow_provider_crm.schemas.spread.write import CUSTOMER_FIELDS, customer_values, differing
from airflow_provider_crm.values import is_empty
from tests.helpers.properties import at_least
from tests.helpers.tasks import TaskRunner

from .cells import CELLS, KINDS

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.text()
    | st.binary()
    | st.binary().map(memoryview)
    | st.dates()
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.integers(-(2**63), 2**63 - 1).map(np.int64)
    | st.floats(width=32).map(np.float32)
    | st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)).map(pd.Timestamp)
    | st.sampled_from([pd.NA, pd.NaT, np.bool_(True), np.array(["a"]), object()])
    | st.emails()
    | st.from_regex(r"[+-]?\d{1,20}(\.\d{0,9})?([eE]\+?\d{1,2})?", fullmatch=True)
    | st.from_regex(r"\d{4}[-/]\d\d[-/]\d\d([ T]\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?)?", fullmatch=True)
)
ANY = (
    st.sampled_from([cell.value for cell in CELLS])
    | SCALARS
    | st.lists(SCALARS, max_size=3)
    | st.dictionaries(st.text(max_size=5) | st.integers(0, 5), SCALARS, max_size=3)
    | st.lists(st.tuples(st.sampled_from(["1", "a"]), SCALARS), max_size=2)
)

EXPERTSENDER = CustomerFields([{"id": 1, "name": "SMS"}])
EXPERTSENDER_NAMES = (
    "email",
    "phone",
    "crmId",
    "visitorId",
    "firstName",
    "lastName",
    "dateOfBirth",
    "gender",
    "customAttributes",
    "customAttributes.Ville",
    "consentsData",
    "consent_1",
    "force",
    "confirmationMessageId",
)
MINDBAZ = [
    FieldType(
        field.id,
        field.name,
        field.field_type,
        field.length,
        tuple((one.key, one.value) for one in field.list),
    )
    for field in FIELDS
    if field.is_editable
] + [FieldType(999, "unknown")]


def tried(write: Callable[..., Any], *arguments: Any) -> tuple[Any, str]:
    """Return what is written, or the reason why it cannot be."""
    try:
        return write(*arguments), ""
    except ValueError as error:
        return None, str(error) or "no reason"


@pytest.mark.slow
@at_least(300)
@given(ANY, st.sampled_from(sorted(KINDS)))
def test_a_value_stays_what_it_is(cell: Any, kind: str) -> None:
    if is_empty(cell):
        return
    value, reason = tried(KINDS[kind], cell)
    assert reason or KINDS[kind](value) == value, "written twice, it is another value"


@pytest.mark.slow
@at_least(300)
@given(ANY, st.sampled_from((*CUSTOMER_FIELDS, "custom_fields.34567")))
@example([("34567", {"name": "Sport", "value": "Judo"})], "custom_fields")
@example('["vip","club"]', "tags")
@example("\x1b", "externalId")
@example({"34567": {"name": "Sport", "value": "\u200b"}}, "custom_fields")
@example(["\u200b"], "custom_fields.34567")
@example(["\u200b", "vip"], "tags")
@example('=""', "zip")
def test_spread(cell: Any, field: str) -> None:
    written, reason = tried(lambda: customer_values([(field, cell)], send_blanks=False))
    if reason:
        assert reason.startswith(field)
        return
    encode_json(written)
    shown = {number: f"Name:{text}" for number, text in written.get("custom_fields", {}).items()}
    assert differing({**written, "custom_fields": shown}, written) == []
    assert customer_values(written.items(), send_blanks=False) == written


@pytest.mark.slow
@at_least(300)
@given(ANY, st.sampled_from(MINDBAZ))
def test_mindbaz(cell: Any, field: FieldType) -> None:
    if is_empty(cell):
        return
    written, reason = tried(field.convert, cell)
    if not reason:
        assert isinstance(written, str | int | float | Decimal | list | dict)
        assert field.convert(written) == written


@pytest.mark.slow
@at_least(300)
@given(ANY, st.sampled_from(EXPERTSENDER_NAMES))
def test_expertsender(cell: Any, name: str) -> None:
    field = EXPERTSENDER.find(name)
    assert field is not None
    if is_empty(cell):
        return
    customer, reason = tried(lambda: customer_of([(field, cell)], send_blanks=False))
    if reason:
        assert reason.startswith(field.name)
        return
    encode_json(customer)
    assert wire_customer(dict(customer)) == customer, "what is in the CRM's form already stays as it is"


@pytest.mark.slow
@at_least(300)
@given(ANY, ANY, ANY)
def test_credits(key: Any, who: Any, amount: Any) -> None:
    reader = CreditReader(CreditFields(), secret="s", allow_debit=True)
    row = {"credit_key": key, "customer_id": who, "email": "a@x.fr", "amount": amount}
    record, reason = tried(lambda: reader.record(reader.key(row), row))
    if reason:
        assert reason.startswith(("credit_key", "customer_id", "amount"))
        return
    assert reader.key({"credit_key": record.credit.key}) == record.credit.key
    assert record.credit.amount.is_finite()


# Through the operators


class Crm(NamedTuple):
    """Where rows go.

    :param people: where the stand-in keeps them.
    """

    operator: type[Any]
    people: str
    columns: list[str]


CRMS = {
    "mindbaz": Crm(
        MindbazUpsertSubscribersOperator,
        "subscribers",
        ["nom", "points_fidelite", "dernier_achat", "carte_fidelite", "date_naissance", "id_client"],
    ),
    "spread": Crm(
        SpreadUpsertCustomersOperator,
        "customers",
        [
            "lastName",
            "externalId",
            "phone",
            "birthday",
            "gender",
            "country",
            "lang",
            "isBuyer",
            "tags",
            "custom_fields",
            "custom_fields.34567",
        ],
    ),
    "expertsender": Crm(
        ExpertSenderUpsertCustomersOperator,
        "customers",
        [
            "phone",
            "crmId",
            "firstName",
            "dateOfBirth",
            "gender",
            "customAttributes",
            "customAttributes.Ville",
            "consentsData",
            "consents.1",
            "force",
            "confirmationMessageId",
        ],
    ),
}


def hold_or_reject(
    sandbox: Sandbox, folder: Path, name: str, make_cells: Callable[[list[str]], list[tuple[Any, str]]]
) -> None:
    """Write cells, each for a person of its own: the CRM holds what is not rejected, and a second run is no change."""
    crm = CRMS[name]
    cells = make_cells(crm.columns)
    run = TaskRunner(folder)
    sandbox.reset()
    rows = [
        {"email": f"p{number}@example.fr", **dict.fromkeys(crm.columns), column: cell}
        for number, (cell, column) in enumerate(cells)
    ]
    field_map = {column: column for column in ("email", *crm.columns)}
    first = run(crm.operator, rows, field_map=field_map)
    assert set(first.ends) <= {"created", "updated", "rejected"}
    for reject in first.rejects:
        column = cells[reject["row"] - 1][1]
        if reject["stage"] == "validate":
            assert reject["reason"].startswith(column), reject["reason"]
        else:  # in the CRM's own words
            assert column.partition(".")[0].casefold() in reject["reason"].replace("_", "").casefold()
    before = list(sandbox.records(name, crm.people))
    again = run(crm.operator, rows, field_map=field_map)
    assert list(sandbox.records(name, crm.people)) == before
    for row, (cell, column), end, later in zip(rows, cells, first.ends, again.ends, strict=True):
        if end == "rejected":
            assert later == "rejected"
        elif name != "expertsender":
            assert later == "unchanged", (column, cell)
        elif not is_empty(cell):  # it is sent without a look
            field: Any = EXPERTSENDER.find(column)
            wanted = customer_of([(field, cell)], send_blanks=False)
            assert holds(ExpertSenderHook().get_customer(row["email"]) or {}, wanted), (column, cell)


@pytest.mark.slow
@pytest.mark.parametrize("name", CRMS)
def test_cells_of_every_type_are_held_or_rejected(crm_sandbox: Sandbox, tmp_path: Path, name: str) -> None:
    def every_one(columns: list[str]) -> list[tuple[Any, str]]:
        return [(cell.value, column) for cell in CELLS for column in columns]

    hold_or_reject(crm_sandbox, tmp_path, name, every_one)


@pytest.mark.slow
@pytest.mark.parametrize("name", CRMS)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_any_cell_is_held_or_rejected(
    crm_sandbox: Sandbox, tmp_path: Path, name: str, data: st.DataObject
) -> None:
    def some(columns: list[str]) -> list[tuple[Any, str]]:
        return data.draw(st.lists(st.tuples(ANY, st.sampled_from(columns)), min_size=1, max_size=20))

    hold_or_reject(crm_sandbox, tmp_path, name, some)


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_is_told_what_the_cell_held(kind: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        KINDS[kind]("\ud800secret")
    assert "secret" not in f"{caught.value!r}{caught.value.__context__!r}"
