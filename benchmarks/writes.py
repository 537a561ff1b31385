"""How fast upserts are beside the loop that one writes by hand, on one server, in one run, in turns.

``uv run python benchmarks/writes.py`` measures everything in five minutes. Both make the same calls, as many in flight
at once; the loop neither retries, nor checks, nor says what became of a row. "Of the latency" is the share of the rows
that as many calls in flight could at most bring through, were the client infinitely fast.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

HERE = Path(__file__).parent
SCRIPTS = {"ours": "ours_writes.py", "loop": "peers/loop_writes.py"}


@dataclass(frozen=True)
class Job:
    """What is written."""

    crm: str
    rows: int
    concurrency: int


def write_rows(path: Path, rows: int) -> None:
    """Write people; those with an even number exist."""
    with path.open("w", encoding="utf-8") as file:
        file.write("email,last_name,first_name,city,zip\n")
        for number in range(rows):
            file.write(f"person-{number:08d}@example.fr,Lefèvre {number},Jeanne,Saint-Étienne,42000\n")


class Server:
    """The server, in a process of its own."""

    def __enter__(self) -> Server:
        command = [sys.executable, str(HERE / "write_server.py")]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def calls(self) -> int:
        """Give the calls since this was asked last."""
        with urlopen(f"{self.url}/calls") as answer:
            return int(answer.read())


def run(
    who: str, job: Job, path: Path, server: Server, delay: int, snapshot: Path | None = None
) -> dict[str, Any]:
    """Run a job once.

    :param snapshot: where ours keeps what was accepted.
    :return: what it took.
    :raises RuntimeError: it failed.
    """
    server.calls()
    command = [
        sys.executable,
        str(HERE / SCRIPTS[who]),
        job.crm,
        f"{server.url}/{delay}/{job.crm}",
        str(path),
    ]
    command += [str(job.concurrency), *([str(snapshot)] if snapshot else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    line = next((one for one in done.stdout.splitlines() if one.startswith("MEASURED")), None)
    measured: dict[str, Any] = json.loads(line.removeprefix("MEASURED")) if line else {}
    if measured.get("rows") != job.rows:
        raise RuntimeError(f"{who} wrote {measured.get('rows')} rows: {(done.stderr or done.stdout)[-2000:]}")
    return measured | {"calls": server.calls()}


def compare(job: Job, path: Path, server: Server, delay: int, rounds: int) -> None:
    """Measure both in turns, since a machine that is slow for a while is slow for both, and print a line for each."""
    results: dict[str, list[dict[str, Any]]] = {who: [] for who in SCRIPTS}
    for turn in range(rounds):
        for who in list(SCRIPTS)[:: 1 if turn % 2 else -1]:
            results[who].append(run(who, job, path, server, delay))
    for who, some in results.items():
        calls = some[0]["calls"]
        seconds = statistics.median(one["seconds"] for one in some)
        rates = [job.rows / one["seconds"] for one in some]
        of_latency = f"{calls * delay / 1000 / job.concurrency / seconds:.0%}" if delay else ""
        ratios = [loop["seconds"] / one["seconds"] for one, loop in zip(some, results["loop"], strict=True)]
        cpu = statistics.median(one["cpu"] for one in some)
        print(
            f"| {job.crm} | {delay} | {job.concurrency} | {who} | {job.rows / seconds:,.0f} | "
            f"{min(rates):,.0f}..{max(rates):,.0f} | {calls:,} | {calls / job.rows:.4f} | {of_latency} | "
            f"{statistics.median(ratios):.2f} | {cpu:.1f} | {max(one['memory'] for one in some) / 1e6:.0f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("mindbaz", "spread", "memory"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--delays", default="50", help="milliseconds an answer, separated by commas")
    parser.add_argument("--mindbaz-rows", type=int, default=200_000)
    parser.add_argument("--spread-rows", type=int, default=2_000)
    options = parser.parse_args()
    jobs = [Job("mindbaz", options.mindbaz_rows, 8), Job("spread", options.spread_rows, 16)]
    with tempfile.TemporaryDirectory() as folder, Server() as server:
        print(
            "| CRM | ms an answer | in flight | who | rows/s (median) | least..most | calls | calls a row | "
            "of the latency | times the loop | CPU s | MB above start |\n" + "|---" * 12 + "|"
        )
        for job in jobs:
            if options.only in (None, job.crm):
                path = Path(folder, f"{job.crm}.csv")
                write_rows(path, job.rows)
                for delay in map(int, options.delays.split(",")):
                    compare(job, path, server, delay, options.rounds)
        if options.only in (None, "memory"):
            print("\n| CRM | rows | MB above start | peak MB |\n|---|---|---|---|")
            for factor in (1, 3):
                job = Job("mindbaz", options.mindbaz_rows * factor, 8)
                path = Path(folder, "memory.csv")
                write_rows(path, job.rows)
                took = run("ours", job, path, server, 0)
                print(
                    f"| mindbaz | {job.rows:,} | {took['memory'] / 1e6:.0f} | {took['peak'] / 1e6:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
