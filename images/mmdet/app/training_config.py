"""mmengine's configuration of a training run: data, augmentation, optimiser, evaluation. Plain dicts, without torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from job_files.contract import CONFIG_ERROR, INSTANCE_SEGMENTATION, ImageError
from parameters import TrainingParameters

GREY = 114
NEVER = 10**9  # epochs: evaluating is done by this image's own hook


def training_config(
    parameters: TrainingParameters,
    model: dict[str, Any],
    class_names: Sequence[str],
    files: tuple[str, str],
    *,
    object_type: int,
    image_size: int,
    learning_rate: float,
    half: str,
    distributed: bool,
    on_gpu: bool,
    work_dir: str,
    collect_dir: str,
) -> dict[str, Any]:
    """The arguments of mmengine's Runner. ``files`` are the COCO documents to learn from and to measure on."""
    outlines = object_type == INSTANCE_SEGMENTATION
    meta = {"classes": tuple(class_names)}
    loading = _loader(parameters, on_gpu)
    train_data = _train_dataset(parameters, files[0], meta, image_size, outlines)
    config: dict[str, Any] = {
        "model": model,
        "work_dir": work_dir,
        "train_dataloader": {
            **loading,
            "batch_size": parameters.batch_size,
            "drop_last": True,
            "sampler": {"type": "DefaultSampler", "shuffle": True},
            "dataset": train_data,
        },
        "val_dataloader": {
            **loading,
            "batch_size": parameters.batch_size,
            "sampler": {"type": "DefaultSampler", "shuffle": False},
            "dataset": _dataset(files[1], meta, test_pipeline(image_size), test_mode=True),
        },
        "val_evaluator": {
            "type": "StageMetric",
            "ann_file": files[1],
            "metric": ["bbox", "segm"] if outlines else ["bbox"],
            "conf_thres": parameters.conf_thres,
            "collect_dir": collect_dir,
        },
        "train_cfg": {"type": "EpochBasedTrainLoop", "max_epochs": parameters.epochs, "val_begin": NEVER, "val_interval": NEVER},
        "val_cfg": {"type": "ValLoop"},
        "optim_wrapper": _optimizer(parameters, learning_rate, half),
        "default_hooks": dict.fromkeys(("timer", "logger", "param_scheduler", "checkpoint")),
        "custom_hooks": [],
        "randomness": {"seed": parameters.seed},
        "env_cfg": {"cudnn_benchmark": False, "mp_cfg": {"mp_start_method": "fork", "opencv_num_threads": 0}},
        "default_scope": "mmdet",
        "log_level": "ERROR",
        "launcher": "pytorch" if distributed else "none",
    }
    if distributed:
        config["model_wrapper_cfg"] = {"type": "MMDistributedDataParallel", "find_unused_parameters": True, "broadcast_buffers": False}
        if on_gpu:
            config["sync_bn"] = "torch"
        else:
            config["model_wrapper_cfg"]["device_ids"] = None
    return config


def test_pipeline(image_size: int) -> list[dict[str, Any]]:
    """From a path to what the network sees: the longest side at ``image_size``, sides padded to multiples of 32."""
    return [
        {"type": "LoadPicture"},
        {"type": "Resize", "scale": (image_size, image_size), "keep_ratio": True},
        _PAD,
        {"type": "PackDetInputs", "meta_keys": ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")},
    ]


_PAD = {"type": "PadPicture", "size_divisor": 32, "pad_val": {"img": (GREY, GREY, GREY)}}


def train_pipeline(parameters: TrainingParameters, image_size: int, outlines: bool) -> list[dict[str, Any]]:
    """The same with the augmentation that the parameters ask for."""
    p, side = parameters, (image_size, image_size)
    steps: list[dict[str, Any]] = [] if p.mosaic else _load(outlines)
    if p.scale > 0:
        steps.append({"type": "RandomResize", "scale": side, "ratio_range": (1 - p.scale, 1 + p.scale), "keep_ratio": True})
        steps.append({"type": "RandomCrop", "crop_size": side, "allow_negative_crop": True, "recompute_bbox": outlines})
    else:
        steps.append({"type": "Resize", "scale": side, "keep_ratio": True})
    if p.colour:
        steps.append({"type": "YOLOXHSVRandomAug"})
    if directions := [name for name, wanted in (("horizontal", p.flip_horizontal), ("vertical", p.flip_vertical)) if wanted]:
        steps += [{"type": "RandomFlip", "prob": 0.5, "direction": direction} for direction in directions]
    return [*steps, _PAD, {"type": "PackDetInputs"}]


def _load(outlines: bool) -> list[dict[str, Any]]:
    return [{"type": "LoadPicture"}, {"type": "LoadAnnotations", "with_bbox": True, "with_mask": outlines}]


def _train_dataset(parameters: TrainingParameters, file: str, meta: dict[str, Any], image_size: int, outlines: bool) -> dict[str, Any]:
    pipeline = train_pipeline(parameters, image_size, outlines)
    if not parameters.mosaic:
        return _dataset(file, meta, pipeline)
    if outlines:
        raise ImageError(CONFIG_ERROR, "mosaic: the library's mosaics have no outlines; switch it off for instance segmentation")
    mosaic = {"type": "Mosaic", "img_scale": (image_size, image_size), "pad_val": float(GREY)}
    return {"type": "MultiImageMixDataset", "dataset": _dataset(file, meta, _load(False)), "pipeline": [mosaic, *pipeline]}


def _dataset(file: str, meta: dict[str, Any], pipeline: list[dict[str, Any]], *, test_mode: bool = False) -> dict[str, Any]:
    return {
        "type": "CocoDataset",
        "data_root": "",
        "data_prefix": {"img": ""},
        "ann_file": file,
        "metainfo": meta,
        "pipeline": pipeline,
        "test_mode": test_mode,
    }


def _loader(parameters: TrainingParameters, on_gpu: bool) -> dict[str, Any]:
    """Processes that prepare pictures: by default none on a CPU, where they only get in each other's way."""
    automatic = min(4, len(os.sched_getaffinity(0)) - 1) if on_gpu else 0
    count = automatic if parameters.workers < 0 else parameters.workers
    return {"num_workers": count, **({"worker_init_fn": {"type": "seed_worker"}} if count else {})}


def _optimizer(parameters: TrainingParameters, learning_rate: float, half: str) -> dict[str, Any]:
    wrapper: dict[str, Any] = {
        "type": "AmpOptimWrapper" if half else "OptimWrapper",
        "optimizer": {"type": "AdamW", "lr": learning_rate, "weight_decay": parameters.weight_decay},
        # Heads share their convolutions between levels: each weight is in the list once.
        "paramwise_cfg": {"norm_decay_mult": 0, "bias_decay_mult": 0, "bypass_duplicate": True},
        "clip_grad": {"max_norm": 35, "norm_type": 2},
    }
    return {**wrapper, "dtype": half} if half else wrapper
