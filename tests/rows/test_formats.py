"""JSON lines, rejects files among them, and Parquet."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.rows.sources import Row, UnreadableRow, open_source

PYARROW = int(pa.__version__.partition(".")[0])

# --- JSON lines -------------------------------------------------------------------------------------------------------


def test_json_lines(read: Any, write: Any) -> None:
    path = write("a.jsonl", b'\xef\xbb\xbf{"a": 1, "b": null}\r\n\n  \t\n{"a": {"c": [true, 1.5]}}')
    assert read(path).all == [Row(1, {"a": 1, "b": None}), Row(2, {"a": {"c": [True, 1.5]}})]


def test_big_numbers_keep_every_digit(read: Any, write: Any) -> None:
    assert read(write("a.jsonl", '{"id": 123456789012345678901234567890}')).good == [
        {"id": 123456789012345678901234567890}
    ]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_no_rows_are_a_source(read: Any, write: Any, name: str) -> None:
    source = open_source(write(name, gzip.compress(b"") if name.endswith("gz") else b""))
    assert read(source).all == []
    assert source.columns() is None
    source.require(["email"])


def test_a_gzip_of_no_bytes_is_cut_short(write: Any) -> None:
    with pytest.raises(CrmInputError, match="cut short"):
        list(open_source(write("a.jsonl.gz", b"")))


@pytest.mark.parametrize(
    "line",
    [
        b"nope",
        b"[1]",
        b"null",
        b'{"a":1',
        b'{"a":1}}',
        b'{"a":NaN}',
        b'{"a":1e400}',
        b'{"a":"\\ud800"}',
        b'{"a":"Zo\xe9"}',
        b'{"a":' + b"[" * 5_000,
        b'{"a":' + b"9" * 5_000 + b"}",
        b"\x00",
    ],
)
def test_a_line_that_is_no_object(read: Any, write: Any, line: bytes) -> None:
    rows = read(write("a.jsonl", b'{"a":1}\n\n' + line + b'\n{"a":3}\n'))
    assert rows.good == [{"a": 1}, {"a": 3}]
    (lost,) = rows.bad
    assert lost.reason.startswith("a.jsonl, line 3: no JSON object (")
    assert lost.data == {"unparsed": line.decode(errors="backslashreplace")}


@pytest.mark.parametrize("between", ["", "\r", ", ", " ", "\x1e"])
@pytest.mark.parametrize(("start", "end"), [("", ""), ("[", "]")])
def test_every_object_of_a_line_counts(read: Any, write: Any, between: str, start: str, end: str) -> None:
    objects = [f'{{"a": "}}{{{number}"}}' for number in range(4)]
    rows = read(write("a.jsonl", f'{{"a":1}}\n{start}{between.join(objects)}{end}\n{{"a":3}}\n'))
    assert rows.good == [{"a": 1}, {"a": 3}]
    assert [row.data["unparsed"] for row in rows.bad] == objects
    said = "a.jsonl, line 2: one of 4 JSON objects, each needs a line of its own"
    assert {row.reason for row in rows.bad} == {said}


def test_an_object_cut_short_after_others_of_its_line_counts(read: Any, write: Any) -> None:
    rows = read(write("a.jsonl", '{"a": 1}{"a": 2}{"a": \n{"a": 3}\n'))
    assert rows.good == [{"a": 3}]
    assert [row.data["unparsed"] for row in rows.bad] == ['{"a": 1}', '{"a": 2}', '{"a": ']


def test_of_a_long_unreadable_line_its_start_is_kept(read: Any, write: Any) -> None:
    (lost,) = read(write("a.jsonl", "é" * 50_000)).bad
    assert lost.data["unparsed"].startswith("é" * 5_000)
    assert len(lost.data["unparsed"]) <= 10_000


def test_columns_are_those_of_the_first_thousand_rows(write: Any) -> None:
    lines = [{"a": 1}] * 998 + [{"b": 1}] + ["bad"] + [{"c": 1}]
    source = open_source(write("a.jsonl", "\n".join(map(json.dumps, lines))))
    assert source.columns() == ["a", "b"]
    source.require(["b"])
    with pytest.raises(CrmInputError, match=r"Missing columns in a\.jsonl: c\. Columns there: a, b\."):
        source.require(["c"])


def _reject(**changes: Any) -> dict[str, Any]:
    line = {"row": 7, "key": "a@x.fr", "stage": "crm", "reason": "no", "data": {"email": "a@x.fr"}}
    return line | changes


def test_a_rejects_file_is_a_source(read: Any, write: Any) -> None:
    lines = [_reject(), _reject(stage="validate", key=None, data={})]
    assert read(write("a.jsonl", "\n".join(map(json.dumps, lines)))).good == [{"email": "a@x.fr"}, {}]


@pytest.mark.parametrize("line", [_reject(data=None), {k: v for k, v in _reject().items() if k != "data"}])
def test_a_reject_without_its_data_cannot_be_read(read: Any, write: Any, line: dict[str, Any]) -> None:
    (lost,) = read(write("a.jsonl", json.dumps(line))).bad
    assert "without the row's data" in lost.reason
    assert json.loads(lost.data["unparsed"]) == line


@pytest.mark.parametrize("data", [{"unparsed": "1;2"}, {"cells": ["1", "2"]}])
def test_an_unreadable_row_stays_so_until_it_is_repaired(read: Any, write: Any, data: dict[str, Any]) -> None:
    line = _reject(stage="read", reason="a.csv, line 3: too long", data=data)
    assert read(write("a.jsonl", json.dumps(line))).bad == [UnreadableRow(1, "a.csv, line 3: too long", data)]
    repaired = _reject(stage="read", data={"email": "a@x.fr"})
    assert read(write("b.jsonl", json.dumps(repaired))).good == [{"email": "a@x.fr"}]


@pytest.mark.parametrize(
    "row",
    [
        _reject(more=1),
        _reject(data="text"),
        _reject(data=[1]),
        _reject(stage="delivery"),
        _reject(stage=["crm"]),
        _reject(row="7"),
        {"reason": "a column of mine", "data": {}},
    ],
)
def test_a_row_that_only_resembles_a_reject_is_a_row(read: Any, write: Any, row: dict[str, Any]) -> None:
    assert read(write("a.jsonl", json.dumps(row))).good == [row]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.slow
@given(rows=st.lists(st.dictionaries(st.text(), _JSON, max_size=4), max_size=6), ascii_only=st.booleans())
def test_what_a_json_writer_writes_is_read_back(
    read: Any, scratch: Path, rows: list[dict[str, Any]], ascii_only: bool
) -> None:
    path = scratch / "written.jsonl"
    path.write_bytes(b"\n".join(json.dumps(row, ensure_ascii=ascii_only).encode() for row in rows))
    assert read(path).all == [Row(number, row) for number, row in enumerate(rows, start=1)]


@pytest.mark.slow
@given(body=st.binary(max_size=200) | st.text(alphabet='{}[]":1a\r\n ', max_size=60).map(str.encode))
def test_no_line_that_is_not_blank_is_lost(read: Any, scratch: Path, body: bytes) -> None:
    path = scratch / "any.jsonl"
    path.write_bytes(b" " + body)  # what begins as UTF-16 or a zip archive does is another file
    lines = [line for line in body.split(b"\n") if line.strip()]
    rows = read(path)
    several = [row for row in rows.bad if ": one of " in row.reason]
    assert len(rows.all) - len(several) == len(lines) - len({row.reason.split(":")[0] for row in several})


@pytest.mark.slow
@given(rows=st.lists(st.dictionaries(st.text(max_size=3), _JSON, max_size=3), max_size=5), data=st.data())
def test_a_file_cut_anywhere_keeps_its_whole_rows(
    read: Any, scratch: Path, rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    body = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    cut = data.draw(st.integers(0, len(body)))
    path = scratch / "cut.jsonl.gz"
    path.write_bytes(gzip.compress(body[:cut], 1))
    found = read(path).all
    whole = body[:cut].count(b"\n")
    assert [row.data for row in found[:whole]] == rows[:whole]
    assert len(found) <= whole + 1


# --- Parquet ----------------------------------------------------------------------------------------------------------


def _parquet(path: Path, columns: dict[str, Any], **options: Any) -> str:
    pq.write_table(pa.table(columns), path, **options)
    return str(path)


def test_parquet_values_stay_what_they_are(read: Any, tmp_path: Path) -> None:
    moment = dt.datetime(2024, 1, 2, 3, 4, 5, 678901)
    row = {
        "id": 1,
        "name": "Zoé",
        "amount": Decimal("12.50"),
        "at": moment,
        "at_utc": moment.replace(tzinfo=dt.UTC),
        "day": moment.date(),
        "tags": ["a", None],
        "nested": {"x": 1},
        "raw": b"\xff",
        "ok": True,
        "none": None,
    }
    assert read(_parquet(tmp_path / "a.PARQUET", {name: [value] for name, value in row.items()})).good == [
        row
    ]


def test_parquet_nanoseconds_are_rounded_down(read: Any, tmp_path: Path) -> None:
    second = 1_704_164_645_000_000_000
    columns = {
        "at": pa.array([second + 1_999], pa.timestamp("ns")),
        "at_utc": pa.array([second + 1_999], pa.timestamp("ns", "UTC")),
        "time": pa.array([1_999], pa.time64("ns")),
        "took": pa.array([1_999], pa.duration("ns")),
    }
    (row,) = read(_parquet(tmp_path / "a.parquet", columns)).good
    assert type(row["at"]) is dt.datetime
    assert row["at"] == dt.datetime(2024, 1, 2, 3, 4, 5, 1)
    assert row["at_utc"] == dt.datetime(2024, 1, 2, 3, 4, 5, 1, dt.UTC)
    assert row["time"] == dt.time(0, 0, 0, 1)
    assert row["took"] == dt.timedelta(microseconds=1)


def test_parquet_nanoseconds_are_rounded_down_at_any_depth(read: Any, tmp_path: Path) -> None:
    nanoseconds = pa.timestamp("ns")
    # A list of one size that is missing cannot be read before pyarrow 26.
    fixed = pa.list_(nanoseconds, 2 if PYARROW >= 26 else -1)
    columns = {
        "in_list": pa.array([[1_999], None], pa.list_(nanoseconds)),
        "in_two": pa.array([[1_999, None], None], fixed),
        "in_struct": pa.array([{"at": [1_999]}, None], pa.struct({"at": pa.list_(nanoseconds, 1)})),
    }
    at = dt.datetime(1970, 1, 1, 0, 0, 0, 1)
    (row, nothing) = read(_parquet(tmp_path / "a.parquet", columns)).good
    assert row == {"in_list": [at], "in_two": [at, None], "in_struct": {"at": [at]}}
    assert type(row["in_two"][0]) is dt.datetime
    assert nothing == dict.fromkeys(columns)


def test_the_timestamps_of_spark(read: Any, tmp_path: Path) -> None:
    days = [
        dt.datetime(9999, 12, 31),
        dt.datetime(1, 1, 1, 1),
        dt.datetime(2024, 1, 2, 3, 4, 5, 678901),
        None,
    ]
    columns = {"at": pa.array(days, pa.timestamp("us"))}
    path = _parquet(tmp_path / "a.parquet", columns, use_deprecated_int96_timestamps=True)
    assert pq.ParquetFile(path).schema.column(0).physical_type == "INT96"
    if PYARROW < 23:  # which reads what lies before 1970 584 years late
        with pytest.raises(CrmInputError, match=r"before 1970 wrong: install pyarrow 23 or later"):
            read(path)
        return
    assert [row["at"] for row in read(path).good] == days


def test_parquet_maps_are_dicts_at_any_depth(read: Any, tmp_path: Path) -> None:
    strings = pa.map_(pa.string(), pa.string())
    columns = {
        "flat": pa.array([[("a", "1"), ("b", None)], None, []], strings),
        "in_list": pa.array([[[("a", "1")], None], None, []], pa.list_(strings)),
        "in_struct": pa.array(
            [{"m": [("a", "1")], "n": 1}, None, {"m": None, "n": 2}],
            pa.struct({"m": strings, "n": pa.int8()}),
        ),
        "in_map": pa.array([[("x", [("a", "1")])], None, []], pa.map_(pa.string(), strings)),
    }
    assert read(_parquet(tmp_path / "a.parquet", columns)).good == [
        {
            "flat": {"a": "1", "b": None},
            "in_list": [{"a": "1"}, None],
            "in_struct": {"m": {"a": "1"}, "n": 1},
            "in_map": {"x": {"a": "1"}},
        },
        dict.fromkeys(columns),
        {"flat": {}, "in_list": [], "in_struct": {"m": None, "n": 2}, "in_map": {}},
    ]


def test_a_map_with_a_key_twice_spoils_its_row_only(read: Any, tmp_path: Path) -> None:
    twice = pa.array([[("a", "1"), ("a", "2")], [("a", "3")]], pa.map_(pa.string(), pa.string()))
    rows = read(_parquet(tmp_path / "a.parquet", {"m": twice}))
    assert rows.good == [{"m": {"a": "3"}}]
    assert rows.bad[0].reason == "a.parquet, m: a key is in the map twice"


def test_parquet_nanoseconds_within_others_and_further_types(read: Any, tmp_path: Path) -> None:
    moment = pa.array([1_704_164_645_000_001_999], pa.timestamp("ns"))
    at = dt.datetime(2024, 1, 2, 3, 4, 5, 1)
    columns = {
        "list": pa.ListArray.from_arrays([0, 1], moment),
        "struct": pa.StructArray.from_arrays([moment], ["at"]),
        "dictionary": pa.array(["x"]).dictionary_encode(),
        "dictionary_of_moments": moment.dictionary_encode(),
        "wide": pa.array([Decimal("123.000000000")], pa.decimal256(50, 9)),
        "seconds": pa.array([1], pa.time32("s")),
        "millis": pa.array([1], pa.duration("ms")),
        "day": pa.array([dt.date(2024, 1, 2)], pa.date64()),
        "raw": pa.array([b"x"], pa.large_binary()),
        "text": pa.array(["x"], pa.large_string()),
    }
    assert read(_parquet(tmp_path / "a.parquet", columns)).good == [
        {
            "list": [at],
            "struct": {"at": at},
            "dictionary": "x",
            "dictionary_of_moments": at,
            "wide": Decimal("123.000000000"),
            "seconds": dt.time(0, 0, 1),
            "millis": dt.timedelta(milliseconds=1),
            "day": dt.date(2024, 1, 2),
            "raw": b"x",
            "text": "x",
        }
    ]


def test_the_index_of_pandas_is_no_column(read: Any, tmp_path: Path) -> None:
    path = _parquet(tmp_path / "a.parquet", {"a": [1], "__index_level_0__": [7]})
    assert read(path).good == [{"a": 1}]
    assert open_source(path).columns() == ["a"]


def test_parquet_in_many_batches(read: Any, tmp_path: Path) -> None:
    path = _parquet(tmp_path / "a.parquet", {"a": list(range(12_001))}, row_group_size=7_000)
    source = open_source(path)
    assert source.fraction_read() == 0
    assert [row["a"] for row in read(source).good] == list(range(12_001))
    assert source.fraction_read() == 1
    assert source.columns() == ["a"]


def test_a_parquet_value_that_python_cannot_hold_spoils_its_row_only(read: Any, tmp_path: Path) -> None:
    far = pa.array([0, 10**15, 1], pa.timestamp("s"))
    rows = read(_parquet(tmp_path / "a.parquet", {"id": [1, 2, 3], "at": far}))
    assert [row["id"] for row in rows.good] == [1, 3]
    (lost,) = rows.bad
    assert lost.number == 2
    assert lost.reason.startswith("a.parquet, at: ")
    assert lost.data == {"cells": [2, None]}


def test_parquet_without_rows(read: Any, tmp_path: Path) -> None:
    path = _parquet(tmp_path / "a.parquet", {"a": pa.array([], pa.string())})
    assert read(path).all == []
    with pytest.raises(CrmInputError, match=r"Missing columns in a\.parquet: b\."):
        open_source(path).require(["a", "b"])


def test_parquet_with_a_column_twice(tmp_path: Path) -> None:
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), tmp_path / "a.parquet")
    for use in (open_source(str(tmp_path)).columns, lambda: list(open_source(str(tmp_path)))):
        with pytest.raises(CrmInputError, match="several columns named a"):
            use()


@pytest.mark.parametrize("content", [b"", b"PAR1", b"nope" * 100, b"PAR1" + b"\x00" * 50 + b"PAR1"])
def test_what_is_no_parquet(write: Any, content: bytes) -> None:
    source = open_source(write("a.parquet", content))
    for use in (source.columns, lambda: list(source)):
        with pytest.raises(CrmInputError, match=r"a\.parquet"):
            use()


def test_damaged_parquet(tmp_path: Path) -> None:
    path = Path(
        _parquet(tmp_path / "a.parquet", {"a": [f"text {i}" for i in range(5_000)]}, compression="gzip")
    )
    content = bytearray(path.read_bytes())
    content[100:2_000] = b"\xff" * 1_900
    path.write_bytes(bytes(content))
    with pytest.raises(CrmInputError, match=r"a\.parquet"):
        list(open_source(path))


def test_parquet_without_pyarrow(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(CrmInputError, match=r"pip install 'airflow-provider-crm\[parquet\]'"):
        list(open_source(write("a.parquet", b"")))
