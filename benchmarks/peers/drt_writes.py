"""drt's ``rest_api`` destination: ``python drt_writes.py expertsender_cdp URL FILE IN_FLIGHT``.

It makes one call for a batch, of a template, and none to find who exists: the job of ExpertSender alone.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import loop_writes
from drt.config.models import SyncConfig
from drt.destinations.rest_api import RestApiDestination
from drt.engine.sync import run_sync
from measured import measure

TEMPLATE = """{"mode": "AddOrUpdate", "matchBy": "Email", "data": [
{%- for row in rows -%}
{"email": {{ row.email | tojson_safe }}, "lastName": {{ row.last_name | tojson_safe }},
"firstName": {{ row.first_name | tojson_safe }}, "customAttributes": [
{"name": "city", "value": {{ row.city | tojson_safe }}}, {"name": "zip", "value": {{ row.zip | tojson_safe }}}]}
{%- if not loop.last %},{% endif -%}
{%- endfor -%}
]}"""


class Csv:
    """A source: drt has none that reads a file."""

    def extract(self, query: str, config: Any, **_: Any) -> Iterator[dict[str, Any]]:
        with open(loop_writes.source, newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)


def main() -> int:
    sync = SyncConfig.model_validate(
        {
            "name": "people",
            "model": "select * from people",
            "destination": {
                "type": "rest_api",
                "url": f"{loop_writes.url}/customers",
                "method": "POST",
                "headers": {"Content-Type": "application/json"},
                "body_mode": "batch",
                "batch_template": TEMPLATE,
            },
            "sync": {"batch_size": loop_writes.BATCH, "rate_limit": {"requests_per_second": 0}},
        }
    )
    done = run_sync(sync, Csv(), RestApiDestination(), None, Path(loop_writes.source).parent)
    return int(done.success)


measure(main)
