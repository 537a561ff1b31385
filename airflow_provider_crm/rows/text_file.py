"""What files of text have in common when they are read, whatever their lines mean."""

from __future__ import annotations

from collections.abc import Callable

from airflow_provider_crm.rows.encodings import Utf8Bytes
from airflow_provider_crm.rows.file_source import PLAIN_TEXT, TextFormat
from airflow_provider_crm.rows.files import Location
from airflow_provider_crm.rows.streams import ByteStream, PlainBytes


class TextFile:
    """A file of text, plain or compressed.

    :param open_bytes: opens what is stored, and gives what is in it.
    """

    def __init__(
        self,
        location: Location,
        text_format: TextFormat = PLAIN_TEXT,
        *,
        open_bytes: Callable[[Location], ByteStream] = PlainBytes,
    ) -> None:
        self.location = location
        self.size = location.size()
        self._format = text_format
        self._open_bytes = open_bytes
        self._columns: list[str] | None = None
        self._reading: ByteStream | None = None

    def _open(self) -> ByteStream:
        return Utf8Bytes(self._open_bytes(self.location), self.location.name, self._format.encoding)

    def fraction_read(self) -> float:
        """Return how far the reading is, from 0 to 1."""
        return min(1.0, self._reading.position / max(1, self.size)) if self._reading else 0.0
