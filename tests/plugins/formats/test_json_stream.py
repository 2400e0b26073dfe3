"""JSON that is read piece by piece gives what the standard library gives, wherever the pieces are cut."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plugins.formats import json_stream
from plugins.formats.json_stream import JsonFile
from plugins.formats.listing import UnreadableFileError, list_folder

Write = Callable[[str, str | bytes], Path]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def _read(folder: Path, name: str = "x.json", limit_bytes: int = 1 << 20) -> Any:
    """The document put together again, each piece also read a second time at its place."""
    whole: Any = {}
    with JsonFile(list_folder(folder), PurePosixPath(name), limit_bytes) as document:
        for piece in document.pieces():
            if piece.value is None and (piece.start, piece.end) == (0, 0):
                whole = [] if piece.key == "" and not whole else whole
                if isinstance(whole, dict):
                    whole[piece.key] = []
                continue
            assert json.dumps(document.value_at(piece.start, piece.end)) == json.dumps(piece.value)
            if isinstance(whole, list):
                whole.append(piece.value)
            elif piece.number < 0:
                whole[piece.key] = piece.value
            else:
                whole[piece.key].append(piece.value)
    return whole


@pytest.mark.parametrize("chunk", [1, 7, 1024**2])
def test_every_document_is_read_as_it_is(folder: Path, write: Write, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK_BYTES", chunk)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(
        st.dictionaries(st.text(min_size=1), VALUES, max_size=4) | st.lists(VALUES, max_size=4), st.booleans(), st.sampled_from([None, 2])
    )
    def check(document: Any, ascii_only: bool, indent: int | None) -> None:
        text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
        write("x.json", text.encode("utf-8", "surrogatepass" if ascii_only else "replace"))
        read = _read(folder)
        assert json.dumps(read) == json.dumps(json.loads((folder / "x.json").read_bytes()))

    check()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gb18030"])
def test_other_encodings_are_read(folder: Path, write: Write, encoding: str) -> None:
    document = {"images": [{"file_name": "检测目标\\{[.jpg"}], "info": "猫"}
    write("x.json", json.dumps(document, ensure_ascii=False).encode(encoding))
    assert _read(folder) == document


def test_nan_is_read_as_tools_write_it(folder: Path, write: Write) -> None:
    write("x.json", "[NaN, -Infinity]")
    assert str(_read(folder)) == "[nan, -inf]"


@pytest.mark.parametrize("chunk", [3, 1024**2])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("7", "begins with '7'"),
        ("{", "at byte 1"),
        ('{"a": [1, 2', "comma"),
        ('{"a": [1, 2,]}', "a value is expected"),
        ('{"a" [1]}', "a key is expected"),
        ('{"a": [1 2]}', "comma or ]"),
        ('{"a": [1]} x', "more text follows"),
        ('["abc', "Unterminated string"),
        ("[" * 100_000, "nested too deeply"),
        ('[{"a": ' + "9" * 5000 + "}]", "4300"),
        (b"[\xff\xff\xff]", "not text"),
    ],
)
def test_what_is_no_json_is_refused_with_the_place(
    folder: Path, write: Write, content: str | bytes, reason: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK_BYTES", chunk)
    write("x.json", content)
    with pytest.raises(UnreadableFileError, match=reason.replace("[", r"\[")):
        _read(folder)


def test_a_file_or_a_value_beyond_the_limit_is_refused(folder: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("x.json", json.dumps(["x" * 5000]))
    with pytest.raises(UnreadableFileError, match="limit of 100 bytes"):
        _read(folder, limit_bytes=100)
    monkeypatch.setattr(json_stream, "_CHUNK_BYTES", 100)
    monkeypatch.setattr(json_stream, "_LARGEST_PIECE_BYTES", 1000)
    with pytest.raises(UnreadableFileError, match="more than 1,000 bytes at byte 1"):
        _read(folder)


def test_a_file_that_changes_while_it_is_read_is_named(folder: Path, write: Write) -> None:
    write("x.json", '[{"a": 1}]')
    with JsonFile(list_folder(folder), PurePosixPath("x.json"), 100) as document:
        *_, piece = document.pieces()
        write("x.json", "nothing")
        with pytest.raises(UnreadableFileError, match="changed"):
            document.value_at(piece.start, piece.end)
