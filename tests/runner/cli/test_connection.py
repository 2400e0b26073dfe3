"""``sluice connection`` as a person runs it: the secret comes from stdin or the environment and is never seen again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.runner.sources.conftest import png
from tests.s3 import KEY, SECRET, S3Server

SLUICE = (sys.executable, "-c", "import sys; from runner.cli import main; sys.exit(main())")


def sluice(*arguments: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    settings = {"SLUICE_ENGINE": "process", "SLUICE_GPUS": "fake", **environ}
    return subprocess.run([*SLUICE, *arguments], input=stdin, capture_output=True, text=True, env={**os.environ, **settings})


def add(endpoint: str, *more: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    return sluice(
        "connection", "add", "team", "--endpoint", endpoint, "--access-key", KEY, "--addressing", "path", *more, stdin=stdin, **environ
    )


def test_from_the_secret_on_stdin_to_a_dataset_of_a_bucket(s3_server: S3Server) -> None:
    bucket = s3_server.new_bucket({f"set/{number}.png": png(number) for number in range(3)})
    added = add(s3_server.endpoint, stdin=f"{SECRET}\n")
    shown = [sluice("connection", *words, "--json") for words in (("list",), ("show", "team"), ("check", "team"))]
    imported = sluice("--verbose", "dataset", "import", "cells", f"s3://{bucket}/set", "--connection", "team", "--json")
    assert [done.returncode for done in (added, *shown, imported)] == [0] * 5, imported.stderr
    assert json.loads(imported.stdout)["images"] == 3
    assert SECRET not in "".join(done.stdout + done.stderr for done in (added, *shown, imported))


def test_the_secret_may_come_from_the_environment_and_must_come_from_somewhere(s3_server: S3Server) -> None:
    missing = add(s3_server.endpoint)
    assert (missing.returncode, "SLUICE_CONNECTION_SECRET" in missing.stderr) == (2, True)
    assert add(s3_server.endpoint, SLUICE_CONNECTION_SECRET=SECRET).returncode == 0
    assert add(s3_server.endpoint, SLUICE_CONNECTION_SECRET="another").returncode == 2
    assert add(s3_server.endpoint, "--overwrite", SLUICE_CONNECTION_SECRET="another").returncode == 0


def test_boto3_is_not_loaded_by_commands_that_need_no_bucket(tmp_path: Path) -> None:
    code = (
        "import sys; from runner.cli import main; status = main(sys.argv[1:]);"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in ('boto3', 'botocore', 's3transfer')), status)"
    )
    settings = {"SLUICE_ENGINE": "process", "SLUICE_GPUS": "fake"}
    for words in (("--help",), ("dataset", "list"), ("connection", "list"), ("gc", "--dry-run"), ("doctor",)):
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, env={**os.environ, **settings}, check=True
        )
        assert done.stdout.splitlines()[-1] == "[] 0", words
