"""Curves for TensorBoard, written without TensorBoard: an event file is a row of checksummed protocol buffer messages."""

from __future__ import annotations

import struct
import time
from pathlib import Path

CRC32C_POLYNOMIAL = 0x82F63B78  # Castagnoli, bits reversed
MASK_DELTA = 0xA282EAD8  # TensorFlow's tfrecord format


class EventFile:
    """Appends numbers by tag and step; every record is flushed, so a killed job leaves its curves."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / f"events.out.tfevents.{int(time.time())}.mmdet").open("ab")
        self._write(_field(3, b"brain.Event:2"))

    def add(self, step: int, values: dict[str, float]) -> None:
        """One point per tag, such as ``train/loss``."""
        summary = b"".join(_field(1, _field(1, tag.encode()) + b"\x15" + struct.pack("<f", value)) for tag, value in values.items())
        self._write(b"\x10" + _varint(step) + _field(5, summary))

    def close(self) -> None:
        self._file.close()

    def _write(self, rest: bytes) -> None:
        event = b"\x09" + struct.pack("<d", time.time()) + rest
        length = struct.pack("<Q", len(event))
        self._file.write(length + _masked_crc(length) + event + _masked_crc(event))
        self._file.flush()


def crc32c(data: bytes) -> int:
    """The Castagnoli checksum; bit by bit, for records are few and short."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (CRC32C_POLYNOMIAL if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def _masked_crc(data: bytes) -> bytes:
    value = crc32c(data)
    return struct.pack("<I", (((value >> 15) | (value << 17)) + MASK_DELTA) & 0xFFFFFFFF)


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field of a message."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = b""
    while value > 127:
        encoded, value = encoded + bytes([value & 127 | 128]), value >> 7
    return encoded + bytes([value])
