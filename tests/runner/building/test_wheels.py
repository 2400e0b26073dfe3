"""The host's pip at work for an image, with folders of wheels instead of an index: no network is needed."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.errors import ImageError
from runner.wheels import fetch_wheels, find_certificates, read_pip_configuration, write_pip_settings


@pytest.fixture(autouse=True)
def _no_pip_settings_of_the_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CERT", "PIP_TRUSTED_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that pip is configured to look into."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def _put_wheel(shelf: Path, tag: str) -> str:
    name = f"tinylib-1.0-{tag}.whl"
    info = "tinylib-1.0.dist-info"
    with zipfile.ZipFile(shelf / name, "w") as wheel:
        wheel.writestr("tinylib.py", "")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinylib\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: {tag}\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name


def _fetch(tmp_path: Path, python: str = "3.11", architecture: str = "amd64", said: list[str] | None = None) -> list[str]:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("tinylib==1.0\n")
    lines = said if said is not None else []
    return [path.name for path in fetch_wheels(requirements, python, architecture, (), tmp_path / "cache", lines.append)]


@pytest.mark.parametrize(
    ("python", "platform"),
    [("3.9", "manylinux_2_28_x86_64"), ("3.11", "manylinux_2_17_x86_64"), ("3.12", "manylinux2014_x86_64"), ("3.13", "linux_x86_64")],
)
def test_wheels_are_for_the_python_of_the_base_whatever_runs_sluice(tmp_path: Path, shelf: Path, python: str, platform: str) -> None:
    tag = f"cp{python.replace('.', '')}"
    wanted = _put_wheel(shelf, f"{tag}-{tag}-{platform}")
    _put_wheel(shelf, "cp38-cp38-manylinux_2_28_x86_64")
    assert _fetch(tmp_path, python) == [wanted]


def test_wheels_are_for_the_machine_of_the_engine(tmp_path: Path, shelf: Path) -> None:
    _put_wheel(shelf, "cp311-cp311-manylinux_2_28_x86_64")
    wanted = _put_wheel(shelf, "cp311-cp311-manylinux_2_28_aarch64")
    assert _fetch(tmp_path, architecture="arm64") == [wanted]


def test_the_same_wheels_are_fetched_once(tmp_path: Path, shelf: Path) -> None:
    _put_wheel(shelf, "py3-none-any")
    first, said = _fetch(tmp_path), []
    assert _fetch(tmp_path, said=said) == first
    assert not any(line.startswith("fetching") for line in said)


def test_a_requirement_without_a_wheel_is_named_and_nothing_half_fetched_is_kept(tmp_path: Path, shelf: Path) -> None:
    with pytest.raises(ImageError, match=r"tinylib==1\.0"):
        _fetch(tmp_path)
    assert not list((tmp_path / "cache").iterdir())


def test_other_requirements_are_fetched_anew(tmp_path: Path, shelf: Path) -> None:
    _put_wheel(shelf, "py3-none-any")
    (tmp_path / "more.txt").write_text("")
    requirements = tmp_path / "requirements.txt"
    for text in ("tinylib\n", "tinylib\n-r more.txt\n"):
        requirements.write_text(text)
        fetch_wheels(requirements, "3.11", "amd64", (), tmp_path / "cache", lambda line: None)
    assert len(list((tmp_path / "cache").iterdir())) == 2


# ------------------------------------------------------------------------------------------------------------- settings


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Writes a pip configuration for the test and gives its file."""
    monkeypatch.delenv("PIP_NO_INDEX")
    config = tmp_path / "pip.conf"
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    return config


def _settings(tmp_path: Path, said: list[str]) -> str:
    folder = tmp_path / "host-part"
    folder.mkdir()
    write_pip_settings(folder, said.append)
    return (folder / "pip.conf").read_text()


def test_the_build_is_given_the_mirror_but_no_folder_of_the_host(tmp_path: Path, configured: Path) -> None:
    configured.write_text(
        "[global]\nindex-url = https://mirror.example/simple\nextra-index-url = file:///srv/simple https://more.example/simple\n"
        "find-links = /srv/wheels\ntrusted-host =\n  mirror.example\n  more.example\n"
    )
    assert _settings(tmp_path, []).splitlines()[:4] == [
        "[global]",
        "index-url = https://mirror.example/simple",
        "extra-index-url = https://more.example/simple",
        "trusted-host = mirror.example more.example",
    ]


def test_an_address_with_a_password_never_reaches_the_build(tmp_path: Path, configured: Path) -> None:
    said: list[str] = []
    configured.write_text("[global]\nindex-url = https://someone:secret@mirror.example/simple\n")
    assert "secret" not in _settings(tmp_path, said) + "".join(said)
    assert "index-url holds a password" in said[0]


def test_the_environment_wins_over_the_file_as_in_pip(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configured.write_text("[global]\ntimeout = 3\n")
    monkeypatch.setenv("PIP_TIMEOUT", "7")
    assert read_pip_configuration()["timeout"] == "7"


def test_the_certificates_are_those_that_the_environment_names(tmp_path: Path, configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "our-ca.crt"
    bundle.write_text("a certificate")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    configured.write_text("")
    assert find_certificates() == bundle
    _settings(tmp_path, [])
    assert (tmp_path / "host-part" / "ca-certificates.crt").read_text() == "a certificate"
