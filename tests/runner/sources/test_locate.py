"""Files that a source names by an address: in a bucket, on this host where that is allowed, or moved into the imported folder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import DatasetError, UnavailableError
from contracts.seams import Format, Found, ImportedImage, Locate
from runner.service import Runner
from runner.sources import Opened, opened
from tests.runner.sources.conftest import png
from tests.s3 import FaultyProxy, S3Server, says

Open, Connect = Callable[..., Runner], Callable[..., dict[str, Any]]
Locating = Callable[..., Any]


@contextmanager
def locating(runner: Runner, source: Path | str, connection: str = "") -> Iterator[Locate]:
    with opened(runner._installation, source, connection, lambda *_: None) as found:
        yield found.locate


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "source"
    (made / "images").mkdir(parents=True)
    (made / "images" / "a.png").write_bytes(png(1))
    return made


def test_one_manifest_may_mix_buckets_and_paths(
    open_runner: Open, connect: Connect, s3_server: S3Server, folder: Path, tmp_path: Path
) -> None:
    bucket = s3_server.new_bucket({"data/b.png": png(2), "data/c d.png": png(3)})
    (tmp_path / "allowed").mkdir()
    (tmp_path / "allowed" / "d.png").write_bytes(png(4))
    runner = open_runner(allowed_roots=str(tmp_path / "allowed"))
    connect(runner, s3_server.endpoint)
    addresses = [
        "images/a.png",
        str(folder / "images/a.png"),
        f"s3://{bucket}/data/b.png",
        f"obs://{bucket}/data/c d.png",
        f"{tmp_path}/allowed/d.png",
    ]
    with locating(runner, folder) as locate:
        found = [locate(address) for address in addresses]
        assert [path.read_bytes() for path in found] == [png(1), png(1), png(2), png(3), png(4)]
        assert found[2].suffix == ".png"
    assert [path.exists() for path in found] == [True, True, False, False, True]


def test_the_same_address_is_fetched_once_however_many_ask(
    open_runner: Open, connect: Connect, s3_server: S3Server, s3_faults: FaultyProxy, folder: Path
) -> None:
    bucket = s3_server.new_bucket({"b.png": png(2)})
    runner = open_runner()
    connect(runner, s3_faults.endpoint)
    found: list[Path] = []
    with locating(runner, folder) as locate:
        threads = [threading.Thread(target=lambda: found.append(locate(f"s3://{bucket}/b.png"))) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(set(found)) == 1
    assert len(s3_faults.requests) == 1


def test_what_the_imported_prefix_holds_is_not_fetched_again(
    open_runner: Open, connect: Connect, s3_server: S3Server, s3_faults: FaultyProxy
) -> None:
    bucket = s3_server.new_bucket({"set/images/a.png": png(1), "elsewhere/b.png": png(2)})
    runner = open_runner()
    connect(runner, s3_faults.endpoint)
    with locating(runner, f"obs://{bucket}/set") as locate:
        before = len(s3_faults.requests)
        assert locate(f"s3://{bucket}/set/images/a.png").read_bytes() == png(1)
        assert len(s3_faults.requests) == before
        assert locate(f"s3://{bucket}/elsewhere/b.png").read_bytes() == png(2)


def test_data_that_was_moved_is_found_by_the_last_parts_of_its_path(open_runner: Open, folder: Path) -> None:
    (folder / "a.png").write_bytes(png(9))
    with locating(open_runner(), folder) as locate:
        assert locate("/old/place/images/a.png") == folder / "images" / "a.png"
        assert locate("file:///old/place/images/a.png") == folder / "images" / "a.png"
        assert locate("/old/place/a.png") == folder / "a.png"
        assert locate("s3://old-bucket/place/images/a.png") == folder / "images" / "a.png"


def test_nothing_outside_is_read(open_runner: Open, folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(5))
    (folder / "link.png").symlink_to(secret)
    (folder / "out").symlink_to(tmp_path)
    (folder / "secret.png").write_bytes(png(6))
    with locating(open_runner(), folder) as locate:
        for address in (
            str(secret),
            "link.png",
            str(folder / "link.png"),
            "../secret.png",
            "out/secret.png",
            f"file://{secret}",
            "images/../../secret.png",
        ):
            with pytest.raises(DatasetError, match=r"lies outside of the imported folder|does not exist"):
                locate(address)
        for address in (
            "/x/../../secret.png",
            "http://host/a.png",
            "ftp://host/a.png",
            "",
            "a\0b",
            "x" * 5000,
            "images",
            "/nowhere/at/all.png",
        ):
            with pytest.raises(DatasetError):
                locate(address)


def test_an_allowed_root_does_not_open_its_neighbours(open_runner: Open, folder: Path, tmp_path: Path) -> None:
    for name in ("allowed", "allowed-not"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(png(1))
    (tmp_path / "allowed" / "link.png").symlink_to(tmp_path / "allowed-not" / "x.png")
    with locating(open_runner(allowed_roots=f"{tmp_path}/allowed"), folder) as locate:
        assert locate(f"{tmp_path}/allowed/x.png").is_file()
        for path in (f"{tmp_path}/allowed-not/x.png", f"{tmp_path}/allowed/../allowed-not/x.png", f"{tmp_path}/allowed/link.png"):
            with pytest.raises(DatasetError, match="allowed_roots"):
                locate(path)


@given(st.text(max_size=80))
def test_no_text_leads_out_of_the_imported_folder(fixed: tuple[Locate, Path], address: str) -> None:
    locate, folder = fixed
    try:
        found = locate(address)
    except DatasetError:
        return
    assert found.resolve().is_relative_to(folder.resolve())


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Locate, Path]]:
    from runner.settings import load_settings

    folder = tmp_path_factory.mktemp("source")
    (folder / "a").write_bytes(b"a")
    home = tmp_path_factory.mktemp("home")
    with Runner.open(load_settings({"home": str(home), "engine": "process", "gpus": "fake"})) as runner, locating(runner, folder) as locate:
        yield locate, folder


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (says(403, "AccessDenied"), DatasetError, "may not be read"),
        (says(404, "NoSuchKey"), DatasetError, "there is no object"),
        (says(404, "NoSuchBucket"), DatasetError, "there is no bucket"),
    ],
)
def test_what_a_bucket_refuses_is_an_error_of_that_address(
    fault: Any,
    kind: type[Exception],
    words: str,
    open_runner: Open,
    connect: Connect,
    s3_server: S3Server,
    s3_faults: FaultyProxy,
    folder: Path,
) -> None:
    bucket = s3_server.new_bucket({"b.png": png(2)})
    runner = open_runner()
    connect(runner, s3_faults.endpoint)
    s3_faults.on("GET", "b.png", fault)
    with locating(runner, folder) as locate, pytest.raises(kind, match=words):
        locate(f"s3://{bucket}/b.png")


def test_a_store_that_is_away_is_another_error_than_a_file_that_is_not_there(open_runner: Open, connect: Connect, folder: Path) -> None:
    runner = open_runner()
    connect(runner, "http://127.0.0.1:1")
    with locating(runner, folder) as locate, pytest.raises(UnavailableError, match="could not be read"):
        locate("s3://bucket/b.png")


def test_what_is_fetched_counts_against_the_limit(open_runner: Open, connect: Connect, s3_server: S3Server, folder: Path) -> None:
    bucket = s3_server.new_bucket({f"{number}.png": b"x" * 600 for number in range(3)})
    runner = open_runner(source_max_bytes="1300")
    connect(runner, s3_server.endpoint)
    with locating(runner, folder) as locate:
        assert [locate(f"s3://{bucket}/{number}.png").stat().st_size for number in range(2)] == [600, 600]
        with pytest.raises(DatasetError, match="more than the 100 bytes allowed"):
            locate(f"s3://{bucket}/2.png")


def test_the_block_gives_what_was_left_out(open_runner: Open, connect: Connect, s3_server: S3Server) -> None:
    bucket = s3_server.new_bucket({"a.png": png(1), "../b.png": png(2)})
    runner = open_runner()
    connect(runner, s3_server.endpoint)
    with opened(runner._installation, f"s3://{bucket}/", "", lambda *_: None) as found:
        assert isinstance(found, Opened)
        assert [skip.place for skip in found.left_out] == ["../b.png"]


class Lines(Format):
    """An address of a picture on each line of ``set.lines``."""

    name = "lines"

    def detect(self, folder: Path) -> str:
        return "set.lines" if (folder / "set.lines").is_file() else ""

    def read(self, folder: Path, locate: Locate) -> Iterator[Found]:
        for line in (folder / "set.lines").read_text().splitlines():
            path: Path | str = line if "://" in line else locate(line)
            yield ImportedImage(path, line, None)


def test_an_import_of_a_list_of_addresses_takes_in_each_from_its_place(
    open_runner: Open, connect: Connect, s3_server: S3Server, s3_faults: FaultyProxy, folder: Path, home: Path
) -> None:
    bucket = s3_server.new_bucket({"b.png": png(2), "c.png": png(3), "d.png": png(4)})
    lines = ["images/a.png", f"s3://{bucket}/b.png", f"obs://{bucket}/c.png", f"s3://{bucket}/d.png", f"s3://{bucket}/missing.png"]
    (folder / "set.lines").write_text("\n".join(lines))
    runner = open_runner()
    connect(runner, s3_faults.endpoint)
    runner._installation.formats["lines"] = Lines()
    s3_faults.on("GET", "d.png", says(403, "AccessDenied"))
    report = runner.import_dataset("mixed", folder, format="lines")
    assert report["images"] == 3
    assert {skip["place"]: skip["reason"].split(":")[0] for skip in report["skipped"]} == {
        lines[3]: "s3",
        lines[4]: "there is no object s3",
    }
    assert list((home / "tmp").iterdir()) == []
    s3_faults.on("GET", "c.png", says(503, "SlowDown"))
    with pytest.raises(UnavailableError):
        runner.import_dataset("other", folder, format="lines")
    assert list((home / "tmp").rglob("*")) == []
