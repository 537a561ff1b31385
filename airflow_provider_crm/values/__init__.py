"""What a cell holds: empty, text, number, yes or no, day, moment, or a key (e-mail, id, phone, reference).

The only place that decides it, for every source and every CRM. Knows no CRM.
``docs/values.md`` shows what becomes of what.
"""

from airflow_provider_crm.values.cells import UNSEEN, is_empty, plain
from airflow_provider_crm.values.columns import are_plain_emails, clean_texts, latin_texts
from airflow_provider_crm.values.keys import (
    compared_email,
    is_shortened,
    key_of,
    normal_email,
    phone_of,
    reference_of,
)
from airflow_provider_crm.values.moments import day_of, is_midnight, moment_of
from airflow_provider_crm.values.nested import pairs_of, parsed
from airflow_provider_crm.values.texts import (
    comparable,
    number_of,
    number_text,
    text_of,
    whole_number,
    yes_or_no,
)

#: Raised with each change of what a cell becomes: what was sent under other rules is sent, or looked up, again.
RULES = 1

__all__ = [
    "RULES",
    "UNSEEN",
    "are_plain_emails",
    "clean_texts",
    "comparable",
    "compared_email",
    "day_of",
    "is_empty",
    "is_midnight",
    "is_shortened",
    "key_of",
    "latin_texts",
    "moment_of",
    "normal_email",
    "number_of",
    "number_text",
    "pairs_of",
    "parsed",
    "phone_of",
    "plain",
    "reference_of",
    "text_of",
    "whole_number",
    "yes_or_no",
]
