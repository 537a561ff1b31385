"""The libraries that this package stands on, beside those that it could: one job each, in turns, on one machine.

``uv run python benchmarks/libraries.py`` installs each candidate from PyPI into a throw-away environment and runs its
program below ``libraries/``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from exports import python_with
from page_server import MAX_PAGE, Pages
from tables import Table, keep

HERE = Path(__file__).parent


class Candidate(NamedTuple):
    """A way to do a job.

    :param what: its name, which its program knows it by.
    :param needs: packages of its environment; empty for the one that runs this.
    """

    what: str
    needs: tuple[str, ...] = ()


#: By the program that does it.
JOBS = {
    "decoding": (
        Candidate("msgspec, typed"),
        Candidate("msgspec, untyped"),
        Candidate("orjson", ("orjson",)),
        Candidate("json"),
        Candidate("pydantic, typed", ("pydantic",)),
        Candidate("jsonschema after json", ("jsonschema",)),
    ),
    "calling": (
        Candidate("requests, a session a call"),
        Candidate("requests, one session"),
        Candidate("urllib3"),
        Candidate("httpx, one client", ("httpx",)),
        Candidate("requests, 16 threads, 20 ms"),
        Candidate("requests, 1 thread, 20 ms"),
    ),
    "pacing": (
        Candidate("ours"),
        Candidate("pyrate-limiter", ("pyrate-limiter<4",)),
        Candidate("aiolimiter", ("aiolimiter",)),
    ),
    "parquet": (Candidate("pyarrow, reading"), Candidate("polars, reading", ("polars",))),
}


def run(job: str, candidate: Candidate, home: Path, *arguments: str) -> dict[str, Any]:
    """Run a candidate once.

    :return: what it took.
    :raises RuntimeError: it failed.
    """
    command = [python_with(candidate.needs, home), str(HERE / "libraries" / f"{job}.py"), candidate.what]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    line = next((one for one in done.stdout.splitlines() if one.startswith("MEASURED")), None)
    if line is None:
        raise RuntimeError(f"{candidate.what}: {(done.stderr or done.stdout)[-2000:]}")
    measured: dict[str, Any] = json.loads(line.removeprefix("MEASURED"))
    return measured


def in_turns(
    job: str, home: Path, rounds: int, *arguments: str
) -> Iterable[tuple[Candidate, list[dict[str, Any]]]]:
    """Run all candidates of a job, one after the other, and so again."""
    found: dict[Candidate, list[dict[str, Any]]] = {one: [] for one in JOBS[job]}
    for _ in range(rounds):
        for one, some in found.items():
            some.append(run(job, one, home, *arguments))
    return found.items()


def _median(some: list[dict[str, Any]]) -> float:
    return statistics.median(one["rows"] / one["seconds"] for one in some)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000, help="customers that are decoded and read")
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="for the docs, in results/")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        page = home / "page.json"
        page.write_bytes(Pages(MAX_PAGE).body("/customers", {"maxResults": str(MAX_PAGE)}))
        decoding = Table("decoding JSON", "records/s", "MB above start")
        for one, some in in_turns("decoding", home, options.rounds, str(page), str(options.rows)):
            decoding.row(one.what, f"{_median(some):,.0f}", f"{max(a['memory'] for a in some) / 1e6:.0f}")
        server = subprocess.Popen(
            [sys.executable, str(HERE / "page_server.py"), "1"], stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            base = server.stdout.readline().strip()
            calling = Table("calling", "calls/s", "CPU s for 1,000 calls")
            for one, some in in_turns("calling", home, options.rounds, base, str(options.calls)):
                cpu = statistics.median(a["cpu"] / a["rows"] * 1000 for a in some)
                calling.row(one.what, f"{_median(some):,.0f}", f"{cpu:.2f}")
        finally:
            server.kill()
        pacing = Table("pacing 200 calls/s for 3 s", "calls/s", "most in 0.1 s")
        for one, some in in_turns("pacing", home, 1):
            pacing.row(one.what, f"{_median(some):.1f}", max(a["most"] for a in some))
        parquet = Table("reading Parquet", "rows/s", "MB above start")
        subprocess.run(
            [sys.executable, str(HERE / "libraries/parquet.py"), "write", str(home), str(options.rows)],
            check=True,
        )
        for one, some in in_turns("parquet", home, options.rounds, str(home)):
            parquet.row(one.what, f"{_median(some):,.0f}", f"{max(a['memory'] for a in some) / 1e6:.0f}")
    if options.keep:
        keep("libraries", "benchmarks/libraries.py", decoding, calling, pacing, parquet)


if __name__ == "__main__":
    main()
