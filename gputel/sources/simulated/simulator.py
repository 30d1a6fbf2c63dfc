"""Writes the DCGM CSV of a simulated fleet, in the shape of a real capture; the sample."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from gputel.errors import SourceError, UsageError
from gputel.sources.simulated.fleet import HEADER, METRICS, around_value, make_gpus
from gputel.sources.simulated.workload import Workload

SAMPLE_START = datetime(2025, 7, 18, 20, 42, 34, tzinfo=UTC)
SAMPLE_HOSTS, SAMPLE_GPUS, SAMPLE_STEPS = 31, 8, 12
_POWER = METRICS.index("DCGM_FI_DEV_POWER_USAGE")
_DELAYS_S = (0, 0, 0, 1, 1, 1, 2, 3, 3, 3)  # of each metric within a step of 10 s
_FLUSH_BYTES = 1024 * 1024
_FIRST, _LAST = datetime(2000, 1, 2, tzinfo=UTC), datetime(2099, 12, 30, tzinfo=UTC)


def simulate(
    out: BinaryIO,
    hosts: int,
    gpus: int,
    rows: int,
    seed: int = 7,
    start: datetime | None = None,
    interval_s: float = 10,
    *,
    pods: bool = False,
) -> None:
    """Write a header and ``rows`` readings of a fleet of ``hosts`` with ``gpus`` GPUs each.

    One step reads each metric of all GPUs; steps are ``interval_s`` apart. ``start`` (an aware
    datetime) and ``seed`` decide every byte; without ``start`` the last reading is about now.
    ``pods`` gives half of the GPUs container, pod and namespace. Blocks; raises UsageError if
    the readings would not fit the years 2000 to 2099.
    """
    steps = -(-rows // (hosts * gpus * len(METRICS)))
    first = _first_moment(start, steps * interval_s)
    out.write(HEADER)
    pending: list[bytes] = []
    size = 0
    for block in _blocks(hosts, gpus, rows, seed, first, interval_s, pods=pods):
        pending.append(block)
        size += len(block)
        if size >= _FLUSH_BYTES:
            out.write(b"".join(pending))
            pending, size = [], 0
    out.write(b"".join(pending))


def sample_csv(data_dir: Path) -> Path:
    """The sample that gputel streams when it is given no file; written on first use.

    It has the same bytes on every machine, and is never there in part, even if several processes
    write it at the same time. Blocks; raises SourceError if the directory cannot be written.
    """
    path = data_dir / "sample.csv"
    if path.is_file():
        return path
    rows = SAMPLE_HOSTS * SAMPLE_GPUS * len(METRICS) * SAMPLE_STEPS
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix="sample.", suffix=".tmp", dir=data_dir)
        try:
            with os.fdopen(descriptor, "wb") as out:
                simulate(out, SAMPLE_HOSTS, SAMPLE_GPUS, rows, start=SAMPLE_START)
                os.fchmod(out.fileno(), 0o644)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise SourceError(
            f"{path}: the sample cannot be written: {error.strerror}; "
            "set --data-dir to a directory that can, or --csv to a file"
        ) from None
    return path


def _first_moment(start: datetime | None, duration_s: float) -> datetime:
    try:
        duration = timedelta(seconds=duration_s)
        first = start or datetime.now(UTC).replace(microsecond=0) - duration
        if first >= _FIRST and first + duration <= _LAST:
            return first.astimezone(UTC)
    except OverflowError:
        pass
    raise UsageError(
        "the readings would not fit the years 2000 to 2099; "
        "ask for fewer rows, more hosts, or a shorter interval"
    )


def _blocks(
    hosts: int, gpus: int, rows: int, seed: int, first: datetime, interval_s: float, *, pods: bool
) -> Iterator[bytes]:
    """The lines of one metric at one step, then of the next, until all rows are written."""
    fleet = make_gpus(hosts, gpus, seed, pods=pods)
    frames = [_Frame([around_value(gpu, metric) for gpu in fleet]) for metric in METRICS]
    workload = Workload(hosts, gpus, seed)
    step = 0
    while rows > 0:
        moment = first + timedelta(seconds=step * interval_s)
        for number, values in enumerate(workload.step(step)):
            delay = timedelta(seconds=_DELAYS_S[number] * min(1.0, interval_s / 10))
            as_text = _watts if number == _POWER else _whole
            texts = [as_text(value) for value in values.tolist()]
            yield frames[number].lines(_timestamp(moment + delay), texts[:rows])
            rows -= len(texts)
            if rows <= 0:
                return
        step += 1


class _Frame:
    """The lines of one metric for all GPUs, without timestamp and values."""

    def __init__(self, around: list[tuple[bytes, bytes]]) -> None:
        self._parts = [part for middle, end in around for part in (b"", middle, b"", end)]

    def lines(self, timestamp: bytes, values: list[bytes]) -> bytes:
        """One line a value."""
        parts = self._parts[: 4 * len(values)]
        parts[0::4] = [b'"' + timestamp] * len(values)
        parts[2::4] = values
        return b"".join(parts)


def _whole(value: int) -> bytes:
    return b"%d" % value


def _watts(milliwatts: int) -> bytes:
    return f"{milliwatts / 1000:.3f}".rstrip("0").rstrip(".").encode()


def _timestamp(moment: datetime) -> bytes:
    text = moment.replace(tzinfo=None).isoformat()
    return (text.rstrip("0") if moment.microsecond else text).encode() + b"Z"
