"""Lines of the HTTP library, which hold URLs, are dropped while a call of ours is made, and only then."""

from __future__ import annotations

import logging
import threading

import pytest

from airflow_provider_crm.http.log_privacy import no_urls_in_logs

EMAIL = "marie.curie+radium@sorbonne.example"


@pytest.mark.parametrize("name", ["urllib3.connection", "urllib3.connectionpool"])
@pytest.mark.parametrize("level", [logging.DEBUG, logging.WARNING])
def test_the_librarys_lines_are_dropped_while_a_call_is_made(
    caplog: pytest.LogCaptureFixture, name: str, level: int
) -> None:
    caplog.set_level(logging.DEBUG)
    log = logging.getLogger(name)
    with no_urls_in_logs():
        log.log(level, "https://crm.example.com/?email=%s", EMAIL)
    assert caplog.text == ""
    log.log(level, "somebody else's call")
    assert "somebody else's call" in caplog.text


def test_lines_of_other_threads_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with no_urls_in_logs():
        thread = threading.Thread(target=logging.getLogger("urllib3.connectionpool").debug, args=("other",))
        thread.start()
        thread.join()
    assert "other" in caplog.text
