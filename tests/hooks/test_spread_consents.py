"""SPREAD's calls about consents as its pages print them, and what may be asked of them."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmInputError, CrmNotFoundError, CrmUnreadableAnswerError

from .spread_calls import BASE, UTC_NOON, List, query


def test_iter_customer_consents(spread: Any, requests_mock: Any) -> None:
    row = {
        "consentId": "9876",
        "trackId": "1000",
        "consentTechName": "NewsEmail",
        "customerConsentCreatedAt": "2018-06-11 13:03:05",
        "customerConsentStatus": "accepted",
        "customerConsentSource": "campaignParticipation",
        "customerConsentSourceId": "65745",
    }
    served = List([row], lambda rows: {"customer": {"id": "123456", "consents": rows}})
    requests_mock.get(f"{BASE}/customers-consents/123456", json=served)
    filters = {
        "created_after": UTC_NOON,
        "created_before": "2025-01-01 00:00:00",
        "status": "accepted",
        "source": "upstreamAPIv2POST",
        "consent_id": 9876,
        "consent_tech_name": "J'accepte d'être contacté",
    }
    assert list(spread.iter_customer_consents("123456", page_size=100, **filters)) == [row]
    assert served.queries[0] == [
        ("createdAfter", "2024-07-01 14:00:00"),
        ("createBefore", "2025-01-01 00:00:00"),
        ("customerConsentStatus", "accepted"),
        ("customerConsentSource", "upstreamAPIv2POST"),
        ("consentId", "9876"),
        ("consentTechName", "J'accepte d'être contacté"),
        ("startAt", "0"),
        ("maxResult", "100"),
        ("maxResults", "100"),
    ]
    assert "J%27accepte%20d%27%C3%AAtre%20contact%C3%A9" in requests_mock.last_request.url


def test_iter_consents(spread: Any, requests_mock: Any) -> None:
    rows = [
        {"id": number, "trackId": f"{number}00", "customerConsentStatus": "refused"} for number in range(1, 6)
    ]
    served = List(
        rows, lambda part: {"consent": {"id": 9874, "consentTechName": "NewsSMS", "customers": part}}, cap=2
    )
    requests_mock.get(f"{BASE}/customers-consents", json=served)
    found = list(spread.iter_consents(consent_id=9874, consent_source="unifiedMessaging"))
    assert [row["id"] for row in found] == ["1", "2", "3", "4", "5"]
    assert found[0] == {
        "id": "1",
        "trackId": "100",
        "customerConsentStatus": "refused",
        "consentId": "9874",
        "consentTechName": "NewsSMS",
    }
    assert served.queries[0] == [
        ("consentId", "9874"),
        ("customerConsentSource", "unifiedMessaging"),
        ("startAt", "0"),
        ("maxResult", "5000"),
        ("maxResults", "5000"),
    ]


def test_iter_consents_by_name(spread: Any, requests_mock: Any) -> None:
    requests_mock.get(f"{BASE}/customers-consents", json={"consent": []})
    assert list(spread.iter_consents(consent_tech_name="C'est oui & plus")) == []
    assert query(requests_mock.last_request)[0] == ("consentTechName", "C'est oui & plus")


def test_iter_consents_by_track_id_is_one_page(spread: Any, requests_mock: Any) -> None:
    answer = {
        "consent": {"id": "9874", "consentTechName": "News", "customers": [{"id": "1", "trackId": "7"}]}
    }
    requests_mock.get(f"{BASE}/customers-consents", json=answer)
    assert list(spread.iter_consents(track_id=7)) == [
        {"id": "1", "trackId": "7", "consentId": "9874", "consentTechName": "News"}
    ]
    assert query(requests_mock.last_request) == [("trackId", "7")]
    assert requests_mock.call_count == 1


def test_the_answers_to_another_consent(spread: Any, requests_mock: Any) -> None:
    requests_mock.get(f"{BASE}/customers-consents", json={"consent": {"id": "1", "customers": [{"id": "5"}]}})
    with pytest.raises(CrmUnreadableAnswerError, match="another consent"):
        list(spread.iter_consents(consent_id=2))


@pytest.mark.parametrize(
    "which",
    [
        {},
        {"consent_id": 1, "consent_tech_name": "a"},
        {"consent_id": 1, "track_id": 2},
        {"consent_id": ""},
        {"track_id": 1, "status": "accepted"},
    ],
)
def test_iter_consents_of_what(spread: Any, requests_mock: Any, which: Any) -> None:
    with pytest.raises(CrmInputError):
        spread.iter_consents(**which)
    assert not requests_mock.called


def test_create_consent(spread: Any, requests_mock: Any) -> None:
    answer = {
        "id": 9876,
        "techName": "NewsEmail",
        "customer": {"id": 123456, "trackId": 1000, "customerConsentStatus": "accepted"},
    }
    requests_mock.post(f"{BASE}/customers-consents/123456", json={"consent": answer})
    consent = spread.create_consent(
        123456,
        status="accepted",
        created_at=UTC_NOON,
        consent_id="9876",
        consent_tech_name="NewsEmail",
        ip="1.1.1.1",
        channel_id=5,
    )
    assert consent == {
        "id": "9876",
        "techName": "NewsEmail",
        "customer": {"id": "123456", "trackId": "1000", "customerConsentStatus": "accepted"},
    }
    assert requests_mock.last_request.json() == {
        "consent": {
            "id": 9876,
            "consentId": 9876,
            "techName": "NewsEmail",
            "consentTechName": "NewsEmail",
            "createdAt": "2024-07-01 14:00:00",
            "customerConsentStatus": "accepted",
            "ip": "1.1.1.1",
            "channelId": 5,
        }
    }


def test_create_consent_with_the_least(spread: Any, requests_mock: Any) -> None:
    requests_mock.post(f"{BASE}/customers-consents/1", json={"consent": {"id": 1}})
    spread.create_consent("1", status="refused", created_at=" 2024-01-02 03:04:05 ", consent_tech_name="News")
    assert requests_mock.last_request.json() == {
        "consent": {
            "techName": "News",
            "consentTechName": "News",
            "createdAt": "2024-01-02 03:04:05",
            "customerConsentStatus": "refused",
        }
    }


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"status": "toBeConfirmed"}, "status"),
        ({"status": "Accepted"}, "status"),
        ({"created_at": None}, "created_at"),
        ({"created_at": " "}, "created_at"),
        ({"consent_id": None}, "consent_id"),
        ({"consent_id": " "}, "consent_id"),
    ],
)
def test_create_consent_of_what(spread: Any, requests_mock: Any, change: Any, problem: str) -> None:
    parts = {"status": "accepted", "created_at": "2024-01-01", "consent_id": 1, **change}
    with pytest.raises(CrmInputError, match=problem):
        spread.create_consent("1", **parts)
    assert not requests_mock.called


def test_get_consent(spread: Any, requests_mock: Any) -> None:
    requests_mock.get(f"{BASE}/consents/9", json={"consent": {"id": 9, "consentTechName": "News"}})
    assert spread.get_consent(9) == {"id": "9", "consentTechName": "News"}
    requests_mock.get(f"{BASE}/consents/8", status_code=404)
    assert spread.get_consent(8) is None


@pytest.mark.parametrize(
    "which", [{"consent_id": "9876"}, {"consent_tech_name": "NewsEmail"}, {"customer_id": "1"}], ids=str
)
def test_a_404_in_place_of_no_answers(spread: Any, requests_mock: Any, which: dict[str, str]) -> None:
    """Which of the two it means, nothing yet or nothing there, is asked."""
    requests_mock.get(f"{BASE}/customers-consents", status_code=404)
    requests_mock.get(f"{BASE}/customers-consents/1", status_code=404)
    read = spread.iter_customer_consents if "customer_id" in which else spread.iter_consents
    consent = {"id": "9876", "consentTechName": "NewsEmail"}
    requests_mock.get(f"{BASE}/consents", json={"consents": [consent]})
    requests_mock.get(f"{BASE}/consents/9876", json={"consent": consent})
    requests_mock.get(f"{BASE}/customers/1", json={"customer": {"id": "1"}})
    assert list(read(**which)) == []
    requests_mock.get(f"{BASE}/consents", json={"consents": []})
    requests_mock.get(f"{BASE}/consents/9876", status_code=404)
    requests_mock.get(f"{BASE}/customers/1", status_code=404)
    with pytest.raises(CrmNotFoundError):
        list(read(**which))


@pytest.mark.parametrize("ignores_the_offset", [False, True])
def test_iter_consent_definitions(spread: Any, requests_mock: Any, ignores_the_offset: bool) -> None:
    rows = [{"id": "9875"}, {"id": "9874"}]
    requests_mock.get(f"{BASE}/consents", json={"consents": rows})
    if not ignores_the_offset:
        requests_mock.get(f"{BASE}/consents?startAt=2", json={"consents": []})
    assert list(spread.iter_consent_definitions()) == rows
