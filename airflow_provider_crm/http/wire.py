"""How a request is written and an answer is read, each in one piece: httptools knows HTTP/1.1.

The ways of requests and http.client take three quarters of the CPU of a call: they are made for answers that are read
bit by bit, and read headers as those of mails. Knows neither connections nor calls.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from io import BufferedReader
from typing import Any

import httptools
import urllib3.exceptions

#: Bytes that are read at once, at most; and those within which the body of an answer has to begin.
READ_AT_ONCE = 1 << 18
MOST_IN_HEADERS = 1 << 20
_GZIP = b"\x1f\x8b"


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


def read_answer(file: BufferedReader) -> Answer:
    """Read an answer to a request that is no ``HEAD``.

    :raises HTTPException: it is none, or ends too early.
    :raises urllib3.exceptions.DecodeError: it cannot be decompressed.
    """
    taken = _Taken()
    try:
        while not taken.is_whole:
            data = file.read1(READ_AT_ONCE)
            if not data:
                taken.end()
                break
            taken.feed(data)
    finally:
        taken.let_go()
    headers = taken.headers
    if headers.get("Transfer-Encoding", "chunked").lower() != "chunked":
        raise HTTPException("another transfer coding than asked for")
    body = _decompressed(b"".join(taken.body), headers)
    return Answer(taken.status, taken.reason, headers, body, keeps=taken.keeps)


#: What real servers send and http.client reads too. Refusing it would leave the outcome of each call unknown; its
#: dangers are those of servers and proxies that take requests of many (aio-libs/aiohttp, pull request 7490).
_LENIENCIES = {
    "lenient_headers": True,  # signs that a value must not hold (aio-libs/aiohttp, issue 5269)
    "lenient_optional_cr_before_lf": True,  # nodejs/llhttp, issue 236
    "lenient_spaces_after_chunk_size": True,  # nodejs/llhttp, pull request 245
    "lenient_chunked_length": True,  # a length beside chunks, which count (nodejs/http-parser, issue 289)
}


class _Taken:
    """What the parser has found so far, by calling the methods that begin with ``on_``."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(**_LENIENCIES)
        self.status = 0
        self.reason = ""
        self.headers = Headers()
        self.body: list[bytes] = []
        self.is_whole = self.keeps = False
        self._is_begun = self._is_at_body = False
        self._left = MOST_IN_HEADERS

    def feed(self, data: bytes) -> None:
        """Take what has come.

        :raises HTTPException: it is no answer.
        """
        if not self._is_at_body:
            self._left -= len(data)
            if self._left < 0:
                raise HTTPException("more headers than anybody needs")
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.is_whole:
                raise HTTPException(f"no answer of HTTP/1.1 ({type(error).__name__})") from None
            self.keeps = False  # what follows is no part of it

    def end(self) -> None:
        """Take the end of the connection for that of the answer, where nothing else says where that is.

        :raises HTTPException: it ends too early.
        """
        if not self._is_begun:
            raise RemoteDisconnected("Remote end closed connection without response")
        # An interim answer alone says nothing of the call; for the rest see RFC 9112, section 6.3.
        if (
            self.status < 200
            or not self._is_at_body
            or self.headers.keys() & {"content-length", "transfer-encoding"}
        ):
            raise IncompleteRead(b"".join(self.body))

    def let_go(self) -> None:
        """Let go of the parser, which holds this: a cycle is left to Python's garbage collector."""
        del self._parser

    def on_message_begin(self) -> None:
        if self.is_whole:
            raise HTTPException("a second answer")
        self.headers, self.body, self.reason = Headers(), [], ""
        self._is_begun, self._is_at_body = True, False

    def on_status(self, reason: bytes) -> None:
        self.reason += reason.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_at_body:  # those after it are of no use
            key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
            # A list may be cut into several headers (RFC 9110, section 5.3).
            self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self._is_at_body = True

    def on_body(self, body: bytes) -> None:
        self.body.append(body)

    def on_message_complete(self) -> None:
        # An interim answer is followed by another one (RFC 9110, section 15.2).
        self.is_whole = self.status >= 200
        self.keeps = self._parser.should_keep_alive()


def _decompressed(body: bytes, headers: Headers) -> bytes:
    """Decompress a body; one in a coding that was not asked for is left as it is, and is no JSON."""
    if headers.get("Content-Encoding", "").lower() not in ("gzip", "x-gzip"):
        return body
    parts = []
    try:
        while body:
            one = zlib.decompressobj(wbits=31)
            parts.append(one.decompress(body))
            if not one.eof:
                raise EOFError
            # Some servers add a tail, which browsers leave out (urllib3/urllib3, issue 75).
            body = one.unused_data if one.unused_data.startswith(_GZIP) else b""
    except (EOFError, zlib.error) as error:
        raise urllib3.exceptions.DecodeError("no gzip", error) from error
    return b"".join(parts)
