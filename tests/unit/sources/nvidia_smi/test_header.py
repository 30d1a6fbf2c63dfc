from __future__ import annotations

from pathlib import Path

import pytest

from gputel.errors import SourceError
from gputel.model.dcgm_fields import FIELDS as DCGM_FIELDS
from gputel.sources.csv.file import CsvFile
from gputel.sources.nvidia_smi.header import SmiLayout, read_smi_header
from gputel.sources.nvidia_smi.table import FIELDS
from gputel.sources.nvml.table import FIELD_VALUES, MEMORY, READINGS

UNITS = {"W": "W", "%": "%", "MiB": "MiB", "MHz": "MHz"}


def layout(header: str) -> SmiLayout:
    found = read_smi_header([title.strip() for title in header.split(",")], Path("smi.csv"))
    assert found is not None
    return found


def metrics(header: str) -> dict[str, str]:
    return {column.title: column.metric for column in layout(header).values}


@pytest.mark.parametrize("column", FIELDS)
def test_each_field_is_known_and_is_read_from_a_header_with_its_unit(column: str) -> None:
    unit = UNITS.get(DCGM_FIELDS[FIELDS[column]].unit, "")
    title = f"{column} [{unit}]" if unit else column
    assert metrics(f"timestamp, uuid, {title}") == {title: FIELDS[column]}
    assert metrics(f"timestamp, uuid, {column}") == {column: FIELDS[column]}


def test_fields_that_nvml_reads_too_have_its_names() -> None:
    parts = [part.field for reading in (*READINGS, MEMORY) for part in reading.parts]
    of_nvml = {*parts, *FIELD_VALUES.values()}
    not_in_nvidia_smi = {"TOTAL_ENERGY_CONSUMPTION", "PCIE_REPLAY_COUNTER"}
    for field in of_nvml - set(FIELDS.values()):
        name = field.removeprefix("DCGM_FI_DEV_")
        assert name in not_in_nvidia_smi or name.endswith("_VIOLATION"), name


def test_columns_without_a_field_have_the_names_of_nvidia_gpu_exporter() -> None:
    assert metrics(
        "timestamp, uuid, clocks.current.graphics [MHz], utilization.jpeg [%], "
        "protected_memory.used [MiB], module.power.limit [W], encoder.stats.sessionCount, "
        "clocks_event_reasons_counters.sw_power_cap [us], "
        "ecc.errors.uncorrected.aggregate.sram.thresholdExceeded"
    ) == {
        "clocks.current.graphics [MHz]": "nvidia_smi_clocks_current_graphics_clock_hz",
        "utilization.jpeg [%]": "nvidia_smi_utilization_jpeg_ratio",
        "protected_memory.used [MiB]": "nvidia_smi_protected_memory_used_bytes",
        "module.power.limit [W]": "nvidia_smi_module_power_limit_watts",
        "encoder.stats.sessionCount": "nvidia_smi_encoder_stats_session_count",
        "clocks_event_reasons_counters.sw_power_cap [us]": (
            "nvidia_smi_clocks_event_reasons_counters_sw_power_cap_seconds"
        ),
        "ecc.errors.uncorrected.aggregate.sram.thresholdExceeded": (
            "nvidia_smi_ecc_errors_uncorrected_aggregate_sram_threshold_exceeded"
        ),
    }


def test_only_one_of_two_columns_is_the_same_field() -> None:
    for header in (
        "power.draw [W], power.draw.average [W]",
        "power.draw.average [W], power.draw [W]",
    ):
        assert metrics(f"timestamp, uuid, {header}") == {
            "power.draw [W]": "DCGM_FI_DEV_POWER_USAGE",
            "power.draw.average [W]": "nvidia_smi_power_draw_average_watts",
        }


def test_what_is_neither_a_label_nor_a_number_is_left_out() -> None:
    found = layout(
        "timestamp, gpu_uuid, gpu_name, mig.mode.current, odd [furlong], temperature.gpu, extra"
    )
    assert found.left_out == ("mig.mode.current", "odd [furlong]", "extra")
    assert found.labels == {"uuid": 1, "name": 2}


@pytest.mark.parametrize(
    "header",
    [
        "timestamp,metric_name,gpu_id,device,uuid,modelName,Hostname,container,pod,namespace,value",
        "timestamp,gpu_id,uuid,value",
        "a;b;c",
        "",
    ],
)
def test_header_of_others_is_not_taken(header: str) -> None:
    assert read_smi_header(header.split(","), Path("dcgm.csv")) is None


@pytest.mark.parametrize(
    ("header", "advice"),
    [
        ("uuid, utilization.gpu [%]", "timestamp is missing: add timestamp to --query-gpu"),
        ("timestamp, utilization.gpu [%]", "add uuid to --query-gpu"),
        ("timestamp, uuid, temperature.gpu.odd [K]", "add utilization.gpu or others"),
        ("timestamp, uuid, fan.speed [%], fan.speed [%]", "fan.speed [%] 2 times; keep one"),
        ("timestamp, uuid, gpu_uuid, fan.speed [%]", "uuid 2 times; keep one"),
        (
            "timestamp, uuid, memory.used [GiB], pstate",
            "another unit than nvidia-smi gives it, MiB",
        ),
        ("timestamp, gpu_uuid, pid, used_gpu_memory [MiB]", "run with --query-gpu"),
        ("2026/11/30 14:36:11.123, 0, GPU-1, 45 %", "leave noheader out of --format"),
        ("0, GPU-1, 45 %, 1024 MiB", "leave noheader out of --format"),
        ("2026/11/30 14:36:11.123, 0, GPU-1, 45", "leave noheader out of --format"),
        ("Failed to initialize NVML: Driver/library version mismatch", "a message of nvidia-smi"),
        ('Field "utilisation.gpu" is not a valid field to query.', "a message of nvidia-smi"),
    ],
)
def test_header_that_cannot_be_used_says_what_to_do(
    tmp_path: Path, header: str, advice: str
) -> None:
    path = tmp_path / "smi.csv"
    path.write_text(header + "\n")
    with pytest.raises(SourceError) as raised:
        CsvFile.open(path)
    assert raised.value.message.startswith(f"{path}: ")
    assert advice in raised.value.message
