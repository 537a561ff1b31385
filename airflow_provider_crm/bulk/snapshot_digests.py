"""How a snapshot names people and rows: keyed digests, of no use to whoever finds it alone."""

from __future__ import annotations

import hashlib
import itertools
import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, cast

import msgspec

from airflow_provider_crm.rows.row import AnyRow, Block, Row, RowSlice, same_columns

#: Bytes of the digest of a row.
DIGEST = 12


@lru_cache(maxsize=8)
def stretched(secret: str, salt: bytes) -> bytes:
    """Return a key that is made of a secret so slowly that nobody finds a password by trying them out.

    :param salt: what the key is for.
    """
    return hashlib.scrypt(secret.encode(), salt=salt, n=2**13, r=8, p=1, dklen=32)


class Digests:
    """Keyed digests of people and rows.

    The key is made of a salt in the snapshot and of the account's secret, which is not in it: whoever finds the
    snapshot alone cannot try out whether somebody is in it.
    """

    def __init__(self, salt: bytes, secret: str) -> None:
        key = stretched(secret, salt)
        self._person = hashlib.blake2s(b"person", digest_size=8, key=key)
        self._row = hashlib.blake2s(b"row", digest_size=DIGEST, key=key)
        self._pack = msgspec.msgpack.Encoder().encode
        self._encode = msgspec.json.Encoder(enc_hook=str).encode

    def person(self, key: str) -> int:
        return self.people((key,))[0]

    def people(self, keys: Sequence[str]) -> Sequence[int]:
        """Return a number for each person."""
        copy = self._person.copy
        digests = []
        for key in keys:
            digest = copy()
            digest.update(key.encode(errors="surrogatepass"))
            digests.append(digest.digest())
        return struct.unpack(f">{len(digests)}q", b"".join(digests))

    def cells(self, rows: RowSlice) -> list[bytes]:
        """Digest rows as the source has them: two that differ in a type or in a column's name only are two."""
        if isinstance(rows, Block):
            return list(self._cells(rows.names, zip(*rows.columns, strict=True), _are_plain(rows.columns)))
        digests: list[bytes] = []
        alike = same_columns(rows)
        for columns, some in [(alike, rows)] if alike else itertools.groupby(rows, _columns_of):
            if columns is None:
                data = [row.data for row in some]
                digests += self._packed(self._row.copy(), data, _are_plain(row.values() for row in data))
            else:
                cells = [row.cells for row in cast(Iterable[Row], some)]
                digests += self._cells(columns, cells, _are_plain(cells))
        return digests

    def _cells(self, names: Sequence[str], rows: Iterable[Any], plain: bool) -> Iterator[bytes]:
        begun = self._row.copy()
        begun.update(repr(names).encode(errors="surrogatepass"))
        return self._packed(begun, rows, plain)

    def _packed(self, begun: Any, rows: Iterable[Any], plain: bool) -> Iterator[bytes]:
        """Digest rows, each a dict or its values alone, after what is digested of all of them.

        :param plain: whether all their values are; otherwise each row is looked at.
        """
        pack = self._pack
        for row in rows:
            try:
                packed = pack(row) if plain or _are_plain([_values(row)]) else _shown(row)
            except (ValueError, OverflowError):  # half a character, or a number of more than eight bytes
                packed = _shown(row)
            digest = begun.copy()
            digest.update(packed)
            yield digest.digest()

    def values(self, rows: Iterable[tuple[str, Any]]) -> list[bytes]:
        """Digest what is sent of rows, each a key and a record with its fields in whatever order."""
        copy, encode, digests = self._row.copy, self._encode, []
        ordered: list[Any] = []
        for key, record in rows:
            names = list(record)
            if names != ordered:  # those of the row before, mostly
                ordered = sorted(names)
                if names != ordered:
                    record = {name: record[name] for name in ordered}
            packed = encode((key, record))
            digest = copy()
            digest.update(packed)
            digests.append(digest.digest())
        return digests


#: What a packed row tells apart by itself; of others, such as times, it has the text alone.
_PLAIN = frozenset((str, int, float, bool, bytes, type(None)))


def _are_plain(values: Iterable[Iterable[Any]]) -> bool:
    return _PLAIN.issuperset(map(type, itertools.chain.from_iterable(values)))


def _values(row: Any) -> Iterable[Any]:
    return row.values() if isinstance(row, dict) else row


def _columns_of(row: AnyRow) -> Sequence[str] | None:
    return row.columns if isinstance(row, Row) else None


def _shown(row: Any) -> bytes:
    return repr(row).encode(errors="surrogatepass")
