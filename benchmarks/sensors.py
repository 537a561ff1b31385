"""How a triggerer bears a thousand deferred sensors: does its event loop stay free, do they look as often as wanted?

``uv run python benchmarks/sensors.py`` runs them all in one process, against a server in another one that takes 200 ms
for each answer, and, in turns, as many triggers that only sleep: what the loop lags then is the machine's doing. It
fails when the loop lags 100 ms, or when the looks a second stay 5 % behind. ``--status 503`` shows a CRM that is down.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from tables import Table, keep

LAG = 0.1
BEHIND = 0.05
NOBODY = b'{"success":true,"data":null,"error":null}'


def main() -> int:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--sensors", type=int, default=1000)
    parser.add_argument("--interval", type=float, default=10, help="seconds between two looks of one sensor")
    parser.add_argument("--delay-ms", type=int, default=200, help="what an answer takes")
    parser.add_argument("--status", type=int, default=200, help="of all answers")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument(
        "--seconds", type=float, default=40, help="of each turn, the start of its triggers included"
    )
    parser.add_argument(
        "--freeze",
        action="store_true",
        help="take what Airflow's imports have left out of garbage collection, to see whether it matters",
    )
    parser.add_argument("--keep", action="store_true", help="for the docs, in results/")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.delay_ms / 1000, options.status))
        return 0
    command = [
        sys.executable,
        __file__,
        "--serve",
        f"--delay-ms={options.delay_ms}",
        f"--status={options.status}",
    ]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        with tempfile.TemporaryDirectory() as home:
            result = measure(url, home, options)
    finally:
        server.kill()
        server.wait()
    print(json.dumps(result, indent=2))
    table = Table(
        "",
        "looks/s wanted",
        "looks/s",
        "median lag ms",
        "99 % ms",
        "worst of each turn ms",
        "full collections",
    )
    for kind, wanted in (("asleep", ""), ("sensors", f"{result['wanted']:.0f}")):
        found = result[kind]
        worst = ", ".join(f"{lag:.0f}" for lag in found["worst_of_each_turn_ms"])
        looks = found.get("looks_per_second", "")
        table.row(kind, wanted, looks, found["median_lag_ms"], found["p99_lag_ms"], worst, found["full_gc"])
    if options.keep:
        keep("sensors", "benchmarks/sensors.py", table)
    fine = (
        result["sensors"]["worst_lag_ms"] < LAG * 1000
        and result["sensors"]["looks_per_second"] >= (1 - BEHIND) * result["wanted"]
    )
    print("held" if fine else "NOT held")
    return 0 if fine else 1


def measure(url: str, home: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run the triggers of all sensors, and those that sleep."""
    os.environ.update(
        AIRFLOW_HOME=home,
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{home}/airflow.db",
        AIRFLOW__LOGGING__LOGGING_LEVEL="WARNING" if options.status == 200 else "CRITICAL",
        AIRFLOW_CONN_MINDBAZ_DEFAULT=json.dumps(
            {"conn_type": "mindbaz", "host": f"{url}/api", "password": "api-key", "extra": {"site_id": 3}}
        ),
        NO_PROXY="127.0.0.1",
    )
    # Airflow reads its settings when it is imported.
    from airflow_provider_crm.triggers.base.hook_cache import CALLS_IN_FLIGHT, HOOK_CACHE
    from airflow_provider_crm.triggers.base.poll import CrmPollTrigger
    from airflow_provider_crm.triggers.mindbaz import SubscriberQuestion

    looks: list[float] = []
    ask = SubscriberQuestion.ask

    def counted(question: Any, hook: Any) -> Any:
        try:
            return ask(question, hook)
        finally:
            looks.append(time.monotonic())

    SubscriberQuestion.ask = counted  # type: ignore[method-assign]

    def sensor(number: int) -> Coroutine[Any, Any, None]:
        path, fields = SubscriberQuestion(value=f"p{number}@example.fr").packed()
        return drain(
            CrmPollTrigger(
                question=path,
                fields=fields,
                conn_id="mindbaz_default",
                poll_interval=options.interval,
                max_consecutive_failures=10**9,
            )
        )

    async def sleeper(number: int) -> None:
        await asyncio.sleep(options.interval * number / options.sensors)
        while True:
            await asyncio.sleep(options.interval)

    async def go() -> dict[str, Any]:
        asleep, ours = Turns(), Turns()
        for _ in range(options.turns):
            await asleep.take([sleeper(number) for number in range(options.sensors)], options.seconds)
            await ours.take([sensor(number) for number in range(options.sensors)], options.seconds)
        HOOK_CACHE.close()
        return {
            "triggers": options.sensors,
            "interval_s": options.interval,
            "answer_ms": options.delay_ms,
            "wanted": options.sensors / options.interval,
            "frozen": options.freeze,
            "calls_in_flight_at_most": CALLS_IN_FLIGHT,
            "asleep": asleep.summary(),
            "sensors": ours.summary() | {"looks_per_second": round(len(looks) / ours.seconds, 2)},
        }

    if options.freeze:
        gc.collect()
        gc.freeze()
    return asyncio.run(go())


class Turns:
    """What the loop has lagged, and the process has used, while triggers of one kind ran."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._cpu = 0.0
        self._threads = 0
        self._lags: list[list[float]] = []
        self._pauses: list[float] = []

    async def take(self, runs: list[Coroutine[Any, Any, None]], seconds: float) -> None:
        """Run triggers together for a while."""
        gc.collect()  # what the turn before has left is not this one's
        cpu, started = time.process_time(), time.monotonic()
        with full_collections(self._pauses):
            tasks = [asyncio.create_task(run) for run in runs]
            self._lags.append(await lags_for(seconds))
        self.seconds += time.monotonic() - started
        self._cpu += time.process_time() - cpu
        self._threads = threading.active_count()
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in ended), "a trigger has ended"

    def summary(self) -> dict[str, Any]:
        """Say it in milliseconds."""
        lags = sorted(lag * 1000 for turn in self._lags for lag in turn)
        return {
            "median_lag_ms": round(statistics.median(lags), 2),
            "p99_lag_ms": round(lags[int(len(lags) * 0.99)], 2),
            "worst_lag_ms": round(lags[-1], 1),
            "worst_of_each_turn_ms": [round(max(turn) * 1000, 1) for turn in self._lags],
            "full_gc": len(self._pauses),
            "longest_full_gc_ms": round(max(self._pauses, default=0) * 1000, 1),
            "threads": self._threads,
            "cpu_share_of_a_core": round(self._cpu / self.seconds, 3),
        }


@contextmanager
def full_collections(pauses: list[float]) -> Iterator[None]:
    """Write down how long Python's collections of the whole heap take, during which all threads stand still."""
    begun = 0.0

    def note(phase: str, about: dict[str, int]) -> None:
        nonlocal begun
        if phase == "start":
            begun = time.monotonic()
        elif about["generation"] == 2:
            pauses.append(time.monotonic() - begun)

    gc.callbacks.append(note)
    try:
        yield
    finally:
        gc.callbacks.remove(note)


async def drain(trigger: Any) -> None:
    async for event in trigger.run():
        print(event, file=sys.stderr)


async def lags_for(seconds: float) -> list[float]:
    """Sleep for short times, and tell by how much each was too long."""
    clock = asyncio.get_running_loop().time
    lags, end = [], clock() + seconds
    while (before := clock()) < end:
        await asyncio.sleep(0.01)
        lags.append(clock() - before - 0.01)
    return lags


async def serve(delay: float, status: int) -> None:
    """Answer every call after the same time: there is nobody."""
    head = (
        f"HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nContent-Length: {len(NOBODY)}\r\n\r\n"
    )

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(delay)
                writer.write(head.encode() + NOBODY)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, backlog=1024)
    host, port = server.sockets[0].getsockname()
    print(f"http://{host}:{port}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
