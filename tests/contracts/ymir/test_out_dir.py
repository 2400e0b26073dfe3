"""/out is read without trust: nothing outside it is ever opened, nothing makes a reader wait."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from contracts.errors import ResultMalformedError, ResultMissingError
from contracts.ymir.out_dir import OutDir


@pytest.fixture
def out(tmp_path: Path) -> OutDir:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "out/models/s").mkdir(parents=True)
    (tmp_path / "out/models/s/a.pt").write_text("a")
    return OutDir(tmp_path / "out")


@pytest.mark.parametrize("name", ["models/s/a.pt", "/out/models/s/a.pt", "models/./x/../s/a.pt", "//out/models/s/a.pt"])
def test_names_inside_are_found(name: str, out: OutDir) -> None:
    (out.root / "models/x").mkdir()
    found = out.find_file(name)
    assert found.path == out.root / "models/s/a.pt" or name.startswith("//")


def test_a_host_path_inside_is_found_also_through_a_linked_parent(out: OutDir, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(out.root)
    through_link = OutDir(tmp_path / "alias")
    assert through_link.find_file(f"{tmp_path}/alias/models/s/a.pt").path == out.root / "models/s/a.pt"
    assert through_link.find_file(f"{out.root}/models/s/a.pt").path == out.root / "models/s/a.pt"


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "/outside", "models/../../secret", "/out/../secret", "a\x00b", "\udcff", "x" * 5000, "up/secret"]
)
def test_names_outside_or_impossible_are_not(name: str, out: OutDir) -> None:
    (out.root / "up").symlink_to("..")
    found = out.find(name)
    assert found.path is None
    assert found.reason


def test_links_that_turn_in_circles_end(out: OutDir) -> None:
    (out.root / "a").symlink_to("b")
    (out.root / "b").symlink_to("a")
    (out.root / "deep").symlink_to("deep/deep/deep")
    assert out.find("a").reason == out.find("deep").reason == "it is a link that leads to itself"


def test_a_folder_is_not_a_file(out: OutDir) -> None:
    assert out.find_file("models").reason == "it is not a file"


def test_reading_gives_the_bytes_or_a_named_error(out: OutDir) -> None:
    (out.root / "result").write_bytes(b"12345")
    assert out.read("result", 5) == b"12345"
    with pytest.raises(ResultMalformedError, match="larger than"):
        out.read("result", 4)
    with pytest.raises(ResultMissingError, match="left no /out/other"):
        out.read("other", 5)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_reading_never_waits_for_a_pipe_or_a_folder(make: object, out: OutDir) -> None:
    make(out.root / "result")  # type: ignore[operator]
    with pytest.raises(ResultMalformedError, match="not a regular file"):
        out.read("result", 5)
    assert out.read_head("result", 5) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(out: OutDir) -> None:
    (out.root / "result").touch(0o000)
    with pytest.raises(ResultMalformedError, match="Permission denied"):
        out.read("result", 5)
