"""Rows of a file are known however they are read: many at once by column, or one by one about a broken line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet
import pytest

from airflow_provider_crm.bulk.snapshot_digests import Digests
from airflow_provider_crm.rows.row import Block, slices_of
from airflow_provider_crm.rows.sources import open_source

from .nightly import Nightly, in_a_file

PEOPLE = 450


def write(path: Path, name: str, changed: dict[int, str]) -> str:
    lines = [f"p{one}@example.fr,{changed.get(one, 'Lefèvre')}" for one in range(PEOPLE)]
    lines[PEOPLE // 2] = 'p@example.fr,"one" two'  # what follows is looked at line by line
    path.write_text("\n".join([f"email,{name}", *lines, lines[0]]), encoding="utf-8")
    return str(path)


@in_a_file
@pytest.mark.sampled
def test_a_csv_file_with_a_broken_line_and_a_person_who_comes_twice(nightly: Nightly, tmp_path: Path) -> None:
    path, name = tmp_path / "people.csv", nightly.upsert.name
    nightly(write(path, name, {}), max_rejects=1)
    again = nightly(write(path, name, {}), max_rejects=1)
    assert again.summary["known"] == PEOPLE - 1
    assert nightly.writes == 0
    assert len(again.results) == PEOPLE + 1
    assert sorted(line["row"] for line in again.results) == list(range(1, PEOPLE + 2))
    ends = {line["row"]: line["outcome"] for line in again.results}
    assert ends[1] == "skipped"
    assert ends[PEOPLE // 2 + 1] == "rejected"
    changed = nightly(write(path, name, {5: "Martin", PEOPLE - 5: "Martin"}), max_rejects=1)
    assert changed.summary["known"] == PEOPLE - 3
    assert nightly.writes == 2


@in_a_file
@pytest.mark.sampled
def test_a_row_is_known_in_another_order_of_the_file(nightly: Nightly, tmp_path: Path) -> None:
    path, name = tmp_path / "people.parquet", nightly.upsert.name
    csv = tmp_path / "people.csv"
    csv.write_text("\n".join([f"email,{name}", *(f"p{one}@example.fr,Bo" for one in range(PEOPLE))]))
    table = pyarrow.csv.read_csv(csv)
    pyarrow.parquet.write_table(table, path)
    nightly(str(path))
    backwards = pyarrow.array(range(PEOPLE - 1, -1, -1))
    pyarrow.parquet.write_table(table.take(backwards), path, row_group_size=100)
    assert nightly(str(path)).summary["known"] == PEOPLE
    assert nightly.writes == 0


def test_a_row_of_a_partition_is_the_same_whether_it_is_read_alone_or_by_column(tmp_path: Path) -> None:
    digests, lines = Digests(b"salt", "secret"), [f"p{one}@example.fr,Bo" for one in range(PEOPLE)]
    path = tmp_path / "country=FR" / "people.csv"
    path.parent.mkdir()

    def digested(text: str) -> tuple[set[type[Any]], list[bytes]]:
        path.write_text(text, encoding="utf-8")
        slices = list(slices_of(open_source(str(tmp_path)), 200))
        return {*map(type, slices)}, [digest for some in slices for digest in digests.cells(some)]

    kinds, together = digested("\n".join(["email,name", *lines]))
    other_kinds, alone = digested("\n".join(["email,name", "", *lines]))
    assert (kinds, other_kinds) == ({Block}, {list})
    assert together == alone
