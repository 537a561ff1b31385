"""The checks and the test suite on every Airflow and Python that are supported: ``uv run nox``.

One environment for each, kept between runs. ``uv run nox -s tests-2.11.2-3.12 -- tests/hooks -x`` hands the rest of
the line to pytest.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

import nox
import nox.project

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"

# Hundreds of tests start processes of their own, each of which would compile Airflow anew: five seconds of CPU.
os.environ |= {"UV_COMPILE_BYTECODE": "1", "PYTHONDONTWRITEBYTECODE": ""}

PYPROJECT = nox.project.load_toml("pyproject.toml")


class Supported(NamedTuple):
    """An Airflow, with the Pythons that people run it on."""

    airflow: str
    pythons: tuple[str, ...]
    #: The day whose packages it gets: what people who follow Airflow's constraint files of that release have installed.
    #: Without it an old Airflow would be tried with libraries it never met. None: what uv.lock says.
    day: str | None = None
    #: Whether the package's own dependencies are the lowest that pyproject.toml allows.
    lowest: bool = False

    @property
    def name(self) -> str:
        return f"tests-{'lowest' if self.lowest else self.airflow}"


MATRIX = (
    Supported("3.3.2", ("3.11", "3.12", "3.13")),
    Supported("3.1.8", ("3.12",), "2026-03-20"),
    Supported("3.0.6", ("3.12",), "2025-09-15"),
    Supported("2.11.2", ("3.11", "3.12"), "2026-04-22"),
    Supported("2.11.0", ("3.11",), "2025-07-01", lowest=True),
)

#: Airflow 3.0 and 3.1 show connection forms only where this provider is installed, as in Airflow's images.
FORMS = "apache-airflow-providers-fab"


def _install_locked(session: nox.Session) -> None:
    """Install what uv.lock says, the package included."""
    session.run_install(
        "uv",
        "sync",
        "--locked",
        "--quiet",
        f"--python={session.virtualenv.location}",
        env={"UV_PROJECT_ENVIRONMENT": session.virtualenv.location},
    )


def _install_of_the_day(session: nox.Session, which: Supported) -> None:
    """Install an Airflow with the libraries of its time, then the package as it is now."""
    extras = PYPROJECT["project"]["optional-dependencies"].values()
    own = [
        *PYPROJECT["project"]["dependencies"],
        *(requirement for extra in extras for requirement in extra),
    ]
    tests = nox.project.dependency_groups(PYPROJECT, "test")
    until = ("--quiet", "--exclude-newer", str(which.day))
    if which.lowest:
        session.install(*until, "--resolution=lowest-direct", *own)
        session.install(*until, FORMS, *tests)  # what is there and allowed stays
    else:
        session.install(*until, f"apache-airflow=={which.airflow}", FORMS, *own, *tests)
    session.install("--quiet", "--no-deps", "--editable", ".")
    session.run("uv", "pip", "check", silent=True, external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types and the direction of the imports."""
    _install_locked(session)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")
    session.run("lint-imports", "--no-cache")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site into site/; what it warns of is an error."""
    _install_locked(session)
    session.run("mkdocs", "build", "--strict", "--quiet")


@nox.session
def release(session: nox.Session) -> None:
    """Do all of a release but the upload: look, build, check, and install the wheel beside each Airflow and use it.

    ``uv run nox -s release -- 3.3.2`` tries the wheel with that Airflow only.
    """
    if session.run("git", "status", "--porcelain", external=True, silent=True):
        session.error("There are changes that are not committed")
    version = re.search(r'__version__ = "(.+)"', Path("airflow_provider_crm/__init__.py").read_text())[1]
    latest = re.search(r"^## (.+)$", Path("CHANGELOG.md").read_text(), re.MULTILINE)[1]
    if not latest.startswith(version):
        session.error(f"CHANGELOG.md begins with {latest!r}, and the version is {version}")
    if session.run("git", "tag", "--list", f"v{version}", external=True, silent=True):
        session.error(f"There is a version {version} already")
    built = Path(session.create_tmp(), "dist").resolve()
    session.run_install("uv", "build", "--quiet", "--clear", "--out-dir", str(built), external=True)
    session.install("--quiet", "twine")
    session.run("twine", "check", "--strict", *map(str, built.glob("airflow_provider_crm-*")))
    (wheel,) = built.glob("*.whl")
    for which in MATRIX:
        if not which.lowest and which.airflow in (session.posargs or [which.airflow]):
            _try_wheel(session, wheel, which)


def _try_wheel(session: nox.Session, wheel: Path, which: Supported) -> None:
    """Install a wheel and an Airflow into a bare environment, and run an upsert there."""
    folder = wheel.parents[1] / which.airflow
    python = folder / "bin/python"
    session.run_install("uv", "venv", "--quiet", "--clear", f"--python={which.pythons[0]}", str(folder))
    until = () if which.day is None else (f"--exclude-newer={which.day}",)
    install = ("uv", "pip", "install", "--quiet", f"--python={python}", *until)
    session.run_install(*install, f"apache-airflow=={which.airflow}", f"{wheel}[sandbox]")
    session.run("uv", "pip", "check", "--quiet", f"--python={python}", external=True)
    # Not in the checkout, whose package would be imported in place of the wheel's.
    with session.chdir(folder):
        session.run(str(folder / "bin/crm-sandbox"), "demo", external=True)


def _add_session(which: Supported) -> None:
    @nox.session(name=which.name, python=list(which.pythons))
    def tests(session: nox.Session) -> None:
        if which.day is None:
            _install_locked(session)
        else:
            _install_of_the_day(session, which)
        check = (
            f"from importlib.metadata import version as v; assert v('apache-airflow') == '{which.airflow}'"
        )
        session.run("python", "-c", check)
        session.run("python", "-m", "pytest", *session.posargs)


for _which in MATRIX:
    _add_session(_which)
