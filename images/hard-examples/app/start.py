"""Starts the job that env.yaml describes: mining for detection or classification."""

from __future__ import annotations

import sys

from job_files.contract import CLASSIFICATION, CONFIG_ERROR, DETECTION, ImageError
from job_files.start import Job, Jobs, main


def load_mine() -> Job:
    from mine import mine

    return mine


def load_nothing() -> Job:
    raise ImageError(CONFIG_ERROR, "this image only mines: it neither trains nor predicts")


if __name__ == "__main__":
    sys.exit(main(Jobs((DETECTION, CLASSIFICATION), load_nothing, load_mine, load_nothing)))
