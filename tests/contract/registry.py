"""All that the contract suite is run over.

A further CRM is a module of its name beside this one, with a :class:`~.entry.Destination`, :class:`~.entry.Export` or
:class:`~.entry.Sensor` for each of its operators and sensors; nothing has to be listed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TypeVar

from tests.helpers.public import crms

from .entry import Destination, Export, Sensor

E = TypeVar("E", Destination, Export, Sensor)


def _entries(kind: type[E]) -> Sequence[E]:
    modules = [import_module(f".{crm}", __package__) for crm in crms()]
    return [one for module in modules for one in vars(module).values() if isinstance(one, kind)]


DESTINATIONS = _entries(Destination)
EXPORTS = _entries(Export)
SENSORS = _entries(Sensor)
