"""A CRM that cannot be reached: which connection, which server and why, and whether another try could help."""

from __future__ import annotations

import errno
import socket
import ssl
import traceback
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmConnectionError, CrmOutcomeUnknownError, CrmUnreachableError
from airflow_provider_crm.http.answers import read_json
from airflow_provider_crm.http.calls import Call
from tests.helpers.servers import OK, RawServer, read_request, until_hung_up, unused_port

from .conftest import MakeClient

pytestmark = pytest.mark.usefixtures("no_proxy")
CREDIT = Call("POST", "/customers/{id}", values={"id": "a@example.fr"}, body=b"{}", repeatable=False)


def read(body: bytes) -> dict[str, int]:
    return read_json(body, dict[str, int])


def shown(error: BaseException) -> list[str]:
    """Return the last line of each error that a log shows, the one that was raised first."""
    lines = []
    one: BaseException | None = error
    while one is not None:
        lines.append(traceback.format_exception_only(one)[-1].strip())
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return lines


def test_nobody_listens(make_client: MakeClient) -> None:
    server = f"http://127.0.0.1:{unused_port()}"
    with pytest.raises(CrmUnreachableError) as caught:
        make_client(server, max_retries=1).request(CREDIT, read)
    assert shown(caught.value) == [
        "airflow_provider_crm.exceptions.CrmUnreachableError: POST /customers/{id} could not be sent: connection 'crm' "
        f"does not reach {server} (refused). Given up after 2 tries; a later run may pass",
        f"ConnectionRefusedError: [Errno {errno.ECONNREFUSED}] Connection refused",
    ]
    assert caught.value.call == CREDIT.name


def test_nobody_has_that_name(make_client: MakeClient) -> None:
    with pytest.raises(CrmUnreachableError, match=r"https://crm\.invalid:443 \(no such name\)") as caught:
        make_client("https://crm.invalid", max_retries=0).request(CREDIT, read)
    assert isinstance(caught.value.__cause__, socket.gaierror)


def test_nobody_takes_the_call(make_client: MakeClient) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(8)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        with pytest.raises(
            CrmUnreachableError, match=rf"http://127.0.0.1:{address[1]} \(timed out\)"
        ) as caught:
            make_client(f"http://127.0.0.1:{address[1]}", max_retries=0, timeout=0.2).request(CREDIT, read)
        for one in waiting:
            one.close()
    assert isinstance(caught.value.__cause__, TimeoutError)


@pytest.mark.slow
def test_nobody_shakes_hands(make_client: MakeClient) -> None:
    with RawServer(until_hung_up) as server:
        client = make_client(f"https://{server.address}", max_retries=1, timeout=0.2)
        with pytest.raises(CrmUnreachableError, match=rf"https://{server.address} \(timed out\)"):
            client.request(CREDIT, read)
        assert server.connections == 2


def test_somebody_hangs_up_in_the_handshake(make_client: MakeClient) -> None:
    with RawServer(lambda one: one.recv(100)) as server:
        client = make_client(f"https://{server.address}", max_retries=1)
        with pytest.raises(CrmUnreachableError, match=r"\((TLS: \w+|hung up)\)"):
            client.request(CREDIT, read)
        assert server.connections == 2


# What another try would not change


def speak_plainly(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def test_a_port_for_http(make_client: MakeClient, clock: Any) -> None:
    with RawServer(speak_plainly) as server:
        with pytest.raises(
            CrmConnectionError, match=f"'crm'.*https://{server.address}.*speaks no TLS"
        ) as caught:
            make_client(f"https://{server.address}").request(CREDIT, read)
        assert (server.connections, clock.waits) == (1, [])
    assert [line.partition(":")[0] for line in shown(caught.value)] == [
        "airflow_provider_crm.exceptions.CrmConnectionError",
        "ssl.SSLError",
    ]


def test_a_certificate_that_is_not_trusted(
    make_client: MakeClient, certificate: tuple[Path, ssl.SSLContext], clock: Any
) -> None:
    with RawServer(read_request, tls=certificate[1]) as server:
        with pytest.raises(
            CrmConnectionError, match=f"https://{server.address}.*not trusted.*`verify`"
        ) as caught:
            make_client(f"https://{server.address}").request(CREDIT, read)
        assert (server.connections, clock.waits) == (1, [])
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


def test_a_certificate_that_is_trusted(
    make_client: MakeClient, certificate: tuple[Path, ssl.SSLContext]
) -> None:
    def answer(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(OK)

    with RawServer(answer, tls=certificate[1]) as server:
        client = make_client(f"https://{server.address}", verify=str(certificate[0]))
        assert client.request(CREDIT, read) == {"ok": 1}


@pytest.mark.parametrize("content", [b"", b"not a certificate", b"\x00\xff", None])
@pytest.mark.parametrize("by_environment", [False, True])
def test_a_file_of_certificates_that_is_none(
    make_client: MakeClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes | None,
    by_environment: bool,
) -> None:
    """None: there is no such file."""
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_bytes(content)
    if by_environment:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with RawServer(until_hung_up) as server:
        client = make_client(f"https://{server.address}", verify=True if by_environment else str(bundle))
        with pytest.raises(CrmConnectionError, match=r"`verify`.*'crm'.*ca\.pem.*no file of certificates"):
            client.request(CREDIT, read)
        assert server.connections == 0


# What may have arrived


def test_an_answer_that_does_not_come_names_the_server(make_client: MakeClient) -> None:
    with RawServer(until_hung_up) as server:
        with pytest.raises(
            CrmOutcomeUnknownError, match=rf"from http://{server.address} \(no answer in time\)"
        ):
            make_client(f"http://{server.address}", timeout=0.2).request(CREDIT, read)
        assert server.connections == 1
