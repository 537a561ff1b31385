"""What a snapshot spares: a first run, and a second of which one row in a hundred has changed, with it and without.

``uv run python benchmarks/changes.py`` measures Mindbaz and SPREAD, at 50 ms an answer, in turns, the comparison that a
warehouse would make, and how far memory grows with the rows: three quarters of an hour on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from exports import python_with
from tables import Table, keep
from writes import OURS, Job, Server, run

#: One row in so many has changed in the second run.
CHANGED = 100
#: Rows beside which memory is measured, and with which the peer is, which takes long.
FEW = 100_000
#: What finds out by itself which rows have changed, and what it needs.
DLT, DLT_NEEDS = "peers/dlt_changes.py", ("dlt[duckdb]", "msgspec", "requests")

Took = dict[str, Any]


def write_rows(path: Path, rows: int, *, changed: bool = False) -> None:
    """Write people who are not in the CRM; for the second run with one in a hundred changed."""
    with path.open("w", encoding="utf-8") as file:
        file.write("email,last_name,first_name,city,zip\n")
        for number in range(rows):
            name = "Martin" if changed and number % CHANGED == 0 else "Lefèvre"
            file.write(f"person-{number:08d}@example.fr,{name} {number},Jeanne,Saint-Étienne,42000\n")


def line(table: Table, what: str, job: Job, took: Took) -> None:
    """Tell what a run took."""
    table.row(
        job.crm,
        f"{job.rows:,}",
        what,
        f"{took['seconds']:.1f}",
        f"{job.rows / took['seconds']:,.0f}",
        f"{took['calls']:,}",
        f"{took['cpu']:.1f}",
        f"{took['memory'] / 1e6:.0f}",
    )


def compare(table: Table, job: Job, folder: Path, server: Server, delay: int, rounds: int) -> dict[str, Took]:
    """Run with a snapshot and without in turns, first with all new and then with one row in a hundred changed.

    :param rounds: so often each, of which the fastest counts: other load makes all of them slower.
    :return: what each run took, by its name.
    """
    path, snapshot, before = (
        folder / "people.csv",
        folder / f"{job.crm}.snapshot",
        folder / f"{job.crm}.before",
    )
    fastest: dict[str, Took] = {}
    for turn, what in enumerate(("all new", "1 % changed", "none changed")):
        write_rows(path, job.rows, changed=turn > 0)
        for _ in range(rounds):
            for kept in (None, snapshot) if turn < 2 else (snapshot,):
                snapshot.unlink(missing_ok=True)
                if before.exists():
                    shutil.copyfile(before, snapshot)
                name = f"{what}, {'with' if kept else 'without'}"
                took = run(OURS, job, str(path), server, delay, snapshot=kept)
                if name not in fastest or took["seconds"] < fastest[name]["seconds"]:
                    fastest[name] = took
        shutil.copyfile(snapshot, before)
    for name, took in fastest.items():
        line(table, name, job, took)
    return fastest | {"snapshot": {"bytes": snapshot.stat().st_size}}


def diff(table: Table, job: Job, folder: Path) -> None:
    """Measure what finding the changed rows alone takes in SQL."""
    for changed in (False, True):
        write_rows(folder / "people.csv", job.rows, changed=changed)
        command = [sys.executable, str(Path(__file__).parent / "peers/sql_diff.py")]
        command += [str(folder / "people.csv"), str(folder / "sent.db")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    took = json.loads(done.stdout.removeprefix("MEASURED")) | {"calls": 0}
    line(table, "1 % changed, compared in SQL, nothing sent", job, took)


def peer(table: Table, folder: Path, server: Server, delay: int) -> None:
    """Measure dlt beside ours: one row in a hundred has changed."""
    job, kept = Job("mindbaz", FEW, 8), folder / "dlt"
    kept.mkdir()
    python = python_with(DLT_NEEDS, folder)
    for changed in (False, True):
        write_rows(folder / "people.csv", FEW, changed=changed)
        source = str(folder / "people.csv")
        ours = run(OURS, job, source, server, delay, snapshot=folder / "beside.snapshot")
        theirs = run(DLT, job, source, server, delay, snapshot=kept, python=python)
    line(table, "1 % changed, with", job, ours)
    line(table, "1 % changed, dlt, merged as versions into DuckDB", job, theirs)


def summary(job: Job, took: dict[str, Took], table: Table) -> None:
    """Tell how the runs compare."""
    new, new_kept = took["all new, without"], took["all new, with"]
    changed, changed_kept = took["1 % changed, without"], took["1 % changed, with"]
    known = took["none changed, with"]
    table.row(
        job.crm,
        f"{changed['seconds'] / changed_kept['seconds']:.1f}",
        f"{changed_kept['calls'] / changed['calls']:.1%}",
        f"{job.rows / known['seconds']:,.0f}",
        f"{job.rows / known['cpu']:,.0f}",
        f"{new_kept['seconds'] / new['seconds'] - 1:+.0%}",
        f"{new_kept['cpu'] / new['cpu'] - 1:+.0%}",
        f"{took['snapshot']['bytes'] / job.rows:.0f}",
    )


def grow(table: Table, rows: int, folder: Path, server: Server, delay: int) -> None:
    """Measure how far memory grows with the rows, in a first run and in one in which all are known."""
    for number in (FEW, rows):
        job, snapshot = Job("mindbaz", number, 8), folder / f"{number}.snapshot"
        write_rows(folder / "people.csv", number)
        for what in ("all new", "none changed"):
            took = run(OURS, job, str(folder / "people.csv"), server, delay, snapshot=snapshot)
            line(table, f"{what}, with", job, took)
        snapshot.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of Mindbaz; SPREAD, which waits, has one")
    parser.add_argument("--delay", type=int, default=50, help="milliseconds an answer")
    parser.add_argument("--mindbaz-rows", type=int, default=1_000_000)
    parser.add_argument("--spread-rows", type=int, default=100_000)
    parser.add_argument("--spread-concurrency", type=int, default=64)
    parser.add_argument("--memory-rows", type=int, default=10_000_000, help="0 for none")
    parser.add_argument("--keep", action="store_true", help="for the docs, in results/")
    options = parser.parse_args()
    runs = Table("CRM", "rows", "run", "s", "rows/s", "calls", "CPU s", "MB above start")
    jobs = {
        Job("mindbaz", options.mindbaz_rows, 8): options.rounds,
        Job("spread", options.spread_rows, options.spread_concurrency): 1,
    }
    with tempfile.TemporaryDirectory() as name, Server() as server:
        folder = Path(name)
        compared = [
            (job, compare(runs, job, folder, server, options.delay, rounds)) for job, rounds in jobs.items()
        ]
        if options.memory_rows:
            grow(runs, options.memory_rows, folder, server, options.delay)
        diff(runs, next(iter(jobs)), folder)
        peer(runs, folder, server, options.delay)
    ratios = Table(
        "CRM",
        "1 % changed: times as fast",
        "its calls",
        "known rows/s",
        "known rows a CPU second",
        "all new: slower by",
        "its CPU",
        "bytes a person",
    )
    for job, took in compared:
        summary(job, took, ratios)
    if options.keep:
        keep("changes", "benchmarks/changes.py", runs, ratios)


if __name__ == "__main__":
    main()
