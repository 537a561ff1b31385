"""Unfinished uploads of S3: what was sent of them is kept, and costs money, until somebody aborts them.

The only place that knows a kind of store. Others forget what is not finished by themselves, and have no such list.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from airflow_provider_crm.exceptions import redact

log = logging.getLogger(__name__)

#: Bytes from which on a file may be sent in parts: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
SMALLEST_PART = 5 * 2**20
#: After so long nobody is still at it.
LEFT_BEHIND_AFTER = dt.timedelta(days=1)


@contextmanager
def no_upload_left(fs: Any, path: str, size: int) -> Iterator[None]:
    """Upload one object: abort what of it is left unfinished if that fails, and what was left a day ago or before.

    :param fs: fsspec's file system.
    :param path: where the object goes.
    :param size: its size in bytes.
    """
    if size < SMALLEST_PART or not hasattr(fs, "abort_mpu"):  # which s3fs' file system has alone
        yield
        return
    before = _unfinished(fs, path)
    old = dt.datetime.now(dt.UTC) - LEFT_BEHIND_AFTER
    _abort(fs, path, [upload for upload in before if upload["Initiated"] < old])
    try:
        yield
    except BaseException:
        others = {upload["UploadId"] for upload in before}
        _abort(fs, path, [upload for upload in _unfinished(fs, path) if upload["UploadId"] not in others])
        raise


def _unfinished(fs: Any, path: str) -> list[Mapping[str, Any]]:
    bucket, key, _ = fs.split_path(path)
    try:
        # Those of the key itself come before those of longer ones.
        answer = fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=key)
    except Exception as error:  # such as a key that may write but not list: no reason to fail
        log.warning("Whether uploads to %s were left unfinished cannot be found out: %s", path, redact(error))
        return []
    return [upload for upload in answer.get("Uploads", ()) if upload["Key"] == key]


def _abort(fs: Any, path: str, uploads: Sequence[Mapping[str, Any]]) -> None:
    bucket, key, _ = fs.split_path(path)
    for upload in uploads:
        try:
            fs.abort_mpu(bucket, key, upload["UploadId"])
        except Exception as error:
            log.warning(
                "An unfinished upload to %s, which costs money, is still there: %s", path, redact(error)
            )
        else:
            log.info("Aborted an upload to %s that was left unfinished", path)
