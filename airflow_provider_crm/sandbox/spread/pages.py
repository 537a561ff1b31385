"""How SPREAD cuts a list into pages, and what it says of the next one. Knows no record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from airflow_provider_crm.sandbox.pages import Row, page_of
from airflow_provider_crm.sandbox.spread.switches import SpreadSwitches
from airflow_provider_crm.sandbox.wire import Call

MAX_PAGE = 5000
SIZE_NAMES = ("maxResults", "maxResult")
KEPT = (*SIZE_NAMES, "consentId", "consentTechName", "trackId")


class PageError(Exception):
    """The parameters ask for no page, with the reason."""


def cut_page(
    call: Call, rows: Sequence[Row], switches: SpreadSwitches, *, size_name: str
) -> tuple[Sequence[Row], dict[str, Any]]:
    """Cut out the page a call asks for.

    :param size_name: the documented spelling of the page size here.
    :return: the rows, and ``count`` and ``nextPageUrl`` as they stand beside them.
    :raises PageError: the size or the start is not a number, or too large.
    """
    start = _number(call, "startAt", 0)
    size = _size(call, switches, size_name)
    page = page_of(call, rows, start, size)
    counts = {"page": len(page), "plus_one": len(page) + 1, "total": len(rows)}
    beside: dict[str, Any] = {"count": counts[switches.count]}
    form = call.hints.get("next_page_url", switches.next_page_url)
    if form != "absent":
        beside["nextPageUrl"] = _next_page_url(call, start, len(page), switches, form)
    return page, beside


def _size(call: Call, switches: SpreadSwitches, documented: str) -> int:
    spellings = {"documented": (documented,), "both": SIZE_NAMES}.get(
        switches.size_spelling, (switches.size_spelling,)
    )
    asked = next((name for name in spellings if name in call.parameters), None)
    size = switches.default_page_size if asked is None else _number(call, asked, switches.default_page_size)
    if size > MAX_PAGE and switches.over_max_page == "400":
        raise PageError(f"{asked} must not exceed {MAX_PAGE}")
    return min(size, MAX_PAGE, MAX_PAGE if switches.page_cap is None else switches.page_cap)


def _number(call: Call, name: str, default: int) -> int:
    text = call.parameters.get(name) or str(default)
    if not text.isdigit():
        raise PageError(f"{name} must be a number")
    return int(text)


def _next_page_url(call: Call, start: int, rows: int, switches: SpreadSwitches, form: str) -> str | None:
    if form == "null":
        return None
    keep = dict(call.parameters)
    if switches.next_page_filters == "drop":
        keep = {name: value for name, value in keep.items() if name in KEPT}
    keep["startAt"] = str(start if form == "loop" else start + rows)
    host = switches.foreign_host if form == "foreign" else call.host
    slashes = {"no_slashes": "http:", "colon": "http://:"}.get(form, "http://")
    return f"{slashes}{host}{call.raw_path}?{urlencode(keep)}"
