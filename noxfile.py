"""The checks and the test suite on every Airflow that is supported: ``uv run nox``.

One environment per Airflow, kept between runs. ``uv run nox -s tests-2.11.2 -- tests/hooks -x`` hands the
rest of the line to pytest.
"""

from __future__ import annotations

import os

import nox
import nox.project

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"

# Hundreds of tests start processes of their own, each of which would compile Airflow anew: five seconds of CPU.
os.environ |= {"UV_COMPILE_BYTECODE": "1", "PYTHONDONTWRITEBYTECODE": ""}

PYPROJECT = nox.project.load_toml("pyproject.toml")

#: The Airflow that uv.lock holds.
LOCKED_AIRFLOW = "3.3.2"

#: The others, each with the day whose packages it gets: what people who follow Airflow's constraint files
#: of that release have installed. Without it an old Airflow would be tried with libraries it never met.
OLDER_AIRFLOWS = {
    "3.0.6": "2025-09-15",
    "2.11.2": "2026-04-22",
}

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


def _install_of_the_day(session: nox.Session, airflow: str, day: str) -> None:
    """Install an Airflow with the libraries of its time, then the package as it is now."""
    extras = PYPROJECT["project"]["optional-dependencies"].values()
    session.install(
        "--quiet",
        "--exclude-newer",
        day,
        f"apache-airflow=={airflow}",
        FORMS,
        *PYPROJECT["project"]["dependencies"],
        *(requirement for extra in extras for requirement in extra),
        *nox.project.dependency_groups(PYPROJECT, "test"),
    )
    session.install("--quiet", "--no-deps", "--editable", ".")
    session.run("uv", "pip", "check", silent=True, external=True)


def _test(session: nox.Session, airflow: str) -> None:
    check = f"from importlib.metadata import version as v; assert v('apache-airflow') == '{airflow}'"
    session.run("python", "-c", check)
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types and the direction of the imports."""
    _install_locked(session)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")
    session.run("lint-imports", "--no-cache")


@nox.session(name=f"tests-{LOCKED_AIRFLOW}")
def tests_locked(session: nox.Session) -> None:
    """Run the test suite on the Airflow of uv.lock."""
    _install_locked(session)
    _test(session, LOCKED_AIRFLOW)


def _add_session(airflow: str, day: str) -> None:
    @nox.session(name=f"tests-{airflow}")
    def tests(session: nox.Session) -> None:
        _install_of_the_day(session, airflow, day)
        _test(session, airflow)

    tests.__doc__ = f"Run the test suite on Airflow {airflow} with the packages of {day}."


for _airflow, _day in OLDER_AIRFLOWS.items():
    _add_session(_airflow, _day)
