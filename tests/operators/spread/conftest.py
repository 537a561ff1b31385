"""SPREAD's operators over real HTTP, with nothing to wait for."""

from __future__ import annotations

import pytest

from airflow_provider_crm.operators.spread import SpreadUpsertCustomersOperator


@pytest.fixture(autouse=True)
def _at_once(no_waiting):
    pass


@pytest.fixture
def spread(crm_sandbox):
    return crm_sandbox.spread


@pytest.fixture
def run(run_task):
    """Run an operator on rows.

    :return: each row's end, with its reason where it has one.
    """
    return lambda operator_class, source, **parameters: run_task(operator_class, source, **parameters).said


@pytest.fixture
def upsert(run):
    return lambda source, **parameters: run(SpreadUpsertCustomersOperator, source, **parameters)
