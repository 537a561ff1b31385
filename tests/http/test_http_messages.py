"""What is written to a socket and read from it, byte by byte; and how a connection goes on afterwards."""

from __future__ import annotations

import gzip
import io
import json
from http.client import HTTPException, IncompleteRead, RemoteDisconnected

import pytest
import urllib3.exceptions
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_crm.http.wire import Answer, read_answer, request_bytes

OK = b"HTTP/1.1 200 OK\r\n"


def answer(data: bytes) -> Answer:
    return read_answer(io.BufferedReader(io.BytesIO(data)))


# Requests


def test_a_request_is_one_piece() -> None:
    assert request_bytes("POST", "/a?b=c", {"Host": "crm.example", "X": "y"}, b"{}") == (
        b"POST /a?b=c HTTP/1.1\r\nHost: crm.example\r\nX: y\r\nContent-Length: 2\r\n\r\n{}"
    )


def test_only_a_get_may_be_without_a_length() -> None:
    assert b"Content-Length" not in request_bytes("GET", "/", {}, None)
    assert b"Content-Length: 0\r\n" in request_bytes("DELETE", "/", {}, None)
    assert b"Content-Length: 0\r\n" in request_bytes("POST", "/", {}, None)


@pytest.mark.parametrize("odd", ["\r\nX: y", "\n", "\r", "\0", "\x7f", "é", "\u2028"])
def test_nothing_in_a_request_makes_another_line(odd: str) -> None:
    for method, target, headers in [
        (f"GET{odd}", "/", {}),
        ("GET", f"/{odd}", {}),
        ("GET", "/", {f"X{odd}": "y"}),
        ("GET", "/", {"X": f"y{odd}"}),
    ]:
        with pytest.raises(ValueError, match="cannot carry") as caught:
            request_bytes(method, target, headers, None)
        assert odd not in str(caught.value)
    with pytest.raises(ValueError, match="cannot carry"):
        request_bytes("GET", "/ HTTP/1.1", {}, None)


# Answers


def test_an_answer_with_a_length() -> None:
    one = answer(
        OK + b"Content-Length: 3\r\nX-Name:  some value \r\nSet-Cookie: a\r\nset-cookie: b\r\n\r\n{ }"
    )
    assert (one.status, one.reason, one.body, one.keeps) == (200, "OK", b"{ }", True)
    assert one.headers.get("x-name") == one.headers.get("X-NAME") == "some value"
    assert one.headers.get("Set-Cookie") == "a, b"
    assert one.headers.get("absent") is None


@pytest.mark.parametrize(
    ("data", "body", "keeps"),
    [
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n00\r\n\r\n", b"{}", True),
        (
            OK + b"Transfer-Encoding: Chunked\r\n\r\n1\r\n{\r\nA\r\n0123456789\r\n0\r\nX: trailer\r\n\r\n",
            b"{0123456789",
            True,
        ),
        (OK + b"\r\n{}", b"{}", False),
        (OK + b"Connection: Close\r\nContent-Length: 2\r\n\r\n{}", b"{}", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"{}", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}", b"{}", True),
        (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}", b"{}", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 204 No Content\r\n\r\nrest", b"", False),
        (OK + b"Content-Length: 2\r\n\r\n{}rest", b"{}", False),
        (2 * (OK + b"Content-Length: 2\r\n\r\n{}"), b"{}", False),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b"", True),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
            + OK
            + b"Content-Length: 2\r\n\r\n{}",
            b"{}",
            True,
        ),
        (OK + b"Content-Encoding: br\r\nContent-Length: 2\r\n\r\n{}", b"{}", True),
        (OK + b"Set-Cookie: a\x01b\r\nContent-Length: 2\r\n\r\n{}", b"{}", True),
        (OK + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\n{}", b"{}", True),
        (OK.replace(b"\r", b"") + b"X: y\nContent-Length: 2\n\n{}", b"{}", True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2  \r\n{}\r\n0\r\n\r\n", b"{}", True),
        (
            OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            b"{}",
            True,
        ),
    ],
)
def test_where_an_answer_ends(data: bytes, body: bytes, keeps: bool) -> None:
    one = answer(data)
    assert (one.body, one.keeps) == (body, keeps)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", RemoteDisconnected),
        (b"SSH-2.0-OpenSSH_9.2\r\n", HTTPException),
        (b"HTTP/2 200 OK\r\n\r\n", HTTPException),
        (b"HTTP/1.1 20 OK\r\n\r\n", HTTPException),
        (b"HTTP/1.1 abc OK\r\n\r\n", HTTPException),
        (OK, IncompleteRead),
        (b"HTTP/1.1 100 Continue\r\n\r\n", IncompleteRead),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, IncompleteRead),
        (OK + b"Content-Length: 2\r\n", IncompleteRead),
        (OK + b"Content-Length: 3\r\n\r\n{}", IncompleteRead),
        (OK + b"Content-Length: 2, 3\r\n\r\n{}", HTTPException),
        (OK + b"Content-Length: -2\r\n\r\n{}", HTTPException),
        (OK + b"Content-Length: 2_0\r\n\r\n{}", HTTPException),
        (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", HTTPException),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", IncompleteRead),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\n{}", IncompleteRead),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n", HTTPException),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n0\r\n\r\n", HTTPException),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", IncompleteRead),
        (OK + b"X: " + b"y" * 1_100_000 + b"\r\n\r\n", HTTPException),
        (OK + b"X: y\r\n" * 200_000 + b"\r\n", HTTPException),
        (OK + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", urllib3.exceptions.DecodeError),
    ],
)
def test_what_is_no_whole_answer(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        answer(data)


@pytest.mark.parametrize("tail", [b"", b"\n", b"\0\0", b"<!-- 0.1 s -->", gzip.compress(b"{}", mtime=0)])
def test_a_compressed_answer_with_a_tail(tail: bytes) -> None:
    body = gzip.compress(b"{}") + tail
    one = answer(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert one.body == (b"{}{}" if tail.startswith(b"\x1f") else b"{}")


def test_a_compressed_answer_that_is_cut_short() -> None:
    body = gzip.compress(b"{}" * 100)[:-9]
    with pytest.raises(urllib3.exceptions.DecodeError):
        answer(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


@settings(max_examples=200)
@given(st.binary(max_size=300), st.booleans(), st.lists(st.integers(1, 50), max_size=8), st.booleans())
def test_a_body_is_read_back(body: bytes, compressed: bool, cuts: list[int], chunked: bool) -> None:
    sent = gzip.compress(body) if compressed else body
    head = OK + (b"Content-Encoding: gzip\r\n" if compressed else b"")
    if chunked:
        parts, rest = [], sent
        for cut in cuts:
            parts.append(rest[:cut])
            rest = rest[cut:]
        parts.append(rest)
        data = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part) + b"0\r\n\r\n"
        whole = head + b"Transfer-Encoding: chunked\r\n\r\n" + data
    else:
        whole = head + b"Content-Length: %d\r\n\r\n" % len(sent) + sent
    one = answer(whole)
    assert (one.body, one.keeps) == (body, True)
    for end in range(0, len(whole), max(1, len(whole) // 20)):
        with pytest.raises((HTTPException, urllib3.exceptions.DecodeError)):
            answer(whole[:end])


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_nothing_that_a_server_sends_raises_anything_else(data: bytes) -> None:
    for start in (
        b"",
        OK,
        OK + b"Transfer-Encoding: chunked\r\n\r\n",
        OK + b"Content-Encoding: gzip\r\n\r\n",
    ):
        try:
            one = answer(start + data)
        except (HTTPException, urllib3.exceptions.DecodeError):
            continue
        assert 100 < one.status < 1000
        json.dumps(one.headers)
