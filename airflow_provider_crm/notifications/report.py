"""The report of a run, posted to a webhook: Slack's or Teams' form by its address, plain JSON otherwise."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests

from airflow_provider_crm._compat import BaseHook, BaseNotifier, with_airflow
from airflow_provider_crm.exceptions import CrmConnectionError
from airflow_provider_crm.history.context import open_history, task_try
from airflow_provider_crm.links import REPORT_KEY

if TYPE_CHECKING:
    from airflow_provider_crm._compat import Context
    from airflow_provider_crm.history.runs import Run, TaskTry

#: Seconds to wait for a webhook, and reasons that a message names.
TIMEOUT, REASONS = 10, 5
#: Hosts of Teams' webhooks: of channels, and of workflows.
_TEAMS = ("webhook.office.com", "logic.azure.com", "powerplatform.com")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_ENDS = ("read", "rows", "created", "updated", "unchanged", "skipped", "rejected", "exported", "amount")


class CrmReportNotifier(BaseNotifier):
    """Post what a run has done to a webhook: as ``on_failure_callback`` or ``on_success_callback`` of a task or a DAG.

    With the history of runs a message is sent only when a task's state is another one than in its run before, also
    when it is well again. A DAG's callback tells of all its tasks, which needs the history.

    :param http_conn_id: connection with the webhook's address in ``host``; what of it is secret may stand in the
        password, and is put after it. https only, unless the host is this machine.
    :param on: the states that are told: ``success``, ``rejects``, ``failed``, ``stopped``, ``dry_run``, ``refused``.
    :param history_conn_id: connection of the history; Airflow's option ``[crm] history_conn_id`` otherwise.
    """

    template_fields = ()

    def __init__(
        self,
        http_conn_id: str,
        on: Collection[str] = ("rejects", "failed"),
        history_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.http_conn_id = http_conn_id
        self.on = tuple(on)
        self.history_conn_id = history_conn_id

    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:
        """Render nothing: there are no templates, and `airflow dags test` of 3.3 has a DAG that cannot render any."""

    def notify(self, context: Context) -> None:
        """Post a message, if there is something to tell.

        :raises CrmConnectionError: the connection has no address that may be called; Airflow logs it.
        """
        for message in self._messages(context):
            self._post(message)

    async def async_notify(self, context: Context) -> None:
        """Do the same without holding up the event loop."""
        await with_airflow(lambda: self.notify(context))

    # What there is to tell

    def _messages(self, context: Any) -> list[dict[str, Any]]:
        history = open_history(self.history_conn_id)
        if history is None:
            return [] if _is_of_a_dag(context) else list(self._of_task(context, None))
        with history:
            if _is_of_a_dag(context):
                return list(self._of_dag(context, history))
            return list(self._of_task(context, history))

    def _of_task(self, context: Any, history: Any) -> Iterator[dict[str, Any]]:
        task = task_try(context)
        if task is None:
            return
        report = self._report(context, task)
        previous = _state_before(history, task) if history else None
        if self._is_told(report["state"], previous):
            yield _message(task, previous, report)

    def _of_dag(self, context: Any, history: Any) -> Iterator[dict[str, Any]]:
        from airflow_provider_crm.history.runs import RunFilter

        run = context.get("dag_run")
        dag_id = context["dag"].dag_id
        run_id = getattr(run, "run_id", None) or context.get("run_id")
        seen = set()
        for found in history.page(RunFilter(dag_id=dag_id, run_id=run_id), limit=500).runs:
            if (place := (found.task.task_id, found.task.map_index)) in seen:
                continue  # an earlier try
            seen.add(place)
            previous = _state_before(history, found.task)
            if self._is_told(found.state, previous):
                yield _message(found.task, previous, _report_of(history.run(found.id)))

    def _is_told(self, state: str, previous: str | None) -> bool:
        if state == previous:
            return False
        return state in self.on or (state == "success" and previous in self.on)

    @staticmethod
    def _report(context: Any, task: TaskTry) -> dict[str, Any]:
        """Return the report of a task, and of one that failed before it had any, its state."""
        error = context.get("exception")
        report = getattr(error, "report", None)
        if report is None:
            report = context["ti"].xcom_pull(
                task_ids=task.task_id,
                key=REPORT_KEY,
                map_indexes=task.map_index if task.map_index >= 0 else None,
            )
        if report is not None:
            return dict(report)
        state = "failed" if error is not None else "success"
        said = None if error is None else {"type": type(error).__name__, "message": "see the log of the task"}
        return {"state": state, "error": said, "reasons": []}

    # How it is told

    def _post(self, message: dict[str, Any]) -> None:
        url = _address(BaseHook.get_connection(self.http_conn_id))
        host = urlsplit(url).hostname or ""
        text = _text_of(message)
        body: dict[str, Any] = {**message, "text": text}
        if host == "hooks.slack.com":
            # As its guide asks (docs.slack.dev/messaging/formatting-message-text, "Escaping text"): there `<value>`
            # would be a link, and a CRM's `<!channel>` would call everybody.
            body = {"text": escape(text, quote=False)}
        elif host.endswith(_TEAMS):
            body = _teams_card(text)
        try:
            # A redirect would carry the message to a host that nobody has named.
            answer = requests.post(url, json=body, timeout=TIMEOUT, allow_redirects=False)
        except requests.RequestException as error:  # whose words hold the address
            raise CrmConnectionError(
                f"The webhook at {host} was not reached: {type(error).__name__}"
            ) from None
        if answer.status_code >= 300:
            raise CrmConnectionError(f"The webhook at {host} answered {answer.status_code}")


def _is_of_a_dag(context: Any) -> bool:
    # Airflow may hand a DAG's callback all that one of its tasks has; only there it says why the run has ended.
    return "reason" in context


def _state_before(history: Any, task: TaskTry) -> str | None:
    """Return how the task has ended in its run before; None where nobody knows."""
    from airflow_provider_crm.history.runs import RunFilter

    wanted = RunFilter(dag_id=task.dag_id, task_id=task.task_id, map_index=task.map_index)
    for run in history.page(wanted, limit=50).runs:
        if run.task.run_id != task.run_id and run.state not in ("running", "dry_run"):
            return str(run.state)
    return None


def _report_of(run: Run) -> dict[str, Any]:
    """Return what the history has of a run, by the names of the report."""
    ends = {end: getattr(run, end, None) for end in _ENDS}
    error = run.error_type and {"type": run.error_type, "message": run.error_message}
    return {
        "system": run.system,
        "operator": run.operator,
        "state": run.state,
        **{end: number for end, number in ends.items() if number is not None and end != "rows"},
        "seconds": run.seconds,
        "started_at": run.started_at.isoformat(),
        "ended_at": run.ended_at and run.ended_at.isoformat(),
        "reasons": [dataclasses.asdict(reason) for reason in run.reasons],
        "rejects_path": run.rejects_path,
        "error": error or None,
    }


def _message(task: TaskTry, previous: str | None, report: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "dag_id": task.dag_id,
        "task_id": task.task_id,
        "run_id": task.run_id,
        "map_index": task.map_index,
        "try_number": task.try_number,
        "state": report["state"],
        "previous_state": previous,
        "report": dict(report),
    }


def _text_of(message: Mapping[str, Any]) -> str:
    report = message["report"]
    index = f"[{message['map_index']}]" if message["map_index"] >= 0 else ""
    before = f" (before: {message['previous_state']})" if message["previous_state"] else ""
    lines = [
        f"{message['dag_id']}.{message['task_id']}{index}, {message['run_id']}: {message['state']}{before}"
    ]
    numbers = ", ".join(f"{end} {report[end]}" for end in _ENDS if report.get(end) is not None)
    rejects = [one for one in report["reasons"] if one["end"] == "rejected"][:REASONS]
    lines += [numbers] if numbers else []
    lines += [f"{one['rows']} rejected: {one['reason']}" for one in rejects]
    lines += [f"{report['error']['type']}: {report['error']['message']}"] if report["error"] else []
    return "\n".join(lines)


def _teams_card(text: str) -> dict[str, Any]:
    # No TextBlock: it reads Markdown, and no way of escaping is shown the same by all of Teams' clients
    # (github.com/MicrosoftDocs/msteams-docs/issues/5793). Names would lose underscores, and what a CRM has answered
    # could be a link. A text run is shown as it is.
    lines = [
        {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": line}]}
        for line in text.splitlines()
    ]
    card = {"type": "AdaptiveCard", "version": "1.2", "body": lines}
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
    return {"type": "message", "attachments": [attachment]}


def _address(connection: Any) -> str:
    host = connection.host or ""
    if not host:
        raise CrmConnectionError(f"Connection {connection.conn_id!r}: its host is to be a webhook's address")
    url = host if "://" in host else f"{connection.schema or 'https'}://{host}"
    parts = urlsplit(url)
    if connection.port and not parts.port:
        url = parts._replace(netloc=f"{parts.netloc}:{connection.port}").geturl()
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise CrmConnectionError(
            f"Connection {connection.conn_id!r}: a webhook's address begins with https://"
        )
    if connection.password:
        url = f"{url.rstrip('/')}/{connection.password.lstrip('/')}"
    return url
