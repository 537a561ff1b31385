"""How what is known becomes HTML: templates, which escape everything, and how numbers, times and states are written.

A page asks nobody else for anything: its style and its one script are in it, its charts are drawn in it.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from airflow_provider_crm.history.runs import BAD_STATES, Run, TaskTry
from airflow_provider_crm.links import PAGE, web_address
from airflow_provider_crm.ui import charts

#: A share of rows by which a run differs from what is usual, from which on it stands out.
DEVIATES = 0.5

STATES = {
    "success": "Success",
    "rejects": "Rejects",
    "failed": "Failed",
    "stopped": "Stopped",
    "dry_run": "Dry run",
    "refused": "Refused",
    "running": "Running",
    "no_end_known": "No end known",
}
ENDS = ("created", "updated", "unchanged", "skipped", "rejected")

_templates = Path(__file__).with_name("templates")


def _own(name: str) -> tuple[Markup, str]:
    """Return a file that stands in each page, and the word by which a browser knows that it may."""
    text = (_templates / name).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Markup(text), f"'sha256-{digest}'"


_style, _this_style = _own("style.css")
_script, _this_script = _own("frame.js")
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"default-src 'none'; style-src {_this_style}; script-src {_this_script}; "
    "form-action 'self'; frame-ancestors 'self'; base-uri 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def show(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page.

    :param template: the name of its file.
    :param values: what it shows.
    """
    root = airflow_root(request)
    text = _environment.get_template(template).render(
        **values, home=f"{root}{PAGE}/", airflow=root, style=_style, script=_script
    )
    return HTMLResponse(text, status, headers=_HEADERS)


def airflow_root(request: Request) -> str:
    """Return the path under which Airflow is served, without a slash at the end."""
    return str(request.scope.get("root_path", "")).removesuffix(PAGE)


def number(value: float | None) -> str:
    """Write a whole number: 12 345."""
    return "–" if value is None else f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def short(value: float | None) -> str:
    """Write a number in few characters: 12.3k."""
    if value is None:
        return "–"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def bytes_(value: float | None) -> str:
    """Write a size: 12.3 MB."""
    return (
        "–"
        if value is None
        else f"{short(value)}B".replace("kB", " kB").replace("MB", " MB").replace("GB", " GB")
    )


def duration(seconds: float | None) -> str:
    """Write a time that passed: 1 h 05 min, 3 min 20 s, 1.9 s."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def moment(time: dt.datetime | None) -> Markup:
    """Write a moment, in UTC."""
    if time is None:
        return Markup("–")
    return Markup('<time datetime="{}">{}</time>').format(time.isoformat(), f"{time:%Y-%m-%d %H:%M:%S}")


def deviation(share: float | None) -> str:
    """Write by how much something differs: −52 %."""
    if share is None:
        return ""
    percent = round(share * 100)
    sign = "+" if percent > 0 else "−" if percent < 0 else "±"
    return f"{sign}{abs(percent):,}\N{NARROW NO-BREAK SPACE}%"


def deviation_of(run: Run) -> float | None:
    """Return by which share the rows of a run differ from what is usual; None where it has not come to its end."""
    return run.deviation if run.state in ("success", "rejects", "dry_run") else None


def deviates(run: Run) -> bool:
    """Return whether a run has far more or far fewer rows than is usual."""
    return abs(deviation_of(run) or 0) >= DEVIATES


def link_of(path: str) -> str | None:
    """Return where a browser finds a file; None where it would not get there."""
    address = web_address(path)
    return address if address.startswith("https://") else None


def files_of(run: Run) -> list[tuple[str, str, str | None]]:
    """Return the files of a run: what each is, its path, and where a browser finds it."""
    known = {"export": run.path, "rejects": run.rejects_path, "results": run.results_path}
    others = {key.removesuffix("_path"): value for key, value in run.more.items() if key.endswith("_path")}
    return [
        (name.replace("_", " "), path, link_of(path))
        for name, path in {**known, **others}.items()
        if isinstance(path, str) and path
    ]


def others_of(run: Run) -> list[tuple[str, str]]:
    """Return what else the report counts: names and numbers."""
    found = []
    for key, value in run.more.items():
        inner = value if isinstance(value, Mapping) else {"": value}
        found += [
            (f"{key} {name}".replace("_", " ").strip(), number(one))
            for name, one in inner.items()
            if isinstance(one, int | float) and not isinstance(one, bool)
        ]
    return found


def task_in_airflow(task: TaskTry) -> str:
    """Return where Airflow shows a try of a task, below its own address."""
    parts = (quote(part, safe="") for part in (task.dag_id, task.run_id, task.task_id))
    dag_id, run_id, task_id = parts
    mapped = f"/mapped/{task.map_index}" if task.map_index >= 0 else ""
    return f"/dags/{dag_id}/runs/{run_id}/tasks/{task_id}{mapped}?try_number={task.try_number}"


def task_name(task: TaskTry) -> str:
    """Write which task of its DAG it is."""
    return task.task_id + (f"[{task.map_index}]" if task.map_index >= 0 else "")


def ends_of(run: Run) -> list[tuple[str, int | None]]:
    """Return how its rows have ended."""
    return [(end, getattr(run, end)) for end in ENDS]


def run_address(run: Run) -> str:
    """Return where a run is shown, below the page's own address."""
    return f"dags/{quote(run.task.dag_id, safe='')}/runs/{run.id}"


_environment = Environment(
    loader=FileSystemLoader(_templates),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters.update(
    number=number,
    short=short,
    bytes=bytes_,
    duration=duration,
    moment=moment,
    deviation=deviation,
    state=lambda name: STATES.get(name, name),
    task_name=task_name,
    in_airflow=task_in_airflow,
    address=run_address,
    shares=charts.shares,
)
_environment.globals.update(
    is_bad=lambda run: run.state in BAD_STATES,
    deviates=deviates,
    deviation_of=deviation_of,
    files_of=files_of,
    others_of=others_of,
    ends_of=ends_of,
    chart=charts,
)
