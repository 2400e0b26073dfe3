"""The parameters of the three templates in img-man, with the same defaults; the help texts are there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingParameters:
    """training-template.yaml."""

    epochs: int = 20
    max_minutes: float = 0.0
    image_size: int = 0
    batch_size: int = 8
    learning_rate: float = 0.003
    weight_decay: float = 0.02
    width: int = 32
    seed: int = 0
    save_period: int = 10
    eval_period: int = 5
    scale: float = 0.3
    shift: float = 0.1
    mosaic: float = 0.0
    colour: float = 0.3
    flip_horizontal: bool = False
    flip_vertical: bool = False
    conf_thres: float = 0.4
    nms_thres: float = 0.5


@dataclass(frozen=True)
class MiningParameters:
    """mining-template.yaml."""

    mining_algorithm: str = "default"
    budget: int = 0
    image_size: int = 0
    batch_size: int = 16
    nms_thres: float = 0.5
    max_boxes: int = 100
    seed: int = 0


@dataclass(frozen=True)
class InferParameters:
    """infer-template.yaml."""

    batch_size: int = 16
    image_size: int = 0
    conf_thres: float = 0.25
    nms_thres: float = 0.5
    max_boxes: int = 100
