"""Where a file comes into being that is whole or absent: beside its place under another name, or in a local spool.

Knows bytes, folders and object stores; neither formats nor rows.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import tempfile
import time
from pathlib import Path
from typing import BinaryIO, Protocol

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.rows.files import LocalLocation, StoredLocation, locate

#: Seconds after which a file that a killed task left behind is removed: no task writes for longer.
LEFT_BEHIND_AFTER = 86_400.0


class Target(Protocol):
    """A place for one file. Until :meth:`commit` whatever was there stays."""

    def open(self) -> BinaryIO:
        """Begin, and find out now whether the place can be written to.

        :raises CrmInputError: it cannot.
        """

    def commit(self) -> int:
        """Put the file into its place, all at once.

        :return: its size in bytes.
        """

    def abandon(self) -> None:
        """Throw away what was written; does nothing after :meth:`commit`."""


def target_at(path: str | os.PathLike[str]) -> Target:
    """Choose how a file at this path or URI comes into being."""
    location = locate(path)
    return LocalTarget(location) if isinstance(location, LocalLocation) else StoredTarget(location)


class LocalTarget:
    """A file of this machine, written beside its place under a hidden name."""

    def __init__(self, location: LocalLocation) -> None:
        self._path = location.path
        self._part = self._path.with_name(f".{self._path.name}.{secrets.token_hex(6)}.part")
        self._file: BinaryIO | None = None

    def open(self) -> BinaryIO:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._path.is_dir():
                raise IsADirectoryError(0, "it is a folder")
            self._file = self._part.open("xb")
        except OSError as error:
            raise _refused(self._path, error) from error
        _remove_old(self._path.parent, f".{self._path.name}.", ".part")
        return self._file

    def commit(self) -> int:
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        size = os.fstat(self._file.fileno()).st_size
        self._file.close()
        os.replace(self._part, self._path)
        self._file = None
        _sync_folder(self._path.parent)
        return size

    def abandon(self) -> None:
        if self._file is not None:
            self._file.close()
            self._part.unlink(missing_ok=True)
            self._file = None


class StoredTarget:
    """An object of a store, which is given the whole file at once; until then it is a temporary file here."""

    def __init__(self, location: StoredLocation) -> None:
        self._location = location
        name = hashlib.sha256(str(location).encode()).hexdigest()[:16]
        self._prefix = f"crm-export-{name}-"
        self._file: BinaryIO | None = None
        self._spool = ""

    def open(self) -> BinaryIO:
        _remove_old(Path(tempfile.gettempdir()), self._prefix, ".part")
        self._try()
        descriptor, self._spool = tempfile.mkstemp(prefix=self._prefix, suffix=".part")
        self._file = os.fdopen(descriptor, "wb")
        return self._file

    def _try(self) -> None:
        """Write and remove an empty object beside the place: pages are fetched in vain where nothing can be put."""
        folder, _, name = str(self._location).rpartition("/")
        beside = locate(f"{folder}/.{name}.try")
        assert isinstance(beside, StoredLocation)
        try:
            with tempfile.NamedTemporaryFile(prefix="crm-export-try-") as empty:
                beside.put(empty.name)
        except (OSError, ValueError) as error:
            raise _refused(self._location, error) from error
        with contextlib.suppress(OSError):  # a store that keeps what it is given may refuse this
            beside.remove()

    def commit(self) -> int:
        assert self._file is not None
        self._file.close()
        size = os.path.getsize(self._spool)
        self._location.put(self._spool)
        self.abandon()
        return size

    def abandon(self) -> None:
        if self._file is not None:
            self._file.close()
            Path(self._spool).unlink(missing_ok=True)
            self._file = None


def _remove_old(folder: Path, start: str, end: str) -> None:
    """Remove what a task left behind that was killed too hard to do so itself."""
    before = time.time() - LEFT_BEHIND_AFTER
    for path in folder.iterdir():
        if path.name.startswith(start) and path.name.endswith(end):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < before:
                    path.unlink()


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some network file systems cannot, and need not
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _refused(place: object, error: Exception) -> CrmInputError:
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return CrmInputError(
        f"{place} cannot be written to ({why}). Check the path, and that this worker may write there."
    )
