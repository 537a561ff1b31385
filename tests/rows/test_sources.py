"""What a task may be given as its source, and what it is told when it is given something else."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_crm._compat import BaseOperator, ObjectStoragePath
from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.rows.row import by_column
from airflow_provider_crm.rows.sources import Row, Source, SqlSource, UnreadableRow, open_source


class LazySequence(Sequence[Any]):
    """As Airflow's XComs of mapped tasks: no list, and every item costs a request."""

    def __init__(self, items: list[Any]) -> None:
        self._items = items

    def __getitem__(self, index: Any) -> Any:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)


@pytest.mark.parametrize("kind", [list, tuple, LazySequence])
def test_a_sequence_of_dicts(read: Any, kind: Any) -> None:
    source = open_source(kind([{"a": 1}, {"b": None}]))
    assert isinstance(source, Source)
    assert source.description == "a list of 2 rows"
    assert read(source).all == [Row(1, {"a": 1}), Row(2, {"b": None})]
    assert source.columns() == ["a", "b"]
    source.require(["a", "b"])
    with pytest.raises(CrmInputError, match=r"Missing columns in the list: c\. Columns there: a, b\."):
        source.require(["a", "c"])


def test_an_empty_list(read: Any) -> None:
    source = open_source([])
    assert read(source).all == []
    assert source.columns() is None
    source.require(["anything"])
    assert source.fraction_read() == 0


def test_items_that_are_no_rows(read: Any) -> None:
    rows = read([{"a": 1}, "b@x.fr", None, {1: 2}, {"a": 5}])
    assert rows.good == [{"a": 1}, {"a": 5}]
    assert rows.bad == [
        UnreadableRow(2, "a row must be a dict with texts as keys, this is a str", {"unparsed": "'b@x.fr'"}),
        UnreadableRow(3, "a row must be a dict with texts as keys, this is a NoneType", {"unparsed": "None"}),
        UnreadableRow(4, "a row must be a dict with texts as keys, this is a dict", {"unparsed": "{1: 2}"}),
    ]


def test_a_row_is_a_copy() -> None:
    items = [{"a": 1}]
    next(iter(open_source(items))).data["a"] = 2
    assert items == [{"a": 1}]


def test_how_far_a_list_is_read() -> None:
    source = open_source([{}] * 4)
    assert [source.fraction_read() for _ in source] == [0.25, 0.5, 0.75, 1]


def test_an_open_source_is_given_back() -> None:
    source = open_source([{"a": 1}])
    assert open_source(source) is source


@pytest.mark.parametrize("path_type", [str, Path])
def test_a_path(read: Any, write: Any, path_type: Any) -> None:
    path = path_type(write("a.csv", "a\n1\n"))
    assert open_source(path).description == "1 CSV file"
    assert read(path).good == [{"a": "1"}]


def test_a_file_uri(read: Any, write: Any) -> None:
    uri = "file://" + write("a.csv", "a\n1\n")
    assert read(uri).good == [{"a": "1"}]
    assert read(ObjectStoragePath(uri)).good == [{"a": "1"}]


def _folder(write: Any) -> str:
    write("in/b.JSONL", '{"a": 2}\n')
    write("in/a.csv", "a\n1\n")
    write("in/c.csv.gz", gzip.compress(b"a\n3\nbad,4\n"))
    write("in/d.jsonl.gz", gzip.compress(b'{"a": 5}'))
    write("in/readme.txt", "not a source")
    write("in/_SUCCESS", "")
    write("in/.hidden.csv", "a\n99\n")
    path = write("in/deeper/e.csv", "a\n6\n")
    return os.path.dirname(os.path.dirname(path))


def test_a_folder_reads_all_its_files_in_order(read: Any, write: Any) -> None:
    folder = _folder(write)
    for path in (folder, folder + "/", folder + "/*"):
        source = open_source(path)
        assert source.description == "4 CSV and JSONL files"
        rows = read(source)
        assert [(row.number, row.data) for row in rows.all] == [
            (1, {"a": "1"}),
            (2, {"a": 2}),
            (3, {"a": "3"}),
            (4, {"cells": ["bad", "4"]}),
            (5, {"a": 5}),
        ]
        assert source.fraction_read() == 1


@pytest.mark.parametrize(
    ("pattern", "values"),
    [("*.csv", ["1"]), ("?.csv*", ["1", "3"]), ("[b-z].jsonl*", [5]), ("**/*.csv", ["1", "6"])],
)
def test_a_pattern(read: Any, write: Any, pattern: str, values: list[Any]) -> None:
    folder = _folder(write)
    assert [row["a"] for row in read(f"{folder}/{pattern}").good] == values


def test_a_file_whose_name_looks_like_a_pattern(read: Any, write: Any) -> None:
    write("a1.csv", "a\n2\n")
    assert read(write("a[1].csv", "a\n1\n")).good == [{"a": "1"}]


def test_folders_among_the_files_are_passed_over(read: Any, write: Any) -> None:
    path = write("spark.csv/part-0.csv", "a\n1\n")
    folder = os.path.dirname(path)
    assert read(folder).good == [{"a": "1"}]
    with pytest.raises(CrmInputError, match="has no file whose name ends in"):
        open_source(os.path.dirname(folder))


def test_every_file_with_a_header_needs_the_columns(write: Any, tmp_path: Path) -> None:
    write("in/a.csv", "a,b\n")
    path = write("in/b.csv", "a\n")
    source = open_source(os.path.dirname(path))
    assert source.columns() == ["a", "b"]
    source.require(["a"])
    with pytest.raises(CrmInputError, match=r"Missing columns in b\.csv: b\."):
        source.require(["a", "b"])


def test_json_lines_files_may_differ(write: Any) -> None:
    write("in/a.jsonl", '{"a": 1}\n')
    path = write("in/b.jsonl", '{"b": 1}\n')
    source = open_source(os.path.dirname(path))
    source.require(["a", "b"])
    with pytest.raises(CrmInputError, match="Missing columns in the 2 JSONL files: c"):
        source.require(["c"])


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (None, "cannot be a NoneType: give a list of dicts, a path, a FileSource or a SqlSource"),
        (5, "cannot be a int"),
        ({"a": 1}, "cannot be a dict"),
        (b"a.csv", "cannot be a bytes"),
        (iter([{"a": 1}]), "cannot be a list_iterator"),
        ("", "empty text"),
        ("  ", "empty text"),
        ("[{'email': 'a@x.fr'}]", "render_template_as_native_obj"),
        ('{"email": "a@x.fr"}', "render_template_as_native_obj"),
        ("/no/such/file.csv", "There is no file or folder /no/such/file.csv"),
        ("nope://bucket/a.csv", "nope://.* cannot be opened"),
        ("s3://bucket/a.csv", "Install the Airflow provider"),
    ],
)
def test_what_is_no_source(source: Any, said: str) -> None:
    with pytest.raises(CrmInputError, match=said) as caught:
        open_source(source)
    assert "a@x.fr" not in str(caught.value)


def test_files_that_are_no_source(write: Any, tmp_path: Path) -> None:
    with pytest.raises(CrmInputError, match=r"a\.xlsx is of no known format: .* \.csv \.csv\.gz \.jsonl"):
        open_source(write("a.xlsx", ""))
    with pytest.raises(CrmInputError, match="has no file whose name ends in"):
        open_source(tmp_path)
    with pytest.raises(CrmInputError, match="has no file whose name ends in"):
        open_source(str(tmp_path / "*.csv"))


def test_a_file_that_is_gone_when_it_is_read(write: Any) -> None:
    path = write("a.csv", "a\n1\n")
    source = open_source(path)
    os.remove(path)
    with pytest.raises(CrmInputError, match=r"a\.csv of the source cannot be opened: No such file"):
        list(source)


def test_a_folder_that_may_not_be_looked_into(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> Any:
        raise PermissionError(13, "Permission denied")

    folder = os.path.dirname(write("a.csv", "a\n1\n"))
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(CrmInputError, match="This worker is not allowed to look at"):
        open_source(folder)


@pytest.mark.parametrize("as_object", [False, True])
def test_an_object_store(read: Any, store: MemoryFileSystem, tmp_path: Path, as_object: bool) -> None:
    pq.write_table(pa.table({"a": [4]}), tmp_path / "d.parquet")
    store.pipe_file("/bucket/in/a.csv", b"a\n1\n")
    store.pipe_file("/bucket/in/b.jsonl", b'{"a": 2}')
    store.pipe_file("/bucket/in/c.csv.gz", gzip.compress(b"a\n3\n"))
    store.put_file(str(tmp_path / "d.parquet"), "/bucket/in/d.parquet")
    store.pipe_file("/bucket/in/.hidden.csv", b"a\n0\n")
    store.pipe_file("/bucket/in/deeper/e.csv", b"a\n5\n")

    def at(uri: str) -> Any:
        return ObjectStoragePath(uri) if as_object else uri

    assert read(at("memory://bucket/in/a.csv")).good == [{"a": "1"}]
    for folder in ("memory://bucket/in", "memory://bucket/in/", "memory://bucket/in/*"):
        source = open_source(at(folder))
        assert source.description == "4 CSV, JSONL and Parquet files"
        assert [row["a"] for row in read(source).good] == ["1", 2, "3", 4]
        assert source.fraction_read() == 1
    assert [row["a"] for row in read(at("memory://bucket/in/[b-c].*")).good] == [2, "3"]
    with pytest.raises(CrmInputError, match="There is no file or folder memory:"):
        open_source(at("memory://bucket/nothing.csv"))


def test_a_source_is_read_in_part_without_harm(write: Any) -> None:
    path = write("a.csv", "a\n1\n2\n")
    source = open_source(path)
    first = iter(source)
    assert next(first).data == next(iter(source)).data == {"a": "1"}
    assert [row.number for row in first] == [2]


def test_airflow_renders_a_sql_source() -> None:
    class Task(BaseOperator):
        template_fields = ("source",)

        def __init__(self, *, source: Any, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.source = source

    source = SqlSource("{{ which }}", "SELECT * FROM t WHERE day = :day", {"day": "{{ day }}"})
    task = Task(task_id="task", source=source)
    task.render_template_fields({"which": "warehouse", "day": "2024-01-02"})
    assert task.source == SqlSource("warehouse", "SELECT * FROM t WHERE day = :day", {"day": "2024-01-02"})


def test_sql_source_is_what_airflow_expects_of_a_templated_object() -> None:
    source = SqlSource("warehouse", "SELECT 1", {"day": "{{ ds }}"})
    assert repr(source) == "SqlSource(conn_id='warehouse', sql='SELECT 1', parameters={'day': '{{ ds }}'})"
    assert source == SqlSource(conn_id="warehouse", sql="SELECT 1", parameters={"day": "{{ ds }}"})
    source.conn_id = "other"
    assert all(hasattr(source, name) for name in SqlSource.template_fields)
    assert json.dumps(SqlSource.template_fields) == '["conn_id", "sql", "parameters"]'


def test_rows_are_taken_by_column_where_all_have_the_same(write: Any) -> None:
    rows = [row for row in open_source(write("a.csv", "a,b\n1,\n2,y\n")) if isinstance(row, Row)]
    assert by_column(rows) == {"a": ("1", "2"), "b": (None, "y")}
    others = [row for row in open_source(write("b.csv", "b,a\n1,2\n")) if isinstance(row, Row)]
    assert by_column(rows + others) is None
    assert by_column([Row(1, {"a": "1", "b": None})]) is None
