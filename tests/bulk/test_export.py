"""Pages of an export, put together from slices and cut: whatever is rejected or left out, places stay right."""

from __future__ import annotations

import datetime as dt
import gc
import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crm.bulk.export import ExportPage, Reject
from airflow_provider_crm.rows.blocks import Format
from airflow_provider_crm.rows.parquet_writer import Parquet, Table
from airflow_provider_crm.rows.text_writers import Csv, CsvBlock, JsonBlock, JsonLines

MOMENT = dt.datetime(2026, 3, 1)


class Record(msgspec.Struct):
    id: str


@dataclass(frozen=True)
class Id:
    name: str = "id"
    kind: str = "text"
    attribute: str = "id"


FORMATS: list[Format] = [JsonLines(compressed=False), Csv([Id()], compressed=False), Parquet([Id()], {})]
FATES = st.sampled_from(["written", "rejected", "left out"])
#: What becomes of each row of each slice.
pages = st.lists(st.lists(FATES, max_size=5), min_size=1, max_size=4)


def page_of(file_format: Format, fates: Sequence[str], first: int) -> ExportPage:
    keys = [str(number) for number in range(first, first + len(fates))]
    return ExportPage(
        keys,
        file_format.encode(
            [Record(key) for key, fate in zip(keys, fates, strict=True) if fate == "written"], ()
        ),
        rejects=[
            Reject(place, keys[place], "bad", {"id": keys[place]})
            for place, fate in enumerate(fates)
            if fate == "rejected"
        ],
        left_out=[place for place, fate in enumerate(fates) if fate == "left out"],
        newest=MOMENT + dt.timedelta(seconds=first) if "written" in fates else None,
    )


def written(block: Any) -> list[str]:
    if isinstance(block, JsonBlock):
        return [msgspec.json.decode(line)["id"] for line in bytes(block.data).splitlines()]
    if isinstance(block, CsvBlock):
        return [line.split(",")[0] for line in block.data.decode().splitlines()]
    assert isinstance(block, Table)
    assert isinstance(block.table, pyarrow.Table)
    found: list[str] = block.table.column("id").to_pylist()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("file_format", FORMATS, ids=["jsonl", "csv", "parquet"])
@given(slices=pages, data=st.data())
def test_a_page_of_slices_is_the_page_of_all_rows(
    file_format: Format, slices: list[list[str]], data: st.DataObject
) -> None:
    fates = [fate for some in slices for fate in some]
    parts, first = [], 0
    for some in slices:
        parts.append(page_of(file_format, some, first))
        first += len(some)
    joined = parts[0].followed_by(parts[1:])
    gone = data.draw(st.sets(st.integers(0, len(fates) - 1))) if fates else set()
    for page, kept in (
        (joined, range(len(fates))),
        (joined.without(sorted(gone)), [place for place in range(len(fates)) if place not in gone]),
    ):
        keys = [str(place) for place in kept]
        assert page.keys == keys
        assert written(page.block) == [key for key in keys if fates[int(key)] == "written"]
        assert page.block.rows == len(written(page.block))
        assert [(page.keys[one.position], one.key) for one in page.rejects] == [
            (key, key) for key in keys if fates[int(key)] == "rejected"
        ]
        assert written(page.without(range(len(keys))).block) == []
    newest = [first.newest for first in parts if first.newest is not None]
    assert joined.newest == max(newest, default=None)


@pytest.mark.slow
@pytest.mark.parametrize("file_format", [*FORMATS, JsonLines(compressed=True)])
def test_a_file_that_is_given_up_leaves_no_complaint_behind(
    file_format: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    complaints: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", complaints.append)
    file = io.BytesIO()
    writer = file_format.open(file)
    writer.write(file_format.encode([Record("1")], ()))
    writer.abandon()
    file.close()
    del writer
    gc.collect()
    assert complaints == []


def test_a_compressed_file_that_is_given_up_is_completed_while_it_is_open() -> None:
    # Before 3.13 Python keeps silent about one that it completes too late.
    file = io.BytesIO()
    file_format = JsonLines(compressed=True)
    writer = file_format.open(file)
    writer.write(file_format.encode([Record("1")], ()))
    writer.abandon()
    assert gzip.decompress(file.getvalue()) == b'{"id":"1"}\n'
