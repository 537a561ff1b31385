"""Where a person has to approve, nothing is written before, and afterwards all that is written without it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmNotApprovedError
from tests.helpers.approvals import Person, needs_a_person
from tests.helpers.instances import Instance

from .trial import Trial

pytestmark = needs_a_person


@pytest.mark.sampled
def test_nothing_is_written_before_it_is_approved(trial: Trial, person: Person) -> None:
    def approve() -> dict[str, Any]:
        assert trial.held() == trial.before
        assert {call.method for call in trial.sandbox.calls} <= {"GET"}
        assert not trial.run_task.results_path.exists()
        return person.approves()

    instance = Instance()
    trial.check(trial.run(approval=True, answer=approve, context={"ti": instance}))
    assert instance.report["approved_by"] == "ada"
    assert len(person.asked) == 1
    for row in trial.rows:
        for cell in map(str, row.values()):
            if re.search(r"@|\d{8}", cell):
                assert cell not in person.read


@pytest.mark.sampled
def test_nothing_is_written_that_was_refused(trial: Trial, person: Person) -> None:
    instance = Instance()
    with pytest.raises(CrmNotApprovedError, match="ada has refused it at 09:30 UTC on 02 March 2026"):
        trial.run(approval=True, answer=person.refuses, context={"ti": instance})
    assert trial.held() == trial.before
    assert {call.method for call in trial.sandbox.calls} <= {"GET"}
    assert (instance.report["state"], instance.report["approved_by"]) == ("refused", None)
    assert {instance.report[end] for end in ("read", "created", "updated")} == {0}
