"""An erasure in all three systems: people, the task, and what certificate and systems say afterwards."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_provider_crm.operators.erasure import CrmErasePeopleOperator
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.instances import Instance
from tests.helpers.tasks import Ended, TaskRunner

SYSTEMS = ("spread", "mindbaz", "expertsender")


def address(name: str) -> str:
    return f"{name}@example.fr"


class Erasure:
    """Erases people of the sandbox.

    :param folder: takes certificate and suppression file.
    """

    def __init__(self, sandbox: Sandbox, run_task: TaskRunner, folder: Path) -> None:
        self.sandbox = sandbox
        self.certificate_path = folder / "certificate.jsonl"
        self.suppression_path = folder / "suppressed.jsonl"
        self._run_task = run_task
        connection = json.loads(sandbox.connections()["spread_default"])
        # As docs/privacy.md tells it.
        secret = connection["password"].encode()
        self._key = hashlib.scrypt(
            secret, salt=b"airflow-provider-crm certificate", n=8192, r=8, p=1, dklen=32
        )

    def add(self, name: str, *systems: str) -> None:
        """Put somebody into some of the systems."""
        if "spread" in systems:
            self.sandbox.spread.add_customer(address(name).upper())
        if "mindbaz" in systems:
            self.sandbox.mindbaz.insert({1: address(name), 14: name})
        if "expertsender" in systems:
            self.sandbox.expertsender.add_customer(address(name), first_name=name)

    def run(self, *names: str, run_id: str = "run-1", rows: Any = None, **parameters: Any) -> Ended:
        """Run the task on these people."""
        instance = Instance(run_id, dag_id="privacy")
        given: dict[str, Any] = {
            "certificate_path": str(self.certificate_path),
            "suppression_path": str(self.suppression_path),
            "settle_seconds": 1,
            "concurrency": 2,
            **parameters,
        }
        rows = [{"email": address(name)} for name in names] if rows is None else rows
        return self._run_task(CrmErasePeopleOperator, rows, context={"ti": instance}, **given)

    # What there is

    def is_in(self, name: str, system: str) -> bool:
        """Whether somebody is to be written to in a system: Mindbaz keeps people, and unsubscribes them."""
        if system == "mindbaz":
            people = self.sandbox.records("mindbaz", "subscribers")
            return any(one["fields"][1] == address(name) and one["fields"][7] == 0 for one in people)
        people = self.sandbox.records(system, "customers")
        return any((one["email"] or "").lower() == address(name) for one in people)

    # What the certificate says

    def results(self) -> dict[str, dict[str, str]]:
        """The results by system of each person, whose names are found by their hashes."""
        return {
            self._name(line["person"]): {name: one["result"] for name, one in line["systems"].items()}
            for line in self.lines()
        }

    def lines(self) -> list[dict[str, Any]]:
        """The lines of people, once the closing line is found to be right."""
        *lines, last = self.certificate_path.read_bytes().splitlines(keepends=True)
        closing = json.loads(last)
        assert closing["sha256"] == hashlib.sha256(b"".join(lines)).hexdigest()
        assert closing["lines"] == len(lines)
        read = [json.loads(line) for line in lines]
        for system, counts in closing["results"].items():
            said = [line["systems"][system]["result"] for line in read if system in line["systems"]]
            assert counts == {result: said.count(result) for result in said}
        return read

    def _name(self, person: str) -> str:
        return next(name for name in NAMES if self.hash(name) == person)

    def hash(self, name: str) -> str:
        return hmac.new(self._key, address(name).encode(), "sha256").hexdigest()

    def suppressed(self) -> list[str]:
        """Who is in the suppression file."""
        found = [json.loads(line)["email"] for line in self.suppression_path.read_text().splitlines()]
        by_hash: Mapping[str, str] = {
            hashlib.sha256(address(name).encode()).hexdigest(): name for name in NAMES
        }
        return [by_hash[one] for one in found]


NAMES = ("anna", "bert", "carla", "dora", "nobody", "zoe")
