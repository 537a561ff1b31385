"""What operators share that send only what has changed since the CRM accepted it last."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Unpack

from airflow_provider_crm.bulk.checkpoint import fingerprint
from airflow_provider_crm.bulk.snapshot import Digests, KeyedDestination, Snapshot
from airflow_provider_crm.bulk.snapshot_file import SnapshotFile
from airflow_provider_crm.hooks.base.hook import CrmHook
from airflow_provider_crm.operators.base.writes import CrmMappedOperator, MappedArguments
from airflow_provider_crm.parameters import Path, YesOrNo
from airflow_provider_crm.values import RULES

if TYPE_CHECKING:
    from airflow_provider_crm._compat import Context


class ChangesArguments(MappedArguments, total=False):
    """What operators take that can leave out what has not changed, see :class:`CrmChangesOperator`."""

    snapshot: Path | None
    full_resync: YesOrNo


class CrmChangesOperator(CrmMappedOperator):
    """A mapped operator that can leave out what the CRM has accepted before.

    :param snapshot: path or URI of a file that keeps what the CRM has accepted, as keyed hashes: rows that stand there
        end as unchanged without a call. One run at a time may use it. See ``docs/changes.md``. (templated)
    :param full_resync: send all rows, and renew the snapshot. (templated)
    """

    template_fields: Sequence[str] = (*CrmMappedOperator.template_fields, "snapshot", "full_resync")
    not_in_fingerprint = CrmMappedOperator.not_in_fingerprint | {"snapshot", "full_resync"}

    def __init__(
        self,
        *,
        snapshot: Path | None = None,
        full_resync: YesOrNo = False,
        **kwargs: Unpack[MappedArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.snapshot: Any = snapshot
        self.full_resync: Any = full_resync

    @contextmanager
    def _opened_snapshot(
        self, context: Context, hook: CrmHook[Any], destination: KeyedDestination[Any]
    ) -> Iterator[Snapshot[Any] | None]:
        if self.snapshot is None:
            yield None
            return
        store = SnapshotFile(self.snapshot, self._about(hook), _run_of(context), dry=self.only_plan)
        with closing(store):
            digests = Digests(store.salt, hook.settings.password)
            yield Snapshot(destination, store, digests, full=self.full_resync, dry=self.only_plan)

    def _about(self, hook: CrmHook[Any]) -> dict[str, str]:
        """Return what a snapshot is of: of anything else it tells nothing."""
        secret = hashlib.blake2b(hook.settings.password.encode(), digest_size=16, person=b"crm-snapshot")
        return {
            "account": fingerprint(type(self).__name__, hook.account),
            "API key": secret.hexdigest(),
            "`match_by`": fingerprint(self.match_by),
            "`field_map`": fingerprint(sorted((self.field_map or {}).items())),
            "`nulls`": str(self.nulls),
            "version of this package's rules": str(RULES),
        }


def _run_of(context: Context) -> str:
    """Name the run and its task: the same for all tries."""
    instance: Any = context.get("ti")
    if instance is None:
        return uuid.uuid4().hex
    names = instance.dag_id, instance.run_id, instance.task_id, getattr(instance, "map_index", -1)
    return fingerprint(*map(str, names))
