"""No person, no key and no token is in anything that a run leaves behind, but in the files that the user asked for.

Every operator and sensor runs over people whose every value is marked, with rows that are wrong in each column, against
CRMs that quote people in their answers; then the marks are searched for.
"""

from __future__ import annotations

import datetime as dt
import inspect
import io
import json
import logging
import sqlite3
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_crm._compat import BaseOperator
from airflow_provider_crm.exceptions import CrmError
from airflow_provider_crm.operators.consents import CrmPropagateConsentsOperator
from airflow_provider_crm.operators.erasure import CrmErasePeopleOperator
from airflow_provider_crm.operators.expertsender import (
    ExpertSenderDeleteCustomersOperator,
    ExpertSenderExportCustomersOperator,
    ExpertSenderUpsertCustomersOperator,
)
from airflow_provider_crm.operators.mindbaz import (
    MindbazExportSubscribersOperator,
    MindbazUnsubscribeOperator,
    MindbazUpsertSubscribersOperator,
)
from airflow_provider_crm.operators.spread import (
    SpreadAuditLoyaltyOperator,
    SpreadCreateConsentsOperator,
    SpreadCreditLoyaltyOperator,
    SpreadDeleteCustomersOperator,
    SpreadExportConsentsOperator,
    SpreadExportCustomersOperator,
    SpreadExportLoyaltyOperator,
    SpreadUpdateEmailsOperator,
    SpreadUpsertCustomersOperator,
)
from airflow_provider_crm.sandbox.server import Sandbox
from airflow_provider_crm.sandbox.spread.consents import DEFINITIONS
from airflow_provider_crm.sensors.expertsender import ExpertSenderCustomerSensor
from airflow_provider_crm.sensors.mindbaz import MindbazSubscriberSensor
from airflow_provider_crm.sensors.spread import (
    SpreadConsentSensor,
    SpreadCustomerSensor,
    SpreadLoyaltyBalanceSensor,
)
from tests.helpers.instances import Instance
from tests.helpers.marked import EMAIL, IP, KEY, MARK, MARKS, NAME, PHONE, QUOTE, SECRET, Left
from tests.helpers.public import tasks

NEWSLETTER = DEFINITIONS[0]


@dataclass(frozen=True)
class Job:
    """A task, and the rows of one person; others are wrong in one column each."""

    task: type[Any]
    row: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    files: Sequence[str] = ("rejects_path", "results_path")

    def rows(self) -> list[dict[str, Any]]:
        rows = [dict(self.row)]
        for number, column in enumerate(self.row):
            other = {
                name: f"{MARK}{number}@{MARK}.example" if "@" in str(value) else value
                for name, value in self.row.items()
            }
            rows.append({**other, column: f"{MARK} {column} {EMAIL} {PHONE}"})
            rows.append({**other, column: {"other": EMAIL}})
        return [*rows, dict(self.row)]


#: Exports take one file.
ONE_FILE = ("path", "rejects_path")
PEOPLE = {"email": EMAIL}
JOBS = [
    Job(
        SpreadUpsertCustomersOperator,
        {
            "email": EMAIL,
            "externalId": f"{MARK}-id",
            "lastName": NAME,
            "mobile": PHONE,
            "birthday": "1970-12-31",
            "country": "FR",
            "tags": f"{MARK}-vip",
            "custom_fields": {"34567": f"{MARK}-sport"},
        },
    ),
    Job(
        SpreadUpsertCustomersOperator,
        {"externalId": f"{MARK}-id", "lastName": NAME},
        {"match_by": "externalId"},
    ),
    Job(
        SpreadCreateConsentsOperator,
        {
            "email": EMAIL,
            "consent_id": NEWSLETTER.id,
            "status": "refused",
            "created_at": "2026-01-01 10:00:00",
            "ip": IP,
        },
    ),
    Job(SpreadUpdateEmailsOperator, {"old_email": EMAIL, "new_email": f"{MARK}-new@{MARK}.example"}),
    Job(SpreadDeleteCustomersOperator, {"email": EMAIL, "id": ""}),
    Job(SpreadCreditLoyaltyOperator, {"credit_key": KEY, "email": EMAIL, "amount": 5}, {"settle_seconds": 0}),
    Job(SpreadAuditLoyaltyOperator, parameters={"settle_seconds": 0}, files=("report_path",)),
    Job(SpreadExportCustomersOperator, parameters={"window": "all"}, files=ONE_FILE),
    Job(SpreadExportLoyaltyOperator, parameters={"window": "all"}, files=ONE_FILE),
    Job(SpreadExportConsentsOperator, parameters={"window": "all", "consent_id": "all"}, files=ONE_FILE),
    Job(
        MindbazUpsertSubscribersOperator,
        {"email": EMAIL, "client_id": f"{MARK}-id", "nom": NAME, "statut": 0, "naissance": "1970-12-31"},
        {"field_map": {"email": 1, "client_id": 2, "nom": 14, "statut": 7, "naissance": 17}},
    ),
    Job(MindbazUpsertSubscribersOperator, {"IdClient": f"{MARK}-id", "nom": NAME}, {"match_by": "IdClient"}),
    Job(MindbazUnsubscribeOperator, PEOPLE),
    Job(MindbazExportSubscribersOperator, PEOPLE, files=(*ONE_FILE, "absent_path")),
    Job(
        ExpertSenderUpsertCustomersOperator,
        {
            "email": EMAIL,
            "phone": PHONE,
            "crmId": f"{MARK}-crm",
            "firstName": NAME,
            "dateOfBirth": "1970-12-31",
            "customAttributes": {"Miasto": f"{MARK}-city"},
            "consents.1": "True",
        },
    ),
    Job(ExpertSenderDeleteCustomersOperator, {"phone": PHONE}, {"by": "phone"}),
    Job(ExpertSenderDeleteCustomersOperator, PEOPLE, {"with_anonymization": True}),
    Job(ExpertSenderExportCustomersOperator, PEOPLE, files=(*ONE_FILE, "absent_path")),
    Job(
        CrmErasePeopleOperator,
        {"email": EMAIL, "id": "", "client_id": f"{MARK}-id", "crmId": f"{MARK}-crm", "phone": PHONE},
        {"settle_seconds": 0, "blank_fields": [14]},
        ("rejects_path", "results_path", "certificate_path", "suppression_path"),
    ),
    Job(
        CrmPropagateConsentsOperator,
        parameters={
            "consents": [{"spread": NEWSLETTER.id, "mindbaz": True, "expertsender": 1}],
            "created_after": "2026-01-01",
            "opt_ins": True,
        },
    ),
    Job(SpreadCustomerSensor, parameters=PEOPLE, files=()),
    Job(SpreadLoyaltyBalanceSensor, parameters={**PEOPLE, "min_amount": 1}, files=()),
    Job(
        SpreadConsentSensor,
        parameters={"consent_id": NEWSLETTER.id, "created_after": "2026-01-01"},
        files=(),
    ),
    Job(MindbazSubscriberSensor, parameters=PEOPLE, files=()),
    Job(ExpertSenderCustomerSensor, parameters={"value": PHONE, "by": "phone"}, files=()),
]
#: These files are for whoever repairs rows; certificates and suppression lists are for others too.
FOR_NOBODY = ("certificate_path", "suppression_path")

each_job = pytest.mark.parametrize(
    "job", JOBS, ids=lambda job: f"{job.task.__name__}-{'-'.join(job.row) or 'crm'}"
)


def test_every_task_is_tried() -> None:
    assert {job.task for job in JOBS} == set(tasks("operators", "sensors"))


@pytest.fixture
def crm(crm_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, no_waiting: None) -> Sandbox:
    """Three CRMs that hold the person, with credentials that are marked."""
    spread = crm_sandbox.spread
    customer = spread.add_customer(EMAIL, last_name=NAME, mobile=PHONE, external_id=f"{MARK}-id")
    spread.consents.add(customer.id, NEWSLETTER, "refused", "2026-03-02 10:00:00", "manualImport")
    crm_sandbox.mindbaz.insert({1: EMAIL, 2: f"{MARK}-id", 14: NAME})
    crm_sandbox.expertsender.add_customer(
        EMAIL, first_name=NAME, phone=PHONE, crm_id=f"{MARK}-crm", consents={1: "True"}
    )
    for name in ("spread", "mindbaz", "expertsender"):
        attribute = "private_key" if name == "spread" else "api_key"
        crm_sandbox.switch(name, **{attribute: SECRET})
    for conn_id, connection in crm_sandbox.connections().items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", connection)
    for conn_id in ("crm_ledger_default", "runs"):
        database = json.dumps({"conn_type": "sqlite", "host": str(tmp_path / f"{conn_id}.db")})
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", database)
    monkeypatch.setenv("AIRFLOW__CRM__HISTORY_CONN_ID", "runs")
    return crm_sandbox


@pytest.fixture
def left() -> Left:
    return Left()


@pytest.fixture
def run(crm: Sandbox, left: Left, tmp_path: Path) -> Callable[[Job], Any]:
    """Run a job as Airflow does, and gather what it leaves behind, whether it passes or fails.

    It returns the state that the report says, None without one.
    """

    def run(job: Job) -> Any:
        files = {name: str(tmp_path / f"{name}.jsonl") for name in job.files}
        source = {"source": job.rows()} if job.row else {}
        task = job.task(task_id="task", **source, **files, **job.parameters)
        instance = Instance()
        events: dict[Any, Any] = {}
        task.outlets = [outlet := SimpleNamespace(uri="crm://people")]
        events = {id(outlet): SimpleNamespace(extra={})}
        context: Any = {
            "ti": instance,
            "logical_date": dt.datetime(2026, 11, 20, tzinfo=dt.UTC),
            "outlet_events": _ByIdentity(events),
        }
        try:
            # A sensor looks once.
            look = getattr(type(task), "poke", None) or inspect.unwrap(type(task).execute)
            left.add("the result", look(task, context))
        except CrmError as error:
            left.add("the error", "".join(traceback.format_exception(error)))
            left.add("the error's report", error.report)
            left.add("what the error holds", [error.args, error.call])
        left.add("an XCom", instance.xcoms)
        left.add("an asset's event", [event.extra for event in events.values()])
        if issubclass(job.task, BaseOperator) and not _is_given_a_person(job):
            for name in task.template_fields:
                left.add(f"the rendered {name}", _as_shown(getattr(task, name, None)))
        for name in FOR_NOBODY:
            if name in job.files and Path(files[name]).exists():
                left.add(name, Path(files[name]).read_text())
        left.add("OpenLineage", repr(_lineage(task)))
        return instance.xcoms.get("crm_report", {}).get("state")

    return run


class _ByIdentity:
    """Finds the event of an outlet."""

    def __init__(self, events: Mapping[int, Any]) -> None:
        self._events = events

    def __getitem__(self, outlet: Any) -> Any:
        return self._events[id(outlet)]


def _is_given_a_person(job: Job) -> bool:
    """A sensor is told whom to wait for: what the user writes into the DAG is shown as they wrote it."""
    return bool(MARKS.search(str(job.parameters)))


def _as_shown(value: Any) -> Any:
    """What the web interface shows of a templated field."""
    try:
        from airflow.serialization.helpers import serialize_template_field
    except ImportError:
        return value
    return serialize_template_field(value, "field")


def _lineage(task: Any) -> Any:
    from airflow_provider_crm.operators.base.operator import CrmBaseOperator

    if not isinstance(task, CrmBaseOperator):
        return None
    pytest.importorskip("openlineage.client", reason="OpenLineage is not installed")
    return task.get_openlineage_facets_on_complete(None)


@pytest.fixture(autouse=True)
def _logs(left: Left, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Log all there is, from each logger, and search it in the end."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield
    root.setLevel(level)
    root.removeHandler(handler)
    out, err = capfd.readouterr()
    for text in (stream.getvalue(), out, err):
        left.add("the log", text)
    left.check()


def databases(left: Left, folder: Path) -> None:
    """Add all that is in the history and in the ledger, but for the credits' references, which must be found there."""
    for name in ("runs", "crm_ledger_default"):
        if (path := folder / f"{name}.db").exists():
            with closing(sqlite3.connect(path)) as database:
                if name == "crm_ledger_default":
                    database.execute("UPDATE crm_loyalty_credit SET credit_key = id")
                left.add(name, "\n".join(database.iterdump()))


@pytest.mark.slow
@each_job
def test_a_run_names_nobody(job: Job, run: Callable[[Job], Any], left: Left, tmp_path: Path) -> None:
    assert run(job) in ("success", "rejects", None), "all rows were processed"
    run(job)
    databases(left, tmp_path)


@pytest.mark.slow
@each_job
@pytest.mark.parametrize("status", [400, 409, 500])
def test_a_crm_that_quotes_people_is_not_repeated(
    job: Job, status: int, run: Callable[[Job], Any], crm: Sandbox, left: Left, tmp_path: Path
) -> None:
    kind = "error_before" if status == 500 else "answer_before"
    for method in ("POST", "PUT", "DELETE", "GET"):
        crm.fault(kind, method=method, status=status, body=QUOTE, after=1)
    run(job)
    crm.clear()
    run(job)
    databases(left, tmp_path)


@pytest.mark.slow
@each_job
def test_calls_without_an_answer_name_nobody(
    job: Job, run: Callable[[Job], Any], crm: Sandbox, left: Left, tmp_path: Path
) -> None:
    crm.fault("drop_after", after=1)
    run(job)
    crm.clear()
    crm.fault("html_before", after=1)
    run(job)
    databases(left, tmp_path)
