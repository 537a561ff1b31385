"""The rejected rows of a run, by number, stage and reason, from its rejects file where the web server can read it.

Who writes a DAG names that file, so it is read as if it were anybody's: only so much of it and for only so long, and no
text of it is shown. A row's reason is told in the words that the history has for it, in which nobody is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

from airflow_provider_crm.exceptions import redact
from airflow_provider_crm.history.runs import Run
from airflow_provider_crm.rows.files import locate

#: Rows that are shown, bytes that are read for them, and seconds that this may take.
MOST_ROWS, MOST_BYTES, MOST_SECONDS = 200, 1_048_576, 3.0
#: Where tasks write: a web server is to call no other address because a DAG names it.
_SCHEMES = frozenset(("", "file", "s3", "s3a", "gs", "gcs", "abfs", "abfss", "wasb", "wasbs", "adl"))
_STAGES = frozenset(("read", "validate", "crm"))
#: What a reason has in place of a person's data, or of the number of another row.
_MASK = re.compile(r"<value>|<email>|<number>|\banother row\b")
#: What remains of it where a long reason was cut off.
_CUT_MASK = re.compile(r"<\w*$")

# A store that does not answer holds up two threads, and no further ones.
_readers = ThreadPoolExecutor(2, thread_name_prefix="crm-rejects")


class _Line(msgspec.Struct):
    """All that is taken of a line: keys and data are passed over."""

    row: int
    stage: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that was rejected.

    :param stage: where: ``read``, ``validate`` or ``crm``.
    :param reason: in the history's words; None where it has none for it.
    """

    row: int
    stage: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class RejectedRows:
    """The rejected rows of a run, by number.

    :param cut: there are more than were read.
    :param problem: why there are none to show; None where there are.
    """

    rows: tuple[RejectedRow, ...] = ()
    cut: bool = False
    problem: str | None = None


def rejected_rows(run: Run) -> RejectedRows | None:
    """Read the rejected rows of a run; None where it has no rejects file.

    :param run: with its reasons.
    """
    path = run.rejects_path
    if not path:
        return None
    if urlsplit(path).scheme not in _SCHEMES:
        return RejectedRows(problem="This kind of address is not read by the web server.")
    reading = _readers.submit(_read, path)
    try:
        text, cut = reading.result(timeout=MOST_SECONDS)
    except TimeoutError:
        reading.cancel()
        return RejectedRows(problem=f"The web server could not read it within {MOST_SECONDS:.0f} seconds.")
    except Exception as error:
        return RejectedRows(problem=f"The web server cannot read it ({type(error).__name__}).")
    rows = list(_rows_of(text, run))
    rows.sort(key=lambda row: row.row)
    return RejectedRows(tuple(rows[:MOST_ROWS]), cut or len(rows) > MOST_ROWS)


def _read(path: str) -> tuple[bytes, bool]:
    place = locate(path)
    if not place.is_file():
        raise FileNotFoundError
    text = b""
    with place.open() as file:
        while len(text) <= MOST_BYTES and (some := file.read(MOST_BYTES + 1 - len(text))):
            text += some
    cut = len(text) > MOST_BYTES
    return text[: text.rfind(b"\n") + 1] if cut else text, cut


def _rows_of(text: bytes, run: Run) -> Iterator[RejectedRow]:
    decoder = msgspec.json.Decoder(_Line)
    told = [(reason.stage, reason.reason) for reason in run.reasons if reason.end == "rejected"]
    for line in text.splitlines():
        try:
            found = decoder.decode(line)
        except (msgspec.DecodeError, RecursionError):
            continue  # no line of a rejects file
        stage = found.stage if found.stage in _STAGES else None
        words = [reason for at, reason in told if at == found.stage and _tells(reason, found.reason)]
        yield RejectedRow(found.row, stage, max(words, key=_said, default=None))


def _tells(told: str, reason: str) -> bool:
    """Return whether the history's words may be those for a reason."""
    cut = told.endswith("…")
    first, *others = _MASK.split(_CUT_MASK.sub("", told[:-1]) if cut else told)
    text = redact(reason)
    if not text.startswith(first):
        return False
    at = len(first)
    if not others:
        return cut or at == len(text)
    *between, last = others
    for part in between:
        found = text.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return text.find(last, at) >= 0 if cut else len(text) - len(last) >= at and text.endswith(last)


def _said(told: str) -> int:
    """Return how much of a reason is not hidden."""
    return len(_MASK.sub("", told))
