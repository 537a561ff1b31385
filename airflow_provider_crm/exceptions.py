"""What can go wrong, as one tree: each error says what happened, to which call, and what to do next.

Knows no CRM and no HTTP library. No message carries an e-mail, a phone number, a key or a token in clear.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, ClassVar

from airflow_provider_crm._compat import AirflowException, AirflowFailException

_EMAIL = re.compile(r"[^\s\"'<>(),;:=/]+(?:@|%40)[^\s\"'<>(),;:=/]+", re.IGNORECASE)
_LONG_NUMBER = re.compile(r"\+?\d(?:[\s.\-]?\d){7,}")


def redact(text: object, *, limit: int = 500, kept: Collection[str] = ()) -> str:
    """Return a foreign text as it may stand in a log: people's addresses and numbers hidden, length bounded.

    :param text: for example the vendor's own error message.
    :param limit: the longest text to return, in characters.
    :param kept: texts that are left as they are, such as a path with a day in it.
    :return: the text on one line, e-mails as ``<email>`` and runs of eight or more digits as ``<number>``.
    """
    line = " ".join(str(text)[: limit * 4].split())
    if kept:
        longest_first = sorted(map(re.escape, kept), key=len, reverse=True)
        parts = re.split(f"({'|'.join(longest_first)})", line)
        line = "".join(part if part in kept else _masked(part) for part in parts)
    else:
        line = _masked(line)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _masked(line: str) -> str:
    return _LONG_NUMBER.sub("<number>", _EMAIL.sub("<email>", line))


class CrmError(AirflowException):
    """The base of every error of this package.

    :param message: what happened, to which call, and what to do; already fit for a log.
    :param call: the call as method and path template, such as ``GET /customers/{id}``.
    :param status: the HTTP status of the answer, where there was one.
    :param retry_after: seconds after which another try makes sense, where the CRM said so.
    """

    #: What the run has done that it ended, as the XCom ``crm_report`` says; None where no run had begun.
    report: dict[str, Any] | None = None
    #: The state of a run that it ends.
    ends_run_as: ClassVar[str] = "failed"

    def __init__(
        self,
        message: str,
        *,
        call: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.call = call
        self.status = status
        self.retry_after = retry_after


class CrmFailError(CrmError, AirflowFailException):
    """Another try cannot help: Airflow fails the task at once, whatever its ``retries``."""


class CrmConnectionError(CrmFailError):
    """The Airflow connection lacks something, or says something that is not allowed."""


class CrmAuthenticationError(CrmFailError):
    """The CRM refuses the credentials (401) or what they may do (403)."""


class CrmInputError(CrmFailError, ValueError):
    """A parameter or the source itself cannot be used: nothing was written to the CRM."""


class CrmRejectsError(CrmFailError):
    """Every row was processed, and more were rejected than ``max_rejects`` allows."""

    ends_run_as = "rejects"


class CrmNotApprovedError(CrmFailError):
    """A person was asked, and has not approved what the task was about to do: nothing was sent."""

    ends_run_as = "refused"


class CrmRedirectError(CrmFailError):
    """The CRM redirects to another host, or to plain http: the credentials were not sent there."""


class CrmRequestError(CrmError):
    """The CRM refused the call for what is in it (4xx, or a failure in its envelope).

    :param reason: the vendor's own words, in clear: for the rejects file, never for a log.
    :param errors: the vendor's list of errors, in clear, where it gives one.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        errors: tuple[str, ...] = (),
        call: str | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message, call=call, status=status)
        self.reason = reason or message
        self.errors = errors


class CrmNotFoundError(CrmRequestError):
    """The CRM has no such record (404)."""

    #: An earlier try of the same call got no answer, so that a delete may have removed it itself.
    after_unknown = False
    #: The CRM itself says so, in JSON: not a web server that does not serve such an address.
    in_json = False


class CrmTooLargeError(CrmRequestError):
    """The CRM refuses the call for its size (413, 414, 431): a smaller one may pass."""


class CrmFileError(CrmError):
    """A file of the task's own could not be written: the disk is full, or the store did not take it.

    Nothing is known to be wrong with its path: a later try may pass.
    """


class CrmTransientError(CrmError):
    """The CRM could not be reached, was busy or answered nonsense until the time for retries ran out.

    Nothing is known to be wrong with the call: a later try may pass.
    """


class CrmUnreachableError(CrmTransientError):
    """No connection could be made until the time for retries ran out: another call would fare no better."""


class CrmRateLimitError(CrmTransientError):
    """The CRM says that there were too many calls, and asks for a longer wait than a task should make."""


class CrmUnreadableAnswerError(CrmTransientError):
    """The answer is not what the vendor documents: no JSON, cut short, or of another shape."""


class CrmListChangedError(CrmTransientError):
    """A list changed faster than it could be read page by page: reading it anew may pass."""


class CrmOutcomeUnknownError(CrmTransientError):
    """A call that must not be repeated blindly may or may not have been applied by the CRM.

    The operators look into the CRM before they go on; a caller of a hook has to do the same.
    """
