"""What an export of each CRM wrote, in any format, is found unchanged by that CRM's upsert."""

from __future__ import annotations

import datetime as dt
import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_crm.hooks.expertsender import ExpertSenderHook
from airflow_provider_crm.operators.expertsender import (
    ExpertSenderExportCustomersOperator,
    ExpertSenderUpsertCustomersOperator,
)
from airflow_provider_crm.operators.mindbaz import (
    MindbazExportSubscribersOperator,
    MindbazUpsertSubscribersOperator,
)
from airflow_provider_crm.operators.spread import (
    SpreadExportCustomersOperator,
    SpreadUpsertCustomersOperator,
)
from airflow_provider_crm.sandbox.mindbaz.fields import read_date
from airflow_provider_crm.sandbox.server import Sandbox
from airflow_provider_crm.schemas.spread.write import CUSTOMER_FIELDS
from tests.helpers.tasks import TaskRunner

FORMATS = ("csv", "jsonl", "parquet")
ROUNDS = settings(
    max_examples=5,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)
LETTERS = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"))
TEXT = st.text(LETTERS, max_size=12)
#: What people keep in fields of texts, and what other texts could be taken for.
TEXTS = (
    st.none()
    | TEXT
    | st.sampled_from(
        [
            " Noe\u0308l ",
            "5.0",
            "007",
            "1990-05-17",
            "true",
            "nan",
            "=1+1",
            "-",
            "a,b;c|d",
            '"',
            "a: b",
            "[x]",
            "{}",
            "É",
        ]
    )
)
DAYS = st.none() | st.dates().map(str)
NUMBERS = itertools.count()


def people(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(st.fixed_dictionaries(fields), min_size=1, max_size=12)


def emails(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give everybody an e-mail of their own."""
    return [{**one, "email": f"P{next(NUMBERS)}@Example.fr"} for one in found]


@pytest.fixture
def run(tmp_path: Path) -> TaskRunner:
    return TaskRunner(tmp_path)


@pytest.mark.slow
@ROUNDS
@given(
    people(
        last_name=TEXTS,
        city=TEXTS,
        zip=st.none() | st.sampled_from(["01000", "75001", "SW1A 1AA"]),
        phone=st.none() | st.sampled_from(["+33 6 12 34 56 78", "0612345678", "06.12.34.56.78"]),
        external_id=st.none() | TEXT,
        birthday=DAYS,
        gender=st.sampled_from([None, "male", "female"]),
        is_buyer=st.sampled_from(["0", "1"]),
        country=st.sampled_from([None, "FR", "BE"]),
        tags=st.lists(
            st.text(LETTERS, min_size=1, max_size=8).filter(lambda tag: "|" not in tag and tag.strip()),
            max_size=3,
        ),
        custom_fields=st.dictionaries(st.sampled_from(["34567", "1238"]), TEXT),
    )
)
def test_spread(crm_sandbox: Sandbox, run: TaskRunner, found: list[dict[str, Any]]) -> None:
    crm_sandbox.reset()
    spread = crm_sandbox.spread
    for one in emails(found):
        tags, custom = one.pop("tags"), one.pop("custom_fields")
        customer = spread.add_customer(one.pop("email"), **one)
        customer.tags = tags or ""
        spread.customers.custom_fields[customer.id] = custom
    before = list(crm_sandbox.records("spread", "customers"))
    for suffix in FORMATS:
        path = run.results_path.with_name(f"spread.{suffix}")
        SpreadExportCustomersOperator(
            task_id="x", path=str(path), show_custom_fields=True, window="all"
        ).execute({})
        for field_map in ({name: name for name in CUSTOMER_FIELDS}, None):
            ended = run(SpreadUpsertCustomersOperator, str(path), field_map=field_map)
            assert ended.said == ["unchanged"] * len(found), (suffix, ended.rejects)
    assert list(crm_sandbox.records("spread", "customers")) == before


MINDBAZ = {
    1: "email", 4: "desabonnement", 7: "statut", 8: "offres_partenaires", 13: "civilite", 14: "nom", 18: "code_postal",
    20: "date_naissance", 43: "id_client", 102: "points_fidelite", 103: "dernier_achat", 104: "segment",
    105: "carte_fidelite",
}  # fmt: skip


def shown(moment: Any) -> str | None:
    """Write a moment as Mindbaz shows it."""
    return read_date(str(moment)[:16], "Europe/Paris")


MOMENTS = st.none() | st.datetimes(min_value=dt.datetime(1912, 1, 1)).map(shown)
BIRTHS = st.none() | st.dates(min_value=dt.date(1850, 1, 1)).map(shown)


@pytest.mark.slow
@pytest.mark.parametrize("boolean_as", ["byte", "bool"])
@ROUNDS
@given(
    found=st.lists(
        st.fixed_dictionaries(
            {
                4: MOMENTS, 7: st.integers(0, 12), 8: st.sampled_from([None, 0, 1]), 13: st.none() | st.integers(0, 2),
                14: TEXTS, 18: st.none() | st.sampled_from(["01000", "5.0"]), 20: BIRTHS, 43: st.none() | TEXT,
                102: st.none() | st.integers(-(2**62), 2**62), 103: MOMENTS, 104: st.none() | st.integers(1, 3),
                105: st.sampled_from([None, 0, 1]),
            }
        ),
        min_size=1,
        max_size=12,
    )
)  # fmt: skip
def test_mindbaz(crm_sandbox: Sandbox, run: TaskRunner, found: list[dict[int, Any]], boolean_as: str) -> None:
    crm_sandbox.reset()
    crm_sandbox.switch("mindbaz", boolean_as=boolean_as)
    keys = []
    for one in found:
        keys.append({"email": f"p{next(NUMBERS)}@example.fr"})
        held = {number: value for number, value in one.items() if value is not None}
        crm_sandbox.mindbaz.insert({1: keys[-1]["email"], **held})
    before = list(crm_sandbox.records("mindbaz", "subscribers"))
    for suffix in FORMATS:
        path = run.results_path.with_name(f"mindbaz.{suffix}")
        MindbazExportSubscribersOperator(
            task_id="x", source=keys, path=str(path), fields=list(MINDBAZ)
        ).execute({})
        for field_map in ({name: name for name in MINDBAZ.values()}, None):
            ended = run(MindbazUpsertSubscribersOperator, str(path), field_map=field_map)
            assert ended.said == ["unchanged"] * len(found), (suffix, ended.rejects)
    assert list(crm_sandbox.records("mindbaz", "subscribers")) == before


WRITABLE = ("email", "phone", "crmId", "firstName", "dateOfBirth", "gender", "customAttributes")
CONSENT = st.sampled_from(["True", "False", "AwaitingConfirmation"])


@pytest.mark.slow
@pytest.mark.parametrize("flat", [False, True], ids=["map of consents", "consents as columns"])
@ROUNDS
@given(
    found=people(
        firstName=TEXTS,
        phone=st.none() | st.sampled_from(["+33612345678", "0612345678"]),
        dateOfBirth=st.none() | st.datetimes(allow_imaginary=False).filter(lambda one: 1 < one.year < 9999),
        gender=st.sampled_from(["Male", "Female", "NotSpecified"]),
        customAttributes=st.dictionaries(st.sampled_from(["Ville", "Commentaire"]), TEXTS),
        consents=st.dictionaries(st.integers(1, 4), CONSENT),
    )
)
def test_expertsender(crm_sandbox: Sandbox, run: TaskRunner, found: list[dict[str, Any]], flat: bool) -> None:
    crm_sandbox.reset()
    customers = []
    for number, one in enumerate(emails(found)):
        consents = [{"id": key, "value": value} for key, value in one.pop("consents").items()]
        attributes = [{"name": name, "value": value} for name, value in one.pop("customAttributes").items()]
        phone = f"{one.pop('phone')}{number}"
        customers.append(
            {**one, "phone": phone, "customAttributes": attributes, "consentsData": {"consents": consents}}
        )
    ExpertSenderHook().upsert_customers(customers)
    mails = len(list(crm_sandbox.records("expertsender", "mailbox")))
    before = list(crm_sandbox.records("expertsender", "customers"))
    for suffix in FORMATS:
        path = run.results_path.with_name(f"expertsender.{suffix}")
        source = [{"email": customer["email"]} for customer in customers]
        ExpertSenderExportCustomersOperator(
            task_id="x", source=source, path=str(path), flatten_consents=flat
        ).execute({})
        columns = (
            (*WRITABLE, *(f"consent_{number}" for number in range(1, 5)))
            if flat
            else (*WRITABLE, "consentsData")
        )
        for field_map in ({name: name for name in columns}, None):
            ended = run(ExpertSenderUpsertCustomersOperator, str(path), field_map=field_map)
            assert set(ended.ends) <= {"updated", "unchanged"}, (suffix, ended.rejects)
    assert list(crm_sandbox.records("expertsender", "customers")) == before
    assert len(list(crm_sandbox.records("expertsender", "mailbox"))) == mails
