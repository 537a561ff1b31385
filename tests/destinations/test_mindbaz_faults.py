"""Upserting Mindbaz subscribers while the vendor misbehaves: every row ends as it would have otherwise.

Real HTTP against the sandbox; each fault that it knows, and each way in which the vendor may behave.
"""

from __future__ import annotations

import json
import random
import time
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.bulk import settle
from airflow_provider_crm.exceptions import CrmFailError, CrmTransientError
from airflow_provider_crm.http import retry
from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator
from airflow_provider_crm.sandbox.mindbaz.switches import MindbazSwitches
from airflow_provider_crm.sandbox.server import Sandbox

#: Seconds: a call that takes longer is given up by the client.
TIMEOUT = 0.4
#: A number that the stand-in cannot decode, which makes it refuse the whole call.
POISON = 2**70


class Store(dict[str, Any]):
    """A state store as Airflow's."""

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        self.pop(key, None)


class Job:
    """A mixed source, what is to become of each of its rows, and the people in the CRM before."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.store = Store()
        self.rows: list[dict[str, Any]] = []
        self.endings: dict[int, str] = {}
        for number in range(12):
            self._held(f"known{number}@example.fr", nom="Before")
            self._row("updated", email=f"Known{number}@example.fr ", nom=f"After {number}", statut=0)
        for number in range(30):
            self._row("created", email=f"new{number}@example.fr", nom=f"New {number}", statut=number % 2)
        for number in range(10):
            self._held(f"same{number}@example.fr", nom="Same", points_fidelite=5)
            self._row("unchanged", email=f"same{number}@example.fr", nom="Same", points_fidelite=5)
            self._held(f"out{number}@example.fr", nom="Out", statut=1 + number)
            self._row("rejected" if number < 5 else "updated", email=f"out{number}@example.fr", nom="In")
            self.rows[-1]["statut"] = 0 if number < 5 else 1 + number
        for number in range(3):
            self._row("rejected", email=f"invalid{number}@nodot", nom="Invalid")
            self._row("rejected", email="", nom="Nobody")
            self._row("rejected", email=f"wrong{number}@example.fr", points_fidelite="many")
        self._row("rejected", email="poison0@example.fr", points_fidelite=POISON)
        random.Random(7).shuffle(self.rows)
        for number in range(12, 42):  # enough in a row for calls that only update
            self._held(f"known{number}@example.fr", nom="Before")
            self._row("updated", email=f"known{number}@example.fr", nom=f"After {number}")
        for row in self.rows[:12]:
            self.rows.append({**row, "nom": "Later"})
        for number, row in enumerate(self.rows, start=1):
            self.endings[number] = row.pop("ending")
        for number in range(1, 13):
            if self.rows[number - 1]["email"]:
                later = len(self.rows) - 12 + number
                self.endings[later] = (
                    "updated" if self.endings[number] == "unchanged" else self.endings[number]
                )
                self.endings[number] = "skipped"

    def _held(self, email: str, **fields: Any) -> None:
        ids = {"nom": 14, "statut": 7, "points_fidelite": 102}
        self.sandbox.mindbaz.insert({1: email, **{ids[name]: value for name, value in fields.items()}})

    def _row(self, ending: str, **fields: Any) -> None:
        self.rows.append({"ending": ending, **fields})

    def run(self, *, store: bool = False, **parameters: Any) -> dict[str, Any]:
        settings: dict[str, Any] = {"batch_size": 15, "concurrency": 3, "max_rejects": 1.0, **parameters}
        operator = MindbazUpsertSubscribersOperator(
            task_id="upsert",
            source=self.rows,
            rejects_path=str(self.folder / "rejects.jsonl"),
            results_path=str(self.folder / "results.jsonl"),
            **settings,
        )
        return operator.execute({"task_state_store": self.store} if store else {})  # type: ignore[typeddict-item]

    def lines(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / f"{name}.jsonl").read_text().splitlines()]

    def check(self, summary: dict[str, Any], *, same_endings: bool = True) -> None:
        """Hold the outcome of a run against what it should be.

        :param same_endings: whether rows that went through must have ended in the very way expected; otherwise an
            earlier try may have done them.
        """
        results = {line["row"]: line["outcome"] for line in self.lines("results")}
        assert len(results) == len(self.lines("results")) == len(self.rows)
        endings = self.endings
        if not same_endings:
            results = {row: _done(ending) for row, ending in results.items()}
            endings = {row: _done(ending) for row, ending in endings.items()}
        assert results == endings
        rejects = self.lines("rejects")
        assert sorted(line["row"] for line in rejects) == [
            row for row, ending in self.endings.items() if ending == "rejected"
        ]
        assert all(line["reason"] and line["data"] == self.rows[line["row"] - 1] for line in rejects)
        assert summary["read"] == len(self.rows)
        for ending in ("created", "updated", "unchanged", "skipped", "rejected"):
            assert summary[ending] == sum(line["outcome"] == ending for line in self.lines("results"))
        self.check_people()

    def check_people(self) -> None:
        mindbaz = self.sandbox.mindbaz
        expected = {row["email"].strip().lower() for row, ending in self._ends() if ending != "rejected"}
        held = {f"out{number}@example.fr" for number in range(10)}
        assert {
            line["fields"][1] for line in self.sandbox.records("mindbaz", "subscribers")
        } == expected | held
        for row, ending in self._ends():
            subscriber = mindbaz.by_email(row["email"].strip())
            if ending in ("created", "updated", "unchanged"):
                assert subscriber is not None
                assert subscriber[14] == row["nom"]
                assert subscriber[7] == row.get("statut", 0)
            elif ending == "rejected" and row["email"].startswith("out"):
                assert subscriber is not None
                assert subscriber[7] != 0

    def _ends(self) -> list[tuple[dict[str, Any], str]]:
        return [(self.rows[row - 1], ending) for row, ending in self.endings.items()]


def _done(ending: str) -> str:
    return "done" if ending in ("created", "updated", "unchanged") else ending


@pytest.fixture
def connect(crm_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write the connection with other parts and extras than the sandbox's own."""

    def connect(**extra: Any) -> None:
        parts = {name: extra.pop(name) for name in ("login", "password") if name in extra}
        connection = json.loads(crm_sandbox.connections()["mindbaz_default"])
        extras = {**connection["extra"], "timeout": TIMEOUT, "max_retries": 3, **extra}
        monkeypatch.setenv(
            "AIRFLOW_CONN_MINDBAZ_DEFAULT", json.dumps({**connection, **parts, "extra": extras})
        )

    return connect


@pytest.fixture
def job(
    crm_sandbox: Sandbox, tmp_path: Path, connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Job:
    connect()
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(settle, "FIRST_WAIT", 0.001)
    return Job(crm_sandbox, tmp_path)


def test_without_any_fault(job: Job) -> None:
    job.check(job.run())


NOTHING = '{"success": true, "data": null, "error": null}'
REFUSED = '{"success": false, "data": null, "error": "Something went wrong"}'

PASSING: list[dict[str, Any]] = [
    {"kind": "latency", "ms": 5},
    {"kind": "slow_after", "ms": 1000, "method": "POST", "times": 2},
    {"kind": "latency", "ms": 1000, "method": "POST", "times": 1},
    {"kind": "slow_after", "ms": 1000, "method": "PUT", "times": 1},
    {"kind": "rate_limited", "retry_after": 0.05, "times": 3},
    {"kind": "rate_limited", "every": 5},
    *(
        {"kind": kind, "method": method, "times": 3, **settings}
        for method in ("GET", "POST", "PUT")
        for kind, settings in (
            ("error_before", {"status": 503}),
            ("error_after", {"status": 500}),
            ("drop_before", {"reset": True}),
            ("drop_after", {"reset": False}),
            ("truncate", {"fraction": 0.5}),
            ("html_before", {}),
            ("html_after", {}),
            ("answer_before", {}),
            ("answer_after", {"body": ""}),
        )
    ),
    {"kind": "drop_after", "method": "POST", "every": 2},
    {"kind": "truncate", "fraction": 0.0, "reset": True, "probability": 0.3, "seed": 3, "times": 10},
    {"kind": "answer_after", "body": NOTHING, "method": "POST", "times": 3},
    {"kind": "answer_before", "body": NOTHING, "method": "POST", "times": 2},
    {"kind": "answer_after", "body": NOTHING, "method": "PUT", "times": 3},
    {"kind": "answer_before", "body": NOTHING, "method": "PUT", "times": 2},
    {"kind": "answer_after", "body": REFUSED, "method": "POST", "times": 3},
    {"kind": "answer_before", "body": REFUSED, "method": "POST", "times": 3},
    {"kind": "answer_after", "body": REFUSED, "method": "PUT", "times": 3},
    {"kind": "answer_before", "body": REFUSED, "method": "GET", "after": 1, "times": 3},
    *({"kind": "query_too_long", "limit": 300, "status": status} for status in (414, 404, 400)),
    *({"kind": "redirect", "to": "slash", "status": status} for status in (301, 307, 308)),
    *({"kind": "abort_at", "item": item, "times": 3} for item in (0, 1, 7, 14)),
    {"kind": "answer_before", "status": 413, "method": "POST", "times": 2},
]


@pytest.mark.parametrize(
    "fault", PASSING, ids=lambda fault: "-".join(str(value) for value in fault.values())[:60]
)
def test_a_fault_that_passes_changes_nothing(
    job: Job, connect: Callable[..., None], fault: dict[str, Any]
) -> None:
    connect(max_retries=8)
    active = job.sandbox.fault(**{"system": "mindbaz", **fault})
    job.check(job.run())
    assert active.fired


def switch_values() -> list[tuple[str, Any]]:
    """List each way in which the vendor may behave that is not the stand-in's own."""
    values: list[tuple[str, Any]] = []
    defaults = MindbazSwitches()
    for name, hint in typing.get_type_hints(MindbazSwitches).items():
        choices = (True, False) if hint is bool else typing.get_args(hint)
        if typing.get_origin(hint) is typing.Literal or hint is bool:
            values += [(name, value) for value in choices if value != getattr(defaults, name)]
    return values


@pytest.mark.parametrize(
    ("name", "value"), [*switch_values(), ("lookup_limit", 4), ("clock_shift", 3600.0), ("zone", "UTC")]
)
def test_whatever_the_vendor_does_where_nothing_is_documented(job: Job, name: str, value: Any) -> None:
    job.sandbox.switch("mindbaz", **{name: value})
    job.check(job.run())


def test_an_unknown_limit_of_a_look_up_that_drops_the_rest_in_silence(job: Job) -> None:
    job.sandbox.switch("mindbaz", lookup_limit=4, lookup_over_limit="truncate")
    job.check(job.run(), same_endings=False)


@pytest.mark.parametrize("existing_email", ["abort", "minus_one", "update"])
@pytest.mark.parametrize("minus_one_fields", ["echo", "empty", "null"])
@pytest.mark.parametrize("answer_order", ["request", "reversed"])
def test_answers_that_are_hard_to_tell_apart(
    job: Job, connect: Callable[..., None], existing_email: str, minus_one_fields: str, answer_order: str
) -> None:
    connect(max_retries=10)
    job.sandbox.switch(
        "mindbaz",
        existing_email=existing_email,
        minus_one_fields=minus_one_fields,
        answer_order=answer_order,
    )
    job.sandbox.fault("drop_after", system="mindbaz", method="POST", every=3)
    job.check(job.run())


STAYING: list[dict[str, Any]] = [
    {"kind": "error_before", "status": 500},
    {"kind": "error_before", "status": 503, "method": "POST"},
    {"kind": "error_after", "status": 502, "method": "POST"},
    {"kind": "error_after", "status": 502, "method": "PUT"},
    {"kind": "drop_before", "method": "POST", "after": 4},
    {"kind": "drop_after", "method": "POST", "after": 4},
    {"kind": "truncate", "method": "POST"},
    {"kind": "truncate", "method": "GET", "after": 5},
    {"kind": "html_before", "method": "POST", "after": 2},
    {"kind": "html_after", "method": "PUT"},
    {"kind": "answer_before", "method": "GET", "after": 3},
    {"kind": "rate_limited", "method": "POST", "after": 3},
    {"kind": "slow_after", "ms": 1000, "method": "PUT"},
]


@pytest.mark.parametrize("fault", STAYING, ids=lambda fault: "-".join(str(value) for value in fault.values()))
def test_a_fault_that_stays_fails_the_task_and_a_retry_goes_on(
    job: Job, connect: Callable[..., None], fault: dict[str, Any]
) -> None:
    connect(max_retries=1)
    started = time.monotonic()
    job.sandbox.fault(**{"system": "mindbaz", **fault})
    with pytest.raises(CrmTransientError) as raised:
        job.run(store=True)
    assert not isinstance(raised.value, CrmFailError)
    assert "@" not in str(raised.value)
    assert time.monotonic() - started < 5
    job.sandbox.clear()
    job.check(job.run(store=True), same_endings=False)
    assert job.store == {}


def test_tokens_that_expire_on_the_way(job: Job, connect: Callable[..., None]) -> None:
    token_url = f"{job.sandbox.url}/mindbaz/oauth2/token"
    connect(auth="jwt", login="demo-login", password="demo-password", token_url=token_url)
    for refresh_too in (False, True):
        job.sandbox.fault(
            "expire_tokens", system="mindbaz", after=5, every=7, times=3, refresh_too=refresh_too
        )
    job.check(job.run(concurrency=1))


def test_a_limit_of_calls_is_kept(job: Job) -> None:
    job.sandbox.switch("mindbaz", rate_limit=20, rate_limit_window=0.5)
    job.check(job.run(batch_size=60))
    refused = [call for call in job.sandbox.calls if call.status == 429]
    assert len(refused) <= 3
