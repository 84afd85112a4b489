"""Sound from notes: each part is played by a SoundFont, and the parts are mixed by level.

Waveforms are mono float32 at 44.1 kHz.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, repeat
from pathlib import Path
from types import ModuleType

import numpy as np

from biasmir_utils.errors import BiasMIRError
from compose import Notes, Piece
from design import INSTRUMENTS, SourceDesign

SAMPLE_RATE = 44_100  # Hz
LEAD_IN = 1.0  # seconds played before a clip, so that it is cut from sound and not from silence
MAX_SHIFT = 7  # largest timbre shift, semitones
BEND_RANGE = 12  # range of the pitch wheel, semitones
FLUSH = 8192  # samples between parts, which clear what the last one left in the synthesiser

# A folder to look for SoundFonts in, before those in which Linux distributions install them.
FOLDER_VARIABLE = "BIASMIR_SOUNDFONTS"
SYSTEM_FOLDERS = ("/usr/share/sounds/sf2", "/usr/share/sounds/sf3", "/usr/share/soundfonts")


class SoundFontError(BiasMIRError):
    """A SoundFont or the synthesiser is missing, or a file is no SoundFont."""


@dataclass(frozen=True)
class SoundFont:
    """A General MIDI SoundFont under the MIT licence.

    Attributes
    ----------
    file : str
        File name.
    package : str
        Debian package that has it.
    attribution : str
        The names to be named.
    """

    file: str
    package: str
    attribution: str


SOUNDFONTS = {
    "FluidR3_GM": SoundFont(
        "FluidR3_GM.sf2",
        "fluid-soundfont-gm",
        "Fluid (R3) General MIDI SoundFont, (c) 2000-2002, 2008 Frank Wen",
    ),
    "MuseScore_General_Lite": SoundFont(
        "MuseScore_General_Lite.sf3",
        "musescore-general-soundfont-small",
        "MuseScore_General SoundFont, (c) 2018-2021 S. Christian Collins, after Fluid (R3) "
        "Mono, (c) 2014-2017 Michael Cowgill, and Fluid (R3), (c) 2000-2002, 2008 Frank Wen; "
        "parts CC0 or public domain",
    ),
}


def find_soundfont(name: str, folder: str | os.PathLike[str] | None = None) -> Path:
    """Find a SoundFont on this machine.

    Parameters
    ----------
    name : str
        Name in :data:`SOUNDFONTS`.
    folder : path, optional
        Folder to search, with its subfolders, and nothing else. Without it, the folder that the
        environment variable ``BIASMIR_SOUNDFONTS`` names, then the system's folders.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    SoundFontError
        Where it is not there: the message says what to install.
    """
    wanted = SOUNDFONTS[name]
    folders = [folder] if folder else [os.environ.get(FOLDER_VARIABLE), *SYSTEM_FOLDERS]
    searched = [Path(folder) for folder in folders if folder]
    for candidate in searched:
        for path in sorted(candidate.rglob(wanted.file)):
            return path
    package = wanted.package
    raise SoundFontError(
        f"SoundFont {wanted.file} not found in {', '.join(map(str, searched))}. On Debian or "
        f"Ubuntu install it with 'sudo apt-get install {package}'; without root 'apt-get download "
        f"{package}' and 'dpkg-deb -x {package}_*.deb soundfonts' unpack it, and "
        f"'--soundfonts soundfonts' or {FOLDER_VARIABLE}=soundfonts says where it is."
    )


# SoundFont 2.01 specification: section 7 (the records of the chunk `pdta`), section 8.1.2 (kinds of
# generators).
_CUTOFF, _ENVELOPE_TO_CUTOFF, _INSTRUMENT = 8, 11, 41
_BAG = np.dtype([("generator", "<u2"), ("modulator", "<u2")])
_GENERATOR = np.dtype([("kind", "<u2"), ("amount", "<i2")])
_RECORDS = {
    b"inst": np.dtype([("name", "S20"), ("bag", "<u2")]),
    b"ibag": _BAG,
    b"igen": _GENERATOR,
    b"pbag": _BAG,
    b"pgen": _GENERATOR,
}
# A piano's filter cutoff under this, in absolute cents (470 Hz), is meant to be opened by
# modulators, which open it to 3.1 kHz at a velocity of 80.
_SHUT_CENTS, _OPEN_CENTS = 7_000, 10_300


def open_piano_filters(content: bytes) -> bytes:
    """Open the filters of pianos that only modulators would open.

    The pianos of MuseScore_General keep a low-pass filter at 300 Hz and open it, note by note, with
    modulators (velocity to filter envelope). TinySoundFont applies no modulators: the filter stays
    shut, and of the piano a thud is left, 20 to 30 dB down. So the filter's settings are changed to
    what the modulators give for a note of middle velocity. No other instrument of the two
    SoundFonts that the corpus uses depends on a modulator in this way.

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
    changed = bytearray(content)
    records: dict[bytes, np.ndarray] = {}
    at = content.rfind(b"pdtaphdr") + 4
    while 4 <= at < len(content):
        name, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        if name in _RECORDS:
            kind = _RECORDS[name]
            records[name] = np.frombuffer(changed, kind, size // kind.itemsize, at + 8)
        at += 8 + size
    if not records:
        return content

    instruments, zones, generators = records[b"inst"], records[b"ibag"], records[b"igen"]
    shut = set()
    for number in range(len(instruments) - 1):
        if instruments["name"][number].startswith(b"Piano"):
            first, last = zones["generator"][instruments["bag"][number : number + 2]]
            mine = generators[first:last]
            closed = (mine["kind"] == _CUTOFF) & (mine["amount"] < _SHUT_CENTS)
            if closed.any():
                mine["amount"][closed] = _OPEN_CENTS
                shut.add(number)
    # A preset's zone may close the filter of its instrument again.
    zones, generators = records[b"pbag"], records[b"pgen"]
    for first, last in zip(zones["generator"][:-1], zones["generator"][1:], strict=True):
        mine = generators[first:last]
        if set(mine["amount"][mine["kind"] == _INSTRUMENT].tolist()) & shut:
            closing = (mine["kind"] == _ENVELOPE_TO_CUTOFF) & (mine["amount"] < 0)
            mine["amount"][closing] = 0
    return bytes(changed)


def require_synthesiser() -> ModuleType:
    """Import TinySoundFont, or say how to install it."""
    try:
        import tinysoundfont
    except ImportError as error:
        raise SoundFontError(
            "rendering needs the package tinysoundfont, which is not installed; install it with "
            "'pip install --no-deps tinysoundfont' (what it requires is for playing aloud only)"
        ) from error
    return tinysoundfont


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
        self._synth = require_synthesiser().Synth(gain=-10, samplerate=SAMPLE_RATE)
        try:
            self._font = self._synth.sfload(open_piano_filters(Path(path).read_bytes()))
        except Exception as error:
            raise SoundFontError(f"{path} cannot be read as a SoundFont: {error}") from error

    def play(
        self, notes: Notes, seconds: float, program: int | None, shift: int = 0, cents: float = 0.0
    ) -> np.ndarray:
        """Play notes with one program.

        Parameters
        ----------
        notes : tuple of Note
            Times in seconds from the start of the waveform.
        seconds : float
            Length of the waveform.
        program : int or None
            General MIDI program, from 0; None for the drum kit.
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
        drums = program is None
        synth.program_select(0, self._font, 128 if drums else 0, program or 0, drums)
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
        """Fill a stretch of the waveform."""
        if len(out):
            stereo = np.frombuffer(self._synth.generate(len(out)), dtype=np.float32)
            out[:] = stereo.reshape(-1, 2).mean(axis=1)


# One sampler in a process for each SoundFont: the larger takes hundreds of megabytes.
sampler = lru_cache(maxsize=2)(Sampler)


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
        lowest, highest = INSTRUMENTS[part.name].range(part.program)
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
    # The labelled parts come first; the others are played as they are.
    tuned = zip(piece.parts, chain(shifts, repeat(0)), chain(cents, repeat(0.0)), strict=False)
    for index, (part, shift, detuning) in enumerate(tuned):
        notes = tuple(
            note._replace(start=note.start + LEAD_IN, end=note.end + LEAD_IN)
            for note in piece.heard(clip, index, before=LEAD_IN)
        )
        program = None if part.name == "drums" else part.program
        wave = player.play(notes, LEAD_IN + piece.seconds, program, shift, detuning)[-length:]
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
