"""How fast upserts are beside what else one could take, on one server, in one run, in turns.

``uv run python benchmarks/write_peers.py`` measures everything in five minutes; ``--rows`` and ``--rounds`` as much
as one has time for. Peers are installed from PyPI into throw-away environments. None of them knows these CRMs: they
read the rows, cut batches and keep count, and are given the calls of the loop that one writes by hand.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exports import AIRFLOW_HTTP, python_with
from tables import Table, keep
from writes import LOOP, OURS, Job, Server, Sources, run

CRMS = ("mindbaz", "expertsender_cdp")


@dataclass(frozen=True)
class Peer:
    """Something that is measured.

    :param script: below this folder.
    :param needs: packages of its environment; empty for the one that runs this.
    :param in_flight: calls at once; what has no way to make several makes one.
    :param cannot: the CRMs whose job it cannot do.
    """

    name: str
    script: str
    needs: tuple[str, ...] = ()
    in_flight: int = 1
    cannot: tuple[str, ...] = ()


PEERS = (
    Peer("ours", OURS, in_flight=8),
    Peer("loop", LOOP, in_flight=8),
    Peer("dlt", "peers/dlt_writes.py", ("dlt", "msgspec"), in_flight=8),
    Peer("HttpHook", "peers/http_hook_writes.py", (*AIRFLOW_HTTP, "msgspec")),
    Peer("Airbyte CDK", "peers/airbyte_writes.py", ("airbyte-cdk", "msgspec")),
    Peer("Singer target", "peers/singer_writes.py", ("singer-sdk", "msgspec", "requests")),
    # It sends what it reads, and has no call with which to find who exists.
    Peer("drt", "peers/drt_writes.py", ("drt-core", "msgspec", "requests"), cannot=("mindbaz",)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--delay", type=int, default=50, help="milliseconds an answer")
    parser.add_argument(
        "--home", default=tempfile.mkdtemp(prefix="peers-"), help="where environments are made"
    )
    parser.add_argument("--keep", action="store_true", help="for the docs, in results/")
    options = parser.parse_args()
    pythons: dict[Peer, str] = {}
    for peer in PEERS:
        try:
            pythons[peer] = python_with(peer.needs, Path(options.home))
        except subprocess.CalledProcessError as error:
            print(f"{peer.name} cannot be had: {error}", file=sys.stderr)
    results: dict[tuple[str, Peer], list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder, Server() as server:
        source = Sources(Path(folder)).csv(options.rows)
        for _ in range(options.rounds):
            for crm in CRMS:
                for peer, python in pythons.items():
                    if crm in peer.cannot:
                        continue
                    job = Job(crm, options.rows, peer.in_flight)
                    took = run(peer.script, job, source, server, options.delay, python=python)
                    results.setdefault((crm, peer), []).append(took)
                    print(
                        f"{crm:16} {peer.name:14} {options.rows / took['seconds']:10,.0f} rows/s", flush=True
                    )
    table = Table(
        "CRM",
        "rows",
        "ms an answer",
        "who",
        "in flight",
        "rows/s (median)",
        "calls",
        "times the loop",
        "CPU s",
        "MB above start",
    )
    seconds = {key: statistics.median(one["seconds"] for one in some) for key, some in results.items()}
    loop = {crm: taken for (crm, peer), taken in seconds.items() if peer.script == LOOP}
    for crm, peer in sorted(results, key=lambda key: (CRMS.index(key[0]), seconds[key])):
        some = results[crm, peer]
        table.row(
            crm,
            f"{options.rows:,}",
            options.delay,
            peer.name,
            peer.in_flight,
            f"{options.rows / seconds[crm, peer]:,.0f}",
            f"{some[0]['calls']:,}",
            f"{loop[crm] / seconds[crm, peer]:.2f}",
            f"{statistics.median(one['cpu'] for one in some):.1f}",
            f"{max(one['memory'] for one in some) / 1e6:.0f}",
        )
    if options.keep:
        keep("write_peers", "benchmarks/write_peers.py", table)


if __name__ == "__main__":
    main()
