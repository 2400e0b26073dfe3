from __future__ import annotations

import errno
from datetime import datetime, timezone

import pytest

from contracts import errors
from contracts.image import Permissions
from contracts.job import EndReason, JobState
from contracts.seams import ContainerStatus
from runner.ending import Circumstances, evidence_of_error, evidence_of_exit, reason_of_error, reason_of_exit
from runner.journal import Stop


def _exited(code: int, *, oom: bool = False, started: float = 100.0, ended: float = 200.0) -> ContainerStatus:
    return ContainerStatus("id", "name", "exited", code, oom, started_at=started, ended_at=ended)


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


@pytest.mark.parametrize("reason", list(EndReason))
def test_every_end_reason_gives_an_ended_state_and_a_next_step(reason: EndReason) -> None:
    assert reason.state.ended
    assert bool(reason.next_step) == (reason is not EndReason.SUCCEEDED)
    assert (reason.state is JobState.SUCCEEDED) == (reason is EndReason.SUCCEEDED)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (_exited(0), EndReason.SUCCEEDED),
        (_exited(3), EndReason.EXIT_CODE),
        (_exited(137), EndReason.KILLED),
        (_exited(143), EndReason.KILLED),
        (_exited(137, oom=True), EndReason.OUT_OF_MEMORY),
        (_exited(1, oom=True), EndReason.OUT_OF_MEMORY),
        (_exited(0, oom=True), EndReason.SUCCEEDED),
        (ContainerStatus("id", "name", "gone"), EndReason.KILLED),
    ],
)
def test_an_exit_is_named_by_the_engines_facts_not_by_137(status: ContainerStatus, reason: EndReason) -> None:
    assert reason_of_exit(status, Circumstances())[0] is reason


def test_an_exit_after_the_request_to_cancel_is_a_cancel_and_one_before_is_not() -> None:
    assert reason_of_exit(_exited(143), Circumstances(_at(150)))[0] is EndReason.CANCELLED
    assert reason_of_exit(_exited(0), Circumstances(_at(250)))[0] is EndReason.SUCCEEDED


def test_a_run_as_long_as_its_timeout_timed_out_even_if_nobody_watched() -> None:
    assert reason_of_exit(_exited(143), Circumstances(timeout_s=100.0))[0] is EndReason.TIMEOUT
    assert reason_of_exit(_exited(143), Circumstances(timeout_s=101.0))[0] is EndReason.KILLED


@pytest.mark.parametrize(
    ("status", "known", "reason"),
    [
        (_exited(137), Circumstances(engine_was_away=True), EndReason.ENGINE_GONE),
        (ContainerStatus("id", "name", "gone"), Circumstances(engine_was_away=True), EndReason.ENGINE_GONE),
        (_exited(3), Circumstances(engine_was_away=True), EndReason.EXIT_CODE),
        (_exited(255), Circumstances(engine_was_away=True), EndReason.ENGINE_GONE),
        (_exited(255), Circumstances(), EndReason.EXIT_CODE),
        (_exited(137), Circumstances(rebooted=True), EndReason.ENGINE_GONE),
        (_exited(0), Circumstances(rebooted=True), EndReason.SUCCEEDED),
        (_exited(143), Circumstances(stop=Stop(EndReason.SILENT, "silent for 5 s", 150.0)), EndReason.SILENT),
        (_exited(0), Circumstances(stop=Stop(EndReason.SILENT, "silent for 5 s", 250.0)), EndReason.SUCCEEDED),
        (_exited(1), Circumstances(log_tail=("Failed to initialize NVML: Unknown Error",)), EndReason.GPU_LOST),
    ],
)
def test_what_happened_around_the_exit_names_it(status: ContainerStatus, known: Circumstances, reason: EndReason) -> None:
    assert reason_of_exit(status, known)[0] is reason


def test_a_device_error_at_the_start_is_a_lost_gpu() -> None:
    assert reason_of_error(errors.StartError("no such device", gpu="unknown_device")) is EndReason.GPU_LOST
    assert reason_of_error(errors.StartError("no toolkit", gpu="toolkit_missing")) is EndReason.NO_GPU


def test_a_start_that_an_engine_was_killed_in_is_tried_again() -> None:
    assert reason_of_error(errors.StartError("task 5c46: already exists", engine_restarted=True)) is EndReason.ENGINE_GONE


def _leaves(kind: type[errors.SluiceError]) -> list[type[errors.SluiceError]]:
    return [kind, *(leaf for child in kind.__subclasses__() for leaf in _leaves(child))]


@pytest.mark.parametrize("kind", _leaves(errors.SluiceError)[1:])
def test_every_error_of_the_tree_but_our_own_defects_has_a_named_reason(kind: type[errors.SluiceError]) -> None:
    nobody_names = (errors.InternalError, errors.JobFailedError, errors.UnavailableError)
    assert (reason_of_error(kind("x")) is EndReason.INTERNAL_ERROR) == (kind in nobody_names)


def test_a_full_disk_is_named() -> None:
    error = OSError(errno.ENOSPC, "No space left on device", "/x/y")
    assert reason_of_error(error) is EndReason.DISK_FULL
    assert "/x/y" in evidence_of_error(error).message


def test_a_defect_keeps_its_traceback_as_evidence() -> None:
    with pytest.raises(KeyError) as caught:
        raise KeyError("x")
    assert reason_of_error(caught.value) is EndReason.INTERNAL_ERROR
    assert "test_ending.py" in evidence_of_error(caught.value).fields["traceback"]


@pytest.mark.parametrize(
    ("line", "permission"),
    [
        ("OSError: [Errno 30] Read-only file system: '/app/x'", "writable-root"),
        ("Temporary failure in name resolution", "network"),
        ("PermissionError: [Errno 13] Permission denied: '/root'", "root"),
    ],
)
def test_a_failure_that_looks_like_a_missing_permission_says_so(line: str, permission: str) -> None:
    evidence = evidence_of_exit(EndReason.EXIT_CODE, "", _exited(1), None, ("start", line), Permissions())
    assert f"--allow {permission}" in evidence.hint
    granted = Permissions(network=True, root=True, writable_root=True)
    assert evidence_of_exit(EndReason.EXIT_CODE, "", _exited(1), None, ("start", line), granted).hint == ""


def test_a_program_that_met_a_full_disk_is_told_so() -> None:
    evidence = evidence_of_exit(EndReason.EXIT_CODE, "", _exited(1), None, ("OSError: [Errno 28] No space left on device",), Permissions())
    assert evidence.hint.startswith("The disk was full")
