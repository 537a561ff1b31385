"""A snapshot in a table is shared by the instances of a mapped task."""

from __future__ import annotations

import pytest

from airflow_provider_crm.bulk.snapshot import SqlSnapshot
from airflow_provider_crm.exceptions import CrmInputError

from .nightly import Nightly, OneTask


class Shard(OneTask):
    """One of several instances of a mapped task."""

    def __init__(self, number: int) -> None:
        self.map_index = number


@pytest.mark.sampled
def test_shards_share_a_table_and_each_has_its_people_known(nightly: Nightly) -> None:
    if isinstance(nightly.place, str):
        with pytest.raises(CrmInputError, match="`snapshot` is the same for each instance"):
            nightly(nightly.people(1), context={"ti": Shard(1)}, rejects_path=None, results_path=None)
        return
    shards = [nightly.people(*range(start, start + 3)) for start in (0, 3, 6)]
    for known in (0, 3):
        for number, rows in enumerate(shards):
            ended = nightly(rows, context={"ti": Shard(number)}, rejects_path=None, results_path=None)
            assert ended.summary["known"] == known
    assert nightly.writes == 0
    # Cut in another way, rows are known all the same.
    assert nightly([row for rows in shards for row in rows]).summary["known"] == 9


def test_the_name_of_a_table_is_a_template_of_each_run(nightly: Nightly) -> None:
    given = SqlSnapshot("snapshots", "{{ name }}")
    task = nightly.upsert.operator(task_id="upsert", source=[], snapshot=given)
    for name in ("one", "two"):
        task.render_template_fields({"name": name})
        assert task.snapshot == SqlSnapshot("snapshots", name)
        task = nightly.upsert.operator(task_id="upsert", source=[], snapshot=given)
    assert given.name == "{{ name }}"
