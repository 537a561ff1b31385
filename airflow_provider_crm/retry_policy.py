"""A retry policy for Airflow 3.3 and later that knows what the errors of this package mean. Knows no CRM."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_crm._compat import RetryDecision, RetryPolicy
from airflow_provider_crm.exceptions import CrmError, CrmFailError, CrmInputError, CrmRequestError

if TYPE_CHECKING:
    from airflow_provider_crm._compat import Context


class CrmRetryPolicy(RetryPolicy):
    """Retries what may pass, and when the CRM said; fails at once what cannot pass.

    - The CRM said when to come again (``retry_after``): retry then.
    - It refuses the credentials, the input or the call itself: fail, however many ``retries`` are left.
    - Anything else: as the task's own ``retries`` and ``retry_delay`` say.

    .. code-block:: python

        SpreadUpsertCustomersOperator(..., retries=5, retry_policy=CrmRetryPolicy())

    :param longest_delay: the CRM's word counts up to so long.
    :raises CrmInputError: this Airflow has no retry policies.
    """

    def __init__(self, *, longest_delay: timedelta = timedelta(hours=1)) -> None:
        if RetryPolicy is object:
            raise CrmInputError(
                "CrmRetryPolicy needs Airflow 3.3 or later. Leave `retry_policy` out: what cannot pass fails at once "
                "all the same, and `retry_delay` says when to retry the rest"
            )
        super().__init__()
        self.longest_delay = longest_delay

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide about one failure."""
        if isinstance(exception, (CrmFailError, CrmRequestError)):
            return RetryDecision.fail(f"{type(exception).__name__}: another try cannot help")
        if isinstance(exception, CrmError) and exception.retry_after is not None:
            delay = min(timedelta(seconds=exception.retry_after), self.longest_delay)
            return RetryDecision.retry(delay, "The CRM said when to come again")
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Return what makes the same policy again."""
        return {"longest_delay": self.longest_delay.total_seconds()}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> CrmRetryPolicy:
        """Return the policy that was serialized."""
        return cls(longest_delay=timedelta(seconds=data["longest_delay"]))
