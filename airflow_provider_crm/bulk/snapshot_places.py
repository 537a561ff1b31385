"""Where a snapshot lies between two runs, a folder or an object store, and in what state it is found there."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Protocol

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.rows.files import LocalLocation, Location, locate, not_writable

log = logging.getLogger(__name__)

#: Says in a file's header that it is a snapshot of this package, laid out as below.
APPLICATION = 0x43524D31
_SQLITE = b"SQLite format 3\0"
_HEADER_BYTES = 100
#: Stands in place of a snapshot that was thrown away; in a store also of one that a run is changing, followed by the
#: run's own sign.
_IN_USE = b"This snapshot is in use by a run of its task. "


class Place(Protocol):
    """Where a snapshot lies between two runs."""

    lasts: bool
    """Whether what is written into the open file is in its place already."""

    def open(self) -> Path:
        """Return the path of a local file that holds the snapshot, if there is one."""

    def begin(self) -> None:
        """Make what lies there void for other runs: rows are about to be sent."""

    def finish(self) -> None:
        """Put the file, which is closed and whole, into its place."""

    def destroy(self) -> None:
        """Replace what lies there by a sign that this run was there, so that no later run believes it."""


class _InFolder:
    """A snapshot on this machine, or in a folder that it shares with others."""

    lasts = True

    def __init__(self, location: LocalLocation) -> None:
        self._location = location

    def open(self) -> Path:
        try:
            self._location.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise not_writable(self._location, error) from error
        return self._location.path

    def begin(self) -> None:
        pass

    def finish(self) -> None:
        pass

    def destroy(self) -> None:
        remove(self._location.path)
        with contextlib.suppress(OSError):
            self._location.path.write_bytes(_IN_USE)


class _InStore:
    """A snapshot in an object store, copied down for the run.

    While rows are sent a sign of the run lies in its place. Whoever finds another one than their own in the end has had
    company, and leaves nothing.
    """

    lasts = False

    def __init__(self, location: Location) -> None:
        self._location = location
        self._folder = tempfile.TemporaryDirectory(prefix="crm-snapshot-")  # for this user only
        self._file = Path(self._folder.name, "snapshot")
        self._sign = b""

    def open(self) -> Path:
        if self._location.is_file():
            with self._location.open() as stored, self._file.open("wb") as copy:
                shutil.copyfileobj(stored, copy, 1 << 20)
        return self._file

    def begin(self) -> None:
        if not self._sign:
            self._sign = _IN_USE + secrets.token_hex(16).encode()
            self._put(self._sign)

    def finish(self) -> None:
        if not self._sign:
            return
        if self._read() == self._sign:
            with self._file.open("rb") as copy, self._location.create() as stored:
                shutil.copyfileobj(copy, stored, 1 << 20)
        else:
            log.warning("Another run has used the snapshot %s meanwhile: it begins anew", self._location)
            self.destroy()

    def destroy(self) -> None:
        self._put(_IN_USE)

    def _put(self, content: bytes) -> None:
        with self._location.create() as file:
            file.write(content)

    def _read(self) -> bytes:
        if not self._location.is_file():
            return b""
        with self._location.open() as file:
            return file.read(len(_IN_USE) + 64)


def place_of(path: str) -> Place:
    location = locate(path)
    return _InFolder(location) if isinstance(location, LocalLocation) else _InStore(location)


def state_of(file: Path, path: str) -> str:
    """Return whether a file is a whole snapshot, a damaged one, or absent.

    :raises CrmInputError: it is something else.
    """
    try:
        with file.open("rb") as opened:
            header = opened.read(_HEADER_BYTES)
            size = os.fstat(opened.fileno()).st_size
    except FileNotFoundError:
        return "absent"
    except OSError as error:
        raise CrmInputError(f"The snapshot {path} cannot be read ({error.strerror})") from error
    if header.startswith(_IN_USE):
        log.warning(
            "The run that has used the snapshot %s last could not leave it whole: all rows are looked up",
            path,
        )
        return "damaged"
    if not size or (_SQLITE.startswith(header[:16]) and size < _HEADER_BYTES):
        return "damaged"
    if not header.startswith(_SQLITE) or int.from_bytes(header[68:72], "big") != APPLICATION:
        raise CrmInputError(f"{path} is no snapshot, and would be overwritten: give `snapshot` another path")
    page = int.from_bytes(header[16:18], "big")
    pages = int.from_bytes(header[28:32], "big")
    # A file whose last run was killed may lack pages that its log has.
    cut = size < pages * (65536 if page == 1 else page) and not _log_of(file).exists()
    return "damaged" if cut else "whole"


def _log_of(file: Path) -> Path:
    return file.with_name(file.name + "-wal")


def remove(file: Path) -> None:
    """Remove a database: first of all itself, without which its logs say nothing."""
    for path in (
        file,
        _log_of(file),
        file.with_name(file.name + "-journal"),
        file.with_name(file.name + "-shm"),
    ):
        path.unlink(missing_ok=True)
