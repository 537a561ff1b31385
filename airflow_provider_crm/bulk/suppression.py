"""Whom a task must not write to: a list of people, read before the first write, and held against each row.

Knows no CRM: how people are named, a destination says. Keeps nobody's data, only parts of hashes.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol

from airflow_provider_crm.bulk.outcomes import Destination, Ending, Item, Outcome, R, Step, rejected
from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.rows.sources import Source, UnreadableRow
from airflow_provider_crm.values import is_empty, normal_email

log = logging.getLogger(__name__)

SUPPRESSED = Outcome(Ending.SKIPPED, "suppressed")
UNTOLD = (
    "nobody can tell whether this person is suppressed: the list names people by {}, and the row does not"
)

#: What people call a column of addresses, or of their hashes.
EMAIL_NAMES = ("email", "email_hash", "md5", "sha1", "sha256")

_HEX = re.compile(r"[0-9a-fA-F]+")
#: By the number of hexadecimal digits.
_ALGORITHMS = {32: "md5", 40: "sha1", 64: "sha256"}
_HASHES = {"md5": hashlib.md5, "sha1": hashlib.sha1, "sha256": hashlib.sha256}


@dataclass(frozen=True, kw_only=True)
class Identifier(Generic[R]):
    """One way in which rows and a suppression list name people.

    :param names: what the list may call its column, in any case of letters; the first is for messages.
    :param normal: writes a value of the list as those of rows are; raises ValueError.
    :param of: the values of a row; empty ones name nobody.
    :param hashed: whether the list may hold hashes of the values.
    """

    names: Sequence[str]
    normal: Callable[[Any], str]
    of: Callable[[Item[R]], Iterable[str | None]]
    hashed: bool = False


def by_email(of: Callable[[Item[R]], Iterable[str | None]], *columns: str) -> Identifier[R]:
    """Return the identifier of people by their e-mail.

    :param of: the addresses of a row, normalised.
    :param columns: what else the list may call its column: as the rows do.
    """
    return Identifier(names=(*EMAIL_NAMES, *columns), normal=normal_email, of=of, hashed=True)


def matched_identifiers(
    email: str,
    emails: Callable[[Item[R]], Iterable[str | None]],
    *,
    match_by: str,
    key_column: str,
    normal: Callable[[Any], str],
) -> Sequence[Identifier[R]]:
    """Return the identifiers of people whom rows name by a match key, and perhaps by an e-mail besides.

    :param email: what the match key is called where it is the e-mail.
    :param emails: the addresses of a row.
    :param key_column: the rows' column that holds the match key.
    :param normal: writes a match key.
    """
    if match_by == email:
        return (by_email(emails, key_column),)
    key = Identifier[R](names=(match_by, key_column), normal=normal, of=lambda item: (item.key,))
    return (key, by_email(emails))


class Suppressible(Destination[R], Protocol):
    """A destination that writes to people."""

    @property
    def identifiers(self) -> Sequence[Identifier[R]]:
        """How its rows name people."""

    def refusal(self, record: R) -> R | None:
        """Return what of a row takes something from its person that they do not want, and nothing else of it.

        It is sent for people who are suppressed too; an item of it has ``may_create`` False.

        :return: None where the row does no such thing.
        """


class DigestSet:
    """Many digests in little memory: 64 bits of each.

    Those whose first two bytes are the same lie in one row of bytes, unsorted. Measured: ten million take 84 MB (a set
    of whole numbers 576). The chance that a stranger is taken for one of them is 1 in 10^12.
    """

    _KEPT = 6

    def __init__(self) -> None:
        self._buckets: dict[bytes, bytearray] = {}

    def add(self, digest: bytes) -> None:
        """Add a digest of at least eight bytes."""
        bucket = self._buckets.get(digest[:2])
        if bucket is None:
            bucket = self._buckets[digest[:2]] = bytearray()
        bucket += digest[2:8]

    def __contains__(self, digest: bytes) -> bool:
        bucket = self._buckets.get(digest[:2], b"")
        wanted = digest[2:8]
        place = bucket.find(wanted)
        while place % self._KEPT and place >= 0:  # it lies across two of them
            place = bucket.find(wanted, place + 1)
        return place >= 0


@dataclass(slots=True)
class _Known(Generic[R]):
    """What the list says in terms of one identifier.

    :param entries: how many entries name their person by it.
    """

    identifier: Identifier[R]
    digests: dict[str, DigestSet] = field(default_factory=dict)
    entries: int = 0

    def add(self, value: Any) -> None:
        algorithm, digest = "sha256", b""
        text = value.strip() if isinstance(value, str) else ""
        if self.identifier.hashed and _HEX.fullmatch(text):
            if len(text) not in _ALGORITHMS:
                raise ValueError("a hash has 32 (MD5), 40 (SHA-1) or 64 (SHA-256) hexadecimal digits")
            algorithm, digest = _ALGORITHMS[len(text)], bytes.fromhex(text)
        else:
            digest = _digest(algorithm, self.identifier.normal(value))
        self.digests.setdefault(algorithm, DigestSet()).add(digest)
        self.entries += 1

    def holds(self, text: str) -> bool:
        return any(_digest(algorithm, text) in digests for algorithm, digests in self.digests.items())


class SuppressionList(Generic[R]):
    """People whom a task must not write to.

    :param source: a column for each way in which it names them; other columns do not matter.
    :param identifiers: how rows name people.
    :raises CrmInputError: it cannot be read, or an entry of it not be understood: it would protect some of the people
        only.
    """

    def __init__(self, source: Source, identifiers: Sequence[Identifier[R]]) -> None:
        self._known = [_Known(identifier) for identifier in identifiers]
        self.entries = 0
        columns = source.columns()
        wanted = self._columns(columns)
        if columns and not wanted:
            raise CrmInputError(
                f"The suppression list has no column that names people as the task does: it takes "
                f"{self._names(self._known)}"
            )
        strange = 0
        for row in source:
            if isinstance(row, UnreadableRow):
                raise CrmInputError(
                    f"The suppression list cannot be read at row {row.number}: nothing was sent"
                )
            known = False
            for column, one in wanted:
                if not is_empty(value := row.data.get(column)):
                    known = True
                    try:
                        one.add(value)
                    except ValueError as error:
                        raise CrmInputError(
                            f"The suppression list cannot be used: row {row.number}, {column}: {error}. "
                            f"Nothing was sent"
                        ) from None
            self.entries += known
            strange += not known and any(not is_empty(value) for value in row.data.values())
        if strange:
            log.warning("%s entries of the suppression list name nobody as this task does", f"{strange:,}")
        log.info("The suppression list has %s entries", f"{self.entries:,}")

    def _columns(self, columns: Sequence[str] | None) -> list[tuple[str, _Known[R]]]:
        """Find the columns of the list, by what they are called."""
        found = []
        for one in self._known:
            names = {name.casefold() for name in one.identifier.names}
            found += [(column, one) for column in columns or () if column.strip().casefold() in names]
        return found

    @staticmethod
    def _names(known: Iterable[_Known[R]]) -> str:
        return " or ".join(one.identifier.names[0] for one in known)

    def says(self, item: Item[R]) -> Outcome | None:
        """Return how a row ends because of the list; None where it may be sent.

        A row that does not name its person as the list does is rejected: nobody can tell whether it may be sent.
        """
        untold = []
        told = False
        for one in self._known:
            if not one.entries:
                continue
            texts = [text for text in one.identifier.of(item) if text]
            if any(map(one.holds, texts)):
                return SUPPRESSED
            if not texts:
                untold.append(one)
            elif one.entries == self.entries:
                told = True  # by this alone it names all of its people
        return None if told or not untold else rejected("validate", UNTOLD.format(self._names(untold)))


class Suppressing(Generic[R]):
    """A destination that writes to nobody on a list.

    Their rows end as skipped, without a call. An opt-out in one is carried out all the same, without the rest of the
    row, and creates nobody: it is what such people want.
    """

    def __init__(self, destination: Suppressible[R], suppression: SuppressionList[R]) -> None:
        self.batch_size = destination.batch_size
        self.opt_outs = destination.opt_outs
        self.read = destination.read
        self.read_many = getattr(destination, "read_many", None)
        self.apply = destination.apply
        self._destination = destination
        self._list = suppression

    def plan(self, items: Sequence[Item[R]]) -> Sequence[Outcome | Step[R]]:
        ended = {item.row.number: outcome for item in items if (outcome := self._ends(item))}
        left = [item for item in items if item.row.number not in ended]
        plans = iter(self._destination.plan(left) if left else ())
        return [ended.get(item.row.number) or _said(item, next(plans)) for item in items]

    def concerns(self, item: Item[R]) -> bool:
        """Return whether the list has a say in what becomes of a row."""
        return self._list.says(item) is not None

    def _ends(self, item: Item[R]) -> Outcome | None:
        outcome = self._list.says(item)
        refusal = self._destination.refusal(item.record) if outcome else None
        if refusal is None:
            return outcome
        item.record, item.may_create = refusal, False
        return None


def _said(item: Item[R], plan: Outcome | Step[R]) -> Outcome | Step[R]:
    skipped = isinstance(plan, Outcome) and plan.ending is Ending.SKIPPED and not item.may_create
    return SUPPRESSED if skipped else plan


def _digest(algorithm: str, text: str) -> bytes:
    return _HASHES[algorithm](text.encode(errors="surrogatepass"), usedforsecurity=False).digest()
