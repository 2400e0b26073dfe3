"""A Docker Engine of the tests' own, for which containers with GPUs start on a machine that has none.

Its dockerd has folders, socket and containerd of its own and touches no network of the host. It finds our stand-in for NVIDIA's container
toolkit on its PATH, and knows it as the runtime ``nvidia`` too.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
from docker.errors import DockerException

STAND_IN = Path(__file__).resolve().parents[2] / "fake_nvml"
IMAGE = "sluice-test/gpu:latest"
#: As many base images do, this one asks for every card.
GREEDY_IMAGE = "sluice-test/gpu-greedy:latest"
CDI_SINCE = 25
_NO_NETWORK = ("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-masq=false", "--ip-forward=false")
_PATIENCE_S = 60.0


class PrivateEngine:
    """``folder`` must be short: sockets below it may have 108 characters. ``world`` is the file of the fake NVML that its hook reads."""

    def __init__(self, folder: Path, world: Path) -> None:
        self.folder = folder
        self.host = f"unix://{folder}/docker.sock"
        self.api = self._new_api()
        self._world = world
        self._process: subprocess.Popen[bytes] | None = None
        self._configure()

    def start(self) -> None:
        with (self.folder / "dockerd.log").open("ab") as log:
            process = subprocess.Popen(
                [*self._command(), *_NO_NETWORK], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment()
            )
        self._process = process
        until(lambda: self._answers() or process.poll() is not None, "an answer of dockerd")
        assert process.poll() is None, (self.folder / "dockerd.log").read_text(errors="replace")[-2000:]

    def kill(self) -> None:
        """As a crash does. Its containers run on; its containerd goes with it."""
        self.api.close()  # the SDK leaves the socket of a connection that is cut open
        self._signal(signal.SIGKILL)
        self.api = self._new_api()
        _end(self._containerd_pid, "containerd", signal.SIGKILL)
        self._containerd_pid.unlink(missing_ok=True)  # a restart would wait for whatever has its number by then

    def set_default_runtime(self, name: str) -> None:
        self._set("default-runtime", name)
        until(lambda: self.api.info()["DefaultRuntime"] == name, f"{name} as the default runtime")

    def set_live_restore(self, on: bool) -> None:
        self._set("live-restore", on)
        until(lambda: self.api.info()["LiveRestoreEnabled"] is on, f"live-restore {on}")

    def _set(self, option: str, value: Any) -> None:
        self._options[option] = value
        self._write_options()
        assert self._process
        self._process.send_signal(signal.SIGHUP)

    def remove_containers(self) -> None:
        for container in self.api.containers(all=True):
            self.api.remove_container(container["Id"], force=True, v=True)

    def close(self) -> None:
        """Nothing is left: no process, no mount, no folder."""
        with suppress(DockerException, OSError):
            self.remove_containers()
        self.api.close()
        self._signal(signal.SIGTERM)
        _end(self._containerd_pid, "containerd", signal.SIGTERM)
        for mount in _mounts_below(self.folder):
            subprocess.run(["umount", "--lazy", mount], check=False)
        shutil.rmtree(self.folder)

    # ------------------------------------------------------------------------------------------------------------ its parts

    def _configure(self) -> None:
        self._options: dict[str, Any] = {"runtimes": {"nvidia": {"path": str(self._programs / "nvidia-container-runtime")}}}
        if _major_version() >= CDI_SINCE:
            self._options |= {"features": {"cdi": True}, "cdi-spec-dirs": [str(self.cdi_folder)]}
        self._write_options()
        self._programs.mkdir()
        hook = self._programs / "nvidia-container-runtime-hook"
        self._write_program(hook, STAND_IN / "container_hook.py")
        self._write_program(self._programs / "nvidia-container-runtime", STAND_IN / "container_runtime.py", str(hook))

    @property
    def cdi_folder(self) -> Path:
        """Where an engine that knows CDI looks for the cards it can give; at every start of a container, so a test may write it."""
        return self.folder / "cdi"

    @property
    def _containerd_pid(self) -> Path:
        return self.folder / "exec" / "containerd" / "containerd.pid"

    @property
    def _programs(self) -> Path:
        return self.folder / "programs"

    def _write_options(self) -> None:
        (self.folder / "daemon.json").write_text(json.dumps(self._options), encoding="utf-8")

    def _write_program(self, program: Path, script: Path, *arguments: str) -> None:
        words = " ".join([f"'{sys.executable}'", "-I", f"'{script}'", *arguments])
        program.write_text(f"#!/bin/sh\nFAKE_NVML_STATE='{self._world}' exec {words} \"$@\"\n", encoding="utf-8")
        program.chmod(0o755)

    def _command(self) -> list[str]:
        places = {"data-root": "data", "exec-root": "exec", "pidfile": "docker.pid", "config-file": "daemon.json"}
        # In a network of its own: a dockerd without a bridge takes the host's docker0 away when it starts.
        return [
            "unshare",
            "--net",
            "dockerd",
            f"--host={self.host}",
            *(f"--{option}={self.folder / name}" for option, name in places.items()),
        ]

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
        return {**kept, "PATH": f"{self._programs}:{os.environ['PATH']}"}

    def _signal(self, number: signal.Signals) -> None:
        """And waits for its end; one that does not heed it in time is killed."""
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _new_api(self) -> docker.APIClient:
        return docker.APIClient(base_url=self.host, version="1.41", timeout=int(_PATIENCE_S))

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:  # the SDK leaves the socket of a failed connection open
            if probe.connect_ex(f"{self.folder}/docker.sock"):
                return False
        with suppress(DockerException, OSError):
            return bool(self.api.ping())
        return False


def _major_version() -> int:
    said = subprocess.run(["dockerd", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\d+)", said)
    return int(found[1]) if found else 0


def make_images(engine: PrivateEngine, programs: Sequence[str] = ("bash", "cat", "env", "sleep")) -> None:
    """Two images of a few programs of this machine, which start what the job's folder says."""
    tar = engine.folder / "image.tar"
    with tarfile.open(tar, "w") as archive:
        for place, source in _files_of(programs).items():
            archive.add(os.path.realpath(source), arcname=place.lstrip("/"))
    command = 'CMD ["bash", "/in/run.sh"]'
    for reference, changes in ((IMAGE, [command]), (GREEDY_IMAGE, [command, "ENV NVIDIA_VISIBLE_DEVICES=all"])):
        repository, _, tag = reference.rpartition(":")
        engine.api.import_image(src=str(tar), repository=repository, tag=tag, changes=changes)
    tar.unlink()


def _files_of(programs: Sequence[str]) -> dict[str, str]:
    """The programs and the libraries that they load, by the places where they are looked for."""
    found = {f"/bin/{program}": shutil.which(program) or program for program in programs} | {"/bin/sh": shutil.which("bash") or "bash"}
    for program in list(found.values()):
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        found |= {word: word for word in listed.split() if word.startswith("/")}
    return found


# ---------------------------------------------------------------------------------------------------------------- processes


def until(true: Callable[[], bool], what: str) -> None:
    """Waits for what comes about sooner or later."""
    end = time.monotonic() + _PATIENCE_S
    while not true():
        assert time.monotonic() < end, f"it did not come about: {what}"
        time.sleep(0.05)


def _is_running(pid_file: Path, name: str) -> bool:
    """A number alone says nothing: another process may have it since. Nor does one that is dead and not collected."""
    with suppress(OSError):
        pid = pid_file.read_text(encoding="ascii").strip()
        found, _, state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").partition("(")[2].rpartition(") ")
        return found == name and not state.startswith("Z")
    return False


def _end(pid_file: Path, name: str, by: signal.Signals) -> None:
    if _is_running(pid_file, name):
        with suppress(ProcessLookupError):
            os.kill(int(pid_file.read_text(encoding="ascii")), by)
        until(lambda: not _is_running(pid_file, name), f"the end of {name}")


def _mounts_below(folder: Path) -> list[str]:
    """The innermost first."""
    places = [line.split()[1] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    return sorted((place for place in places if place.startswith(f"{folder}/")), reverse=True)
