"""What a sensor asks its CRM, as a small value that travels from the worker to the triggerer and can be asked there.

Knows no Airflow; the questions of each CRM are in the CRM's own module.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.hooks.base.hook import CrmHook

H = TypeVar("H", bound=CrmHook[Any])


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a question.

    :param done: whether it is what the sensor waits for.
    :param result: what the sensor returns; it goes into logs and XComs, and therefore names no person.
    """

    done: bool
    result: dict[str, Any] = field(default_factory=dict)


class Question(msgspec.Struct, Generic[H], frozen=True, kw_only=True):
    """One question; its fields are plain texts and numbers.

    :cvar hook_class: what answers it.
    """

    hook_class: ClassVar[type[CrmHook[Any]]]

    def ask(self, hook: H) -> Reply:
        """Look into the CRM; only ever reads.

        :raises CrmTransientError: another look may succeed.
        """
        raise NotImplementedError

    def packed(self) -> tuple[str, dict[str, Any]]:
        """Return the path of its class, and its fields."""
        kind = type(self)
        return f"{kind.__module__}.{kind.__qualname__}", msgspec.structs.asdict(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"  # its fields may name a person


def unpacked(path: str, fields: Mapping[str, Any]) -> Question[Any]:
    """Return the question of what :meth:`Question.packed` gave.

    :raises CrmInputError: it is no question.
    """
    module, _, name = path.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        kind = None
    if not isinstance(kind, type) or not issubclass(kind, Question):
        raise CrmInputError(f"{path!r} is no question to a CRM")
    return kind(**fields)
