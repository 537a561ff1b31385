"""What SPREAD does not document, each point as a switch with a default; what it documents is not here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NextPageUrl = Literal["http", "no_slashes", "colon", "foreign", "loop", "null", "absent"]


@dataclass
class SpreadSwitches:
    """Credentials, paging and the undocumented behaviour of the SPREAD stand-in."""

    # --- credentials ---
    public_key: str = "demo-public"
    private_key: str = "demo-private"

    # --- pages ---
    # Rows of a page when none are asked for; the pages do not say, one sample shows 25.
    default_page_size: int = 25
    # What happens above the documented maximum of 5000.
    over_max_page: Literal["cap", "400"] = "cap"
    # A page never holds more than this, whatever was asked for.
    page_cap: int | None = None
    # Which spelling of the page size counts; the pages write maxResults for customers, maxResult elsewhere.
    size_spelling: Literal["documented", "both", "maxResults", "maxResult"] = "documented"
    # What "count" says: the rows of the page, one more (as one sample has it), or all rows.
    count: Literal["page", "plus_one", "total"] = "page"
    # The order of a list, and with it whether rows move between pages while somebody writes.
    list_order: Literal["oldest_first", "newest_first", "least_recently_modified"] = "oldest_first"
    # The form of nextPageUrl: http as in most samples, "http:host" and "http://:host" as in two of them,
    # another host, the same page again, null, or no such key.
    next_page_url: NextPageUrl = "http"
    # Whether nextPageUrl repeats the filters of the call; the samples only show consentId.
    next_page_filters: Literal["keep", "drop"] = "keep"
    # The host of a foreign nextPageUrl.
    foreign_host: str = "elsewhere.example"

    # --- errors ---
    # The body of an error; "un message d'erreur" is all the pages say.
    error_shape: Literal["error", "message", "text"] = "error"
    # An id, or an e-mail in a body, that does not exist.
    unknown_id: Literal["404_json", "200_error", "404_html"] = "404_json"

    # --- customers ---
    # POST of an e-mail that exists already.
    existing_email: Literal["409", "upsert", "400", "200_error"] = "409"
    # Whether PUT leaves alone what it does not mention.
    put_missing_fields: Literal["keep", "clear"] = "keep"
    # PUT with another e-mail than the customer has; there is a call of its own for that.
    put_email: Literal["update", "ignore", "400"] = "update"
    # A field sent as null.
    null_value: Literal["clear", "keep"] = "clear"
    # The case in which e-mails are kept.
    email_case: Literal["as_sent", "lower"] = "as_sent"
    # Whether an e-mail is found in another case without caseInsensitive=1.
    email_lookup_case: Literal["sensitive", "insensitive"] = "sensitive"
    # A gender or birthday in another form than documented.
    invalid_value: Literal["400", "store"] = "400"
    # The id of a custom field that does not exist.
    unknown_custom_field: Literal["ignore", "400"] = "ignore"
    # Custom fields of a customer without any; an empty PHP array becomes a list.
    empty_custom_fields: Literal["list", "object", "null"] = "list"
    # The key around a customer in a body: the text says "contact", the samples "customer".
    root_key: Literal["customer", "contact", "both"] = "customer"
    # Consents and loyalty lines of a deleted customer.
    deleted_rows: Literal["gone", "kept"] = "gone"

    # --- consents ---
    # How a consent is named in a body: id and techName as in the sample, consentId and consentTechName as in the list.
    consent_keys: Literal["sample", "list", "both"] = "sample"
    # The type of consent.id in the answer to a POST; the sample shows a number.
    consent_id_type: Literal["int", "str"] = "int"
    # Whether createdAt must be YYYY-MM-DD HH:MM:SS.
    consent_date: Literal["strict", "any"] = "strict"
    # A technical name that several consents share, as the samples show.
    ambiguous_tech_name: Literal["first", "last", "400"] = "first"

    # --- loyalty ---
    # How an amount is named in a body: amount as in the sample, cagnotteAmount as in the list.
    amount_key: Literal["amount", "cagnotteAmount", "both"] = "amount"
    # How a customer's id is named in the body of a credit.
    customer_id_key: Literal["customerId", "id", "both"] = "customerId"
    # A negative amount; the page speaks of adding only.
    negative_amount: Literal["apply", "400"] = "apply"
    # An amount with decimals.
    decimal_amount: Literal["keep", "round", "400"] = "keep"
    # Whether minAmount and maxAmount exclude their own value, as the words say.
    amount_bounds: Literal["strict", "inclusive"] = "strict"
    # A list of lines that holds none; the pages do not say.
    empty_lines: Literal["list", "404"] = "list"
    # Seconds until a new line shows in GET /cagnottes and in the balance of GET /customers.
    line_delay: float = 0.0

    # --- dates ---
    # Whether createdAfter and its kind exclude their own value, as the words say.
    date_bounds: Literal["exclusive", "inclusive"] = "exclusive"
    # Which dates a filter understands: also ISO 8601, or only YYYY-MM-DD with or without HH:MM:SS.
    filter_dates: Literal["any", "space_only"] = "any"
    # The zone of dates without one.
    zone: str = "UTC"
    # Seconds by which the vendor's clock is ahead.
    clock_shift: float = 0.0

    # --- version 1 ---
    # CreateAccount with an e-mail that exists.
    v1_create_existing: Literal["update", "error"] = "update"
    # UpdateAccount with an e-mail that does not exist.
    v1_update_missing: Literal["error", "create"] = "error"
    # The HTTP status of an error.
    v1_error_status: Literal[200, 400] = 200
    # What a success looks like; nothing but one key of one answer is known.
    v1_answer: Literal["json", "text", "empty"] = "json"
