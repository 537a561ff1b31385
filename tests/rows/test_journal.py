"""A journal keeps the lines it was told to keep whatever happens, and goes on where it was left."""

from __future__ import annotations

import datetime as dt
import enum
import json
import os
import signal
import subprocess
import sys
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crm._compat import ObjectStoragePath
from airflow_provider_crm.exceptions import CrmError, CrmFileError, CrmInputError
from airflow_provider_crm.rows.journal import Journal, JournalLostError

try:
    from airflow.sdk.io import attach
except ImportError:  # before 3.0
    from airflow.io.store import attach


def _lines(content: bytes | str) -> list[Any]:
    text = content.decode() if isinstance(content, bytes) else content
    assert not text or text.endswith("\n")
    return [json.loads(line) for line in text.split("\n")[:-1]]


@pytest.fixture(params=["local", "file", "memory"])
def path(request: pytest.FixtureRequest, tmp_path: Path, store: MemoryFileSystem) -> str:
    """Give a path of each kind."""
    return {
        "local": str(tmp_path / "journal.jsonl"),
        "file": f"file://{tmp_path}/journal.jsonl",
        "memory": "memory://bucket/journal.jsonl",
    }[request.param]


@pytest.fixture
def content(path: str, store: MemoryFileSystem) -> Any:
    """Read what is at the path now."""
    if path.startswith("memory"):
        return lambda: store.cat_file("/bucket/journal.jsonl")
    return Path(path.removeprefix("file://")).read_bytes


def test_the_file_is_there_before_the_first_record(path: str, content: Any) -> None:
    journal = Journal(path)
    journal.open()
    assert content() == b""
    journal.close()
    assert content() == b""


def test_records_become_lines(path: str, content: Any) -> None:
    journal = Journal(path)
    journal.open()
    journal.append({"row": 1, "reason": "ça\nva"})
    journal.append({"row": 2})
    assert journal.sync() == len(content())
    assert content() == '{"row":1,"reason":"ça\\nva"}\n{"row":2}\n'.encode()
    journal.append({"row": 3})
    journal.close()
    journal.close()
    assert [line["row"] for line in _lines(content())] == [1, 2, 3]


def test_opening_again_starts_empty(path: str, content: Any) -> None:
    for row in (1, 2):
        journal = Journal(path)
        journal.open()
        assert content() == b""
        journal.append({"row": row})
        journal.close()
    assert _lines(content()) == [{"row": 2}]


def test_an_open_journal_is_closed_before_it_is_opened_again(path: str, content: Any) -> None:
    journal = Journal(path)
    journal.open()
    journal.append({"row": 1})
    size = len(b'{"row":1}\n')
    journal.open(resume_at=size)
    journal.append({"row": 2})
    journal.close()
    assert _lines(content()) == [{"row": 1}, {"row": 2}]
    open_files = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        journal.open()
    journal.close()
    assert len(os.listdir("/proc/self/fd")) == open_files


def test_an_object_of_a_connection(store: MemoryFileSystem) -> None:
    attach("memory", conn_id="mine", fs=store)
    for path in ("memory://mine@bucket/j", ObjectStoragePath("memory://mine@bucket/j")):
        journal = Journal(path)
        journal.open()
        journal.append({"row": 1})
        journal.close()
        assert store.cat_file("/bucket/j") == b'{"row":1}\n'


def test_going_on_drops_what_came_after(path: str, content: Any) -> None:
    journal = Journal(path)
    journal.open()
    journal.append({"row": 1})
    size = journal.sync()
    journal.append({"row": 2, "text": "never confirmed"})
    journal.close()

    journal = Journal(path)
    journal.open(resume_at=size)
    assert journal.sync() == size
    assert _lines(content()) == [{"row": 1}]
    journal.append({"row": 3})
    journal.close()
    assert _lines(content()) == [{"row": 1}, {"row": 3}]

    journal.open(resume_at=0)
    journal.close()
    assert content() == b""


@pytest.mark.parametrize("resume_at", [0, 10])
def test_going_on_without_the_file(path: str, resume_at: int) -> None:
    with pytest.raises(JournalLostError, match="cannot be taken up"):
        Journal(path).open(resume_at=resume_at)


def test_going_on_in_another_file(path: str, content: Any) -> None:
    journal = Journal(path)
    journal.open()
    journal.append({"row": 1})
    size = journal.sync()
    journal.close()
    before = content()
    for elsewhere in (size + 1, size - 1, 1):
        with pytest.raises(JournalLostError):
            Journal(path).open(resume_at=elsewhere)
    assert content() == before
    assert issubclass(JournalLostError, CrmError)


def test_only_a_sync_with_news_costs_time(path: str) -> None:
    clock = iter(range(100))
    journal = Journal(path, now=lambda: float(next(clock)))
    assert journal.sync_cost == 0
    journal.open()
    journal.append({"row": 1})
    for _ in range(3):
        journal.sync()
        assert journal.sync_cost == 1
    assert next(clock) == 2
    journal.close()


def test_values_that_json_has_no_form_for(tmp_path: Path) -> None:
    class Colour(enum.Enum):
        RED = "red"

    endless: list[Any] = []
    endless.append(endless)
    day = dt.datetime(2024, 1, 2, 3, 4, 5)
    some_id = uuid.uuid4()
    record = {
        "decimal": Decimal("1.50"),
        "at": day,
        "day": day.date(),
        "bytes": b"\xff",
        "uuid": some_id,
        "set": {1},
        "enum": Colour.RED,
        "complex": 1j,
        "nan": float("nan"),
        "big": 10**30,
    }
    journal = Journal(str(tmp_path / "j"))
    journal.open()
    journal.append(record)
    journal.append(
        {"half": "a\ud800b\udce9", "day": day.date(), "nan": float("inf"), "k\udce9y": [{"x": {2}}, True]}
    )
    journal.append({"endless": endless})
    journal.append({"giant": 10**5000})
    journal.close()
    plain, half, deep, giant = _lines((tmp_path / "j").read_bytes())
    assert plain == {
        "decimal": "1.50",
        "at": "2024-01-02T03:04:05",
        "day": "2024-01-02",
        "bytes": "/w==",
        "uuid": str(some_id),
        "set": [1],
        "enum": "red",
        "complex": "1j",
        "nan": None,
        "big": 10**30,
    }
    assert half == {
        "half": "a\\ud800b\\udce9",
        "day": "2024-01-02",
        "nan": None,
        "k\\udce9y": [{"x": [2]}, True],
    }
    assert "…" in json.dumps(deep, ensure_ascii=False)
    assert giant["giant"].startswith("0x")


def test_a_local_path_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for wrong in (tmp_path, tmp_path / "file" / "j", tmp_path / ("x" * 300)):
        with pytest.raises(CrmInputError, match=r"cannot be written to .* Check the path"):
            Journal(str(wrong)).open()


def test_the_folder_of_a_journal_is_made(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "2026" / "11" / "rejects.jsonl"))
    journal.open()
    journal.close()
    assert (tmp_path / "2026" / "11" / "rejects.jsonl").exists()


def test_a_store_that_is_away_may_be_back_at_the_next_try(
    store: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("away")

    monkeypatch.setattr(MemoryFileSystem, "put_file", fail)
    with pytest.raises(CrmFileError, match=r"memory://bucket/j could not be written \(away\)"):
        Journal("memory://bucket/j").open()


def test_a_store_that_cannot_be_written_to(store: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CrmInputError, match="Install the Airflow provider"):
        Journal("s3://bucket/j").open()

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise PermissionError(13, "Access Denied")

    monkeypatch.setattr(MemoryFileSystem, "put_file", refuse)
    with pytest.raises(CrmInputError, match=r"memory://bucket/j cannot be written to \(Access Denied\)"):
        Journal("memory://bucket/j").open()


def test_an_upload_that_fails_leaves_nothing_behind(
    store: MemoryFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    journal = Journal("memory://bucket/j")
    journal.open()
    journal.append({"row": 1})
    size = journal.sync()
    journal.append({"row": 2})

    def fail(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("away")

    assert os.listdir(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(MemoryFileSystem, "put_file", fail)
        with pytest.raises(CrmFileError, match="away"):
            journal.close()
    journal.close()
    assert not os.listdir(tmp_path)
    assert len(store.cat_file("/bucket/j")) == size


def test_a_journal_that_nobody_closes_leaves_no_spool(
    store: MemoryFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    journal = Journal("memory://bucket/j")
    journal.open()
    (spool,) = tmp_path.iterdir()
    assert spool.stat().st_mode & 0o077 == 0, "rejected rows are people's data"
    del journal
    assert not os.listdir(tmp_path)


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "j"
    journal = Journal(str(path))
    journal.open()
    journal.append({"row": 1})
    journal.flush()
    journal.append({"row": 2})
    real = os.write

    def full(fd: int, data: Any) -> int:
        real(fd, data[:3])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", full)
        with pytest.raises(
            CrmFileError, match=f"{path} could not be written .No space left on device in {tmp_path}"
        ):
            journal.flush()
    assert _lines(path.read_bytes()) == [{"row": 1}]
    journal.close()
    assert _lines(path.read_bytes()) == [{"row": 1}, {"row": 2}]


def test_a_journal_that_is_not_open(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "j"))
    journal.close()
    with pytest.raises(ValueError, match="not open"):
        journal.append({})
    assert not (tmp_path / "j").exists()


_WRITER = """
import sys
from airflow_provider_crm.rows.journal import Journal

journal = Journal(sys.argv[1])
journal.open()
row = 0
while True:
    for _ in range(100):
        row += 1
        journal.append({"row": row, "text": "x" * (row % 500)})
    if row % 1000:
        journal.flush()
        print("flushed", row, flush=True)
    else:
        print("synced", row, journal.sync(), flush=True)
"""


@pytest.mark.slow
def test_kill_9_loses_only_what_was_not_flushed(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    told = synced = size = 0
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            word, row, *rest = line.split()
            told = int(row)
            if word == "synced":
                synced, size = told, int(rest[0])
            if told >= 20_300:
                break
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    whole, _, _ = path.read_bytes().rpartition(b"\n")  # the kernel may have stopped in the middle of a write
    rows = [json.loads(line)["row"] for line in whole.split(b"\n")]
    assert rows == list(range(1, len(rows) + 1)), "nothing is lost or doubled"
    assert len(rows) >= told > synced > 0

    journal = Journal(str(path))
    journal.open(resume_at=size)
    journal.append({"row": synced + 1})
    journal.close()
    assert [line["row"] for line in _lines(path.read_bytes())] == list(range(1, synced + 2))


@pytest.mark.slow
@given(
    steps=st.lists(
        st.one_of(
            st.dictionaries(st.text(max_size=3), st.text(max_size=40), max_size=2),
            st.sampled_from(["flush", "sync", "crash", "reopen"]),
        ),
        max_size=25,
    ),
    buffer=st.sampled_from([1, 30, 1 << 16]),
)
def test_a_journal_is_a_list_that_remembers(scratch: Path, steps: list[Any], buffer: int) -> None:
    path = scratch / "journal.jsonl"
    journal = Journal(str(path))
    journal.open()
    expected: list[Any] = []
    synced: list[Any] = []
    size = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("airflow_provider_crm.rows.journal._BUFFER_BYTES", buffer)
        for step in steps:
            if isinstance(step, dict):
                journal.append(step)
                expected.append(step)
            elif step == "flush":
                journal.flush()
                assert _lines(path.read_bytes()) == expected
            elif step == "sync":
                size, synced = journal.sync(), list(expected)
                assert size == path.stat().st_size
            else:
                if step == "reopen":
                    journal.close()
                found = _lines(path.read_bytes())
                assert found[: len(synced)] == synced
                assert found == expected[: len(found)]
                journal = Journal(str(path))
                journal.open(resume_at=size)
                expected = list(synced)
        journal.close()
    assert _lines(path.read_bytes()) == expected
