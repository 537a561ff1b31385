"""How much memory and time an upsert of many rows takes: one process a size, against a sandbox in another process.

``python benchmarks/memory_upsert.py 100000 2000000`` prints one line for each number of rows, and by how much the
peak rose from the first to the last. ``--again`` upserts the same rows once more, ``--profile`` says where the time
went.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from airflow_provider_crm.sandbox.server import Sandbox

#: One row in so many has an e-mail that the CRM does not take.
INVALID = 1000


def main() -> None:
    """Measure each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, nargs="+")
    parser.add_argument("--format", choices=("csv", "jsonl"), default="csv")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--changed", action="store_true", help="with --again: other values")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(upsert(arguments.child, profile=arguments.profile)))
        return
    peaks = [measure(rows, arguments) for rows in arguments.rows]
    print(f"peak: {peaks[-1] - peaks[0]:+.1f} MB from {arguments.rows[0]:,} to {arguments.rows[-1]:,} rows")


def measure(rows: int, arguments: argparse.Namespace) -> float:
    """Upsert so many rows.

    :return: the peak of memory, in megabytes.
    """
    with tempfile.TemporaryDirectory() as folder, Sandbox.spawn() as sandbox:
        path = Path(folder, f"people.{arguments.format}")
        for turn in range(1 + arguments.again):
            write(path, rows, turn if arguments.changed else 0)
            answer = run(path, sandbox.environ(), profile=arguments.profile)
            print(
                f"{rows:,} rows: {answer['megabytes']:.1f} MB, {answer['seconds']:.1f} s,"
                f" {rows / answer['seconds']:,.0f} rows/s, CPU {answer['cpu']:.1f} s, {answer['summary']}"
            )
    return float(answer["megabytes"])


def run(path: Path, environ: dict[str, str], *, profile: bool) -> dict[str, Any]:
    """Upsert a file in a process of its own."""
    command = [sys.executable, __file__, "0", "--child", str(path), *(["--profile"] if profile else [])]
    output = subprocess.run(command, env={**os.environ, **environ}, stdout=subprocess.PIPE, check=True).stdout
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    return answer


def upsert(path: str, *, profile: bool) -> dict[str, Any]:
    """Upsert a file in this process."""
    from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator

    folder = Path(path).parent
    operator = MindbazUpsertSubscribersOperator(
        task_id="upsert",
        source=path,
        rejects_path=str(folder / "rejects.jsonl"),
        results_path=str(folder / "results.jsonl"),
        max_rejects=1.0,
    )
    profiler = cProfile.Profile()
    started, cpu = time.monotonic(), time.process_time()
    if profile:
        profiler.enable()
    summary = operator.execute({"task_state_store": Store()})  # type: ignore[typeddict-item]
    if profile:
        profiler.disable()
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(25)
    return {
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "seconds": time.monotonic() - started,
        "cpu": time.process_time() - cpu,
        "summary": summary,
    }


class Store(dict[str, Any]):
    """A state store."""

    def set(self, key: str, value: Any) -> None:
        self[key] = value

    def delete(self, key: str) -> None:
        self.pop(key, None)


def write(path: Path, rows: int, turn: int) -> None:
    """Write people."""
    with path.open("w") as file:
        if path.suffix == ".csv":
            file.write("email,nom,prenom,ville,code_postal,points_fidelite,dernier_achat\n")
        for number in range(rows):
            domain = "nodot" if number % INVALID == 7 else "courriel.example.fr"
            email = f"prenom.nom-{number}@{domain}"
            values = {
                "email": email,
                "nom": f"Nom {number}",
                "prenom": "Prénom",
                "ville": "Saint-Étienne",
                "code_postal": f"{number % 100_000:05d}",
                "points_fidelite": (number + turn) % 5000,
                "dernier_achat": "2024-05-01 10:30:00",
            }
            if path.suffix == ".csv":
                file.write(",".join(map(str, values.values())) + "\n")
            else:
                file.write(json.dumps(values) + "\n")


if __name__ == "__main__":
    main()
