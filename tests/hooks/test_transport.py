"""What arrives at the server is what was encoded: the library adds nothing to it, and still encodes what is not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
import urllib3.connectionpool

from airflow_provider_crm.http.calls import Call
from airflow_provider_crm.http.transport import Transport


class Echo(BaseHTTPRequestHandler):
    """Answers with the target of the request, as it came."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", Transport(pool_maxsize=2))
        yield session


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?",
        "?a=b",
        "?a=b&c",
        "?filter.values=zo%C3%AB+x@example.fr,b@example.fr&filter.idFields=0,7",
        "?a=%2f",
    ],
)
def test_a_query_arrives_as_it_is(server: str, session: requests.Session, query: str) -> None:
    request = session.prepare_request(requests.Request("GET", f"{server}/a"))
    request.url = f"{server}/a{query}"
    assert session.send(request).text == "/a" + query.removesuffix("?")


@pytest.mark.parametrize(
    ("target", "arrives"),
    [("/a?b=ä", "/a?b=%C3%A4"), ("/a?b=<c d>", "/a?b=%3Cc%20d%3E"), ("/a?b=c#d", "/a?b=c")],
)
def test_what_is_not_encoded_is_left_to_the_library(
    server: str, session: requests.Session, target: str, arrives: str
) -> None:
    request = session.prepare_request(requests.Request("GET", f"{server}/a"))
    request.url = server + target
    assert session.send(request).text == arrives


def test_the_library_does_not_look_at_an_encoded_query(
    server: str, session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    encode = urllib3.connectionpool._encode_target
    monkeypatch.setattr(
        urllib3.connectionpool, "_encode_target", lambda target: seen.append(target) or encode(target)
    )
    call = Call("GET", "/a", query=[("filter.values", "Zoë+1@example.fr,b@example.fr")])
    request = session.prepare_request(requests.Request("GET", server))
    request.url = call.url_below(server)
    assert session.send(request).text == "/a?filter.values=Zo%C3%AB%2B1@example.fr,b@example.fr"
    assert seen == ["/a"]
