"""Upserts of customers: whom the mode leaves alone, what an update repeats, by which key people are found."""

from __future__ import annotations

import pytest

from airflow_provider_crm.bulk.batches import batches
from airflow_provider_crm.exceptions import CrmInputError, CrmOutcomeUnknownError, CrmRejectsError
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.operators.spread import SpreadUpsertCustomersOperator

from .calls import writes


@pytest.mark.parametrize(
    ("mode", "endings", "emails"),
    [
        ("upsert", ["updated", "created"], 2),
        ("create", ["skipped: already in SPREAD", "created"], 2),
        ("update", ["updated", "skipped: not in SPREAD"], 1),
    ],
)
def test_the_mode_says_who_is_left_alone(spread, upsert, mode, endings, emails):
    spread.add_customer("a@example.fr", last_name="Old")
    rows = [{"email": "a@example.fr", "lastName": "New"}, {"email": "b@example.fr", "lastName": "New"}]
    assert upsert(rows, mode=mode) == endings
    assert len(spread.customers) == emails
    assert spread.by_email("a@example.fr").last_name == ("Old" if mode == "create" else "New")


def test_an_update_repeats_what_the_crm_holds(crm_sandbox, spread, upsert, monkeypatch):
    crm_sandbox.switch("spread", put_missing_fields="clear")
    customer = spread.add_customer(
        "a@example.fr", city="Nîmes", is_buyer="1", external_id="X1", company="ACME"
    )
    customer.tags = ["one"]
    spread.customers.custom_fields[customer.id] = {"34567": "Foot", "1238": "see http://example.fr:80"}
    sent = []
    update = SpreadHook.update_customer
    monkeypatch.setattr(SpreadHook, "update_customer", lambda *args: (sent.append(args[2]), update(*args))[1])
    assert upsert([{"email": "A@example.fr", "lastName": "Noël", "tags": "two"}]) == ["updated"]
    assert sent == [
        {
            "email": "a@example.fr",
            "lastName": "Noël",
            "city": "Nîmes",
            "lang": "fr",
            "externalId": "X1",
            "company": "ACME",
            "isFan": "0",
            "isFollow": "0",
            "isFanLinkedin": "0",
            "isBuyer": "1",
            "tags": ["one", "two"],
            # Where the value of the other one begins, after which of its colons, nobody can tell.
            "custom_fields": {"34567": "Foot"},
        }
    ]
    assert (customer.city, customer.is_buyer, customer.tags) == ("Nîmes", "1", ["one", "two"])
    assert spread.customers.custom_fields[customer.id]["1238"] == "see http://example.fr:80"


def test_what_the_crm_does_not_take_back_is_not_repeated(spread, upsert):
    customer = spread.add_customer("a@example.fr", gender="Madame")
    assert upsert([{"email": "a@example.fr", "lastName": "Noël"}]) == ["updated"]
    assert (customer.last_name, customer.gender) == ("Noël", "Madame")


def test_a_refusal_is_the_rows_own_in_the_end(crm_sandbox, spread, upsert):
    spread.add_customer("a@example.fr", city="Nîmes")
    crm_sandbox.fault("answer_before", method="PUT", status=422, body='{"error": "phone is not valid"}')
    assert upsert([{"email": "a@example.fr", "phone": "x"}]) == ["rejected: phone is not valid"]
    assert len(writes(crm_sandbox)) == 2
    crm_sandbox.fault("answer_before", method="POST", status=422, body='{"error": "phone is not valid"}')
    assert upsert([{"email": "b@example.fr", "phone": "x"}]) == ["rejected: phone is not valid"]
    assert len(writes(crm_sandbox)) == 3


def test_somebody_deleted_meanwhile_is_created(spread, upsert, monkeypatch):
    spread.add_customer("a@example.fr")
    update = SpreadHook.update_customer

    def delete_first(self, customer_id, customer):
        spread.customers.remove(spread.customers[customer_id])
        return update(self, customer_id, customer)

    monkeypatch.setattr(SpreadHook, "update_customer", delete_first)
    assert upsert([{"email": "a@example.fr", "lastName": "Noël"}]) == ["created"]
    spread.add_customer("b@example.fr")
    assert upsert([{"email": "b@example.fr", "lastName": "Noël"}], mode="update") == [
        "skipped: not in SPREAD"
    ]


@pytest.mark.parametrize("habit", ["409", "400", "200_error"])
def test_somebody_created_meanwhile_is_updated(crm_sandbox, spread, upsert, monkeypatch, habit):
    crm_sandbox.switch("spread", existing_email=habit)
    create = SpreadHook.create_customer

    def add_first(self, customer):
        spread.add_customer(customer["email"], city="Nîmes")
        return create(self, customer)

    monkeypatch.setattr(SpreadHook, "create_customer", add_first)
    assert upsert([{"email": "a@example.fr", "lastName": "Noël"}]) == ["updated"]
    assert spread.by_email("a@example.fr").city == "Nîmes"
    rows = [{"email": "b@example.fr", "lastName": "Noël"}]
    assert upsert(rows, mode="create") == ["skipped: already in SPREAD"]


@pytest.mark.parametrize("mode", ["upsert", "create"])
def test_an_unanswered_create_is_looked_up_and_still_a_create(crm_sandbox, spread, upsert, mode):
    crm_sandbox.fault("drop_after", method="POST", times=1)
    assert upsert([{"email": "a@example.fr", "lastName": "Noël"}], mode=mode) == ["created"]
    assert writes(crm_sandbox) == ["POST /customers"]
    assert len(spread.customers) == 1


@pytest.mark.parametrize(("mode", "end"), [("create", "skipped: already in SPREAD"), ("upsert", "created")])
def test_a_create_without_an_answer_that_meets_other_values(spread, upsert, monkeypatch, mode, end):
    create = SpreadHook.create_customer

    def lose(self, customer):
        create(self, customer)
        spread.by_email("a@example.fr").last_name = "Theirs"
        raise CrmOutcomeUnknownError("no answer")

    monkeypatch.setattr(SpreadHook, "create_customer", lose)
    assert upsert([{"email": "a@example.fr", "lastName": "Noël"}], mode=mode) == [end]
    assert spread.by_email("a@example.fr").last_name == ("Theirs" if mode == "create" else "Noël")


def test_empty_values_clear_when_they_are_sent(crm_sandbox, spread, upsert):
    customer = spread.add_customer("a@example.fr", city="Nîmes", last_name="Noël", company="ACME")
    customer.tags = ["one"]
    spread.customers.custom_fields[customer.id] = {"34567": "Foot"}
    row = {"email": "a@example.fr", "city": None, "company": " ", "tags": "", "custom_fields.34567": None}
    assert upsert([row]) == ["unchanged"]
    assert upsert([row], nulls="send") == ["updated"]
    assert (customer.city, customer.company, customer.last_name) == (None, "", "Noël")
    assert (customer.tags, spread.customers.custom_fields[customer.id]) == (["one"], {})
    assert upsert([row], nulls="send") == ["unchanged"]
    assert upsert([{"email": "b@example.fr", "city": None}], nulls="send") == ["created"]


def test_rows_far_apart_are_still_one_customer(spread, upsert, monkeypatch):
    # Nothing is held back to find duplicates, as where a source is long.
    monkeypatch.setitem(batches.__kwdefaults__, "window", 0)
    rows = [{"email": "a@example.fr", "lastName": str(number)} for number in range(10)]
    assert upsert(rows) == ["created", *["updated"] * 9]
    assert [one.last_name for one in spread.customers.values()] == ["9"]


class TestMatchByExternalId:
    @pytest.fixture(autouse=True)
    def known(self, spread):
        spread.add_customer("a@example.fr", external_id="1", last_name="Noël")
        spread.add_customer("b@example.fr", external_id="2")
        spread.add_customer("c@example.fr", external_id="2")
        spread.add_customer("d@example.fr")

    @pytest.fixture
    def upsert(self, run):
        return lambda *source, **parameters: run(
            SpreadUpsertCustomersOperator, list(source), match_by="externalId", **parameters
        )

    def test_it_finds_and_creates(self, spread, upsert):
        assert upsert({"externalId": 1, "lastName": "Noël"}, {"externalId": 9, "email": "e@example.fr"}) == [
            "unchanged",
            "created",
        ]
        assert spread.by_email("e@example.fr").external_id == "9"

    def test_an_update_carries_the_email_that_is_held(self, spread, upsert):
        assert upsert({"externalId": "1", "lastName": "Martin"}) == ["updated"]
        assert spread.by_email("a@example.fr").last_name == "Martin"

    def test_what_cannot_be_done(self, spread, upsert):
        before = [customer.email for customer in spread.customers.values()]
        endings = upsert(
            {"externalId": "2", "lastName": "X"},
            {"externalId": "7", "lastName": "X"},
            {"externalId": "8", "email": "d@example.fr"},
            {"externalId": "1", "email": "d@example.fr"},
            {"externalId": None, "email": "f@example.fr"},
        )
        taken = "rejected: the e-mail belongs to another customer, who does not have this external id"
        assert endings == [
            "rejected: 2 customers have this externalId; which one is meant is unknown",
            "rejected: a customer cannot be created without an e-mail",
            taken,
            taken,
            "rejected: the external id is empty",
        ]
        assert [customer.email for customer in spread.customers.values()] == before

    @pytest.mark.sampled
    @pytest.mark.parametrize("habit", ["update", "ignore", "400"])
    @pytest.mark.parametrize("more", [{}, {"lastName": "Martin"}])
    def test_another_email_goes_its_own_way(self, crm_sandbox, spread, upsert, habit, more):
        crm_sandbox.switch("spread", put_email=habit)
        row = {"externalId": "1", "email": "New@example.fr", **more}
        crm_sandbox.fault("drop_after", path="/customers/email/update", times=1)
        assert upsert(row) == ["updated"]
        assert spread.by_email("new@example.fr").last_name == more.get("lastName", "Noël")
        assert crm_sandbox.calls.count(route="/customers/email/update") == 1
        assert upsert(row) == ["unchanged"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"mode": "replace"},
        {"match_by": "id"},
        {"match_by": "externalId"},
        {"nulls": "drop"},
        {"field_map": {"email": "email", "name": "surname"}},
        {"field_map": {"email": "email", "name": "custom_fields.x"}},
        {"field_map": {"name": "lastName"}},
        {"source": [{"email": "a@example.fr", "createdAt": "2024-01-01"}]},
        {"source": [{"name": "x"}], "field_map": {"name": "lastName"}},
        {"min_rows": 2},
    ],
)
def test_bad_input_of_an_upsert_is_told_before_anything_is_written(crm_sandbox, parameters):
    parameters = {
        "source": [{"email": "a@example.fr", "name": "x"}],
        "field_map": {"email": "email"},
    } | parameters
    if "source" in parameters and "name" not in parameters["source"][0]:
        del parameters["field_map"]
    with pytest.raises(CrmInputError):
        SpreadUpsertCustomersOperator(task_id="t", **parameters).execute({})
    assert writes(crm_sandbox) == []
    assert len(crm_sandbox.calls) <= ("min_rows" in parameters)


def test_the_log_and_the_error_name_nobody(crm_sandbox, capfd):
    crm_sandbox.fault(
        "answer_before", method="POST", status=422, body='{"error": "zoe@example.fr is banned"}'
    )
    with pytest.raises(CrmRejectsError, match="1 of 1") as failure:
        SpreadUpsertCustomersOperator(task_id="t", source=[{"email": "zoe@example.fr"}]).execute({})
    assert "zoe" not in str(failure.value)
    assert "zoe" not in "".join(line for line in capfd.readouterr() if "uvicorn" not in line)
