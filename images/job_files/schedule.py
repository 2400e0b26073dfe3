"""How a training goes along: the learning rate and the running average of the weights. Fractions of a training are in [0, 1]."""

from __future__ import annotations

import math

import torch

SLOWEST_KEEP = 0.998


def rate_at(fraction: float) -> float:
    """The share of the learning rate at a fraction of the training: a short rise, then half a cosine down to 1 %."""
    warm = 0.05
    if fraction < warm:
        return 0.05 + 0.95 * fraction / warm
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (fraction - warm) / (1 - warm)))


@torch.no_grad()
def follow(average: torch.nn.Module, model: torch.nn.Module, iteration: int) -> None:
    """Moves the running average towards the weights: fast at first, by 0.2 % later. Counters are copied."""
    keep = min(SLOWEST_KEEP, (1 + iteration) / (10 + iteration))
    for slow, fast in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if slow.is_floating_point():
            slow.lerp_(fast, 1 - keep)
        else:
            slow.copy_(fast)
