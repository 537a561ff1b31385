"""A person's approval of what a task is about to do: a dry run, a question in Airflow, and then the run. Knows no CRM.

The question and all that is kept of it name nobody: whoever may see the DAG may see them.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Unpack

from airflow_provider_crm._compat import ask_a_person, can_ask_a_person, keep_with_run
from airflow_provider_crm.bulk.checkpoint import fingerprint
from airflow_provider_crm.bulk.outcomes import Ending
from airflow_provider_crm.bulk.prepass import Digest, look_through
from airflow_provider_crm.bulk.rejects import too_many
from airflow_provider_crm.bulk.report import Report
from airflow_provider_crm.bulk.snapshot_digests import stretched
from airflow_provider_crm.exceptions import CrmInputError, CrmNotApprovedError, redact
from airflow_provider_crm.links import REJECTS_KEY
from airflow_provider_crm.operators.base.operator import CrmBaseOperator, RunArguments
from airflow_provider_crm.operators.base.run import SAID_REASONS
from airflow_provider_crm.parameters import Approval, is_known, number
from airflow_provider_crm.rows.sources import Source

if TYPE_CHECKING:
    from airflow_provider_crm._compat import Context

log = logging.getLogger(__name__)

#: What a person may answer, in the words of Airflow's own operator for approvals.
APPROVE, REJECT = "Approve", "Reject"
#: Where the task's state keeps an approval.
KEY = "crm_approval"
#: Days for which somebody may be waited for.
LONGEST_WAIT = 30

ApprovalTimeout = Annotated[float | str, number(1, LONGEST_WAIT * 86_400)]


class ApprovalArguments(RunArguments, total=False):
    """What every operator takes that may ask a person, see :class:`CrmApprovedOperator`."""

    approval: Approval
    approval_timeout: ApprovalTimeout | None


class CrmApprovedOperator(CrmBaseOperator):
    """An operator that has a person approve what it writes, where that is wished.

    :param approval: have a person approve in Airflow what a dry run has found, before anything is sent: True for any
        source that has rows, a number of rows to be written above which they are asked, or, as a float, a share of the
        source's rows. Needs Airflow 3.1. See ``docs/approval.md``. (templated)
    :param approval_timeout: seconds after which nobody's answer is waited for any more, at most 30 days; without it,
        as long as the run of the DAG lasts. (templated)
    """

    template_fields: Sequence[str] = (*CrmBaseOperator.template_fields, "approval", "approval_timeout")
    not_in_fingerprint = CrmBaseOperator.not_in_fingerprint | {"approval", "approval_timeout"}
    #: What is done to the rows, in a word.
    deed: ClassVar[str] = "written"

    def __init__(
        self,
        *,
        approval: Approval = False,
        approval_timeout: ApprovalTimeout | None = None,
        **kwargs: Unpack[RunArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.approval: Any = approval
        self.approval_timeout: Any = approval_timeout
        if is_known(self.approval):
            self._check_that_somebody_can_be_asked()
        #: The source as it was looked through for the approval; None where nobody is to be asked.
        self._looked_through: Source | None = None
        self._answer: _Answer | None = None
        self._approved_by: str | None = None

    def _source(self, context: Context, hook: Any) -> Source:
        """Return the rows."""
        raise NotImplementedError

    def _plan(self, context: Context, hook: Any) -> tuple[Report, Mapping[str, Any]]:
        """Run a twin of the task that does everything but write, and leaves no file.

        :return: how the rows would end, and their counts.
        """
        raise NotImplementedError

    def execute_answered(
        self, context: Context, event: Mapping[str, Any], asked: Mapping[str, str]
    ) -> dict[str, Any]:
        """Go on after a person was asked, as :meth:`execute` does; Airflow calls it.

        :param event: what they have answered, or that they have not.
        :param asked: which rows and parameters it was about.
        :raises CrmNotApprovedError: they have not approved it, or it is not what they were asked about any more.
        """
        self._answer = _Answer(event, asked)
        return self._lead(context)

    def _begin(self, context: Context, hook: Any) -> dict[str, Any]:
        if self.approval is False or self.only_plan:
            return self._run(context, hook)
        self._check_that_somebody_can_be_asked()
        kept = _Kept(context.get("task_state_store"))
        if self._answer is not None and (refusal := self._answer.refusal(self.approval_timeout)):
            kept.forget()
            raise CrmNotApprovedError(refusal)
        about = self._look_through(context, hook)
        if self._answer is None:
            self._approved_by = kept.approver_of(about)
        elif self._answer.asked == about:
            self._approved_by = self._answer.by
            kept.keep(about, self._approved_by)
        else:
            kept.forget()
            same = self._answer.asked.get("parameters") == about["parameters"]
            what = "rows of the source" if same else "parameters"
            raise CrmNotApprovedError(
                f"The {what} are not those any more that {self._answer.by} has approved: nothing was sent. Clear the "
                f"task to be asked anew; of a query, let all runs of the DAG give the same rows"
            )
        if self._approved_by is None:
            self._ask_where_wished(context, hook, about)
        else:
            self.log.info("Approved by %s", self._approved_by)
        summary = self._run(context, hook)
        kept.forget()  # clearing the task is to do it, and to ask, anew
        return summary

    def _look_through(self, context: Context, hook: Any) -> dict[str, str]:
        """Read the whole source once, so that what is planned, approved and sent are the same rows.

        :return: what tells the task from another: its parameters and its rows.
        """
        parameters = fingerprint(*self._identity(hook))
        digest = Digest(stretched(hook.settings.password, parameters.encode()))
        self._looked_through = look_through(self._source(context, hook), [digest])
        return {"parameters": parameters, "rows": digest.text}

    def _ask_where_wished(self, context: Context, hook: Any, about: Mapping[str, str]) -> None:
        report, counts = self._plan(context, hook)
        written = report.counts[Ending.CREATED] + report.counts[Ending.UPDATED]
        said = f"{written:,} of {report.read:,} rows would be {self.deed} in {hook.hook_name}"
        if not (report.read if self.approval is True else too_many(written, report.read, self.approval)):
            self.log.info("Nobody has to approve it: %s", said)
            return
        self.log.info("A person is asked: %s", said)
        # For the link, which Airflow makes each time that the task lets go of its worker.
        self._push(context, REJECTS_KEY, "")
        ask_a_person(
            self,
            context["ti"],
            subject=said,
            body=self._body(hook, said, report, counts),
            options=[APPROVE, REJECT],
            timeout=timedelta(seconds=self.approval_timeout) if self.approval_timeout else None,
            method_name="execute_answered",
            kwargs={"asked": dict(about)},
        )

    def _body(self, hook: Any, said: str, report: Report, counts: Mapping[str, Any]) -> str:
        """Return the question, in Markdown. It names nobody."""
        source = self._looked_through.description if self._looked_through else "its source"
        numbers = ", ".join(
            f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}"
            for name, value in counts.items()
            if name == "amount" or (isinstance(value, int) and name not in ("requests", "retries"))
        )
        lines = [
            f"**{said}**, says a dry run of `{type(self).__name__}` through `{hook.conn_id}` on {source}. "
            f"Nothing was sent yet.",
            f"    {numbers}",
        ]
        if reasons := report.reasons.told()[:SAID_REASONS]:
            # As code: a reason may be the words of a vendor.
            told = "\n".join(f"    {one['rows']:,} {one['end']}: {one['reason']}" for one in reasons)
            lines += ["The most frequent reasons:", told]
        return "\n\n".join(lines)

    def _twin(self) -> Any:
        """Return a task as this one that only plans, and writes no file."""
        twin = copy.copy(self)
        twin.only_plan = True
        return twin

    def _account(self) -> dict[str, Any]:
        return {**super()._account(), "approved_by": self._approved_by}

    def _check_that_somebody_can_be_asked(self) -> None:
        if self.approval is not False and not can_ask_a_person():
            raise CrmInputError("`approval` needs Airflow 3.1 or later: this one cannot ask a person")


class _Answer:
    """What came of a question.

    :param event: what Airflow says of it.
    :param asked: what it was about.
    """

    def __init__(self, event: Mapping[str, Any], asked: Mapping[str, str]) -> None:
        self._event = event
        self.asked = dict(asked)
        user = event.get("responded_by_user") or {}
        #: Who has answered, as Airflow names them.
        self.by = str(user.get("name") or user.get("id") or "somebody")

    def refusal(self, waited: float | None) -> str | None:
        """Return why nothing may be sent; None where it was approved.

        :param waited: seconds that somebody had to answer.
        """
        if self._event.get("error_type") == "timeout":
            return f"Nobody has approved it within {waited or 0:,.0f} s: nothing was sent"
        if error := self._event.get("error"):
            return f"The answer cannot be used, nothing was sent: {redact(error)}"
        if list(self._event.get("chosen_options") or ()) != [APPROVE]:
            at = self._event.get("responded_at")
            when = f" at {at:%H:%M UTC on %d %B %Y}" if isinstance(at, datetime) else ""
            return f"{self.by} has refused it{when}: nothing was sent"
        return None


class _Kept:
    """An approval, where Airflow keeps something for a retry (3.3); elsewhere a retry asks again.

    :param store: the task's state; None where there is none.
    """

    def __init__(self, store: Any) -> None:
        self._store = store

    def approver_of(self, about: Mapping[str, str]) -> str | None:
        """Return who has approved these rows and parameters; None for nobody."""
        kept = self._do(lambda store: store.get(KEY))
        if not isinstance(kept, Mapping) or {**about, "by": kept.get("by")} != kept:
            return None
        return str(kept["by"])

    def keep(self, about: Mapping[str, str], by: str) -> None:
        self._do(lambda store: keep_with_run(store, KEY, {**about, "by": by}))

    def forget(self) -> None:
        self._do(lambda store: store.delete(KEY))

    def _do(self, what: Callable[[Any], Any]) -> Any:
        """Do something with the state; what fails here costs another question, never the task."""
        try:
            return None if self._store is None else what(self._store)
        except Exception as error:
            log.warning("The task's state cannot be used, another try may ask again: %s", redact(error))
            return None
