"""What the package offers to Airflow's users, found by looking: nothing has to be listed for a test to see it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

import airflow_provider_crm
from airflow_provider_crm.get_provider_info import get_provider_info

PACKAGE = airflow_provider_crm.__name__


def tasks(*folders: str) -> list[type[Any]]:
    """Return the operators and sensors of some folders, all that users can put into a DAG; not their bases."""
    found: dict[str, type[Any]] = {}
    for folder in folders:
        package = importlib.import_module(f"{PACKAGE}.{folder}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for name, value in vars(importlib.import_module(module.name)).items():
                is_its_own = inspect.isclass(value) and value.__module__ == module.name
                is_base = name.startswith("_") or "base" in module.name.split(".")
                if is_its_own and hasattr(value, "template_fields") and not is_base:
                    found[name] = value
    return list(found.values())


def crms() -> list[str]:
    """Return what each CRM of the one list is called in the folders of the package."""
    hooks = get_provider_info()["hooks"]
    return [module.rpartition(".")[2] for entry in hooks for module in entry["python-modules"]]
