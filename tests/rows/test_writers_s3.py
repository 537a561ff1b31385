"""Files on S3: a real server, which the tests start, spoken to over real HTTP."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_crm.exceptions import CrmFileError, CrmInputError
from airflow_provider_crm.rows.targets import target_at
from airflow_provider_crm.rows.writers import format_for
from airflow_provider_crm.schemas.records import Column, RecordType

if TYPE_CHECKING:
    from .s3 import Store

try:
    airflow_stores = import_module("airflow.sdk.io.store")
except ImportError:  # before 3.0
    airflow_stores = import_module("airflow.io.store")

COLUMNS = (Column("id", "text", "", required=True), Column("name", "text", ""))
TYPE = RecordType("things", COLUMNS, key="id")


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Store, str]]:
    pytest.importorskip("s3fs", reason="the S3 client is not installed beside this Airflow")
    pytest.importorskip("moto.server", reason="the S3 server is not installed beside this Airflow")
    from werkzeug.serving import make_server

    from .s3 import Store

    store = Store()
    server = make_server("127.0.0.1", 0, store, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield store, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


@pytest.fixture
def faults(served: tuple[Store, str], monkeypatch: pytest.MonkeyPatch) -> Store:
    store, _ = served
    for fault in ("refuses_parts", "loses_completion", "refuses_lists"):
        monkeypatch.setattr(store, fault, False)
    return store


@pytest.fixture
def s3(served: tuple[Store, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Give ``s3://`` to Airflow, with an empty bucket."""
    from .s3 import SmallParts

    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    fs = SmallParts(key="k", secret="s", endpoint_url=served[1], skip_instance_cache=True)
    if fs.exists("bucket"):
        fs.rm("bucket", recursive=True)
    fs.mkdir("bucket")
    # A store that some other test has asked for would be kept, whatever is attached now.
    airflow_stores._STORE_CACHE.pop("s3", None)
    airflow_stores.attach("s3", fs=fs)
    (tmp_path / "spool").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "spool"))
    return fs


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".jsonl", ".csv.gz", ".parquet"])
def test_an_export_to_s3(s3: Any, tmp_path: Path, suffix: str) -> None:
    path = f"s3://bucket/2026/x{suffix}"
    file_format = format_for(path, COLUMNS, metadata={})
    structure: Any = TYPE.structure((), {})
    target = target_at(path)
    writer = file_format.open(target.open())
    for page in range(10):
        records = [structure(id=str(page * 1000 + n), name="x" * 100) for n in range(1000)]
        writer.write(file_format.encode(records, ()))
    assert s3.find("bucket") == []
    writer.finish()
    size = target.commit()
    assert s3.find("bucket") == [f"bucket/2026/x{suffix}"]
    assert s3.size(f"bucket/2026/x{suffix}") == size
    assert list((tmp_path / "spool").iterdir()) == []
    if suffix == ".jsonl":
        rows = [json.loads(line) for line in s3.cat("bucket/2026/x.jsonl").splitlines()]
        assert [row["id"] for row in rows] == [str(n) for n in range(10_000)]


@pytest.mark.slow
def test_a_bucket_that_is_not_there_is_found_before_anything_is_read(s3: Any) -> None:
    with pytest.raises(CrmInputError, match="cannot be written to"):
        target_at("s3://nowhere/x.jsonl").open()


@pytest.mark.slow
def test_what_fails_keeps_the_old_object(s3: Any) -> None:
    s3.pipe("bucket/x.jsonl", b"old")
    target = target_at("s3://bucket/x.jsonl")
    target.open().write(b"half")
    target.abandon()
    assert s3.cat("bucket/x.jsonl") == b"old"
    assert s3.find("bucket") == ["bucket/x.jsonl"]


# A file that is large enough to be sent in parts

LARGE = 11 * 2**20


def large_file(path: str = "s3://bucket/x.jsonl") -> Any:
    target = target_at(path)
    target.open().truncate(LARGE)
    return target


def begin_upload(s3: Any, key: str) -> str:
    upload: str = s3.call_s3("create_multipart_upload", Bucket="bucket", Key=key)["UploadId"]
    return upload


def unfinished(s3: Any) -> set[str]:
    return {upload["UploadId"] for upload in s3.list_multipart_uploads("bucket")}


@pytest.mark.slow
def test_an_upload_in_parts_that_fails_is_aborted_and_so_are_those_of_yesterday(
    s3: Any, faults: Store, tmp_path: Path
) -> None:
    s3.pipe("bucket/x.jsonl", b"old")
    left_behind, begun_now, of_another = (
        begin_upload(s3, key) for key in ("x.jsonl", "x.jsonl", "x.jsonl.gz")
    )
    faults.fresh = {begun_now}
    faults.refuses_parts = True
    target = large_file()
    with pytest.raises(CrmFileError, match=r"s3://bucket/x.jsonl could not be written \(no more\)"):
        target.commit()
    target.abandon()
    assert left_behind not in unfinished(s3)
    assert unfinished(s3) == {begun_now, of_another}
    assert s3.cat("bucket/x.jsonl") == b"old"
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.slow
def test_an_upload_whose_completion_is_not_answered_for_is_looked_at(s3: Any, faults: Store) -> None:
    s3.pipe("bucket/x.jsonl", b"old")
    faults.loses_completion = True
    assert large_file().commit() == LARGE
    assert s3.size("bucket/x.jsonl") == LARGE
    assert unfinished(s3) == set()


@pytest.mark.slow
def test_an_object_of_the_same_size_that_was_there_before_is_not_taken_for_the_new_one(
    s3: Any, faults: Store
) -> None:
    assert large_file().commit() == LARGE
    faults.refuses_parts = True
    target = large_file()
    with pytest.raises(CrmFileError):
        target.commit()
    target.abandon()


@pytest.mark.slow
def test_a_list_of_uploads_that_is_refused_is_no_reason_to_fail(s3: Any, faults: Store) -> None:
    faults.refuses_lists = True
    assert large_file().commit() == LARGE
