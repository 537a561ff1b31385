"""What operators that erase people share: the number of rows that somebody announced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from airflow_provider_crm.bulk.prepass import Announced, Check
from airflow_provider_crm.operators.base.writes import CrmBulkOperator, WriteArguments
from airflow_provider_crm.parameters import MinRows


class DeleteArguments(WriteArguments, total=False):
    """What operators that erase take, see :class:`CrmDeleteOperator`."""

    require_confirmation_count: MinRows | None


class CrmDeleteOperator(CrmBulkOperator):
    """A bulk operator that erases people.

    :param require_confirmation_count: refuse to start when the source has another number of rows than this one,
        which somebody announced. (templated)
    """

    template_fields: Sequence[str] = (*CrmBulkOperator.template_fields, "require_confirmation_count")
    not_in_fingerprint = CrmBulkOperator.not_in_fingerprint | {"require_confirmation_count"}
    deed = "erased"

    def __init__(
        self, *, require_confirmation_count: MinRows | None = None, **kwargs: Unpack[WriteArguments]
    ) -> None:
        super().__init__(**kwargs)
        self.require_confirmation_count: Any = require_confirmation_count

    def _checks(self) -> list[Check]:
        announced = self.require_confirmation_count
        return super()._checks() + ([] if announced is None else [Announced(announced)])

    def _erased_as(self) -> str | None:
        return "deleted"
