"""People who change their minds in three systems, while runs, failing and not, come at any moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from airflow_provider_crm.exceptions import CrmTransientError
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.connections import set_connection
from tests.helpers.tasks import TaskRunner

from .propagations import People, at

NAMES = ("anna", "bert")
#: In minutes, as the others: after all that the answers of the test tell.
TODAY = 10**6
SYSTEMS = ("spread", "mindbaz", "expertsender")

START = st.tuples(
    st.sampled_from([0, 0, 0, None, 1, 9, 3]), st.sampled_from(["True", None, None, "False"]), st.booleans()
)
FAULTS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["error_before", "error_after", "drop_after", "truncate"]),
        "system": st.sampled_from(SYSTEMS),
        "method": st.sampled_from(["GET", "PUT", "POST"]),
        "after": st.integers(0, 6),
    }
)
EVENTS = st.one_of(
    st.tuples(
        st.just("answer"),
        st.sampled_from(NAMES),
        st.sampled_from(["accepted", "accepted", "refused", "unknown"]),
        st.booleans(),
    ),
    st.tuples(st.just("opt_out_of_mindbaz"), st.sampled_from(NAMES)),
    st.tuples(st.just("opt_out_of_expertsender"), st.sampled_from(NAMES)),
    # From files, between the windows.
    st.tuples(
        st.just("file"),
        st.sampled_from(NAMES),
        st.sampled_from(["opt_out_by_file:mindbaz", "opt_out_by_file:expertsender", "upsert_opt_out:"]),
    ),
    st.tuples(st.just("run"), st.one_of(st.none(), FAULTS)),
)


@dataclass
class Known:
    """What somebody has said, told apart from what the systems hold.

    :param answers: the last answer of each of their customers: minute and status.
    :param elsewhere: minutes at which they opted out of another system, or were out from the beginning.
    """

    mindbaz: int | None
    expertsender: str | None
    customers: list[str] = field(default_factory=list)
    answers: dict[str, tuple[int, bool, str]] = field(default_factory=dict)
    refused_once: bool = False
    elsewhere: list[int] = field(default_factory=list)
    left_mindbaz: int = -1
    left_expertsender: bool = False

    @property
    def accepted(self) -> int:
        """When they last accepted."""
        return max(
            (minute for minute, _, status in self.answers.values() if status == "accepted"), default=-1
        )

    def answer(self, customer: str, minute: int, status: str) -> None:
        said = minute, status == "refused", status
        self.answers[customer] = max(self.answers.get(customer, said), said)
        self.refused_once |= status == "refused"

    @property
    def wants_out(self) -> bool:
        """Whether an opt-out was the last that they have said, anywhere."""
        refused = any(refused for _, refused, _ in self.answers.values())
        return refused or max(self.elsewhere, default=-2) >= self.accepted


@pytest.mark.slow
@settings(
    max_examples=50,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    starts=st.lists(START, min_size=2, max_size=2),
    events=st.lists(st.tuples(EVENTS, st.integers(0, 1)), min_size=4, max_size=16),
    opt_ins=st.sampled_from([True, True, False]),
)
def test_nobody_who_opted_out_last_is_subscribed_anywhere_by_us(
    starts: list[tuple[int | None, str | None, bool]],
    events: list[tuple[Any, int]],
    opt_ins: bool,
    crm_sandbox: Sandbox,
    run_task: TaskRunner,
    no_waiting: None,
) -> None:
    crm_sandbox.reset()
    with pytest.MonkeyPatch.context() as patch:
        for system in SYSTEMS:
            set_connection(patch, crm_sandbox, system, max_retries=0)
        people = People(crm_sandbox, run_task)
        known: dict[str, Known] = {}
        for name, (mindbaz, expertsender, shares) in zip(NAMES, starts, strict=True):
            people.add(name, mindbaz=mindbaz, expertsender=expertsender)
            known[name] = Known(mindbaz, expertsender, [people.customer(name)])
            if shares:
                known[name].customers.append(people.add_namesake(name))
            if mindbaz in (1, 9) or expertsender == "False":
                known[name].elsewhere.append(60)  # nobody knows when
        minute = 1
        for (what, *more), passed in events:
            minute += passed
            if what == "run":
                _run(people, more[0], opt_ins)
                continue
            one = known[more[0]]
            if what == "answer":
                customer = one.customers[-1 if more[2] else 0]
                people.answer(more[0], more[1], minute, customer)
                one.answer(customer, minute, more[1])
            elif what == "opt_out_of_mindbaz" and people.status(more[0]) == 0:
                people.opt_out_of_mindbaz(more[0], minute)
                one.elsewhere.append(minute)
                one.left_mindbaz = minute
            elif what == "opt_out_of_expertsender" and people.consent(more[0]) == "True":
                people.opt_out_of_expertsender(more[0])
                one.elsewhere.append(minute)
                one.left_expertsender = True
            elif what == "file":
                how, _, system = more[1].partition(":")
                if (
                    (people.consent(more[0]) is None)
                    if system == "expertsender"
                    else people.status(more[0]) != 0
                ):
                    continue  # there is nothing to opt out of
                getattr(people, how)(more[0], *filter(None, [system]))
                one.elsewhere.append(TODAY)
                if system == "expertsender":
                    one.left_expertsender = True
                else:
                    one.left_mindbaz = TODAY
        _run(people, None, opt_ins)
        states = people.states(*NAMES)
        _run(people, None, opt_ins)
        assert people.states(*NAMES) == states, "another run changes nothing"
    for name, (status, consent) in states.items():
        one = known[name]
        if any(refused for _, refused, _ in one.answers.values()) or (one.refused_once and not opt_ins):
            assert status != 0, name
            assert consent != "True", name
        if one.left_mindbaz >= 0 and (one.left_mindbaz >= one.accepted or not opt_ins):
            assert status != 0, name
        if one.left_expertsender or one.expertsender == "False":
            assert consent != "True", name
        if not opt_ins or (one.wants_out and not one.accepted >= 0):
            assert status != 0 or one.mindbaz == 0, name
            assert consent != "True" or one.expertsender == "True", name


def _run(people: People, fault: dict[str, Any] | None, opt_ins: bool) -> None:
    if fault:
        people.sandbox.fault(**fault)
    try:
        people.run(opt_ins=opt_ins, created_before=at(59))
    except CrmTransientError:
        assert fault
    finally:
        people.sandbox.clear()
