"""Imports from buckets and web servers: whole or not at all, and a clear word on what went wrong."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ConfigurationError, DatasetError, RequestError, SluiceError, UnavailableError
from plugins.sources import http
from plugins.stores import bucket
from runner.service import Runner
from runner.sources import relative_path
from tests.runner.sources.conftest import left_in, png
from tests.s3 import SECRET, FaultyProxy, S3Server, closes, cuts_off, damages, says, sleeps, truncates

Open, Connect = Callable[..., Runner], Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits of a patient client are not worth a test's time."""
    patience = bucket.Patience(attempts=3, connect_timeout_s=2.0, read_timeout_s=1.0, wait_s=0.01, threads=8)
    monkeypatch.setattr("plugins.sources.s3.Patience", lambda: patience)


def test_twenty_images_of_a_bucket_become_a_version(open_runner: Open, connect: Connect, s3_server: S3Server, home: Path) -> None:
    bucket_name = s3_server.new_bucket(
        {f"set/images/{number}.png": png(number) for number in range(20)} | {"other/x.png": png(99), "set/": b""}
    )
    runner = open_runner()
    connect(runner, s3_server.endpoint)
    counts: list[tuple[int, int | None]] = []
    report = runner.import_dataset("cells", f"s3://{bucket_name}/set", on_progress=lambda *count: counts.append(count))
    assert (report["images"], report["source"], report["skipped"]) == (20, f"s3://{bucket_name}/set", [])
    assert counts[0] == (0, 20)
    assert list((home / "tmp").iterdir()) == []
    again = runner.import_dataset("cells", f"obs://{bucket_name}/set/", connection="team")
    assert again["unchanged"]


def test_an_archive_in_a_bucket_is_unpacked(open_runner: Open, connect: Connect, s3_server: S3Server) -> None:
    bucket_name = s3_server.new_bucket({"sets/a b.zip": _zip(3)})
    runner = open_runner()
    connect(runner, s3_server.endpoint)
    assert runner.import_dataset("cells", f"s3://{bucket_name}/sets/a b.zip")["images"] == 3


ODD = ("../up.png", "a/../../b.png", "/lead.png", "a//b.png", "./c.png", "d/./e.png")
GOOD = ("with blank.png", "名前/画像.png", "%2e%2e/f.png", "+&=?#.png", "back\\slash.png")


def test_keys_that_lead_out_are_left_out_by_name_and_odd_ones_are_read(
    open_runner: Open, connect: Connect, s3_server: S3Server, home: Path, tmp_path: Path
) -> None:
    bucket_name = s3_server.new_bucket({f"set/{key}": png(number) for number, key in enumerate((*GOOD, *ODD))})
    before = {path for path in tmp_path.rglob("*") if home not in path.parents and path != home}
    runner = open_runner()
    connect(runner, s3_server.endpoint)
    report = runner.import_dataset("cells", f"s3://{bucket_name}/set/")
    assert {skip["place"] for skip in report["skipped"]} == set(ODD)
    assert report["images"] == len(GOOD)
    assert {path for path in tmp_path.rglob("*") if home not in path.parents and path != home} == before


@given(st.text(max_size=300))
def test_no_key_at_all_leads_out_of_the_folder(key: str) -> None:
    place = relative_path(key)
    if place is not None:
        assert not place.is_absolute()
        assert Path("/base", place).resolve().is_relative_to("/base") or ".." not in place.parts
        assert str(place) == key


def test_a_key_that_is_a_file_and_a_folder_is_left_out_once(open_runner: Open, connect: Connect, s3_server: S3Server) -> None:
    bucket_name = s3_server.new_bucket({"set/a.png": png(1), "set/a.png/b.png": png(2)})
    runner = open_runner()
    connect(runner, s3_server.endpoint)
    report = runner.import_dataset("cells", f"s3://{bucket_name}/set/")
    assert ([skip["place"] for skip in report["skipped"]], report["images"]) == (["a.png/b.png"], 1)


@pytest.mark.parametrize(
    ("method", "text", "fault", "kind", "words"),
    [
        (
            "GET",
            "list-type=2",
            says(403, "AccessDenied"),
            DatasetError,
            "s3://{bucket}/set/ may not be listed: the store says AccessDenied",
        ),
        ("GET", "list-type=2", says(404, "NoSuchBucket"), DatasetError, "there is no bucket '{bucket}' at http"),
        ("GET", "/7.png", says(403, "AccessDenied"), DatasetError, "s3://{bucket}/set/7.png may not be read"),
        ("GET", "/7.png", says(404, "NoSuchKey"), DatasetError, "there is no object s3://{bucket}/set/7.png"),
        ("GET", "/7.png", says(412, "PreconditionFailed"), DatasetError, "s3://{bucket}/set/7.png was changed while it was read"),
        ("GET", "/7.png", says(500, "InternalError"), UnavailableError, "s3://{bucket}/set/7.png could not be read in 3 attempts"),
        ("GET", "/7.png", cuts_off(0), UnavailableError, "s3://{bucket}/set/7.png did not arrive whole"),
        ("GET", "/7.png", damages, UnavailableError, "s3://{bucket}/set/7.png did not arrive whole"),
        ("GET", "/7.png", truncates, UnavailableError, "s3://{bucket}/set/7.png did not arrive whole"),
        ("GET", "/7.png", sleeps(1.5), UnavailableError, "s3://{bucket}/set/7.png could not be read"),
        ("GET", "/7.png", closes, UnavailableError, "s3://{bucket}/set/7.png could not be read"),
    ],
    ids=lambda value: getattr(value, "__qualname__", str(value)[:14]).split(".")[0],
)
def test_an_import_that_fails_names_the_object_and_leaves_nothing(
    method: str, text: str, fault: Any, kind: type[SluiceError], words: str,
    open_runner: Open, connect: Connect, s3_server: S3Server, s3_faults: FaultyProxy, home: Path,
) -> None:  # fmt: skip
    bucket_name = s3_server.new_bucket({f"set/{number}.png": png(number) for number in range(10)})
    runner = open_runner()
    connect(runner, s3_faults.endpoint)
    s3_faults.on(method, text, fault)
    with pytest.raises(kind) as refused:
        runner.import_dataset("cells", f"s3://{bucket_name}/set/")
    assert words.format(bucket=bucket_name) in refused.value.message
    assert refused.value.hint
    assert refused.value.fields["bucket"] == bucket_name
    assert SECRET not in str(refused.value.to_dict())
    assert (left_in(home), runner.list_datasets()) == ([], [])


@pytest.mark.parametrize("fault", [says(500, "InternalError"), says(503, "SlowDown"), closes, cuts_off(30), damages, truncates])
def test_what_passes_is_tried_again(fault: Any, open_runner: Open, connect: Connect, s3_server: S3Server, s3_faults: FaultyProxy) -> None:
    bucket_name = s3_server.new_bucket({f"set/{number}.png": png(number) for number in range(4)})
    runner = open_runner()
    connect(runner, s3_faults.endpoint)
    s3_faults.on("GET", ".png", fault, times=2)
    assert runner.import_dataset("cells", f"s3://{bucket_name}/set/")["images"] == 4


def test_a_cut_body_is_taken_up_where_it_ended(open_runner: Open, connect: Connect, s3_server: S3Server, s3_faults: FaultyProxy) -> None:
    bucket_name = s3_server.new_bucket({"set/a.png": png(1)})
    runner = open_runner()
    connect(runner, s3_faults.endpoint)
    s3_faults.on("GET", "a.png", cuts_off(100), times=1)
    assert runner.import_dataset("cells", f"s3://{bucket_name}/set/")["images"] == 1
    assert [path for method, path in s3_faults.requests if method == "GET" and "a.png" in path] == [f"/{bucket_name}/set/a.png"] * 2


@pytest.mark.parametrize(("setting", "value"), [("source_max_files", "3"), ("source_max_bytes", "1000")])
def test_more_than_is_allowed_is_refused_before_anything_is_fetched(
    setting: str, value: str, open_runner: Open, connect: Connect, s3_server: S3Server, s3_faults: FaultyProxy, home: Path
) -> None:
    bucket_name = s3_server.new_bucket({f"set/{number}.png": png(number) for number in range(5)})
    runner = open_runner(**{setting: value})
    connect(runner, s3_faults.endpoint)
    with pytest.raises(DatasetError, match=f"setting {setting}"):
        runner.import_dataset("cells", f"s3://{bucket_name}/set/")
    assert [path for method, path in s3_faults.requests if ".png" in path] == []
    assert left_in(home) == []


@pytest.mark.parametrize(
    ("address", "kind", "words"),
    [
        ("s3://", ConfigurationError, "names no bucket"),
        ("ftp://host/x", ConfigurationError, "nothing reads ftp://"),
        ("s3://{bucket}/nothing/", DatasetError, "there is nothing at s3://"),
        ("s3://never-made/x/", DatasetError, "there is no bucket 'never-made'"),
        ("s3://Not A Bucket/x/", DatasetError, "not one of S3"),
    ],
)
def test_a_wrong_address_is_refused(
    address: str, kind: type[SluiceError], words: str, open_runner: Open, connect: Connect, s3_server: S3Server, home: Path
) -> None:
    runner = open_runner()
    connect(runner, s3_server.endpoint)
    with pytest.raises(kind, match=words):
        runner.import_dataset("cells", address.format(bucket=s3_server.new_bucket()))
    assert left_in(home) == []


def test_the_connection_of_the_bucket_is_chosen_and_doubt_is_refused(open_runner: Open, connect: Connect, s3_server: S3Server) -> None:
    bucket_name = s3_server.new_bucket({"a.png": png(1)})
    runner = open_runner()
    connect(runner, "http://127.0.0.1:1", "broken")
    connect(runner, "http://127.0.0.1:1", "other")
    with pytest.raises(RequestError, match="several connections") as refused:
        runner.import_dataset("cells", f"s3://{bucket_name}/")
    assert "broken, other" in refused.value.hint
    connect(runner, s3_server.endpoint, "fitting", bucket=bucket_name)
    assert runner.import_dataset("cells", f"s3://{bucket_name}")["images"] == 1


def test_without_a_connection_the_environment_of_boto3_says_who_asks(
    open_runner: Open, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket_name = s3_server.new_bucket({"set/a.png": png(1)})
    runner = open_runner()
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)
    with pytest.raises(ConfigurationError, match="has no access key"):
        runner.import_dataset("cells", f"s3://{bucket_name}/set/")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from-the-environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "likewise")
    assert runner.import_dataset("cells", f"s3://{bucket_name}/set/")["images"] == 1


# ----------------------------------------------------------------------------------------------------------------- web server


def _zip(count: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(count):
            archive.writestr(f"{number}.png", png(number))
    return file.getvalue()


@pytest.fixture
def web() -> Iterator[str]:
    """A web server: ``/set.zip``, ``/moved`` leads there, ``/round`` to itself, ``/down`` to a file, ``/short`` ends early, ``/500`` and ``/404``."""
    content = _zip(3)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            place = {
                "/moved": "/set.zip",
                "/round": "/round",
                "/down": "file:///etc/passwd",
                "/inside": "http://169.254.169.254/latest/",
            }.get(path)
            if place:
                self.answer(302, b"", location=place)
            elif path in ("/404", "/401", "/500"):
                self.answer(int(path[1:]), b"no")
            else:
                self.close_connection = path == "/short"
                self.answer(200, content[:50] if path == "/short" else content, length=len(content))

        def answer(self, status: int, body: bytes, location: str = "", length: int | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            if location:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("path", ["/set.zip", "/moved", "/set.zip?signature=secret"])
def test_an_archive_of_a_web_server_is_imported(path: str, open_runner: Open, web: str, home: Path) -> None:
    report = open_runner().import_dataset("cells", web + path)
    assert report["images"] == 3
    assert "secret" not in str(report)
    assert list((home / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        ("/404?signature=secret", DatasetError, "answered 404"),
        ("/401", DatasetError, "answered 401"),
        ("/500", UnavailableError, r"answered 500 \(2 attempts\)"),
        ("/short", UnavailableError, "cut off"),
        ("/round", DatasetError, "leads on too often"),
        ("/down", DatasetError, "another kind of address"),
        ("/inside", DatasetError, r"leads to 169\.254\.169\.254, which is never asked"),
    ],
)
def test_what_a_web_server_refuses_is_told_and_leaves_nothing(
    path: str, kind: type[SluiceError], words: str, open_runner: Open, web: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = http.Patience(attempts=2, timeout_s=2.0, wait_s=0.01)
    monkeypatch.setattr("plugins.sources.http.Patience", lambda: patience)
    with pytest.raises(kind, match=words) as refused:
        open_runner().import_dataset("cells", web + path)
    assert "secret" not in str(refused.value.to_dict())
    assert left_in(home) == []


def test_a_file_that_is_too_large_is_refused(open_runner: Open, web: str, home: Path) -> None:
    with pytest.raises(DatasetError, match="more than the 100 bytes allowed"):
        open_runner(source_max_bytes="100").import_dataset("cells", f"{web}/set.zip")
    assert left_in(home) == []


def test_what_an_import_writes_may_not_lie_in_what_it_reads(
    open_runner: Open, connect: Connect, s3_server: S3Server, home: Path, tmp_path: Path
) -> None:
    runner = open_runner()
    (tmp_path / "link").symlink_to(home.parent)
    for source in (home, home.parent, tmp_path / "link"):
        with pytest.raises(DatasetError, match="lies inside of"):
            runner.import_dataset("cells", source)
    (home.parent / f"{home.name}-pictures").mkdir()
    (home.parent / f"{home.name}-pictures" / "a.png").write_bytes(png(1))
    assert runner.import_dataset("cells", home.parent / f"{home.name}-pictures")["images"] == 1
    bucket_name = s3_server.new_bucket({"set/a.png": png(1), "assets-not/a.png": png(2)})
    in_bucket = open_runner(store="s3", store_connection="team", store_address=f"s3://{bucket_name}/assets")
    connect(in_bucket, s3_server.endpoint)
    for address in (f"s3://{bucket_name}", f"obs://{bucket_name}/assets/"):
        with pytest.raises(DatasetError, match="lies inside of"):
            in_bucket.import_dataset("cells", address)
    assert in_bucket.import_dataset("other", f"s3://{bucket_name}/assets-not/")["images"] == 1


def test_what_is_no_archive_is_refused(open_runner: Open, connect: Connect, s3_server: S3Server, home: Path) -> None:
    bucket_name = s3_server.new_bucket({"set/readme.txt": b"hello"})
    runner = open_runner()
    connect(runner, s3_server.endpoint)
    with pytest.raises(DatasetError):
        runner.import_dataset("cells", f"s3://{bucket_name}/set/readme.txt")
    assert left_in(home) == []
