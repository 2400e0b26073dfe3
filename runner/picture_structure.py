"""Whether a picture file is built as the common ones are, without decoding a pixel: markers, tables, checksums, sizes, the end.

``well_formed`` never refuses: what is not built as expected, odd or broken, is for a real decoder to judge. So the cheap look cannot reject a
picture that a decoder would take, and what it lets pass can be decoded by what jobs use. A file cut at any byte has lost its end (the EOI of
a JPEG, the IEND of a PNG, rows of a BMP) and never passes. What it cannot see: Huffman codes of wrong lengths that are still codes, which a
decoder may stumble over; damage inside the compressed data and a wrong height of a JPEG, which decoders paint over as well.
Sources: ITU T.81 annex B, PNG third edition 5, BITMAPINFOHEADER.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import lru_cache

#: Frames of Huffman-coded JPEG with 8-bit samples: baseline, extended sequential, progressive.
_FRAMES = {0xC0, 0xC1, 0xC2}
_SOS, _DQT, _DHT, _DRI, _COM, _APP0, _APP1, _APP14, _APP15, _EOI = 0xDA, 0xDB, 0xC4, 0xDD, 0xFE, 0xE0, 0xE1, 0xEE, 0xEF, b"\xff\xd9"
_EXPECTED = _FRAMES | {_SOS, _DQT, _DHT, _DRI, _COM, *range(_APP0, _APP15 + 1)}
#: Names of application segments whose fields decoders read, with their least lengths.
_APPLICATIONS = {_APP0: (b"JFIF", 14), _APP14: (b"Adobe", 12)}
_MOST_BLOCKS = 10  # in one minimum coded unit
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
#: Nothing is packed tighter by deflate.
_DEFLATE_RATIO = 1032
#: Chunks and segments in which somebody may say that viewers should turn the picture.
_TURNING_CHUNKS = {b"eXIf", b"iTXt", b"tEXt", b"zTXt"}

#: Width, height, and whether the metadata may say that the picture is to be turned; None: a decoder must look.
Outline = tuple[int, int, bool]


def well_formed(content: bytes, extension: str) -> Outline | None:
    """The size of a picture that is built as it should be; None where only a decoder can say."""
    try:
        return _READERS[extension](content)
    except (struct.error, IndexError, KeyError, ValueError):
        return None


def _jpeg(content: bytes) -> Outline | None:
    """A JPEG with one frame, all the tables that its first scan uses, data enough for its size, and an end."""
    position, tables, frame, turned = 2, set[tuple[str, int]](), b"", False
    while True:
        if content[position] != 0xFF:
            return None
        marker = content[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        length = content[position + 2] << 8 | content[position + 3]
        segment = content[position + 4 : position + 2 + length]
        if marker not in _EXPECTED or length < 2 or not _can_be(marker, segment):
            return None
        position += 2 + length
        if marker == _SOS:
            return _jpeg_scan(content, position, frame, segment, tables, turned)
        if marker in _FRAMES:
            if frame:
                return None
            frame = bytes([marker]) + segment
        elif marker == _DQT:
            tables |= {("q", number) for number in _quantisation_tables(segment)}
        elif marker == _DHT:
            tables |= _huffman_tables(segment)
        elif marker == _APP1:
            turned = turned or segment.startswith(b"Exif") or b"Orientation" in segment


def _jpeg_scan(content: bytes, begin: int, frame: bytes, scan: bytes, tables: set[tuple[str, int]], turned: bool) -> Outline | None:
    judged = _judged(frame, scan, frozenset(tables))
    end = content.rfind(_EOI, begin)
    if judged is None or end < 0 or (end - begin) * 8 < judged[2]:
        return None
    return judged[0], judged[1], turned


@lru_cache(1024)  # the pictures of one camera or program differ in nothing of this
def _judged(frame: bytes, scan: bytes, tables: frozenset[tuple[str, int]]) -> tuple[int, int, int] | None:
    """Width, height and the least bits that the first scan must have; None when frame, scan and tables do not fit each other."""
    precision, height, width, count = struct.unpack_from(">BHHB", frame, 1)
    components = [tuple(frame[7 + 3 * number : 10 + 3 * number]) for number in range(count)]
    if precision != 8 or count not in (1, 3, 4) or len(frame) != 7 + 3 * count or not width or not height:
        return None
    names = {name for name, _, _ in components}
    if len(names) != count or not _samplings_fit(components) or any(("q", table) not in tables for _, _, table in components):
        return None
    if not _scan_fits(scan, names, tables, progressive=frame[0] == 0xC2):
        return None
    # Each block of 8 x 8 takes two codes at least, of one bit each; of a progressive one, the first scan one bit for each DC.
    blocks = sum((sampling >> 4) * (sampling & 15) for _, sampling, _ in components) * _units(width, height, components)
    least_bits = blocks if frame[0] == 0xC2 else 2 * blocks
    return width, height, least_bits if scan[0] == count else 0


def _can_be(marker: int, segment: bytes) -> bool:
    """Whether a short segment has the length that its marker asks for."""
    if marker == _DRI:
        return len(segment) == 2
    name, least = _APPLICATIONS.get(marker, (b"", 0))
    return not name or not segment.startswith(name) or len(segment) >= least


def _samplings_fit(components: list[tuple[int, ...]]) -> bool:
    """Factors of 1 to 4 that divide the largest, and not more blocks in a unit than decoders take."""
    factors = [(sampling >> 4, sampling & 15) for _, sampling, _ in components]
    if any(not 1 <= factor <= 4 for pair in factors for factor in pair):
        return False
    across, down = (max(pair[side] for pair in factors) for side in (0, 1))
    divide = all(across % pair[0] == 0 and down % pair[1] == 0 for pair in factors)
    return divide and (len(factors) == 1 or sum(a * b for a, b in factors) <= _MOST_BLOCKS)


def _units(width: int, height: int, components: list[tuple[int, ...]]) -> int:
    """Minimum coded units of a frame; a frame of one component has one of each block."""
    if len(components) == 1:
        _, sampling, _ = components[0]
        return -(-width // 8) * -(-height // 8) // ((sampling >> 4) * (sampling & 15))
    across, down = max(s >> 4 for _, s, _ in components), max(s & 15 for _, s, _ in components)
    return -(-width // (8 * across)) * -(-height // (8 * down))


def _scan_fits(scan: bytes, known: set[int], tables: frozenset[tuple[str, int]], *, progressive: bool) -> bool:
    """The header of a scan speaks of components of the frame and of Huffman tables that are there."""
    count = scan[0]
    if not 1 <= count <= 4 or len(scan) != 4 + 2 * count:
        return False
    for number in range(count):
        component, chosen = scan[1 + 2 * number], scan[2 + 2 * number]
        if component not in known or ("dc", chosen >> 4) not in tables:
            return False
        if not progressive and ("ac", chosen & 15) not in tables:
            return False
    first, last = scan[1 + 2 * count], scan[2 + 2 * count]
    return (first == 0 and last == 0) if progressive else (first == 0 and last == 63)


@lru_cache(256)  # most files of a camera or program have the same tables
def _quantisation_tables(segment: bytes) -> list[int]:
    """Their numbers. Raises ``ValueError`` when the segment does not hold whole tables."""
    numbers, position = [], 0
    while position < len(segment):
        precision, number = segment[position] >> 4, segment[position] & 15
        values = segment[position + 1 : position + 65 + 64 * precision]
        if precision > 1 or number > 3 or len(values) != 64 * (1 + precision) or (not precision and 0 in values):
            raise ValueError("a broken quantisation table")
        numbers.append(number)
        position += 65 + 64 * precision
    return numbers


@lru_cache(256)
def _huffman_tables(segment: bytes) -> set[tuple[str, int]]:
    """Their kinds and numbers. Raises ``ValueError`` for a code that cannot be one."""
    found, position = set(), 0
    while position < len(segment):
        kind, number = segment[position] >> 4, segment[position] & 15
        lengths = segment[position + 1 : position + 17]
        symbols = segment[position + 17 : position + 17 + sum(lengths)]
        if kind > 1 or number > 3 or len(lengths) != 16 or len(symbols) != sum(lengths) > 256 or not _is_code(lengths):
            raise ValueError("a broken Huffman table")
        if kind == 0 and any(symbol > 15 for symbol in symbols):
            raise ValueError("a broken Huffman table")
        found.add(("ac" if kind else "dc", number))
        position += 17 + len(symbols)
    return found


def _is_code(lengths: bytes) -> bool:
    """As many codes of each length as there can be (Kraft)."""
    used = 0
    for length, count in enumerate(lengths, start=1):
        used += count << (16 - length)
    return used <= 1 << 16


def _png(content: bytes) -> Outline | None:
    """A PNG whose chunks all have their checksums, from IHDR to IEND, with data enough for its size."""
    position, kinds, data_bytes = 8, set[bytes](), 0
    width, height, depth, colour, compression, filtering, interlace = struct.unpack_from(">IIBBBBB", content, 16)
    if content[8:16] != b"\0\0\0\rIHDR" or depth not in _PNG_DEPTHS[colour] or compression or filtering or interlace > 1:
        return None
    view = memoryview(content)
    while b"IEND" not in kinds:
        (length,) = struct.unpack_from(">I", content, position)
        end = position + 8 + length
        if zlib.crc32(view[position + 4 : end]) != struct.unpack_from(">I", content, end)[0]:
            return None
        kind = content[position + 4 : position + 8]
        kinds.add(kind)
        data_bytes += length if kind == b"IDAT" else 0
        position = end + 4
    row_bytes = (width * _PNG_CHANNELS[colour] * depth + 7) // 8 + 1
    if not width or not height or row_bytes * height > data_bytes * _DEFLATE_RATIO or (colour == 3 and b"PLTE" not in kinds):
        return None
    return width, height, not kinds.isdisjoint(_TURNING_CHUNKS)


def _bmp(content: bytes) -> Outline | None:
    """An uncompressed BMP with 8, 24 or 32 bits for a pixel and all its rows."""
    offset, header, width, height, planes, bits, packing, _, _, _, colours_used = struct.unpack_from("<IIiiHHIIiiI", content, 10)
    height = abs(height)
    if header not in (40, 108, 124) or planes != 1 or bits not in (8, 24, 32) or packing or width < 1 or height < 1:
        return None
    row_bytes = (width * bits // 8 + 3) // 4 * 4
    palette_fits = bits != 8 or (offset == 14 + header + 4 * 256 and colours_used in (0, 256))
    holds_all = 14 + header <= offset and offset + row_bytes * height <= len(content)
    return (width, height, False) if palette_fits and holds_all else None


_READERS: dict[str, Callable[[bytes], Outline | None]] = {"jpg": _jpeg, "png": _png, "bmp": _bmp}
