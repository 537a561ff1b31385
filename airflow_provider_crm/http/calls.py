"""One call of a vendor's API as data: its parts, and how each of them is encoded. Knows neither sending nor vendors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

import msgspec

from airflow_provider_crm.exceptions import CrmInputError, CrmNotFoundError
from airflow_provider_crm.http.auth import CrmAuth
from airflow_provider_crm.values import key_of


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a vendor's API, before it becomes a request.

    :param method: the HTTP verb.
    :param path: template below the base URL, such as ``/customers/{id}``; shown in errors as it is.
    :param values: what stands in the path's braces; encoded here.
    :param query: names and values, encoded here.
    :param body: the encoded JSON or form.
    :param content_type: of the body.
    :param repeatable: whether sending it twice leaves the CRM as sending it once does.
    :param url: the whole URL when it is not below the base URL.
    :param before: called each time in the very moment before the call leaves, after all waiting; what it raises
        keeps the call from leaving.
    """

    method: str
    path: str
    values: Mapping[str, object] = field(default_factory=dict)
    query: Sequence[tuple[str, str]] = ()
    body: bytes | None = None
    content_type: str = "application/json"
    repeatable: bool = True
    url: str | None = None
    auth: CrmAuth | None = None
    before: Callable[[], object] | None = None

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    def url_below(self, base_url: str) -> str:
        """Build the URL, every value percent-encoded."""
        try:
            url = self.url or base_url + self.path.format_map(
                {name: _path_segment(name, value) for name, value in self.values.items()}
            )
            # The two signs that lists of people are full of stand as they are in the vendors' own samples.
            return f"{url}?{urlencode(self.query, quote_via=quote, safe='@,')}" if self.query else url
        except UnicodeError:
            pass  # its message quotes the value
        raise CrmInputError(f"{self.name}: a value holds characters that a URL cannot carry")


def _path_segment(name: str, value: object) -> str:
    text, problem = "", ""
    try:
        text = key_of(value)
    except ValueError as error:
        problem = str(error)
    if problem:
        raise CrmInputError(f"{name}: {problem}")
    # An empty segment or dots would lead to another resource than the one that is meant.
    if text in ("", ".", ".."):
        raise CrmInputError(f"{name} is empty or cannot stand in a path")
    return quote(text, safe="")


def encode_json(value: object) -> bytes:
    """Encode a request's body.

    :raises CrmInputError: a value that JSON cannot express, among them NaN, which would silently become ``null``.
    """
    try:
        body = msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        # Its type names the value's type only; an encoding error would quote the value.
        problem = (
            str(error) if isinstance(error, TypeError) else "it holds characters or numbers out of bounds"
        )
    else:
        if b"null" not in body or not _holds_nan(value):
            return body
        problem = "it holds a number that is none (NaN or infinite)"
    raise CrmInputError(f"A value cannot be sent as JSON: {problem}")


@contextmanager
def gone_is_deleted() -> Iterator[None]:
    """Accept a 404 to a deletion after a try without an answer: that try has done it."""
    try:
        yield
    except CrmNotFoundError as error:
        if not error.after_unknown:
            raise


def _holds_nan(value: object) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, Mapping):
        return any(map(_holds_nan, value.values()))
    if isinstance(value, msgspec.Struct):
        return any(map(_holds_nan, msgspec.structs.astuple(value)))
    return isinstance(value, (list, tuple, set, frozenset)) and any(map(_holds_nan, value))
