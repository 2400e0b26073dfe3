"""What else goes wrong while services are killed: the engine killed, the engine's socket cut, the disk of the home full."""

from __future__ import annotations

import os
import random
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from benchmarks.kill_matrix.proxy import SocketProxy
from tests.docker.gpus.private_engine import PrivateEngine


@dataclass(frozen=True)
class Window:
    """When a trouble was, in Unix seconds."""

    kind: str
    begin: float
    end: float


class Trouble(ABC):
    """Happens once, in a thread of its own."""

    kind: str

    def __init__(self) -> None:
        self.window: Window | None = None
        self.error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def happen(self, after_s: float, for_s: float) -> None:
        """Returns at once; ``is_over`` tells the end."""
        self._thread = threading.Thread(target=self._happen, args=(after_s, for_s), name=self.kind, daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        return self._thread is not None and not self._thread.is_alive()

    def _happen(self, after_s: float, for_s: float) -> None:
        time.sleep(after_s)
        begin = time.time()
        try:
            self._begin()
            time.sleep(for_s)
            self._end()
        except BaseException as error:
            self.error = error
        self.window = Window(self.kind, begin, time.time())

    @abstractmethod
    def _begin(self) -> None: ...

    @abstractmethod
    def _end(self) -> None:
        """Returns when the trouble is over."""


class EngineKilled(Trouble):
    """dockerd gets SIGKILL. With live-restore containers go on; without, the engine ends them when it starts again."""

    def __init__(self, engine: PrivateEngine, *, live_restore: bool) -> None:
        super().__init__()
        self.kind = "dockerd killed, live-restore" if live_restore else "dockerd killed"
        self._engine = engine
        self._live_restore = live_restore

    def _begin(self) -> None:
        self._engine.set_live_restore(self._live_restore)
        self._engine.kill()

    def _end(self) -> None:
        self._engine.start()


class SocketCut(Trouble):
    """Every connection to the engine is dropped and new ones are refused, or taken and never answered; the engine itself goes on."""

    kind = "socket cut"

    def __init__(self, proxy: SocketProxy, *, mute: bool) -> None:
        super().__init__()
        self._proxy = proxy
        self._mute = mute

    def _begin(self) -> None:
        self._proxy.cut(mute=self._mute)

    def _end(self) -> None:
        self._proxy.mend()


class DiskFull(Trouble):
    """Not one byte more fits on the disk of the home."""

    kind = "disk full"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._file = folder / "filler"

    def _begin(self) -> None:
        with self._file.open("wb", buffering=0) as file:
            while True:
                try:
                    file.write(bytes(1 << 20))
                except OSError:
                    break
            for _ in range(64):  # and the last pages
                try:
                    file.write(bytes(512))
                except OSError:
                    break
            os.fsync(file.fileno())

    def _end(self) -> None:
        self._file.unlink()


def draw_lengths(rng: random.Random) -> tuple[float, float]:
    """After how many seconds, and for how many."""
    return rng.uniform(0.5, 2.5), rng.uniform(1.5, 5.0)
