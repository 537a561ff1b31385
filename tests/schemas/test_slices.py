"""Answers cut into slices: the same rows whatever they hold, however they are printed, wherever the list stands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crm.schemas import slices
from airflow_provider_crm.schemas.envelopes import RowsUnder
from airflow_provider_crm.schemas.records import PageReader, RawReader
from airflow_provider_crm.schemas.slices import find_rows
from airflow_provider_crm.schemas.spread.exports import consent_reader, customer_reader

PARIS = ZoneInfo("Europe/Paris")
READERS = [customer_reader(PARIS), RawReader("id", RowsUnder("customers"))]

# What a text of a row may look like: the ends of rows and lists, and what stands between them.
texts = st.one_of(
    st.text(max_size=5),
    st.sampled_from(
        [
            '},{"id":',
            "}, {",
            "]}",
            "[{",
            '[{"id":"1"}]',
            '"',
            "\\",
            '\\"},{\\"id\\":',
            "],",
            "}]",
            "\u2028",
            "é",
        ]
    ),
)
inner = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), texts),
    lambda parts: st.one_of(
        st.lists(parts, max_size=3),
        # Objects inside of a row may begin as rows do.
        st.lists(parts.map(lambda part: {"id": part}), max_size=3),
        st.dictionaries(texts, parts, max_size=3),
    ),
    max_leaves=6,
)
rows = st.lists(
    st.builds(
        lambda number, more: {"id": str(number), **more},
        st.integers(1, 10**6),
        st.dictionaries(texts.filter(lambda name: name != "id"), inner, max_size=3),
    ),
    max_size=8,
)
separators = st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " :")])
beside = st.dictionaries(st.sampled_from(["count", "nextPageUrl", "errors", "links"]), inner, max_size=3)


def printed(answer: Any, gaps: tuple[str, str], indent: int | None, *, ascii_only: bool) -> bytes:
    return json.dumps(answer, separators=gaps, indent=indent, ensure_ascii=ascii_only).encode()


def cut(body: bytes, size: int) -> Iterator[list[Any]]:
    envelope = RowsUnder("customers")
    decode = msgspec.json.Decoder(envelope.around(msgspec.Raw)).decode
    _, found = find_rows(body, decode, envelope.rows_in)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "SLICE", size)
        yield from found.read(msgspec.json.Decoder(list[Any]).decode)


@pytest.mark.slow
@given(rows, beside, beside, separators, st.sampled_from([None, 0, 2]), st.booleans(), st.integers(1, 200))
def test_slices_hold_the_rows_of_the_list(
    some: list[Any],
    before: dict[str, Any],
    after: dict[str, Any],
    gaps: tuple[str, str],
    indent: int | None,
    ascii_only: bool,
    size: int,
) -> None:
    after = {name: part for name, part in after.items() if name not in before}
    body = printed({**before, "customers": some, **after}, gaps, indent, ascii_only=ascii_only)
    assert [row for one in cut(body, size) for row in one] == some


@pytest.mark.slow
@given(rows, beside, separators, st.sampled_from([None, 2]))
def test_raw_rows_are_those_of_the_list(
    some: list[Any], after: dict[str, Any], gaps: tuple[str, str], indent: int | None
) -> None:
    reader = RawReader("id", RowsUnder("customers"))
    body = printed({"customers": some, **after}, gaps, indent, ascii_only=False)
    read = reader.read(body)
    assert read is not None
    lines = [bytes(line) for one in read for line in one.values]
    assert list(map(json.loads, lines)) == some
    assert all(line == line.strip() for line in lines)


@pytest.mark.slow
@given(
    st.lists(
        st.permutations(["id", "email", "age", "tags", "note"]).flatmap(
            lambda names: st.tuples(
                st.just(names),
                st.one_of(st.integers(-5, 10**12), texts, st.none(), st.booleans(), st.just({"id": "7"})),
                st.tuples(texts, st.integers(), inner, inner),
            )
        ),
        max_size=5,
    ),
    separators,
    st.booleans(),
)
def test_raw_rows_have_the_ids_that_decoding_finds(
    some: list[Any], gaps: tuple[str, str], ascii_only: bool
) -> None:
    made = []
    for names, row_id, others in some:
        values = {"id": row_id, **dict(zip(("email", "age", "tags", "note"), others, strict=True))}
        made.append({name: values[name] for name in names})
    read = RawReader("id", RowsUnder("customers")).read(
        printed({"customers": made}, gaps, None, ascii_only=ascii_only)
    )
    assert read is not None
    [records] = read
    assert records.keys == [
        str(row["id"])
        if isinstance(row["id"], str | int) and not isinstance(row["id"], bool)
        else bytes(line).decode()
        for row, line in zip(made, records.values, strict=True)
    ]


def customers(count: int) -> list[dict[str, Any]]:
    return [
        {"id": str(number), "email": f"p{number}@example.fr", "tags": ["a", "b"] if number % 3 else ""}
        for number in range(1, count + 1)
    ]


def read_all(reader: PageReader, body: bytes) -> tuple[list[Any], list[str], list[Any], int]:
    read = reader.read(body)
    assert read is not None
    parts = list(read)
    return (
        [msgspec.to_builtins(value) for part in parts for value in part.values],
        [key for part in parts for key in part.keys],
        [misfit for part in parts for misfit in part.misfits],
        len(parts),
    )


@pytest.mark.parametrize("indent", [None, 1])
def test_a_long_answer_is_read_in_slices_and_gives_what_one_slice_gives(
    monkeypatch: pytest.MonkeyPatch, indent: int | None
) -> None:
    body = printed({"customers": customers(100), "count": 100}, (",", ":"), indent, ascii_only=False)
    whole = read_all(customer_reader(PARIS), body)
    monkeypatch.setattr(slices, "SLICE", 200)
    sliced = read_all(customer_reader(PARIS), body)
    assert whole[:3] == sliced[:3]
    assert whole[3] == 1
    assert sliced[3] > 10


def test_a_misfit_sets_only_itself_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE", 500)
    some = customers(50)
    some[20]["birthday"] = "soon"
    some[30]["new"] = "field"
    body = printed({"customers": some}, (",", ":"), None, ascii_only=False)
    values, keys, misfits, parts = read_all(customer_reader(PARIS), body)
    assert parts >= 5
    assert keys == [one["id"] for one in some]
    assert [value["id"] for value in values] == [one["id"] for one in some if one is not some[20]]
    assert [misfit.key for misfit in misfits] == ["21"]


def test_a_slice_that_was_cut_inside_of_a_row_is_cut_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE", 20)
    family = [{"id": str(number)} for number in range(20)]
    some = [{"id": str(number), "family": family} for number in range(10)]
    body = printed({"customers": some}, (",", ":"), None, ascii_only=False)
    values, keys, misfits, _ = read_all(customer_reader(PARIS), body)
    assert keys == [one["id"] for one in some]
    assert [value["family"] for value in values] == [family] * 10
    assert misfits == []


def test_what_an_answer_says_once_reaches_every_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE", 300)
    answers = [{"id": str(number), "trackId": str(1000 + number)} for number in range(50)]
    for consent in (
        {"id": "7", "consentTechName": "News", "customers": answers},
        {"customers": answers, "consentTechName": "News", "id": 7},
    ):
        body = printed({"consent": consent, "count": 50}, (",", ":"), None, ascii_only=False)
        values, _, _, parts = read_all(consent_reader(PARIS, "7"), body)
        assert parts > 3
        assert {(value["consent_id"], value["consent_tech_name"]) for value in values} == {("7", "News")}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"<html>[{",
        b'{"customers":null}',
        b'{"customers":{"0":{"id":"1"}}}',
        b'{"people":[{"id":"1"}]}',
        b'{"customers":[{"id":"1"},{"id":"2"}',
        # Another list where the rows were looked for.
        b'{"deleted":[{"id":"1"}],"customers":null}',
    ],
)
def test_another_shape_is_not_read(reader: PageReader, body: bytes) -> None:
    assert reader.read(body) is None


def test_a_list_before_the_rows_is_not_taken_for_them() -> None:
    body = b'{"deleted":[{"id":"1"},{"id":"2"}],"customers":[],"more":[{"id":"3"}]}'
    assert read_all(customer_reader(PARIS), body)[1] == []
    body = b'{"deleted":[{"id":"1"},{"id":"2"}],"customers":[{"id":"4"}],"more":[{"id":"3"}]}'
    assert read_all(customer_reader(PARIS), body)[1] == ["4"]


def test_a_long_tail_hides_no_rows() -> None:
    links = [{"id": "x" * 50, "rel": "next"} for _ in range(2 * slices._TAIL // 50)]
    body = printed({"customers": customers(3), "links": links}, (",", ":"), None, ascii_only=False)
    assert read_all(customer_reader(PARIS), body)[1] == ["1", "2", "3"]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"customers":[{"id":"1"},{"id":"2"},{"id":"3" "email"},{"id":"4"}]}', msgspec.DecodeError),
        (b'{"customers":[{"id":"1"},{"id":"2","company":"\xff"},{"id":"3"}]}', UnicodeDecodeError),
    ],
)
def test_a_broken_list_is_said_to_be_broken(
    monkeypatch: pytest.MonkeyPatch, reader: PageReader, body: bytes, error: type[Exception]
) -> None:
    monkeypatch.setattr(slices, "SLICE", 10)
    read = reader.read(body)
    assert read is not None
    with pytest.raises(error):
        list(read)


def test_raw_rows_without_an_id_are_told_apart_by_all_they_hold() -> None:
    reader = RawReader("id", RowsUnder("customers"))
    read = reader.read(b'{"customers":[{"id": 7},{"id":"8"},{"email":"a"},5,null,{"id":[9]}]}')
    assert read is not None
    [records] = read
    assert records.keys == ["7", "8", '{"email":"a"}', "5", "null", '{"id":[9]}']
    lines = [b'{"id": 7}', b'{"id":"8"}', b'{"email":"a"}', b"5", b"null", b'{"id":[9]}']
    assert list(map(bytes, records.values)) == lines
