"""What holds for every destination that writes to people: none of those on the suppression list."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmInputError

from .registry import DESTINATIONS
from .trial import WRITING, Trial

WRITES_TO_PEOPLE = [
    (one, mode)
    for one in DESTINATIONS
    if "suppression_source" in one.operator.template_fields
    for mode in one.modes
]
each_that_writes_to_people = pytest.mark.parametrize(
    "each",
    WRITES_TO_PEOPLE,
    ids=[f"{one.name}-{mode}" for one, mode in WRITES_TO_PEOPLE],
    indirect=True,
)


def addresses(rows: list[Any]) -> list[dict[str, Any]]:
    """Everybody whom rows name, by address."""
    cells = [cell for row in rows for cell in row.values()]
    return [{"email": cell.upper()} for cell in cells if isinstance(cell, str) and "@" in cell]


def test_erasures_and_opt_outs_need_none() -> None:
    without = {one.operator.__name__ for one in DESTINATIONS} - {
        one.operator.__name__ for one, _ in WRITES_TO_PEOPLE
    }
    assert without == {
        "ExpertSenderDeleteCustomersOperator",
        "MindbazUnsubscribeOperator",
        "SpreadDeleteCustomersOperator",
    }


@pytest.mark.sampled
@each_that_writes_to_people
def test_nothing_of_suppressed_people_changes_but_opt_outs(trial: Trial) -> None:
    expected = trial.run(dry_run=True)
    ended = trial.run(suppression_source=addresses(trial.rows))
    out = trial.destination.opted_out(trial.sandbox)
    assert out >= trial.opted_out
    if out == trial.opted_out:
        assert trial.held() == trial.before
        assert not [call for call in trial.sandbox.calls if call.method in WRITING]
    for line, was in zip(ended.results, expected.results, strict=True):
        if line["outcome"] == "skipped":
            assert line["reason"] == "suppressed" or line["reason"] == was["reason"]
        elif was["outcome"] not in ("unchanged", "rejected"):
            assert out > trial.opted_out, line


@pytest.mark.sampled
@each_that_writes_to_people
def test_people_who_are_not_suppressed_are_sent_as_ever(trial: Trial) -> None:
    trial.check(trial.run(suppression_source=[{"email": "somebody.else@example.fr"}]))


@pytest.mark.sampled
@each_that_writes_to_people
def test_a_list_that_cannot_be_read_keeps_everything_from_being_sent(trial: Trial, tmp_path: Any) -> None:
    torn = tmp_path / "torn.csv"
    torn.write_text('email\nanna@example.fr\n"bert@example.fr\n')
    for wrong in (str(tmp_path / "missing.csv"), str(torn), [{"phone": "1"}], [{"email": "abc123"}]):
        with pytest.raises(CrmInputError):
            trial.run(suppression_source=wrong)
    assert trial.held() == trial.before
    assert not [call for call in trial.sandbox.calls if call.method in WRITING]


@pytest.mark.sampled
@pytest.mark.parametrize(
    "each",
    [each for each in WRITES_TO_PEOPLE if each[0].will],
    ids=lambda each: f"{each[0].name}-{each[1]}",
    indirect=True,
)
def test_an_opt_out_of_somebody_suppressed_is_carried_out(trial: Trial) -> None:
    will = trial.destination.will
    assert will is not None
    if trial.mode.parameters.get("mode") in ("create", "Add"):
        pytest.skip("changes nobody who is there")
    rows: list[Any] = [will[0], *trial.rows]
    trial.run(rows, suppression_source=addresses(rows))
    assert trial.destination.opted_out(trial.sandbox) > trial.opted_out
    # Who was not there has not been made.
    assert len(trial.held()) == len(trial.before) or trial.destination.system == "spread"
