"""Answers in SPREAD that follow people: who is where, the task, and what the systems hold afterwards."""

from __future__ import annotations

from typing import Any

from airflow_provider_crm.operators.consents import CrmPropagateConsentsOperator
from airflow_provider_crm.operators.expertsender import ExpertSenderUpsertCustomersOperator
from airflow_provider_crm.operators.mindbaz import (
    MindbazUnsubscribeOperator,
    MindbazUpsertSubscribersOperator,
)
from airflow_provider_crm.sandbox.server import Sandbox
from airflow_provider_crm.sandbox.spread.consents import DEFINITIONS
from airflow_provider_crm.sandbox.spread.customers import Changes
from tests.helpers.tasks import Ended, TaskRunner

NEWSLETTER = DEFINITIONS[0]
#: ExpertSender's consent.
NUMBER = 1
CONSENTS = [{"spread": NEWSLETTER.id, "mindbaz": True, "expertsender": NUMBER}]


def address(name: str) -> str:
    return f"{name}@example.fr"


def at(minute: int) -> str:
    """A moment in SPREAD's time."""
    return f"2026-03-02 10:{minute:02}:00"


class People:
    """People in the sandbox, who change their minds."""

    def __init__(self, sandbox: Sandbox, run_task: TaskRunner) -> None:
        self.sandbox = sandbox
        self._run_task = run_task

    def add(self, name: str, *, mindbaz: int | None = 0, expertsender: str | None = "True") -> None:
        """Put somebody into SPREAD, and with these states into the others; None leaves them out there."""
        self.sandbox.spread.add_customer(address(name).upper())
        if mindbaz is not None:
            self.sandbox.mindbaz.insert({1: address(name), 7: mindbaz})
        if expertsender is not None:
            self.sandbox.expertsender.add_customer(address(name), consents={NUMBER: expertsender})

    def add_namesake(self, name: str) -> str:
        """Make another customer with the same address, and return the id."""
        spread = self.sandbox.spread
        return spread.customers.add(address(name), Changes(), at(0)).id

    def answer(self, name: str, status: str, minute: int, customer_id: str | None = None) -> None:
        """Answer SPREAD's newsletter."""
        spread = self.sandbox.spread
        who = customer_id or self.customer(name)
        spread.consents.add(who, NEWSLETTER, status, at(minute), "manualImport")

    def opt_out_of_mindbaz(self, name: str, minute: int) -> None:
        """Click on the link of an e-mail."""
        number = self.sandbox.mindbaz.subscribers.by_email(address(name))
        fields = {7: 1, 4: f"{at(minute).replace(' ', 'T')}+01:00"}
        self.sandbox.mindbaz.subscribers.update(number, fields)

    def opt_out_of_expertsender(self, name: str) -> None:
        """Refuse the consent in ExpertSender."""
        customer = self.sandbox.expertsender.customers.find("email", address(name))
        customer.consents[NUMBER] = "False"

    def opt_out_by_file(self, name: str, system: str) -> None:
        """Have a list of opt-outs carried out, whose day is the one on which that is done."""
        if system == "mindbaz":
            self._run_task(MindbazUnsubscribeOperator, [{"email": address(name)}])
        else:
            rows = [{"email": address(name), f"consents.{NUMBER}": "False"}]
            self._run_task(ExpertSenderUpsertCustomersOperator, rows, mode="Update")

    def upsert_opt_out(self, name: str) -> None:
        """Have an upsert of subscribers from a file carry an opt-out."""
        rows = [{"email": address(name), "statut": 1}]
        self._run_task(MindbazUpsertSubscribersOperator, rows, mode="update")

    def customer(self, name: str) -> str:
        """The first customer with an address."""
        customers = self.sandbox.spread.customers.values()
        return next(one.id for one in customers if one.email.lower() == address(name))

    def run(self, **parameters: Any) -> Ended:
        """Run the task; rows that are rejected fail it."""
        given: dict[str, Any] = {
            "consents": CONSENTS,
            "created_after": at(0),
            "max_rejects": 0,
            **parameters,
        }
        context = given.pop("context", {})
        return self._run_task(CrmPropagateConsentsOperator, None, context=context, **given)

    def status(self, name: str) -> int | None:
        """Mindbaz' status."""
        people = self.sandbox.records("mindbaz", "subscribers")
        return next((one["fields"][7] for one in people if one["fields"][1] == address(name)), None)

    def consent(self, name: str) -> str | None:
        """ExpertSender's consent."""
        for one in self.sandbox.records("expertsender", "customers"):
            if one["email"] == address(name):
                held = one.get("consentsData", {}).get("consents", [])
                return next((consent["value"] for consent in held if consent["id"] == NUMBER), None)
        return None

    def states(self, *names: str) -> dict[str, tuple[int | None, str | None]]:
        """What Mindbaz and ExpertSender hold."""
        return {name: (self.status(name), self.consent(name)) for name in names}
