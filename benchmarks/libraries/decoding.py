"""Decode a page of customers again and again: ``decoding.py WHAT PAGE ROWS``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from measured import measure

WHAT, PAGE, ROWS = sys.argv[1], Path(sys.argv[2]).read_bytes(), int(sys.argv[3])
TEXTS = ("id", "lastName", "firstName", "email", "country", "city", "address", "zip", "phone", "mobile")
OTHERS = ("lang", "birthday", "gender", "createdAt", "updatedAt", "isBuyer", "actionCount", "externalId")
NULLABLE = ("address2", "address3", "lastActionDt", "lastOrderDt", "cagnotteAmount")


def decoder() -> Any:
    """Return what turns a page into records."""
    if WHAT.startswith("msgspec"):
        import msgspec

        if WHAT == "msgspec, untyped":
            return msgspec.json.Decoder().decode
        fields: list[Any] = [(name, str) for name in (*TEXTS, *OTHERS)]
        fields += [(name, str | None) for name in NULLABLE] + [("tags", list[str] | str)]
        customer = msgspec.defstruct("Customer", fields)
        page = msgspec.defstruct("Page", [("customers", list[customer])])  # type: ignore[valid-type]
        return msgspec.json.Decoder(page).decode
    if WHAT == "orjson":
        import orjson

        return orjson.loads
    import json

    if WHAT == "pydantic, typed":
        import pydantic

        given: dict[str, Any] = dict.fromkeys((*TEXTS, *OTHERS), (str, ...))
        given |= dict.fromkeys(NULLABLE, (str | None, ...)) | {"tags": (list[str] | str, ...)}
        model = pydantic.create_model("Customer", **given)
        whole = pydantic.create_model("Page", customers=(list[model], ...))  # type: ignore[valid-type]
        return whole.model_validate_json
    if WHAT == "jsonschema after json":
        import jsonschema

        schema = {
            "properties": {name: {"type": "string"} for name in (*TEXTS, *OTHERS)}
            | {name: {"type": ["string", "null"]} for name in NULLABLE}
            | {"tags": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}},
            "required": [*TEXTS, *OTHERS],
        }
        validator = jsonschema.Draft202012Validator(schema)

        def check(page: bytes) -> None:
            for row in json.loads(page)["customers"]:
                validator.validate(row)

        return check
    return json.loads


DECODE = decoder()
PAGES = -(-ROWS // 5000)


def job() -> int:
    for _ in range(PAGES):
        DECODE(PAGE)
    return PAGES * 5000


measure(job)
