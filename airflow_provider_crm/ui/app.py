"""The page's addresses: who may see what, and what is shown. Needs the web server of Airflow 3.1 or later.

Airflow lets anybody call what a plugin serves: each address here asks Airflow whether the user may read a DAG's XComs,
which is where reports are, and lists hold the DAGs that the user may read.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import urlencode

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException as AnyHTTPException

from airflow_provider_crm.exceptions import CrmError
from airflow_provider_crm.history.runs import STATES, TaskTry
from airflow_provider_crm.history.store import History, history_conn_id
from airflow_provider_crm.ui.charts import Charts, last_days
from airflow_provider_crm.ui.choice import Choice
from airflow_provider_crm.ui.pages import airflow_root, show
from airflow_provider_crm.ui.rejects import rejected_rows

#: Runs on a page.
PAGE_SIZE = 50

Text = Annotated[str, Query(max_length=250)]
# Databases take no longer ones.
RunNumber = Annotated[int, PathParameter(ge=1, lt=2**63)]
Small = Annotated[int, Query(ge=-1, lt=2**31)]
router = APIRouter()


def make_app() -> FastAPI:
    """Return what Airflow's web server mounts.

    Nothing of it describes itself to whoever asks: Airflow would not guard that.
    """
    app = FastAPI(
        title="CRM syncs",
        openapi_url=None,
        dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.XCOM))],
    )
    app.include_router(router)
    app.add_exception_handler(AnyHTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _not_understood)
    app.add_exception_handler(CrmError, _no_history)
    return app


class NoHistoryError(CrmError):
    """The history is not switched on."""


def _open_history() -> Iterator[History]:
    conn_id = history_conn_id()
    if conn_id is None:
        raise NoHistoryError("The history is not switched on")
    with History.at(conn_id) as history:
        yield history


HistoryDep = Annotated[History, Depends(_open_history)]


def _readable_dag_ids(user: GetUserDep) -> set[str]:
    return set(get_auth_manager().get_authorized_dag_ids(user=user, method="GET"))


@router.get("/", response_class=HTMLResponse)
def list_runs(
    request: Request,
    history: HistoryDep,
    dag_ids: Annotated[set[str], Depends(_readable_dag_ids)],
    dag_id: Text = "",
    task_id: Text = "",
    system: Text = "",
    state: Text = "",
    day: Text = "",
    before: Text = "",
) -> Response:
    """Show the runs of the DAGs that the user may read."""
    if state and state not in STATES:
        raise HTTPException(400, f"There is no state {state!r}")
    choice = Choice(dag_id=dag_id, task_id=task_id, system=system, state=state, day=_day(day))
    wanted = choice.wanted(dag_ids)
    page = history.page(wanted, before=_number(before), limit=PAGE_SIZE)
    first, last = last_days(choice.day)
    days = history.days(choice.wanted(dag_ids, first_day=first, last_day=last))
    return show(
        request,
        "runs.html",
        choice=choice,
        choices=history.choices(wanted),
        states=STATES,
        page=page,
        charts=Charts(days, first, last),
        is_first=not before,
    )


@router.get("/dags/{dag_id}/runs/{number}", response_class=HTMLResponse)
def show_run(request: Request, history: HistoryDep, dag_id: str, number: RunNumber) -> Response:
    """Show one run."""
    run = history.run(number)
    if run is None or run.task.dag_id != dag_id:
        raise HTTPException(404, "There is no such run, or it is older than the history keeps runs")
    later = history.later_with_same_rejects(run)
    return show(
        request,
        "run.html",
        run=run,
        tries=history.tries(run.task),
        later=later,
        rejected=None if later else rejected_rows(run),
    )


@router.get("/dags/{dag_id}/try")
def find_try(
    request: Request,
    history: HistoryDep,
    dag_id: str,
    task_id: Text,
    run_id: Text,
    map_index: Small = -1,
    try_number: Small | None = None,
) -> Response:
    """Lead to the run of a try of a task: where the extra link of a task goes."""
    tries = history.tries(TaskTry(dag_id, task_id, run_id, map_index))
    if not tries:
        raise HTTPException(404, "The history has no run of this task")
    run = next((run for run in tries if run.task.try_number == try_number), tries[0])
    return RedirectResponse(str(request.url_for("show_run", dag_id=dag_id, number=run.id).path), 303)


def _day(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text) if text else None
    except ValueError:
        raise HTTPException(400, f"{text!r} is no day: give one such as 2026-11-20") from None


def _number(text: str) -> int | None:
    if text and not (text.isascii() and text.isdigit() and len(text) < 19):
        raise HTTPException(400, f"{text!r} is no number of a run")
    return int(text) if text else None


# What is said where nothing can be shown


def _refused(request: Request, error: Any) -> Response:
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"detail": error.detail}, error.status_code, headers=error.headers)
    if error.status_code == 401:
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(
            f"{airflow_root(request)}/api/v2/auth/login?{urlencode({'next': asked})}", 303
        )
    words = {403: "You may not read the reports of this DAG."}
    return show(request, "message.html", error.status_code, text=words.get(error.status_code, error.detail))


def _not_understood(request: Request, error: Exception) -> Response:
    return show(request, "message.html", 400, text="This address is not understood.")


def _no_history(request: Request, error: Exception) -> Response:
    if isinstance(error, NoHistoryError):
        return show(request, "no_history.html")
    return show(request, "message.html", 503, text=str(error))
