"""How accompaniments are played: chords, bass lines and drum beats, bar by bar.

A pattern is a list of hits: onset in beats from the bar line, length in beats, MIDI keys.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Hit = tuple[float, float, tuple[int, ...]]
Pattern = list[Hit]

BEATS = 4
"""Beats in a bar."""

KICK, SNARE, CLOSED_HAT, PEDAL_HAT, RIDE = 36, 38, 42, 44, 51
SWING = 2 / 3
"""Where in the beat a swung eighth falls."""


def _strummed(chord: tuple[int, ...], rng: np.random.Generator) -> Pattern:
    return [(b / 2, 0.45, chord) for b in range(8) if rng.random() < 0.8 or b == 0]


def _sustained(chord: tuple[int, ...], rng: np.random.Generator) -> Pattern:
    return [(0, 0.97 * BEATS, chord)]


def _arpeggio(chord: tuple[int, ...], rng: np.random.Generator) -> Pattern:
    return [(b / 2, 0.7, (chord[b % len(chord)],)) for b in range(8)]


def _alberti(chord: tuple[int, ...], rng: np.random.Generator) -> Pattern:
    low, middle, high = chord[:3]
    return [(b / 2, 0.5, ((low, high, middle, high)[b % 4],)) for b in range(8)]


def _boom_chuck(chord: tuple[int, ...], rng: np.random.Generator) -> Pattern:
    return [(b, 0.4, chord if b % 2 else (chord[0] - 12,)) for b in range(BEATS)]


def _charleston(chord: tuple[int, ...], rng: np.random.Generator) -> Pattern:
    return [(0, 0.9, chord), (1 + SWING, 0.5, chord)]


def _off_beat(chord: tuple[int, ...], rng: np.random.Generator) -> Pattern:
    return [(b, 0.6, chord) for b in (1, 3)]


CHORD_PATTERNS: dict[str, Callable[[tuple[int, ...], np.random.Generator], Pattern]] = {
    "strummed": _strummed,
    "sustained": _sustained,
    "arpeggio": _arpeggio,
    "alberti": _alberti,
    "boom-chuck": _boom_chuck,
    "charleston": _charleston,
    "off-beat": _off_beat,
}
"""Ways of playing a bar of a chord whose keys are given in rising order."""


def bass_bar(genre: str, chord: tuple[int, ...]) -> Pattern:
    """One bar of a bass line, keys from 28 to 45, for a chord given from its root upwards."""

    def low(pitch: int) -> int:
        return 28 + (pitch - 28) % 12

    root = low(chord[0])
    if genre == "pop_rock":
        return [(b / 2, 0.45, (root,)) for b in range(8)]
    if genre == "jazz_blue":
        return [(b, 0.9, (low(chord[b % len(chord)]),)) for b in range(BEATS)]
    if genre == "classical":
        return [(0, 3.8, (root,))]
    fifth = root + 7 if root < 38 else root - 5
    return [(0, 0.9, (root,)), (2, 0.9, (fifth,))]


def drum_bar(genre: str, ride: bool, rng: np.random.Generator) -> Pattern:
    """One bar of a drum beat (General MIDI percussion keys)."""

    def strokes(key: int, *onsets: float) -> Pattern:
        return [(onset, 0.2, (key,)) for onset in onsets]

    eighths = [b / 2 for b in range(8)]
    if genre == "pop_rock":
        cymbal = strokes(RIDE if ride else CLOSED_HAT, *eighths)
        return strokes(KICK, 0, 2, 2.5) + strokes(SNARE, 1, 3) + cymbal
    if genre == "jazz_blue":
        beat = strokes(RIDE, 0, 1, 1 + SWING, 2, 3, 3 + SWING) + strokes(PEDAL_HAT, 1, 3)
        if rng.random() < 0.5:
            beat += strokes(SNARE, float(rng.choice([0, 1 + SWING, 2 + SWING])))
        return beat
    brushes = strokes(CLOSED_HAT, *eighths[::2]) + strokes(SNARE, *eighths[1::2])
    return brushes + strokes(KICK, 0, 2)
