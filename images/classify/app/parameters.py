"""The parameters of the three templates in img-man, with the same defaults; the help texts are there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingParameters:
    """training-template.yaml."""

    epochs: int = 30
    max_minutes: float = 0.0
    image_size: int = 0
    batch_size: int = 32
    learning_rate: float = 0.003
    weight_decay: float = 0.05
    width: int = 32
    label_smoothing: float = 0.05
    class_balance: float = 0.0
    seed: int = 0
    save_period: int = 10
    eval_period: int = 5
    scale: float = 0.15
    shift: float = 0.1
    rotate: float = 10.0
    colour: float = 0.3
    flip_horizontal: bool = False
    flip_vertical: bool = False


@dataclass(frozen=True)
class MiningParameters:
    """mining-template.yaml."""

    mining_algorithm: str = "default"
    budget: int = 0
    image_size: int = 0
    batch_size: int = 64
    seed: int = 0


@dataclass(frozen=True)
class InferParameters:
    """infer-template.yaml."""

    top: int = 5
    image_size: int = 0
    batch_size: int = 64
