"""One large source becomes shards that together hold exactly its rows."""

from __future__ import annotations

import datetime as dt
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.rows.sources import open_source, split_source


def test_shards_hold_the_rows_in_order(read: Any, tmp_path: Path) -> None:
    folder = str(tmp_path / "new" / "shards")
    shards = split_source([{"a": i} for i in range(7)], 3, folder)
    assert shards == [f"{folder}/shard-00000{i}.jsonl" for i in range(3)]
    assert [[row["a"] for row in read(shard).good] for shard in shards] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [row["a"] for row in read(folder).good] == list(range(7))


def test_a_full_last_shard_is_not_followed_by_an_empty_one(tmp_path: Path) -> None:
    assert len(split_source([{"a": 1}] * 6, 3, str(tmp_path))) == 2


def test_an_empty_source_gives_one_empty_shard(read: Any, tmp_path: Path) -> None:
    (shard,) = split_source([], 3, str(tmp_path))
    assert read(shard).all == []


def test_a_later_run_overwrites_and_removes_what_it_does_not_need(read: Any, tmp_path: Path) -> None:
    for name in ("shard-000009.txt", "shard-9.jsonl", "other-000009.jsonl"):
        (tmp_path / name).write_text("")
    split_source([{"a": i} for i in range(9)], 2, str(tmp_path), prefix="shard")
    shards = split_source([{"a": i} for i in range(3)], 2, str(tmp_path), prefix="shard")
    assert sorted(os.listdir(tmp_path)) == [
        "other-000009.jsonl",
        "shard-000000.jsonl",
        "shard-000001.jsonl",
        "shard-000009.txt",
        "shard-9.jsonl",
    ]
    assert [row["a"] for shard in shards for row in read(shard).good] == [0, 1, 2]


def test_unreadable_rows_are_as_unreadable_in_their_shard(read: Any, write: Any, tmp_path: Path) -> None:
    write("a.csv", b'a,b\n1,2\n1,2,3\nx,\xe9\n3,"4\n')
    write(
        "b.jsonl",
        '{"a": 5, "b": 6}\nnope\n{"row": 1, "key": "x", "stage": "crm", "reason": "no", "data": null}\n',
    )
    source = str(tmp_path / "*")
    before = read(source)
    assert (len(before.good), len(before.bad)) == (2, 5)
    shards = split_source(source, 2, str(tmp_path / "shards"))
    after = [row for shard in shards for row in read(shard).all]
    assert [row.data for row in after] == [row.data for row in before.all]
    assert [row.reason for row in after if hasattr(row, "reason")] == [row.reason for row in before.bad]


def test_a_row_that_looks_like_a_reject_stays_as_it_is(read: Any, tmp_path: Path) -> None:
    rows = [
        {"row": 1, "key": None, "stage": "crm", "reason": "x", "data": {"a": 1}},
        {"row": 1, "key": None, "stage": "read", "reason": "x", "data": {"unparsed": "a"}},
        {"row": 1, "key": None, "stage": "crm", "reason": "x", "data": None},
        {"row": 1, "key": None, "stage": "crm", "reason": "x"},
    ]
    (shard,) = split_source(rows, 9, str(tmp_path))
    assert read(shard).good == rows


def test_decimals_and_dates_become_texts(read: Any, tmp_path: Path) -> None:
    (shard,) = split_source([{"a": Decimal("1.50"), "b": dt.date(2024, 1, 2)}], 9, str(tmp_path))
    assert read(shard).good == [{"a": "1.50", "b": "2024-01-02"}]


def test_shards_in_an_object_store(read: Any, store: MemoryFileSystem) -> None:
    rows = [{"a": i} for i in range(5)]
    split_source(rows * 2, 2, "memory://bucket/shards/")
    shards = split_source(rows, 2, "memory://bucket/shards")
    assert shards == [f"memory://bucket/shards/shard-00000{i}.jsonl" for i in range(3)]
    assert [row for shard in shards for row in read(shard).good] == rows
    assert len(store.ls("/bucket/shards")) == 3
    with pytest.raises(CrmInputError, match="choose another folder"):
        split_source("memory://bucket/shards/", 2, "memory://bucket/shards")


def test_shards_are_not_split_into_themselves(tmp_path: Path) -> None:
    split_source([{"a": 1}], 1, str(tmp_path))
    for source in (str(tmp_path), str(tmp_path / "*"), str(tmp_path / "shard-000000.jsonl")):
        with pytest.raises(CrmInputError, match="choose another folder"):
            split_source(source, 1, str(tmp_path))
    split_source(str(tmp_path), 1, str(tmp_path / "elsewhere"))


@pytest.mark.parametrize("rows_per_shard", [0, -1, 1.5, "ten", None, True])
def test_a_wrong_size(tmp_path: Path, rows_per_shard: Any) -> None:
    with pytest.raises(CrmInputError, match="`rows_per_shard` is a whole number from 1 on"):
        split_source([], rows_per_shard, str(tmp_path))


@pytest.mark.parametrize("prefix", ["../up", "a/b", "", 5])
def test_a_prefix_stays_in_its_folder(tmp_path: Path, prefix: Any) -> None:
    with pytest.raises(CrmInputError, match="`prefix`"):
        split_source([{"a": 1}], 1, str(tmp_path / "shards"), prefix)
    assert not list(tmp_path.iterdir())


SPELLINGS = [" Ana@X.fr", "ana@x.fr", "<ana@x.fr>", "mailto:ana@x.fr", "ana@x.fr\u200b", b"ana@x.fr"]
NUMBERS = [
    33612345678,
    "33612345678.0",
    Decimal("33612345678.000000000"),
    "tel:33612345678",
    "33 612 345 678",
]


@pytest.mark.parametrize("spellings", [SPELLINGS, NUMBERS], ids=["addresses", "numbers"])
def test_all_rows_of_a_person_go_into_one_shard_in_their_order(
    read: Any, tmp_path: Path, spellings: list[Any]
) -> None:
    others = [{"who": f"p{number}@x.fr", "n": number} for number in range(100)]
    theirs = [{"who": spelling, "n": 1000 + number} for number, spelling in enumerate(spellings)]
    rows = others[:]
    for place, row in enumerate(theirs):
        rows.insert(place * 20, row)
    shards = split_source(rows, 10, str(tmp_path), key="who")
    found = [[row["n"] for row in read(shard).good] for shard in shards]
    assert sorted(n for shard in found for n in shard) == sorted(row["n"] for row in rows)
    assert max(map(len, found)) <= 10
    (together,) = [shard for shard in found if any(n >= 1000 for n in shard)]
    assert [n for n in together if n >= 1000] == [row["n"] for row in theirs]
    assert split_source(rows, 10, str(tmp_path), key="who") == shards
    assert [[row["n"] for row in read(shard).good] for shard in shards] == found, "a retry cuts the same"


def test_one_persons_rows_are_not_cut_apart(tmp_path: Path, read: Any) -> None:
    rows = [{"who": who, "n": n} for n in range(5) for who in ("a", "b")]
    shards = split_source(rows, 3, str(tmp_path), key="who")
    assert [len(read(shard).good) for shard in shards] == [5, 5]


def test_rows_about_nobody_are_spread_and_kept(tmp_path: Path, read: Any, write: Any) -> None:
    source = write("a.csv", 'who,n\n,1\n,2\n,3\nx,"4\n')
    shards = split_source(source, 1, str(tmp_path / "shards"), key="who")
    assert [len(read(shard).all) for shard in shards] == [1, 1, 1, 1]


@pytest.mark.parametrize("key", ["nobody", "", 5])
def test_a_key_that_is_no_column(tmp_path: Path, key: Any) -> None:
    with pytest.raises(CrmInputError, match=r"Missing columns|`key` is a text"):
        split_source([{"a": 1}], 1, str(tmp_path), key=key)
    assert not list(tmp_path.iterdir())


def test_a_shard_is_whole_or_absent(tmp_path: Path) -> None:
    def rows() -> Any:
        yield from ({"a": number} for number in range(5))
        raise RuntimeError("the source is gone")

    class Breaking(list[Any]):
        def __iter__(self) -> Any:
            return rows()

    with pytest.raises(RuntimeError, match="gone"):
        split_source(Breaking(range(9)), 3, str(tmp_path))
    assert os.listdir(tmp_path) == ["shard-000000.jsonl"]


@pytest.mark.slow
@given(
    rows=st.lists(
        st.dictionaries(st.text(max_size=5), st.none() | st.text(max_size=5) | st.integers(), max_size=3),
        max_size=12,
    ),
    size=st.integers(1, 5),
)
def test_the_shards_together_are_the_source(
    read: Any, scratch: Path, rows: list[dict[str, Any]], size: int
) -> None:
    shards = split_source(rows, size, str(scratch / "shards"))
    counts = [len(read(shard).good) for shard in shards]
    assert counts[:-1] == [size] * (len(shards) - 1)
    assert counts[-1] <= size
    assert [row.data for row in open_source(str(scratch / "shards"))] == rows
