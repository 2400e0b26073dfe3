"""A classifier of digits, 64-128-10, trained for all seeds at once: batched products make twenty trainings cost little more than one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

HIDDEN = 128
STEPS = 120
LEARNING_RATE = 1e-2
WEIGHT_DECAY = 1e-3
DROPOUT = 0.2

Rows = npt.NDArray[np.float32]


class Classifiers:
    """One classifier per seed; all have seen as many pictures. Weights: (S, 64, 128), (S, 1, 128), (S, 128, 10), (S, 1, 10)."""

    def __init__(self, weights: list[Tensor]) -> None:
        self.weights = weights

    @torch.inference_mode()
    def answer(self, number: int, x: Rows) -> tuple[npt.NDArray[np.float64], Rows]:
        """Of classifier ``number``: probabilities (n, 10) and the hidden layer (n, 128) for pictures (n, 64)."""
        one = [part[number : number + 1] for part in self.weights]
        hidden = _hidden(one, torch.from_numpy(x)[None])
        return functional.softmax(_logits(one, hidden)[0].double(), 1).numpy(), hidden[0].numpy()

    @torch.inference_mode()
    def sampled(self, number: int, x: Rows, samples: int = 20) -> npt.NDArray[np.float64]:
        """(n, 10, samples) probabilities with the hidden layer thinned out at random, as in training (Monte Carlo dropout)."""
        one = [part[number : number + 1] for part in self.weights]
        hidden = _hidden(one, torch.from_numpy(x)[None])
        masks = _masks([number], samples)
        answers = [functional.softmax(_logits(one, hidden * masks[:, sample])[0].double(), 1) for sample in range(samples)]
        return torch.stack(answers, 2).numpy()


def train(pictures: Sequence[Rows], labels: Sequence[npt.NDArray[np.int64]], seeds: Sequence[int]) -> Classifiers:
    """Trains a classifier on each set of pictures (L, 64), from the weights of its seed: the same set and seed give the same classifier."""
    x, y = torch.from_numpy(np.stack(pictures)), torch.from_numpy(np.stack(labels))
    weights = [part.requires_grad_() for part in _fresh(seeds)]
    masks = _masks(seeds, STEPS)
    optimizer = torch.optim.AdamW(weights, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    for step in range(STEPS):
        logits = _logits(weights, _hidden(weights, x) * masks[:, step])
        loss = functional.cross_entropy(logits.flatten(0, 1), y.flatten()) * len(seeds)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
    return Classifiers([part.detach() for part in weights])


def _fresh(seeds: Sequence[int]) -> list[Tensor]:
    """He's start for each seed, from a stream of its own."""
    streams = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
    first = torch.stack([torch.randn(64, HIDDEN, generator=stream) * (2 / 64) ** 0.5 for stream in streams])
    second = torch.stack([torch.randn(HIDDEN, 10, generator=stream) * (1 / HIDDEN) ** 0.5 for stream in streams])
    return [first, torch.zeros(len(seeds), 1, HIDDEN), second, torch.zeros(len(seeds), 1, 10)]


def _hidden(weights: Sequence[Tensor], x: Tensor) -> Tensor:
    return torch.relu(torch.baddbmm(weights[1], x, weights[0]))


def _logits(weights: Sequence[Tensor], hidden: Tensor) -> Tensor:
    return torch.baddbmm(weights[3], hidden, weights[2])


def _masks(seeds: Sequence[int], count: int) -> Tensor:
    """(S, count, 1, 128): which hidden units stay, doubled up so that their sum stays; a stream of its own for each seed."""
    streams = [torch.Generator().manual_seed(int(seed) + 1) for seed in seeds]
    drawn = torch.stack([torch.rand(count, 1, HIDDEN, generator=stream) for stream in streams])
    return (drawn >= DROPOUT).float() / (1 - DROPOUT)
