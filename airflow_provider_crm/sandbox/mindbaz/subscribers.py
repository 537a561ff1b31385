"""The subscribers of one site and the ways to find them. Knows no HTTP and no switch.

Made to hold millions: a subscriber is one packed byte string, and the ids run without gaps, so that a list does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping

import msgspec

from airflow_provider_crm.sandbox.mindbaz.fields import CLIENT_ID, DOMAIN, EMAIL, Value

FIRST_ID = 723081  # the id of the vendor's sample

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(dict[int, str | int | float | bool | None]).decode

HASHES: dict[str, Callable[[bytes], str]] = {
    "MD5": lambda data: hashlib.md5(data).hexdigest(),
    "SHA1": lambda data: hashlib.sha1(data).hexdigest(),
    "SHA2_256": lambda data: hashlib.sha256(data).hexdigest(),
    "SHA2_512": lambda data: hashlib.sha512(data).hexdigest(),
}


class Subscribers(Mapping[int, dict[int, Value]]):
    """Subscribers by id, each as ``{field id: value}`` without field 0."""

    def __init__(self) -> None:
        self._rows: list[bytes | None] = []
        self._count = 0
        self._by_email: dict[str, int] = {}
        self._by_client: dict[str, tuple[int, ...]] = {}
        self._by_hash: dict[str, dict[str, int]] = {}

    def __getitem__(self, subscriber_id: int) -> dict[int, Value]:
        index = subscriber_id - FIRST_ID
        row = self._rows[index] if 0 <= index < len(self._rows) else None
        if row is None:
            raise KeyError(subscriber_id)
        return _unpack(row)

    def __contains__(self, subscriber_id: object) -> bool:
        if not isinstance(subscriber_id, int):
            return False
        index = subscriber_id - FIRST_ID
        return 0 <= index < len(self._rows) and self._rows[index] is not None

    def __iter__(self) -> Iterator[int]:
        return (index + FIRST_ID for index, row in enumerate(self._rows) if row is not None)

    def __len__(self) -> int:
        return self._count

    def by_email(self, email: str) -> int | None:
        """Return the id of the subscriber with this e-mail, compared without case."""
        return self._by_email.get(email.lower())

    def by_client(self, client_id: str) -> tuple[int, ...]:
        """Return the ids of all subscribers with this client id; it need not be unique."""
        return self._by_client.get(client_id, ())

    def by_hash(self, digest: str, encoding: str) -> int | None:
        """Return the id of the subscriber whose e-mail in lower case has this hash."""
        if encoding not in self._by_hash:
            hashed = HASHES[encoding]
            self._by_hash[encoding] = {hashed(e.encode()): one for e, one in self._by_email.items()}
        return self._by_hash[encoding].get(digest.lower())

    def insert(self, fields: dict[int, Value]) -> int:
        """Add a subscriber whose e-mail is new; the e-mail's domain goes into field 37.

        :param fields: read values, with field 1; may be reordered.
        :return: the new id.
        """
        email = str(fields[EMAIL])
        fields[DOMAIN] = email.rpartition("@")[2]
        subscriber_id = FIRST_ID + len(self._rows)
        self._rows.append(_pack(fields))
        self._count += 1
        self._by_email[email.lower()] = subscriber_id
        self._by_hash.clear()
        if (client_id := fields.get(CLIENT_ID)) is not None:
            self._link_client(str(client_id), subscriber_id)
        return subscriber_id

    def update(self, subscriber_id: int, changes: Mapping[int, Value]) -> None:
        """Change fields of a subscriber; None clears one."""
        fields = self[subscriber_id]
        old_email, old_client = str(fields[EMAIL]), fields.get(CLIENT_ID)
        fields.update(changes)
        fields = {key: value for key, value in fields.items() if value is not None}
        email, client_id = str(fields[EMAIL]), fields.get(CLIENT_ID)
        if email != old_email:
            fields[DOMAIN] = email.rpartition("@")[2]
            del self._by_email[old_email.lower()]
            self._by_email[email.lower()] = subscriber_id
            self._by_hash.clear()
        if client_id != old_client:
            self._unlink_client(old_client, subscriber_id)
            if client_id is not None:
                self._link_client(str(client_id), subscriber_id)
        self._rows[subscriber_id - FIRST_ID] = _pack(fields)

    def remove(self, subscriber_id: int) -> None:
        """Remove a subscriber, as the vendor's back office can; no call does it.

        :raises KeyError: there is none.
        """
        fields = self[subscriber_id]
        del self._by_email[str(fields[EMAIL]).lower()]
        self._unlink_client(fields.get(CLIENT_ID), subscriber_id)
        self._by_hash.clear()
        self._rows[subscriber_id - FIRST_ID] = None
        self._count -= 1

    def _link_client(self, client_id: str, subscriber_id: int) -> None:
        self._by_client[client_id] = (*self._by_client.get(client_id, ()), subscriber_id)

    def _unlink_client(self, client_id: Value, subscriber_id: int) -> None:
        key = str(client_id)
        rest = tuple(one for one in self._by_client.get(key, ()) if one != subscriber_id)
        if rest:
            self._by_client[key] = rest
        else:
            self._by_client.pop(key, None)
