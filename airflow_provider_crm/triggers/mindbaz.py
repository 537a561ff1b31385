"""What sensors ask Mindbaz."""

from __future__ import annotations

from airflow_provider_crm.hooks.mindbaz.hook import By, MindbazHook
from airflow_provider_crm.schemas.mindbaz.write import ID, STATUS
from airflow_provider_crm.triggers.base.questions import Question, Reply


class SubscriberQuestion(Question[MindbazHook], frozen=True, kw_only=True):
    """Is there a subscriber, in one of these states?

    :param value: e-mail or client id, as ``by`` says.
    :param statuses: codes of field 7 as texts; none accepts all.
    """

    hook_class = MindbazHook

    value: str
    by: By = "Email"
    statuses: list[str] = []

    def ask(self, hook: MindbazHook) -> Reply:
        for subscriber in hook.get_subscribers([self.value], by=self.by, field_ids=[ID, STATUS]):
            status = subscriber["fields"].get(STATUS)
            if not self.statuses or str(status) in self.statuses:
                return Reply(True, {"id": subscriber["id"], "status": status})
        return Reply(False)
