"""Answers that take too long as a whole, and tasks that end while calls are in flight: nobody waits for a server."""

from __future__ import annotations

import gc
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_provider_crm.exceptions import CrmError, CrmOutcomeUnknownError, CrmUnreachableError
from airflow_provider_crm.http.answers import read_json
from airflow_provider_crm.http.calls import Call
from airflow_provider_crm.http.client import HttpClient
from airflow_provider_crm.http.clock import Clock
from tests.helpers.servers import OK, RawServer, read_request, until_hung_up
from tests.helpers.waits import patience

from .conftest import MakeClient

pytestmark = pytest.mark.usefixtures("no_proxy")
CREDIT = Call("POST", "/credit", body=b"{}", repeatable=False)
#: As long as the task of somebody who has not set a shorter one.
LONG = 600.0


def read(body: bytes) -> dict[str, int]:
    return read_json(body, dict[str, int])


def drip(start: bytes, more: bytes) -> Callable[[socket.socket], None]:
    """Answer with a few bytes a second, without end, as a server that keeps a connection alive does."""

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(start)
        pause = threading.Event()
        while not pause.wait(0.02):
            connection.sendall(more)

    return handle


HEAD = b"HTTP/1.1 200 OK\r\n"
BODY = HEAD + b"Content-Length: 1000000\r\n\r\n"
CHUNKS = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "more"),
    [(b"", b"x"), (HEAD, b"X-More: x\r\n"), (BODY, b" "), (CHUNKS, b"1\r\nx\r\n"), (HEAD + b"\r\n", b" ")],
    ids=["status", "headers", "body", "chunks", "body without a length"],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_answer_that_comes_byte_by_byte_is_not_waited_for(
    make_client: MakeClient, certificate: tuple[Path, ssl.SSLContext], scheme: str, start: bytes, more: bytes
) -> None:
    tls = certificate[1] if scheme == "https" else None
    with RawServer(drip(start, more), tls=tls) as server:
        client = make_client(f"{scheme}://{server.address}", timeout=0.3, verify=str(certificate[0]))
        with pytest.raises(CrmOutcomeUnknownError):
            client.request(CREDIT, read)
        assert server.connections == 1


@pytest.mark.slow
def test_each_call_on_a_kept_connection_has_its_own_time(make_client: MakeClient) -> None:
    def answer(connection: socket.socket) -> None:
        for _ in range(6):
            read_request(connection)
            threading.Event().wait(0.1)
            connection.sendall(OK.replace(b"Connection: close\r\n", b""))

    with RawServer(answer) as server:
        client = make_client(f"http://{server.address}", timeout=0.5)
        assert [client.request(CREDIT, read) for _ in range(6)] == [{"ok": 1}] * 6
        assert server.connections == 1


# The end of the task


Ending = Callable[..., tuple[HttpClient, Future[dict[str, int]]]]


@pytest.fixture
def ending(make_client: MakeClient) -> Ending:
    """Make a call in the background: of a client that has minutes for it, by the real clock."""

    def call(base_url: str, **settings: object) -> tuple[HttpClient, Future[dict[str, int]]]:
        client = make_client(base_url, timeout=LONG, clock=Clock(), **settings)
        return client, client.pool.in_background(client.request, CREDIT, read)

    return call


@pytest.mark.slow
@pytest.mark.parametrize(
    "handle",
    [until_hung_up, drip(b"", b"x"), drip(BODY, b" "), drip(HEAD + b"\r\n", b" ")],
    ids=["no answer", "status byte by byte", "body byte by byte", "body without a length"],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_call_in_flight_ends_with_the_task(
    ending: Ending,
    certificate: tuple[Path, ssl.SSLContext],
    scheme: str,
    handle: Callable[[socket.socket], None],
) -> None:
    begun = threading.Event()

    def begin(connection: socket.socket) -> None:
        begun.set()
        handle(connection)

    with RawServer(begin, tls=certificate[1] if scheme == "https" else None) as server:
        client, call = ending(f"{scheme}://{server.address}", verify=str(certificate[0]))
        assert begun.wait(patience(10))
        client.close()
        assert isinstance(call.exception(patience(5)), CrmOutcomeUnknownError)
        assert server.connections == 1


@pytest.mark.slow
def test_a_handshake_ends_with_the_task(
    ending: Ending,
) -> None:
    begun = threading.Event()

    def say_nothing(connection: socket.socket) -> None:
        connection.recv(1)
        begun.set()
        until_hung_up(connection)

    with RawServer(say_nothing) as server:
        client, call = ending(f"https://{server.address}")
        assert begun.wait(patience(10))
        client.close()
        assert not isinstance(call.exception(patience(5)), CrmOutcomeUnknownError | None)


@pytest.mark.slow
def test_a_connection_that_nobody_takes_ends_with_the_task(
    ending: Ending,
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(8)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        client, call = ending(f"http://127.0.0.1:{address[1]}")
        while not client.counters.requests:
            threading.Event().wait(0.01)
        client.close()
        assert isinstance(call.exception(patience(5)), CrmError)
        for one in waiting:
            one.close()


def open_sockets() -> list[socket.socket]:
    # By its type: asked for its class, one of Airflow's lazy objects would load what is not installed.
    return [one for one in gc.get_objects() if issubclass(type(one), socket.socket) and one.fileno() >= 0]


def test_no_socket_is_left_open(make_client: MakeClient) -> None:
    def answer(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(OK.replace(b"Connection: close\r\n", b""))
        until_hung_up(connection)

    before = open_sockets()
    with RawServer(answer) as server:
        client = make_client(f"http://{server.address}")
        client.request(CREDIT, read)
        opened = [one for one in open_sockets() if one not in before]
        assert len(opened) == 3, "of the client, and the two of the server"
        client.close()
    assert [one for one in opened if one.fileno() >= 0] == []


def test_a_call_that_comes_after_the_connections_were_closed_was_not_sent(make_client: MakeClient) -> None:
    with RawServer(until_hung_up) as server:
        client = make_client(f"http://{server.address}", clock=Clock())
        with pytest.raises(CrmUnreachableError):
            client.request(replace(CREDIT, before=client.close), read)
        assert server.connections == 0


def test_a_call_that_is_nearly_answered_when_the_task_ends_is_not_in_doubt(
    ending: Ending,
) -> None:
    begun, ended = threading.Event(), threading.Event()

    def answer(connection: socket.socket) -> None:
        read_request(connection)
        begun.set()
        ended.wait()
        connection.sendall(OK)

    with RawServer(answer) as server:
        client, call = ending(f"http://{server.address}")
        assert begun.wait(patience(10))
        client.close()
        ended.set()
        assert call.result(patience(5)) == {"ok": 1}
