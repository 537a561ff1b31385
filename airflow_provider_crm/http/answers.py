"""How to read what a CRM answers: typed JSON, and the vendor's own words where it refuses. Knows no HTTP library."""

from __future__ import annotations

import codecs
import html
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

#: Where the vendors put their words, the most telling first.
_WORDS = ("errors", "error", "detail", "message", "error_description", "title", "return", "response")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
_TAGS = re.compile(r"<(script|style).*?</\1>|<[^>]*>", re.IGNORECASE | re.DOTALL)


class UnreadableError(Exception):
    """The body is not what the vendor documents; the message says in which way, without quoting it."""


def in_utf8(body: bytes, content_type: str) -> bytes:
    """Return a body as JSON has to be: in UTF-8, and without a mark in front.

    A mark is what a file of PHP that an editor saved with one puts before every answer, of WordPress' shops for one
    (woocommerce/wc-api-python, issue 40). Services with another encoding are known to say so in their header, and
    need not be ours to mend (guzzle/guzzle, pull request 310).

    :param content_type: the header; what it says of the charset counts only where the body is not in UTF-8: servers
        state their default one for JSON in UTF-8 too (MotusDev/Motus-TO-DO, issue 25).
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    declared = _CHARSET.search(content_type)
    if declared and declared[1].lower() not in ("utf-8", "utf8") and not _is_utf8(body):
        try:
            return body.decode(declared[1]).encode()
        except (LookupError, UnicodeError):
            pass
    return body


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def read_json(body: bytes, type_: type[T]) -> T:
    """Decode a body into a type.

    :raises UnreadableError: no JSON, cut short, or of another shape.
    """
    try:
        return msgspec.json.decode(body, type=type_)
    except msgspec.ValidationError as error:
        problem = f"its JSON has another shape than documented ({error})"
    except RecursionError:
        problem = "JSON that is nested without end"
    except (msgspec.DecodeError, UnicodeDecodeError):
        start = body[:200].lstrip().lower()
        problem = "HTML in place of JSON" if start.startswith(b"<") else "no JSON, or JSON that is cut short"
    raise UnreadableError(problem if body else "an empty body")


def is_json(body: bytes) -> bool:
    """Return whether a body is JSON, whatever it holds."""
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def vendor_errors(body: bytes) -> tuple[str, ...]:
    """Return the vendor's error messages in an answer.

    :return: each message, in clear; empty when the body is empty.
    """
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = html.unescape(_TAGS.sub(" ", body[:4000].decode(errors="replace")))
        return tuple(filter(None, [" ".join(text.split())[:500]]))
    if isinstance(answer, dict):
        return said_in(answer) or tuple(_of_fields(answer))
    return tuple(_messages(answer))


def said_in(answer: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the messages that stand under a name that is made for them, such as ``error`` or ``message``.

    :return: each message, in clear; empty where the answer has no such name.
    """
    for word in _WORDS:
        if messages := _messages(answer.get(word)):
            return tuple(messages)
    return ()


def _messages(part: Any) -> list[str]:
    if isinstance(part, str):
        return [part] if part.strip() else []
    if isinstance(part, list):
        return [message for item in part for message in _messages(item)]
    if isinstance(part, dict):
        return list(said_in(part)) or _of_fields(part)
    return []


def _of_fields(problems: Mapping[str, Any]) -> list[str]:
    # ASP.NET's validation problems: {"email": ["is required"]}
    return [
        f"{name}: {message}"
        for name, part in problems.items()
        if isinstance(part, list)
        for message in _messages(part)
    ]
