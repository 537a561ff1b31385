"""What each sensor waits for, what it returns, and which parameters it refuses: against the sandbox, over HTTP."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmAuthenticationError, CrmInputError
from airflow_provider_crm.sandbox.server import Sandbox
from airflow_provider_crm.sandbox.spread.consents import API_SOURCE, DEFINITIONS
from airflow_provider_crm.sensors.expertsender import ExpertSenderCustomerSensor
from airflow_provider_crm.sensors.mindbaz import MindbazSubscriberSensor
from airflow_provider_crm.sensors.spread import (
    SpreadConsentSensor,
    SpreadCustomerSensor,
    SpreadLoyaltyBalanceSensor,
)
from airflow_provider_crm.triggers.base.questions import unpacked

NEWSLETTER = DEFINITIONS[0]


def look(sensor: Any) -> Any:
    """Look once, with the question as it arrives in a triggerer.

    :return: what the sensor would return; None when it goes on waiting.
    """
    path, fields = sensor._question().packed()
    assert unpacked(path, fields) == sensor._question()
    answer = sensor.poke({})
    return answer.xcom_value if answer.is_done else None


def answer(sandbox: Sandbox, email: str, status: str = "accepted", at: str = "2026-03-01 10:00:00") -> None:
    spread = sandbox.spread
    customer = spread.by_email(email) or spread.add_customer(email)
    spread.consents.add(customer.id, NEWSLETTER, status, at, API_SOURCE)


# SPREAD


def consent_sensor(**parameters: Any) -> SpreadConsentSensor:
    named = {} if "consent_tech_name" in parameters else {"consent_id": NEWSLETTER.id}
    given = {"created_after": "2026-03-01 09:00:00", **named, **parameters}
    return SpreadConsentSensor(task_id="wait", **given)


def test_consent(crm_sandbox: Sandbox) -> None:
    sensor = consent_sensor(status="accepted")
    assert look(sensor) is None
    answer(crm_sandbox, "old@example.fr", at="2026-03-01 08:00:00")
    answer(crm_sandbox, "no@example.fr", "refused")
    assert look(sensor) is None
    answer(crm_sandbox, "yes@example.fr")
    assert look(sensor) == {
        "consent_id": "9876",
        "status": "accepted",
        "created_after": "2026-03-01 09:00:00",
        "count": 1,
    }
    assert look(consent_sensor())["count"] == 2


def test_consent_by_technical_name_and_count(crm_sandbox: Sandbox) -> None:
    sensor = consent_sensor(consent_tech_name="NewsEmail", min_count="{{ 3 }}".strip("{ }"))
    for number in range(2):
        answer(crm_sandbox, f"p{number}@example.fr")
    assert look(sensor) is None
    answer(crm_sandbox, "p2@example.fr")
    assert look(sensor) == {
        "consent_tech_name": "NewsEmail",
        "status": None,
        "created_after": "2026-03-01 09:00:00",
        "count": 3,
    }


def test_consent_reads_no_page_more_than_it_takes(crm_sandbox: Sandbox) -> None:
    for number in range(250):
        answer(crm_sandbox, f"p{number}@example.fr")
    assert look(consent_sensor())["count"] == 100
    assert crm_sandbox.calls.count("spread") == 1


def test_a_filter_that_the_crm_overlooks_does_not_end_the_wait(crm_sandbox: Sandbox) -> None:
    row = (
        '{"id": "1", "trackId": "7", "customerConsentCreatedAt": "2026-03-01 10:00:00",'
        ' "customerConsentStatus": "refused"}'
    )
    body = f'{{"consent": {{"id": "9876", "customers": [{row}]}}, "count": 1}}'
    crm_sandbox.fault(
        "answer_before", system="spread", path="/customers-consents", status=200, body=body, times=1
    )
    assert look(consent_sensor(status="accepted")) is None


@pytest.mark.parametrize(
    "moment",
    [
        dt.datetime(2026, 3, 1, 8, tzinfo=dt.UTC),
        dt.datetime(2026, 3, 1, 9),
        "2026-03-01T09:00:00",
        "2026-03-01T08:00:00+00:00",
    ],
)
def test_moments_become_the_crms_local_time(moment: Any) -> None:
    assert consent_sensor(created_after=moment)._question().created_after == "2026-03-01 09:00:00"


@pytest.mark.parametrize(
    "parameters",
    [
        {"consent_tech_name": "NewsEmail", "consent_id": 9876},
        {"consent_tech_name": " "},
        {"created_after": "yesterday"},
        {"created_after": None},
        {"status": "yes"},
        {"min_count": 0},
        {"min_count": "many"},
    ],
)
def test_consent_refuses(parameters: dict[str, Any]) -> None:
    with pytest.raises(CrmInputError):
        consent_sensor(**parameters)._question()


def test_customer(crm_sandbox: Sandbox) -> None:
    by_email = SpreadCustomerSensor(task_id="wait", email=" Zoe@Example.fr ")
    by_id = SpreadCustomerSensor(task_id="wait", external_id="C1")
    assert look(by_email) is None
    assert look(by_id) is None
    customer = crm_sandbox.spread.add_customer("zoe@example.fr", external_id="C1")
    assert look(by_email) == look(by_id) == {"id": customer.id}


def test_balance(crm_sandbox: Sandbox) -> None:
    sensor = SpreadLoyaltyBalanceSensor(task_id="wait", email="zoe@example.fr", min_amount="9.5")
    assert look(sensor) is None
    customer = crm_sandbox.spread.add_customer("zoe@example.fr")
    assert look(sensor) is None
    loyalty = crm_sandbox.spread.loyalty
    loyalty.add(customer.id, Decimal(9), "2026-03-01 10:00:00", campaign_id=None)
    assert look(sensor) is None
    loyalty.add(customer.id, Decimal(1), "2026-03-01 10:00:00", campaign_id=None)
    by_id = SpreadLoyaltyBalanceSensor(task_id="wait", customer_id=int(customer.id), min_amount=10)
    assert look(sensor) == look(by_id) == {"id": customer.id, "cagnotteAmount": "10"}


@pytest.mark.parametrize(
    "sensor",
    [
        lambda: SpreadCustomerSensor(task_id="wait"),
        lambda: SpreadCustomerSensor(task_id="wait", email="a@example.fr", external_id=1),
        lambda: SpreadLoyaltyBalanceSensor(task_id="wait", email="a@example.fr", min_amount="much"),
        lambda: SpreadLoyaltyBalanceSensor(task_id="wait", min_amount=1),
        lambda: MindbazSubscriberSensor(task_id="wait"),
        lambda: MindbazSubscriberSensor(task_id="wait", email="a@example.fr", status="subscribed"),
        lambda: ExpertSenderCustomerSensor(task_id="wait", value=" "),
        lambda: ExpertSenderCustomerSensor(task_id="wait", value="a@example.fr", by="name"),
        lambda: ExpertSenderCustomerSensor(task_id="wait", value="a@example.fr", consent_value="True"),
        lambda: ExpertSenderCustomerSensor(task_id="wait", value="a", consent_id=1, consent_value="yes"),
    ],
)
def test_parameters_that_make_no_sense(sensor: Any) -> None:
    with pytest.raises(CrmInputError):
        sensor().poke({})


# Mindbaz


def test_subscriber(crm_sandbox: Sandbox) -> None:
    anyone = MindbazSubscriberSensor(task_id="wait", email="Zoe@example.fr")
    subscribed = MindbazSubscriberSensor(task_id="wait", email="zoe@example.fr", status=0)
    gone = MindbazSubscriberSensor(task_id="wait", client_id="C1", status=["1", 2])
    assert look(anyone) is None
    number = add_subscriber(crm_sandbox, {1: "zoe@example.fr", 43: "C1", 7: 8})
    assert look(anyone) == {"id": number, "status": 8}
    assert look(subscribed) is None
    set_status(crm_sandbox, number, 0)
    assert look(subscribed) == {"id": number, "status": 0}
    assert look(gone) is None
    set_status(crm_sandbox, number, 2)
    assert look(gone) == {"id": number, "status": 2}


def add_subscriber(sandbox: Sandbox, fields: dict[int, Any]) -> int:
    from airflow_provider_crm.hooks.mindbaz import MindbazHook

    return int(MindbazHook().create_subscribers([{"fields": fields}])[0]["id"])


def set_status(sandbox: Sandbox, number: int, status: int) -> None:
    from airflow_provider_crm.hooks.mindbaz import MindbazHook

    MindbazHook().update_subscribers([{"id": number, "fields": {7: status}}])


# ExpertSender


def test_expertsender_customer(crm_sandbox: Sandbox) -> None:
    from airflow_provider_crm.hooks.expertsender import ExpertSenderHook

    def write(value: str) -> None:
        consents = {"consents": [{"id": 1, "value": value}], "force": False}
        customer = {"email": "zoe@example.fr", "crmId": "C1", "consentsData": consents}
        ExpertSenderHook().upsert_customers([customer])

    there = ExpertSenderCustomerSensor(task_id="wait", value="zoe@example.fr")
    confirmed = ExpertSenderCustomerSensor(
        task_id="wait", value="C1", by="crmId", consent_id=1, consent_value=True
    )
    any_answer = ExpertSenderCustomerSensor(task_id="wait", value="C1", by="crmId", consent_id=2)
    assert look(there) is None
    write("AwaitingConfirmation")
    assert look(there) == {"by": "email"}
    assert look(confirmed) is None
    assert look(any_answer) is None
    write("True")
    assert look(confirmed) == {"by": "crmId", "consent_id": "1", "consent_value": "True"}


# What is the same everywhere


@pytest.mark.filterwarnings("ignore:Setting email")  # Airflow has notifiers for it by now
@pytest.mark.parametrize(
    "make",
    [
        lambda **given: SpreadCustomerSensor(task_id="wait", **given),
        lambda **given: SpreadLoyaltyBalanceSensor(task_id="wait", min_amount=1, **given),
        lambda **given: MindbazSubscriberSensor(task_id="wait", **given),
    ],
)
def test_airflow_does_not_write_to_the_person(make: Any) -> None:
    """Airflow's operators have a parameter `email` too: whom to tell about a failure."""
    operators = {"email": ["operators@example.com"]}
    assert not make(email="zoe@example.fr").email
    sensor = make(email="zoe@example.fr", default_args=operators)
    assert "zoe@example.fr" in sensor._question().packed()[1].values()
    assert sensor.email == ["operators@example.com"]
    with pytest.raises(CrmInputError, match="0 are given"):
        make(default_args=operators)._question()


def test_nothing_names_a_person(crm_sandbox: Sandbox, capfd: pytest.CaptureFixture[str]) -> None:
    crm_sandbox.spread.add_customer("zoe@example.fr", external_id="C1")
    sensor = SpreadCustomerSensor(task_id="wait", email="zoe@example.fr")
    assert "zoe" not in str(look(sensor)) + repr(sensor._question())
    out = capfd.readouterr()
    assert "zoe" not in out.out + out.err


def test_a_wrong_key_fails_at_once(crm_sandbox: Sandbox) -> None:
    crm_sandbox.switch("spread", private_key="another")
    with pytest.raises(CrmAuthenticationError):
        SpreadCustomerSensor(task_id="wait", email="zoe@example.fr").poke({})
    assert crm_sandbox.calls.count("spread") == 1


@pytest.mark.parametrize("consents", [[None], ["x"], 1])
def test_expertsender_consents_of_another_shape_may_pass(crm_sandbox: Sandbox, consents: Any) -> None:
    body = json.dumps({"status": 0, "data": {"email": "z", "consentsData": {"consents": consents}}})
    crm_sandbox.fault("answer_before", system="expertsender", status=200, body=body)
    sensor = ExpertSenderCustomerSensor(task_id="wait", value="zoe@example.fr", consent_id=1)
    assert look(sensor) is None
    assert sensor._failures == 1
