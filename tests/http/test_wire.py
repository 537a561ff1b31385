"""Against a real socket: answers that are cut short, connections that are kept, lines that libraries log."""

from __future__ import annotations

import gzip
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from airflow_provider_crm.exceptions import (
    CrmOutcomeUnknownError,
    CrmUnreachableError,
    CrmUnreadableAnswerError,
)
from airflow_provider_crm.http.answers import read_json
from airflow_provider_crm.http.calls import Call
from airflow_provider_crm.http.client import HttpClient

from .conftest import MakeClient

GET = Call("GET", "/{value}", values={"value": "marie@curie.example"})
CREDIT = Call("POST", "/credit", body=b"{}", repeatable=False)
BODY = b'{"ok": 1}'


class Handler(BaseHTTPRequestHandler):
    """Answers as the test says, and counts connections."""

    protocol_version = "HTTP/1.1"
    respond: Callable[[Handler], None]
    connections: set[Any]
    cookies: list[str | None]

    def do_GET(self) -> None:
        self.connections.add(self.client_address)
        self.cookies.append(self.headers.get("Cookie"))
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.respond()

    do_POST = do_GET  # noqa: N815

    def reply(self, body: bytes, *, length: int | None = None, **headers: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self._headers_buffer += [b"\r\n", body]  # one packet, lest the kernel wait for more
        self.flush_headers()
        if length is not None:
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    handler = type("OneHandler", (Handler,), {"connections": set(), "cookies": [], "respond": None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def client(make_client: MakeClient, server: Any) -> HttpClient:
    base_url = f"http://127.0.0.1:{server.server_address[1]}"
    return make_client(base_url, max_retries=2, timeout=1.0, concurrency=4)


def read(body: bytes) -> dict[str, int]:
    return read_json(body, dict[str, int])


def in_turn(*responses: Callable[[Handler], None]) -> Callable[[Handler], None]:
    lock, rest = threading.Lock(), list(responses)

    def respond(handler: Handler) -> None:
        with lock:
            response = rest.pop(0) if len(rest) > 1 else rest[0]
        response(handler)

    return respond


def good(handler: Handler) -> None:
    handler.reply(BODY)


def truncated(handler: Handler) -> None:
    handler.reply(BODY[:4], length=len(BODY))


def truncated_but_whole_json(handler: Handler) -> None:
    handler.reply(BODY, length=len(BODY) + 10)


def truncated_chunk(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"ff\r\n" + BODY)
    handler.close_connection = True


def broken_gzip(handler: Handler) -> None:
    handler.reply(gzip.compress(BODY)[:-12] + b"x" * 12, Content_Encoding="gzip")


def no_http(handler: Handler) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    handler.close_connection = True


def hang_up(handler: Handler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def silent(handler: Handler) -> None:
    handler.rfile.read(1)  # until the client hangs up
    handler.close_connection = True


BAD = [truncated, truncated_but_whole_json, truncated_chunk, broken_gzip, no_http, hang_up, silent]
each_bad = pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.__name__)


@pytest.mark.slow
@each_bad
def test_an_answer_that_is_not_whole_is_asked_for_again(client: HttpClient, server: Any, bad: Any) -> None:
    server.RequestHandlerClass.respond = in_turn(bad, good)
    assert client.request(GET, read) == {"ok": 1}
    assert client.counters.retries == 1


@pytest.mark.slow
@each_bad
def test_a_credit_without_a_whole_answer_is_not_repeated(client: HttpClient, server: Any, bad: Any) -> None:
    server.RequestHandlerClass.respond = in_turn(bad, good)
    with pytest.raises(CrmOutcomeUnknownError):
        client.request(CREDIT, read)
    assert client.counters.requests == 1


def test_an_answer_that_is_compressed(client: HttpClient, server: Any) -> None:
    server.RequestHandlerClass.respond = lambda handler: handler.reply(
        gzip.compress(BODY), Content_Encoding="gzip"
    )
    assert client.request(GET, read) == {"ok": 1}


def test_nobody_listens(make_client: MakeClient) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    client = make_client(f"http://127.0.0.1:{port}", max_retries=2)
    with pytest.raises(CrmUnreachableError, match=r"could not be sent.*3 tries"):
        client.request(CREDIT, read)


def test_threads_share_few_connections(client: HttpClient, server: Any) -> None:
    server.RequestHandlerClass.respond = good
    assert client.pool.side_by_side(lambda _: client.request(GET, read), range(100)) == [{"ok": 1}] * 100
    assert len(server.RequestHandlerClass.connections) <= 4
    assert client.counters.requests == 100


def test_a_kept_connection_that_the_server_closed(client: HttpClient, server: Any) -> None:
    def good_bye(handler: Handler) -> None:
        good(handler)
        handler.close_connection = True  # without saying so

    server.RequestHandlerClass.respond = good_bye
    for _ in range(3):
        client.request(GET, read)


def test_cookies_are_not_kept(client: HttpClient, server: Any) -> None:
    server.RequestHandlerClass.respond = lambda handler: handler.reply(BODY, Set_Cookie="PHPSESSID=1; Path=/")
    client.request(GET, read)
    client.request(GET, read)
    assert server.RequestHandlerClass.cookies == [None, None]


def test_nothing_of_the_url_is_logged(
    client: HttpClient, server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def odd_headers(handler: Handler) -> None:
        handler.wfile.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nno header at all\r\nX-Odd: \xff\r\n\r\n" + BODY
        )
        handler.close_connection = True

    caplog.set_level(logging.DEBUG)
    server.RequestHandlerClass.respond = in_turn(odd_headers, hang_up, good)
    for _ in range(3):
        with suppress(CrmUnreadableAnswerError):
            client.request(GET, read)
    assert "curie" not in caplog.text
    assert "trying again" in caplog.text


def test_the_end_of_the_task_does_not_wait_for_anybody(client: HttpClient, server: Any) -> None:
    server.RequestHandlerClass.respond = good
    client.request(GET, read)
    client.close()
    client.close()
