"""Where a retry goes on: which batches are done, bound to the very rows and parameters they came from.

Knows no CRM. The state is small, holds no personal data, and lies in Airflow's task state where there is one.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from airflow_provider_crm.bulk.batches import Batch
from airflow_provider_crm.bulk.in_flight import InFlight
from airflow_provider_crm.bulk.state import StateStore
from airflow_provider_crm.rows.jsonlines import encode_line

log = logging.getLogger(__name__)

KEY = "crm_bulk_checkpoint"
#: Seconds between two writes of the state, at least.
SAVE_EVERY = 0.5
#: Share of the time that may go into making files durable before the state is written.
SYNC_SHARE = 0.1


class Progress(msgspec.Struct, frozen=True):
    """What one try leaves to the next."""

    parameters: str
    """Fingerprint of what the task was asked to do."""
    batches: int
    """The first so many batches are done; 0 where rows may have been sent and none is reported."""
    digest: str
    """Fingerprint of the rows in them."""
    counts: dict[str, int]
    sizes: dict[str, int]
    amount: str = "0"
    reasons: list[dict[str, Any]] = []


class Checkpoint:
    """Keeps the progress of one task in its state store.

    :param store: the task's state store.
    :param parameters: fingerprint of what the task was asked to do; another one starts afresh.
    """

    def __init__(self, store: StateStore, parameters: str) -> None:
        self._store = store
        self._parameters = parameters
        self.in_flight = InFlight(store, parameters)
        self._rows = hashlib.blake2b(digest_size=16)
        self._not_before = 0.0
        #: An earlier try may have left something that cannot be read.
        self.is_unreadable = False

    def load(self) -> Progress | None:
        """Return what an earlier try left; None when there is nothing that fits."""
        try:
            value = self._store.get(KEY)
            progress = msgspec.convert(value, Progress) if value is not None else None
        except Exception as error:
            log.warning("The state of an earlier try cannot be read (%s): starting from the first row", error)
            self.is_unreadable = True
            return None
        if progress is not None and progress.parameters != self._parameters:
            log.info("The parameters are not those of the earlier try: starting from the first row")
            return None
        self.in_flight.load()
        return progress

    def pass_by(self, batch: Batch[Any]) -> str:
        """Add a batch's rows to the fingerprint of those done.

        :return: the fingerprint so far.
        """
        for item in batch.items:
            self._pass_by(item.row.number, item.row.data)
        for ended in batch.ended:
            self._pass_by(ended.number, ended.data)
        for some in batch.alike:
            self._rows.update(encode_line({"alike": [*some.numbers]}))
        return self._rows.hexdigest()

    def _pass_by(self, number: int, data: Mapping[str, Any]) -> None:
        self._rows.update(b"%d" % number)
        self._rows.update(encode_line(data))

    def restart(self) -> None:
        """Forget the rows passed by."""
        self._rows = hashlib.blake2b(digest_size=16)

    def due(self) -> bool:
        """Return whether it is time to save."""
        return time.monotonic() >= self._not_before

    def begin(self) -> None:
        """Write that a try has begun, of which nothing is done yet."""
        self._write(Progress(self._parameters, 0, "", {}, {}))

    def save(
        self,
        *,
        batches: int,
        digest: str,
        counts: dict[str, int],
        sizes: dict[str, int],
        amount: str,
        reasons: list[dict[str, Any]],
        sync_cost: float,
    ) -> None:
        """Write the progress; what fails here costs a retry some work, never the task."""
        self._write(Progress(self._parameters, batches, digest, counts, sizes, amount, reasons))
        self._not_before = time.monotonic() + max(SAVE_EVERY, sync_cost / SYNC_SHARE)

    def _write(self, progress: Progress) -> None:
        try:
            self._store.set(KEY, msgspec.to_builtins(progress))
        except Exception as error:
            log.warning("The task's state could not be written (%s); a retry would do more again", error)

    def clear(self) -> None:
        """Forget everything: the work is complete, and clearing the task is to do it anew."""
        self.in_flight.clear()
        try:
            self._store.delete(KEY)
        except Exception as error:
            log.warning("The task's state could not be deleted: %s", error)


def fingerprint(*parts: Any) -> str:
    """Condense parameters into a short text, the same for equal ones."""
    return hashlib.blake2b(encode_line({"parts": parts}), digest_size=16).hexdigest()
