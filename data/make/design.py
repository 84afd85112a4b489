"""What makes the rendered datasets different: numbers, and nothing else.

`solo` is laid out after IRMAS (3 s, one predominant instrument, every label observed), `band` after
OpenMIC-2018 (10 s, one to four instruments, some labels observed, some wrong). They differ in what
is played (:class:`DatasetDesign`), in the sound source (:class:`SourceDesign`), in the production
(:class:`ProductionDesign`) and in what the annotators wrote (:class:`LabelDesign`). Each of the
four can be replaced alone with :func:`dataclasses.replace`; random draws do not depend on them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True)
class Genre:
    """What a genre fixes about the music.

    Attributes
    ----------
    tempo : tuple of float
        Slowest and fastest, beats per minute.
    progressions : tuple of tuple of int
        Chord roots, one for each bar, in semitones above the key.
    note_lengths : tuple of float
        Lengths of melody notes in beats; a length listed twice is twice as likely.
    chord_patterns : tuple of str
        Ways of playing chords, names of `compose.CHORD_PATTERNS`.
    drums : float
        Probability of a drum kit where there is an accompaniment.
    bass_programs : tuple of int
        General MIDI programs of the unlabelled bass part, numbered from 0 as in SoundFonts.
    chord_programs : tuple of int
        Those of the unlabelled chord part.
    sevenths : bool
        Whether chords have sevenths.
    swing : bool
        Whether eighths are played long and short.
    """

    tempo: tuple[float, float]
    progressions: tuple[tuple[int, ...], ...]
    note_lengths: tuple[float, ...]
    chord_patterns: tuple[str, ...]
    drums: float
    bass_programs: tuple[int, ...]
    chord_programs: tuple[int, ...]
    sevenths: bool = False
    swing: bool = False


# Groups of both datasets, in the paper's order.
GENRES: dict[str, Genre] = {
    "pop_rock": Genre(
        tempo=(95, 145),
        progressions=((0, 7, 9, 5), (9, 5, 0, 7), (0, 5, 7, 5), (0, 9, 5, 7)),
        note_lengths=(0.5, 0.5, 1, 0.25),
        chord_patterns=("strummed", "sustained", "arpeggio"),
        drums=0.9,
        bass_programs=(33, 34, 38),
        chord_programs=(48, 50, 89, 29, 27, 4),
    ),
    "jazz_blue": Genre(
        tempo=(80, 200),
        progressions=((2, 7, 0, 9), (0, 9, 2, 7), (0, 5, 0, 7), (5, 7, 4, 9)),
        note_lengths=(0.5, 0.5, 1, 1.5),
        chord_patterns=("charleston", "sustained", "off-beat"),
        drums=0.75,
        bass_programs=(32,),
        chord_programs=(0, 26, 4, 11),
        sevenths=True,
        swing=True,
    ),
    "classical": Genre(
        tempo=(55, 115),
        progressions=((0, 5, 7, 0), (0, 2, 7, 0), (0, 9, 5, 7), (9, 2, 4, 9)),
        note_lengths=(0.5, 1, 1, 2, 0.25),
        chord_patterns=("alberti", "sustained", "arpeggio"),
        drums=0.0,
        bass_programs=(43,),
        chord_programs=(48, 49, 0, 46),
    ),
    "country_folk": Genre(
        tempo=(80, 135),
        progressions=((0, 5, 0, 7), (0, 0, 7, 0), (0, 5, 7, 0)),
        note_lengths=(0.5, 0.5, 1, 0.5),
        chord_patterns=("boom-chuck", "strummed", "arpeggio"),
        drums=0.5,
        bass_programs=(32, 33),
        chord_programs=(25, 105, 24, 22, 21),
    ),
}


@dataclass(frozen=True)
class Instrument:
    """How a labelled instrument is played.

    Attributes
    ----------
    programs : tuple of int
        General MIDI programs to choose from; one that is listed twice is twice as likely.
    keys : tuple of int
        Lower and upper end of the playing range, MIDI note numbers.
    chordal : bool
        Whether it may play chords instead of a melody.
    by_genre : dict of str to tuple of int
        Programs that a genre prefers.
    ranges : dict of int to tuple of int
        Playing ranges of programs whose range is another one.
    """

    programs: tuple[int, ...]
    keys: tuple[int, int]
    chordal: bool = False
    by_genre: dict[str, tuple[int, ...]] = field(default_factory=dict)
    ranges: dict[int, tuple[int, int]] = field(default_factory=dict)

    def range(self, program: int) -> tuple[int, int]:
        """Lowest and highest key of a program; both SoundFonts sound on all keys between."""
        return self.ranges.get(program, self.keys)


# Labels of both datasets, in the paper's order.
INSTRUMENTS: dict[str, Instrument] = {
    "cello": Instrument((42,), (36, 69)),
    "clarinet": Instrument((71,), (50, 84)),
    "flute": Instrument((73, 73, 72), (60, 93), ranges={72: (72, 98)}),
    "guitar": Instrument(
        (24, 25, 26, 27, 28, 29, 30),
        (40, 76),
        chordal=True,
        by_genre={
            "pop_rock": (25, 27, 28, 29, 30),
            "jazz_blue": (26, 24, 27),
            "classical": (24,),
            "country_folk": (25, 25, 24, 26),
        },
    ),
    "organ": Instrument(
        (16, 17, 18, 19, 20),
        (36, 84),
        chordal=True,
        by_genre={"pop_rock": (16, 17, 18), "jazz_blue": (16, 17), "classical": (19, 20)},
    ),
    "piano": Instrument((0, 1, 0, 3), (36, 88), chordal=True, by_genre={"classical": (0,)}),
    "saxophone": Instrument(
        (64, 65, 66, 67), (44, 75), ranges={64: (56, 86), 65: (49, 80), 67: (37, 70)}
    ),
    "trumpet": Instrument((56, 56, 59), (54, 82), by_genre={"jazz_blue": (56, 59)}),
    "violin": Instrument(
        (40, 40, 110), (55, 93), by_genre={"classical": (40,), "country_folk": (110, 40)}
    ),
    "voice": Instrument((52, 53, 54), (48, 79), chordal=True),
}


@dataclass(frozen=True)
class SourceDesign:
    """The sound source.

    Attributes
    ----------
    soundfont : str
        Name of a SoundFont of `synth.SOUNDFONTS`.
    timbre_shift_sd : float
        Labelled instruments play some semitones too high and are bent back to pitch, so that other
        samples sound, with other formants: standard deviation in semitones.
    """

    soundfont: str
    timbre_shift_sd: float


@dataclass(frozen=True)
class ProductionDesign:
    """Room, microphone, desk and medium.

    Attributes
    ----------
    degradation : dict of str to float
        Mean degradation of each genre, from 0 (clean) to 1; each stage draws its own around it.
    degradation_sd : float
        Standard deviation of that draw.
    equaliser_sd : float
        Standard deviation of the random equaliser's gains, dB.
    level_db : tuple of float
        Range of the clips' RMS level, dB relative to full scale.
    saturated : bool
        Whether the signal is driven into a soft clipper.
    codec : str
        ``"none"`` (stored as 16-bit FLAC) or ``"vorbis"`` (stored as Ogg Vorbis).
    """

    degradation: dict[str, float]
    degradation_sd: float
    equaliser_sd: float
    level_db: tuple[float, float]
    saturated: bool
    codec: str


@dataclass(frozen=True)
class LabelDesign:
    """What the annotators saw.

    Attributes
    ----------
    observed_positives : float
        Probability that a label is observed where the instrument plays.
    observed_negatives : float
        Probability that it is observed where the instrument does not play.
    flipped : float
        Probability that an observed label is wrong.
    graded : bool
        Whether likelihoods take values between 0 and 1, or only these two.
    """

    observed_positives: float = 1.0
    observed_negatives: float = 1.0
    flipped: float = 0.0
    graded: bool = False


@dataclass(frozen=True, kw_only=True)
class DatasetDesign:
    """A dataset: what is played, by what, through what, and how it is labelled.

    Attributes
    ----------
    name : str
        Name in the corpus.
    music : str
        Name of the random streams: designs that share it play the same notes.
    seconds : float
        Length of a clip.
    genre_weights : tuple of float
        Frequency of each genre of :data:`GENRES`.
    instrument_weights : dict of str to tuple of float
        For each genre, the relative frequency of each instrument.
    ensemble : tuple of float
        Probabilities of one, two, ... labelled instruments.
    balanced : float
        Share of tracks whose lead goes round the ten instruments in turn.
    level_sd : float
        Standard deviation of the labelled parts' levels, dB.
    late_entries : float
        Probability that a labelled part other than the lead enters late in a clip.
    accompaniment : float
        Probability of unlabelled parts.
    accompaniment_db : tuple of float
        Range of their level relative to the labelled parts, dB.
    unlabelled_chords : float
        Probability that they include a chord part, which may be a guitar or a piano.
    source : SourceDesign
        What the sounds come from.
    production : ProductionDesign
        What is done to the sound.
    labels : LabelDesign
        Which labels are observed.
    clips_per_track : tuple of float
        Probabilities of a track of one, two, ... clips.
    """

    name: str
    music: str
    seconds: float
    genre_weights: tuple[float, ...]
    instrument_weights: dict[str, tuple[float, ...]]
    ensemble: tuple[float, ...]
    balanced: float = 0.0
    level_sd: float = 0.0
    late_entries: float = 0.0
    accompaniment: float
    accompaniment_db: tuple[float, float]
    unlabelled_chords: float
    source: SourceDesign
    production: ProductionDesign
    labels: LabelDesign = LabelDesign()
    clips_per_track: tuple[float, ...] = (0.4, 0.35, 0.25)

    def joint_weights(self) -> np.ndarray:
        """Probability of each genre and lead instrument.

        Returns
        -------
        ndarray of shape (n_genres, n_instruments)
            Entries sum to 1.
        """
        genres = np.array(self.genre_weights) / sum(self.genre_weights)
        rows = np.array([self.instrument_weights[genre] for genre in GENRES])
        return genres[:, None] * rows / rows.sum(axis=1, keepdims=True)


# After IRMAS: clean and loud pop, worn jazz, peaked instrument frequencies.
SOLO = DatasetDesign(
    name="solo",
    music="solo",
    seconds=3.0,
    genre_weights=(0.30, 0.25, 0.25, 0.20),
    instrument_weights={  # cello clarinet flute guitar organ piano saxophone trumpet violin voice
        "pop_rock": (0.1, 0.1, 0.2, 3.0, 2.4, 1.0, 0.6, 0.3, 0.2, 2.4),
        "jazz_blue": (0.1, 1.2, 0.5, 0.8, 0.8, 1.0, 3.0, 2.4, 0.1, 0.4),
        "classical": (3.0, 1.4, 2.0, 0.2, 0.2, 1.2, 0.1, 0.4, 2.6, 0.3),
        "country_folk": (0.2, 0.4, 0.5, 1.8, 0.2, 0.6, 0.2, 0.2, 1.6, 0.8),
    },
    ensemble=(1.0,),
    balanced=0.6,
    accompaniment=0.95,
    accompaniment_db=(-9.0, -1.0),
    unlabelled_chords=0.85,
    source=SourceDesign("FluidR3_GM", timbre_shift_sd=1.0),
    production=ProductionDesign(
        degradation={"pop_rock": 0.06, "jazz_blue": 0.50, "classical": 0.32, "country_folk": 0.12},
        degradation_sd=0.13,
        equaliser_sd=2.5,
        level_db=(-18.0, -11.0),
        saturated=True,
        codec="none",
    ),
)

# After OpenMIC-2018: quiet, worn, compressed, ensembles, half of the negatives unobserved.
BAND = DatasetDesign(
    name="band",
    music="band",
    seconds=10.0,
    genre_weights=(0.30, 0.18, 0.22, 0.30),
    instrument_weights={  # cello clarinet flute guitar organ piano saxophone trumpet violin voice
        "pop_rock": (0.8, 0.6, 0.8, 1.2, 0.8, 1.4, 1.4, 1.4, 1.2, 1.0),
        "jazz_blue": (0.6, 1.0, 1.4, 1.4, 1.6, 1.4, 0.8, 0.8, 1.0, 1.2),
        "classical": (0.9, 1.0, 0.9, 1.4, 1.8, 1.4, 0.8, 1.4, 0.9, 1.6),
        "country_folk": (1.6, 1.4, 1.4, 0.9, 1.2, 1.0, 1.0, 0.9, 0.8, 0.9),
    },
    ensemble=(0.30, 0.40, 0.25, 0.05),
    level_sd=1.5,
    late_entries=0.4,
    accompaniment=0.80,
    accompaniment_db=(-20.0, -9.0),
    unlabelled_chords=0.25,
    source=SourceDesign("MuseScore_General_Lite", timbre_shift_sd=3.0),
    production=ProductionDesign(
        degradation={"pop_rock": 0.88, "jazz_blue": 0.42, "classical": 0.58, "country_folk": 0.85},
        degradation_sd=0.13,
        equaliser_sd=3.5,
        level_db=(-32.0, -20.0),
        saturated=False,
        codec="vorbis",
    ),
    labels=LabelDesign(observed_positives=0.85, observed_negatives=0.50, flipped=0.02, graded=True),
)


@dataclass(frozen=True)
class CorpusDesign:
    """Datasets that are rendered together.

    Attributes
    ----------
    name, title : str
        What the corpus is called.
    datasets : tuple of DatasetDesign
        In order.
    clips : int
        Clips in each dataset, unless told otherwise.
    option : str
        What has to be added to the command that makes it.
    """

    name: str
    title: str
    datasets: tuple[DatasetDesign, ...]
    clips: int
    option: str = ""


DEMO = CorpusDesign(
    "demo", "BiasMIR demonstration corpus: two rendered datasets", (SOLO, BAND), clips=1800
)


# The same notes in four datasets, which differ in nothing but the SoundFont and the production
# chain: the timbre shifts are those of `band`, and every random draw belongs to the piece (its
# equaliser and room are the same random numbers, read by another chain). A clip has one name in all
# four. The pieces are the first clips of the tracks of `band` in DEMO with the same seed, so that
# the first dataset sounds as they do there, but for a few clips: a timbre shift is cut by the range
# of a whole piece, and here a piece ends with its first clip.
COUNTERFACTUAL = CorpusDesign(
    "counterfactual",
    "BiasMIR counterfactual corpus: the same music with two SoundFonts and two productions",
    tuple(
        replace(
            BAND,
            name=f"{font.name}font_{chain.name}chain",
            source=replace(BAND.source, soundfont=font.source.soundfont),
            production=chain.production,
            labels=LabelDesign(),  # all observed, and right
            clips_per_track=(1.0,),
        )
        for chain in (BAND, SOLO)
        for font in (BAND, SOLO)
    ),
    clips=400,
    option=" --counterfactual",
)


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Open the random stream of that name.

    Every random choice is drawn from a stream that has a name (dataset, track, stage, ...), not
    from one generator that is passed along. A stage can then be drawn anew, left out or replaced
    without a change in any other: the same notes can be played by another SoundFont, or sent
    through another production chain, and remain the same notes.

    Parameters
    ----------
    seed : int
        Seed of the corpus, 0 or more.
    *names : str or int
        Path of names, such as ``"band", 12, "notes"``. Another path is an independent stream.

    Returns
    -------
    numpy.random.Generator
        A generator at the start of that stream.
    """
    path = "/".join(str(name) for name in names)
    digest = hashlib.blake2b(path.encode(), digest_size=16).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest, dtype="<u4").tolist()])


@dataclass(frozen=True)
class Track:
    """One piece, from which one to three clips are cut.

    Attributes
    ----------
    music : str
        Name of the random streams, of the design.
    number : int
        Number within the dataset, from 0.
    clips : int
        Number of clips cut from it.
    genre : str
        Genre.
    instruments : tuple of str
        Labelled instruments, the lead first.
    """

    music: str
    number: int
    clips: int
    genre: str
    instruments: tuple[str, ...]

    @property
    def name(self) -> str:
        """Such as ``solo_0012``: the same in all datasets that share the music."""
        return f"{self.music}_{self.number:04d}"

    def clip_name(self, clip: int) -> str:
        """Such as ``solo_0012_1``: music, track, clip."""
        return f"{self.name}_{clip}"

    def stream(self, seed: int, *names: str | int) -> np.random.Generator:
        """Open a random stream of this track."""
        return stream(seed, self.music, self.number, *names)


def draw_track(design: DatasetDesign, number: int, seed: int) -> Track:
    """Draw genre, instruments and number of clips of a track."""
    rng = stream(seed, design.music, number, "track")
    joint = design.joint_weights()
    clips = 1 + int(rng.choice(len(design.clips_per_track), p=design.clips_per_track))
    if rng.random() < design.balanced:
        lead = number % len(INSTRUMENTS)
        genre = int(rng.choice(len(GENRES), p=joint[:, lead] / joint[:, lead].sum()))
        chosen = [lead]
    else:
        genre = int(rng.choice(len(GENRES), p=joint.sum(axis=1)))
        players = 1 + int(rng.choice(len(design.ensemble), p=design.ensemble))
        weights = joint[genre] / joint[genre].sum()
        chosen = rng.choice(len(INSTRUMENTS), players, replace=False, p=weights).tolist()
    names = tuple(list(INSTRUMENTS)[i] for i in chosen)
    return Track(design.music, number, clips, list(GENRES)[genre], names)


def draw_tracks(design: DatasetDesign, n_clips: int, seed: int) -> list[Track]:
    """Draw tracks until they hold a number of clips.

    Parameters
    ----------
    design : DatasetDesign
        The dataset.
    n_clips : int
        Clips wanted; the last track is cut short to give this number exactly.
    seed : int
        Seed of the corpus.

    Returns
    -------
    list of Track
        In order of their numbers.
    """
    tracks: list[Track] = []
    left = n_clips
    while left > 0:
        track = draw_track(design, len(tracks), seed)
        tracks.append(replace(track, clips=min(track.clips, left)))
        left -= track.clips
    return tracks
