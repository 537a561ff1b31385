"""The bytes of a text file as UTF-8, whatever it is stored in; a file that is no text is named for what it is."""

from __future__ import annotations

import codecs

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.rows.streams import ByteStream

_UTF8_MARK = b"\xef\xbb\xbf"
#: What a file in these begins with; no UTF-8 does. The longer marks first: one begins with the other.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_NO_TEXT = {
    b"\x1f\x8b": "gzipped, which its name does not say: let it end in .gz",
    b"PK\x03\x04": "a zip archive, as Excel's .xlsx is: save it as CSV in UTF-8",
    b"\xd0\xcf\x11\xe0": "an Excel workbook: save it as CSV in UTF-8",
    b"PAR1": "Parquet: let its name end in .parquet",
}
#: So many bytes tell what a file is.
_HEAD = 16


def is_utf8(encoding: str) -> bool:
    """Return True for any spelling of UTF-8.

    :raises LookupError: Python knows no such encoding.
    """
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")


class Utf8Bytes:
    """A stream of UTF-8 without marks at its start.

    :param name: the file's, for errors.
    :param encoding: what the file is stored in. UTF-16 and UTF-32 are told by their marks, and need not be said.
    """

    def __init__(self, stream: ByteStream, name: str, encoding: str = "utf-8") -> None:
        self._stream = stream
        self._name = name
        self._encoding = encoding
        self._begun = False
        self._decoder: codecs.IncrementalDecoder | None = None

    @property
    def position(self) -> int:
        return self._stream.position

    def read(self, size: int) -> bytes:
        data = self._read(size) if self._begun else self._begin(size)
        while self._decoder is not None:
            text = self._decode(data)
            if text or not data:
                return text
            data = self._read(size)  # half a character
        return data

    def _read(self, size: int) -> bytes:
        return self._stream.read(size)

    def _begin(self, size: int) -> bytes:
        self._begun = True
        head = b""
        while len(head) < _HEAD and (more := self._read(size)):
            head += more
        for signature, what in _NO_TEXT.items():
            if head.startswith(signature):
                raise CrmInputError(f"{self._name} is {what}.")
        if is_utf8(self._encoding):
            marked = next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)
            if marked is None:
                while head.startswith(_UTF8_MARK):  # two where a program added its own to a file that had one
                    head = head[len(_UTF8_MARK) :]
                return head or self._read(size)
            self._encoding = marked
        # What is no character of the encoding stays as bytes, so that its row alone is refused.
        self._decoder = codecs.getincrementaldecoder(self._encoding)("surrogateescape")
        return head

    def _decode(self, data: bytes) -> bytes:
        assert self._decoder is not None
        try:
            return self._decoder.decode(data, final=not data).encode(errors="surrogateescape")
        except UnicodeError as error:
            raise CrmInputError(
                f"{self._name} is not in {self._encoding}: some of its bytes are no text in it."
            ) from error

    def close(self) -> None:
        self._stream.close()
