"""The first command of the README, as somebody behind a company's proxy runs it: once, and once more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.waits import patience

pytestmark = [pytest.mark.system, pytest.mark.slow]

CLI = "import sys; from airflow_provider_crm.sandbox.cli import main; sys.exit(main())"


def demo(folder: Path) -> str:
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://proxy.invalid:3128")
    names = {"no_proxy", *proxies}
    environ = {name: value for name, value in os.environ.items() if name.lower() not in names}
    done = subprocess.run(
        [sys.executable, "-c", CLI, "demo", "--rows", "300", "--folder", str(folder)],
        env={**environ, **proxies},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=patience(240),
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_demonstration_behind_a_proxy(tmp_path: Path) -> None:
    assert "Everything adds up" in demo(tmp_path)
    second = demo(tmp_path)
    assert "where 294 subscribers are known" in second
    assert "Everything adds up" in second
