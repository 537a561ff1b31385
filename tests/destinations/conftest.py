"""Runs of the ExpertSender operators, and calls that are sent again without a wait."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_crm.bulk import settle
from airflow_provider_crm.http import retry
from airflow_provider_crm.sandbox.server import Sandbox

# Before the import: what its asserts compared is to be shown as in a test.
pytest.register_assert_rewrite(f"{__package__}.expertsender_runs")

from .expertsender_runs import Run  # noqa: E402


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(settle, "FIRST_WAIT", 0.0)


@pytest.fixture
def run(crm_sandbox: Sandbox, tmp_path: Path, no_waiting: None) -> Run:
    return Run(crm_sandbox, tmp_path)
