"""What Mindbaz does not document, each point as a switch with a default; what it documents is not here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass
class MindbazSwitches:
    """Credentials, limits and the undocumented behaviour of the Mindbaz stand-in."""

    # --- credentials ---
    api_key: str = "demo-key"
    site_id: int = 3
    login: str = "demo-login"
    password: str = "demo-password"
    # A constant of the vendor, not the site id.
    client_id: str = "100"
    # The status for a key that may not use a site: the pages say "401 or restricted depending on the cause".
    denied_site_status: Literal[401, 403] = 403
    # Seconds an access token lives; the documented sample says 1199.
    token_lifetime: float = 1199
    # Whether the token service says how long that is; RFC 6749 only recommends it.
    expires_in: bool = True
    # Seconds a refresh token lives; documented as 7 days.
    refresh_lifetime: float = 7 * 24 * 3600.0
    # Whether a refresh answers with a new refresh token and kills the old one.
    rotate_refresh_token: bool = False

    # --- rate limit per key; a key "can have" one, no number is published ---
    rate_limit: int | None = None
    # Seconds of a window; documented as a minute, shorter for tests that do not want to wait.
    rate_limit_window: float = 60.0
    # Whether the X-RateLimit-* headers are sent at all under a limit.
    rate_limit_headers: bool = True
    # Whether a refused call also carries Retry-After.
    rate_limit_retry_after: bool = False

    # --- errors ---
    # The HTTP status that goes with success:false.
    failure_status: Literal[200, 400] = 200
    # What the data of an aborted batch holds: nothing, or what was applied before the error.
    abort_data: Literal["null", "processed"] = "null"

    # --- POST and PUT ---
    # POST of an e-mail that exists already.
    existing_email: Literal["abort", "minus_one", "update"] = "abort"
    # An id that does not exist, in POST or PUT.
    unknown_id: Literal["abort", "minus_one", "ignore"] = "abort"
    # A field id that the site does not have.
    unknown_field: Literal["abort", "ignore"] = "abort"
    # What an entry with id -1 shows of the fields that were sent.
    minus_one_fields: Literal["echo", "empty", "null"] = "echo"
    # Whether the answer's entries stand in the order of the request; the pages only suggest it.
    answer_order: Literal["request", "reversed"] = "request"
    # PUT with another e-mail.
    put_email: Literal["update", "ignore", "abort"] = "update"
    # PUT with another e-mail that is not valid, or belongs to somebody else.
    put_bad_email: Literal["abort", "minus_one"] = "abort"
    # A field sent as null or as an empty text.
    empty_value: Literal["clear", "keep", "abort"] = "clear"
    # A text longer than its field.
    long_text: Literal["abort", "truncate"] = "abort"
    # A batch above 5000: refused whole, or cut.
    over_limit: Literal["refuse", "first_5000"] = "refuse"
    # The case in which e-mails are kept; a client of the older interface shows they come back in lower case.
    email_case: Literal["lower", "as_sent"] = "lower"
    # How a boolean field comes back; values are "string, datetime, integer ou byte".
    boolean_as: Literal["byte", "bool"] = "byte"

    # --- GET ---
    # The order of the subscribers in an answer.
    lookup_order: Literal["id", "input", "reversed"] = "id"
    # Whether a field without value is left out or shown as null.
    unset_fields: Literal["omitted", "null"] = "omitted"
    # How many values one look-up takes; no limit is documented.
    lookup_limit: int | None = None
    # What happens beyond it.
    lookup_over_limit: Literal["error", "truncate"] = "error"

    # --- clock ---
    # Dates without zone are local; the samples fit Paris.
    zone: str = "Europe/Paris"
    # Seconds by which the vendor's clock is ahead.
    clock_shift: float = 0.0
