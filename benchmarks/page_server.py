"""A server for benchmarks: made-up SPREAD lists, cut into pages faster than any client reads them.

``python page_server.py ROWS`` prints its URL. ``/{milliseconds}/customers`` and ``/{milliseconds}/customers-consents``
wait so long before each answer.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

MAX_PAGE = 5000
#: Rows that are kept. Those of longer lists are the same again but for their ids, so that they need no memory.
KEPT = 500_000


def customer(number: int) -> bytes:
    row = {
        "id": str(123456 + number),
        "lastName": "Lefèvre",
        "firstName": "Jeanne",
        "email": f"jeanne.lefevre.{number}@example.fr",
        "country": "FR",
        "city": "Saint-Étienne",
        "address": f"{number % 300}, place de Bouvier",
        "address2": None,
        "address3": None,
        "zip": "42000",
        "phone": "0235100000",
        "mobile": f"06{number:08d}",
        "lang": "fr",
        "birthday": "1980-05-05",
        "gender": "female",
        "createdAt": f"2017-04-{number % 28 + 1:02d}T08:10:{number % 60:02d}+0000",
        "updatedAt": f"2018-04-{number % 28 + 1:02d}T08:10:{number % 60:02d}+0000",
        "isFan": "0",
        "isFollow": "0",
        "isFanLinkedin": "0",
        "isBuyer": str(number % 2),
        "actionCount": "3",
        "lastActionDt": None,
        "lastOrderDt": None,
        "cagnotteAmount": "12" if number % 3 else None,
        "externalId": f"C{number:07d}",
        "company": "",
        "fonction": "",
        "tags": ["VIP", "Newsletter"] if number % 5 == 0 else "",
    }
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()


def answer(number: int) -> bytes:
    row = {
        "id": str(123456 + number),
        "trackId": str(1000 + number),
        "customerConsentCreatedAt": f"2018-04-{number // 20_000 % 28 + 1:02d} {number // 4000 % 24:02d}"
        f":{number // 60 % 60:02d}:{number % 60:02d}",
        "customerConsentStatus": "accepted" if number % 3 else "refused",
        "customerConsentSource": "campaignParticipation",
        "customerConsentSourceId": "65745",
    }
    return json.dumps(row, separators=(",", ":")).encode()


def customer_ids(number: int) -> bytes:
    return b'{"id":"%d"' % (123456 + number)


def answer_ids(number: int) -> bytes:
    return b'{"id":"%d","trackId":"%d"' % (123456 + number, 1000 + number)


class Rows:
    """The rows of one list, as they go over the wire.

    :param make: gives a row.
    :param ids: gives the ids that the row begins with.
    """

    def __init__(self, count: int, make: Callable[[int], bytes], ids: Callable[[int], bytes]) -> None:
        self._count = count
        self._ids = ids
        self._kept = [make(number) for number in range(min(count, KEPT))]

    def between(self, start: int, end: int) -> list[bytes]:
        if end <= KEPT:
            return self._kept[start:end]
        return [self._row(number) for number in range(start, min(end, self._count))]

    def _row(self, number: int) -> bytes:
        like = number % KEPT
        return self._ids(number) + self._kept[like][len(self._ids(like)) :]


class Pages:
    """Both lists, cut into pages."""

    def __init__(self, rows: int) -> None:
        self._lists = {
            "/customers": (Rows(rows, customer, customer_ids), b'{"customers":[', b"]"),
            "/customers-consents": (
                Rows(rows, answer, answer_ids),
                b'{"consent":{"id":"9876","consentTechName":"NewsEmail","customers":[',
                b"]}",
            ),
        }

    def body(self, path: str, query: dict[str, str]) -> bytes:
        rows, before, after = self._lists[path]
        start = int(query.get("startAt", 0))
        size = min(int(query.get("maxResults") or query.get("maxResult") or 25), MAX_PAGE)
        page = rows.between(start, start + size)
        beside = f',"count":{len(page)},"nextPageUrl":"http://example.fr"}}'.encode()
        return b"".join((before, b",".join(page), after, beside))


async def serve(rows: int) -> None:
    """Answer until killed."""
    pages = Pages(rows)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                target = urlsplit(head.split(b" ", 2)[1].decode())
                _, milliseconds, path = target.path.split("/", 2)
                if delay := int(milliseconds) / 1000:
                    await asyncio.sleep(delay)
                body = pages.body(f"/{path.rstrip('/')}", dict(parse_qsl(target.query)))
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                    % len(body)
                )
                writer.write(body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, limit=1 << 16)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
