"""Mindbaz' API: one method a call. Knows the vendor's paths and envelope, not what a task wants with them.

Facts: the vendor's page on subscribers (learn.mindbaz.com, "Gestion des abonnés"), its pages "API key", "Token" and
"Gestion des champs".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from airflow_provider_crm.exceptions import (
    CrmAuthenticationError,
    CrmConnectionError,
    CrmInputError,
    CrmNotFoundError,
    CrmRequestError,
    redact,
)
from airflow_provider_crm.hooks.base.hook import CrmHook
from airflow_provider_crm.hooks.base.settings import Extras, check_url
from airflow_provider_crm.http.answers import UnreadableError, read_json, vendor_errors
from airflow_provider_crm.http.auth import ApiKeyAuth, CrmAuth, NoAuth, PasswordGrantAuth
from airflow_provider_crm.http.calls import Call, encode_json
from airflow_provider_crm.http.lookups import Lookups
from airflow_provider_crm.http.quota import QuotaHeaders
from airflow_provider_crm.http.urls import origin
from airflow_provider_crm.parameters import dicts, one_of
from airflow_provider_crm.schemas.mindbaz.write import (
    MAX_SUBSCRIBERS,
    NOTHING,
    Subscriber,
    SubscriberData,
    WrappedData,
    checked_subscriber,
    subscribers_of,
)
from airflow_provider_crm.values import key_of, reference_of, whole_number

#: Of an API key, a minute: the vendor's page "API key".
QUOTA = QuotaHeaders(
    limit="X-RateLimit-Limit",
    remaining="X-RateLimit-Remaining",
    reset="X-RateLimit-Reset",
    reset_is="unix",
    window=60.0,
)
TOKEN_URL = "https://sso.mindbaz.com/oauth2/token"
#: A constant of the vendor; not the site id.
CLIENT_ID = "100"

By = Literal["IdSubscriber", "IdClient", "Email"]
EmailEncoding = Literal["NONE", "MD5", "SHA1", "SHA2_256", "SHA2_512"]


class MindbazExtras(Extras, kw_only=True, frozen=True):
    """What a Mindbaz connection may carry besides the extras of every CRM."""

    site_id: int | str | None = None
    """Number of the database; a segment of every path."""
    auth: Literal["api_key", "jwt"] = "api_key"
    token_url: str | None = None
    """The token service, for ``auth: jwt``."""


class MindbazHook(CrmHook[MindbazExtras]):
    """Calls Mindbaz.

    :param mindbaz_conn_id: connection with the API key as password and the extra ``site_id``; or with login and
        password of an API account and the extra ``auth: jwt``.
    :param concurrency: calls in flight at once; the connection's extra and then 8 otherwise.
    """

    conn_name_attr = "mindbaz_conn_id"
    default_conn_name = "mindbaz_default"
    conn_type = "mindbaz"
    hook_name = "Mindbaz"
    default_url = "https://api.mindbaz.com/api"
    extras_type = MindbazExtras
    quota = QUOTA

    def __init__(self, mindbaz_conn_id: str = default_conn_name, *, concurrency: int | None = None) -> None:
        super().__init__(mindbaz_conn_id, concurrency=concurrency)
        self._lookups = Lookups()
        self._site_found = False

    @property
    def account(self) -> tuple[str, ...]:
        return (*super().account, self.site_id)

    @property
    def site_id(self) -> str:
        """The site's number, as it stands in paths.

        :raises CrmConnectionError: the connection does not say.
        """
        site = str(self.settings.extras.site_id or "").strip()
        if not site.isalnum():
            raise CrmConnectionError(
                f"Connection {self.conn_id!r} lacks the extra `site_id`, the number of the Mindbaz database"
            )
        return site

    def get_subscribers(
        self,
        values: Iterable[str | int],
        *,
        by: By = "Email",
        field_ids: Iterable[int] | None = None,
        email_encoding: EmailEncoding = "NONE",
    ) -> list[Subscriber]:
        """Look subscribers up, any number of them, in as many calls as their length needs.

        :param values: e-mails, their hashes in hex, your client ids, or Mindbaz' ids.
        :param by: what the values are.
        :param field_ids: the fields to return; all of them when None, which the vendor advises against.
        :param email_encoding: how the e-mails are hashed.
        :return: the subscribers that exist, in no particular order, as ``{"id": int, "fields": {id: value}}``.
        :raises CrmInputError: a value that is empty or holds a comma, which the call cannot express.
        """
        by = one_of(*get_args(By))("by", by)
        encoding = one_of(*get_args(EmailEncoding))("email_encoding", email_encoding)
        write = reference_of if by == "Email" else key_of
        try:
            if isinstance(values, str):
                raise ValueError("they are a list")
            keys = list(dict.fromkeys([write(value) for value in values]))
            wanted = None if field_ids is None else ",".join(str(whole_number(field)) for field in field_ids)
        except (TypeError, ValueError) as error:
            raise CrmInputError(f"Values to look up, or ids of fields, cannot be used: {error}") from None
        if "" in keys or "," in "".join(keys):
            raise CrmInputError("A value to look up is empty or holds a comma, which separates values")
        return self.find_subscribers(keys, by, wanted, encoding)

    def find_subscribers(
        self, keys: Sequence[str], by: By, wanted: str | None, encoding: EmailEncoding = "NONE"
    ) -> list[Subscriber]:
        """Look up as :meth:`get_subscribers` does, by keys that are written as the call wants them, each once.

        :param wanted: the ids of the fields to return, separated by commas.
        """
        query: list[tuple[str, str]] = [("filter.by", by)]
        if wanted is not None:
            query.append(("filter.idFields", wanted))
        if encoding != "NONE":
            query.append(("filter.emailEncoding", encoding))

        def read(body: bytes) -> list[Subscriber]:
            return [subscriber.plain() for subscriber in self._read_subscribers(body)]

        def call(group: Sequence[str]) -> Call:
            return self._call("GET", "/Subscribers", query=[*query, ("filter.values", ",".join(group))])

        def fetch(group: Sequence[str]) -> list[Subscriber]:
            try:
                return self.request(call(group), read)
            except CrmNotFoundError as error:
                # Some servers say so when they find nobody, others when the list of values is too long for them.
                if (error.in_json or len(group) == 1) and self._has_site():
                    return []
                raise

        groups = self.side_by_side(
            lambda group: self._lookups.read(group, fetch), self._lookups.cut(keys, call(()))
        )
        return [subscriber for group in groups for subscriber in group]

    def create_subscribers(self, subscribers: Sequence[Mapping[str, Any]]) -> list[Subscriber]:
        """Create subscribers, and update those that come with an id, in one POST.

        The vendor wants the caller to have looked first: what becomes of an e-mail that exists is not documented.
        An error in the middle keeps what was applied before it and leaves out the rest.

        :param subscribers: at most 5000, each ``{"fields": {id: value}}`` with or without ``"id"``.
        :return: the subscribers as the CRM holds them now; an ``id`` of -1 is an e-mail that it rejected.
        :raises CrmRequestError: the CRM stopped at one of them.
        :raises CrmOutcomeUnknownError: some, all or none of them may have been applied.
        """
        return self._write_checked("POST", subscribers)

    def update_subscribers(self, subscribers: Sequence[Mapping[str, Any]]) -> list[Subscriber]:
        """Update the given fields of subscribers by their ids, in one PUT.

        :param subscribers: at most 5000, each ``{"id": int, "fields": {id: value}}``.
        :return: id and sent fields of each, values as the CRM holds them now.
        :raises CrmRequestError: the CRM stopped at one of them; earlier ones stay applied.
        """
        return self._write_checked("PUT", subscribers)

    def list_fields(self) -> list[dict[str, Any]]:
        """List the site's fields.

        :return: the vendor's items: ``id``, ``name``, ``fieldType`` (1 text, 2 integer, 3 date, 4 list, 5 boolean),
            ``length``, ``list`` (of ``key`` and ``value``), ``description`` ...
        """

        def read(body: bytes) -> list[dict[str, Any]]:
            data = bytes(self._data(body))
            return [] if data == NOTHING else read_json(data, list[dict[str, Any]])

        return self.request(self._call("GET", "/fields/list"), read)

    def _has_site(self) -> bool:
        """Return whether the base URL leads to a site."""
        if not self._site_found:
            try:
                self.list_fields()
            except (CrmRequestError, CrmAuthenticationError):
                return False
            self._site_found = True
        return True

    def _write_checked(
        self, method: Literal["POST", "PUT"], subscribers: Sequence[Mapping[str, Any]]
    ) -> list[Subscriber]:
        subscribers = dicts("subscribers", subscribers)
        if len(subscribers) > MAX_SUBSCRIBERS:
            raise CrmInputError(
                f"Mindbaz takes {MAX_SUBSCRIBERS} subscribers a call, these are {len(subscribers)}"
            )
        data = [checked_subscriber(subscriber) for subscriber in subscribers]
        if method == "PUT" and any(one.names_nobody for one in data):
            raise CrmInputError("Mindbaz updates subscribers by their `id`: each needs one")
        return [one.plain() for one in self.write_subscribers(method, data)]

    def write_subscribers(
        self, method: Literal["POST", "PUT"], subscribers: Sequence[SubscriberData]
    ) -> list[SubscriberData]:
        """Send subscribers that are in the form of the call already, and are as many as it takes.

        :param method: POST as in :meth:`create_subscribers`, PUT as in :meth:`update_subscribers`.
        :return: the answer in the same form.
        :raises CrmRequestError: the CRM stopped at one of them.
        :raises CrmOutcomeUnknownError: some, all or none of them may have been applied.
        """
        call = self._call(method, "/Subscribers", body=encode_json(subscribers), repeatable=method == "PUT")
        return self.request(call, self._read_subscribers)

    def _call(self, method: str, path: str, **parts: Any) -> Call:
        return Call(method, f"/{quote(self.site_id)}{path}", **parts)

    @staticmethod
    def _data(body: bytes) -> msgspec.Raw:
        answer = read_json(body, WrappedData)
        if answer.success:
            return answer.data
        errors = vendor_errors(body)
        said = "; ".join(errors) or "no reason given"
        raise CrmRequestError(f"Mindbaz refused the call: {redact(said)}", reason=said, errors=errors)

    def _read_subscribers(self, body: bytes) -> list[SubscriberData]:
        data = self._data(body)
        try:
            return subscribers_of(data)
        except (msgspec.DecodeError, ValueError, TypeError):
            pass
        raise UnreadableError("subscribers of another shape than documented")

    def _auth(self) -> CrmAuth:
        settings = self.settings
        if not settings.password:
            raise CrmConnectionError(f"Connection {self.conn_id!r} lacks the API key, its password")
        if settings.extras.auth == "api_key":
            return ApiKeyAuth("X-API-KEY", settings.password)
        if not settings.login:
            raise CrmConnectionError(f"Connection {self.conn_id!r} lacks the login of the API account")
        return PasswordGrantAuth(
            self._fetch_token,
            user=settings.login,
            password=settings.password,
            client_id=CLIENT_ID,
            now=self.clock.now,
        )

    def _fetch_token(self, form: Mapping[str, str]) -> Mapping[str, Any]:
        call = Call(
            "POST",
            "/oauth2/token",
            url=self._token_url(),
            body=urlencode(form).encode(),
            content_type="application/x-www-form-urlencoded",
            auth=NoAuth(),
        )
        try:
            return self.request(call, lambda body: read_json(body, dict[str, Any]))
        except CrmRequestError as error:
            if form["grant_type"] == "refresh_token":
                raise
            refused = redact(error.reason)
        raise CrmAuthenticationError(
            f"The token service refuses login and password of connection {self.conn_id!r}: {refused}"
        )

    def _token_url(self) -> str:
        extras = self.settings.extras
        if extras.token_url:
            what = f"The extra `token_url` of connection {self.conn_id!r}"
            return check_url(extras.token_url, allow_http=extras.allow_http, what=what)
        if origin(self.settings.base_url) == origin(self.default_url):
            return TOKEN_URL
        # Another host stands in for the vendor: its password goes nowhere else.
        parts = urlsplit(self.settings.base_url)
        return f"{parts.scheme}://{parts.netloc}/oauth2/token"

    def _probe(self) -> str:
        return f"Connected to Mindbaz site {self.site_id}, which has {len(self.list_fields())} fields"
