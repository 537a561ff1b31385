"""ExpertSender CDP's API: one method a call. Knows the vendor's paths and envelope, not what a task wants with them.

Facts: the vendor's page on customers (help.expertsender.com, "Klienci - metody API") and its pages on the lists of
consents and attributes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from airflow_provider_crm.exceptions import (
    CrmAuthenticationError,
    CrmConnectionError,
    CrmNotFoundError,
    CrmRequestError,
    redact,
)
from airflow_provider_crm.hooks.base.hook import CrmHook
from airflow_provider_crm.hooks.base.settings import Extras
from airflow_provider_crm.http.answers import UnreadableError, read_json, vendor_errors
from airflow_provider_crm.http.auth import ApiKeyAuth, CrmAuth
from airflow_provider_crm.http.calls import Call, encode_json, gone_is_deleted
from airflow_provider_crm.parameters import dicts, one_of, yes_or_no
from airflow_provider_crm.schemas.expertsender.consents import asks_for_confirmation
from airflow_provider_crm.schemas.expertsender.write import (
    By,
    MatchBy,
    Mode,
    wire_customer,
)

#: Path segments as the vendor writes them, which differ between reading and deleting.
_READ_SEGMENTS = {"id": "id", "email": "email", "phone": "phone", "crmId": "crmId"}
_DELETE_SEGMENTS = {**_READ_SEGMENTS, "crmId": "crmid"}


class ExpertSenderHook(CrmHook[Extras]):
    """Calls ExpertSender CDP.

    :param expertsender_conn_id: connection with the API key as password; the key belongs to one business unit.
    :param concurrency: calls in flight at once; the connection's extra and then 8 otherwise.
    """

    conn_name_attr = "expertsender_conn_id"
    default_conn_name = "expertsender_cdp_default"
    conn_type = "expertsender_cdp"
    hook_name = "ExpertSender CDP"
    default_url = "https://api.ecdp.app"
    extras_type = Extras

    def __init__(
        self, expertsender_conn_id: str = default_conn_name, *, concurrency: int | None = None
    ) -> None:
        super().__init__(expertsender_conn_id, concurrency=concurrency)

    def get_customer(self, value: str | int, *, by: By = "email") -> dict[str, Any] | None:
        """Read one customer.

        :param value: what identifies the customer.
        :param by: what the value is: ``id`` (the CRM's own), ``email``, ``phone`` or ``crmId`` (yours).
        :return: the vendor's fields, ``consentsData`` among them where there are consents; the CRM's own id is not.
            None when there is no such customer.
        """
        call = self._customer_call("GET", value, by, _READ_SEGMENTS)
        try:
            return self.request(call, _read_customer)
        except CrmNotFoundError:
            return None

    def upsert_customers(
        self,
        customers: Sequence[Mapping[str, Any]],
        *,
        mode: Mode = "AddOrUpdate",
        match_by: MatchBy = "Email",
    ) -> None:
        """Create or update customers in one POST.

        The answer does not say which of the two it was. How many customers a call may carry, and what becomes of the
        good ones beside a bad one, is not documented.

        :param customers: the vendor's fields; ``customAttributes`` as ``[{"name", "value"}]``, ``consentsData`` as
            ``{"consents": [{"id", "value"}], ...}``. None is sent as ``null``.
        :param mode: ``Add``, ``Update`` or ``AddOrUpdate``.
        :param match_by: has to be the account's own (Settings > Customers > Default matching mode).
        :raises CrmRequestError: the CRM refuses them; ``errors`` has its reasons.
        :raises CrmOutcomeUnknownError: they may have been applied. Only ``Add``, and customers whose consent awaits
            confirmation, because sending these again would write to the person again.
        """
        mode = one_of(*get_args(Mode))("mode", mode)
        match_by = one_of(*get_args(MatchBy))("match_by", match_by)
        if not customers:
            return
        data = [wire_customer(customer) for customer in dicts("customers", customers)]
        call = Call(
            "POST",
            "/customers",
            body=encode_json({"mode": mode, "matchBy": match_by, "data": data}),
            repeatable=mode != "Add" and not any(map(asks_for_confirmation, data)),
        )
        self.request(call, _read_success)

    def delete_customer(
        self, value: str | int, *, by: By = "email", with_anonymization: bool = False
    ) -> None:
        """Delete a customer.

        :param value: what identifies the customer.
        :param by: as in :meth:`get_customer`.
        :param with_anonymization: anonymise the customer's data as well.
        :raises CrmNotFoundError: there is no such customer.
        """
        with gone_is_deleted():
            self.send_deletion(value, by=by, with_anonymization=with_anonymization)

    def send_deletion(self, value: str | int, *, by: By = "email", with_anonymization: bool = False) -> None:
        """Delete a customer, and leave it to the caller what a 404 after a lost answer means.

        :raises CrmNotFoundError: there is no such customer, or none any more: see its ``after_unknown``.
        """
        options: dict[str, Any] = {}
        if yes_or_no("with_anonymization", with_anonymization):
            # The vendor names the parameter and not its place: query and body then.
            options = {
                "query": [("withAnonymization", "true")],
                "body": encode_json({"withAnonymization": True}),
            }
        self.request(self._customer_call("DELETE", value, by, _DELETE_SEGMENTS, **options), _read_success)

    def list_consents(self) -> list[dict[str, Any]]:
        """List the consents that are defined in the account.

        :return: ``{"id": int, "name": str, "type": "General" | "Email" | "Sms"}`` each.
        """
        return self.request(Call("GET", "/customerconsents"), _read_rows)

    def list_attributes(self) -> list[dict[str, Any]]:
        """List the customer attributes that were defined in the account, without the system's own.

        :return: ``{"id": int, "name": str, "type": str}`` each; the type is ``String``, ``Text``, ``Number``,
            ``Money``, ``Date``, ``DateTime``, ``SingleSelect``, ``Boolean`` or ``Url``.
        """
        return self.request(Call("GET", "/customerattributes"), _read_rows)

    def serves_customers(self) -> bool:
        """Return whether the base URL leads to the customers, by an update of nobody.

        Reading cannot tell: a 404 is also how the vendor says that there is no such customer.
        """
        body = encode_json({"mode": "Update", "matchBy": "Email", "data": []})
        try:
            self.request(Call("POST", "/customers", body=body), _read_success)
        except CrmAuthenticationError:
            return False
        except CrmRequestError as error:
            return error.status not in (404, 405)
        return True

    @staticmethod
    def _customer_call(
        method: str, value: str | int, by: By, segments: Mapping[str, str], **parts: Any
    ) -> Call:
        by = one_of(*segments)("by", by)
        if by == "phone" and isinstance(value, str):
            value = "".join(value.split())  # the vendor's page: 123 456 789 is looked up as 123456789
        return Call(method, f"/customers/{segments[by]}/{{value}}", values={"value": value}, **parts)

    def _auth(self) -> CrmAuth:
        if not self.settings.password:
            raise CrmConnectionError(f"Connection {self.conn_id!r} lacks the API key, its password")
        return ApiKeyAuth("x-api-key", self.settings.password)

    def _probe(self) -> str:
        return f"Connected to ExpertSender CDP, whose account has {len(self.list_consents())} consents"


def _read_data(body: bytes) -> Any:
    """Return the data in the envelope ``{"status": 0, "data": ...}``."""
    answer = read_json(body, dict[str, Any])
    # Not the HTTP status: 0 is what the vendor calls success.
    if "data" in answer and answer.get("status") in (0, "0", 200, None) and not answer.get("errors"):
        return answer["data"]
    raise _refusal(body)


def _read_customer(body: bytes) -> dict[str, Any] | None:
    customer = _read_data(body)
    if customer is not None and not isinstance(customer, dict):
        raise UnreadableError("something else than a customer")
    return customer or None


def _read_rows(body: bytes) -> list[dict[str, Any]]:
    rows = _read_data(body)
    if rows is None:
        return []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UnreadableError("something else than a list")
    return rows


def _read_success(body: bytes) -> None:
    """Accept the answer to a write, whose body is not documented, unless it carries errors."""
    if not body.strip():
        return
    answer = read_json(body, object)
    if isinstance(answer, dict) and answer.get("errors"):
        raise _refusal(body)


def _refusal(body: bytes) -> Exception:
    """Return what a body says that carries errors, or no data, although its HTTP status promises success."""
    errors = vendor_errors(body)
    if not errors:
        return UnreadableError("JSON that lacks `data`")
    said = "; ".join(errors)
    return CrmRequestError(f"ExpertSender refused the call: {redact(said)}", reason=said, errors=errors)
