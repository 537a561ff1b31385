"""Airflow tasks that export SPREAD's lists: parameters, and what is read in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Unpack, get_args

from airflow_provider_crm._compat import persons_email
from airflow_provider_crm.bulk.export import ExportPage
from airflow_provider_crm.exceptions import CrmInputError, CrmNotFoundError
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.hooks.spread.pages import SpreadPages
from airflow_provider_crm.operators.base.windows import Window
from airflow_provider_crm.operators.spread.base import CrmSpreadExportOperator, SpreadExportArguments
from airflow_provider_crm.parameters import (
    Amount,
    Email,
    Id,
    Ids,
    Names,
    Text,
    Time,
    YesOrNo,
    one_of,
    several,
)
from airflow_provider_crm.rows.parameter import Source
from airflow_provider_crm.rows.sources import Row, open_source
from airflow_provider_crm.rows.templates import Rows, SourceField
from airflow_provider_crm.schemas.envelopes import RowsUnder
from airflow_provider_crm.schemas.records import PageReader, RawReader, Records
from airflow_provider_crm.schemas.spread.cells import ShownStatus
from airflow_provider_crm.schemas.spread.exports import (
    CONSENTS,
    CUSTOMERS,
    LOYALTY_LINES,
    HistoryReader,
    RowsUnderConsent,
    consent_reader,
    customer_reader,
    loyalty_reader,
)
from airflow_provider_crm.values import number_of

if TYPE_CHECKING:
    from airflow_provider_crm._compat import Context

Status = Annotated[ShownStatus | str, one_of(*get_args(ShownStatus))]
#: The value of ``consent_id`` that stands for every consent there is.
ALL = "all"


class SpreadExportCustomersOperator(CrmSpreadExportOperator):
    """Export SPREAD's customers.

    .. seealso:: The vendor's page "Customers" at help.spreadfamily.fr.

    :param modified_after: as ``created_after``, for the last change. (templated)
    :param modified_before: as ``created_before``, for the last change. (templated)
    :param ids: only these of SPREAD's ids: a list, or a text with commas. (templated)
    :param email: only the customer with this e-mail. (templated)
    :param person_email: the e-mail under another name, for a task that is mapped over it and whose ``default_args``
        have an ``email`` for Airflow. (templated)
    :param last_name: only those with this last name. (templated)
    :param first_name: only those with this first name. (templated)
    :param zipcode: only those with this postal code. (templated)
    :param city: only those with this city. (templated)
    :param country: only those of this country, by its two letters. (templated)
    :param phone_number: only those with this phone. (templated)
    :param mobile_phone_number: only those with this mobile phone. (templated)
    :param external_id: only the one with this id of yours. (templated)
    :param case_insensitive: compare texts without regard to case. (templated)
    :param show_custom_fields: have the CRM give ``custom_fields`` as well. (templated)

    See :class:`CrmSpreadExportOperator` for the other parameters.
    """

    filters = (
        "modified_after",
        "modified_before",
        "ids",
        "last_name",
        "first_name",
        "zipcode",
        "city",
        "country",
        "phone_number",
        "mobile_phone_number",
        "external_id",
        "case_insensitive",
        "show_custom_fields",
    )
    template_fields: Sequence[str] = (*CrmSpreadExportOperator.template_fields, *filters, "person_email")
    resource = "customers"
    record_type = CUSTOMERS
    created = "createdAt"
    other_windows = ("modified_after", "modified_before", "ids")
    selects = (*(name for name in filters if name != "show_custom_fields"), "person_email")

    def __init__(
        self,
        *,
        modified_after: Time | None = None,
        modified_before: Time | None = None,
        ids: Any = None,
        person_email: Email | None = None,
        email: Email | None = None,
        last_name: Text | None = None,
        first_name: Text | None = None,
        zipcode: Text | None = None,
        city: Text | None = None,
        country: Text | None = None,
        phone_number: Text | None = None,
        mobile_phone_number: Text | None = None,
        external_id: Id | None = None,
        case_insensitive: YesOrNo | None = None,
        show_custom_fields: YesOrNo | None = None,
        **kwargs: Unpack[SpreadExportArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.modified_after = modified_after
        self.modified_before = modified_before
        self.ids = ids
        self.person_email = persons_email(email, person_email, kwargs)
        self.last_name = last_name
        self.first_name = first_name
        self.zipcode = zipcode
        self.city = city
        self.country = country
        self.phone_number = phone_number
        self.mobile_phone_number = mobile_phone_number
        self.external_id = external_id
        self.case_insensitive = case_insensitive
        self.show_custom_fields = show_custom_fields

    def _window_filters(self) -> dict[str, Any]:
        return (self._covers if self.raw else self._covers.in_either_zone(self._zone)).described()

    def _filters(self) -> dict[str, Any]:
        changed = Window.given(self.modified_after, self.modified_before, self._zone)
        return {
            "modified_after": changed.after,
            "modified_before": changed.before,
            "email": self.person_email,
            **{name: getattr(self, name) for name in self.filters[2:]},
        }

    def _pages(
        self, hook: SpreadHook, ahead: int, prepare: Callable[[Records], ExportPage]
    ) -> Iterable[ExportPage]:
        reader: PageReader = (
            RawReader("id", RowsUnder("customers")) if self.raw else customer_reader(self._zone)
        )
        pages = SpreadPages(hook, ahead=ahead, page_size=self.page_size)
        return pages.customers(reader, prepare, **self._window_filters(), **self._filters())


class SpreadExportLoyaltyOperator(CrmSpreadExportOperator):
    """Export the movements of SPREAD's loyalty pots; a negative amount is spending.

    .. seealso:: The vendor's page "Cagnotte" at help.spreadfamily.fr.

    :param modified_after: as ``created_after``, for the last change. (templated)
    :param modified_before: as ``created_before``, for the last change. (templated)
    :param customer_id: only the movements of this customer. (templated)
    :param cagnotte_id: only those of this pot. (templated)
    :param campaign_id: only those of this campaign. (templated)
    :param min_amount: only those of at least this amount. (templated)
    :param max_amount: only those of at most this amount. (templated)
    :param amount: only those of this amount. (templated)

    See :class:`CrmSpreadExportOperator` for the other parameters.
    """

    filters = (
        "modified_after",
        "modified_before",
        "customer_id",
        "cagnotte_id",
        "campaign_id",
        "min_amount",
        "max_amount",
        "amount",
    )
    template_fields: Sequence[str] = (*CrmSpreadExportOperator.template_fields, *filters)
    resource = "cagnottes"
    record_type = LOYALTY_LINES
    created = "cagnotteLineDate"
    other_windows = ("modified_after", "modified_before")
    selects = filters

    def __init__(
        self,
        *,
        modified_after: Time | None = None,
        modified_before: Time | None = None,
        customer_id: Id | None = None,
        cagnotte_id: Id | None = None,
        campaign_id: Id | None = None,
        min_amount: Amount | None = None,
        max_amount: Amount | None = None,
        amount: Amount | None = None,
        **kwargs: Unpack[SpreadExportArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.modified_after = modified_after
        self.modified_before = modified_before
        self.customer_id = customer_id
        self.cagnotte_id = cagnotte_id
        self.campaign_id = campaign_id
        self.min_amount = min_amount
        self.max_amount = max_amount
        self.amount = amount

    def _filters(self) -> dict[str, Any]:
        changed = Window.given(self.modified_after, self.modified_before, self._zone)
        least, most = self.min_amount, self.max_amount
        if least is not None and most is not None and number_of(least) > number_of(most):
            raise CrmInputError(f"No amount is at least {least} and at most {most}: `min_amount` is more")
        return {
            "modified_after": changed.after,
            "modified_before": changed.before,
            **{name: getattr(self, name) for name in self.filters[2:]},
        }

    def _pages(
        self, hook: SpreadHook, ahead: int, prepare: Callable[[Records], ExportPage]
    ) -> Iterable[ExportPage]:
        key = self.record_type.key
        reader: PageReader = (
            RawReader(key, RowsUnder("cagnottes")) if self.raw else loyalty_reader(self._zone)
        )
        pages = SpreadPages(hook, ahead=ahead, page_size=self.page_size)
        return pages.loyalty_lines(reader, prepare, **self._window_filters(), **self._filters())


class SpreadExportConsentsOperator(CrmSpreadExportOperator):
    """Export people's answers to consents: each answer ever given is a row, the latest of a person holds.

    .. seealso:: The vendor's page "API - Customer Consentement" at help.spreadfamily.fr.

    :param consent_id: one consent, several (a list, or a text with commas), or ``"all"``. (templated)
    :param consent_tech_name: or by technical name, one or a list; several consents may share one. (templated)
    :param status: only these answers: ``accepted``, ``refused``, ``toBeConfirmed`` or ``unknown``. (templated)
    :param consent_source: only answers from this source, such as ``manualImport``. (templated)
    :param source: the answers of these customers only: SPREAD's ids as a list, or rows with a column
        ``customer_id`` or ``id``, as in the writing operators; ``consent_id`` and ``consent_tech_name`` then need
        not be given. (templated)

    See :class:`CrmSpreadExportOperator` for the other parameters.
    """

    source = SourceField()
    template_fields: Sequence[str] = (
        *CrmSpreadExportOperator.template_fields,
        "consent_id",
        "consent_tech_name",
        "status",
        "consent_source",
        "source",
    )
    resource = "customers-consents"
    record_type = CONSENTS
    created = "customerConsentCreatedAt"
    selects = ("consent_id", "consent_tech_name", "status", "consent_source", "source")

    def __init__(
        self,
        *,
        consent_id: Ids | None = None,
        consent_tech_name: Names | None = None,
        status: Status | None = None,
        consent_source: Text | None = None,
        source: Source | None = None,
        **kwargs: Unpack[SpreadExportArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.consent_id: Any = consent_id
        self.consent_tech_name: Any = consent_tech_name
        self.status = status
        self.consent_source = consent_source
        self.source = source

    def _plan(self, context: Context, hook: Any) -> None:
        super()._plan(context, hook)
        by_id, by_name = self.consent_id or [], self.consent_tech_name or []
        if by_id and by_name:
            raise CrmInputError("Give `consent_id` or `consent_tech_name`, not both")
        if self.source is not None:
            if self.raw:
                raise CrmInputError("`raw` cannot be had with `source`: these rows do not name the customer")
            if self.incremental and not isinstance(self.source, Rows):
                # Who is in a file or a table may change, and the watermark pass the answers of new ones by.
                raise CrmInputError(
                    "`incremental` takes a `source` that is a list, which the watermark is kept for"
                )
            if by_id == [ALL]:
                self.consent_id = None
            elif len(by_id + by_name) > 1:
                raise CrmInputError("With `source`, give one consent or none")
        elif not by_id and not by_name:
            raise CrmInputError("Give `consent_id` (one, a list, or 'all'), `consent_tech_name`, or `source`")

    def _filters(self) -> dict[str, Any]:
        return {"status": self.status, "source": self.consent_source}

    def _pages(
        self, hook: SpreadHook, ahead: int, prepare: Callable[[Records], ExportPage]
    ) -> Iterable[ExportPage]:
        pages = SpreadPages(hook, ahead=ahead, page_size=self.page_size)
        if self.source is not None:
            return self._of_customers(pages, prepare)
        return self._of_consents(hook, pages, prepare)

    def _of_consents(
        self, hook: SpreadHook, pages: SpreadPages, prepare: Callable[[Records], ExportPage]
    ) -> Iterator[ExportPage]:
        ids = self.consent_id or []
        if ids == [ALL]:
            ids = [str(definition["id"]) for definition in hook.iter_consent_definitions()]
        for name, value in [("consent_id", one) for one in ids] + [
            ("consent_tech_name", one) for one in self.consent_tech_name or []
        ]:
            asked = value if name == "consent_id" else None
            found = False
            try:
                for page in pages.consents(
                    self._reader(asked), prepare, **{name: value}, **self._window_filters(), **self._filters()
                ):
                    found = True
                    yield page
            except CrmNotFoundError:
                if found:
                    raise
            if not found and not hook.has_consent(**{name: value}):
                raise CrmInputError(f"SPREAD has no consent whose {name} is {value!r}")

    def _reader(self, asked: str | None) -> PageReader:
        if self.raw:
            return RawReader(self.record_type.key, RowsUnderConsent(asked))
        return consent_reader(self._zone, asked)

    def _of_customers(
        self, pages: SpreadPages, prepare: Callable[[Records], ExportPage]
    ) -> Iterable[ExportPage]:
        reader = HistoryReader(self._zone)
        which = {
            "consent_id": next(iter(self.consent_id or []), None),
            "consent_tech_name": next(iter(self.consent_tech_name or []), None),
        }

        def answers(customer_id: str, rows: list[dict[str, Any]]) -> ExportPage:
            return prepare(reader.read(customer_id, rows))

        return pages.histories(
            _customer_ids(self.source), answers, **which, **self._window_filters(), **self._filters()
        )


def _customer_ids(source: Any) -> Iterator[str]:
    """Read customers' ids from a list of them or from rows, each once as long as they lie near each other."""
    source = source.items if isinstance(source, Rows) else source
    if (
        isinstance(source, Sequence)
        and source
        and not isinstance(source, str)
        and not isinstance(source[0], dict)
    ):
        yield from several(commas=False)("source", source)
        return
    opened = open_source(source)
    for row in opened:
        if not isinstance(row, Row):
            raise CrmInputError(f"Row {row.number} of the source cannot be read: {row.reason}")
        value = row.data.get("customer_id", row.data.get("id"))
        if value is None or not str(value).strip():
            raise CrmInputError(f"Row {row.number} of the source has no `customer_id` or `id`")
        yield str(value).strip()
