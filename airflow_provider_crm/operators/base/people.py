"""What exports of known people share: keys in, records out, and a list of those whom the CRM does not know.

Knows Airflow and rows; how a CRM is asked for people is said by a subclass.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Required, Unpack

from airflow_provider_crm.bulk.export import ExportPage, Reject
from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.operators.base.exports import CrmExportOperator, ExportArguments
from airflow_provider_crm.operators.base.lineage import DataSet, rows_of
from airflow_provider_crm.parameters import Path
from airflow_provider_crm.rows.journal import Journal
from airflow_provider_crm.rows.parameter import Source
from airflow_provider_crm.rows.sources import Row, open_source
from airflow_provider_crm.rows.templates import SourceField
from airflow_provider_crm.schemas.records import RecordReader, Records
from airflow_provider_crm.values import compared_email, is_empty, key_of, normal_email, phone_of

if TYPE_CHECKING:
    from airflow_provider_crm._compat import Context

#: Keys that are remembered, so that a person who is in the source twice is in the file once.
REMEMBERED = 200_000


class PeopleExportArguments(ExportArguments, total=False):
    """What every export of known people takes, see :class:`CrmPeopleExportOperator`."""

    source: Required[Source]
    absent_path: Path | None


class CrmPeopleExportOperator(CrmExportOperator):
    """Exports the people whose keys a source holds.

    :param source: as in the writing operators, with a column named as ``by``; other columns do not matter.
        (templated)
    :param absent_path: path or URI of a JSON-lines file that takes the keys which the CRM does not know. (templated)

    The summary also has ``absent``, the number of these keys.
    See :class:`~airflow_provider_crm.operators.base.exports.CrmExportOperator` for the other parameters.
    """

    source = SourceField()
    template_fields: Sequence[str] = (*CrmExportOperator.template_fields, "source", "absent_path")
    #: What the keys are, and the column that holds them.
    by: str
    #: Keys of a page.
    group_size: int

    def __init__(
        self, *, source: Source, absent_path: Path | None = None, **kwargs: Unpack[ExportArguments]
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.absent_path: Any = absent_path
        self._absent = 0

    def _plan(self, context: Context, hook: Any) -> None:
        open_source(self.source).require([self.by])

    def _counts(self) -> dict[str, int]:
        return {"absent": self._absent}

    def _announcement(self) -> dict[str, Any]:
        return {"absent": self._absent}

    def _data_sets(self) -> tuple[list[DataSet], list[DataSet]]:
        read, written = super()._data_sets()
        return read and read + rows_of(self.source, None), written

    def _normal(self, key: str) -> str:
        """Write a key as it is compared."""
        return compared_email(key) if self.by == "email" else key

    def _problem(self, key: str) -> str:
        """Return why a key cannot be asked for; empty when it can."""
        if not key:
            return f"the column {self.by!r} is empty"
        try:
            key.encode()
        except UnicodeEncodeError:
            return f"the column {self.by!r} holds half a character"
        return ""

    def _groups(self) -> Iterator[list[tuple[str, Reject | None]]]:
        """Return the keys in groups, each once; a row without one is a reject."""
        keys = self._each_key()
        while group := list(islice(keys, self.group_size)):
            yield group

    def _each_key(self) -> Iterator[tuple[str, Reject | None]]:
        known: OrderedDict[str, None] = OrderedDict()
        for row in open_source(self.source):
            data, reason = row.data, "" if isinstance(row, Row) else row.reason
            given = data.get(self.by)
            try:
                key = _key(self.by, given)
            except ValueError as error:
                key = given.strip() if isinstance(given, str) else ""
                reason = reason or f"the column {self.by!r}: {error}"
            reason = reason or self._problem(key)
            if reason:
                yield "", Reject(0, key or None, reason, data)
                continue
            normal = self._normal(key)
            if normal in known:
                continue
            known[normal] = None
            if len(known) > REMEMBERED:
                known.popitem(last=False)
            yield key, None

    def _looked_up(
        self,
        groups: Iterable[tuple[list[tuple[str, Reject | None]], dict[str, list[dict[str, Any]]]]],
        reader: RecordReader,
        prepare: Callable[[Records], ExportPage],
    ) -> Iterator[ExportPage]:
        """Turn what was found into pages.

        :param groups: keys, and the rows found by each of them, written as it is compared.
        """
        self._absent = 0
        journal = Journal(self.absent_path) if self.absent_path else None
        if journal:
            journal.open()
        try:
            for group, found in groups:
                rejects, rows, places = [], [], []
                for place, (key, reject) in enumerate(group):
                    if reject is not None:
                        rejects.append(Reject(place, reject.key, reject.reason, reject.data))
                        continue
                    people = found.get(self._normal(key), [])
                    rows += people
                    places += [place] * len(people)
                    if not people:
                        self._absent += 1
                        if journal:
                            journal.append({self.by: key})
                page = prepare(reader.read_data(rows, {}))
                rejects += [
                    Reject(places[misfit.position], misfit.key, misfit.reason, misfit.data)
                    for misfit in page.rejects
                ]
                yield ExportPage([key for key, _ in group], page.block, rejects=rejects)
        finally:
            if journal:
                journal.close()


def _key(by: str, value: Any) -> str:
    """Write a key as it is asked for; "" for an empty one."""
    if by == "email":
        return "" if is_empty(value) else normal_email(value)
    return phone_of(value) if by == "phone" else key_of(value)


def no_such_field(name: Any, known: Sequence[str]) -> CrmInputError:
    """Say that a site has no such field."""
    return CrmInputError(f"{name!r} is no field of the CRM; known are {', '.join(known[:60])}")
