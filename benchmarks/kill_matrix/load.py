"""The mix of jobs that run while the service is killed, and how each must end."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FIRST_LINE = "behaviour="
_DONE = {FIRST_LINE: 1, "probe: done": 1}
_FOR_EVER_S = 3600.0


@dataclass(frozen=True)
class Load:
    """One kind of job. ``reason`` is its end, ``exit_codes`` what its last container may have ended with (None: it had none).

    ``lines``: how often each text is in the output of one container that ran to its own end; one that is stopped may have said less.
    ``attempts`` is the number of the last attempt. ``cancelled``: somebody cancels it at a random moment. ``share`` is its part of the mix.
    """

    name: str
    spec: Mapping[str, Any]
    reason: str = "succeeded"
    exit_codes: tuple[int | None, ...] = (0,)
    lines: Mapping[str, int] = field(default_factory=lambda: dict(_DONE))
    stopped: bool = False
    attempts: int = 1
    cancelled: bool = False
    share: int = 1
    gpus: bool = False


def make_mix(rng: random.Random, gpu_image: str) -> list[Load]:
    """Every load, with sleeps of its own for this draw."""
    nap = {"sleep_s": round(rng.uniform(0.2, 5.0), 2)}
    train = {"kind": "training", "image": "probe", "train_data": "pets"}
    look = {"model": "first", "data": "pets:test"}
    stops = (143, 137)
    return [
        Load("training", {**train, "parameters": nap}, share=5),
        Load("mining", {"kind": "mining", **look, "parameters": nap}, share=2),
        Load("inference", {"kind": "inference", **look, "parameters": nap}, share=2),
        Load("exit 3", {**train, "parameters": {**nap, "exit_code": 3}}, "exit_code", (3,), share=2),
        Load("exit 7", {"kind": "inference", **look, "parameters": {**nap, "exit_code": 7}}, "exit_code", (7,)),
        Load("talks", {**train, "parameters": {"behaviour": "talk:100"}}, "result_missing", (0,), _talk(100), share=2),
        Load("killed by itself", {**train, "parameters": {**nap, "behaviour": "kill-self"}}, "killed", (137,), {FIRST_LINE: 1}),
        Load(
            "cancelled",
            {**train, "parameters": {"sleep_s": _FOR_EVER_S}},
            "cancelled",
            (None, *stops),
            stopped=True,
            cancelled=True,
            share=2,
        ),
        Load("too slow", {**train, "parameters": {"behaviour": "hang"}, "timeout_s": 2.0}, "timeout", stops, stopped=True),
        Load("ignores SIGTERM", {**train, "parameters": {"behaviour": "ignore-term"}, "timeout_s": 3.0}, "timeout", (137,), stopped=True),
        Load("silent", {**train, **_silent(0)}, "silent", stops, stopped=True),
        Load("tried again", {**train, **_silent(1)}, "silent", stops, stopped=True, attempts=2, share=2),
        Load("one GPU", {**train, "image": gpu_image, "parameters": nap, "gpu_count": 1}, share=2, gpus=True),
        Load("two GPUs", {**train, "image": gpu_image, "parameters": nap, "gpu_count": 2}, gpus=True),
    ]


def draw(rng: random.Random, gpu_image: str) -> Load:
    mix = make_mix(rng, gpu_image)
    return rng.choices(mix, [load.share for load in mix])[0]


def _silent(retries: int) -> dict[str, Any]:
    return {"parameters": {"sleep_s": _FOR_EVER_S}, "silence_timeout_s": 2.0, "retries": retries}


def _talk(count: int) -> dict[str, int]:
    return {FIRST_LINE: 1, **{f"line {number}\n": 1 for number in range(count)}}
