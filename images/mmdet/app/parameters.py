"""The parameters of the templates in img-man, with the same defaults; the help texts are there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingParameters:
    """training-template.yaml."""

    model: str = "yolox_tiny"
    image_size: int = 0
    epochs: int = 20
    max_minutes: float = 0.0
    batch_size: int = 4
    learning_rate: float = 0.0
    weight_decay: float = 0.05
    amp: bool = True
    ema: bool = True
    early_stop_patience: int = 0
    eval_period: int = 1
    save_period: int = 10
    seed: int = 0
    pretrained: str = ""
    resume: bool = False
    scale: float = 0.2
    colour: bool = True
    mosaic: bool = False
    flip_horizontal: bool = False
    flip_vertical: bool = False
    conf_thres: float = 0.4
    workers: int = -1
    processes: int = 0
    cfg_options: str = ""


@dataclass(frozen=True)
class MiningParameters:
    """mining-template.yaml."""

    mining_algorithm: str = "default"
    budget: int = 0
    image_size: int = 0
    batch_size: int = 8
    conf_thres: float = 0.05
    nms_thres: float = 0.0
    max_boxes: int = 100
    seed: int = 0


@dataclass(frozen=True)
class InferParameters:
    """infer-template.yaml."""

    image_size: int = 0
    batch_size: int = 8
    conf_thres: float = 0.25
    nms_thres: float = 0.0
    max_boxes: int = 100
