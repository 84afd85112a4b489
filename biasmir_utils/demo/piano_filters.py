"""A repair of the MuseScore pianos, which TinySoundFont alone cannot play.

The pianos of MuseScore_General keep a low-pass filter at 300 Hz and open it, note by note, with
modulators (velocity to filter envelope). TinySoundFont applies no modulators: the filter stays
shut, and of the piano a thud is left, 20 to 30 dB down. So the filter's settings are changed in
memory to what the modulators give for a note of middle velocity, before the file is loaded. No
other instrument of the two SoundFonts that the corpus uses depends on a modulator in this way.

SoundFont 2.01 specification: section 7 (the `pdta` chunk's records), section 8.1.2 (generators).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

OPEN_CENTS = 10_300
"""Filter cutoff in absolute cents (3.1 kHz): what the modulators give at a velocity of 80."""
SHUT_CENTS = 7_000
"""A piano's cutoff under this (470 Hz) is meant to be opened by modulators."""

_CUTOFF, _ENVELOPE_TO_CUTOFF, _INSTRUMENT = 8, 11, 41
_RECORDS = {
    b"phdr": np.dtype([("name", "S20"), ("numbers", "<u2", 2), ("bag", "<u2"), ("x", "<u4", 3)]),
    b"inst": np.dtype([("name", "S20"), ("bag", "<u2")]),
    b"bag": np.dtype([("generator", "<u2"), ("modulator", "<u2")]),
    b"gen": np.dtype([("kind", "<u2"), ("amount", "<i2")]),
}


def open_piano_filters(content: bytes) -> bytes:
    """Open the filters of pianos that only modulators would open.

    Parameters
    ----------
    content : bytes
        A SoundFont, SF2 or SF3.

    Returns
    -------
    bytes
        The same with other amounts in some generators. A SoundFont without such pianos, and
        anything that is not a SoundFont, is returned as it is.
    """
    chunks = _preset_data(content)
    if not {b"inst", b"ibag", b"igen", b"pbag", b"pgen"} <= set(chunks):
        return content
    changed = bytearray(content)

    def records(name: bytes) -> np.ndarray:
        start, size = chunks[name]
        kind = _RECORDS[name if name in _RECORDS else name[1:]]
        return np.frombuffer(changed, kind, size // kind.itemsize, start)

    instruments, zones, generators = records(b"inst"), records(b"ibag"), records(b"igen")
    shut = set()
    for number in range(len(instruments) - 1):
        if not instruments["name"][number].startswith(b"Piano"):
            continue
        first, last = zones["generator"][instruments["bag"][number : number + 2]]
        mine = generators[first:last]
        closed = (mine["kind"] == _CUTOFF) & (mine["amount"] < SHUT_CENTS)
        if closed.any():
            mine["amount"][closed] = OPEN_CENTS
            shut.add(number)
    # A preset's zone may close the filter of its instrument again.
    zones, generators = records(b"pbag"), records(b"pgen")
    for first, last in zip(zones["generator"][:-1], zones["generator"][1:], strict=True):
        mine = generators[first:last]
        if set(mine["amount"][mine["kind"] == _INSTRUMENT].tolist()) & shut:
            closing = (mine["kind"] == _ENVELOPE_TO_CUTOFF) & (mine["amount"] < 0)
            mine["amount"][closing] = 0
    return bytes(changed)


def _preset_data(content: bytes) -> dict[bytes, tuple[int, int]]:
    """Find start and size of each part of the `pdta` chunk."""
    if content[:4] != b"RIFF" or content[8:12] != b"sfbk":
        return {}
    for name, start, size in _chunks(content, 12, len(content)):
        if name == b"LIST" and content[start : start + 4] == b"pdta":
            return {part: (at, n) for part, at, n in _chunks(content, start + 4, start + size)}
    return {}


def _chunks(content: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while start + 8 <= end:
        name = content[start : start + 4]
        size = int.from_bytes(content[start + 4 : start + 8], "little")
        yield name, start + 8, size
        start += 8 + size
        # Chunks are padded to even length, but MuseScore's SF3 files are not.
        if size % 2 and content[start : start + 1] == b"\0":
            start += 1
