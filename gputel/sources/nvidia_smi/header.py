"""The header of a CSV of nvidia-smi: which columns are values, which are labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from gputel.errors import SourceError
from gputel.model.dcgm_fields import field
from gputel.model.names import METRIC
from gputel.sources.nvidia_smi.table import (
    FIELDS,
    IDENTITIES,
    LABELS,
    NUMBERS,
    PREFIX,
    SHORT_NAMES,
    TIME,
    UNITS,
)

_TITLE = re.compile(r"([A-Za-z_][\w.]*+) ?(?:\[([^\[\]]++)\])?", re.ASCII)
_TIME = re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d+", re.ASCII)
_WITH_UNIT = re.compile(r"\d+(?:\.\d+)? (?:%|W|MHz|MiB)", re.ASCII)
_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_MESSAGES = ("Failed to initialize NVML", "NVIDIA-SMI has failed", "No devices were found",
             "Unable to determine the device handle", 'Field "')  # fmt: skip
_OF_PROCESSES = "pid"


@dataclass(frozen=True, eq=False)
class ValueColumn:
    """A column of values: its position and title, its metric, and the unit as nvidia-smi has it.

    A value of the metric is that of the column multiplied by ``factor``. ``name`` is that of
    nvidia-smi without the unit.
    """

    place: int
    title: str
    name: str
    metric: str
    unit: str
    factor: Decimal = Decimal(1)


@dataclass(frozen=True)
class SmiLayout:
    """The columns of a file. ``labels`` has the positions by nvidia-smi's names.

    ``left_out`` are the titles of those that are neither labels nor numbers.
    """

    titles: tuple[str, ...]
    time_place: int
    labels: Mapping[str, int]
    values: tuple[ValueColumn, ...]
    left_out: tuple[str, ...]


def read_smi_header(titles: Sequence[str], path: Path) -> SmiLayout | None:
    """The columns that the titles of a first line name; None if it is not one of nvidia-smi.

    Raises SourceError, which names the file and says how to call nvidia-smi, if it lacks something.
    """
    if titles[0].startswith(_MESSAGES):
        raise SourceError(
            f"{path}: is a message of nvidia-smi, not a CSV: {','.join(titles)[:200]}"
        )
    if _is_row(titles):
        raise SourceError(
            f"{path}: the first line is a row of nvidia-smi, and the names of the columns are "
            "unknown: leave noheader out of --format"
        )
    columns = dict(_columns(titles))
    if not _is_header(titles, columns):
        return None
    _check(titles, columns, path)
    values = _values(titles, columns, path)
    if not values:
        raise _incomplete(path, "no column has values", "utilization.gpu or others")
    labels = {name: place for name, (place, _) in columns.items() if name in LABELS}
    used = {columns[TIME][0], *labels.values(), *(column.place for column in values)}
    left_out = tuple(title for place, title in enumerate(titles) if place not in used)
    return SmiLayout(tuple(titles), columns[TIME][0], labels, values, left_out)


def _columns(titles: Sequence[str]) -> Iterator[tuple[str, tuple[int, str]]]:
    """Name, position and unit of each column."""
    for place, title in enumerate(titles):
        match = _TITLE.fullmatch(title)
        if match:
            yield SHORT_NAMES.get(match[1], match[1]), (place, match[2] or "")


def _is_row(titles: Sequence[str]) -> bool:
    if any(title.startswith("DCGM_") for title in titles):
        return False
    return any(_TIME.fullmatch(title) or _WITH_UNIT.fullmatch(title) for title in titles)


def _is_header(titles: Sequence[str], columns: Mapping[str, tuple[int, str]]) -> bool:
    if any(title.casefold() == METRIC for title in titles):
        return False
    with_unit = any(unit and unit in UNITS for _, unit in columns.values())
    return with_unit or any(name in FIELDS or name.startswith(NUMBERS) for name in columns)


def _check(titles: Sequence[str], columns: Mapping[str, tuple[int, str]], path: Path) -> None:
    names = [SHORT_NAMES.get(title, title) for title in titles]
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise SourceError(f"{path}: the header has column {name} {count} times; keep one of them")
    if _OF_PROCESSES in columns:
        raise SourceError(
            f"{path}: is about processes, not about GPUs: let nvidia-smi run with --query-gpu"
        )
    if TIME not in columns:
        raise _incomplete(path, "timestamp is missing", "timestamp")
    if not columns.keys() & set(IDENTITIES):
        raise _incomplete(path, "no column says which GPU it is", "uuid")


def _incomplete(path: Path, what: str, columns: str) -> SourceError:
    return SourceError(
        f"{path}: the header is one of nvidia-smi, and {what}: add {columns} to --query-gpu"
    )


def _values(
    titles: Sequence[str], columns: Mapping[str, tuple[int, str]], path: Path
) -> tuple[ValueColumn, ...]:
    taken: dict[str, str] = {}
    for name, metric in FIELDS.items():
        if name in columns:
            taken.setdefault(metric, name)
    values = []
    for name, (place, unit) in columns.items():
        metric = FIELDS.get(name, "")
        if taken.get(metric) == name:
            _check_unit(titles[place], unit, metric, path)
            values.append(ValueColumn(place, titles[place], name, metric, unit or _unit_of(metric)))
        elif unit in UNITS and (unit or name.startswith(NUMBERS)):
            known = UNITS[unit]
            own = _CAPITAL.sub("_", name).lower().replace(".", "_")
            metric = PREFIX + own + known.ending
            values.append(ValueColumn(place, titles[place], name, metric, unit, known.factor))
    return tuple(values)


def _unit_of(metric: str) -> str:
    """The unit that nvidia-smi writes behind the values of a field; it writes none for degrees."""
    unit = field(metric).unit
    return unit if unit in UNITS else ""


def _check_unit(title: str, unit: str, metric: str, path: Path) -> None:
    expected = _unit_of(metric)
    if unit and unit != expected:
        raise SourceError(
            f"{path}: the column {title} has another unit than nvidia-smi gives it"
            f"{f', {expected}' if expected else ''}: ingest the file as nvidia-smi writes it"
        )
