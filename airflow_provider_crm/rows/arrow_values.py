"""Arrow as it is used here, and what its values are in Python: microseconds, and maps as dicts."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_provider_crm.exceptions import CrmInputError

if TYPE_CHECKING:
    import pyarrow

Convert = Callable[[list[Any]], list[Any]]
#: A column, and what its values become once they are Python's.
PythonColumn = tuple["pyarrow.Array", Convert]


def load_arrow() -> None:
    """Import what Parquet needs.

    :raises CrmInputError: pyarrow is not installed.
    """
    # Of the pool that Arrow would take, each thread keeps several times what it needs. It asks once, when it is loaded.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise CrmInputError(
            "Parquet needs pyarrow: install it with pip install 'airflow-provider-crm[parquet]'."
        ) from error
    # Where somebody else has loaded it before:
    pyarrow.set_memory_pool(pyarrow.system_memory_pool())


def for_python(column: pyarrow.Array) -> PythonColumn:
    """Prepare a column, so that its ``to_pylist()``, converted, holds what Python has for its values.

    Nanoseconds are rounded down: Python's own dates have none, and pyarrow would need pandas to hold them. A map is a
    list of pairs to pyarrow, and a dict to everybody else.
    """
    import pyarrow

    if pyarrow.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    target = _in_microseconds(column.type)
    if target != column.type:
        column = column.cast(target, safe=False)
    convert = _converter(column.type)
    return column, _unchanged if convert is None else lambda values: [convert(value) for value in values]


def _unchanged(values: list[Any]) -> list[Any]:
    return values


def _in_microseconds(kind: pyarrow.DataType) -> pyarrow.DataType:
    import pyarrow

    types = pyarrow.types
    if getattr(kind, "unit", None) == "ns":
        if types.is_timestamp(kind):
            return pyarrow.timestamp("us", kind.tz)
        return pyarrow.time64("us") if types.is_time(kind) else pyarrow.duration("us")
    if types.is_map(kind):
        return pyarrow.map_(_in_microseconds(kind.key_type), _in_microseconds(kind.item_type))
    if types.is_list(kind) or types.is_large_list(kind):
        of = kind.value_field.with_type(_in_microseconds(kind.value_type))
        return pyarrow.list_(of) if types.is_list(kind) else pyarrow.large_list(of)
    if types.is_fixed_size_list(kind):
        return pyarrow.list_(kind.value_field.with_type(_in_microseconds(kind.value_type)), kind.list_size)
    if types.is_struct(kind):
        return pyarrow.struct([field.with_type(_in_microseconds(field.type)) for field in kind])
    return kind


def _converter(kind: pyarrow.DataType) -> Callable[[Any], Any] | None:
    """Return how a value is converted, or None where there is no map in it."""
    import pyarrow

    types = pyarrow.types
    if types.is_map(kind):
        return _map_to_dict(_converter(kind.key_type), _converter(kind.item_type))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        inner = _converter(kind.value_type)
        return _each(inner) if inner else None
    if types.is_struct(kind):
        fields = {field.name: convert for field in kind if (convert := _converter(field.type))}
        return _fields(fields) if fields else None
    return None


def _each(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda items: None if items is None else [convert(item) for item in items]


def _fields(converters: dict[str, Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def convert(struct: Any) -> Any:
        if struct is None:
            return None
        return {**struct, **{name: convert(struct[name]) for name, convert in converters.items()}}

    return convert


def _map_to_dict(
    key_of: Callable[[Any], Any] | None, item_of: Callable[[Any], Any] | None
) -> Callable[[Any], Any]:
    def convert(pairs: Any) -> Any:
        if pairs is None:
            return None
        found = {key_of(key) if key_of else key: item_of(item) if item_of else item for key, item in pairs}
        if len(found) != len(pairs):
            raise ValueError("a key is in the map twice")
        return found

    return convert
