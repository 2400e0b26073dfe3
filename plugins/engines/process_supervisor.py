"""Runs one job of the process engine to its end: what docker-init and the daemon are to a container.

A script of its own, started as ``python -IS process_supervisor.py FOLDER``; standard library only. It detaches from whoever started it and so
outlives the runner. It is the reaper of every process below it, in whatever session they hide, and leaves none behind.

Files in FOLDER: reads ``spec.json``; writes ``running.json`` before the program starts (made once: a second start does nothing),
``output.log`` by the program itself, ``exit.json`` at the end, each in one step. SIGTERM is passed on to the program, SIGUSR1 kills everything.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_SIGNALS = {signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD}


def main(folder: Path) -> int:
    """In the process that the engine started: returns when the program runs; 1 with words on stderr when it could not be started."""
    read_end, write_end = os.pipe()  # closed by a successful exec: close-on-exec is Python's default
    if os.fork() == 0:
        os.close(read_end)
        _supervise_or_tell(folder, write_end)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        problem = pipe.read().decode(errors="replace")
    print(problem, end="", file=sys.stderr)
    return 1 if problem else 0


def _supervise_or_tell(folder: Path, pipe: int) -> NoReturn:
    try:
        _supervise(folder, pipe)
    except Exception as error:  # nobody above could see it; status() finds running.json without a process
        (folder / "supervisor-error.txt").write_text(repr(error), encoding="utf-8")
        os._exit(1)
    os._exit(0)


def _supervise(folder: Path, pipe: int) -> None:
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # taken one by one in _wait, also those that come early
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    if not _claim(folder):
        return
    leader = _start(spec, folder, pipe)
    _let_go(pipe)
    code = _wait(leader)
    kill_below(os.getpid())
    if (folder / "start-error.txt").exists():
        (folder / "running.json").unlink()  # it never ran: it may be started again
        return
    write_json(folder / "exit.json", {"exit_code": code, "ended_at": time.time()})


def _claim(folder: Path) -> bool:
    """Whether this is the first supervisor of the folder. The record says how to find it again, also after its pid was used again."""
    facts = {"pid": os.getpid(), "start_ticks": start_ticks(os.getpid()), "boot": boot_id(), "started_at": time.time()}
    aside = folder / f"running.{os.getpid()}"
    aside.write_text(json.dumps(facts), encoding="utf-8")
    try:
        os.link(aside, folder / "running.json")
    except FileExistsError:
        return False
    finally:
        aside.unlink()
    return True


def _start(spec: dict[str, Any], folder: Path, pipe: int) -> int:
    leader = os.fork()
    if leader:
        return leader
    try:
        os.setsid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # without its supervisor nobody would know its end
        _redirect(folder)
        os.chdir(spec["cwd"])
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execvpe(spec["argv"][0], spec["argv"], spec["env"])  # noqa: S606
    except OSError as error:
        words = f"{spec['argv'][0]} in {spec['cwd']}: {error.strerror}"
        (folder / "start-error.txt").write_text(words, encoding="utf-8")
        os.write(pipe, words.encode())
    os._exit(127)


def _redirect(folder: Path) -> None:
    output = os.open(folder / "output.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, output), (2, output)):
        os.dup2(source, target)


def _let_go(pipe: int) -> None:
    """The engine waits for the end of the pipe and of our output."""
    os.close(pipe)
    nothing = os.open(os.devnull, os.O_RDWR)
    for target in (0, 1, 2):
        os.dup2(nothing, target)
    os.chdir("/")


def _wait(leader: int) -> int:
    while True:
        got = signal.sigwait(_SIGNALS)
        if got == signal.SIGTERM:
            os.kill(leader, signal.SIGTERM)  # not reaped yet, so it is still its pid
        elif got == signal.SIGUSR1:
            kill_below(os.getpid(), reap=False)
        code = _reap(leader)
        if code is not None:
            return code


def _reap(leader: int) -> int | None:
    """Collects every child that ended, orphans too; the leader's exit code (128 + signal, as shells say it) once it is among them."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == leader:
            code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def kill_below(root: int, reap: bool = True) -> None:
    """SIGKILL to every descendant until there is none (with ``reap``) or once."""
    pause_s = 0.005
    while found := descendants(root):
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if not reap:
            return
        _reap(-1)
        time.sleep(pause_s)
        pause_s = min(0.2, pause_s * 1.5)  # what hangs in the kernel cannot be killed: wait for it calmly


# ------------------------------------------------------------------------------------------------- what /proc says


def descendants(root: int) -> list[int]:
    """Every process below ``root``, zombies included."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        fields = _stat_fields(int(folder.name))
        if fields:
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    found, waiting = [], [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; tells it from a later one with the same pid. None when there is none or a zombie."""
    fields = _stat_fields(pid)
    return int(fields[19]) if fields and fields[0] not in "ZX" else None


def _stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; [] when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes().decode(errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def write_json(path: Path, content: dict[str, Any]) -> None:
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    with aside.open("w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
