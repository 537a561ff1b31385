"""What an editor and a type checker know of the parameters: each slip of the pen is seen, and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from airflow_provider_crm.hooks.spread import filters
from airflow_provider_crm.schemas.spread import read

pytest.importorskip("mypy")

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.mark.slow
def test_a_type_checker_sees_the_parameters() -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--no-error-summary"]
    checked = subprocess.run(
        [*command, str(HERE / "right_calls.py"), str(HERE / "wrong_calls.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    lines = (HERE / "wrong_calls.py").read_text().splitlines()
    calls = {n for n, line in enumerate(lines, 1) if re.match(r"[A-Z]\w+\(", line)}
    errors = re.findall(r"(\w+)\.py:(\d+): error: (.*)", checked.stdout)
    assert not [error for error in errors if error[0] != "wrong_calls"], checked.stdout
    assert {int(number) for _, number, _ in errors} == calls, checked.stdout


@pytest.mark.parametrize(
    ("kind", "known"),
    [
        (filters.CustomerFilters, read.CUSTOMER_FILTERS),
        (filters.AnswerFilters, read.ANSWER_FILTERS),
        (filters.CustomerConsentFilters, read.CUSTOMER_CONSENT_FILTERS),
        (filters.LoyaltyFilters, read.LOYALTY_FILTERS),
    ],
)
def test_the_filters_are_those_that_there_are(kind: Any, known: Any) -> None:
    assert set(get_type_hints(kind)) == set(known)
