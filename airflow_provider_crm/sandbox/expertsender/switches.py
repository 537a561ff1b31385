"""What ExpertSender does not document, each point as a switch with a default; what it documents is not here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass
class ExpertSenderSwitches:
    """Credentials and the undocumented behaviour of the ExpertSender stand-in."""

    # --- credentials and transport ---
    api_key: str = "demo-key"
    # The status for a wrong key; newer pages know a 403.
    wrong_key_status: Literal[401, 403] = 401
    # Which calls must carry Content-Type: application/json; the pages ask for it on every request.
    content_type: Literal["post", "every", "any"] = "post"

    # --- POST /customers ---
    # Customers per call; no limit is documented. Above it the answer is 413.
    batch_limit: int | None = None
    # What a call with a bad row does to the good ones. The last one hides the failure behind a 201.
    failed_batch: Literal["none", "good_rows", "up_to_error", "good_rows_201"] = "none"
    # What the body of a 400 lists the errors as.
    errors: Literal["list", "object", "none"] = "list"
    # Which spelling of matchBy counts: as documented, with visitorId in lower case, or in any case.
    match_by_case: Literal["documented", "visitorId", "any"] = "documented"
    # The account's default field; with one set, no other matchBy is accepted, as a newer page says.
    default_match_by: str | None = None
    # "Add" of a customer who exists.
    add_existing: Literal["400", "update", "ignore"] = "400"
    # "Update" of a customer who does not exist.
    update_missing: Literal["400", "ignore", "create"] = "400"
    # An e-mail, phone or CRM id that belongs to another customer than the one matched.
    taken_identifier: Literal["400", "move"] = "400"
    # A field sent as null; official plugins do so freely.
    null_value: Literal["keep", "clear"] = "keep"
    # Attributes and consents that an update does not mention.
    missing_attributes: Literal["keep", "clear"] = "keep"
    missing_consents: Literal["keep", "clear"] = "keep"
    # A custom attribute that is not defined, or whose value is not of its type.
    unknown_attribute: Literal["400", "ignore"] = "400"
    attribute_types: Literal["check", "store"] = "check"
    # The case in which e-mails are kept.
    email_case: Literal["as_sent", "lower"] = "as_sent"
    # The body of a 201; the pages show none.
    created_body: Literal["status", "empty"] = "status"
    # Seconds until a change shows in GET; the text of the 201 leaves room for asynchronous work.
    visible_after: float = 0.0
    # A confirmation is sent whenever a consent comes to await it, or once in a lifetime; "force" always sends.
    confirmation: Literal["per_entry", "once"] = "per_entry"

    # --- GET and DELETE ---
    # consentsData of a customer without consents.
    no_consents: Literal["list", "absent"] = "list"
    # Where withAnonymization counts; the pages do not say.
    anonymization_in: Literal["query", "body", "both"] = "both"
    # What "status" holds in an error: the HTTP status, or the 0 of the samples.
    problem_status: Literal["http", "zero"] = "http"
    # Which errors carry "substatus"; its samples all have the same meaningless value.
    substatus: Literal["delete", "always", "never"] = "delete"
