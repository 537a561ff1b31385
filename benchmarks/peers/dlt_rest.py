"""dlt's ``rest_api`` source into its filesystem destination, JSON lines, without normalising nested values."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import dlt
from dlt.sources.rest_api import rest_api_source
from measured import measure


def main() -> int:
    url, path = sys.argv[1:3]
    base, _, resource = url.rpartition("/")
    folder = f"{path}.dlt"
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION"] = "true"
    source = rest_api_source(
        {
            "client": {
                "base_url": base,
                "auth": {"type": "http_basic", "username": "k", "password": "s"},
                "paginator": {
                    "type": "offset",
                    "limit": 5000,
                    "offset_param": "startAt",
                    "limit_param": "maxResults",
                    "total_path": None,
                },
            },
            "resources": [
                {
                    "name": resource,
                    "max_table_nesting": 0,
                    "endpoint": {"path": resource, "data_selector": resource},
                }
            ],
        }
    )
    pipeline = dlt.pipeline(
        "benchmark",
        destination=dlt.destinations.filesystem(f"file://{folder}"),
        dataset_name="crm",
        pipelines_dir=tempfile.mkdtemp(),
    )
    pipeline.run(source, loader_file_format="jsonl")
    counts = pipeline.last_trace.last_normalize_info.row_counts
    return int(counts[resource])


measure(main)
