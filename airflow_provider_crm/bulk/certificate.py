"""The proof of an erasure: a line for each person, kept while the task runs, is killed and tried again.

Knows no CRM. Names people by keyed hashes only. The certificate is whole or absent; until then a draft lies beside it,
from which a retry learns what was done: an erasure cannot be looked up afterwards.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.rows.files import Location, locate
from airflow_provider_crm.rows.journal import Journal
from airflow_provider_crm.rows.jsonlines import encode_line
from airflow_provider_crm.rows.scratch import scratch_table
from airflow_provider_crm.rows.targets import target_at

#: What was found, and nothing is known of more.
FOUND = "found"

Entry = dict[str, Any]
"""``{"result": str, "at": when, ...}`` of one person in one system."""


class Certificate:
    """Keeps what became of people, and writes it down in the end. Safe to share between threads.

    :param path: where the certificate comes into being.
    :param run: which run it is, and who approved it: a part of each line.
    """

    def __init__(self, path: str, run: Mapping[str, Any]) -> None:
        self._path = path
        self._run = dict(run)
        self._draft_path = f"{path}.draft"
        self._draft = Journal(self._draft_path)
        self._lock = threading.Lock()
        self._store = scratch_table(
            "done (key TEXT PRIMARY KEY, number INTEGER, person TEXT, systems TEXT)", self
        )

    def open(self) -> None:
        """Read what earlier tries of this run have done.

        :raises CrmInputError: there is the certificate or the draft of another run, or it cannot be written to.
        """
        whole = locate(self._path)
        if whole.is_file():
            for line in _lines(whole):
                if "person" in line:
                    self._check(line, "certificate")
                    self._put(line["key"], line["row"], line["person"], line["systems"])
        draft = locate(self._draft_path)
        size = 0
        if draft.is_file():
            size = _whole_lines(draft)
            for line in _lines(draft, size):
                if "run_id" in line:
                    self._check(line, "unfinished certificate")
                else:
                    self._put(line["key"], line["row"], line["person"], line["systems"])
        self._draft.open(resume_at=size or None)
        if not size:
            self._draft.append(self._run)
            self._draft.sync()

    def _check(self, line: Mapping[str, Any], what: str) -> None:
        if any(line.get(name) != self._run[name] for name in ("dag_id", "run_id", "task_id", "map_index")):
            raise CrmInputError(
                f"There is the {what} of another run at {self._path}: nothing was erased. It is a proof, and is not "
                f"written over: let `certificate_path` have the run's id in it"
            )

    def close(self) -> None:
        """Close the draft, which stays for the next try unless :meth:`publish` was called."""
        self._draft.close()

    def known(self, key: str) -> dict[str, Entry]:
        """Return what is known of a row's person, by system."""
        with self._lock:
            found = self._store.execute("SELECT systems FROM done WHERE key = ?", (key,)).fetchone()
        return {} if found is None else json.loads(found[0])

    def note(self, key: str, row: int, person: str, systems: Mapping[str, Entry]) -> None:
        """Note what became of a row's person, so that it lasts.

        :param key: of all that the row names the person by.
        :param person: a hash of the address.
        :param systems: what is new.
        """
        with self._lock:
            self._put(key, row, person, systems)
            self._draft.append({"key": key, "row": row, "person": person, "systems": systems})
            self._draft.sync()

    def _put(self, key: str, row: int, person: str, systems: Mapping[str, Entry]) -> None:
        found = self._store.execute("SELECT systems FROM done WHERE key = ?", (key,)).fetchone()
        together = {**(json.loads(found[0]) if found else {}), **systems}
        self._store.execute(
            "INSERT OR REPLACE INTO done VALUES (?, ?, ?, ?)", (key, row, person, json.dumps(together))
        )

    def publish(self) -> dict[str, Counter[str]]:
        """Put the certificate into its place.

        :return: the results by system, with their number.
        """
        results: dict[str, Counter[str]] = {}
        digest = hashlib.sha256()
        lines = 0
        target = target_at(self._path)
        file = target.open()
        try:
            for line in self._each():
                lines += 1
                for system, entry in line["systems"].items():
                    results.setdefault(system, Counter())[entry["result"]] += 1
                data = encode_line(line)
                digest.update(data)
                file.write(data)
            file.write(
                encode_line({**self._run, "lines": lines, "results": results, "sha256": digest.hexdigest()})
            )
            target.commit()
        except BaseException:
            target.abandon()
            raise
        self._draft.close()
        locate(self._draft_path).remove()
        return results

    def _each(self) -> Iterator[dict[str, Any]]:
        rows = self._store.execute("SELECT key, number, person, systems FROM done ORDER BY number, key")
        for key, number, person, systems in rows:
            yield {
                "person": person,
                "row": number,
                "key": key,
                **self._run,
                "systems": json.loads(systems),
            }


def _lines(location: Location, size: int | None = None) -> Iterator[dict[str, Any]]:
    with closing(location.open()) as file:
        data = file.read() if size is None else file.read(size)
    for line in data.splitlines():
        yield json.loads(line)


def _whole_lines(location: Location) -> int:
    """Return how many bytes of a draft are whole lines: a kill may have cut the last one."""
    with closing(location.open()) as file:
        return file.read().rfind(b"\n") + 1
