"""Sound from notes: each part is played by a SoundFont, and the parts are mixed by level.

Waveforms are mono float32 at 44.1 kHz.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np

from biasmir_utils.demo.composition import Note, Piece
from biasmir_utils.demo.design import SourceDesign
from biasmir_utils.demo.instruments import PLAYERS
from biasmir_utils.demo.piano_filters import open_piano_filters
from biasmir_utils.demo.soundfonts import SoundFontError

SAMPLE_RATE = 44_100
"""Hz."""
LEAD_IN = 1.0
"""Seconds played before a clip starts, so that it is cut from sound and not from silence."""
MAX_SHIFT = 7
"""Largest timbre shift, semitones."""
BEND_RANGE = 12
"""Range of the pitch wheel, semitones."""
FLUSH = 8192
"""Samples to generate between parts: they clear what the last one left in the synthesiser."""


class Sampler:
    """A SoundFont ready to play one part after another.

    Parameters
    ----------
    path : path
        SoundFont file (SF2 or SF3).

    Raises
    ------
    SoundFontError
        If the file is no SoundFont.
    """

    def __init__(self, path: str | Path) -> None:
        tinysoundfont = require_synthesiser()
        self._synth = tinysoundfont.Synth(gain=-10, samplerate=SAMPLE_RATE)
        try:
            self._font = self._synth.sfload(open_piano_filters(Path(path).read_bytes()))
        except Exception as error:
            raise SoundFontError(f"{path} cannot be read as a SoundFont: {error}") from error

    def play(
        self,
        notes: tuple[Note, ...],
        seconds: float,
        program: int,
        *,
        drums: bool = False,
        shift: int = 0,
        cents: float = 0.0,
    ) -> np.ndarray:
        """Play notes with one program.

        Parameters
        ----------
        notes : tuple of Note
            Times in seconds from the start of the waveform.
        seconds : float
            Length of the waveform.
        program : int
            General MIDI program, from 0.
        drums : bool
            Play the drum kit instead.
        shift : int
            Semitones by which samples are bent down after they are chosen for a higher note.
        cents : float
            Detuning.

        Returns
        -------
        ndarray of shape (seconds * 44100,)
            Mono float32.
        """
        synth, length = self._synth, round(seconds * SAMPLE_RATE)
        synth.sounds_off()
        synth.generate(FLUSH)
        synth.program_select(0, self._font, 128 if drums else 0, 0 if drums else program, drums)
        synth.pitchbend_range(0, BEND_RANGE)
        wheel = 8192 + 8192 * (cents / 100 - shift) / BEND_RANGE
        synth.pitchbend(0, int(np.clip(wheel, 0, 16383)))

        # At one time ends come before starts, so that a repeated key is struck again.
        events = sorted(
            [(note.end, 0, note) for note in notes] + [(note.start, 1, note) for note in notes]
        )
        wave = np.zeros(length, dtype=np.float32)
        position = 0
        for time, starts, note in events:
            sample = min(max(round(time * SAMPLE_RATE), 0), length)
            self._generate(wave[position:sample])
            position = sample
            if sample == length:
                break
            if starts:
                synth.noteon(0, note.key + shift, note.velocity)
            else:
                synth.noteoff(0, note.key + shift)
        self._generate(wave[position:])
        return wave

    def _generate(self, out: np.ndarray) -> None:
        if len(out):
            stereo = np.frombuffer(self._synth.generate(len(out)), dtype=np.float32)
            out[:] = stereo.reshape(-1, 2).mean(axis=1)


def require_synthesiser() -> ModuleType:
    """Import TinySoundFont, or say how to install it."""
    try:
        return import_module("tinysoundfont")
    except ImportError as error:
        raise SoundFontError(
            "rendering needs the package tinysoundfont, which is not installed; install it with "
            "'pip install --no-deps tinysoundfont' (what it requires is for playing aloud only)"
        ) from error


@lru_cache(maxsize=2)
def sampler(path: str) -> Sampler:
    """Load a SoundFont once in a process (the larger takes hundreds of megabytes)."""
    return Sampler(path)


def timbre_shifts(piece: Piece, source: SourceDesign, seed: int) -> list[int]:
    """Draw the timbre shift of each labelled part, in semitones.

    A shift is cut where it would leave the program's range, beyond which some samples are missing.
    """
    players = len(piece.track.instruments)
    draws = piece.track.stream(seed, "timbre").normal(0.0, 1.0, players)
    wanted = np.clip(np.round(draws * source.timbre_shift_sd), -MAX_SHIFT, MAX_SHIFT)
    shifts = []
    for part, shift in zip(piece.parts, wanted.tolist(), strict=False):
        keys = [note.key for note in part.notes]
        lowest, highest = PLAYERS[part.name].range(part.program)
        shifts.append(int(np.clip(shift, lowest - min(keys), highest - max(keys))))
    return shifts


def synthesise(
    piece: Piece, clip: int, source: SourceDesign, soundfont: str | Path, seed: int
) -> np.ndarray:
    """Play and mix the parts of a clip.

    Parameters
    ----------
    piece : Piece
        The music.
    clip : int
        Which of its clips.
    source : SourceDesign
        How much the timbre is shifted.
    soundfont : path
        SoundFont file.
    seed : int
        Seed of the corpus.

    Returns
    -------
    ndarray of shape (seconds * 44100,)
        The dry mix, float32. Each labelled part has an RMS of 1 while it sounds, but for its level.
    """
    player = sampler(str(soundfont))
    shifts = timbre_shifts(piece, source, seed)
    cents = piece.track.stream(seed, "tuning").normal(0.0, 12.0, len(shifts)).tolist()
    length = round(piece.seconds * SAMPLE_RATE)
    mix, accompaniment = np.zeros(length), np.zeros(length)
    for index, part in enumerate(piece.parts):
        wave = player.play(
            tuple(
                note._replace(start=note.start + LEAD_IN, end=note.end + LEAD_IN)
                for note in piece.heard(clip, index, before=LEAD_IN)
            ),
            LEAD_IN + piece.seconds,
            part.program,
            drums=part.name == "drums",
            shift=shifts[index] if part.labelled else 0,
            cents=cents[index] if part.labelled else 0.0,
        )[-length:]
        bus = mix if part.labelled else accompaniment
        bus += scaled(wave, part.level_db)
    return (mix + scaled(accompaniment, piece.accompaniment_db, active_rms(mix))).astype(np.float32)


def scaled(wave: np.ndarray, level_db: float, reference: float = 1.0) -> np.ndarray:
    """Bring a waveform to a level (dB) against a reference RMS; silence stays silence."""
    rms = active_rms(wave)
    return wave * (reference * 10 ** (level_db / 20) / rms) if rms > 0 else wave


def active_rms(wave: np.ndarray, block: int = 2048) -> float:
    """RMS over the blocks that are at most 30 dB below the loudest one; 0 for silence."""
    starts = np.arange(0, len(wave), block)
    lengths = np.diff([*starts, len(wave)])
    power = np.add.reduceat(np.square(wave, dtype=np.float64), starts) / lengths
    if power.max() <= 0:
        return 0.0
    return float(np.sqrt(power[power > power.max() * 1e-3].mean()))
