"""Starts the job that env.yaml describes: mining for detection or classification."""

from __future__ import annotations

import sys
from pathlib import Path

from job_files.contract import CONFIG_ERROR, ImageError, read_env, read_mapping
from job_files.start import Job, Jobs, main

CLASSIFICATION, DETECTION = 1, 2


def load_mine() -> Job:
    from mine import mine

    return mine


def load_nothing() -> Job:
    raise ImageError(CONFIG_ERROR, "this image only mines: it neither trains nor predicts")


def object_type() -> int:
    """What the job is about, where this image does that; else detection, which the start then refuses with the job's number."""
    try:
        wanted = int(read_mapping(Path(read_env().input("config_file"))).get("object_type") or DETECTION)
    except (ImageError, TypeError, ValueError):  # told by the start
        return DETECTION
    return wanted if wanted in (CLASSIFICATION, DETECTION) else DETECTION


if __name__ == "__main__":
    sys.exit(main(Jobs(object_type(), load_nothing, load_mine, load_nothing)))
