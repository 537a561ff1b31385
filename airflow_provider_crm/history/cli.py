"""The history on the command line: ``airflow crm runs`` where Airflow takes commands of providers (3.3), and
``python -m airflow_provider_crm.history`` elsewhere.

Airflow asks for the commands whenever it is called: nothing heavy is imported before one is carried out.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import sys
from typing import Any

#: The options: the flags, and what argparse is told of them.
_OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("--conn-id", {"help": "connection of the history; Airflow's option [crm] history_conn_id otherwise"}),
    ("--dag-id", {"help": "only of this DAG"}),
    ("--task-id", {"help": "only of this task"}),
    ("--system", {"help": "only of this CRM, such as mindbaz"}),
    ("--state", {"help": "only in this state, such as failed or no_end_known"}),
    ("--limit", {"type": int, "default": 20, "help": "how many; 20 when left out"}),
    ("--json", {"action": "store_true", "help": "a line of JSON for each run"}),
)
_HELP = "List the runs of CRM tasks, the newest first"


def commands() -> list[Any]:
    """Return Airflow's command ``airflow crm runs``."""
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

    make: Any = Arg
    arguments = [make((flag,), **settings) for flag, settings in _OPTIONS]
    runs = ActionCommand(name="runs", help=_HELP, func=list_runs, args=arguments)
    return [GroupCommand(name="crm", help="Look at what CRM tasks have done", subcommands=[runs])]


def main(arguments: list[str] | None = None) -> None:
    """List runs.

    :param arguments: of the command line; those of the process when left out.
    """
    parser = argparse.ArgumentParser("python -m airflow_provider_crm.history", description=_HELP)
    for flag, settings in _OPTIONS:
        parser.add_argument(flag, **settings)
    list_runs(parser.parse_args(arguments))


def list_runs(chosen: argparse.Namespace) -> None:
    """Print runs.

    :param chosen: the options.
    """
    from airflow_provider_crm.exceptions import CrmError
    from airflow_provider_crm.history.runs import RunFilter
    from airflow_provider_crm.history.store import History, history_conn_id

    conn_id = chosen.conn_id or history_conn_id()
    if not conn_id:
        raise SystemExit("There is no history: give --conn-id, or set Airflow's option [crm] history_conn_id")
    wanted = RunFilter(dag_id=chosen.dag_id, task_id=chosen.task_id, system=chosen.system, state=chosen.state)
    try:
        # Older Airflows log to the standard output, where the runs are to stand alone.
        with contextlib.redirect_stdout(sys.stderr), History.at(conn_id) as history:
            runs = history.page(wanted, limit=chosen.limit).runs
    except CrmError as error:
        raise SystemExit(str(error)) from None
    if not runs:
        sys.stderr.write("There are no such runs\n")
    try:
        for run in runs:
            line = json.dumps(dataclasses.asdict(run), default=str) if chosen.json else _line_of(run)
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it ends


def _line_of(run: Any) -> str:
    task = run.task
    name = f"{task.dag_id}.{task.task_id}" + (f"[{task.map_index}]" if task.map_index >= 0 else "")
    ends = ("read", "created", "updated", "unchanged", "skipped", "rejected", "exported")
    numbers = ", ".join(f"{end} {getattr(run, end)}" for end in ends if getattr(run, end) is not None)
    error = f" {run.error_type}" if run.error_type else ""
    when = f"{run.started_at:%Y-%m-%d %H:%M:%S}"
    return f"{when}  {run.state:<12}  {name} {task.run_id} #{task.try_number}  {numbers}{error}"
