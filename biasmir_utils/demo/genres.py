"""The four genres: tempo, harmony, rhythm and who accompanies."""

from __future__ import annotations

from dataclasses import dataclass

GENRES = ("pop_rock", "jazz_blue", "classical", "country_folk")
"""Groups of both datasets, in the paper's order."""


@dataclass(frozen=True)
class Style:
    """What a genre fixes about the music.

    Attributes
    ----------
    tempo : tuple of float
        Slowest and fastest, beats per minute.
    progressions : tuple of tuple of int
        Chord roots, one for each bar, in semitones above the key.
    sevenths : bool
        Whether chords have sevenths.
    swing : bool
        Whether eighths are played long and short.
    note_lengths : tuple of float
        Lengths of melody notes in beats; a length listed twice is twice as likely.
    chord_patterns : tuple of str
        Ways of playing chords, names of :data:`biasmir_utils.demo.patterns.CHORD_PATTERNS`.
    drums : float
        Probability of a drum kit where there is an accompaniment.
    bass_programs : tuple of int
        General MIDI programs of the unlabelled bass part.
    chord_programs : tuple of int
        Those of the unlabelled chord part.
    """

    tempo: tuple[float, float]
    progressions: tuple[tuple[int, ...], ...]
    sevenths: bool
    swing: bool
    note_lengths: tuple[float, ...]
    chord_patterns: tuple[str, ...]
    drums: float
    bass_programs: tuple[int, ...]
    chord_programs: tuple[int, ...]


STYLES: dict[str, Style] = {
    "pop_rock": Style(
        tempo=(95, 145),
        progressions=((0, 7, 9, 5), (9, 5, 0, 7), (0, 5, 7, 5), (0, 9, 5, 7)),
        sevenths=False,
        swing=False,
        note_lengths=(0.5, 0.5, 1, 0.25),
        chord_patterns=("strummed", "sustained", "arpeggio"),
        drums=0.9,
        bass_programs=(33, 34, 38),
        chord_programs=(48, 50, 89, 29, 27, 4),
    ),
    "jazz_blue": Style(
        tempo=(80, 200),
        progressions=((2, 7, 0, 9), (0, 9, 2, 7), (0, 5, 0, 7), (5, 7, 4, 9)),
        sevenths=True,
        swing=True,
        note_lengths=(0.5, 0.5, 1, 1.5),
        chord_patterns=("charleston", "sustained", "off-beat"),
        drums=0.75,
        bass_programs=(32,),
        chord_programs=(0, 26, 4, 11),
    ),
    "classical": Style(
        tempo=(55, 115),
        progressions=((0, 5, 7, 0), (0, 2, 7, 0), (0, 9, 5, 7), (9, 2, 4, 9)),
        sevenths=False,
        swing=False,
        note_lengths=(0.5, 1, 1, 2, 0.25),
        chord_patterns=("alberti", "sustained", "arpeggio"),
        drums=0.0,
        bass_programs=(43,),
        chord_programs=(48, 49, 0, 46),
    ),
    "country_folk": Style(
        tempo=(80, 135),
        progressions=((0, 5, 0, 7), (0, 0, 7, 0), (0, 5, 7, 0)),
        sevenths=False,
        swing=False,
        note_lengths=(0.5, 0.5, 1, 0.5),
        chord_patterns=("boom-chuck", "strummed", "arpeggio"),
        drums=0.5,
        bass_programs=(32, 33),
        chord_programs=(25, 105, 24, 22, 21),
    ),
}
"""The style of each of :data:`GENRES`."""
