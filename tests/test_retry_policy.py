"""The retry policy: what it fails, what it retries and when, and what it leaves to Airflow."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_provider_crm import _compat, exceptions
from airflow_provider_crm.exceptions import (
    CrmAuthenticationError,
    CrmInputError,
    CrmNotFoundError,
    CrmRateLimitError,
    CrmRequestError,
    CrmTransientError,
)
from airflow_provider_crm.retry_policy import CrmRetryPolicy

has_policies = pytest.mark.skipif(
    _compat.RetryPolicy is object, reason="retry policies came with Airflow 3.3"
)


def test_without_retry_policies_it_is_refused_in_clear_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_crm.retry_policy.RetryPolicy", object)
    with pytest.raises(CrmInputError, match=r"needs Airflow 3\.3 or later"):
        CrmRetryPolicy()


@has_policies
@pytest.mark.parametrize(
    "kind",
    [CrmAuthenticationError, CrmInputError, CrmRequestError, CrmNotFoundError, exceptions.CrmRejectsError],
)
def test_what_cannot_pass_fails(kind: type[Exception]) -> None:
    decision = CrmRetryPolicy().evaluate(kind("no"), 1, 4)
    assert decision.action.name == "FAIL"
    assert kind.__name__ in (decision.reason or "")


@has_policies
def test_the_crm_says_when() -> None:
    policy = CrmRetryPolicy(longest_delay=timedelta(minutes=5))
    decision = policy.evaluate(CrmRateLimitError("busy", retry_after=90), 1, 4)
    assert (decision.action.name, decision.retry_delay) == ("RETRY", timedelta(seconds=90))
    assert policy.evaluate(CrmTransientError("busy", retry_after=9e9), 1, 4).retry_delay == timedelta(
        minutes=5
    )


@has_policies
@pytest.mark.parametrize("error", [CrmTransientError("gone"), ValueError("else"), KeyboardInterrupt()])
def test_the_rest_is_left_to_airflow(error: BaseException) -> None:
    assert CrmRetryPolicy().evaluate(error, 1, 4).action.name == "DEFAULT"


@has_policies
def test_it_survives_serialization() -> None:
    policy = CrmRetryPolicy(longest_delay=timedelta(minutes=7))
    assert CrmRetryPolicy.deserialize(policy.serialize()).longest_delay == timedelta(minutes=7)
