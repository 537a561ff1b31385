"""Every row ends exactly once, whatever the CRM does: the engine against a CRM in memory that misbehaves on cue."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crm.bulk import checkpoint, engine
from airflow_provider_crm.bulk.batches import batches
from airflow_provider_crm.bulk.checkpoint import Checkpoint
from airflow_provider_crm.bulk.engine import BulkEngine
from airflow_provider_crm.bulk.outcomes import (
    LATER,
    UNSAID,
    Ending,
    InvalidRowError,
    Item,
    Outcome,
    Refused,
    RowKey,
    Step,
    Verdict,
)
from airflow_provider_crm.bulk.report import Report
from airflow_provider_crm.bulk.upserts import Held, decide
from airflow_provider_crm.exceptions import (
    CrmError,
    CrmOutcomeUnknownError,
    CrmRequestError,
    CrmTooLargeError,
    CrmTransientError,
)
from airflow_provider_crm.rows.sources import open_source
from tests.helpers.properties import at_least
from tests.helpers.state import TaskState

#: Values that the CRM does not take: a batch stops at the first, the second gets an id of -1.
POISON, INVALID = "poison", "invalid"
#: Values that are refused before any call.
WRONG = "wrong"


class KilledError(BaseException):
    """The process dies here."""


@dataclass(frozen=True)
class Behaviour:
    """What the CRM does to one writing call.

    :param kind: ``ok``; ``again`` (put off before it is made); ``silent`` (the answer leaves out the rows in
        ``left_out``); or, after ``applied`` rows were written, ``unknown`` (no answer), ``transient`` (given up),
        ``refused``, ``too_large``, ``killed``.
    :param applied: rows that are written before it happens.
    :param left_out: of how many rows, counted from the end, the answer says nothing.
    :param others: people whom somebody else writes just before the call.
    """

    kind: str = "ok"
    applied: int = 0
    left_out: int = 0
    others: tuple[str, ...] = ()


@dataclass
class Crm:
    """The people it holds, what was written when, and what it is going to do to the next calls.

    :ivar sent: the rows of each writing call.
    :ivar applied: every value that a call of ours has written, in order.
    """

    people: dict[str, str] = field(default_factory=dict)
    behaviours: list[Behaviour] = field(default_factory=list)
    takes: int = 1000
    on_kill: Callable[[], None] = lambda: None
    sent: list[list[tuple[str, str]]] = field(default_factory=list)
    applied: list[tuple[str, str]] = field(default_factory=list)
    reads: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _busy: set[str] = field(default_factory=set)
    met_in_flight: set[str] = field(default_factory=set)

    def next(self) -> Behaviour:
        with self._lock:
            return self.behaviours.pop(0) if self.behaviours else Behaviour()

    def puts_off(self) -> bool:
        """Tell whether the destination thinks better of it and wants to look once more."""
        with self._lock:
            is_put_off = bool(self.behaviours) and self.behaviours[0].kind == "again"
            if is_put_off:
                self.behaviours.pop(0)
            return is_put_off

    def read(self, keys: Sequence[str]) -> dict[str, str]:
        with self._lock:
            self.reads += 1
            return {key: self.people[key] for key in keys if key in self.people}

    def write(self, rows: Sequence[tuple[str, str, bool]]) -> list[str | None]:
        """Write rows one after the other, and answer with what became of each.

        :param rows: key, value, and whether the person is thought to be new.
        """
        keys = {key for key, _, _ in rows}
        with self._lock:
            self.met_in_flight |= self._busy & keys
            self._busy |= keys
            self.sent.append([(key, value) for key, value, _ in rows])
            behaviour = self.next()
            for key in behaviour.others:
                self.people[key] = "theirs"
        try:
            return self._write(rows, behaviour)
        finally:
            with self._lock:
                self._busy -= keys

    def _write(self, rows: Sequence[tuple[str, str, bool]], behaviour: Behaviour) -> list[str | None]:
        if len(rows) > self.takes:
            raise CrmTooLargeError("too large")
        if behaviour.kind in ("ok", "again", "silent"):
            answers: list[str | None] = list(self._each(rows))
            for place in range(min(behaviour.left_out, len(rows))):
                answers[-1 - place] = None
            return answers
        list(self._each(rows[: behaviour.applied]))
        if behaviour.kind == "killed":
            self.on_kill()
            raise KilledError
        raise {
            "unknown": CrmOutcomeUnknownError,
            "transient": CrmTransientError,
            "refused": CrmRequestError,
            "too_large": CrmTooLargeError,
        }[behaviour.kind](behaviour.kind)

    def _each(self, rows: Sequence[tuple[str, str, bool]]) -> Iterator[str]:
        for key, value, is_new in rows:
            with self._lock:
                if value.startswith(POISON):
                    raise CrmRequestError("this stops the batch")
                if value.startswith(INVALID):
                    yield "-1"
                    continue
                if is_new and key in self.people:
                    raise CrmRequestError("exists already")
                self.people[key] = value
                self.applied.append((key, value))
                yield "done"


class People:
    """Writes people into a :class:`Crm`: look up, write what differs. A record is a value."""

    opt_outs = None

    def __init__(self, crm: Crm, batch_size: int) -> None:
        self.batch_size = batch_size
        self._crm = crm

    def read(self, data: Mapping[str, Any]) -> tuple[RowKey, str]:
        if not data.get("key"):
            raise ValueError("no key")
        if data["value"].startswith(WRONG):
            raise InvalidRowError("wrong", data["key"])
        return RowKey(str(data["key"])), data["value"]

    def plan(self, items: Sequence[Item[str]]) -> list[Outcome | Step[str]]:
        held = self._crm.read([item.key for item in items])
        return [self._plan_one(item, held.get(item.key)) for item in items]

    def _plan_one(self, item: Item[str], held: str | None) -> Outcome | Step[str]:
        found = Held.NOBODY if held is None else Held.SAME if held == item.record else Held.OTHER
        ending, writes = decide("upsert", item, found)
        outcome = Outcome(ending, crm_id=item.key)
        return Step(item, outcome, payload=held) if writes else outcome

    def apply(self, steps: Sequence[Step[str]]) -> list[Verdict]:
        if self._crm.puts_off():
            return [LATER] * len(steps)
        rows = [(step.item.key, step.item.record, step.payload is None) for step in steps]
        answers = self._crm.write(rows)
        return [
            UNSAID if answer is None else Refused("invalid") if answer == "-1" else step.outcome
            for step, answer in zip(steps, answers, strict=True)
        ]


@dataclass
class Job:
    """A source and the files of a task, which is tried until it succeeds."""

    crm: Crm
    rows: list[Any]
    folder: Path
    batch_size: int = 3
    workers: int = 1
    max_retries: int = 2
    store: TaskState | None = None
    tries: int = 0

    @property
    def rejects_path(self) -> Path:
        return self.folder / "rejects.jsonl"

    @property
    def results_path(self) -> Path:
        return self.folder / "results.jsonl"

    def run(self) -> dict[str, Any]:
        """Run to the end, as Airflow does with retries.

        :return: the last try's summary.
        """
        left = None

        def remember() -> None:
            nonlocal left
            left = (self.rejects_path.read_bytes(), self.results_path.read_bytes(), dict(self.store or {}))

        self.crm.on_kill = remember
        while True:
            self.tries += 1
            report = Report(rejects_path=str(self.rejects_path), results_path=str(self.results_path))
            try:
                self.engine(report).run()
                return report.summary()
            except CrmError:
                pass
            except KilledError:
                assert left is not None
            finally:
                report.close()
            if left is not None:  # nothing after the death of the process has happened
                self.rejects_path.write_bytes(left[0])
                self.results_path.write_bytes(left[1])
                if self.store is not None:
                    self.store.clear()
                    self.store.update(left[2])
                left = None

    def engine(self, report: Report) -> BulkEngine[str]:
        return BulkEngine(
            People(self.crm, self.batch_size),
            open_source(self.rows),
            report,
            None if self.store is None else Checkpoint(self.store, "parameters"),
            concurrency=self.workers,
            max_retries=self.max_retries,
            sleep=lambda seconds: None,
            stop=lambda: None,
        )

    def results(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.results_path.read_text().splitlines()]

    def rejects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.rejects_path.read_text().splitlines()]


KEYS = [f"k{number}" for number in range(8)]
GOOD = [f"good{number}" for number in range(3)]

keys = st.sampled_from(KEYS)
values = st.sampled_from([*GOOD, *GOOD, POISON, INVALID, WRONG])
rows = st.lists(
    st.one_of(
        st.fixed_dictionaries({"key": keys, "value": values}),
        st.sampled_from([{"key": "", "value": "good0"}, "no dict"]),
    ),
    max_size=25,
)
behaviours = st.lists(
    st.builds(
        Behaviour,
        kind=st.sampled_from(
            ["ok", "unknown", "transient", "refused", "too_large", "silent", "again", "killed"]
        ),
        applied=st.integers(0, 4),
        left_out=st.integers(0, 4),
        others=st.lists(keys, max_size=2).map(tuple),
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("job")


@pytest.fixture(autouse=True, scope="module")
def _far_and_near() -> Iterator[None]:
    """Let rows lie far apart after four already, and the state be saved after each batch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "batches", partial(batches, window=4))
        patch.setattr(checkpoint, "SAVE_EVERY", 0.0)
        patch.setattr(checkpoint, "SYNC_SHARE", 1e9)
        yield


def fresh(folder: Path, **settings: Any) -> Job:
    for file in folder.iterdir():
        file.unlink()
    return Job(folder=folder, **settings)


@pytest.mark.slow
@at_least(300)
@given(
    rows=rows,
    held=st.dictionaries(keys, st.sampled_from(GOOD)),
    behaviours=behaviours,
    batch_size=st.integers(1, 5),
    workers=st.integers(1, 3),
    takes=st.integers(1, 6),
    with_store=st.booleans(),
)
def test_every_row_ends_once(
    folder: Path,
    rows: list[Any],
    held: dict[str, str],
    behaviours: list[Behaviour],
    batch_size: int,
    workers: int,
    takes: int,
    with_store: bool,
) -> None:
    crm = Crm(people=dict(held), behaviours=list(behaviours), takes=takes)
    job = fresh(
        folder,
        crm=crm,
        rows=rows,
        batch_size=batch_size,
        workers=workers,
        store=TaskState() if with_store else None,
    )
    summary = job.run()
    results = job.results()
    check_account(job, summary, results)
    check_outcomes(rows, results, crm, behaviours)
    check_people(rows, results, crm, held, behaviours)
    assert not crm.met_in_flight
    assert not crm.behaviours or len(crm.sent) < len(behaviours)
    assert job.store in (None, {})


def check_account(job: Job, summary: dict[str, Any], results: list[dict[str, Any]]) -> None:
    """Counts, rejects and results tell the same."""
    assert sorted(result["row"] for result in results) == list(range(1, len(job.rows) + 1))
    counted = Counter(result["outcome"] for result in results)
    assert {name: summary[name] for name in counted} == counted
    assert summary["read"] == len(job.rows) == sum(summary[ending] for ending in Ending)
    rejected_rows = {result["row"]: result["reason"] for result in results if result["outcome"] == "rejected"}
    assert {reject["row"]: reject["reason"] for reject in job.rejects()} == rejected_rows
    assert len(job.rejects()) == len(rejected_rows)


def check_outcomes(
    rows: list[Any], results: list[dict[str, Any]], crm: Crm, behaviours: list[Behaviour]
) -> None:
    """A row is rejected for a reason, skipped for a later one, and done only when the CRM has taken it."""
    refusals = any(behaviour.kind in ("refused", "too_large") for behaviour in behaviours)
    others = {key for behaviour in behaviours for key in behaviour.others}
    for result in results:
        row, outcome = rows[result["row"] - 1], result["outcome"]
        later = [other["key"] for other in rows[result["row"] :] if isinstance(other, dict)]
        if not isinstance(row, dict) or not row["key"]:
            assert outcome == "rejected"
        elif outcome == "skipped":
            assert row["key"] in later
        elif row["value"] in GOOD:
            if outcome == "rejected":
                assert refusals
                assert result["reason"] in ("refused", "too_large", "exists already")
                held = crm.people.get(row["key"]) == row["value"]
                assert not held or row["key"] in later or row["key"] in others
            elif outcome != "unchanged":
                assert (row["key"], row["value"]) in crm.applied
        else:
            assert outcome == "rejected"


def check_people(
    rows: list[Any],
    results: list[dict[str, Any]],
    crm: Crm,
    held: dict[str, str],
    behaviours: list[Behaviour],
) -> None:
    """The CRM holds what the last row that was done asked for, or what somebody else wrote meanwhile."""
    expected = dict(held)
    for result in sorted(results, key=lambda result: result["row"]):
        if result["outcome"] in ("created", "updated", "unchanged"):
            row = rows[result["row"] - 1]
            expected[row["key"]] = row["value"]
    others = {key for behaviour in behaviours for key in behaviour.others}
    for key, value in crm.people.items():
        assert value == expected.get(key) or (key in others and value == "theirs")
    assert crm.people.keys() >= expected.keys()
