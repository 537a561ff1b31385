"""The history on the command line."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from airflow_provider_crm.get_provider_info import get_provider_info
from airflow_provider_crm.history import cli

from .conftest import a_report, a_try


@pytest.fixture
def url(tmp_path, monkeypatch):
    path = tmp_path / "history.db"
    monkeypatch.setenv("AIRFLOW_CONN_RUNS", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    return f"sqlite:///{path}"


def test_runs_are_listed(add, capsys):
    add(a_try("1", map_index=2))
    error = {"type": "CrmTransientError", "message": "gone"}
    add(a_try("2", dag_id="other", try_number=3), report=a_report("failed", error=error))
    cli.main(["--conn-id", "runs"])
    failed, done = capsys.readouterr().out.splitlines()
    assert failed.startswith("2026-11-20 03:00:00  failed        other.sync 2 #3  read 10, created 4, ")
    assert failed.endswith(" CrmTransientError")
    assert "dag.sync[2] 1 #1" in done
    cli.main(["--conn-id", "runs", "--state", "failed", "--json"])
    (line,) = capsys.readouterr().out.splitlines()
    assert (json.loads(line)["task"]["dag_id"], json.loads(line)["created"]) == ("other", 4)
    cli.main(
        ["--conn-id", "runs", "--limit", "1", "--dag-id", "dag", "--task-id", "sync", "--system", "mindbaz"]
    )
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_without_a_history_it_says_what_to_do(monkeypatch):
    monkeypatch.delenv("AIRFLOW__CRM__HISTORY_CONN_ID", raising=False)
    with pytest.raises(SystemExit, match="history_conn_id"):
        cli.main([])
    with pytest.raises(SystemExit, match="AIRFLOW_CONN_NO_RUNS"):
        cli.main(["--conn-id", "no_runs"])


def test_the_commands_of_airflow():
    """Also with the Airflows that do not look for them."""
    (group,) = cli.commands()
    (runs,) = group.subcommands
    assert (group.name, runs.name) == ("crm", "runs")
    assert get_provider_info()["cli"] == [f"{cli.__name__}.{cli.commands.__name__}"]


def test_where_there_are_none_it_says_so(add, capsys):
    add()
    cli.main(["--conn-id", "runs", "--state", "refused"])
    out, err = capsys.readouterr()
    assert (out, "There are no such runs" in err) == ("", True)


@pytest.mark.system
def test_whoever_reads_it_may_have_enough(add, url):
    """As ``| head`` does."""
    for number in range(500):
        add(a_try(str(number)))
    command = [sys.executable, "-m", "airflow_provider_crm.history", "--conn-id", "runs", "--limit", "1000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as listing:
        assert "dag.sync 499" in listing.stdout.readline()
        listing.stdout.close()
        assert "Error" not in listing.stderr.read()
    assert listing.returncode == 0


@pytest.mark.system
def test_it_is_a_command_of_its_own(add, url):
    add()
    command = [sys.executable, "-m", "airflow_provider_crm.history", "--conn-id", "runs"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "dag.sync manual__1 #1" in done.stdout


@pytest.mark.system
def test_airflow_has_the_command(add, url, airflow_db):
    from airflow.providers_manager import ProvidersManager

    if not hasattr(ProvidersManager, "cli_command_functions"):
        pytest.skip("this Airflow takes no commands of providers")
    add()
    command = [sys.executable, "-m", "airflow", "crm", "runs", "--conn-id", "runs"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "dag.sync manual__1 #1" in done.stdout
