"""A server for benchmarks: takes writes for the three CRMs in less CPU time than any client needs to make them.

``python write_server.py`` prints its URL. ``/{milliseconds}/spread`` and so on are base URLs that
wait so long before each answer; ``/calls`` tells how many calls there were since it was asked last. It keeps nothing:
people whose number in the e-mail is even exist, with other values than any row has.
"""

from __future__ import annotations

import asyncio
import re
import selectors
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

FIELDS = [
    {"id": number, "name": name, "fieldType": 1, "length": 255, "list": [], "description": name}
    for number, name in {1: "email", 14: "last_name", 15: "first_name", 17: "city", 18: "zip"}.items()
]
_NUMBER = re.compile(r"person-(\d+)@")
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def number_of(email: str) -> int:
    """Give a person's number, which is also the id."""
    found = _NUMBER.match(email)
    return int(found[1]) if found else 0


class Field(msgspec.Struct, gc=False):
    idField: int  # noqa: N815 - the vendor's name
    value: Any


class Subscriber(msgspec.Struct, gc=False, omit_defaults=True):
    fields: list[Field]
    id: int | None = None


_subscribers = msgspec.json.Decoder(list[Subscriber])


def mindbaz(method: str, path: str, query: Mapping[str, str], body: bytes) -> Any:
    """Answer a call of Mindbaz."""
    if path.endswith("/fields/list"):
        return {"success": True, "data": FIELDS}
    if method == "GET":
        wanted = [field for field in map(int, query["filter.idFields"].split(",")) if field not in (0, 1)]
        held = [Field(field, "as it was") for field in wanted]
        there = [
            Subscriber([Field(1, email), *held], number)
            for email in query["filter.values"].split(",")
            if (number := number_of(email)) % 2 == 0
        ]
        return {"success": True, "data": there or None}
    subscribers = _subscribers.decode(body)
    for subscriber in subscribers:
        if subscriber.id is None:
            subscriber.id = number_of(next(field.value for field in subscriber.fields if field.idField == 1))
    return {"success": True, "data": subscribers}


def spread(method: str, path: str, query: Mapping[str, str], body: bytes) -> Any:
    """Answer a call of SPREAD."""
    if method == "GET":
        email = query.get("email", "")
        number = number_of(email)
        there = [_customer(number, {"email": email})] if email and number % 2 == 0 else []
        return {"customers": there, "count": len(there)}
    given = msgspec.json.decode(body)["customer"]
    return {"customer": _customer(number_of(given["email"]), given)}


def expertsender(method: str, path: str, query: Mapping[str, str], body: bytes) -> Any:
    """Answer a call of ExpertSender: all rows are taken, and nothing is said of each."""
    if method == "POST":
        msgspec.json.decode(body)
        return {"status": 0}
    return {"status": 0, "data": []}


def _customer(number: int, given: Mapping[str, Any]) -> dict[str, Any]:
    nothing = dict.fromkeys(("address", "address2", "address3", "phone", "mobile", "birthday", "lastOrderDt"))
    return {
        "id": str(number),
        "lastName": "as it was",
        "firstName": "as it was",
        "country": "FR",
        "city": "as it was",
        "zip": "00000",
        "lang": "fr",
        "createdAt": "2017-04-01T08:10:00+0000",
        "updatedAt": "2018-04-01T08:10:00+0000",
        "isBuyer": "1",
        "externalId": f"C{number:07d}",
        "company": "",
        "fonction": "",
        "tags": "",
        **nothing,
        **given,
    }


SYSTEMS = {"mindbaz": mindbaz, "spread": spread, "expertsender_cdp": expertsender}


class Connection(asyncio.Protocol):
    """One connection of a client that waits for each answer."""

    calls = 0

    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._received:
            self._began = asyncio.get_running_loop().time()
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not end or len(body) < (int(length[1]) if length else 0):
            return
        self._received = b""
        method, target, _ = head.split(b" ", 2)
        url = urlsplit(target.decode())
        _, first, *_ = url.path.split("/")
        if first == "calls":
            answer, delay, Connection.calls = Connection.calls, 0.0, 0
        else:
            Connection.calls += 1
            delay = int(first) / 1000
            system = SYSTEMS[url.path.split("/")[2]]
            answer = system(method.decode(), url.path, dict(parse_qsl(url.query)), body)
        # The time that it took to read the request and to make the answer is part of the delay.
        asyncio.get_running_loop().call_at(self._began + delay, self._answer, msgspec.json.encode(answer))

    def _answer(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        self._transport.write(head + body)


async def serve() -> None:
    """Answer until killed."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    # By the default one, which counts in milliseconds, an answer is up to one late.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    loop.run_until_complete(serve())
