"""Whatever the vendor does where nothing is documented: rows end as they would have, answers that are lost included."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_crm.sandbox.server import Sandbox

from .registry import DESTINATIONS
from .trial import WRITING, Trial

#: Hundreds of runs.
pytestmark = pytest.mark.slow


def habits(system: str) -> Iterator[tuple[str, Any]]:
    """List each way in which the stand-in of a system can behave that is not its own."""
    own = getattr(Sandbox(), system).switches
    for name, hint in typing.get_type_hints(type(own)).items():
        values = (True, False) if hint is bool else typing.get_args(hint) if _is_choice(hint) else ()
        yield from ((name, value) for value in values if value != getattr(own, name))


def _is_choice(hint: Any) -> bool:
    return typing.get_origin(hint) is typing.Literal


@pytest.mark.parametrize(
    ("each", "name", "value"),
    [
        pytest.param((one, mode), name, value, id=f"{one.name}-{mode}-{name}-{value}")
        for one in DESTINATIONS
        for mode in one.modes
        for name, value in habits(one.system)
    ],
    indirect=["each"],
)
def test_an_undocumented_habit_changes_no_end(trial: Trial, name: str, value: Any) -> None:
    trial.see_through(f"{name}={value}")
    trial.sandbox.switch(trial.destination.system, **{name: value})
    for method in WRITING:
        trial.fault("drop_after", method=method, times=1)
    trial.check(trial.run())
    trial.check_again(trial.run())
