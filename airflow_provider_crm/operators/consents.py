"""The Airflow task by which an answer in SPREAD follows the person into Mindbaz and ExpertSender."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Unpack

import msgspec

from airflow_provider_crm.bulk.checkpoint import fingerprint
from airflow_provider_crm.bulk.propagation import Propagation, Taker
from airflow_provider_crm.bulk.report import Report
from airflow_provider_crm.bulk.suppression import SuppressionList, by_email
from airflow_provider_crm.destinations.expertsender.answers import expertsender_taker
from airflow_provider_crm.destinations.mindbaz.answers import mindbaz_taker
from airflow_provider_crm.destinations.spread.consents import ConsentNames
from airflow_provider_crm.destinations.spread.wills import ACCEPTED, REFUSED, SpreadWills
from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.hooks.expertsender import ExpertSenderHook
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.hooks.spread.base_url import check_base_url
from airflow_provider_crm.operators.base.answers import ConsentAnswers
from airflow_provider_crm.operators.base.emptied import refuse_if_emptied
from airflow_provider_crm.operators.base.lineage import DataSet, crm_list
from airflow_provider_crm.operators.base.several import SeveralHooks
from airflow_provider_crm.operators.base.watermarks import RunStretch, Stretch, Watermark
from airflow_provider_crm.operators.base.windows import (
    SETTLING,
    Window,
    interval_of,
    local_time,
    next_start,
    zone_named,
)
from airflow_provider_crm.operators.base.writes import CrmWriteOperator, RowArguments
from airflow_provider_crm.operators.spread.base import TimeZone
from airflow_provider_crm.parameters import ConnId, Time, YesOrNo, text_or_number
from airflow_provider_crm.rows.parameter import Source as SourceParameter
from airflow_provider_crm.rows.sources import Source, open_source
from airflow_provider_crm.rows.templates import SourceField
from airflow_provider_crm.schemas.spread.cells import consent_moment, is_id

if TYPE_CHECKING:
    from airflow_provider_crm._compat import Context

TARGETS = ("mindbaz", "expertsender")


def consents_rule(name: str, value: Any) -> list[dict[str, Any]]:
    """Return which consent of SPREAD is what elsewhere.

    :raises CrmInputError: it is no such list, or two consents are to be one elsewhere: they would undo each other.
    """
    example = f"`{name}` is a list such as [{{'spread': 'newsletter', 'mindbaz': True, 'expertsender': 1}}]"
    if not isinstance(value, list | tuple) or not value or not all(isinstance(one, Mapping) for one in value):
        raise CrmInputError(example)
    read: list[dict[str, Any]] = []
    for one in value:
        if "spread" not in one or one.keys() - {"spread", *TARGETS} or not any(map(one.get, TARGETS)):
            raise CrmInputError(f"{example}; each with `spread` and one of the others at least")
        if not isinstance(one.get("mindbaz", False), bool):
            raise CrmInputError(
                f"{example}; `mindbaz` is True or False: it has one status for each subscriber"
            )
        number = one.get("expertsender")
        if number is not None and not str(number).isdecimal():
            raise CrmInputError(f"{example}; `expertsender` is the number of a consent")
        read.append(
            {
                "spread": text_or_number(f"{name}.spread", one["spread"]),
                "mindbaz": one.get("mindbaz", False),
                "expertsender": None if number is None else int(number),
            }
        )
    for what in ("spread", *TARGETS):
        given = [one[what] for one in read if one[what]]
        if len(set(given)) < len(given):
            raise CrmInputError(
                f"`{name}` names the same {what} twice: the answers to one would undo the other's"
            )
    return read


class CrmPropagateConsentsOperator(CrmWriteOperator):
    """Pass the answers that people gave in SPREAD on to Mindbaz, as statuses, and to ExpertSender, as consents.

    Refusals go first, and always. Acceptances go only with ``opt_ins=True``, and to nobody who has opted out as late or
    later in any of the systems, or at a time that a system does not tell. For each answer it is looked up what the
    person wants by now, in the whole history of all customers who share the address: the strictest last answer holds.
    So an answer that was read before, or that our own writing has caused, changes nothing, and a second run neither.

    .. seealso:: ``docs/privacy.md``.

    :param consents: ``[{"spread": id or technical name, "mindbaz": True, "expertsender": consent's id}]``; one consent
        of SPREAD may be Mindbaz' status. (templated)
    :param created_after: bound of the window of answers, as in SPREAD's exports. (templated)
    :param created_before: the other bound. (templated)
    :param incremental: go on where the last run ended, as in SPREAD's exports; needs Airflow 3.3 and exactly one outlet
        asset. (templated)
    :param opt_ins: let acceptances opt people in. (templated)
    :param timezone: the zone of SPREAD's local times. (templated)
    :param suppression_source: people who are not opted in: a source with a column ``email``, see the upserts.
        (templated)
    :param spread_conn_id: the connection. (templated)
    :param mindbaz_conn_id: the connection. (templated)
    :param expertsender_conn_id: the connection. (templated)

    Without a bound the window is the run's data interval. A row is an answer; it counts as updated where a system was
    changed, and its reason in the results file says what became of it in each.
    See :class:`~airflow_provider_crm.operators.base.writes.CrmWriteOperator` for the other parameters.
    """

    suppression_source = SourceField()
    template_fields: Sequence[str] = (
        *CrmWriteOperator.template_fields,
        "consents",
        "created_after",
        "created_before",
        "incremental",
        "opt_ins",
        "timezone",
        "suppression_source",
        "spread_conn_id",
        "mindbaz_conn_id",
        "expertsender_conn_id",
    )
    not_in_fingerprint = CrmWriteOperator.not_in_fingerprint | {"suppression_source"}

    def __init__(
        self,
        *,
        consents: Annotated[Sequence[Mapping[str, Any]], consents_rule],
        created_after: Time | None = None,
        created_before: Time | None = None,
        incremental: YesOrNo = False,
        opt_ins: YesOrNo = False,
        timezone: TimeZone = "Europe/Paris",
        suppression_source: SourceParameter | None = None,
        spread_conn_id: ConnId = SpreadHook.default_conn_name,
        mindbaz_conn_id: ConnId = MindbazHook.default_conn_name,
        expertsender_conn_id: ConnId = ExpertSenderHook.default_conn_name,
        **kwargs: Unpack[RowArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.consents: Any = consents
        self.created_after = created_after
        self.created_before = created_before
        self.incremental: Any = incremental
        self.opt_ins: Any = opt_ins
        self.timezone = timezone
        self.suppression_source = suppression_source
        self.spread_conn_id = spread_conn_id
        self.mindbaz_conn_id = mindbaz_conn_id
        self.expertsender_conn_id = expertsender_conn_id
        self._ids: dict[str, str] = {}
        self._suppression: SuppressionList[Any] | None = None
        self._answers: ConsentAnswers | None = None
        self._propagation: Propagation[Any] | None = None
        self._stretch: Stretch | None = None
        self._watermark: Watermark | None = None
        self._run_stretch = RunStretch(None, "")

    def _system(self) -> str:
        return SeveralHooks.conn_type

    def _hook(self) -> SeveralHooks:
        self._spread = SpreadHook(self.spread_conn_id, concurrency=self.concurrency)
        self._mindbaz = MindbazHook(self.mindbaz_conn_id, concurrency=self.concurrency)
        self._expertsender = ExpertSenderHook(self.expertsender_conn_id, concurrency=self.concurrency)
        hooks: list[Any] = [self._spread]
        for hook, what in ((self._mindbaz, "mindbaz"), (self._expertsender, "expertsender")):
            if any(one[what] for one in self.consents):
                hooks.append(hook)
        # A batch at a time: two customers may be one person.
        return SeveralHooks(hooks, at_once=1)

    def _run(self, context: Context, hook: Any) -> dict[str, Any]:
        summary = super()._run(context, hook)
        if self._watermark is not None and self._stretch is not None and not self.only_plan:
            self._run_stretch.set(msgspec.structs.replace(self._stretch, exported=True))
            if self._answers is not None and self._answers.newest is not None:
                self._watermark.advance(next_start(self._answers.newest, zone_named(self.timezone)))
        return summary

    def _source(self, context: Context, hook: Any) -> Source:
        check_base_url(self._spread)
        self._ids = {one["spread"]: self._id_of(one["spread"]) for one in self.consents}
        window = self._window(context, hook)
        self._suppression = self._suppressed(context)
        self._answers = ConsentAnswers(
            lambda consent, status: self._spread.iter_consents(
                consent_id=consent,
                status=status,
                created_after=window.after,
                created_before=window.before,
            ),
            consents=list(self._ids.values()),
            statuses=(REFUSED, ACCEPTED) if self.opt_ins else (REFUSED,),
            window=window,
            local_time=_local_time,
        )
        return self._answers

    def _suppressed(self, context: Context) -> SuppressionList[Any] | None:
        if self.suppression_source is None:
            return None
        suppressed = SuppressionList[Any](
            open_source(self.suppression_source), (by_email(lambda item: (item.key,)),)
        )
        refuse_if_emptied(context, suppressed.entries)
        return suppressed

    def _id_of(self, consent: str) -> str:
        """Find a consent's id by its technical name."""
        if is_id(consent):
            if self._spread.get_consent(consent) is None:
                raise CrmInputError(f"SPREAD has no consent {consent}")
            return consent
        found = ConsentNames(self._spread).ids_of(consent)
        if len(found) != 1:
            raise CrmInputError(
                f"{len(found)} consents of SPREAD have the technical name {consent!r}: give an id"
            )
        return found[0]

    def _window(self, context: Context, hook: Any) -> Window:
        zone = zone_named(self.timezone)
        given = Window.given(self.created_after, self.created_before, zone)
        if self.incremental:
            return self._since_watermark(context, hook, given)
        if given != Window():
            return given
        window = interval_of(context, zone)
        if window is None:
            raise CrmInputError(
                "The run has no data interval whose answers could be passed on: schedule the DAG with a "
                "CronDataIntervalTimetable, or give `created_after` or `created_before`"
            )
        return window

    def _since_watermark(self, context: Context, hook: Any, given: Window) -> Window:
        dag_id = getattr(context.get("dag"), "dag_id", "")
        rows = fingerprint(dag_id, self.task_id, hook.account, self.timezone, self.consents, self.opt_ins)
        self._watermark = Watermark.of(context, self.outlets, f"crm_consents.{self.task_id}.{rows}")
        self._run_stretch = RunStretch(context.get("task_state_store"), f"crm_consents_window.{rows}")
        start = self._watermark.get()
        kept = self._run_stretch.get()
        if kept is not None:
            self._stretch = kept.from_watermark(start)
        else:
            if start is None and given.after:
                start = dt.datetime.fromisoformat(given.after)
            end = (
                dt.datetime.fromisoformat(given.before)
                if given.before
                else local_time(dt.datetime.now(dt.UTC) - SETTLING, zone_named(self.timezone))
            )
            self._stretch = Stretch(start, max(end, start) if start else end)
            self._run_stretch.set(self._stretch)
        return Window.from_to(self._stretch.start, self._stretch.end)

    def _destination(self, hook: Any, source: Source) -> Propagation[Any]:
        mindbaz = frozenset(self._ids[one["spread"]] for one in self.consents if one["mindbaz"])
        expertsender = {
            self._ids[one["spread"]]: one["expertsender"] for one in self.consents if one["expertsender"]
        }
        takers: list[Taker] = []
        if mindbaz:
            takers.append(mindbaz_taker(self._mindbaz, mindbaz))
        if expertsender:
            takers.append(expertsender_taker(self._expertsender, expertsender))
        self._propagation = Propagation(
            SpreadWills(self._spread, opt_ins=self.opt_ins),
            takers,
            suppression=self._suppression,
            preview=self.only_plan,
            max_retries=hook.settings.extras.max_retries,
            sleep=hook.pause,
        )
        return self._propagation

    def _read_sets(self, rows: int) -> list[DataSet]:
        return [crm_list(self._spread.settings.base_url, "customers-consents", rows)]

    def _written_sets(self, report: Report) -> list[DataSet]:
        changed = self._propagation.changed if self._propagation else {}
        return [
            crm_list(hook.settings.base_url, resource, changed.get(system, 0))
            for system, hook, resource in (
                ("mindbaz", self._mindbaz, "subscribers"),
                ("expertsender", self._expertsender, "customers"),
            )
            if any(one[system] for one in self.consents)
        ]


def _local_time(answer: Mapping[str, Any]) -> dt.datetime | None:
    try:
        return dt.datetime.fromisoformat(consent_moment(answer.get("customerConsentCreatedAt")))
    except ValueError:
        return None
