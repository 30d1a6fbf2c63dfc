"""The last XID of each GPU. NVML tells them only as events, so a thread waits for these."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from gputel.sources.nvml.calls import TIMEOUT, NvmlGone
from gputel.sources.nvml.gpus import Gpu

_XID_EVENT = 8  # nvmlEventTypeXidCriticalError
_WAIT_MS = 500
_PAUSE_S = 1.0  # after an error
_END_S = 5.0


class XidWatch:
    """Waits for XIDs of these GPUs, and keeps the last of each in ``last``, by UUID.

    A GPU with such events that has had none yet gets 0 there; one without them is not in it.
    """

    def __init__(self, nvml: Any, gpus: Sequence[Gpu], last: dict[str, int]) -> None:
        self._nvml = nvml
        self._last = last
        self._stopping = threading.Event()
        self._events = self._registered(gpus)
        self._thread = threading.Thread(target=self._wait, name="xids", daemon=True)
        if self._events is not None:
            self._thread.start()

    def stop(self) -> None:
        """End the thread, so that NVML can be closed. Raises NvmlGone if the driver hangs."""
        self._stopping.set()
        if self._events is None:
            return
        self._thread.join(_END_S)
        if self._thread.is_alive():
            raise NvmlGone("the driver does not answer")
        with suppress(self._nvml.NVMLError):
            self._nvml.nvmlEventSetFree(self._events)

    def _registered(self, gpus: Sequence[Gpu]) -> Any:
        """The set of events; None if no GPU has events."""
        watched = []
        try:
            events = self._nvml.nvmlEventSetCreate()
        except self._nvml.NVMLError:
            return None
        for gpu in gpus:
            try:
                if self._nvml.nvmlDeviceGetSupportedEventTypes(gpu.handle) & _XID_EVENT:
                    self._nvml.nvmlDeviceRegisterEvents(gpu.handle, _XID_EVENT, events)
                    watched.append(gpu.uuid)
            except self._nvml.NVMLError:
                continue
        for uuid in watched:
            self._last.setdefault(uuid, 0)
        return events if watched else None

    def _wait(self) -> None:
        while not self._stopping.is_set():
            try:
                event = self._nvml.nvmlEventSetWait_v2(self._events, _WAIT_MS)
                uuid = self._nvml.nvmlDeviceGetUUID(event.device)
            except self._nvml.NVMLError as error:
                if error.value != TIMEOUT:  # such as a lost GPU: it must not fill a processor
                    self._stopping.wait(_PAUSE_S)
                continue
            if uuid in self._last:
                self._last[uuid] = event.eventData
