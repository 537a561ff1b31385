"""The list of people whom a task must not write to: how it names them, and what it cannot be."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crm.bulk.outcomes import Item
from airflow_provider_crm.bulk.suppression import DigestSet, Identifier, SuppressionList, by_email
from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.rows.sources import Row, open_source

EMAIL: Identifier[Any] = by_email(lambda item: (item.record.get("email"),), "e_mail")
NUMBER: Identifier[Any] = Identifier(
    names=("number",), normal=str, of=lambda item: (item.record.get("number"),)
)


def of(rows: Any) -> SuppressionList[Any]:
    return SuppressionList(open_source(rows), (NUMBER, EMAIL))


def says(listed: SuppressionList[Any], **record: Any) -> str:
    """How a row ends: its reason, or "" where it may be sent."""
    outcome = listed.says(Item(Row(1, {}), "key", record))
    return "" if outcome is None else f"{outcome.ending.value}: {outcome.reason}"


def hashed(algorithm: str, email: str) -> str:
    return hashlib.new(algorithm, email.encode()).hexdigest()


@pytest.mark.parametrize(
    "entry",
    [
        {"email": " Zoe@Example.FR "},
        {"E_Mail": "zoe@example.fr"},
        {"email": hashed("md5", "zoe@example.fr")},
        {"email": hashed("sha1", "zoe@example.fr").upper()},
        {"email": f" {hashed('sha256', 'zoe@example.fr')} "},
        {"SHA256": hashed("sha256", "zoe@example.fr")},
        {"md5": hashed("md5", "zoe@example.fr"), "note": "asked by phone"},
    ],
    ids=str,
)
def test_an_address_is_told_plain_or_hashed(entry: dict[str, str]) -> None:
    listed = of([{"email": "other@example.fr"}, entry] if "email" in entry else [entry])
    assert says(listed, email="zoe@example.fr") == "skipped: suppressed"
    assert says(listed, email="bert@example.fr") == ""


def test_people_may_be_named_by_the_match_key_too() -> None:
    listed = of([{"number": 7, "email": None}, {"number": None, "email": "zoe@example.fr"}])
    assert says(listed, number="7") == "skipped: suppressed"
    assert says(listed, number="8", email="zoe@example.fr") == "skipped: suppressed"
    assert says(listed, number="8", email="bert@example.fr") == ""


def test_a_row_that_does_not_say_what_the_list_goes_by_is_not_sent() -> None:
    by_mail = of([{"email": "zoe@example.fr"}])
    assert says(by_mail, number="7").startswith("rejected: nobody can tell")
    both = of([{"number": 7, "email": "zoe@example.fr"}, {"number": 8, "email": None}])
    assert says(both, number="9") == "", "each entry has a number"
    assert says(both, email="bert@example.fr").startswith("rejected: nobody can tell")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"phone": "1"}], "no column that names people"),
        ([{"email": "zoe@example.fr"}, {"email": "zoe at example.fr"}], "row 2, email: this is not"),
        ([{"email": "0123456789abcdef"}], "row 1, email: a hash has 32"),
        ([{"email": hashed("sha512", "zoe@example.fr")}], "row 1, email: a hash has 32"),
    ],
)
def test_a_list_that_would_protect_some_only_is_refused(rows: Any, said: str) -> None:
    with pytest.raises(CrmInputError, match=said) as raised:
        of(rows)
    assert "zoe" not in str(raised.value)


def test_entries_that_name_nobody_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    listed = of([{"email": None, "phone": "1"}, {"email": "zoe@example.fr", "phone": None}])
    assert listed.entries == 1
    assert "1 entries of the suppression list name nobody" in caplog.text


@pytest.mark.slow
@given(st.lists(st.binary(min_size=8, max_size=20)), st.lists(st.binary(min_size=8, max_size=8)))
def test_a_digest_is_found_if_it_was_added(added: list[bytes], others: list[bytes]) -> None:
    digests = DigestSet()
    for digest in added:
        digests.add(digest)
    known = {digest[:8] for digest in added}
    assert all(digest in digests for digest in added)
    assert [digest in digests for digest in others] == [digest in known for digest in others]


@pytest.mark.slow
@given(st.lists(st.integers(0, 3), max_size=40))
def test_a_digest_that_lies_across_two_others_is_not_found(signs: list[int]) -> None:
    """All in one bucket, of few different bytes: what is found by chance is most likely here."""
    digests = DigestSet()
    data = bytes(signs)
    kept = {data[at : at + 6] for at in range(0, len(data) - 5, 6)}
    for one in sorted(kept, key=lambda one: data.index(one)):
        digests.add(b"\0\0" + one)
    for at in range(max(0, len(data) - 5)):
        assert (b"\0\0" + data[at : at + 6] in digests) == (data[at : at + 6] in kept)
