"""Calls of NVML, and what each of its errors means for the reading.

An error costs as little as it can: a field, else the GPU, else the whole reading.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

UNINITIALIZED, INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION = 1, 2, 3, 4
NOT_FOUND, DRIVER_NOT_LOADED, TIMEOUT, LIBRARY_NOT_FOUND = 6, 9, 10, 12
FUNCTION_NOT_FOUND, GPU_IS_LOST, RESET_REQUIRED = 13, 15, 16
LIB_RM_VERSION_MISMATCH, ARGUMENT_VERSION_MISMATCH = 18, 25

_ABSENT = frozenset(
    {
        INVALID_ARGUMENT,
        NOT_SUPPORTED,
        NO_PERMISSION,
        NOT_FOUND,
        FUNCTION_NOT_FOUND,
        ARGUMENT_VERSION_MISMATCH,
    }
)
_GPU_GONE = frozenset({GPU_IS_LOST, RESET_REQUIRED})
_NVML_GONE = frozenset(
    {UNINITIALIZED, DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND, LIB_RM_VERSION_MISMATCH}
)
_ADVICE = {
    DRIVER_NOT_LOADED: "the NVIDIA driver is not loaded: load it with modprobe nvidia",
    LIBRARY_NOT_FOUND: (
        "libnvidia-ml.so.1 is not here: install the NVIDIA driver, or start the container with "
        "access to the GPUs"
    ),
    NO_PERMISSION: "this user may not read /dev/nvidia*: give it access to these files",
    FUNCTION_NOT_FOUND: "the NVIDIA driver is too old: install a newer one",
    LIB_RM_VERSION_MISMATCH: (
        "the NVIDIA driver was upgraded, but the old one is still loaded: restart the machine, or "
        "load the driver again"
    ),
}


class NvmlGone(Exception):
    """NVML as a whole gives no reading; the message says why, and what to do."""


class GpuLost(Exception):
    """A GPU gives no reading any more; the message is the reason."""


class Calls:
    """Calls functions of ``nvml``, the module pynvml. ``failed`` counts odd errors by their code.

    Errors that only say that a GPU or a driver does not have something are not odd.
    """

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self.failed: Counter[int] = Counter()

    def get(self, function: str, *arguments: object) -> Any:
        """What the function answers; None if there is nothing. Raises GpuLost and NvmlGone."""
        call = getattr(self._nvml, function, None)
        if call is None:
            return None
        try:
            return call(*arguments)
        except self._nvml.NVMLError as error:
            self.note(error.value)
            return None

    def note(self, code: int) -> None:
        """Take an error of a call for what it means. Raises GpuLost and NvmlGone."""
        if code in _GPU_GONE:
            raise GpuLost(self._text(code))
        if code in _NVML_GONE:
            raise NvmlGone(self.advice(code))
        if code not in _ABSENT:
            self.failed[code] += 1

    def device(self, index: int) -> Any:
        """The handle of a GPU; None if this process may not use it. Raises GpuLost and NvmlGone."""
        try:
            return self._nvml.nvmlDeviceGetHandleByIndex(index)
        except self._nvml.NVMLError as error:
            self.note(error.value)
            if error.value in _ABSENT:
                return None
            raise GpuLost(self._text(error.value)) from None

    def need(self, function: str, *arguments: object) -> Any:
        """What the function answers. Raises NvmlGone with every error."""
        try:
            return getattr(self._nvml, function)(*arguments)
        except self._nvml.NVMLError as error:
            raise NvmlGone(self.advice(error.value)) from None

    def advice(self, code: int) -> str:
        """What an error of NVML as a whole means, and what to do about it."""
        return _ADVICE.get(code) or f"NVML cannot be used: {self._text(code)}"

    def _text(self, code: int) -> str:
        return f"{self._nvml.NVMLError(code)} ({code})"
