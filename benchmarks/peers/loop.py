"""The loop one writes by hand: requests and orjson, one page after the other."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import orjson
import requests
from measured import measure


def main() -> int:
    url, path = sys.argv[1:3]
    consents = url.endswith("consents")
    session = requests.Session()
    session.auth = ("k", "s")
    start = written = 0
    with open(path, "wb") as file:
        while True:
            response = session.get(url, params={"startAt": start, "maxResults": 5000}, timeout=60)
            response.raise_for_status()
            answer = orjson.loads(response.content)
            rows = answer["consent"]["customers"] if consents else answer["customers"]
            if not rows:
                return written
            for row in rows:
                file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
            start += len(rows)
            written += len(rows)


measure(main)
