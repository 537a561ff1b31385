"""One destination in one of its modes, run against the sandbox and held against what its entry says."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.tasks import Ended, TaskRunner

from .entry import Destination, Mode
from .registry import DESTINATIONS

#: Gives the connection of a system other parts and extras.
Connect = Callable[..., None]
#: The methods that change something.
WRITING = ("POST", "PUT", "DELETE")

Each = tuple[Destination, str]


def by_name(each: Each) -> str:
    """Name a test after the destination that it is about."""
    return each[0].name


def first_modes(destinations: Iterable[Destination]) -> list[Each]:
    """Return destinations, each in its first mode, for tests that need no other."""
    return [(one, next(iter(one.modes))) for one in destinations]


each_first_mode = pytest.mark.parametrize("each", first_modes(DESTINATIONS), ids=by_name, indirect=True)

DONE = {"created": "unchanged", "updated": "unchanged"}


class Trial:
    """A destination in one of its modes, with the people of its entry in the sandbox.

    :param run_task: runs its operator; checks that each row ends once and that all counts and files tell the same.
    """

    def __init__(self, destination: Destination, mode: str, sandbox: Sandbox, run_task: TaskRunner) -> None:
        self.destination = destination
        self.mode: Mode = destination.modes[mode]
        self.sandbox = sandbox
        self.run_task = run_task
        destination.seed(sandbox)
        self.before = self.held()
        self.opted_out = destination.opted_out(sandbox)

    def run(self, rows: Any = None, **parameters: Any) -> Ended:
        """Run the operator on the entry's rows, or on others."""
        given = {**self.destination.parameters, **self.mode.parameters, **parameters}
        return self.run_task(self.destination.operator, self.rows if rows is None else list(rows), **given)

    def run_or_fail(self, error: type[Exception], **parameters: Any) -> tuple[Exception | None, Ended | None]:
        """Run the operator, which may raise this kind of error.

        :return: the error, or how the run ended.
        """
        try:
            return None, self.run(**parameters)
        except error as raised:
            return raised, None

    @property
    def rows(self) -> list[Any]:
        return copy.deepcopy(list(self.destination.rows))

    @property
    def ends(self) -> list[str]:
        return self.mode.ends.split()

    @property
    def again(self) -> list[str]:
        return self.mode.again.split() or [DONE.get(end, end) for end in self.ends]

    @property
    def rejected(self) -> set[int]:
        """The numbers of the rows that are rejected."""
        return {number for number, end in enumerate(self.ends, start=1) if end == "rejected"}

    def held(self) -> Any:
        """What the CRM holds now."""
        return self.destination.held(self.sandbox)

    def fault(self, kind: str, **settings: Any) -> Any:
        """Put a fault on the calls to this destination's CRM."""
        return self.sandbox.fault(kind, system=self.destination.system, **settings)

    def hide_everybody(self, *, writes: int) -> Any:
        """Let the CRM seem empty to whoever reads, until so many calls have written."""
        getattr(self.sandbox, self.destination.system).reset()
        active = self.fault("stale", writes=writes)
        self.destination.seed(self.sandbox)
        return active

    def see_through(self, what: str) -> None:
        """Skip the test where a client of this CRM cannot see what happened.

        :param what: a fault's kind, or a switch and its value.
        """
        if reason := self.destination.blind.get(what):
            pytest.skip(reason)

    def check(self, ended: Ended | None) -> None:
        """Every row ended as it should, and the CRM holds what it should."""
        assert ended is not None
        assert ended.ends == self.ends, ended.said
        self.check_held()

    def check_again(self, ended: Ended) -> None:
        """A later run changed nothing."""
        assert ended.ends == self.again, ended.said
        self.check_held()

    def check_resumed(self, ended: Ended) -> None:
        """A row ended as in one run, or as one that an earlier try had done; the CRM holds what it should."""
        for end, first, again in zip(ended.ends, self.ends, self.again, strict=True):
            # A later row of the same person may not be done yet, so that this one's change still stands.
            assert end in (first, again, DONE.get(first)), ended.said
        self.check_held()

    def check_held(self) -> None:
        """The CRM holds what it should, and nobody who had opted out is opted in."""
        held = self.held()
        assert held == self.mode.held, held
        assert self.destination.opted_out(self.sandbox) >= self.opted_out
