"""A tap of the Singer SDK, its messages written to a file."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from measured import measure
from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import BasicAuthenticator
from singer_sdk.pagination import BaseOffsetPaginator

URL, PATH = sys.argv[1:3]
COLUMNS = """id lastName firstName email country city address address2 address3 zip phone mobile lang birthday gender
createdAt updatedAt isFan isFollow isFanLinkedin isBuyer actionCount lastActionDt lastOrderDt cagnotteAmount externalId
company fonction""".split()  # noqa: SIM905 - shorter so


class Paginator(BaseOffsetPaginator):
    def has_more(self, response: Any) -> bool:
        return len(response.content) > 1000


class Customers(RESTStream):
    name = "customers"
    primary_keys = ("id",)
    url_base = URL.rpartition("/")[0]
    path = "/customers"
    records_jsonpath = "$.customers[*]"
    schema = th.PropertiesList(
        *(th.Property(name, th.StringType) for name in COLUMNS),
        th.Property("tags", th.CustomType({"type": ["array", "string", "null"]})),
    ).to_dict()

    @property
    def authenticator(self) -> Any:
        return BasicAuthenticator(stream=self, username="k", password="s")

    def get_new_paginator(self) -> Any:
        return Paginator(0, 5000)

    def get_url_params(self, context: Any, next_page_token: Any) -> dict[str, Any]:
        return {"startAt": next_page_token or 0, "maxResults": 5000}


class TapCrm(Tap):
    name = "tap-crm"
    config_jsonschema = th.PropertiesList().to_dict()

    def discover_streams(self) -> Iterable[Any]:
        return [Customers(self)]


def main() -> int:
    with open(PATH, "w") as file, contextlib.redirect_stdout(file):
        TapCrm(config={}).sync_all()
    with open(PATH) as file:
        return sum(1 for line in file if '"RECORD"' in line)


measure(main)
