"""A Docker Engine of the benchmark's own, with cards that its hook knows and the base image from the engine of this machine."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import docker

from tests.docker.gpus.private_engine import PrivateEngine

_BASE_IMAGE = "sluice/base:bookworm"
_CARDS = 8


class KillableEngine(PrivateEngine):
    """``gpu_environment`` lets Sluice see the cards that the engine's hook can give."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, folder / "world")
        uuids = [f"GPU-0000000{number}-kill" for number in range(_CARDS)]
        (folder / "world").write_text("".join(f"gpu {uuid}\n mem 85899345920 0 0\n" for uuid in uuids), encoding="utf-8")
        (folder / "cards.json").write_text(json.dumps([{"uuid": uuid} for uuid in uuids]), encoding="utf-8")

    def set_live_restore(self, on: bool) -> None:
        """From its next start on."""
        self._options["live-restore"] = on
        self._write_options()

    def close(self) -> None:
        """Also what a killed engine forgot: containers that it was just starting."""
        super().close()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (process / "cmdline").read_bytes()
                if words.startswith(b"/usr/bin/containerd-shim") and f"{self.folder}/".encode() in words:
                    os.kill(int(process.name), signal.SIGKILL)

    @property
    def gpu_environment(self) -> dict[str, str]:
        return {"SLUICE_GPUS": "fake", "SLUICE_FAKE_GPUS": str(self.folder / "cards.json")}


@contextmanager
def private_engine() -> Iterator[KillableEngine]:
    """Needs root and dockerd. Nothing of it is left afterwards."""
    if os.geteuid() != 0:
        raise SystemExit("kill_matrix starts a Docker Engine of its own and mounts a small disk, for which it must be root")
    engine = KillableEngine(Path(tempfile.mkdtemp(prefix="kill-", dir="/tmp")))
    try:
        engine.start()
        _copy_base_image(engine)
        yield engine
    finally:
        engine.close()


def _copy_base_image(engine: KillableEngine) -> None:
    source = docker.from_env()
    try:
        with tempfile.TemporaryFile() as tar:
            for piece in source.images.get(_BASE_IMAGE).save(named=_BASE_IMAGE):
                tar.write(piece)
            tar.seek(0)
            engine.api.load_image(tar)
    finally:
        source.close()
