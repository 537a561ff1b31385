"""Every export and every sensor, run: files are whole or absent, and waits end when they should, whatever happens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet
import pytest

from airflow_provider_crm.exceptions import CrmFailError, CrmTransientError
from airflow_provider_crm.operators.base.exports import CrmExportOperator
from airflow_provider_crm.sandbox.server import Sandbox
from airflow_provider_crm.sensors.base import CrmSensor
from airflow_provider_crm.triggers.base.questions import unpacked
from tests.helpers.exports import export, lines
from tests.helpers.public import tasks

from .entry import Export, Sensor
from .registry import EXPORTS, SENSORS
from .test_faults import PASSING, SETTINGS
from .trial import Connect

each_export = pytest.mark.parametrize("entry", EXPORTS, ids=lambda entry: entry.name)
each_sensor = pytest.mark.parametrize("entry", SENSORS, ids=lambda entry: entry.name)
each_fault = pytest.mark.parametrize("kind", PASSING)


def test_every_export_and_every_sensor_is_tried() -> None:
    exports = {one for one in tasks("operators") if issubclass(one, CrmExportOperator)}
    assert {entry.operator for entry in EXPORTS} == exports
    assert {entry.sensor for entry in SENSORS} == {
        one for one in tasks("sensors") if issubclass(one, CrmSensor)
    }


# Exports


def run(entry: Export, path: Path) -> dict[str, Any]:
    return export(entry.operator, path, **entry.parameters)


@pytest.mark.sampled
@each_export
def test_an_export_holds_what_there_is(entry: Export, crm_sandbox: Sandbox, tmp_path: Path) -> None:
    entry.seed(crm_sandbox)
    for suffix in (".jsonl", ".csv", ".parquet"):
        path = tmp_path / f"file{suffix}"
        assert run(entry, path)["rows"] == len(entry.values)
        if suffix == ".jsonl":
            values = [line[entry.column] for line in lines(path)]
        elif suffix == ".csv":
            values = pyarrow.csv.read_csv(path)[entry.column].to_pylist()
        else:
            values = pyarrow.parquet.read_table(path)[entry.column].to_pylist()
        assert sorted(map(str, values)) == sorted(entry.values)
    assert {call.method for call in crm_sandbox.calls} == {"GET"}


@pytest.mark.sampled
@each_export
@each_fault
def test_a_fault_that_passes_changes_no_file(
    entry: Export, kind: str, crm_sandbox: Sandbox, no_waiting: None, tmp_path: Path
) -> None:
    entry.seed(crm_sandbox)
    run(entry, tmp_path / "first.jsonl")
    active = crm_sandbox.fault(kind, system=entry.system, after=1, times=2, **SETTINGS.get(kind, {}))
    run(entry, tmp_path / "second.jsonl")
    assert active.fired
    assert (tmp_path / "second.jsonl").read_bytes() == (tmp_path / "first.jsonl").read_bytes()


@pytest.mark.sampled
@each_export
@each_fault
def test_a_fault_that_stays_leaves_no_file(
    entry: Export, kind: str, crm_sandbox: Sandbox, connect: Connect, no_waiting: None, tmp_path: Path
) -> None:
    connect(entry.system, max_retries=1)
    entry.seed(crm_sandbox)
    folder = tmp_path / "files"
    folder.mkdir()
    crm_sandbox.fault(kind, system=entry.system, after=1, **SETTINGS.get(kind, {}))
    with pytest.raises(CrmTransientError) as raised:
        run(entry, folder / "file.jsonl")
    assert not isinstance(raised.value, CrmFailError), "a retry may pass"
    assert "@" not in str(raised.value)
    assert list(folder.iterdir()) == []
    crm_sandbox.clear()
    assert run(entry, folder / "file.jsonl")["rows"] == len(entry.values)


# Sensors


def look(entry: Sensor) -> Any:
    """Look once, with the question as it arrives in a triggerer.

    :return: what the sensor would return; None when it goes on waiting.
    """
    sensor = entry.sensor(task_id="wait", **entry.parameters)
    path, fields = sensor._question().packed()
    assert unpacked(path, json.loads(json.dumps(fields))) == sensor._question()
    answer = sensor.poke({})
    return answer.xcom_value if answer.is_done else None


@each_sensor
def test_a_sensor_waits_and_then_says_what_it_has_seen(entry: Sensor, crm_sandbox: Sandbox) -> None:
    assert look(entry) is None
    entry.seed(crm_sandbox)
    assert look(entry) is None
    entry.arrive(crm_sandbox)
    assert look(entry) == entry.seen
    assert {call.method for call in crm_sandbox.calls} == {"GET"}


@pytest.mark.sampled
@each_sensor
@each_fault
def test_a_sensor_bears_a_fault_and_does_not_take_it_for_an_answer(
    entry: Sensor, kind: str, crm_sandbox: Sandbox, no_waiting: None
) -> None:
    entry.seed(crm_sandbox)
    crm_sandbox.fault(kind, system=entry.system, **SETTINGS.get(kind, {}))
    assert look(entry) is None
    entry.arrive(crm_sandbox)
    assert look(entry) is None
    crm_sandbox.clear()
    assert look(entry) == entry.seen
