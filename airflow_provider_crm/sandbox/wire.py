"""One HTTP call as the stand-ins see it, and the answer they give. Knows no CRM, no server and no socket."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

JSON = "application/json; charset=utf-8"
HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
JSON_LINES = "application/x-ndjson"

to_json = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Break:
    """How an answer ends before its time.

    :param at: bytes of the body that still go out; -1 when not even the status line does.
    :param reset: the peer sees a TCP reset rather than an orderly close.
    """

    at: int = -1
    reset: bool = False


@dataclass(slots=True)
class Answer:
    """What goes back over the wire.

    :param breaks: set when the connection ends in the middle of, or instead of, this answer.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    breaks: Break | None = None


class RefusalError(Exception):
    """Ends the handling of a call with an answer.

    :param answer: what the caller gets.
    """

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def json_answer(content: Any, status: int = 200, **headers: str) -> Answer:
    """Answer with JSON; an underscore in the name of a header stands for a hyphen."""
    return Answer(status, to_json(content), JSON, {name.replace("_", "-"): v for name, v in headers.items()})


def html_answer(status: int, title: str) -> Answer:
    """Answer as a web server in front of an API does when the API itself is not reached."""
    page = f"<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    return Answer(status, page.encode(), HTML)


@dataclass(slots=True)
class Call:
    """One call as it came in, and what is learnt about it on the way.

    :param raw_path: the path as sent, still percent-encoded.
    :param query: the query string as sent.
    :param headers: names in lower case.
    :param segments: the parts of the path, decoded one by one so that an encoded slash stays inside its part.
    :param hints: what faults ask of the handler, by kind of fault.
    :param rows: rows in the body, set by the handler.
    """

    method: str
    raw_path: str
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    segments: list[str] = field(init=False)
    system: str = ""
    resource: str = ""
    route: str = ""
    handler: Callable[[Call], Answer] | None = None
    arguments: dict[str, str] = field(default_factory=dict)
    hints: dict[str, Any] = field(default_factory=dict)
    rows: int = 0
    _parameters: dict[str, str] | None = None

    def __post_init__(self) -> None:
        self.segments = [unquote(part) for part in self.raw_path.split("/") if part]

    @property
    def parameters(self) -> dict[str, str]:
        """The query string, decoded; of a repeated name the last value counts."""
        if self._parameters is None:
            self._parameters = dict(parse_qsl(self.query, keep_blank_values=True))
        return self._parameters

    @property
    def form(self) -> list[tuple[str, str]]:
        """The body as an HTML form, decoded."""
        return parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True)

    @property
    def host(self) -> str:
        """The host and port the caller used."""
        return self.headers.get("host", "localhost")
