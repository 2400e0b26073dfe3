"""Training: from labelled pictures to stages."""

from __future__ import annotations

import copy
import math
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import checkpoint
import numpy as np
import torch
from augment import augment
from data import PictureStore, Sample, choose_image_size, read_samples, soft_targets
from infer import logits_of
from job_files.contract import (
    CONFIG_ERROR,
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
from job_files.events import EventFile
from job_files.pictures import chunks, log
from job_files.schedule import follow, rate_at
from job_files.stages import Stages
from metrics import Metrics, evaluate, fit_temperature
from model import Classifier
from parameters import TrainingParameters
from torch import Tensor
from torch.nn import functional

EVALUATION_BATCH = 64


def train(env: Env, config: dict[str, Any], monitor: Monitor) -> bool:
    """Trains on the job's data and writes stages and result.yaml; whether it came to its end (False: it was asked to stop)."""
    parameters = read_parameters(config, TrainingParameters)
    require_positive(parameters, "epochs", "batch_size", "learning_rate", "width")
    device = choose_device(config)
    class_names = read_class_names(config)
    if not class_names:
        raise ImageError(CONFIG_ERROR, "class_names is empty: a classifier needs at least one class")
    samples, val_samples = (read_samples(read_index(env.input(name)), class_names) for name in ("training_index_file", "val_index_file"))
    model, image_size = build_model(config, parameters, class_names, samples)
    count = sum(weights.numel() for weights in model.parameters())
    log(f"training on {len(samples)} pictures, validating on {len(val_samples)}, size {image_size}, {count} weights, {device}")
    stores = PictureStore(samples, image_size), PictureStore(val_samples, image_size)
    return Trainer(env, parameters, class_names, stores, model.to(device), monitor).run()


def build_model(
    config: dict[str, Any], parameters: TrainingParameters, class_names: list[str], samples: list[Sample]
) -> tuple[Classifier, int]:
    """A fresh classifier for the seed and its picture size, or one that continues from ``pretrained_model_params``, as large and as wide."""
    torch.manual_seed(parameters.seed)
    pretrained = list(config.get("pretrained_model_params") or [])
    if not pretrained:
        image_size = parameters.image_size or choose_image_size(samples)
        return Classifier(len(class_names), image_size, parameters.width), image_size
    facts = checkpoint.read_facts(pretrained)
    model = Classifier(len(class_names), facts.image_size, facts.width)
    log(checkpoint.continue_from(pretrained, model, class_names))
    return model, facts.image_size


class Trainer:
    """One training run: owns the weights, their running average, the schedule and the stages."""

    def __init__(
        self,
        env: Env,
        parameters: TrainingParameters,
        class_names: list[str],
        stores: tuple[PictureStore, PictureStore],
        model: Classifier,
        monitor: Monitor,
    ) -> None:
        self.parameters, self.class_names, self.monitor, self.model = parameters, class_names, monitor, model
        self.store, self.val_store = stores
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=parameters.learning_rate, weight_decay=parameters.weight_decay)
        self.device = next(model.parameters()).device
        self.targets = torch.from_numpy(soft_targets(self.store.samples, len(class_names)))
        self.class_weights = balance(self.targets, parameters.class_balance).to(self.device)
        self.stages = Stages(env.output("models_dir"), env.output("training_result_file"), {}, quality="top1")
        self.events = EventFile(env.output("tensorboard_dir"))
        self.batches_per_epoch = max(len(self.store) // parameters.batch_size, 1)
        self.iteration, self.started, self.best, self.stop = 0, time.monotonic(), (-1.0, 0.0), False

    def run(self) -> bool:
        """All epochs, then True. SIGTERM ends it after the iteration: the stage ``last`` is saved, then False."""
        signal.signal(signal.SIGTERM, self._ask_to_stop)
        epoch = 0
        while self.fraction() < 1:
            epoch += 1
            began, loss = time.monotonic(), self._run_epoch(epoch)
            if self.stop:
                self._save("last", epoch, {}, 1.0)
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
        for pictures, targets in self._batches(epoch):
            losses.append(self._step(pictures, targets))
            self.iteration += 1
            self.monitor.progress(0.98 * self.fraction())
            if self.stop or self.fraction() >= 1:
                break
        return float(np.mean(losses))

    def _step(self, pictures: Tensor, targets: Tensor) -> float:
        """One update of the weights; the loss before it."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.parameters.learning_rate * rate_at(self.fraction())
        self.model.train()
        with precision(self.device):
            logits = self.model(pictures.to(self.device))
        loss = functional.cross_entropy(
            logits.float(), targets.to(self.device), weight=self.class_weights, label_smoothing=self.parameters.label_smoothing
        )
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
        metrics, temperature = self.evaluate()
        numbers = asdict(metrics)
        self.events.add(epoch, {f"val/{name}": value for name, value in numbers.items()})
        if periodic:
            self._save(f"epoch_{epoch}", epoch, numbers, temperature)
        self._save("last", epoch, numbers, temperature)
        if (quality := (metrics.top1, -metrics.loss)) > self.best:
            self.best = quality
            self._save("best", epoch, numbers, temperature)
        return f", top1 {metrics.top1:.4f}, loss {metrics.loss:.3f} at temperature {temperature:.2f}"

    def evaluate(self) -> tuple[Metrics, float]:
        """The averaged weights against the validation pictures, calibrated on them."""
        parts = [logits_of(self.average, self.val_store.batch(rows))[0] for rows in chunks(len(self.val_store), EVALUATION_BATCH)]
        logits, labels = np.concatenate(parts), [sample.labels for sample in self.val_store.samples]
        temperature = fit_temperature(logits, np.array([label[0] for label in labels]))
        return evaluate(logits, labels, temperature), temperature

    def _save(self, stage: str, epoch: int, metrics: dict[str, float], temperature: float) -> None:
        facts = checkpoint.ModelFacts(self.class_names, self.store.side, self.model.width, epoch, temperature)
        self.stages.add(stage, checkpoint.save(self.stages.folder(stage), self.average, facts), metrics)

    def _batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
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

    def _make_batch(self, epoch: int, group: Any) -> tuple[Tensor, Tensor]:
        rows = group.tolist()
        pictures = as_input(self.store.batch(rows), torch.device("cpu"))
        return augment(pictures, self.parameters, np.random.default_rng([self.parameters.seed, epoch, *rows])), self.targets[rows]

    def _ask_to_stop(self, *_: object) -> None:
        self.stop = True


def balance(targets: Tensor, strength: float) -> Tensor:
    """(C,) what an error on a class costs, 1 on average over the pictures: (n / C n_c) to the power ``strength``."""
    counts = targets.sum(0).clamp(min=1.0)
    weights = (counts.sum() / (len(counts) * counts)) ** strength
    return weights * counts.sum() / (weights * counts).sum()
