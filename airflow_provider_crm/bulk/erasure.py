"""How people are erased in several systems: looked up in all, then erased in each, and looked up again until gone.

Knows no CRM: what it takes in each system, an eraser says. Credits stay, as accounts must.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, repeat
from typing import Any, Protocol

from airflow_provider_crm.bulk.certificate import FOUND, Certificate, Entry
from airflow_provider_crm.bulk.outcomes import (
    Ending,
    InvalidRowError,
    Item,
    Outcome,
    RowKey,
    Step,
    Verdict,
    rejected,
)
from airflow_provider_crm.exceptions import (
    CrmConnectionError,
    CrmError,
    CrmInputError,
    CrmRequestError,
    redact,
)
from airflow_provider_crm.values import is_empty, normal_email

log = logging.getLogger(__name__)

ABSENT, BY_HAND, REFUSED, STILL_THERE = "absent", "by_hand", "refused", "still_there"
#: Results after which nothing is left to be done.
FINAL = frozenset({"erased", "anonymised", BY_HAND, ABSENT})
#: Seconds between two looks for somebody who was erased; the last one again and again.
LOOKS = (0.5, 1.0, 2.0, 4.0)


@dataclass(slots=True)
class Found:
    """Somebody in a system.

    :param details: goes into the certificate: the system's id, and what was done; no personal data.
    :param left: whether there is still something to be done.
    :param target: what :meth:`Eraser.erase` needs.
    """

    details: Mapping[str, Any]
    left: bool
    target: Any = None


@dataclass(slots=True)
class Person:
    """Somebody who is to be erased.

    :param keys: how else the row names them, each in its one spelling.
    :param found: what the first look has found, by system; a system that did not answer is not among them.
    """

    email: str
    keys: Mapping[str, str]
    found: dict[str, Found | None] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


class Eraser(Protocol):
    """How one system erases people."""

    name: str
    result: str
    """What the certificate calls it when it is done: ``erased``, ``anonymised`` or ``by_hand``."""

    def prepare(self) -> None:
        """Check what can be checked before the first person.

        :raises CrmInputError: a parameter makes no sense.
        """

    def find(self, person: Person) -> Found | None:
        """Look a person up.

        :raises CrmRequestError: what the row says does not fit together, so that nobody may be erased; ``reason`` says.
        """

    def erase(self, person: Person, found: Found | None) -> bool:
        """Do all that the system offers; also for somebody who was not found, where a look may lag behind.

        :return: whether somebody was there.
        """


class ErasePeople:
    """Erases people in each of several systems.

    A system that fails is left alone for the rest of the try, and the others are done.

    :param email_field: the column with the address.
    :param key_fields: further columns, and how each is written.
    :param key: of the hashes that stand for people.
    :param certificate: keeps what was done; None in a dry run.
    :param settle_seconds: how long somebody who was erased may still be shown.
    :param pause: waits some seconds.
    """

    batch_size = 1
    opt_outs: None = None

    def __init__(
        self,
        erasers: Sequence[Eraser],
        *,
        email_field: str,
        key_fields: Mapping[str, Callable[[Any], str]],
        key: bytes,
        certificate: Certificate | None,
        settle_seconds: float,
        pause: Callable[[float], object],
    ) -> None:
        self._erasers = erasers
        self._email_field = email_field
        self._key_fields = key_fields
        self._hash_key = key
        self._certificate = certificate
        self._settle_seconds = settle_seconds
        self._pause = pause
        self._lock = threading.Lock()
        #: Systems that have failed in this try, and how.
        self.out: dict[str, CrmError] = {}
        for eraser in erasers:
            try:
                eraser.prepare()
            except (CrmInputError, CrmConnectionError):
                raise
            except CrmError as error:
                self._leave_out(eraser, error)

    def read(self, data: Mapping[str, Any]) -> tuple[RowKey, Person]:
        try:
            email = normal_email(data.get(self._email_field))
        except ValueError as error:
            raise ValueError(f"{self._email_field}: {error}") from None
        keys = {}
        for name, write in self._key_fields.items():
            if not is_empty(value := data.get(name)):
                try:
                    keys[name] = write(value)
                except ValueError as error:
                    raise InvalidRowError(f"{name}: {error}", email) from None
        # Two rows of one person may name two customers of theirs: none of them makes the other needless.
        return RowKey(email, merges=False), Person(email, keys)

    def plan(self, items: Sequence[Item[Person]]) -> list[Outcome | Step[Person]]:
        return [self._plan_one(item) for item in items]

    def _plan_one(self, item: Item[Person]) -> Step[Person]:
        """Look in all systems before anything is erased in one, with which the keys to another would be lost."""
        person = item.record
        entries = self._known(person)
        for eraser in self._left(entries):
            self._try(eraser, person, partial(self._look, eraser, person))
            if eraser.name in person.refused:
                entries[eraser.name] = self._refused(eraser, person)
            elif eraser.name in person.found:
                found = person.found[eraser.name]
                entries[eraser.name] = _entry(eraser.result if found else ABSENT)
        return Step(item, self._outcome(entries, person))

    def apply(self, steps: Sequence[Step[Person]]) -> list[Verdict]:
        return [self._erase(step.item) for step in steps]

    def _known(self, person: Person) -> dict[str, Entry]:
        return self._certificate.known(self._key(person)) if self._certificate else {}

    def _left(self, entries: Mapping[str, Entry]) -> list[Eraser]:
        return [one for one in self._erasers if entries.get(one.name, {}).get("result") not in FINAL]

    def _look(self, eraser: Eraser, person: Person) -> None:
        person.found[eraser.name] = eraser.find(person)

    def _erase(self, item: Item[Person]) -> Outcome:
        person = item.record
        entries = self._known(person)
        left = self._left(entries)
        there = {
            one.name: _entry(FOUND, found.details)
            for one in left
            if (found := person.found.get(one.name)) is not None
        }
        if there:  # once they are gone, nobody could tell that it was this run
            self._note(item, there)
        before = {**entries, **there}
        new: dict[str, Entry] = {}
        for eraser in left:
            if eraser.name in person.found:
                self._try(
                    eraser, person, partial(self._erase_in, eraser, person, before.get(eraser.name), new)
                )
            if eraser.name in person.refused:
                new[eraser.name] = self._refused(eraser, person)
        if new:
            self._note(item, new)
        return self._outcome({**before, **new}, person)

    def _erase_in(self, eraser: Eraser, person: Person, before: Entry | None, new: dict[str, Entry]) -> None:
        found = person.found[eraser.name]
        was_there = before is not None
        look = found
        if found is None or found.left:
            was_there |= eraser.erase(person, found)
            look = eraser.find(person)
        waits = chain(LOOKS, repeat(LOOKS[-1]))
        waited = 0.0
        while look is not None and look.left and waited < self._settle_seconds:
            seconds = next(waits)
            self._pause(seconds)
            waited += seconds
            look = eraser.find(person)
        if look is not None and look.left:
            new[eraser.name] = _entry(STILL_THERE, look.details)
        elif not was_there:
            new[eraser.name] = _entry(ABSENT)
        else:
            details = look.details if look else {k: v for k, v in (before or {}).items() if k not in _ENTRY}
            new[eraser.name] = _entry(eraser.result, details)

    def _try(self, eraser: Eraser, person: Person, act: Callable[[], None]) -> None:
        """Do something in a system, unless it has failed before."""
        if eraser.name in self.out:
            return
        try:
            act()
        except CrmRequestError as error:
            person.refused[eraser.name] = error.reason
        except CrmError as error:
            self._leave_out(eraser, error)

    def _leave_out(self, eraser: Eraser, error: CrmError) -> None:
        with self._lock:
            first = self.out.setdefault(eraser.name, error) is error
        if first:
            log.warning("%s fails, the other systems are done without it: %s", eraser.name, error)

    def _refused(self, eraser: Eraser, person: Person) -> Entry:
        return _entry(REFUSED, {"reason": redact(person.refused[eraser.name])})

    def _outcome(self, entries: Mapping[str, Entry], person: Person) -> Outcome:
        """Return how the row ends."""
        problems = []
        for eraser in self._erasers:
            result = entries.get(eraser.name, {}).get("result")
            if result == REFUSED:
                problems.append(f"{eraser.name}: {person.refused.get(eraser.name, 'refused')}")
            elif result == STILL_THERE:
                problems.append(f"{eraser.name} still shows the person")
            elif result not in FINAL:
                problems.append(f"{eraser.name} failed")
        if problems:
            return rejected("crm", "; ".join(problems))
        if all(entry["result"] == ABSENT for entry in entries.values()):
            return Outcome(Ending.SKIPPED, "in none of the systems")
        return Outcome(Ending.UPDATED)

    def _note(self, item: Item[Person], entries: Mapping[str, Entry]) -> None:
        if self._certificate:
            person = item.record
            self._certificate.note(self._key(person), item.row.number, self._hash(person.email), entries)

    def _key(self, person: Person) -> str:
        return self._hash(json.dumps([person.email, sorted(person.keys.items())]))

    def _hash(self, text: str) -> str:
        return hmac.new(self._hash_key, text.encode(), hashlib.sha256).hexdigest()


_ENTRY = ("result", "at")


def _entry(result: str, details: Mapping[str, Any] | None = None) -> Entry:
    return {"result": result, "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"), **(details or {})}
