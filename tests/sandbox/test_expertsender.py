"""ExpertSender CDP as its pages describe it, over real HTTP."""

from __future__ import annotations

import pytest
import requests

from tests.helpers.waits import patience, wait_until


def post(expertsender, *rows, mode="AddOrUpdate", match_by="Email"):
    return expertsender("POST", "/customers", json={"mode": mode, "matchBy": match_by, "data": list(rows)})


def get(expertsender, email):
    return expertsender("GET", f"/customers/email/{email}").json()["data"]


def consents(*pairs, **more):
    return {"consentsData": {"consents": [{"id": one, "value": value} for one, value in pairs], **more}}


def test_a_customer_is_added_and_read_back(expertsender):
    row = {
        "email": "zoe@example.fr",
        "phone": "+33600000000",
        "crmId": "57/a",
        "firstName": "Zoé",
        "lastName": "Lefèvre",
        "dateOfBirth": "2023-07-26T12:28:33.490Z",
        "gender": "Female",
        "customAttributes": [{"name": "Ville", "value": "Nîmes"}],
        **consents((1, "True")),
    }
    answer = post(expertsender, row, mode="Add")
    assert (answer.status_code, answer.json()) == (201, {"status": 0})
    whole = expertsender("GET", "/customers/email/ZOE%40example.fr").json()
    assert whole["status"] == 0
    assert "id" not in whole["data"]
    assert whole["data"]["consentsData"] == {"consents": [{"id": 1, "value": "True"}]}
    assert whole["data"]["customAttributes"] == [{"name": "Ville", "value": "Nîmes"}]
    for path in ("/customers/id/12", "/customers/phone/%2B33600000000", "/customers/crmId/57%2Fa"):
        assert expertsender("GET", path).json()["data"]["lastName"] == "Lefèvre", path


def test_an_absent_customer_is_a_problem(expertsender):
    answer = expertsender("GET", "/customers/email/nobody@example.fr")
    assert answer.status_code == 404
    assert {"type", "title", "status", "detail", "instance"} == set(answer.json())


@pytest.mark.parametrize(
    ("mode", "first", "second"), [("Add", 201, 400), ("Update", 400, 400), ("AddOrUpdate", 201, 201)]
)
def test_modes(expertsender, mode, first, second):
    assert post(expertsender, {"email": "a@example.fr"}, mode=mode).status_code == first
    assert post(expertsender, {"email": "A@example.fr"}, mode=mode).status_code == second


@pytest.mark.parametrize(
    "row",
    [
        {"email": "not an e-mail"},
        {"email": f"{'a' * 320}@example.fr"},
        {"email": "a@example.fr", "phone": "06 00"},
        {"email": "a@example.fr", "phone": "0" * 21},
        {"email": "a@example.fr", "crmId": 57},
        {"email": "a@example.fr", "firstName": "é" * 257},
        {"email": "a@example.fr", "gender": "female"},
        {"email": "a@example.fr", "dateOfBirth": "yesterday"},
        {"email": "a@example.fr", "customAttributes": [{"name": "Unknown", "value": "x"}]},
        {"email": "a@example.fr", "customAttributes": [{"name": "Points de fidélité", "value": "many"}]},
        {"email": "a@example.fr", "customAttributes": [{"name": "Points de fidélité", "value": 12}]},
        {"email": "a@example.fr", **consents((99, "True"))},
        {"email": "a@example.fr", **consents((1, True))},
        {"phone": "06"},
    ],
)
def test_a_bad_row_fails_the_call_and_nothing_is_applied(expertsender, crm_sandbox, row):
    answer = post(expertsender, {"email": "good@example.fr"}, row)
    assert answer.status_code == 400
    assert all(isinstance(error, str) for error in answer.json()["errors"])
    assert not crm_sandbox.expertsender.customers


@pytest.mark.parametrize(
    ("behaviour", "status", "applied"),
    [
        ("none", 400, []),
        ("good_rows", 400, ["a", "c"]),
        ("up_to_error", 400, ["a"]),
        ("good_rows_201", 201, ["a", "c"]),
    ],
)
def test_what_a_failed_batch_applies_is_a_switch(expertsender, crm_sandbox, behaviour, status, applied):
    crm_sandbox.switch("expertsender", failed_batch=behaviour)
    crm_sandbox.expertsender.add_customer("a@example.fr", first_name="old")
    rows = [
        {"email": f"{name}@example.fr", "firstName": "new", "gender": "x" if name == "b" else "Male"}
        for name in "abc"
    ]
    assert post(expertsender, *rows).status_code == status
    new = [one.email[0] for one in crm_sandbox.expertsender.customers.values() if one.first_name == "new"]
    assert new == applied
    assert crm_sandbox.expertsender.by_email("a@example.fr").id == 12


def test_errors_come_in_three_shapes(expertsender, crm_sandbox):
    for shape, kind in (("list", list), ("object", dict), ("none", type(None))):
        crm_sandbox.switch("expertsender", errors=shape)
        assert isinstance(post(expertsender, {"email": "no"}).json().get("errors"), kind)


def test_match_by(expertsender, crm_sandbox):
    post(expertsender, {"email": "a@example.fr", "phone": "06"})
    assert (
        post(expertsender, {"email": "b@example.fr", "phone": "06"}, match_by="PhoneNumber").status_code
        == 201
    )
    assert [one.email for one in crm_sandbox.expertsender.customers.values()] == ["b@example.fr"]
    assert post(expertsender, {"email": "b@example.fr"}, match_by="email").status_code == 400
    assert post(expertsender, {"visitorId": "v1"}, match_by="VisitorId").status_code == 201
    crm_sandbox.switch("expertsender", match_by_case="visitorId")
    assert post(expertsender, {"visitorId": "v1"}, match_by="VisitorId").status_code == 400
    assert post(expertsender, {"visitorId": "v1"}, match_by="visitorId").status_code == 201
    crm_sandbox.switch("expertsender", default_match_by="Email")
    assert post(expertsender, {"phone": "06"}, match_by="PhoneNumber").status_code == 400


def test_updates_merge_and_nulls_are_a_switch(expertsender, crm_sandbox):
    post(expertsender, {"email": "a@example.fr", "lastName": "Noël", **consents((1, "True"))})
    post(
        expertsender,
        {"email": "a@example.fr", "lastName": None, "firstName": "Zoé", **consents((2, "False"))},
    )
    customer = crm_sandbox.expertsender.by_email("a@example.fr")
    assert (customer.first_name, customer.last_name, customer.consents) == (
        "Zoé",
        "Noël",
        {1: "True", 2: "False"},
    )
    crm_sandbox.switch("expertsender", null_value="clear")
    post(expertsender, {"email": "a@example.fr", "lastName": None})
    assert crm_sandbox.expertsender.by_email("a@example.fr").last_name is None


def test_a_confirmation_goes_out_when_a_consent_comes_to_await_it(expertsender, crm_sandbox):
    def sent(*pairs, **more):
        before = len(crm_sandbox.expertsender.mailbox)
        assert post(expertsender, {"email": "a@example.fr", **consents(*pairs, **more)}).status_code == 201
        return [(mail.consent_id, mail.message_id) for mail in crm_sandbox.expertsender.mailbox[before:]]

    assert sent((1, "AwaitingConfirmation"), (2, "True"), confirmationMessageId=7) == [(1, 7)]
    assert sent((1, "AwaitingConfirmation")) == []
    assert sent((1, "AwaitingConfirmation"), force=True) == [(1, 1)]
    assert sent((1, "False")) == []
    assert sent((1, "AwaitingConfirmation")) == [(1, 1)]
    assert (
        post(
            expertsender, {"email": "b@example.fr", **consents((1, "AwaitingConfirmation"))}, {"email": "no"}
        ).status_code
        == 400
    )
    assert len(crm_sandbox.expertsender.mailbox) == 3


def test_delete_with_and_without_anonymization(expertsender, crm_sandbox):
    ids = [crm_sandbox.expertsender.add_customer(f"{n}@example.fr", crm_id=f"C{n}").id for n in range(3)]
    answer = expertsender("DELETE", "/customers/crmid/C0")
    assert (answer.status_code, answer.content) == (200, b"")
    assert crm_sandbox.expertsender.anonymized == []
    expertsender("DELETE", "/customers/email/1@example.fr?withAnonymization=true")
    expertsender("DELETE", f"/customers/id/{ids[2]}", json={"withAnonymization": True})
    assert crm_sandbox.expertsender.anonymized == ids[1:]
    missing = expertsender("DELETE", f"/customers/id/{ids[2]}")
    assert (missing.status_code, missing.json()["substatus"]) == (404, "CustomerInvalidModelState")


def test_dictionaries(expertsender):
    rows = expertsender("GET", "/customerconsents").json()
    assert (rows["status"], rows["data"][1]) == (0, {"id": 2, "name": "SMS marketing", "type": "Sms"})
    assert {"Number", "Boolean"} <= {
        row["type"] for row in expertsender("GET", "/customerattributes").json()["data"]
    }


def test_the_key_and_the_content_type_are_checked(expertsender, crm_sandbox):
    assert requests.get(f"{crm_sandbox.url}/expertsender/customerconsents").status_code == 401
    assert expertsender("POST", "/customers", data="{}").status_code == 415


def test_a_batch_limit(expertsender, crm_sandbox):
    crm_sandbox.switch("expertsender", batch_limit=2)
    rows = [{"email": f"{n}@example.fr"} for n in range(3)]
    assert post(expertsender, *rows).status_code == 413
    assert post(expertsender, *rows[:2]).status_code == 201


@pytest.mark.slow
def test_changes_can_show_late(expertsender, crm_sandbox):
    crm_sandbox.expertsender.add_customer("a@example.fr", first_name="old")
    crm_sandbox.switch("expertsender", visible_after=patience(0.3))
    post(expertsender, {"email": "a@example.fr", "firstName": "new"}, {"email": "b@example.fr"})
    assert get(expertsender, "a@example.fr")["firstName"] == "old"
    assert expertsender("GET", "/customers/email/b@example.fr").status_code == 404
    wait_until(lambda: get(expertsender, "a@example.fr")["firstName"] == "new")
    assert expertsender("GET", "/customers/email/b@example.fr").status_code == 200
