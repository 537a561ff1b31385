"""Behind a proxy of a company: what certainly did not reach the CRM, and what may have."""

from __future__ import annotations

import socket
import ssl
import threading
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_provider_crm.exceptions import CrmConnectionError, CrmOutcomeUnknownError, CrmUnreachableError
from airflow_provider_crm.http.answers import read_json
from airflow_provider_crm.http.auth import NoAuth
from airflow_provider_crm.http.calls import Call
from airflow_provider_crm.http.client import HttpClient
from tests.helpers.servers import OK, Handle, RawServer, read_request, until_hung_up, unused_port

from .conftest import MakeClient

CREDIT = Call("POST", "/credit", body=b"{}", repeatable=False)
#: Names that no resolver knows: only the proxy can lead there.
PLAIN, TLS = "http://crm.invalid", "https://crm.invalid"
TUNNEL = b"HTTP/1.1 200 Connection established\r\n\r\n"
BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"


def read(body: bytes) -> dict[str, int]:
    return read_json(body, dict[str, int])


pytestmark = pytest.mark.usefixtures("no_proxy")


def behind(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """Let the environment name a proxy."""
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme}_proxy", f"http://somebody:a-secret@{proxy}")


@pytest.mark.parametrize("base_url", [PLAIN, TLS])
def test_a_credit_behind_a_dead_proxy_was_not_sent(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, base_url: str
) -> None:
    proxy = f"127.0.0.1:{unused_port()}"
    behind(monkeypatch, proxy)
    way = rf"{base_url}:(80|443) by the proxy http://{proxy} \(proxy refused\)"
    with pytest.raises(CrmUnreachableError, match=f"does not reach {way}. Given up after 3 tries"):
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


def close_in_the_handshake(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(TUNNEL)
    connection.recv(65536)


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("handle", "why"),
    [
        (refuse, "proxy answered 502 Bad Gateway"),
        (ask_who, "proxy answered 407 Proxy Authentication Required"),
        (talk_nonsense, "BadStatusLine"),
        (close_in_the_handshake, "TLS: UNEXPECTED_EOF_WHILE_READING"),
        (read_request, "hung up"),
        (until_hung_up, "timed out"),
    ],
    ids=lambda one: one.__name__ if callable(one) else "",
)
def test_a_credit_that_no_tunnel_was_made_for_was_not_sent(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, handle: Handle, why: str
) -> None:
    with RawServer(handle) as proxy:
        behind(monkeypatch, proxy.address)
        with pytest.raises(CrmUnreachableError, match=rf"{proxy.address} \({why}\)") as caught:
            make_client(TLS, max_retries=1, timeout=0.2).request(CREDIT, read)
        assert proxy.connections == 2
    assert "a-secret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("handle", [read_request, until_hung_up], ids=lambda handle: handle.__name__)
def test_a_credit_that_went_through_a_proxy_may_have_arrived(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, handle: Handle
) -> None:
    """The HTTP library calls this an error of the proxy, as if nothing had been sent."""
    with RawServer(handle) as proxy:
        behind(monkeypatch, proxy.address)
        with pytest.raises(CrmOutcomeUnknownError):
            make_client(PLAIN, max_retries=1, timeout=0.2).request(CREDIT, read)
        assert proxy.connections == 1


@pytest.mark.parametrize(
    "proxy",
    ["http://", "ftp://proxy.invalid:1", "http://[::1", "http://somebody:a-sec/ret@proxy.invalid:1"],
)
@pytest.mark.parametrize("base_url", [PLAIN, TLS])
def test_a_proxy_that_is_none(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, base_url: str, proxy: str
) -> None:
    monkeypatch.setenv("all_proxy", proxy)
    left: list[int] = []
    call = replace(CREDIT, before=lambda: left.append(1))
    with pytest.raises(CrmConnectionError, match=r"The proxy .* cannot be used") as caught:
        make_client(base_url, max_retries=2).request(call, read)
    assert not isinstance(caught.value, CrmUnreachableError), "another try would not help"
    assert "a-sec" not in "".join(traceback.format_exception(caught.value))
    assert not left, "a call that cannot leave is not said to leave"


# By SOCKS


class Socks:
    """A proxy that leads to one server, whatever it is asked for (RFC 1928)."""

    def __init__(self, server: RawServer) -> None:
        self._server = server

    def __call__(self, connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"\x05\x00")
        connection.recv(65536)
        connection.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        Tunnel(self._server).lead(connection)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_credit_by_socks(
    make_client: MakeClient,
    monkeypatch: pytest.MonkeyPatch,
    certificate: tuple[Path, ssl.SSLContext],
    scheme: str,
) -> None:
    trusted, tls = certificate
    answers = [answer, read_request]
    server = RawServer(lambda one: answers.pop(0)(one), tls=tls if scheme == "https" else None)
    with server as crm, RawServer(Socks(crm)) as proxy:
        monkeypatch.setenv("all_proxy", f"socks5h://{proxy.address}")
        client = make_client(f"{scheme}://crm.invalid", max_retries=1, timeout=2.0, verify=str(trusted))
        assert client.request(CREDIT, read) == {"ok": 1}
        with pytest.raises(CrmOutcomeUnknownError):
            client.request(CREDIT, read)
        assert (crm.connections, proxy.connections) == (2, 2)


def test_a_credit_that_socks_does_not_lead_on_was_not_sent(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer(lambda one: one.recv(65536)) as proxy:
        monkeypatch.setenv("all_proxy", f"socks5h://{proxy.address}")
        with pytest.raises(CrmUnreachableError):
            make_client(PLAIN, max_retries=1, timeout=2.0).request(CREDIT, read)
        assert proxy.connections == 2


# Which calls go by the proxy


def answer(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(OK)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST"])
def test_this_machine_is_not_reached_by_a_proxy(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    with RawServer(answer) as crm, RawServer(answer) as proxy:
        behind(monkeypatch, proxy.address)
        assert make_client(f"http://{host}:{crm.port}", max_retries=0).request(CREDIT, read) == {"ok": 1}
        assert (crm.connections, proxy.connections) == (1, 0)


TOKEN = Call("POST", "/oauth2/token", url="http://login.invalid/oauth2/token", auth=NoAuth())


def test_the_token_service_goes_by_its_own_way(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API is on this machine, or named in ``NO_PROXY``, and the token service is neither."""
    with RawServer(answer) as crm, RawServer(answer) as proxy:
        behind(monkeypatch, proxy.address)
        client = make_client(f"http://127.0.0.1:{crm.port}", max_retries=0)
        for _ in range(2):
            assert client.request(CREDIT, read) == client.request(TOKEN, read) == {"ok": 1}
        assert (crm.connections, proxy.connections) == (2, 2)


def test_a_server_that_needs_no_proxy_leaves_the_others_theirs(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer(answer) as proxy:
        behind(monkeypatch, proxy.address)
        monkeypatch.setenv("no_proxy", "login.invalid")
        client = make_client(PLAIN, max_retries=0)
        assert client.request(CREDIT, read) == {"ok": 1}
        with pytest.raises(CrmUnreachableError):  # nobody knows the name
            client.request(TOKEN, read)
        assert proxy.connections == 1


# Through a tunnel


class Tunnel:
    """A proxy that leads every tunnel to one server."""

    def __init__(self, server: RawServer) -> None:
        self._server = server

    def __call__(self, connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(TUNNEL)
        self.lead(connection)

    def lead(self, connection: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._server.port)) as onward:
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
        behind(monkeypatch, proxy.address)
        yield make_client(TLS, max_retries=1, timeout=2.0, verify=str(trusted)), answers


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
