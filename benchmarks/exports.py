"""How fast exports are beside what else one could take, on one server, in one run, in turns.

``uv run python benchmarks/exports.py`` measures everything; ``--only "ours;loop"`` some of it, ``--rows`` and
``--rounds`` as much of it as one has time for. Peers are installed from PyPI into throw-away environments.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tables import Table, keep

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Job:
    """Something that is measured.

    :param script: below this folder.
    :param needs: packages of its environment; empty for the one that runs this.
    :param resource: the list that it reads.
    :param arguments: after URL and file.
    :param file: what it writes.
    :param is_slow: whether it takes minutes.
    """

    name: str
    script: str
    needs: tuple[str, ...] = ()
    resource: str = "customers"
    arguments: tuple[str, ...] = ()
    file: str = "rows.jsonl"
    is_slow: bool = False


def ours(name: str, resource: str = "customers", file: str = "rows.jsonl", **parameters: Any) -> Job:
    return Job(name, "ours.py", resource=resource, file=file, arguments=(json.dumps(parameters),))


LOOP = ("requests", "orjson")
AIRFLOW = "apache-airflow==3.3.2"
AIRFLOW_HTTP = (AIRFLOW, "apache-airflow-providers-http")
CONSENTS = "customers-consents"
JOBS = (
    Job("loop", "peers/loop.py", LOOP),
    ours("ours"),
    ours("ours raw", raw=True),
    Job("loop, 8 in flight", "peers/loop_ahead.py", LOOP),
    ours("ours, concurrency 8", concurrency=8),
    ours("ours raw, concurrency 8", raw=True, concurrency=8),
    ours("ours, CSV", file="rows.csv"),
    ours("ours, Parquet", file="rows.parquet"),
    Job("loop, consents", "peers/loop.py", LOOP, resource=CONSENTS),
    ours("ours, consents", resource=CONSENTS),
    Job("HttpHook", "peers/http_hook.py", AIRFLOW_HTTP),
    Job("HttpOperator", "peers/http_operator.py", AIRFLOW_HTTP),
    Job("drt", "peers/drt_sync.py", ("drt-core",)),
    Job("dlt", "peers/dlt_rest.py", ("dlt",), is_slow=True),
    Job("Airbyte CDK", "peers/airbyte.py", ("airbyte-cdk",), is_slow=True),
    Job("Singer tap", "peers/singer_tap.py", ("singer-sdk",), is_slow=True),
)


def python_with(needs: tuple[str, ...], home: Path) -> str:
    """Make an environment.

    :return: its interpreter.
    :raises subprocess.CalledProcessError: the packages cannot be had.
    """
    if not needs:
        return sys.executable
    folder = home / "-".join(needs).replace("=", "")
    python = folder / "bin" / "python"
    if not python.exists():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        subprocess.run(["uv", "venv", "--quiet", "--python", version, str(folder)], check=True)
        subprocess.run(["uv", "pip", "install", "--quiet", "--python", str(python), *needs], check=True)
    return str(python)


def run(job: Job, python: str, base: str, delay: int) -> dict[str, Any] | None:
    """Run a job once.

    :return: what it took; None when it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [python, str(HERE / job.script), f"{base}/{delay}/{job.resource}", f"{folder}/{job.file}"]
        # As where it is installed: what is imported on the way has been compiled before.
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": ""}
        done = subprocess.run(
            [*command, *job.arguments], env=environment, capture_output=True, text=True, check=False
        )
    line = next((one for one in done.stdout.splitlines() if one.startswith("MEASURED")), None)
    if line is None:
        print(f"{job.name} failed: {(done.stderr or done.stdout)[-2000:]}", file=sys.stderr)
        return None
    measured: dict[str, Any] = json.loads(line.removeprefix("MEASURED"))
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slow-rounds", type=int, default=1, help="rounds of what takes minutes")
    parser.add_argument("--only", help="names of jobs, separated by semicolons")
    parser.add_argument("--delays", default="0,100")
    parser.add_argument(
        "--home", default=tempfile.mkdtemp(prefix="peers-"), help="where environments are made"
    )
    parser.add_argument("--keep", action="store_true", help="for the docs, in results/")
    options = parser.parse_args()
    wanted = options.only.split(";") if options.only else [job.name for job in JOBS]
    jobs = [job for job in JOBS if job.name in wanted]
    pythons: dict[str, str] = {}
    for job in jobs:
        try:
            pythons[job.name] = python_with(job.needs, Path(options.home))
        except subprocess.CalledProcessError as error:
            print(f"{job.name} cannot be had: {error}", file=sys.stderr)
    server = subprocess.Popen(
        [sys.executable, str(HERE / "page_server.py"), str(options.rows)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        base = server.stdout.readline().strip()
        results = measure_all(jobs, pythons, base, options)
    finally:
        server.kill()
    table = report(results, options.rows)
    if options.keep:
        keep("exports", "benchmarks/exports.py", table)


def measure_all(
    jobs: list[Job], pythons: dict[str, str], base: str, options: argparse.Namespace
) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """Measure in turns: a machine that is slow for a while is slow for all."""
    results: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for turn in range(options.rounds):
        for delay in map(int, options.delays.split(",")):
            for job in jobs:
                if job.name not in pythons or (job.is_slow and turn >= options.slow_rounds):
                    continue
                measured = run(job, pythons[job.name], base, delay)
                if measured is None:
                    continue
                if measured["rows"] != options.rows:
                    print(f"{job.name} wrote {measured['rows']} rows", file=sys.stderr)
                    continue
                results.setdefault((job.name, delay), []).append(measured)
                print(
                    f"{job.name:26} {delay:4} ms {options.rows / measured['seconds']:10,.0f} rows/s",
                    flush=True,
                )
    return results


def report(results: dict[tuple[str, int], list[dict[str, Any]]], rows: int) -> Table:
    """Return medians, and each against the loop that one writes by hand."""
    median = {key: statistics.median(one["seconds"] for one in some) for key, some in results.items()}
    table = Table(
        "job", "ms a page", "rows/s (median)", "least..most", "times the loop", "CPU s", "MB above start"
    )
    for (name, delay), some in sorted(results.items(), key=lambda one: (one[0][1], median[one[0]])):
        rates = [rows / one["seconds"] for one in some]
        loop = "loop, consents" if "consents" in name else "loop"
        ratio = median[loop, delay] / median[name, delay] if (loop, delay) in median else None
        cpu = statistics.median(one["cpu"] for one in some)
        memory = max(one["memory"] for one in some) / 1e6
        table.row(
            name,
            delay,
            f"{rows / median[name, delay]:,.0f}",
            f"{min(rates):,.0f}..{max(rates):,.0f}",
            f"{ratio:.2f}" if ratio else "",
            f"{cpu:.1f}",
            f"{memory:.0f}",
        )
    return table


if __name__ == "__main__":
    main()
