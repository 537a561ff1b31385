"""What was measured, as tables: printed while they grow, and kept in ``results/``, where the docs take them from."""

from __future__ import annotations

import datetime as dt
import os
import platform
from pathlib import Path

from airflow_provider_crm import __version__

RESULTS = Path(__file__).parent / "results"


class Table:
    """A table of Markdown, each of whose lines is printed when it is there."""

    def __init__(self, *columns: str) -> None:
        self._lines: list[str] = []
        self.row(*columns)
        self._add("|---" * len(columns) + "|")

    def row(self, *cells: object) -> None:
        """Add a line."""
        self._add(f"| {' | '.join(map(str, cells))} |")

    def _add(self, line: str) -> None:
        self._lines.append(line)
        print(line, flush=True)

    def __str__(self) -> str:
        return "\n".join(self._lines)


def keep(name: str, command: str, *tables: Table) -> None:
    """Write what one run has measured to ``results/<name>.md``: the tables, each a section that a page can take in.

    :param name: of the file; its sections are ``<name>-1``, ``<name>-2`` and so on.
    :param command: what was run.
    """
    about = (
        f"Measured by `{command}` on {dt.date.today():%d %B %Y}, version {__version__}: {os.cpu_count()} cores of "
        f"{_processor()}, {platform.python_implementation()} {platform.python_version()}, a load of "
        f"{_load:.1f} before it began."
    )
    parts = [_section(f"{name}-{number}", str(table)) for number, table in enumerate(tables, 1)]
    (RESULTS / f"{name}.md").write_text("\n\n".join([*parts, _section(f"{name}-about", about)]) + "\n")


def _section(name: str, text: str) -> str:
    return f"<!-- --8<-- [start:{name}] -->\n{text}\n<!-- --8<-- [end:{name}] -->"


def _processor() -> str:
    """Return the name of the processor, where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next(
        (line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine()
    )


#: Before the benchmark begins, which makes its own.
_load = os.getloadavg()[0]
