"""Quotes that are not closed where they should be: no row vanishes, and nothing inside a cell becomes one."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_crm.values import normal_email
from tests.helpers.properties import at_least


def _reasons(rows: Any) -> list[str]:
    return [row.reason for row in rows.bad]


def test_an_open_quote_costs_each_row_that_it_swallowed(read: Any, write: Any) -> None:
    rows = read(write("a.csv", 'a,b\n1,2\n2,"oops\n3,4\n4,"x"\n5,6\n'))
    assert rows.good == [{"a": "1", "b": "2"}, {"a": "5", "b": "6"}]
    assert [row.number for row in rows.bad] == [2, 3, 4]
    assert [row.data for row in rows.bad] == [
        {"unparsed": '2,"oops\n'},
        {"unparsed": "3,4\n"},
        {"unparsed": '4,"x"\n'},
    ]
    first, second, _ = _reasons(rows)
    assert first.startswith("a.csv, lines 3 to 5: ")
    assert "3 lines were read as one row" in first
    assert second == "a.csv, line 4: part of the row of line 3"


def test_an_open_quote_that_takes_half_the_file_is_as_many_rejects(read: Any, write: Any) -> None:
    lines = [f"{number},p{number}@x.fr\n" for number in range(1, 10_001)]
    lines[5_000] = '5001,"p5001@x.fr\n'
    rows = read(write("a.csv", "id,email\n" + "".join(lines)))
    assert len(rows.good) == 5_000
    assert len(rows.bad) == 5_000
    assert [row.number for row in rows.bad] == list(range(5_001, 10_001))


def test_an_open_quote_at_the_end(read: Any, write: Any) -> None:
    rows = read(write("a.csv", 'a,b\n1,2\n2,"oops\n3,4'))
    assert rows.good == [{"a": "1", "b": "2"}]
    assert [row.data for row in rows.bad] == [{"unparsed": '2,"oops\n'}, {"unparsed": "3,4"}]


def test_blank_lines_in_a_broken_record_are_no_rows(read: Any, write: Any) -> None:
    rows = read(write("a.csv", 'a,b\n2,"oops\n\n , \n3,4'))
    assert [row.data for row in rows.bad] == [{"unparsed": '2,"oops\n'}, {"unparsed": "3,4"}]


def test_a_cell_beyond_the_limit_is_not_left_in_its_middle(read: Any, write: Any) -> None:
    inside = "".join(f"{number},{'x' * 90}\n" for number in range(10_000))
    rows = read(write("a.csv", 'a,b\n1,2\n0,"' + inside + 'end"\n3,4\n'))
    assert rows.good == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert len(rows.bad) == 10_001, "the cell's lines, and that of its closing quote"
    assert "field larger than field limit" in rows.bad[0].reason


def test_an_open_quote_in_a_long_file_ends_where_a_row_can_be_told(read: Any, write: Any) -> None:
    lines = [f"{number},{'x' * 90}\n" for number in range(10_000)]
    lines[5_000] = '5000,"a row with quotes"\n'
    rows = read(write("a.csv", 'a,b\n0,"' + "".join(lines)))
    assert [row["a"] for row in rows.good] == [str(number) for number in range(5_000, 10_000)]
    assert len(rows.bad) == 5_000


def test_a_quote_within_a_cell_does_not_bring_the_rest_of_the_cell_in_as_a_row(read: Any, write: Any) -> None:
    rows = read(write("a.csv", 'a,b\n1,"he said "no" to me\nand, then\nleft"\n2,3\n4,"x"\n'))
    assert rows.good == [{"a": "2", "b": "3"}, {"a": "4", "b": "x"}]
    assert len(rows.bad) == 3


def test_a_quote_within_a_cell_of_one_line_costs_that_line(read: Any, write: Any) -> None:
    rows = read(write("a.csv", 'a,b\n1,"5" screen"\n2,3\n4,"x"\n5,"7" screen"\n6,7\n'))
    assert rows.good == [{"a": "2", "b": "3"}, {"a": "4", "b": "x"}, {"a": "6", "b": "7"}]
    assert [row.number for row in rows.bad] == [1, 4]


def test_the_row_whose_quote_ended_the_open_one_may_have_lines_of_its_own(read: Any, write: Any) -> None:
    rows = read(write("a.csv", 'a,b\n2,"oops\n4,"first\nsecond,line"\n5,6\n'))
    assert rows.good == [{"a": "5", "b": "6"}]
    assert len(rows.bad) == 3


def test_a_quote_that_another_one_closes_by_chance(read: Any, write: Any) -> None:
    content = 'id,email,address\n1,a@x.fr,"1 rue\n2,b@x.fr,2 rue\n3,c@x.fr,3 rue"\n4,d@x.fr,4 rue\n'
    rows = read(write("a.csv", content))
    assert rows.good == [{"id": "4", "email": "d@x.fr", "address": "4 rue"}]
    assert [row.number for row in rows.bad] == [1, 2, 3]
    assert "look like rows of their own" in rows.bad[0].reason


def test_a_quote_closed_by_chance_in_the_first_column(read: Any, write: Any) -> None:
    rows = read(write("a.csv", 'email,points\n"a@x.fr,1\nb@x.fr",2\nc@x.fr,3\n'))
    assert rows.good == [{"email": "c@x.fr", "points": "3"}]
    assert len(rows.bad) == 2


def test_a_quote_closed_by_chance_in_the_only_column(read: Any, write: Any) -> None:
    rows = read(write("a.csv", 'email\n"a@x.fr\nb@x.fr\nc@x.fr"\nd@x.fr\n'))
    assert rows.good == [{"email": "d@x.fr"}]
    assert len(rows.bad) == 3


def test_a_quote_closed_by_chance_with_another_number_of_cells(read: Any, write: Any) -> None:
    rows = read(write("a.csv", 'a,b,c\n1,"oops,5\n2,b,4\n7,oops",6,9\n8,9,10\n'))
    assert rows.good == [{"a": "8", "b": "9", "c": "10"}]
    assert len(rows.bad) == 3


def test_cells_with_lines_of_their_own_are_read(read: Any, write: Any) -> None:
    content = 'id,email,note\n1,a@x.fr,"Hello,\nit is 5, or 6, here\nBye, A"\n"2","b@x.fr","12, rue X\n75001, Paris"\n'
    assert read(write("a.csv", content)).good == [
        {"id": "1", "email": "a@x.fr", "note": "Hello,\nit is 5, or 6, here\nBye, A"},
        {"id": "2", "email": "b@x.fr", "note": "12, rue X\n75001, Paris"},
    ]


def test_line_ends_of_another_kind_in_places_cost_each_row_of_the_line(read: Any, write: Any) -> None:
    rows = read(write("a.csv", "a,b\n1,2\n3,4\r5,6\n7,8\n"))
    assert rows.good == [{"a": "1", "b": "2"}, {"a": "7", "b": "8"}]
    assert [row.data for row in rows.bad] == [{"unparsed": "3,4"}, {"unparsed": "5,6"}]


def _names_somebody(row: Any) -> bool:
    """Return False for a row that is rejected once its key is read: it changes nobody."""
    try:
        normal_email(row["email"])
    except ValueError:
        return False
    return True


_NOTE = st.text(alphabet='ab ,"\n', max_size=12)


@pytest.mark.slow
@given(
    notes=st.lists(st.tuples(_NOTE, _NOTE), min_size=2, max_size=8),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    at=st.integers(0, 400),
    data=st.data(),
)
@example(notes=[("", "\n,"), ("", ",a")], quoting=csv.QUOTE_MINIMAL, at=0, data=None)
@example(notes=[("", ",,\n"), ("", ",,a")], quoting=csv.QUOTE_MINIMAL, at=0, data=None)
@example(notes=[("a\nb", "")] * 4, quoting=csv.QUOTE_MINIMAL, at=0, data=None)
def test_one_quote_too_many_or_too_few(
    read: Any, scratch: Path, notes: list[tuple[str, str]], quoting: Any, at: int, data: Any
) -> None:
    people = [(f"p{number}@x.fr", *pair) for number, pair in enumerate(notes)]
    text = io.StringIO(newline="")
    csv.writer(text, quoting=quoting, lineterminator="\n").writerows(people)
    body = text.getvalue()
    quotes = [place for place, sign in enumerate(body) if sign == '"']
    if quotes and (data is None or data.draw(st.booleans())):
        place = quotes[at % len(quotes)]
        body = body[:place] + body[place + 1 :]
    else:
        place = at % (len(body) + 1)
        body = body[:place] + '"' + body[place:]
    path = scratch / "quotes.csv"
    path.write_bytes(b"email,note,more\n" + body.encode())
    rows = read(str(path))
    addresses = [address for address, *_ in people]
    good = [row for row in rows.good if _names_somebody(row)]
    for row in good:
        held = [address for address in addresses if address in f"{row['note']}{row['more']}"]
        assert not held, "somebody else's line is in this person's cell"
    # A row may be another one only in the cell that the quote fell into.
    whole = {
        address: {"email": address, "note": note or None, "more": more or None}
        for address, note, more in people
    }
    changed = [row for row in good if row != whole.get((row["email"] or "").strip('"'))]
    assert len(changed) <= 1
    assert len(rows.all) >= len(people)


_STREET = st.sampled_from(
    ["1 rue X", "2, rue Y", "3 rue Z\nBât B", "4, rue A\n75001, Paris", "5 av. de B\nC, D, E"]
)


@pytest.mark.slow
@at_least(200)
@given(
    streets=st.lists(_STREET, min_size=20, max_size=40),
    columns=st.sampled_from(
        [
            ("id", "email", "street", "phone"),
            ("street", "email"),
            ("email", "street", "city", "phone"),
            ("id", "city", "street", "email", "phone"),
        ]
    ),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    delimiter=st.sampled_from([",", ";"]),
    place=st.floats(0, 1, exclude_max=True),
    more=st.booleans(),
)
def test_a_stray_quote_anywhere_in_an_export_of_people(
    read: Any,
    scratch: Path,
    streets: list[str],
    columns: tuple[str, ...],
    quoting: Any,
    delimiter: str,
    place: float,
    more: bool,
) -> None:
    """Each row is a row or a reject, nobody gets another one's line, and one person's cells at most are others."""
    people = [
        {
            "id": str(1000 + n),
            "email": f"p{n}@x.fr",
            "street": street,
            "city": "Le Mans",
            "phone": f"06123456{n:02}",
        }
        for n, street in enumerate(streets)
    ]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(
        text, columns, quoting=quoting, delimiter=delimiter, lineterminator="\n", extrasaction="ignore"
    )
    writer.writeheader()
    header = text.tell()
    writer.writerows(people)
    body = text.getvalue()
    at = header + int(place * (len(body) - header))
    if more:
        body = f'{body[:at]}"{body[at:]}'
    elif (at := body.find('"', at)) >= 0:
        body = body[:at] + body[at + 1 :]
    path = scratch / "people.csv"
    path.write_bytes(body.encode())
    rows = read(str(path))
    assert len(rows.all) >= len(people)
    whole = {one["email"]: {column: one[column] for column in columns} for one in people}
    good = [row for row in rows.good if _names_somebody(row)]
    for row in good:
        text_of_others = "\n".join(row[column] or "" for column in columns if column != "email")
        assert "@x.fr" not in text_of_others, "somebody else's line is in this person's cell"
    assert len([row for row in good if row != whole.get((row["email"] or "").strip('"'))]) <= 1
