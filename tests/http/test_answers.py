"""What is found in an answer: its data, or the vendor's own words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_crm.http.answers import UnreadableError, in_utf8, read_json, vendor_errors


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "an empty body"),
        (b"  <!DOCTYPE html>", "HTML"),
        (b"<b>Fatal error</b>: Allowed memory", "HTML"),
        (b"Not found", "no JSON"),
        (b'{"a": 1', "cut short"),
        (b'{"a": 1}{"a": 2}', "no JSON"),
        (b"[1]", "another shape"),
        (b'{"a": "1"}', "another shape"),
        (b'{"\xff": 1}', "no JSON"),
    ],
)
def test_unreadable(body: bytes, problem: str) -> None:
    with pytest.raises(UnreadableError, match=problem):
        read_json(body, dict[str, int])


@pytest.mark.parametrize(
    ("answer", "errors"),
    [
        ({"errors": ["one", "two"]}, ["one", "two"]),
        ({"errors": "one"}, ["one"]),
        ({"errors": {"email": ["is required", "is too long"]}}, ["email: is required", "email: is too long"]),
        ({"title": "Bad", "status": 400, "errors": {"data[0].phone": ["bad"]}}, ["data[0].phone: bad"]),
        ({"title": "Bad", "detail": "No such customer", "status": 0}, ["No such customer"]),
        ({"title": "Bad", "errors": [], "detail": ""}, ["Bad"]),
        ({"error": {"code": 5, "message": "Quota"}}, ["Quota"]),
        ({"error": True, "message": "Nope"}, ["Nope"]),
        ({"error": "invalid_grant", "error_description": "Bad password"}, ["invalid_grant"]),
        ({"errors": [{"message": "one"}, {"detail": "two"}, 3, None]}, ["one", "two"]),
        ({"email": ["is required"]}, ["email: is required"]),
        ({"return": "ERR-9003"}, ["ERR-9003"]),
        ("just words", ["just words"]),
        (["one", ["two"]], ["one", "two"]),
        ({}, []),
        ({"data": None, "count": 3}, []),
        (None, []),
        (5, []),
    ],
)
def test_the_vendors_words(answer: Any, errors: list[str]) -> None:
    assert vendor_errors(json.dumps(answer).encode()) == tuple(errors)


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        (b"", ()),
        (b"   ", ()),
        (b"Service   unavailable\n", ("Service unavailable",)),
        (b"<html><style>b{}</style><script>x()</script><h1>504 &amp; out</h1></html>", ("504 & out",)),
        (b"\xff\xfe", ("\ufffd\ufffd",)),
        (b"x" * 10_000, ("x" * 500,)),
    ],
)
def test_words_that_are_no_json(body: bytes, errors: tuple[str, ...]) -> None:
    assert vendor_errors(body) == errors


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ('{"a": "é"}'.encode(), "application/json"),
        ('{"a": "é"}'.encode("utf-8-sig"), "application/json"),
        ('{"a": "é"}'.encode(), "application/json; charset=iso-8859-1"),
        ('{"a": "é"}'.encode("latin-1"), 'application/json; Charset = "ISO-8859-1"'),
        ('{"a": "é"}'.encode("cp1252"), "application/json;charset=windows-1252"),
    ],
)
def test_texts_in_other_encodings(body: bytes, content_type: str) -> None:
    assert read_json(in_utf8(body, content_type), dict[str, str]) == {"a": "é"}


@pytest.mark.parametrize("content_type", ["application/json", "a/b; charset=nonsense", "a/b; charset=utf-16"])
def test_an_encoding_that_is_not_what_it_says(content_type: str) -> None:
    with pytest.raises(UnreadableError):
        read_json(in_utf8(b'{"a": "\xe9" }!', content_type), dict[str, str])


def test_nested_without_end() -> None:
    with pytest.raises(UnreadableError, match="nested without end"):
        read_json(b'{"a":' * 50_000, object)
    assert len(vendor_errors(b'{"error":' * 50_000)[0]) <= 500


@pytest.mark.slow
@settings(max_examples=30)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=5),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["error", "errors", "x"]), inner),
    )
)
def test_words_are_found_in_any_json(answer: Any) -> None:
    assert all(error.strip() for error in vendor_errors(json.dumps(answer).encode()))


@pytest.mark.slow
@given(st.binary(max_size=200))
def test_words_are_found_in_any_bytes(body: bytes) -> None:
    assert all(error.strip() for error in vendor_errors(body))
