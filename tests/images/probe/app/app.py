"""A contract-obeying image without any dependency: trains nothing, ranks by file name, finds one box in every picture.

The parameter ``behaviour`` makes it do something else (see ``misbehaviour``). Python >= 3.9, standard library only.
"""

import hashlib
import json
import os
import sys
import time
from pathlib import Path

from job import ContractError, Job
from misbehaviour import BEHAVIOURS


def main():
    job = Job.read(os.environ.get("DEFAULT_ENV_FILE_PATH", "/in/env.yaml"))
    behaviour, _, argument = str(job.config.get("behaviour") or "ok").partition(":")
    print(f"probe: {job.task_id} {' '.join(job.kinds)} behaviour={behaviour}", flush=True)
    try:
        time.sleep(float(job.config.get("sleep_s") or 0))
        if behaviour == "ok":
            work(job)
        else:
            BEHAVIOURS[behaviour](job, argument)
    except ContractError as error:
        job.progress(1.0, state=4, code=error.code, message=str(error))
        print(f"probe: {error}", file=sys.stderr, flush=True)
        return 1
    return int(job.config.get("exit_code") or 0)


def work(job):
    """Everything that env.yaml asks for, in YMIR's order: mining before inference."""
    job.progress(0.0)
    for number, kind in enumerate(job.kinds, 1):
        WORK[kind](job)
        job.progress(number / len(job.kinds), state=3 if number == len(job.kinds) else 2)
    print("probe: done", flush=True)


def train(job):
    rows = job.rows("training_index_file") + job.rows("val_index_file")
    if not job.rows("training_index_file"):
        raise ContractError(300002, "the training index is empty")
    print(f"probe: training on {len(rows)} pictures, classes {job.class_names}", flush=True)
    best = float(job.config.get("expected_map") or 0.75)
    stages = [("epoch_1", round(best / 2, 6)), ("epoch_2", best)]
    for number, (stage, score) in enumerate(stages, 1):
        write_stage(job, stage, score)
        job.progress(number / 3)
    write_result(job, stages)


def write_stage(job, stage, score):
    folder = job.output("models_dir") / stage
    folder.mkdir(parents=True, exist_ok=True)
    weights = {"stage": stage, "mAP": score, "class_names": job.class_names}
    (folder / "weights.json").write_text(json.dumps(weights), encoding="utf-8")
    (folder / "settings.txt").write_text(f"classes {len(job.class_names)}\n", encoding="utf-8")


def write_result(job, stages):
    lines = [f"best_stage_name: {stages[-1][0]}", f"mAP: {stages[-1][1]}", "model_stages:"]
    for stage, score in stages:
        lines += [f"  {stage}:", f"    stage_name: {stage}", "    files: [weights.json, settings.txt]"]
        lines += [f"    timestamp: {int(time.time())}", f"    mAP: {score}"]
    job.output("training_result_file").write_text("\n".join(lines) + "\n", encoding="utf-8")


def mine(job):
    check_model(job)
    ranking = sorted(((score_of(path), path) for path in job.candidates()), reverse=True)
    rows = [f"{path}\t{score:.6f}\n" for score, path in ranking]
    job.output("mining_result_file").write_text("".join(rows), encoding="utf-8")


def infer(job):
    check_model(job)
    score = float(job.config.get("confidence") or 0.9)
    detection = {Path(path).name: {"boxes": [box_of(path, job.class_names, score)]} for path in job.candidates()}
    job.output("infer_result_file").write_text(json.dumps({"detection": detection}), encoding="utf-8")


def check_model(job):
    """The runner must have put every file of the model, and every picture, where it says."""
    paths = job.config.get("model_params_path") or []
    missing = [path for path in paths if not Path(path).is_file()]
    if missing or not paths:
        raise ContractError(300004, f"model files are not there: {', '.join(missing) or 'none was named'}")
    lost = [path for path in job.candidates() if not Path(path).is_file()]
    if lost:
        raise ContractError(300004, f"pictures are not there: {', '.join(lost[:5])}")


def score_of(path):
    """In [0, 1), the same for the same picture name everywhere."""
    return int(hashlib.sha1(Path(path).name.encode()).hexdigest()[:6], 16) / 16**6


def box_of(path, class_names, score):
    index = int(score_of(path) * 1000) % max(1, len(class_names))
    name = class_names[index] if class_names else "object"
    return {"box": {"x": 1, "y": 2, "w": 6, "h": 5, "rotate_angle": 0.0}, "class_name": name, "score": score}


WORK = {"training": train, "mining": mine, "infer": infer}

if __name__ == "__main__":
    sys.exit(main())
