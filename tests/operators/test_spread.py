"""What each of SPREAD's operators means by its parameters, over real HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_crm.bulk import settle
from airflow_provider_crm.bulk.batches import batches
from airflow_provider_crm.exceptions import CrmInputError, CrmRejectsError
from airflow_provider_crm.hooks import retry
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.operators.spread import (
    SpreadCreateConsentsOperator,
    SpreadDeleteCustomersOperator,
    SpreadUpdateEmailsOperator,
    SpreadUpsertCustomersOperator,
)
from airflow_provider_crm.sandbox.spread.consents import DEFINITIONS

NEWSLETTER, SMS, PHONE, *_ = DEFINITIONS


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(settle, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(retry._Wait, "__call__", lambda self, state: 0.0)


@pytest.fixture
def spread(crm_sandbox):
    return crm_sandbox.spread


@pytest.fixture
def run(tmp_path):
    """Run an operator on rows.

    :return: each row's end, with its reason where it has one.
    """

    def run(operator_class, source, **parameters):
        results = tmp_path / "results.jsonl"
        parameters.setdefault("max_rejects", len(source))
        operator_class(task_id="t", source=source, results_path=str(results), **parameters).execute({})
        lines = sorted(map(json.loads, results.read_text().splitlines()), key=lambda line: line["row"])
        return [
            f"{line['outcome']}: {line['reason']}" if line["reason"] else line["outcome"] for line in lines
        ]

    return run


@pytest.fixture
def upsert(run):
    return lambda source, **parameters: run(SpreadUpsertCustomersOperator, source, **parameters)


def writes(crm_sandbox):
    return [f"{call.method} {call.route}" for call in crm_sandbox.calls if call.method != "GET"]


def use_v1(crm_sandbox, monkeypatch):
    connection = {**json.loads(crm_sandbox.connections()["spread_default"]), "extra": {"write_api": "v1"}}
    monkeypatch.setenv("AIRFLOW_CONN_SPREAD_DEFAULT", json.dumps(connection))


# Upserts


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
        {"field_map": {"email": "email", "city": "city"}},
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


# Version 1

V1_SWITCHES = [
    {},
    *({"v1_answer": value} for value in ("text", "empty")),
    {"v1_create_existing": "error"},
    {"v1_update_missing": "create"},
    {"v1_error_status": 400},
    {"email_case": "lower"},
]


@pytest.mark.parametrize("switches", V1_SWITCHES, ids=str)
def test_version_1_writes_and_version_2_tells_what_became_of_it(
    crm_sandbox, spread, upsert, monkeypatch, switches
):
    use_v1(crm_sandbox, monkeypatch)
    crm_sandbox.switch("spread", **switches)
    held = spread.add_customer("A@example.fr", last_name="Old", city="Nîmes")
    held.tags = ["one"]
    rows = [
        {
            "email": "a@example.fr",
            "lastName": "Noël & fils",
            "tags": ["two", "three"],
            "custom_fields": {"1239": ["x", "y"]},
            "lang": "fr_FR",
        },
        {"email": "b@example.fr", "firstName": "Zoé", "birthday": "1970-12-31", "zip": "01000"},
        {"email": "nobody"},
    ]
    assert upsert(rows)[:2] == ["updated", "created"]
    assert set(writes(crm_sandbox)) == {"POST /CreateAccount", "POST /UpdateAccount"}
    assert (held.last_name, held.city, held.tags) == ("Noël & fils", "Nîmes", ["one", "two", "three"])
    assert spread.customers.custom_fields[held.id] == {"1239": "x|y"}
    new = spread.by_email("b@example.fr")
    assert (new.first_name, new.birthday, new.zip) == ("Zoé", "1970-12-31", "01000")
    assert upsert(rows)[:2] == ["unchanged", "unchanged"]


@pytest.mark.parametrize(
    "kind", ["drop_after", "drop_before", "error_after", "truncate", "html_after", "html_before"]
)
def test_version_1_is_not_called_twice_blindly(crm_sandbox, spread, upsert, monkeypatch, kind):
    use_v1(crm_sandbox, monkeypatch)
    crm_sandbox.switch("spread", v1_create_existing="error")
    spread.add_customer("a@example.fr", last_name="Old")
    crm_sandbox.fault(kind, path="/CreateAccount", times=1)
    crm_sandbox.fault(kind, path="/UpdateAccount", times=1)
    rows = [{"email": "a@example.fr", "lastName": "Noël"}, {"email": "b@example.fr", "lastName": "Noël"}]
    assert upsert(rows) == ["updated", "created"]
    assert len(writes(crm_sandbox)) == (2 if kind.endswith("after") or kind == "truncate" else 4)


@pytest.mark.parametrize("switches", [{}, {"v1_error_status": 400}])
def test_what_version_1_refuses_is_rejected(crm_sandbox, spread, upsert, monkeypatch, switches):
    use_v1(crm_sandbox, monkeypatch)
    crm_sandbox.switch("spread", unknown_custom_field="400", **switches)
    spread.add_customer("a@example.fr", last_name="Old")
    rows = [{"email": email, "custom_fields": {"99": "x"}} for email in ("a@example.fr", "b@example.fr")]
    assert upsert(rows) == ["rejected: ERR-INVALID"] * 2


def test_an_answer_of_version_1_that_says_nothing_is_held_against_the_crm(
    crm_sandbox, spread, upsert, monkeypatch
):
    use_v1(crm_sandbox, monkeypatch)
    spread.add_customer("a@example.fr", last_name="Old")
    crm_sandbox.fault("answer_before", path="/UpdateAccount", body="Erreur")
    crm_sandbox.fault("answer_before", path="/CreateAccount", body="Erreur")
    rows = [{"email": "a@example.fr", "lastName": "Noël"}, {"email": "b@example.fr", "lastName": "Noël"}]
    assert upsert(rows) == [
        "rejected: Erreur, and did not set lastName",
        "rejected: Erreur, and there is no such customer",
    ]


def test_version_1_has_no_flags(crm_sandbox, monkeypatch):
    use_v1(crm_sandbox, monkeypatch)
    operator = SpreadUpsertCustomersOperator(task_id="t", source=[{"email": "a@example.fr", "isBuyer": 1}])
    with pytest.raises(CrmInputError, match="isBuyer"):
        operator.execute({})
    assert len(crm_sandbox.calls) == 0


# Consents


@pytest.fixture
def consent(run):
    return lambda source, **parameters: run(SpreadCreateConsentsOperator, source, **parameters)


def answer(status, created_at, **more) -> dict[str, Any]:
    return {"email": "a@example.fr", "consent_id": 9876, "status": status, "created_at": created_at, **more}


def events(spread):
    return [(event.consent.id, event.status, event.created_at) for event in spread.consents.events]


def test_one_persons_answers_keep_their_order(crm_sandbox, spread, consent):
    spread.add_customer("a@example.fr")
    spread.add_customer("b@example.fr")
    crm_sandbox.fault("latency", ms=20, probability=0.5, seed=1)
    rows = [
        answer(("accepted", "refused")[number % 2], f"2024-01-01 00:00:{number:02}", email=email)
        for number in range(12)
        for email in ("a@example.fr", "B@example.fr")
    ]
    assert consent(rows) == ["created"] * 24
    for email in ("a@example.fr", "b@example.fr"):
        dates = [one.created_at for one in spread.consents.of_customer(spread.by_email(email).id)]
        assert dates == sorted(dates)
        assert len(dates) == 12
    assert set(consent(rows)) == {"unchanged"}


def test_a_refusal_is_sent_however_old_but_once(spread, consent):
    customer = spread.add_customer("a@example.fr")
    spread.consents.add(customer.id, NEWSLETTER, "accepted", "2024-01-01 00:00:00", "manualImport")
    rows = [answer("refused", "2020-01-01 00:00:00")]
    assert consent(rows) == ["created"]
    assert consent(rows) == ["unchanged"]
    assert len(spread.consents.events) == 2


def test_an_acceptance_newer_than_the_refusal_counts(spread, consent):
    customer = spread.add_customer("a@example.fr")
    spread.consents.add(customer.id, NEWSLETTER, "refused", "2024-01-01 00:00:00", "manualImport")
    rows = [
        answer("accepted", "2023-12-31 23:59:59"),
        answer("accepted", "2024-01-01T00:00:01+01:00"),
        answer("accepted", "2023-12-31 23:59:58"),
    ]
    # The last one's status holds by then.
    assert consent(rows) == ["skipped: a newer refusal is in SPREAD", "created", "unchanged"]


def test_another_consents_refusal_does_not_count(crm_sandbox, spread, consent):
    customer = spread.add_customer("a@example.fr")
    spread.consents.add(customer.id, SMS, "refused", "2024-01-01 00:00:00", "manualImport")
    spread.consents.add(customer.id, SMS, "accepted", "2025-01-01 00:00:00", "manualImport")
    assert consent([answer("accepted", "2023-01-01 00:00:00")]) == ["created"]


def test_a_filter_that_is_overlooked_misleads_nobody(crm_sandbox, spread, consent, monkeypatch):
    customer = spread.add_customer("a@example.fr")
    spread.consents.add(customer.id, SMS, "refused", "2024-01-01 00:00:00", "manualImport")
    history = SpreadHook.iter_customer_consents
    monkeypatch.setattr(SpreadHook, "iter_customer_consents", lambda self, number, **_: history(self, number))
    assert consent([answer("accepted", "2023-01-01 00:00:00")]) == ["created"]
    row = answer("accepted", "2023-01-01 00:00:00", consent_id=None, consent_tech_name="NewsEmail")
    assert consent([row]) == ["unchanged"]


def test_every_row_is_an_entry_when_changes_are_not_asked_for(crm_sandbox, spread, consent):
    spread.add_customer("a@example.fr")
    rows = [answer("accepted", "2024-01-01 00:00:00"), answer("accepted", "2025-01-01 00:00:00")]
    assert consent(rows, only_changes=False) == ["created", "created"]
    assert crm_sandbox.calls.count(method="GET", route="/customers-consents/{id}") == 0
    assert consent(rows, only_changes=False) == ["created", "created"]
    assert len(spread.consents.events) == 4


@pytest.mark.parametrize("only_changes", [True, False])
@pytest.mark.parametrize("kind", ["latency", "drop_after", "drop_before"])
def test_each_channel_has_an_answer_of_its_own(crm_sandbox, spread, consent, only_changes, kind):
    customer = spread.add_customer("a@example.fr")
    spread.consents.add(customer.id, NEWSLETTER, "accepted", "2023-01-01 00:00:00", "manualImport")
    crm_sandbox.fault(kind, method="POST", after=1, times=1)
    rows = [answer("accepted", "2024-01-01 00:00:00", channel_id=channel) for channel in (7, 8, 8, 9)]
    assert consent(rows, only_changes=only_changes) == [
        "created",
        "skipped: row 3 is about the same person",
        "created",
        "created",
    ]
    assert [event.channel_id for event in spread.consents.events] == [None, "7", "8", "9"]
    old = [answer("refused", "2025-01-01", channel_id=7), answer("accepted", "2024-06-01", channel_id=7)]
    assert consent(old) == ["created", "skipped: a newer refusal is in SPREAD"]


@pytest.mark.parametrize("only_changes", [True, False])
@pytest.mark.parametrize(("kind", "calls"), [("drop_after", 1), ("drop_before", 2), ("html_after", 1)])
def test_an_unanswered_call_makes_one_entry(crm_sandbox, spread, consent, only_changes, kind, calls):
    customer = spread.add_customer("a@example.fr")
    spread.consents.add(customer.id, NEWSLETTER, "accepted", "2020-01-01 00:00:00", "manualImport")
    spread.consents.add(customer.id, NEWSLETTER, "refused", "2021-01-01 00:00:00", "manualImport")
    crm_sandbox.fault(kind, method="POST", times=1)
    rows = [answer("accepted", "2024-01-01 00:00:00")]
    assert consent(rows, only_changes=only_changes) == ["created"]
    assert len(writes(crm_sandbox)) == calls
    assert events(spread)[2:] == [("9876", "accepted", "2024-01-01 00:00:00")]


def test_columns_are_renamed_and_a_customer_may_be_an_id(crm_sandbox, spread, consent):
    customer = spread.add_customer("a@example.fr")
    rows = [
        {
            "kunde": customer.id,
            "was": PHONE.consent_tech_name,
            "wie": "accepted",
            "wann": "2024-01-01",
            "ort": "::1",
        },
        {"kunde": 4711, "was": "NewsEmail", "wie": "accepted", "wann": "2024-01-01", "ort": None},
        {"kunde": customer.id, "was": "Nonsense", "wie": "accepted", "wann": "2024-01-01", "ort": None},
    ]
    names = {
        "kunde": "customer_id",
        "was": "consent_tech_name",
        "wie": "status",
        "wann": "created_at",
        "ort": "ip",
    }
    assert consent(rows, field_map=names) == [
        "created",
        "rejected: Customer not found",
        "rejected: Consent not found",
    ]
    assert spread.consents.events[0].ip == "::1"
    assert crm_sandbox.calls.count(route="/consents") == 2  # read once, in two pages, for all rows
    assert crm_sandbox.calls.count(route="/customers") == 1  # nobody had to be found


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (answer("yes", "2024-01-01"), "status: allowed are accepted, refused, unknown"),
        (answer(None, "2024-01-01"), "status is empty"),
        (answer("accepted", None), "created_at is empty"),
        (answer("accepted", "2O24-01-01"), "created_at: required is a moment such as 2018-06-30 09:10:34"),
        (answer("accepted", "2024-01-01", email=""), "customer_id and email are both empty"),
        (answer("accepted", "2024-01-01", email="x"), "email: this is not an e-mail address"),
        (
            answer("accepted", "2024-01-01", consent_id=None),
            "consent_id and consent_tech_name are both empty",
        ),
        (
            answer("accepted", "2024-01-01", consent_id="News"),
            "consent_id: an id of SPREAD is a number such as 123456",
        ),
        (answer("accepted", "2024-01-01", email="b@example.fr"), "no customer has this e-mail"),
    ],
)
def test_an_answer_that_cannot_be_recorded(crm_sandbox, spread, consent, row, reason):
    spread.add_customer("a@example.fr")
    assert consent([{"customer_id": None, "consent_tech_name": None, **row}]) == [f"rejected: {reason}"]
    assert writes(crm_sandbox) == []


@pytest.mark.parametrize("who", ["email", "customer_id"])
def test_a_404_in_place_of_a_history_without_answers(crm_sandbox, spread, consent, who):
    customer = spread.add_customer("a@example.fr")
    crm_sandbox.fault(
        "answer_before", method="GET", path="/customers-consents", status=404, body='{"error": "None"}'
    )
    row = answer("accepted", "2024-01-01 00:00:00")
    if who == "customer_id":
        row = {**row, "email": None, "customer_id": customer.id}
    assert consent([row]) == ["created"]
    unknown = {**row, "email": None, "customer_id": "999999"}
    assert consent([unknown]) == ["rejected: None"]
    assert len(events(spread)) == 1


@pytest.mark.parametrize("missing", ["email", "consent_id", "status", "created_at"])
def test_a_missing_column_of_a_consent_is_told_before_any_call(crm_sandbox, missing):
    row = answer("accepted", "2024-01-01")
    del row[missing]
    with pytest.raises(CrmInputError, match=missing):
        SpreadCreateConsentsOperator(task_id="t", source=[row]).execute({})
    with pytest.raises(CrmInputError, match=missing):
        SpreadCreateConsentsOperator(
            task_id="t", source=[answer("accepted", "2024-01-01")], field_map={name: name for name in row}
        ).execute({})
    assert len(crm_sandbox.calls) == 0


def test_an_unknown_column_of_a_consent_is_told_before_any_call(crm_sandbox):
    source = [answer("accepted", "2024-01-01", chanel_id=1)]
    with pytest.raises(CrmInputError, match="chanel_id"):
        SpreadCreateConsentsOperator(task_id="t", source=source).execute({})
    assert len(crm_sandbox.calls) == 0


# E-mails


def test_a_chain_of_addresses_is_walked_in_order(crm_sandbox, spread, run):
    customer = spread.add_customer("a0@example.fr")
    crm_sandbox.fault("latency", ms=20, probability=0.5, seed=1)
    rows = [{"von": f"a{n}@example.fr", "nach": f"A{n + 1}@example.fr"} for n in range(8)]
    names = {"old_field": "von", "new_field": "nach"}
    assert run(SpreadUpdateEmailsOperator, rows, **names) == ["updated"] * 8
    assert customer.email == "a8@example.fr"


def test_the_last_of_several_changes_of_one_address_counts(spread, run):
    customer = spread.add_customer("a@example.fr")
    rows = [{"old_email": "a@example.fr", "new_email": f"{name}@example.fr"} for name in "bc"]
    assert run(SpreadUpdateEmailsOperator, rows) == ["skipped: row 2 is about the same person", "updated"]
    assert customer.email == "c@example.fr"


def test_why_an_address_is_not_changed(crm_sandbox, spread, run):
    spread.add_customer("a@example.fr")
    spread.add_customer("b@example.fr")
    rows = [
        {"old_email": "a@example.fr", "new_email": "b@example.fr"},
        {"old_email": "x@example.fr", "new_email": "y@example.fr"},
        {"old_email": "b@example.fr", "new_email": "b"},
        {"old_email": "b@example.fr", "new_email": "b@b.b,"},
    ]
    assert run(SpreadUpdateEmailsOperator, rows) == [
        "rejected: another customer has the new e-mail",
        "rejected: no customer has the old e-mail or the new one",
        "rejected: new_email: this is not an e-mail address",
        "rejected: new_email: this is not an e-mail address",
    ]
    assert writes(crm_sandbox) == []
    crm_sandbox.fault("answer_before", method="PUT", status=400, body='{"error": "not now"}')
    rows = [{"old_email": "a@example.fr", "new_email": "c@example.fr"}]
    assert run(SpreadUpdateEmailsOperator, rows) == ["rejected: not now"]


@pytest.mark.parametrize("parameters", [{"old_field": "x"}, {"new_field": "x"}, {"new_field": "old_email"}])
def test_bad_columns_of_a_change_are_told_before_any_call(crm_sandbox, parameters):
    source = [{"old_email": "a@example.fr", "new_email": "b@example.fr"}]
    with pytest.raises(CrmInputError):
        SpreadUpdateEmailsOperator(task_id="t", source=source, **parameters).execute({})
    assert len(crm_sandbox.calls) == 0


# Deletes


@pytest.mark.parametrize("column", ["id", "email"])
def test_one_column_is_enough_for_a_delete(spread, run, column):
    customer = spread.add_customer("a@example.fr")
    row = {column: getattr(customer, column), "name": "whatever"}
    assert run(SpreadDeleteCustomersOperator, [row]) == ["updated"]
    assert not spread.customers
    assert run(SpreadDeleteCustomersOperator, [row], dry_run=True) == ["skipped: not in SPREAD"]


def test_nobody_else_is_erased(crm_sandbox, spread, run):
    spread.add_customer("a@example.fr")
    spread.add_customer("b@example.fr")
    rows = [
        {"id": "123456", "email": "b@example.fr"},
        {"id": "99", "email": "b@example.fr"},
        {"id": "x", "email": "b@example.fr"},
        {"id": "1" * 30, "email": None},
    ]
    assert run(SpreadDeleteCustomersOperator, rows) == [
        "rejected: the customer of this id has another e-mail",
        "rejected: no customer has this id, and another one has the e-mail",
        *["rejected: id: an id of SPREAD is a number such as 123456"] * 2,
    ]
    assert writes(crm_sandbox) == []


def test_a_delete_that_the_crm_refuses_or_only_claims(crm_sandbox, spread, run):
    spread.add_customer("a@example.fr")
    rows = [{"email": "a@example.fr"}]
    fault = crm_sandbox.fault("answer_before", method="DELETE", status=400, body='{"error": "locked"}')
    assert run(SpreadDeleteCustomersOperator, rows) == ["rejected: locked"]
    crm_sandbox.clear()
    fault = crm_sandbox.fault("answer_before", method="DELETE", body='{"response": "Customer deleted."}')
    (ending,) = run(SpreadDeleteCustomersOperator, rows)
    assert ending.startswith("rejected")
    assert 2 <= fault.fired <= 3
    assert len(spread.customers) == 1


def test_a_look_up_that_lags_behind_a_delete(crm_sandbox, spread, run, monkeypatch):
    customer = spread.add_customer("a@example.fr")
    shown = {"id": customer.id, "email": customer.email}
    monkeypatch.setattr(SpreadHook, "find_customer", lambda self, **_: shown)
    assert run(SpreadDeleteCustomersOperator, [{"email": "a@example.fr"}]) == ["updated"]
    assert not spread.customers


@pytest.mark.parametrize(
    "parameters",
    [
        {"email_field": "mail", "customer_id_field": "number"},
        {"require_confirmation_count": 2},
        {"min_rows": "2"},
    ],
)
def test_bad_input_of_a_delete_is_told_before_anything_is_deleted(crm_sandbox, spread, parameters):
    spread.add_customer("a@example.fr")
    with pytest.raises(CrmInputError):
        SpreadDeleteCustomersOperator(task_id="t", source=[{"email": "a@example.fr"}], **parameters).execute(
            {}
        )
    assert len(spread.customers) == 1
    assert len(crm_sandbox.calls) == 0 or len(parameters) == 1
