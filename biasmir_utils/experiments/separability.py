"""What tells the datasets apart, what a correction leaves of it, and what it does to the rows.

A probe is trained to tell the datasets apart and scored on clips that it has not seen. Clips of
one track are kept on one side of every fold: a probe that has seen a track may know its other
clips by heart, and what it knows of the track is not what it knows of the dataset. `leaked`
folds ignore tracks, for contrast. The probe is an L2-regularised logistic regression on
standardised features, scaled so that rows have length 1 on average, which makes the penalty alike
for embeddings of any dimension; `kind="rbf"` puts random Fourier features of a Gaussian kernel
before it. With more than two datasets, each is told from all others, and the mean is reported too.

Chance is measured, not assumed: the same with the datasets of whole tracks permuted.

Where the datasets hold the same tracks (one piece of music, recorded or rendered twice; the corpus
has `shared_tracks`), a probe that is trained on one of two twins calls the other one by the wrong
dataset, and falls below chance. With `paired`, twins are on one side of every fold, and chance is
measured with the datasets swapped within tracks. A track that not all datasets hold has nothing to
be swapped with: it would keep its dataset under every permutation, and chance would be too high.
Such tracks are left out, of the measure as of its chance (`compared_rows`).

What a correction leaves is measured on rows that it was not fitted on, since on the rows of the
fit some corrections are perfect by construction: `LEACE` leaves exactly nothing for a linear probe
there, and more than nothing on fresh rows.

- `linear_probe`, `rbf_probe`: ROC-AUC of a probe of the dataset;
- `mean_gap`: distance of the two means, in units of the spread within the datasets (the root of
  the summed variances);
- `mmd2`: squared maximum mean discrepancy, unbiased, with a Gaussian kernel whose bandwidth is
  the median distance of the rows; it is negative about as often as positive where there is no
  difference. Clips of one track resemble each other in any dataset, so its means are over pairs of
  clips of different tracks;
- `variance_moved`, `variance_kept`, `rank`: see `damage`.

References
----------
A. Gretton et al., "A kernel two-sample test", JMLR 13, 2012 (equation 3 is the unbiased form).
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from threadpoolctl import threadpool_limits

from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections import Correction, Fastfood, make_correction, parse_corrections
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.metrics import Array, FloatArray, column_roc_auc
from biasmir_utils.experiments.protocol import DatasetClips, FeatureSpace, array_sum
from biasmir_utils.experiments.recognisers import Span, balanced_weights, solve_logistic

KINDS = ("linear", "rbf")
PROBE_FOLDS = 5
# Enough for a probe; the corrections' default, 4 for each dimension, serves another purpose.
RANDOM_FEATURES = 1024
MEAN = "(mean)"
PROBES = {"linear_probe": "linear probe", "rbf_probe": "RBF probe"}
SHIFT_MEASURES = {**PROBES, "mean_gap": "mean gap", "mmd2": "squared MMD"}
"""What tells two datasets apart, with its name for readers."""
JUDGED_COLUMNS = ("measure", "value", "chance", "chance_high", "control")
DAMAGE_MEASURES = ("variance_moved", "variance_kept", "rank")
SCALE_FLOOR = 0.1
QUIET_SHARE = 0.95
LEFT_OVER_PERMUTATIONS = 20
MAX_CLIPS = 300
"""Test clips of each dataset that are judged at most; probes cost the cube of their number."""
PROBE_PERMUTATIONS = 10
"""How often the chance of the probes is measured; they take long to train."""
DISTANCE_PERMUTATIONS = 100
"""How often the chance of mean gap and MMD is measured for each fit."""
NEIGHBOUR_BLOCK = 512
"""Rows whose distances to all others are held at a time."""


# What is compared


def compared_rows(
    sample_domain: ArrayLike, sample_track: ArrayLike, n_folds: int = PROBE_FOLDS
) -> tuple[NDArray[np.bool_], bool]:
    """Return which rows to compare where a track of one name is the same track in all datasets.

    Parameters
    ----------
    sample_domain, sample_track : array-like, (n_clips,)
    n_folds : int

    Returns
    -------
    compared : ndarray of bool, (n_clips,)
        The clips of tracks that all datasets hold. If these are fewer than the folds, all clips.
    twins : bool
        Whether tracks are compared with their twins; in the latter case like those of any datasets.
    """
    names, domain = np.unique(np.asarray(sample_domain, dtype=str), return_inverse=True)
    tracks, codes = np.unique(np.asarray(sample_track, dtype=str), return_inverse=True)
    held = np.zeros((len(tracks), len(names)), dtype=bool)
    held[codes, domain] = True
    everywhere = np.asarray(held.all(axis=1))
    if everywhere.sum() < n_folds:
        return np.ones(len(codes), dtype=bool), False
    return everywhere[codes], True


class _Compared:
    """Rows of several datasets, and which of them belong together.

    `X`: the rows that are compared, (n_clips, n_features); `names`: the datasets, sorted; `domain`:
    the position of each row's dataset among them; `tracks`: a code of its track, another one in
    each dataset; `pieces`: what stays on one side of a fold, the track, or both of two twins;
    `twins`: whether tracks have twins.
    """

    def __init__(
        self,
        X: ArrayLike,
        sample_domain: ArrayLike,
        sample_track: ArrayLike | None = None,
        paired: bool = False,
        n_folds: int = PROBE_FOLDS,
    ) -> None:
        rows, domain = np.asarray(X, dtype=np.float64), np.asarray(sample_domain)
        track = None if sample_track is None else np.asarray(sample_track, dtype=str)
        n_tracks = len(domain) if track is None else len(track)
        if rows.ndim != 2 or not len(rows) == len(domain) == n_tracks:
            raise ArgumentError(
                f"X must be a matrix with one row for each of {len(domain)} datasets and "
                f"{n_tracks} tracks, found the shape {rows.shape}"
            )
        self.twins = False
        if paired and track is not None:
            compared, self.twins = compared_rows(domain, track, n_folds)
            rows, domain, track = rows[compared], domain[compared], track[compared]
        self.X = rows
        self.names, self.domain = np.unique(domain, return_inverse=True)
        if track is None:
            self.tracks = self.pieces = np.arange(len(rows))
            return
        named = np.unique(track, return_inverse=True)[1]
        codes = self.domain * (named.max(initial=0) + 1) + named
        self.tracks = np.unique(codes, return_inverse=True)[1]
        self.pieces = named if self.twins else self.tracks

    @classmethod
    def two(cls, *arguments: Any) -> _Compared:
        """Return the rows of what has to be two datasets."""
        clips = cls(*arguments)
        if len(clips.names) != 2:
            raise ArgumentError(
                f"expected rows of two datasets, found {len(clips.names)} datasets for "
                f"{len(clips.X)} rows"
            )
        return clips

    def n_tracks(self, code: int) -> int:
        """Return how many tracks a dataset has."""
        return len(np.unique(self.tracks[self.domain == code]))

    def permuted(
        self, y: NDArray[np.bool_], n: int, seed: int | Sequence[int]
    ) -> NDArray[np.bool_]:
        """Return labels in which whole tracks have changed places, (n, n_clips).

        Twins change places only with each other.
        """
        rng = np.random.default_rng(seed)
        of_track = np.zeros(self.tracks.max() + 1, dtype=bool)
        of_track[self.tracks] = y
        if not self.twins:
            drawn = [rng.permutation(of_track)[self.tracks] for _ in range(n)]
            return np.array(drawn, dtype=bool).reshape(n, len(y))
        piece = np.zeros(len(of_track), dtype=np.intp)
        piece[self.tracks] = self.pieces
        places = np.argsort(piece, kind="stable")
        swapped = np.empty((n, len(of_track)), dtype=bool)
        for labels in swapped:
            labels[places] = of_track[np.lexsort((rng.random(len(piece)), piece))]
        return swapped[:, self.tracks]

    def folds(self, leaked: bool, n_folds: int, seed: int) -> NDArray[np.bool_]:
        """Return which clips train in each fold, (n_folds, n_clips)."""
        # Dealing tracks to folds takes longer than a probe, and the corrections of a report are
        # all probed on the same clips.
        codes = [np.asarray(c, dtype=np.int64).tobytes() for c in (self.domain, self.pieces)]
        return _dealt_folds(codes[0], codes[1], leaked, n_folds, seed)


@lru_cache(maxsize=8)
def _dealt_folds(
    domain_bytes: bytes, piece_bytes: bytes, leaked: bool, n_folds: int, seed: int
) -> NDArray[np.bool_]:
    domain, pieces = (np.frombuffer(code, dtype=np.int64) for code in (domain_bytes, piece_bytes))
    kind = StratifiedKFold if leaked else StratifiedGroupKFold
    splits = kind(n_folds, shuffle=True, random_state=seed).split(
        domain, domain, None if leaked else pieces
    )
    masks = np.zeros((n_folds, len(domain)), dtype=bool)
    for mask, (train, _) in zip(masks, splits, strict=True):
        mask[train] = True
    masks.flags.writeable = False
    return masks


# Probes


@dataclass(frozen=True)
class Separability:
    """How well one dataset is told from the rest.

    Attributes
    ----------
    dataset : str
        The dataset, or `(mean)` over all.
    fold_roc_auc : ndarray, (n_folds,)
        ROC-AUC on the held-out clips of each fold.
    chance_roc_auc : ndarray, (n_permutations,)
        Means over the folds with permuted datasets; empty if none were asked for.
    """

    dataset: str
    fold_roc_auc: FloatArray
    chance_roc_auc: FloatArray

    @property
    def roc_auc(self) -> float:
        """Mean over the folds."""
        return float(self.fold_roc_auc.mean())


class Measured(NamedTuple):
    """A measure of the difference of two datasets.

    Attributes
    ----------
    value : float
    chance : float
        Mean value with permuted datasets; NaN if none were asked for.
    chance_high : float
        Largest value with permuted datasets; NaN if none were asked for.
    """

    value: float
    chance: float = float("nan")
    chance_high: float = float("nan")


Shift = dict[str, Measured]


def dataset_separability(
    X: ArrayLike,
    sample_domain: ArrayLike,
    sample_track: ArrayLike | None = None,
    *,
    kind: str = "linear",
    leaked: bool = False,
    n_folds: int = PROBE_FOLDS,
    n_permutations: int = 0,
    C: float = 1.0,
    scale: ArrayLike | None = None,
    paired: bool = False,
    seed: int = 0,
) -> list[Separability]:
    """Cross-validate a probe of the dataset.

    Parameters
    ----------
    X : array-like, (n_clips, n_features)
        Finite.
    sample_domain : array-like, (n_clips,)
        Dataset of each clip, two or more.
    sample_track : array-like, (n_clips,), optional
        Track of each clip; tracks of different datasets are different even if they have one
        name, unless `paired`. Default: every clip is a track.
    kind : {'linear', 'rbf'}
    leaked : bool
        Whether clips of one track may be on both sides of a fold.
    n_folds : int
    n_permutations : int
        How often to measure chance.
    C : float
        Weight of the loss, for rows of mean square length 1.
    scale : array-like, (n_features,), optional
        What each feature is divided by; default its standard deviation in `X`.
    paired : bool
        Whether a track of one name is the same track in all datasets: `Corpus.shared_tracks`.
        Only the `compared_rows` are used then.
    seed : int
        Of folds, random features and permutations.

    Returns
    -------
    list of Separability
        For two datasets one entry, of the second of them in sorted order. For more, one for
        each, and the mean first.

    Raises
    ------
    ArgumentError
        If there is one dataset only, one has fewer tracks than folds, or shapes differ.
    """
    if kind not in KINDS:
        raise ArgumentError(f"kind {kind!r}: expected one of {', '.join(KINDS)}")
    clips = _Compared(X, sample_domain, sample_track, paired, n_folds)
    if not np.isfinite(clips.X).all():
        raise ArgumentError("X holds NaN or infinite values; leave out clips without an embedding")
    if len(clips.names) < 2:
        raise ArgumentError("at least two datasets are needed to tell them apart")
    for code, name in enumerate(clips.names):
        if clips.n_tracks(code) < n_folds:
            raise ArgumentError(
                f"dataset {str(name)!r} has {clips.n_tracks(code)} track(s), fewer than the "
                f"{n_folds} folds"
            )
    with threadpool_limits(1):
        span = Span.of(_features(clips.X, kind, seed, scale))
        train = clips.folds(leaked, n_folds, seed)
        found = []
        for code in [1] if len(clips.names) == 2 else range(len(clips.names)):
            y = clips.domain == code
            chance = _held_out(span, train, clips.permuted(y, n_permutations, seed), C)
            measured = _held_out(span, train, y[np.newaxis], C)[0]
            found.append(Separability(str(clips.names[code]), measured, chance.mean(axis=1)))
    if len(found) == 1:
        return found
    means = (
        np.mean([getattr(one, name) for one in found], axis=0)
        for name in ("fold_roc_auc", "chance_roc_auc")
    )
    return [Separability(MEAN, *means), *found]


def _features(rows: FloatArray, kind: str, seed: int, scale: ArrayLike | None = None) -> FloatArray:
    if scale is None:
        own = rows.std(axis=0)
        scale = np.where(own <= 1e-12 * np.abs(rows).max(axis=0), 1.0, own)
    rows = (rows - rows.mean(axis=0)) / np.asarray(scale, dtype=np.float64)
    if kind == "rbf":
        mapped: FloatArray = Fastfood(
            n_components=RANDOM_FEATURES, random_state=seed
        ).fit_transform(rows)
        return mapped
    return rows / np.sqrt(rows.shape[1])


def _held_out(
    span: Span, train: NDArray[np.bool_], labels: NDArray[np.bool_], C: float
) -> FloatArray:
    """Return the ROC-AUC on the held-out clips, (n_labelings, n_folds)."""
    y = np.repeat(labels, len(train), axis=0)
    masks = np.tile(train, (len(labels), 1))
    costs = [balanced_weights(*problem) for problem in zip(y, masks, strict=True)]
    _, decisions = solve_logistic(span.problem_rows, y, C * np.reshape(costs, y.shape))
    found = [
        column_roc_auc(own[~mask], values[~mask, np.newaxis])[0]
        for own, mask, values in zip(y, masks, decisions, strict=True)
    ]
    return np.reshape(found, (len(labels), len(train)))


def probe(
    corpus: Corpus,
    embeddings: str | Sequence[str],
    kinds: str | Sequence[str] = "linear",
    *,
    leaked: bool = False,
    n_permutations: int = 20,
    seed: int = 0,
) -> pd.DataFrame:
    """Tell for each embedding of a corpus how well the dataset can be read from it.

    All embeddings are probed on the same clips, of both splits: those that have all of them. Where
    the datasets hold the same tracks (`Corpus.shared_tracks`), twins stay in one fold, and only the
    `compared_rows` count.

    Parameters
    ----------
    corpus : Corpus
    embeddings, kinds : str or sequence of str
    leaked : bool
        Whether to add rows with folds that ignore tracks.
    n_permutations : int
        How often to measure chance.
    seed : int

    Returns
    -------
    pandas.DataFrame
        Columns `corpus`, `embedding`, `kind`, `folds` (`by track` or `leaked`), `dataset` (with
        two: both names), `n_clips`, `n_tracks` (one that all datasets share counts once),
        `roc_auc`, `sd` (over folds), `chance` (mean with permuted datasets) and `chance_max` (the
        largest of them). Permutations in which a fold holds one dataset only do not count; a
        warning tells of them, and of a `roc_auc` that is NaN for the same reason.
    """
    embeddings = [embeddings] if isinstance(embeddings, str) else list(dict.fromkeys(embeddings))
    kinds = [kinds] if isinstance(kinds, str) else list(dict.fromkeys(kinds))
    used = corpus.complete(embeddings)
    if corpus.shared_tracks:
        clips = corpus.clips[used]
        used[used] = compared_rows(clips["dataset"], clips["track"], PROBE_FOLDS)[0]
    clips = corpus.clips[used]
    domain, track = clips["dataset"].to_numpy(object), clips["track"].to_numpy(object)
    tracks = clips["track"] if corpus.shared_tracks else clips[["dataset", "track"]]
    both = "/".join(corpus.datasets)
    folds = {False: "by track", True: "leaked"} if leaked else {False: "by track"}
    rows = []
    for embedding in embeddings:
        X = corpus.embedding(embedding)[used]
        for kind, how in itertools.product(kinds, folds):
            try:
                found = dataset_separability(
                    X,
                    domain,
                    track,
                    kind=kind,
                    leaked=how,
                    n_permutations=n_permutations,
                    paired=corpus.shared_tracks,
                    seed=seed,
                )
            except ArgumentError as error:
                raise ArgumentError(f"embedding {embedding!r}, {kind}: {error}") from error
            about = f"{embedding}, {kind} probe, {'leaked folds' if how else 'folds by track'}"
            for text in _lacking(found[0]):
                warnings.warn(f"{about}: {text}", stacklevel=2)
            for one in found:
                chance = _measured(np.r_[one.roc_auc, one.chance_roc_auc])
                rows.append(
                    {
                        "corpus": corpus.name,
                        "embedding": embedding,
                        "kind": kind,
                        "folds": folds[how],
                        "dataset": one.dataset if len(corpus.datasets) > 2 else both,
                        "n_clips": len(clips),
                        "n_tracks": len(tracks.drop_duplicates()),
                        "roc_auc": one.roc_auc,
                        "sd": float(one.fold_roc_auc.std(ddof=1)),
                        "chance": chance.chance,
                        "chance_max": chance.chance_high,
                    }
                )
    return pd.DataFrame(rows)


def _lacking(found: Separability) -> list[str]:
    """Tell in words what could not be measured, as there are too few tracks for it."""
    told = []
    if np.isnan(found.roc_auc):
        told.append("no ROC-AUC, since the clips of a fold are of one dataset only")
    n, n_lost = len(found.chance_roc_auc), int(np.isnan(found.chance_roc_auc).sum())
    if n_lost:
        rest = f"chance is over the other {n - n_lost}" if n_lost < n else "so there is no chance"
        told.append(
            f"in {n_lost} of {n} permutations the clips of a fold are of one dataset only; {rest}"
        )
    return [f"{text} (too few tracks)" for text in told]


def _measured(values: FloatArray) -> Measured:
    """Return the first value, and mean and largest of the others; NaN does not count there."""
    # A fold of few clips may hold one dataset only once these are permuted.
    chance = values[1:][~np.isnan(values[1:])]
    if not len(chance):
        return Measured(float(values[0]))
    return Measured(float(values[0]), float(chance.mean()), float(chance.max()))


# What is left of a difference, and the damage done


def dataset_probes(
    X: ArrayLike,
    sample_domain: ArrayLike,
    sample_track: ArrayLike | None = None,
    *,
    n_permutations: int = 0,
    scale: ArrayLike | None = None,
    paired: bool = False,
    seed: int = 0,
) -> Shift:
    """Return how well two datasets are told apart by each of `PROBES`.

    Parameters
    ----------
    X : array-like, (n_clips, n_features)
    sample_domain : array-like, (n_clips,)
        Two datasets.
    sample_track : array-like, (n_clips,), optional
        Clips of one track are on one side of every fold; tracks of different datasets are
        different even if they have one name, unless `paired`.
    n_permutations : int
        How often to measure chance.
    scale : array-like, (n_features,), optional
        What each feature is divided by, see `probe_scale`; default that of `X`.
    paired : bool
        Whether a track of one name is the same track in both datasets: `Corpus.shared_tracks`.
        Only the `compared_rows` are used then.
    seed : int
        Of folds, random features and permutations.

    Returns
    -------
    dict of str to Measured
        NaN where a dataset has fewer tracks than the 5 folds, and for the probe with random
        features where most rows are equal, so that these have no bandwidth.

    Raises
    ------
    ArgumentError
        If there are not two datasets, or shapes differ.
    """
    clips = _Compared.two(X, sample_domain, sample_track, paired)
    if scale is None:
        scale = probe_scale(clips.X)
    found = dict.fromkeys(PROBES, Measured(float("nan")))
    if min(clips.n_tracks(code) for code in (0, 1)) < PROBE_FOLDS:
        return found
    for measure, kind in zip(PROBES, KINDS, strict=True):
        options: dict[str, Any] = {"kind": kind, "scale": scale, "paired": paired, "seed": seed}
        try:
            (probe,) = dataset_separability(
                X, sample_domain, sample_track, n_permutations=n_permutations, **options
            )
        except ArgumentError:
            if kind == "linear":  # what is wrong with the arguments is wrong for both
                raise
            continue
        found[measure] = _measured(np.r_[probe.roc_auc, probe.chance_roc_auc])
    return found


def dataset_distances(
    X: ArrayLike,
    sample_domain: ArrayLike,
    sample_track: ArrayLike | None = None,
    *,
    n_permutations: int = 0,
    paired: bool = False,
    seed: int | Sequence[int] = 0,
) -> Shift:
    """Return how far two datasets are apart by the distance of their means and the squared MMD.

    Parameters
    ----------
    X, sample_domain, sample_track, n_permutations, paired
        As for `dataset_probes`. The clips of a track have no part in the squared MMD as pairs.
    seed : int or sequence of int
        Of the permutations.

    Returns
    -------
    dict of str to Measured
        NaN for the squared MMD where a dataset has one track only.

    Raises
    ------
    ArgumentError
        If there are not two datasets, or shapes differ.
    """
    clips = _Compared.two(X, sample_domain, sample_track, paired)
    y = clips.domain == 1
    second = np.vstack([y, clips.permuted(y, n_permutations, seed)]).astype(np.float64)
    return {
        "mean_gap": _measured(_mean_gaps(clips.X, second)),
        "mmd2": _measured(_squared_mmds(clips.X, second, clips.pieces)),
    }


def probe_scale(X: ArrayLike) -> FloatArray:
    """Return what probes divide each feature by, to be taken from rows before a correction.

    It is the standard deviation, but no less than a tenth of the root of the mean variance.
    Corrections move every feature a little along their directions, also those that hardly vary
    (silent units of a network); scaled by what they have become, these would show the dataset
    after a correction better than before it.
    """
    variance = np.asarray(X, dtype=np.float64).var(axis=0)
    floor = SCALE_FLOOR * np.sqrt(variance.mean())
    return np.maximum(np.sqrt(variance), floor if floor > 0 else 1.0)


def mean_gap(X: ArrayLike, sample_domain: ArrayLike) -> float:
    """Return the distance of two datasets' means over the spread within them.

    It is |mean_B - mean_A| / sqrt(sum of the features' variances around the own dataset's mean).
    Zero spread gives 0 for equal means and infinity otherwise.
    """
    clips = _Compared.two(X, sample_domain)
    return float(_mean_gaps(clips.X, (clips.domain == 1).astype(np.float64)[np.newaxis])[0])


def _mean_gaps(rows: FloatArray, second: FloatArray) -> FloatArray:
    """Return the gap under each labelling, rows of `second`: 1 for a row of the second dataset."""
    n_second = second.sum(axis=1)
    n_first = len(rows) - n_second
    center = rows.mean(axis=0)
    rows = rows - center
    # The mean of all is 0, so the first dataset's mean follows from the second's.
    of_second = (second @ rows) / n_second[:, np.newaxis]
    squared = np.einsum("ij,ij->i", of_second, of_second)
    distance = np.sqrt(squared) * (len(rows) / n_first)
    total = np.einsum("ij,ij->", rows, rows)
    within = (total - squared * n_second * len(rows) / n_first) / len(rows)
    spread = np.sqrt(np.maximum(within, 0.0))
    tiny = np.finfo(np.float64).tiny
    return np.where(distance > 0, distance / np.maximum(spread, tiny), 0.0)


def _squared_mmds(rows: FloatArray, second: FloatArray, track: Array) -> FloatArray:
    """Return the squared MMD under each labelling; pairs of rows of one track do not count."""
    norms = np.einsum("ij,ij->i", rows, rows)
    squared = np.maximum(norms[:, np.newaxis] + norms - 2 * rows @ rows.T, 0.0)
    median = float(np.median(squared[np.triu_indices(len(rows), 1)]))
    if not median > 0:
        return np.zeros(len(second))
    apart = (track[:, np.newaxis] != track).astype(np.float64)
    kernel = np.exp(-squared / (2 * median)) * apart
    similar, pairs = (_sums_over_pairs(of, second) for of in (kernel, apart))
    # A single track has no pairs; what rounding leaves of them is not one.
    means = np.divide(similar, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0.5)
    found: FloatArray = means[0] + means[1] - 2 * means[2]
    return found


def _sums_over_pairs(values: FloatArray, second: FloatArray) -> FloatArray:
    """Return sums of a symmetric matrix: inside the first, the second dataset, between them."""
    from_second = second @ values
    inside_second = np.einsum("ij,ij->i", from_second, second)
    between = np.einsum("ij,ij->i", from_second, 1 - second)
    return np.array([values.sum() - 2 * between - inside_second, inside_second, between])


class Damage(NamedTuple):
    """A measure of what a correction does to rows, and what chance would do."""

    value: float
    control: float


def damage(before: Array, after: Array, rank: int, alpha: float = 1.0) -> dict[str, Damage]:
    """Return what a correction does to rows: each of `DAMAGE_MEASURES` and its control.

    Parameters
    ----------
    before, after : ndarray, (n_clips, n_features)
    rank : int
        Directions that the correction removes.
    alpha : float
        Its dose.

    Returns
    -------
    dict of str to Damage
        `variance_moved`, the total variance of x' - x over that of x: a translation that all rows
        have in common leaves every difference of rows as it is, and does not count. Beside it
        the expectation of that for the projection of a random subspace of the same rank and dose,
        ``alpha**2 * rank / n_features``. `variance_kept`, the total variance after over before,
        with the control ``1 - (2 * alpha - alpha**2) * rank / n_features``; `rank`. Controls are
        NaN for a correction that removes no direction, and everything is for rows that are all
        alike.
    """
    before = np.asarray(before, dtype=np.float64)
    moved = np.asarray(after, dtype=np.float64) - before
    total = float(before.var(axis=0).sum())
    if not total > 0:
        return dict.fromkeys(DAMAGE_MEASURES, Damage(np.nan, np.nan))
    share = rank / before.shape[1] if rank else np.nan
    kept = float((before + moved).var(axis=0).sum() / total)
    return {
        "variance_moved": Damage(float(moved.var(axis=0).sum() / total), alpha**2 * share),
        "variance_kept": Damage(kept, 1 - (2 * alpha - alpha**2) * share),
        "rank": Damage(float(rank), np.nan),
    }


def quiet_dimensions(X: ArrayLike, share: float = QUIET_SHARE) -> NDArray[np.bool_]:
    """Return which dimensions have one and the same value in more than a share of the rows.

    Parameters
    ----------
    X : array-like, (n_clips, n_features)
    share : float
        In [0, 1].
    """
    columns = np.sort(np.asarray(X), axis=0).T
    n = columns.shape[1]
    quiet = np.zeros(len(columns), dtype=bool)
    for k, column in enumerate(columns):
        starts = np.flatnonzero(np.r_[True, column[1:] != column[:-1]])
        quiet[k] = np.diff(np.r_[starts, n]).max(initial=0) > share * n
    return quiet


def left_over(
    corpus: Corpus,
    embeddings: str | Sequence[str],
    corrections: str | Sequence[str | Correction],
    *,
    sizes: Sequence[int] = (),
    without_quiet: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """Fit corrections on training clips, and tell the datasets apart on these and on test clips.

    Parameters
    ----------
    corpus : Corpus
        Of two datasets.
    embeddings, corrections : str or sequence
        Corrections that need no groups or labels.
    sizes : sequence of int
        Numbers of training clips to fit on, drawn at random from both datasets together, the
        smaller ones out of the larger. Default: all.
    without_quiet : bool
        Whether to leave out the `quiet_dimensions` of the training clips before anything else.
    seed : int
        Of the draws, folds, permutations, and of corrections that are random.

    Returns
    -------
    pandas.DataFrame
        A row for each embedding, correction and size: `embedding`, `correction`, `clips`,
        `dimensions`; `fitted_gap` and `fresh_gap`, the distance of the means (see
        `mean_gap`) on the clips of the fit and on test clips; `chance_gap`, the mean of
        the latter with the datasets of tracks permuted; `fresh_probe`, ROC-AUC of a linear probe
        of the dataset, cross-validated on test clips by track. Where the datasets hold the same
        tracks (`Corpus.shared_tracks`), test clips are the `compared_rows`, and
        permuted within tracks.

    Raises
    ------
    ArgumentError
        If the corpus has not two datasets, or fewer training clips than a size.
    """
    if len(corpus.datasets) != 2:
        raise ArgumentError(f"expected a corpus of two datasets, found {corpus.datasets}")
    rows: list[dict[str, Any]] = []
    for name in [embeddings] if isinstance(embeddings, str) else embeddings:
        clips = corpus.clips[corpus.complete([name])]
        X = corpus.embedding(name)[clips.index].astype(np.float64)
        domain = clips["dataset"].to_numpy(dtype=str)
        is_train = (clips["split"] == "train").to_numpy()
        if without_quiet:
            X = X[:, ~quiet_dimensions(X[is_train])]
        order = np.random.default_rng(seed).permutation(np.flatnonzero(is_train))
        fresh, track = np.flatnonzero(~is_train), clips["track"].to_numpy(dtype=str)[~is_train]
        if corpus.shared_tracks:
            compared, _ = compared_rows(domain[fresh], track)
            fresh, track = fresh[compared], track[compared]
        for size, spec in itertools.product(sizes or [len(order)], parse_corrections(corrections)):
            if size > len(order):
                raise ArgumentError(f"size {size}: there are {len(order)} training clips")
            fitted = order[:size]
            correction = make_correction(spec, seed)
            if spec.method == "random" and "random_state" not in dict(spec.parameters):
                correction.set_params(random_state=seed)
            correction.fit(X[fitted], sample_domain=domain[fitted])
            seen, unseen = (
                correction.transform(X[part], sample_domain=domain[part])
                for part in (fitted, fresh)
            )
            is_last = domain[fresh] == domain[-1]
            told = _Compared.two(unseen, is_last, track, corpus.shared_tracks)
            permuted = told.permuted(told.domain == 1, LEFT_OVER_PERMUTATIONS, seed)
            (found,) = dataset_separability(
                unseen, domain[fresh], track, paired=corpus.shared_tracks, seed=seed
            )
            rows.append(
                {
                    "embedding": name,
                    "correction": str(spec),
                    "clips": int(size),
                    "dimensions": X.shape[1],
                    "fitted_gap": mean_gap(seen, domain[fitted]),
                    "fresh_gap": mean_gap(unseen, domain[fresh]),
                    "chance_gap": float(np.mean([mean_gap(told.X, one) for one in permuted])),
                    "fresh_probe": found.roc_auc,
                }
            )
    return pd.DataFrame(rows)


# Corrections measured on the test clips of both datasets


def measure_corrections(
    space: FeatureSpace,
    corrections: Mapping[tuple[Correction, str], Any],
    pair: Sequence[DatasetClips],
    features: Sequence[Array],
    seed: int,
    label: str = "",
) -> Iterator[tuple[tuple[Correction, str], dict[str, Any]]]:
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
    label : str
        What is recognised: the chance of the distances is drawn anew for each.

    Yields
    ------
    variant : (Correction, str)
    row : dict
        `measure`, `value`, `chance`, `chance_high`, `control`: one of `SHIFT_MEASURES` with its
        chance level, or of `DAMAGE_MEASURES` with its control. The chance level of the mean gap and
        of MMD is that of the same rows with datasets permuted: of the corrected ones after a
        correction,
        whose spread is another one. That of the probes, which take long to train, is measured
        before any correction and told of all. Where most rows are equal, measures that need
        different ones are NaN, with a warning.
    """
    domain, track, raw = _clips_to_judge(pair, features, seed)
    sides = (0, 1) if space.depends_on_side else (0,)
    before = [
        np.concatenate([space.test(X, side) for X in raw]).astype(np.float64) for side in sides
    ]
    scales = [probe_scale(X) for X in before]
    paired = pair[0].shared_tracks

    def shift(rows: Sequence[Array], probes: Callable[..., Shift]) -> Shift:
        parts = []
        for X, scale in zip(rows, scales, strict=True):
            found = probes(X, domain, track, scale=scale, paired=paired, seed=seed)
            apart = dataset_distances(
                *(X, domain, track),
                n_permutations=DISTANCE_PERMUTATIONS,
                paired=paired,
                seed=[seed, *label.encode()],
            )
            parts.append({**found, **apart})
        return _mean(parts)

    unchanged = shift(before, _probes_with_chance)
    for variant, correction in corrections.items():
        after, rank, alpha, left = before, 0, 1.0, unchanged
        if correction is not None:
            after = [correction.transform(X, sample_domain=domain) for X in before]
            alpha = correction.alpha
            rank = int(getattr(correction, "rank_", 0)) if alpha else 0
            left = shift(after, dataset_probes)
        harm = _mean([damage(*rows, rank, alpha) for rows in zip(before, after, strict=True)])
        _tell_degenerate(left, harm)
        for measure, found in left.items():
            chance = unchanged[measure] if measure in PROBES else found
            values = (measure, found.value, chance.chance, chance.chance_high, np.nan)
            yield variant, dict(zip(JUDGED_COLUMNS, values, strict=True))
        for measure, (value, control) in harm.items():
            values = (measure, value, np.nan, np.nan, control)
            yield variant, dict(zip(JUDGED_COLUMNS, values, strict=True))


def _clips_to_judge(
    pair: Sequence[DatasetClips], features: Sequence[Array], seed: int
) -> tuple[Array, Array, list[Array]]:
    """Return dataset and track of the test clips that are judged, and the rows of each dataset."""
    rows_of = [np.flatnonzero(~clips.is_train) for clips in pair]
    if pair[0].shared_tracks:
        # Before tracks are drawn: those of one seed are the same only out of the same tracks.
        domain, track = _told(pair, rows_of)
        compared = np.split(compared_rows(domain, track)[0], [len(rows_of[0])])
        rows_of = [rows[kept] for rows, kept in zip(rows_of, compared, strict=True)]
    chosen = [
        tracks_to_judge(clips, rows, MAX_CLIPS, seed)
        for clips, rows in zip(pair, rows_of, strict=True)
    ]
    return *_told(pair, chosen), [X[rows] for X, rows in zip(features, chosen, strict=True)]


def _told(pair: Sequence[DatasetClips], rows_of: Sequence[Array]) -> tuple[Array, Array]:
    """Return dataset and track of rows of each dataset, one after the other."""
    domain = np.repeat([clips.name for clips in pair], [len(rows) for rows in rows_of])
    return domain, np.concatenate([c.tracks[rows] for c, rows in zip(pair, rows_of, strict=True)])


# All labels are judged on the same rows, as long as these are embeddings.
_PROBED: dict[str, Shift] = {}
_MAX_PROBED = 64


def _probes_with_chance(X: Array, domain: Array, track: Array, **options: Any) -> Shift:
    """Return the probes of uncorrected rows with their chance, which takes long."""
    key = f"{array_sum(X, domain, track)} {options['paired']} {options['seed']}"
    if key not in _PROBED:
        if len(_PROBED) >= _MAX_PROBED:
            _PROBED.clear()
        options["n_permutations"] = PROBE_PERMUTATIONS
        _PROBED[key] = dataset_probes(X, domain, track, **options)
    return _PROBED[key]


def _tell_degenerate(left: Shift, harm: Mapping[str, Damage]) -> None:
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


def _mean(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean of measures, value by value; one of several sides is of the same kind."""
    return {
        measure: type(first)(*map(float, np.mean([part[measure] for part in parts], axis=0)))
        for measure, first in parts[0].items()
    }


def nearest_in_other_tracks(vectors: ArrayLike, tracks: ArrayLike, k: int = 10) -> NDArray[np.intp]:
    """Return the rows most similar to each row, clips of its own track left out.

    Similarity is the cosine of standardised vectors: without standardising, the dimensions
    with the largest numbers would decide alone.

    Parameters
    ----------
    vectors : array-like, (n, D)
    tracks : array-like, (n,)
        Track of each row, any values.
    k : int
        Number of neighbours, at least 1.

    Returns
    -------
    ndarray, (n, k)
        Rows, the nearest first.

    Raises
    ------
    ArgumentError
        If there are not `k` rows outside of some track.
    """
    X = np.asarray(vectors, dtype=np.float32)
    codes = np.unique(np.asarray(tracks), return_inverse=True)[1]
    outside = len(X) - int(np.bincount(codes).max())
    if not 1 <= k <= outside:
        raise ArgumentError(f"k: expected 1 to {outside} neighbours in other tracks, found {k!r}")
    scale = X.std(axis=0)
    unit = (X - X.mean(axis=0)) / np.where(scale > 0, scale, 1)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    nearest = np.empty((len(X), k), dtype=np.intp)
    for start in range(0, len(X), NEIGHBOUR_BLOCK):
        rows = slice(start, start + NEIGHBOUR_BLOCK)
        similarity = unit[rows] @ unit.T
        similarity[codes[rows, np.newaxis] == codes] = -np.inf
        some = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(similarity, some, axis=1), axis=1, kind="stable")
        nearest[rows] = np.take_along_axis(some, order, axis=1)
    return nearest
