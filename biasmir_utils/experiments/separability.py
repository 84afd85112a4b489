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
  the summed variances), where every track counts alike, with whatever number of clips;
- `mmd2`: squared maximum mean discrepancy, unbiased, with a Gaussian kernel whose bandwidth is
  the median distance of the rows; it is negative about as often as positive where there is no
  difference. Clips of one track resemble each other in any dataset, so its means are over pairs of
  clips of different tracks, which count alike, too;
- `variance_moved`, `variance_kept`, `rank`: see `damage`.

`SHIFT_MEASURES` is the table of the first four: a row more is a measure more in every report.

References
----------
A. Gretton et al., "A kernel two-sample test", JMLR 13, 2012 (equation 3 is the unbiased form).
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import mode
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from threadpoolctl import threadpool_limits

from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections import (
    Correction,
    Fastfood,
    fit_correction,
    parse_corrections,
    permuted,
)
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.metrics import Array, FloatArray, column_roc_auc, ratio
from biasmir_utils.experiments.protocol import (
    DatasetClips,
    FeatureSpace,
    array_sum,
    left_out_lines,
)
from biasmir_utils.experiments.recognisers import Span, balanced_weights, solve_logistic

PROBE_FOLDS = 5
# Enough for a probe; the corrections' default, 4 for each dimension, serves another purpose.
RANDOM_FEATURES = 1024
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


_Labels = NDArray[np.bool_]
"""Which clips are of the second of two datasets, a row for each labelling."""


# What is compared


def compared_rows(
    sample_domain: ArrayLike, sample_track: ArrayLike
) -> tuple[NDArray[np.bool_], bool]:
    """Return which rows to compare where a track of one name is the same track in all datasets.

    Parameters
    ----------
    sample_domain, sample_track : array-like, (n_clips,)

    Returns
    -------
    compared : ndarray of bool, (n_clips,)
        The clips of tracks that all datasets hold; if these are fewer than `PROBE_FOLDS`, all.
    twins : bool
        Whether tracks are compared with their twins; in the latter case like those of any datasets.
    """
    track = np.asarray(sample_track, dtype=str)
    held = pd.crosstab(track, np.asarray(sample_domain, dtype=str)).gt(0).all(axis=1)
    if held.sum() < PROBE_FOLDS:
        return np.ones(len(track), dtype=bool), False
    return held[track].to_numpy(), True


class _Clips:
    """The clips that are compared, and which of them belong together.

    `compared`: which of the rows they are; `names`: the datasets, sorted; `domain`: the position of
    each clip's dataset among them; `tracks`: a code of its track, another one in each dataset;
    `weights`: one over the number of clips of its track;
    `pieces`: what stays on one side of a fold, the track, or both of two twins; `twins`: whether
    tracks have twins.
    """

    def __init__(
        self,
        sample_domain: ArrayLike,
        sample_track: ArrayLike | None = None,
        paired: bool = False,
    ) -> None:
        domain = np.asarray(sample_domain)
        apart = sample_track is None
        track = np.arange(len(domain)) if apart else np.asarray(sample_track, dtype=str)
        if len(track) != len(domain):
            raise ArgumentError(f"found {len(domain)} datasets and {len(track)} tracks of clips")
        self.compared, self.twins = np.ones(len(domain), dtype=bool), False
        if paired:
            self.compared, self.twins = compared_rows(domain, track)
        self.names, self.domain = np.unique(domain[self.compared], return_inverse=True)
        named = np.unique(track[self.compared], return_inverse=True)[1]
        codes = named if apart else self.domain * (named.max(initial=0) + 1) + named
        self.tracks = np.unique(codes, return_inverse=True)[1]
        self.pieces = named if self.twins else self.tracks
        self.weights = 1 / np.bincount(self.tracks)[self.tracks]

    def rows(self, X: ArrayLike) -> FloatArray:
        """Return the rows of the clips that are compared, of a matrix with a row for each clip."""
        rows = np.asarray(X, dtype=np.float64)
        if rows.ndim != 2 or len(rows) != len(self.compared):
            raise ArgumentError(
                f"X must be a matrix with one row for each of {len(self.compared)} datasets and "
                f"tracks, found the shape {rows.shape}"
            )
        if not np.isfinite(rows).all():
            raise ArgumentError(
                "X holds NaN or infinite values; leave out clips without an embedding"
            )
        return rows[self.compared]

    def is_second(self) -> NDArray[np.bool_]:
        """Return which clips are of the second of what have to be two datasets."""
        if len(self.names) != 2:
            raise ArgumentError(f"expected clips of two datasets, found {len(self.names)}")
        return np.asarray(self.domain == 1)

    def n_tracks(self, code: int) -> int:
        """Return how many tracks a dataset has."""
        return len(np.unique(self.tracks[self.domain == code]))

    def permuted(self, y: _Labels, n: int, seed: int | Sequence[int]) -> _Labels:
        """Return labels in which whole tracks have changed places, (n, n_clips).

        Twins change places only with each other.
        """
        rng = np.random.default_rng(seed)
        first = np.unique(self.tracks, return_index=True)[1]
        of_track, piece = y[first], self.pieces[first]
        swapped = [permuted(of_track, rng, piece if self.twins else None) for _ in range(n)]
        return np.array(swapped, dtype=bool).reshape(n, len(of_track))[:, self.tracks]

    def folds(self, leaked: bool, seed: int) -> NDArray[np.bool_]:
        """Return which clips train in each fold, (`PROBE_FOLDS`, n_clips)."""
        # Dealing tracks to folds takes longer than a probe, and the corrections of a report are
        # all probed on the same clips.
        codes = [np.asarray(c, dtype=np.int64).tobytes() for c in (self.domain, self.pieces)]
        return _dealt_folds(codes[0], codes[1], leaked, seed)


@lru_cache(maxsize=8)
def _dealt_folds(
    domain_bytes: bytes, piece_bytes: bytes, leaked: bool, seed: int
) -> NDArray[np.bool_]:
    domain, pieces = (np.frombuffer(code, dtype=np.int64) for code in (domain_bytes, piece_bytes))
    kind = StratifiedKFold if leaked else StratifiedGroupKFold
    splits = kind(PROBE_FOLDS, shuffle=True, random_state=seed).split(
        domain, domain, None if leaked else pieces
    )
    masks = np.zeros((PROBE_FOLDS, len(domain)), dtype=bool)
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
    dataset : str or None
        The dataset; None for the mean over all.
    fold_roc_auc : ndarray, (n_folds,)
        ROC-AUC on the held-out clips of each fold.
    chance_roc_auc : ndarray, (n_permutations,)
        Means over the folds with permuted datasets; empty if none were asked for.
    """

    dataset: str | None
    fold_roc_auc: FloatArray
    chance_roc_auc: FloatArray

    @property
    def roc_auc(self) -> float:
        """Mean over the folds."""
        return float(self.fold_roc_auc.mean())


class Measured(NamedTuple):
    """A measure of two datasets, or of what a correction does to them.

    Attributes
    ----------
    value : float
    chance, chance_high : float
        Mean and largest value with permuted datasets; NaN if none were asked for.
    control : float
        What a random projection would do, on average; NaN where that says nothing.
    """

    value: float
    chance: float = float("nan")
    chance_high: float = float("nan")
    control: float = float("nan")


def _measured(values: FloatArray) -> Measured:
    """Return the first value, and mean and largest of the others; NaN does not count there."""
    # A fold of few clips may hold one dataset only once these are permuted.
    chance = pd.Series(values[1:]).dropna()
    return Measured(float(values[0]), float(chance.mean()), float(chance.max()))


# More threads are slower on matrices of this size.
@threadpool_limits.wrap(limits=1)
def dataset_separability(
    X: ArrayLike,
    sample_domain: ArrayLike,
    sample_track: ArrayLike | None = None,
    *,
    kind: str = "linear",
    leaked: bool = False,
    n_permutations: int = 0,
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
    n_permutations : int
        How often to measure chance.
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
    if kind not in ("linear", "rbf"):
        raise ArgumentError(f"kind {kind!r}: expected one of linear, rbf")
    clips = _Clips(sample_domain, sample_track, paired)
    rows = clips.rows(X)
    if len(clips.names) < 2:
        raise ArgumentError("at least two datasets are needed to tell them apart")
    for code, name in enumerate(clips.names):
        if clips.n_tracks(code) < PROBE_FOLDS:
            raise ArgumentError(
                f"dataset {str(name)!r} has {clips.n_tracks(code)} track(s), fewer than the "
                f"{PROBE_FOLDS} folds"
            )
    codes = [1] if len(clips.names) == 2 else range(len(clips.names))
    told = [clips.domain == code for code in codes]
    labels = [np.vstack([y, clips.permuted(y, n_permutations, seed)]) for y in told]
    probed = _probed(_features(rows, kind, seed), clips.folds(leaked, seed), labels)
    found = [
        Separability(str(clips.names[code]), one[0], one[1:].mean(axis=1))
        for code, one in zip(codes, probed, strict=True)
    ]
    if len(found) == 1:
        return found
    folds, chance = zip(*((one.fold_roc_auc, one.chance_roc_auc) for one in found), strict=True)
    return [Separability(None, np.mean(folds, axis=0), np.mean(chance, axis=0)), *found]


def _features(rows: FloatArray, kind: str, seed: int, scale: ArrayLike | None = None) -> FloatArray:
    if scale is None:
        own = rows.std(axis=0)
        scale = np.where(own <= 1e-12 * np.abs(rows).max(axis=0), 1.0, own)
    rows = (rows - rows.mean(axis=0)) / np.asarray(scale, dtype=np.float64)
    if kind == "rbf":
        fourier = Fastfood(n_components=RANDOM_FEATURES, random_state=seed)
        return np.asarray(fourier.fit_transform(rows))
    return rows / np.sqrt(rows.shape[1])


def _probed(
    rows: FloatArray, train: NDArray[np.bool_], labels: Sequence[_Labels]
) -> list[FloatArray]:
    """Return ROC-AUC on held-out clips for each set of labellings, (n_labelings, n_folds)."""
    span, found = Span.of(rows), []
    # What is measured is solved apart from what is permuted, and so the same without the latter.
    for part in (part for own in labels for part in (own[:1], own[1:])):
        y, masks = np.repeat(part, len(train), axis=0), np.tile(train, (len(part), 1))
        _, decisions = solve_logistic(span.problem_rows, y, balanced_weights(y, masks))
        held_out = [
            column_roc_auc(own[~mask], values[~mask, np.newaxis])[0]
            for own, mask, values in zip(y, masks, decisions, strict=True)
        ]
        found.append(np.reshape(held_out, (len(part), len(train))))
    return [np.concatenate(both) for both in zip(found[::2], found[1::2], strict=True)]


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
        two: both names; with more also a blank one, the mean over all), `n_clips`, `n_tracks` (one
        that all datasets share counts once), `roc_auc`, `sd` (over folds), `chance` (mean with
        permuted datasets), `chance_min` and `chance_max` (the ends of them). Permutations in which
        a fold holds one dataset only do not count; a warning tells of them, of a `roc_auc` that is
        NaN for the same reason, and of clips that lack one of the embeddings.
    """
    embeddings = [embeddings] if isinstance(embeddings, str) else list(dict.fromkeys(embeddings))
    kinds = [kinds] if isinstance(kinds, str) else list(dict.fromkeys(kinds))
    used = corpus.complete(embeddings)
    lacking = corpus.clips["dataset"][~used].value_counts()
    for text in left_out_lines({name: lacking.get(name, 0) for name in corpus.datasets}):
        warnings.warn(text, stacklevel=2)
    if corpus.shared_tracks:
        clips = corpus.clips[used]
        used[used] = compared_rows(clips["dataset"], clips["track"])[0]
    clips = corpus.clips[used]
    domain, track = clips["dataset"].to_numpy(object), clips["track"].to_numpy(object)
    tracks = clips["track"] if corpus.shared_tracks else clips[["dataset", "track"]]
    folds = {False: "by track", True: "leaked"} if leaked else {False: "by track"}
    rows: list[dict[str, Any]] = []
    for embedding, kind, how in itertools.product(embeddings, kinds, folds):
        try:
            found = dataset_separability(
                corpus.embedding(embedding)[used],
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
            warnings.warn(f"{about}: {text} (too few tracks)", stacklevel=2)
        for one in found:
            drawn = one.chance_roc_auc
            chance = _measured(np.r_[one.roc_auc, drawn])
            row: dict[str, Any] = {"corpus": corpus.name, "embedding": embedding, "kind": kind}
            name = one.dataset if len(corpus.datasets) > 2 else "/".join(corpus.datasets)
            row |= {"folds": folds[how], "dataset": name}
            row |= {"n_clips": len(clips), "n_tracks": len(tracks.drop_duplicates())}
            row |= {"roc_auc": one.roc_auc, "sd": float(one.fold_roc_auc.std(ddof=1))}
            row |= {"chance": chance.chance, "chance_min": pd.Series(drawn).min()}
            rows.append({**row, "chance_max": chance.chance_high})
    return pd.DataFrame(rows)


def _lacking(found: Separability) -> Iterator[str]:
    """Tell in words what could not be measured, as there are too few tracks for it."""
    if np.isnan(found.roc_auc):
        yield "no ROC-AUC, since the clips of a fold are of one dataset only"
    n, n_lost = len(found.chance_roc_auc), int(np.isnan(found.chance_roc_auc).sum())
    if n_lost:
        rest = f"chance is over the other {n - n_lost}" if n_lost < n else "so there is no chance"
        yield (
            f"in {n_lost} of {n} permutations the clips of a fold are of one dataset only; {rest}"
        )


def _mean(parts: Iterable[Measured]) -> Measured:
    return Measured(*np.mean(list(parts), axis=0).tolist())


# What is left of a difference, and the damage done


def _probe_aucs(
    kind: str, rows: FloatArray, clips: _Clips, labels: _Labels, scale: FloatArray, seed: int
) -> FloatArray:
    """Return the ROC-AUC of a probe under each labelling."""
    unknown = np.full(len(labels), np.nan)
    if min(clips.n_tracks(code) for code in (0, 1)) < PROBE_FOLDS:
        return unknown
    try:
        features = _features(rows, kind, seed, scale)
    except ArgumentError:  # most rows are equal, so that random features have no bandwidth
        return unknown
    (found,) = _probed(features, clips.folds(False, seed), [labels])
    return np.asarray(found.mean(axis=1))


def _mean_gaps(rows: FloatArray, clips: _Clips, labels: _Labels, *_: Any) -> FloatArray:
    """Return the distance of the means under each labelling: see `mean_gap`."""
    second, total = labels * clips.weights, clips.weights.sum()
    n_second = second.sum(axis=1)
    n_first = total - n_second
    rows = rows - clips.weights @ rows / total
    # The mean of all is 0, so the first dataset's mean follows from the second's.
    of_second = (second @ rows) / n_second[:, np.newaxis]
    squared = np.einsum("ij,ij->i", of_second, of_second)
    distance = np.sqrt(squared) * (total / n_first)
    within = np.einsum("i,ij,ij->", clips.weights, rows, rows) / total
    within = within - squared * n_second / n_first
    spread = np.sqrt(np.maximum(within, 0.0))
    tiny = np.finfo(np.float64).tiny
    return np.where(distance > 0, distance / np.maximum(spread, tiny), 0.0)


def _squared_mmds(rows: FloatArray, clips: _Clips, labels: _Labels, *_: Any) -> FloatArray:
    """Return the squared MMD under each labelling; pairs of rows of one track do not count."""
    # In place: these matrices are what takes time.
    kernel = rows @ rows.T
    norms = kernel.diagonal().copy()
    kernel *= -2
    kernel += norms
    kernel += norms[:, np.newaxis]
    np.maximum(kernel, 0.0, out=kernel)
    median = float(np.median(kernel[np.tri(len(rows), k=-1, dtype=bool)]))
    if not median > 0:
        return np.zeros(len(labels))
    kernel /= -2 * median
    np.exp(kernel, out=kernel)
    kernel[clips.pieces[:, np.newaxis] == clips.pieces] = 0.0
    second = labels * clips.weights
    from_second = second @ kernel
    inside = np.einsum("ij,ij->i", from_second, second)
    between = from_second @ clips.weights - inside
    of_all = clips.weights @ kernel @ clips.weights
    similar = np.array([of_all - 2 * between - inside, inside, between])
    # Pairs of different tracks, from what each track weighs in each dataset.
    order = np.argsort(clips.pieces, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(clips.pieces[order]) > 0])
    a, b = (
        np.add.reduceat(of[:, order], starts, axis=1) for of in (clips.weights - second, second)
    )
    pairs = np.array(
        [
            one.sum(axis=1) * other.sum(axis=1) - np.einsum("ij,ij->i", one, other)
            for one, other in ((a, a), (b, b), (a, b))
        ]
    )
    means = ratio(similar, pairs)  # a single track has no pairs
    return np.asarray(means[0] + means[1] - 2 * means[2])


class ShiftMeasure(NamedTuple):
    """What tells two datasets apart: a row of the table of measures.

    Attributes
    ----------
    heading : str
        Its name for readers.
    compute : callable
        Takes rows, clips, labellings (which clips are of the second dataset), scale and seed, and
        returns a value for each labelling.
    is_probe : bool
        Whether it takes long, so that its chance is measured before any correction only.
    """

    heading: str
    compute: Callable[..., FloatArray]
    is_probe: bool = False


SHIFT_MEASURES = {
    "linear_probe": ShiftMeasure("linear probe", partial(_probe_aucs, "linear"), is_probe=True),
    "rbf_probe": ShiftMeasure("RBF probe", partial(_probe_aucs, "rbf"), is_probe=True),
    "mean_gap": ShiftMeasure("mean gap", _mean_gaps),
    "mmd2": ShiftMeasure("squared MMD", _squared_mmds),
}


@threadpool_limits.wrap(limits=1)
def dataset_shift(
    X: ArrayLike,
    sample_domain: ArrayLike,
    sample_track: ArrayLike | None = None,
    *,
    measures: Sequence[str] = tuple(SHIFT_MEASURES),
    n_permutations: int = 0,
    scale: ArrayLike | None = None,
    paired: bool = False,
    seed: int = 0,
) -> dict[str, Measured]:
    """Return how well two datasets are told apart, by some or all of `SHIFT_MEASURES`.

    Parameters
    ----------
    X : array-like, (n_clips, n_features)
        Finite.
    sample_domain : array-like, (n_clips,)
        Two datasets.
    sample_track : array-like, (n_clips,), optional
        Clips of one track are on one side of every fold, and no pairs for the squared MMD; tracks
        of different datasets are different even if they have one name, unless `paired`.
    measures : sequence of {'linear_probe', 'rbf_probe', 'mean_gap', 'mmd2'}
    n_permutations : int
        How often to measure chance.
    scale : array-like, (n_features,), optional
        What probes divide each feature by, see `probe_scale`; default that of `X`.
    paired : bool
        Whether a track of one name is the same track in both datasets: `Corpus.shared_tracks`.
        Only the `compared_rows` are used then.
    seed : int
        Of folds, random features and permutations.

    Returns
    -------
    dict of str to Measured
        NaN for the probes where a dataset has fewer tracks than the 5 folds, for the one with
        random features where most rows are equal, so that these have no bandwidth, and for the
        squared MMD where a dataset has one track only.

    Raises
    ------
    ArgumentError
        If there are not two datasets, shapes differ, or X is not finite.
    """
    clips = _Clips(sample_domain, sample_track, paired)
    rows, y = clips.rows(X), clips.is_second()
    labels = np.vstack([y, clips.permuted(y, n_permutations, seed)])
    scale = probe_scale(rows) if scale is None else scale
    return _shift([X], clips, labels, [scale], seed, measures)


def _shift(
    sides: Sequence[ArrayLike],
    clips: _Clips,
    labels: _Labels,
    scales: Sequence[ArrayLike],
    seed: int,
    measures: Iterable[str],
) -> dict[str, Measured]:
    """Return measures under some labellings, means over the sides that rows are seen from."""
    both = [(clips.rows(X), scale) for X, scale in zip(sides, scales, strict=True)]
    return {
        name: _mean(
            _measured(SHIFT_MEASURES[name].compute(rows, clips, labels, scale, seed))
            for rows, scale in both
        )
        for name in measures
    }


def probe_scale(X: ArrayLike) -> FloatArray:
    """Return what probes divide each feature by, to be taken from rows before a correction.

    It is the standard deviation, but no less than a tenth of the root of the mean variance. That is
    another floor than the one under the scales of recognisers (`protocol.floored`), which asks how
    far out a few rows may be and takes a tenth of the median deviation of the features that vary.
    Here it is about traces of a correction, which are as large as what it moves in the loudest
    features: where most features hardly vary, as yamnet's on the demonstration corpus, the median
    would be an eighth of this floor, and let them through.
    Corrections move every feature a little along their directions, also those that hardly vary
    (silent units of a network); scaled by what they have become, these would show the dataset
    after a correction better than before it.
    """
    variance = np.asarray(X, dtype=np.float64).var(axis=0)
    floor = SCALE_FLOOR * np.sqrt(variance.mean())
    return np.maximum(np.sqrt(variance), floor if floor > 0 else 1.0)


def mean_gap(
    X: ArrayLike, sample_domain: ArrayLike, sample_track: ArrayLike | None = None
) -> float:
    """Return the distance of two datasets' means over the spread within them.

    Given the tracks of clips, each track counts once, whatever its number of clips: else the
    same distance by chance, with the datasets of tracks permuted, would be larger than it is
    where tracks of one dataset have more clips than those of the other.

    It is |mean_B - mean_A| / sqrt(sum of the features' variances around the own dataset's mean).
    Zero spread gives 0 for equal means and infinity otherwise.
    """
    clips = _Clips(sample_domain, sample_track)
    return float(_mean_gaps(clips.rows(X), clips, clips.is_second()[np.newaxis])[0])


def damage(before: Array, after: Array, rank: int, alpha: float = 1.0) -> dict[str, Measured]:
    """Return what a correction does to rows: each measure with its control.

    Parameters
    ----------
    before, after : ndarray, (n_clips, n_features)
    rank : int
        Directions that the correction removes.
    alpha : float
        Its dose.

    Returns
    -------
    dict of str to Measured
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
    total, of_moved, kept = (float(X.var(axis=0).sum()) for X in (before, moved, before + moved))
    if not total > 0:
        return dict.fromkeys(("variance_moved", "variance_kept", "rank"), Measured(np.nan))
    share = rank / before.shape[1] if rank else np.nan
    return {
        "variance_moved": Measured(of_moved / total, control=alpha**2 * share),
        "variance_kept": Measured(kept / total, control=1 - (2 * alpha - alpha**2) * share),
        "rank": Measured(float(rank)),
    }


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
        Whether to leave out, before anything else, the dimensions that have one and the same value
        in more than `QUIET_SHARE` of the training clips.
    seed : int
        Of the draws, folds, permutations, and of corrections that are random.

    Returns
    -------
    pandas.DataFrame
        A row for each embedding, correction and size: `embedding`, `correction`, `clips`,
        `dimensions`; `fitted_gap` and `fresh_gap`, the distance of the means (see
        `mean_gap`) on the clips of the fit and, by track, on test clips; `chance_gap`, the mean of
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
            X = X[:, mode(X[is_train], axis=0).count <= QUIET_SHARE * is_train.sum()]
        order = np.random.default_rng(seed).permutation(np.flatnonzero(is_train))
        tracks = clips["track"].to_numpy(dtype=str)
        fresh, track = np.flatnonzero(~is_train), tracks[~is_train]
        if corpus.shared_tracks:
            compared, _ = compared_rows(domain[fresh], track)
            fresh, track = fresh[compared], track[compared]
        for size, spec in itertools.product(sizes or [len(order)], parse_corrections(corrections)):
            if size > len(order):
                raise ArgumentError(f"size {size}: there are {len(order)} training clips")
            fitted = order[:size]
            told_of: Any = {"sample_domain": domain[fitted], "sample_track": tracks[fitted]}
            told_of |= {"shared_tracks": corpus.shared_tracks, "random_state": seed, "draw": seed}
            correction = fit_correction(spec, X[fitted], **told_of)
            seen, unseen = (
                correction.transform(X[part], sample_domain=domain[part])
                for part in (fitted, fresh)
            )
            told = _Clips(domain[fresh] == domain[-1], track, corpus.shared_tracks)
            permuted = told.permuted(told.is_second(), LEFT_OVER_PERMUTATIONS, seed)
            (found,) = dataset_separability(
                unseen, domain[fresh], track, paired=corpus.shared_tracks, seed=seed
            )
            row = {"embedding": name, "correction": str(spec), "clips": int(size)}
            row |= {"dimensions": X.shape[1], "fitted_gap": mean_gap(seen, domain[fitted])}
            row["fresh_gap"] = mean_gap(unseen, domain[fresh], track)
            row["chance_gap"] = float(_mean_gaps(told.rows(unseen), told, permuted).mean())
            rows.append({**row, "fresh_probe": found.roc_auc})
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
        chance level, or of `damage` with its control. The chance level of the mean gap and
        of MMD is that of the same rows with datasets permuted: of the corrected ones after a
        correction, whose spread is another one. That of the probes, which take long to train, is
        measured before any correction and told of all. Where most rows are equal, measures that
        need different ones are NaN, with a warning.
    """
    rows_of = [np.flatnonzero(~clips.is_train) for clips in pair]
    if pair[0].shared_tracks:
        # Before tracks are drawn: those of one seed are the same only out of the same tracks.
        compared = np.split(compared_rows(*_told(pair, rows_of))[0], [len(rows_of[0])])
        rows_of = [rows[kept] for rows, kept in zip(rows_of, compared, strict=True)]
    rows_of = [_judged(own, rows, seed) for own, rows in zip(pair, rows_of, strict=True)]
    raw = [X[rows] for X, rows in zip(features, rows_of, strict=True)]
    domain, track = _told(pair, rows_of)
    clips = _Clips(domain, track, pair[0].shared_tracks)
    y = clips.is_second()
    apart = np.vstack([y, clips.permuted(y, DISTANCE_PERMUTATIONS, [seed, *label.encode()])])
    before = [
        np.concatenate([space.test(X, side) for X in raw]).astype(np.float64)
        for side in ((0, 1) if space.depends_on_side else (0,))
    ]
    scales = [probe_scale(X) for X in before]
    slow = [name for name, measure in SHIFT_MEASURES.items() if measure.is_probe]
    fast = [name for name in SHIFT_MEASURES if name not in slow]
    key = f"{array_sum(*before, domain, track)} {clips.twins} {seed}"
    if key not in _PROBED:
        if len(_PROBED) >= _MAX_PROBED:
            _PROBED.clear()
        permuted = np.vstack([y, clips.permuted(y, PROBE_PERMUTATIONS, seed)])
        _PROBED[key] = _shift(before, clips, permuted, scales, seed, slow)
    probes = _PROBED[key]
    unchanged = probes | _shift(before, clips, apart, scales, seed, fast)
    for variant, correction in corrections.items():
        after, rank, alpha, left = before, 0, 1.0, unchanged
        if correction is not None:
            after = [correction.transform(X, sample_domain=domain) for X in before]
            alpha = correction.alpha
            rank = int(getattr(correction, "rank_", 0)) if alpha else 0
            probed = _shift(after, clips, y[np.newaxis], scales, seed, slow)
            left = {name: probes[name]._replace(value=one.value) for name, one in probed.items()}
            left |= _shift(after, clips, apart, scales, seed, fast)
        harms = [damage(*rows, rank, alpha) for rows in zip(before, after, strict=True)]
        harm = {name: _mean([one[name] for one in harms]) for name in harms[0]}
        lacking = [name for name in harm if np.isnan(harm["variance_moved"].value)]
        # Without enough tracks there is neither of the probes.
        if np.isnan(left["rbf_probe"].value) and not np.isnan(left["linear_probe"].value):
            lacking.insert(0, "rbf_probe")
        if lacking:
            warnings.warn(
                f"most test clips have equal rows, so {', '.join(lacking)} cannot be measured",
                stacklevel=2,
            )
        for measure, found in {**left, **harm}.items():
            yield variant, {"measure": measure, **found._asdict()}


# All labels are judged on the same rows, as long as these are embeddings.
_PROBED: dict[str, dict[str, Measured]] = {}
_MAX_PROBED = 64


def _told(pair: Sequence[DatasetClips], rows_of: Sequence[Array]) -> tuple[Array, Array]:
    """Return dataset and track of rows of each dataset, one after the other."""
    domain = np.repeat([clips.name for clips in pair], [len(rows) for rows in rows_of])
    return domain, np.concatenate([c.tracks[rows] for c, rows in zip(pair, rows_of, strict=True)])


def _judged(clips: DatasetClips, rows: NDArray[np.intp], seed: int) -> NDArray[np.intp]:
    """Return rows of a dataset, sorted: all, or of whole tracks drawn, at most `MAX_CLIPS`.

    Of a first track with more clips than that, `MAX_CLIPS` are drawn.
    """
    if len(rows) <= MAX_CLIPS:
        return rows
    names, codes = np.unique(clips.tracks[rows].astype(str), return_inverse=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(names))
    counts = np.bincount(codes)[order]
    if counts[0] > MAX_CLIPS:
        return np.sort(rng.choice(rows[codes == order[0]], MAX_CLIPS, replace=False))
    kept = order[np.cumsum(counts) <= MAX_CLIPS]
    return rows[np.isin(codes, kept)]


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
