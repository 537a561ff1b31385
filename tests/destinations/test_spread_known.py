"""Look-ups that pages of all customers spare, and those that they must not spare."""

from __future__ import annotations

import threading

import pytest

from airflow_provider_crm.bulk.batches import batches
from airflow_provider_crm.destinations.spread import known as spread_known
from airflow_provider_crm.destinations.spread.known import (
    CUSTOMERS_A_LOOKUP,
    LONGEST_AGE,
    LOOKUPS_A_PAGE,
    KnownCustomers,
)
from airflow_provider_crm.exceptions import CrmRequestError, CrmTransientError
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.http.clock import Clock
from airflow_provider_crm.operators.spread import SpreadUpsertCustomersOperator


def customer(number, **values):
    return {
        "id": str(number),
        "email": f"P{number}@Example.fr",
        "tags": ["a", "b"],
        "city": "Nîmes",
        **values,
    }


@pytest.fixture
def pages():
    """Pages that are counted as they are read."""

    class Pages:
        def __init__(self):
            self.read = 0
            self.rows = [[customer(1, custom_fields={"7": "Sport:Foot"}), customer(2)], [customer(3)]]

        def __iter__(self):
            for page in self.rows:
                self.read += 1
                yield page

    return Pages()


def read_pages(known, lookups=LOOKUPS_A_PAGE):
    for _ in range(lookups):
        known.looked_up(in_vain=True)


def test_what_a_page_has_shown_holds_for_five_minutes(pages, clock):
    known = KnownCustomers(iter(pages), now=clock.now)
    read_pages(known)
    clock.wait(LONGEST_AGE)
    assert known.holds("p1@example.fr", {"city": "Nîmes"}) == "1"
    clock.wait(1.0)
    assert known.holds("p1@example.fr", {"city": "Nîmes"}) is None


def test_a_customer_changed_by_somebody_else_is_put_right_in_a_long_run(
    crm_sandbox, run_task, monkeypatch, clock
):
    """A page shows them as they were more than five minutes before their row comes."""
    monkeypatch.setattr(Clock, "now", lambda _: clock.now())
    rows = [{"email": f"p{number}@example.fr", "city": "Nîmes"} for number in range(60)]
    for row in rows:
        crm_sandbox.spread.add_customer(row["email"], city="Nîmes")
    last = crm_sandbox.spread.by_email("p59@example.fr")
    customer_pages = SpreadHook.customer_pages

    def slow_pages(hook, **asked):
        for page in customer_pages(hook, **asked):
            last.city = "Arles"
            clock.wait(LONGEST_AGE + 1.0)
            yield page

    monkeypatch.setattr(SpreadHook, "customer_pages", slow_pages)
    ended = run_task(SpreadUpsertCustomersOperator, rows, concurrency=1)
    assert ended.ends == ["unchanged"] * 59 + ["updated"]
    assert last.city == "Nîmes"


@pytest.mark.parametrize(
    "wanted",
    [
        {"email": "p1@example.fr"},
        {"city": "Nîmes", "tags": ["b"], "custom_fields": {"7": "Foot"}},
        {"lastName": None, "isBuyer": "0"},
    ],
)
def test_who_is_known_to_have_it_all_is_found(pages, wanted):
    known = KnownCustomers(iter(pages))
    assert known.holds("p1@example.fr", wanted) is None
    read_pages(known)
    assert known.holds("p1@example.fr", wanted) == "1"


@pytest.mark.parametrize(
    "wanted",
    [
        {"city": "Lyon"},
        {"city": None},
        {"lastName": "Noël"},
        {"tags": ["a", "c"]},
        {"custom_fields": {"7": "Judo"}},
        {"custom_fields": {"8": "Foot"}},
        {"custom_fields": {"8": None}},  # held by nobody, which a look-up tells as well
    ],
)
def test_whoever_lacks_something_is_not(pages, wanted):
    known = KnownCustomers(iter(pages))
    read_pages(known)
    assert known.holds("p1@example.fr", wanted) is None


def test_somebody_who_is_not_on_a_page_is_not_taken_for_absent(pages):
    known = KnownCustomers(iter(pages))
    read_pages(known)
    assert known.holds("p3@example.fr", {}) is None
    read_pages(known)
    assert known.holds("p3@example.fr", {}) == "3"


def test_whoever_was_written_is_not_trusted_to_a_page_again(pages):
    known = KnownCustomers(iter(pages))
    known.distrust("p1@example.fr")  # before the page was read, or while it was under way
    read_pages(known)
    known.distrust("p2@example.fr")  # afterwards
    assert known.holds("p1@example.fr", {}) is None
    assert known.holds("p2@example.fr", {}) is None


@pytest.mark.slow
def test_pages_are_read_in_step_with_look_ups(pages):
    pages.rows = [[customer(number)] for number in range(10)]
    known = KnownCustomers(iter(pages))
    read_pages(known, LOOKUPS_A_PAGE - 1)
    assert pages.read == 0
    read_pages(known, 5 * LOOKUPS_A_PAGE)
    assert pages.read == 5
    large = KnownCustomers(iter(pages))
    pages.read, pages.rows = 0, [[customer(0)] * 1000] * 10
    read_pages(large, LOOKUPS_A_PAGE)
    read_pages(large, 2 * 1000 // CUSTOMERS_A_LOOKUP)
    assert pages.read == 3


def test_no_page_is_read_where_rows_bring_something_new(pages):
    known = KnownCustomers(iter(pages))
    for _ in range(100):
        known.looked_up(in_vain=False)
    assert pages.read == 0
    for _ in range(30):
        known.looked_up(in_vain=True)
    assert pages.read > 0


@pytest.mark.parametrize("error", [CrmRequestError("no"), CrmTransientError("not now")])
def test_pages_that_cannot_be_read_are_done_without(error):
    def broken():
        yield [customer(1)]
        raise error

    known = KnownCustomers(broken())
    read_pages(known, 3 * LOOKUPS_A_PAGE)
    assert known.holds("p1@example.fr", {}) == "1"


def test_rows_of_a_page_without_id_or_email_are_passed_over():
    known = KnownCustomers(iter([[{"id": "1"}, {"email": "a@b.c"}, {"id": "2", "email": None}, customer(3)]]))
    read_pages(known)
    assert known.holds("p3@example.fr", {}) == "3"
    assert known.holds("a@b.c", {}) is None


@pytest.fixture
def slow_page(clock):
    """Customers of whom a page is under way, and what lets it come."""
    begun, comes = threading.Event(), threading.Event()

    def pages():
        begun.set()
        comes.wait()
        yield [customer(1)]

    known = KnownCustomers(pages(), now=clock.now)
    reader = threading.Thread(target=read_pages, args=(known,))
    reader.start()
    begun.wait()
    yield known, comes
    comes.set()
    reader.join()


def test_a_look_up_waits_for_the_page_that_is_under_way_but_not_for_long(slow_page, monkeypatch):
    known, comes = slow_page
    monkeypatch.setattr(spread_known, "LONGEST_WAIT", 0.01)
    assert known.holds("p1@example.fr", {}) is None
    monkeypatch.setattr(spread_known, "LONGEST_WAIT", 600.0)
    threading.Timer(0.05, comes.set).start()
    assert known.holds("p1@example.fr", {}) == "1"


def test_look_ups_do_not_wait_for_a_slow_page_one_after_the_other(slow_page, clock):
    """Each would be held up for as long, all the while that the page is under way."""
    known, comes = slow_page
    clock.wait(spread_known.LONGEST_WAIT)
    threading.Timer(0.5, comes.set).start()
    assert known.holds("p1@example.fr", {}) is None


# Over real HTTP


@pytest.fixture
def upsert(crm_sandbox, run_task, no_waiting):
    def upsert(rows, **parameters):
        crm_sandbox.calls.clear()
        return run_task(SpreadUpsertCustomersOperator, rows, max_rejects=0, **parameters).ends

    return upsert


def rows_like(crm_sandbox):
    return [
        {
            "email": one["email"].upper(),
            "lastName": one["lastName"],
            "tags": one["tags"],
            "isBuyer": one["isBuyer"],
        }
        for one in crm_sandbox.records("spread", "customers")
    ]


def pages_read(crm_sandbox):
    return sum("maxResults=1000" in call.query for call in crm_sandbox.calls)


@pytest.mark.slow
def test_a_nightly_run_of_everybody_costs_few_calls(crm_sandbox, upsert):
    crm_sandbox.seed(300, ["spread"])
    rows = rows_like(crm_sandbox)
    rows[250]["lastName"] = "Changed"
    assert upsert(rows) == [*["unchanged"] * 250, "updated", *["unchanged"] * 49]
    assert pages_read(crm_sandbox) in (1, 2)
    assert len(crm_sandbox.calls) < 60
    assert crm_sandbox.calls.count(method="PUT") == 1


@pytest.mark.slow
@pytest.mark.parametrize("fault", [{"kind": "page_cap", "limit": 5}, {"kind": "error_before", "times": 2}])
def test_pages_that_are_short_or_late_change_no_end(crm_sandbox, upsert, fault):
    crm_sandbox.seed(200, ["spread"])
    crm_sandbox.fault(**fault, system="spread", after=30)
    assert upsert(rows_like(crm_sandbox)) == ["unchanged"] * 200
    assert pages_read(crm_sandbox) <= 200 / LOOKUPS_A_PAGE + 4


@pytest.mark.slow
def test_the_last_row_about_a_person_counts_whatever_a_page_showed(crm_sandbox, upsert, monkeypatch):
    crm_sandbox.seed(100, ["spread"])
    monkeypatch.setitem(batches.__kwdefaults__, "window", 0)
    as_is = rows_like(crm_sandbox)
    changed = [{**row, "lastName": "Changed"} for row in as_is[-20:]]
    # Known to have it all, then changed, then as before.
    assert upsert([*as_is, *changed, *as_is[-20:]]) == [
        *["unchanged"] * 100,
        *["updated"] * 40,
    ]
    assert [row["lastName"] for row in rows_like(crm_sandbox)] == [row["lastName"] for row in as_is]
    assert pages_read(crm_sandbox) > 0


@pytest.mark.slow
@pytest.mark.parametrize("parameters", [{"mode": "create"}, {"match_by": "externalId"}])
def test_pages_tell_nothing_of_who_exists(crm_sandbox, upsert, parameters):
    crm_sandbox.seed(60, ["spread"])
    rows = [
        {"email": one["email"], "externalId": one["externalId"]}
        for one in crm_sandbox.records("spread", "customers")
    ]
    upsert(rows, **parameters)
    assert pages_read(crm_sandbox) == 0
