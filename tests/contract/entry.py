"""What the contract suite has to know of a CRM: its destinations, its exports, its sensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_crm.sandbox.server import Sandbox


@dataclass(frozen=True, kw_only=True)
class Mode:
    """How the rows of a destination end in one of its modes. Ends are words in the order of the rows.

    :param ends: how they end: ``created``, ``updated``, ``unchanged``, ``skipped`` or ``rejected``; who is
        erased is ``deleted``.
    :param again: how they end in a second run; left out: what was created or updated is unchanged.
    :param dry: what a dry run says, which does not know what only the CRM refuses; left out: the same as ``ends``.
    :param held: what ``Destination.held`` gives afterwards.
    :param parameters: what the operator is given in this mode.
    """

    ends: str
    held: Any
    again: str = ""
    dry: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Destination:
    """One writing operator, rows that end in every way it knows, and what its CRM is to hold afterwards.

    :param name: shown in the tests' names, such as ``mindbaz-upsert``.
    :param system: the stand-in's name in the sandbox; faults are put on the calls to it.
    :param operator: the operator's class; it is run on the connection that the sandbox sets.
    :param parameters: what it is given in every mode, such as a ``batch_size`` that makes several batches.
    :param seed: puts into the sandbox whom the CRM knows before; with it, in the rows, belong somebody unchanged,
        somebody who has opted out and whom a row would opt in again, and a person in two rows of whom the last counts.
    :param rows: the source.
    :param modes: how the rows end, by the mode's name; a destination without modes has one, with any name.
    :param held: reads back what the CRM holds, as plain data without the ids and dates that the CRM sets itself; what
        was done twice has to show in it (a mail, a line, an answer to a consent).
    :param opted_out: who has opted out in the CRM at present, of what, as a set; nobody may leave it in any run.
    :param will: a row with which a person opts out and one with which the same person opts in, where the destination
        knows of that: the first is carried out, whatever their order and distance.
    :param blind: what a client of this CRM cannot see, or has to take at its word, with the reason: the kind of a
        fault whose answer looks like a success or a refusal, ``stale`` for looks that lag behind, or a switch and
        its value (``root_key=contact``).
    """

    name: str
    system: str
    operator: type[Any]
    seed: Callable[[Sandbox], None]
    rows: Sequence[Mapping[str, Any]]
    modes: Mapping[str, Mode]
    held: Callable[[Sandbox], Any]
    opted_out: Callable[[Sandbox], set[Any]]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    will: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None
    blind: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Export:
    """One export, what its CRM holds, and what the file is to hold.

    :param name: shown in the tests' names, such as ``mindbaz-subscribers``.
    :param parameters: what it is given besides the path; a list is exported as a whole.
    :param column: a column of the file.
    :param values: what this column holds in the rows, in any order.
    """

    name: str
    system: str
    operator: type[Any]
    seed: Callable[[Sandbox], None]
    column: str
    values: Sequence[str]
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """One sensor, and what it waits for.

    :param name: shown in the tests' names, such as ``mindbaz-subscriber``.
    :param seed: what the CRM holds while the sensor waits: somebody who is not meant, or not far enough.
    :param arrive: what the sensor waits for.
    :param seen: the result, which names no person.
    """

    name: str
    system: str
    sensor: type[Any]
    seed: Callable[[Sandbox], object]
    arrive: Callable[[Sandbox], object]
    seen: Mapping[str, Any]
    parameters: Mapping[str, Any] = field(default_factory=dict)
