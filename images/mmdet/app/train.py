"""Training: from labelled pictures to stages."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import checkpoint
import mmcv
import mmdet
import mmengine
import torch
from coco import Document, choose_image_size, read_split
from conductor import Conductor, StopTraining
from device import choose_device, half_precision, is_first, join_others
from job_files.contract import (
    CONFIG_ERROR,
    INSTANCE_SEGMENTATION,
    Env,
    ImageError,
    Monitor,
    read_class_names,
    read_index,
    read_parameters,
    require_positive,
)
from job_files.events import EventFile
from job_files.pictures import log
from job_files.stages import Stages
from library import build_network, parse_value, quiet, read_model_section, seed_all
from mmengine.config import Config
from mmengine.runner import Runner
from models import adapt, find_recipe, fit_queries, overlay, parse_options
from parameters import TrainingParameters
from training_config import training_config

VERSIONS = {"mmdet": mmdet.__version__, "mmcv": mmcv.__version__, "mmengine": mmengine.__version__, "torch": torch.__version__}


def train(env: Env, config: dict[str, Any], monitor: Monitor) -> bool:
    """Trains on the job's data and writes stages and result.yaml; whether it came to its end (False: it was asked to stop)."""
    parameters = read_parameters(config, TrainingParameters)
    require_positive(parameters, "epochs", "batch_size", "weight_decay")
    device = choose_device(config)
    distributed = join_others(device)
    quiet()
    with tempfile.TemporaryDirectory(prefix="mmdet-") as work_dir:
        documents = read_documents(env, config)
        facts, options = describe(config, parameters, documents[0])
        settings = training_config(
            parameters,
            facts.model,
            facts.class_names,
            write_documents(documents, Path(work_dir)),
            object_type=facts.object_type,
            image_size=facts.image_size,
            learning_rate=parameters.learning_rate or find_recipe(facts.name).learning_rate,
            half=half_precision(device, parameters.amp),
            distributed=distributed,
            on_gpu=device.type == "cuda",
            work_dir=work_dir,
            collect_dir=shared_folder(),
        )
        overlay(settings, options)
        seed_all(parameters.seed)
        runner = make_runner(settings, facts, parameters, config)
        conductor = Conductor(parameters, facts, monitor, device, open_stages(env, parameters) if is_first() else None)
        if parameters.resume:
            conductor.restore_from(checkpoint.read_state(pretrained_files(config)))
        runner.register_hook(conductor, priority="LOWEST")
        return conduct(runner, conductor)


def read_documents(env: Env, config: dict[str, Any]) -> tuple[Document, Document]:
    """What to learn from and what to measure on. Raises ImageError 300001 to 300003."""
    class_names = read_class_names(config)
    if not class_names:
        raise ImageError(CONFIG_ERROR, "class_names is empty: a detector needs at least one class")
    outlines = config["object_type"] == INSTANCE_SEGMENTATION
    learn, measure = (
        read_split(read_index(env.input(name)), class_names, outlines=outlines) for name in ("training_index_file", "val_index_file")
    )
    return learn, measure


def write_documents(documents: tuple[Document, Document], folder: Path) -> tuple[str, str]:
    """The files of the two documents; each process writes its own."""
    rank = os.environ.get("RANK", "0")
    learn, measure = (folder / f"{name}-{rank}.json" for name in ("train", "val"))
    for file, document in zip((learn, measure), documents, strict=True):
        file.write_text(json.dumps(document))
    return str(learn), str(measure)


def shared_folder() -> str:
    """Where the processes of one job put what they found, for the first to measure; the library removes it after each use."""
    return str(Path(tempfile.gettempdir()) / f"mmdet-collected-{os.environ.get('TORCHELASTIC_RUN_ID', os.getpid())}")


def describe(config: dict[str, Any], parameters: TrainingParameters, document: Document) -> tuple[checkpoint.ModelFacts, dict[str, Any]]:
    """The network of this job, and the options of ``cfg_options`` that are not about it.

    A job that continues from a stage keeps the stage's network, and its picture size unless another one is asked for.
    """
    class_names, object_type, earlier = read_class_names(config), config["object_type"], pretrained_files(config)
    options = parse_options(parameters.cfg_options, parse_value)
    name, section, image_size = parameters.model, None, parameters.image_size
    if earlier:
        before = checkpoint.read_facts(earlier)
        name, section, image_size = before.name, before.model, image_size or before.image_size
    if section is None:
        section = read_model_section(find_recipe(name).config)
    if (object_type == INSTANCE_SEGMENTATION) != has_masks(section):
        wrong = "has no outlines" if object_type == INSTANCE_SEGMENTATION else "needs outlines"
        raise ImageError(CONFIG_ERROR, f"model {name} {wrong}, the job is about object type {object_type}")
    image_size = image_size or choose_image_size(document)
    model = adapt(section, len(class_names), from_scratch=not parameters.pretrained)
    fit_queries(model, image_size)
    overlay(model, {key.removeprefix("model."): value for key, value in options.items() if key.startswith("model.")})
    facts = checkpoint.ModelFacts(class_names, object_type, name, image_size, 0, model, VERSIONS)
    return facts, {key: value for key, value in options.items() if not key.startswith("model.")}


def has_masks(section: dict[str, Any]) -> bool:
    """Whether a network learns from outlines: it has a mask head, or is of a family that makes masks in its box head."""
    text = json.dumps(section)
    return '"mask_head"' in text or '"RTMDetIns' in text or '"pad_mask": true' in text


def pretrained_files(config: dict[str, Any]) -> list[str]:
    """The files of the stage that the job was given to start from; [] for none."""
    return [str(path) for path in config.get("pretrained_model_params") or []]


def make_runner(settings: dict[str, Any], facts: checkpoint.ModelFacts, parameters: TrainingParameters, config: dict[str, Any]) -> Runner:
    """mmengine's runner with the network of this job, its weights fresh or taken over."""
    network = build_network(facts.model)
    network.init_weights()
    if parameters.pretrained:
        log(checkpoint.take_weights(network, Path(parameters.pretrained)))
    if earlier := pretrained_files(config):
        log(checkpoint.continue_from(network, facts.model, facts.class_names, earlier))
    elif parameters.resume:
        raise ImageError(CONFIG_ERROR, "resume: there is no stage to go on from; name the model and its stage 'last' for the job")
    network._is_init = True  # the runner would begin anew
    network.to(memory_format=torch.channels_last)
    read_from_there = Config(_kept(settings))
    return Runner(**{**settings, "model": network, "cfg": read_from_there})


def _kept(settings: dict[str, Any]) -> dict[str, Any]:
    """What the runner reads from its configuration, not from its arguments."""
    return {key: settings.pop(key) for key in ("model_wrapper_cfg", "sync_bn") if key in settings}


def open_stages(env: Env, parameters: TrainingParameters) -> tuple[Stages, EventFile]:
    """Where stages and curves go."""
    measured_at = {"iou_thr": 0.5, "conf_thr": parameters.conf_thres}
    stages = Stages(env.output("models_dir"), env.output("training_result_file"), measured_at)
    return stages, EventFile(env.output("tensorboard_dir"))


def conduct(runner: Runner, conductor: Conductor) -> bool:
    """Runs to the end, or to where the conductor stops it; False when it was asked to stop."""
    try:
        runner.train()
    except StopTraining as stop:
        log(str(stop))
    if not conductor.asked_to_stop and is_first():
        conductor.monitor.progress(1.0)
    return not conductor.asked_to_stop
