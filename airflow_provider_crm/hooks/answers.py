"""How to read what a CRM answers: typed JSON, and the vendor's own words where it refuses. Knows no HTTP library."""

from __future__ import annotations

import html
import re
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

#: Where the vendors put their words, the most telling first.
_WORDS = ("errors", "error", "detail", "message", "error_description", "title", "return", "response")
_TAGS = re.compile(r"<(script|style).*?</\1>|<[^>]*>", re.IGNORECASE | re.DOTALL)


class UnreadableError(Exception):
    """The body is not what the vendor documents; the message says in which way, without quoting it."""


def read_json(body: bytes, type_: type[T]) -> T:
    """Decode a body into a type.

    :raises UnreadableError: no JSON, cut short, or of another shape.
    """
    try:
        return msgspec.json.decode(body, type=type_)
    except msgspec.ValidationError as error:
        problem = f"its JSON has another shape than documented ({error})"
    except (msgspec.DecodeError, UnicodeDecodeError):
        start = body[:200].lstrip().lower()
        problem = "HTML in place of JSON" if start.startswith(b"<") else "no JSON, or JSON that is cut short"
    raise UnreadableError(problem if body else "an empty body")


def vendor_errors(body: bytes) -> tuple[str, ...]:
    """Find the vendor's error messages in an answer.

    :return: each message, in clear; empty when the body is empty.
    """
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = html.unescape(_TAGS.sub(" ", body[:4000].decode(errors="replace")))
        return tuple(filter(None, [" ".join(text.split())[:500]]))
    return tuple(_messages(answer))


def _messages(answer: Any) -> list[str]:
    if isinstance(answer, str):
        return [answer] if answer.strip() else []
    if isinstance(answer, list):
        return [message for part in answer for message in _messages(part)]
    if isinstance(answer, dict):
        for word in _WORDS:
            if messages := _messages(answer.get(word)):
                return messages
        # ASP.NET's validation problems: {"email": ["is required"]}
        return [
            f"{name}: {message}"
            for name, part in answer.items()
            if isinstance(part, list)
            for message in _messages(part)
        ]
    return []
