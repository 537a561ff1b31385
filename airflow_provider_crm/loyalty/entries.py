"""The rows of the ledger's table, for one account: how they are read, compared and changed.

Knows SQL; which change is allowed when is in :mod:`airflow_provider_crm.loyalty.ledger`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from airflow_provider_crm.loyalty.credits import Credit
from airflow_provider_crm.loyalty.states import Entry, Origin, Standing, State
from airflow_provider_crm.loyalty.tables import credits_table

#: Rows that are changed by one statement: so that its parameters are fewer than any database takes.
TOGETHER = 50

_c = credits_table.c


class Change(NamedTuple):
    """New values for a row that has a version."""

    id: int
    version: int
    values: Mapping[str, Any]


class CreditRows:
    """The credits of one account.

    :param account: whose.
    """

    def __init__(self, account: str) -> None:
        self.account = account

    def where(self, connection: Connection, condition: Any) -> Sequence[Row[Any]]:
        query = sa.select(credits_table).where(_c.account == self.account, condition)
        return connection.execute(query).fetchall()

    def change(
        self,
        connection: Connection,
        row_id: int,
        version: int,
        *,
        owner_before: str | None = None,
        lease_before: float | None = None,
        **values: Any,
    ) -> bool:
        """Change a row, if nobody has meanwhile."""
        values = {**values, "version": version + 1, "updated_at": utc_now()}
        parameters = _parameters(row_id, version, values)
        parameters |= {"row_owner": owner_before} if owner_before is not None else {}
        parameters |= {"row_lease": lease_before} if lease_before is not None else {}
        statement = _update(tuple(values), owner_before is not None, lease_before is not None)
        return bool(connection.execute(statement, parameters).rowcount)

    def change_all(self, connection: Connection, owner: str, changes: Sequence[Change]) -> bool:
        """Change rows of an owner, if nobody has changed any of them meanwhile.

        :param changes: of the same columns, and of different rows.
        :return: False when some were not changed: the transaction is to be given up.
        """
        return all(
            self._change_some(connection, owner, changes[start : start + TOGETHER])
            for start in range(0, len(changes), TOGETHER)
        )

    def _change_some(self, connection: Connection, owner: str, changes: Sequence[Change]) -> bool:
        moment = utc_now()
        columns = {f"new_{name}": [one.values[name] for one in changes] for name in changes[0].values}
        columns["new_version"] = [one.version + 1 for one in changes]
        columns["new_updated_at"] = [moment] * len(changes)
        columns["row_version"] = [one.version for one in changes]
        of_all = {
            name: values[0] for name, values in columns.items() if values.count(values[0]) == len(values)
        }
        of_each = {"row_id": [one.id for one in changes]}
        of_each |= {name: values for name, values in columns.items() if name not in of_all}
        parameters = {
            _numbered(name, place): value for name in of_each for place, value in enumerate(of_each[name])
        }
        statement = _update_many(tuple(of_all), tuple(of_each), len(changes))
        result = connection.execute(statement, {"row_owner": owner, **of_all, **parameters})
        return bool(result.rowcount == len(changes))


def _parameters(row_id: int, version: int, values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "row_id": row_id,
        "row_version": version,
        **{f"new_{name}": value for name, value in values.items()},
    }


@lru_cache(maxsize=64)
def _update(names: tuple[str, ...], of_owner: bool, of_lease: bool) -> Any:
    """Build the statement that changes one row: building it takes longer than carrying it out."""
    statement = credits_table.update().where(
        _c.id == sa.bindparam("row_id"), _c.version == sa.bindparam("row_version")
    )
    if of_owner:
        statement = statement.where(_c.owner == sa.bindparam("row_owner"))
    if of_lease:
        statement = statement.where(_c.lease_until <= sa.bindparam("row_lease"))
    return statement.values({name: sa.bindparam(f"new_{name}", type_=_c[name].type) for name in names})


@lru_cache(maxsize=256)
def _update_many(of_all: tuple[str, ...], of_each: tuple[str, ...], rows: int) -> Any:
    """Build the statement that changes several rows: drivers carry out several statements one by one, each for as long
    as this one.

    :param of_all: parameters that are the same for all rows.
    :param of_each: those that are not, ``row_id`` among them.
    :param rows: how many rows.
    """

    def column(name: str) -> Any:
        return _c[name.removeprefix("new_").removeprefix("row_")]

    def parameters(name: str) -> list[Any]:
        return [sa.bindparam(_numbered(name, place), type_=column(name).type) for place in range(rows)]

    ids = parameters("row_id")

    def value(name: str) -> Any:
        if name in of_all:
            return sa.bindparam(name, type_=column(name).type)
        return sa.case(*((_c.id == one, own) for one, own in zip(ids, parameters(name), strict=True)))

    return (
        credits_table.update()
        .where(_c.id.in_(ids), _c.owner == sa.bindparam("row_owner"), _c.version == value("row_version"))
        .values({column(name): value(name) for name in (*of_all, *of_each) if name.startswith("new_")})
    )


def _numbered(name: str, place: int) -> str:
    return f"{name}_{place}"


def entry_of(row: Row[Any], standing: Standing) -> Entry:
    return Entry(
        id=row.id,
        version=row.version,
        standing=standing,
        state=State(row.state),
        credit=Credit(row.credit_key, row.amount, row.customer_id, row.customer_hash),
        lane=row.lane,
        attempts=row.attempts,
        line_id=row.line_id,
        baseline=row.baseline,
        ended_at=row.ended_at,
        doubted=standing is Standing.DOUBT,
    )


def payload_of(credit: Credit) -> dict[str, Any]:
    return {
        "credit_key": credit.key,
        "amount": credit.amount,
        "customer_id": credit.customer_id,
        "customer_hash": credit.customer_hash,
    }


def origin_values(origin: Origin) -> dict[str, Any]:
    return {
        "dag_id": origin.dag_id,
        "run_id": origin.run_id,
        "task_id": origin.task_id,
        "map_index": origin.map_index,
    }


def compare(credit: Credit, row: Row[Any]) -> Standing | None:
    """Return in what a credit differs from the one its key is known for; None when it is the same."""
    if credit.amount != row.amount:
        return Standing.CONFLICT
    if credit.customer_id and row.customer_id:
        return None if credit.customer_id == row.customer_id else Standing.CONFLICT
    if credit.customer_hash and row.customer_hash and credit.customer_hash == row.customer_hash:
        return None
    return Standing.INCOMPARABLE


def seen(credit: Credit, row: Row[Any]) -> Standing:
    difference = compare(credit, row)
    if row.state in (State.CLAIMED, State.REFUSED):
        return Standing.FREE
    return difference or (Standing.CREDITED if row.state == State.CREDITED else Standing.DOUBT)


def utc_now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
