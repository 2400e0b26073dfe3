"""The cards of this host, read through NVML by a child process that may hang or crash without harm."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from contracts.errors import GpuSourceError
from contracts.gpu import Gpu, GpuEvent, GpuProcess, Snapshot, pair
from contracts.seams import GpuSource
from plugins.gpus.boot import boot_id
from plugins.gpus.nvml_process import PROBE, ProbeProcess

_NO_PERMISSION = 4
_DRIVER_MISMATCH = 18
_MAX_ABANDONED = 2
_MAX_BAD_ANSWERS = 3
_REPLACE_EVERY_S = 60.0
_MAX_EVENTS = 1000  # kept when nobody asks for them
_END_S = 1.0  # how long a killed probe that had answered may take to be gone
_LASTING = ("uuid", "name", "pci", "numa_node", "compute_capability", "total_bytes")


class NvmlSource(GpuSource):
    """NVIDIA cards. Starts its probe when first asked and keeps it, because opening NVML is slow; safe to share between threads.

    A probe that is late is killed and replaced, and its end is not waited for: a process that hangs in the driver cannot die. Two such
    processes are the most that are left behind. A probe that answered with an error is replaced too, and once a minute one that found a broken
    card three times: a fresh one sees a new driver or a reset card. Xid errors are seen while there is a probe, from the first snapshot on.
    """

    name: ClassVar[str] = "nvml"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._probe: ProbeProcess | None = None
        self._abandoned: list[subprocess.Popen[bytes]] = []
        self._bad_answers = 0
        self._replaced_at = -_REPLACE_EVERY_S
        self._known: dict[int, dict[str, Any]] = {}
        self._events = _Events()

    def snapshot(self, timeout_s: float = 5.0) -> Snapshot:
        """As the seam says. A broken card whose uuid was never read has the uuid ``unknown-<index>``."""
        deadline = time.monotonic() + timeout_s
        with self._alone(timeout_s):
            taken_at = time.time()
            answer = self._ask(deadline, timeout_s)
            self._replace_if_doubtful(answer)
            if "error" in answer:
                raise _failed(answer)
            return _snapshot(answer, self._named(answer["cards"]), taken_at)

    def events(self) -> list[GpuEvent]:
        """As the seam says; while a snapshot is under way, those that came before it."""
        if self._lock.acquire(blocking=False):
            try:
                if self._probe is not None:
                    self._probe.hear()
            finally:
                self._lock.release()
        return self._events.take()

    def close(self) -> None:
        with self._lock:
            self._drop_probe()
            _reap(self._abandoned, time.monotonic() + _END_S)

    @contextmanager
    def _alone(self, timeout_s: float) -> Iterator[None]:
        if not self._lock.acquire(timeout=timeout_s):
            raise _late(timeout_s)
        try:
            yield
        finally:
            self._lock.release()

    def _ask(self, deadline: float, timeout_s: float) -> dict[str, Any]:
        """One answer; a probe that ended after it had answered was killed from outside, most likely, and a fresh one is asked."""
        probe = self._running_probe()
        try:
            return probe.ask(deadline)
        except TimeoutError:
            self._drop_probe()
            raise _late(timeout_s) from None
        except (OSError, ValueError) as error:
            self._drop_probe()
            if probe.has_answered:
                return self._ask(deadline, timeout_s)
            raise _crashed(str(error)) from error

    def _running_probe(self) -> ProbeProcess:
        """The probe, a fresh one when it was killed from outside."""
        _reap(self._abandoned, time.monotonic())
        if self._probe is not None and not self._probe.alive():
            self._drop_probe()
        if self._probe is None:
            if len(self._abandoned) >= _MAX_ABANDONED:
                raise _stuck([process.pid for process in self._abandoned])
            self._probe = ProbeProcess(self._events.add)
            self._bad_answers = 0
        return self._probe

    def _drop_probe(self) -> None:
        if self._probe is not None:
            self._probe.hear()
            self._abandoned.append(self._probe.kill())
            self._probe = None

    def _replace_if_doubtful(self, answer: dict[str, Any]) -> None:
        cards, now = answer.get("cards", []), time.monotonic()
        is_broken = any(card.get("error_code") in ("lost", "unknown") for card in cards)
        self._bad_answers = self._bad_answers + 1 if is_broken else 0
        is_doubtful = self._bad_answers >= _MAX_BAD_ANSWERS and now - self._replaced_at >= _REPLACE_EVERY_S
        if is_doubtful or not cards:  # also on a host without GPUs: no process stays for nothing
            self._replaced_at = now if is_doubtful else self._replaced_at
            self._drop_probe()
            _reap(self._abandoned, time.monotonic() + _END_S)

    def _named(self, devices: list[dict[str, Any]]) -> list[Gpu]:
        """A lost card does not tell its uuid; it is the one last seen at this index, unless that one has moved."""
        seen = {device["uuid"] for device in devices if "uuid" in device}
        gpus = []
        for device in devices:
            known = self._known.get(device["index"], {})
            if "uuid" not in device:
                device = {"uuid": f"unknown-{device['index']}", **({} if known.get("uuid") in seen else known), **device}
            elif device.get("kind") != "mig" and not device.get("error"):
                self._known[device["index"]] = {name: device[name] for name in _LASTING if name in device}
            gpus.append(_gpu(device))
        return gpus


class _Events:
    """What has happened and was not asked for yet, numbered. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[GpuEvent] = deque(maxlen=_MAX_EVENTS)
        self._sequence = 0

    def add(self, values: dict[str, Any]) -> None:
        with self._lock:
            self._sequence += 1
            self._waiting.append(GpuEvent(sequence=self._sequence, **values))

    def take(self) -> list[GpuEvent]:
        with self._lock:
            found = list(self._waiting)
            self._waiting.clear()
        return found


def _reap(processes: list[subprocess.Popen[bytes]], deadline: float) -> None:
    """Takes the dead out of the list; waits for the others until the deadline, no longer."""
    for process in list(processes):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=max(0.0, deadline - time.monotonic()))
            processes.remove(process)


def _snapshot(answer: dict[str, Any], gpus: Sequence[Gpu], taken_at: float) -> Snapshot:
    return Snapshot(
        gpus=tuple(gpus),
        taken_at=taken_at,
        boot_id=boot_id(),
        driver=answer.get("driver", ""),
        topology={pair(one, other): level for one, other, level in answer.get("topology", ())},
        nvlinks={pair(one, other): count for one, other, count in answer.get("nvlinks", ())},
        events_monitored=answer.get("events_monitored", False),
    )


def _gpu(device: dict[str, Any]) -> Gpu:
    listed = device.pop("processes", ())
    return Gpu(**device, processes=None if listed is None else tuple(GpuProcess(**process) for process in listed))


# ------------------------------------------------------------------------------------------------------------------ errors


def _late(timeout_s: float) -> GpuSourceError:
    return GpuSourceError(
        f"the NVIDIA driver did not answer within {timeout_s:g} s",
        hint="Try `nvidia-smi`: if it hangs too, look at `dmesg` for NVRM or Xid lines and reboot the host.",
        timeout_s=timeout_s,
    )


def _stuck(pids: list[int]) -> GpuSourceError:
    return GpuSourceError(
        f"the NVIDIA driver hangs: the processes {', '.join(map(str, pids))}, which asked it earlier, cannot even be killed",
        hint="Look at `dmesg` for NVRM or Xid lines and reboot the host.",
        pids=pids,
    )


def _crashed(why: str) -> GpuSourceError:
    return GpuSourceError(
        f"the process that reads the GPUs failed: {why}",
        hint=f"Run `echo '{{\"id\": 1}}' | {sys.executable} -m {PROBE}` to see what it says.",
    )


_HINTS = {
    _DRIVER_MISMATCH: "The driver was updated while in use: reload its kernel modules, or reboot the host.",
    _NO_PERMISSION: "Let this user open /dev/nvidiactl: try `nvidia-smi` as the same user.",
}


def _failed(answer: dict[str, Any]) -> GpuSourceError:
    if answer.get("is_binding"):
        return GpuSourceError(answer["error"], hint=f"Run `{sys.executable} -m pip install --upgrade nvidia-ml-py`.")
    code = answer["code"]
    hint = _HINTS.get(code, "Try `nvidia-smi` as the same user.")
    return GpuSourceError(f"the GPUs cannot be read: {answer['error']} (NVML error {code})", hint=hint, nvml_code=code)
