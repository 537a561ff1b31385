"""The Airbyte CDK's declarative source, its messages written as a destination would get them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from airbyte_cdk.models import AirbyteMessageSerializer, Type
from airbyte_cdk.sources.declarative.concurrent_declarative_source import ConcurrentDeclarativeSource
from measured import measure
from orjson import dumps


def manifest(base: str, name: str) -> dict[str, Any]:
    return {
        "version": "6.0.0",
        "type": "DeclarativeSource",
        "check": {"type": "CheckStream", "stream_names": [name]},
        "streams": [
            {
                "type": "DeclarativeStream",
                "name": name,
                "primary_key": ["id"],
                "retriever": {
                    "type": "SimpleRetriever",
                    "requester": {
                        "type": "HttpRequester",
                        "url_base": base,
                        "path": name,
                        "http_method": "GET",
                        "authenticator": {"type": "BasicHttpAuthenticator", "username": "k", "password": "s"},
                    },
                    "record_selector": {
                        "type": "RecordSelector",
                        "extractor": {"type": "DpathExtractor", "field_path": [name]},
                    },
                    "paginator": {
                        "type": "DefaultPaginator",
                        "page_token_option": {
                            "type": "RequestOption",
                            "field_name": "startAt",
                            "inject_into": "request_parameter",
                        },
                        "page_size_option": {
                            "type": "RequestOption",
                            "field_name": "maxResults",
                            "inject_into": "request_parameter",
                        },
                        "pagination_strategy": {
                            "type": "OffsetIncrement",
                            "page_size": 5000,
                            "inject_on_first_request": True,
                        },
                    },
                },
                "schema_loader": {
                    "type": "InlineSchemaLoader",
                    "schema": {"type": "object", "properties": {}, "additionalProperties": True},
                },
            }
        ],
        "spec": {"type": "Spec", "connection_specification": {"type": "object", "properties": {}}},
    }


def main() -> int:
    import logging

    from airbyte_cdk.models import ConfiguredAirbyteCatalogSerializer

    url, path = sys.argv[1:3]
    base, _, name = url.rpartition("/")
    catalog = ConfiguredAirbyteCatalogSerializer.load(
        {
            "streams": [
                {
                    "stream": {"name": name, "json_schema": {}, "supported_sync_modes": ["full_refresh"]},
                    "sync_mode": "full_refresh",
                    "destination_sync_mode": "overwrite",
                }
            ]
        }
    )
    source = ConcurrentDeclarativeSource(catalog, {}, [], source_config=manifest(base, name))
    written = 0
    with open(path, "wb") as file:
        for message in source.read(logging.getLogger("airbyte"), {}, catalog, None):
            if message.type == Type.RECORD:
                file.write(dumps(AirbyteMessageSerializer.dump(message)) + b"\n")
                written += 1
    return written


measure(main)
