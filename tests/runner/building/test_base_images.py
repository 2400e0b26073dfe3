"""Which base can be made here, and which mirror it would come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.base_images import debian_suite, find_debian_mirrors, own_reference


@pytest.mark.parametrize(
    ("reference", "suite"),
    [
        ("python:3.11-slim-bookworm", "bookworm"),
        ("python:3.11", "bookworm"),
        ("docker.io/library/python:3.13-slim", "trixie"),
        ("debian:bookworm-slim", "bookworm"),
        ("debian:12", "bookworm"),
        ("debian:13-slim", "trixie"),
        ("sluice/base:bookworm", "bookworm"),
    ],
)
def test_a_debian_or_python_base_has_a_suite_that_stands_in_for_it(reference: str, suite: str) -> None:
    assert debian_suite(reference) == suite


@pytest.mark.parametrize(
    "reference",
    [
        "python:3.12-slim-bookworm",
        "python:3.13-bookworm",
        "ubuntu:24.04",
        "pytorch/pytorch:latest",
        "debian",
        "evil/debian:12",
        "sluice/base:sid",
    ],
)
def test_another_base_has_none_because_its_python_or_its_system_would_differ(reference: str) -> None:
    assert debian_suite(reference) == ""


def test_a_made_base_is_named_after_its_suite() -> None:
    assert own_reference("bookworm") == "sluice/base:bookworm"


def test_the_mirrors_of_the_host_are_found_in_both_kinds_of_sources_files(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text(
        "# deb http://commented.example/debian bookworm main\ndeb [trusted=yes] http://mirror.example/debian/ bookworm main\n"
    )
    (tmp_path / "sources.list.d" / "security.sources").write_text(
        "Types: deb\nURIs: https://mirror.example/debian-security\nSuites: bookworm-security\n"
    )
    assert find_debian_mirrors(tmp_path) == ("http://mirror.example/debian", "https://mirror.example/debian-security")


def test_a_host_of_another_distribution_has_no_debian_mirror(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text("deb http://archive.example/ubuntu noble main\n")
    assert find_debian_mirrors(tmp_path) == ("", "")
