"""No card has two holders, whoever leases at once."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tests.runner.gpus.rivals import lease_at_random

if TYPE_CHECKING:
    from tests.runner.gpus.world import Host

ROOT = Path(__file__).resolve().parents[3]


def test_eight_threads_that_lease_at_once_never_share_a_card(host: Host, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        got = list(threads.map(lambda worker: lease_at_random(host.pool, worker, tmp_path), range(8)))
    assert sum(got) > 0
    assert host.states() == ["free"] * 4


def test_processes_that_lease_at_once_never_share_a_card(hosts: type[Host], tmp_path: Path) -> None:
    """A1; with 200 rounds each it is the benchmark gpu_leases."""
    host = hosts(8)
    command = [sys.executable, "-m", "tests.runner.gpus.rivals", tmp_path / "sluice.db", host.name]
    rivals = [subprocess.Popen([*command, str(worker), tmp_path], cwd=ROOT, stdout=subprocess.PIPE) for worker in range(8)]
    answers = [rival.communicate()[0] for rival in rivals]
    assert [rival.returncode for rival in rivals] == [0] * 8
    assert sum(map(int, answers)) > 0
    assert host.states() == ["free"] * 8
