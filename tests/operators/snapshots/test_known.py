"""With a snapshot, upserts of all CRMs send what has changed, and lose nothing of what they promise without one."""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.bulk.reasons import masked_reason
from airflow_provider_crm.bulk.snapshot_file import SnapshotFile
from airflow_provider_crm.exceptions import CrmError, CrmInputError
from airflow_provider_crm.operators.spread import SpreadUpsertCustomersOperator
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.tasks import TaskRunner
from tests.helpers.waits import one_time

from .nightly import Nightly, OneTask


def test_rows_that_were_accepted_cost_no_call(nightly: Nightly) -> None:
    first = nightly(nightly.people(1, 2, 3))
    assert first.summary["known"] == 0
    second = nightly(nightly.people(1, 2, 3))
    assert second.ends == ["unchanged"] * 3
    assert second.summary["known"] == 3
    assert nightly.writes == 0
    assert nightly.looks <= 1, "what is looked at before the first row"


@pytest.mark.sampled
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


@pytest.mark.sampled
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


@pytest.mark.sampled
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


@pytest.mark.sampled
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


@pytest.mark.sampled
@pytest.mark.parametrize("said", [True, "True", " true"])
def test_a_full_resync_sends_all_and_renews(nightly: Nightly, said: Any) -> None:
    nightly(nightly.people(1, 2))
    assert nightly(nightly.people(1, 2), full_resync=said).summary["known"] == 0
    assert nightly.looks + nightly.writes > 0
    assert nightly(nightly.people(1, 2), full_resync="False").summary["known"] == 2


@pytest.mark.sampled
def test_of_several_rows_of_a_person_the_last_one_counts(nightly: Nightly) -> None:
    one, other = nightly.people(1)[0], nightly.people(1, name="Martin")[0]
    nightly([one, other])
    again = nightly([one, other])
    assert again.ends == ["skipped", "unchanged"]
    assert again.summary["known"] == 1
    turned = nightly([other, one])
    assert turned.summary["known"] == 0
    assert nightly.writes == 1


@pytest.mark.sampled
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


def test_a_key_that_the_crm_does_not_take_voids_nothing(
    nightly: Nightly, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{nightly.upsert.system}_default"
    nightly(nightly.people(1))
    connection = json.loads(nightly.sandbox.connections()[name])
    with monkeypatch.context() as wrong:
        wrong.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps({**connection, "password": "wrong"}))
        with pytest.raises(CrmError):
            nightly(nightly.people(1, name="Martin"))
    assert nightly(nightly.people(1)).summary["known"] == 1


@pytest.mark.sampled
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


@pytest.mark.sampled
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


@pytest.mark.sampled
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
