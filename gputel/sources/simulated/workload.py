"""The work of a simulated fleet: jobs start and end; power, heat, clocks, memory follow.

Whole numbers only, drawn from hashes: the same values on every machine.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from gputel.sources.simulated.fleet import Int64, draw

_FRAME_BUFFER_MIB = 81_007
_MEMORY_CLOCK_MHZ = 2619
_SM_CLOCKS_MHZ = (345, 1980, 1965)  # idle, busy, held back by heat
_HOT_MC = 74_000


class Activity(IntEnum):
    """What occupies a GPU."""

    FREE = 0  # no process
    LOADED = 1  # a process holds memory and does nothing
    SERVING = 2  # requests come and go
    TRAINING = 3  # full load, with pauses for checkpoints


# A host's kind of episode and a GPU's own, as shares of 20.
_HOST_SHARES = np.array([Activity.FREE] * 5 + [-1] * 8 + [Activity.TRAINING] * 7)
_GPU_SHARES = np.array(
    [Activity.FREE] * 7 + [Activity.LOADED] * 4 + [Activity.SERVING] * 6 + [3] * 3
)


class Workload:
    """The readings of all GPUs, step by step."""

    def __init__(self, hosts: int, gpus: int, seed: int) -> None:
        self._seed = seed
        self._units: Int64 = np.arange(hosts * gpus, dtype=np.int64)
        self._hosts = self._units // gpus
        self._idle_mw = 66_000 + self._below(10, 16_000)
        self._ambient_mc = 25_500 + self._below(11, 4_000)
        self._heat_mc: Int64 | None = None

    def step(self, number: int) -> list[Int64]:
        """The values of fleet.METRICS at a step; power in mW. Steps go in order from 0."""
        kind, episode = self._episodes(number)
        utilisation = self._utilisation(kind, episode, number)
        share = 22 + self._below(20, 30, episode)
        copying = np.where(kind >= Activity.SERVING, utilisation * share // 100, 0)
        power_mw = self._power_mw(kind, utilisation, number)
        heat_mc = self._heat(power_mw)
        used = self._memory(kind, episode)
        clock = np.where(heat_mc > _HOT_MC, _SM_CLOCKS_MHZ[2], _SM_CLOCKS_MHZ[1])
        none = np.zeros_like(used)
        return [
            utilisation,
            copying,
            power_mw,
            heat_mc // 1000,
            used,
            _FRAME_BUFFER_MIB - used,
            none,
            none,
            np.where(kind == Activity.FREE, _SM_CLOCKS_MHZ[0], clock),
            none + _MEMORY_CLOCK_MHZ,
        ]

    def _below(self, lane: int, limit: int, moment: Int64 | int = 0) -> Int64:
        drawn = draw(self._seed, lane, self._units, moment) % np.uint64(limit)
        return drawn.astype(np.int64)

    def _episodes(self, number: int) -> tuple[Int64, Int64]:
        """The activity of each GPU, and the number of its episode."""
        host_length = 60 + (draw(self._seed, 12, self._hosts) % np.uint64(540)).astype(np.int64)
        host_episode = (number + self._hosts * 37) // host_length
        host_draw = draw(self._seed, 13, self._hosts, host_episode) % np.uint64(20)
        host_kind = _HOST_SHARES[host_draw.astype(np.int64)]
        gpu_episode = (number + self._units * 53) // (30 + self._below(14, 270))
        gpu_kind = _GPU_SHARES[self._below(15, 20, gpu_episode)]
        mixed = host_kind < 0
        kind = np.where(mixed, gpu_kind, host_kind)
        return kind, np.where(mixed, gpu_episode, host_episode + 1_000_000)

    def _utilisation(self, kind: Int64, episode: Int64, number: int) -> Int64:
        serving = 20 + self._below(16, 56, episode) + self._below(17, 31, number) - 15
        training = 100 - self._below(18, 9, number)
        pausing = self._below(19, 40, number) == 0
        training = np.where(pausing, training // 4, training)
        busy = np.where(kind == Activity.SERVING, serving, training)
        return np.where(kind >= Activity.SERVING, np.clip(busy, 0, 100), 0)

    def _power_mw(self, kind: Int64, utilisation: Int64, number: int) -> Int64:
        awake = np.where(kind == Activity.FREE, 0, 42_000)
        per_percent = np.where(kind == Activity.TRAINING, 4_700 + self._below(21, 900), 2_400)
        jitter = self._below(22, 6_001, number) - 3_000
        swing = np.where(kind == Activity.FREE, jitter // 6, jitter)
        return self._idle_mw + awake + utilisation * per_percent + swing

    def _heat(self, power_mw: Int64) -> Int64:
        """Temperature in millidegrees; it follows power with a lag of a few steps."""
        target = self._ambient_mc + (power_mw - 66_000) * 78 // 1000
        before = target if self._heat_mc is None else self._heat_mc
        self._heat_mc = before + (target - before) // 4
        return self._heat_mc

    def _memory(self, kind: Int64, episode: Int64) -> Int64:
        taken = np.where(kind == Activity.LOADED, 2_000, 21_000) + self._below(23, 56_000, episode)
        return np.where(kind == Activity.FREE, 4 + self._below(24, 4) // 3 * 3, taken)
