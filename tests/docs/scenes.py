"""The runs whose results the guides show: an operator, its rows, and who is in the sandbox before."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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

ZOE, BERT, NOBODY = "zoe@example.fr", "bert@example.fr", "nobody"
NEWSLETTER = DEFINITIONS[0]


@dataclass(frozen=True)
class Scene:
    """A run that a guide shows.

    :ivar rows: its source; None where it has none.
    :ivar before: puts people into the sandbox.
    """

    operator: type[Any]
    rows: list[dict[str, Any]] | None = None
    before: Callable[[Sandbox], object] = lambda sandbox: None
    parameters: dict[str, Any] = field(default_factory=dict)

    def run(self, sandbox: Sandbox, folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Run it; return what the task returned, and the lines of its rejects file, as if the folder were /data."""
        self.before(sandbox)
        given = {
            name: value.replace("/data", str(folder)) if isinstance(value, str) else value
            for name, value in self.parameters.items()
        }
        rejects = folder / "rejects.jsonl"
        if "rejects_path" in self.operator.template_fields:
            given.update(rejects_path=str(rejects), max_rejects=1.0)
        if self.rows is not None:
            given["source"] = self.rows
        result = self.operator(task_id="task", **given).execute({})
        lines = rejects.read_text().splitlines() if rejects.exists() else []
        shown = json.loads(json.dumps(result).replace(str(folder), "/data"))
        return shown, [json.loads(line) for line in lines]


def _answer(sandbox: Sandbox) -> None:
    customer = sandbox.spread.add_customer(ZOE)
    sandbox.spread.consents.add(customer.id, NEWSLETTER, "refused", "2026-03-02 10:00:00", "manualImport")
    sandbox.mindbaz.insert({1: ZOE, 7: 0})
    sandbox.expertsender.add_customer(ZOE, consents={1: "True"})


def _everywhere(sandbox: Sandbox) -> None:
    sandbox.spread.add_customer(ZOE)
    sandbox.mindbaz.insert({1: ZOE})
    sandbox.expertsender.add_customer(ZOE)


def _credited(sandbox: Sandbox) -> None:
    sandbox.spread.add_customer(ZOE)
    row = {"credit_key": "order-1001", "email": ZOE, "amount": 50}
    SpreadCreditLoyaltyOperator(task_id="credit", source=[row]).execute({})


SCENES = {
    "mindbaz-upsert": Scene(
        MindbazUpsertSubscribersOperator,
        [
            {"email": ZOE, "last_name": "Noël"},
            {"email": BERT, "last_name": "Petit"},
            {"email": NOBODY, "last_name": "X"},
        ],
        lambda sandbox: sandbox.mindbaz.insert({1: BERT, 14: "Martin"}),
        {"field_map": {"email": 1, "last_name": 14}},
    ),
    "mindbaz-unsubscribe": Scene(
        MindbazUnsubscribeOperator,
        [{"email": ZOE}, {"email": "gone@example.fr"}, {"email": NOBODY}],
        lambda sandbox: sandbox.mindbaz.insert({1: ZOE}),
    ),
    "mindbaz-export": Scene(
        MindbazExportSubscribersOperator,
        [{"email": ZOE}, {"email": "gone@example.fr"}],
        lambda sandbox: sandbox.mindbaz.insert({1: ZOE}),
        {"path": "/data/subscribers.jsonl", "fields": [1, 7, 43]},
    ),
    "spread-upsert": Scene(
        SpreadUpsertCustomersOperator,
        [
            {"email": ZOE, "lastName": "Noël", "country": "FR"},
            {"email": BERT, "lastName": "Petit", "country": "FR"},
            {"email": "carla@example.fr", "lastName": "Roux", "country": "XX"},
        ],
        lambda sandbox: sandbox.spread.add_customer(BERT, last_name="Petit", country="FR"),
    ),
    "spread-consents": Scene(
        SpreadCreateConsentsOperator,
        [
            {
                "email": ZOE,
                "consent_id": NEWSLETTER.id,
                "status": "accepted",
                "created_at": "2026-03-02 10:00:00",
            },
            {
                "email": ZOE,
                "consent_id": NEWSLETTER.id,
                "status": "perhaps",
                "created_at": "2026-03-02 10:00:00",
            },
        ],
        lambda sandbox: sandbox.spread.add_customer(ZOE),
    ),
    "spread-credits": Scene(
        SpreadCreditLoyaltyOperator,
        [
            {"credit_key": "order-1001", "email": ZOE, "amount": 50},
            {"credit_key": "order-1002", "email": ZOE, "amount": "12.50"},
            {"credit_key": "order-1003", "email": ZOE, "amount": 0},
        ],
        lambda sandbox: sandbox.spread.add_customer(ZOE),
    ),
    "spread-audit": Scene(
        SpreadAuditLoyaltyOperator, before=_credited, parameters={"created_after": "2026-01-01"}
    ),
    "spread-emails": Scene(
        SpreadUpdateEmailsOperator,
        [
            {"old_email": "z.noel@example.fr", "new_email": ZOE},
            {"old_email": "gone@example.fr", "new_email": BERT},
        ],
        lambda sandbox: sandbox.spread.add_customer("z.noel@example.fr"),
    ),
    "spread-deletions": Scene(
        SpreadDeleteCustomersOperator,
        [{"email": ZOE}, {"email": "gone@example.fr"}, {"email": ""}],
        lambda sandbox: sandbox.spread.add_customer(ZOE),
    ),
    "spread-export-consents": Scene(
        SpreadExportConsentsOperator,
        before=_answer,
        parameters={"path": "/data/consents.jsonl", "consent_id": "all", "window": "all"},
    ),
    "spread-export-customers": Scene(
        SpreadExportCustomersOperator,
        before=lambda sandbox: sandbox.spread.add_customer(ZOE),
        parameters={"path": "/data/customers.jsonl", "window": "all"},
    ),
    "spread-export-loyalty": Scene(
        SpreadExportLoyaltyOperator,
        before=_credited,
        parameters={"path": "/data/loyalty.csv", "window": "all"},
    ),
    "expertsender-upsert": Scene(
        ExpertSenderUpsertCustomersOperator,
        [
            {"email": ZOE, "firstName": "Zoé", "consents.1": "True"},
            {"email": BERT, "firstName": "Bert", "consents.1": "True"},
        ],
        lambda sandbox: sandbox.expertsender.add_customer(BERT, consents={1: "False"}),
    ),
    "expertsender-deletions": Scene(
        ExpertSenderDeleteCustomersOperator,
        [{"email": ZOE}, {"email": "gone@example.fr"}, {"email": NOBODY}],
        lambda sandbox: sandbox.expertsender.add_customer(ZOE),
    ),
    "expertsender-export": Scene(
        ExpertSenderExportCustomersOperator,
        [{"email": ZOE}, {"email": "gone@example.fr"}],
        lambda sandbox: sandbox.expertsender.add_customer(ZOE),
        {"path": "/data/customers.csv"},
    ),
    "consents": Scene(
        CrmPropagateConsentsOperator,
        before=_answer,
        parameters={
            "consents": [{"spread": NEWSLETTER.id, "mindbaz": True, "expertsender": 1}],
            "created_after": "2026-03-02",
            "created_before": "2026-03-03",
        },
    ),
    "erasure": Scene(
        CrmErasePeopleOperator,
        [{"email": ZOE}, {"email": "gone@example.fr"}],
        _everywhere,
        {"certificate_path": "/data/certificate.jsonl", "settle_seconds": 0},
    ),
}
