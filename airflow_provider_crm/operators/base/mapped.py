"""What a task can know of its siblings: whether it is mapped, and how the DAG's file gives its parameters."""

from __future__ import annotations

from typing import Any


def is_mapped(context: Any) -> bool:
    """Return whether the task is one of several instances of a mapped task, or in a mapped group of tasks."""
    index = getattr(context.get("ti"), "map_index", -1)
    return isinstance(index, int) and index >= 0


def as_written(task: Any, context: Any) -> Any:
    """Return the task as the DAG has it, with its templates as they are written: what runs is a rendered copy."""
    dag = context.get("dag")
    return task if dag is None else dag.get_task(task.task_id)
