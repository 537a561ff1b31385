"""From pages to one file that is whole or absent: what is written, rejected, counted and put into place.

Knows no CRM and no HTTP: pages come in encoded, in order, each row once.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_crm.bulk.rejects import Rejects, too_many
from airflow_provider_crm.exceptions import CrmListChangedError, CrmRejectsError
from airflow_provider_crm.rows.blocks import Block, Format, Writer
from airflow_provider_crm.rows.targets import Target

log = logging.getLogger(__name__)

#: Seconds between two lines of progress.
PROGRESS_EVERY = 10.0
#: How often a list that changes too fast is read.
READINGS = 3


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that is no record.

    :param position: its place in the page, from 0.
    :param data: the row as the CRM gave it.
    """

    position: int
    key: str | None
    reason: str
    data: Any


class ExportPage:
    """One page on its way into the file.

    :param keys: the own id of every row of the page.
    :param block: the encoded records, which are those rows that are neither rejected nor left out.
    :param left_out: places of rows that belong to another export.
    :param newest: the newest moment in it, where that is asked for.
    """

    def __init__(
        self,
        keys: Sequence[str],
        block: Block,
        *,
        rejects: Sequence[Reject] = (),
        left_out: Collection[int] = (),
        newest: dt.datetime | None = None,
    ) -> None:
        self.keys = keys
        self.block = block
        self.rejects = rejects
        self.newest = newest
        self._left_out = left_out

    def followed_by(self, others: Sequence[ExportPage]) -> ExportPage:
        """Return one page with the rows of all."""
        keys, rejects, left_out = list(self.keys), list(self.rejects), set(self._left_out)
        for page in others:
            rejects += [
                Reject(len(keys) + reject.position, reject.key, reject.reason, reject.data)
                for reject in page.rejects
            ]
            left_out.update(len(keys) + place for place in page._left_out)
            keys += page.keys
        return ExportPage(
            keys,
            self.block.followed_by([page.block for page in others]),
            rejects=rejects,
            left_out=left_out,
            newest=max((page.newest for page in (self, *others) if page.newest is not None), default=None),
        )

    def without(self, positions: Collection[int]) -> ExportPage:
        """Return the page without the rows at these places."""
        if not self.rejects and not self._left_out and list(positions) == list(range(len(positions))):
            # The usual case: a page begins with the last row of the one before.
            first = len(positions)
            return ExportPage(self.keys[first:], self.block.from_record(first), newest=self.newest)
        gone = set(positions)
        absent = {reject.position for reject in self.rejects} | set(self._left_out)
        present = [place for place in range(len(self.keys)) if place not in absent]
        kept = [place for place in range(len(self.keys)) if place not in gone]
        moved = {place: index for index, place in enumerate(kept)}
        return ExportPage(
            [self.keys[place] for place in kept],
            self.block.without({index for index, place in enumerate(present) if place in gone}),
            rejects=[
                Reject(moved[reject.position], reject.key, reject.reason, reject.data)
                for reject in self.rejects
                if reject.position in moved
            ],
            left_out=[moved[place] for place in self._left_out if place in moved],
            newest=self.newest,
        )


@dataclass(frozen=True, slots=True)
class Exported:
    """What became of an export.

    :param rows: records in the file.
    :param size: of the file, in bytes.
    :param newest: the newest moment among the records, where that is asked for.
    """

    rows: int
    size: int
    newest: dt.datetime | None


class Export:
    """Writes pages into a file and puts it into place when all is well.

    :param make_target: gives the place of the file, anew for each reading.
    :param max_rejects: a number of rows, or, as a float, a share of them.
    """

    def __init__(
        self,
        make_target: Callable[[], Target],
        file_format: Format,
        rejects: Rejects,
        *,
        max_rejects: int | float,
    ) -> None:
        self._make_target = make_target
        self._format = file_format
        self._rejects = rejects
        self._max_rejects = max_rejects

    def run(self, read: Callable[[], Iterable[ExportPage]]) -> Exported:
        """Export a list.

        :param read: begins to read it; called again where the list changes too fast.
        :raises CrmInputError: the file cannot be written.
        :raises CrmFileError: the disk is full, or the store does not take the file; there is none then.
        :raises CrmRejectsError: too many rows are no records; there is no file then.
        """
        for reading in range(READINGS, 0, -1):
            try:
                return self._once(read)
            except CrmListChangedError as error:
                if reading == 1:
                    raise
                log.warning("%s. Reading it all again", error)
        raise AssertionError("unreachable")

    def _once(self, read: Callable[[], Iterable[ExportPage]]) -> Exported:
        target = self._make_target()
        writer: Writer | None = None
        try:
            file = target.open()
            with target.writing():
                writer = self._format.open(file)
            self._rejects.restart()
            progress = _Progress()
            rows = read_rows = rejected = 0
            newest: dt.datetime | None = None
            for page in read():
                for reject in page.rejects:
                    number = read_rows + reject.position + 1
                    self._rejects.add(number, reject.key, "validate", reject.reason, reject.data)
                rejected += len(page.rejects)
                with target.writing():
                    writer.write(page.block)
                    target.give_to_disk()
                rows += page.block.rows
                read_rows += len(page.keys)
                if page.newest is not None and (newest is None or page.newest > newest):
                    newest = page.newest
                progress.say(rows)
            if too_many(rejected, read_rows, self._max_rejects):
                raise CrmRejectsError(
                    f"{rejected} of {read_rows} rows are not what the CRM documents, more than "
                    f"max_rejects={self._max_rejects}: {self._rejects.where}. No file was made. "
                    f"{self._rejects.most_frequent}"
                )
            with target.writing():
                writer.finish()
            self._rejects.close()  # whose failure is the export's, as long as there is no file
            return Exported(rows, target.commit(), newest)
        finally:
            if writer is not None:
                writer.abandon()
            target.abandon()
            self._rejects.close()


class _Progress:
    """Says in the log how far it is."""

    def __init__(self) -> None:
        self._started = self._said = time.monotonic()

    def say(self, rows: int) -> None:
        now = time.monotonic()
        if now - self._said >= PROGRESS_EVERY:
            self._said = now
            log.info("%s rows exported, %s rows/s", f"{rows:,}", f"{rows / (now - self._started):,.0f}")
