"""One record as one line of JSON, whatever values it holds, and the records of a line that should hold one.

Knows nothing of where the line goes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

# Decimal, datetime, date, UUID and bytes are msgspec's own; anything it does not know becomes its text.
# What stands between objects: a CR alone, as old Macs ended lines, nothing (Amazon Data Firehose), commas, the sign of
# RFC 7464.
_BETWEEN = re.compile(r"[\s,\[\]\x1e]*")
_decoder = json.JSONDecoder()
_encoder = msgspec.json.Encoder(enc_hook=str)


def encode_line(record: Mapping[str, Any]) -> bytes:
    """Encode a record as a line of JSON that any JSON reader takes.

    Decimals, dates and UUIDs become text, bytes become Base64, NaN and infinity become null, and any other value that
    JSON has no form for becomes its ``str()``.

    :param record: the record, a dict or another mapping.
    :return: the line, in UTF-8, with its line feed.
    """
    try:
        return _encoder.encode(record if type(record) is dict else dict(record)) + b"\n"
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError):
        return json.dumps(_plain(record), ensure_ascii=False).encode() + b"\n"


def objects_in(line: bytes) -> list[bytes]:
    """Cut a line that holds several JSON objects in place of one, so that each of them counts.

    :return: the objects; the line itself where there are fewer than two.
    """
    text = line.decode(errors="surrogateescape")
    parts: list[str] = []
    at = _after(text, 0)
    while text.startswith("{", at):
        try:
            _, end = _decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = len(text)
        parts.append(text[at:end])
        at = _after(text, end)
    return [part.encode(errors="surrogateescape") for part in parts] if len(parts) > 1 else [line]


def _after(text: str, at: int) -> int:
    between = _BETWEEN.match(text, at)
    return between.end() if between else at


def _plain(value: Any, depth: int = 0) -> Any:
    """Rebuild what the fast encoder refuses: half surrogates in a text, an endless nesting, a giant number."""
    if isinstance(value, str):
        return str(value).encode("utf-8", "backslashreplace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):
        return value if value.bit_length() < 10_000 else hex(value)  # Python refuses to print longer ones
    if value is None:
        return value
    if depth > 50:
        return "…"
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, depth + 1) for item in value]
    try:
        return _plain(msgspec.to_builtins(value, enc_hook=str), depth + 1)
    except (UnicodeError, RecursionError):
        return "…"
