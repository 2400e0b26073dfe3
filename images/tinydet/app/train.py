"""Training: from labelled pictures to stages."""

from __future__ import annotations

import copy
import math
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import checkpoint
import numpy as np
import torch
from data import Augmentation, PictureStore, Sample, choose_image_size, read_samples
from infer import detect_batch
from job_files.augment import vary_colour
from job_files.contract import (
    CONFIG_ERROR,
    DATASET_ERROR,
    NOT_A_NUMBER_ERROR,
    Env,
    ImageError,
    Monitor,
    read_class_names,
    read_index,
    read_parameters,
    require_positive,
)
from job_files.device import as_input, choose_device, precision
from job_files.evaluate import Boxes, Metrics, evaluate
from job_files.events import EventFile
from job_files.pictures import chunks, log
from job_files.schedule import follow, rate_at
from job_files.stages import Stages
from loss import detection_loss
from model import STRIDE, Detector
from parameters import InferParameters, TrainingParameters
from targets import build_targets
from torch import Tensor

Batch = tuple[Tensor, Tensor, Tensor, Tensor]


def train(env: Env, config: dict[str, Any], monitor: Monitor) -> bool:
    """Trains on the job's data and writes stages and result.yaml; whether it came to its end (False: it was asked to stop)."""
    parameters = read_parameters(config, TrainingParameters)
    require_positive(parameters, "epochs", "batch_size", "learning_rate", "width")
    device = choose_device(config)
    class_names = read_class_names(config)
    samples, val_samples = read_split(env, "training_index_file", class_names), read_split(env, "val_index_file", class_names)
    image_size = parameters.image_size or choose_image_size(samples)
    store = PictureStore(samples, image_size, len(class_names))
    val_store = PictureStore(val_samples, image_size, len(class_names))
    model = build_model(config, parameters, class_names).to(device)
    count = sum(weights.numel() for weights in model.parameters())
    log(f"training on {len(store)} pictures, validating on {len(val_store)}, size {image_size}, {count} weights, {device}")
    return Trainer(env, parameters, class_names, store, val_store, model, monitor).run()


def read_split(env: Env, index: str, class_names: list[str]) -> list[Sample]:
    """Samples of one index file of env.yaml. Raises ImageError 300002 when no picture has a box of the classes."""
    samples = read_samples(read_index(env.input(index)), class_names)
    if not any(len(sample.labels) for sample in samples):
        raise ImageError(DATASET_ERROR, f"{env.input(index)}: no picture has a box of the classes {class_names}")
    return samples


def build_model(config: dict[str, Any], parameters: TrainingParameters, class_names: list[str]) -> Detector:
    """A fresh detector for the seed, or one that continues from ``pretrained_model_params``."""
    if not class_names:
        raise ImageError(CONFIG_ERROR, "class_names is empty: a detector needs at least one class")
    torch.manual_seed(parameters.seed)
    pretrained = list(config.get("pretrained_model_params") or [])
    if not pretrained:
        return Detector(len(class_names), parameters.width)
    model = Detector(len(class_names), checkpoint.width_of(pretrained))
    log(checkpoint.continue_from(pretrained, model, class_names))
    return model


class Trainer:
    """One training run: owns the weights, their running average, the schedule and the stages."""

    def __init__(
        self,
        env: Env,
        parameters: TrainingParameters,
        class_names: list[str],
        store: PictureStore,
        val_store: PictureStore,
        model: Detector,
        monitor: Monitor,
    ) -> None:
        self.parameters, self.class_names, self.monitor = parameters, class_names, monitor
        self.store, self.val_store, self.model = store, val_store, model
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=parameters.learning_rate, weight_decay=parameters.weight_decay)
        self.device = next(model.parameters()).device
        self.stages = Stages(
            env.output("models_dir"), env.output("training_result_file"), {"iou_thr": 0.5, "conf_thr": parameters.conf_thres}
        )
        self.events = EventFile(env.output("tensorboard_dir"))
        self.batches_per_epoch = max(len(store) // parameters.batch_size, 1)
        self.iteration, self.started, self.best, self.stop = 0, time.monotonic(), -1.0, False

    def run(self) -> bool:
        """All epochs, then True. SIGTERM ends it after the iteration: the stage ``last`` is saved, then False."""
        signal.signal(signal.SIGTERM, self._ask_to_stop)
        epoch = 0
        while self.fraction() < 1:
            epoch += 1
            began, loss = time.monotonic(), self._run_epoch(epoch)
            if self.stop:
                self._save("last", epoch, {})
                log(f"asked to stop in epoch {epoch}: stage last is saved, not evaluated")
                return False
            self.events.add(epoch, {"train/loss": loss, "train/learning_rate": self.optimizer.param_groups[0]["lr"]})
            note = self._finish_epoch(epoch)
            log(f"epoch {epoch}: loss {loss:.3f}, {time.monotonic() - began:.1f} s{note}")
        self.monitor.progress(1.0)
        return True

    def fraction(self) -> float:
        """How much of the training is done, by iterations or by the clock, whichever is further."""
        by_count = self.iteration / (self.parameters.epochs * self.batches_per_epoch)
        limit_s = self.parameters.max_minutes * 60
        return min(max(by_count, (time.monotonic() - self.started) / limit_s if limit_s > 0 else 0.0), 1.0)

    def _run_epoch(self, epoch: int) -> float:
        """The mean loss of one pass over the pictures."""
        losses = []
        for batch in self._batches(epoch):
            losses.append(self._step(batch))
            self.iteration += 1
            self.monitor.progress(0.98 * self.fraction())
            if self.stop or self.fraction() >= 1:
                break
        return float(np.mean(losses))

    def _step(self, batch: Batch) -> float:
        """One update of the weights; the loss before it."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.parameters.learning_rate * rate_at(self.fraction())
        self.model.train()
        pictures, heat, box, weight = (part.to(self.device) for part in batch)
        with precision(self.device):
            logits, distances = self.model(pictures)
        loss = detection_loss(logits.float(), distances.float(), heat, box, weight)
        value = loss.item()
        if not math.isfinite(value):
            raise ImageError(NOT_A_NUMBER_ERROR, f"the loss became {value} in iteration {self.iteration}; lower learning_rate")
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
        self.optimizer.step()
        follow(self.average, self.model, self.iteration)
        return value

    def _finish_epoch(self, epoch: int) -> str:
        """Evaluates and saves when it is time; gives a note for the log."""
        p, ended = self.parameters, self.fraction() >= 1
        periodic = p.save_period > 0 and epoch % p.save_period == 0
        if not (ended or periodic or (p.eval_period > 0 and epoch % p.eval_period == 0)):
            return ""
        metrics = self.evaluate()
        numbers = {"mAP": metrics.mean_ap, "mAR": metrics.mean_ar, "tp": metrics.tp, "fp": metrics.fp, "fn": metrics.fn}
        self.events.add(epoch, {f"val/{name}": float(value) for name, value in numbers.items()})
        if periodic:
            self._save(f"epoch_{epoch}", epoch, numbers)
        self._save("last", epoch, numbers)
        if metrics.mean_ap > self.best:
            self.best = metrics.mean_ap
            self._save("best", epoch, numbers)
        return f", mAP {metrics.mean_ap:.4f}, tp {metrics.tp} fp {metrics.fp} fn {metrics.fn}"

    def evaluate(self) -> Metrics:
        """The averaged weights against the validation pictures, at IoU 0.5."""
        settings = InferParameters(conf_thres=0.01, nms_thres=self.parameters.nms_thres)
        found, truth = [], []
        for rows in chunks(len(self.val_store), self.parameters.batch_size):
            labelled = [self.val_store.get(row) for row in rows]
            found += detect_batch(self.average, [picture for picture, _, _ in labelled], settings)
            truth += [Boxes(boxes, labels, np.ones(len(labels))) for _, boxes, labels in labelled]
        return evaluate(found, truth, len(self.class_names), 0.5, self.parameters.conf_thres)

    def _save(self, stage: str, epoch: int, metrics: dict[str, float]) -> None:
        facts = checkpoint.ModelFacts(self.class_names, self.store.image_size, self.model.width, epoch)
        self.stages.add(stage, checkpoint.save(self.stages.folder(stage), self.average, facts), metrics)

    def _batches(self, epoch: int) -> Iterator[Batch]:
        """Augmented batches in an order of the seed's; the next one is made while one is used."""
        p = self.parameters
        order = np.random.default_rng([p.seed, epoch]).permutation(len(self.store))
        groups = [order[rows.start : rows.stop] for rows in chunks(len(order), p.batch_size)][: self.batches_per_epoch]
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(self._make_batch, epoch, groups[0])
            for following in [*groups[1:], None]:
                batch = waiting.result()
                if following is not None:
                    waiting = pool.submit(self._make_batch, epoch, following)
                yield batch

    def _make_batch(self, epoch: int, group: Any) -> Batch:
        p = self.parameters
        how = Augmentation(p.scale, p.shift, p.mosaic, p.flip_horizontal, p.flip_vertical)
        made = [self.store.augmented(int(index), (p.seed, epoch), how) for index in group]
        grid = (self.store.canvas[0] // STRIDE, self.store.canvas[1] // STRIDE)
        targets = [build_targets(boxes, labels, self.store.class_count, grid, STRIDE) for _, boxes, labels in made]
        pictures = as_input(np.stack([picture for picture, _, _ in made]), torch.device("cpu"))
        pictures = vary_colour(pictures, p.colour, np.random.default_rng([p.seed, epoch, *map(int, group)]))
        parts = (np.stack([getattr(t, name) for t in targets]) for name in ("heat", "box", "weight"))
        heat, box, weight = (torch.from_numpy(part) for part in parts)
        return pictures, heat, box, weight

    def _ask_to_stop(self, *_: object) -> None:
        self.stop = True
