"""The one table of a record's columns: what each is called everywhere, and what it can do.

A record is one DCGM reading: when, which metric of which GPU with which labels, and the value.
Everything but time and value makes up the record's series. All lists of columns come from here,
so a new label is one line at the end of COLUMNS, and a migration that adds the column to the
table ``series`` and to the view ``telemetry``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

TIMESTAMP = "timestamp"
VALUE = "value"
METRIC = "metric_name"
UUID = "uuid"
RAW = "labels_raw"


class Match(Enum):
    """How the values of a filter select texts of a label."""

    EXACT = "exact"  # the text is one of the values
    PREFIX = "prefix"  # the text begins with one of the values
    PATTERN = "pattern"  # the text fits one of the values, in which * and ? are wildcards


@dataclass(frozen=True)
class RecordColumn:
    """One column. Names that are left out are the first one.

    ``name`` is the name in gputel's code, in Arrow and in Postgres; ``csv`` the title in DCGM's
    CSV; ``api`` the field of the API's records; ``prometheus`` the label in PromQL, None if there
    is none; ``title`` heads the column in tables of the command line and names its option there;
    ``parameter`` is the filter's name in the API (by default ``api``).
    ``about`` and ``example`` are for the API's document, and ``filter`` for both: a text that is
    not empty makes the column a filter, which selects as ``match`` says. ``of_gpu``: a GPU has
    one text of it at a time, and is shown with it. A record without a ``required`` column is none.
    """

    name: str
    about: str
    example: str = ""
    csv: str = ""
    api: str = ""
    prometheus: str | None = ""
    title: str = ""
    parameter: str = ""
    filter: str = ""
    match: Match = Match.EXACT
    groupable: bool = False
    of_gpu: bool = False
    required: bool = False

    def __post_init__(self) -> None:
        for field in ("api", "title"):
            object.__setattr__(self, field, getattr(self, field) or self.name)
        if self.prometheus == "":
            object.__setattr__(self, "prometheus", self.name)
        for field in ("csv", "parameter"):
            object.__setattr__(self, field, getattr(self, field) or self.api)


COLUMNS: tuple[RecordColumn, ...] = (
    RecordColumn(TIMESTAMP, "When, UTC.", "2025-07-18T20:42:34Z", prometheus=None, required=True),
    RecordColumn(METRIC, "What was read.", "DCGM_FI_DEV_GPU_UTIL", prometheus="__name__",
                 title="metric", parameter="metric", filter="Only this metric",
                 match=Match.PATTERN, required=True),
    RecordColumn("gpu_id", "The GPU's index on its host; repeats across hosts.", "0",
                 prometheus="gpu", title="gpu", of_gpu=True),
    RecordColumn("device", "Its device on the host.", "nvidia0", of_gpu=True),
    RecordColumn(UUID, "What identifies the GPU.", "GPU-5fd4f087-86f3-7a43-b711-4771313afc50",
                 prometheus="UUID", filter="Only GPUs whose uuid begins like this",
                 match=Match.PREFIX, of_gpu=True, required=True),
    RecordColumn("model_name", "Its model.", "NVIDIA H100 80GB HBM3", api="modelName",
                 prometheus="modelName", title="model", filter="Only of this model",
                 groupable=True, of_gpu=True),
    RecordColumn("hostname", "Its host.", "mtv5-dgx1-hgpu-031", csv="Hostname",
                 prometheus="Hostname", filter="Only on this host", groupable=True, of_gpu=True),
    RecordColumn("container", "Container that used it.", "trainer"),
    RecordColumn("pod", "Pod that used it.", "train-0", filter="Only used by this pod",
                 groupable=True),
    RecordColumn("namespace", "Namespace of the pod.", "training",
                 filter="Only in this Kubernetes namespace", groupable=True),
    RecordColumn(VALUE, "The reading.", prometheus=None, required=True),
    RecordColumn(RAW, "All labels as DCGM's exporter gave them.", 'gpu="0",device="nvidia0"',
                 prometheus=None),
)  # fmt: skip
"""In the order of DCGM's CSV. A new label comes last: series keep their digests then."""

PARSED_COLUMNS: tuple[RecordColumn, ...] = (
    RecordColumn("gpu_i_id", "Its MIG instance, from `labels_raw`.", "7", api="GPU_I_ID",
                 prometheus="GPU_I_ID", title="mig", filter="Only of this MIG instance",
                 groupable=True),
    RecordColumn("gpu_i_profile", "The profile of the MIG instance, from `labels_raw`.", "1g.10gb",
                 api="GPU_I_PROFILE", prometheus="GPU_I_PROFILE", title="mig-profile",
                 filter="Only of MIG instances of this profile", groupable=True),
)  # fmt: skip
"""Labels that records have in ``labels_raw`` only. Postgres takes them out of it for each series:
a new one is a line here and a migration that adds the column to the table ``series``."""

_VALUE_PLACE = [column.name for column in COLUMNS].index(VALUE)
BEFORE_VALUE = COLUMNS[1:_VALUE_PLACE]
AFTER_VALUE = COLUMNS[_VALUE_PLACE + 1 :]
"""The labels by where a record has its value: between them."""

LABEL_COLUMNS = BEFORE_VALUE + AFTER_VALUE
"""The labels of a series, in the order in which its digest and its table hold them."""

LABELS: tuple[str, ...] = tuple(column.name for column in LABEL_COLUMNS)
"""Their names."""

SERIES_LABELS = (*LABELS, *(column.name for column in PARSED_COLUMNS))
"""The names of all labels by which series are selected and shown."""

CSV_NAMES: dict[str, str] = {column.name: column.csv for column in COLUMNS}
"""gputel's name -> the column's name in a DCGM CSV, in the CSV's order."""

API_NAMES: dict[str, str] = {column.name: column.api for column in COLUMNS}
"""gputel's name -> the field of the API's records."""


FIELDS = {name: column.name for column in COLUMNS for name in (column.csv, column.api)}
"""A record's fields by the names of DCGM's CSV and of the API's answers: gputel's names."""


def arranged(first: Sequence[str], columns: Iterable[RecordColumn]) -> tuple[RecordColumn, ...]:
    """The columns: those named in ``first`` in its order, then all others as in the table."""
    places = {name: place for place, name in enumerate(first)}
    return tuple(sorted(columns, key=lambda column: places.get(column.name, len(places))))


SHOWN_COLUMNS = arranged(
    (METRIC, UUID, "hostname", "model_name", "gpu_id", "device", "namespace", "pod", "container"),
    (column for column in LABEL_COLUMNS + PARSED_COLUMNS if column.name != RAW),
)
"""The labels that have a meaning each, in the order in which people look at them."""

GPU_COLUMNS = arranged(
    (UUID, "device", "model_name", "hostname", "gpu_id"),
    (column for column in LABEL_COLUMNS if column.of_gpu),
)
"""What a GPU is shown with, in the order of the API's lists of GPUs."""

FILTER_COLUMNS = tuple(column for column in SHOWN_COLUMNS if column.filter)
GPU_FILTER_COLUMNS = arranged(
    ("hostname", "model_name", "namespace", "pod", UUID),
    (column for column in LABEL_COLUMNS if column.filter and column.name != METRIC),
)
"""The labels that select GPUs; a metric and a MIG instance select series."""

GROUP_COLUMNS = tuple(column for column in SHOWN_COLUMNS if column.groupable)
