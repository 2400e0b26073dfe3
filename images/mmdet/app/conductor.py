"""What happens between the steps of a training: learning rate, running average, progress, evaluation, stages, stopping, going on."""

from __future__ import annotations

import contextlib
import copy
import io
import math
import signal
import time
from dataclasses import replace
from typing import Any

import checkpoint
import torch
from device import agree
from job_files.contract import INSTANCE_SEGMENTATION, MODEL_ERROR, NOT_A_NUMBER_ERROR, ImageError, Monitor
from job_files.events import EventFile
from job_files.pictures import log
from job_files.stages import Stages
from library import seed_all
from metric import stage_metrics
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from parameters import TrainingParameters
from torch import nn

SLOWEST_AVERAGE = 0.998
LAST_PART = 0.85  # from here on mosaics are over, and YOLOX also looks at the plain distance of its boxes
STEPS_PER_POINT = 10


class StopTraining(Exception):  # noqa: N818 (no error: an end)
    """The end of the training before its last step; the message is for the log."""


class Conductor(Hook):
    """Owns the running average, the schedule and the stages of one training; ``outputs`` only in the process that speaks for the job."""

    def __init__(
        self,
        parameters: TrainingParameters,
        facts: checkpoint.ModelFacts,
        monitor: Monitor,
        device: torch.device,
        outputs: tuple[Stages, EventFile] | None,
    ) -> None:
        self.parameters, self.facts, self.monitor, self.device, self.outputs = parameters, facts, monitor, device, outputs
        self.average: nn.Module | None = None
        self.asked_to_stop, self.best, self.best_epoch, self.earlier_s = False, -1.0, 0, 0.0
        self._restored: dict[str, Any] = {}
        self._losses: list[float] = []
        self._ended = self._last_part = False

    def restore_from(self, state: dict[str, Any]) -> None:
        """Goes on where the run that wrote ``state`` was, as soon as training begins."""
        self._restored = state

    # ----------------------------------------------------------------------------------------------------- the hook's times

    def before_train(self, runner: Runner) -> None:
        signal.signal(signal.SIGTERM, self._ask_to_stop)
        network = bare(runner.model)
        self._started = time.monotonic()
        if self.parameters.ema:
            self.average = copy.deepcopy(network).eval().requires_grad_(False)
        for group in runner.optim_wrapper.param_groups:
            group.setdefault("initial_lr", group["lr"])
        if self._restored:
            self._restore(runner, network)
        weights = sum(tensor.numel() for tensor in network.parameters())
        counts = [len(loader.dataset) for loader in (runner.train_dataloader, runner.val_dataloader)]
        if self.outputs:
            log(
                f"training {self.facts.name} on {counts[0]} pictures, measuring on {counts[1]}, size {self.facts.image_size}, "
                f"{weights / 1e6:.1f} million weights, {self.device}, {torch.get_num_threads()} threads"
            )

    def before_train_epoch(self, runner: Runner) -> None:
        self._began, self._losses = time.monotonic(), []
        # A run that goes on with an epoch draws what the whole run would have drawn.
        seed_all(self.parameters.seed, runner.epoch, runner.rank)
        if hasattr(bare(runner.model), "set_epoch"):  # some heads change their ways with the epochs
            bare(runner.model).set_epoch(runner.epoch)
        if self._fraction(runner) >= LAST_PART and not self._last_part:
            self._last_part = True
            self._begin_last_part(runner)

    def before_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        rate = rate_at(self._fraction(runner))
        for group in runner.optim_wrapper.param_groups:
            group["lr"] = group["initial_lr"] * rate

    def after_train_iter(self, runner: Runner, *_: Any, outputs: Any = None, **__: Any) -> None:
        loss = float(outputs["loss"].detach())
        if not math.isfinite(loss):
            raise ImageError(NOT_A_NUMBER_ERROR, f"the loss became {loss} in iteration {runner.iter}; lower learning_rate")
        self._losses.append(loss)
        self._follow(bare(runner.model), runner.iter)
        done = self._fraction(runner, steps=1)
        stop, done = agree([float(self.asked_to_stop), done], self.device)
        self.asked_to_stop = bool(stop)
        if self.outputs:
            self.monitor.progress(0.98 * done)
            if runner.iter % STEPS_PER_POINT == 0:
                rate = runner.optim_wrapper.param_groups[0]["lr"]
                self.outputs[1].add(runner.iter, {"train/loss": loss, "train/learning_rate": rate})
        if self.asked_to_stop:
            self._save(runner, "last", {}, runner.epoch)
            raise StopTraining(f"asked to stop in epoch {runner.epoch + 1}: stage last is saved, not evaluated")
        if done >= 1 and runner.iter + 1 < runner.max_iters:
            self._finish_epoch(runner, ended=True)
            raise StopTraining("max_minutes are over")

    def after_train_epoch(self, runner: Runner) -> None:
        ended = runner.epoch + 1 >= runner.max_epochs
        self._finish_epoch(runner, ended=ended)
        patience = self.parameters.early_stop_patience
        if patience and not ended and runner.epoch + 1 - self.best_epoch >= patience > 0:
            raise StopTraining(f"stopped early: no better mAP for {patience} epochs since epoch {self.best_epoch}")

    # ------------------------------------------------------------------------------------------------------------- schedule

    def _fraction(self, runner: Runner, steps: int = 0) -> float:
        """How much of the training is done, by iterations or by the clock, whichever is further."""
        by_count = (runner.iter + steps) / runner.max_iters
        limit_s = self.parameters.max_minutes * 60
        by_clock = (self.earlier_s + time.monotonic() - self._started) / limit_s if limit_s > 0 else 0.0
        return min(max(by_count, by_clock), 1.0)

    def _begin_last_part(self, runner: Runner) -> None:
        dataset = runner.train_dataloader.dataset
        if hasattr(dataset, "update_skip_type_keys"):
            dataset.update_skip_type_keys(["Mosaic"])
        head = getattr(bare(runner.model), "bbox_head", None)
        if hasattr(head, "use_l1"):
            head.use_l1 = True

    @torch.no_grad()
    def _follow(self, network: nn.Module, iteration: int) -> None:
        """Moves the running average towards the weights: over a twentieth of the steps so far, so that a short run forgets its beginning."""
        if self.average is None:
            return
        keep = min(SLOWEST_AVERAGE, (1 + iteration) / (20 + iteration))
        for slow, fast in zip(self.average.state_dict().values(), network.state_dict().values(), strict=True):
            if slow.is_floating_point():
                slow.lerp_(fast, 1 - keep)
            else:
                slow.copy_(fast)

    # --------------------------------------------------------------------------------------------------------------- stages

    def _finish_epoch(self, runner: Runner, *, ended: bool) -> None:
        """Evaluates and saves when it is time."""
        p, epoch = self.parameters, runner.epoch + 1
        periodic = p.save_period > 0 and epoch % p.save_period == 0
        note = ""
        if ended or periodic or (p.eval_period > 0 and epoch % p.eval_period == 0):
            numbers = self._evaluate(runner)
            if periodic:
                self._save(runner, f"epoch_{epoch}", numbers, epoch)
            if numbers["mAP"] > self.best:
                self.best, self.best_epoch = numbers["mAP"], epoch
                self._save(runner, "best", numbers, epoch)
            self._save(runner, "last", numbers, epoch)
            note = f", mAP {numbers['mAP']:.3f}, mAP50_95 {numbers.get('mAP50_95', 0.0):.3f}"
        loss = sum(self._losses) / max(len(self._losses), 1)
        if self.outputs:
            self.outputs[1].add(runner.iter, {"train/epoch_loss": loss})
            log(f"epoch {epoch}: loss {loss:.3f}, {time.monotonic() - self._began:.1f} s{note}, {usage()}")

    def _evaluate(self, runner: Runner) -> dict[str, float]:
        """The numbers of the averaged weights on the pictures to measure on; the weights are as before afterwards."""
        network = bare(runner.model)
        raw = copy.deepcopy(network.state_dict())
        if self.average is not None:
            network.load_state_dict(self.average.state_dict())
        with contextlib.redirect_stdout(io.StringIO()):  # the tables of pycocotools
            measured = runner.val_loop.run()
        network.load_state_dict(raw)
        network.train()
        numbers = stage_metrics(measured, runner.val_evaluator.metrics[0].counts, outlines=self.facts.object_type == INSTANCE_SEGMENTATION)
        if self.outputs:
            self.outputs[1].add(runner.iter, {f"val/{name}": float(value) for name, value in numbers.items()})
        return numbers

    def _save(self, runner: Runner, stage: str, numbers: dict[str, float], epoch: int) -> None:
        """A stage with the averaged weights; ``last`` also holds what a later run needs to go on after ``epoch`` whole epochs."""
        if not self.outputs:
            return
        network = bare(runner.model)
        state = self._state(runner, network, epoch) if stage == "last" else None
        folder = self.outputs[0].folder(stage)
        files = checkpoint.save(
            folder, (network if self.average is None else self.average).state_dict(), replace(self.facts, epoch=epoch), state
        )
        self.outputs[0].add(stage, files, numbers)

    def _state(self, runner: Runner, network: nn.Module, epoch: int) -> dict[str, Any]:
        """Tensors, numbers and texts only, so that it can be read without running anything."""
        return {
            "epoch": epoch,
            "weights": dict(network.state_dict()),
            "optimizer": runner.optim_wrapper.state_dict(),
            "seconds": self.earlier_s + time.monotonic() - self._started,
        }

    def _restore(self, runner: Runner, network: nn.Module) -> None:
        """The averaged weights are in the network already, by name and class; the others, the optimiser and the counters follow here."""
        state = self._restored
        try:
            network.load_state_dict(state["weights"])
            runner.optim_wrapper.load_state_dict(state["optimizer"])
            epoch, self.earlier_s = int(state["epoch"]), float(state["seconds"])
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise ImageError(MODEL_ERROR, f"{checkpoint.STATE} does not fit this training (same classes and model?): {error}") from error
        runner.train_loop._epoch = epoch
        runner.train_loop._iter = epoch * len(runner.train_dataloader)
        if self.outputs:
            log(f"goes on after epoch {epoch} of {runner.max_epochs}")

    def _ask_to_stop(self, *_: object) -> None:
        self.asked_to_stop = True


def bare(model: nn.Module) -> nn.Module:
    """The network without what wraps it for several processes."""
    return model.module if is_model_wrapper(model) else model


def rate_at(fraction: float) -> float:
    """The share of the learning rate at a fraction of the training: a short rise, then half a cosine down to 5 %."""
    warm = 0.05
    if fraction < warm:
        return 0.02 + 0.98 * fraction / warm
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (fraction - warm) / (1 - warm)))


def usage() -> str:
    """Processor seconds and memory of this process so far."""
    import resource

    spent = resource.getrusage(resource.RUSAGE_SELF)
    return f"{spent.ru_utime + spent.ru_stime:.0f} CPU s, {spent.ru_maxrss / 1e6:.2f} GB"
