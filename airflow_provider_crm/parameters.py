"""What a user gave a task, and what it may be: the only place that decides it, for operators, sensors and triggers.

What a parameter may be stands in its annotation, ``mode: Annotated[str, one_of("upsert", "create")] = "upsert"``. It is
looked at as soon as the value is known: while the DAG is parsed, or once its template is rendered.
"""

from __future__ import annotations

import datetime as dt
import inspect
import math
import os
import re
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.values import moment_of

#: Reads the value of a parameter: takes its name and the value, and raises :class:`CrmInputError`.
Rule = Callable[[str, Any], Any]

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_TEMPLATE = re.compile(r"\{[{%#]")
#: Calls in flight of one task: each is a thread.
MOST_CONCURRENCY = 1000


@runtime_checkable
class StoragePath(Protocol):
    """A path in an object store, such as Airflow's ``ObjectStoragePath``, whose text names its connection too."""

    @property
    def protocol(self) -> str: ...

    @property
    def storage_options(self) -> Mapping[str, Any]: ...


@runtime_checkable
class TableName(Protocol):
    """A place in a SQL database."""

    conn_id: str
    name: str
    is_shared: bool  # by tasks; paths of object stores have a connection and a name, too


def is_nothing(value: Any) -> bool:
    """Return whether a value means that the parameter was not given: None, or what a template makes of None."""
    # Airflow's proxies of what a run has not are no None, but say that they are of its class.
    return isinstance(value, type(None)) or (isinstance(value, str) and value in ("", "None"))


def yes_or_no(name: str, value: Any) -> bool:
    """Return True or False. Any other text would be true, and "False" allow what it was to forbid.

    :raises CrmInputError: it is neither, nor the text of one of them.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise CrmInputError(f"`{name}` is True or False, not {value!r}")


def one_of(*allowed: str) -> Rule:
    """Return the rule that a value is one of these, in any case of letters; it is read as it is written here."""
    by_lower = {choice.lower(): choice for choice in allowed}

    def rule(name: str, value: Any) -> str:
        found = by_lower.get(str(value).strip().lower()) if isinstance(value, str | bool) else None
        if found is None:
            raise CrmInputError(f"`{name}` is one of {', '.join(map(repr, allowed))}, not {value!r}")
        return found

    return rule


def whole(least: int, most: int | None = None) -> Rule:
    """Return the rule that a value is a whole number, or the text of one, between two bounds."""

    def rule(name: str, value: Any) -> int:
        text = str(value).strip()
        is_number = isinstance(value, int | str) and not isinstance(value, bool) and _WHOLE.fullmatch(text)
        if is_number and least <= (number := int(text)) and (most is None or number <= most):
            return number
        bounds = f"from {least} on" if most is None else f"between {least} and {most}"
        raise CrmInputError(f"`{name}` is a whole number {bounds}, not {value!r}")

    return rule


def number(least: float, most: float) -> Rule:
    """Return the rule that a value is a number, or the text of one, between two bounds."""

    def rule(name: str, value: Any) -> float:
        try:
            read = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            read = math.nan
        if not least <= read <= most:
            raise CrmInputError(f"`{name}` is a number between {least:g} and {most:g}, not {value!r}")
        return read

    return rule


def rows_or_share(name: str, value: Any) -> int | float:
    """Return a number of rows, or, as a float, a share of them.

    :raises CrmInputError: it is neither.
    """
    read: Any = value
    if isinstance(value, str):  # rendered from a template
        try:
            read = int(value) if _WHOLE.fullmatch(value.strip()) else float(value)
        except ValueError:
            read = None
    if isinstance(read, bool) or not isinstance(read, int | float) or not read >= 0:
        raise CrmInputError(f"`{name}` is a number of rows, or a share of them as a float such as 0.01")
    if isinstance(read, float) and read > 1:
        raise CrmInputError(f"`{name}` as a float is a share of the rows, at most 1.0")
    return read


def yes_no_or_rows(name: str, value: Any) -> bool | int | float:
    """Return True or False, or a number of rows, or, as a float, a share of them.

    :raises CrmInputError: it is none of them.
    """
    if isinstance(value, bool) or (isinstance(value, str) and value.strip().lower() in ("true", "false")):
        return yes_or_no(name, value)
    return rows_or_share(name, value)


def text(name: str, value: Any) -> str:
    """Return a text, such as the name of a column or the id of a connection.

    :raises CrmInputError: it is none, blank, or holds what no database and no call takes.
    """
    if not isinstance(value, str) or not value.strip():
        raise CrmInputError(f"`{name}` is a text, not {value!r}")
    if "\0" in value:
        raise CrmInputError(f"`{name}` holds a NUL character")
    return value


def text_or_number(name: str, value: Any) -> str:
    """Return a text, or a whole number as one, such as an id.

    :raises CrmInputError: it is neither.
    """
    return text(name, str(value) if isinstance(value, int) and not isinstance(value, bool) else value).strip()


def several(*, commas: bool) -> Rule:
    """Return the rule that a value is one text or whole number, or several of them; each is read once.

    :param commas: whether a text may list several.
    """

    def rule(name: str, value: Any) -> list[str]:
        parts: Any = [value]
        if isinstance(value, str):
            parts = text(name, value).split(",") if commas else [value]
        elif isinstance(value, Iterable):
            parts = value
        return list(dict.fromkeys(one for part in parts if (one := text_or_number(name, part))))

    return rule


def amount(name: str, value: Any) -> Any:
    """Return an amount as it was given.

    :raises CrmInputError: it is no number.
    """
    try:
        if not isinstance(value, bool) and Decimal(str(value).strip()).is_finite():
            return value
    except InvalidOperation:
        pass
    raise CrmInputError(f"`{name}` is a number, not {value!r}")


def path(name: str, value: Any) -> str:
    """Return a path or URI as text, which is what goes into logs and XComs.

    :raises CrmInputError: it is none.
    """
    if isinstance(value, StoragePath):
        return str(value)
    given = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(given, str) or not given.strip() or "\0" in given:
        raise CrmInputError(f"`{name}` is a path or a URI, not {value!r}")
    return given


def path_or_table(name: str, value: Any) -> Any:
    """Return a path or URI as text, and what names a place in a SQL database as it is."""
    return value if isinstance(value, TableName) else path(name, value)


def name_in_folder(name: str, value: Any) -> str:
    """Return the beginning of a file's name, which does not lead into another folder.

    :raises CrmInputError: it does, or is no text.
    """
    if re.search(r"[/\\]", text(name, value)):
        raise CrmInputError(f"`{name}` begins a file's name and has no slash, unlike {value!r}")
    return str(value)


def dicts(name: str, value: Any) -> Sequence[Mapping[str, Any]]:
    """Return a list of records, as a hook's call takes them; raise CrmInputError where it is none."""
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    if is_list and all(isinstance(one, Mapping) for one in value):
        return value  # type: ignore[no-any-return]
    raise CrmInputError(f"`{name}` is a list of dicts")


def field_map(name: str, value: Any) -> Mapping[str, str | int]:
    """Return a mapping of the source's columns to the CRM's fields.

    :raises CrmInputError: it is none, or is written the other way round.
    """
    if not isinstance(value, Mapping):
        raise CrmInputError(f"`{name}` is a mapping of column to field, not a {type(value).__name__}")
    for column, field in value.items():
        if not isinstance(column, str) or isinstance(field, bool) or not isinstance(field, str | int):
            raise CrmInputError(
                f"`{name}` says which column goes into which field, such as {{'e_mail': 'email'}}, and "
                f"{column!r}: {field!r} is no name of a column with a name or number of a field"
            )
    return value


def moment(name: str, value: Any) -> dt.datetime:
    """Return a time: a datetime, a date (its beginning), or the text of either; it is read as a cell of a source is.

    :raises CrmInputError: it is none.
    """
    try:
        return moment_of(value)
    except ValueError:
        given = repr(value) if isinstance(value, str) else f"a {type(value).__name__}"
    raise CrmInputError(f"`{name}` is no time: {given}; write YYYY-MM-DD HH:MM:SS, with or without a zone")


def time_as_given(name: str, value: Any) -> Any:
    """Return a time as it was given, since a text without zone is sent as it is.

    :raises CrmInputError: it is no time.
    """
    moment(name, value)
    return value


def the_one_given(**parameters: Any) -> dict[str, str]:
    """Return the one of several parameters that is given.

    :return: its name and its value.
    :raises CrmInputError: none of them is, or more than one.
    """
    given = {name: value for name, value in parameters.items() if value is not None}
    if len(given) != 1:
        names = " and ".join(f"`{name}`" for name in parameters)
        raise CrmInputError(f"Exactly one of {names} is required, {len(given)} are given")
    return given


Text = Annotated[str, text]
ConnId = Annotated[str, text]
Column = Annotated[str, text]
Id = Annotated[str | int, text_or_number]
Email = Annotated[str, text_or_number]
Ids = Annotated[str | int | Sequence[str | int], several(commas=True)]
Names = Annotated[str | Sequence[str], several(commas=False)]
Amount = Annotated[Decimal | float | str, amount]
YesOrNo = Annotated[bool | str, yes_or_no]
Path = Annotated[str | os.PathLike[str] | StoragePath, path]
MaxRejects = Annotated[int | float | str, rows_or_share]
Approval = Annotated[bool | int | float | str, yes_no_or_rows]
Share = Annotated[float | str, number(0, 1_000)]
MinRows = Annotated[int | str, whole(0)]
Concurrency = Annotated[int | str, whole(1, MOST_CONCURRENCY)]
Count = Annotated[int | str, whole(1)]
Seconds = Annotated[float | str, number(0, 86_400)]
Time = Annotated[dt.datetime | dt.date | str, time_as_given]
FieldMap = Annotated[Mapping[str, str | int], field_map]
Nulls = Annotated[typing.Literal["skip", "send"], one_of("skip", "send")]


class Parameter(NamedTuple):
    """A parameter of an operator or a sensor.

    :param attribute: where the task keeps it.
    :param rules: what it may be: each reads what the one before has read.
    :param may_be_nothing: whether it may be None: as its default, or instead of it.
    """

    name: str
    attribute: str
    rules: tuple[Rule, ...]
    may_be_nothing: bool

    def read(self, value: Any) -> Any:
        """Return the value as the task uses it.

        :raises CrmInputError: it cannot be used.
        """
        if is_nothing(value):
            if self.may_be_nothing:
                return None
            raise CrmInputError(f"`{self.name}` is missing: it is {value!r}")
        for rule in self.rules:
            value = rule(self.name, value)
        return value


class CheckedParameters:
    """Gives a task's class rules for its parameters: mixed in before Airflow's own class.

    Rules of a class written on top of ours count too; its parameters without a rule are left alone.
    """

    #: Parameters that are kept under another name, since Airflow has an attribute of theirs.
    kept_as: ClassVar[Mapping[str, str]] = {"dry_run": "only_plan", "email": "person_email"}

    _parameters: ClassVar[Mapping[str, Parameter]]

    @classmethod
    def parameters(cls) -> Mapping[str, Parameter]:
        """Return all parameters that are not Airflow's own, by the name of the attribute that keeps them."""
        if "_parameters" not in vars(cls):
            cls._parameters = _parameters_of(cls)
        return cls._parameters

    def __setattr__(self, name: str, value: Any) -> None:
        # Airflow sets a field anew when it has rendered it.
        parameter = self.parameters().get(name)
        if parameter is not None and is_known(value):
            value = parameter.read(value)
        super().__setattr__(name, value)

    def check_parameters(self) -> None:
        """Check what still looked like a template when it was set.

        :raises CrmInputError: a parameter cannot be used.
        """
        for parameter in self.parameters().values():
            value = getattr(self, parameter.attribute, None)
            if not is_known(value):
                super().__setattr__(parameter.attribute, parameter.read(value))


def _parameters_of(kind: type[CheckedParameters]) -> Mapping[str, Parameter]:
    found: dict[str, Parameter] = {}
    for cls in reversed(kind.__mro__):
        if not issubclass(cls, CheckedParameters) or "__init__" not in vars(cls):
            continue
        init = inspect.unwrap(vars(cls)["__init__"])
        if init.__qualname__ != f"{cls.__qualname__}.__init__":
            continue  # Airflow gives a class that has none a wrapped one of the class above it
        try:
            hints = typing.get_type_hints(init, include_extras=True)
        except NameError:  # a class of somebody else, whose annotations are for a type checker only
            hints = {}
        for name, parameter in inspect.signature(init).parameters.items():
            if parameter.kind is parameter.KEYWORD_ONLY:
                attribute = kind.kept_as.get(name, name)
                hint = hints.get(name)
                may_be_nothing = parameter.default is None or type(None) in typing.get_args(hint)
                found[attribute] = Parameter(name, attribute, _rules_in(hint), may_be_nothing)
    return found


def _rules_in(hint: Any) -> tuple[Rule, ...]:
    """Find the rules in an annotation; ``X | None`` has those of X."""
    for one in (hint, *typing.get_args(hint)):
        if rules := tuple(filter(inspect.isfunction, getattr(one, "__metadata__", ()))):
            return rules
    return ()


def is_known(value: Any) -> bool:
    """Return whether a value is already what it will be when the task runs."""
    if isinstance(value, str):
        return not _TEMPLATE.search(value)
    if isinstance(value, Mapping):
        return all(map(is_known, value.values()))
    if isinstance(value, list | tuple | set):
        return all(is_known(one) for one in value if not isinstance(one, Mapping))  # which would be a row
    # As Airflow itself tells the output of another task; a path has such a method too.
    resolves = callable(getattr(value, "resolve", None))
    return not resolves or isinstance(value, os.PathLike | StoragePath)
