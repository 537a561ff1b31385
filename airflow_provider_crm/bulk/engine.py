"""From a source to a report: batches side by side, their results in order, a retry that goes on where one stopped.

Knows no CRM: it is handed a destination. What becomes of the rows of one batch is :mod:`.settle`'s.
"""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from itertools import repeat
from typing import Any, Generic

from airflow_provider_crm.bulk.batches import Alike, Batch, Ended, batches
from airflow_provider_crm.bulk.checkpoint import Checkpoint, Progress
from airflow_provider_crm.bulk.opt_outs import settle_with_opt_outs
from airflow_provider_crm.bulk.outcomes import Destination, Ending, Item, Outcome, R, Step, Verdict
from airflow_provider_crm.bulk.preview import Preview
from airflow_provider_crm.bulk.report import EndedRows, Report
from airflow_provider_crm.bulk.settle import Settler
from airflow_provider_crm.bulk.snapshot import Snapshot
from airflow_provider_crm.bulk.tracing import traced
from airflow_provider_crm.rows.journal import JournalLostError
from airflow_provider_crm.rows.sources import Source

log = logging.getLogger(__name__)

#: Rows in flight at once, which bounds the memory of large batches: one of 5000 takes some 14 MB.
ROWS_IN_FLIGHT = 15_000
#: Batches that are ready for a worker, so that none waits for the source; fewer where they are large, and last longer.
BATCHES_READY = 2
#: Rows in batches that are ready, where batches are small: rows are reported in their order, and of one whose answer
#: takes ten times as long the others go on meanwhile. What is noted of each until then has to stay small.
ROWS_READY = 200
#: New objects before Python looks for reference cycles. It looks at every row in memory each time, which took a third
#: of the CPU, and rows form no cycles.
OBJECTS_PER_COLLECTION = 250_000
#: Seconds after which a thread that computes lets another one on. With Python's 0.005, answers wait to be read, and the
#: next calls to leave, for a tenth of an upsert's time.
SWITCH_INTERVAL = 0.001

_REJECTED = Ending.REJECTED
_LEFT_OUT: Mapping[str, Any] = {}


class DryRun(Generic[R]):
    """A destination that does everything but write: each step ends as it would."""

    def __init__(self, destination: Destination[R]) -> None:
        self.batch_size = destination.batch_size
        self.opt_outs = destination.opt_outs
        self.read = destination.read
        self.read_many = getattr(destination, "read_many", None)
        self.plan = destination.plan

    def apply(self, steps: Sequence[Step[R]]) -> Sequence[Verdict]:
        return [step.outcome for step in steps]


@dataclass(frozen=True, slots=True)
class _Work(Generic[R]):
    batch: Batch[R]
    locks: Sequence[str]
    digest: str
    future: Future[list[Ended]]


class BulkEngine(Generic[R]):
    """Sends every row of a source to a destination and reports how each ended.

    :param destination: one kind of write into one CRM.
    :param source: the rows.
    :param report: takes the outcomes; opened here, closed by the caller.
    :param checkpoint: where a retry goes on; None where Airflow keeps no state.
    :param may_repeat: an earlier try may have sent some of the rows, and no state tells of it.
    :param concurrency: batches at once.
    :param max_retries: how often a batch is sent again after an unknown outcome.
    :param sleep: waits some seconds; ends early when the task does.
    :param now: the time in seconds, by the clock that ``sleep`` goes by.
    :param stop: makes calls that wait give up, when the task fails.
    :param snapshot: keeps rows from being sent that were accepted before.
    :param preview: shows what a dry run would do, of a sample of the rows.
    :param span: attributes of each batch's span, where the task is traced.
    """

    def __init__(
        self,
        destination: Destination[R],
        source: Source,
        report: Report,
        checkpoint: Checkpoint | None,
        *,
        concurrency: int,
        max_retries: int,
        sleep: Callable[[float], object],
        now: Callable[[], float] = time.monotonic,
        stop: Callable[[], None],
        may_repeat: bool = False,
        snapshot: Snapshot[R] | None = None,
        preview: Preview[R] | None = None,
        span: Mapping[str, str] | None = None,
    ) -> None:
        self._destination = destination
        self._source = source
        self._report = report
        self._checkpoint = checkpoint
        self._in_flight = checkpoint.in_flight if checkpoint else None
        self._settler = Settler(
            destination, max_retries=max_retries, sleep=sleep, now=now, in_flight=self._in_flight
        )
        most = max(1, ROWS_IN_FLIGHT // destination.batch_size)
        self._workers = min(concurrency, most)
        ready = max(BATCHES_READY, ROWS_READY // destination.batch_size)
        self._most_pending = min(concurrency + ready, most)
        self._stop = stop
        self._snapshot = snapshot
        self._preview = preview
        self._span = span or {}
        self._reported: _Work[R] | None = None
        #: Whether an earlier try of the task may have sent rows that are still to be reported.
        self._retried = may_repeat
        #: Why a batch has failed: none is begun afterwards.
        self._failure: BaseException | None = None
        #: What is locked by rows in flight, and by those of which batch.
        self._locked: dict[str, int] = {}

    def run(self) -> None:
        """Process the whole source.

        :raises CrmInputError: a file to write is one of the source, or cannot be written.
        :raises CrmTransientError: the CRM cannot be reached or does not answer; a retry goes on from here.
        """
        self._report.check_apart(self._source)
        with _many_rows:
            self._run()

    def _run(self) -> None:
        stream = self._take_up()
        process = traced(self._process, self._span)
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="crm-bulk")
        pending: deque[_Work[R]] = deque()
        try:
            with closing(stream):
                for batch in stream:
                    digest = self._checkpoint.pass_by(batch) if self._checkpoint else ""
                    locks = batch.locks
                    self._make_room(pending, batch.number, locks)
                    pending.append(_Work(batch, locks, digest, pool.submit(process, batch)))
            while pending:
                self._finish(pending.popleft())
        except BaseException:
            self._stop()
            self._save()
            self._salvage(pending)
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        if self._checkpoint:
            self._checkpoint.clear()

    def _batches(self) -> Generator[Batch[R], None, None]:
        if self._snapshot is not None:
            stream = self._snapshot.batches(self._source)
        else:
            stream = batches(self._source, self._destination)
        return stream if self._preview is None else self._preview.batches(stream)

    def _make_room(self, pending: deque[_Work[R]], number: int, locks: Sequence[str]) -> None:
        """Wait until a batch may be sent: not too many before it, and none of its people among them."""
        last = max(map(self._locked.get, locks, repeat(0)), default=0)
        while pending and (len(pending) >= self._most_pending or pending[0].batch.number <= last):
            self._finish(pending.popleft())
        self._locked.update(dict.fromkeys(locks, number))

    def _process(self, batch: Batch[R]) -> list[Ended]:
        if self._failure is not None:
            raise self._failure
        try:
            return self._ended(batch)
        except BaseException as error:
            self._failure = error
            raise

    def _ended(self, batch: Batch[R]) -> list[Ended]:
        if self._retried:
            for item in batch.items:
                item.retried = True
            if self._in_flight:
                self._in_flight.recall(batch.items)
        # What has ended waits for its turn, so no more is kept of it than the report needs.
        items, batch.items = batch.items, []
        settled = self._settle(items) if items else ()
        now = time.time()
        return batch.ended + [
            Ended(
                item.row.number,
                item.key,
                item.row.data if outcome.reason or outcome.ending is _REJECTED else _LEFT_OUT,
                outcome,
                now,
                item.mark,
            )
            for item, outcome in settled
        ]

    def _settle(self, items: Sequence[Item[R]]) -> Sequence[tuple[Item[R], Outcome]]:
        opt_outs = self._destination.opt_outs
        settle = self._settler.settle
        return settle(items) if opt_outs is None else settle_with_opt_outs(settle, opt_outs, items)

    def _finish(self, work: _Work[R]) -> None:
        """Report a batch; in the order of the source, so that what is done is always the first so many."""
        while not wait((work.future,), timeout=1.0).done:
            self._report.progress(self._source)
        rows = work.future.result()
        for lock in work.locks:
            self._locked.pop(lock, None)
        self._reported = None  # until the counts are again those of whole batches
        self._add(rows, work.batch.alike)
        self._reported = work
        self._report.flush()
        self._report.progress(self._source)
        if self._checkpoint and self._checkpoint.due():
            self._save()

    def _save(self) -> None:
        work = self._reported
        if self._checkpoint and work is not None:
            sizes = self._report.sync()
            self._checkpoint.save(
                batches=work.batch.number,
                digest=work.digest,
                counts={ending.value: number for ending, number in self._report.counts.items()},
                amount=str(self._report.amount),
                reasons=self._report.reasons.told(),
                sizes=sizes,
                sync_cost=self._report.sync_cost,
            )
            self._checkpoint.in_flight.forget(self._report.ended)

    def _salvage(self, pending: deque[_Work[R]]) -> None:
        """Report what else was finished when the task fails; a retry counts it anew."""
        for work in pending:
            work.future.cancel()
        for work in pending:
            if not work.future.cancelled() and work.future.exception() is None:
                self._add(work.future.result(), work.batch.alike)
        self._report.flush()

    def _add(self, rows: Sequence[Ended], alike: Sequence[Alike]) -> None:
        self._report.add(rows, alike)
        if self._snapshot is not None:
            self._snapshot.note(rows)
        if self._preview is not None:
            self._preview.add(rows)
            for some in alike:
                self._preview.add(some.each())

    def _take_up(self) -> Generator[Batch[R], None, None]:
        """Open the report's files, where an earlier try left them if its rows are still the same.

        :return: the batches that are still to be done.
        """
        stream = self._batches()
        progress = self._checkpoint.load() if self._checkpoint else None
        if (
            progress is not None
            or (self._checkpoint is not None and self._checkpoint.is_unreadable)
            or (self._snapshot is not None and self._snapshot.unfinished)
        ):
            self._retried = True
        if self._checkpoint and progress is not None and progress.batches:
            done = EndedRows()
            if not self._same_rows(self._checkpoint, progress, stream, done):
                log.info("The source is not the one of the earlier try: starting from the first row")
            else:
                try:
                    self._report.resume(
                        progress.counts, progress.sizes, Decimal(progress.amount), progress.reasons, done
                    )
                except JournalLostError as error:
                    log.warning("%s: starting from the first row", error)
                    self._checkpoint.in_flight.have_ended(done)
                else:
                    log.info("An earlier try has done %s rows: going on after them", f"{self._report.read:,}")
                    return stream
            stream.close()
            self._checkpoint.restart()
            stream = self._batches()
        self._report.open()
        if self._checkpoint and progress is None:
            self._checkpoint.begin()  # before the first row is sent: from here on a retry may find it in the CRM
        return stream

    @staticmethod
    def _same_rows(
        checkpoint: Checkpoint, progress: Progress, stream: Generator[Batch[R], None, None], done: EndedRows
    ) -> bool:
        """Return True if the source still begins with the rows that an earlier try has done; read past them.

        :param done: takes their numbers.
        """
        for batch in stream:
            digest = checkpoint.pass_by(batch)
            for numbers in batch.numbers():
                done.add(numbers)
            if batch.number == progress.batches:
                return digest == progress.digest
        return False


class _ManyRows:
    """Lets Python look for garbage seldom, and change threads often, as long as a run of this process is on.

    Runs overlap: what the first one finds is restored by the last one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._runs == 0:
                self._thresholds, self._interval = gc.get_threshold(), sys.getswitchinterval()
                first, *others = self._thresholds
                gc.set_threshold(first and max(first, OBJECTS_PER_COLLECTION), *others)
                sys.setswitchinterval(min(self._interval, SWITCH_INTERVAL))
            self._runs += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._runs -= 1
            if self._runs == 0:
                sys.setswitchinterval(self._interval)
                gc.set_threshold(*self._thresholds)


_many_rows = _ManyRows()
