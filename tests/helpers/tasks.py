"""Run an operator on rows, hold its account against its files, and read how each row ended."""

from __future__ import annotations

import inspect
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .approvals import Answer

#: What the results of erasures say of a person, who counts as updated.
ERASED = ("deleted", "anonymised")
ENDINGS = ("created", "updated", "unchanged", "skipped", "rejected")


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    :ivar summary: what the task returned.
    :ivar results: the lines of its results file, in the order of the source; none where it was told to write none.
    :ivar rejects: the lines of its rejects file, likewise.
    """

    summary: dict[str, Any]
    results: list[dict[str, Any]]
    rejects: list[dict[str, Any]]

    @property
    def ends(self) -> list[str]:
        """How each row ended, in one word."""
        return [line["outcome"] for line in self.results]

    @property
    def said(self) -> list[str]:
        """How each row ended, with the reason where one is given."""
        return [
            f"{line['outcome']}: {line['reason']}" if line["reason"] else line["outcome"]
            for line in self.results
        ]

    @property
    def counts(self) -> Counter[str]:
        """How many rows ended in which way, as the summary counts them."""
        return Counter("updated" if end in ERASED else end for end in self.ends)

    @property
    def reasons(self) -> dict[int, str]:
        """Why rows were rejected, with the stage, by the number of the row."""
        return {line["row"]: f"{line['stage']}: {line['reason']}" for line in self.rejects}


class TaskRunner:
    """Runs operators, each as a task with a results and a rejects file.

    :param folder: takes the files.
    """

    def __init__(self, folder: Path) -> None:
        self.results_path = folder / "results.jsonl"
        self.rejects_path = folder / "rejects.jsonl"

    def __call__(
        self,
        operator_class: type[Any],
        source: Any,
        *,
        store: Any = None,
        context: dict[str, Any] | None = None,
        answer: Answer | None = None,
        **parameters: Any,
    ) -> Ended:
        """Run an operator to its end; whatever it raises is raised.

        :param source: its rows; None where it finds them itself.
        :param store: the task's state store, as Airflow 3.3 hands one to a task.
        :param answer: gives what Airflow says once a person who was asked has answered; nobody answers without it.
        :param parameters: any number of rejects is borne unless they say otherwise.
        """
        given = {
            "task_id": "task",
            **({} if source is None else {"source": source}),
            "max_rejects": 1.0,
            "results_path": str(self.results_path),
            "rejects_path": str(self.rejects_path),
            **parameters,
        }
        from airflow_provider_crm._compat import PAUSES  # not before Airflow has its home

        # Airflow 2 wraps the method in a way that works in the main thread only.
        execute = inspect.unwrap(operator_class.execute)
        state = {} if store is None else {"task_state_store": store}
        known = {**(context or {}), **state}
        try:
            summary = execute(operator_class(**given), known)
        except PAUSES as pause:
            if answer is None:
                raise
            summary = resume(operator_class(**given), pause, answer(), known)
        if not (given["results_path"] and given["rejects_path"]):
            return Ended(summary, [], [])
        ended = Ended(summary, self.results, self.rejects)
        check_account(ended, len(source) if isinstance(source, list) else summary["read"])
        return ended

    @property
    def results(self) -> list[dict[str, Any]]:
        """The lines of the results file, also of a task that failed."""
        return read_lines(self.results_path)

    @property
    def rejects(self) -> list[dict[str, Any]]:
        """The lines of the rejects file, also of a task that failed."""
        return read_lines(self.rejects_path)


def resume(operator: Any, pause: Any, event: Any, context: Any) -> Any:
    """Let an operator go on after a pause, as Airflow does: another object, and what it was given as JSON.

    :param event: what it waited for.
    """
    kwargs = json.loads(json.dumps(pause.kwargs))
    return getattr(operator, pause.method_name)(context, event=event, **kwargs)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a results or rejects file, in the order of the source."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return sorted(lines, key=lambda line: line["row"])


def check_account(ended: Ended, rows: int) -> None:
    """Check that each row ended once, and that summary, results and rejects tell the same."""
    assert [line["row"] for line in ended.results] == list(range(1, rows + 1)), "each row ends once"
    assert ended.summary["read"] == rows
    assert {name: ended.summary[name] for name in ENDINGS} == {name: ended.counts[name] for name in ENDINGS}
    rejected = [(line["row"], line["reason"]) for line in ended.results if line["outcome"] == "rejected"]
    assert [(line["row"], line["reason"]) for line in ended.rejects] == rejected
    assert all(reason for _, reason in rejected), "a rejected row has a reason"
