"""A file that is whole or absent: it comes into being under another name, and takes its place at once.

Knows bytes; where the file is, in a folder or in an object store, is known to its location.
"""

from __future__ import annotations

import contextlib
import os
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from airflow_provider_crm.rows.files import Location, locate, not_writable, writing

#: Seconds after which a file that a killed task left behind is removed: no task writes for longer.
LEFT_BEHIND_AFTER = 86_400.0
#: Bytes that are in memory alone, at least, before the disk is given them.
GIVEN_AT_ONCE = 4_000_000


class Target:
    """A place for one file. Until :meth:`commit` whatever was there stays."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._file: BinaryIO | None = None
        self._given = 0

    def open(self) -> BinaryIO:
        """Begin, and find out now whether the place can be written to.

        :raises CrmInputError: it cannot.
        :raises CrmFileError: it cannot now.
        """
        try:
            self._file = self._location.draft()
        except (OSError, ValueError) as error:
            raise not_writable(self._location, error) from error
        _remove_old(Path(self._file.name))
        return self._file

    def writing(self) -> AbstractContextManager[None]:
        """Write into the file that :meth:`open` gave.

        :raises CrmFileError: the disk does not take it.
        """
        assert self._file is not None
        return writing(self._location, Path(self._file.name).parent)

    def give_to_disk(self) -> None:
        """Let the disk begin with what was written so far: :meth:`commit` would wait for all of it otherwise."""
        assert self._file is not None
        size = self._file.tell() - self._given
        if size >= GIVEN_AT_ONCE and hasattr(os, "posix_fadvise"):  # which macOS has not
            # Linux begins to write pages that are said not to be needed, and drops those that are written already:
            # https://github.com/torvalds/linux/blob/v6.12/mm/fadvise.c
            with contextlib.suppress(OSError):  # it is no more than advice
                os.posix_fadvise(self._file.fileno(), self._given, size, os.POSIX_FADV_DONTNEED)
            self._given += size

    def commit(self) -> int:
        """Put the file into its place, all at once.

        :return: its size in bytes.
        :raises CrmFileError: the disk, or the store, does not take it.
        """
        assert self._file is not None
        with self.writing():
            self._file.flush()
            os.fsync(self._file.fileno())
            size = os.fstat(self._file.fileno()).st_size
            self._file.close()
        with writing(self._location):
            self._location.publish(Path(self._file.name))
        self._file = None
        return size

    def abandon(self) -> None:
        """Throw away what was written; does nothing after :meth:`commit`."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # of a full disk, which does not take what is left in memory
                self._file.close()
            Path(self._file.name).unlink(missing_ok=True)
            self._file = None


def target_at(path: str | os.PathLike[str]) -> Target:
    """Return the target of a path or URI."""
    return Target(locate(path))


def _remove_old(draft: Path) -> None:
    """Remove what a task left behind that was killed too hard to do so itself."""
    before = time.time() - LEFT_BEHIND_AFTER
    start = draft.name.rsplit(".", 2)[0] + "."
    for path in draft.parent.iterdir():
        if path.name.startswith(start) and path.name.endswith(draft.suffix):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < before:
                    path.unlink()
