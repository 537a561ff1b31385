"""CSV as people really send it: other delimiters, line ends in cells, bytes that are no UTF-8, quotes left open."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.rows.csv_lines import CsvLines
from airflow_provider_crm.rows.sources import FileSource, Row, UnreadableRow, open_source


def test_cells_are_texts_and_empty_ones_none(read: Any, write: Any) -> None:
    path = write("a.csv", 'email,city,note\na@x.fr,Paris,""\nb@x.fr,," "\n')
    rows = read(path)
    assert (rows.good, rows.bad) == (
        [
            {"email": "a@x.fr", "city": "Paris", "note": None},
            {"email": "b@x.fr", "city": None, "note": " "},
        ],
        [],
    )


def test_a_text_that_comes_again_is_kept_once(read: Any, write: Any) -> None:
    lines = [(f"p{number}@x.fr", f"city {number % 3}") for number in range(2500)]
    rows = read(write("a.csv", "email,city\n" + "".join(f"{email},{city}\n" for email, city in lines)))
    assert [(row["email"], row["city"]) for row in rows.good] == lines
    assert len({id(row["city"]) for row in rows.good}) < 50


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_header_tells_the_delimiter(read: Any, write: Any, delimiter: str) -> None:
    path = write("a.csv", f'email{delimiter}"a,b;c\td;,"\nx{delimiter}"y,z;w"\n')
    assert read(path).good == [{"email": "x", "a,b;c\td;,": "y,z;w"}]


def test_one_column_needs_no_delimiter(read: Any, write: Any) -> None:
    assert read(write("a.csv", 'email\na@x.fr\n\n""\nb@x.fr')).good == [
        {"email": "a@x.fr"},
        {"email": None},
        {"email": "b@x.fr"},
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\r\n"])
def test_line_ends(read: Any, write: Any, end: str) -> None:
    path = write("a.csv", end.join(["a,b", "1,2", "", "   ", '"x\ny",4', ""]))
    rows = read(path)
    assert rows.good == [{"a": "1", "b": "2"}, {"a": "x\ny", "b": "4"}]
    assert not rows.bad, "blank lines are no rows"


def test_a_quoted_nothing_is_no_blank_line(read: Any, write: Any) -> None:
    rows = read(write("a.csv", 'a,b\n""\n" "\n \n1,2\n'))
    assert [row.data for row in rows.all] == [{"cells": [""]}, {"cells": [" "]}, {"a": "1", "b": "2"}]


def test_separators_that_only_python_takes_for_line_ends_stay_in_the_cell(read: Any, write: Any) -> None:
    path = write("a.csv", "a,b\nx\x0b\x0c\x1c\x85\u2028y,z\n")
    assert read(path).good == [{"a": "x\x0b\x0c\x1c\x85\u2028y", "b": "z"}]


def test_utf8_mark(read: Any, write: Any) -> None:
    assert read(write("a.csv", b'\xef\xbb\xbf"e mail",b\n1,2\n')).good == [{"e mail": "1", "b": "2"}]


def test_too_many_or_too_few_cells(read: Any, write: Any) -> None:
    rows = read(write("a.csv", "a,b\n1,2\n1,2,3\n\n1\n3,4\n"))
    assert rows.good == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert rows.bad == [
        UnreadableRow(2, "a.csv, line 3: the row has 3 cells, the header has 2", {"cells": ["1", "2", "3"]}),
        UnreadableRow(3, "a.csv, line 5: the row has 1 cell, the header has 2", {"cells": ["1"]}),
    ]


def test_bytes_that_are_no_utf8_spoil_their_row_only(read: Any, write: Any) -> None:
    rows = read(write("a.csv", b"a,b\n1,Zo\xc3\xa9\n2,Zo\xe9\n3,Zo\xc3\xa9\n"))
    assert rows.good == [{"a": "1", "b": "Zoé"}, {"a": "3", "b": "Zoé"}]
    assert rows.bad == [
        UnreadableRow(2, "a.csv, line 3: the row is not in UTF-8", {"cells": ["2", "Zo\\xe9"]})
    ]


def test_a_huge_cell(read: Any, write: Any) -> None:
    rows = read(write("a.csv", f"a,b\n1,{'x' * 200_000}\n2,3\n"))
    assert rows.good == [{"a": "2", "b": "3"}]
    assert rows.bad[0].data == {"unparsed": "1," + "x" * 9_998}


def test_a_row_of_very_many_cells_is_kept_in_part(read: Any, write: Any) -> None:
    (lost,) = read(write("a.csv", "a,b\n" + "1," * 30_000 + "\n")).bad
    assert lost.data == {"unparsed": ("1," * 5_000)}


def test_a_line_without_end_does_not_fill_the_memory(
    read: Any, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_crm.rows.streams.BLOCK_BYTES", 1 << 10)
    monkeypatch.setattr("airflow_provider_crm.rows.streams.MAX_LINE_BYTES", 1 << 13)
    rows = read(write("a.csv", "a,b\n" + "1," * 30_000 + "\n3,4\n5,6"))
    assert len(rows.bad) == 1
    assert rows.good == [{"a": "3", "b": "4"}, {"a": "5", "b": "6"}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has no header"),
        (b"\xef\xbb\xbf", "has no header"),
        (b"\n\r\n  \n", "has no header"),
        (b"a,b,a\n1,2,3\n", "several columns named a"),
        (b'""\n1\n', "a column without a name"),
        (b"a,,c\n1,2,3\n", "a column without a name"),
        (b",email\n0,a@x.fr\n", r"index of a data frame .* index=False"),
        (b"pr\xe9nom,b\n1,2\n", r"not in UTF-8.*FileSource\(path, encoding='cp1252'\)"),
        ("a,b\n1,2\n".encode("utf-16-le"), r"UTF-16 without a mark.*encoding='utf-16-le'"),
        (b'a,"b\n1,2\n', "cannot be read as CSV"),
        (b"a,b\r1,2\r", "as old Macs did"),
        (b"PK\x03\x04" + b"a,b" * 20, r"a zip archive, as Excel's \.xlsx is"),
        (b"\xd0\xcf\x11\xe0" + b"a,b" * 20, "an Excel workbook"),
        (b"PAR1" + b"a,b" * 20, r"let its name end in \.parquet"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), r"gzipped, which its name does not say"),
    ],
)
def test_a_header_that_names_no_columns(write: Any, content: bytes, said: str) -> None:
    source = open_source(write("a.csv", content))
    for use in (source.columns, lambda: source.require(["a"]), lambda: list(source)):
        with pytest.raises(CrmInputError, match=said):
            use()


def test_require_names_what_is_missing_and_what_is_there(write: Any) -> None:
    source = open_source(write("a.csv", "email,city\n"))
    source.require(["city", "email"])
    with pytest.raises(
        CrmInputError, match=r"Missing columns in a\.csv: phone, zip\. Columns there: email, city\."
    ):
        source.require(["email", "phone", "zip"])


def test_spaces_in_a_header_are_told(write: Any) -> None:
    with pytest.raises(CrmInputError, match=r"city\. Columns there: email, city \(with spaces around it\)\."):
        open_source(write("a.csv", "email, city\n")).require(["city"])


def test_a_forgotten_header_does_not_bring_people_into_the_log(write: Any) -> None:
    source = open_source(write("a.csv", "jean@example.com,+33 6 12 34 56 78\n"))
    with pytest.raises(CrmInputError) as caught:
        source.require(["email"])
    assert "jean" not in str(caught.value)
    assert "34 56" not in str(caught.value)


def test_gzip(read: Any, write: Any) -> None:
    assert read(write("A.CSV.GZ", gzip.compress(b"a,b\n1,2\n"))).good == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize("cut", [0, 1, 9, 15, -9, -8, -1])
def test_a_gzip_cut_short_is_no_source(write: Any, cut: int) -> None:
    whole = gzip.compress(b"a,b\n" + b"1,2\n" * 1000)
    with pytest.raises(CrmInputError, match=r"a\.csv\.gz is cut short or damaged"):
        list(open_source(write("a.csv.gz", whole[:cut])))


def test_a_damaged_gzip(write: Any) -> None:
    whole = bytearray(gzip.compress(b"a,b\n" + bytes(range(48, 58)) * 1000))
    whole[20:30] = b"\xff" * 10
    with pytest.raises(CrmInputError, match="cut short or damaged"):
        list(open_source(write("a.csv.gz", bytes(whole))))


def test_fraction_read_grows_to_one(write: Any) -> None:
    source = open_source(write("a.csv", "a,b\n" + f"{'x' * 50},{'y' * 50}\n" * 20_000))
    assert source.fraction_read() == 0
    seen = [source.fraction_read() for row in source if row.number % 1000 == 0]
    assert seen == sorted(seen)
    assert len(set(seen)) > 5
    assert source.fraction_read() == 1


_TEXT = st.text(max_size=12) | st.text(alphabet=',;\t"\r\n é', max_size=8)


@st.composite
def _tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    names = st.text(min_size=1, max_size=8).filter(str.strip)
    header = draw(st.lists(names, min_size=1, max_size=5, unique=True))
    row = st.lists(_TEXT, min_size=len(header), max_size=len(header))
    return header, draw(st.lists(row, max_size=8))


@pytest.mark.slow
@given(
    table=_tables(),
    delimiter=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n"]),
    mark=st.booleans(),
)
def test_what_a_csv_writer_writes_is_read_back(
    read: Any, scratch: Path, table: tuple[list[str], list[list[str]]], delimiter: str, end: str, mark: bool
) -> None:
    header, rows = table
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(
        [header, *rows]
    )
    path = scratch / "written.csv"
    path.write_bytes(text.getvalue().encode("utf-8-sig" if mark else "utf-8"))
    expected = [dict(zip(header, [cell or None for cell in row], strict=True)) for row in rows]
    assert (read(path).good, read(path).bad) == (expected, [])


@pytest.mark.slow
@given(
    rows=st.lists(st.tuples(_TEXT, _TEXT, _TEXT), min_size=1, max_size=6),
    block=st.integers(1, 40),
    data=st.data(),
)
def test_a_file_cut_anywhere_keeps_its_whole_rows(
    read: Any, scratch: Path, rows: list[tuple[str, ...]], block: int, data: st.DataObject
) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    body = text.getvalue().encode()
    path = scratch / "cut.csv"
    path.write_bytes(b"a,b,c\n" + body[: data.draw(st.integers(0, len(body)))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("airflow_provider_crm.rows.streams.BLOCK_BYTES", block)
        found = read(path).all
    whole = [dict(zip("abc", [cell or None for cell in row], strict=True)) for row in rows]
    good = [row.data for row in found if isinstance(row, Row)]
    assert good[:-1] == whole[: max(0, len(good) - 1)]
    assert all(isinstance(row, Row) for row in found[: len(good)]), (
        "what follows a row cut in two are its own lines"
    )


@pytest.mark.slow
@given(
    body=st.binary(max_size=200) | st.text(alphabet='a,"\r\n', max_size=60).map(str.encode), gz=st.booleans()
)
def test_any_bytes_give_rows_or_an_input_error(read: Any, scratch: Path, body: bytes, gz: bool) -> None:
    path = scratch / ("any.csv.gz" if gz else "any.csv")
    content = b"a,b\n" + body
    path.write_bytes(gzip.compress(content, 1) if gz else content)
    rows = read(path)
    assert all(list(row) == ["a", "b"] for row in rows.good)
    for row in rows.bad:
        for text in row.data.get("cells") or [row.data["unparsed"]]:
            text.encode()
    path.write_bytes(body)
    with contextlib.suppress(CrmInputError):
        read(path)


@pytest.mark.slow
@given(body=st.binary(max_size=200).map(lambda data: data.replace(b'"', b"'").replace(b"\r", b"")))
def test_without_quotes_every_line_that_is_not_blank_is_one_row(
    read: Any, scratch: Path, body: bytes
) -> None:
    path = scratch / "lines.csv"
    path.write_bytes(b"a,b\n" + body)
    lines = [line.decode(errors="surrogateescape") for line in body.split(b"\n")]
    assert len(read(path).all) == sum(1 for line in lines if line.replace(",", "").strip())


_PIECES = [
    "a",
    "p1@x.fr",
    "12",
    "",
    " ",
    "\u00a0",
    ",",
    ",",
    ",",
    "\n",
    "\n",
    "\n",
    "\r\n",
    "\r",
    '"',
    '""',
    "'=1",
    "-",
    "NULL",
]
_BODY = st.lists(st.sampled_from(_PIECES), max_size=40).map("".join)
_PLAIN_LINES = st.lists(
    st.tuples(*2 * [st.sampled_from(["a", "b", "p1@x.fr", "", " ", "NULL", "'=1", "\udcff"])]), max_size=12
)


@pytest.mark.slow
@given(
    bodies=st.lists(
        _BODY | _PLAIN_LINES.map(lambda rows: "".join(f"{a},{b}\n" for a, b in rows)), max_size=4
    ),
    header=st.sampled_from(["a,b", "a,b,", "a", '"a\n",b']),
    at_once=st.integers(1, 5),
    looked_at=st.integers(1, 4),
    nulls=st.sampled_from([["", "NULL"], [""], ["a"]]),
)
def test_lines_read_at_once_are_those_that_are_looked_at_one_by_one(
    read: Any, scratch: Path, bodies: list[str], header: str, at_once: int, looked_at: int, nulls: list[str]
) -> None:
    path = scratch / "blocks.csv"
    path.write_bytes(f"{header}\n{''.join(bodies)}".encode(errors="surrogateescape"))
    source = FileSource(str(path), null_values=nulls, delimiter=",")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CsvLines, "plain_records", lambda self, width: [])
        expected = read(source).all
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("airflow_provider_crm.rows.csv_lines._AT_ONCE", at_once)
        patch.setattr("airflow_provider_crm.rows.csv_files.LOOKED_AT", looked_at)
        patch.setattr("airflow_provider_crm.rows.shared_cells.MOST_SHARED", 3)
        assert read(source).all == expected


def test_many_lines_with_few_that_have_to_be_looked_at(read: Any, write: Any) -> None:
    lines = [f"{number},p{number}@x.fr\n" for number in range(1, 20_001)]
    lines[1_000] = '1001,"two\nlines"\n'
    lines[5_000] = "\n"
    lines[9_000] = "9001\n"
    lines[15_000] = "15001,\n"
    rows = read(write("a.csv", "id,email\n" + "".join(lines)))
    assert [row["id"] for row in rows.good] == [
        str(number) for number in range(1, 20_001) if number not in (5_001, 9_001)
    ]
    assert (rows.good[1_000]["email"], rows.good[14_998]["email"]) == ("two\nlines", None)
    assert [row.reason for row in rows.bad] == ["a.csv, line 9003: the row has 1 cell, the header has 2"]


def test_rows_before_a_fault_of_the_stream_come_first(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor are more blocks of bytes asked for than a row needs: 200 lines may be some gigabytes."""
    monkeypatch.setattr("airflow_provider_crm.rows.streams.BLOCK_BYTES", 1000)
    whole = gzip.compress(b"id\n" + b"123456789\n" * 1000, 0)  # of 0: as long as what is in it
    source = iter(open_source(write("a.csv.gz", whole[:-1000])))
    rows = []
    with pytest.raises(CrmInputError, match="cut short"):
        rows.extend(source)
    assert len(rows) > 850
