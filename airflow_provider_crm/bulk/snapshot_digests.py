"""How a snapshot names people and rows: keyed digests, of no use to whoever finds it alone."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

import msgspec

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
        self._person = hashlib.blake2b(b"person", digest_size=8, key=key)
        self._row = hashlib.blake2b(b"row", digest_size=DIGEST, key=key)
        self._encode = msgspec.json.Encoder(enc_hook=str).encode

    def person(self, key: str) -> int:
        digest = self._person.copy()
        digest.update(key.encode(errors="surrogatepass"))
        return int.from_bytes(digest.digest(), "big", signed=True)

    def cells(self, data: Any) -> bytes:
        """Digest cells as they are: two that differ in their type only are two."""
        digest = self._row.copy()
        digest.update(repr(data).encode(errors="surrogatepass"))
        return digest.digest()

    def values(self, key: str, record: Any) -> bytes:
        digest = self._row.copy()
        digest.update(self._encode((key, sorted(record.items()))))
        return digest.digest()
