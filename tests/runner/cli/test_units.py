"""Sizes, durations and times, as typed and as shown."""

from __future__ import annotations

import pytest

from runner.cli.units import count_text, duration_text, metric_text, ordinal_text, parse_duration, parse_size, size_text, time_text

GIB = 1024**3


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("8g", 8 * GIB),
        ("8G", 8 * GIB),
        ("8GB", 8 * GIB),
        ("8GiB", 8 * GIB),
        ("1.5g", GIB * 3 // 2),
        ("512m", GIB // 2),
        ("64 k", 65536),
        ("70b", 70),
    ],
)
def test_a_size_is_read_with_its_unit(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


def test_a_size_without_a_unit_is_bytes() -> None:
    assert parse_size("1048576") == 1048576


@pytest.mark.parametrize("text", ["", "g", "8x", "-1g", "8 gigs", "1e9", "nan", "inf", "8g8", "٨g" * 9, "9" * 30])
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="like 512m or 8g"):
        parse_size(text)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("2h", 7200), ("1d", 86400), ("1h30m", 5400), ("0.5h", 1800), ("1H 5S", 3605)])
def test_a_duration_is_read_with_its_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "h", "2 hours", "-1h", "1h30", "2x", "nan"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="like 90s, 2h or 1h30m"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (None, ""),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536 * 1024, "1.5 MiB"),
        (1024**3 - 1, "1.0 GiB"),
        (150 * GIB, "150 GiB"),
    ],
)
def test_a_size_is_shown_in_the_unit_that_fits(size_bytes: int | None, text: str) -> None:
    assert size_text(size_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.42, "0.4 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (185, "3 min 5 s"),
        (3600, "1 h"),
        (7800, "2 h 10 min"),
        (97200, "1 d 3 h"),
    ],
)
def test_a_duration_is_shown_in_two_units_at_most(seconds: float | None, text: str) -> None:
    assert duration_text(seconds) == text


def test_a_time_is_shown_where_the_person_is(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "XYZ-2")
    time.tzset()
    try:
        assert time_text("2026-01-31T23:30:00.123Z") == "2026-02-01 01:30:00"
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()


def test_what_is_no_time_is_shown_as_it_is() -> None:
    assert (time_text(None), time_text("soon")) == ("", "soon")


@pytest.mark.parametrize(("value", "text"), [(0.81234, "0.8123"), (1, "1.0000"), (0, "0.0000"), (120, "120"), (None, "")])
def test_a_metric_is_a_share_with_four_decimals_or_a_count(value: float | None, text: str) -> None:
    assert metric_text(value) == text


def test_one_thing_is_not_several() -> None:
    assert (count_text(0, "image"), count_text(1, "image"), count_text(2, "image")) == ("0 images", "1 image", "2 images")


@pytest.mark.parametrize(
    ("number", "text"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (13, "13th"), (102, "102nd"), (112, "112th")]
)
def test_a_place_in_a_queue_is_counted_as_people_count(number: int, text: str) -> None:
    assert ordinal_text(number) == text
