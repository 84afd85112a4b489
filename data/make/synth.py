"""Sound from notes: each part is played by a SoundFont, and the parts are mixed by level.

Waveforms are mono float32 at 44.1 kHz.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np

from biasmir_utils.errors import BiasMIRError
from compose import Note, Piece
from design import PLAYERS, SourceDesign

FOLDER_VARIABLE = "BIASMIR_SOUNDFONTS"
"""Environment variable: a folder to look for SoundFonts in, before the system's own."""

SYSTEM_FOLDERS = ("/usr/share/sounds/sf2", "/usr/share/sounds/sf3", "/usr/share/soundfonts")
"""Where Linux distributions install SoundFonts."""


class SoundFontError(BiasMIRError):
    """A SoundFont is missing, or is not one."""


@dataclass(frozen=True)
class SoundFontInfo:
    """A SoundFont under a permissive licence.

    Attributes
    ----------
    file : str
        File name.
    package : str
        Debian package that has it.
    licence : str
    attribution : str
        The names to be named.
    url : str
        Home page.
    """

    file: str
    package: str
    licence: str
    attribution: str
    url: str


SOUNDFONTS: dict[str, SoundFontInfo] = {
    "FluidR3_GM": SoundFontInfo(
        file="FluidR3_GM.sf2",
        package="fluid-soundfont-gm",
        licence="MIT",
        attribution="Fluid (R3) General MIDI SoundFont, (c) 2000-2002, 2008 Frank Wen",
        url="https://packages.debian.org/fluid-soundfont-gm",
    ),
    "MuseScore_General_Lite": SoundFontInfo(
        file="MuseScore_General_Lite.sf3",
        package="musescore-general-soundfont-small",
        licence="MIT",
        attribution=(
            "MuseScore_General SoundFont, (c) 2018-2021 S. Christian Collins, after Fluid (R3) "
            "Mono, (c) 2014-2017 Michael Cowgill, and Fluid (R3), (c) 2000-2002, 2008 Frank Wen; "
            "parts CC0 or public domain"
        ),
        url="https://packages.debian.org/musescore-general-soundfont-small",
    ),
}
"""The SoundFonts in use."""


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
    info = SOUNDFONTS[name]
    folders = [Path(folder)] if folder is not None else _default_folders()
    for candidate in folders:
        for path in sorted(candidate.rglob(info.file)):
            if path.is_file():
                return path
    searched = ", ".join(str(candidate) for candidate in folders)
    raise SoundFontError(
        f"SoundFont {info.file} not found in {searched}. On Debian or Ubuntu install it with "
        f"'sudo apt-get install {info.package}'; without root 'apt-get download {info.package}' "
        f"and 'dpkg-deb -x {info.package}_*.deb soundfonts' unpack it, and "
        f"'--soundfonts soundfonts' or {FOLDER_VARIABLE}=soundfonts says where it is."
    )


def find_soundfonts(
    names: Iterable[str] = tuple(SOUNDFONTS), folder: str | os.PathLike[str] | None = None
) -> dict[str, Path]:
    """Find several SoundFonts, see :func:`find_soundfont`."""
    return {name: find_soundfont(name, folder) for name in dict.fromkeys(names)}


def _default_folders() -> list[Path]:
    named = os.environ.get(FOLDER_VARIABLE)
    return [Path(folder) for folder in ((named,) if named else ()) + SYSTEM_FOLDERS]


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
