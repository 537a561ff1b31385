"""SPREAD as its pages describe it, over real HTTP."""

from __future__ import annotations

import re
import time

import pytest
import requests

from tests.helpers.waits import patience, wait_until

SCALARS = [
    "id",
    "lastName",
    "firstName",
    "email",
    "country",
    "city",
    "address",
    "address2",
    "address3",
    "zip",
    "phone",
    "mobile",
    "lang",
    "birthday",
    "gender",
    "createdAt",
    "updatedAt",
    "isFan",
    "isFollow",
    "isFanLinkedin",
    "isBuyer",
    "actionCount",
    "lastActionDt",
    "lastOrderDt",
    "cagnotteAmount",
    "externalId",
    "company",
    "fonction",
]


def create(spread, email, **values):
    return spread("POST", "/customers", json={"customer": {"email": email, **values}}).json()["customer"]


def test_a_new_customer_is_all_texts_and_nulls(spread):
    answer = spread(
        "POST", "/customers/", data='{"customer": {"email": "Zoé@example.fr", "isBuyer": 1}}'.encode()
    )
    customer = answer.json()["customer"]
    assert list(customer) == [*SCALARS, "tags"]
    assert all(value is None or isinstance(value, str) for value in customer.values())
    assert (customer["tags"], customer["company"], customer["city"]) == ("", "", None)
    assert (customer["isBuyer"], customer["isFan"], customer["lang"]) == ("1", "0", "fr")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000", customer["createdAt"])


def test_custom_fields_and_status_show_by_id_or_when_asked_for(spread):
    customer = create(spread, "a@example.fr", custom_fields={"34567": "Basket"}, tags=["tag1"])
    create(spread, "b@example.fr")
    by_id = spread("GET", f"/customers/{customer['id']}").json()["customer"]
    assert by_id["custom_fields"] == {"34567": "Sport:Basket"}
    assert by_id["status"] == "Statut bronze"
    assert by_id["tags"] == ["tag1"]
    assert "custom_fields" not in spread("GET", "/customers").json()["customers"][0]
    shown = spread("GET", "/customers", params={"showCustomFields": "1"}).json()["customers"]
    assert [one["custom_fields"] for one in shown] == [{"34567": "Sport:Basket"}, []]


def test_put_needs_the_email_and_adds_tags(spread, crm_sandbox):
    customer = create(spread, "a@example.fr", lastName="Noël", tags=["one"])
    path = f"/customers/{customer['id']}"
    assert spread("PUT", path, json={"customer": {"firstName": "Zoé"}}).status_code == 400
    changed = {"customer": {"email": "a@example.fr", "firstName": "Zoé", "tags": ["two"]}}
    answer = spread("PUT", path, json=changed).json()["customer"]
    assert (answer["firstName"], answer["lastName"], answer["tags"]) == ("Zoé", "Noël", ["one", "two"])
    crm_sandbox.switch("spread", put_missing_fields="clear")
    assert spread("PUT", path, json=changed).json()["customer"]["lastName"] is None


@pytest.mark.parametrize(
    ("behaviour", "status"), [("409", 409), ("400", 400), ("200_error", 200), ("upsert", 200)]
)
def test_post_of_an_existing_email_is_a_switch(spread, crm_sandbox, behaviour, status):
    crm_sandbox.switch("spread", existing_email=behaviour)
    create(spread, "a@example.fr")
    answer = spread("POST", "/customers", json={"customer": {"email": "A@example.fr", "city": "Nîmes"}})
    assert answer.status_code == status
    assert ("customer" in answer.json()) == (behaviour == "upsert")
    assert len(crm_sandbox.spread.customers) == 1


@pytest.mark.parametrize("behaviour", ["404_json", "200_error", "404_html"])
def test_an_unknown_id_is_a_switch(spread, crm_sandbox, behaviour):
    crm_sandbox.switch("spread", unknown_id=behaviour)
    answer = spread("GET", "/customers/1")
    assert answer.status_code == int(behaviour[:3])
    assert ("html" in answer.headers["content-type"]) == behaviour.endswith("html")


def test_an_email_is_changed_and_a_customer_deleted(spread, crm_sandbox):
    customer = create(spread, "old@example.fr")
    create(spread, "taken@example.fr")
    change = {"customer": {"old_email": "old@example.fr", "new_email": "new@example.fr"}}
    assert spread("PUT", "/customers/email/update", json=change).json()["customer"]["id"] == customer["id"]
    assert spread("PUT", "/customers/email/update/", json=change).status_code == 404
    change = {"customer": {"old_email": "new@example.fr", "new_email": "taken@example.fr"}}
    assert spread("PUT", "/customers/email/update", json=change).status_code == 409
    assert spread("DELETE", f"/customers/{customer['id']}").json() == {"response": "Customer deleted."}
    assert spread("DELETE", f"/customers/{customer['id']}").status_code == 404
    assert [one.email for one in crm_sandbox.spread.customers.values()] == ["taken@example.fr"]


def emails(answer):
    return [one["email"] for one in answer.json()["customers"]]


def test_the_filters_of_customers(spread):
    create(spread, "a@example.fr", lastName="Noël", zip="25000", externalId="X1", mobile="06")
    second = create(spread, "B@example.fr", lastName="NOËL", zip="30000", externalId="X2")
    for query, expected in (
        ({"email": "b@example.fr"}, []),
        ({"email": "b@example.fr", "caseInsensitive": "1"}, ["B@example.fr"]),
        ({"lastName": "Noël"}, ["a@example.fr"]),
        ({"lastName": "noël", "caseInsensitive": "1"}, ["a@example.fr", "B@example.fr"]),
        ({"zipcode": "25000"}, ["a@example.fr"]),
        ({"mobilePhoneNumber": "06"}, ["a@example.fr"]),
        ({"externalId": "X2"}, ["B@example.fr"]),
        ({"ids": f"{second['id']},999"}, ["B@example.fr"]),
        ({"ids": second["id"], "lastName": "Noël"}, []),
        ({"createdAfter": "2020-01-01 00:00:00"}, ["a@example.fr", "B@example.fr"]),
        ({"createBefore": "2020-01-01 00:00:00"}, []),
        ({"modifiedBefore": "2020-01-01"}, []),
        (
            {"createdBefore": "2020-01-01"},
            ["a@example.fr", "B@example.fr"],
        ),  # not a documented name: passed over
    ):
        assert emails(spread("GET", "/customers", params=query)) == expected, query
    assert spread("GET", "/customers", params={"createdAfter": "soon"}).status_code == 400


def test_pages_and_what_they_say_of_the_next_one(spread, crm_sandbox):
    crm_sandbox.seed(60, ["spread"])
    first = spread("GET", "/customers").json()
    assert (len(first["customers"]), first["count"]) == (25, 25)
    last = spread("GET", "/customers", params={"maxResults": 50, "startAt": 50}).json()
    host = crm_sandbox.url.removeprefix("http://")
    assert last["count"] == 10
    assert last["nextPageUrl"] == f"http://{host}/spread/api/v2/customers?maxResults=50&startAt=60"
    assert spread("GET", "/customers", params={"startAt": 60}).json()["customers"] == []
    # Each list honours the spelling its own page documents.
    assert spread("GET", "/customers", params={"maxResult": 50}).json()["count"] == 25
    assert spread("GET", "/cagnottes", params={"maxResult": 50}).json()["count"] == 50
    assert spread("GET", "/cagnottes", params={"maxResults": 50}).json()["count"] == 25
    crm_sandbox.switch("spread", page_cap=7)
    assert spread("GET", "/customers", params={"maxResults": 50}).json()["count"] == 7


@pytest.mark.parametrize(
    ("form", "start"),
    [
        ("no_slashes", "http:127.0.0.1"),
        ("colon", "http://:127.0.0.1"),
        ("foreign", "http://elsewhere.example/"),
        ("null", None),
    ],
)
def test_a_malformed_next_page_url(spread, crm_sandbox, form, start):
    crm_sandbox.switch("spread", next_page_url=form)
    url = spread("GET", "/customers").json()["nextPageUrl"]
    assert url is None if start is None else url.startswith(start)


def consent(spread, customer, status="accepted", **values):
    body = {"id": 9876, "createdAt": "2018-06-30 09:10:34", "customerConsentStatus": status} | values
    return spread("POST", f"/customers-consents/{customer['id']}", json={"consent": body})


def test_answers_to_a_consent_are_a_history(spread):
    customer = create(spread, "a@example.fr")
    assert consent(spread, customer, "unknown").status_code == 400
    first = consent(spread, customer).json()["consent"]
    assert (first["id"], first["techName"]) == (9876, "NewsEmail")
    assert first["customer"]["id"] == customer["id"]
    consent(spread, customer, "refused", techName="NewsEmail", createdAt="2019-01-01 00:00:00")
    assert consent(spread, customer, "unknown", createdAt="2020-01-01 00:00:00").status_code == 200
    assert consent(spread, customer, "toBeConfirmed").status_code == 400
    assert consent(spread, customer, createdAt="2O18-06-30 09:10:34").status_code == 400

    history = spread("GET", f"/customers-consents/{customer['id']}").json()
    rows = history["customer"]["consents"]
    assert [row["customerConsentStatus"] for row in rows] == ["accepted", "refused", "unknown"]
    assert [row["trackId"] for row in rows] == ["1000", "1001", "1002"]
    assert rows[0] == {
        "consentId": "9876",
        "trackId": "1000",
        "consentTechName": "NewsEmail",
        "customerConsentCreatedAt": "2018-06-30 09:10:34",
        "customerConsentStatus": "accepted",
        "customerConsentSource": "upstreamAPIv2POST",
        "customerConsentSourceId": None,
    }
    refused = spread(
        "GET", "/customers-consents", params={"consentId": "9876", "customerConsentStatus": "refused"}
    ).json()
    assert [row["trackId"] for row in refused["consent"]["customers"]] == ["1001"]
    late = {"consentTechName": "NewsEmail", "createdAfter": "2019-01-01 00:00:00"}
    assert [
        r["trackId"] for r in spread("GET", "/customers-consents", params=late).json()["consent"]["customers"]
    ] == ["1002"]
    by_track = spread(
        "GET", "/customers-consents", params={"trackId": "1000", "createdAfter": "2030-01-01"}
    ).json()
    assert by_track["consent"]["customers"][0]["id"] == customer["id"]
    assert spread("GET", "/customers-consents").status_code == 400


def test_consent_definitions(spread):
    rows = spread("GET", "/consents", params={"maxResult": 100}).json()["consents"]
    assert len({row["id"] for row in rows}) == 5
    assert len({row["consentTechName"] for row in rows}) == 4
    assert spread("GET", "/consents/9875").json()["consent"]["consentTechName"] == "NewsSMS"


def credit(spread, email, amount, **cagnotte):
    return spread(
        "POST", "/cagnottes", json={"customer": {"email": email}, "cagnotte": {"amount": amount} | cagnotte}
    )


def test_credits_make_lines_and_a_balance(spread):
    customer = create(spread, "a@example.fr")
    answer = credit(spread, "a@example.fr", 5).json()
    assert answer["customer"] == {"id": customer["id"], "cagnotteAmount": "5"}
    assert answer["cagnotte"]["amount"] == "5"
    assert (answer["cagnotte"]["campaignId"], answer["cagnotte"]["code"]) == (None, "")
    by_id = {"customer": {"customerId": customer["id"]}, "cagnotte": {"amount": "10.50"}}
    assert spread("POST", "/cagnottes", json=by_id).json()["customer"]["cagnotteAmount"] == "15.5"
    assert spread("GET", f"/customers/{customer['id']}").json()["customer"]["cagnotteAmount"] == "15.5"
    for query, amounts in (
        ({"customerId": customer["id"]}, ["5", "10.5"]),
        ({"minAmount": "5"}, ["10.5"]),
        ({"maxAmount": "10.5"}, ["5"]),
        ({"amount": "5.0"}, ["5"]),
        ({"customerId": "1"}, []),
        ({"createdAfter": "2020-01-01 00:00:00", "createBefore": "2020-01-02"}, []),
    ):
        rows = spread("GET", "/cagnottes", params=query).json()["cagnottes"]
        assert [row["amount"] for row in rows] == amounts, query


def test_a_credit_that_cannot_be_applied_changes_nothing(spread, crm_sandbox):
    create(spread, "a@example.fr")
    assert credit(spread, "nobody@example.fr", 5).status_code == 404
    assert credit(spread, "a@example.fr", None).status_code == 400
    assert credit(spread, "a@example.fr", "many").status_code == 400
    # The spelling of the parameter list is not that of the sample.
    assert credit(spread, "a@example.fr", None, cagnotteAmount=5).status_code == 400
    assert crm_sandbox.spread.loyalty.lines == []


@pytest.mark.slow
def test_a_line_can_show_late(spread, crm_sandbox):
    customer = create(spread, "a@example.fr")
    crm_sandbox.switch("spread", line_delay=patience(0.3))
    assert credit(spread, "a@example.fr", 5).json()["customer"]["cagnotteAmount"] == "5"
    assert spread("GET", "/cagnottes").json()["cagnottes"] == []
    assert spread("GET", f"/customers/{customer['id']}").json()["customer"]["cagnotteAmount"] is None
    assert len(crm_sandbox.spread.loyalty.lines) == 1
    wait_until(lambda: len(spread("GET", "/cagnottes").json()["cagnottes"]) == 1)
    assert spread("GET", f"/customers/{customer['id']}").json()["customer"]["cagnotteAmount"] == "5"


def test_clock_and_zone_of_line_dates(spread, crm_sandbox):
    create(spread, "a@example.fr")
    crm_sandbox.switch("spread", clock_shift=-86400 * 365, zone="Asia/Tokyo")
    date = credit(spread, "a@example.fr", 5).json()["cagnotte"]["cagnotteLineDate"]
    shifted = time.gmtime(time.time() - 86400 * 365 + 9 * 3600)
    assert date[:13] == time.strftime("%Y-%m-%d %H", shifted)


def test_keys_are_checked(crm_sandbox):
    for auth in (None, ("demo-public", "wrong")):
        answer = requests.get(f"{crm_sandbox.url}/spread/api/v2/customers", auth=auth)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic")


def test_version_one_creates_and_updates(spread, crm_sandbox):
    spread.base = f"{crm_sandbox.url}/spread/api"
    form = {
        "data[customer_email]": "a@example.fr",
        "data[customer_name]": "Lefèvre",
        "data[customer_cp]": "25000",
        "data[customer_lang]": "fr_FR",
        "data[customer_isoptin]": "1",
        "data[add_tag][0]": "one",
        "data[add_tag][1]": "two",
        "data[custom_fields][34567]": "Basket",
    }
    assert spread("POST", "/CreateAccount", data=form).json()["return"] == "OK"
    customer = crm_sandbox.spread.by_email("a@example.fr")
    assert (customer.last_name, customer.zip, customer.lang, customer.tags) == (
        "Lefèvre",
        "25000",
        "fr",
        ["one", "two"],
    )
    [event] = crm_sandbox.spread.consents.events
    assert (event.status, event.source) == ("accepted", "upstreamAPIPOST")
    change = {"data[customer_email]": "a@example.fr", "data[customer_city]": "Nîmes", "data[del_tag]": "one"}
    assert spread("POST", "/UpdateAccount", data=change).status_code == 200
    assert (customer.city, customer.last_name, customer.tags) == ("Nîmes", "Lefèvre", ["two"])
    missing = spread("POST", "/UpdateAccount", data={"data[customer_email]": "b@example.fr"})
    assert missing.json()["return"].startswith("ERR-")


def test_the_seed_is_the_same_every_time(crm_sandbox):
    crm_sandbox.seed(50, ["spread"])
    kinds = ("customers", "consents", "lines")
    before = [crm_sandbox.records("spread", kind) for kind in kinds]
    assert len({one["email"].lower() for one in before[0]}) == 50
    assert any("é" in one["lastName"] for one in before[0])
    crm_sandbox.reset()
    crm_sandbox.seed(50, ["spread"])
    assert [crm_sandbox.records("spread", kind) for kind in kinds] == before
