"""What exporters of many kinds and versions answer, and the record that each line becomes."""

from __future__ import annotations

import pytest

from gputel.model.entities import TARGET_FLAW
from gputel.model.names import LABELS
from gputel.sources.exposition.reader import ExpositionReader

NOW_US = 1_770_000_000_000_000


def record_of(line: str, **attached: str) -> dict[str, object]:
    """The one record of a line, without empty labels and without labels_raw."""
    answer = ExpositionReader(attached).read(line.encode() + b"\n", NOW_US)
    assert answer.bad == []
    (row,) = answer.batch.to_pylist()
    assert row.pop("timestamp").timestamp() * 1e6 == NOW_US
    raw = row.pop("labels_raw")
    for text in row.values():
        assert isinstance(text, float) or '"' not in text
    assert raw.count('="') >= sum(1 for name in ("pod", "device") if row[name])
    return {name: value for name, value in row.items() if value != ""}


UUID = "GPU-a9079f15-493e-6c1c-c78c-73ec2b840cba"
SHAPES: dict[str, tuple[str, dict[str, object]]] = {
    "bare metal": (
        f'DCGM_FI_DEV_POWER_MGMT_LIMIT{{gpu="2",UUID="{UUID}",device="nvidia2",'
        'modelName="Tesla V100-SXM2-32GB",Hostname="r6i3n0"} 300.000000',
        {
            "gpu_id": "2",
            "device": "nvidia2",
            "model_name": "Tesla V100-SXM2-32GB",
            "hostname": "r6i3n0",
            "value": 300.0,
        },
    ),
    "idle in Kubernetes, 2.x": (
        f'DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{{gpu="0",UUID="{UUID}",device="nvidia0",'
        'container="",namespace="",pod=""} 4335301032',
        {"gpu_id": "0", "device": "nvidia0", "value": 4335301032.0},
    ),
    "in use in Kubernetes, 4.x": (
        f'DCGM_FI_DEV_GPU_UTIL{{gpu="0",UUID="{UUID}",pci_bus_id="00000000:8D:00.0",'
        'device="nvidia0",modelName="NVIDIA H100 80GB HBM3",Hostname="node-1",'
        'DCGM_FI_DRIVER_VERSION="550.144.03",container="main",namespace="default",pod="p-0"} 0',
        {
            "gpu_id": "0",
            "device": "nvidia0",
            "model_name": "NVIDIA H100 80GB HBM3",
            "hostname": "node-1",
            "container": "main",
            "namespace": "default",
            "pod": "p-0",
            "value": 0.0,
        },
    ),
    "MIG": (
        f'DCGM_FI_DEV_SM_CLOCK{{gpu="0",UUID="{UUID}",device="nvidia0",'
        'modelName="NVIDIA A800-SXM4-80GB",GPU_I_PROFILE="2g.20gb",GPU_I_ID="3",Hostname="h"} 1410',
        {
            "gpu_id": "0",
            "device": "nvidia0",
            "model_name": "NVIDIA A800-SXM4-80GB",
            "hostname": "h",
            "value": 1410.0,
        },
    ),
    "after Prometheus, with renamed labels": (
        f'DCGM_FI_DEV_GPU_UTIL{{gpu="0",UUID="{UUID}",Hostname="h",'
        'container="nvidia-dcgm-exporter",pod="nvidia-dcgm-exporter-7mqjg",namespace="gpu",'
        'exported_container="main",exported_namespace="default",exported_pod="p-0",job="dcgm"} 7',
        {
            "gpu_id": "0",
            "hostname": "h",
            "container": "main",
            "namespace": "default",
            "pod": "p-0",
            "value": 7.0,
        },
    ),
    "HPC job": (
        f'DCGM_FI_DEV_GPU_TEMP{{gpu="0",UUID="{UUID}",hpc_job="42"}} 27',
        {"gpu_id": "0", "value": 27.0},
    ),
    "counted events": (
        f'DCGM_EXP_XID_ERRORS_COUNT{{gpu="0",UUID="{UUID}",Hostname="h",xid="42"}} 1',
        {"gpu_id": "0", "hostname": "h", "value": 1.0},
    ),
    "blank after the comma": (
        f'DCGM_FI_DEV_MEMORY_TEMP{{gpu="0", UUID="{UUID}"}} 30',
        {"gpu_id": "0", "value": 30.0},
    ),
    "lower-case host, 4.8.3": (
        f'DCGM_FI_DEV_FB_USED{{gpu="0",UUID="{UUID}",hostname="node-2"}} 3744',
        {"gpu_id": "0", "hostname": "node-2", "value": 3744.0},
    ),
    "old names of Kubernetes labels": (
        f'dcgm_gpu_temp{{gpu="0",uuid="{UUID}",container_name="c",pod_name="p",'
        'pod_namespace="n"} 41',
        {"gpu_id": "0", "container": "c", "pod": "p", "namespace": "n", "value": 41.0},
    ),
    "link with the id of its GPU": (
        f'DCGM_FI_DEV_NVLINK_BANDWIDTH_L0{{nvlink="0",nvswitch="0",gpu="0",gpu_uuid="{UUID}",'
        'device="nvidia0",model_name="NVIDIA H100",hostname="h"} 42',
        {
            "gpu_id": "0",
            "device": "nvidia0",
            "model_name": "NVIDIA H100",
            "hostname": "h",
            "value": 42.0,
        },
    ),
    "nvidia_gpu_exporter": (
        f'nvidia_smi_utilization_gpu_ratio{{uuid="{UUID}"}} 0.25',
        {"value": 0.25},
    ),
    "AMD": (
        'gpu_gfx_activity{card_series="AMD Instinct MI300X OAM",cluster_name="",container="",'
        f'gpu_id="2",gpu_uuid="{UUID}",hostname="tw038",namespace="",pod=""}} 12',
        {
            "gpu_id": "2",
            "model_name": "AMD Instinct MI300X OAM",
            "hostname": "tw038",
            "value": 12.0,
        },
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_line_becomes_the_record_of_its_gpu(shape: str) -> None:
    line, expected = SHAPES[shape]
    name = line.partition("{")[0]
    assert record_of(line) == {"metric_name": name, "uuid": UUID, **expected}


@pytest.mark.parametrize(
    ("labels", "identity"),
    [
        ('nvswitch="nvswitch0",hostname="h"', "nvswitch0@h"),
        ('nvswitch="0",Hostname="h"', "nvswitch0@h"),
        ('nvlink="3",nvswitch="nvswitch1",hostname="h"', "nvswitch1@h"),
        ('cpu="0",hostname="h"', "cpu0@h"),
        ('cpucore="7",cpu="0",hostname="h"', "cpu0@h"),
        ('gpu="1",hostname="h"', "gpu1@h"),
        ('gpu="1",pci_bus_id="00000000:03:00.0",hostname="h"', "00000000:03:00.0@h"),
        ('gpu="1",gpu_uuid="00000000-0000-0000-0000-000000000000",hostname="h"', "gpu1@h"),
        ('serial_number="692409005408",hostname="h"', "692409005408"),
    ],
)
def test_what_has_no_uuid_is_known_by_its_place_on_its_host(labels: str, identity: str) -> None:
    assert record_of(f"DCGM_FI_X{{{labels}}} 1")["uuid"] == identity


def test_host_comes_from_the_target_if_the_line_names_none() -> None:
    assert record_of('T{UUID="G"} 1', instance="node-7:9400", job="dcgm")["hostname"] == "node-7"
    assert record_of('T{UUID="G"} 1', instance="[fd00::7]:9400")["hostname"] == "fd00::7"
    assert record_of('T{UUID="G",Hostname="a"} 1', instance="node-7:9400")["hostname"] == "a"


def test_all_labels_are_kept_sorted_and_escaped() -> None:
    line = rb'T{b="1",UUID="G",a="say \"hi\"\\ \n",empty=""} 1' + b"\n"
    answer = ExpositionReader({"job": "x"}).read(line, NOW_US)
    (raw,) = answer.batch.column("labels_raw").to_pylist()
    assert raw == r'UUID="G",a="say \"hi\"\\ \n",b="1",job="x"'


@pytest.mark.parametrize(
    "line",
    [
        "go_goroutines 12",
        'node_cpu_seconds_total{cpu="0",mode="idle"} 5',
        'up{job="x"} 1',
    ],
)
def test_line_without_a_gpu_is_told_apart_from_a_bad_one(line: str) -> None:
    answer = ExpositionReader().read(line.encode() + b"\n", NOW_US)
    assert answer.batch.num_rows == 0
    (bad,) = answer.bad
    assert bad.is_foreign
    assert "names no GPU" in bad.reason
    (bad,) = ExpositionReader().read(b"no number x\n", NOW_US).bad
    assert not bad.is_foreign


@pytest.mark.parametrize(
    "line",
    [
        'up{UUID="target@gpu1:9400",instance="gpu1:9400"} 0',
        'up{pci_bus_id="target",Hostname="gpu1:9400"} 0',
    ],
)
def test_line_about_a_target_is_refused(line: str) -> None:
    answer = ExpositionReader().read(f"{line}\n{line}\n".encode(), NOW_US)
    assert answer.batch.num_rows == 0
    assert [(bad.reason, bad.is_foreign) for bad in answer.bad] == 2 * [(TARGET_FLAW, False)]


def test_batch_has_a_column_for_each_label() -> None:
    batch = ExpositionReader().read(b'T{UUID="G"} 1\n', NOW_US).batch
    assert batch.schema.names == ["timestamp", *LABELS, "value"]
