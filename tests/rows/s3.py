"""A server of S3 and a client that sends in parts. A module of its own: what they import takes a second."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import moto.server
import s3fs

_INITIATED = re.compile(rb"(<UploadId>(.*?)</UploadId>.*?<Initiated>)[^<]*", re.DOTALL)
NOW = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z").encode()


class Store:
    """A server of S3 with faults in the calls of an upload in parts."""

    def __init__(self) -> None:
        self._app = moto.server.DomainDispatcherApplication(moto.server.create_backend_app)
        self.refuses_parts = False
        self.loses_completion = False
        self.refuses_lists = False
        #: Uploads that were begun now; others the server dates in 2010.
        self.fresh: set[str] = set()

    def __call__(self, environ: Any, start_response: Any) -> Any:
        call, query = environ["REQUEST_METHOD"], environ["QUERY_STRING"]
        in_parts, listing = "uploadId=" in query, call == "GET" and "uploads" in query
        if (in_parts and call == "PUT" and self.refuses_parts) or (listing and self.refuses_lists):
            return _refuse(start_response, "403 Forbidden", "AccessDenied", "no more")
        if in_parts and call in ("POST", "DELETE") and self.loses_completion:
            if call == "POST":
                b"".join(self._app(environ, lambda *status_and_headers: None))
            return _refuse(start_response, "404 Not Found", "NoSuchUpload", "no such upload")
        answer = self._app(environ, start_response)
        return [_INITIATED.sub(self._dated, b"".join(answer))] if listing else answer

    def _dated(self, upload: re.Match[bytes]) -> bytes:
        return upload[1] + (NOW if upload[2].decode() in self.fresh else b"2010-11-10T20:48:33.000Z")


def _refuse(start_response: Any, status: str, code: str, words: str) -> list[bytes]:
    start_response(status, [("Content-Type", "application/xml")])
    return [f"<Error><Code>{code}</Code><Message>{words}</Message></Error>".encode()]


class SmallParts(s3fs.S3FileSystem):  # type: ignore[misc]
    """Sends in parts what is a tenth of what it usually would be."""

    async def _put_file(self, lpath: str, rpath: str, **kwargs: Any) -> None:
        await super()._put_file(lpath, rpath, chunksize=5 * 2**20, **kwargs)
