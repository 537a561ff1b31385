"""Airflow tasks that export SPREAD's lists: parameters, windows and what is read in which order."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from airflow_provider_crm._compat import persons_email
from airflow_provider_crm.bulk.export import ExportPage
from airflow_provider_crm.exceptions import CrmInputError, CrmNotFoundError
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.hooks.spread.pages import SpreadPages
from airflow_provider_crm.operators.base.exports import CrmExportOperator, check_choice, rejects_of
from airflow_provider_crm.operators.base.windows import (
    SETTLING,
    Watermark,
    Window,
    interval_of,
    local_time,
    next_start,
    zone_named,
)
from airflow_provider_crm.rows.sources import Row, open_source
from airflow_provider_crm.rows.writers import Column, Format, check_suffix
from airflow_provider_crm.schemas.envelopes import List
from airflow_provider_crm.schemas.records import PageReader, RawReader, Records, RecordType
from airflow_provider_crm.schemas.spread.exports import (
    CONSENTS,
    CUSTOMERS,
    LOYALTY_LINES,
    Answers,
    HistoryReader,
    consent_reader,
    customer_reader,
    loyalty_reader,
)

if TYPE_CHECKING:
    from airflow_provider_crm._compat import Context

STATUSES = ("accepted", "refused", "toBeConfirmed", "unknown")
#: The value of ``consent_id`` that stands for every consent there is.
ALL = "all"


class CrmSpreadExportOperator(CrmExportOperator):
    """Exports a list of SPREAD.

    Without any date filter the window is the run's data interval, its start included and its end not; a run without
    one exports everything.

    :param spread_conn_id: the connection. (templated)
    :param created_after: bound of the window: a datetime, or text. With a zone it is converted to ``timezone``,
        without one it is sent as it is. (templated)
    :param created_before: the other bound. (templated)
    :param window: ``all`` exports everything although the run has a data interval.
    :param incremental: go on where the last export ended; needs Airflow 3.3 and exactly one outlet asset.
    :param timezone: the zone of the CRM's local times. (templated)
    :param raw: write the CRM's rows untouched; JSON lines only.
    :param page_size: rows a call, at most 5000.

    See :class:`~airflow_provider_crm.operators.base.exports.CrmExportOperator` for the other parameters.
    """

    template_fields: Sequence[str] = (
        *CrmExportOperator.template_fields,
        "spread_conn_id",
        "created_after",
        "created_before",
        "timezone",
    )
    record_type: RecordType
    #: The column that the window is about.
    created: str
    #: Filters that make a window of their own.
    other_windows: Sequence[str] = ()

    def __init__(
        self,
        *,
        spread_conn_id: str = SpreadHook.default_conn_name,
        created_after: Any = None,
        created_before: Any = None,
        window: str = "data_interval",
        incremental: bool = False,
        timezone: str = "Europe/Paris",
        raw: bool = False,
        page_size: int = 5000,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.spread_conn_id = spread_conn_id
        self.created_after = created_after
        self.created_before = created_before
        self.window = window
        self.incremental = incremental
        self.timezone = timezone
        self.raw = raw
        self.page_size = page_size
        self._zone = ZoneInfo("UTC")
        self._covers = Window()
        self._watermark: Watermark | None = None

    def _hook(self) -> SpreadHook:
        return SpreadHook(self.spread_conn_id, concurrency=self.concurrency)

    def _columns(self, hook: SpreadHook) -> Sequence[Column]:
        return self.record_type.columns

    def _metadata(self) -> dict[str, str]:
        return {"crm.system": "spread", "crm.resource": self.record_type.name, "crm.timezone": self.timezone}

    def _filters(self) -> dict[str, Any]:
        """Give the filters besides the window."""
        raise NotImplementedError

    def _plan(self, context: Context) -> None:
        check_choice("window", self.window, ("data_interval", "all"))
        if self.raw and check_suffix(str(self.path)) != ".jsonl":
            raise CrmInputError("`raw` rows go to .jsonl or .jsonl.gz only: they have no columns")
        self._zone = zone_named(self.timezone)
        if self.incremental:
            self._covers = self._since_watermark(context)
        else:
            self._covers = Window.given(self.created_after, self.created_before, self._zone)
            own = any(getattr(self, name) not in (None, "") for name in self.other_windows)
            if self._covers == Window() and not own and self.window != "all":
                self._covers = interval_of(context, self._zone) or Window()
                if self._covers == Window():
                    # Also what Airflow 3 gives a plain cron schedule, whose runs are moments.
                    self.log.info("The run has no data interval: exporting without bounds of time")

    def _since_watermark(self, context: Context) -> Window:
        if self.raw:
            raise CrmInputError("`incremental` cannot be had with `raw`: the rows are not looked into")
        dag_id = getattr(context.get("dag"), "dag_id", "")
        self._watermark = Watermark.of(context, self.outlets, f"crm_export.{dag_id}.{self.task_id}")
        given = Window.given(self.created_after, self.created_before, self._zone)
        start = self._watermark.get()
        if start is None and given.after:
            start = dt.datetime.fromisoformat(given.after)
        if given.before:
            end = dt.datetime.fromisoformat(given.before)
        else:
            end = local_time(dt.datetime.now(dt.UTC) - SETTLING, self._zone)
        return Window.from_to(start, max(end, start) if start else end)

    def _after(self, context: Context, exported: Any) -> None:
        if self._watermark is not None and exported.newest is not None:
            self._watermark.set(next_start(exported.newest, self._zone))

    def _announcement(self) -> dict[str, Any]:
        return {"window": self._covers.described()}

    def _window_filters(self) -> dict[str, Any]:
        return self._covers.described()

    def _prepare(self, file_format: Format) -> Callable[[Records], ExportPage]:
        if self.raw or not (self._covers.end or self.incremental):
            return super()._prepare(file_format)
        holds = self._covers.holds

        def prepare(records: Records) -> ExportPage:
            times = [self._local_time(getattr(record, self.created)) for record in records.values]
            kept = [place for place, time in enumerate(times) if holds(time)]
            absent = {misfit.position for misfit in records.misfits}
            present = [place for place in range(len(records.keys)) if place not in absent]
            known = [times[place] for place in kept]
            return ExportPage(
                records.keys,
                file_format.encode([records.values[place] for place in kept], records.unknown),
                rejects=rejects_of(records),
                left_out=set(present) - {present[place] for place in kept},
                newest=max((time for time in known if time is not None), default=None),
            )

        return prepare

    def _local_time(self, value: dt.datetime | str | None) -> dt.datetime | None:
        """Give a record's local time, in seconds."""
        if value is None:
            return None
        if isinstance(value, str):
            return dt.datetime.fromisoformat(value[:19])
        return local_time(value, self._zone).replace(microsecond=0)


class SpreadExportCustomersOperator(CrmSpreadExportOperator):
    """Export SPREAD's customers.

    .. seealso:: The vendor's page "Customers" at help.spreadfamily.fr.

    :param modified_after: as ``created_after``, for the last change. (templated)
    :param modified_before: as ``created_before``, for the last change. (templated)
    :param ids: only these of SPREAD's ids: a list, or a text with commas. (templated)
    :param show_custom_fields: have the CRM give ``custom_fields`` as well.

    The other filters are the vendor's: ``email``, ``last_name``, ``first_name``, ``zipcode``, ``city``, ``country``,
    ``phone_number``, ``mobile_phone_number``, ``case_insensitive``, ``external_id``. (templated)
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
    )
    template_fields: Sequence[str] = (*CrmSpreadExportOperator.template_fields, *filters, "person_email")
    resource = "customers"
    record_type = CUSTOMERS
    created = "createdAt"
    other_windows = ("modified_after", "modified_before", "ids")

    def __init__(
        self,
        *,
        modified_after: Any = None,
        modified_before: Any = None,
        ids: Any = None,
        email: str | None = None,
        last_name: str | None = None,
        first_name: str | None = None,
        zipcode: str | None = None,
        city: str | None = None,
        country: str | None = None,
        phone_number: str | None = None,
        mobile_phone_number: str | None = None,
        external_id: str | None = None,
        case_insensitive: bool | None = None,
        show_custom_fields: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.modified_after = modified_after
        self.modified_before = modified_before
        self.ids = ids
        self.person_email = persons_email(email, kwargs)
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
        plain = (*self.filters[2:], "case_insensitive", "show_custom_fields")
        return {
            "modified_after": changed.after,
            "modified_before": changed.before,
            "email": self.person_email,
            **{name: getattr(self, name) for name in plain},
        }

    def _pages(
        self, hook: SpreadHook, ahead: int, prepare: Callable[[Records], ExportPage]
    ) -> Iterable[ExportPage]:
        reader: PageReader = RawReader("id", List("customers")) if self.raw else customer_reader(self._zone)
        pages = SpreadPages(hook, ahead=ahead, page_size=self.page_size)
        return pages.customers(reader, prepare, **self._window_filters(), **self._filters())


class SpreadExportLoyaltyOperator(CrmSpreadExportOperator):
    """Export the movements of SPREAD's loyalty pots; a negative amount is spending.

    .. seealso:: The vendor's page "Cagnotte" at help.spreadfamily.fr.

    :param modified_after: as ``created_after``, for the last change. (templated)
    :param modified_before: as ``created_before``, for the last change. (templated)

    The other filters are the vendor's: ``customer_id``, ``cagnotte_id``, ``campaign_id``, ``min_amount``,
    ``max_amount``, ``amount``. (templated)
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

    def __init__(
        self,
        *,
        modified_after: Any = None,
        modified_before: Any = None,
        customer_id: str | int | None = None,
        cagnotte_id: str | int | None = None,
        campaign_id: str | int | None = None,
        min_amount: Any = None,
        max_amount: Any = None,
        amount: Any = None,
        **kwargs: Any,
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
        return {
            "modified_after": changed.after,
            "modified_before": changed.before,
            **{name: getattr(self, name) for name in self.filters[2:]},
        }

    def _pages(
        self, hook: SpreadHook, ahead: int, prepare: Callable[[Records], ExportPage]
    ) -> Iterable[ExportPage]:
        key = self.record_type.key
        reader: PageReader = RawReader(key, List("cagnottes")) if self.raw else loyalty_reader(self._zone)
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

    def __init__(
        self,
        *,
        consent_id: Any = None,
        consent_tech_name: Any = None,
        status: str | None = None,
        consent_source: str | None = None,
        source: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.consent_id = consent_id
        self.consent_tech_name = consent_tech_name
        self.status = status
        self.consent_source = consent_source
        self.source = source

    def _plan(self, context: Context) -> None:
        super()._plan(context)
        check_choice("status", self.status or None, (*STATUSES, None))
        by_id, by_name = _listed(self.consent_id, commas=True), _listed(self.consent_tech_name, commas=False)
        if by_id and by_name:
            raise CrmInputError("Give `consent_id` or `consent_tech_name`, not both")
        if self.source is not None:
            if self.raw:
                raise CrmInputError("`raw` cannot be had with `source`: these rows do not name the customer")
            if by_id == [ALL]:
                self.consent_id = None
            elif len(by_id + by_name) > 1:
                raise CrmInputError("With `source`, give one consent or none")
        elif not by_id and not by_name:
            raise CrmInputError("Give `consent_id` (one, a list, or 'all'), `consent_tech_name`, or `source`")

    def _filters(self) -> dict[str, Any]:
        return {"status": self.status or None, "source": self.consent_source or None}

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
        ids = _listed(self.consent_id, commas=True)
        if ids == [ALL]:
            ids = [str(definition["id"]) for definition in hook.iter_consent_definitions()]
        for name, value in [("consent_id", one) for one in ids] + [
            ("consent_tech_name", one) for one in _listed(self.consent_tech_name, commas=False)
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
            return RawReader(self.record_type.key, Answers(asked))
        return consent_reader(self._zone, asked)

    def _of_customers(
        self, pages: SpreadPages, prepare: Callable[[Records], ExportPage]
    ) -> Iterable[ExportPage]:
        reader = HistoryReader(self._zone)
        which = {
            "consent_id": next(iter(_listed(self.consent_id, commas=True)), None),
            "consent_tech_name": next(iter(_listed(self.consent_tech_name, commas=False)), None),
        }

        def answers(customer_id: str, rows: list[dict[str, Any]]) -> ExportPage:
            return prepare(reader.read(customer_id, rows))

        return pages.histories(
            _customer_ids(self.source), answers, **which, **self._window_filters(), **self._filters()
        )


def _listed(value: Any, *, commas: bool) -> list[str]:
    """Read one value or several; each once."""
    if value is None:
        return []
    if isinstance(value, str):
        parts: Iterable[Any] = value.split(",") if commas else [value]
    elif isinstance(value, Iterable):
        parts = value
    else:
        parts = [value]
    return list(dict.fromkeys(text for part in parts if (text := str(part).strip())))


def _customer_ids(source: Any) -> Iterator[str]:
    """Read customers' ids from a list of them or from rows, each once as long as they lie near each other."""
    if (
        isinstance(source, Sequence)
        and source
        and not isinstance(source, str)
        and not isinstance(source[0], dict)
    ):
        yield from _listed(source, commas=False)
        return
    opened = open_source(source)
    for row in opened:
        if not isinstance(row, Row):
            raise CrmInputError(f"Row {row.number} of the source cannot be read: {row.reason}")
        value = row.data.get("customer_id", row.data.get("id"))
        if value is None or not str(value).strip():
            raise CrmInputError(f"Row {row.number} of the source has no `customer_id` or `id`")
        yield str(value).strip()
