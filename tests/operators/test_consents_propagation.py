"""What people answered in SPREAD follows them: refusals always, acceptances only when asked for and never too late."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmInputError, CrmTransientError
from airflow_provider_crm.operators.base.answers import ConsentAnswers
from airflow_provider_crm.operators.base.windows import Window
from airflow_provider_crm.operators.consents import CrmPropagateConsentsOperator
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.connections import set_connection
from tests.helpers.state import TaskState
from tests.helpers.tasks import TaskRunner

from .propagations import CONSENTS, NEWSLETTER, People, address, at
from .spread_exports.incremental import AssetStates

IN, OUT = (0, "True"), (1, "False")


@pytest.fixture
def people(
    crm_sandbox: Sandbox, run_task: TaskRunner, no_waiting: None, monkeypatch: pytest.MonkeyPatch
) -> People:
    for system in ("spread", "mindbaz", "expertsender"):
        set_connection(monkeypatch, crm_sandbox, system, max_retries=1)
    return People(crm_sandbox, run_task)


def writes(people: People) -> list[Any]:
    return [call for call in people.sandbox.calls if call.method != "GET"]


def test_refusals_follow_and_acceptances_do_not(people: People) -> None:
    people.add("anna")
    people.add("bert", mindbaz=None, expertsender=None)
    people.add("carla", mindbaz=1, expertsender="False")
    for name, status in (("anna", "refused"), ("bert", "refused"), ("carla", "accepted")):
        people.answer(name, status, 5)
    ended = people.run()
    assert ended.said == [
        "updated: mindbaz updated; expertsender updated",
        "skipped: mindbaz skipped (not in Mindbaz); expertsender skipped (not in ExpertSender)",
    ]
    assert people.states("anna", "bert", "carla") == {"anna": OUT, "bert": (None, None), "carla": OUT}
    (anna,) = (
        one for one in people.sandbox.records("mindbaz", "subscribers") if one["fields"][1] == address("anna")
    )
    assert str(anna["fields"][4]).startswith("2026-03-02T10:05"), "the date is that of the answer"


@pytest.mark.parametrize(
    ("consents", "before", "said"),
    [
        (["9876"], None, "answers to a consent from 2026-03-02"),
        (["9876", "9877"], "2026-03-03", "answers to 2 consents from 2026-03-02 until 2026-03-03"),
    ],
)
def test_the_log_says_which_answers_are_read(consents: list[str], before: str | None, said: str) -> None:
    def nothing(*_: str) -> Iterator[Any]:
        return iter(())

    window = Window("2026-03-02", before)
    answers = ConsentAnswers(
        nothing, consents=consents, statuses=[], window=window, local_time=lambda _: None
    )
    assert answers.description == said


def test_a_second_run_changes_nothing(people: People) -> None:
    people.add("anna")
    people.add("bert", mindbaz=None, expertsender=None)
    people.answer("anna", "refused", 5)
    people.answer("bert", "accepted", 5)
    people.run(opt_ins=True)
    before = people.states("anna", "bert")
    assert before == {"anna": OUT, "bert": IN}
    done = len(writes(people))
    ended = people.run(opt_ins=True)
    assert (ended.ends, len(writes(people))) == (["unchanged", "unchanged"], done)


def test_acceptances_follow_when_asked_for(people: People) -> None:
    people.add("anna", mindbaz=None, expertsender=None)
    people.add("bert", mindbaz=1, expertsender=None)
    people.opt_out_of_mindbaz("bert", 3)
    for name in ("anna", "bert"):
        people.answer(name, "accepted", 5)
    assert not people.run().results
    assert people.run(opt_ins=True).ends == ["updated", "updated"]
    assert people.states("anna", "bert") == {"anna": IN, "bert": IN}


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("mindbaz", "minute", "expertsender"),
    [
        (1, 5, None),  # of the same moment
        (1, 6, None),
        (0, None, "False"),  # nobody can tell when
        (9, None, None),
        (5, None, None),
    ],
)
def test_no_acceptance_undoes_an_opt_out_in_any_system(
    people: People, mindbaz: int, minute: int | None, expertsender: str | None
) -> None:
    people.add("anna", mindbaz=mindbaz, expertsender=expertsender)
    if minute:
        people.opt_out_of_mindbaz("anna", minute)
    people.answer("anna", "accepted", 5)
    before = people.states("anna")
    ended = people.run(opt_ins=True)
    assert ended.ends == ["skipped"]
    assert "has opted out there" in ended.said[0]
    assert people.states("anna") == before


@pytest.mark.sampled
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("opt_ins", "second", "ends"),
    [(True, 6, IN), (False, 6, OUT), (True, 5, OUT), (True, 4, OUT), (False, 4, OUT)],
)
def test_of_several_answers_the_last_holds_and_of_one_moment_the_refusal(
    people: People, order: int, opt_ins: bool, second: int, ends: Any
) -> None:
    people.add("anna")
    for status, minute in (("refused", 5), ("accepted", second))[::order]:
        people.answer("anna", status, minute)
    people.run(opt_ins=opt_ins)
    assert people.states("anna") == {"anna": ends}


def test_customers_who_share_an_address_are_one_person(people: People) -> None:
    people.add("anna")
    other = people.add_namesake("anna")
    people.answer("anna", "refused", 1)
    people.answer("anna", "accepted", 9, other)
    people.run(created_after=at(5), opt_ins=True)
    assert people.states("anna") == {"anna": OUT}


def test_two_answers_of_one_person_are_one(people: People) -> None:
    people.add("anna")
    other = people.add_namesake("anna")
    people.answer("anna", "refused", 1)
    people.answer("anna", "refused", 9, other)
    assert sorted(people.run().ends) == ["skipped", "updated"]
    assert people.states("anna") == {"anna": OUT}


def test_an_acceptance_does_not_outweigh_an_answer_that_is_none(people: People) -> None:
    people.add("anna", mindbaz=None, expertsender=None)
    other = people.add_namesake("anna")
    people.answer("anna", "unknown", 1, other)
    people.answer("anna", "accepted", 9)
    assert people.run(opt_ins=True).ends == ["skipped"]
    assert people.states("anna") == {"anna": (None, None)}


@pytest.mark.parametrize(
    ("refused", "accepted"),
    [
        ("2026-10-25 02:10:00", "2026-10-25 02:50:00"),  # which of the two hours, nobody can tell
        ("0000-00-00 00:00:00", "2026-10-25 10:00:00"),
    ],
)
def test_a_refusal_whose_moment_is_not_told_is_the_later_one(
    people: People, refused: str, accepted: str
) -> None:
    people.add("anna")
    for status, moment in (("refused", refused), ("accepted", accepted)):
        people.sandbox.spread.consents.add(
            people.customer("anna"), NEWSLETTER, status, moment, "manualImport"
        )
    people.run(opt_ins=True)
    assert people.states("anna") == {"anna": OUT}


def test_an_acceptance_after_the_minute_of_an_opt_out_is_later(people: People) -> None:
    people.add("anna")
    people.opt_out_of_mindbaz("anna", 5)
    people.answer("anna", "accepted", 6)
    assert people.run(opt_ins=True).ends == ["updated"]
    assert people.states("anna") == {"anna": IN}


@pytest.mark.parametrize(
    ("status", "moment"),
    [
        (1, "2026-03-02T00:00:00+01:00"),  # a day only, which has to be over
        (9, "2026-03-01T10:00:00+01:00"),  # who has complained does not come back, however long ago it was
    ],
)
def test_an_acceptance_that_is_not_later_for_certain_is_none(
    people: People, status: int, moment: str
) -> None:
    people.add("anna")
    number = people.sandbox.mindbaz.subscribers.by_email(address("anna"))
    people.sandbox.mindbaz.subscribers.update(number, {7: status, 4: moment})
    people.answer("anna", "accepted", 5)
    assert people.run(opt_ins=True).ends == ["skipped"]
    assert people.status("anna") == status


def test_whoever_is_suppressed_is_opted_out_but_not_in(people: People) -> None:
    for name in ("anna", "bert"):
        people.add(name, mindbaz=None if name == "anna" else 0, expertsender=None)
    people.answer("anna", "accepted", 5)
    people.answer("bert", "refused", 5)
    listed = [{"email": address(name)} for name in ("anna", "bert")]
    ended = people.run(opt_ins=True, suppression_source=listed)
    assert ended.said[1] == "skipped: suppressed"
    assert people.states("anna", "bert") == {"anna": (None, None), "bert": (1, None)}


@pytest.mark.parametrize("system", ["mindbaz", "expertsender"])
def test_a_system_that_fails_does_not_keep_the_other_from_being_told(people: People, system: str) -> None:
    people.add("anna")
    people.answer("anna", "refused", 5)
    people.sandbox.fault(
        "error_before", system=system, status=503, method="PUT" if system == "mindbaz" else "POST"
    )
    with pytest.raises(CrmTransientError):
        people.run()
    told = people.consent("anna") if system == "mindbaz" else people.status("anna")
    assert told == ("False" if system == "mindbaz" else 1)
    people.sandbox.clear()
    assert people.run().ends == ["updated"]
    assert people.states("anna") == {"anna": OUT}


def test_a_dry_run_says_what_would_be(people: People) -> None:
    people.add("anna")
    people.add("bert", mindbaz=1, expertsender="False")
    for name in ("anna", "bert"):
        people.answer(name, "refused", 5)
    ended = people.run(dry_run=True)
    assert ended.said == [
        "updated: mindbaz updated; expertsender updated",
        "unchanged: mindbaz unchanged; expertsender unchanged",
    ]
    assert not writes(people)


def test_incremental_runs_read_each_answer_once(people: People) -> None:
    sdk = pytest.importorskip("airflow.sdk", reason="state of assets is Airflow 3's")
    asset = sdk.Asset("consents", uri="crm://consents/newsletter")
    kept = AssetStates()

    def run(**parameters: Any) -> Any:
        context = {"asset_state_store": kept, "task_state_store": TaskState()}
        given = {"incremental": True, "created_after": None, "outlets": [asset], **parameters}
        return people.run(context=context, **given).ends

    for name in ("anna", "bert"):
        people.add(name)
    people.answer("anna", "refused", 5)
    assert run(dry_run=True) == ["updated"]
    assert run() == ["updated"], "a dry run passes nothing on"
    people.answer("bert", "refused", 6)
    assert run() == ["updated"]
    assert run() == []


@pytest.mark.parametrize(
    ("consents", "said"),
    [
        ([], "is a list"),
        ([{"spread": 1}], "one of the others"),
        ([{"spread": 1, "mindbaz": 2}], "True or False"),
        ([{"spread": 1, "expertsender": "news"}], "number of a consent"),
        ([{"spread": 1, "mindbaz": True}, {"spread": 2, "mindbaz": True}], "same mindbaz twice"),
    ],
)
def test_consents_that_make_no_sense_are_refused_while_the_dag_is_parsed(consents: Any, said: str) -> None:
    with pytest.raises(CrmInputError, match=said):
        CrmPropagateConsentsOperator(task_id="t", consents=consents)


def test_consents_that_do_not_exist_are_refused_before_anything_is_sent(people: People) -> None:
    for consents in (
        [{"spread": "4711", "mindbaz": True}],
        [{"spread": "LegalBasisOptin", "mindbaz": True}],
        [{"spread": NEWSLETTER.id, "expertsender": 99}],
    ):
        with pytest.raises(CrmInputError):
            people.run(consents=consents)
    name = NEWSLETTER.consent_tech_name
    assert people.run(consents=[{**CONSENTS[0], "spread": name}]).ends == []


def test_a_run_without_a_window_is_refused(people: People) -> None:
    with pytest.raises(CrmInputError, match="no data interval"):
        people.run(created_after=None)
