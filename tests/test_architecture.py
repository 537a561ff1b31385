"""Rules that hold for every module, present and to come. Who may import whom: import-linter, in pyproject.toml."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import airflow_provider_crm

PACKAGE = Path(airflow_provider_crm.__file__).parent
ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "example_dags"
FILES = sorted(PACKAGE.rglob("*.py"))

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))

#: Imports everything and parses every example DAG, and tells what that touched.
PROBE = """
import importlib, json, pkgutil, re, socket, sys, warnings

from airflow_provider_crm import _compat  # Airflow's own imports may warn and look around as they like
from airflow.models import DagBag

touched = []

def refuse(what):
    def call(*args, **kwargs):
        touched.append(f"{what} by {sys._getframe(1).f_code.co_filename}")
        raise RuntimeError(f"{what} at the time of import")
    return call

socket.socket.connect = refuse("socket.connect")
socket.getaddrinfo = refuse("socket.getaddrinfo")
_compat.BaseHook.get_connection = refuse("get_connection")

import airflow_provider_crm
imported, parsed = [], {}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for found in pkgutil.walk_packages(airflow_provider_crm.__path__, "airflow_provider_crm."):
        importlib.import_module(found.name)
        imported.append(found.name)
    bag = DagBag(sys.argv[1], safe_mode=False)
ours = re.compile("airflow_provider_crm|example_dags")
warned = [
    f"{w.filename}:{w.lineno} {w.message}" for w in caught
    if issubclass(w.category, DeprecationWarning) and ours.search(w.filename)
]
print("PROBE" + json.dumps({
    "touched": touched, "imported": imported, "warned": warned, "import_errors": bag.import_errors,
    "dags": {dag_id: dag.fileloc for dag_id, dag in bag.dags.items()},
}))
"""


@pytest.fixture(scope="module")
def probe() -> dict[str, Any]:
    """What importing every module and parsing every example DAG does, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(EXAMPLES)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("PROBE"))
    report: dict[str, Any] = json.loads(line.removeprefix("PROBE"))
    return report


@pytest.mark.slow
def test_every_module_can_be_imported(probe: dict[str, Any]) -> None:
    names = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in FILES}
    imported = {f"{name}.__init__" for name in probe["imported"]} | set(probe["imported"])
    assert names - imported == {"airflow_provider_crm.__init__"}


@pytest.mark.slow
def test_nothing_is_looked_up_at_import_or_parse(probe: dict[str, Any]) -> None:
    assert probe["touched"] == []


@pytest.mark.slow
def test_nothing_deprecated_is_used_at_import_or_parse(probe: dict[str, Any]) -> None:
    assert probe["warned"] == []


@pytest.mark.slow
def test_every_example_is_a_dag(probe: dict[str, Any]) -> None:
    assert probe["import_errors"] == {}
    assert {Path(path).name for path in probe["dags"].values()} == {
        path.name for path in EXAMPLES.glob("*.py") if not path.name.startswith("_")
    }


def test_airflow_learns_about_the_package_without_importing_anything() -> None:
    script = """
import sys
before = set(sys.modules)
from airflow_provider_crm.get_provider_info import get_provider_info
get_provider_info()
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(new - set(sys.stdlib_module_names)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['airflow_provider_crm']"


@each_file
def test_a_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


@each_file
def test_extras_of_a_connection_are_never_passed_on_as_they_are(path: Path) -> None:
    """Who may edit connections may not choose any argument of any library: extras are allow-listed."""
    assert not re.search(r"\*\*\w*(?:extra_dejson|conn\w*\.extra|get_extra_dejson)", path.read_text())


def operators() -> list[Any]:
    found = []
    for folder in ("operators", "sensors"):
        for path in (PACKAGE / folder).glob("*.py"):
            module = importlib.import_module(f"airflow_provider_crm.{folder}.{path.stem}")
            found += [
                value
                for value in vars(module).values()
                if inspect.isclass(value) and value.__module__ == module.__name__
                if hasattr(value, "template_fields") and not value.__name__.startswith(("Crm", "_"))
            ]
    return found


@pytest.mark.parametrize("operator", operators(), ids=lambda operator: operator.__name__)
def test_every_connection_id_is_templated(operator: Any) -> None:
    parameters = inspect.signature(operator.__init__).parameters
    assert {name for name in parameters if name.endswith("_conn_id")} <= set(operator.template_fields)


def test_every_dependency_is_defended() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [one for extra in project["optional-dependencies"].values() for one in extra]
    names = {re.split(r"[<>=!~\[; ]", one)[0] for one in [*project["dependencies"], *extras]}
    taken, _, _ = (ROOT / "docs/dependencies.md").read_text().partition("## Not taken")
    defended = re.findall(r"^\| `([\w-]+)`", taken, re.MULTILINE)
    assert sorted(names) == sorted(defended)
