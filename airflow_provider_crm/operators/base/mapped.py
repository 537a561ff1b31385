"""What a task can know of its siblings: whether it is mapped, how the DAG's file gives its parameters, and whether all
instances would write the same file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from jinja2 import TemplateError, nodes

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.parameters import Parameter, TableName, is_known, path, path_or_table

#: What templates know of a run or a task: the same for all instances of a mapped one.
_OF_THE_RUN = frozenset(
    {
        *(
            "dag",
            "dag_run",
            "run_id",
            "test_mode",
            "task_instance_key_str",
            "var",
            "conn",
            "inlets",
            "outlets",
        ),
        *("ds", "ds_nodash", "ts", "ts_nodash", "ts_nodash_with_tz", "logical_date", "execution_date"),
        *(
            "data_interval_start",
            "data_interval_end",
            "start_date",
            "prev_ds",
            "next_ds",
            "yesterday_ds",
            "tomorrow_ds",
        ),
        *("prev_data_interval_start_success", "prev_data_interval_end_success", "prev_start_date_success"),
    }
)
#: Likewise, what `ti.` and `task.` have, and functions of dates.
_OF_THE_TASK = frozenset(
    {"dag_id", "task_id", "run_id", "try_number", "ds_add", "ds_format", "ds_format_locale"}
)


def is_mapped(context: Any) -> bool:
    """Return whether the task is one of several instances of a mapped task, or in a mapped group of tasks."""
    return _map_index(context) >= 0


def as_written(task: Any, context: Any) -> Any:
    """Return the task as the DAG has it, with its templates as they are written: what runs is a rendered copy."""
    dag = context.get("dag")
    return task if dag is None else dag.get_task(task.task_id)


def check_files(task: Any, context: Any, parameters: Mapping[str, Parameter]) -> None:
    """Refuse to write a file that another instance of the mapped task writes too, of which the last one would win.

    The first instance may: it may be the only one.

    :param parameters: the task's parameters, by the attributes that keep them.
    :raises CrmInputError: a path is the same for each instance.
    """
    if _map_index(context) < 1:
        return
    written = as_written(task, context)
    # What a mapped task is given by `expand` is none of these, and is each instance's own.
    shared = getattr(written, "partial_kwargs", None)
    same = _OF_THE_RUN if _maps_params(written) else _OF_THE_RUN | {"params"}
    for attribute, parameter in parameters.items():
        if not {path, path_or_table}.intersection(parameter.rules):
            continue
        given = getattr(written, attribute, None) if shared is None else shared.get(parameter.name)
        if given and not isinstance(given, TableName) and _is_the_same(task, given, same):
            raise CrmInputError(
                f"`{parameter.name}` is the same for each instance of the mapped task, of which the last one would "
                f"win: {str(given)!r}. Put {{{{ ti.map_index }}}} into it, or map over it too"
            )


def _map_index(context: Any) -> int:
    index = getattr(context.get("ti"), "map_index", -1)
    return index if isinstance(index, int) else -1


def _maps_params(written: Any) -> bool:
    """Return whether instances may have params of their own."""
    mapped = getattr(getattr(written, "expand_input", None), "value", ())
    if isinstance(mapped, Sequence):  # of `expand_kwargs`
        return any(not isinstance(one, Mapping) or "params" in one for one in mapped)
    return not isinstance(mapped, Mapping) or "params" in mapped


def _is_the_same(task: Any, given: Any, same: Collection[str]) -> bool:
    """Return whether a path is certainly the same for all instances; what another task gives may not be.

    :param same: the names in templates that mean the same for all.
    """
    if is_known(given) or not isinstance(given, str):
        return is_known(given)
    try:
        template = task.get_template_env().parse(given)
    except TemplateError:
        return False  # Airflow itself would have said so
    of_the_task = {id(one.node) for one in template.find_all(nodes.Getattr) if one.attr in _OF_THE_TASK}
    return all(name.name in same or id(name) in of_the_task for name in template.find_all(nodes.Name))
