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

    def change_all(
        self, connection: Connection, owner: str, changes: Sequence[Change], *, told_by: Sequence[str]
    ) -> bool:
        """Change rows of an owner, if nobody has changed any of them meanwhile.

        As one execution, which takes a fifth of the time of as many.

        :param changes: of the same columns.
        :param told_by: columns whose new values, together with the version, nobody else can have written.
        :return: False when some were not changed: the transaction is to be given up.
        """
        moment = utc_now()
        parameters = [
            {
                **_parameters(
                    one.id, one.version, {**one.values, "version": one.version + 1, "updated_at": moment}
                ),
                "row_owner": owner,
            }
            for one in changes
        ]
        connection.execute(_update((*changes[0].values, "version", "updated_at"), True, False), parameters)
        # Not by the count of rows, which some drivers give for the last one only.
        columns = (_c.id, _c.version, *(_c[name] for name in told_by))
        query = sa.select(*columns).where(_c.id.in_([one.id for one in changes]))
        found = {tuple(row) for row in connection.execute(query)}
        return found == {
            (one.id, one.version + 1, *(one.values[name] for name in told_by)) for one in changes
        }


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
