"""Xid errors, heard by a thread of the probe that waits for the driver's events."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pynvml

from plugins.gpus.nvml_calls import or_unknown

_WAIT_MS = 1000
_PAUSE_S = 1.0
_WHOLE_CARD = 0xFFFFFFFF


class XidWatch:
    """Calls ``tell`` from its thread for every Xid of a watched card, with the values of ``contracts.gpu.GpuEvent`` but the sequence.

    When the wait fails, which a card that is lost makes it do, it goes on with an event set of the cards that still answer.
    """

    def __init__(self, tell: Callable[[dict[str, Any]], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()  # held while the set changes, never while waiting in it
        self._set: Any = None
        self._handles: Mapping[str, Any] = {}
        self._watched: set[str] = set()
        self._uuids: dict[int, str] = {}  # by handle, for a lost card does not tell its uuid any more

    def ensure(self, handles: Mapping[str, Any]) -> bool:
        """Watch these cards, by uuid. Whether every one of them is watched: old cards cannot be, and some drivers do not allow it."""
        with self._lock:
            self._handles = dict(handles)
            is_new = self._set is None
            self._register()
            if is_new and self._set is not None:
                threading.Thread(target=self._listen, name="xids", daemon=True).start()
            return bool(handles) and self._watched >= set(handles)

    def _register(self) -> None:
        """Adds what is not watched yet to the set. A set exists while any card is watched, and then a thread waits in it."""
        event_set = self._set or or_unknown(pynvml.nvmlEventSetCreate)
        for uuid, handle in self._handles.items() if event_set else ():
            if uuid not in self._watched and _watch(handle, event_set):
                self._watched.add(uuid)
                self._uuids[_number(handle)] = uuid
        self._set = event_set
        if not self._watched:
            self._free()

    def _free(self) -> None:
        if self._set is not None:
            or_unknown(pynvml.nvmlEventSetFree, self._set)
        self._set, self._watched = None, set()

    def _listen(self) -> None:
        """Only this thread frees the set that it waits in, and it ends when there is none."""
        while True:
            try:
                event = pynvml.nvmlEventSetWait_v2(self._set, _WAIT_MS)
            except pynvml.NVMLError as error:
                if error.value != pynvml.NVML_ERROR_TIMEOUT and not self._start_over():
                    return
            else:
                if event.eventType == pynvml.nvmlEventTypeXidCriticalError:
                    self._tell(self._values(event))

    def _start_over(self) -> bool:
        with self._lock:
            self._free()
            self._register()
            if self._set is None:
                return False
        time.sleep(_PAUSE_S)  # the new set keeps what happens now; a driver that is out of order must not be asked without end
        return True

    def _values(self, event: Any) -> dict[str, Any]:
        """``uuid`` is '' for a card that was lost before it was ever read."""
        return {
            "uuid": self._uuids.get(_number(event.device)) or or_unknown(pynvml.nvmlDeviceGetUUID, event.device) or "",
            "xid": event.eventData,
            "time": time.time(),
            "gpu_instance": None if event.gpuInstanceId == _WHOLE_CARD else event.gpuInstanceId,
            "compute_instance": None if event.computeInstanceId == _WHOLE_CARD else event.computeInstanceId,
        }


def _watch(handle: Any, event_set: Any) -> bool:
    try:
        wanted = pynvml.nvmlDeviceGetSupportedEventTypes(handle) & pynvml.nvmlEventTypeXidCriticalError
        if wanted:
            pynvml.nvmlDeviceRegisterEvents(handle, wanted, event_set)
        return bool(wanted)
    except pynvml.NVMLError:
        return False


def _number(handle: Any) -> int:
    return ctypes.cast(handle, ctypes.c_void_p).value or 0
