"""The suite knows every operator that writes rows, and its entries try what they are to try."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.operators.base.writes import CrmBulkOperator
from tests.helpers.public import crms, tasks

from .entry import Destination
from .registry import DESTINATIONS
from .trial import Trial, by_name, each_first_mode, first_modes


def test_every_operator_that_writes_rows_is_registered() -> None:
    """Those of one CRM: what several have to do with a row is tried with the operators that write to several."""
    of_one_crm = tuple(f"airflow_provider_crm.operators.{crm}" for crm in crms())
    writing = {one for one in tasks("operators") if issubclass(one, CrmBulkOperator)}
    assert {one.operator for one in DESTINATIONS} == {
        one for one in writing if one.__module__.startswith(of_one_crm)
    }


each_destination = pytest.mark.parametrize("destination", DESTINATIONS, ids=lambda one: one.name)
OPTING_IN = [one for one in DESTINATIONS if "allow_resubscribe" in one.operator.template_fields]


def modes_of(operator: Any) -> set[str]:
    """Return what an operator's parameter ``mode`` may be; nothing where it has none."""
    mode = operator.parameters().get("mode")
    if mode is None:
        return set()
    with pytest.raises(CrmInputError) as raised:
        mode.read("?")
    return set(re.findall(r"'(\w+)'", str(raised.value)))


@each_destination
def test_an_entry_has_every_mode(destination: Destination) -> None:
    default = inspect.signature(inspect.unwrap(destination.operator.__init__)).parameters.get("mode")
    given = [mode.parameters.get("mode", default and default.default) for mode in destination.modes.values()]
    assert set(given) - {None} == modes_of(destination.operator)


@pytest.mark.sampled
@each_first_mode
def test_an_entry_has_a_person_in_two_rows(trial: Trial) -> None:
    keys = Counter(line["key"] for line in trial.run().results if line["key"])
    assert max(keys.values()) > 1


@pytest.mark.parametrize("each", first_modes(OPTING_IN), ids=by_name, indirect=True)
def test_an_entry_has_somebody_who_has_opted_out_and_would_be_opted_in(trial: Trial) -> None:
    """And whom a task opts in that says so by name."""
    assert trial.opted_out
    assert trial.destination.will, "a person who opts out and in again"
    trial.run(allow_resubscribe=True)
    assert trial.opted_out - trial.destination.opted_out(trial.sandbox)


@each_destination
def test_an_entry_has_rows_of_every_kind(destination: Destination) -> None:
    ends = set(" ".join(mode.ends for mode in destination.modes.values()).split())
    assert "rejected" in ends
    assert ends & {"created", "updated", "deleted"}
    assert ends & {"skipped", "unchanged"}
    assert all(len(mode.ends.split()) == len(destination.rows) for mode in destination.modes.values())
