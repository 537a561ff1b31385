"""Who is told what of a run: by the form of the webhook, by state, by what was before."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_crm._compat import BaseNotifier
from airflow_provider_crm.exceptions import CrmConnectionError, CrmRejectsError
from airflow_provider_crm.get_provider_info import get_provider_info
from airflow_provider_crm.history.runs import TaskTry
from airflow_provider_crm.history.store import History
from airflow_provider_crm.notifications.report import CrmReportNotifier
from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.instances import Instance

REPORT: dict[str, Any] = {
    "version": 1,
    "system": "mindbaz",
    "operator": "Operator",
    "state": "rejects",
    "read": 10,
    "created": 4,
    "rejected": 6,
    "seconds": 1.5,
    "started_at": "2026-11-20T03:00:00+00:00",
    "ended_at": "2026-11-20T03:00:02+00:00",
    "reasons": [
        {"end": "rejected", "stage": "crm", "reason": "<email> is no address", "rows": 6},
        {"end": "skipped", "stage": None, "reason": "another row", "rows": 1},
    ],
    "error": {"type": "CrmRejectsError", "message": "6 of 10 rows were rejected"},
}
SLACK = "https://hooks.slack.com/services/T/B/secret"
TEAMS = "https://acme.webhook.office.com/webhookb2/secret"
OWN = "https://alerts.example/crm"


class Task(Instance):
    """A task instance whose XComs can be read."""

    def xcom_pull(self, *, task_ids: str, key: str, map_indexes: int | None = None) -> Any:
        assert task_ids == self.task_id
        return self.xcoms.get(key)


def context(report: dict[str, Any] | None = None, **others: Any) -> dict[str, Any]:
    ti = Task()
    if report:
        ti.xcoms["crm_report"] = report
    return {"ti": ti, "task": object(), **others}


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set the webhook's address."""

    def hook(url: str, **parts: Any) -> None:
        connection = {"conn_type": "http", "host": url, **parts}
        monkeypatch.setenv("AIRFLOW_CONN_WEBHOOK", json.dumps(connection))

    hook(OWN)
    return hook


@pytest.fixture
def posted(requests_mock: Any) -> list[dict[str, Any]]:
    """What was posted."""
    bodies: list[dict[str, Any]] = []

    def take(request: Any, answer: Any) -> str:
        bodies.append(request.json())
        return "ok"

    for url in (SLACK, TEAMS, OWN):
        requests_mock.post(url, text=take)
    return bodies


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    connection = json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "history.db")})
    monkeypatch.setenv("AIRFLOW_CONN_RUNS", connection)

    def add(state: str, run_id: str, **task: Any) -> None:
        with History.at("runs") as store:
            number = store.begin(
                TaskTry("dag", task.pop("task_id", "task"), run_id, **task),
                system="mindbaz",
                operator="Operator",
                started_at=dt.datetime.now(dt.UTC),
            )
            error = None if state == "success" else REPORT["error"]
            store.end(number, REPORT | {"state": state, "error": error})

    return add


def test_plain_json(hook: Any, posted: list[dict[str, Any]]) -> None:
    CrmReportNotifier("webhook").notify(context(REPORT))
    (body,) = posted
    assert (body["dag_id"], body["task_id"], body["run_id"]) == ("dag", "task", "manual__1")
    assert (body["state"], body["previous_state"], body["report"]) == ("rejects", None, REPORT)
    assert body["text"].splitlines() == [
        "dag.task, manual__1: rejects",
        "read 10, created 4, rejected 6",
        "6 rejected: <email> is no address",
        "CrmRejectsError: 6 of 10 rows were rejected",
    ]


def test_slack(hook: Any, posted: list[dict[str, Any]]) -> None:
    hook("https://hooks.slack.com/services", password="/T/B/secret")
    CrmReportNotifier("webhook").notify(context(REPORT))
    assert set(posted[0]) == {"text"}
    assert posted[0]["text"].startswith("dag.task, manual__1: rejects\n")


def test_slack_takes_nothing_in_a_message_for_a_sign_of_its_own(
    hook: Any, posted: list[dict[str, Any]]
) -> None:
    hook("https://hooks.slack.com/services", password="/T/B/secret")
    reasons = [
        {"end": "rejected", "stage": "crm", "reason": "<value> & <!channel>", "rows": 6},
    ]
    CrmReportNotifier("webhook").notify(context({**REPORT, "reasons": reasons}))
    assert "6 rejected: &lt;value&gt; &amp; &lt;!channel&gt;\n" in posted[0]["text"]


def test_a_connection_without_an_address(hook: Any, posted: list[dict[str, Any]]) -> None:
    hook("")
    with pytest.raises(CrmConnectionError, match="its host is to be a webhook's address"):
        CrmReportNotifier("webhook").notify(context(REPORT))


def test_teams_shows_each_line_as_it_is(hook: Any, posted: list[dict[str, Any]]) -> None:
    hook(TEAMS)
    reasons = [{"end": "rejected", "stage": "crm", "reason": "[sign in](https://x.example) *now*", "rows": 6}]
    CrmReportNotifier("webhook").notify(context(REPORT | {"reasons": reasons}))
    (attachment,) = posted[0]["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    # Text blocks read Markdown; rich ones do not, and are of version 1.2.
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.2")
    assert card["body"] == [
        {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": line}]}
        for line in (
            "dag.task, manual__1: rejects",
            "read 10, created 4, rejected 6",
            "6 rejected: [sign in](https://x.example) *now*",
            "CrmRejectsError: 6 of 10 rows were rejected",
        )
    ]


@pytest.mark.parametrize("state", ["success", "stopped", "dry_run"])
def test_other_states_are_not_told(hook: Any, posted: list[dict[str, Any]], state: str) -> None:
    CrmReportNotifier("webhook").notify(context(REPORT | {"state": state}))
    assert posted == []
    CrmReportNotifier("webhook", on=(state,)).notify(context(REPORT | {"state": state}))
    assert len(posted) == 1


def test_the_error_has_the_report_too(hook: Any, posted: list[dict[str, Any]]) -> None:
    error = CrmRejectsError("6 of 10 rows were rejected")
    error.report = REPORT
    CrmReportNotifier("webhook").notify(context(exception=error))
    assert posted[0]["report"] == REPORT


def test_a_task_that_failed_before_it_had_a_report(hook: Any, posted: list[dict[str, Any]]) -> None:
    CrmReportNotifier("webhook").notify(context(exception=KeyError("Dupont")))
    assert (posted[0]["state"], posted[0]["report"]["error"]["type"]) == ("failed", "KeyError")
    assert "Dupont" not in json.dumps(posted)


def test_a_message_a_change_of_state(hook: Any, posted: list[dict[str, Any]], history: Any) -> None:
    notifier = CrmReportNotifier("webhook", history_conn_id="runs")
    history("success", "manual__0")
    notifier.notify(context(REPORT))
    assert (posted[0]["state"], posted[0]["previous_state"]) == ("rejects", "success")
    history("rejects", "manual__0b")
    notifier.notify(context(REPORT))
    assert len(posted) == 1
    notifier.notify(context(REPORT | {"state": "success", "error": None}))
    assert (posted[1]["state"], posted[1]["previous_state"]) == ("success", "rejects")
    history("success", "manual__0c")
    notifier.notify(context(REPORT | {"state": "success", "error": None}))
    assert len(posted) == 2


def test_a_dag_tells_of_all_its_tasks(hook: Any, posted: list[dict[str, Any]], history: Any) -> None:
    history("rejects", "r1", task_id="a")
    history("success", "r1", task_id="b")
    history("failed", "r1", task_id="c")
    history("success", "r1", task_id="c", try_number=2)
    dag = {"dag": SimpleNamespace(dag_id="dag"), "run_id": "r1", "reason": "task_failure"}
    CrmReportNotifier("webhook", history_conn_id="runs").notify(dag)  # type: ignore[arg-type]
    assert [(one["task_id"], one["state"]) for one in posted] == [("a", "rejects")]
    assert posted[0]["report"]["rejected"] == 6
    assert posted[0]["report"]["reasons"][0]["rows"] == 6
    CrmReportNotifier("webhook").notify(dag)  # type: ignore[arg-type]
    assert len(posted) == 1


def test_it_is_callable_and_asynchronous(hook: Any, posted: list[dict[str, Any]]) -> None:
    notifier = CrmReportNotifier("webhook")
    assert isinstance(notifier, BaseNotifier)
    assert tuple(notifier.template_fields) == ()
    notifier(context(REPORT))
    asyncio.run(notifier.async_notify(context(REPORT)))  # type: ignore[arg-type]
    assert len(posted) == 2


@pytest.mark.parametrize("answer", [{"status_code": 302, "headers": {"Location": OWN}}, {"status_code": 500}])
def test_an_answer_that_is_none(hook: Any, requests_mock: Any, answer: dict[str, Any]) -> None:
    hook("https://hooks.slack.com/services", password="T/B/secret")
    requests_mock.post(SLACK, **answer)
    with pytest.raises(CrmConnectionError) as caught:
        CrmReportNotifier("webhook").notify(context(REPORT))
    assert "secret" not in str(caught.value)
    assert requests_mock.call_count == 1


def test_a_webhook_is_called_by_https_only(
    hook: Any, posted: list[dict[str, Any]], requests_mock: Any
) -> None:
    hook("http://alerts.example/crm")
    with pytest.raises(CrmConnectionError, match="https"):
        CrmReportNotifier("webhook").notify(context(REPORT))
    hook("127.0.0.1", schema="http", port=8080)
    here = requests_mock.post("http://127.0.0.1:8080")
    CrmReportNotifier("webhook").notify(context(REPORT))
    assert here.called


def test_airflow_knows_it() -> None:
    name = f"{CrmReportNotifier.__module__}.{CrmReportNotifier.__name__}"
    assert get_provider_info()["notifications"] == [name]


DAG = """
from datetime import datetime
from airflow_provider_crm.notifications.report import CrmReportNotifier
from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator
try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG

of_task = CrmReportNotifier("webhook", on=("rejects",))
of_dag = CrmReportNotifier("webhook", on=("rejects",))
with DAG("told", start_date=datetime(2024, 1, 1), schedule=None, on_failure_callback=of_dag):
    MindbazUpsertSubscribersOperator(
        task_id="upsert", source=[{"1": "nobody"}], on_failure_callback=of_task, on_success_callback=of_task
    )
"""


@pytest.mark.system
def test_callbacks_in_a_real_airflow(crm_sandbox: Sandbox, run_dag: Any, tmp_path: Path) -> None:
    """The task's callback, and the DAG's, which looks into the history and finds the task's state there."""
    import http.server
    import threading

    bodies = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    path = tmp_path / "told.py"
    path.write_text(DAG)
    env = {
        **crm_sandbox.environ(),
        "AIRFLOW_CONN_WEBHOOK": json.dumps(
            {"conn_type": "http", "host": f"http://127.0.0.1:{server.server_port}/crm"}
        ),
        "AIRFLOW_CONN_RUNS": json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "history.db")}),
        "AIRFLOW__CRM__HISTORY_CONN_ID": "runs",
    }
    run = run_dag(path, env=env)
    server.shutdown()
    server.server_close()
    assert run["state"] == "failed", run["log"]
    assert [(one["task_id"], one["state"]) for one in bodies] == [("upsert", "rejects")] * 2, run["log"]
    assert [one["report"]["rejected"] for one in bodies] == [1, 1]
    assert MindbazUpsertSubscribersOperator.__name__ == bodies[0]["report"]["operator"]
