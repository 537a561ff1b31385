"""What was called: a bounded log and simple counters. Knows no CRM and no fault beyond its name."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator

import msgspec

from airflow_provider_crm.sandbox.wire import Call


class CallRecord(msgspec.Struct, gc=False):
    """One call in the log.

    :param at: Unix time of arrival.
    :param path: the path as sent, with the system's name, without the query string.
    :param route: the documented call, such as ``/customers/{id}``; empty when there is none.
    :param status: the HTTP status sent; 0 when the connection was dropped before one.
    :param rows: rows in the body of a writing call, in the answer of a reading one.
    :param faults: the kinds of the faults that fired.
    :param seconds: from arrival to the end of the answer.
    """

    at: float
    system: str
    method: str
    path: str
    query: str
    route: str
    status: int | None = None
    rows: int = 0
    faults: list[str] = []
    seconds: float | None = None


class CallLog:
    """The calls received, oldest first, and how many there were of each kind.

    :param size: how many calls the log keeps; the counters keep counting.
    """

    def __init__(self, size: int = 20_000) -> None:
        self.records: deque[CallRecord] = deque(maxlen=size)
        self.counters: Counter[tuple[str, str, str]] = Counter()
        self.in_flight: Counter[str] = Counter()
        self.max_in_flight: Counter[str] = Counter()

    def __iter__(self) -> Iterator[CallRecord]:
        return iter(list(self.records))

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> CallRecord:
        return self.records[index]

    def begin(self, call: Call) -> CallRecord:
        """Note the arrival of a call."""
        record = CallRecord(time.time(), call.system, call.method, call.raw_path, call.query, call.route)
        self.records.append(record)
        self.counters[call.system, call.method, call.route] += 1
        self.in_flight[call.system] += 1
        self.max_in_flight[call.system] = max(self.max_in_flight[call.system], self.in_flight[call.system])
        return record

    def end(self, record: CallRecord, call: Call, status: int | None) -> None:
        """Note the end of a call."""
        record.status = status
        record.rows = call.rows
        record.seconds = time.time() - record.at
        self.in_flight[call.system] -= 1

    def count(self, system: str | None = None, method: str | None = None, route: str | None = None) -> int:
        """Return how many calls came in, of any or of one system, method and route."""
        wanted = (system, method, route)
        return sum(
            n
            for key, n in self.counters.items()
            if all(want is None or want == have for want, have in zip(wanted, key, strict=True))
        )

    def clear(self) -> None:
        """Forget all calls but those still under way."""
        self.records.clear()
        self.counters.clear()
        self.max_in_flight.clear()
