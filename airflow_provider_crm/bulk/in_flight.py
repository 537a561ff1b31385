"""What is on its way: rows that are noted before they are sent, since no look can tell afterwards whether they were.

Knows no CRM. The notes lie in Airflow's task state, and hold no personal data.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from airflow_provider_crm.bulk.outcomes import Item
from airflow_provider_crm.bulk.state import StateStore
from airflow_provider_crm.exceptions import CrmError, CrmOutcomeUnknownError
from airflow_provider_crm.rows.jsonlines import encode_line

log = logging.getLogger(__name__)

KEY = "crm_bulk_in_flight"


class Note(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """What is noted of a row before it is sent.

    :param check: a few bits of its cells, which show that another source has another row of that number.
    :param trace: what the look before it has shown.
    """

    check: str
    trace: Any = None


class _Notes(msgspec.Struct, frozen=True):
    job: str
    rows: dict[str, Note]


class InFlight:
    """Notes the rows that are sent; safe to call from several threads.

    :param store: the task's state store.
    :param job: fingerprint of what the task was asked to do: notes of another job say nothing.
    """

    def __init__(self, store: StateStore, job: str) -> None:
        self._store = store
        self._job = job
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._rows: dict[str, Note] = {}
        #: How often rows were noted, and how many of these times the store knows of.
        self._version = self._written = 0
        self._ended: Container[int] = ()

    def load(self) -> None:
        """Read what an earlier try has noted."""
        try:
            value = self._store.get(KEY)
            notes = None if value is None else msgspec.convert(value, _Notes)
        except Exception as error:
            log.warning("What an earlier try was sending cannot be read (%s)", type(error).__name__)
            return
        if notes is not None and notes.job == self._job:
            self._rows, self._version, self._written = notes.rows, 1, 1
            if notes.rows:
                log.info(
                    "An earlier try may have sent %d rows: they are looked for before they are sent",
                    len(notes.rows),
                )

    def have_ended(self, rows: Container[int]) -> None:
        """Know rows as sent that an earlier try has brought to their end, and that are sent no more."""
        self._ended = rows

    def recall(self, items: Iterable[Item[Any]]) -> None:
        """Say of rows that are noted whether an earlier try may have sent them."""
        for item in items:
            if not item.noted:
                continue
            number = item.row.number
            note = self._rows.get(str(number))
            if note is not None and note.check == _check(item):
                item.maybe_applied, item.trace = True, note.trace
            else:
                item.maybe_applied = number in self._ended
            item.retried = item.maybe_applied

    @contextmanager
    def sending(self, item: Item[Any]) -> Iterator[None]:
        """Have a row noted before it is sent, and until it is reported or was certainly not applied."""
        number = str(item.row.number)
        self._note({number: Note(_check(item), item.trace)})
        try:
            yield
        except CrmOutcomeUnknownError:
            raise
        except CrmError:
            if not item.maybe_applied:
                with self._lock:
                    self._rows.pop(number, None)
                self._note({})
            raise

    def forget(self, ended: Container[int]) -> None:
        """Drop the notes of rows that have ended; the store learns of it with the next note."""
        with self._lock:
            self._rows = {number: note for number, note in self._rows.items() if int(number) not in ended}

    def clear(self) -> None:
        """Forget everything, in the store too."""
        if not self._written:
            return
        try:
            self._store.delete(KEY)
        except Exception as error:
            log.warning("The task's state could not be deleted: %s", error)

    def _note(self, notes: Mapping[str, Note]) -> None:
        with self._lock:
            self._rows.update(notes)
            self._version += 1
            version = self._version
        with self._turn:  # whoever comes first writes for all who wait
            if self._written >= version:
                return
            with self._lock:
                self._written = self._version
                value = msgspec.to_builtins(_Notes(self._job, self._rows))
            try:
                self._store.set(KEY, value)
            except Exception as error:
                log.warning("The task's state could not be written (%s); a retry may send rows twice", error)


def _check(item: Item[Any]) -> str:
    return hashlib.blake2b(encode_line(item.row.data), digest_size=2).hexdigest()
