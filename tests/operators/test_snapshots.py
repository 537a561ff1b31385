"""With a snapshot, upserts of all CRMs send what has changed, and lose nothing of what they promise without one."""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.bulk.reasons import masked_reason
from airflow_provider_crm.bulk.snapshot import SqlSnapshot
from airflow_provider_crm.bulk.snapshot_file import SnapshotFile
from airflow_provider_crm.exceptions import CrmError, CrmInputError, CrmRejectsError
from airflow_provider_crm.operators.expertsender import ExpertSenderUpsertCustomersOperator
from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator
from airflow_provider_crm.operators.spread import SpreadUpsertCustomersOperator
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.tasks import Ended, TaskRunner
from tests.helpers.waits import one_time

Row = dict[str, Any]


@dataclass(frozen=True)
class Upsert:
    """An upsert of one CRM.

    :param name: the column of a name, which is a field of the CRM too.
    :param opt_out: what a row says to opt out, and what it says to opt in.
    """

    system: str
    operator: type[Any]
    name: str
    opt_out: tuple[Row, Row] | None = None


UPSERTS = [
    Upsert("mindbaz", MindbazUpsertSubscribersOperator, "nom", ({"statut": 1}, {"statut": 0})),
    Upsert("spread", SpreadUpsertCustomersOperator, "lastName"),
    Upsert(
        "expertsender_cdp",
        ExpertSenderUpsertCustomersOperator,
        "lastName",
        ({"consents.1": "False"}, {"consents.1": "True"}),
    ),
]


class Nightly:
    """Runs an upsert again and again with one snapshot."""

    def __init__(
        self, upsert: Upsert, sandbox: Sandbox, run_task: TaskRunner, folder: Path, *, shared: bool
    ) -> None:
        self.upsert = upsert
        self.sandbox = sandbox
        self.path = folder / "snapshot"
        #: Where the snapshot is: a file, or the table of a database in that file.
        self.place: Any = SqlSnapshot("snapshots", "nightly") if shared else str(self.path)
        self._run_task = run_task
        self._before = 0

    def __call__(self, rows: Sequence[Row], **parameters: Any) -> Ended:
        self.sandbox.clear()
        self._before = len(self.sandbox.calls)
        given = {"snapshot": self.place, **parameters}
        return self._run_task(self.upsert.operator, list(rows), **given)

    def people(self, *numbers: int, name: str = "Lefèvre", **others: Any) -> list[Row]:
        return [{"email": f"p{one}@example.fr", self.upsert.name: name, **others} for one in numbers]

    @property
    def _calls(self) -> list[Any]:
        return list(self.sandbox.calls)[self._before :]

    @property
    def writes(self) -> int:
        """Rows of writing calls in the latest run."""
        return sum(call.rows or 1 for call in self._calls if call.method in ("POST", "PUT"))

    @property
    def looks(self) -> int:
        """Calls about people that only read, in the latest run."""
        return sum(
            call.method == "GET" and ("ubscriber" in call.path or "ustomer" in call.path)
            for call in self._calls
        )


@pytest.fixture(params=UPSERTS, ids=lambda one: one.system)
def upsert(request: pytest.FixtureRequest) -> Upsert:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(params=[False, True], ids=["file", "table"])
def nightly(
    request: pytest.FixtureRequest,
    upsert: Upsert,
    crm_sandbox: Sandbox,
    run_task: TaskRunner,
    tmp_path: Path,
    no_waiting: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Nightly:
    connection = json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "snapshot")})
    monkeypatch.setenv("AIRFLOW_CONN_SNAPSHOTS", connection)
    return Nightly(upsert, crm_sandbox, run_task, tmp_path, shared=request.param)


in_a_file = pytest.mark.parametrize("nightly", [False], indirect=True, ids=["file"])


def test_rows_that_were_accepted_cost_no_call(nightly: Nightly) -> None:
    first = nightly(nightly.people(1, 2, 3))
    assert first.summary["known"] == 0
    second = nightly(nightly.people(1, 2, 3))
    assert second.ends == ["unchanged"] * 3
    assert second.summary["known"] == 3
    assert nightly.writes == 0
    assert nightly.looks <= 1, "what is looked at before the first row"


def test_the_report_counts_what_was_known(nightly: Nightly) -> None:
    class Told(OneTask):
        def xcom_push(self, key: str, value: Any) -> None:
            xcoms[key] = value

    xcoms: dict[str, Any] = {}
    nightly(nightly.people(1, 2))
    nightly(nightly.people(1, 2), verify=1.0, context={"ti": Told()})
    assert xcoms["crm_report"].items() >= {"known": 0, "drifted": 0}.items()
    nightly(nightly.people(1, 2), context={"ti": Told()})
    assert xcoms["crm_report"].items() >= {"read": 2, "known": 2}.items()
    assert "sample" not in xcoms["crm_report"]


def test_what_has_changed_is_sent(nightly: Nightly) -> None:
    nightly(nightly.people(1, 2, 3))
    changed = [*nightly.people(1), *nightly.people(2, name="Martin"), *nightly.people(3, 4)]
    ended = nightly(changed)
    assert ended.summary["known"] == 2
    assert ended.ends[0] == ended.ends[2] == "unchanged"
    assert nightly.writes == 2
    assert nightly(changed).summary["known"] == 4
    back = nightly(nightly.people(1, 2, 3, 4))
    assert back.summary["known"] == 3, "what was sent before the latest is not known"


def test_the_same_row_in_other_words_is_known(nightly: Nightly) -> None:
    nightly(nightly.people(1, 2, 3))
    other = [{nightly.upsert.name: "Lefèvre ", "email": f" P{one}@Example.fr"} for one in (1, 2, 3)]
    assert nightly(other).summary["known"] == 3
    assert nightly.writes == 0
    assert nightly.looks <= 1, "what is looked at before the first row"


def test_rows_that_are_rejected_come_again(nightly: Nightly) -> None:
    rows = [{"email": "nobody"}, *nightly.people(1)]
    for known in (0, 1):
        ended = nightly(rows)
        assert ended.ends[0] == "rejected"
        assert ended.summary["known"] == known


@pytest.mark.slow
def refuse(nightly: Nightly) -> None:
    """Have each write refused, in words that tell whose it is."""
    system = nightly.upsert.system.removesuffix("_cdp")
    said = "no place for p1@example.fr here"
    nightly.sandbox.fault(
        "error_before",
        system=system,
        method="POST",
        status=400,
        body=json.dumps({"message": said, "errors": [said]}),
    )


@pytest.mark.parametrize("no", [False, "False"])
def test_rows_that_were_refused_are_left_alone_while_they_are_the_same(
    nightly: Nightly, no: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = nightly.people(1)
    refuse(nightly)
    first = nightly._run_task(nightly.upsert.operator, rows, snapshot=nightly.place, retry_rejects=no)
    assert first.ends == ["rejected"]
    left = nightly(rows, retry_rejects=no)
    assert left.ends == ["rejected"]
    assert [line["stage"] for line in left.rejects] == ["crm"]
    assert left.rejects[0]["reason"] == masked_reason(first.rejects[0]["reason"], "p1@example.fr", rows[0])
    assert left.summary["known"] == 0
    assert nightly.writes == 0
    assert b"example.fr" not in nightly.path.read_bytes()
    with monkeypatch.context() as later:
        later.setattr("time.time", lambda now=time.time: now() + 8 * 86_400)
        assert nightly(rows, retry_rejects=no, dry_run=True).summary["rejected"] == 0
    assert nightly(nightly.people(1, name="Martin"), retry_rejects=no).summary["rejected"] == 0
    assert nightly.writes == 1


def test_rows_that_were_refused_come_again_where_nothing_else_is_said(nightly: Nightly) -> None:
    refuse(nightly)
    how = {"snapshot": nightly.place, "retry_rejects": False}
    assert nightly._run_task(nightly.upsert.operator, nightly.people(1), **how).ends == ["rejected"]
    assert nightly(nightly.people(1)).summary["rejected"] == 0
    assert nightly.writes == 1


def test_what_was_refused_is_known_by_a_snapshot_only(nightly: Nightly) -> None:
    with pytest.raises(CrmInputError, match="`retry_rejects=False` needs a `snapshot`"):
        nightly(nightly.people(1), snapshot=None, retry_rejects=False)
    assert nightly.writes == 0


@pytest.mark.parametrize("said", [True, "True", " true"])
def test_a_full_resync_sends_all_and_renews(nightly: Nightly, said: Any) -> None:
    nightly(nightly.people(1, 2))
    assert nightly(nightly.people(1, 2), full_resync=said).summary["known"] == 0
    assert nightly.looks + nightly.writes > 0
    assert nightly(nightly.people(1, 2), full_resync="False").summary["known"] == 2


def test_of_several_rows_of_a_person_the_last_one_counts(nightly: Nightly) -> None:
    one, other = nightly.people(1)[0], nightly.people(1, name="Martin")[0]
    nightly([one, other])
    again = nightly([one, other])
    assert again.ends == ["skipped", "unchanged"]
    assert again.summary["known"] == 1
    turned = nightly([other, one])
    assert turned.summary["known"] == 0
    assert nightly.writes == 1


def test_a_dry_run_says_what_a_run_would_do_and_leaves_the_snapshot_alone(nightly: Nightly) -> None:
    assert nightly(nightly.people(1, 2), dry_run=True).summary["known"] == 0
    assert nightly(nightly.people(1, 2), dry_run=True).summary["known"] == 0
    nightly(nightly.people(1, 2))
    before = nightly.path.read_bytes()
    changed = [*nightly.people(1), *nightly.people(2, name="Martin")]
    assert nightly(changed, dry_run=True).summary["known"] == 1
    assert nightly.writes == 0
    assert nightly.path.read_bytes() == before
    assert nightly(changed).summary["known"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("other", ["field_map", "nulls", "account", "API key"])
def test_a_snapshot_of_something_else_is_void(
    nightly: Nightly, other: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nightly(nightly.people(1))
    parameters: dict[str, Any] = {}
    connection = json.loads(nightly.sandbox.connections()[f"{nightly.upsert.system}_default"])
    if other == "field_map":
        parameters["field_map"] = {"email": "email", nightly.upsert.name: nightly.upsert.name}
    elif other == "nulls":
        parameters["nulls"] = "send"
    elif other == "account":
        connection["host"] = connection["host"].replace("127.0.0.1", "localhost")
    monkeypatch.setenv(f"AIRFLOW_CONN_{nightly.upsert.system.upper()}_DEFAULT", json.dumps(connection))
    if other == "API key":
        pytest.skip("the sandbox has one key: tried with the digests")
    with caplog.at_level(logging.WARNING):
        assert nightly(nightly.people(1), **parameters).summary["known"] == 0
    assert "is of another" in caplog.text
    assert other in caplog.text


def test_a_run_that_fails_keeps_what_was_accepted_and_its_retry_counts_it(
    nightly: Nightly, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{nightly.upsert.system}_default"
    connection = json.loads(nightly.sandbox.connections()[name])
    connection["extra"] = {**connection.get("extra", {}), "max_retries": 0}
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
    how: dict[str, Any] = {"concurrency": 1, "context": {"ti": OneTask()}}
    if nightly.upsert.system != "spread":
        how["batch_size"] = 1
    rows = nightly.people(*range(6))
    nightly._before = len(nightly.sandbox.calls)
    nightly.sandbox.fault(
        "error_before", system=nightly.upsert.system.removesuffix("_cdp"), method="POST", after=3, status=503
    )
    with pytest.raises(CrmError):
        nightly._run_task(nightly.upsert.operator, rows, snapshot=nightly.place, **how)
    retry = nightly(rows, **how)
    assert len(set(retry.ends)) == 1, "rows that the first try has sent end as it says"
    assert retry.ends[0] in ("created", "updated")
    assert nightly.writes == 3
    again = nightly(rows, **how)
    assert again.ends == ["unchanged"] * 6, "the run was over: this one does everything anew"
    assert again.summary["known"] == 6


class GoneError(Exception):
    """The process is gone."""


@pytest.mark.slow
@pytest.mark.parametrize("place", ["folder", "store"])
@pytest.mark.parametrize("end", ["failed", "killed", "given up"])
def test_whom_an_earlier_try_has_created_the_next_one_looks_for_until_they_show(
    crm_sandbox: Sandbox,
    run_task: TaskRunner,
    tmp_path: Path,
    store: Any,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    end: str,
) -> None:
    one_time(monkeypatch, crm_sandbox)
    connection = json.loads(crm_sandbox.connections()["spread_default"])
    connection["extra"] = {
        **connection.get("extra", {}),
        "timeout": 1,
    }  # what is waited for after a kill anyway
    monkeypatch.setenv("AIRFLOW_CONN_SPREAD_DEFAULT", json.dumps(connection))
    path = str(tmp_path / "state" / "snapshot") if place == "folder" else "memory://bucket/snapshot"
    how: dict[str, Any] = {"snapshot": path, "context": {"ti": OneTask()}}
    rows = [{"email": "p1@example.fr", "lastName": "Lefèvre"}]
    crm_sandbox.fault("late_reads", ms=5000)
    crm_sandbox.fault("drop_after", method="POST", times=1)

    def gone(*_: Any) -> float:
        raise GoneError

    with monkeypatch.context() as first:
        first.setattr("airflow_provider_crm.bulk.settle._pause", gone)  # right after the creation
        if end == "killed":
            first.setattr(SnapshotFile, "close", left_as_it_is)
        elif end == "given up":
            first.setattr(SnapshotFile, "close", lambda file: file._give_up(sqlite3.OperationalError("full")))
        with pytest.raises(GoneError):
            run_task(SpreadUpsertCustomersOperator, rows, **how)
    if end == "killed" and place == "folder":
        how["snapshot"] = str(tmp_path / "left" / "snapshot")
    ended = run_task(SpreadUpsertCustomersOperator, rows, **how)
    assert ended.ends == ["unchanged"]
    assert crm_sandbox.calls.count("spread", "POST", "/customers") == 1


def left_as_it_is(file: SnapshotFile) -> None:
    """Leave files as a killed process does."""
    if "://" not in file._path:
        folder = Path(file._path).parent
        shutil.copytree(folder, folder.with_name("left"))
    file._close_file()


class OneTask:
    """A task instance, as far as it is looked at."""

    dag_id, run_id, task_id, map_index = "dag", "run", "task", -1

    def xcom_push(self, key: str, value: Any) -> None:
        pass


def test_the_file_holds_nobody_in_clear(nightly: Nightly) -> None:
    nightly(nightly.people(1, 2))
    content = nightly.path.read_bytes()
    assert b"example.fr" not in content
    assert "Lefèvre".encode() not in content
    connection = json.loads(nightly.sandbox.connections()[f"{nightly.upsert.system}_default"])
    assert connection["password"].encode() not in content


@pytest.mark.slow
@pytest.mark.parametrize("between", [0, 40_000], ids=["beside", "apart"])
def test_an_opt_out_wins_although_another_row_of_the_person_is_known(
    nightly: Nightly, between: int, crm_sandbox: Sandbox
) -> None:
    """The second row is the one that the snapshot knows: it must not make the first one be passed over."""
    if nightly.upsert.opt_out is None or (between and nightly.upsert.system != "mindbaz"):
        pytest.skip("rows hold no opt-out, or the CRM takes too many calls for so many people")
    out, back = nightly.upsert.opt_out
    known = nightly.people(1)
    nightly(known)
    assert nightly(known).summary["known"] == 1
    others = nightly.people(*range(10, 10 + between))
    ended = nightly([*nightly.people(1, **out), *others, *nightly.people(1)])
    assert ended.summary["rejected"] == 0
    assert opted_out(nightly)
    again = nightly([*nightly.people(1, **out), *others, *nightly.people(1, **back)])
    assert again.summary["read"] == between + 2
    assert opted_out(nightly)


def opted_out(nightly: Nightly) -> bool:
    if nightly.upsert.system == "mindbaz":
        subscriber = nightly.sandbox.mindbaz.by_email("p1@example.fr")
        return subscriber is not None and subscriber[7] == 1
    customer = nightly.sandbox.expertsender.by_email("p1@example.fr")
    return customer is not None and customer.consents[1] == "False"


def test_people_who_are_suppressed_are_skipped_although_they_are_known(nightly: Nightly) -> None:
    rows = nightly.people(1, 2)
    nightly(rows)
    suppressed = {"suppression_source": [{"email": "p1@example.fr"}]}
    ended = nightly(rows, **suppressed)
    assert ended.said == ["skipped: suppressed", "unchanged: as it was accepted before"]
    changed = nightly.people(1, name="Martin") + rows[1:]
    nightly(changed, **suppressed)
    assert nightly.writes == 0
    nightly(changed)
    assert nightly.writes == 1, "what was not sent because of the list is not taken for sent"


def test_the_opt_out_of_somebody_suppressed_is_no_reason_to_take_their_row_for_sent(nightly: Nightly) -> None:
    if nightly.upsert.opt_out is None:
        pytest.skip("rows hold no opt-out")
    nightly(nightly.people(1))
    row = nightly.people(1, name="Martin", **nightly.upsert.opt_out[0])
    nightly(row, suppression_source=[{"email": "p1@example.fr"}])
    assert opted_out(nightly)
    assert nightly(row).summary["known"] == 0
    assert nightly.writes == 1


@pytest.mark.slow
@pytest.mark.parametrize("share", [1.0, "1"])
def test_what_others_have_changed_is_found_in_a_sample_and_sent_again(nightly: Nightly, share: Any) -> None:
    rows = nightly.people(1, 2, 3)
    nightly(rows)
    nightly(nightly.people(2, name="Martin"), snapshot=None)
    ended = nightly(rows, verify=share)
    assert ended.ends == ["unchanged", "updated", "unchanged"]
    assert ended.summary.items() >= {"known": 0, "drifted": 1}.items()
    assert nightly.writes == 1
    assert nightly(rows, verify="0").summary.items() >= {"known": 3}.items()
    assert nightly(rows, verify=1.0).summary["drifted"] == 0


def test_nobody_can_be_checked_whom_expertsender_does_not_show(nightly: Nightly) -> None:
    if nightly.upsert.system != "expertsender_cdp":
        pytest.skip("all others show people by each match key")
    with pytest.raises(CrmInputError, match="`verify` needs to look people up"):
        nightly([{"visitorId": "v1"}], match_by="VisitorId", verify=0.1)
    assert nightly.writes == 0


# Who has left


def leavers(nightly: Nightly, rows: Sequence[Row], **parameters: Any) -> list[Row]:
    """Run with a file of leavers.

    :return: its lines.
    """
    path = nightly.path.with_name("leavers.jsonl")
    ended = nightly(rows, **{"leavers_path": str(path), "max_leavers": 1.0, **parameters})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert ended.summary["leavers"] == len(lines)
    return lines


@in_a_file
def test_people_who_have_left_are_named_once_and_sent_when_they_come_back(nightly: Nightly) -> None:
    assert leavers(nightly, nightly.people(1, 2, 3)) == []
    assert len(leavers(nightly, nightly.people(2))) == 2
    assert leavers(nightly, nightly.people(2)) == []
    path = nightly.path.with_name("leavers.jsonl")
    ended = nightly(nightly.people(1, 2), leavers_path=str(path), max_leavers=1.0)
    assert ended.summary["known"] == 1
    assert nightly.looks + nightly.writes > 0
    assert leavers(nightly, nightly.people(2)) == [{"email": "p1@example.fr"}]


@in_a_file
def test_all_who_have_left_are_named(nightly: Nightly) -> None:
    leavers(nightly, nightly.people(1, 2, 3))
    named = leavers(nightly, nightly.people(2))
    assert sorted(line["email"] for line in named) == ["p1@example.fr", "p3@example.fr"]


@in_a_file
@pytest.mark.slow
@pytest.mark.parametrize(
    ("most", "refused"), [(0.1, True), (1, True), (2, False), ("0.7", False), ("0", True)]
)
def test_too_many_leavers_are_refused_before_anything_is_sent(
    nightly: Nightly, most: Any, refused: bool
) -> None:
    leavers(nightly, nightly.people(1, 2, 3))
    rows = nightly.people(2, name="Martin")
    if not refused:
        assert len(leavers(nightly, rows, max_leavers=most)) == 2
        return
    nightly.path.with_name("leavers.jsonl").unlink()
    with pytest.raises(CrmInputError, match="2 of 3 people of earlier sources are not in this one"):
        leavers(nightly, rows, max_leavers=most)
    assert nightly.writes == 0
    assert not nightly.path.with_name("leavers.jsonl").exists()
    assert len(leavers(nightly, rows)) == 2, "they have not been forgotten"


@in_a_file
def test_an_empty_source_is_all_leavers(nightly: Nightly) -> None:
    leavers(nightly, nightly.people(1, 2))
    with pytest.raises(CrmInputError, match="2 of 2 people"):
        leavers(nightly, [], max_leavers=0.99)
    assert len(leavers(nightly, [])) == 2


@in_a_file
def test_leavers_of_a_run_that_fails_are_named_by_the_next_one(nightly: Nightly) -> None:
    leavers(nightly, nightly.people(1, 2))
    with pytest.raises(CrmRejectsError):
        leavers(nightly, [{"email": "nobody"}, *nightly.people(2)], max_rejects=0)
    assert leavers(nightly, nightly.people(2)) == [{"email": "p1@example.fr"}]


@in_a_file
def test_nobody_has_left_a_source_that_cannot_be_read(
    nightly: Nightly, caplog: pytest.LogCaptureFixture
) -> None:
    leavers(nightly, nightly.people(1, 2))
    assert leavers(nightly, [*nightly.people(2), "torn"]) == []  # type: ignore[list-item]
    assert "cannot be read" in caplog.text
    assert leavers(nightly, nightly.people(2)) == [{"email": "p1@example.fr"}]


@in_a_file
def test_a_dry_run_counts_leavers_and_writes_no_file(nightly: Nightly) -> None:
    leavers(nightly, nightly.people(1, 2))
    path = nightly.path.with_name("leavers.jsonl")
    path.unlink()
    ended = nightly(nightly.people(2), leavers_path=str(path), max_leavers=1.0, dry_run=True)
    assert ended.summary["leavers"] == 1
    assert not path.exists()
    assert leavers(nightly, nightly.people(2)) == [{"email": "p1@example.fr"}]


@in_a_file
def test_another_map_of_fields_and_a_full_resync_forget_nobody(nightly: Nightly) -> None:
    leavers(nightly, nightly.people(1, 2, 3))
    field_map = {"email": "email", nightly.upsert.name: nightly.upsert.name}
    assert leavers(nightly, nightly.people(2, 3), field_map=field_map) == [{"email": "p1@example.fr"}]
    assert leavers(nightly, nightly.people(3), field_map=field_map, full_resync=True) == [
        {"email": "p2@example.fr"}
    ]


@in_a_file
def test_keys_are_kept_in_clear_only_for_leavers(nightly: Nightly) -> None:
    leavers(nightly, nightly.people(1, 2))
    assert b"p1@example.fr" in nightly.path.read_bytes()
    nightly(nightly.people(1, 2))
    assert b"example.fr" not in nightly.path.read_bytes()


@in_a_file
def test_leavers_need_a_snapshot_and_the_whole_source(nightly: Nightly) -> None:
    with pytest.raises(CrmInputError, match="needs a `snapshot`"):
        leavers(nightly, nightly.people(1), snapshot=None)

    class Mapped(OneTask):
        map_index = 0

    with pytest.raises(CrmInputError, match="needs the whole source"):
        leavers(nightly, nightly.people(1), context={"ti": Mapped()})


def test_nobody_has_left_of_whom_several_tasks_see_a_part_each(nightly: Nightly) -> None:
    if isinstance(nightly.place, str):
        pytest.skip("a file is one task's own")
    with pytest.raises(CrmInputError, match="needs a `snapshot` in a file"):
        leavers(nightly, nightly.people(1))
    assert nightly.writes == 0


# Several at once


class Shard(OneTask):
    """One of several instances of a mapped task."""

    def __init__(self, number: int) -> None:
        self.map_index = number


def test_shards_share_a_table_and_each_has_its_people_known(nightly: Nightly) -> None:
    if isinstance(nightly.place, str):
        with pytest.raises(CrmInputError, match="`snapshot` is the same for each instance"):
            nightly(nightly.people(1), context={"ti": Shard(1)}, rejects_path=None, results_path=None)
        return
    shards = [nightly.people(*range(start, start + 3)) for start in (0, 3, 6)]
    for known in (0, 3):
        for number, rows in enumerate(shards):
            ended = nightly(rows, context={"ti": Shard(number)}, rejects_path=None, results_path=None)
            assert ended.summary["known"] == known
    assert nightly.writes == 0
    # Cut in another way, rows are known all the same.
    assert nightly([row for rows in shards for row in rows]).summary["known"] == 9


def test_the_name_of_a_table_is_a_template_of_each_run(nightly: Nightly) -> None:
    given = SqlSnapshot("snapshots", "{{ name }}")
    task = nightly.upsert.operator(task_id="upsert", source=[], snapshot=given)
    for name in ("one", "two"):
        task.render_template_fields({"name": name})
        assert task.snapshot == SqlSnapshot("snapshots", name)
        task = nightly.upsert.operator(task_id="upsert", source=[], snapshot=given)
    assert given.name == "{{ name }}"
