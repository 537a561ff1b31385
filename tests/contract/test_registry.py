"""The suite knows every operator that writes rows, and its entries try what they are to try."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import pytest

from airflow_provider_crm import operators
from airflow_provider_crm.operators.base.writes import CrmBulkOperator

from .entry import Destination
from .registry import DESTINATIONS


def writing_operators(of: type = CrmBulkOperator) -> Iterator[type]:
    for subclass in of.__subclasses__():
        if ".base" not in subclass.__module__ and subclass.__module__.startswith(operators.__name__):
            yield subclass
        yield from writing_operators(subclass)


def test_every_operator_that_writes_rows_is_registered() -> None:
    for module in pkgutil.walk_packages(operators.__path__, f"{operators.__name__}."):
        importlib.import_module(module.name)
    assert {one.operator for one in DESTINATIONS} == set(writing_operators())


@pytest.mark.parametrize("destination", DESTINATIONS, ids=lambda one: one.name)
def test_an_entry_has_rows_of_every_kind(destination: Destination) -> None:
    ends = set(" ".join(mode.ends for mode in destination.modes.values()).split())
    assert "rejected" in ends
    assert ends & {"created", "updated", "deleted"}
    assert ends & {"skipped", "unchanged"}
    assert all(len(mode.ends.split()) == len(destination.rows) for mode in destination.modes.values())
