"""Erasures and consents, killed at any moment: a certificate is whole or absent, and a retry makes up for it all."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.kills import Tries
from tests.helpers.tasks import TaskRunner
from tests.operators.erasures import NAMES, SYSTEMS, Erasure, address
from tests.operators.propagations import CONSENTS, People, at

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc"),
]

KILLS = 20

ERASE = """
from types import SimpleNamespace
from airflow_provider_crm.operators.erasure import CrmErasePeopleOperator

def attempt(run, store):
    ti = SimpleNamespace(dag_id="d", run_id=run, task_id="erase", map_index=-1, xcom_push=lambda *_: None)
    CrmErasePeopleOperator(
        task_id="erase",
        source=str(folder / "requests.csv"),
        certificate_path=str(folder / run / "certificate.jsonl"),
        suppression_path=str(folder / run / "suppressed.jsonl"),
        settle_seconds=1,
        concurrency=2,
    ).execute({"ti": ti, "task_state_store": store})
"""


def test_an_erasure_killed_at_twenty_moments(
    crm_sandbox: Sandbox, run_task: TaskRunner, tmp_path: Path
) -> None:
    chance = random.Random(17)
    (tmp_path / "requests.csv").write_text("".join(["email\n", *(f"{address(name)}\n" for name in NAMES)]))
    where = {
        name: [one for one in SYSTEMS if name != "nobody" and one != missing]
        for name, missing in zip(NAMES, [None, "spread", "mindbaz", "expertsender", None, None], strict=True)
    }
    done = {"spread": "erased", "mindbaz": "by_hand", "expertsender": "erased"}
    expected = {
        name: {one: done[one] if one in there else "absent" for one in SYSTEMS}
        for name, there in where.items()
    }
    proved_before, killed = 0, 0
    with Tries(ERASE, tmp_path, crm_sandbox.environ()) as tries:
        calls = 0
        for number in range(KILLS + 1):
            run = f"run-{number}"
            crm_sandbox.reset()
            erasure = Erasure(crm_sandbox, run_task, tmp_path / run)
            for name, systems in where.items():
                erasure.add(name, *systems)
            before = len(crm_sandbox.calls)
            if number:  # the first run is left alone, and shows how many calls there are
                # The last moments are those when all is done and the certificate is written.
                stop = calls if number % 5 == 0 else chance.randrange(calls)
                killed += tries.kill(
                    run, lambda stop=stop, first=before: len(crm_sandbox.calls) >= first + stop
                )
                if erasure.certificate_path.exists():
                    proved_before += 1
                    assert erasure.results() == expected, "whole, or absent"
            tries.to_the_end(run)
            calls = calls or len(crm_sandbox.calls) - before
            assert erasure.results() == expected
            assert not [(name, system) for name in NAMES for system in SYSTEMS if erasure.is_in(name, system)]
            assert sorted(erasure.suppressed()) == sorted(NAMES), "each of them once"
            # A file that was about to take its place is removed a day later.
            there = {one.name for one in (tmp_path / run).iterdir() if not one.name.endswith(".part")}
            assert there == {"certificate.jsonl", "suppressed.jsonl"}
    assert killed >= KILLS * 3 // 4, "the others had ended before"
    assert proved_before < killed


PASS_ON = f"""
from airflow_provider_crm.operators.consents import CrmPropagateConsentsOperator

def attempt(run, store):
    summary = CrmPropagateConsentsOperator(
        task_id="pass_on", consents={CONSENTS!r}, created_after={at(0)!r}, created_before={at(59)!r}, opt_ins=True
    ).execute({{"task_state_store": store}})
    (folder / "summary.json").write_text(json.dumps(summary))
"""


def test_consents_killed_between_the_systems(
    crm_sandbox: Sandbox, run_task: TaskRunner, tmp_path: Path
) -> None:
    chance = random.Random(18)
    names = [f"p{number}" for number in range(6)]
    refusing, accepting = names[::2], names[1::2]
    wanted = {**dict.fromkeys(refusing, (1, "False")), **dict.fromkeys(accepting, (0, "True"))}
    between = 0
    with Tries(PASS_ON, tmp_path, crm_sandbox.environ()) as tries:
        for number in range(KILLS // 2):
            crm_sandbox.reset()
            people = People(crm_sandbox, run_task)
            for name in names:
                there = name in refusing
                people.add(name, mindbaz=0 if there else None, expertsender="True" if there else None)
                people.answer(name, "refused" if there else "accepted", 5)
            first = len(crm_sandbox.calls)
            stop = chance.randrange(40) if number % 2 else None
            if stop is None:  # there is time between the systems: the look into the second one takes a while
                crm_sandbox.fault("latency", system="expertsender", method="GET", ms=500)

            def due(first: int = first, stop: int | None = stop) -> bool:
                calls = list(crm_sandbox.calls)[first:]
                if stop is not None:
                    return len(calls) >= stop
                return any(call.method != "GET" for call in calls)  # Mindbaz was told

            tries.kill(f"run-{number}", due)
            crm_sandbox.clear()
            told = {
                system: {name for name in names if people.states(name)[name][place] == wanted[name][place]}
                for place, system in enumerate(("mindbaz", "expertsender"))
            }
            between += told["mindbaz"] != told["expertsender"]
            for name in refusing:
                assert people.states(name)[name] in ((0, "True"), (1, "True"), (0, "False"), (1, "False"))
            tries.to_the_end(f"run-{number}")
            assert people.states(*names) == wanted
            tries.to_the_end(f"again-{number}")
            assert people.states(*names) == wanted
            summary = json.loads((tmp_path / "summary.json").read_text())
            assert (summary["read"], summary["created"] + summary["updated"]) == (len(names), 0)
    assert between >= KILLS // 10, "killed between the systems"
