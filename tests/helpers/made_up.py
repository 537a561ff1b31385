"""Answers that requests-mock makes up, for calls that do not go through a session of requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import requests

from airflow_provider_crm.http.transport import Route, Transport
from airflow_provider_crm.http.wire import Answer, Headers, Request


class _Session(requests.Session):
    """Leaves redirects alone: requests prepares the next request even where told not to follow."""

    def resolve_redirects(self, *_: Any, **__: Any) -> Iterator[Any]:
        yield from ()


def send_through_requests(transport: Transport, request: Request, route: Route) -> Answer:
    """Send a request by a session of requests, whose answers requests-mock makes up."""
    prepared = requests.PreparedRequest()
    prepared.prepare_method(request.method)
    prepared.url = request.url
    prepared.prepare_headers(request.headers)
    prepared.prepare_body(request.body, None)
    answer = _Session().send(prepared, allow_redirects=False)
    headers = Headers({name.lower(): value for name, value in answer.headers.items()})
    return Answer(answer.status_code, answer.reason or "", headers, answer.content)
