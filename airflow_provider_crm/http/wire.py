"""How a request is written and an answer is read: as much of HTTP/1.1 (RFC 9112) as JSON APIs speak, and each once.

The libraries' own ways take two thirds of the CPU of a call: they are made for answers that are read bit by bit,
and read headers as those of mails. Knows neither connections nor calls.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import BadStatusLine, HTTPException, IncompleteRead, LineTooLong, RemoteDisconnected
from typing import Any, BinaryIO

import urllib3.exceptions

#: Bytes of a line and lines of headers, at most: as ``http.client`` has it.
LONGEST_LINE = 65536
MOST_HEADERS = 100

_HEX = b"0123456789abcdefABCDEF"


@dataclass(slots=True)
class Request:
    """What is sent.

    :param method: the HTTP verb.
    :param url: the whole URL, encoded.
    :param headers: all but those that the way of sending needs.
    :param body: the body, if there is one.
    """

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None = None


class Headers(dict[str, str]):
    """The headers of an answer, by their names in small letters."""

    def get(self, name: str, default: Any = None) -> Any:
        """Return a header, however its name is written."""
        return super().get(name.lower(), default)


class Answer:
    """An answer, read to its end.

    :param status: its status.
    :param reason: the words beside that.
    :param headers: its headers.
    :param body: its body, decompressed.
    :param keeps: whether the connection may be used again.
    """

    # What a pool of urllib3 writes into its log of an answer.
    version_string = "HTTP/1.1"
    length_remaining = 0

    def __init__(
        self, status: int, reason: str, headers: Headers, body: bytes, *, keeps: bool = True
    ) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body
        self.keeps = keeps


def request_bytes(method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """Write a request, so that it leaves in one piece.

    :raises ValueError: something in it would be taken for another line; does not quote it.
    """
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if body is not None or method != "GET":
        lines.append(f"Content-Length: {len(body or b'')}")
    # A line within a line is another request (CVE-2019-9740, of the standard library).
    if " " in target or not all(line.isascii() and line.isprintable() for line in lines):
        raise ValueError("characters that HTTP cannot carry")
    return "\r\n".join((*lines, "", "")).encode("ascii") + (body or b"")


def read_answer(file: BinaryIO) -> Answer:
    """Read an answer to a request that is no ``HEAD``.

    :raises HTTPException: it is none, or ends too early.
    :raises urllib3.exceptions.DecodeError: it cannot be decompressed.
    """
    status = 100
    while status < 200:  # an interim answer is followed by another one (RFC 9110, section 15.2)
        version, status, reason = _read_status(file)
        headers = _read_headers(file)
    body, delimited = _read_body(file, status, headers)
    options = headers.get("Connection", "").lower()
    keeps = "close" not in options and (version != "HTTP/1.0" or "keep-alive" in options)
    return Answer(status, reason, headers, _decompressed(body, headers), keeps=keeps and delimited)


def _read_status(file: BinaryIO) -> tuple[str, int, str]:
    line = _read_line(file)
    if not line:
        raise RemoteDisconnected("Remote end closed connection without response")
    version, _, rest = line.partition(" ")
    code, _, reason = rest.strip().partition(" ")
    if not version.startswith("HTTP/1.") or len(code) != 3 or not code.isdecimal() or code < "100":
        raise BadStatusLine("no status of HTTP/1")
    return version, int(code), reason.strip()


def _read_headers(file: BinaryIO) -> Headers:
    headers = Headers()
    name = ""
    for _ in range(MOST_HEADERS + 1):
        line = _read_line(file)
        if line in ("\r\n", "\n"):
            return headers
        if not line:
            raise IncompleteRead(b"")
        if line[0] in " \t" and name:  # goes on with the line before (RFC 9112, section 5.2)
            headers[name] += f" {line.strip()}"
            continue
        name, colon, value = line.partition(":")
        name, value = name.lower(), value.strip()
        if colon:
            # A list may be cut into several headers (RFC 9110, section 5.3).
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    raise HTTPException(f"more than {MOST_HEADERS} headers")


def _read_body(file: BinaryIO, status: int, headers: Headers) -> tuple[bytes, bool]:
    """Read a body, and return whether it says itself where it ends (RFC 9112, section 6.3)."""
    if status in (204, 304):
        return b"", True
    if "transfer-encoding" in headers:
        if headers["transfer-encoding"].lower() != "chunked":
            raise HTTPException("another transfer coding than asked for")
        return b"".join(_read_chunks(file)), True
    lengths = {length.strip() for length in headers.get("Content-Length", "").split(",")}
    if lengths == {""}:
        return file.read(), False
    length = lengths.pop()
    if lengths or not length.isdecimal():
        raise HTTPException("a length that is none")
    return _read_exactly(file, int(length)), True


def _read_chunks(file: BinaryIO) -> list[bytes]:
    chunks: list[bytes] = []
    while True:
        size = _read_line(file).partition(";")[0].strip().encode("latin-1")
        if not size or size.strip(_HEX):
            raise IncompleteRead(b"".join(chunks))
        if not int(size, 16):
            break
        chunks.append(_read_exactly(file, int(size, 16)))
        _read_exactly(file, 2)
    _read_headers(file)  # trailers
    return chunks


def _read_line(file: BinaryIO) -> str:
    line = file.readline(LONGEST_LINE + 1)
    if len(line) > LONGEST_LINE:
        raise LineTooLong("line")
    return line.decode("latin-1")


def _read_exactly(file: BinaryIO, length: int) -> bytes:
    data = file.read(length)
    if len(data) < length:
        raise IncompleteRead(b"", length - len(data))
    return data


def _decompressed(body: bytes, headers: Headers) -> bytes:
    """Decompress a body; one in a coding that was not asked for is left as it is, and is no JSON."""
    if headers.get("Content-Encoding", "").lower() not in ("gzip", "x-gzip"):
        return body
    try:
        return gzip.decompress(body)
    except (OSError, EOFError, zlib.error) as error:
        raise urllib3.exceptions.DecodeError("no gzip", error) from error
