"""A hook in a process that was forked off after it was made, as a DAG file's is in each task of Airflow 2."""

from __future__ import annotations

import json
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_crm.hooks.base.hook import CrmHook
from airflow_provider_crm.hooks.expertsender import ExpertSenderHook
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.waits import patience

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system knows no fork")


class Child:
    """A forked process that calls a function, and tells what came out."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._answer, answer = os.pipe()
        self._pid = os.fork()
        if self._pid:
            os.close(answer)
            return
        try:
            try:
                said = function()
            except BaseException as error:
                said = repr(error)
            os.write(answer, json.dumps(said).encode())
        finally:
            os._exit(0)

    def said(self) -> Any:
        """Return what the function returned, or the error that it raised as text."""
        ready, _, _ = select.select([self._answer], [], [], patience(60))
        if not ready:
            return "it hangs"
        return json.loads(os.read(self._answer, 60_000) or '"nothing"')

    def end(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._answer)


Fork = Callable[[Callable[[], Any]], Child]


@pytest.fixture
def fork() -> Iterator[Fork]:
    children: list[Child] = []

    def make(function: Callable[[], Any]) -> Child:
        children.append(Child(function))
        return children[-1]

    yield make
    for child in children:
        child.end()


def spread(hook: SpreadHook, email: str) -> Any:
    return (hook.find_customer(email=email) or {}).get("email")


def mindbaz(hook: MindbazHook, email: str) -> Any:
    return [found["fields"][1] for found in hook.get_subscribers([email], field_ids=[1])]


def expertsender(hook: ExpertSenderHook, email: str) -> Any:
    return (hook.get_customer(email) or {}).get("email")


each_hook = pytest.mark.parametrize(
    ("hook_class", "look", "kind"),
    [
        (SpreadHook, spread, "customers"),
        (MindbazHook, mindbaz, "subscribers"),
        (ExpertSenderHook, expertsender, "customers"),
    ],
)


def seeded(sandbox: Sandbox, hook: CrmHook[Any], kind: str) -> list[str]:
    """Put eight people into a hook's stand-in, and return their addresses."""
    system = {"expertsender_cdp": "expertsender"}.get(hook.conn_type, hook.conn_type)
    sandbox.seed(8, [system])
    return [one["email"] if "email" in one else one["fields"][1] for one in sandbox.records(system, kind)]


@pytest.mark.slow
@each_hook
def test_each_process_gets_its_own_person(
    crm_sandbox: Any, fork: Fork, hook_class: Any, look: Any, kind: str
) -> None:
    hook = hook_class()
    people = seeded(crm_sandbox, hook, kind)
    right = [look(hook, email) for email in people]
    assert len({json.dumps(one) for one in right}) == 8
    # All of the hook's threads are there, and have their connections.
    all_at_once = threading.Barrier(hook.concurrency)
    hook.side_by_side(lambda _: (all_at_once.wait(60), look(hook, people[0])), range(hook.concurrency))

    def child_of(number: int) -> Child:
        email = people[number]
        return fork(
            lambda: [
                [look(hook, email) for _ in range(20)],
                hook.side_by_side(lambda one: look(hook, one), people),
                hook.counters.requests,
            ]
        )

    before = hook.counters.requests
    children = [child_of(number) for number in range(4)]
    assert [look(hook, people[7]) for _ in range(20)] == [right[7]] * 20
    assert [child.said() for child in children] == [[[right[number]] * 20, right, 28] for number in range(4)]
    assert hook.counters.requests == before + 20
    hook.close()


@each_hook
def test_a_child_does_not_wait_for_a_thread_that_it_has_not(
    crm_sandbox: Any, fork: Fork, monkeypatch: pytest.MonkeyPatch, hook_class: Any, look: Any, kind: str
) -> None:
    hook = hook_class()
    people = seeded(crm_sandbox, hook, kind)
    looks_up, go_on = threading.Event(), threading.Event()
    get_connection, parent = hook.get_connection, os.getpid()

    def slow(conn_id: str) -> Any:
        if os.getpid() == parent:
            looks_up.set()
            assert go_on.wait(60)
        return get_connection(conn_id)

    monkeypatch.setattr(hook, "get_connection", slow)
    thread = threading.Thread(target=lambda: hook.settings)
    thread.start()
    assert looks_up.wait(60)
    child = fork(lambda: look(hook, people[3]))
    said = child.said()
    go_on.set()
    thread.join()
    assert said == look(hook, people[3])
    hook.close()


def test_a_hook_that_is_closed_is_closed_in_a_child(crm_sandbox: Any, fork: Fork) -> None:
    hook = ExpertSenderHook()
    hook.list_consents()
    hook.close()
    assert "task ended" in fork(hook.list_consents).said()
