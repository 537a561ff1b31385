"""Mindbaz as its pages describe it, over real HTTP."""

from __future__ import annotations

import hashlib
import re
import time
from typing import Any

import pytest
import requests

from tests.helpers.waits import wait_until


def fields_of(subscriber: dict[str, Any]) -> dict[int, Any]:
    return {one["idField"]: one["value"] for one in subscriber["fields"]}


def new(email: str, **more: Any) -> dict[str, Any]:
    extra = [{"idField": int(key[1:]), "value": value} for key, value in more.items()]
    return {"fields": [{"idField": 1, "value": email}, *extra]}


def test_the_documented_case_from_look_up_to_unsubscription(mindbaz):
    query = {"filter.by": "Email", "filter.values": "montest@domain.com", "filter.idFields": "0,7"}
    envelope = {"success": True, "data": None, "error": None, "typeName": "Subscriber[]"}
    assert mindbaz("GET", "/Subscribers", params=query).json() == envelope

    created = mindbaz("POST", "/Subscribers", json=[new("montest@domain.com", f7=0)]).json()
    assert created["success"] is True
    [subscriber] = created["data"]
    values = fields_of(subscriber)
    assert list(values) == [0, 1, 2, 3, 7, 37]
    assert values[0] == subscriber["id"]
    assert values[37] == "domain.com"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+0[12]:00", values[2])

    change = [
        {
            "id": subscriber["id"],
            "fields": [{"idField": 7, "value": 1}, {"idField": 4, "value": "2023/01/04 17:39"}],
        }
    ]
    updated = mindbaz("PUT", "/Subscribers", json=change).json()
    assert updated["data"] == [
        {
            "id": subscriber["id"],
            "fields": [
                {"idField": 0, "value": subscriber["id"]},
                {"idField": 7, "value": 1},
                {"idField": 4, "value": "2023-01-04T17:39:00+01:00"},
            ],
        }
    ]
    found = mindbaz("GET", "/Subscribers", params=query).json()["data"]
    assert found == [
        {
            "id": subscriber["id"],
            "fields": [{"idField": 0, "value": subscriber["id"]}, {"idField": 7, "value": 1}],
        }
    ]


def test_a_bad_email_gets_id_minus_one_and_the_rest_goes_on(mindbaz, crm_sandbox):
    answer = mindbaz(
        "POST", "/Subscribers", json=[new("a@example.fr"), new("not an email"), new("b@example.fr")]
    ).json()
    assert answer["success"] is True
    assert [one["id"] == -1 for one in answer["data"]] == [False, True, False]
    assert len(crm_sandbox.mindbaz.subscribers) == 2


def test_an_error_stops_the_batch_and_keeps_what_came_before(mindbaz, crm_sandbox):
    answer = mindbaz(
        "POST",
        "/Subscribers",
        json=[new("a@example.fr"), new("b@example.fr", f102="many"), new("c@example.fr")],
    )
    assert answer.status_code == 200
    assert answer.json()["success"] is False
    assert answer.json()["data"] is None
    assert crm_sandbox.mindbaz.by_email("a@example.fr") is not None
    assert crm_sandbox.mindbaz.by_email("c@example.fr") is None


def test_emails_are_unique_without_regard_to_case(mindbaz, crm_sandbox):
    answer = mindbaz("POST", "/Subscribers", json=[new("Zoe@Example.fr"), new("zoe@example.FR")]).json()
    assert answer["success"] is False
    assert len(crm_sandbox.mindbaz.subscribers) == 1
    assert crm_sandbox.mindbaz.by_email("ZOE@example.fr")[1] == "zoe@example.fr"


@pytest.mark.parametrize(
    ("behaviour", "success", "last_name"),
    [("abort", False, "Noël"), ("minus_one", True, "Noël"), ("update", True, "Maçon")],
)
def test_post_of_an_existing_email_is_a_switch(mindbaz, crm_sandbox, behaviour, success, last_name):
    crm_sandbox.switch("mindbaz", existing_email=behaviour)
    mindbaz("POST", "/Subscribers", json=[new("a@example.fr", f14="Noël")])
    answer = mindbaz("POST", "/Subscribers", json=[new("a@example.fr", f14="Maçon")]).json()
    assert answer["success"] is success
    assert crm_sandbox.mindbaz.by_email("a@example.fr")[14] == last_name


def test_post_with_an_id_updates_and_can_be_mixed_with_creations(mindbaz, crm_sandbox):
    known = crm_sandbox.mindbaz.insert({1: "a@example.fr"})
    batch = [{"id": known, "fields": [{"idField": 14, "value": "Sœur"}]}, {"id": -1, **new("b@example.fr")}]
    answer = mindbaz("POST", "/Subscribers", json=batch).json()
    assert [one["id"] for one in answer["data"]] == [known, known + 1]
    assert crm_sandbox.mindbaz.by_email("a@example.fr")[14] == "Sœur"


def test_put_takes_the_id_from_field_0_too(mindbaz, crm_sandbox):
    known = crm_sandbox.mindbaz.insert({1: "a@example.fr"})
    change = [{"fields": [{"idField": 0, "value": known}, {"idField": 15, "value": "Zoé"}]}]
    assert mindbaz("PUT", "/Subscribers", json=change).json()["data"][0]["id"] == known
    assert crm_sandbox.mindbaz.by_email("a@example.fr")[15] == "Zoé"


@pytest.mark.slow
def test_more_than_5000_are_refused_whole(mindbaz, crm_sandbox):
    answer = mindbaz("POST", "/Subscribers", json=[new(f"u{i}@example.fr") for i in range(5001)]).json()
    assert answer["success"] is False
    assert len(crm_sandbox.mindbaz.subscribers) == 0
    assert mindbaz("POST", "/Subscribers", json=[new(f"u{i}@example.fr") for i in range(5000)]).json()[
        "success"
    ]


def test_look_up_by_id_client_id_and_hash(mindbaz, crm_sandbox):
    first = crm_sandbox.mindbaz.insert({1: "a@example.fr", 43: "C1"})
    second = crm_sandbox.mindbaz.insert({1: "b@example.fr", 43: "C1"})

    def find(by, values, **more):
        query = {"filter.by": by, "filter.values": values, "filter.idFields": "0,1"} | more
        data = mindbaz("GET", "/Subscribers", params=query).json()["data"]
        return data and [one["id"] for one in data]

    assert find("IdClient", "C1") == [first, second]
    assert find("IdSubscriber", f"{second},999") == [second]
    assert find("Email", "B@example.fr,nobody@example.fr") == [second]
    for name, encoding in (("md5", "MD5"), ("sha1", "SHA1"), ("sha256", "SHA2_256"), ("sha512", "SHA2_512")):
        digest = hashlib.new(name, b"b@example.fr").hexdigest().upper()
        assert find("Email", digest, **{"filter.emailEncoding": encoding}) == [second]
    # Without the prefix, as the vendor's own node writes it.
    assert mindbaz("GET", "/subscribers", params={"by": "email", "values": "a@example.fr"}).json()["data"]


def test_fields_list_and_quota(mindbaz):
    fields = mindbaz("GET", "/fields/list").json()["data"]
    assert {0, 1, 7, 37, 43, 101, 102, 103, 104, 105} <= {one["id"] for one in fields}
    status = next(one for one in fields if one["id"] == 7)
    assert status["fieldType"] == 4
    assert status["list"][12] == {"key": 12, "value": "Désabonnement groupe"}
    assert {
        one["fieldType"] for one in mindbaz("GET", "/fields/list", params={"type": 3}).json()["data"]
    } == {3}
    quota = mindbaz("GET", "/fields/quota").json()
    assert quota["typeName"] == "FieldsQuota"
    assert quota["data"] == {"quota": 50, "nbSpecificFields": 5, "nbRemainingFields": 45}


def test_values_are_read_by_type_and_come_back_normalised(mindbaz):
    batch = [
        new(
            "a@example.fr", f102="42", f104="3", f105=True, f103="2024-07-01T10:00:00+00:00", f20="1990-02-03"
        )
    ]
    values = fields_of(mindbaz("POST", "/Subscribers", json=batch).json()["data"][0])
    assert (values[102], values[104], values[105]) == (42, 3, 1)
    assert values[103] == "2024-07-01T10:00:00+00:00"
    assert values[20] == "1990-02-03T00:00:00+01:00"


def test_texts_that_look_like_something_else_stay_texts(mindbaz, crm_sandbox):
    mindbaz("POST", "/Subscribers", json=[new("a@example.fr", f14="Null", f15="True", f18="01000")])
    subscriber = crm_sandbox.mindbaz.by_email("a@example.fr")
    assert (subscriber[14], subscriber[15], subscriber[18]) == ("Null", "True", "01000")


@pytest.mark.parametrize(
    "body", ['{"fields": []}', '[{"id": 1}]', '[{"fields": [{"idField": 1}]}]', "not json"]
)
def test_a_body_of_another_shape_is_refused_whole(mindbaz, body):
    assert mindbaz("POST", "/Subscribers", data=body).status_code == 400


@pytest.mark.parametrize("headers", [{}, {"X-API-KEY": "wrong"}, {"Authorization": "Bearer wrong"}])
def test_wrong_credentials_are_refused(crm_sandbox, headers):
    assert requests.get(f"{crm_sandbox.url}/mindbaz/api/3/fields/quota", headers=headers).status_code == 401


def test_another_site_is_refused(crm_sandbox, mindbaz):
    mindbaz.base = f"{crm_sandbox.url}/mindbaz/api/4"
    assert mindbaz("GET", "/fields/quota").status_code == 403
    crm_sandbox.switch("mindbaz", denied_site_status=401)
    assert mindbaz("GET", "/fields/quota").status_code == 401


def token(crm_sandbox, **form):
    return requests.post(f"{crm_sandbox.url}/mindbaz/oauth2/token", data={"client_id": "100", **form})


LOGIN = {"grant_type": "password", "username": "demo-login", "password": "demo-password"}


def test_tokens_are_granted_refreshed_and_expire(crm_sandbox):
    granted = token(crm_sandbox, **LOGIN).json()
    assert (granted["token_type"], granted["expires_in"]) == ("bearer", 1199)
    assert re.fullmatch(r"[0-9a-f]{32}", granted["refresh_token"])

    def status(access_token):
        headers = {"Authorization": f"Bearer {access_token}"}
        return requests.get(f"{crm_sandbox.url}/mindbaz/api/3/fields/quota", headers=headers).status_code

    assert status(granted["access_token"]) == 200
    crm_sandbox.mindbaz.expire_tokens()
    assert status(granted["access_token"]) == 401
    renewed = token(crm_sandbox, grant_type="refresh_token", refresh_token=granted["refresh_token"]).json()
    assert renewed["refresh_token"] == granted["refresh_token"]
    assert status(renewed["access_token"]) == 200

    crm_sandbox.switch("mindbaz", token_lifetime=0.05, rotate_refresh_token=True)
    rotated = token(crm_sandbox, grant_type="refresh_token", refresh_token=granted["refresh_token"]).json()
    assert rotated["refresh_token"] != granted["refresh_token"]
    assert (
        token(crm_sandbox, grant_type="refresh_token", refresh_token=granted["refresh_token"]).status_code
        == 400
    )
    wait_until(lambda: status(rotated["access_token"]) == 401)


@pytest.mark.parametrize(
    "change", [{"password": "no"}, {"client_id": "3"}, {"grant_type": "client_credentials"}]
)
def test_a_wrong_grant_is_refused(crm_sandbox, change):
    answer = token(crm_sandbox, **(LOGIN | change))
    assert answer.status_code == 400
    assert "error" in answer.json()


def test_the_limit_per_window_is_announced_and_enforced(mindbaz, crm_sandbox):
    assert "X-RateLimit-Limit" not in mindbaz("GET", "/fields/quota").headers
    crm_sandbox.switch("mindbaz", rate_limit=2, rate_limit_window=3600)
    answers = [mindbaz("GET", "/fields/quota") for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 200, 429]
    assert [one.headers["X-RateLimit-Remaining"] for one in answers] == ["1", "0", "0"]
    assert answers[0].headers["X-RateLimit-Limit"] == "2"
    assert 0 < int(answers[2].headers["X-RateLimit-Reset"]) - time.time() <= 3600
