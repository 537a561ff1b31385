"""How SPREAD's calls are written and its answers read: page sizes, envelopes, and errors behind a good status.

Knows no call, and no HTTP. Facts: as in :mod:`.spread`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from airflow_provider_crm.exceptions import (
    CrmInputError,
    CrmRequestError,
    CrmUnreadableAnswerError,
    redact,
)
from airflow_provider_crm.http.answers import UnreadableError, read_json, said_in
from airflow_provider_crm.parameters import whole
from airflow_provider_crm.schemas.spread.read import (
    Record,
    decode,
    plain_customer,
    plain_row,
    record_of,
)
from airflow_provider_crm.values import compared_email, normal_email

T = TypeVar("T")

#: What a page holds at most.
MAX_PAGE = 5000
#: A page of a search that is expected to find one customer.
SEARCH_PAGE = 25


# Parameters


def checked_page_size(page_size: Any) -> int:
    """Return a page size as a number.

    :raises CrmInputError: it is none, or out of the vendor's bounds.
    """
    size: int = whole(1, MAX_PAGE)("page_size", page_size)
    return size


def page_sizes(page_size: int, *, documented: str = "maxResults") -> list[tuple[str, str]]:
    """Write the page size in both of the vendor's spellings, the one documented for the list first."""
    page_size = checked_page_size(page_size)
    other = "maxResult" if documented == "maxResults" else "maxResults"
    return [(documented, str(page_size)), (other, str(page_size))]


def listed_ids(ids: str | Iterable[str | int]) -> list[str]:
    parts = [ids] if isinstance(ids, (str, int)) else ids
    texts = (text.strip() for part in parts for text in str(part).split(","))
    return list(dict.fromkeys(text for text in texts if text))


def email_change(old_email: str, new_email: str) -> dict[str, str]:
    """Write a change of a customer's e-mail.

    :raises CrmInputError: one of the two is missing, or the new one is no e-mail.
    """
    old = str(old_email or "").strip()  # as the CRM writes it, in its own case
    try:
        new = normal_email(new_email)
    except ValueError as error:
        raise CrmInputError(f"The new e-mail: {error}") from None
    if not old:
        raise CrmInputError("Both the old and the new e-mail are required")
    return {"old_email": old, "new_email": new}


# Answers


def raw_under(body: bytes, key: str) -> msgspec.Raw:
    """Find what stands under an answer's root key.

    :raises CrmRequestError: the answer carries the vendor's words about an error instead, despite its status.
    """
    answer = read_json(body, dict[str, msgspec.Raw])
    if key in answer:
        return answer[key]
    raise refusal_in(body) or UnreadableError(f"JSON that lacks `{key}`")


def under(body: bytes, key: str) -> Any:
    """Read what stands under an answer's root key, as :func:`raw_under` finds it."""
    return decode(raw_under(body, key))


def refusal_in(body: bytes) -> CrmRequestError | None:
    """Find the vendor's words about an error in an answer whose status promises success."""
    answer = read_json(body, object)
    if not isinstance(answer, dict):
        return None
    # `response` is where the vendor confirms what was done.
    errors = said_in({name: part for name, part in answer.items() if name != "response"})
    if not errors:
        return None
    said = "; ".join(errors)
    return CrmRequestError(f"SPREAD refused the call: {redact(said)}", reason=said, errors=errors)


def or_nothing(read: Callable[[bytes], T]) -> Callable[[bytes], T | None]:
    """Accept an answer that is nothing at all, as PHP may print it where a record was not found."""

    def read_or_nothing(body: bytes) -> T | None:
        return None if body.strip() in (b"null", b"false", b"[]", b"{}", b'""') else read(body)

    return read_or_nothing


def customer_of(value: Any) -> Record | None:
    row = record_of(value)
    return None if row is None else plain_customer(row)


def read_customer(body: bytes) -> Record:
    """Read the customer that a write gives back: none would mean that nothing was written."""
    customer = customer_of(under(body, "customer"))
    if customer is None:
        raise refusal_in(body) or UnreadableError("no customer")
    return customer


def read_new_consent(body: bytes) -> Record:
    consent = record_of(under(body, "consent"))
    if consent is None:
        raise refusal_in(body) or UnreadableError("no consent")
    if isinstance(customer := consent.get("customer"), dict):
        plain_row(customer)
    return consent


def read_credit(body: bytes) -> dict[str, Record]:
    line = record_of(under(body, "cagnotte"))
    customer = record_of(under(body, "customer"))
    if line is None or customer is None:
        raise UnreadableError("no loyalty line")
    return {"customer": customer, "cagnotte": line}


def read_deleted(body: bytes) -> None:
    """Accept any answer that carries no error; the documented one is ``{"response": "Customer deleted."}``."""
    if not body.strip():
        return
    if error := refusal_in(body):
        raise error
    if read_json(body, object) is False:
        raise UnreadableError("`false`")


def the_one(rows: list[Record], field: str, asked: str, *, any_case: bool) -> Record | None:
    """Choose the customer that was asked for.

    How the filters compare is not documented; nor can their names be relied on, which the vendor's pages spell in
    several ways (``maxResults`` and ``maxResult``, ``createdAfter`` and ``createBefore``).

    :raises CrmRequestError: several customers have what was asked for.
    :raises CrmUnreadableAnswerError: a whole page of others: what is asked for may be behind it.
    """

    def matching(same: Callable[[str], bool]) -> list[Record]:
        found = [row for row in rows if same(str(row.get(field) or "").strip())]
        return list({row.get("id"): row for row in found}.values())

    found = matching(lambda text: text == asked)
    if not found and any_case:
        found = matching(lambda text: compared_email(text) == compared_email(asked))
    if len(found) > 1:
        said = f"{len(found)} customers have this {field}; which one is meant is unknown"
        raise CrmRequestError(f"GET /customers: {said}", reason=said, call="GET /customers")
    if not found and len(rows) >= SEARCH_PAGE:
        raise CrmUnreadableAnswerError(
            f"GET /customers gives other customers than asked for: it ignores the filter `{field}`",
            call="GET /customers",
        )
    return found[0] if found else None
