"""How a triggerer bears a thousand deferred sensors: does its event loop stay free, do they look as often as wanted?

``uv run python benchmarks/sensors.py`` runs them all in one process, against a server in another one that takes 200 ms
for each answer. It fails when the loop lags 100 ms, or when the looks a second stay 5 % behind. ``--no-freeze`` shows
what Python's own collection of Airflow's heap adds.
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
from typing import Any

LAG = 0.1
BEHIND = 0.05
NOBODY = b'{"success":true,"data":null,"error":null}'


def main() -> int:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--sensors", type=int, default=1000)
    parser.add_argument("--interval", type=float, default=10, help="seconds between two looks of one sensor")
    parser.add_argument("--delay-ms", type=int, default=200, help="what an answer takes")
    parser.add_argument("--seconds", type=float, default=60, help="to measure, after one interval to warm up")
    parser.add_argument(
        "--freeze",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="take what Airflow's imports have left out of garbage collection, as docs/sensors.md advises",
    )
    parser.add_argument("--idle-seconds", type=float, default=15, help="to measure the loop alone, before")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.delay_ms / 1000))
        return 0
    command = [sys.executable, __file__, "--serve", "--delay-ms", str(options.delay_ms)]
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
    fine = (
        result["worst_lag_ms"] < LAG * 1000 and result["looks_per_second"] >= (1 - BEHIND) * result["wanted"]
    )
    print("held" if fine else "NOT held")
    return 0 if fine else 1


def measure(url: str, home: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run the triggers of all sensors."""
    os.environ.update(
        AIRFLOW_HOME=home,
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{home}/airflow.db",
        AIRFLOW__LOGGING__LOGGING_LEVEL="WARNING",
        AIRFLOW_CONN_MINDBAZ_DEFAULT=json.dumps(
            {"conn_type": "mindbaz", "host": f"{url}/api", "password": "api-key", "extra": {"site_id": 3}}
        ),
        NO_PROXY="127.0.0.1",
    )
    # Airflow reads its settings when it is imported.
    from airflow_provider_crm.triggers.hooks import CALLS_IN_FLIGHT, HOOKS
    from airflow_provider_crm.triggers.mindbaz import SubscriberQuestion
    from airflow_provider_crm.triggers.poll import CrmPollTrigger

    looks: list[float] = []
    pauses: list[float] = []

    def collecting(phase: str, _: Any, begun: list[float] = [0.0]) -> None:  # noqa: B006 - kept between calls
        if phase == "start":
            begun[0] = time.monotonic()
        else:
            pauses.append(time.monotonic() - begun[0])

    gc.callbacks.append(collecting)
    ask = SubscriberQuestion.ask

    def counted(question: Any, hook: Any) -> Any:
        seen = ask(question, hook)
        looks.append(time.monotonic())
        return seen

    SubscriberQuestion.ask = counted  # type: ignore[method-assign]
    triggers = []
    for number in range(options.sensors):
        path, fields = SubscriberQuestion(value=f"p{number}@example.fr").packed()
        triggers.append(
            CrmPollTrigger(
                question=path, fields=fields, conn_id="mindbaz_default", poll_interval=options.interval
            )
        )

    async def go() -> dict[str, Any]:
        idle = sorted(await lags_for(options.idle_seconds))  # what the machine itself does to a loop
        tasks = [asyncio.create_task(drain(trigger)) for trigger in triggers]
        await asyncio.sleep(options.interval)
        if options.freeze:
            gc.collect()
            gc.freeze()
        looks.clear()
        pauses.clear()
        cpu, started = time.process_time(), time.monotonic()
        lags = await lags_for(options.seconds)
        seconds, cpu = time.monotonic() - started, time.process_time() - cpu
        rate = len(looks) / seconds
        threads = threading.active_count()
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in ended), "a trigger has ended"
        HOOKS.close()
        lags.sort()
        return {
            "sensors": options.sensors,
            "interval_s": options.interval,
            "answer_ms": options.delay_ms,
            "wanted": options.sensors / options.interval,
            "looks_per_second": round(rate, 2),
            "idle_worst_lag_ms": round(idle[-1] * 1000, 2),
            "median_lag_ms": round(statistics.median(lags) * 1000, 2),
            "p99_lag_ms": round(lags[int(len(lags) * 0.99)] * 1000, 2),
            "worst_lag_ms": round(lags[-1] * 1000, 2),
            "worst_five_ms": [round(lag * 1000) for lag in lags[-5:]],
            "gc_over_50_ms": sum(pause > 0.05 for pause in pauses),
            "longest_gc_ms": round(max(pauses, default=0) * 1000, 1),
            "frozen": options.freeze,
            "threads": threads,
            "calls_in_flight_at_most": CALLS_IN_FLIGHT,
            "cpu_share_of_a_core": round(cpu / seconds, 3),
        }

    return asyncio.run(go())


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


async def serve(delay: float) -> None:
    """Answer every call after the same time: there is nobody."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(NOBODY)}\r\n\r\n"

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
