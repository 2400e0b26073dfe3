"""What mining costs tinydet beside the plain forward pass of its network, on one thread: reading pictures is in both, choosing only in ours.

Needs torch, as the image has it. The network is untrained, its classes made so likely that the usual picture has half a dozen boxes, as after a
training: what the weights are changes nothing else.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Sheet, compare, cost_of_call, rows_of
from runner.samples import DIGIT_NAMES, make_digits

GOAL = 1.2
IMAGE_SIZE = 160
USUAL_BOXES = 6
APP = Path(__file__).resolve().parents[2] / "images" / "tinydet" / "app"


def sheets(_arguments: Sequence[str], *, quick: bool = False) -> list[Sheet]:
    """``quick`` measures just enough to see that it works."""
    sys.path[:0] = [str(APP)]
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        make_digits(Path(folder), train=32 if quick else 320, val=0)
        paths = sorted(Path(folder, "JPEGImages").iterdir())
        looker = _looker(paths)
        pairs = 1 if quick else 5
        ours, floor = compare(
            lambda: cost_of_call(lambda: _mine(looker, paths)), lambda: cost_of_call(lambda: _forward(looker, paths)), pairs
        )
    rows = [
        [row.case, f"{row.ours:.3f}", f"{row.floor:.3f}", f"{row.ratio:.2f}", "" if row.goal is None else f"{row.goal:g}"]
        for row in rows_of(f"{len(paths)} pictures", ours, floor, goal=GOAL)
    ]
    title = "tinydet: mining with the default strategy beside the forward pass over the same pictures, seconds"
    return [Sheet(title, ["case", "mining", "forward pass", "ratio", "goal"], rows)]


def _looker(paths: list[Path]) -> Any:
    import torch
    from data import pad_together
    from infer import read_batch
    from job_files.device import as_input
    from mine import LEAST_SCORE, Looker
    from model import Detector, decode
    from parameters import MiningParameters

    torch.manual_seed(0)
    model = Detector(len(DIGIT_NAMES)).eval()
    batch = as_input(pad_together([picture for _, picture, _ in read_batch(paths[:32], IMAGE_SIZE)]), torch.device("cpu"))
    with torch.inference_mode():
        weakest = decode(*model(batch), 3 * USUAL_BOXES).scores[:, USUAL_BOXES - 1].median()  # overlapping boxes are not dropped yet
    shift = torch.logit(torch.tensor(LEAST_SCORE)) - torch.logit(weakest)
    torch.nn.init.constant_(model.class_head.bias, float(model.class_head.bias[0].detach() + shift))
    return Looker(model, MiningParameters(), IMAGE_SIZE)


def _mine(looker: Any, paths: list[Path]) -> None:
    from job_files.selecting import choose_strategy, rank
    from mine import DETECTION, GIVES, as_pool

    strategy = choose_strategy("default", DETECTION, GIVES)
    seen = looker.look(paths, (), lambda _: None)
    rank(as_pool(seen, list(DIGIT_NAMES), looker, strategy), strategy.name, budget=0, seed=0)


def _forward(looker: Any, paths: list[Path]) -> None:
    import torch
    from data import pad_together
    from infer import read_batch
    from job_files.device import as_input
    from job_files.pictures import chunks

    for rows in chunks(len(paths), looker.batch_size):
        pictures = [picture for _, picture, _ in read_batch([paths[row] for row in rows], looker.image_size)]
        with torch.inference_mode():
            looker.model(as_input(pad_together(pictures), torch.device("cpu")))
