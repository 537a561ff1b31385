"""The hooks against stand-ins that were written from the same pages by other eyes, over real HTTP."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_crm.exceptions import (
    CrmNotFoundError,
    CrmOutcomeUnknownError,
    CrmRedirectError,
    CrmRequestError,
)
from airflow_provider_crm.hooks.expertsender import ExpertSenderHook
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.hooks.spread import SpreadHook
from tests.helpers.connections import set_connection


@pytest.fixture
def sandbox(crm_sandbox: Any) -> Any:
    return crm_sandbox


NO_FAULT: dict[str, Any] = {}
#: What a reader should not even notice.
PASSING = [
    NO_FAULT,
    {"kind": "error_before", "every": 2},
    {"kind": "error_after", "every": 3},
    {"kind": "drop_before", "every": 2, "reset": True},
    {"kind": "drop_after", "every": 3},
    {"kind": "truncate", "every": 2},
    {"kind": "html_before", "every": 2},
    {"kind": "rate_limited", "every": 3, "retry_after": 1},
    {"kind": "redirect", "to": "slash"},
    {"kind": "page_cap", "limit": 7},
    {"kind": "page_cap", "limit": 1},
    {"kind": "query_too_long", "limit": 150},
    *({"kind": "next_page_url", "form": form} for form in ("foreign", "loop", "colon", "null", "absent")),
]
each_passing = pytest.mark.parametrize(
    "fault", PASSING, ids=lambda fault: "-".join(map(str, fault.values())) or "none"
)


@pytest.mark.parametrize(
    ("hook_class", "system"),
    [(SpreadHook, "spread"), (MindbazHook, "mindbaz"), (ExpertSenderHook, "expertsender")],
)
def test_a_host_without_the_path_of_the_api(
    sandbox: Any, monkeypatch: pytest.MonkeyPatch, hook_class: Any, system: str
) -> None:
    assert hook_class().test_connection()[0]
    set_connection(monkeypatch, sandbox, system, host=sandbox.url)
    works, sentence = hook_class().test_connection()
    assert not works
    assert sentence.endswith(f". A base URL is all before the resource, such as {hook_class.default_url}")
    assert ".." not in sentence


# SPREAD


@pytest.mark.sampled
@each_passing
def test_spread_lists_are_read_whole(sandbox: Any, clock: Any, fault: Any) -> None:
    sandbox.seed(30, ["spread"])
    hook = SpreadHook()
    hook.clock = clock
    ids = {customer["id"] for customer in hook.iter_customers()}
    lines = {line["cagnotteLineId"] for line in hook.iter_loyalty_lines()}
    if fault:
        sandbox.fault(system="spread", **fault)
    found = list(hook.iter_customers(show_custom_fields=True, page_size=10))
    assert [row["id"] for row in found] == sorted(ids, key=int)
    assert len(found) == 30
    assert all(isinstance(row["tags"], list) and isinstance(row["custom_fields"], dict) for row in found)
    assert {row["id"] for row in hook.iter_customers(ids=ids)} == ids
    assert {line["cagnotteLineId"] for line in hook.iter_loyalty_lines()} == lines


@pytest.mark.parametrize("switch", [{}, {"root_key": "both"}, {"email_case": "lower"}])
def test_a_spread_customers_life(sandbox: Any, switch: dict[str, Any]) -> None:
    sandbox.switch("spread", **switch)
    hook = SpreadHook()
    made = hook.create_customer(
        {"email": "Zoé+x@Example.fr", "tags": ["a"], "isBuyer": True, "birthday": dt.date(1990, 2, 3)}
    )
    assert (made["tags"], made["isBuyer"], made["birthday"]) == (["a"], "1", "1990-02-03")
    found = hook.find_customer(email="ZOÉ+X@example.fr")
    assert found is not None
    assert found["id"] == made["id"]
    hook.update_customer(made["id"], {"email": made["email"], "externalId": "A 1", "city": "Saint-Étienne"})
    again = hook.find_customer(external_id="A 1")
    assert again is not None
    assert (again["id"], again["city"]) == (made["id"], "Saint-Étienne")
    assert hook.update_customer_email(made["email"], "new@example.fr")["email"] == "new@example.fr"
    assert hook.find_customer(email=made["email"]) is None
    hook.delete_customer(made["id"])
    assert hook.get_customer(made["id"]) is None
    with pytest.raises(CrmNotFoundError):
        hook.delete_customer(made["id"])


@pytest.mark.parametrize("behaviour", ["409", "400", "200_error"])
def test_a_spread_customer_who_exists(sandbox: Any, behaviour: str) -> None:
    sandbox.switch("spread", existing_email=behaviour)
    hook = SpreadHook()
    hook.create_customer({"email": "a@example.fr"})
    with pytest.raises(CrmRequestError):
        hook.create_customer({"email": "a@example.fr"})


@pytest.mark.sampled
@pytest.mark.parametrize("keys", ["sample", "list", "both"])
@pytest.mark.parametrize("number_type", ["int", "str"])
def test_spread_consents(sandbox: Any, keys: str, number_type: str) -> None:
    sandbox.switch("spread", consent_keys=keys, consent_id_type=number_type)
    hook = SpreadHook()
    customer = hook.create_customer({"email": "a@example.fr"})["id"]
    made = hook.create_consent(
        customer, status="accepted", created_at="2024-01-02 03:04:05", consent_id="9876", ip="1.1.1.1"
    )
    hook.create_consent(
        customer, status="refused", created_at=dt.datetime(2024, 2, 3), consent_tech_name="NewsEmail"
    )
    assert made["id"] == "9876"
    history = list(hook.iter_customer_consents(customer))
    assert [row["customerConsentStatus"] for row in history] == ["accepted", "refused"]
    rows = list(hook.iter_consents(consent_id=9876, created_after=dt.datetime(2024, 1, 15)))
    assert [(row["id"], row["consentId"], row["consentTechName"]) for row in rows] == [
        (customer, "9876", "NewsEmail")
    ]
    (tracked,) = hook.iter_consents(track_id=history[0]["trackId"])
    assert tracked["customerConsentCreatedAt"] == "2024-01-02 03:04:05"
    definition = hook.get_consent(9876)
    assert definition is not None
    assert definition in list(hook.iter_consent_definitions())


def test_spread_credits(sandbox: Any) -> None:
    hook = SpreadHook()
    customer = hook.create_customer({"email": "a@example.fr"})["id"]
    first = hook.credit_loyalty(amount=Decimal("12.50"), email=" a@example.fr")
    second = hook.credit_loyalty(amount="-2", customer_id=customer)
    assert Decimal(first["cagnotte"]["amount"]) == Decimal("12.5")
    assert Decimal(second["customer"]["cagnotteAmount"]) == Decimal("10.5")
    lines = list(hook.iter_loyalty_lines(customer_id=customer))
    assert [line["cagnotteLineId"] for line in lines] == [
        first["cagnotte"]["cagnotteLineId"],
        second["cagnotte"]["cagnotteLineId"],
    ]
    with pytest.raises(CrmRequestError):
        hook.credit_loyalty(amount=1, email="nobody@example.fr")


@pytest.mark.parametrize(
    ("fault", "applied"),
    [
        ({"kind": "error_before"}, 0),
        ({"kind": "error_after"}, 1),
        ({"kind": "drop_before"}, 0),
        ({"kind": "drop_after", "reset": True}, 1),
        ({"kind": "truncate"}, 1),
        ({"kind": "html_before"}, 0),
        ({"kind": "html_after"}, 1),
        *(({"kind": "redirect_after", "status": status}, 1) for status in (301, 302, 303, 307, 308)),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_a_spread_credit_is_never_applied_twice(sandbox: Any, clock: Any, fault: Any, applied: int) -> None:
    hook = SpreadHook()
    hook.clock = clock
    hook.create_customer({"email": "a@example.fr"})
    sandbox.fault(system="spread", method="POST", path="/cagnottes", times=1, **fault)
    with pytest.raises(CrmOutcomeUnknownError):
        hook.credit_loyalty(amount=5, email="a@example.fr")
    assert len(list(hook.iter_loyalty_lines())) == applied


def test_a_spread_credit_asked_to_come_later_is_applied_once(sandbox: Any, clock: Any) -> None:
    hook = SpreadHook()
    hook.clock = clock
    hook.create_customer({"email": "a@example.fr"})
    sandbox.fault(kind="rate_limited", method="POST", retry_after=3, retry_after_form="date", times=2)
    hook.credit_loyalty(amount=5, email="a@example.fr")
    assert len(list(hook.iter_loyalty_lines())) == 1


WHEN = {"status": "accepted", "created_at": "2024-01-01 10:00:00"}
#: The calls that must not be repeated, beside the credit, on somebody whom SPREAD knows.
ONCE: dict[str, tuple[type[Any], Callable[[Any, str], object]]] = {
    "POST /customers": (SpreadHook, lambda hook, one: hook.create_customer({"email": "b@example.fr"})),
    "PUT /customers/email/update": (
        SpreadHook,
        lambda hook, one: hook.update_customer_email("a@example.fr", "b@example.fr"),
    ),
    "POST /customers/{id}/consents": (
        SpreadHook,
        lambda hook, one: hook.create_consent(one, consent_id=9876, **WHEN),
    ),
    "POST /Subscribers": (
        MindbazHook,
        lambda hook, one: hook.create_subscribers([{"fields": {1: "b@example.fr"}}]),
    ),
    "POST /customers of ExpertSender": (
        ExpertSenderHook,
        lambda hook, one: hook.upsert_customers([{"email": "b@example.fr"}], mode="Add"),
    ),
}


@pytest.mark.parametrize(("make", "call"), ONCE.values(), ids=ONCE)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_what_is_applied_and_leads_back_to_itself_is_applied_once(
    sandbox: Any, make: type[Any], call: Callable[[Any, str], object], status: int
) -> None:
    customer = SpreadHook().create_customer({"email": "a@example.fr"})["id"]
    writing = {"POST", "PUT"}
    before = sum(one.method in writing for one in sandbox.calls)
    for method in writing:
        sandbox.fault(kind="redirect_after", method=method, status=status)
    with pytest.raises(CrmOutcomeUnknownError):
        call(make(), customer)
    assert sum(one.method in writing for one in sandbox.calls) == before + 1


def test_credentials_stay_at_home(sandbox: Any) -> None:
    sandbox.fault(kind="redirect", to="https://elsewhere.example/api", status=307)
    with pytest.raises(CrmRedirectError, match=r"elsewhere\.example"):
        SpreadHook().credit_loyalty(amount=5, email="a@example.fr")


def test_a_token_of_which_nobody_says_how_long_it_lives(
    sandbox: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    token_url = f"{sandbox.url}/mindbaz/oauth2/token"
    login = {"login": "demo-login", "password": "demo-password"}
    set_connection(monkeypatch, sandbox, "mindbaz", auth="jwt", token_url=token_url, **login)
    sandbox.switch("mindbaz", expires_in=False)
    hook = MindbazHook()
    for _ in range(40):
        hook.list_fields()
    assert sandbox.calls.count("mindbaz", "POST", "/oauth2/token") == 1
    sandbox.mindbaz.expire_tokens()
    hook.list_fields()
    assert sandbox.calls.count("mindbaz", "POST", "/oauth2/token") == 2


def test_the_sandbox_is_reached_whatever_proxy_the_company_has(
    sandbox: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://proxy.invalid:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert [hook().test_connection()[0] for hook in (SpreadHook, MindbazHook, ExpertSenderHook)] == [True] * 3


# ExpertSender CDP


@pytest.mark.parametrize("body", ["status", "empty"])
@pytest.mark.parametrize("place", ["query", "body", "both"])
def test_an_expertsender_customers_life(sandbox: Any, body: str, place: str) -> None:
    sandbox.switch("expertsender", created_body=body, anonymization_in=place)
    hook = ExpertSenderHook()
    hook.upsert_customers(
        [
            {
                "email": "zoé+x@example.fr",
                "crmId": "57/a",
                "phone": "+33600000000",
                "consentsData": {"consents": [{"id": 1, "value": True}]},
            }
        ]
    )
    for value, by in (("zoé+x@example.fr", "email"), ("57/a", "crmId"), ("+33600000000", "phone")):
        customer = hook.get_customer(value, by=by)  # type: ignore[arg-type]
        assert customer is not None
        assert customer["consentsData"]["consents"] == [{"id": 1, "value": "True"}]
    hook.delete_customer("57/a", by="crmId", with_anonymization=True)
    assert hook.get_customer("zoé+x@example.fr") is None
    with pytest.raises(CrmNotFoundError):
        hook.delete_customer("57/a", by="crmId")


@pytest.mark.parametrize("shape", ["list", "object"])
def test_what_expertsender_says_is_wrong(sandbox: Any, shape: str) -> None:
    sandbox.switch("expertsender", errors=shape)
    attribute = {"name": "Points de fidélité", "value": "many"}
    with pytest.raises(CrmRequestError) as caught:
        ExpertSenderHook().upsert_customers([{"email": "a@example.fr", "customAttributes": [attribute]}])
    assert caught.value.errors
    assert caught.value.status == 400


def test_no_confirmation_is_sent_twice(sandbox: Any) -> None:
    hook = ExpertSenderHook()
    customer = {
        "email": "a@example.fr",
        "consentsData": {"consents": [{"id": 1, "value": "AwaitingConfirmation"}], "force": True},
    }
    sandbox.fault(kind="error_after", system="expertsender", method="POST", times=1)
    with pytest.raises(CrmOutcomeUnknownError):
        hook.upsert_customers([customer])
    assert hook.counters.requests == 1


def test_expertsender_dictionaries(sandbox: Any) -> None:
    works, sentence = ExpertSenderHook().test_connection()
    assert works, sentence
    assert {"id", "name", "type"} <= ExpertSenderHook().list_consents()[0].keys()


# Mindbaz


@each_passing
def test_mindbaz_subscribers_are_found(sandbox: Any, clock: Any, fault: Any) -> None:
    hook = MindbazHook()
    hook.clock = clock
    emails = [f"person{number}@example.fr" for number in range(40)]
    hook.create_subscribers([{"fields": {1: email}} for email in emails])
    if fault:
        sandbox.fault(system="mindbaz", **fault)
    assert {row["fields"][1] for row in hook.get_subscribers(emails, field_ids=[1])} == set(emails)


# All of them


HOOKS: dict[str, Callable[[], Any]] = {
    "spread": SpreadHook,
    "mindbaz": MindbazHook,
    "expertsender": ExpertSenderHook,
}


@pytest.mark.parametrize("make_hook", HOOKS.values(), ids=HOOKS)
def test_test_connection(sandbox: Any, make_hook: Any) -> None:
    works, sentence = make_hook().test_connection()
    assert works, sentence
