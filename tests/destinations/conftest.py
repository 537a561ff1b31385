"""Runs of the ExpertSender operators, and calls that are sent again without a wait."""

from __future__ import annotations

import pytest

from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.tasks import TaskRunner

# Before the import: what its asserts compared is to be shown as in a test.
pytest.register_assert_rewrite(f"{__package__}.expertsender_runs")

from .expertsender_runs import Run  # noqa: E402


@pytest.fixture
def run(crm_sandbox: Sandbox, run_task: TaskRunner, no_waiting: None) -> Run:
    return Run(crm_sandbox, run_task)
