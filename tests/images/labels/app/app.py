"""A classification image without a network: a class is the mean brightness of its pictures."""

import json
import os
import time
from pathlib import Path

import yaml
from PIL import Image, ImageStat


def main():
    env = yaml.safe_load(Path(os.environ["DEFAULT_ENV_FILE_PATH"]).read_text())
    config = yaml.safe_load(Path(env["input"]["config_file"]).read_text())
    if env["run_training"]:
        train(env, config)
    if env["run_mining"]:
        mine(env, config)
    if env["run_infer"]:
        infer(env, config)


def train(env, config):
    found = {name: [] for name in config["class_names"]}
    for picture, annotation in rows(env["input"]["training_index_file"]):
        for line in Path(annotation).read_text().split():
            found[config["class_names"][int(line)]].append(brightness(picture))
    means = {name: sum(values) / len(values) for name, values in found.items() if values}
    labelled = [(path, Path(text).read_text().split()) for path, text in rows(env["input"]["val_index_file"])]
    right = [config["class_names"][int(label[0])] == answer(means, path)[0][0] for path, label in labelled if label]
    folder = Path(env["output"]["models_dir"]) / "last"
    folder.mkdir(parents=True)
    (folder / "means.json").write_text(json.dumps(means))
    stage = {"stage_name": "last", "files": ["means.json"], "timestamp": int(time.time()), "top1": sum(right) / len(right)}
    Path(env["output"]["training_result_file"]).write_text(yaml.safe_dump({"best_stage_name": "last", "model_stages": {"last": stage}}))


def infer(env, config):
    answers = {Path(path).name: answer(read_means(config), path) for (path,) in rows(env["input"]["candidate_index_file"])}
    if config["form"] == "modelarts":
        folder = Path(env["output"]["root_dir"]) / "inference_results"
        folder.mkdir()
        for name, pairs in answers.items():
            scores = [[label, f"{score:.3f}"] for label, score in pairs]
            (folder / f"{name}_result.txt").write_text(json.dumps({"predicted_label": pairs[0][0], "scores": scores}))
        return
    labels = {name: {"labels": [{"class_name": label, "score": score} for label, score in pairs]} for name, pairs in answers.items()}
    Path(env["output"]["infer_result_file"]).write_text(json.dumps({"classification": labels}))


def mine(env, config):
    """The least sure first."""
    paths = [path for (path,) in rows(env["input"]["candidate_index_file"])]
    doubts = {path: 1 - answer(read_means(config), path)[0][1] for path in paths}
    ranked = sorted(paths, key=lambda path: -doubts[path])
    Path(env["output"]["mining_result_file"]).write_text("".join(f"{path}\t{doubts[path]:.6f}\n" for path in ranked))


def answer(means, path):
    """Labels with scores that sum to 1, the surest first."""
    closeness = {name: 1 / (1 + abs(mean - brightness(path))) for name, mean in means.items()}
    total = sum(closeness.values())
    return sorted(((name, value / total) for name, value in closeness.items()), key=lambda pair: -pair[1])


def brightness(path):
    with Image.open(path) as picture:
        return ImageStat.Stat(picture.convert("L")).mean[0]


def read_means(config):
    return json.loads(next(Path(path) for path in config["model_params_path"] if path.endswith("means.json")).read_text())


def rows(path):
    return [line.split("\t") for line in Path(path).read_text().splitlines() if line]


if __name__ == "__main__":
    main()
