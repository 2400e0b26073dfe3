"""The cards of this host, read through NVML by a child process that may hang or crash without harm."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, ClassVar, cast

from contracts.errors import GpuSourceError
from contracts.gpu import Gpu, GpuProcess, Snapshot
from contracts.seams import GpuSource

_PROBE = "plugins.gpus.nvml_probe"
_DRIVER_MISMATCH = 18
_MAX_ABANDONED = 2
_MAX_BAD_ANSWERS = 3
_MAX_ANSWER_BYTES = 8 * 1024**2
_END_S = 1.0  # how long a killed probe that had answered may take to be gone


class NvmlSource(GpuSource):
    """NVIDIA cards. Starts its probe when first asked and keeps it, because opening NVML is slow; safe to share between threads.

    A probe that is late is killed and replaced, and its end is not waited for: a process that hangs in the driver cannot die. Two such
    processes are the most that are left behind. A probe that answered with an error, or three times with a broken card, is replaced too: a
    fresh one sees a new driver or a reset card.
    """

    name: ClassVar[str] = "nvml"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._probe: _Probe | None = None
        self._abandoned: list[subprocess.Popen[bytes]] = []
        self._bad_answers = 0
        self._uuids: dict[int, str] = {}

    def snapshot(self, timeout_s: float = 5.0) -> Snapshot:
        """As the seam says. A broken card whose uuid was never read has the uuid ``unknown-<index>``."""
        return Snapshot(gpus=tuple(self._list_gpus(timeout_s)), taken_at=time.time())

    def _list_gpus(self, timeout_s: float) -> list[Gpu]:
        deadline = time.monotonic() + timeout_s
        with self._alone(timeout_s):
            answer = self._ask(deadline, timeout_s)
            self._replace_if_doubtful(answer)
        if "error" in answer:
            raise _failed(answer)
        return self._gpus(answer["cards"])

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
        probe = self._running_probe()
        try:
            return probe.ask(deadline)
        except TimeoutError:
            self._drop_probe()
            raise _late(timeout_s) from None
        except (OSError, ValueError) as error:
            self._drop_probe()
            raise _crashed(str(error)) from error

    def _running_probe(self) -> _Probe:
        """The probe, a fresh one when it was killed from outside."""
        _reap(self._abandoned, time.monotonic())
        if self._probe is not None and not self._probe.alive():
            self._drop_probe()
        if self._probe is None:
            if len(self._abandoned) >= _MAX_ABANDONED:
                raise _stuck([process.pid for process in self._abandoned])
            self._probe = _Probe()
            self._bad_answers = 0
        return self._probe

    def _drop_probe(self) -> None:
        if self._probe is not None:
            self._abandoned.append(self._probe.kill())
            self._probe = None

    def _replace_if_doubtful(self, answer: dict[str, Any]) -> None:
        cards = answer.get("cards", [])
        self._bad_answers = self._bad_answers + 1 if any(card.get("error") for card in cards) else 0
        if not cards or self._bad_answers >= _MAX_BAD_ANSWERS:  # also on a host without GPUs: no process stays for nothing
            self._drop_probe()
            _reap(self._abandoned, time.monotonic() + _END_S)

    def _gpus(self, cards: list[dict[str, Any]]) -> list[Gpu]:
        """A lost card does not tell its uuid; it is the one last seen at this index, unless that one has moved."""
        seen = {card["uuid"] for card in cards if "uuid" in card}
        for card in cards:
            known = self._uuids.get(card["index"], "")
            card.setdefault("uuid", known if known and known not in seen else f"unknown-{card['index']}")
        self._uuids |= {card["index"]: card["uuid"] for card in cards if not card["error"]}
        return [_gpu(card) for card in cards]


class _Probe:
    """One child process and the pipe to it."""

    def __init__(self) -> None:
        # SECURITY: nothing of our environment but what finds Python and the driver's library; and no folder of the user's as the current
        # one, from which -m would import.
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-m", _PROBE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            env={**environment, "LC_ALL": "C.UTF-8"},
            start_new_session=True,  # Ctrl-C is for us, not for it
        )
        self._requests = cast("IO[bytes]", self._process.stdin)
        self._answers = cast("IO[bytes]", self._process.stdout)
        self._count = 0

    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, deadline: float) -> dict[str, Any]:
        """One answer. Raises ``TimeoutError`` at the deadline, ``OSError`` when the probe ended, ``ValueError`` for nonsense."""
        self._count += 1
        self._requests.write(json.dumps({"id": self._count}).encode() + b"\n")
        answer = json.loads(self._read_line(deadline))
        if not isinstance(answer, dict) or answer.get("id") != self._count:
            raise ValueError(f"it answered {str(answer)[:80]!r} to request {self._count}")
        return answer

    def _read_line(self, deadline: float) -> bytes:
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                chunk = os.read(self._answers.fileno(), 65536)
                if not chunk or len(line) > _MAX_ANSWER_BYTES:
                    raise OSError("it ended without an answer" if not chunk else "its answer has no end")
                line += chunk
        return line

    def kill(self) -> subprocess.Popen[bytes]:
        """Kill without waiting; the process is to be reaped when it is dead."""
        self._process.kill()
        for pipe in (self._requests, self._answers):
            with contextlib.suppress(OSError):
                pipe.close()
        return self._process


def _reap(processes: list[subprocess.Popen[bytes]], deadline: float) -> None:
    """Takes the dead out of the list; waits for the others until the deadline, no longer."""
    for process in list(processes):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=max(0.0, deadline - time.monotonic()))
            processes.remove(process)


def _gpu(card: dict[str, Any]) -> Gpu:
    processes = tuple(GpuProcess(**process) for process in card.pop("processes", ()))
    return Gpu(**card, processes=processes)


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
        hint=f"Run `echo '{{\"id\": 1}}' | {sys.executable} -m {_PROBE}` to see what it says.",
    )


def _failed(answer: dict[str, Any]) -> GpuSourceError:
    hint = "Try `nvidia-smi` as the same user."
    if answer["code"] == _DRIVER_MISMATCH:
        hint = "The driver was updated while in use: reload its kernel modules, or reboot the host."
    return GpuSourceError(f"the GPUs cannot be read: {answer['error']} (NVML error {answer['code']})", hint=hint, nvml_code=answer["code"])
