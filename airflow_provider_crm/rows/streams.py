"""The bytes of a source's file, plain or gzipped, and their lines. Knows neither formats nor rows."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, BinaryIO, Protocol

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.rows.files import Location

#: What one read asks for.
BLOCK_BYTES = 1 << 18
#: No row of a CRM is as long: what exceeds it is dropped, so that the line that is left cannot be read.
MAX_LINE_BYTES = 1 << 24

_UTF8_MARK = b"\xef\xbb\xbf"


def open_file(location: Location) -> BinaryIO:
    """Open a file of a source for reading.

    :raises CrmInputError: it is gone, or may not be read.
    """
    try:
        return location.open()
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        why = error.strerror or "no such file"
        raise CrmInputError(f"{location.name} of the source cannot be opened: {why}.") from error


class ByteStream(Protocol):
    """What a format reads from."""

    @property
    def position(self) -> int:
        """The bytes of the stored file that were read so far."""

    def read(self, size: int) -> bytes: ...

    def close(self) -> None: ...


class PlainBytes(io.RawIOBase):
    """The bytes of a file as they are."""

    def __init__(self, location: Location) -> None:
        self.position = 0
        self._opened = ExitStack()  # Python also closes, when it forgets it, what could not be opened
        self._file = self._opened.enter_context(open_file(location))

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.position += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._opened.close()
        super().close()


class GzipBytes:
    """The bytes in a gzipped file."""

    def __init__(self, location: Location) -> None:
        self._name = location.name
        self._file = PlainBytes(location)
        self._stored = io.BufferedReader(self._file, BLOCK_BYTES)
        self._unzipped = gzip.GzipFile(fileobj=self._stored)

    @property
    def position(self) -> int:
        return self._file.position

    def read(self, size: int) -> bytes:
        if not self.position and not b"\x1f\x8b".startswith(self._stored.peek(2)[:2]):
            raise CrmInputError(
                f"{self._name} is no gzip file, as its name says: let it not end in .gz if it is plain. Some stores "
                f"unpack a file when they hand it out."
            )
        try:
            data = self._unzipped.read(size)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise self._broken() from error
        if not data and not self.position:
            raise self._broken()
        return data

    def _broken(self) -> CrmInputError:
        return CrmInputError(
            f"{self._name} is cut short or damaged: its gzip data does not end. Write it again."
        )

    def close(self) -> None:
        self._unzipped.close()
        self._file.close()


def whole_lines(stream: ByteStream) -> Iterator[bytes]:
    """Cut a stream into blocks that end where a line ends; a mark of UTF-8 at its start is left out.

    A line longer than :data:`MAX_LINE_BYTES` is cut short, so that memory stays flat whatever the file is.
    """
    blocks = _blocks_of_lines(stream)
    yield next(blocks, b"").removeprefix(_UTF8_MARK)
    yield from blocks


def _blocks_of_lines(stream: ByteStream) -> Iterator[bytes]:
    kept: list[bytes] = []
    length = 0
    while chunk := stream.read(BLOCK_BYTES):
        end = chunk.rfind(b"\n") + 1
        if end:
            start = chunk.find(b"\n") if length >= MAX_LINE_BYTES else 0
            yield b"".join((*kept, chunk[start:end]))
            kept = [chunk[end:]]
            length = len(kept[0])
        elif length < MAX_LINE_BYTES:
            kept.append(chunk)
            length += len(chunk)
    if rest := b"".join(kept):
        yield rest
