"""The package at work in one command: a sandbox, a CSV of subscribers, a real Airflow, and a table that adds up.

Drives Airflow in processes of its own; imports nothing of the package but the sandbox.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

from airflow_provider_crm.sandbox.people import person
from airflow_provider_crm.sandbox.remote import RemoteSandbox

DAG_FILE = "mindbaz_upsert.py"
#: One row in so many is no e-mail address; another one comes again later in the file, changed.
BAD_EVERY = 100
TWICE_EVERY = 100
COLUMNS = ("email", "last_name", "first_name", "client_id", "status", "origin")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``crm-sandbox demo``."""
    parser.add_argument("--rows", type=int, default=20_000, help="rows of the CSV (default: %(default)s)")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(".crm-demo"),
        help="keeps the CSV, the Airflow and the subscribers for the next run (default: %(default)s)",
    )
    parser.add_argument("--fresh", action="store_true", help="forget the earlier runs first")


def run(args: argparse.Namespace) -> int:
    """Run the demonstration.

    :return: 0 when everything adds up, 1 otherwise.
    """
    began = time.monotonic()
    folder = args.folder.resolve()
    if args.fresh:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    earlier = (folder / "mindbaz.jsonl").exists()
    expected = write_csv(
        folder / "subscribers.csv", args.rows, origin="second import" if earlier else "import"
    )
    _say(f"{args.rows:,} rows in {folder / 'subscribers.csv'}")
    with RemoteSandbox.spawn() as sandbox:
        known = _restore(sandbox, folder / "mindbaz.jsonl")
        _say(f"sandbox at {sandbox.url}, where {known:,} subscribers are known from earlier runs")
        airflow = _Airflow(folder, sandbox.environ())
        airflow.prepare()
        summary = airflow.run_dag(_example_dags() / DAG_FILE, folder)
        held = sandbox.records("mindbaz", "subscribers")
        _keep(held, folder / "mindbaz.jsonl")
    problems = _check(summary, expected, known, held, folder)
    _print_table(summary, len(held))
    for problem in problems:
        print(f"DOES NOT ADD UP: {problem}")
    if not problems:
        print(
            f"Everything adds up: {time.monotonic() - began:.0f} s in all. Rejects: {folder / 'rejects.jsonl'}"
        )
    return 1 if problems else 0


@dataclass(frozen=True, slots=True)
class Expected:
    """What the CSV holds: how many rows of which kind, and the last name that each person must end with."""

    rows: int
    bad: int
    duplicates: int
    last_names: Mapping[str, str]


def write_csv(path: Path, rows: int, *, origin: str) -> Expected:
    """Write made-up subscribers, some of them twice, some without a real address.

    :param origin: where they are said to come from: another one makes every row an update.
    """
    bad = duplicates = 0
    last_names: dict[str, str] = {}
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number in range(rows):
            somebody = person(number)
            email, last_name = somebody.email, somebody.last_name
            if number % BAD_EVERY == BAD_EVERY // 2:
                email = email.replace("@", " at ") if number % (2 * BAD_EVERY) < BAD_EVERY else f"{email}@"
                bad += 1
            elif number % TWICE_EVERY == TWICE_EVERY - 1:
                earlier = person(number - 1)
                email, last_name = earlier.email.upper(), f"{earlier.last_name}-{somebody.last_name}"
                duplicates += 1
                last_names[earlier.email] = last_name
            else:
                last_names[email] = last_name
            writer.writerow((email, last_name, somebody.first_name, f"C{number:07d}", 0, origin))
    return Expected(rows, bad, duplicates, last_names)


class _Airflow:
    """A throw-away Airflow on SQLite in a folder."""

    def __init__(self, folder: Path, connections: Mapping[str, str]) -> None:
        home = folder / "airflow"
        self._marker = home / "airflow.db"
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")},
            **connections,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        (folder / "dags").mkdir(exist_ok=True)
        home.mkdir(exist_ok=True)

    def prepare(self) -> None:
        """Make its database, or bring it up to the installed version."""
        _say("Airflow: preparing its database" + ("" if self._marker.exists() else " (the first time)"))
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"],
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"airflow db migrate failed:\n{done.stdout}")

    def run_dag(self, dag_file: Path, folder: Path) -> dict[str, Any]:
        """Run the example DAG and show what its task says.

        :return: what the task returned.
        """
        shutil.copy(dag_file, folder / "dags" / dag_file.name)
        answer = folder / "answer.json"
        answer.unlink(missing_ok=True)
        conf = {
            "source": str(folder / "subscribers.csv"),
            "rejects_path": str(folder / "rejects.jsonl"),
            "results_path": str(folder / "results.jsonl"),
        }
        _say(f"Airflow: running {dag_file.name}")
        command = [sys.executable, "-m", "airflow_provider_crm.sandbox.demo_run"]
        command += [str(folder / "dags" / dag_file.name), json.dumps(conf), str(answer)]
        process = subprocess.Popen(
            command,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert process.stdout is not None
        log: list[str] = []
        for line in process.stdout:
            log.append(line)
            if any(word in line for word in ("rows done", "Sending", "Done:", "trying again")):
                print(f"  {line.strip()}", flush=True)
        if process.wait() or not answer.exists():
            raise SystemExit("".join(log[-200:]) + "\nThe DAG run failed.")
        summary: dict[str, Any] = json.loads(answer.read_text())
        return summary


def _example_dags() -> Path:
    package = Path(str(files("airflow_provider_crm")))
    for folder in (package.parent / "example_dags", package / "example_dags"):
        if (folder / DAG_FILE).exists():
            return folder
    raise SystemExit("The example DAGs are neither beside the package nor in it.")


def _restore(sandbox: RemoteSandbox, path: Path) -> int:
    """Create the subscribers of earlier runs, the way any client would.

    :return: how many there are.
    """
    if not path.exists():
        return 0
    connection = json.loads(sandbox.connections()["mindbaz_default"])
    url = f"{connection['host']}/{connection['extra']['site_id']}/Subscribers"
    headers = {"X-API-KEY": connection["password"], "Content-Type": "application/json"}
    subscribers = [json.loads(line) for line in path.open(encoding="utf-8")]
    sandbox_alone = build_opener(ProxyHandler({}))  # no proxy leads to this machine
    for start in range(0, len(subscribers), 5000):
        body = json.dumps(subscribers[start : start + 5000]).encode()
        sandbox_alone.open(Request(url, data=body, headers=headers), timeout=60).read()
    return len(sandbox.records("mindbaz", "subscribers"))


def _keep(held: list[dict[str, Any]], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for subscriber in held:
            fields = [{"idField": number, "value": value} for number, value in _fields(subscriber)]
            file.write(json.dumps({"fields": fields}) + "\n")


def _fields(subscriber: Mapping[str, Any]) -> Iterator[tuple[int, Any]]:
    for number, value in subscriber["fields"].items():
        # The stand-in gives its own ids, and works the domain out by itself.
        if number not in ("0", "37"):
            yield int(number), value


def _check(
    summary: Mapping[str, Any], expected: Expected, known: int, held: list[dict[str, Any]], folder: Path
) -> list[str]:
    """Compare what the task says with its files and with what the sandbox holds."""
    endings = ("created", "updated", "unchanged", "skipped", "rejected")
    people = len(expected.last_names)
    names = {fields[1]: fields.get(14) for fields in (dict(_fields(subscriber)) for subscriber in held)}
    results = Counter(
        json.loads(line)["outcome"] for line in (folder / "results.jsonl").open(encoding="utf-8")
    )
    rejects = sum(1 for _ in (folder / "rejects.jsonl").open(encoding="utf-8"))
    checks = {
        "rows read": (summary["read"], expected.rows),
        "sum of the ends": (sum(summary[ending] for ending in endings), summary["read"]),
        "created and updated": (summary["created"] + summary["updated"] + summary["unchanged"], people),
        "created": (summary["created"], len(held) - known),
        "skipped": (summary["skipped"], expected.duplicates),
        "rejected": (summary["rejected"], expected.bad),
        "lines of the rejects file": (rejects, expected.bad),
        "results file": ({e: results[e] for e in endings}, {e: summary[e] for e in endings}),
        "people whose last row counts": (
            sum(names.get(email) == last_name for email, last_name in expected.last_names.items()),
            people,
        ),
    }
    return [f"{what}: {found}, not {right}" for what, (found, right) in checks.items() if found != right]


def _print_table(summary: Mapping[str, Any], held: int) -> None:
    rows = {
        "rows read": summary["read"],
        "created": summary["created"],
        "updated": summary["updated"],
        "unchanged": summary["unchanged"],
        "skipped (an earlier row of a person)": summary["skipped"],
        "rejected (no e-mail address)": summary["rejected"],
        "requests": summary["requests"],
        "seconds": summary["seconds"],
        "subscribers in the sandbox": held,
    }
    width = max(map(len, rows))
    print()
    for name, value in rows.items():
        print(f"  {name:<{width}}  {value:>12,}")
    print()


def _say(text: str) -> None:
    print(f"- {text}", flush=True)
