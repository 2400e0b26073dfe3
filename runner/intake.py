"""Takes pictures into the store, many at a time: in threads for a few, in processes of our own for many.

Threads would wait for each other most of the time: a small file costs twenty short calls to the system, and after each of them a thread
must wait until the one that reads labels lets go of Python's lock.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO

from contracts.dataset import Annotation, Asset
from contracts.errors import DatasetError, SluiceError, UnavailableError
from contracts.seams import LabelContent, Locate, NewFile, Store
from runner.collecting import seldom_collecting
from runner.pictures import LARGEST_FILE_BYTES, quiet_pillow, read_picture

#: With fewer pictures the start of the processes, half a second of processor time each, costs more than it gains.
MANY = 1500
_BATCH, _SMALL_BATCH = 512, 32
_MOST_WORKERS = 8
_HELD_BYTES = 32 * 1024**2
_LAST_WORDS_S = 30.0

#: Reads the label file of a picture where nothing is to be reported of it (``UnreadLabel.plainly``).
ReadLabel = Callable[[], LabelContent | None]
#: The asset, stored, its EXIF orientation, and what its label says if that was asked for and is plain. The error is a value here, for one bad
#: picture does not end an import.
Taken = tuple[Asset, int, LabelContent | None] | DatasetError


@dataclass(frozen=True)
class PictureRules:
    """Which pictures are taken: up to which size, and whether each is decoded (``runner.pictures``)."""

    largest_bytes: int = LARGEST_FILE_BYTES
    verify: bool = False


class Intake:
    """Takes batches of pictures into a store, several at once. A context manager: at its end nothing of it runs any more."""

    def __init__(self, store: Store, locate: Locate, rules: PictureRules, expected: int) -> None:
        """``expected``: about how many pictures there will be."""
        self._store, self._locate, self._rules = store, locate, rules
        self.batch = _BATCH if expected >= MANY else _SMALL_BATCH
        count = max(2, min(_MOST_WORKERS, os.cpu_count() or 1))
        self._workers = _start_workers(count, store, rules) if expected >= MANY else []
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        #: How many batches may be on their way at once.
        self.width = count + 1
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="sluice-import")

    def __enter__(self) -> Intake:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in self._workers:
            worker.close()

    def submit(self, paths: Sequence[Path | str], labels: Sequence[ReadLabel | None] = ()) -> Future[list[Taken]]:
        """What became of each, in their order; ``labels``: none, or one for each. Raises ``UnavailableError`` from the future when the store
        cannot take them."""
        return self._threads.submit(self._take, paths, labels or [None] * len(paths))

    def _take(self, paths: Sequence[Path | str], labels: Sequence[ReadLabel | None]) -> list[Taken]:
        if not self._workers or any(isinstance(path, str) for path in paths):
            return take_in(self._store, paths, labels, self._locate, self._rules)
        worker = self._idle.get()
        try:
            return worker.ask([os.fspath(path) for path in paths], labels)
        finally:
            self._idle.put(worker)


def take_in(
    store: Store, paths: Sequence[Path | str], labels: Sequence[ReadLabel | None], locate: Locate, rules: PictureRules
) -> list[Taken]:
    """Check the pictures and store them durably, at most ``_HELD_BYTES`` and one picture at a time in memory.

    A picture whose label cannot be read is not stored: its format leaves it out.
    """
    taken: list[Taken] = []
    held: list[NewFile] = []
    held_bytes = 0
    for path, label in zip(paths, labels, strict=True):
        try:
            content = label() if label else None
            file = locate(path) if isinstance(path, str) else path
            picture = read_picture(file, largest_bytes=rules.largest_bytes, verify=rules.verify)
        except DatasetError as error:
            taken.append(error)
            continue
        taken.append((picture.asset, picture.orientation, content))
        held.append(NewFile(picture.asset.id, picture.asset.extension, picture.content))
        held_bytes += len(picture.content)
        if held_bytes >= _HELD_BYTES:
            store.add_many(held)
            held, held_bytes = [], 0
    store.add_many(held)
    return taken


# --------------------------------------------------------------------------------------------------------------- processes


class _Worker:
    """A process that takes pictures in. It ends when its requests end, also when this process was killed."""

    def __init__(self, greeting: bytes) -> None:
        command = [sys.executable, "-c", "from runner.intake import serve; serve()"]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(place for place in sys.path if place)}
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ)
        except OSError as error:
            raise UnavailableError(f"a process that takes pictures into the store cannot be started: {error.strerror}") from error
        self._requests, self._answers = _pipe(self._process.stdin), _pipe(self._process.stdout)
        with suppress(BrokenPipeError):  # it is gone already; the first question finds out
            self._requests.write(greeting)
            self._requests.flush()

    def ask(self, paths: Sequence[str], labels: Sequence[ReadLabel | None]) -> list[Taken]:
        try:
            pickle.dump((paths, labels), self._requests)
            self._requests.flush()
            answer = pickle.load(self._answers)  # noqa: S301 - from our own process
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            hint = "Was it killed, for want of memory?"
            raise UnavailableError("a process that takes pictures into the store ended in the middle", hint=hint) from error
        if isinstance(answer, SluiceError):
            raise answer
        return [DatasetError(found) if isinstance(found, str) else (Asset(*found[0]), found[1], _unpacked(found[2])) for found in answer]

    def close(self) -> None:
        with suppress(OSError):
            self._requests.close()
        try:
            self._process.wait(_LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()


def _pipe(pipe: Any) -> BinaryIO:
    return pipe  # type: ignore[no-any-return] # never None: both were asked for


def _start_workers(count: int, store: Store, rules: PictureRules) -> list[_Worker]:
    """None when the store cannot be sent to another process, as one that holds connections cannot: threads are right for waiting anyway."""
    try:
        greeting = pickle.dumps((store, rules))
    except (pickle.PicklingError, TypeError, AttributeError):
        return []
    workers: list[_Worker] = []
    try:
        for _ in range(count):
            workers.append(_Worker(greeting))
    except BaseException:
        for worker in workers:
            worker.close()
        raise
    return workers


def serve() -> None:
    """The life of a worker: the store and the rules, then batches of paths, each answered with what became of them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed must not get between the answers
    with quiet_pillow(), seldom_collecting(), suppress(EOFError, BrokenPipeError):
        store, rules = pickle.load(requests)  # noqa: S301 - from the process that started this one
        while True:
            pickle.dump(_answer(store, pickle.load(requests), rules), answers)  # noqa: S301
            answers.flush()


def _answer(store: Store, asked: tuple[list[str], list[ReadLabel | None]], rules: PictureRules) -> list[Any] | SluiceError:
    paths, labels = asked
    try:
        taken = take_in(store, [Path(path) for path in paths], labels, _never, rules)
    except SluiceError as error:
        return error
    return [
        found.message if isinstance(found, DatasetError) else (tuple(vars(found[0]).values()), found[1], _packed(found[2]))
        for found in taken
    ]


def _packed(content: LabelContent | None) -> Any:
    """As tuples, which are packed and unpacked in a third of the time that objects take."""
    if content is None or content.annotations is None:
        return content
    return [tuple(vars(box).values()) for box in content.annotations], content.declared_size, content.marks


def _unpacked(packed: Any) -> LabelContent | None:
    if packed is None or isinstance(packed, LabelContent):
        return packed
    boxes, declared_size, marks = packed
    return LabelContent(tuple(Annotation(*box) for box in boxes), declared_size, marks)


def _never(address: str) -> Path:
    raise DatasetError(f"{address} is not fetched here")
