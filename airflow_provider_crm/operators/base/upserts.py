"""What operators that create and update people share: the match key, the mode, and which column is which field."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from os import PathLike
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol, TypeVar, Unpack

from airflow_provider_crm._compat import conf
from airflow_provider_crm.bulk.checkpoint import fingerprint
from airflow_provider_crm.bulk.leavers import Leavers
from airflow_provider_crm.bulk.outcomes import Destination
from airflow_provider_crm.bulk.preview import Preview, ShowingDestination
from airflow_provider_crm.bulk.report import Report
from airflow_provider_crm.bulk.snapshot import Snapshot, SqlSnapshot
from airflow_provider_crm.bulk.snapshot_digests import Digests, stretched
from airflow_provider_crm.bulk.snapshot_file import SnapshotFile
from airflow_provider_crm.bulk.snapshot_rows import KeyedDestination
from airflow_provider_crm.bulk.snapshot_store import SnapshotStore
from airflow_provider_crm.bulk.suppression import Suppressible, Suppressing
from airflow_provider_crm.bulk.upserts import MODES
from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.hooks.base.hook import CrmHook
from airflow_provider_crm.operators.base.mapped import is_mapped
from airflow_provider_crm.operators.base.writes import CrmMappedOperator, MappedArguments
from airflow_provider_crm.parameters import (
    Count,
    MaxRejects,
    Path,
    StoragePath,
    Text,
    YesOrNo,
    is_known,
    number,
    one_of,
    path_or_table,
)
from airflow_provider_crm.rows.mapping import FieldMapping
from airflow_provider_crm.rows.sources import Source
from airflow_provider_crm.rows.templates import SourceField
from airflow_provider_crm.values import RULES

if TYPE_CHECKING:
    from airflow_provider_crm._compat import Context

SnapshotPlace = Annotated[str | PathLike[str] | StoragePath | SqlSnapshot, path_or_table]
R = TypeVar("R")

UpsertMode = Annotated[Literal["upsert", "create", "update"] | str, one_of(*MODES)]


class UpsertArguments(MappedArguments, total=False):
    """What operators that create and update people take, see :class:`CrmUpsertOperator`."""

    snapshot: SnapshotPlace | None
    full_resync: YesOrNo
    verify: Annotated[float | str, number(0, 1)]
    retry_rejects: YesOrNo
    leavers_path: Path | None
    max_leavers: MaxRejects
    preview_path: Path | None
    preview_rows: Count


class WritableFields(Protocol):
    """The fields of a CRM that a column can go into."""

    def find(self, name: str | int) -> Any:
        """Find a field by the name that a user writes; None when there is none."""

    def names(self) -> Collection[str]:
        """Return the names to choose from, for an error message."""

    def passed_over(self, columns: Collection[str]) -> Collection[str]:
        """Return the columns that the CRM alone writes, where a source with these columns is an export of it."""


class UpsertDestination(Suppressible[R], KeyedDestination[R], ShowingDestination[R], Protocol[R]):
    """What every upsert of people can do: heed a suppression list, keep a snapshot, show what it would change."""


class CrmUpsertOperator(CrmMappedOperator):
    """A mapped operator that creates and updates people, whom it finds by a match key.

    A subclass gives ``match_by`` and ``mode`` the values and defaults of its CRM, and passes them on.

    :param snapshot: path or URI of a file, which one run at a time may use, or a
        :class:`~airflow_provider_crm.bulk.snapshot.SqlSnapshot`, which any number may. It keeps what the CRM has
        accepted, as keyed hashes: rows that stand there end as unchanged without a call. See ``docs/changes.md``.
        (templated)
    :param full_resync: send all rows, and renew the snapshot. (templated)
    :param verify: the share of known rows that are looked up all the same: what others have changed in the CRM is sent
        again, and counted as ``drifted``. (templated)
    :param retry_rejects: False leaves rows alone that the CRM has refused within Airflow's option ``[crm]
        retry_rejects_days`` (7) and that are the same: they end as rejected with the first reason, without a call.
        Needs a snapshot. (templated)
    :param leavers_path: path or URI of a JSON-lines file that takes the keys of people whom an earlier source held and
        this one does not; for that the snapshot keeps keys in clear. (templated)
    :param max_leavers: fail before anything is sent when more of them have left: a number, or a float as share of the
        people of earlier sources. (templated)
    :param preview_path: path or URI of a JSON-lines file that takes, in a dry run or before a person is asked for
        approval, what would become of each row, and of each field that it changes. (templated)
    :param preview_rows: of how many rows the CRM is asked for that at most, drawn evenly. (templated)

    See :class:`~airflow_provider_crm.operators.base.writes.CrmMappedOperator` for the other parameters.
    """

    template_fields: Sequence[str] = (
        *CrmMappedOperator.template_fields,
        "match_by",
        "mode",
        "snapshot",
        "full_resync",
        "verify",
        "retry_rejects",
        "leavers_path",
        "max_leavers",
        "preview_path",
        "preview_rows",
    )
    not_in_fingerprint = CrmMappedOperator.not_in_fingerprint | {"preview_path", "preview_rows"}
    snapshot = SourceField()
    #: The name of the field that each value of ``match_by`` looks at.
    key_fields: ClassVar[Mapping[str, str | int]]

    def __init__(
        self,
        *,
        match_by: Text,
        mode: Text,
        snapshot: SnapshotPlace | None = None,
        full_resync: YesOrNo = False,
        verify: Annotated[float | str, number(0, 1)] = 0.0,
        retry_rejects: YesOrNo = True,
        leavers_path: Path | None = None,
        max_leavers: MaxRejects = 0.1,
        preview_path: Path | None = None,
        preview_rows: Count = 1000,
        **kwargs: Unpack[MappedArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.match_by = match_by
        self.mode = mode
        self.snapshot = snapshot
        self.full_resync: Any = full_resync
        self.verify: Any = verify
        self.retry_rejects: Any = retry_rejects
        self.leavers_path: Any = leavers_path
        self.max_leavers: Any = max_leavers
        self.preview_path: Any = preview_path
        self.preview_rows: Any = preview_rows
        if is_known(self.only_plan) and is_known(self.approval):
            self._check_that_a_preview_is_asked_for()

    # What a subclass adds

    def _fields(self, hook: Any, names: Iterable[str | int]) -> WritableFields:
        """Return the fields of the CRM.

        :param names: those that the task writes, as far as they are known before the first row.
        """
        raise NotImplementedError

    def _upserts(self, hook: Any, mapping: FieldMapping[Any], key_column: str) -> UpsertDestination[Any]:
        """Return the destination.

        :param key_column: the column that holds the match key.
        """
        raise NotImplementedError

    def _destination(self, hook: Any, source: Source) -> UpsertDestination[Any]:
        self._check_that_a_preview_is_asked_for()
        names = self.field_map.values() if isinstance(self.field_map, Mapping) else source.columns() or ()
        fields = self._fields(hook, names)
        mapping = FieldMapping(
            fields.find, self.field_map, nulls=self.nulls, known=fields.names, passed_over=fields.passed_over
        )
        key_column = mapping.check(source, fields.find(self.key_fields[self.match_by]))
        return self._upserts(hook, mapping, key_column)

    # What would be done

    def _check_that_a_preview_is_asked_for(self) -> None:
        if self.preview_path is not None and self.only_plan is False and self.approval is False:
            raise CrmInputError(
                "`preview_path` is for `dry_run=True` or `approval`: a run itself has `results_path`"
            )

    def _preview_of(self, destination: ShowingDestination[Any]) -> Preview[Any] | None:
        if self.preview_path is None or not self.only_plan:
            return None
        return Preview(destination, self.preview_path, self.preview_rows)

    def _twin(self) -> Any:
        twin = super()._twin()
        twin.preview_path = None  # counts are of all rows
        return twin

    def _plan(self, context: Context, hook: Any) -> tuple[Report, Mapping[str, Any]]:
        plan = super()._plan(context, hook)
        if self.preview_path is not None:
            twin = self._twin()
            twin.rejects_path = twin.results_path = None
            twin.max_rejects = 1.0
            twin.preview_path = self.preview_path
            twin._run(context, hook)
        return plan

    # What has changed

    @contextmanager
    def _opened_snapshot(
        self,
        context: Context,
        hook: CrmHook[Any],
        destination: KeyedDestination[Any],
        guarded: Destination[Any],
    ) -> Iterator[Snapshot[Any] | None]:
        if self.snapshot is None:
            if self.leavers_path:
                raise CrmInputError("`leavers_path` needs a `snapshot`, which knows who was there before")
            if not self.retry_rejects:
                raise CrmInputError(
                    "`retry_rejects=False` needs a `snapshot`, which knows what was refused before"
                )
            yield None
            return
        if self.leavers_path and is_mapped(context):
            raise CrmInputError("`leavers_path` needs the whole source, of which a mapped task has a part")
        dry = self.only_plan
        store = self._store(hook, _run_of(context))
        with closing(store):
            if store.killed and not dry:
                longest = hook.settings.extras.timeout
                self.log.info(
                    "The run before may have been killed: waiting %s s for its last calls to end", longest
                )
                hook.pause(longest)
            digests = Digests(store.salt, hook.settings.password)
            leavers = None
            if self.leavers_path and isinstance(store, SnapshotFile):
                path, most = self.leavers_path, self.max_leavers
                leavers = Leavers(store, digests, destination, path=path, most=most, dry=dry)
            snapshot: Snapshot[Any] = Snapshot(
                destination,
                store,
                digests,
                full=self.full_resync,
                dry=dry,
                verify=self.verify,
                leave_refused=0.0 if self.retry_rejects else 86_400.0 * retry_rejects_days(),
                exempt=guarded.concerns if isinstance(guarded, Suppressing) else None,
                leavers=leavers,
            )
            with leavers.file() if leavers else nullcontext():
                yield snapshot
            if not dry:
                store.complete()

    def _store(self, hook: CrmHook[Any], run: str) -> SnapshotStore:
        place: Any = self.snapshot
        about = self._about(hook)
        # A key that the CRM does not take, or a CRM that is away, voids nothing.
        how: Any = {"dry": self.only_plan, "confirm": hook.try_access}
        if not isinstance(place, SqlSnapshot):
            return SnapshotFile(place, about, run, names=self.leavers_path is not None, **how)
        if self.leavers_path:
            raise CrmInputError(
                "`leavers_path` needs a `snapshot` in a file: none of the tasks that share one sees all of its people"
            )
        # SQLAlchemy, which few tasks need, is loaded by those.
        from airflow_provider_crm.bulk.snapshot_table import SnapshotTable

        return SnapshotTable.at(place, about, run, **how)

    def _about(self, hook: CrmHook[Any]) -> dict[str, str]:
        """Return what a snapshot is of: of anything else it tells nothing."""
        account = fingerprint(type(self).__name__, hook.account)
        return {
            "account": account,
            "API key": stretched(hook.settings.password, account.encode()).hex(),
            "`match_by`": str(self.match_by),
            "`field_map`": fingerprint(sorted((self.field_map or {}).items())),
            "`nulls`": str(self.nulls),
            "version of this package's rules": str(RULES),
        }


def retry_rejects_days() -> int:
    """Return for how many days refused rows are left alone: Airflow's option ``[crm] retry_rejects_days``."""
    return conf.getint("crm", "retry_rejects_days", fallback=7)


def _run_of(context: Context) -> str:
    """Name the run and its task: the same for all tries."""
    instance: Any = context.get("ti")
    if instance is None:
        return uuid.uuid4().hex
    names = instance.dag_id, instance.run_id, instance.task_id, getattr(instance, "map_index", -1)
    return fingerprint(*map(str, names))
