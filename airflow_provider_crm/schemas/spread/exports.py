"""SPREAD's lists as typed records: which columns an export of each has, what they mean, and how answers become them.

Knows no HTTP and no file. Facts: the vendor's pages "Customers", "API - Customer Consentement" and "Cagnotte"
(help.spreadfamily.fr). ``docs/exports.md`` shows the same columns.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import repeat
from operator import attrgetter, itemgetter
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from airflow_provider_crm.schemas.envelopes import RowsUnder
from airflow_provider_crm.schemas.mending import Aware, check_decimal
from airflow_provider_crm.schemas.records import (
    Column,
    RecordReader,
    Records,
    RecordType,
)
from airflow_provider_crm.schemas.spread.read import split_custom_field

CUSTOMERS = RecordType(
    "customers",
    (
        Column("id", "text", "SPREAD's id of the customer", required=True),
        Column("lastName", "text", "last name"),
        Column("firstName", "text", "first name"),
        Column("email", "text", "e-mail"),
        Column("country", "text", "country, two letters"),
        Column("city", "text", "city"),
        Column("address", "text", "first line of the address"),
        Column("address2", "text", "second line"),
        Column("address3", "text", "third line"),
        Column("zip", "text", "postal code"),
        Column("phone", "text", "phone"),
        Column("mobile", "text", "mobile phone"),
        Column("lang", "text", "language, two letters"),
        Column("birthday", "date", "date of birth"),
        Column("gender", "text", "male or female"),
        Column("createdAt", "moment", "when the customer was created"),
        Column("updatedAt", "moment", "when the customer was changed last"),
        Column("isFan", "boolean", "fan on Facebook"),
        Column("isFollow", "boolean", "follower on Twitter"),
        Column("isFanLinkedin", "boolean", "follower on LinkedIn"),
        Column("isBuyer", "boolean", "has ordered"),
        Column("actionCount", "integer", "number of actions"),
        Column("lastActionDt", "local_moment", "when the last action was"),
        Column("lastOrderDt", "local_moment", "when the last order was"),
        Column("cagnotteAmount", "decimal", "balance of the loyalty pot"),
        Column("externalId", "text", "your own id of the customer"),
        Column("company", "text", "company"),
        Column("fonction", "text", "role in the company"),
        Column("tags", "texts", "tags"),
        Column("custom_fields", "named_values", "custom fields, where `show_custom_fields` asks for them"),
    ),
    key="id",
)


CONSENTS = RecordType(
    "consents",
    (
        Column("id", "text", "SPREAD's id of the customer who answered", required=True),
        Column("trackId", "text", "SPREAD's id of the answer", required=True),
        Column("customerConsentCreatedAt", "local_moment", "when the customer answered"),
        Column("customerConsentStatus", "text", "accepted, refused, toBeConfirmed or unknown"),
        Column("customerConsentSource", "text", "where the answer came from"),
        Column("customerConsentSourceId", "text", "id of that source, such as a campaign's"),
        Column("consent_id", "text", "SPREAD's id of the consent, which the CRM says once a page"),
        Column("consent_tech_name", "text", "technical name of the consent"),
    ),
    key="trackId",
)


LOYALTY_LINES = RecordType(
    "loyalty_lines",
    (
        Column("cagnotteId", "text", "SPREAD's id of the loyalty pot"),
        Column("cagnotteLineId", "text", "SPREAD's id of the movement", required=True),
        Column("customerId", "text", "SPREAD's id of the customer"),
        Column("campaignId", "text", "SPREAD's id of the campaign, where one gave the points"),
        Column("cagnotteLineDate", "local_moment", "when the points were added or spent"),
        Column("cagnotteLineValidationDate", "local_moment", "from when on they count"),
        Column("amount", "decimal", "points; negative when they were spent"),
        Column("code", "text", "voucher code of a spending"),
    ),
    key="cagnotteLineId",
)


#: What may follow the hour in a local time.
_MINUTES = frozenset(f":{minute:02d}:{second:02d}" for minute in range(60) for second in range(60))
#: A local time and a line's end, once each digit is a 0.
_FORM = "0000-00-00 00:00:00\n"
_AS_ZEROS = str.maketrans("123456789", "0" * 9)
#: Where the tens of its minutes and its seconds stand.
_TENS = (14, 17)
_hour_of = itemgetter(slice(13))


class LocalTimes:
    """Gives local times their zone.

    In the repeated hour of October the CRM does not say which of the two is meant: the first one, summer time, is
    taken. In the hour that is left out in March, which no clock shows, the time before the change is taken.

    :param zone: the vendor's.
    """

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._hours = _Hours(self.aware)

    def complete(self, rows: Sequence[Any], column: str) -> None:
        """Write each ``2018-06-11 13:03:05`` of a column as ``2018-06-11T13:03:05+02:00``.

        :raises ValueError: one is no time.
        """
        texts = list(map(attrgetter(column), rows))
        if texts.count(None) < len(texts):
            # A loop, without code that runs for each row.
            deque(map(setattr, rows, repeat(column), self._zoned(texts)), maxlen=0)

    def _zoned(self, texts: list[str | None]) -> list[str | None]:
        try:
            return self._of_one_offset(texts) or self._one_by_one(texts)
        except ValueError:
            return [self._other_form(text) if text else None for text in texts]

    def _of_one_offset(self, texts: list[Any]) -> list[Any] | None:
        """Write times all at once, which takes half as long as one after the other.

        :return: None where they are not all times of the usual form, with the clock unchanged between them.
        :raises ValueError: one is no time.
        """
        try:
            lines = "\n".join(texts)
        except TypeError:  # one is None
            return None
        if f"{lines}\n".translate(_AS_ZEROS) != _FORM * len(texts):
            return None
        if any(lines[place :: len(_FORM)].strip("012345") for place in _TENS):
            return None
        offsets = {self._hours[hour][1] for hour in set(map(_hour_of, texts))}
        if len(offsets) != 1:
            return None
        [offset] = offsets
        return f"{lines}{offset}".replace(" ", "T").replace("\n", f"{offset}\n").split("\n")

    def _one_by_one(self, texts: list[str | None]) -> list[str | None]:
        hours, minutes = self._hours, _MINUTES
        # The zone's rules are asked once an hour of data: they cost more than all the rest of a row.
        return [
            None
            if text is None
            else f"{(hour := hours[text[:13]])[0]}{minute}{hour[1]}"
            if (minute := text[13:]) in minutes
            else self._other_form(text)
            for text in texts
        ]

    def aware(self, value: dt.datetime) -> dt.datetime:
        """Return the moment that a local time stands for; one that has a zone is given back."""
        if value.tzinfo is not None:
            return value
        offset = value.replace(tzinfo=self._zone).utcoffset() or dt.timedelta()
        return value.replace(tzinfo=dt.timezone(offset))

    def _other_form(self, text: str) -> str | None:
        if not text or text.startswith("0000-00-00"):
            return None  # MySQL's way to say that there is no date
        try:
            return self.aware(dt.datetime.fromisoformat(text)).isoformat()
        except ValueError:
            raise ValueError("Expected a time as YYYY-MM-DD HH:MM:SS") from None


class _Hours(dict[str, tuple[str, str]]):
    """What stands before and behind the minutes, for ``2018-06-11 13``."""

    def __init__(self, aware: Aware) -> None:
        super().__init__()
        self._aware = aware

    def __missing__(self, hour: str) -> tuple[str, str]:
        written = self._aware(dt.datetime.fromisoformat(f"{hour}:00:00")).isoformat()
        if written[:10] != hour[:10]:
            raise ValueError(
                "Expected an hour of the day"
            )  # newer Pythons read 24:00 as the next day's beginning
        if len(self) > 100_000:
            self.clear()
        known = self[hour] = (written[:13], written[19:])
        return known


def customer_reader(zone: ZoneInfo) -> RecordReader:
    """Read pages of ``GET /customers``."""
    times = LocalTimes(zone)

    def finish(rows: Sequence[Any]) -> None:
        for amount in {row.cagnotteAmount for row in rows} - {None}:
            check_decimal(amount)
        for row in rows:
            tags = row.tags
            if tags.__class__ is not list:
                # One and the same for all who have none: a list each would keep the garbage collector busy.
                row.tags = [tag for tag in tags.split("|") if tag] if tags else ()
            if row.custom_fields is not None:
                row.custom_fields = _named_values(row.custom_fields)
        times.complete(rows, "lastActionDt")
        times.complete(rows, "lastOrderDt")

    return RecordReader(CUSTOMERS, RowsUnder("customers"), finish, times.aware)


def consent_reader(zone: ZoneInfo, asked: str | None) -> RecordReader:
    """Read pages of ``GET /customers-consents``.

    :param asked: id of the consent that was asked for, where it was asked for by its id.
    """
    times = LocalTimes(zone)

    def finish(rows: Sequence[Any]) -> None:
        times.complete(rows, "customerConsentCreatedAt")

    return RecordReader(CONSENTS, RowsUnderConsent(asked), finish, times.aware)


def loyalty_reader(zone: ZoneInfo) -> RecordReader:
    """Read pages of ``GET /cagnottes``."""
    times = LocalTimes(zone)

    def finish(rows: Sequence[Any]) -> None:
        times.complete(rows, "cagnotteLineDate")
        times.complete(rows, "cagnotteLineValidationDate")
        for amount in {row.amount for row in rows} - {None}:
            check_decimal(amount)

    return RecordReader(LOYALTY_LINES, RowsUnder("cagnottes"), finish, times.aware)


class HistoryReader:
    """Turns the history of one customer's answers into the same records as the answers to one consent."""

    def __init__(self, zone: ZoneInfo) -> None:
        times = LocalTimes(zone)

        def finish(rows: Sequence[Any]) -> None:
            times.complete(rows, "customerConsentCreatedAt")

        self._reader = RecordReader(CONSENTS, RowsUnderConsent(None), finish, times.aware)

    def read(self, customer_id: str, answers: Sequence[Mapping[str, Any]]) -> Records:
        """Read the answers of one customer.

        :param answers: as :meth:`~airflow_provider_crm.hooks.spread.SpreadHook.iter_customer_consents` gives them.
        """
        renamed = {"consentId": "consent_id", "consentTechName": "consent_tech_name"}
        rows = [
            {"id": customer_id, **{renamed.get(name, name): value for name, value in answer.items()}}
            for answer in answers
        ]
        return self._reader.read_data(rows, {})


class RowsUnderConsent:
    """``{"consent": {"id": ..., "consentTechName": ..., "customers": [...]}, ...}``.

    :param asked: id of the consent that was asked for.
    """

    def __init__(self, asked: str | None) -> None:
        self._asked = asked

    def around(self, rows: Any) -> Any:
        fields: list[Any] = [
            ("rows", rows),
            ("id", str | int | None, None),
            ("name", str | None, None),
        ]
        consent = msgspec.defstruct(
            "Consent", fields, rename={"rows": "customers", "name": "consentTechName"}
        )
        return msgspec.defstruct("Envelope", [("consent", consent)])

    def rows_in(self, answer: Any) -> Any:
        return answer.consent.rows

    def about(self, answer: Any) -> dict[str, Any]:
        consent = answer.consent
        consent_id = self._asked if consent.id is None else str(consent.id)
        if self._asked is not None and consent_id != self._asked:
            raise ValueError("the answers to another consent")
        return {"consent_id": consent_id, "consent_tech_name": consent.name}


def _named_values(value: Any) -> dict[str, dict[str, Any]]:
    """Split custom fields, as ``{"34567": "Sport:Basket"}`` shows them, into their names and values."""
    if isinstance(value, list):  # how PHP prints a map whose keys run from 0 on, or an empty one
        value = {str(number): part for number, part in enumerate(value)}
    if not isinstance(value, dict):
        if value in ("", False):
            return {}
        raise ValueError("Expected a map of custom fields - at `$.custom_fields`")
    named = {}
    for field_id, part in value.items():
        if part is not None and not isinstance(part, str):
            raise ValueError("Expected a text as a custom field - at `$.custom_fields`")
        name, text = split_custom_field(part or "")
        named[field_id] = {"name": name, "value": text}
    return named
