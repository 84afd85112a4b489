"""Corrections judged on the test clips of both datasets, which none of them was fitted on."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasmir_utils.corrections.grammar import Correction
from biasmir_utils.experiments.data import DatasetClips, array_sum
from biasmir_utils.experiments.feature_space import FeatureSpace
from biasmir_utils.experiments.separability import compared_rows
from biasmir_utils.experiments.shift import (
    DAMAGE_MEASURES,
    PROBES,
    Measured,
    damage,
    domain_shift,
    probe_scale,
)

Array = NDArray[Any]
Variant = tuple[Correction, str]

MAX_CLIPS = 300
"""Test clips of each dataset that are judged at most; probes cost the cube of their number."""
N_PERMUTATIONS = 10
"""How often chance is measured for each fit."""
JUDGED_COLUMNS = ("measure", "value", "chance", "chance_high", "control")

# What uncorrected rows gave, by what it depends on.
_MEASURED: dict[str, dict[str, Measured]] = {}
_MAX_MEASURED = 64


def judge_corrections(
    space: FeatureSpace,
    corrections: Mapping[Variant, Any],
    pair: Sequence[DatasetClips],
    features: Sequence[Array],
    seed: int,
) -> Iterator[tuple[Variant, dict[str, Any]]]:
    """Measure shift and damage of fitted corrections on test clips of both datasets.

    Parameters
    ----------
    space : FeatureSpace
        Where the corrections apply. With random features, in which rows are scaled by the
        dataset that a recogniser comes from, both ways are measured and averaged.
    corrections : mapping
        For each variant the fitted transformer, None for nothing to correct.
    pair : sequence of DatasetClips
    features : sequence of ndarray
        The embedding of all clips of each dataset.
    seed : int
        Of the choice of clips, of folds, random features and permutations.

    Yields
    ------
    variant : (Correction, str)
    row : dict
        `JUDGED_COLUMNS`: a measure of `shift.SHIFT_MEASURES` with its chance level, or of
        `shift.DAMAGE_MEASURES` with its control. The chance level of the mean gap and of MMD is
        that of the same rows with datasets permuted: of the corrected ones after a correction,
        whose spread is another one. That of the probes, which take long to train, is measured
        before any correction and told of all. Where most rows are equal, measures that need
        different ones are NaN, with a warning.
    """
    rows_of = [np.flatnonzero(~clips.is_train) for clips in pair]
    if pair[0].shared_tracks:
        rows_of = _with_twins(pair, rows_of)
    chosen = [
        tracks_to_judge(clips, rows, MAX_CLIPS, seed)
        for clips, rows in zip(pair, rows_of, strict=True)
    ]
    domain = np.repeat([clips.name for clips in pair], [len(rows) for rows in chosen])
    track = np.concatenate([c.tracks[rows] for c, rows in zip(pair, chosen, strict=True)])
    raw = [X[rows] for X, rows in zip(features, chosen, strict=True)]
    sides = (0, 1) if space.depends_on_side else (0,)
    before = {
        side: np.concatenate([space.test(X, side) for X in raw]).astype(np.float64)
        for side in sides
    }
    clips = _Judged(domain, track, pair[0].shared_tracks, seed)
    scale = {side: probe_scale(X) for side, X in before.items()}
    unchanged = _mean([_before(before[side], clips, scale[side]) for side in sides])
    for variant, correction in corrections.items():
        if correction is None:
            left, harm = unchanged, [_damage(before[side], before[side], 0) for side in sides]
        else:
            after = {
                side: correction.transform(X, sample_domain=domain) for side, X in before.items()
            }
            left = _mean([clips.shift(after[side], scale[side]) for side in sides])
            rank = int(getattr(correction, "rank_", 0)) if correction.alpha else 0
            harm = [_damage(before[side], after[side], rank, correction.alpha) for side in sides]
        _tell_degenerate(left, harm[0])
        for measure, found in left.items():
            chance = unchanged[measure] if measure in PROBES else found
            values = (measure, found.value, chance.chance, chance.chance_high, np.nan)
            yield variant, dict(zip(JUDGED_COLUMNS, values, strict=True))
        for measure in harm[0]:
            value, control = np.mean([part[measure] for part in harm], axis=0)
            values = (measure, float(value), np.nan, np.nan, float(control))
            yield variant, dict(zip(JUDGED_COLUMNS, values, strict=True))


@dataclass(frozen=True)
class _Judged:
    """The clips that are judged, and how."""

    domain: Array
    track: Array
    paired: bool
    seed: int

    def shift(self, X: Array, scale: Array, probe_permutations: int = 0) -> dict[str, Measured]:
        return domain_shift(
            X,
            self.domain,
            self.track,
            n_permutations=N_PERMUTATIONS,
            probe_permutations=probe_permutations,
            scale=scale,
            paired=self.paired,
            seed=self.seed,
        )


def _before(X: Array, clips: _Judged, scale: Array) -> dict[str, Measured]:
    """Return the shift of uncorrected rows with chance, which takes longer than a correction's."""
    # All labels are judged on the same rows, as long as these are embeddings.
    key = f"{array_sum(X, clips.domain, clips.track)} {clips.paired} {clips.seed}"
    if key not in _MEASURED:
        if len(_MEASURED) >= _MAX_MEASURED:
            _MEASURED.clear()
        _MEASURED[key] = clips.shift(X, scale, N_PERMUTATIONS)
    return _MEASURED[key]


def _damage(
    before: Array, after: Array, rank: int, alpha: float = 1.0
) -> dict[str, tuple[float, float]]:
    """Return `shift.damage`, NaN for rows that are all alike."""
    if np.ptp(before, axis=0).any():
        return damage(before, after, rank, alpha)
    return dict.fromkeys(DAMAGE_MEASURES, (np.nan, np.nan))


def _tell_degenerate(left: dict[str, Measured], harm: dict[str, tuple[float, float]]) -> None:
    """Warn of measures that rows have none of because they are equal."""
    lacking = []
    # Without enough tracks there is neither of the probes.
    if np.isnan(left["rbf_probe"].value) and not np.isnan(left["linear_probe"].value):
        lacking.append("rbf_probe")
    if np.isnan(harm["variance_moved"][0]):
        lacking.extend(DAMAGE_MEASURES)
    if lacking:
        warnings.warn(
            f"most test clips have equal rows, so {', '.join(lacking)} cannot be measured",
            stacklevel=3,
        )


def tracks_to_judge(
    clips: DatasetClips, rows: NDArray[np.intp], most: int, seed: int
) -> NDArray[np.intp]:
    """Return rows of a dataset: all, or whole tracks drawn as long as there are `most` at most.

    Of a first track with more clips than that, `most` are drawn.

    Parameters
    ----------
    clips : DatasetClips
    rows : ndarray of int
        Sorted.
    most : int
        At least 1.
    seed : int

    Returns
    -------
    ndarray of int
        Sorted.
    """
    if len(rows) <= most:
        return rows
    names, codes = np.unique(clips.tracks[rows].astype(str), return_inverse=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(names))
    counts = np.bincount(codes)[order]
    if counts[0] > most:
        return np.sort(rng.choice(rows[codes == order[0]], most, replace=False))
    kept = order[np.cumsum(counts) <= most]
    return rows[np.isin(codes, kept)]


def _with_twins(
    pair: Sequence[DatasetClips], rows_of: Sequence[NDArray[np.intp]]
) -> list[NDArray[np.intp]]:
    """Return the rows to compare of datasets that hold the same tracks."""
    # Before tracks are drawn: those of one seed are the same only out of the same tracks.
    ends = np.cumsum([len(rows) for rows in rows_of])
    domain = np.repeat([clips.name for clips in pair], np.diff(ends, prepend=0))
    track = np.concatenate([c.tracks[rows] for c, rows in zip(pair, rows_of, strict=True)])
    compared = np.split(compared_rows(domain, track)[0], ends[:-1])
    return [rows[kept] for rows, kept in zip(rows_of, compared, strict=True)]


def _mean(parts: Sequence[dict[str, Measured]]) -> dict[str, Measured]:
    return {
        measure: Measured(
            *(
                float(np.mean([getattr(part[measure], name) for part in parts]))
                for name in ("value", "chance", "chance_high")
            )
        )
        for measure in parts[0]
    }
