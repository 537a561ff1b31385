"""What becomes of a snapshot that is lost, cut, somebody else's, in use, or in an object store."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import _GeneratorContextManager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from airflow_provider_crm.bulk import snapshot_places
from airflow_provider_crm.bulk.snapshot_file import SnapshotFile
from airflow_provider_crm.exceptions import CrmInputError

ABOUT = {"account": "one", "`field_map`": "two"}


def opened(path: Any, run: str = "run", about: dict[str, str] = ABOUT, **how: Any) -> SnapshotFile:
    return SnapshotFile(str(path), about, run, **how)


def filled(path: Any, people: int = 3) -> bytes:
    """Leave a snapshot of some people.

    :return: its salt.
    """
    store = opened(path)
    store.take_out(range(people))
    store.put_in((person, b"entry") for person in range(people))
    store.complete()
    store.close()
    return store.salt


def found(path: Any, **how: Any) -> set[int]:
    store = opened(path, **how)
    try:
        return set(store.find(range(2000)))
    finally:
        store.close()


PLACES: list[Callable[[Path], str]] = [
    lambda folder: str(folder / "new" / "s"),
    lambda _: "memory://bucket/s",
]
each_place = pytest.mark.parametrize("place", PLACES, ids=["folder", "store"])


OTHER_PROCESS = """
import sys
from airflow_provider_crm.bulk.snapshot_file import SnapshotFile, SnapshotInUseError

try:
    SnapshotFile(sys.argv[1], {}, "other")
except SnapshotInUseError as error:
    print(error)
"""


@each_place
def test_what_is_put_in_is_found_by_the_next_run(
    place: Callable[[Path], str], tmp_path: Path, store: Any
) -> None:
    path = place(tmp_path)
    salt = filled(path, 1500)
    assert found(path) == set(range(1500))
    assert opened(path).salt == salt


@each_place
def test_who_is_taken_out_is_not_found_even_if_the_run_is_killed(
    place: Callable[[Path], str], tmp_path: Path, store: Any
) -> None:
    path = place(tmp_path)
    filled(path)
    killed = opened(path)
    killed.put_in([(2, b"other")])
    killed.take_out([1, 2])
    if "://" not in path:  # what lies on the disk is all that the next run has
        path = shutil.copytree(Path(path).parent, tmp_path / "after") / "s"
    left = found(path)
    assert not left & {1, 2}
    assert left == ({0} if isinstance(path, Path) else set())
    killed.close()


def test_a_run_of_the_same_name_goes_on_and_another_does_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    numbers = []
    for run in ("one", "one", "two"):
        store = opened(path, run)
        numbers.append(store.run)
        store.close()
    store = opened(path, "two")
    store.complete()
    store.close()
    numbers.append(opened(path, "two").run)
    assert numbers[0] == numbers[1]
    assert len(set(numbers)) == 3


@pytest.mark.sampled
@pytest.mark.parametrize("harm", ["lost", "empty", "header", "half", "inside"])
def test_a_snapshot_that_is_lost_or_damaged_begins_anew(
    harm: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "s"
    filled(path, 1500)
    whole = path.read_bytes()
    if harm == "lost":
        path.unlink()
    else:
        kept = {"empty": 0, "header": 50, "half": len(whole) // 2, "inside": 4096}[harm]
        rest = b"" if harm != "inside" else bytes(len(whole) - kept)
        path.write_bytes(whole[:kept] + rest)
    with caplog.at_level(logging.INFO):
        assert found(path) == set()
    assert "all" in caplog.text
    filled(path)
    assert found(path) == {0, 1, 2}


def test_entries_of_every_length_are_found_as_they_were_put_in(tmp_path: Path) -> None:
    """Also long and short ones that are together as long as so many of the usual length, and people of any number."""
    usual = bytes(range(29))
    lengths = [(29 + more, 29 - more) for more in range(29)] + [(200, 1), (30, 30, 27)]
    for number, together in enumerate(lengths):
        entries = dict(
            zip((-(2**63), -1, 2**63 - 1), map(bytes([number + 1]).__mul__, together), strict=False)
        )
        entries |= {0: usual, 2**31: usual}
        path = tmp_path / str(number)
        store = opened(path)
        store.put_in(entries.items())
        store.complete()
        store.close()
        store = opened(path)
        assert dict(store.find_meanwhile([*entries, 5])()) == entries
        assert dict(store.find([0])) == {0: usual}
        assert dict(store.find([5])) == {}
        store.close()


@pytest.mark.parametrize("before_take_out", [True, False])
def test_nobody_leaves_whose_entry_lies_in_a_file_that_cannot_be_thrown_away(
    before_take_out: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither when it is given up beside other work, whose result nobody has asked for yet."""
    path = tmp_path / "s"
    filled(path)
    store = opened(path)

    assert store._db is not None
    store._db.set_progress_handler(lambda: True, 1)  # it ends each statement by an error

    def stays(file: Path) -> None:
        raise PermissionError("it stays")

    with monkeypatch.context() as broken:
        broken.setattr(snapshot_places, "remove", stays)
        finding = store.find_meanwhile([0])
        if before_take_out:
            store._finder.shutdown()
        with pytest.raises(PermissionError):
            store.take_out([0])
        with pytest.raises(PermissionError):
            finding()
        store.close()
    store = opened(path)
    assert set(store.find(range(3))) == {0, 1, 2}
    store.close()


def test_a_task_that_is_stopped_as_a_statement_begins_notes_what_has_ended_and_closes(tmp_path: Path) -> None:
    store = opened(tmp_path / "s")
    before = sys.gettrace()

    def stop(frame: FrameType, event: str, arg: object) -> Any:
        if event == "return" and frame.f_code is _GeneratorContextManager.__enter__.__code__:
            raise TimeoutError
        return stop

    def end() -> None:
        store.put_in([(1, b"entry")])
        store.close()

    try:
        sys.settrace(stop)
        store.find([1])
        store.put_in([])
    except TimeoutError:
        sys.settrace(before)
        ending = threading.Thread(target=end, daemon=True)
        ending.start()
        ending.join(10)
        assert not ending.is_alive()
    else:
        pytest.fail("it was not stopped")
    finally:
        sys.settrace(before)
    assert found(tmp_path / "s") == {1}


@pytest.mark.parametrize("content", ["email\nzoe@example.fr\n", "sqlite"], ids=["rows", "another database"])
def test_a_file_that_is_no_snapshot_is_left_alone(content: str, tmp_path: Path) -> None:
    path = tmp_path / "s"
    if content == "sqlite":
        sqlite3.connect(path).execute("CREATE TABLE ledger (id)").connection.close()
    else:
        path.write_text(content)
    before = path.read_bytes()
    with pytest.raises(CrmInputError, match="is no snapshot"):
        opened(path)
    assert path.read_bytes() == before


def test_a_place_that_cannot_be_written_to_is_found_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CrmInputError, match="cannot be written to"):
        opened(tmp_path / "file" / "s")


@pytest.mark.parametrize("dry", [False, True])
def test_a_snapshot_of_something_else_is_void_and_says_so(
    dry: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "s"
    filled(path)
    other = {**ABOUT, "`field_map`": "three"}
    with caplog.at_level(logging.WARNING):
        assert found(path, about=other, dry=dry) == set()
    assert "is of another `field_map`:" in caplog.text
    assert found(path) == ({0, 1, 2} if dry else set())


@pytest.mark.slow
def test_one_run_at_a_time_uses_a_file(tmp_path: Path) -> None:
    path = tmp_path / "s"
    filled(path)
    first = opened(path)
    other = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS, str(path)], capture_output=True, text=True, check=False
    )
    assert "Another run is using the snapshot" in other.stdout, other.stderr
    first.close()
    assert found(path) == {0, 1, 2}


def test_two_runs_at_once_leave_nothing_in_a_store(store: Any, caplog: pytest.LogCaptureFixture) -> None:
    path = "memory://bucket/s"
    filled(path)
    one, two = opened(path, "one"), opened(path, "two")
    for run in (one, two):
        run.take_out([1])
        run.put_in([(1, run.run)])
    for run in (one, two):
        run.close()
        assert "Another run has used the snapshot" in caplog.text
        assert found(path) == set()


def test_a_run_that_sends_nothing_leaves_the_object_alone(store: Any) -> None:
    path = "memory://bucket/s"
    filled(path)
    before = store.store["/bucket/s"]
    assert found(path) == {0, 1, 2}
    assert store.store["/bucket/s"] is before


def test_a_full_disk_costs_look_ups(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "s"
    filled(path)
    store = opened(path)
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # a write past it fails, as on a full disk
    try:
        store.put_in((person, bytes(100)) for person in range(20_000))
        store.take_out([0])
        store.complete()
        store.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "cannot be used" in caplog.text
    assert found(path) == set()


MEMORY = """
import random, resource, sys
from airflow_provider_crm.bulk.snapshot_file import SnapshotFile

def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

draw = random.Random(1)
people = lambda number: [draw.getrandbits(62) for _ in range(number)]
for path in sys.argv[1:]:
    store = SnapshotFile(path, {}, "run")
    store.put_in((one, bytes(29)) for one in people(20_000))
    store.take_out(people(5000))
    before = most()
    for number in range(300, 4900, 20):
        store.put_in((one, bytes(29)) for one in people(number))
    store.close()
    store = SnapshotFile(path, {}, "other")
    for number in range(300, 4900, 20):
        store.take_out(people(number))
    store.close()
    print(most() - before)
"""


@pytest.mark.sampled
def test_memory_does_not_grow_with_the_sizes_of_batches(tmp_path: Path) -> None:
    run = [sys.executable, "-c", MEMORY, str(tmp_path / "s")]
    grown = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    assert float(grown.split()[-1]) < 60  # of which SQLite's own is 16 MB
