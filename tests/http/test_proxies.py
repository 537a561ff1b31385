"""Behind a proxy of a company: what certainly did not reach the CRM, and what may have."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from airflow_provider_crm.exceptions import CrmOutcomeUnknownError, CrmUnreachableError
from airflow_provider_crm.http.answers import read_json
from airflow_provider_crm.http.calls import Call
from airflow_provider_crm.http.client import HttpClient
from tests.helpers.servers import OK, Handle, RawServer, make_certificate, read_request, until_hung_up

from .conftest import MakeClient

CREDIT = Call("POST", "/credit", body=b"{}", repeatable=False)
#: Names that no resolver knows: only the proxy can lead there.
PLAIN, TLS = "http://crm.invalid", "https://crm.invalid"
SCHEMES = ("http", "https")
TUNNEL = b"HTTP/1.1 200 Connection established\r\n\r\n"
BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"


def read(body: bytes) -> dict[str, int]:
    return read_json(body, dict[str, int])


@pytest.fixture(autouse=True)
def no_proxy_of_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def behind(monkeypatch: pytest.MonkeyPatch, proxy: RawServer | None) -> None:
    """Let the environment name a proxy, or one that is dead."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        dead = f"127.0.0.1:{free.getsockname()[1]}"
    for scheme in SCHEMES:
        monkeypatch.setenv(f"{scheme}_proxy", f"http://{proxy.address if proxy else dead}")


@pytest.mark.parametrize("base_url", [PLAIN, TLS])
def test_a_credit_behind_a_dead_proxy_was_not_sent(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, base_url: str
) -> None:
    behind(monkeypatch, None)
    with pytest.raises(CrmUnreachableError, match="3 tries"):
        make_client(base_url, max_retries=2).request(CREDIT, read)


def refuse(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(BAD_GATEWAY)


def ask_who(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")


def talk_nonsense(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")


def open_no_tls(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(TUNNEL)
    connection.recv(65536)
    connection.sendall(BAD_GATEWAY)


def close_in_the_handshake(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(TUNNEL)
    connection.recv(65536)


@pytest.mark.parametrize(
    "handle",
    [refuse, ask_who, talk_nonsense, open_no_tls, close_in_the_handshake, read_request, until_hung_up],
    ids=lambda handle: handle.__name__,
)
def test_a_credit_that_no_tunnel_was_made_for_was_not_sent(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, handle: Handle
) -> None:
    with RawServer(handle) as proxy:
        behind(monkeypatch, proxy)
        with pytest.raises(CrmUnreachableError):
            make_client(TLS, max_retries=1, timeout=0.2).request(CREDIT, read)
        assert proxy.connections == 2


@pytest.mark.parametrize("handle", [read_request, until_hung_up], ids=lambda handle: handle.__name__)
def test_a_credit_that_went_through_a_proxy_may_have_arrived(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, handle: Handle
) -> None:
    """The HTTP library calls this an error of the proxy, as if nothing had been sent."""
    with RawServer(handle) as proxy:
        behind(monkeypatch, proxy)
        with pytest.raises(CrmOutcomeUnknownError):
            make_client(PLAIN, max_retries=1, timeout=0.2).request(CREDIT, read)
        assert proxy.connections == 1


class Tunnel:
    """A proxy that leads every tunnel to one server."""

    def __init__(self, server: RawServer) -> None:
        self._server = server

    def __call__(self, connection: socket.socket) -> None:
        read_request(connection)
        with socket.create_connection(("127.0.0.1", self._server.port)) as onward:
            connection.sendall(TUNNEL)
            back = threading.Thread(target=self._pass_on, args=(onward, connection), daemon=True)
            back.start()
            self._pass_on(connection, onward)
            back.join()

    @staticmethod
    def _pass_on(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while got := source.recv(65536):
                target.sendall(got)
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def through_a_tunnel(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, certificate: tuple[Path, ssl.SSLContext]
) -> Iterator[tuple[HttpClient, list[Handle]]]:
    """A client that reaches a CRM by https and a proxy, and how the CRM answers one call after the other."""
    trusted, tls = certificate
    answers: list[Handle] = []
    with RawServer(lambda one: answers.pop(0)(one), tls=tls) as crm, RawServer(Tunnel(crm)) as proxy:
        behind(monkeypatch, proxy)
        yield make_client(TLS, max_retries=1, timeout=2.0, verify=str(trusted)), answers


def answer(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(OK)


def test_a_credit_through_a_tunnel(through_a_tunnel: tuple[HttpClient, list[Handle]]) -> None:
    client, answers = through_a_tunnel
    answers.append(answer)
    assert client.request(CREDIT, read) == {"ok": 1}


def test_a_credit_whose_tunnel_broke_may_have_arrived(
    through_a_tunnel: tuple[HttpClient, list[Handle]],
) -> None:
    client, answers = through_a_tunnel
    answers += [read_request, answer]
    with pytest.raises(CrmOutcomeUnknownError):
        client.request(CREDIT, read)
    assert len(answers) == 1, "it was sent once"
