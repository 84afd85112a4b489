"""Pieces of music as notes: key, tempo, chords, parts, and the clips cut from them.

Nothing here knows a SoundFont or a production. A piece depends on the seed, on its track and on
what the dataset's design says about music (clip length, ensemble, levels, accompaniment).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from design import GENRES, INSTRUMENTS, DatasetDesign, Track

BEATS = 4  # in a bar
SWING = 2 / 3  # where in the beat a swung eighth falls
MAJOR = (0, 2, 4, 5, 7, 9, 11)
MINOR = (0, 2, 3, 5, 7, 8, 10)
BLUES = (0, 2, 3, 4, 5, 7, 9, 10)
KICK, SNARE, CLOSED_HAT, PEDAL_HAT, RIDE = 36, 38, 42, 44, 51
# How often a genre's own programs are used where it has some.
GENRE_PROGRAM_PROBABILITY = 0.8
# Rests in seconds are shorter: a labelled instrument must be heard in a clip of three seconds.
LONGEST_REST = 1.0
# Range of the unlabelled chord part, MIDI note numbers.
CHORDS_LOWEST, CHORDS_HIGHEST = 45, 76

Chord = tuple[int, ...]
# Hits of a bar: onset in beats from the bar line, length in beats, MIDI keys.
Pattern = list[tuple[float, float, Chord]]

# Ways of playing a bar of a chord whose keys are given in rising order.
CHORD_PATTERNS: dict[str, Callable[[Chord, Generator], Pattern]] = {
    "strummed": lambda chord, rng: [
        (b / 2, 0.45, chord) for b in range(8) if rng.random() < 0.8 or b == 0
    ],
    "sustained": lambda chord, rng: [(0, 0.97 * BEATS, chord)],
    "arpeggio": lambda chord, rng: [(b / 2, 0.7, (chord[b % len(chord)],)) for b in range(8)],
    "alberti": lambda chord, rng: [(b / 2, 0.5, (chord[(0, 2, 1, 2)[b % 4]],)) for b in range(8)],
    "boom-chuck": lambda chord, rng: [
        (b, 0.4, chord if b % 2 else (chord[0] - 12,)) for b in range(BEATS)
    ],
    "charleston": lambda chord, rng: [(0, 0.9, chord), (1 + SWING, 0.5, chord)],
    "off-beat": lambda chord, rng: [(b, 0.6, chord) for b in (1, 3)],
}


class Note(NamedTuple):
    """A note: start and end in seconds from the start of the piece, MIDI key and velocity."""

    start: float
    end: float
    key: int
    velocity: int


Notes = tuple[Note, ...]


@dataclass(frozen=True)
class Part:
    """What one player plays.

    Attributes
    ----------
    name : str
        Labelled instrument, or ``"drums"``, ``"bass"``, ``"chords"`` of the accompaniment.
    program : int
        General MIDI program, from 0; of no account for drums.
    level_db : float
        Level: of a labelled part, in the mix; of an unlabelled one, within the accompaniment.
    labelled : bool
        Whether it belongs to the labelled instruments.
    notes : tuple of Note
        In order of their starts.
    """

    name: str
    program: int
    level_db: float
    labelled: bool
    notes: Notes


@dataclass(frozen=True)
class Piece:
    """A piece and where clips are cut from it.

    Attributes
    ----------
    track : Track
        Its track.
    tempo : float
        Beats per minute.
    key : int
        Tonic as pitch class, 0 for C.
    minor : bool
        Mode.
    parts : tuple of Part
        Labelled parts, the lead first, then the accompaniment.
    accompaniment_db : float
        Level of the accompaniment relative to the labelled parts.
    starts : tuple of float
        Start of each clip, seconds.
    entries : tuple of tuple of float
        For each clip and labelled part, seconds of silence before it enters.
    seconds : float
        Length of a clip.
    """

    track: Track
    tempo: float
    key: int
    minor: bool
    parts: tuple[Part, ...]
    accompaniment_db: float
    starts: tuple[float, ...]
    entries: tuple[tuple[float, ...], ...]
    seconds: float

    def heard(self, clip: int, part: int, before: float = 0.0) -> Notes:
        """Cut out what a part plays in a clip.

        Parameters
        ----------
        clip, part : int
            Which clip, which part.
        before : float
            Seconds before the clip that are wanted too, so that notes ring into it.

        Returns
        -------
        tuple of Note
            Times from the start of the clip (negative before it), cut at both ends.
        """
        start, first = self.starts[clip], -before
        entry = self.entries[clip][part] if part < len(self.entries[clip]) else 0.0
        cut = []
        for note in self.parts[part].notes:
            begin, end = note.start - start, note.end - start
            if end <= first or begin >= self.seconds or (entry > 0 and begin < entry):
                continue
            cut.append(note._replace(start=max(begin, first), end=min(end, self.seconds)))
        return tuple(cut)

    def mean_pitch(self, clip: int) -> float:
        """Mean MIDI note number of the lead within a clip, weighted by the notes' lengths."""
        notes = self.heard(clip, 0)
        lengths = np.array([note.end - note.start for note in notes])
        return float(np.average([note.key for note in notes], weights=lengths))


@dataclass(frozen=True)
class _Frame:
    """What all parts of a piece agree on."""

    genre: str
    key: int
    minor: bool
    beat: float
    chords: tuple[Chord, ...]
    seconds: float

    def bars(self) -> Iterator[tuple[float, Chord]]:
        """Give start and chord of each bar."""
        starts = np.arange(0, self.seconds, BEATS * self.beat).tolist()
        return zip(starts, cycle(self.chords), strict=False)


def compose(design: DatasetDesign, track: Track, seed: int) -> Piece:
    """Write the piece of a track.

    Parameters
    ----------
    design : DatasetDesign
        Only what it says about music is used.
    track : Track
        Genre, instruments and number of clips.
    seed : int
        Seed of the corpus.

    Returns
    -------
    Piece
        The same for the same arguments, whatever the sound source and the production.
    """
    # The first clip starts within the piece too, so that no clip is known by its first beat.
    gaps = track.stream(seed, "cuts").uniform(0.0, design.seconds, track.clips)
    starts = tuple((1.0 + np.cumsum(gaps) + design.seconds * np.arange(track.clips)).tolist())
    rng = track.stream(seed, "piece")
    genre = GENRES[track.genre]
    key, minor, tempo = int(rng.integers(12)), bool(rng.random() < 0.35), rng.uniform(*genre.tempo)
    progression = genre.progressions[rng.integers(len(genre.progressions))]
    chords = tuple(_chord(48 + key, root, minor, genre.sevenths) for root in progression)
    frame = _Frame(track.genre, key, minor, 60 / tempo, chords, starts[-1] + design.seconds)

    parts = [_labelled(design, track, frame, i, seed) for i in range(len(track.instruments))]
    accompaniment, level = _accompaniment(design, track, frame, seed)
    entries = tuple(_draw_entries(design, track, clip, seed) for clip in range(track.clips))
    parts += accompaniment
    return Piece(track, tempo, key, minor, tuple(parts), level, starts, entries, design.seconds)


def _draw_entries(design: DatasetDesign, track: Track, clip: int, seed: int) -> tuple[float, ...]:
    rng = track.stream(seed, "entries", clip)
    late = rng.random(len(track.instruments)) < design.late_entries
    times = rng.uniform(0.0, design.seconds / 2, len(track.instruments))
    late[0] = False
    return tuple(np.where(late, times, 0.0).tolist())


def _chord(tonic: int, root: int, minor: bool, seventh: bool) -> Chord:
    # Roots 2, 4 and 9 above a major tonic carry its minor triads; in minor it is the other way.
    third = 3 if (root in (2, 4, 9)) != minor else 4
    intervals = (0, third, 7, 10) if seventh else (0, third, 7)
    return tuple(tonic + root + i for i in intervals)


def _labelled(design: DatasetDesign, track: Track, frame: _Frame, index: int, seed: int) -> Part:
    """Draw and write what a labelled instrument plays."""
    name = track.instruments[index]
    instrument = INSTRUMENTS[name]
    rng = track.stream(seed, "notes", index)
    programs = instrument.programs
    if rng.random() < GENRE_PROGRAM_PROBABILITY:
        programs = instrument.by_genre.get(track.genre, programs)
    program = int(rng.choice(programs))
    level = float(rng.normal(0.0, 1.0)) * design.level_sd
    accompanies = index > 0 and rng.random() < 0.5
    chordal = instrument.chordal and (accompanies or rng.random() < 0.5)
    play = _play_chords if chordal else _play_melody
    return Part(name, program, level, True, play(rng, frame, *instrument.range(program)))


def _accompaniment(
    design: DatasetDesign, track: Track, frame: _Frame, seed: int
) -> tuple[list[Part], float]:
    """Draw the unlabelled parts, and their level against the labelled ones."""
    rng = track.stream(seed, "accompaniment")
    genre, parts = GENRES[frame.genre], []
    level = float(rng.uniform(*design.accompaniment_db))
    chances = (design.accompaniment, genre.drums, 0.8, design.unlabelled_chords)
    present, drums, bass, chords = rng.random(4) < chances
    levels = rng.uniform((-6.0, -6.0, -4.0), (1.0, 0.0, 2.0)).tolist()
    bass_program = int(rng.choice(genre.bass_programs))
    chord_program = int(rng.choice(genre.chord_programs))
    if present and drums:
        notes = _play_drums(track.stream(seed, "notes", "drums"), frame)
        parts.append(Part("drums", 0, levels[0], False, notes))
    if present and bass:
        notes = _play_bass(track.stream(seed, "notes", "bass"), frame)
        parts.append(Part("bass", bass_program, levels[1], False, notes))
    if present and chords:
        rng = track.stream(seed, "notes", "chords")
        notes = _play_chords(rng, frame, CHORDS_LOWEST, CHORDS_HIGHEST)
        parts.append(Part("chords", chord_program, levels[2], False, notes))
    return parts, level


def _play_melody(rng: Generator, frame: _Frame, lowest: int, highest: int) -> Notes:
    """Write a random walk on the scale that often lands on a note of the chord."""
    genre = GENRES[frame.genre]
    scale: tuple[int, ...] = MINOR if frame.minor else MAJOR
    if genre.sevenths and not frame.minor and rng.random() < 0.5:
        scale = BLUES
    pitches = {(frame.key + step) % 12 for step in scale}
    span, centre = int(rng.integers(10, 20)), int(rng.integers(lowest + 4, highest - 3))
    bottom, top = max(lowest, centre - span // 2), min(highest, centre + span // 2)
    pool = np.array([key for key in range(bottom, top + 1) if key % 12 in pitches])
    at = int(rng.integers(len(pool)))
    articulation = float(rng.choice([0.45, 0.8, 0.95, 1.02]))
    loudness = int(rng.integers(55, 115))

    notes: list[Note] = []
    time, rested, off_beat = 0.0, False, False
    while time < frame.seconds:
        beats = float(rng.choice(genre.note_lengths))
        if genre.swing and beats == 0.5:
            beats = 1 - SWING if off_beat else SWING
            off_beat = not off_beat
        length = beats * frame.beat
        rested = not rested and length < LONGEST_REST and rng.random() < 0.12
        if not rested:
            at = int(np.clip(at + rng.integers(-2, 3), 0, len(pool) - 1))
            if rng.random() < 0.4:
                bar = int(time / (BEATS * frame.beat)) % len(frame.chords)
                chord = [pitch % 12 for pitch in frame.chords[bar]]
                inside = np.flatnonzero(np.isin(pool % 12, chord))
                if len(inside):
                    at = int(inside[np.argmin(np.abs(inside - at))])
            start = max(0.0, time + rng.normal(0, 0.008))
            end = max(time + length * articulation, start + 0.05)
            notes.append(Note(start, end, int(pool[at]), _velocity(rng, loudness, 9)))
        time += length
    return _tidy(notes)


def _play_chords(rng: Generator, frame: _Frame, lowest: int, highest: int) -> Notes:
    pattern = CHORD_PATTERNS[str(rng.choice(GENRES[frame.genre].chord_patterns))]
    loudness = int(rng.integers(55, 105))
    centre = (lowest + highest) // 2 + int(rng.integers(-4, 5))
    notes: list[Note] = []
    for bar, chord in frame.bars():
        voiced = sorted(centre - 6 + (key - centre + 6) % 12 for key in chord)
        for onset, length, keys in pattern(tuple(voiced), rng):
            start = bar + onset * frame.beat
            for strum, key in enumerate(keys):
                struck = start + strum * rng.uniform(0, 0.012)
                end = start + max(length * frame.beat, 0.05)
                played = int(np.clip(key, lowest, highest))
                notes.append(Note(struck, end, played, _velocity(rng, loudness, 8)))
    return _tidy(notes)


def _play_bass(rng: Generator, frame: _Frame) -> Notes:
    notes: list[Note] = []
    for bar, chord in frame.bars():
        for onset, length, (key,) in _bass_bar(frame.genre, chord):
            start, end = bar + onset * frame.beat, bar + (onset + length) * frame.beat
            notes.append(Note(start, end, key, int(rng.integers(70, 110))))
    return _tidy(notes)


def _bass_bar(genre: str, chord: Chord) -> Pattern:
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


def _play_drums(rng: Generator, frame: _Frame) -> Notes:
    loudness, ride = int(rng.integers(45, 90)), bool(rng.random() < 0.3)
    accent = 20 if frame.genre == "pop_rock" else 0
    notes: list[Note] = []
    for bar, _ in frame.bars():
        for onset, length, (key,) in _drum_bar(frame.genre, ride, rng):
            start = bar + onset * frame.beat
            louder = loudness + (accent if key in (KICK, SNARE) else 0)
            notes.append(Note(start, start + length, key, _velocity(rng, louder, 10)))
    return _tidy(notes)


def _drum_bar(genre: str, ride: bool, rng: Generator) -> Pattern:
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


def _velocity(rng: Generator, mean: float, sd: float) -> int:
    return int(np.clip(rng.normal(mean, sd), 25, 127))


def _tidy(notes: list[Note]) -> Notes:
    """Sort by start, and end each note before the same key is struck again.

    A synthesiser's note-off silences every note of that key, also the later one.
    """
    following: dict[int, float] = {}
    tidy: list[Note] = []
    for note in sorted(notes, reverse=True):
        end = min(note.end, following.get(note.key, note.end))
        following[note.key] = note.start
        if end > note.start:
            tidy.append(note._replace(end=end))
    return tuple(sorted(tidy))
