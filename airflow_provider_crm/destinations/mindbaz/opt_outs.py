"""Which of Mindbaz' statuses say that a person does not want to be written to, and how a row keeps one."""

from __future__ import annotations

from typing import Any

from airflow_provider_crm.schemas.mindbaz.write import STATUS, UNSUBSCRIBED, UNSUBSCRIBED_AT

Values = dict[int, Any]
"""A row in Mindbaz' terms: values by field id, the key among them."""

#: Unsubscribed, unsubscribed by hand, on the suppression list, complained, unsubscribed as a group (the vendor's page
#: "Gestion des abonnés"). The other statuses are technical, and may end.
OPTED_OUT = frozenset({UNSUBSCRIBED, 2, 5, 9, 12})


def has_opted_out(status: Any) -> bool:
    """Return True if a status is a person's will not to be written to."""
    return str(status).isdecimal() and int(status) in OPTED_OUT


class OptOutStatus:
    """The status of a row that opts out, with the date where it has one.

    :param key_field: the field by which people are found.
    """

    def __init__(self, key_field: int) -> None:
        self._key_field = key_field

    def find(self, record: Values) -> list[tuple[int, Any]]:
        if STATUS not in record or not has_opted_out(record[STATUS]):
            return []
        return [(number, record[number]) for number in (STATUS, UNSUBSCRIBED_AT) if number in record]

    def keep(self, record: Values, said: list[tuple[int, Any]]) -> None:
        if not self.find(record):
            record.update(dict(said))

    def alone(self, key: str, said: list[tuple[int, Any]]) -> Values:
        return {self._key_field: key, **dict(said)}
