"""The command line: parses, makes one call to the Runner, prints.

Only click is imported here; every command names its module, which is imported when the command is used. So `sluice --help` costs hardly
more than an empty click program.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from runner.cli.commands import LazyGroup, Listing

LISTING: Listing = {
    "Run an image over data": {
        "train": ("runner.cli.submit:train", "Train a model: run a training image over a dataset."),
        "mine": ("runner.cli.submit:mine", "Rank the assets of a dataset by how much labelling them is worth."),
        "infer": ("runner.cli.submit:infer", "Predict: run a model over the assets of a dataset."),
    },
    "What there is": {
        "image": ("runner.cli.image:image", "Register, show and link images."),
        "dataset": ("runner.cli.dataset:dataset", "Import, sample, show and analyse datasets."),
        "job": ("runner.cli.job:job", "Watch, cancel and repeat jobs."),
        "model": ("runner.cli.model:model", "Show and export models."),
        "gpu": ("runner.cli.gpu:gpu", "Show the GPUs and who holds them, take them out of use, and put them into pools."),
        "share": ("runner.cli.share:share", "Show and set who gets how much of the GPUs."),
    },
    "This machine": {
        "serve": ("runner.cli.serve:serve", "Run the service: it owns the queue and drives the jobs until it is stopped."),
        "gc": ("runner.cli.gc:gc", "Free what nothing needs any more: folders of old jobs, images, assets."),
        "doctor": ("runner.cli.doctor:doctor", "Check that this machine can run jobs, and say what to do where it cannot."),
    },
}


@click.group(cls=LazyGroup, listing=LISTING, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="sluice", message="%(prog)s %(version)s")
def root() -> None:
    """Run training, mining and inference images over your data.

    Answers go to stdout, talk to stderr. The first steps:

    \b
      sluice image add REFERENCE --name detector
      sluice dataset import scenes FOLDER
      sluice train detector --data scenes
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status; the one place where errors become words and numbers."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    _never_fail_to_encode()
    try:
        return int(root.main(arguments, prog_name="sluice", standalone_mode=False) or 0)
    except (Exception, KeyboardInterrupt) as error:
        from runner.cli.failures import report

        return report(error, arguments)


def _never_fail_to_encode() -> None:
    # A file name that is no text, or a terminal without UTF-8, must not end a command; in JSON the escapes are JSON's own.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
