"""drt's ``rest_api`` source into its file destination, JSON lines, run by its engine as its command line does."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from drt.config.credentials import RestApiProfile
from drt.config.models import SyncConfig
from drt.destinations.file import FileDestination
from drt.engine.sync import run_sync
from drt.sources.rest_api import RestApiSource
from measured import measure


def main() -> int:
    url, path = sys.argv[1:3]
    os.environ |= {"CRM_KEY": "k", "CRM_SECRET": "s"}
    profile = RestApiProfile(
        type="rest_api",
        url=url,
        auth={"type": "basic", "username_env": "CRM_KEY", "password_env": "CRM_SECRET"},
        pagination={
            "type": "offset",
            "limit": 5000,
            "offset_param": "startAt",
            "limit_param": "maxResults",
            # It stops there without a word; its own default is 100 pages.
            "max_pages": 100_000,
        },
        result_path="customers",
    )
    sync = SyncConfig.model_validate(
        {
            "name": "customers",
            "model": "customers",
            "destination": {"type": "file", "path": path, "format": "jsonl"},
            "sync": {"batch_size": 5000},
        }
    )
    done = run_sync(sync, RestApiSource(), FileDestination(), profile, Path(path).parent)
    return int(done.success)


measure(main)
