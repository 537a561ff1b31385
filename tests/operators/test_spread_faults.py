"""Every fault and every undocumented habit of SPREAD: the same rows end the same way, nothing is lost or doubled."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_provider_crm.bulk import settle
from airflow_provider_crm.http import retry
from airflow_provider_crm.operators.spread import (
    SpreadCreateConsentsOperator,
    SpreadDeleteCustomersOperator,
    SpreadUpdateEmailsOperator,
    SpreadUpsertCustomersOperator,
)
from airflow_provider_crm.sandbox.spread.consents import DEFINITIONS

NEWSLETTER, _, PHONE, *_ = DEFINITIONS
PAST = "2024-05-01 12:00:00"
FUTURE = "2030-01-01 00:00:00"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(settle, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.0)


@dataclass(frozen=True)
class Ends:
    """How rows ended, row by row."""

    endings: list[str]
    summary: dict[str, Any]


@pytest.fixture
def run(tmp_path):
    """Run an operator on rows and account for each of them."""

    def run(operator_class, source, **parameters):
        results = tmp_path / "results.jsonl"
        operator = operator_class(
            task_id="t", source=source, results_path=str(results), max_rejects=len(source), **parameters
        )
        summary = operator.execute({})
        lines = sorted(
            (json.loads(line) for line in results.read_text().splitlines()), key=lambda one: one["row"]
        )
        assert [line["row"] for line in lines] == list(range(1, len(source) + 1))
        endings = [line["outcome"] for line in lines]
        counts = Counter(endings)
        assert {name: summary[name] for name in summary if name in ENDINGS} == {
            name: counts[name] for name in ENDINGS
        }
        assert summary["read"] == len(source)
        return Ends(endings, summary)

    return run


ENDINGS = ("created", "updated", "unchanged", "skipped", "rejected")


class Upsert:
    operator = SpreadUpsertCustomersOperator
    rows = [
        {"email": "new@example.fr", "lastName": "Earlier"},
        {"email": " Anna@Example.FR", "lastName": "Noël", "isBuyer": True, "tags": "VIP", "country": "fr"},
        {"email": "bert@example.fr", "lastName": "Martin", "tags": ["VIP", "new"], "custom_fields.1235": 2},
        {
            "email": "new@example.fr",
            "lastName": "Zoé",
            "custom_fields": '{"34567": "Basket", "1239": ["a", "b"]}',
        },
        {"email": "carla@example.fr", "country": "XX"},
        {"email": "nobody", "country": "FR"},
    ]
    endings = ["skipped", "unchanged", "updated", "created", "rejected", "rejected"]
    again = ["skipped", "unchanged", "unchanged", "unchanged", "rejected", "rejected"]

    @staticmethod
    def before(spread):
        anna = spread.add_customer("anna@example.fr", last_name="Noël", is_buyer="1", country="FR")
        anna.tags = ["VIP", "other"]
        bert = spread.add_customer(
            "bert@example.fr", last_name="Old", city="Nîmes", is_fan="1", birthday="1970-12-31"
        )
        spread.customers.custom_fields[bert.id] = {"34567": "Foot"}

    @staticmethod
    def after(spread):
        anna, bert, new = spread.customers.values()
        assert (anna.email, anna.last_name, anna.tags) == ("anna@example.fr", "Noël", ["VIP", "other"])
        assert (bert.email, bert.last_name, bert.tags) == ("bert@example.fr", "Martin", ["VIP", "new"])
        # Nothing of what the row does not mention is lost, also where an update clears it.
        assert (bert.city, bert.is_fan, bert.birthday) == ("Nîmes", "1", "1970-12-31")
        assert spread.customers.custom_fields[bert.id] == {"34567": "Foot", "1235": "2"}
        assert (new.email, new.last_name) == ("new@example.fr", "Zoé")
        assert spread.customers.custom_fields[new.id] == {"34567": "Basket", "1239": "a|b"}


class Consents:
    operator = SpreadCreateConsentsOperator
    rows = [
        {
            "email": email,
            "consent_id": consent,
            "consent_tech_name": name,
            "status": status,
            "created_at": date,
        }
        for email, consent, name, status, date in (
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
    ]
    endings = [
        "unchanged",
        "created",
        "skipped",
        "created",
        "created",
        "skipped",
        *("rejected",) * 5,
    ]
    again = ["unchanged" if one == "created" else one for one in endings]
    # What only the CRM can refuse is not known beforehand.
    dry = [*endings[:6], "created", "created", *endings[8:]]

    @staticmethod
    def before(spread):
        anna, _, carla = (spread.add_customer(f"{name}@example.fr") for name in ("anna", "bert", "carla"))
        spread.consents.add(anna.id, NEWSLETTER, "refused", "2019-01-01 00:00:00", "manualImport")
        spread.consents.add(anna.id, NEWSLETTER, "accepted", "2022-01-01 00:00:00", "manualImport")
        spread.consents.add(carla.id, NEWSLETTER, "refused", "2022-01-01 00:00:00", "manualImport")
        spread.consents.add(carla.id, PHONE, "accepted", "2023-01-01 00:00:00", "manualImport")

    @staticmethod
    def after(spread):
        bert = spread.by_email("bert@example.fr").id
        made = [event for event in spread.consents.events if event.source == "upstreamAPIv2POST"]
        assert sorted((one.customer_id, one.consent.id, one.status, one.created_at) for one in made) == [
            (bert, "9874", "accepted", PAST),
            (bert, "9876", "accepted", "2020-01-01 10:00:00"),
            (bert, "9876", "refused", "2021-01-01 10:00:00"),
        ]
        # In the order of the source: one's answers to one consent never overtake each other.
        assert [one.status for one in made if one.consent.id == "9876"] == ["accepted", "refused"]


class Emails:
    operator = SpreadUpdateEmailsOperator
    rows = [
        {"old_email": old, "new_email": new}
        for old, new in (
            ("a@example.fr", "a2@example.fr"),
            ("A2@example.fr", "a3@example.fr"),
            ("b@example.fr", "c@example.fr"),  # belongs to somebody else
            ("done-old@example.fr", "done@example.fr"),
            ("nobody@example.fr", "nowhere@example.fr"),
            ("c@example.fr", "C@example.fr"),
            ("c@example.fr", None),
        )
    ]
    endings = ["updated", "updated", "rejected", "unchanged", "rejected", "unchanged", "rejected"]
    # The first address of the chain leads nowhere any more.
    again = ["rejected", "unchanged", "rejected", "unchanged", "rejected", "unchanged", "rejected"]
    # The second link of the chain is not there before the first is made.
    dry = ["updated", *["rejected"] * 2, *endings[3:]]

    @staticmethod
    def before(spread):
        for name in ("A", "b", "c", "done"):
            spread.add_customer(f"{name}@example.fr")

    @staticmethod
    def after(spread):
        emails = [customer.email for customer in spread.customers.values()]
        assert emails == ["a3@example.fr", "b@example.fr", "c@example.fr", "done@example.fr"]


class Deletes:
    operator = SpreadDeleteCustomersOperator
    rows = [
        {"id": "123456", "email": None},
        {"id": 123457, "email": "B@example.fr"},
        {"id": "", "email": "C@Example.fr"},
        {"id": "123459", "email": "somebody-else@example.fr"},
        {"id": None, "email": "absent@example.fr"},
        {"id": "99", "email": "absent-too@example.fr"},
        {"id": "98", "email": "kept@example.fr"},  # registered anew, under another id
        {"id": None, "email": None},
        {"id": "12,34", "email": None},
    ]
    endings = [*("updated",) * 3, "rejected", "skipped", "skipped", *("rejected",) * 3]
    again = ["skipped" if one == "updated" else one for one in endings]

    @staticmethod
    def before(spread):
        for name in ("a", "b", "c", "d", "kept"):
            spread.add_customer(f"{name}@example.fr")

    @staticmethod
    def after(spread):
        assert [customer.email for customer in spread.customers.values()] == [
            "d@example.fr",
            "kept@example.fr",
        ]


JOBS = (Upsert, Consents, Emails, Deletes)
each_job = pytest.mark.parametrize("job", JOBS, ids=lambda job: job.__name__.lower())


def check(job, crm_sandbox, run):
    """Run a job twice: every row ends as it should, and the second run changes nothing."""
    job.before(crm_sandbox.spread)
    assert run(job.operator, job.rows).endings == job.endings
    job.after(crm_sandbox.spread)
    crm_sandbox.clear()
    # A few endings depend on what is not documented: a refused row may have been written meanwhile.
    assert run(job.operator, job.rows).endings == job.again
    job.after(crm_sandbox.spread)


FAULTS = [
    {"kind": "latency", "ms": 5},
    {"kind": "slow_after", "ms": 5},
    {"kind": "rate_limited", "retry_after": 0},
    {"kind": "error_before"},
    {"kind": "error_after"},
    {"kind": "drop_before"},
    {"kind": "drop_after"},
    {"kind": "drop_after", "reset": True},
    {"kind": "truncate"},
    {"kind": "html_before"},
    {"kind": "html_after"},
    {"kind": "answer_before"},
    {"kind": "answer_after"},
    {"kind": "answer_after", "body": ""},
    {"kind": "redirect"},
    {"kind": "page_cap", "limit": 1},
    {"kind": "next_page_url", "form": "loop"},
]


@each_job
@pytest.mark.parametrize("methods", [("POST", "PUT", "DELETE"), ("GET",)], ids=["writing", "reading"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: "-".join(map(str, fault.values())))
def test_a_fault_changes_no_end(crm_sandbox, run, job, methods, fault):
    always = fault["kind"] in ("redirect", "page_cap", "next_page_url", "latency", "slow_after")
    # A deletion that is confirmed again and again and not made is rejected in the end.
    times = None if always else 1 if fault["kind"] == "answer_before" else 2
    fired = [crm_sandbox.fault(system="spread", method=method, times=times, **fault) for method in methods]
    check(job, crm_sandbox, run)
    assert any(one.fired for one in fired) or fault["kind"] == "page_cap"


#: What the vendor leaves open, and whom it concerns.
SWITCHES = [
    *(("existing_email", value, (Upsert,)) for value in ("upsert", "400", "200_error")),
    ("put_missing_fields", "clear", (Upsert,)),
    *(("put_email", value, (Upsert,)) for value in ("ignore", "400")),
    ("null_value", "keep", (Upsert,)),
    ("invalid_value", "store", (Upsert,)),
    ("unknown_custom_field", "400", (Upsert,)),
    *(("empty_custom_fields", value, (Upsert,)) for value in ("object", "null")),
    ("root_key", "both", (Upsert, Emails)),
    ("email_case", "lower", JOBS),
    ("email_lookup_case", "insensitive", JOBS),
    *(("unknown_id", value, JOBS) for value in ("200_error", "404_html")),
    *(("error_shape", value, JOBS) for value in ("message", "text")),
    *(("list_order", value, JOBS) for value in ("newest_first", "least_recently_modified")),
    *(("count", value, (Upsert, Consents)) for value in ("plus_one", "total")),
    *(("size_spelling", value, (Consents, Deletes)) for value in ("both", "maxResults", "maxResult")),
    *(("next_page_url", value, (Consents, Deletes)) for value in ("foreign", "loop", "null", "absent")),
    ("page_cap", 1, JOBS),
    ("deleted_rows", "kept", (Deletes,)),
    *(("consent_keys", value, (Consents,)) for value in ("list", "both")),
    ("consent_id_type", "str", (Consents,)),
    ("consent_date", "any", (Consents,)),
    *(("ambiguous_tech_name", value, (Consents,)) for value in ("last", "400")),
    ("zone", "Europe/Paris", (Consents,)),
]


@pytest.mark.parametrize(
    ("name", "value", "job"),
    [
        pytest.param(name, value, job, id=f"{name}-{value}-{job.__name__.lower()}")
        for name, value, jobs in SWITCHES
        for job in jobs
    ],
)
def test_an_undocumented_habit_changes_no_end(crm_sandbox, run, job, name, value):
    crm_sandbox.switch("spread", **{name: value})
    check(job, crm_sandbox, run)


@each_job
def test_a_dry_run_says_the_same_and_writes_nothing(crm_sandbox, run, job):
    job.before(crm_sandbox.spread)
    assert run(job.operator, job.rows, dry_run=True).endings == getattr(job, "dry", job.endings)
    assert {call.method for call in crm_sandbox.calls} == {"GET"}


@each_job
def test_a_crm_that_keeps_failing_fails_the_task_and_rejects_nothing(crm_sandbox, run, job, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_SPREAD_DEFAULT", with_extra(crm_sandbox, max_retries=2))
    job.before(crm_sandbox.spread)
    for method in ("POST", "PUT", "DELETE"):
        crm_sandbox.fault("error_before", system="spread", method=method)
    with pytest.raises(Exception, match="503"):
        run(job.operator, job.rows)
    crm_sandbox.clear()
    assert run(job.operator, job.rows).endings == job.endings
    job.after(crm_sandbox.spread)


@each_job
def test_a_wrong_base_url_is_not_taken_for_a_crm_without_anybody(crm_sandbox, run, job, monkeypatch):
    connection = json.loads(crm_sandbox.connections()["spread_default"])
    connection["host"] = connection["host"].removesuffix("/v2")
    monkeypatch.setenv("AIRFLOW_CONN_SPREAD_DEFAULT", json.dumps(connection))
    with pytest.raises(Exception, match="no list of customers"):
        run(job.operator, job.rows)


def test_a_crm_without_anybody_may_call_its_list_not_found(crm_sandbox, run):
    crm_sandbox.fault(
        "answer_before", system="spread", method="GET", path="/customers", status=404, body="{}"
    )
    found = run(SpreadUpsertCustomersOperator, [{"email": f"a{n}@example.fr"} for n in range(3)])
    assert set(found.endings) == {"created"}


def with_extra(crm_sandbox, **extra):
    """The sandbox's connection with some extras."""
    return json.dumps({**json.loads(crm_sandbox.connections()["spread_default"]), "extra": extra})
