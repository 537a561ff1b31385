"""What is read of a rejects file, whoever wrote it, and what is shown of it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crm.bulk.reasons import Reasons
from airflow_provider_crm.history.runs import Reason, Run, TaskTry
from airflow_provider_crm.ui import rejects
from airflow_provider_crm.ui.rejects import RejectedRow, RejectedRows, rejected_rows

EMPTY = dict.fromkeys(field.name for field in dataclasses.fields(Run))


def a_run(path: str | Path | None, *reasons: tuple[str, str]) -> Run:
    values: dict[str, Any] = {
        **EMPTY,
        "id": 1,
        "task": TaskTry("dag", "sync", "manual__1"),
        "started_at": dt.datetime.now(dt.UTC),
        "continued": False,
        "more": {},
        "reasons": tuple(Reason("rejected", stage, reason, 1) for stage, reason in reasons),
        "rejects_path": None if path is None else str(path),
    }
    return Run(**values)


def written(path: Path, *lines: Any) -> Path:
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def shown(run: Run) -> RejectedRows:
    found = rejected_rows(run)
    assert found is not None
    return found


def test_a_run_without_a_file_has_none() -> None:
    assert rejected_rows(a_run(None)) is None


def test_rows_come_by_number(tmp_path: Path) -> None:
    lines = [{"row": row, "stage": "crm", "reason": "full"} for row in (30, 4, 11)]
    found = shown(a_run(written(tmp_path / "r.jsonl", *lines), ("crm", "full")))
    assert found == RejectedRows(tuple(RejectedRow(row, "crm", "full") for row in (4, 11, 30)))


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("the list is full", "the list is full"),
        ("<value> is no e-mail", "nobody is no e-mail"),
        ("email: <value>", "email: a b"),
        ("<email> is no address", "zoe@example.fr is no address"),
        ("<value> is not <value>", "a is not b"),
        ("another row is about the same person", "row 17 is about the same person"),
        ("phone <number> is too long", "phone +33 6 12 34 56 78 is too long"),
        ("it is too long: <value> and so…", "it is too long: Dupont and so on and so on"),
        ("it is too long: <val…", "it is too long: Dupont"),
        ("two words", "two\n  words"),
    ],
)
def test_a_reason_is_told_in_the_words_of_the_history(tmp_path: Path, told: str, reason: str) -> None:
    run = a_run(written(tmp_path / "r.jsonl", {"row": 1, "stage": "crm", "reason": reason}), ("crm", told))
    assert shown(run).rows == (RejectedRow(1, "crm", told),)


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("the list is full", "the list is full of Dupont"),
        ("the list is full", "Dupont: the list is full"),
        ("<value> is no e-mail", "Dupont"),
        ("a <value> b <value> b", "a b"),
        ("ab<value>ba", "aba"),
        ("the list is full", ""),
    ],
)
def test_no_other_words_are_shown(tmp_path: Path, told: str, reason: str) -> None:
    run = a_run(written(tmp_path / "r.jsonl", {"row": 1, "stage": "crm", "reason": reason}), ("crm", told))
    assert shown(run).rows == (RejectedRow(1, "crm", None),)


def test_of_two_reasons_the_one_that_says_more(tmp_path: Path) -> None:
    run = a_run(
        written(tmp_path / "r.jsonl", {"row": 1, "stage": "crm", "reason": "Dupont is too long"}),
        ("crm", "<value>"),
        ("crm", "<value> is too long"),
        ("read", "Dupont is too long"),
    )
    assert shown(run).rows[0].reason == "<value> is too long"


words = st.text(st.sampled_from("ab cé.:<>…1@"), max_size=12)


@pytest.mark.slow
@given(st.lists(st.tuples(words, words, words), min_size=1, max_size=5))
def test_the_reason_of_any_row_is_found_among_those_that_were_counted(
    rows: list[tuple[str, str, str]],
) -> None:
    counted = Reasons()
    for before, value, after in rows:
        counted.add("rejected", "crm", f"{before} {value} {after}", value, {"name": value})
    told = [("crm", one["reason"]) for one in counted.told()]
    run = a_run(None, *told)
    text = "".join(
        json.dumps({"row": 1, "stage": "crm", "reason": f"{before} {value} {after}"}) + "\n"
        for before, value, after in rows
    )
    assert all(row.reason is not None for row in rejects._rows_of(text.encode(), run))


@pytest.mark.parametrize(
    "line",
    [
        "root:x:0:0:root:/root:/bin/bash",
        "[core]",
        '{"password": "geheim"}',
        '{"row": "geheim"}',
        '{"row": 1.5}',
        '{"row": true}',
        '{"row": 1, "reason": {"a": 1}}',
        "[" * 100_000,
        "\x00\udcff",
    ],
)
def test_what_is_no_rejects_file_shows_nothing(tmp_path: Path, line: str) -> None:
    path = tmp_path / "passwd"
    path.write_bytes(line.encode(errors="surrogateescape") + b"\n")
    assert shown(a_run(path)) == RejectedRows()


def test_a_stage_is_one_of_ours(tmp_path: Path) -> None:
    assert shown(a_run(written(tmp_path / "r", {"row": 1, "stage": "geheim"}))).rows == (
        RejectedRow(1, None, None),
    )


def test_only_so_many_rows_are_shown(tmp_path: Path) -> None:
    lines = [{"row": row, "stage": "crm", "reason": "full"} for row in range(rejects.MOST_ROWS + 1)]
    found = shown(a_run(written(tmp_path / "r.jsonl", *lines), ("crm", "full")))
    assert (len(found.rows), found.cut) == (rejects.MOST_ROWS, True)


def test_only_so_much_is_read(tmp_path: Path) -> None:
    long = {"row": 1, "stage": "crm", "reason": "full", "data": "x" * 1000}
    found = shown(a_run(written(tmp_path / "r.jsonl", *[long] * 3000), ("crm", "full")))
    assert found.cut
    with (tmp_path / "endless").open("wb") as file:
        file.truncate(10**12)
    assert shown(a_run(tmp_path / "endless")) == RejectedRows(cut=True)


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "gone.jsonl", "/dev/zero"):
        assert "cannot read it" in str(shown(a_run(path)).problem)


@pytest.mark.parametrize(
    "path", ["http://169.254.169.254/latest/meta-data", "ftp://host/a", "github://a:b@c/d"]
)
def test_no_other_server_is_called(path: str) -> None:
    assert "is not read by the web server" in str(shown(a_run(path)).problem)


def test_a_store_that_does_not_answer_holds_up_no_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = threading.Event()
    monkeypatch.setattr(rejects, "MOST_SECONDS", 0.01)
    monkeypatch.setattr(rejects, "locate", lambda path: hangs.wait())
    try:
        for _ in range(5):
            assert "within" in str(shown(a_run(tmp_path / "r.jsonl")).problem)
    finally:
        hangs.set()
