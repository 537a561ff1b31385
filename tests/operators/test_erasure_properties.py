"""Whoever is erased through failures and kills: what the certificate says is what the systems hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_crm.exceptions import CrmTransientError
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.connections import set_connection
from tests.helpers.tasks import TaskRunner

from .erasures import NAMES, SYSTEMS, Erasure

FAULTS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(
            ["error_before", "error_after", "drop_before", "drop_after", "truncate", "html_after"]
        ),
        "system": st.sampled_from([*SYSTEMS, None]),
        "method": st.sampled_from(["GET", "PUT", "DELETE", None]),
        "after": st.integers(0, 12),
        "every": st.integers(1, 3),
    }
)
PEOPLE = st.dictionaries(st.sampled_from(NAMES), st.sets(st.sampled_from(SYSTEMS)), min_size=1)


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(people=PEOPLE, staying=st.sampled_from(NAMES), tries=st.lists(FAULTS, max_size=4), data=st.data())
def test_the_certificate_says_what_the_systems_hold(
    people: dict[str, set[str]],
    staying: str,
    tries: list[dict[str, Any]],
    data: Any,
    crm_sandbox: Sandbox,
    run_task: TaskRunner,
    tmp_path: Path,
    no_waiting: None,
) -> None:
    crm_sandbox.reset()
    with pytest.MonkeyPatch.context() as patch:
        for system in SYSTEMS:
            set_connection(patch, crm_sandbox, system, max_retries=0)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        erasure = Erasure(crm_sandbox, run_task, folder)
        for name, systems in people.items():
            erasure.add(name, *systems)
        erased = data.draw(st.permutations([name for name in people if name != staying]))
        for fault in tries:
            crm_sandbox.fault(**{name: value for name, value in fault.items() if value is not None})
            try:
                erasure.run(*erased)
                break
            except CrmTransientError:
                crm_sandbox.clear()
        crm_sandbox.clear()
        erasure.run(*erased)
    done = {"spread": "erased", "mindbaz": "by_hand", "expertsender": "erased"}
    assert erasure.results() == {
        name: {system: done[system] if system in people[name] else "absent" for system in SYSTEMS}
        for name in erased
    }
    for name, systems in people.items():
        there = {system for system in SYSTEMS if erasure.is_in(name, system)}
        assert there == (systems if name == staying else set())
    assert sorted(erasure.suppressed()) == sorted(erased)
