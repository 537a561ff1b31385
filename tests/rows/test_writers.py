"""Files of every format, and that each is whole or absent."""

from __future__ import annotations

import csv
import datetime as dt
import errno
import gzip
import io
import json
import os
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.rows import parquet_writer
from airflow_provider_crm.rows.sources import open_source
from airflow_provider_crm.rows.targets import GIVEN_AT_ONCE, target_at
from airflow_provider_crm.rows.writers import check_suffix, format_for
from airflow_provider_crm.schemas.records import Column, RecordType

COLUMNS = (
    Column("id", "text", "", required=True),
    Column("name", "text", ""),
    Column("isBuyer", "boolean", ""),
    Column("count", "integer", ""),
    Column("amount", "decimal", ""),
    Column("at", "moment", ""),
    Column("local", "local_moment", ""),
    Column("day", "date", ""),
    Column("tags", "texts", ""),
    Column("fields", "named_values", ""),
    Column("ids", "map", ""),
    Column("Prénom d'usage", "text", ""),
)
TYPE = RecordType("things", COLUMNS, key="id")


def record(number: int, unknown: tuple[str, ...] = (), **values: Any) -> Any:
    return TYPE.structure(unknown, {})(id=str(number), **values)


FULL: dict[str, Any] = {
    "name": 'Zoé, "the\nfirst"',
    "isBuyer": False,
    "count": 3,
    "amount": "-12.50",
    "at": dt.datetime(2018, 4, 10, 14, 15, 48, tzinfo=dt.UTC),
    "local": "2018-06-11T13:03:05+02:00",
    "day": dt.date(1980, 5, 5),
    "tags": ["a", "b|c"],
    "fields": {"34567": {"name": "Sport", "value": "Basket"}},
    "ids": {"1": "True", "2": None},
    COLUMNS[-1].attribute: "Léa",
}


def write(path: Path, *pages: list[Any], unknown: tuple[str, ...] = (), **options: Any) -> Path:
    file_format = format_for(str(path), COLUMNS, metadata={"crm.timezone": "Europe/Paris"}, **options)
    target = target_at(path)
    writer = file_format.open(target.open())
    for page in pages:
        writer.write(file_format.encode(page, unknown))
        target.give_to_disk()
    writer.finish()
    assert target.commit() == path.stat().st_size
    return path


def text_of(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".JSONL"])
def test_json_lines(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"x{suffix}", [record(1, **FULL)], [record(2)])
    first, second = map(json.loads, text_of(path).splitlines())
    assert first == {
        "id": "1",
        "name": 'Zoé, "the\nfirst"',
        "isBuyer": False,
        "count": 3,
        "amount": "-12.50",
        "at": "2018-04-10T14:15:48Z",
        "local": "2018-06-11T13:03:05+02:00",
        "day": "1980-05-05",
        "tags": ["a", "b|c"],
        "fields": {"34567": {"name": "Sport", "value": "Basket"}},
        "ids": {"1": "True", "2": None},
        "Prénom d'usage": "Léa",
    }
    assert list(second) == [column.name for column in COLUMNS]
    assert set(second.values()) == {"2", None}


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_csv(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"x{suffix}", [record(1, **FULL), record(2)])
    first, second = csv.DictReader(io.StringIO(text_of(path), newline=""))
    assert first["name"] == 'Zoé, "the\nfirst"'
    assert (first["isBuyer"], first["count"], first["amount"]) == ("false", "3", "-12.50")
    assert (first["at"], first["local"], first["day"]) == (
        "2018-04-10T14:15:48+00:00",
        "2018-06-11T13:03:05+02:00",
        "1980-05-05",
    )
    assert json.loads(first["tags"]) == ["a", "b|c"]
    assert json.loads(first["fields"]) == {"34567": {"name": "Sport", "value": "Basket"}}
    assert first["Prénom d'usage"] == "Léa"
    assert {name for name, cell in second.items() if cell} == {"id"}


def test_parquet(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", [record(1, **FULL)], [record(2)])
    table = pyarrow.parquet.read_table(path)
    first, second = table.to_pylist()
    assert first["amount"] == Decimal("-12.50")
    assert first["at"] == dt.datetime(2018, 4, 10, 14, 15, 48, tzinfo=dt.UTC)
    assert first["local"] == dt.datetime(2018, 6, 11, 11, 3, 5, tzinfo=dt.UTC)
    assert first["day"] == dt.date(1980, 5, 5)
    assert first["tags"] == ["a", "b|c"]
    assert first["fields"] == [("34567", {"name": "Sport", "value": "Basket"})]
    assert first["ids"] == [("1", "True"), ("2", None)]
    assert first["isBuyer"] is False
    assert set(second.values()) == {"2", None}
    assert table.schema.metadata[b"crm.timezone"] == b"Europe/Paris"


@pytest.mark.parametrize("sign", ["\r", "\n", "\r\n", '"', ",", "\n\r"])
def test_csv_cells_with_signs_of_their_own_are_quoted_on_every_python(tmp_path: Path, sign: str) -> None:
    text = f"a{sign}b"
    path = write(tmp_path / "x.csv", [record(1, name=text), record(2, name=text + sign)])
    assert f'"a{sign.replace(chr(34), chr(34) * 2)}b"' in path.read_bytes().decode()
    assert [row.data["name"] for row in open_source(str(path))] == [text, text + sign]


TEXTS = ["=1+1", "+33612345678", "-", "@x", "'=1", "''@", "'tis", "x=1", "", " =1"]
ESCAPED = ["'=1+1", "'+33612345678", "'-", "'@x", "''=1", "'" + "''@", "'tis", "x=1", "", " =1"]


def test_csv_texts_that_a_spreadsheet_would_compute_are_escaped_when_asked_for(tmp_path: Path) -> None:
    page = [record(number, name=text, amount="-12.50") for number, text in enumerate(TEXTS)]
    plain, escaped = (
        write(tmp_path / f"{asked}.csv", page, csv_escape_formulas=asked) for asked in (False, True)
    )
    assert [row["name"] for row in csv.DictReader(io.StringIO(text_of(plain), newline=""))] == TEXTS
    rows = list(csv.DictReader(io.StringIO(text_of(escaped), newline="")))
    assert [row["name"] for row in rows] == ESCAPED
    assert {row["amount"] for row in rows} == {"-12.50"}, "a number is one"
    assert [row.data["name"] or "" for row in open_source(str(escaped))] == TEXTS


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".parquet"])
def test_an_empty_result_is_a_valid_file(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"x{suffix}")
    if suffix == ".parquet":
        table = pyarrow.parquet.read_table(path)
        assert table.num_rows == 0
        assert table.column_names == [*(column.name for column in COLUMNS), "extra"]
    elif suffix.startswith(".csv"):
        assert next(csv.reader([text_of(path)])) == [*(column.name for column in COLUMNS), "extra"]
    else:
        assert text_of(path) == ""


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_fields_that_no_column_is_for_are_kept(tmp_path: Path, suffix: str) -> None:
    unknown = ("loyalty level", "score")
    pages = [record(1, unknown, unknown_0={"a": [1]}, unknown_1=Decimal("1.10")), record(2, unknown)]
    path = write(tmp_path / f"x{suffix}", pages, unknown=unknown)
    if suffix == ".jsonl":
        first, second = text_of(path).splitlines()
        assert first.endswith('"loyalty level":{"a":[1]},"score":1.10}')
        assert "score" not in second
        return
    if suffix == ".csv":
        extras = [row["extra"] for row in csv.DictReader(io.StringIO(text_of(path)))]
    else:
        extras = [row["extra"] or "" for row in pyarrow.parquet.read_table(path).to_pylist()]
    assert extras == ['{"loyalty level":{"a":[1]},"score":1.10}', ""]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_records_can_be_left_out_of_a_block(suffix: str) -> None:
    file_format = format_for(f"x{suffix}", COLUMNS, metadata={})
    block = file_format.encode([record(n, **FULL) for n in range(5)], ())
    shorter = block.without({0, 3})
    assert (block.rows, shorter.rows) == (5, 3)


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    for suffix in (".jsonl.gz", ".csv.gz", ".parquet"):
        one = write(tmp_path / f"one{suffix}", [record(1, **FULL)]).read_bytes()
        time.sleep(0.01)
        assert write(tmp_path / f"two{suffix}", [record(1, **FULL)]).read_bytes() == one


def test_row_groups_are_of_a_size_that_readers_like(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_writer, "ROW_GROUP", 100)
    pages = [[record(n) for n in range(40)]] * 10
    path = write(tmp_path / "x.parquet", *pages)
    groups = pyarrow.parquet.ParquetFile(path).metadata
    assert [groups.row_group(n).num_rows for n in range(groups.num_row_groups)] == [120, 120, 120, 40]


@pytest.mark.parametrize("name", ["x", "x.txt", "x.parquet.gz", "x.json", "jsonl", ""])
def test_an_unknown_suffix_is_refused(name: str) -> None:
    with pytest.raises(CrmInputError, match="known format"):
        check_suffix(f"/some/{name}")


# The place of a file


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("old")
    target = target_at(path)
    target.open().write(b"new")
    assert path.read_text() == "old"
    target.commit()
    assert path.read_text() == "new"
    assert parts(tmp_path) == ["x.jsonl"]


def test_what_is_abandoned_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("old")
    target = target_at(path)
    target.open().write(b"new")
    target.abandon()
    target.abandon()
    assert path.read_text() == "old"
    assert parts(tmp_path) == ["x.jsonl"]


def test_what_a_killed_task_left_is_removed_a_day_later(tmp_path: Path) -> None:
    old, fresh, other = (tmp_path / name for name in (".x.csv.1.part", ".x.csv.2.part", ".y.csv.1.part"))
    for path in (old, fresh, other):
        path.touch()
    for path in (old, other):
        os.utime(path, (time.time() - 90_000,) * 2)
    target = target_at(tmp_path / "x.csv")
    target.open()
    target.abandon()
    assert parts(tmp_path) == [".x.csv.2.part", ".y.csv.1.part"]


def test_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "2026" / "11" / "x.jsonl"
    target = target_at(path.as_uri())
    target.open()
    target.commit()
    assert path.exists()


@pytest.mark.parametrize("kind", ["folder", "file in the way", "too long"])
def test_a_place_that_cannot_be_written_to_is_found_at_once(tmp_path: Path, kind: str) -> None:
    if kind == "folder":
        path = tmp_path / "x.jsonl"
        path.mkdir()
    elif kind == "file in the way":
        (tmp_path / "file").touch()
        path = tmp_path / "file" / "x.jsonl"
    else:
        path = tmp_path / ("x" * 300 + ".jsonl")
    with pytest.raises(CrmInputError, match="cannot be written to"):
        target_at(path).open()


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="a system without it")
def test_the_disk_begins_with_what_was_written_before_the_file_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[int, int, int]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _, *advice: given.append(advice))
    target = target_at(tmp_path / "x.jsonl")
    file = target.open()
    part = GIVEN_AT_ONCE // 2 + 1
    for _ in range(5):
        file.write(b"x" * part)
        target.give_to_disk()
    assert given == [
        (0, 2 * part, os.POSIX_FADV_DONTNEED),
        (2 * part, 2 * part, os.POSIX_FADV_DONTNEED),
    ]
    assert target.commit() == 5 * part


def no_advice(*_: Any) -> None:
    raise OSError(errno.EINVAL, "Invalid argument")


@pytest.mark.parametrize("advice", [no_advice, None])
def test_a_file_comes_into_being_where_the_disk_takes_no_advice(
    advice: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if advice is None:
        monkeypatch.delattr(os, "posix_fadvise", raising=False)
    else:
        monkeypatch.setattr(os, "posix_fadvise", advice, raising=False)
    target = target_at(tmp_path / "x.jsonl")
    data = b"x" * GIVEN_AT_ONCE
    target.open().write(data)
    target.give_to_disk()
    target.commit()
    assert (tmp_path / "x.jsonl").read_bytes() == data


def test_the_place_of_two_tasks_at_once_is_not_shared(tmp_path: Path) -> None:
    one, two = target_at(tmp_path / "x.jsonl"), target_at(tmp_path / "x.jsonl")
    one.open().write(b"one")
    two.open().write(b"two")
    one.commit()
    two.commit()
    assert (tmp_path / "x.jsonl").read_text() == "two"


# An object store


def test_an_object_is_put_whole(
    store: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    target = target_at("memory://bucket/folder/x.jsonl")
    (tmp_path / "crm-export-other-1.part").touch()
    target.open().write(b"rows")
    assert store.find("/bucket") == []
    assert target.commit() == 4
    assert store.find("/bucket") == ["/bucket/folder/x.jsonl"]
    assert store.cat("/bucket/folder/x.jsonl") == b"rows"
    assert parts(tmp_path) == ["crm-export-other-1.part"]


def test_an_object_that_is_abandoned_leaves_nothing(
    store: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    target = target_at("memory://bucket/x.jsonl")
    target.open().write(b"rows")
    target.abandon()
    assert store.find("/bucket") == []
    assert parts(tmp_path) == []
