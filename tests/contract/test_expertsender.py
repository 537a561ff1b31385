"""What only ExpertSender does, to its upsert: batches that fail in several ways, reads that lag behind."""

from __future__ import annotations

import random

import pytest

from . import expertsender
from .test_faults import PASSING
from .trial import Trial

MODES = ("AddOrUpdate", "Add", "Update")
each_mode = pytest.mark.parametrize(
    "each", [(expertsender.UPSERT, mode) for mode in MODES], ids=MODES, indirect=True
)


@pytest.mark.sampled
@each_mode
@pytest.mark.parametrize("failed_batch", ["none", "good_rows", "up_to_error"])
@pytest.mark.parametrize("errors", ["list", "object", "none"])
def test_a_bad_row_is_rejected_alone(trial: Trial, failed_batch: str, errors: str) -> None:
    trial.sandbox.switch("expertsender", failed_batch=failed_batch, errors=errors)
    ended = trial.run(batch_size=50)
    trial.check(ended)
    if trial.mode.parameters.get("mode") != "Update":
        assert ended.reasons[11] == "validate: email: the e-mail is empty"
        assert ended.reasons[12] == "validate: gender: allowed are Male, Female, NotSpecified"
        assert ended.reasons[8].startswith("crm: ")
        if errors != "none":
            assert "attribute Unknown does not exist" in ended.reasons[8]


@pytest.mark.sampled
@pytest.mark.parametrize(
    "each", [(expertsender.UPSERT, mode) for mode in MODES[:2]], ids=MODES[:2], indirect=True
)
@pytest.mark.parametrize("seed", range(6))
def test_every_row_is_accounted_for_under_faults_and_habits_without_end(trial: Trial, seed: int) -> None:
    chance = random.Random(seed)
    trial.sandbox.switch(
        "expertsender",
        failed_batch=chance.choice(["none", "good_rows", "up_to_error"]),
        errors=chance.choice(["list", "object", "none"]),
        visible_after=chance.choice([0.0, 0.0, 0.05]),
        confirmation=chance.choice(["per_entry", "once"]),
    )
    for number, kind in enumerate(chance.sample(PASSING, 3)):
        trial.fault(kind, probability=0.15, seed=seed + number)
    trial.check(trial.run(batch_size=chance.choice([1, 4, 10, 50])))


@pytest.mark.parametrize("each", [(expertsender.UPSERT, "AddOrUpdate")], ids=["AddOrUpdate"], indirect=True)
def test_a_second_run_leaves_a_confirmation_as_it_is(trial: Trial) -> None:
    trial.run()
    trial.sandbox.expertsender.by_email("p2@x.fr").consents[1] = "True"  # the person has confirmed
    before = trial.held()
    trial.run()
    assert trial.held() == before


@pytest.mark.sampled
@pytest.mark.parametrize("each", [(expertsender.UPSERT, "Add")], ids=["Add"], indirect=True)
@pytest.mark.parametrize("fault", ["drop_after", "error_after"])
@pytest.mark.parametrize("failed_batch", ["none", "good_rows"])
def test_an_add_is_not_taken_for_refused_where_reads_lag_behind(
    trial: Trial, fault: str, failed_batch: str
) -> None:
    trial.sandbox.switch("expertsender", visible_after=60, failed_batch=failed_batch)
    trial.fault(fault, method="POST", times=1)
    rows = [*({"email": f"n{number}@x.fr"} for number in range(9)), {"email": "bad@x"}]
    assert trial.run(rows, batch_size=100).counts == {"created": 9, "rejected": 1}
    assert len(trial.sandbox.expertsender.customers) == 5 + 9
