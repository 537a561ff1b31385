"""Disks that are full: what was begun is gone, what was noted is whole, and the error names the file.

A limit on the size of files stands for the end of the disk: the system call that writes fails in the same way.
"""

from __future__ import annotations

import json
import random
import resource
import tempfile
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.bulk.batches import Ended
from airflow_provider_crm.bulk.export import Export, ExportPage, Reject
from airflow_provider_crm.bulk.opt_outs import OptOutMemory
from airflow_provider_crm.bulk.outcomes import Ending, Outcome
from airflow_provider_crm.bulk.prepass import Announced, look_through
from airflow_provider_crm.bulk.rejects import Rejects
from airflow_provider_crm.bulk.report import Report
from airflow_provider_crm.exceptions import CrmFileError
from airflow_provider_crm.rows import scratch
from airflow_provider_crm.rows.sources import SqlSource, open_source
from airflow_provider_crm.rows.targets import target_at
from airflow_provider_crm.rows.writers import format_for
from airflow_provider_crm.schemas.records import Column, RecordType

#: Bytes that fit on the disk.
ROOM = 16 * 1024
COLUMNS = (Column("id", "text", "", required=True), Column("name", "text", ""))
STRUCTURE: Any = RecordType("things", COLUMNS, key="id").structure((), {})


@pytest.fixture
def full_disk() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def pages(file_format: Any, number: int, *, rejects: int = 0) -> Iterator[ExportPage]:
    for page in range(number):
        ids = [str(page * 1000 + place) for place in range(1000)]
        noise = random.Random(page)  # no compression makes it short
        records = [STRUCTURE(id=one, name=noise.randbytes(30).hex()) for one in ids]
        yield ExportPage(
            [*ids, *("r" * rejects)],
            file_format.encode(records, ()),
            rejects=[Reject(1000 + place, "r", "bad", "x" * 100) for place in range(rejects)],
        )


@pytest.mark.sampled
@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".parquet"])
@pytest.mark.parametrize("number", [1, 60], ids=["at the end", "on the way"])
def test_an_export_leaves_nothing_on_a_disk_that_it_has_filled(
    tmp_path: Path, full_disk: None, suffix: str, number: int
) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(b"old")
    file_format = format_for(str(path), COLUMNS, metadata={})
    export = Export(lambda: target_at(path), file_format, Rejects(None, with_data=True), max_rejects=0)
    with pytest.raises(CrmFileError) as raised:
        export.run(lambda: pages(file_format, number))
    assert str(raised.value) == (
        f"{path} could not be written (File too large in {tmp_path}). Once there is room, and the store answers, try "
        f"again."
    )
    assert files(tmp_path) == [path.name]
    assert path.read_bytes() == b"old"


def test_an_export_whose_rejects_fill_the_disk_puts_no_file_into_place(
    tmp_path: Path, full_disk: None
) -> None:
    path, rejects_path = tmp_path / "x.jsonl.gz", tmp_path / "rejects.jsonl"
    file_format = format_for(str(path), COLUMNS, metadata={})
    rejects = Rejects(str(rejects_path), with_data=True)
    export = Export(lambda: target_at(path), file_format, rejects, max_rejects=1.0)
    with pytest.raises(CrmFileError, match=f"{rejects_path} could not be written"):
        export.run(lambda: pages(file_format, 1, rejects=1000))
    assert files(tmp_path) == ["rejects.jsonl"]
    for line in rejects_path.read_text().splitlines():
        assert json.loads(line)["reason"] == "bad"


def test_a_report_whose_rejects_fill_the_disk_still_finishes_its_results(
    tmp_path: Path, full_disk: None
) -> None:
    report = Report(rejects_path=str(tmp_path / "rejects"), results_path=str(tmp_path / "results"))
    report.open()
    error = f"{tmp_path}/rejects could not be written"
    rows = [
        Ended(row, None, {"name": "x" * 1000}, Outcome(Ending.REJECTED, "bad", stage="crm"))
        for row in range(100)
    ]
    with pytest.raises(CrmFileError, match=error):
        report.add(rows)
    with pytest.raises(CrmFileError, match=error):
        report.close()
    numbers = [json.loads(line)["row"] for line in (tmp_path / "results").read_text().splitlines()]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 10


class _Everything:
    """Opts everybody out."""

    def find(self, record: str) -> list[str]:
        return [record]

    def keep(self, record: str, said: list[str]) -> None:
        raise AssertionError("nobody comes twice")


def test_opt_outs_that_fill_the_disk_end_the_task(full_disk: None) -> None:
    memory = OptOutMemory(_Everything())
    with pytest.raises(CrmFileError, match=r"list of the source's opt-outs could not be written .*TMPDIR"):
        list(map(memory.apply, map(str, range(200_000)), repeat("x" * 100)))


def test_rows_of_a_query_that_fill_the_disk_end_the_task(
    tmp_path: Path, full_disk: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DB", json.dumps({"conn_type": "sqlite", "host": ":memory:"}))
    monkeypatch.setattr(scratch, "IN_MEMORY", 1000)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    source = open_source(SqlSource("db", "SELECT hex(zeroblob(40000)) AS name UNION ALL SELECT 'b'"))
    with pytest.raises(
        CrmFileError, match=rf"copy of the query's rows could not be written \(.* in {tmp_path}\)"
    ):
        look_through(source, [Announced(2)])
    assert files(tmp_path) == []
