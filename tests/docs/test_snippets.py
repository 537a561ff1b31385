"""The snippets of Python in the docs: they can be read, import what there is, and give arguments that there are.

Those of docs/testing.md also run, as a user's project: tests/sandbox/test_recipe.py.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm._compat import AirflowArguments, AirflowSensorArguments
from tests.docs.pages import PAGES, blocks, page_name
from tests.helpers.public import PACKAGE, tasks

sys.path.insert(0, str(Path(__file__).parents[2] / "docs/_site"))

import parameters as shown

TASKS = {task.__name__: task for task in tasks("operators", "sensors")}
#: What else the docs call by the name alone, and where it is.
OTHERS = {
    "FileSource": "rows.sources",
    "SqlSource": "rows.sources",
    "SqlSnapshot": "bulk.snapshot",
    "split_source": "rows.sources",
    "CrmReportNotifier": "notifications.report",
    "CrmRetryPolicy": "retry_policy",
    "SpreadHook": "hooks.spread",
    "MindbazHook": "hooks.mindbaz",
    "ExpertSenderHook": "hooks.expertsender",
    "SpreadConsentEventTrigger": "triggers.spread",
    "SpreadCustomerEventTrigger": "triggers.spread",
}
OF_AIRFLOW = {*AirflowArguments.__annotations__, *AirflowSensorArguments.__annotations__}

SNIPPETS = [
    pytest.param(textwrap.dedent(block), id=f"{page_name(page)}-{number}")
    for page in PAGES
    for number, block in enumerate(blocks(page, "python"), 1)
]


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_a_snippet_fits_the_package(snippet: str) -> None:
    tree = ast.parse(snippet)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
            module = importlib.import_module(node.module or "")
            for name in node.names:
                assert hasattr(module, name.name), f"{node.module} has no {name.name}"
        if isinstance(node, ast.Call):
            _check(node)


def _check(call: ast.Call) -> None:
    called = call.func
    if isinstance(called, ast.Attribute) and called.attr == "partial":
        called = called.value
    name = called.id if isinstance(called, ast.Name) else ""
    given = {keyword.arg for keyword in call.keywords if keyword.arg}
    if name in TASKS:
        known = {one.name for one in shown.parameters(TASKS[name])} | OF_AIRFLOW | {"default_args"}
        assert given <= known, f"{name} does not take {sorted(given - known)}"
        assert all(isinstance(one, ast.Constant) and one.value is ... for one in call.args), name
    elif name in OTHERS:
        module = importlib.import_module(f"{PACKAGE}.{OTHERS[name]}")
        if hasattr(module, name):
            parameters: Any = inspect.signature(getattr(module, name)).bind_partial
            parameters(*call.args, **dict.fromkeys(given))


def test_there_are_snippets() -> None:
    assert len(SNIPPETS) > 20
    called = "".join(str(snippet.values[0]) for snippet in SNIPPETS)
    assert sum(f"{name}(" in called for name in TASKS) >= 4
