"""Names every end: which reason an exit or an error has, and the evidence for it."""

from __future__ import annotations

import errno
import signal
import traceback
from dataclasses import dataclass
from datetime import datetime

from contracts import errors
from contracts.gpu import says_gpu_lost
from contracts.image import Permissions
from contracts.job import EndReason, Evidence
from contracts.results import Progress
from contracts.seams import ContainerStatus
from runner.gpus.suspects import CARD_TROUBLES
from runner.journal import Stop

# First match wins, so a class stands before its parents.
_REASON_OF_ERROR: tuple[tuple[type[errors.SluiceError], EndReason], ...] = (
    (errors.DatasetError, EndReason.DATA_INVALID),
    (errors.ImageMissingError, EndReason.IMAGE_MISSING),
    (errors.PullError, EndReason.PULL_FAILED),
    (errors.StartError, EndReason.START_FAILED),
    (errors.EngineGoneError, EndReason.ENGINE_GONE),
    (errors.EngineError, EndReason.ENGINE_FAILED),
    (errors.NoGpuError, EndReason.NO_GPU),
    (errors.GpuSourceError, EndReason.NO_GPU),
    (errors.ResultMissingError, EndReason.RESULT_MISSING),
    (errors.ResultError, EndReason.RESULT_MALFORMED),
    (errors.RequestError, EndReason.DATA_INVALID),
)

# Nobody but us, `docker kill` or a stopping engine sends these, and when we did, the cases before have named it.
_SIGNALLED = (128 + signal.SIGKILL, 128 + signal.SIGTERM)
# What Docker says of a container whose end it missed, as live-restore may.
_LOST = 255

# What a program says when the confined default forbids it something, and the permission that would allow it.
_FORBIDDEN = (
    (("Read-only file system",), "writable_root", "it wrote outside /out and /tmp"),
    (("Temporary failure in name resolution", "Network is unreachable", "Could not resolve host"), "network", "it used the network"),
    (("Operation not permitted", "Permission denied"), "root", "it needed rights it does not have"),
)


def reason_of_error(error: BaseException) -> EndReason:
    """The end reason of something raised on the way; whatever is not in the tree is our own defect."""
    if isinstance(error, errors.StartError) and error.fields.get("gpu"):
        # A host that can give no card at all is no card's fault: the job queues again.
        return EndReason.GPU_LOST if error.fields["gpu"] in CARD_TROUBLES else EndReason.NO_GPU
    if isinstance(error, errors.StartError) and error.fields.get("engine_restarted"):
        return EndReason.ENGINE_GONE
    if is_full_disk(error):
        return EndReason.DISK_FULL
    return next((reason for kind, reason in _REASON_OF_ERROR if isinstance(error, kind)), EndReason.INTERNAL_ERROR)


def is_full_disk(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def evidence_of_error(error: BaseException) -> Evidence:
    if isinstance(error, errors.SluiceError):
        return Evidence(message=error.message, hint=error.hint, fields=error.fields)
    if reason_of_error(error) is EndReason.DISK_FULL:
        return Evidence(message=f"no space left while writing: {error}")
    return Evidence(message=f"{type(error).__name__}: {error}", fields={"traceback": "".join(traceback.format_exception(error))})


@dataclass(frozen=True)
class Circumstances:
    """What is known beside the engine's facts. ``log_tail`` is given for jobs with GPUs only."""

    cancel_requested_at: datetime | None = None
    timeout_s: float | None = None
    stop: Stop | None = None
    engine_was_away: bool = False
    rebooted: bool = False
    log_tail: tuple[str, ...] = ()


def reason_of_exit(status: ContainerStatus, known: Circumstances) -> tuple[EndReason, str]:
    """The end reason and, where it is not the usual one, its sentence; from recorded facts, so that a restarted runner finds the same."""
    if status.exit_code != 0 and known.rebooted:
        return EndReason.ENGINE_GONE, "the host was rebooted under the job"
    if status.state == "gone" or status.exit_code is None:
        return _away(known, "the container is gone since the engine was away") or (EndReason.KILLED, "")
    ended_at = status.ended_at or 0.0
    if status.exit_code != 0 and status.out_of_memory:
        return EndReason.OUT_OF_MEMORY, ""
    if known.cancel_requested_at and ended_at >= known.cancel_requested_at.timestamp():
        return EndReason.CANCELLED, ""
    if known.stop and ended_at >= known.stop.time:
        return known.stop.reason, known.stop.message
    if known.timeout_s and status.started_at and ended_at - status.started_at >= known.timeout_s:
        return EndReason.TIMEOUT, ""
    if status.exit_code == 0:
        return EndReason.SUCCEEDED, ""
    return _failed_exit(status.exit_code, known)


def _failed_exit(exit_code: int, known: Circumstances) -> tuple[EndReason, str]:
    if any(says_gpu_lost(line) for line in known.log_tail):
        return EndReason.GPU_LOST, f"the container lost its GPU (exit code {exit_code})"
    if exit_code in _SIGNALLED:
        return _away(known, f"the engine was restarted and ended the container (exit code {exit_code})") or (EndReason.KILLED, "")
    lost = _away(known, f"the container ended while the engine was away, and its exit code is lost (the engine says {_LOST})")
    return lost if lost and exit_code == _LOST else (EndReason.EXIT_CODE, "")


def _away(known: Circumstances, message: str) -> tuple[EndReason, str] | None:
    return (EndReason.ENGINE_GONE, message) if known.engine_was_away else None


def evidence_of_exit(
    reason: EndReason, message: str, status: ContainerStatus, progress: Progress | None, log_tail: tuple[str, ...], permissions: Permissions
) -> Evidence:
    return Evidence(
        message=message or _exit_message(reason, status),
        exit_code=status.exit_code,
        out_of_memory=status.out_of_memory,
        image_code=progress.code or None if progress else None,
        image_message=progress.message if progress else "",
        log_tail=log_tail,
        hint=_hint("\n".join(log_tail), permissions) if reason in (EndReason.EXIT_CODE, EndReason.KILLED) else "",
    )


def _exit_message(reason: EndReason, status: ContainerStatus) -> str:
    if reason is EndReason.KILLED and status.state == "gone":
        return "the container is gone: something removed it before its end was recorded"
    return {
        EndReason.SUCCEEDED: "",
        EndReason.OUT_OF_MEMORY: f"the container used more memory than it may (exit code {status.exit_code}, the engine's out-of-memory flag is set)",
        EndReason.KILLED: f"the container was ended from outside (exit code {status.exit_code}): not for want of memory, and not by Sluice",
        EndReason.EXIT_CODE: f"the image exited with code {status.exit_code}",
        EndReason.TIMEOUT: "the job ran longer than its --timeout and was stopped",
        EndReason.CANCELLED: "the job was cancelled",
    }.get(reason, "")


def _hint(text: str, permissions: Permissions) -> str:
    """What the last lines of the output point to."""
    if "No space left on device" in text:
        return "The disk was full while it ran (or /dev/shm, see the image's shm_size): free some space, then `sluice job rerun`."
    for phrases, permission, what in _FORBIDDEN:
        if any(phrase in text for phrase in phrases) and not getattr(permissions, permission):
            return (
                f"It looks as if {what}, which images may not do by default. If you trust the image: `sluice image add REFERENCE --name NAME "
                f"--allow {permission.replace('_', '-')}`, or `--profile compatible` for images made for YMIR."
            )
    return ""
