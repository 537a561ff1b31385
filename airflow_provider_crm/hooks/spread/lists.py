"""SPREAD's lists: where each of them is, what narrows it, and where the rows stand in an answer.

Knows no HTTP. Facts: as in :mod:`.hook`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.hooks.spread.wire import page_sizes, raw_under
from airflow_provider_crm.http.answers import UnreadableError, read_json
from airflow_provider_crm.http.calls import Call
from airflow_provider_crm.http.lists import RowPage
from airflow_provider_crm.schemas.spread.read import (
    ANSWER_FILTERS,
    CUSTOMER_CONSENT_FILTERS,
    CUSTOMER_FILTERS,
    LOYALTY_FILTERS,
    Record,
    decode,
    plain_customer,
    query_of,
    rows_of,
)

#: PHP's ways to print that there is nothing.
_NOTHING = frozenset((b"null", b"false", b"[]", b"{}", b'""'))


class ListAnswer:
    """``{"customers": [...], ...}``, or, in a record, ``{"customer": {"id": ..., "consents": [...]}, ...}``.

    :param root: the key of the answer's root.
    :param inner: the key of the rows in the record under it; None where they stand under the root itself.
    :param plain: normalises a row.
    """

    def __init__(
        self, root: str, inner: str | None = None, *, plain: Callable[[Record], Record] | None = None
    ) -> None:
        self._root = root
        self._inner = inner
        self._plain = plain

    def rows(self, body: bytes) -> list[Record]:
        """Return the rows, each a dict in which the vendor's quirks are gone."""
        data, record = self._find(body)
        rows = rows_of(decode(data))
        if self._plain is not None:
            rows = list(map(self._plain, rows))
        if rows and (said := self._about(record)):
            rows = [{**row, **said} for row in rows]
        return rows

    def raw_rows(self, body: bytes) -> tuple[list[msgspec.Raw], dict[str, Any]]:
        """Return the rows as they came, and what the record around them says of each."""
        data, record = self._find(body)
        if bytes(data) in _NOTHING:
            return [], {}
        # PHP prints a list with gaps as a map.
        rows = read_json(bytes(data), list[msgspec.Raw] | dict[str, msgspec.Raw])  # type: ignore[arg-type]
        return list(rows.values()) if isinstance(rows, dict) else rows, self._about(record) if rows else {}

    def _find(self, body: bytes) -> tuple[msgspec.Raw, Mapping[str, msgspec.Raw]]:
        """Find the list, and what stands beside it in the record that holds it."""
        under = raw_under(body, self._root)
        if self._inner is None or bytes(under) in _NOTHING:
            return under, {}
        record = read_json(bytes(under), dict[str, msgspec.Raw])
        if self._inner not in record:
            raise UnreadableError(f"JSON that lacks `{self._inner}`")
        return record.pop(self._inner), record

    def _about(self, record: Mapping[str, msgspec.Raw]) -> dict[str, Any]:
        """Return what the record says of each of its rows."""
        return {}


class ConsentAnswer(ListAnswer):
    """``{"consent": {"id": ..., "consentTechName": ..., "customers": [...]}, ...}``: people's answers to a consent.

    :param asked: the consent's id, where it was asked for by it.
    """

    def __init__(self, asked: str | None) -> None:
        super().__init__("consent", "customers")
        self._asked = asked

    def _about(self, record: Mapping[str, msgspec.Raw]) -> dict[str, Any]:
        said = {name: decode(record[name]) for name in ("id", "consentTechName") if name in record}
        consent_id = self._asked if said.get("id") is None else str(said["id"])
        if self._asked is not None and consent_id != self._asked:
            raise UnreadableError("the answers to another consent")
        return {"consentId": consent_id, "consentTechName": said.get("consentTechName")}


@dataclass(frozen=True, slots=True)
class SpreadList:
    """A list, and what narrows it.

    :param path: of the call, as in :class:`~airflow_provider_crm.http.calls.Call`, as are ``values`` and ``query``.
    :param key: the field that is a row's own id.
    :param size_name: the parameter for rows a page that is documented for this list.
    """

    path: str
    answer: ListAnswer
    key: str
    query: Sequence[tuple[str, str]] = ()
    values: Mapping[str, object] = field(default_factory=dict)
    size_name: str = "maxResult"

    @property
    def name(self) -> str:
        return f"GET {self.path}"

    def call(self, start: int, size: int) -> Call:
        """Return the call that reads the rows from an offset on."""
        # Never the answer's own `nextPageUrl`: it is plain http, and may lack filters or name another resource.
        sizes = page_sizes(size, documented=self.size_name)
        return Call(
            "GET", self.path, values=self.values, query=[*self.query, ("startAt", str(start)), *sizes]
        )

    def page(self, body: bytes) -> RowPage[Record]:
        """Read a page of dicts."""
        rows = self.answer.rows(body)
        keys = [row.get(self.key) for row in rows]
        # A row without an id is told from others by all that it holds.
        return RowPage(
            rows, [repr(row) if key is None else str(key) for row, key in zip(rows, keys, strict=True)]
        )

    def call_for(self, ids: Sequence[str], size: int) -> Call:
        """Return the call that reads the rows with these ids: the first so many of them."""
        return replace(self, query=[*self.query, ("ids", ",".join(ids))]).call(0, size)


CONSENT_DEFINITIONS = SpreadList("/consents", ListAnswer("consents"), "id")


def customers(filters: Mapping[str, Any]) -> SpreadList:
    """Return all customers that pass the filters."""
    answer = ListAnswer("customers", plain=plain_customer)
    return SpreadList("/customers", answer, "id", query_of(filters, CUSTOMER_FILTERS), size_name="maxResults")


def consent_answers(
    filters: Mapping[str, Any],
    *,
    consent_id: str | int | None = None,
    consent_tech_name: str | None = None,
    track_id: str | int | None = None,
) -> SpreadList:
    """Everyone's answers to one consent, or the one answer that a track id names.

    :raises CrmInputError: not exactly one of the three is given.
    """
    names = {"consent_id": "consentId", "consent_tech_name": "consentTechName", "track_id": "trackId"}
    given = {"consent_id": consent_id, "consent_tech_name": consent_tech_name, "track_id": track_id}
    which, query = query_of(given, names), query_of(filters, ANSWER_FILTERS)
    if len(which) != 1:
        raise CrmInputError("Exactly one of `consent_id`, `consent_tech_name` and `track_id` is required")
    if query and track_id is not None:
        raise CrmInputError("SPREAD takes no other filter beside `track_id`")
    asked = None if consent_id is None else str(consent_id).strip()
    return SpreadList("/customers-consents", ConsentAnswer(asked), "trackId", which + query)


def consent_history(customer_id: str | int, filters: Mapping[str, Any]) -> SpreadList:
    """One customer's answers to all consents."""
    return SpreadList(
        "/customers-consents/{id}",
        ListAnswer("customer", "consents"),
        "trackId",
        query_of(filters, CUSTOMER_CONSENT_FILTERS),
        {"id": customer_id},
    )


def loyalty_lines(filters: Mapping[str, Any]) -> SpreadList:
    """Return the movements of the loyalty pots."""
    return SpreadList(
        "/cagnottes", ListAnswer("cagnottes"), "cagnotteLineId", query_of(filters, LOYALTY_FILTERS)
    )
