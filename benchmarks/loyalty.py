"""What crediting exactly once costs: calls, time against what the latency allows, and the ledger's share of it.

``uv run python benchmarks/loyalty.py [--rows 10000] [--turns 2] [--postgres]``: runs with a real ledger and with one
that keeps nothing, in turns, against a sandbox in a process of its own that answers after 50 ms and what it needs to
make the answer: plain sockets show how much that is.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import resource
import socket
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from tables import Table, keep

from airflow_provider_crm.http.calls import encode_json
from airflow_provider_crm.loyalty.baseline_store import LineSet
from airflow_provider_crm.loyalty.credits import Credit
from airflow_provider_crm.loyalty.states import Entry, Standing, State
from airflow_provider_crm.loyalty.tables import metadata
from airflow_provider_crm.operators.spread import loyalty as operators
from airflow_provider_crm.sandbox.remote import RemoteSandbox
from airflow_provider_crm.schemas.spread.write import wire_credit

LATENCY = 0.05
CONCURRENCY = 8
PEOPLE = 10_000


class NoBaselines:
    """Keeps no lines."""

    def save(self, lines: LineSet, parent: str | None = None) -> str:
        return "none"

    def holds(self, name: str | None, line_id: str) -> bool:
        return False


class NoLedger:
    """Lets everything pass and keeps nothing: what the same run costs without a ledger."""

    baselines = NoBaselines()

    def claim(self, credits_: Sequence[Credit]) -> list[Entry]:
        return [Entry(number, 0, Standing.FREE, State.CLAIMED, one) for number, one in enumerate(credits_)]

    def start_all(self, entries: Sequence[Entry]) -> list[Entry]:
        return [replace(one, state=State.SENDING) for one in entries]

    def confirm(self, entry: Entry) -> Entry:
        return entry

    def finish_all(self, answered: Sequence[tuple[Entry, str, str | None]]) -> list[None]:
        return [None] * len(answered)

    def lines_taken(self, line_ids: Collection[str]) -> set[str]:
        return set()


def plain_sockets(sandbox: RemoteSandbox, rows: int) -> dict[str, float]:
    """Send the same calls with nothing around them: what the sandbox lets through at most."""
    sandbox.reset()
    sandbox.seed(PEOPLE, ["spread"])
    people = sandbox.records("spread", "customers")
    sandbox.fault("latency", ms=LATENCY * 1000)
    connection = json.loads(sandbox.connections()["spread_default"])
    url = urlsplit(connection["host"])
    key = base64.b64encode(f"{connection['login']}:{connection['password']}".encode()).decode()
    head = f"POST {url.path}/cagnottes HTTP/1.1\r\nHost: {url.netloc}\r\nAuthorization: Basic {key}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: "

    def send(numbers: range) -> None:
        with socket.create_connection((url.hostname, url.port)) as one:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for number in numbers:
                amount, email = 5 + number % 20, people[number % PEOPLE]["email"]
                body = encode_json(wire_credit(amount=amount, email=email, customer_id=None))
                one.sendall(f"{head}{len(body)}\r\n\r\n".encode() + body)
                answer = b""
                while not answer.endswith(b"}}"):
                    answer += one.recv(1 << 16)

    spent, began = time.process_time(), time.perf_counter()
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        list(pool.map(send, (range(lane, rows, CONCURRENCY) for lane in range(CONCURRENCY))))
    seconds, cpu = time.perf_counter() - began, time.process_time() - spent
    assert len(sandbox.records("spread", "lines")) >= rows
    share = rows * LATENCY / CONCURRENCY / seconds
    return {"seconds": seconds, "cpu": cpu, "posts": rows, "others": 0, "share": share}


def one_run(sandbox: RemoteSandbox, rows: int, url: str | None, folder: Path) -> dict[str, float]:
    """Credit new rows once.

    :param url: the ledger's database; None for none.
    """
    sandbox.reset()  # which gives its lines the same ids again: the ledger must be a new one, too
    if url is not None:
        engine = sa.create_engine(url)
        metadata.drop_all(engine)
        engine.dispose()
    sandbox.seed(PEOPLE, ["spread"])
    people = sandbox.records("spread", "customers")
    source = folder / "credits.csv"
    with source.open("w") as file:
        file.write("credit_key,email,amount\n")
        for number in range(rows):
            file.write(f"{time.time_ns()}-{number},{people[number % PEOPLE]['email']},{5 + number % 20}\n")
    before = len(sandbox.records("spread", "lines"))
    sandbox.fault("latency", ms=LATENCY * 1000)
    open_ledger, engine_for = operators.open_ledger, operators.engine_for  # type: ignore[attr-defined]

    @contextmanager
    def no_ledger(*_: Any) -> Any:
        yield NoLedger()

    if url is None:
        operators.open_ledger = no_ledger  # type: ignore[assignment]
    else:
        operators.engine_for = lambda conn_id: sa.create_engine(url)  # type: ignore[attr-defined]
    try:
        operator = operators.SpreadCreditLoyaltyOperator(
            task_id="t", source=str(source), concurrency=CONCURRENCY
        )
        spent = resource.getrusage(resource.RUSAGE_SELF)
        began = time.perf_counter()
        result = operator.execute({})
        seconds = time.perf_counter() - began
        used = resource.getrusage(resource.RUSAGE_SELF)
    finally:
        operators.open_ledger, operators.engine_for = open_ledger, engine_for  # type: ignore[attr-defined]
    calls = Counter(call.method for call in sandbox.calls)
    assert result["credited"] == rows == len(sandbox.records("spread", "lines")) - before
    return {
        "seconds": seconds,
        "cpu": used.ru_utime + used.ru_stime - spent.ru_utime - spent.ru_stime,
        "posts": calls["POST"],
        "others": calls.total() - calls["POST"],
        "share": rows * LATENCY / CONCURRENCY / seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--postgres", action="store_true", help="also on a PostgreSQL started for it")
    parser.add_argument("--keep", action="store_true", help="for the docs, in results/")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, RemoteSandbox.spawn() as sandbox:
        folder = Path(name)
        ledgers: dict[str, str | None] = {
            "no ledger": None,
            "SQLite": f"sqlite:///{folder / 'ledger.db'}",
        }
        if options.postgres:
            import pgserver

            uri = pgserver.get_server(folder / "postgres").get_uri()
            ledgers["PostgreSQL"] = uri.replace("postgresql://", "postgresql+psycopg2://")
        connection = json.loads(sandbox.connections()["spread_default"])
        os.environ["AIRFLOW_CONN_SPREAD_DEFAULT"] = json.dumps(connection)
        plain = "plain sockets, no ledger"
        found: dict[str, list[dict[str, float]]] = {one: [] for one in (plain, *ledgers)}
        for _ in range(options.turns):
            found[plain].append(plain_sockets(sandbox, options.rows))
            print(plain, {key: round(value, 3) for key, value in found[plain][-1].items()}, flush=True)
            for one, url in ledgers.items():
                found[one].append(one_run(sandbox, options.rows, url, folder))
                print(one, {key: round(value, 3) for key, value in found[one][-1].items()}, flush=True)
    table = Table("ledger", "credits/s", "of the latency", "CPU s", "calls besides the credits")
    for one, runs in found.items():
        middle = {what: statistics.median(run[what] for run in runs) for what in runs[0]}
        table.row(
            one,
            f"{options.rows / middle['seconds']:.1f}",
            f"{middle['share']:.1%}",
            f"{middle['cpu']:.1f}",
            f"{middle['others']:.0f}",
        )
    if options.keep:
        keep("loyalty", "benchmarks/loyalty.py", table)


if __name__ == "__main__":
    main()
