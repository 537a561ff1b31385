"""What fails an ExpertSender task, before anything is sent where it can, and what it can do without."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmAuthenticationError, CrmInputError, CrmTransientError

from .expertsender_runs import AWAITING, Run


@pytest.mark.parametrize(
    ("options", "row", "said"),
    [
        ({"mode": "upsert"}, {"email": "a@x.fr"}, "`mode` is one of 'AddOrUpdate', 'Add', 'Update'"),
        ({"match_by": "mail"}, {"email": "a@x.fr"}, "`match_by` is one of 'Email', 'PhoneNumber'"),
        ({"match_by": "CrmId"}, {"email": "a@x.fr"}, "No column holds the match key 'crmId'"),
        ({}, {"e-mail": "a@x.fr"}, "'e-mail' is no field of the CRM"),
        ({}, {"email": "a@x.fr", "consents.Nope": "True"}, "'consents.Nope' is no field of the CRM"),
        ({"field_map": {"mail": "email"}}, {"email": "a@x.fr"}, "Missing columns in the list: mail"),
        (
            {"field_map": {"a": "consents.1", "b": "consents.newsletter subscription", "c": "email"}},
            {"a": 1},
            "fills",
        ),
        ({"batch_size": 0}, {"email": "a@x.fr"}, "`batch_size` is a whole number from 1 on"),
        ({"min_rows": 5}, {"email": "a@x.fr"}, "fewer than min_rows=5"),
    ],
)
def test_bad_input_fails_before_anything_is_sent(
    run: Run, options: dict[str, Any], row: dict[str, Any], said: str
) -> None:
    with pytest.raises(CrmInputError) as caught:
        run.upsert([row], **options)
    assert said in str(caught.value)
    assert run.posts() == []


def test_an_address_that_is_not_expertsender_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an address where everything is 404, everybody would be absent, and every row skipped."""
    host = f"{run.sandbox.url}/mindbaz/api"
    connection = {"conn_type": "expertsender_cdp", "host": host, "password": "demo-key"}
    monkeypatch.setenv("AIRFLOW_CONN_WRONG", json.dumps(connection))
    run.fault("answer_before", method="GET", system="mindbaz", status=404, times=None)
    for task in (
        lambda **options: run.upsert([{"email": "a@x.fr"}], mode="Update", **options),
        run_delete(run),
    ):
        with pytest.raises(CrmInputError, match="check the base URL"):
            task(expertsender_conn_id="wrong")


@pytest.mark.sampled
@pytest.mark.parametrize("mode", ["AddOrUpdate", "Add", "Update"])
def test_a_server_of_customers_alone_will_do(run: Run, mode: str) -> None:
    """The vendor's page on customers knows no list of consents."""
    run.sandbox.expertsender.add_customer("a@x.fr", first_name="old")
    run.fault("answer_before", method="GET", path="/customerconsents", status=404, times=None)
    run.upsert([{"email": "a@x.fr", "firstName": "new"}, {"email": "b@x.fr", "consents.1": True}], mode=mode)
    assert run.emails() == ({"a@x.fr"} if mode == "Update" else {"a@x.fr", "b@x.fr"})
    assert run.customer("a@x.fr")["firstName"] == ("old" if mode == "Add" else "new")
    assert run.delete([{"email": "a@x.fr"}, {"email": "c@x.fr"}]) == {"updated": 1, "skipped": 1}
    with pytest.raises(CrmInputError, match="no list of consents"):
        run.upsert([{"email": "a@x.fr", "consents.SMS marketing": True}])


@pytest.mark.parametrize(
    "wrong",
    [{"batch_size": "five"}, {"batch_size": 2.5}, {"batch_size": True}, {"field_map": ["email"]}],
)
def test_parameters_of_another_kind_are_refused(run: Run, wrong: dict[str, Any]) -> None:
    with pytest.raises(CrmInputError, match=next(iter(wrong))):
        run.upsert([{"email": "a@x.fr"}], **wrong)
    assert run.posts() == []


def run_delete(run: Run) -> Callable[..., Any]:
    return lambda **options: run.delete([{"email": "a@x.fr"}], **options)


def test_a_key_that_may_not_list_consents_can_use_their_ids(run: Run) -> None:
    run.fault("answer_before", method="GET", path="/customerconsents", status=403, times=None)
    assert run.upsert([{"email": "a@x.fr", "consents.1": True}]) == {"updated": 1}
    with pytest.raises(CrmAuthenticationError):
        run.upsert([{"email": "a@x.fr", "consents.SMS marketing": True}])


def test_a_crm_that_is_down_fails_the_task(run: Run) -> None:
    run.fault("error_before", times=None)
    with pytest.raises(CrmTransientError):
        run.upsert([{"email": "a@x.fr", "consents.1": AWAITING}])
    assert len(run.posts()) > 10
    assert run.reasons() == {}
