"""The S3 store against a real server: the conformance class, then what goes wrong on the way."""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from contracts.connection import Connection
from contracts.dataset import Asset
from contracts.errors import ConfigurationError, DatasetError, SluiceError, UnavailableError
from contracts.seams import NewFile, StoreSite
from plugins.stores.bucket import Bucket, Patience
from plugins.stores.s3 import S3Store
from tests.conformance.store import CONTENT, SHA1, StoreConformance, assets_of, listed, new_files
from tests.s3 import SECRET, FaultyProxy, S3Server, closes, connection_to, cuts_off, damages, says, sleeps, truncates

QUICK = Patience(attempts=3, connect_timeout_s=2.0, read_timeout_s=2.0, wait_s=0.01)


def store_at(
    endpoint: str, bucket: str, folder: Path, *, cache_bytes: int = 10**9, home: str = "here", patience: Patience = QUICK
) -> S3Store:
    return S3Store(Bucket(connection_to(endpoint), bucket, patience=patience), "team/assets", folder / "cache", cache_bytes, home, patience)


class TestS3Store(StoreConformance):
    @pytest.fixture
    def store(self, s3_server: S3Server, tmp_path: Path) -> S3Store:
        return store_at(s3_server.endpoint, s3_server.new_bucket(), tmp_path)


def test_it_opens_without_asking_anybody_and_says_what_it_lacks(tmp_path: Path) -> None:
    connection = Connection(endpoint="http://127.0.0.1:1", bucket="b", prefix="p")
    assert S3Store.open(StoreSite(tmp_path, "id", connection=connection)).place == "s3://b/p/"
    assert S3Store.open(StoreSite(tmp_path, "id", "s3://other/x/", connection)).place == "s3://other/x/"
    with pytest.raises(ConfigurationError, match="in which bucket"):
        S3Store.open(StoreSite(tmp_path, "id"))


def test_a_large_file_is_sent_in_parts_and_comes_back_whole(s3_server: S3Server, s3_faults: FaultyProxy, tmp_path: Path) -> None:
    patience = Patience(**{**vars(QUICK), "part_bytes": 5 * 1024**2, "read_timeout_s": 30.0})
    store = store_at(s3_faults.endpoint, s3_server.new_bucket(), tmp_path, patience=patience)
    content = bytes(range(256)) * 50_000
    sha1 = hashlib.sha1(content).hexdigest()
    (tmp_path / "large").write_bytes(content)
    s3_faults.on("PUT", "partNumber=2", says(500, "InternalError"), times=1)
    store.add_file(tmp_path / "large", sha1, "pt")
    assert len([1 for method, path in s3_faults.requests if method == "PUT" and "partNumber=" in path]) == 4  # three parts, one twice
    path = store.find(sha1, "pt")
    assert path is not None
    assert path.read_bytes() == content


def test_what_is_there_is_not_sent_again(s3_server: S3Server, s3_faults: FaultyProxy, tmp_path: Path) -> None:
    store = store_at(s3_faults.endpoint, s3_server.new_bucket(), tmp_path)
    store.add_many(new_files(3))
    s3_faults.requests.clear()
    store.add_many(new_files(3))
    assert {method for method, _ in s3_faults.requests} == {"HEAD"}


GET, PUT, LIST = ("GET", f"/{SHA1}"), ("PUT", f"/{SHA1}"), ("GET", "list-type=2")


@pytest.mark.parametrize(
    ("fault", "when"),
    [
        (says(500, "InternalError"), GET),
        (says(503, "SlowDown"), GET),
        (closes, GET),
        (cuts_off(7), GET),
        (damages, GET),
        (truncates, GET),
        (sleeps(2.5), GET),
        (says(500, "InternalError"), PUT),
        (closes, PUT),
        (says(503, "SlowDown"), LIST),
    ],
    ids=lambda value: getattr(value, "__qualname__", str(value)).split(".")[0],
)
def test_trouble_that_passes_is_not_noticed(
    fault: Any, when: tuple[str, str], s3_server: S3Server, s3_faults: FaultyProxy, tmp_path: Path
) -> None:
    store = store_at(s3_faults.endpoint, s3_server.new_bucket(), tmp_path)
    s3_faults.on(*when, fault, times=1)
    store.add_bytes(CONTENT, SHA1, "jpg")
    path = store.find(SHA1, "jpg")
    assert path is not None
    assert path.read_bytes() == CONTENT
    assert [file.sha1 for file in listed(store)] == [SHA1]


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (says(500, "InternalError"), UnavailableError, "answered 500 InternalError"),
        (says(403, "AccessDenied"), UnavailableError, "AccessDenied to the access key AKIA... of the connection test"),
        (closes, UnavailableError, "3 attempts"),
        (cuts_off(0), UnavailableError, f"after 0 of {len(CONTENT)} bytes|ended after 0 bytes"),
        (damages, UnavailableError, r"its checksum \(MD5\) is"),
        (truncates, UnavailableError, "20 bytes came, and the store says 41|checksum"),
        (sleeps(2.5), UnavailableError, "Timeout"),
    ],
    ids=lambda value: getattr(value, "__qualname__", "").split(".")[0],
)
def test_trouble_that_stays_names_the_object_and_leaves_nothing(
    fault: Any, kind: type[SluiceError], words: str, s3_server: S3Server, s3_faults: FaultyProxy, tmp_path: Path
) -> None:
    bucket = s3_server.new_bucket()
    store = store_at(s3_faults.endpoint, bucket, tmp_path, patience=Patience(**{**vars(QUICK), "read_timeout_s": 0.5}))
    store.add_bytes(CONTENT, SHA1, "jpg")
    s3_faults.on(*GET, fault)
    with pytest.raises(kind, match=words) as refused, store.holding([Asset(SHA1, "jpg", 1, 1, len(CONTENT))]):
        pass
    assert f"s3://{bucket}/team/assets/{SHA1[-2:]}/{SHA1}.jpg" in refused.value.message
    assert refused.value.hint
    assert (refused.value.fields["bucket"], SECRET in str(refused.value.to_dict())) == (bucket, False)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.name != "cache.lock"] == []


def test_an_object_that_was_changed_in_the_bucket_is_refused(s3_server: S3Server, tmp_path: Path) -> None:
    bucket = s3_server.new_bucket({f"team/assets/{SHA1[-2:]}/{SHA1}.jpg": b"another content"})
    store = store_at(s3_server.endpoint, bucket, tmp_path)
    with pytest.raises(DatasetError, match="was changed in the bucket"):
        store.find(SHA1, "jpg")
    assert store.path(SHA1, "jpg").exists() is False  # type: ignore[union-attr]


def test_what_is_missing_is_named_before_the_job_begins(s3_server: S3Server, tmp_path: Path) -> None:
    store = store_at(s3_server.endpoint, s3_server.new_bucket(), tmp_path)
    files = new_files(3)
    store.add_many(files[:2])
    with pytest.raises(DatasetError, match=files[2].sha1), store.holding(assets_of(files)):
        pass


@pytest.mark.parametrize(("method", "text"), [("PUT", "homes/"), ("PUT", "/team/assets/"), ("HEAD", "/team/assets/")])
def test_who_may_not_write_is_told_so(method: str, text: str, s3_server: S3Server, s3_faults: FaultyProxy, tmp_path: Path) -> None:
    store = store_at(s3_faults.endpoint, s3_server.new_bucket(), tmp_path)
    s3_faults.on(method, text, says(403, "AccessDenied"))
    with pytest.raises(DatasetError, match=r"may not be (written|looked at)") as refused:
        store.add_bytes(CONTENT, SHA1, "jpg")
    assert "s3:PutObject" in refused.value.hint


def test_a_missing_bucket_is_named_with_its_endpoint(s3_server: S3Server, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=rf"no bucket 'nothing' at {s3_server.endpoint}"):
        store_at(s3_server.endpoint, "nothing", tmp_path).check()


def test_a_server_that_is_away_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1") as refused:
        store_at("http://127.0.0.1:1", "b", tmp_path).check()
    assert "sluice connection check test" in refused.value.hint


def test_the_gc_of_one_home_learns_of_the_other(s3_server: S3Server, tmp_path: Path) -> None:
    bucket = s3_server.new_bucket()
    ours, theirs = (store_at(s3_server.endpoint, bucket, tmp_path / home, home=home) for home in ("ours", "theirs"))
    ours.add_bytes(CONTENT, SHA1, "jpg")
    assert ours.other_homes() == ()
    theirs.add_bytes(CONTENT, SHA1, "jpg")
    assert (ours.other_homes(), theirs.other_homes()) == (("theirs",), ("ours",))


def test_what_cannot_be_removed_is_named(s3_server: S3Server, s3_faults: FaultyProxy, tmp_path: Path) -> None:
    store = store_at(s3_faults.endpoint, s3_server.new_bucket(), tmp_path)
    store.add_many(new_files(2))
    s3_faults.on("POST", "delete", says(403, "AccessDenied"))
    problems: list[tuple[str, str]] = []
    assert store.remove(listed(store), lambda *problem: problems.append(problem)) == []
    assert len(problems) == 2
    assert "may not be removed" in problems[0][1]
    assert len(listed(store)) == 2


# --------------------------------------------------------------------------------------------------------------------- cache


def cached(store: S3Store, files: list[NewFile]) -> list[bool]:
    return [store.path(file.sha1, file.extension).is_file() for file in files]  # type: ignore[union-attr]


@pytest.fixture
def ten(s3_server: S3Server, tmp_path: Path) -> tuple[S3Store, list[NewFile]]:
    """A store with ten files of 100 bytes and a cache for five."""
    store = store_at(s3_server.endpoint, s3_server.new_bucket(), tmp_path, cache_bytes=500)
    contents = [bytes([number]) * 100 for number in range(10)]
    files = [NewFile(hashlib.sha1(content).hexdigest(), "jpg", content) for content in contents]
    store.add_many(files)
    return store, files


def test_the_least_recently_used_goes_first(ten: tuple[S3Store, list[NewFile]]) -> None:
    store, files = ten
    for file in files[:5]:
        with store.holding(assets_of([file])):
            time.sleep(0.01)
    with store.holding(assets_of(files[:1])):  # used again, so that the second is the oldest
        time.sleep(0.01)
    with store.holding(assets_of(files[5:7])):
        pass
    assert cached(store, files) == [True, False, False, True, True, True, True, False, False, False]


def test_what_is_held_or_linked_by_a_job_stays_and_too_much_is_refused(ten: tuple[S3Store, list[NewFile]], tmp_path: Path) -> None:
    store, files = ten
    with store.holding(assets_of(files[:2])):
        (tmp_path / "job").hardlink_to(store.path(files[0].sha1, "jpg"))  # type: ignore[arg-type]
        with store.holding(assets_of(files[2:5])):
            with (
                pytest.raises(UnavailableError, match=r"may hold 500 bytes, and .* needs is 600") as refused,
                store.holding(assets_of(files[5:6])),
            ):
                pass
            assert refused.value.fields["setting"] == "cache_bytes"
    with store.holding(assets_of(files[5:9])):
        assert cached(store, files) == [True] + [False] * 4 + [True] * 4 + [False]
    with pytest.raises(UnavailableError), store.holding(assets_of(files[5:10])):
        pass
    with pytest.raises(ConfigurationError, match="this alone needs 600"), store.holding(assets_of(files[:6])):
        pass


def test_two_at_once_do_not_fill_it_together(ten: tuple[S3Store, list[NewFile]], s3_server: S3Server, tmp_path: Path) -> None:
    store, files = ten
    other = store_at(s3_server.endpoint, store._bucket.name, tmp_path, cache_bytes=500)
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with other.holding(assets_of(files[:3])):
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert entered.wait(30)
    with pytest.raises(UnavailableError, match="600"), store.holding(assets_of(files[3:6])):
        pass
    leave.set()
    thread.join()
    with store.holding(assets_of(files[3:6])):
        assert cached(store, files)[3:6] == [True] * 3


def test_the_hold_of_a_killed_process_counts_no_longer(ten: tuple[S3Store, list[NewFile]]) -> None:
    store, files = ten
    holds = store._cache.folder / "holds"
    holds.mkdir(parents=True)
    (holds / "0123").write_text("".join(f"100 {file.sha1[-2:]}/{file.sha1}.jpg\n" for file in files[:5]))
    with store.holding(assets_of(files[5:10])):
        assert cached(store, files)[5:] == [True] * 5
    assert list(holds.iterdir()) == []


def test_a_single_file_that_is_looked_for_is_fetched_and_kept(ten: tuple[S3Store, list[NewFile]]) -> None:
    store, files = ten
    for file in files:
        path = store.find(file.sha1, "jpg")
        assert path is not None
        assert path.read_bytes() == file.content
    assert sum(cached(store, files)) == 5
