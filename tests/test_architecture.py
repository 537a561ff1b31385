"""Rules that hold for every module, present and to come. Who may import whom: import-linter, in pyproject.toml."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

import airflow_provider_crm
from airflow_provider_crm._compat import HAS_PAGES
from airflow_provider_crm.get_provider_info import get_provider_info
from airflow_provider_crm.links import CrmRunLink, RejectsFileLink
from airflow_provider_crm.operators.base.writes import CrmBulkOperator
from airflow_provider_crm.sandbox.systems import Systems
from tests.contract.registry import DESTINATIONS
from tests.helpers.public import crms, tasks

PACKAGE = Path(airflow_provider_crm.__file__).parent
ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "example_dags"
FILES = sorted(PACKAGE.rglob("*.py"))

#: What is wanted before a template is rendered.
AT_PARSING = ("max_consecutive_failures",)

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
        imported.append(found.name)
        if found.name.startswith("airflow_provider_crm.ui.") and not _compat.HAS_PAGES:
            continue  # for a web server that this Airflow has not
        importlib.import_module(found.name)
    bag = DagBag(sys.argv[1], safe_mode=False)
ours = re.compile("airflow_provider_crm|example_dags")
warned = [
    f"{w.filename}:{w.lineno} {w.message}" for w in caught
    if issubclass(w.category, DeprecationWarning) and ours.search(w.filename)
]
print("PROBE" + json.dumps({
    "touched": touched, "imported": imported, "warned": warned, "import_errors": bag.import_errors,
    "dags": {dag_id: dag.fileloc for dag_id, dag in bag.dags.items()},
    "used": sorted({task.task_type for dag in bag.dags.values() for task in dag.tasks}),
    "mapped": {
        f"{dag.dag_id}.{task.task_id}": task.retries
        for dag in bag.dags.values() for task in dag.tasks if hasattr(task, "expand_input")
    },
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
def test_a_mapped_task_of_an_example_is_tried_again(probe: dict[str, Any]) -> None:
    # One of many workers is killed now and then, and a shard without a further try has failed.
    assert probe["mapped"]
    assert all(probe["mapped"].values()), probe["mapped"]


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


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def test_a_module_says_what_it_is_for() -> None:
    assert [path for path in FILES if not ast.get_docstring(_parsed(path))] == []


def test_extras_of_a_connection_are_never_passed_on_as_they_are() -> None:
    """Who may edit connections may not choose any argument of any library: extras are allow-listed."""
    passed_on = re.compile(r"\*\*\w*(?:extra_dejson|conn\w*\.extra|get_extra_dejson)")
    assert [path for path in FILES if passed_on.search(path.read_text())] == []


@cache
def _imports_of(name: str) -> set[str]:
    """Return the modules of the package that one imports, those for types alone included."""
    names: set[str] = set()
    for node in ast.walk(_parsed(MODULES[name])):
        if isinstance(node, ast.Import):
            names |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = {f"{node.module}.{one.name}" for one in node.names} & MODULES.keys()
            names |= modules if len(modules) == len(node.names) else modules | {node.module}
    return names & MODULES.keys() - {name}


MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in FILES
}


def _all_below(module: str) -> set[str]:
    """Return the modules that a module imports, and those that these import, and so on."""
    below: set[str] = set()
    rest = [module]
    while rest:
        new = _imports_of(rest.pop()) - below
        below |= new
        rest += new
    return below


def test_there_is_no_circle() -> None:
    """Also none of types: what stands in a circle can only be understood all at once."""
    try:
        list(TopologicalSorter({name: _imports_of(name) for name in MODULES}).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_a_file_is_short_enough_to_find_ones_way_in_it() -> None:
    assert [path for path in FILES if len(path.read_text().splitlines()) > 400] == []


# What belongs to an operator, and to a CRM: docs/contributing.md


OPERATORS, SENSORS = tasks("operators"), tasks("sensors")
each_task = pytest.mark.parametrize("task", [*OPERATORS, *SENSORS], ids=lambda task: task.__name__)
each_crm = pytest.mark.parametrize("crm", crms())


@each_task
def test_every_parameter_is_a_template(task: Any) -> None:
    attributes = {
        name for name, one in task.parameters().items() if one.name not in ("deferrable", *AT_PARSING)
    }
    assert attributes <= set(task.template_fields)


@pytest.mark.slow
@each_task
def test_an_example_uses_it(task: Any, probe: dict[str, Any]) -> None:
    assert task.__name__ in probe["used"]


@each_task
def test_the_readme_names_it(task: Any) -> None:
    assert re.search(rf"`(?:[\w.]+\.)?{task.__name__}`", (ROOT / "README.md").read_text())


@pytest.mark.parametrize(
    "operator", [one for one in OPERATORS if issubclass(one, CrmBulkOperator)], ids=lambda one: one.__name__
)
def test_whoever_writes_links_to_the_rejects(operator: Any) -> None:
    assert RejectsFileLink in map(type, operator.operator_extra_links)


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda one: one.__name__)
def test_every_task_links_to_its_run_where_airflow_has_pages(operator: Any) -> None:
    assert (CrmRunLink in map(type, operator.operator_extra_links)) is HAS_PAGES


@each_crm
def test_a_crm_has_a_stand_in_with_its_connection(crm: str) -> None:
    types = {
        one["hook-class-name"].split(".")[2]: one["connection-type"]
        for one in get_provider_info()["connection-types"]
    }
    (system,) = (one for one in Systems().systems() if one.name == crm)
    conn_id, connection = system.connection("http://127.0.0.1:1")
    assert connection["conn_type"] == types[crm]
    assert conn_id == f"{types[crm]}_default"


@each_crm
def test_a_crm_is_tried_by_the_contract_suite(crm: str) -> None:
    assert crm in {one.system for one in DESTINATIONS}


def test_the_crms_do_not_know_each_other() -> None:
    """Not through others either. A CRM's modules have its name in their path; credits are SPREAD's."""
    owners = {crm: crm for crm in crms()} | {"loyalty": "spread"}

    def owner(module: str) -> str | None:
        return next((owners[part] for part in module.split(".")[1:] if part in owners), None)

    for name in MODULES:
        if (crm := owner(name)) is not None:
            known = {owner(other) for other in _all_below(name)} - {None}
            assert known <= {crm}, f"{name} knows {known}"


def test_every_dependency_is_defended() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [one for extra in project["optional-dependencies"].values() for one in extra]
    names = {re.split(r"[<>=!~\[; ]", one)[0] for one in [*project["dependencies"], *extras]}
    taken, _, _ = (ROOT / "docs/dependencies.md").read_text().partition("## Not taken")
    defended = re.findall(r"^\| `([\w-]+)`", taken, re.MULTILINE)
    assert sorted(names) == sorted(defended)


def test_what_contributors_are_shown_is_python() -> None:
    """The skeletons are filled in, put into files of these names, and pass the contract suite: keep them so."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/contributing.md").read_text(), re.DOTALL)
    assert len(blocks) > 9
    for block in blocks:
        ast.parse(block)
