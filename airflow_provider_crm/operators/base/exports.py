"""What every export shares: its parameters, and the way from pages through a writer to a file and its announcement.

Knows Airflow and files; which CRM it is, and what is read, is said by a subclass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Required, Unpack

from airflow_provider_crm.bulk.export import Export, Exported, ExportPage, Reject
from airflow_provider_crm.bulk.rejects import Rejects
from airflow_provider_crm.operators.base.lineage import DataSet, crm_list, files_at
from airflow_provider_crm.operators.base.metrics import emit
from airflow_provider_crm.operators.base.operator import CrmBaseOperator, RunArguments
from airflow_provider_crm.parameters import Concurrency, MaxRejects, Path, YesOrNo
from airflow_provider_crm.rows.blocks import Column, Format
from airflow_provider_crm.rows.targets import target_at
from airflow_provider_crm.rows.writers import check_suffix, format_for
from airflow_provider_crm.schemas.records import Records

if TYPE_CHECKING:
    from airflow_provider_crm._compat import Context

#: Pages that may wait for their turn beside: while the file takes one, as many as may be in flight still are.
WAITING = 2


def _of_known_format(name: str, path: str) -> str:
    check_suffix(path)
    return path


ExportPath = Annotated[Path, _of_known_format]


class ExportArguments(RunArguments, total=False):
    """What every export takes, see :class:`CrmExportOperator`."""

    path: Required[ExportPath]
    rejects_path: Path | None
    reject_data: YesOrNo
    max_rejects: MaxRejects
    concurrency: Concurrency | None
    csv_escape_formulas: YesOrNo


class CrmExportOperator(CrmBaseOperator):
    """Writes records of a CRM into one file, which is whole or absent.

    :param path: path or URI of the file; its suffix is its format: ``.jsonl``, ``.csv`` (each also ``.gz``) or
        ``.parquet``. (templated)
    :param rejects_path: path or URI of a JSON-lines file that takes rows which are not what the CRM documents.
        (templated)
    :param reject_data: whether the rows themselves are written there too. (templated)
    :param max_rejects: fail, without a file, when there are more of them: a number, or a float as share of the
        rows. (templated)
    :param concurrency: pages in flight; the connection's extra and then 4 otherwise. (templated)
    :param csv_escape_formulas: put an apostrophe before texts of a CSV file that begin with ``=``, ``+``, ``-`` or
        ``@``, which a spreadsheet would compute. When the file is read as a source it is taken off again. (templated)
    """

    template_fields: Sequence[str] = (
        *CrmBaseOperator.template_fields,
        "path",
        "rejects_path",
        "reject_data",
        "max_rejects",
        "concurrency",
        "csv_escape_formulas",
    )
    ui_color = "#e6f4ea"
    default_concurrency = 4

    def __init__(
        self,
        *,
        path: ExportPath,
        rejects_path: Path | None = None,
        reject_data: YesOrNo = True,
        max_rejects: MaxRejects = 0,
        concurrency: Concurrency | None = None,
        csv_escape_formulas: YesOrNo = False,
        **kwargs: Unpack[RunArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.path: Any = path
        self.rejects_path: Any = rejects_path
        self.reject_data: Any = reject_data
        self.max_rejects: Any = max_rejects
        self.concurrency = concurrency
        self.csv_escape_formulas: Any = csv_escape_formulas
        self._read_from = ""
        self._rejects: Rejects | None = None
        self._exported: Exported | None = None

    # What a subclass adds

    #: The name of what is exported, such as ``customers``.
    resource: str

    def _columns(self, hook: Any) -> Sequence[Column]:
        """Return the columns of the file."""
        raise NotImplementedError

    def _metadata(self) -> dict[str, str]:
        """Return what the file says about itself."""
        return {}

    def _plan(self, context: Context, hook: Any) -> None:
        """Check what is to be read, before anything is asked for.

        :raises CrmInputError: it makes no sense.
        """

    def _pages(self, hook: Any, ahead: int, prepare: Callable[[Records], ExportPage]) -> Iterable[ExportPage]:
        """Read the pages.

        :param prepare: encodes a page.
        """
        raise NotImplementedError

    def _announcement(self) -> dict[str, Any]:
        """Return what the asset's event says, besides rows and path."""
        return {}

    def _counts(self) -> dict[str, int]:
        """Return further counts for the summary."""
        return {}

    def _prepare(self, file_format: Format) -> Callable[[Records], ExportPage]:
        def prepare(records: Records) -> ExportPage:
            return ExportPage(
                records.keys, file_format.encode(records.values, records.unknown), rejects=rejects_of(records)
            )

        return prepare

    def _after(self, exported: Exported) -> None:
        """Note what was exported, once all else is done: the rows are not exported again."""

    def _run(self, context: Context, hook: Any) -> dict[str, Any]:
        """Export.

        :return: ``{"rows", "path", "bytes", "requests", "retries", "seconds"}``.
        :raises CrmInputError: a parameter makes no sense, or the file cannot be written.
        :raises CrmRejectsError: more rows than ``max_rejects`` are not what the CRM documents.
        """
        started = time.monotonic()
        path = self.path
        self._plan(context, hook)
        self._rejects = rejects = Rejects(self.rejects_path, with_data=self.reject_data)
        file_format = format_for(
            path,
            self._columns(hook),
            metadata=self._metadata(),
            csv_escape_formulas=self.csv_escape_formulas,
        )
        export = Export(lambda: target_at(path), file_format, rejects, max_rejects=self.max_rejects)
        ahead = hook.concurrency + WAITING
        self._read_from = hook.settings.base_url
        self.log.info("Exporting %s of %s to %s", self.resource, hook.hook_name, path)
        self._exported = exported = export.run(lambda: self._pages(hook, ahead, self._prepare(file_format)))
        summary = {
            "rows": exported.rows,
            "path": path,
            "bytes": exported.size,
            "requests": hook.counters.requests,
            "retries": hook.counters.retries,
            "seconds": round(time.monotonic() - started, 3),
            **self._counts(),
        }
        self._announce(context, {"rows": exported.rows, "path": path, **self._announcement()})
        emit(hook.conn_type, type(self).__name__, summary)
        self._after(exported)
        return summary

    def _account(self) -> dict[str, Any]:
        return {
            "rows": self._exported.rows if self._exported else 0,
            "bytes": self._exported.size if self._exported else 0,
            "path": self.path,
            **self._counts(),
            **super()._account(),
            "reasons": self._rejects.reasons.told() if self._rejects else [],
            "rejects_path": self.rejects_path,
        }

    def _data_sets(self) -> tuple[list[DataSet], list[DataSet]]:
        if not self._read_from:
            return [], []
        done = self._exported
        read = crm_list(self._read_from, self.resource, done.rows if done else None)
        return [read], [files_at(self.path, done.rows, done.size)] if done else []


def rejects_of(records: Records) -> list[Reject]:
    """Turn the rows of a page that do not fit into rejects."""
    return [Reject(misfit.position, misfit.key, misfit.reason, misfit.data) for misfit in records.misfits]
