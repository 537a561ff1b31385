"""Files as other programs write them: encodings, delimiters, texts that mean nothing, folders of a warehouse."""

from __future__ import annotations

import codecs
import gzip
import os
from typing import Any

import pyarrow
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.rows.sources import FileSource, open_source


def test_a_file_source_is_its_path(read: Any, write: Any) -> None:
    path = write("a.csv", "a;b\n1;\n")
    assert read(FileSource(path)).all == read(path).all
    assert read(FileSource(os.path.dirname(path))).good == [{"a": "1", "b": None}]


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl", "a.jsonl.gz"])
@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_encodings(read: Any, write: Any, monkeypatch: pytest.MonkeyPatch, name: str, encoding: str) -> None:
    monkeypatch.setattr("airflow_provider_crm.rows.streams.BLOCK_BYTES", 3)
    text = 'prénom,ville\nZoé,"Orléans"\n' if ".csv" in name else '{"prénom": "Zoé", "ville": "Orléans"}\n'
    content = text.encode(encoding)
    path = write(name, gzip.compress(content) if name.endswith("gz") else content)
    assert read(FileSource(path, encoding=encoding)).good == [{"prénom": "Zoé", "ville": "Orléans"}]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_marks_tell_an_encoding(read: Any, write: Any, encoding: str) -> None:
    assert read(write("a.csv", "prénom\tville\nZoé\tOrléans\n".encode(encoding))).good == [
        {"prénom": "Zoé", "ville": "Orléans"}
    ]


def test_two_marks_of_utf8(read: Any, write: Any) -> None:
    assert read(write("a.csv", codecs.BOM_UTF8 * 2 + b"a,b\n1,2\n")).good == [{"a": "1", "b": "2"}]
    assert read(write("a.jsonl", codecs.BOM_UTF8 * 2 + b'{"a": 1}\n')).good == [{"a": 1}]


def test_bytes_that_are_not_in_the_encoding_spoil_their_row_only(read: Any, write: Any) -> None:
    rows = read(FileSource(write("a.csv", b"a,b\n1,Zo\xe9\n2,\x81\x8d\n3,x\n"), encoding="cp1252"))
    assert rows.good == [{"a": "1", "b": "Zoé"}, {"a": "3", "b": "x"}]
    assert rows.bad[0].reason == "a.csv, line 3: the row is not in cp1252"


def test_a_file_cut_in_the_middle_of_its_encoding(write: Any) -> None:
    with pytest.raises(CrmInputError, match=r"a\.csv is not in utf-16"):
        list(open_source(write("a.csv", "a,b\n1,2\n".encode("utf-16")[:-1])))


def test_null_values(read: Any, write: Any) -> None:
    nulls = ("", "NULL", r"\N")
    path = write("a.csv", "a,b,c\nNULL,\\N,x\n1,,null\n")
    assert read(FileSource(path, null_values=nulls)).good == [
        {"a": None, "b": None, "c": "x"},
        {"a": "1", "b": None, "c": "null"},
    ]
    assert read(FileSource(path, null_values=["NULL"])).good[1] == {"a": "1", "b": "", "c": "null"}
    path = write("a.jsonl", r'{"a": "NULL", "b": "\\N", "c": ["NULL"], "d": 0}')
    assert read(FileSource(path, null_values=nulls)).good == [{"a": None, "b": None, "c": ["NULL"], "d": 0}]


def test_a_delimiter_of_ones_own(read: Any, write: Any) -> None:
    assert read(FileSource(write("a.csv", "a|b,c\n1|2,3\n"), delimiter="|")).good == [
        {"a": "1", "b,c": "2,3"}
    ]


@pytest.mark.parametrize("line", ["sep=;\n", '"sep=;"\r\n', "SEP=;\n"])
def test_excels_own_line_before_the_header(read: Any, write: Any, line: str) -> None:
    rows = read(write("a.csv", f"{line}a,b;c\n1;2\n3;4;5\n"))
    assert rows.good == [{"a,b": "1", "c": "2"}]
    assert rows.bad[0].reason.startswith("a.csv, line 4: ")


def test_a_delimiter_at_the_end_of_the_header(read: Any, write: Any) -> None:
    rows = read(write("a.csv", "a;b;\n1;2;\n3;4\n5;;\n6;7;8\n;;\n"))
    assert rows.good == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}, {"a": "5", "b": None}]
    assert [row.data for row in rows.bad] == [{"cells": ["6", "7", "8"]}]


def test_rows_of_nothing_but_delimiters_are_blank_lines(read: Any, write: Any) -> None:
    rows = read(write("a.csv", 'a;b;c\n1;2;3\n;;\n;;;;\n"";"";""\n'))
    assert rows.good == [{"a": "1", "b": "2", "c": "3"}, {"a": None, "b": None, "c": None}]
    assert not rows.bad


@pytest.mark.parametrize("blank", ["  ; ;  ", " ;;", ";; ", "   ", " ; ", "\t;\t;"])
def test_blanks_and_delimiters_alone_are_a_blank_line_too(read: Any, write: Any, blank: str) -> None:
    rows = read(write("a.csv", f'a;b;c\n{blank}\n1;2; \n{blank}\n" ";" ";" "\n'))
    assert rows.good == [{"a": "1", "b": "2", "c": " "}, {"a": " ", "b": " ", "c": " "}]
    assert not rows.bad


def test_texts_escaped_against_spreadsheets_are_read_as_they_were(read: Any, write: Any) -> None:
    path = write("a.csv", "a,b,c\n'=1+1,'+33612345678,''@x\n'tis,d'-e,'\n")
    assert read(path).good == [
        {"a": "=1+1", "b": "+33612345678", "c": "'@x"},
        {"a": "'tis", "b": "d'-e", "c": "'"},
    ]


def test_a_plain_file_with_the_name_of_a_gzipped_one(write: Any) -> None:
    with pytest.raises(CrmInputError, match=r"a\.csv\.gz is no gzip file"):
        list(open_source(write("a.csv.gz", "a,b\n1,2\n")))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"encoding": "klingon"}, "`encoding` is one that Python knows"),
        ({"delimiter": ";;"}, "`delimiter` is one character"),
        ({"delimiter": '"'}, "`delimiter` is one character"),
        ({"null_values": "NULL"}, "`null_values` is a list of texts"),
        ({"null_values": [None]}, "`null_values` is a list of texts"),
        ({"null_values": 5}, "`null_values` is a list of texts"),
    ],
)
def test_what_makes_no_sense(write: Any, said: dict[str, Any], words: str) -> None:
    with pytest.raises(CrmInputError, match=words):
        open_source(FileSource(write("a.csv", "a\n"), **said))


def test_a_folder_as_a_warehouse_writes_it(read: Any, write: Any) -> None:
    write("in/dt=2026-01-01/country=fr/part-0.csv", "a\n1\n")
    write("in/dt=2026-01-02/country=c%C3%B4te/part-0.jsonl", '{"a": "2"}\n')
    write("in/dt=2026-01-02/country=__HIVE_DEFAULT_PARTITION__/part-0.csv", "a\nbad,row\n3\n")
    write("in/dt=2026-01-02/country=fr/_temporary/part-1.csv", "a\n9\n")
    folder = os.path.dirname(write("in/_SUCCESS", ""))
    rows = read(folder)
    assert rows.good == [
        {"a": "1", "dt": "2026-01-01", "country": "fr"},
        {"a": "3", "dt": "2026-01-02", "country": None},
        {"a": "2", "dt": "2026-01-02", "country": "côte"},
    ]
    assert len(rows.bad) == 1
    source = open_source(folder)
    assert source.columns() == ["a", "dt", "country"]
    source.require(["a", "country"])


def test_a_key_of_a_folder_that_is_also_a_column(write: Any) -> None:
    path = write("in/dt=2026-01-01/a.csv", "a,dt\n1,2\n")
    with pytest.raises(CrmInputError, match="several columns named dt"):
        open_source(os.path.dirname(os.path.dirname(path))).columns()


def test_a_folder_of_other_folders_says_how_to_read_them(write: Any) -> None:
    path = write("in/january/a.csv", "a\n1\n")
    with pytest.raises(CrmInputError, match=r"in subfolders: .*in/\*\*/\*\.csv reads them"):
        open_source(os.path.dirname(os.path.dirname(path)))


def test_a_data_frame_is_told_what_to_do() -> None:
    with pytest.raises(CrmInputError, match=r"cannot be a Table: .* pandas \.to_dict\('records'\)"):
        open_source(pyarrow.table({"a": [1]}))


def test_a_folder_as_a_warehouse_writes_it_in_an_object_store(read: Any, store: MemoryFileSystem) -> None:
    store.pipe_file("/bucket/in/dt=2026-01-01/a.csv", b"a\n1\n")
    store.pipe_file("/bucket/in/dt=2026-01-02/country=fr/b.jsonl", b'{"a": 2}')
    for folder in ("memory://bucket/in", "memory://bucket/in/"):
        assert read(folder).good == [
            {"a": "1", "dt": "2026-01-01"},
            {"a": 2, "dt": "2026-01-02", "country": "fr"},
        ]
