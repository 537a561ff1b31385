"""What a row says about a credit: key, customer, amount, each checked. Knows neither the ledger's state nor a call."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Any

from airflow_provider_crm.bulk.suppression import Identifier, by_email
from airflow_provider_crm.loyalty.credits import Credit, hash_email, plain
from airflow_provider_crm.values import (
    compared_email,
    is_empty,
    is_shortened,
    key_of,
    normal_email,
    number_of,
    reference_of,
)

#: What the vendor's amounts show at most.
MOST_DECIMALS = 2
MOST_DIGITS = 12
#: What the ledger holds.
LONGEST_KEY = 255
LONGEST_ID = 64

#: PHP takes "0123", "123.0" and "123a" for 123, whom they do not name.
_LIKE_A_NUMBER = re.compile(r"[+\-.]?[0-9]")
_PLAIN_NUMBER = re.compile(r"[1-9][0-9]*")
#: A UUID is the same in small and capital letters: PostgreSQL prints the ones, SQL Server the others.
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
#: More digits than any amount has, so that nothing is rounded before it is checked.
_EXACT = Context(prec=200)


@dataclass(frozen=True, slots=True)
class CreditFields:
    """Which columns hold what."""

    key: str = "credit_key"
    email: str = "email"
    customer_id: str = "customer_id"
    amount: str = "amount"


@dataclass(frozen=True, slots=True)
class CustomerRef:
    """How a call names a customer: by e-mail or by SPREAD's id."""

    email: str | None = None
    customer_id: str | None = None


@dataclass(slots=True)
class CreditRecord:
    """A row in the ledger's terms.

    :param email: in clear, for calls only: the row's, or SPREAD's own when the row names an id.
    :param ref: how the next call names the customer.
    :param former_keys: under which the ledger may hold it since earlier versions.
    :param other_refs: how else to name them when SPREAD knows no such customer; None when nobody has looked yet.
    :param email_known: whether the e-mail of a customer named by id was looked up.
    :param refusal: why SPREAD refused the credit when the customer was named as in ``ref``; empty when it did not.
    :param put_off: it could not be decided at first, for want of other credits' answers.
    :param waiting_since: since when another run keeps it waiting.
    """

    credit: Credit
    email: str | None
    ref: CustomerRef
    former_keys: tuple[str, ...] = ()
    other_refs: list[CustomerRef] | None = None
    email_known: bool = False
    refusal: str = ""
    put_off: bool = False
    waiting_since: float | None = field(default=None, compare=False)


class CreditReader:
    """Reads rows.

    :param fields: which columns hold what.
    :param secret: the key of the e-mails' hashes.
    :param allow_debit: accept negative amounts.
    """

    def __init__(self, fields: CreditFields, *, secret: str, allow_debit: bool) -> None:
        self._fields = fields
        self._secret = secret
        self._allow_debit = allow_debit

    @property
    def identifiers(self) -> Sequence[Identifier[CreditRecord]]:
        """How rows name people."""
        ids = Identifier[CreditRecord](
            names=("customer_id", self._fields.customer_id),
            normal=key_of,
            of=lambda item: (item.record.ref.customer_id,),
        )
        return (ids, by_email(lambda item: (item.record.email,), self._fields.email))

    def key(self, data: Mapping[str, Any]) -> str:
        """Return a credit's reference.

        :raises ValueError: there is none, or it cannot be kept.
        """
        return _reference(self._fields.key, data.get(self._fields.key))

    def record(self, key: str, data: Mapping[str, Any]) -> CreditRecord:
        """Read the rest of a row.

        :param key: from :meth:`key`.
        :raises ValueError: it cannot be sent.
        """
        fields = self._fields
        former = former_keys(key, data.get(fields.key))
        amount = parse_amount(data.get(fields.amount), name=fields.amount, allow_debit=self._allow_debit)
        if not is_empty(data.get(fields.customer_id)):
            named = checked_key(fields.customer_id, key_of, data.get(fields.customer_id), LONGEST_ID)
            if _LIKE_A_NUMBER.match(named) and not _PLAIN_NUMBER.fullmatch(named):
                raise ValueError(f"{fields.customer_id}: an id such as 123456 is required")
            # What e-mail belongs to the id is SPREAD's to say.
            return CreditRecord(Credit(key, amount, named), None, CustomerRef(customer_id=named), former)
        email = data.get(fields.email)
        if is_empty(email):
            raise ValueError(f"{fields.email} or {fields.customer_id} is required")
        address = normal_email(email)
        credit = Credit(key, amount, customer_hash=self.hash(address))
        return CreditRecord(credit, address, CustomerRef(email=address), former, email_known=True)

    def hash(self, email: str) -> str:
        """Hash an e-mail as the ledger keeps it."""
        return hash_email(compared_email(email), self._secret)


def former_keys(key: str, value: Any) -> tuple[str, ...]:
    """Return the keys under which earlier versions of this package have kept this very cell.

    :param key: as it is kept now.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    keys = [str(value).strip(), unicodedata.normalize("NFD", key)]
    if _UUID.fullmatch(key):
        keys.append(key.upper())
    return tuple(dict.fromkeys(one for one in keys if one != key and len(one) <= LONGEST_KEY))


def parse_amount(value: Any, *, name: str = "amount", allow_debit: bool) -> Decimal:
    """Read an amount of points.

    :raises ValueError: no number, zero, negative without ``allow_debit``, or finer than the CRM keeps.
    """
    try:
        amount = number_of(value)
    except ValueError as error:
        # That it is not finite, NaN in a row's only amount among it, is worth saying.
        what = (
            "a finite number is required"
            if "finite" in str(error)
            else "a number such as 5 or 12.50 is required"
        )
        raise ValueError(f"{name}: {what}") from None
    if amount == 0:
        raise ValueError(f"{name}: zero credits nothing")
    if amount < 0 and not allow_debit:
        raise ValueError(f"{name}: negative; see `allow_debit`")
    amount = amount.normalize(_EXACT)
    if amount.adjusted() >= MOST_DIGITS:
        raise ValueError(f"{name}: at most {MOST_DIGITS} digits")
    if amount != amount.quantize(Decimal(1).scaleb(-MOST_DECIMALS)):
        raise ValueError(f"{name}: at most {MOST_DECIMALS} decimals")
    return plain(amount)


def _reference(column: str, value: Any) -> str:
    text = checked_key(column, reference_of, value, LONGEST_KEY)
    if not text:
        raise ValueError(f"{column}: a credit needs a reference of its own")
    if is_shortened(text):
        raise ValueError(f"{column}: a spreadsheet may have cut digits off this number: hand it over as text")
    return text.lower() if _UUID.fullmatch(text) else text


def checked_key(column: str, write: Callable[[Any], str], value: Any, longest: int) -> str:
    """Write a key that the ledger can hold; "" for an empty cell.

    :raises ValueError: it is none, or too long; names the column.
    """
    try:
        text = write(value)
    except ValueError as error:
        raise ValueError(f"{column}: {error}") from None
    if len(text) > longest:
        raise ValueError(f"{column}: at most {longest} characters")
    if not text.isprintable():
        raise ValueError(f"{column}: control characters are not allowed")
    return text
