"""The loop one writes by hand: ``python loop_writes.py CRM URL FILE CONCURRENCY``, with requests in a pool of threads.

It makes the calls that are needed to find who exists, to create the one and update the other; it neither retries, nor
compares, nor looks at the answers of its writes. Tools that leave the calls to whoever uses them are given these.
"""

from __future__ import annotations

import csv
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import msgspec
import requests
from measured import measure

crm, url, source, concurrency = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
#: People a call, and e-mails a look-up, which is as long as common servers allow.
BATCH = {"mindbaz": 5000, "spread": 1, "expertsender_cdp": 1000}[crm]
LOOKUP = 225
FIELD_IDS = {"email": 1, "last_name": 14, "first_name": 15, "city": 17, "zip": 18}
NAMES = {"email": "email", "last_name": "lastName", "first_name": "firstName", "city": "city", "zip": "zip"}

Row = dict[str, str]
local = threading.local()


def call(method: str, path: str, *, params: Any = None, body: Any = None) -> bytes:
    if not hasattr(local, "session"):
        local.session = requests.Session()
        local.session.headers["Content-Type"] = "application/json"
    data = None if body is None else msgspec.json.encode(body)
    response = local.session.request(method, url + path, params=params, data=data, timeout=60)
    response.raise_for_status()
    content: bytes = response.content
    return content


def subscribers(rows: Sequence[Row]) -> int:
    ids: dict[str, int] = {}
    for start in range(0, len(rows), LOOKUP):
        emails = ",".join(row["email"] for row in rows[start : start + LOOKUP])
        params = {"filter.by": "Email", "filter.idFields": "0,1", "filter.values": emails}
        for one in msgspec.json.decode(call("GET", "/3/Subscribers", params=params))["data"] or ():
            ids[one["fields"][0]["value"]] = one["id"]
    written = []
    for row in rows:
        fields = [{"idField": FIELD_IDS[name], "value": value} for name, value in row.items()]
        number = ids.get(row["email"])
        written.append({"fields": fields} if number is None else {"id": number, "fields": fields})
    call("POST", "/3/Subscribers", body=written)
    return len(rows)


def customer(rows: Sequence[Row]) -> int:
    customer = {NAMES[name]: value for name, value in rows[0].items()}
    params = {"email": customer["email"], "caseInsensitive": "true", "showCustomFields": "true"}
    found = msgspec.json.decode(call("GET", "/customers", params=params))["customers"]
    if found:
        call("PUT", f"/customers/{found[0]['id']}", body={"customer": {**found[0], **customer}})
    else:
        call("POST", "/customers", body={"customer": customer})
    return 1


def customers(rows: Sequence[Row]) -> int:
    people = []
    for row in rows:
        attributes = [{"name": name, "value": row[name]} for name in ("city", "zip")]
        person: dict[str, Any] = {NAMES[name]: row[name] for name in ("email", "last_name", "first_name")}
        people.append(person | {"customAttributes": attributes})
    call("POST", "/customers", body={"mode": "AddOrUpdate", "matchBy": "Email", "data": people})
    return len(rows)


def batches(size: int) -> Iterator[list[Row]]:
    with open(source, newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        while batch := list(islice(rows, size)):
            yield batch


WRITES: dict[str, Callable[[Sequence[Row]], int]] = {
    "mindbaz": subscribers,
    "spread": customer,
    "expertsender_cdp": customers,
}


def write_all(rows: Sequence[Row]) -> int:
    """Write rows, one batch after the other."""
    return sum(WRITES[crm](rows[start : start + BATCH]) for start in range(0, len(rows), BATCH))


def main() -> int:
    write = WRITES[crm]
    written = 0
    pending: deque[Future[int]] = deque()
    with ThreadPoolExecutor(concurrency) as pool:
        for batch in batches(BATCH):
            if len(pending) >= 2 * concurrency:
                written += pending.popleft().result()
            pending.append(pool.submit(write, batch))
        return written + sum(one.result() for one in pending)


if __name__ == "__main__":
    measure(main)
