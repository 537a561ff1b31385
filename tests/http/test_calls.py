"""How a call becomes a request: values that break out of nothing, bodies that say what was meant."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.http.calls import Call, encode_json
from airflow_provider_crm.http.client import HttpClient

from .conftest import HOST

BASE = "https://crm.example.com/api"
NASTY = [
    "plain",
    "bob+tag@example.com",
    "a/b",
    "../../admin",
    "..;/x",
    "%2e%2e",
    "%",
    "a?b#c&d=e",
    "a b",
    "é@exämple.fr",
    "\U0001f600",
    "{id}",
    "J'accepte d'être contacté",
    "\r\nX-Evil: 1",
]


@pytest.mark.parametrize("value", NASTY)
def test_a_path_value_stays_one_segment(value: str) -> None:
    url = Call("GET", "/customers/{id}/x", values={"id": value}).url_below(BASE)
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("https", "crm.example.com", "", "")
    assert [unquote(part) for part in parts.path.split("/")] == ["", "api", "customers", value.strip(), "x"]


@pytest.mark.parametrize("value", ["", "  ", ".", "..", " .. ", None])
def test_a_path_value_that_names_another_resource(value: Any) -> None:
    with pytest.raises(CrmInputError, match="id is empty or cannot stand in a path"):
        Call("DELETE", "/customers/{id}", values={"id": value}).url_below(BASE)


@pytest.mark.parametrize("value", NASTY)
def test_a_query_value_is_encoded_whole(value: str) -> None:
    url = Call("GET", "/customers", query=[("email", value), ("startAt", "0")]).url_below(BASE)
    assert parse_qsl(urlsplit(url).query) == [("email", value), ("startAt", "0")]
    assert " " not in url
    assert "+" not in url


def test_a_space_in_a_query_is_no_plus() -> None:
    assert Call("GET", "/x", query=[("q", "a b+c")]).url_below(BASE) == f"{BASE}/x?q=a%20b%2Bc"


@pytest.mark.parametrize("parts", [{"values": {"id": "\udc80@x.fr"}}, {"query": [("email", "\udc80@x.fr")]}])
def test_half_a_character_is_an_input_error(parts: dict[str, Any]) -> None:
    with pytest.raises(CrmInputError, match="characters") as caught:
        Call("GET", "/customers" + ("/{id}" if "values" in parts else ""), **parts).url_below(BASE)
    assert caught.value.__context__ is None


def test_the_sent_url_is_the_encoded_one(client: HttpClient, requests_mock: Any) -> None:
    requests_mock.get(f"{HOST}/customers/a%2F..%252e", content=b"found")
    query = [("filter.values", "Zoë+1@example.fr,b@example.fr"), ("filter.by", "Email")]
    call = Call("GET", "/customers/{id}", values={"id": "a/..%2e"}, query=query)
    assert client.request(call, bytes) == b"found"
    assert requests_mock.last_request.url == (
        f"{HOST}/customers/a%2F..%252e?filter.values=Zo%C3%AB%2B1@example.fr,b@example.fr&filter.by=Email"
    )


# Bodies


def test_json_of_common_values() -> None:
    body = encode_json({"a": None, "b": Decimal("1.50"), "c": dt.date(2024, 2, 29), "d": [True, 1.5], 7: "é"})
    assert json.loads(body) == {"a": None, "b": "1.50", "c": "2024-02-29", "d": [True, 1.5], "7": "é"}


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        {"a": [{"b": float("inf")}]},
        [None, (1, -float("inf"))],
        "\udc80secret",
        {"\udc80": 1},
        object(),
        {(1, 2): 3},
    ],
)
def test_json_cannot_express_it(value: Any) -> None:
    with pytest.raises(CrmInputError, match="cannot be sent as JSON") as caught:
        encode_json({"customer": value})
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None


def test_json_without_end() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(CrmInputError):
        encode_json(endless)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@pytest.mark.slow
@given(json_values)
@example({"null": "null"})
def test_what_json_can_express_arrives(value: Any) -> None:
    assert json.loads(encode_json(value)) == value
