"""Samples with what makes PromQL hard: gaps, resets, NaN, series that come, go and take turns."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

from tests.helpers.batches import NOON, labels
from tests.helpers.prometheus_server import Row

UTIL, TEMP = "DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_GPU_TEMP"
ENERGY, POWER = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "DCGM_FI_DEV_POWER_USAGE"
LATENCY = "LATENCY_bucket"
SECONDS = range(0, 3600, 15)
HOSTS, GPUS_A_HOST = 3, 4


def rows() -> list[Row]:
    """An hour of a fleet from NOON on, a reading each 15 s: the same at every call."""
    found: list[Row] = []
    draw = random.Random(20251127)
    for host in range(HOSTS):
        for gpu in range(GPUS_A_HOST):
            found += _gpu(host, gpu, draw)
    return found + _latencies()


def _latencies() -> list[Row]:
    """A histogram of two hosts; one bucket of it is there only now and then, one falls."""
    draw = random.Random(20230131)
    found: list[Row] = []
    counts: Counter[tuple[int, str]] = Counter()
    for second in range(0, 3600, 60):
        for host in range(2):
            total = 0
            for bound in ("-1", "0.1", "0.5", "2", "2.0", "+Inf"):
                total += draw.randrange(20)
                counts[host, bound] += total
                labels = _series(LATENCY, host, 0)
                labels["labels_raw"] += f',le="{bound}"'
                moment = NOON + timedelta(seconds=second)
                fallen = 50 if bound == "0.5" and second % 600 == 0 else 0
                if bound != "2.0" or second % 420 == 0:
                    found.append((labels, moment, float(counts[host, bound] - fallen)))
    return found


def _series(metric: str, host: int, gpu: int, **others: str) -> dict[str, str]:
    raw = f'instance="host-{host}:9400",job="dcgm"'
    return labels(f"GPU-{host}{gpu}", metric, gpu_id=str(gpu), device=f"nvidia{gpu}",
                  hostname=f"host-{host}", model_name="NVIDIA H100 80GB HBM3" if host else "A100",
                  labels_raw=raw, **others)  # fmt: skip


def _gpu(host: int, gpu: int, draw: random.Random) -> list[Row]:
    kept = PRESENT.get((host, gpu), lambda _second: True)
    jitter = 0.9 if (host, gpu) == (2, 1) else 0.0
    found: list[Row] = []
    joules = draw.uniform(0, 1e9)
    for second in filter(kept, SECONDS):
        moment = NOON + timedelta(milliseconds=round(1000 * (second + jitter * draw.random())))
        joules = draw.uniform(0, 500) if draw.random() < 0.03 else joules + draw.uniform(0, 9000)
        pod = {"pod": "train-0" if second < 1800 else "train-1", "namespace": "ml"}
        util = float(draw.choice([0, 0, 100, draw.randrange(100)]))
        found += [
            (_series(UTIL, host, gpu, **(pod if gpu == 3 else {})), moment, util),
            (_series(TEMP, host, gpu), moment, _temperature(host, gpu, second, draw)),
            (_series(ENERGY, host, gpu), moment, joules),
        ]
        if host == 1:
            found.append((_series(POWER, host, gpu), moment, draw.uniform(60, 700)))
    return found


def _temperature(host: int, gpu: int, second: int, draw: random.Random) -> float:
    if (host, gpu) == (0, 2) and 600 <= second < 1200:
        return math.nan
    if (host, gpu) == (1, 2) and second in (900, 915, 930):
        return math.inf if second != 915 else -math.inf
    return round(draw.uniform(20, 90), 2)


PRESENT: dict[tuple[int, int], Callable[[int], bool]] = {
    (0, 1): lambda second: not 1200 <= second < 2400,  # a gap, longer than the lookback
    (0, 3): lambda second: not 1200 <= second < 1440,  # one that is shorter
    (1, 0): lambda second: second < 1800,  # ends
    (1, 1): lambda second: second >= 1800,  # begins
    (1, 3): lambda second: second % 90 == 0,  # seldom
    (2, 0): lambda second: second == 1500,  # once
}
"""When a GPU is read; one that is not here always is."""
