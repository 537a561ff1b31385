"""The Airflow task that erases people from all CRMs, with a certificate: parameters and wiring."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, Unpack

from airflow_provider_crm.bulk.certificate import Certificate
from airflow_provider_crm.bulk.erasure import ABSENT, BY_HAND, FINAL, ErasePeople, Eraser
from airflow_provider_crm.bulk.prepass import Check
from airflow_provider_crm.bulk.report import Report
from airflow_provider_crm.bulk.snapshot_digests import stretched
from airflow_provider_crm.bulk.suppression_file import AddToSuppressionFile
from airflow_provider_crm.destinations.expertsender.erasures import EraseCustomer as EraseExpertSenderCustomer
from airflow_provider_crm.destinations.mindbaz.erasures import EraseSubscriber
from airflow_provider_crm.destinations.spread.erasures import EraseCustomer as EraseSpreadCustomer
from airflow_provider_crm.exceptions import (
    CrmFailError,
    CrmInputError,
    CrmRejectsError,
    CrmTransientError,
)
from airflow_provider_crm.hooks.expertsender import ExpertSenderHook
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.hooks.mindbaz.lookups import key_text
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.operators.base.deletes import CrmDeleteOperator, DeleteArguments
from airflow_provider_crm.operators.base.lineage import DataSet, crm_list
from airflow_provider_crm.operators.base.several import SeveralHooks
from airflow_provider_crm.parameters import Column, ConnId, Names, Path, Seconds, YesOrNo, one_of
from airflow_provider_crm.rows.sources import Source
from airflow_provider_crm.schemas.expertsender.cells import identifier
from airflow_provider_crm.schemas.spread.cells import id_of

if TYPE_CHECKING:
    from airflow_provider_crm._compat import Context

#: Of the key of a certificate's hashes: not the ledger's, so that nobody who sees both can tell who is in both.
KEY_SALT = b"airflow-provider-crm certificate"


class CrmErasePeopleOperator(CrmDeleteOperator):
    """Erase people from SPREAD, Mindbaz and ExpertSender, look whether they are gone, and write a certificate.

    Each person is looked up in all systems before they are erased in one. A system that fails does not keep the others
    from being done: the task fails at the end, and its retry goes on with what is left. Mindbaz documents no deletion:
    its subscribers are unsubscribed, ``blank_fields`` emptied, and the rest is left to a person's hand.

    .. seealso:: ``docs/privacy.md``: the certificate, what stays, and a request from its arrival to its proof.

    :param certificate_path: path or URI of the certificate, JSON lines. It is there when every person has been done in
        every system, and not before; one of another run is never written over. (templated)
    :param email_field: the column with the e-mail, which every row needs. (templated)
    :param customer_id_field: a column with SPREAD's id, where there is one. (templated)
    :param client_id_field: a column with Mindbaz' client id, where there is one. (templated)
    :param crm_id_field: a column with ExpertSender's crmId, where there is one. (templated)
    :param phone_field: a column with the phone by which ExpertSender knows people, where there is one. (templated)
    :param spread_conn_id: the connection; None leaves SPREAD out. (templated)
    :param mindbaz_conn_id: the connection; None leaves Mindbaz out. (templated)
    :param expertsender_conn_id: the connection; None leaves ExpertSender out. (templated)
    :param with_anonymization: have ExpertSender anonymise the customers' data as well. (templated)
    :param blank_fields: fields of Mindbaz to empty, by name or number. (templated)
    :param by_hand: whether the task ends with a warning (``warn``) or fails (``fail``) when something is left to a
        person's hand; the certificate is there either way. (templated)
    :param suppression_path: path or URI of a ``.jsonl`` file to which each person's SHA-256 is added, before the first
        one is erased; a ``suppression_source`` for all other tasks. (templated)
    :param settle_seconds: how long a system may still show somebody who was erased. (templated)

    Rows count as updated where somebody was there, as skipped where nobody was in any system, and as rejected where
    something has failed. The result adds ``by_hand``, the number of people who are left to a person's hand.
    See :class:`~airflow_provider_crm.operators.base.deletes.CrmDeleteOperator` for the other parameters.
    """

    template_fields: Sequence[str] = (
        *CrmDeleteOperator.template_fields,
        "certificate_path",
        "email_field",
        "customer_id_field",
        "client_id_field",
        "crm_id_field",
        "phone_field",
        "spread_conn_id",
        "mindbaz_conn_id",
        "expertsender_conn_id",
        "with_anonymization",
        "blank_fields",
        "by_hand",
        "suppression_path",
        "settle_seconds",
    )

    def __init__(
        self,
        *,
        certificate_path: Path,
        email_field: Column = "email",
        customer_id_field: Column = "id",
        client_id_field: Column = "client_id",
        crm_id_field: Column = "crmId",
        phone_field: Column = "phone",
        spread_conn_id: ConnId | None = SpreadHook.default_conn_name,
        mindbaz_conn_id: ConnId | None = MindbazHook.default_conn_name,
        expertsender_conn_id: ConnId | None = ExpertSenderHook.default_conn_name,
        with_anonymization: YesOrNo = False,
        blank_fields: Names = (),
        by_hand: Annotated[Literal["warn", "fail"] | str, one_of("warn", "fail")] = "warn",
        suppression_path: Path | None = None,
        settle_seconds: Seconds = 10,
        **kwargs: Unpack[DeleteArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.certificate_path: Any = certificate_path
        self.email_field = email_field
        self.customer_id_field = customer_id_field
        self.client_id_field = client_id_field
        self.crm_id_field = crm_id_field
        self.phone_field = phone_field
        self.spread_conn_id = spread_conn_id
        self.mindbaz_conn_id = mindbaz_conn_id
        self.expertsender_conn_id = expertsender_conn_id
        self.with_anonymization: Any = with_anonymization
        self.blank_fields: Any = blank_fields
        self.by_hand = by_hand
        self.suppression_path: Any = suppression_path
        self.settle_seconds: Any = settle_seconds
        self._certificate: Certificate | None = None
        self._people: ErasePeople | None = None
        self._hooks: list[Any] = []
        self._results: dict[str, Counter[str]] = {}
        #: What is told of the certificate once it is in its place.
        self._proof: dict[str, Any] = {"by_hand": 0, "certificate_path": None}

    def _system(self) -> str:
        return SeveralHooks.conn_type

    def _erased_as(self) -> None:
        return None  # it is another thing in each system, which the certificate says

    def _hook(self) -> Any:
        kinds = (
            (SpreadHook, self.spread_conn_id),
            (MindbazHook, self.mindbaz_conn_id),
            (ExpertSenderHook, self.expertsender_conn_id),
        )
        self._hooks = [kind(conn_id, concurrency=self.concurrency) for kind, conn_id in kinds if conn_id]
        if not self._hooks:
            raise CrmInputError("No system is left to erase people from: all connections are None")
        return SeveralHooks(self._hooks)

    def _run(self, context: Context, hook: Any) -> dict[str, Any]:
        """Erase.

        :raises CrmTransientError: a system has failed; all others are done, and a retry goes on.
        :raises CrmRejectsError: more rows were rejected than ``max_rejects``; the certificate says which.
        :raises CrmFailError: something is left to a person's hand, and ``by_hand`` is ``fail``.
        """
        if self.only_plan:
            return super()._run(context, hook)
        with closing(Certificate(self.certificate_path, self._origin(context))) as certificate:
            certificate.open()
            self._certificate = certificate
            try:
                summary = super()._run(context, hook)
            except CrmRejectsError:
                self._publish(certificate)
                raise
            left = self._publish(certificate)
        if left:
            said = f"To be erased by a person's hand: {left}. The ids are in {self.certificate_path}"
            if self.by_hand == "fail":
                raise CrmFailError(said)
            self.log.warning("%s", said)
        return {**summary, **self._proof}

    def _account(self) -> dict[str, Any]:
        return {**super()._account(), **self._proof}

    def _publish(self, certificate: Certificate) -> int:
        """Put the certificate into its place, if all systems have done their part.

        :return: how many people are left to somebody's hand.
        """
        out = self._people.out if self._people else {}
        if out:
            said = "; ".join(f"{name}: {error}" for name, error in out.items())
            final = any(isinstance(error, CrmFailError) for error in out.values())
            raise (CrmFailError if final else CrmTransientError)(
                f"Not all people were erased everywhere ({said}). The other systems are done, and there is no "
                f"certificate yet: the next try goes on with what is left"
            )
        self._results = results = certificate.publish()
        ended = (
            f"{system} {end} {number}" for system, ends in results.items() for end, number in ends.items()
        )
        self.log.info("The certificate is in %s: %s", self.certificate_path, ", ".join(ended) or "nobody")
        left = sum(counts[BY_HAND] for counts in results.values())
        self._proof = {"by_hand": left, "certificate_path": self.certificate_path}
        return left

    def _origin(self, context: Context) -> dict[str, Any]:
        instance: Any = context.get("ti")
        return {
            "dag_id": getattr(instance, "dag_id", None),
            "run_id": getattr(instance, "run_id", None),
            "task_id": self.task_id,
            "map_index": getattr(instance, "map_index", -1),
            "approved_by": self._approved_by,
        }

    def _checkpoint(self, context: Context, hook: Any) -> None:
        return None  # what was done is in the certificate's draft, in every Airflow

    def _checks(self) -> list[Check]:
        checks = super()._checks()
        if self.suppression_path and not self.only_plan:
            # The last one: nobody is added where another one refuses the source.
            checks.append(AddToSuppressionFile(self.suppression_path, self.email_field))
        return checks

    def _destination(self, hook: Any, source: Source) -> ErasePeople:
        source.require([self.email_field])
        self._people = ErasePeople(
            [self._eraser(one) for one in self._hooks],
            email_field=self.email_field,
            key_fields={
                self.customer_id_field: id_of,
                self.client_id_field: partial(key_text, match_by="IdClient"),
                self.crm_id_field: partial(identifier, "crmId"),
                self.phone_field: partial(identifier, "phone"),
            },
            key=stretched(hook.settings.password, KEY_SALT),
            certificate=self._certificate,
            settle_seconds=self.settle_seconds,
            pause=hook.pause,
        )
        return self._people

    def _written_sets(self, report: Report) -> list[DataSet]:
        return [
            crm_list(
                hook.settings.base_url, resource, sum(done[end] for end in FINAL - {ABSENT}) if done else None
            )
            for kind, system, resource in (
                (SpreadHook, "spread", "customers"),
                (MindbazHook, "mindbaz", "subscribers"),
                (ExpertSenderHook, "expertsender", "customers"),
            )
            for hook in self._hooks
            if isinstance(hook, kind)
            for done in [self._results.get(system)]
        ]

    def _eraser(self, hook: Any) -> Eraser:
        if isinstance(hook, SpreadHook):
            return EraseSpreadCustomer(hook, id_field=self.customer_id_field)
        if isinstance(hook, MindbazHook):
            return EraseSubscriber(
                hook, client_id_field=self.client_id_field, blank_fields=list(self.blank_fields)
            )
        return EraseExpertSenderCustomer(
            hook,
            crm_id_field=self.crm_id_field,
            phone_field=self.phone_field,
            with_anonymization=self.with_anonymization,
        )
