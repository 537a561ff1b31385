"""What a snapshot spares: a first run, and a second of which one row in a hundred has changed, with it and without.

``uv run python benchmarks/changes.py`` measures Mindbaz and SPREAD, at 50 ms an answer, in turns; ``--only memory``
measures how far memory grows with the rows, of a run in which all are known.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from writes import OURS, Job, Server, run

#: One row in so many has changed in the second run.
CHANGED = 100


def write_rows(path: Path, rows: int, *, changed: bool = False) -> None:
    """Write people who are not in the CRM; for the second run with one in a hundred changed."""
    with path.open("w", encoding="utf-8") as file:
        file.write("email,last_name,first_name,city,zip\n")
        for number in range(rows):
            name = "Martin" if changed and number % CHANGED == 0 else "Lefèvre"
            file.write(f"person-{number:08d}@example.fr,{name} {number},Jeanne,Saint-Étienne,42000\n")


def line(what: str, job: Job, took: dict[str, Any]) -> None:
    """Print what a run took."""
    print(
        f"| {job.crm} | {job.rows:,} | {what} | {took['seconds']:.1f} | {job.rows / took['seconds']:,.0f} | "
        f"{took['calls']:,} | {took['cpu']:.1f} | {took['memory'] / 1e6:.0f} |",
        flush=True,
    )


def compare(job: Job, folder: Path, server: Server, delay: int) -> None:
    """Run with a snapshot and without in turns, first with all new and then with one row in a hundred changed."""
    path, snapshot = folder / "people.csv", folder / f"{job.crm}.snapshot"
    for turn, what in enumerate(("all new", "1 % changed", "none changed")):
        write_rows(path, job.rows, changed=turn > 0)
        for kept in (None, snapshot) if turn < 2 else (snapshot,):
            took = run(OURS, job, str(path), server, delay, snapshot=kept)
            line(f"{what}, {'with' if kept else 'without'}", job, took)
    print(f"  snapshot: {snapshot.stat().st_size / job.rows:.0f} bytes a row", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("mindbaz", "spread", "memory"))
    parser.add_argument("--delay", type=int, default=50, help="milliseconds an answer")
    parser.add_argument("--mindbaz-rows", type=int, default=1_000_000)
    parser.add_argument("--spread-rows", type=int, default=100_000)
    parser.add_argument("--memory-rows", type=int, default=10_000_000)
    options = parser.parse_args()
    print(
        "| CRM | rows | run | s | rows/s | calls | CPU s | MB above start |\n" + "|---" * 8 + "|", flush=True
    )
    with tempfile.TemporaryDirectory() as name, Server() as server:
        folder = Path(name)
        for job in (Job("mindbaz", options.mindbaz_rows, 8), Job("spread", options.spread_rows, 16)):
            if options.only in (None, job.crm):
                compare(job, folder, server, options.delay)
        if options.only == "memory":
            for rows in (100_000, options.memory_rows):
                job, snapshot = Job("mindbaz", rows, 8), folder / f"{rows}.snapshot"
                write_rows(folder / "people.csv", rows)
                for what in ("all new", "none changed"):
                    took = run(OURS, job, str(folder / "people.csv"), server, 0, snapshot=snapshot)
                    line(what, job, took)


if __name__ == "__main__":
    main()
