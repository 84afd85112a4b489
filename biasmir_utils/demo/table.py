"""The clip table of the demo corpus: names, splits, labels, targets and ground truth.

All of it follows from the seed alone; nothing is rendered to fill it in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from biasmir_utils.corpus import Target
from biasmir_utils.demo.composition import Piece, compose
from biasmir_utils.demo.design import DatasetDesign, Track, draw_tracks
from biasmir_utils.demo.instruments import INSTRUMENTS
from biasmir_utils.demo.production import Production, draw_production
from biasmir_utils.demo.randomness import stream
from biasmir_utils.demo.synthesis import timbre_shifts

EVERY = 4
"""One track of so many is in the test set."""

SUFFIXES = {"none": ".flac", "vorbis": ".ogg"}
"""File name suffix for each codec."""

TARGETS = (
    *(Target(name, "label", description=f"{name} is heard") for name in INSTRUMENTS),
    Target("tempo", "number", unit="bpm", description="tempo of the piece"),
    Target(
        "lead_pitch",
        "number",
        unit="MIDI note number",
        description="mean pitch of the lead within the clip, weighted by the notes' lengths",
    ),
)
"""Targets of the corpus."""


def clip_name(design: DatasetDesign, track: Track, clip: int) -> str:
    """Name of a clip, such as ``solo_0012_1``: music, track, clip."""
    return f"{track_name(design, track)}_{clip}"


def track_name(design: DatasetDesign, track: Track) -> str:
    """Name of a track, such as ``solo_0012``: the same in all datasets that share the music."""
    return f"{design.music}_{track.number:04d}"


def audio_name(design: DatasetDesign, track: Track, clip: int) -> str:
    """Path of a clip's audio, relative to the corpus."""
    suffix = SUFFIXES[design.production.codec]
    return f"audio/{design.name}/{clip_name(design, track, clip)}{suffix}"


def draw_split(design: DatasetDesign, tracks: Sequence[Track], seed: int) -> list[str]:
    """Deal tracks to training and test set.

    Every fourth track goes to the test set, in an order that goes through lead instruments and,
    within each, through genres. An instrument that leads two tracks or more leads in both sets.

    Returns
    -------
    list of str
        ``"train"`` or ``"test"`` for each track.
    """
    order = stream(seed, design.music, "split").permutation(len(tracks)).tolist()
    order.sort(key=lambda i: (tracks[i].instruments[0], tracks[i].genre))  # stable
    splits = ["train"] * len(tracks)
    for i in order[EVERY // 2 :: EVERY]:
        splits[i] = "test"
    for instrument in INSTRUMENTS:
        led = [i for i in order if tracks[i].instruments[0] == instrument]
        if len(led) > 1 and len({splits[i] for i in led}) == 1:
            splits[led[-1]] = "train" if splits[led[-1]] == "test" else "test"
    return splits


def draw_labels(design: DatasetDesign, track: Track, clip: int, seed: int) -> dict[str, float]:
    """Draw what the annotators wrote about a clip.

    Returns
    -------
    dict of str to float
        For each instrument a likelihood in [0, 1], positive from 0.5; NaN where not observed.
    """
    labels = design.labels
    rng = track.stream(seed, "labels", clip)
    truth = np.isin(INSTRUMENTS, track.instruments)
    chance = np.where(truth, labels.observed_positives, labels.observed_negatives)
    observed = rng.random(len(INSTRUMENTS)) < chance
    written = truth ^ (rng.random(len(INSTRUMENTS)) < labels.flipped)
    # How far the annotators disagreed, short of a tie: mostly little.
    doubt = np.round(0.45 * rng.beta(1.0, 4.0, len(INSTRUMENTS)), 3)
    if not labels.graded:
        doubt[:] = 0.0
    likelihood = np.where(written, 1.0 - doubt, doubt)
    return dict(zip(INSTRUMENTS, np.where(observed, likelihood, np.nan).tolist(), strict=True))


def clip_table(design: DatasetDesign, n_clips: int, seed: int) -> pd.DataFrame:
    """Make the rows of a dataset.

    Parameters
    ----------
    design : DatasetDesign
        The dataset.
    n_clips : int
        Number of clips.
    seed : int
        Seed of the corpus.

    Returns
    -------
    pandas.DataFrame
        A row for each clip: the columns of a clip table, the :data:`TARGETS`, and the ground truth
        of music and production as metadata.
    """
    tracks = draw_tracks(design, n_clips, seed)
    rows: list[dict[str, Any]] = []
    for track, split in zip(tracks, draw_split(design, tracks, seed), strict=True):
        piece = compose(design, track, seed)
        production = draw_production(design.production, track, seed)
        for clip in range(track.clips):
            rows.append(
                {
                    "dataset": design.name,
                    "clip": clip_name(design, track, clip),
                    "track": track_name(design, track),
                    "split": split,
                    "group": track.genre,
                    "audio": audio_name(design, track, clip),
                    **draw_labels(design, track, clip, seed),
                    "tempo": round(piece.tempo, 3),
                    "lead_pitch": round(piece.mean_pitch(clip), 3),
                    **_music_facts(design, piece, clip, seed),
                    **_production_facts(production),
                }
            )
    return pd.DataFrame(rows)


def _music_facts(design: DatasetDesign, piece: Piece, clip: int, seed: int) -> dict[str, Any]:
    labelled = [part for part in piece.parts if part.labelled]
    others = {part.name: part for part in piece.parts if not part.labelled}
    chords = others.get("chords")
    shifts = timbre_shifts(piece, design.source, seed)
    return {
        "instruments": " ".join(part.name for part in labelled),
        "programs": " ".join(str(part.program) for part in labelled),
        "accompaniment": " ".join(others),
        "accompaniment_db": round(piece.accompaniment_db, 3) if others else np.nan,
        "chords_program": float(chords.program) if chords else np.nan,
        "key": float(piece.key),
        "minor": piece.minor,
        "start": round(piece.starts[clip], 3),
        "soundfont": design.source.soundfont,
        "timbre_shifts": " ".join(str(shift) for shift in shifts),
    }


def _production_facts(production: Production) -> dict[str, Any]:
    return {
        "equaliser_db": " ".join(f"{gain:.2f}" for gain in production.equaliser_db),
        "reverb_seconds": round(production.reverb_seconds, 3),
        "reverb_wet": round(production.reverb_wet, 3),
        "highpass_hz": round(production.highpass_hz, 1),
        "lowpass_hz": round(production.lowpass_hz, 1),
        "level_db": round(production.level_db, 2),
        "saturated": production.saturated,
        "noise_db": round(production.noise_db, 2),
        "codec": production.codec,
        "codec_compression": round(production.codec_compression, 3),
    }
