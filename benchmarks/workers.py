"""What more workers bring: an upsert in shards, mapped over the workers of a CeleryExecutor, and one of them killed.

``uv run python benchmarks/workers.py`` starts PostgreSQL, Redis, a whole Airflow and a sandbox in place of the CRM, and
runs the example DAG ``spread_upsert_sharded`` with 1, 2 and 4 Celery workers: without a limit on calls, with one that
they share through Redis, once with as many calls in flight of a single worker, and once more with a worker that is
killed with its task in the middle of its shard. An answer takes so long that the processor is idle, so that the workers
of one machine are as good as those of four. What it tells is what the sandbox saw.
"""

from __future__ import annotations

import argparse
import itertools
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from celery_airflow import ROOT, CeleryAirflow, missing
from tables import Table, keep

from airflow_provider_crm.sandbox.calls import CallRecord
from airflow_provider_crm.sandbox.remote import RemoteSandbox

DAG, TASK = "spread_upsert_sharded", "upsert_customers"
IN_FLIGHT = 16
#: Of one worker that is to do the work of four.
MANY_IN_FLIGHT = 64
SPEED = (
    "workers",
    "in flight of each",
    "shards",
    "limit, calls/s",
    "rows/s",
    "rows/s a worker",
    "of the latency",
    "calls/s",
    "most calls in a second",
    "ms between two calls: 1 %, median, 99 %",
    "s a shard besides its calls",
)
KILL = (
    "workers",
    "killed",
    "rows/s",
    "seconds in all",
    "until the shard went on s",
    "its customers seen as there",
    "looked up again",
    "written again",
    "lost",
)


class Job:
    """The upsert of one source, with as many workers as one likes.

    :param rows: all of them new to the CRM.
    :param delay: milliseconds an answer.
    """

    def __init__(
        self, airflow: CeleryAirflow, sandbox: RemoteSandbox, folder: Path, rows: int, delay: int
    ) -> None:
        self.airflow = airflow
        self.sandbox = sandbox
        self.rows = rows
        self.delay = delay / 1000
        self._folder = folder
        folder.mkdir()
        self._source = folder / "customers.csv"
        with self._source.open("w", encoding="utf-8") as file:
            file.write("email,lastName,firstName,city,zip\n")
            for number in range(rows):
                file.write(f"person-{number:08d}@example.fr,Lefèvre {number},Jeanne,Saint-Étienne,42000\n")
        self._conn_ids: set[str] = set()

    def connect(self, in_flight: int, per_minute: int | None) -> None:
        """Tell Airflow how to reach the CRM, and the limit on its calls."""
        given = json.loads(self.sandbox.connections()["spread_default"])
        extra = {**(given.pop("extra", None) or {}), "concurrency": in_flight}
        if per_minute is not None:
            extra |= {"requests_per_minute": per_minute, "rate_limit_conn_id": "crm_limits"}
        self._add("spread_default", **given, extra=json.dumps(extra))
        self._add("crm_limits", conn_type="redis", host="127.0.0.1", port=self.airflow.redis_port, schema="1")

    def _add(self, conn_id: str, **connection: Any) -> None:
        method, path = (
            ("PATCH", f"connections/{conn_id}") if conn_id in self._conn_ids else ("POST", "connections")
        )
        if not self.airflow.ask(method, path, connection_id=conn_id, **connection):
            raise RuntimeError(f"Airflow does not take the connection {conn_id}")
        self._conn_ids.add(conn_id)

    def begin(self, workers: int, shards: int) -> str:
        """Start a run; give its id."""
        self.sandbox.reset()
        self.sandbox.fault("latency", ms=self.delay * 1000)
        pool = {"name": "spread_api", "slots": workers, "description": "", "include_deferred": False}
        if not (
            self.airflow.ask("POST", "pools", **pool) or self.airflow.ask("PATCH", "pools/spread_api", **pool)
        ):
            raise RuntimeError("Airflow does not take the pool")
        self._shards = self._folder / f"shards-{time.time_ns()}"
        conf = {
            "source": str(self._source),
            "rows_per_shard": -(-self.rows // shards),
            "folder": str(self._shards),
        }
        run = self.airflow.wait(
            "the run begins",
            lambda: self.airflow.ask("POST", f"dags/{DAG}/dagRuns", logical_date=None, conf=conf),
            120,
        )
        return str(run["dag_run_id"])

    def shard(self, index: int) -> list[str]:
        """Give the lines of a shard of the run that began last."""
        return (self._shards / f"shard-{index:06d}.jsonl").read_text().splitlines()

    def finish(self, run: str, seconds: float) -> dict[str, Any]:
        """Wait for the end of a run.

        :return: what it brought, by the sandbox and by Airflow.
        """
        path = f"dags/{DAG}/dagRuns/{run}"
        state = self.airflow.wait(
            "the run ends", lambda: _ended(self.airflow.ask("GET", path) or {}), seconds
        )
        instances = self.airflow.ask("GET", f"{path}/taskInstances?limit=100")["task_instances"]
        if state != "success":
            raise RuntimeError(f"The run has ended as {state}\n{self.airflow.task_logs()}")
        total = _plain(
            self.airflow.ask("GET", f"{path}/taskInstances/add_up/xcomEntries/return_value")["value"]
        )
        calls = [call for call in self.sandbox.calls if call.system == "spread"]
        emails = {customer["email"] for customer in self.sandbox.records("spread", "customers")}
        ended = sum(total[end] for end in ("created", "updated", "unchanged", "skipped", "rejected"))
        if ended != total["read"]:
            raise RuntimeError(f"The counts do not add up: {total}")
        tasks = [one for one in instances if one["task_id"] == TASK]
        results = [
            self.airflow.ask(
                "GET", f"{path}/taskInstances/{TASK}/xcomEntries/return_value?map_index={index}"
            )["value"]
            for index in range(len(tasks))
        ]
        return {
            "seconds": calls[-1].at + self.delay - calls[0].at,
            "calls": calls,
            "total": total,
            "lost": sum(f"person-{number:08d}@example.fr" not in emails for number in range(self.rows)),
            "tasks": tasks,
            "in_shards": sum(one["seconds"] for one in map(_plain, results)),
        }


def _ended(run: dict[str, Any]) -> str | None:
    state = run.get("state")
    return state if state in ("success", "failed") else None


def _plain(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def speed(
    table: Table,
    job: Job,
    workers: int,
    *,
    shards: int,
    in_flight: int = IN_FLIGHT,
    per_minute: int | None = None,
) -> dict[str, Any]:
    """Run once, and add a line."""
    job.connect(in_flight, per_minute)
    found = job.finish(job.begin(workers, shards), 600)
    calls: Sequence[CallRecord] = found["calls"]
    seconds = found["seconds"]
    if found["lost"] or found["total"]["created"] != job.rows:
        raise RuntimeError(f"Not all rows have arrived: {found['total']}, {found['lost']} lost")
    moments = sorted(call.at for call in calls)
    distances = sorted((b - a) * 1000 for a, b in itertools.pairwise(moments))
    each_second = Counter(int(moment - moments[0]) for moment in moments)
    began = min(_moment(task["start_date"]) for task in found["tasks"])
    ended = max(_moment(task["end_date"]) for task in found["tasks"])
    table.row(
        workers,
        in_flight,
        shards,
        f"{per_minute / 60:g}" if per_minute else "none",
        f"{job.rows / seconds:.1f}",
        f"{job.rows / seconds / workers:.1f}",
        f"{len(calls) * job.delay / in_flight / workers / seconds:.0%}",
        f"{len(calls) / seconds:.1f}",
        max(each_second.values()),
        ", ".join(f"{distances[round(share * (len(distances) - 1))]:.1f}" for share in (0.01, 0.5, 0.99)),
        f"{(workers * (ended - began) - found['in_shards']) / shards:.1f}",
    )
    return found


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def killed(table: Table, job: Job, names: list[str], before: dict[str, Any]) -> None:
    """Run it again, kill a worker with its task in the middle of its last shard, start another, and add two lines.

    :param names: of the workers that run.
    :param before: what the same run brought undisturbed.
    """
    shards = len(before["tasks"])
    job.connect(IN_FLIGHT, None)
    run = job.begin(len(names), shards)
    there = job.rows * (1 - len(names) / shards / 2)
    job.airflow.wait(
        "half of the last shards are there",
        lambda: job.sandbox.state()["spread"]["records"]["customers"] >= there,
        600,
    )
    victim = next(name for name in names if job.airflow.runs_a_task(name))
    at = time.time()
    job.airflow.kill(victim)
    job.airflow.start_worker(f"{victim}-again")
    found = job.finish(run, 600)
    [index] = [task["map_index"] for task in found["tasks"] if task["try_number"] > 1]
    shard = {json.loads(line)["email"] for line in job.shard(index)}
    looks = [
        (call.at, email)
        for call in found["calls"]
        if call.method == "GET" and (email := _email(call)) in shard
    ]
    writes = sum(call.method != "GET" for call in found["calls"])
    for what, one in (("none", before), ("one of them", found)):
        is_it = one is found
        table.row(
            len(names),
            what,
            f"{job.rows / one['seconds']:.1f}",
            f"{one['seconds']:.0f}",
            f"{min(when for when, _ in looks if when > at + 1) - at:.0f}" if is_it else "",
            one["total"]["unchanged"],
            len(looks) - len(shard) if is_it else 0,
            writes - job.rows if is_it else 0,
            one["lost"],
        )


def _email(call: CallRecord) -> str:
    return dict(parse_qsl(call.query)).get("email", "")


def _stop(number: int, _: object) -> None:
    """End, and leave nothing behind: a second signal, as `timeout` and uv send together, would cut that short."""
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, signal.SIG_IGN)
    sys.exit(128 + number)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--rows", type=int, default=800)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--workers", default="1,2,4", help="separated by commas, fewest first")
    parser.add_argument("--delay-ms", type=int, default=500, help="what an answer takes")
    parser.add_argument(
        "--per-minute", type=int, default=2_400, help="calls that all workers may make together"
    )
    parser.add_argument("--no-kill", action="store_true")
    parser.add_argument(
        "--home", default=tempfile.mkdtemp(prefix="workers-"), help="where the workers' environment is made"
    )
    parser.add_argument("--keep", action="store_true", help="for the docs, in results/")
    options = parser.parse_args()
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, _stop)
    if absent := missing():
        print(f"This benchmark needs {', '.join(absent)}", file=sys.stderr)
        return 2
    counts = [int(count) for count in options.workers.split(",")]
    speeds, kills = Table(*SPEED), None
    names: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="airflow-") as folder,
        RemoteSandbox.spawn() as sandbox,
        CeleryAirflow(
            Path(folder) / "home",
            [ROOT / f"example_dags/{DAG}.py"],
            Path(options.home),
            {"CORE__PARALLELISM": max(counts)},
        ) as airflow,
    ):
        job = Job(airflow, sandbox, Path(folder) / "data", options.rows, options.delay_ms)
        for count in counts:
            while len(names) < count:
                names.append(f"worker-{len(names) + 1}")
                airflow.start_worker(names[-1])
            if count == 1:
                speed(speeds, job, 1, shards=1, in_flight=MANY_IN_FLIGHT)
            found = speed(speeds, job, count, shards=options.shards)
            speed(speeds, job, count, shards=options.shards, per_minute=options.per_minute)
        if not options.no_kill:
            kills = Table(*KILL)
            killed(kills, job, names, found)
    if options.keep:
        keep("workers", "benchmarks/workers.py", *(table for table in (speeds, kills) if table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
