"""The parameters of a task, from the docstrings and signatures of its class and of the classes that it builds on."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

PARAMETER = re.compile(r"^:param (\w+): (.*?)(?=^:|^\s*$|\Z)", re.MULTILINE | re.DOTALL)
PACKAGE = "airflow_provider_crm"
#: Parameters that are kept under another name, since Airflow has one of theirs.
KEPT_AS = {"dry_run": "only_plan", "email": "person_email"}


class Parameter(NamedTuple):
    """A parameter as a guide shows it."""

    name: str
    default: str
    meaning: str  # as in the docstring; empty where there is none
    template: bool  # whether Airflow renders it; of triggers and notifiers none is
    own: bool  # of the class itself, not of one that it builds on


def find(path: str) -> type[Any]:
    """Return the class that stands at a path such as ``airflow_provider_crm.hooks.spread.SpreadHook``."""
    module, _, name = path.rpartition(".")
    found: type[Any] = getattr(importlib.import_module(module), name)
    return found


def parameters(task: type[Any]) -> list[Parameter]:
    """Return all parameters that the package gives a class, the required ones first; Airflow's are not among them."""
    meanings: dict[str, str] = {}
    for cls in _own_classes(task):
        for name, text in PARAMETER.findall(inspect.getdoc(cls) or "" if "__doc__" in vars(cls) else ""):
            meanings.setdefault(name, " ".join(text.split()))
    found: dict[str, Parameter] = {}
    for cls in _own_classes(task):
        if "__init__" not in vars(cls):
            continue
        for name, one in inspect.signature(inspect.unwrap(cls.__init__)).parameters.items():
            if name == "self" or name.startswith("_") or one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL):
                continue
            default = "required" if one.default is one.empty else f"`{one.default!r}`"
            template = KEPT_AS.get(name, name) in getattr(task, "template_fields", ())
            found.setdefault(name, Parameter(name, default, meanings.get(name, ""), template, cls is task))
    return sorted(found.values(), key=lambda one: one.default != "required")


def _own_classes(task: type[Any]) -> Iterator[type[Any]]:
    return (cls for cls in task.__mro__ if cls.__module__.startswith(PACKAGE))
