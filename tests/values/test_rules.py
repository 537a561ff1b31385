"""What cells become has a version: snapshots hold what was sent under it, and would take other values for the same.

``python -m tests.values.test_rules`` writes what becomes of cells now. Where that is something else, raise
``airflow_provider_crm.values.RULES`` first.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm import values
from airflow_provider_crm.schemas.expertsender.write import customer_of
from airflow_provider_crm.schemas.spread.write import CUSTOMER_FIELDS, customer_values

from .cells import CELLS, KINDS
from .test_any_cell import EXPERTSENDER, EXPERTSENDER_NAMES, MINDBAZ

GOLDEN = Path(__file__).with_name("rules.json")


def results() -> dict[str, str]:
    """Digest, for each kind of cell and each field of the CRMs, what becomes of all cells."""
    becomes: dict[str, Callable[[Any], Any]] = {
        **KINDS,
        **{f"Mindbaz {field.name}": field.convert for field in MINDBAZ},
        **{f"SPREAD {field}": spread(field) for field in CUSTOMER_FIELDS},
        **{f"ExpertSender {name}": expertsender(name) for name in EXPERTSENDER_NAMES},
    }
    return {what: digest(become) for what, become in becomes.items()}


def spread(field: str) -> Callable[[Any], Any]:
    return lambda cell: customer_values([(field, cell)], send_blanks=False)


def expertsender(name: str) -> Callable[[Any], Any]:
    field = EXPERTSENDER.find(name)
    assert field is not None
    return lambda cell: customer_of([(field, cell)], send_blanks=False)


def digest(become: Callable[[Any], Any]) -> str:
    written = []
    for cell in CELLS:
        try:
            written.append(None if values.is_empty(cell.value) else repr(become(cell.value)))
        except ValueError:
            written.append("rejected")  # which is never sent, whatever the words
    return hashlib.sha256(json.dumps(written).encode()).hexdigest()[:16]


@pytest.mark.slow
def test_other_results_have_another_version() -> None:
    held = json.loads(GOLDEN.read_text())
    now = results()
    others = [what for what in {**held["results"], **now} if held["results"].get(what) != now.get(what)]
    assert not others, (
        "raise values.RULES, so that snapshots of what was sent before are void, and run "
        "`python -m tests.values.test_rules`"
    )
    assert held["rules"] == values.RULES


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({"rules": values.RULES, "results": results()}, indent=1) + "\n")
