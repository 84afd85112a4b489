"""What makes the two demonstration datasets different: numbers, and nothing else.

`solo` is laid out after IRMAS (3 s, one predominant instrument, every label observed), `band` after
OpenMIC-2018 (10 s, one to four instruments, some labels observed, some wrong). They differ in what
is played (:class:`DatasetDesign`), in the sound source (:class:`SourceDesign`), in the production
(:class:`ProductionDesign`) and in what the annotators wrote (:class:`LabelDesign`). Each of the
four can be replaced alone with :func:`dataclasses.replace`; random draws do not depend on them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from biasmir_utils.demo.genres import GENRES
from biasmir_utils.demo.instruments import INSTRUMENTS
from biasmir_utils.demo.randomness import stream

CLIPS_PER_TRACK = (0.4, 0.35, 0.25)
"""Probabilities of a track of one, two and three clips."""


@dataclass(frozen=True)
class SourceDesign:
    """The sound source.

    Attributes
    ----------
    soundfont : str
        Name of a SoundFont of :data:`biasmir_utils.demo.soundfonts.SOUNDFONTS`.
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


@dataclass(frozen=True)
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
        Frequency of each genre of :data:`biasmir_utils.demo.genres.GENRES`.
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
    balanced: float
    level_sd: float
    late_entries: float
    accompaniment: float
    accompaniment_db: tuple[float, float]
    unlabelled_chords: float
    source: SourceDesign
    production: ProductionDesign
    labels: LabelDesign
    clips_per_track: tuple[float, ...] = CLIPS_PER_TRACK

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
    level_sd=0.0,
    late_entries=0.0,
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
    labels=LabelDesign(),
)
"""After IRMAS: clean and loud pop, worn jazz, peaked instrument frequencies."""

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
    balanced=0.0,
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
"""After OpenMIC-2018: quiet, worn, compressed, ensembles, half of the negatives unobserved."""

DATASETS: dict[str, DatasetDesign] = {"solo": SOLO, "band": BAND}
"""The two datasets in order."""


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
    names = tuple(INSTRUMENTS[i] for i in chosen)
    return Track(design.music, number, clips, GENRES[genre], names)


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
