"""The kernel's files of a container, of both versions of control groups, as the kernel documents them."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.seams import ContainerStats
from plugins.engines.docker_cgroup import find_folders, read_stats

ID = "07c788cd42736f1a255394b090df77f8b8731ffecbb72653d74ce9deb8db8b69"
HOST_BYTES = 24 * 1024**3
V1 = {
    "memory/{0}/memory.usage_in_bytes": "9000000\n",
    "memory/{0}/memory.stat": "cache 5000\ninactive_file 1\ntotal_cache 600000\ntotal_inactive_file 500000\n",
    "memory/{0}/memory.limit_in_bytes": "67108864\n",
    "cpuacct/{0}/cpuacct.usage": "65871814\n",
    "pids/{0}/pids.current": "2\n",
}
V2 = {
    "{0}/memory.current": "9000000\n",
    "{0}/memory.stat": "anon 8000000\nfile 600000\ninactive_file 500000\n",
    "{0}/memory.max": "67108864\n",
    "{0}/cpu.stat": "usage_usec 65871\nuser_usec 60000\nsystem_usec 5871\nnr_periods 0\n",
    "{0}/pids.current": "2\n",
}
V1_GROUPS = "9:name=systemd:/{0}\n8:pids:/{0}\n4:memory:/{0}\n2:cpu,cpuacct:/{0}\n0::/{0}\n"


class Host:
    """A /proc and a /sys/fs/cgroup with one container's process, 4711."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.root = folder / "proc", folder / "cgroup"

    def has(self, files: dict[str, str], groups: str, place: str, process_below: str = "") -> Host:
        for name, content in files.items():
            file = self.root / name.format(place)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        (self.proc / "4711").mkdir(parents=True)
        (self.proc / "4711" / "cgroup").write_text(groups.format(place + process_below))
        return self

    def stats(self) -> ContainerStats | None:
        folders = find_folders(ID, 4711, self.proc, self.root)
        return read_stats(folders, HOST_BYTES) if folders else None


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.mark.parametrize("place", [f"docker/{ID}", f"system.slice/docker-{ID}.scope", f"kubepods/pod1/{ID}"])
def test_version_1_is_read_from_a_folder_for_each_controller(host: Host, place: str) -> None:
    assert host.has(V1, V1_GROUPS, place).stats() == ContainerStats(8_500_000, 0.065871814, 2, 67108864)


@pytest.mark.parametrize("process_below", ["", "/init.scope"])
def test_version_2_is_read_from_the_containers_folder_wherever_its_process_is_in_it(host: Host, process_below: str) -> None:
    host.has(V2, "0::/{0}\n", f"system.slice/docker-{ID}.scope", process_below)
    assert host.stats() == ContainerStats(8_500_000, 0.065871, 2, 67108864)


def test_what_stands_for_no_limit_is_none(host: Host, tmp_path: Path) -> None:
    second = Host(tmp_path / "second")
    one = host.has({**V1, "memory/{0}/memory.limit_in_bytes": "9223372036854771712\n"}, V1_GROUPS, f"docker/{ID}").stats()
    two = second.has({**V2, "{0}/memory.max": "max\n"}, "0::/{0}\n", f"docker/{ID}").stats()
    assert one is not None
    assert two is not None
    assert one.memory_limit_bytes is two.memory_limit_bytes is None


def test_another_process_of_the_same_number_is_not_taken_for_the_container(host: Host) -> None:
    host.has(V2, "0::/{0}\n", "user.slice")
    assert find_folders(ID, 4711, host.proc, host.root) is None


def test_files_that_are_on_another_machine_are_not_found(host: Host, tmp_path: Path) -> None:
    host.has(V1, V1_GROUPS, f"docker/{ID}")
    assert find_folders(ID, 4711, host.proc, tmp_path / "other") is None
    assert find_folders(ID, 4712, host.proc, host.root) is None


def test_an_ended_container_has_no_files_any_more(host: Host) -> None:
    host.has(V2, "0::/{0}\n", f"docker/{ID}")
    folders = find_folders(ID, 4711, host.proc, host.root)
    (host.root / "docker" / ID / "memory.current").unlink()
    assert folders
    with pytest.raises(FileNotFoundError):
        read_stats(folders, HOST_BYTES)
