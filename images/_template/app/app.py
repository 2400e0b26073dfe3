"""The smallest complete image. Its model is the mean box of each class; put your code where it says YOUR CODE."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import yaml


def main() -> int:
    """Runs what env.yaml asks for: training alone, or mining, inference or both, in this order."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a stop request; without this line process 1 would not hear it
    env = yaml.safe_load(Path(os.environ.get("DEFAULT_ENV_FILE_PATH", "/in/env.yaml")).read_text())
    try:
        config = yaml.safe_load(Path(env["input"]["config_file"]).read_text())
        if env["run_training"]:
            train(env, config)
        if env["run_mining"]:
            mine(env, config)
        if env["run_infer"]:
            infer(env, config)
        report(env, 1.0)
        return 0
    except Exception as error:
        traceback.print_exc()
        # Codes that say more than 160004 (the program failed): 300001 configuration, 300002 data, 300004 model, 300103 out of memory.
        report(env, 1.0, state=4, code=160004, message=repr(error), trace=traceback.format_exc())
        return 1


def train(env: dict[str, Any], config: dict[str, Any]) -> None:
    """Reads both indices, writes at least one stage and result.yaml."""
    sums: dict[str, list[float]] = {}
    rows = read_index(env["input"]["training_index_file"])
    for number, (_picture, annotation) in enumerate(rows):
        # YOUR CODE: config["epochs"], the picture, env["input"]["val_index_file"], config.get("pretrained_model_params"), ...
        for line in Path(annotation).read_text().splitlines():  # ark: class id, then the box's first and last pixels
            label, x1, y1, x2, y2 = (int(float(cell)) for cell in line.split(",")[:5])
            box = [1, x1, y1, x2 - x1 + 1, y2 - y1 + 1]
            sums[config["class_names"][label]] = [a + b for a, b in zip(sums.get(config["class_names"][label], [0] * 5), box, strict=True)]
        report(env, (number + 1) / len(rows))
    model = {name: [round(total / count) for total in totals] for name, (count, *totals) in sums.items()}
    write(Path(env["output"]["models_dir"], "last", "model.json"), json.dumps(model))
    # mAP is your metric on the validation pictures, in [0, 1]; files are relative to the stage's folder.
    stage = {"stage_name": "last", "files": ["model.json"], "timestamp": int(time.time()), "mAP": 0.0}
    result = {"best_stage_name": "last", "mAP": 0.0, "model_stages": {"last": stage}}
    write(Path(env["output"]["training_result_file"]), yaml.safe_dump(result))


def mine(env: dict[str, Any], config: dict[str, Any]) -> None:
    """Scores every candidate, the most worth labelling first."""
    pictures = [row[0] for row in read_index(env["input"]["candidate_index_file"])]
    # YOUR CODE: a score per picture. Here: a number that depends on the name and the seed.
    scores = {path: int(hashlib.sha256(f"{config['seed']}{path}".encode()).hexdigest()[:8], 16) / 2**32 for path in pictures}
    ordered = sorted(pictures, key=lambda path: -scores[path])
    write(Path(env["output"]["mining_result_file"]), "".join(f"{path}\t{scores[path]:.8f}\n" for path in ordered))
    report(env, 0.5 if env["run_infer"] else 1.0)


def infer(env: dict[str, Any], config: dict[str, Any]) -> None:
    """Finds boxes in every candidate; a picture without any keeps an empty list."""
    weights = next(path for path in config["model_params_path"] if path.endswith("model.json"))
    model = json.loads(Path(weights).read_text())
    # YOUR CODE: boxes of each picture. Here: the same in all of them.
    boxes = [
        {"box": {"x": x, "y": y, "w": w, "h": h}, "class_name": name, "score": 0.5}
        for name, (x, y, w, h) in model.items()
        if config["conf_thres"] <= 0.5
    ]
    found = {Path(row[0]).name: {"boxes": boxes} for row in read_index(env["input"]["candidate_index_file"])}
    write(Path(env["output"]["infer_result_file"]), json.dumps({"detection": found}))


def read_index(path: str) -> list[list[str]]:
    """Rows of an index file: picture and annotation for training, picture for the rest."""
    return [line.split("\t") for line in Path(path).read_text().splitlines() if line]


def report(env: dict[str, Any], fraction: float, state: int = 2, code: int = 0, message: str = "", trace: str = "") -> None:
    """Progress for monitor.txt: state 2 is running, 4 is failed. Call it at least every few seconds."""
    row = [env["task_id"], f"{time.time():.6f}", f"{fraction:.4f}", str(state), str(code), " ".join(message.split())]
    write(Path(env["output"]["monitor_file"]), "\t".join(row).rstrip() + "\n" + trace)


def write(path: Path, text: str) -> None:
    """Beside the place first, then renamed: nobody reads half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


if __name__ == "__main__":
    sys.exit(main())
