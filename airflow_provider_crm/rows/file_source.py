"""Files of which more is to be said than their path, as a parameter of a task."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import KW_ONLY, dataclass
from typing import Any

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.rows.encodings import is_utf8


@dataclass(frozen=True, slots=True)
class TextFormat:
    """How the text of a file is to be read.

    :param encoding: as Python names it.
    :param delimiter: of CSV; None when its header tells it.
    :param nulls: the texts that stand for nothing.
    """

    encoding: str = "utf-8"
    delimiter: str | None = None
    nulls: frozenset[str] = frozenset(("",))


#: What a path alone says.
PLAIN_TEXT = TextFormat()


@dataclass
class FileSource:
    r"""The rows of files that their path alone does not explain.

    ``FileSource(path)`` is the same source as ``path``.

    :param path: a file, a pattern or a folder. (templated)
    :param encoding: of CSV and JSON lines, as Python names it, such as ``cp1252``, in which Mindbaz exports. UTF-16 is
        told by its mark. (templated)
    :param delimiter: of CSV: one character; None for comma, semicolon or tab, as the header tells. (templated)
    :param null_values: the texts that stand for nothing in CSV and JSON lines, such as ``("", "NULL", r"\N")``.
    """

    path: Any
    _: KW_ONLY
    encoding: str = "utf-8"
    delimiter: str | None = None
    null_values: Collection[str] = ("",)

    # Airflow sets the rendered values on the object itself, so it cannot be frozen. Null values are no templates: a
    # DAG that renders to native objects would make "" and "None" None.
    template_fields = ("path", "encoding", "delimiter")

    def text_format(self) -> TextFormat:
        """Check what is said, and return it.

        :raises CrmInputError: it makes no sense; says what would.
        """
        try:
            is_utf8(str(self.encoding))
        except LookupError as error:
            raise CrmInputError(
                f"`encoding` is one that Python knows, such as 'utf-8', 'cp1252' or 'utf-16', not {self.encoding!r}."
            ) from error
        delimiter = self.delimiter
        if delimiter is not None and not (
            isinstance(delimiter, str) and len(delimiter) == 1 and delimiter not in '"\r\n'
        ):
            raise CrmInputError(f"`delimiter` is one character, such as ';' or '|', not {delimiter!r}.")
        nulls = self.null_values
        if not isinstance(nulls, (list, tuple, set, frozenset)) or not all(
            isinstance(text, str) for text in nulls
        ):
            raise CrmInputError(f"`null_values` is a list of texts, such as ['', 'NULL'], not {nulls!r}.")
        return TextFormat(str(self.encoding), delimiter, frozenset(nulls))
