"""How what people want, as one system has it, becomes what others hold: opt-outs always, opt-ins where allowed.

Knows no CRM: what people want is read, and taken, by those who do. Nothing here remembers anybody: each row makes look
what holds now, so that no order of rows, no repetition and no kill leads to another end.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol

from airflow_provider_crm.bulk.outcomes import (
    Destination,
    Ending,
    Item,
    Outcome,
    R,
    RowKey,
    Step,
    Verdict,
    rejected,
)
from airflow_provider_crm.bulk.settle import Settler
from airflow_provider_crm.bulk.suppression import SuppressionList
from airflow_provider_crm.exceptions import CrmTransientError
from airflow_provider_crm.rows.sources import Row

BATCH = 500

#: What a taker's destination says of an opt-in that it must not take: nobody is then opted in anywhere.
OPTED_OUT = Outcome(Ending.SKIPPED, "has opted out there as late or later, or nobody can tell when")


@dataclass(frozen=True, slots=True)
class Will:
    """What a person wants with regard to one consent.

    :param email: normalised.
    :param consent: which of the configured consents it is.
    :param opts_in: whether they want to be written to.
    :param at: since when.
    """

    email: str
    consent: str
    opts_in: bool
    at: dt.datetime


class Wills(Protocol[R]):
    """What people want, as it holds now."""

    def read(self, data: Mapping[str, Any]) -> tuple[RowKey, R]:
        """Read a row, see :meth:`.outcomes.Destination.read`."""

    def of(self, records: Sequence[R]) -> Sequence[Will | Outcome]:
        """Look up what the people of some rows want; an outcome where there is nothing to be passed on."""


class Taker:
    """A system that takes what people want.

    :param name: for reports.
    :param destination: takes rows of one person each; knows what the system holds, and when not to opt in.
    :param row: writes a will as a row of the destination; None where the system has no such consent.
    """

    def __init__(
        self,
        name: str,
        destination: Destination[Any],
        row: Callable[[Will], Mapping[str, Any] | None],
    ) -> None:
        self.name = name
        self.destination = destination
        self._row = row

    def items(self, wills: Mapping[int, Will]) -> list[Item[Any]]:
        """Return the items of some wills, by the number of their row."""
        items = []
        for number, will in wills.items():
            data = self._row(will)
            if data is not None:
                key, record = self.destination.read(data)
                # Whoever is not there need not be told that they are not to be written to.
                items.append(Item(Row(number, dict(data)), key.text, record, may_create=will.opts_in))
        return items


_DONE = Outcome(Ending.UPDATED)


class Propagation(Generic[R]):
    """Passes on what people want.

    :param wills: reads it.
    :param takers: take it, one after the other.
    :param suppression: people who are not opted in; None for nobody.
    :param preview: say in the plan how rows would end, for a dry run.
    :param max_retries: how often a call is sent again after an unknown outcome.
    :param sleep: waits some seconds.
    """

    batch_size = BATCH
    opt_outs: None = None

    def __init__(
        self,
        wills: Wills[R],
        takers: Sequence[Taker],
        *,
        suppression: SuppressionList[Any] | None,
        preview: bool,
        max_retries: int,
        sleep: Callable[[float], object],
    ) -> None:
        self.read = wills.read
        self._wills = wills
        self._takers = takers
        self._suppression = suppression
        self._preview = preview
        #: People whom each system was changed for.
        self.changed: Counter[str] = Counter()
        self._settlers = {
            taker.name: Settler(taker.destination, max_retries=max_retries, sleep=sleep) for taker in takers
        }

    def plan(self, items: Sequence[Item[R]]) -> list[Outcome | Step[R]]:
        wills = self._wills.of([item.record for item in items])
        ends: dict[int, Outcome] = {}
        todo: dict[int, Will] = {}
        seen: dict[tuple[str, str], int] = {}
        for item, will in zip(items, wills, strict=True):
            number = item.row.number
            if isinstance(will, Outcome):
                ends[number] = will
            elif (first := seen.setdefault((will.email, will.consent), number)) != number:
                ends[number] = Outcome(Ending.SKIPPED, f"row {first} is about the same person")
            elif will.opts_in and (said := self._suppressed(item, will)):
                ends[number] = said
            else:
                todo[number] = will
        ends |= self._held_back({number: will for number, will in todo.items() if will.opts_in})
        left = {number: will for number, will in todo.items() if number not in ends}
        expected = self._expected(left) if self._preview else {}
        return [
            ends.get(item.row.number)
            or Step(item, expected.get(item.row.number, _DONE), left[item.row.number])
            for item in items
        ]

    def _suppressed(self, item: Item[R], will: Will) -> Outcome | None:
        return self._suppression.says(Item(item.row, will.email, will)) if self._suppression else None

    def _held_back(self, opt_ins: Mapping[int, Will]) -> dict[int, Outcome]:
        """Find those who have opted out in one of the systems: they are opted in in none."""
        held_back = {}
        for number, plans in self._plans(opt_ins).items():
            systems = [name for name, plan in plans.items() if plan == OPTED_OUT]
            if systems:
                held_back[number] = Outcome(Ending.SKIPPED, f"{', '.join(systems)}: {OPTED_OUT.reason}")
        return held_back

    def _plans(self, wills: Mapping[int, Will]) -> dict[int, dict[str, Outcome | Step[Any]]]:
        """Return what each system would do, for each row."""
        plans: dict[int, dict[str, Outcome | Step[Any]]] = {number: {} for number in wills}
        for taker in self._takers:
            if items := taker.items(wills):
                for item, plan in zip(items, taker.destination.plan(items), strict=True):
                    plans[item.row.number][taker.name] = plan
        return plans

    def _expected(self, wills: Mapping[int, Will]) -> dict[int, Outcome]:
        return {
            number: together(
                {name: plan.outcome if isinstance(plan, Step) else plan for name, plan in plans.items()}
            )
            for number, plans in self._plans(wills).items()
        }

    def apply(self, steps: Sequence[Step[R]]) -> list[Verdict]:
        """Pass on to all systems, also where one of them fails: the next try looks and goes on.

        :raises CrmTransientError: one has failed.
        """
        wills = {step.item.row.number: step.payload for step in steps}
        ends: dict[int, dict[str, Outcome]] = {number: {} for number in wills}
        failed: CrmTransientError | None = None
        for taker in self._takers:
            try:
                settled = self._settlers[taker.name].settle(taker.items(wills))
            except CrmTransientError as error:
                failed = failed or error
                continue
            for item, outcome in settled:
                ends[item.row.number][taker.name] = outcome
                self.changed[taker.name] += outcome.ending in (Ending.CREATED, Ending.UPDATED)
        if failed is not None:
            raise failed
        return [together(ends[step.item.row.number]) for step in steps]


def together(ends: Mapping[str, Outcome]) -> Outcome:
    """Return the one end of those in several systems; the reason has them all."""
    said = "; ".join(
        f"{name} {outcome.ending.value}" + (f" ({outcome.reason})" if outcome.reason else "")
        for name, outcome in ends.items()
    )
    endings = {outcome.ending for outcome in ends.values()}
    if Ending.REJECTED in endings:
        return rejected("crm", said)
    if endings & {Ending.CREATED, Ending.UPDATED}:
        return Outcome(Ending.UPDATED, said)
    return Outcome(Ending.UNCHANGED if Ending.UNCHANGED in endings else Ending.SKIPPED, said)
