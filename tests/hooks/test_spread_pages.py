"""Whole pages on their way into a file: prepared slice by slice, and whose fault it is when that fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import pytest

from airflow_provider_crm.exceptions import CrmError, CrmInputError
from airflow_provider_crm.hooks.spread.pages import SpreadPages
from airflow_provider_crm.http.lookups import Lookups
from airflow_provider_crm.schemas import slices
from airflow_provider_crm.schemas.records import Records
from airflow_provider_crm.schemas.spread.exports import customer_reader

CUSTOMERS = "https://social-sb.com/api/v2/customers"
IDS = [str(number) for number in range(1, 501)]
#: How customers are asked for: as a list, or by their ids.
EITHER_WAY: list[dict[str, Any]] = [{}, {"ids": IDS}]


@dataclass(frozen=True)
class Keys:
    keys: list[str]

    def without(self, positions: Collection[int]) -> Keys:
        return Keys([key for place, key in enumerate(self.keys) if place not in positions])

    def followed_by(self, others: Sequence[Keys]) -> Keys:
        return Keys([key for page in (self, *others) for key in page.keys])


def prepared(records: Records) -> Keys:
    return Keys([record.id for record in records.values])


def served(request: Any, context: Any) -> dict[str, Any]:
    asked = dict(parse_qsl(urlsplit(request.url).query))
    ids = asked["ids"].split(",") if "ids" in asked else IDS
    start = int(asked["startAt"])
    return {"customers": [{"id": number} for number in ids[start : start + int(asked["maxResults"])]]}


@pytest.fixture
def pages(spread: Any, requests_mock: Any) -> Iterator[SpreadPages]:
    requests_mock.get(CUSTOMERS, json=served)
    spread.lookups = Lookups(longest=200)  # ids, in several groups
    yield SpreadPages(spread, ahead=8, page_size=50)
    spread.close()
    for thread in threading.enumerate():
        if thread.name.startswith("spread"):
            thread.join(10)


@pytest.mark.parametrize("asked", EITHER_WAY)
def test_a_page_is_prepared_slice_by_slice(
    pages: SpreadPages, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any]
) -> None:
    monkeypatch.setattr(slices, "SLICE", 100)
    sizes: list[int] = []

    def prepare(slice_: Records) -> Keys:
        sizes.append(len(slice_.values))
        return prepared(slice_)

    read = list(pages.customers(customer_reader(ZoneInfo("UTC")), prepare, **asked))
    assert [key for page in read for key in page.keys] == IDS
    assert max(sizes) < 20 < max(len(page.keys) for page in read)


def test_pages_are_made_one_after_the_other(pages: SpreadPages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE", 100)
    made: list[list[str]] = []

    def prepare(slice_: Records) -> Keys:
        if slice_.keys:  # there are none behind the end
            made.append(slice_.keys)
        time.sleep(0.001)
        return prepared(slice_)

    read = list(pages.customers(customer_reader(ZoneInfo("UTC")), prepare))
    begun = [int(keys[0]) for before, keys in pairwise(made) if int(keys[0]) != int(before[-1]) + 1]
    assert len(made) > 5 * len(begun)
    assert len(begun) <= len(read)


@pytest.mark.parametrize("asked", [{}, {"ids": "1,2,3"}])
@pytest.mark.parametrize("error", [CrmInputError("too many rows"), ValueError("of a library"), LookupError()])
def test_what_preparing_raises_is_raised_as_it_is(
    pages: SpreadPages, requests_mock: Any, asked: dict[str, Any], error: Exception
) -> None:
    def prepare(records: Records) -> Keys:
        raise error

    reader = customer_reader(ZoneInfo("UTC"))
    with pytest.raises(type(error)) as raised:
        list(pages.customers(reader, prepare, **asked))
    assert raised.value is error
    assert requests_mock.call_count == 1
    # Others can still be read.
    assert [key for page in pages.customers(reader, prepared, ids="1,2,3") for key in page.keys] == [*"123"]


@pytest.mark.parametrize("asked", [{}, {"ids": "1,2,3"}])
def test_an_answer_that_cannot_be_read_is_asked_for_again(
    pages: SpreadPages, requests_mock: Any, asked: dict[str, Any]
) -> None:
    good = {"json": {"customers": [{"id": "1"}, {"id": "2"}, {"id": "3"}]}}
    requests_mock.get(CUSTOMERS, [{"text": "<html>"}, good, {"json": {"customers": []}}])
    read = pages.customers(customer_reader(ZoneInfo("UTC")), prepared, **asked)
    assert next(iter(read)).keys == [*"123"]
    assert requests_mock.call_count == 2


def test_pages_that_wait_for_their_turn_end_with_the_task(spread: Any, pages: SpreadPages) -> None:
    def prepare(records: Records) -> Keys:
        if records.keys[0] != "1":
            spread.close()
            time.sleep(0.02)  # the others come meanwhile
        return prepared(records)

    with pytest.raises(CrmError):
        list(pages.customers(customer_reader(ZoneInfo("UTC")), prepare))
    for thread in threading.enumerate():
        if thread.name.startswith("spread"):
            thread.join(10)
            assert not thread.is_alive()
