"""Pulls on a Docker Engine: one per reference whoever waits for it, its progress in bytes, its end never taken from what it says.

What the stream of a pull says differs between the engine's stores. The classic one counts bytes while it downloads and again while it
unpacks; containerd's (the default from 29 on) unpacks in seconds, learns of layers late and corrects their sizes downwards. So bytes are only
those of the download, per layer the most that was ever said, and whether the image came is asked of the engine at the end.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from contracts.errors import PullError
from contracts.image import ImageFacts
from contracts.seams import PullProgress
from plugins.engines import docker_images
from plugins.engines.docker_client import DockerClient
from plugins.engines.docker_errors import pull_hint, translated
from plugins.engines.docker_http import Answer, NoAnswer

_LOOK_EVERY_S = 0.2
_TOLD_AGAIN_S = 1.0  # also of nothing new: a waiter may want to end the wait


# ------------------------------------------------------------------------------------------------------------ one for all


class Pulls:
    """The pulls that are under way, by reference. May be used by several threads at a time."""

    def __init__(self, client: DockerClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._under_way: dict[str, _Pull] = {}

    def pull(self, reference: str, on_progress: Callable[[PullProgress], None], timeout_s: float | None) -> ImageFacts:
        """As the seam says. A pull goes on while anybody waits for it, and is ended in the engine when the last one leaves."""
        if reference.startswith("sha256:"):
            raise PullError(f"pull {reference}: an image id cannot be pulled", hint=pull_hint("cannot be pulled"))
        with self._joined(reference) as pull:
            return pull.wait(on_progress, None if timeout_s is None else time.monotonic() + timeout_s)

    @contextmanager
    def _joined(self, reference: str) -> Iterator[_Pull]:
        with self._lock:
            pull = self._under_way.get(reference)
            if pull is None or pull.ended:
                pull = self._under_way[reference] = _Pull(self._client, reference)
                pull.begin()
            pull.waiters += 1
        try:
            yield pull
        finally:
            with self._lock:
                pull.waiters -= 1
                if not pull.waiters and self._under_way.get(reference) is pull:
                    del self._under_way[reference]
            if not pull.waiters:
                pull.cancel()


class _Pull:
    """One pull, read by a thread of its own."""

    def __init__(self, client: DockerClient, reference: str) -> None:
        self._client = client
        self._reference = reference
        self._news = threading.Condition()
        self._progress = PullProgress(f"pulling {reference}")
        self._result: ImageFacts | BaseException | None = None
        self._answer: Answer | None = None
        self._cancelled = False
        self.waiters = 0  # guarded by the lock of Pulls

    @property
    def ended(self) -> bool:
        return self._result is not None

    def begin(self) -> None:
        threading.Thread(target=self._run, name=f"pull {self._reference}", daemon=True).start()

    def wait(self, on_progress: Callable[[PullProgress], None], deadline: float | None) -> ImageFacts:
        told, told_at = None, 0.0
        while True:
            left = _LOOK_EVERY_S if deadline is None else deadline - time.monotonic()
            with self._news:
                self._news.wait_for(lambda: self.ended, max(0.0, min(_LOOK_EVERY_S, left)))
                progress, result = self._progress, self._result
            if progress != told or time.monotonic() - told_at >= _TOLD_AGAIN_S:
                told, told_at = progress, time.monotonic()
                on_progress(progress)
            if isinstance(result, BaseException):
                raise result
            if result is not None:
                return result
            if left <= 0:
                raise PullError(
                    f"pull {self._reference}: not done in time ({progress.message})", hint=_TIME_OVER, reference=self._reference
                )

    def cancel(self) -> None:
        """The engine stops a pull whose listener hangs up. Does nothing after its end."""
        with self._news:
            self._cancelled = True
            answer = self._answer
        if answer is not None:
            answer.close()

    def _run(self) -> None:
        result: ImageFacts | BaseException
        try:
            result = self._pulled()
        except BaseException as error:  # whatever it is, it is the waiters' to see
            result = error
        with self._news:
            self._result = result
            self._news.notify_all()

    def _pulled(self) -> ImageFacts:
        doing = f"pull {self._reference}"
        with translated(doing, PullError, pull_hint), self._opened() as answer:
            for self._progress in progress_of(_refusing(_events(answer), doing)):
                pass  # the waiters look at it from time to time
        facts = docker_images.find(self._client, self._reference)
        if facts is None:
            raise PullError(
                f"{doing}: the engine said that it was done, but it does not have the image", hint="See `journalctl -u docker`."
            )
        return facts

    @contextmanager
    def _opened(self) -> Iterator[Answer]:
        headers = _authorization(self._reference)
        params = dict(zip(("fromImage", "tag"), split_reference(self._reference), strict=True))
        # The engine is silent while it waits for the registry, and while it unpacks: how long that may be is the waiters' to say.
        with self._client.open("POST", "/images/create", params, headers=headers, timeout_s=_ANSWER_S, read_timeout_s=None) as answer:
            with self._news:
                self._answer = answer
                if self._cancelled:
                    raise NoAnswer("nobody waits for it any more")
            yield answer


_ANSWER_S = 3600.0  # the head comes with the registry's first answer
_TIME_OVER = "The registry or the network is slow: raise the time-out, or pull it by hand first (`docker pull`)."


def split_reference(reference: str) -> tuple[str, str]:
    """What to pull, and its tag or digest: without one of them the engine would pull every tag."""
    name, _, digest = reference.partition("@")
    if digest:
        return name, digest
    place, _, last = reference.rpartition("/")
    last, _, tag = last.partition(":")
    return (f"{place}/{last}" if place else last), tag or "latest"


def _authorization(reference: str) -> dict[str, str]:
    from plugins.engines import docker_sdk  # it knows config.json and credential helpers

    value = docker_sdk.pull_authorization(reference)
    return {"X-Registry-Auth": value} if value else {}


def _events(answer: Answer) -> Iterator[Mapping[str, Any]]:
    """The JSON objects of a stream, one a line."""
    rest = b""
    for piece in answer.pieces():
        *lines, rest = (rest + piece).split(b"\n")
        yield from (json.loads(line) for line in lines if line.strip())
    if rest.strip():
        yield json.loads(rest)


def _refusing(events: Iterable[Mapping[str, Any]], doing: str) -> Iterator[Mapping[str, Any]]:
    for event in events:
        if words := docker_images.error_of(event):
            raise PullError(f"{doing}: {words}", hint=pull_hint(words))
        yield event


# --------------------------------------------------------------------------------------------------------------- progress


@dataclass(frozen=True)
class _Layer:
    current: int = 0
    total: int = 0
    fetched: bool = False
    unpacking: str = ""  # how far: bytes or seconds, as the engine counts
    done: bool = False


_FETCHING = ("Downloading", "Pulling layer fs")  # the second: containerd's transfer service
_WAITING = ("Pulling fs layer", "Waiting", "Retrying")
_FETCHED = ("Download complete", "Verifying Checksum")
_UNPACKING = ("Extracting",)
_DONE = ("Pull complete", "Already exists")


def progress_of(events: Iterable[Mapping[str, Any]]) -> Iterator[PullProgress]:
    """What a pull has reached after each of the engine's events that says something of it. Neither number ever falls."""
    layers: dict[str, _Layer] = {}
    shown = PullProgress("")
    for event in events:
        status, layer_id = str(event.get("status") or ""), str(event.get("id") or "")
        layer = _after(layers.get(layer_id, _Layer()), status, event.get("progressDetail") or {})
        if layer is not None:
            layers[layer_id] = layer
        elif not status or status.startswith(("Digest:", "Status:")):
            continue
        current = max(shown.current_bytes, sum(part.current for part in layers.values()))
        total = max(shown.total_bytes, current, sum(part.total for part in layers.values()))
        shown = PullProgress(_line(layers.values(), current, total) or status, current, total)
        yield shown


def _after(layer: _Layer, status: str, detail: Mapping[str, Any]) -> _Layer | None:
    """The layer after an event about it; None for an event that is about no layer."""
    if status.startswith(_FETCHING):
        current = max(layer.current, int(detail.get("current") or 0))
        return replace(layer, current=current, total=max(layer.total, current, int(detail.get("total") or 0)))
    if status.startswith(_FETCHED):
        return replace(layer, current=layer.total, fetched=True)
    if status.startswith(_UNPACKING):
        return replace(layer, current=layer.total, fetched=True, unpacking=_unpacked(detail))
    if status.startswith(_DONE):
        return replace(layer, current=layer.total, fetched=True, unpacking="", done=True)
    return layer if status.startswith(_WAITING) else None


def _unpacked(detail: Mapping[str, Any]) -> str:
    current = int(detail.get("current") or 0)
    return f"{current} {detail['units']}" if detail.get("units") else f"{current / 1e6:.1f} MB"


def _line(layers: Iterable[_Layer], current: int, total: int) -> str:
    """One line for people; '' while nothing is known of any layer."""
    known = list(layers)
    done, fetched = sum(layer.done for layer in known), sum(layer.fetched for layer in known)
    if not known:
        return ""
    what = f"unpacked {done}" if fetched == len(known) else f"fetched {fetched}"
    at_work = next((f", at {layer.unpacking}" for layer in known if layer.unpacking), "")
    return f"{current / 1e6:.1f} of {total / 1e6:.1f} MB, {what} of {len(known)} layers{at_work}"
