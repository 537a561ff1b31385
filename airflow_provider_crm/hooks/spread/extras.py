"""What a SPREAD connection may say besides URL and keys."""

from __future__ import annotations

from typing import Literal

from airflow_provider_crm.hooks.base.settings import Extras


class SpreadExtras(Extras, kw_only=True, frozen=True):
    """What a SPREAD connection may carry besides the extras of every CRM."""

    write_api: Literal["v2", "v1"] = "v2"
    """The API version that creates and updates customers."""
