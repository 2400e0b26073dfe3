"""The cache by itself, with files that come from nowhere: whatever is held, linked and killed in whatever order, its promises hold."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.dataset import Asset
from contracts.errors import ConfigurationError, UnavailableError
from plugins.stores.cache import Cache

_BYTES = 100
CONTENTS = [bytes([number]) * _BYTES for number in range(8)]
ASSETS = [Asset(hashlib.sha1(content).hexdigest(), "jpg", 1, 1, _BYTES) for content in CONTENTS]
_BY_ID = {asset.id: content for asset, content in zip(ASSETS, CONTENTS, strict=True)}


def fetch(files: Sequence[Asset], places: Sequence[Path]) -> None:
    for file, place in zip(files, places, strict=True):
        place.write_bytes(_BY_ID[file.id])


def files_of(cache: Cache) -> list[Path]:
    return list(cache.folder.glob("??/*"))


def is_whole(cache: Cache, asset: Asset) -> bool:
    return cache.path(asset.id, asset.extension).read_bytes() == _BY_ID[asset.id]


Steps = st.lists(
    st.tuples(st.sampled_from(["hold", "release", "link", "end job"]), st.sets(st.integers(0, 7), min_size=1, max_size=5)), max_size=25
)


@settings(max_examples=20)
@given(Steps)
def test_what_is_held_is_there_and_all_of_it_is_never_too_much(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, set[int]]]
) -> None:
    folder = tmp_path_factory.mktemp("world")
    cache = Cache(folder / "cache", 5 * _BYTES, fetch)
    held: list[tuple[ExitStack, set[int]]] = []
    jobs: list[Path] = []
    for step, numbers in steps:
        if step == "hold":
            stack = ExitStack()
            in_use = set().union(*(chosen for _, chosen in held))
            try:
                stack.enter_context(cache.holding([ASSETS[number] for number in numbers]))
                held.append((stack, numbers))
            except UnavailableError:
                assert len(in_use | numbers) + len(jobs) > 5
        elif step == "release" and held:
            held.pop(0)[0].close()
        elif step == "link" and held:
            jobs.append(folder / f"job-{len(jobs)}-{random.random()}")
            os.link(cache.path(ASSETS[min(held[-1][1])].id, "jpg"), jobs[-1])
        elif step == "end job" and jobs:
            jobs.pop(0).unlink()
        assert len(files_of(cache)) <= 5
        assert all(is_whole(cache, ASSETS[number]) for _, numbers in held for number in numbers)
    for stack, _ in held:
        stack.close()
    assert list((cache.folder / "holds").iterdir() if (cache.folder / "holds").exists() else []) == []


def test_a_fetch_that_fails_leaves_neither_a_file_nor_a_hold(tmp_path: Path) -> None:
    def half(files: Sequence[Asset], places: Sequence[Path]) -> None:
        places[0].write_bytes(b"half")
        raise UnavailableError("the line is cut")

    cache = Cache(tmp_path / "cache", 500, half)
    with pytest.raises(UnavailableError, match="the line is cut"), cache.holding(ASSETS[:2]):
        pass
    assert files_of(cache) == []
    assert list((tmp_path / "cache" / "holds").iterdir()) == list((tmp_path / "cache" / ".incoming").iterdir()) == []


def test_a_disk_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UnavailableError, match="file"), Cache(tmp_path / "file", 500, fetch).holding(ASSETS[:2]):
        pass


def test_what_never_fits_is_no_matter_of_waiting(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="this alone needs 600"), Cache(tmp_path / "cache", 500, fetch).holding(ASSETS[:6]):
        pass
    assert list((tmp_path / "cache" / "holds").iterdir()) == []


def _work(folder: Path, seed: int, kill: bool) -> None:
    """Holds again and again what it needs, and looks that it is there; ``kill``: dies in the middle of a hold."""
    chosen = random.Random(seed)
    cache = Cache(folder, 5 * _BYTES, fetch)
    for _ in range(25):
        some = chosen.sample(ASSETS, 2)
        try:
            with cache.holding(some):
                if not all(is_whole(cache, asset) for asset in some):
                    os._exit(3)
                if len(files_of(cache)) > 5:
                    os._exit(4)
                if kill:
                    os._exit(9)
        except UnavailableError:  # the others hold too much at this moment
            continue


def test_several_processes_use_one_cache_and_one_that_is_killed_leaves_no_hold(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    processes = [get_context("spawn").Process(target=_work, args=(folder, seed, seed == 0)) for seed in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [9, 0, 0, 0]
    cache = Cache(folder, 5 * _BYTES, fetch)
    with cache.holding(ASSETS[:5]):
        assert len(files_of(cache)) == 5
    assert list((folder / "holds").iterdir()) == []
