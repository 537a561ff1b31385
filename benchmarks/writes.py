"""How fast upserts are beside the loop that one writes by hand, on one server, in one run, in turns.

``uv run python benchmarks/writes.py`` measures everything in five minutes. Both have as many calls in flight at once;
the loop neither retries, nor checks, nor says what became of a row, and looks fewer people up a call. "Of the latency"
is the share of the rows that the calls in flight could at most bring through, were the client infinitely fast.
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

from tables import Table, keep

HERE = Path(__file__).parent
OURS, LOOP = "ours_writes.py", "peers/loop_writes.py"


COLUMNS = (
    "CRM",
    "rows",
    "ms an answer",
    "in flight",
    "who",
    "rows/s (median)",
    "least..most",
    "calls",
    "of the latency",
    "times the loop",
    "CPU s",
    "MB above start",
)


@dataclass(frozen=True)
class Job:
    """What is written."""

    crm: str
    rows: int
    concurrency: int


class Sources:
    """The same people as a file of each kind, and as a table: those with an even number exist."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def csv(self, rows: int) -> str:
        path = self._folder / f"{rows}.csv"
        if not path.exists():
            with path.open("w", encoding="utf-8") as file:
                file.write("email,last_name,first_name,city,zip\n")
                for number in range(rows):
                    file.write(
                        f"person-{number:08d}@example.fr,Lefèvre {number},Jeanne,Saint-Étienne,42000\n"
                    )
        return str(path)

    def parquet(self, rows: int) -> str:
        import pyarrow.csv
        import pyarrow.parquet

        path = self._folder / f"{rows}.parquet"
        if not path.exists():
            texts = dict.fromkeys(("email", "last_name", "first_name", "city", "zip"), pyarrow.string())
            options = pyarrow.csv.ConvertOptions(column_types=texts)
            table = pyarrow.csv.read_csv(self.csv(rows), convert_options=options)
            pyarrow.parquet.write_table(table, path, row_group_size=50_000)
        return str(path)

    def postgres(self, rows: int) -> str:
        import pgserver
        import sqlalchemy as sa

        uri: str = pgserver.get_server(self._folder / "postgres").get_uri()
        url = uri.replace("postgresql://", "postgresql+psycopg2://")
        with sa.create_engine(url).begin() as connection:
            connection.exec_driver_sql("drop table if exists people")
            connection.exec_driver_sql(
                "create table people as select 'person-' || lpad(n::text, 8, '0') || '@example.fr' as email,"
                " 'Lefèvre ' || n as last_name, 'Jeanne' as first_name, 'Saint-Étienne' as city, '42000' as zip"
                f" from generate_series(0, {rows - 1}) as n"
            )
            connection.exec_driver_sql("create index on people (email)")
        return url


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
    script: str,
    job: Job,
    source: str,
    server: Server,
    delay: int,
    snapshot: Path | None = None,
    python: str = sys.executable,
) -> dict[str, Any]:
    """Run a job once.

    :param script: who does it.
    :param source: a file, or the URL of a database.
    :param snapshot: where ours keeps what was accepted.
    :param python: of the environment that it runs in.
    :return: what it took.
    :raises RuntimeError: it failed.
    """
    server.calls()
    command = [
        python,
        str(HERE / script),
        job.crm,
        f"{server.url}/{delay}/{job.crm}",
        source,
    ]
    command += [str(job.concurrency), *([str(snapshot)] if snapshot else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    line = next((one for one in done.stdout.splitlines() if one.startswith("MEASURED")), None)
    measured: dict[str, Any] = json.loads(line.removeprefix("MEASURED")) if line else {}
    if measured.get("rows") != job.rows:
        raise RuntimeError(
            f"{script} wrote {measured.get('rows')} rows: {(done.stderr or done.stdout)[-2000:]}"
        )
    return measured | {"calls": server.calls()}


def compare(table: Table, job: Job, sources: Sources, server: Server, delay: int, rounds: int) -> None:
    """Measure all in turns, since a machine that is slow for a while is slow for all, and add a line for each."""
    who = {"ours": (OURS, sources.csv(job.rows)), "loop": (LOOP, sources.csv(job.rows))}
    if job.crm == "mindbaz":  # what a row is read from does not depend on the CRM
        who |= {
            "ours, Parquet": (OURS, sources.parquet(job.rows)),
            "ours, SQL": (OURS, sources.postgres(job.rows)),
        }
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in who}
    for turn in range(rounds):
        for name in list(who)[:: 1 if turn % 2 else -1]:
            script, source = who[name]
            results[name].append(run(script, job, source, server, delay))
    for who, some in results.items():
        calls = some[0]["calls"]
        seconds = statistics.median(one["seconds"] for one in some)
        rates = [job.rows / one["seconds"] for one in some]
        of_latency = f"{calls * delay / 1000 / job.concurrency / seconds:.0%}" if delay else ""
        ratios = [loop["seconds"] / one["seconds"] for one, loop in zip(some, results["loop"], strict=True)]
        cpu = statistics.median(one["cpu"] for one in some)
        table.row(
            job.crm,
            f"{job.rows:,}",
            delay,
            job.concurrency,
            who,
            f"{job.rows / seconds:,.0f}",
            f"{min(rates):,.0f}..{max(rates):,.0f}",
            f"{calls:,}",
            of_latency,
            f"{statistics.median(ratios):.2f}",
            f"{cpu:.1f}",
            f"{max(one['memory'] for one in some) / 1e6:.0f}",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("mindbaz", "spread", "expertsender_cdp", "memory"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--delays", default="50", help="milliseconds an answer, separated by commas")
    parser.add_argument("--mindbaz-rows", type=int, default=200_000)
    parser.add_argument("--spread-rows", type=int, default=2_000)
    parser.add_argument("--expertsender-rows", type=int, default=200_000)
    parser.add_argument("--memory-rows", default="100000,1000000")
    parser.add_argument("--keep", action="store_true", help="for the docs, in results/")
    options = parser.parse_args()
    jobs = [
        Job("mindbaz", options.mindbaz_rows, 8),
        Job("spread", options.spread_rows, 16),
        Job("expertsender_cdp", options.expertsender_rows, 8),
    ]
    speeds, memory = Table(*COLUMNS), None
    with tempfile.TemporaryDirectory() as folder, Server() as server:
        sources = Sources(Path(folder))
        for job in jobs:
            if options.only in (None, job.crm):
                for delay in map(int, options.delays.split(",")):
                    compare(speeds, job, sources, server, delay, options.rounds)
        if options.only in (None, "memory"):
            memory = Table("CRM", "source", "rows", "MB above start", "peak MB")
            for rows in map(int, options.memory_rows.split(",")):
                job = Job("mindbaz", rows, 8)
                for kind, source in (("CSV", sources.csv), ("SQL", sources.postgres)):
                    took = run(OURS, job, source(rows), server, 0)
                    memory.row(
                        job.crm, kind, f"{rows:,}", f"{took['memory'] / 1e6:.0f}", f"{took['peak'] / 1e6:.0f}"
                    )
    if options.keep:
        keep("writes", "benchmarks/writes.py", *(table for table in (speeds, memory) if table))


if __name__ == "__main__":
    main()
