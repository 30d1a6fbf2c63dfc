"""Records of NVSwitches and CPUs get a name, as they have no UUID."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from gputel.model.columns import SCHEMA
from gputel.model.entities import ENTITY_UUID, is_target, target_uuid
from gputel.model.entity_uuids import name_entities
from tests.helpers.batches import batch_of

SWITCH = 'nvswitch="nvswitch0",Hostname="dgx-1"'


def uuids(*rows: dict[str, str]) -> list[str]:
    named = name_entities(batch_of(*rows))
    named.validate(full=True)
    assert named.schema.equals(SCHEMA)
    texts: list[str] = named.column("uuid").to_pylist()
    return texts


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"hostname": "dgx-1", "labels_raw": SWITCH}, "nvswitch0@dgx-1"),
        ({"labels_raw": SWITCH}, "nvswitch0@dgx-1"),
        ({"labels_raw": 'nvswitch="3",hostname="dgx-1"'}, "nvswitch3@dgx-1"),
        ({"labels_raw": 'nvlink="7",nvswitch="nvswitch1",hostname="h"'}, "nvswitch1@h"),
        ({"labels_raw": 'nvlink="0",nvswitch="nvidia0",Hostname="h"'}, "nvswitch-nvidia0@h"),
        ({"labels_raw": '{"cpu":"0","cpucore":"1","hostname":"h"}'}, "cpu0@h"),
        ({"hostname": "h", "labels_raw": "cpu=1"}, "cpu1@h"),
        ({"hostname": "h", "device": "nvswitch2"}, "nvswitch2@h"),
        ({"hostname": "h", "labels_raw": 'nvlink="0",gpu="0",gpu_uuid="GPU-7"'}, "GPU-7"),
        ({"uuid": " ", "hostname": "h", "labels_raw": 'cpu="0"'}, "cpu0@h"),
        ({"uuid": "GPU-1", "hostname": "h", "labels_raw": SWITCH}, "GPU-1"),
        ({"labels_raw": 'cpu="0"'}, ""),
        ({"hostname": "h"}, ""),
        ({"hostname": "h", "device": "nvidia0", "labels_raw": 'gpu="0"'}, ""),
    ],
)
def test_entity_without_a_uuid_is_named_by_its_labels(row: dict[str, str], name: str) -> None:
    assert uuids(row) == [name]


def test_each_row_of_a_batch_gets_its_own_name() -> None:
    rows = [
        {"uuid": "GPU-1", "hostname": "a"},
        {"hostname": "a", "labels_raw": 'cpu="0"'},
        {"hostname": "b", "labels_raw": 'cpu="0"'},
        {"hostname": "b"},
        {"hostname": "a", "labels_raw": 'cpu="0"'},
    ]
    assert uuids(*rows) == ["GPU-1", "cpu0@a", "cpu0@b", "", "cpu0@a"]


def test_batch_of_gpus_alone_is_left_as_it_is() -> None:
    batch: pa.RecordBatch = batch_of({"uuid": "GPU-1"}, {"uuid": "GPU-2"})
    assert name_entities(batch) is batch


def test_entities_and_targets_are_told_from_gpus_by_their_uuids() -> None:
    assert target_uuid("gpu1:9400") == "target@gpu1:9400"
    assert is_target("target@gpu1:9400")
    assert not is_target("GPU-1")
    for uuid in ("nvswitch0@h", "cpu0@h", "nvswitch-nvidia0@h", target_uuid("h:1")):
        assert re.search(ENTITY_UUID, uuid)
    for uuid in ("GPU-1", "target", "targets@h", "my-target@h", "MIG-1"):
        assert not re.search(ENTITY_UUID, uuid)
