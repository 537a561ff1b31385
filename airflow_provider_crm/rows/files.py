"""Where files are: in a local folder or in an object store, and how one is found, read, drafted and put into place.

The only module that tells the two apart; knows neither formats nor rows.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import logging
import os
import re
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from airflow_provider_crm._compat import AirflowNotFoundException, ObjectStoragePath
from airflow_provider_crm.exceptions import CrmError, CrmFileError, CrmInputError, redact
from airflow_provider_crm.rows.uploads import no_upload_left

log = logging.getLogger(__name__)

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.\-]*)://")


class Location(Protocol):
    """A file, a folder or a pattern, wherever it is. ``str()`` of it is a path that leads back to it."""

    @property
    def name(self) -> str:
        """The last part of the path."""

    def is_file(self) -> bool: ...

    def is_folder(self) -> bool: ...

    def files(self) -> list[Location]:
        """Return the files directly in this folder."""

    def matches(self) -> list[Location]:
        """Return the files that this path, read as a pattern, matches."""

    def child(self, name: str) -> Location: ...

    def same_as(self, other: Location) -> bool:
        """Return whether both are one file."""

    def size(self) -> int:
        """Return the size of this file in bytes."""

    def open(self) -> BinaryIO: ...

    def create(self) -> BinaryIO:
        """Open this file for writing, an earlier content dropped."""

    def create_folder(self) -> None: ...

    def remove(self) -> None: ...

    # A file that comes into being, whole or line by line

    def draft(self) -> BinaryIO:
        """Open a new local file that is to become this one; the names of its drafts differ in the part before the last.

        :raises OSError: nothing can be written here.
        """

    def publish(self, draft: Path) -> None:
        """Move a draft to the place of this file, all at once.

        :raises OSError: it cannot be.
        """

    def open_lines(self, *, keep: bool) -> BinaryIO:
        """Open a local file, unbuffered, that holds this one's bytes: itself, or a copy that :meth:`sync` puts here.

        :param keep: whether it keeps what is there; otherwise it is emptied, here too.
        :raises FileNotFoundError: there is nothing to keep.
        :raises OSError: nothing can be written here.
        """

    def sync(self, file: BinaryIO) -> None:
        """Make all that was written into a file of :meth:`open_lines` durable.

        :raises OSError: it cannot be.
        """


class LocalLocation:
    """A path of this machine."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        return self.path.name

    def is_file(self) -> bool:
        return self.path.is_file()

    def is_folder(self) -> bool:
        return self.path.is_dir()

    def files(self) -> list[Location]:
        return [LocalLocation(path) for path in self.path.iterdir() if path.is_file()]

    def matches(self) -> list[Location]:
        paths = map(Path, glob.glob(str(self.path), recursive=True))
        return [LocalLocation(path) for path in paths if path.is_file()]

    def child(self, name: str) -> Location:
        return LocalLocation(self.path / name)

    def same_as(self, other: Location) -> bool:
        return isinstance(other, LocalLocation) and self.path.resolve() == other.path.resolve()

    def size(self) -> int:
        return self.path.stat().st_size

    def open(self) -> BinaryIO:
        return cast(BinaryIO, self.path.open("rb", buffering=0))

    def create(self) -> BinaryIO:
        return self.path.open("wb")

    def create_folder(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def draft(self) -> BinaryIO:
        self._make_folder()
        if self.path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        return self.path.with_name(f".{self.path.name}.{secrets.token_hex(6)}.part").open("xb")

    def publish(self, draft: Path) -> None:
        os.replace(draft, self.path)
        self._sync_folder()

    def open_lines(self, *, keep: bool) -> BinaryIO:
        if keep:
            return _unbuffered(self.path, "r+b")
        self._make_folder()
        file = _unbuffered(self.path, "w+b")
        self.sync(file)
        self._sync_folder()
        return file

    def sync(self, file: BinaryIO) -> None:
        os.fsync(file.fileno())

    def _make_folder(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def _sync_folder(self) -> None:
        """Make the name of a new file durable; some network file systems cannot, and need not."""
        with contextlib.suppress(OSError):
            descriptor = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _unbuffered(path: Path, mode: str) -> BinaryIO:
    return cast(BinaryIO, open(path, mode, buffering=0, opener=_appending))


def _appending(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_APPEND, 0o666)


def _for_this_user_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class StoredLocation:
    """A path of an object store, reached through Airflow's connection for it.

    Listing goes through the file system itself, whose methods are the same in every version of Airflow.
    """

    def __init__(self, path: ObjectStoragePath, text: str = "") -> None:
        self.path = path
        # The attribute is Airflow 3.2's; before, the id is one of the storage options.
        self._conn_id = getattr(path, "conn_id", None) or path.storage_options.get("conn_id")
        try:
            self._fs: Any = path.fs
        except (ValueError, ImportError, AirflowNotFoundException) as error:
            raise CrmInputError(
                f"{path.protocol}:// cannot be opened ({error}). Install the Airflow provider that serves it, "
                f"and check the connection that the URI names."
            ) from error
        self._text = text or self._uri()

    def _uri(self) -> str:
        uri: str = self._fs.unstrip_protocol(self.path.path)
        return uri.replace("://", f"://{self._conn_id}@", 1) if self._conn_id else uri

    def __str__(self) -> str:
        return self._text

    @property
    def name(self) -> str:
        return self.path.path.rstrip("/").rpartition("/")[2]

    def is_file(self) -> bool:
        return bool(self._fs.isfile(self.path.path))

    def is_folder(self) -> bool:
        return bool(self._fs.isdir(self.path.path))

    def files(self) -> list[Location]:
        return self._children(self._fs.ls(self.path.path, detail=False))

    def matches(self) -> list[Location]:
        return self._children(self._fs.glob(self.path.path))

    def _children(self, keys: Iterable[str]) -> list[Location]:
        return [
            StoredLocation(ObjectStoragePath(self._fs.unstrip_protocol(key), conn_id=self._conn_id))
            for key in keys
            if self._fs.isfile(key)
        ]

    def child(self, name: str) -> Location:
        text = f"{self._text.rstrip('/')}/{name}"
        return StoredLocation(ObjectStoragePath(text), text)

    def same_as(self, other: Location) -> bool:
        return isinstance(other, StoredLocation) and self._uri() == other._uri()

    def size(self) -> int:
        return int(self._fs.size(self.path.path) or 0)

    def open(self) -> BinaryIO:
        return cast(BinaryIO, self.path.open("rb"))  # type: ignore[no-untyped-call]

    def create(self) -> BinaryIO:
        return cast(BinaryIO, self.path.open("wb"))  # type: ignore[no-untyped-call]

    def create_folder(self) -> None:
        self._fs.makedirs(self.path.path, exist_ok=True)

    def remove(self) -> None:
        self._fs.rm_file(self.path.path)

    def draft(self) -> BinaryIO:
        self._try()
        digest = hashlib.sha256(str(self).encode()).hexdigest()[:16]
        draft = Path(tempfile.gettempdir(), f"crm-export-{digest}.{secrets.token_hex(6)}.part")
        return open(draft, "xb", opener=_for_this_user_only)

    def _try(self) -> None:
        """Write and remove an empty object beside this one: pages are fetched in vain where nothing can be put."""
        beside = f"{self.path.path.rpartition('/')[0]}/.{self.name}.try"
        with tempfile.NamedTemporaryFile(prefix="crm-export-try-") as empty, _failing_as_files_do():
            self._fs.put_file(empty.name, beside)
        with contextlib.suppress(OSError):  # a store that keeps what it is given may refuse this
            self._fs.rm_file(beside)

    def publish(self, draft: Path) -> None:
        self._put(draft)
        draft.unlink()

    def open_lines(self, *, keep: bool) -> BinaryIO:
        # Readable by this user only, and removed even when nobody closes it.
        file = cast(BinaryIO, tempfile.NamedTemporaryFile(prefix="crm-journal-", buffering=0))  # noqa: SIM115
        try:
            if keep:
                with _failing_as_files_do():
                    self._fs.get_file(self.path.path, file.name)
            else:
                self.sync(file)
        except BaseException:
            file.close()
            raise
        return file

    def sync(self, file: BinaryIO) -> None:
        self._put(file.name)

    def _put(self, local_path: str | Path) -> None:
        """Upload a local file as this object: whole, or not at all where the store can do so."""
        size = os.stat(local_path).st_size
        before = self._details()
        try:
            with _failing_as_files_do(), no_upload_left(self._fs, self.path.path, size):
                self._fs.put_file(str(local_path), self.path.path)
        except OSError as error:
            # A store may have taken the last part although its answer was lost: tried again, it knows no such upload.
            if before is None or (now := self._details()) in (None, before) or now.get("size") != size:
                raise
            log.warning("The store holds all of %s, although it said: %s", self, redact(error))

    def _details(self) -> Any:
        """Return what the store says of this object; nothing where it is absent, None where it does not say."""
        try:
            self._fs.invalidate_cache(self.path.path.rpartition("/")[0])
            return self._fs.info(self.path.path)
        except FileNotFoundError:
            return {}
        except Exception:  # each store has errors of its own, and some keys may write but not look
            return None


@contextlib.contextmanager
def _failing_as_files_do() -> Iterator[None]:
    """Raise the errors of a store as those of files: some stores raise classes of their own."""
    try:
        yield
    except (OSError, ValueError):
        raise
    except Exception as error:
        raise OSError(errno.EIO, redact(error) or type(error).__name__) from error


def locate(path: str | os.PathLike[str] | ObjectStoragePath) -> LocalLocation | StoredLocation:
    """Return where a path is: on this machine, ``file://`` included, or in an object store.

    :raises CrmInputError: no installed Airflow provider serves the scheme of the URI.
    """
    text = str(path)
    scheme = _SCHEME.match(text)
    if isinstance(path, ObjectStoragePath) and path.protocol not in ("", "file", "local"):
        return StoredLocation(path)
    if scheme is None:
        return LocalLocation(Path(text))
    if scheme[1].lower() in ("file", "local"):
        return LocalLocation(Path(text[scheme.end() :]))
    try:
        stored = ObjectStoragePath(text)
    except ValueError as error:  # Airflow 3.3 knows schemes that no file system has
        raise CrmInputError(f"{scheme[0]} cannot be opened: {error}.") from error
    return StoredLocation(stored, text)


#: Errors of a place that may be right another time.
_PASSING = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBUSY, errno.EMFILE, errno.ENFILE, errno.ESTALE)
)


def not_writable(place: object, error: Exception) -> CrmError:
    """Return the error of a place where nothing can be written."""
    if isinstance(error, (ConnectionError, TimeoutError)) or getattr(error, "errno", None) in _PASSING:
        return not_written(place, error)
    return CrmInputError(
        f"{place} cannot be written to ({_why(error)}). Check the path, and that this worker may write there."
    )


@contextlib.contextmanager
def writing(place: object, made_in: str | os.PathLike[str] | None = None) -> Iterator[None]:
    """Say of a failure to write what was being written.

    :param made_in: the folder that takes the bytes, where that need not be the place itself.
    :raises CrmFileError: it failed.
    """
    try:
        yield
    except OSError as error:
        raise not_written(place, error, made_in) from error


def not_written(
    place: object, error: Exception, made_in: str | os.PathLike[str] | None = None
) -> CrmFileError:
    """Return the error of :func:`writing`."""
    why = f"{_why(error)} in {made_in}" if made_in else _why(error)
    return CrmFileError(
        f"{place} could not be written ({why}). Once there is room, and the store answers, try again."
    )


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
