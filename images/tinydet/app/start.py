"""Starts the job that env.yaml describes. A kind's modules are loaded when it is asked for: training needs what mining does not."""

from __future__ import annotations

import sys

from job_files.contract import DETECTION
from job_files.start import Job, Jobs, main


def load_train() -> Job:
    from train import train

    return train


def load_mine() -> Job:
    from mine import mine

    return mine


def load_infer() -> Job:
    from infer import infer

    return infer


if __name__ == "__main__":
    sys.exit(main(Jobs((DETECTION,), load_train, load_mine, load_infer)))
