"""Files on S3: a real server, which the tests start, spoken to over real HTTP."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.rows.targets import target_at
from airflow_provider_crm.rows.writers import format_for
from airflow_provider_crm.schemas.records import Column, RecordType

s3fs = pytest.importorskip("s3fs", reason="the S3 client is not installed beside this Airflow")
moto_server = pytest.importorskip("moto.server", reason="the S3 server is not installed beside this Airflow")

try:
    airflow_stores = import_module("airflow.sdk.io.store")
except ImportError:  # before 3.0
    airflow_stores = import_module("airflow.io.store")

COLUMNS = (Column("id", "text", "", required=True), Column("name", "text", ""))
TYPE = RecordType("things", COLUMNS, key="id")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Give ``s3://`` to Airflow, with an empty bucket."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    fs = s3fs.S3FileSystem(key="k", secret="s", endpoint_url=server, skip_instance_cache=True)
    if fs.exists("bucket"):
        fs.rm("bucket", recursive=True)
    fs.mkdir("bucket")
    # A store that some other test has asked for would be kept, whatever is attached now.
    airflow_stores._STORE_CACHE.pop("s3", None)
    airflow_stores.attach("s3", fs=fs)
    (tmp_path / "spool").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "spool"))
    return fs


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


def test_a_bucket_that_is_not_there_is_found_before_anything_is_read(s3: Any) -> None:
    with pytest.raises(CrmInputError, match="cannot be written to"):
        target_at("s3://nowhere/x.jsonl").open()


def test_what_fails_keeps_the_old_object(s3: Any) -> None:
    s3.pipe("bucket/x.jsonl", b"old")
    target = target_at("s3://bucket/x.jsonl")
    target.open().write(b"half")
    target.abandon()
    assert s3.cat("bucket/x.jsonl") == b"old"
    assert s3.find("bucket") == ["bucket/x.jsonl"]
