"""What became of the rows: counts that add up, the rejects file, the results file, progress in the log.

Knows no CRM. Nothing here puts a person's data anywhere but into the two files that the user asked for.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from airflow_provider_crm.bulk.batches import Alike, Ended
from airflow_provider_crm.bulk.outcomes import Ending, Outcome
from airflow_provider_crm.bulk.reasons import Reasons
from airflow_provider_crm.bulk.rejects import Rejects, too_many
from airflow_provider_crm.exceptions import CrmInputError, CrmRejectsError
from airflow_provider_crm.rows.files import locate
from airflow_provider_crm.rows.journal import Journal
from airflow_provider_crm.rows.sources import FileRows, Source

log = logging.getLogger(__name__)

#: Seconds between two lines of progress.
PROGRESS_EVERY = 10.0


@dataclass(frozen=True, slots=True)
class _Pace:
    """Where the counting of rows a second began: after what an earlier try had done."""

    at: float
    rows: int
    fraction: float | None


class EndedRows:
    """Up to which row all have ended.

    Beyond it whole runs of rows are kept: any number of known rows may end while one before them waits for its call.
    """

    def __init__(self) -> None:
        #: The number of the last row that has ended with all before it; 0 for none.
        self.last = 0
        #: Of each run beyond it the number after its last row, by that of its first, and the other way round.
        self._after: dict[int, int] = {}
        self._first: dict[int, int] = {}

    def __contains__(self, number: object) -> bool:
        if not isinstance(number, int):
            return False
        return number <= self.last or any(first <= number < after for first, after in self._after.items())

    def add(self, numbers: Sequence[int]) -> None:
        """Note that rows have ended, each once."""
        if numbers and max(numbers) - min(numbers) + 1 == len(numbers):  # one run, in whatever order
            self._add(min(numbers), max(numbers) + 1)
            return
        first = after = self.last + 1
        for number in numbers:
            if number == after:
                after += 1
                continue
            self._add(first, after)
            first, after = number, number + 1
        self._add(first, after)

    def _add(self, first: int, after: int) -> None:
        if first == after:
            return
        if first in self._first:
            first = self._first.pop(first)
            del self._after[first]
        if after in self._after:
            after = self._after.pop(after)
            del self._first[after]
        if first == self.last + 1:
            self.last = after - 1
        else:
            self._after[first], self._first[after] = after, first


class Report:
    """Takes each row's end, once.

    :param rejects_path: where rejected rows are written, one JSON line each; None for nowhere.
    :param reject_data: whether the rows themselves are written there too.
    :param results_path: where every row's end is written, one JSON line each; None for nowhere.
    :param dry_run: nothing is sent, which every line of the log and of the results says.
    :param erased_as: what the results call a person who was erased; None where nobody is.
    """

    def __init__(
        self,
        *,
        rejects_path: str | None = None,
        reject_data: bool = True,
        results_path: str | None = None,
        dry_run: bool = False,
        erased_as: str | None = None,
    ) -> None:
        if rejects_path and results_path and locate(rejects_path).same_as(locate(results_path)):
            raise CrmInputError("`rejects_path` and `results_path` are the same file")
        self.rejects_path = rejects_path
        self._results_path = results_path
        self.counts: Counter[Ending] = Counter()
        #: What all rows have added, where rows add something.
        self.amount = Decimal(0)
        self.reasons = Reasons()
        self._dry_run = dry_run
        self._erased_as = erased_as
        #: Whether it has gone on after an earlier try.
        self.goes_on = False
        #: The rows that were reported.
        self.ended = EndedRows()
        self._rejects = Rejects(rejects_path, with_data=reject_data, reasons=self.reasons)
        self._results = Journal(results_path) if results_path else None
        journals = {"rejects": self._rejects.journal, "results": self._results}
        self._journals = {role: journal for role, journal in journals.items() if journal}
        self._said = 0.0
        self._pace: _Pace | None = None

    @property
    def read(self) -> int:
        """Rows that have ended."""
        return self.counts.total()

    def check_apart(self, source: Source) -> None:
        """Refuse to write over the source, as a second run over a repaired rejects file would.

        :raises CrmInputError: a file to write is one that is read.
        """
        files = source.files if isinstance(source, FileRows) else ()
        for path in filter(None, (self.rejects_path, self._results_path)):
            if any(locate(path).same_as(file.location) for file in files):
                raise CrmInputError(
                    f"{path} belongs to the source and would be overwritten: give `rejects_path` and "
                    f"`results_path` other names, which the source's pattern does not match"
                )

    def open(self) -> None:
        """Create the files.

        :raises CrmInputError: one of them cannot be written.
        """
        for journal in self._journals.values():
            journal.open()

    def resume(
        self,
        counts: Mapping[str, int],
        sizes: Mapping[str, int],
        amount: Decimal,
        reasons: Iterable[Mapping[str, Any]] = (),
        done: EndedRows | None = None,
    ) -> None:
        """Go on after an earlier try: its counts, and its files cut to what belongs to them.

        :param counts: rows by their end.
        :param sizes: bytes to keep of each file, by its role, from :meth:`sync`.
        :param amount: what its rows have added.
        :param reasons: why they ended as they did, as :meth:`Reasons.told` has it.
        :param done: which they are.
        :raises JournalLostError: a file is not there any more.
        """
        try:
            for role, journal in self._journals.items():
                journal.open(resume_at=sizes.get(role, 0))
        except BaseException:
            self.close()
            raise
        self.counts = Counter({Ending(ending): number for ending, number in counts.items()})
        self.amount = amount
        self.goes_on = True
        self.reasons.take_up(reasons)
        self.ended = done or EndedRows()

    def sync(self) -> dict[str, int]:
        """Make the files durable as they stand.

        :return: their sizes in bytes, by their role.
        """
        return {role: journal.sync() for role, journal in self._journals.items()}

    @property
    def sync_cost(self) -> float:
        """Seconds the last :meth:`sync` took: an object store is given whole files."""
        return sum(journal.sync_cost for journal in self._journals.values())

    def flush(self) -> None:
        """Hand what is written to the operating system, where it outlives this process."""
        for journal in self._journals.values():
            journal.flush()

    def close(self) -> None:
        """Finish the files.

        :raises CrmFileError: one could not be written; the other is finished all the same.
        """
        with ExitStack() as closing:
            for journal in self._journals.values():
                closing.callback(journal.close)

    def add(self, rows: Sequence[Ended], alike: Iterable[Alike] = ()) -> None:
        """Note how rows have ended.

        :param alike: further ones.
        """
        for some in alike:
            self.ended.add(some.numbers)
            if not self._count(some.outcome, len(some.numbers)):
                self._add(list(some.each()))
        self.ended.add([row.number for row in rows])
        outcomes = [row.outcome for row in rows]
        if (
            not outcomes
            or outcomes.count(outcomes[0]) < len(outcomes)
            or not self._count(outcomes[0], len(outcomes))
        ):
            self._add(rows)

    def _count(self, outcome: Outcome, rows: int) -> bool:
        """Count rows that ended alike, where nothing else is to be said of them: known rows, mostly.

        :return: False where each has to be looked at.
        """
        if self._results or outcome.amount or outcome.ending is Ending.REJECTED:
            return False
        if outcome.reason and not self.reasons.add_again(outcome.ending, outcome.stage, outcome.reason, rows):
            return False
        self.counts[outcome.ending] += rows
        return True

    def _add(self, rows: Sequence[Ended]) -> None:
        self.counts.update([row.outcome.ending for row in rows])
        rejected = Ending.REJECTED
        for row in rows:
            outcome = row.outcome
            if outcome.amount:
                self.amount += outcome.amount
            if outcome.ending is rejected:
                self._rejects.add(row.number, row.key, outcome.stage, outcome.reason, row.data)
            elif outcome.reason:
                self.reasons.add(outcome.ending, outcome.stage, outcome.reason, row.key, row.data)
            if self._results:
                self._results.append(self._result_of(row))

    def _result_of(self, row: Ended) -> dict[str, Any]:
        outcome = row.outcome
        line: dict[str, Any] = {
            "row": row.number,
            "key": row.key,
            "outcome": outcome.ending.value,
            "id": outcome.crm_id,
            "reason": outcome.reason or None,
        }
        if self._erased_as:
            if outcome.ending is Ending.UPDATED:
                line["outcome"] = self._erased_as
            line["at"] = row.at and datetime.fromtimestamp(row.at, UTC).isoformat(timespec="milliseconds")
        if self._dry_run:
            line["dry_run"] = True
        return line

    def progress(self, source: Source) -> None:
        """Say in the log how far it is, every ten seconds."""
        now = time.monotonic()
        if self._pace is None:
            self._said = now
            self._pace = _Pace(now, self.read, source.fraction_read())
        elif now - self._said >= PROGRESS_EVERY:
            self._said = now
            log.info(
                "%s%s",
                "Dry run: " if self._dry_run else "",
                self._progress_line(now, source.fraction_read(), self._pace),
            )

    def _progress_line(self, now: float, fraction: float | None, since: _Pace) -> str:
        seconds = now - since.at
        rate = (self.read - since.rows) / seconds
        line = "Dry run: " if self._dry_run else ""
        line += f"{self.read:,} rows done, {rate:,.0f} rows/s, {self.counts[Ending.REJECTED]:,} rejected"
        if fraction is not None:
            line += f", {fraction:.0%} read"
            if since.fraction is not None and fraction > since.fraction:
                left = seconds * (1 - fraction) / (fraction - since.fraction)
                line += f", about {left:,.0f} s left"
        return line

    def summary(self) -> dict[str, Any]:
        """Return the counts, and where the rejects are."""
        counts: dict[str, Any] = {ending.value: self.counts[ending] for ending in Ending}
        return {"read": self.read, **counts, "rejects_path": self.rejects_path}

    @property
    def last_row(self) -> int:
        """The number of the last row that has ended with all before it; 0 for none."""
        return self.ended.last

    def check_rejects(self, most: int | float) -> None:
        """Fail when too many rows were rejected.

        :param most: a number of rows, or, as a float, a share of the rows read.
        :raises CrmRejectsError: there are more.
        """
        number = self.counts[Ending.REJECTED]
        if not too_many(number, self.read, most):
            return
        counts = ", ".join(f"{self.counts[ending]} {ending.value}" for ending in Ending)
        raise CrmRejectsError(
            f"{number} of {self.read} rows were rejected, more than max_rejects={most}: {self._rejects.where}. All "
            f"other rows were processed ({counts}). {self._rejects.most_frequent}"
        )
