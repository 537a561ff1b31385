"""Who has left: people whom an earlier source held and this one does not. Knows no CRM.

They are told by the keys of a look through the whole source before anything is sent, and forgotten only when the run
has ended well: until then each run names them again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from airflow_provider_crm.bulk.rejects import too_many
from airflow_provider_crm.bulk.snapshot_digests import Digests
from airflow_provider_crm.bulk.snapshot_rows import KeyedDestination
from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.rows.jsonlines import encode_line
from airflow_provider_crm.rows.row import AnyRow, Row
from airflow_provider_crm.rows.targets import target_at

log = logging.getLogger(__name__)

#: People whose keys are kept in one go.
_TOGETHER = 1000


class NameStore(Protocol):
    """Keeps people's keys, in clear, by a number for each person."""

    def name(self, people: Iterable[tuple[int, str]]) -> None:
        """Note people of this source."""

    def count_leavers(self) -> tuple[int, int]:
        """Keep the keys of this source, and count.

        :return: people of earlier sources who are not in it, and all of earlier sources.
        """

    def leavers(self) -> Iterator[str]:
        """Return the keys of those who are not in it."""

    def forget_leavers(self) -> None:
        """Forget them and what was accepted of them: who comes back is new."""


class Leavers:
    """Finds who has left, before anything is sent; a check of :mod:`.prepass`.

    :param path: takes them as JSON lines, ``{match column: key}`` each.
    :param most: more of them than this number, or, as a float, share of the people of earlier sources, are refused.
    :param dry: only count them.
    """

    def __init__(
        self,
        store: NameStore,
        digests: Digests,
        destination: KeyedDestination[Any],
        *,
        path: str,
        most: int | float,
        dry: bool,
    ) -> None:
        self._store = store
        self._digests = digests
        self._destination = destination
        self._path = path
        self._most = most
        self._dry = dry
        self._waiting: list[tuple[int, str]] = []
        self._unreadable = 0
        self.count = 0

    def see(self, row: AnyRow) -> bool:
        if not isinstance(row, Row):
            self._unreadable += 1
            return True
        try:
            key = self._destination.key(row.data)
        except ValueError:
            return True  # it is about nobody who can be told
        self._waiting.append((self._digests.person(key), key))
        if len(self._waiting) >= _TOGETHER:
            self._hand_over()
        return True

    def _hand_over(self) -> None:
        self._store.name(self._waiting)
        self._waiting = []

    def conclude(self) -> None:
        self._hand_over()
        left, held = self._store.count_leavers()
        if self._unreadable and left:
            # Nobody knows whom such rows are about: an unclosed quote swallows any number of people.
            log.warning(
                "%s rows of the source cannot be read: nobody is taken for having left before a run can read them all",
                f"{self._unreadable:,}",
            )
            return
        if too_many(left, held, self._most):
            raise CrmInputError(
                f"{left:,} of {held:,} people of earlier sources are not in this one, more than "
                f"max_leavers={self._most}: nothing was sent. If that is right today, raise `max_leavers`"
            )
        self.count = left

    @contextmanager
    def file(self) -> Iterator[None]:
        """Try the file's place before anything is sent, and put the leavers there when all went well."""
        if self._dry:
            yield
            return
        target = target_at(self._path)
        try:
            file = target.open()
            yield
            if self.count:
                for key in self._store.leavers():
                    file.write(encode_line({self._destination.key_column: key}))
            target.commit()
            if self.count:
                self._store.forget_leavers()
        finally:
            target.abandon()
