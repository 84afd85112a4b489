"""The ten instruments: General MIDI programs, playing ranges, and who plays chords.

Programs are numbered from 0, as in SoundFonts. A program that is listed twice is twice as likely.
"""

from __future__ import annotations

from dataclasses import dataclass, field

INSTRUMENTS = (
    "cello",
    "clarinet",
    "flute",
    "guitar",
    "organ",
    "piano",
    "saxophone",
    "trumpet",
    "violin",
    "voice",
)
"""Labels of both datasets, in the paper's order."""


@dataclass(frozen=True)
class Instrument:
    """How a labelled instrument is played.

    Attributes
    ----------
    programs : tuple of int
        General MIDI programs to choose from.
    lowest : int
        Lower end of the playing range, a MIDI note number.
    highest : int
        Its upper end.
    chordal : bool
        Whether it may play chords instead of a melody.
    by_genre : dict of str to tuple of int
        Programs that a genre prefers.
    ranges : dict of int to tuple of int
        Playing ranges of programs whose range is another one.
    """

    programs: tuple[int, ...]
    lowest: int
    highest: int
    chordal: bool
    by_genre: dict[str, tuple[int, ...]] = field(default_factory=dict)
    ranges: dict[int, tuple[int, int]] = field(default_factory=dict)

    def range(self, program: int) -> tuple[int, int]:
        """Lowest and highest key of a program; both SoundFonts sound on all keys between."""
        return self.ranges.get(program, (self.lowest, self.highest))


PLAYERS: dict[str, Instrument] = {
    "cello": Instrument((42,), 36, 69, False),
    "clarinet": Instrument((71,), 50, 84, False),
    "flute": Instrument((73, 73, 72), 60, 93, False, ranges={72: (72, 98)}),
    "guitar": Instrument(
        (24, 25, 26, 27, 28, 29, 30),
        40,
        76,
        True,
        {
            "pop_rock": (25, 27, 28, 29, 30),
            "jazz_blue": (26, 24, 27),
            "classical": (24,),
            "country_folk": (25, 25, 24, 26),
        },
    ),
    "organ": Instrument(
        (16, 17, 18, 19, 20),
        36,
        84,
        True,
        {"pop_rock": (16, 17, 18), "jazz_blue": (16, 17), "classical": (19, 20)},
    ),
    "piano": Instrument((0, 1, 0, 3), 36, 88, True, {"classical": (0,)}),
    "saxophone": Instrument(
        (64, 65, 66, 67),
        44,
        75,
        False,
        ranges={64: (56, 86), 65: (49, 80), 67: (37, 70)},
    ),
    "trumpet": Instrument((56, 56, 59), 54, 82, False, {"jazz_blue": (56, 59)}),
    "violin": Instrument(
        (40, 40, 110), 55, 93, False, {"classical": (40,), "country_folk": (110, 40)}
    ),
    "voice": Instrument((52, 53, 54), 48, 79, True),
}
"""How each of :data:`INSTRUMENTS` is played."""

GENRE_PROGRAM_PROBABILITY = 0.8
"""How often a genre's own programs are used where it has some."""
