"""A file of JSON lines that grows while a task runs, survives its death, and is taken up again by its retry.

Knows neither what the lines say (rejects, results) nor who writes them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from airflow_provider_crm.exceptions import CrmError
from airflow_provider_crm.rows.files import Location, locate, not_writable, writing
from airflow_provider_crm.rows.jsonlines import encode_line

# Lines wait in memory until there are so many bytes of them.
_BUFFER_BYTES = 1 << 16


class JournalLostError(CrmError):
    """The journal to go on with is gone, or is not the one that was left."""


class Journal:
    """Records appended to a file as lines of JSON.

    ``kill -9`` loses what came after the last :meth:`flush`, the loss of the machine what came after the last
    :meth:`sync`. The file ends with a whole line, unless the process died in the middle of a write: Linux ends one on
    ``kill -9`` where it has come to the end of a page. Going on at a size that :meth:`sync` gave cuts that off.

    :param path: a local path, or the URI of an object store. An object cannot grow: its lines are gathered in a
        local temporary file, and uploaded whole by :meth:`sync` and :meth:`close`.
    :param now: the time in seconds.
    """

    def __init__(self, path: str | os.PathLike[str], *, now: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._now = now
        #: How many seconds the last sync took that had something to do.
        self.sync_cost = 0.0
        self._location: Location | None = None
        self._file: BinaryIO | None = None
        self._buffer = bytearray()
        self._size = 0
        self._synced = True

    def open(self, resume_at: int | None = None) -> None:
        """Create the file now, so that a path that cannot be written to is found before anything else is done.

        A journal that is open is closed first.

        :param resume_at: a size that :meth:`sync` returned: the file keeps its first so many bytes and goes on from
            there. By default it starts empty.
        :raises CrmInputError: the path cannot be written to.
        :raises CrmFileError: it cannot be now.
        :raises JournalLostError: the file is gone, shorter, or has no end of a line there.
        """
        self.close()
        location = locate(self._path)
        try:
            file = location.open_lines(keep=resume_at is not None)
        except FileNotFoundError as error:
            raise (not_writable(location, error) if resume_at is None else _lost(location)) from error
        except (OSError, ValueError) as error:
            raise not_writable(location, error) from error
        if resume_at is not None:
            try:
                _cut(file.fileno(), resume_at, location)
            except BaseException:
                file.close()
                raise
        self._location, self._file = location, file
        self._size = resume_at or 0
        # What follows the place to go on from is gone here, but not yet in the store.
        self._synced = resume_at is None
        self._buffer.clear()

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a line. Values that JSON has no form for become text.

        :raises ValueError: the journal is not open.
        """
        if self._file is None:
            raise ValueError("The journal is not open.")
        self._buffer += encode_line(record)
        if len(self._buffer) >= _BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand all lines to the operating system, where they survive the death of this process.

        :raises CrmFileError: the disk does not take them.
        """
        if self._file is None or not self._buffer:
            return
        fd = self._file.fileno()
        with writing(self._location, Path(self._file.name).parent):
            try:
                _write_all(fd, self._buffer)
            except OSError:
                _cut_back(fd, self._size)
                raise
        self._size += len(self._buffer)
        self._buffer = bytearray()  # the old one may be in use by an error that tells where it happened
        self._synced = False

    def sync(self) -> int:
        """Make all lines durable: on the disk, or in the store, which takes the whole file if it has changed.

        :return: the size of the file in bytes, at which a later :meth:`open` can go on.
        :raises CrmFileError: the disk, or the store, does not take them.
        """
        self.flush()
        if self._file is not None and self._location is not None and not self._synced:
            started = self._now()
            with writing(self._location):
                self._location.sync(self._file)
            self.sync_cost = self._now() - started
            self._synced = True
        return self._size

    def close(self) -> None:
        """Sync, and let go of the file. Once closed it stays so.

        :raises CrmFileError: what was left in memory could not be written.
        """
        file = self._file
        if file is None:
            return
        try:
            self.sync()
        finally:
            self._file = None
            self._buffer = bytearray()
            file.close()


def _write_all(fd: int, data: bytearray) -> None:
    with memoryview(data) as rest:
        written = 0
        while written < len(rest):
            written += os.write(fd, rest[written:])


def _cut(fd: int, size: int, path: object) -> None:
    """Keep the first bytes of a file, which must end with a line."""
    if os.fstat(fd).st_size < size or (size > 0 and os.pread(fd, 1, size - 1) != b"\n"):
        raise _lost(path)
    _cut_back(fd, size)


def _cut_back(fd: int, size: int) -> None:
    os.ftruncate(fd, size)
    os.lseek(fd, size, os.SEEK_SET)


def _lost(path: object) -> JournalLostError:
    return JournalLostError(
        f"{path} is not as the earlier attempt left it: it is gone or was changed, so its lines cannot be taken up."
    )
