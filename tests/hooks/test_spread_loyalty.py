"""SPREAD's calls about loyalty points as its pages print them, and amounts that arrive as they are."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmInputError

from .spread_calls import BASE, List


def test_iter_loyalty_lines(spread: Any, requests_mock: Any) -> None:
    line = {"cagnotteLineId": 535756, "customerId": 15130125, "campaignId": None, "amount": -20, "code": ""}
    served = List([line], lambda rows: {"cagnottes": rows})
    requests_mock.get(f"{BASE}/cagnottes", json=served)
    filters = {
        "created_after": "a",
        "created_before": "b",
        "modified_after": "c",
        "modified_before": "d",
        "customer_id": 1,
        "cagnotte_id": "2",
        "campaign_id": "3",
        "min_amount": Decimal("1E+2"),
        "max_amount": 0.1,
        "amount": Decimal("12.50"),
    }
    assert list(spread.iter_loyalty_lines(**filters)) == [
        {
            "cagnotteLineId": "535756",
            "customerId": "15130125",
            "campaignId": None,
            "amount": "-20",
            "code": "",
        }
    ]
    assert served.queries[0] == [
        ("createdAfter", "a"),
        ("createBefore", "b"),
        ("modifiedAfter", "c"),
        ("modifiedBefore", "d"),
        ("customerId", "1"),
        ("cagnotteId", "2"),
        ("campaignId", "3"),
        ("minAmount", "100"),
        ("maxAmount", "0.1"),
        ("amount", "12.50"),
        ("startAt", "0"),
        ("maxResult", "5000"),
        ("maxResults", "5000"),
    ]


CREDITED = (
    '{"customer": {"id": 123456, "cagnotteAmount": 15.10}, '
    '"cagnotte": {"cagnotteLineId": 146964, "campaignId": null, "amount": 5.00, "code": ""}}'
)


def test_credit_loyalty(spread: Any, requests_mock: Any) -> None:
    requests_mock.post(f"{BASE}/cagnottes", text=CREDITED)
    assert spread.credit_loyalty(amount="5", email=" a@b.fr ") == {
        "customer": {"id": "123456", "cagnotteAmount": "15.10"},
        "cagnotte": {"cagnotteLineId": "146964", "campaignId": None, "amount": "5.00", "code": ""},
    }
    assert requests_mock.last_request.text == '{"customer":{"email":"a@b.fr"},"cagnotte":{"amount":5}}'
    spread.credit_loyalty(amount=5, customer_id=123456)
    assert requests_mock.last_request.text == '{"customer":{"customerId":"123456"},"cagnotte":{"amount":5}}'


@pytest.mark.parametrize(
    ("amount", "sent"),
    [
        (Decimal("0.10"), "0.10"),
        (Decimal("123456789012345678901234567890.12"), "123456789012345678901234567890.12"),
        (Decimal("1E+3"), "1000"),
        (Decimal("-20"), "-20"),
        (0.1, "0.1"),
        (" 12.5 ", "12.5"),
        ("+7", "7"),
        (".5", "0.5"),
        ("5.", "5"),
        ("007", "7"),
        ("1e2", "100"),
        ("-0", "0"),
    ],
)
def test_amounts_arrive_as_they_are(spread: Any, requests_mock: Any, amount: Any, sent: str) -> None:
    requests_mock.post(f"{BASE}/cagnottes", text=CREDITED)
    spread.credit_loyalty(amount=amount, email="a@b.fr")
    assert f'"amount":{sent}}}' in requests_mock.last_request.text
    assert json.loads(requests_mock.last_request.text, parse_float=Decimal, parse_int=Decimal)["cagnotte"][
        "amount"
    ] == Decimal(str(amount).strip())


@pytest.mark.parametrize(
    "amount",
    [
        Decimal("NaN"),
        Decimal("Infinity"),
        float("nan"),
        float("-inf"),
        "",
        "five",
        "1,5",
        "1_000",
        "٣",
        "0x10",
        "1e1000000",
        '5},"x":{"y":1',
        None,
        True,
        [5],
    ],
)
def test_amounts_that_are_none(spread: Any, requests_mock: Any, amount: Any) -> None:
    with pytest.raises(CrmInputError, match="number"):
        spread.credit_loyalty(amount=amount, email="a@b.fr")
    assert not requests_mock.called


@pytest.mark.parametrize("who", [{}, {"email": "a@b.fr", "customer_id": 1}, {"email": "  "}, {"email": ""}])
def test_credit_whom(spread: Any, requests_mock: Any, who: Any) -> None:
    with pytest.raises(CrmInputError, match="Exactly one"):
        spread.credit_loyalty(amount=1, **who)
    assert not requests_mock.called
