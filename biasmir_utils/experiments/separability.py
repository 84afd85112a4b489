"""How well the dataset of a clip can be read from its embedding.

A probe is trained to tell the datasets apart and scored on clips that it has not seen. Clips of
one track are kept on one side of every fold: a probe that has seen a track may know its other
clips by heart, and what it knows of the track is not what it knows of the dataset. `leaked`
folds ignore tracks, for contrast.

The probe is an L2-regularised logistic regression on standardised features, scaled so that rows
have length 1 on average, which makes the penalty alike for embeddings of any dimension;
`kind="rbf"` puts random Fourier features of a Gaussian kernel before it. With more than two
datasets, each is told from all others, and the mean is reported too.

Chance is measured, not assumed: the same folds and probes, with the datasets of the tracks
permuted.

Where the datasets hold the same tracks (one piece of music, recorded or rendered twice; the corpus
has `shared_tracks`), a probe that is trained on one of two twins calls the other one by the wrong
dataset, and falls below chance. With `paired`, twins are on one side of every fold, and chance is
measured with the datasets swapped within tracks. A track that not all datasets hold has nothing to
be swapped with: it would keep its dataset under every permutation, and chance would be too high.
Such tracks are left out, of the probe as of its chance (`compared_rows`).

What a correction leaves of the difference of two datasets, and what it does to the rows.

All of it is measured on rows that the correction was not fitted on, since on the rows of the fit
some corrections are perfect by construction: `LEACE` leaves exactly nothing for a linear probe
there, and more than nothing on fresh rows.

- `linear_probe`, `rbf_probe`: ROC-AUC of a probe of the dataset, cross-validated by track, see
  `separability`;
- `mean_gap`: distance of the two means, in units of the spread within the datasets (the root of
  the summed variances);
- `mmd2`: squared maximum mean discrepancy, unbiased, with a Gaussian kernel whose bandwidth is
  the median distance of the rows; it is negative about as often as positive where there is no
  difference. Clips of one track resemble each other in any dataset, so its means are over pairs of
  clips of different tracks.

Chance is the same measure with the datasets of whole tracks permuted. If both datasets hold the
same tracks (`paired`), only these count, twins stay in one fold of a probe, and chance swaps the
datasets within tracks: see `separability`.

References
----------
A. Gretton et al., "A kernel two-sample test", JMLR 13, 2012 (equation 3 is the unbiased form).

What a correction leaves where it was fitted, and on clips that it has not seen.

A correction that makes the means of two datasets equal does so on the clips of its fit. Means of
other clips differ by as much as means are uncertain, the more the fewer clips there were to
learn from. And a dimension that is silent in nearly all clips, such as a unit of a network that
hardly ever fires, gets a shift from the few clips in which it is not; on clips in which it is
silent, that shift is all that there is in it, and tells the dataset without error
(`quiet_dimensions`).

Corrections judged on the test clips of both datasets, which none of them was fitted on.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from threadpoolctl import threadpool_limits

from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections import Correction, Fastfood, make_correction, parse_corrections
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.metrics import column_roc_auc
from biasmir_utils.experiments.protocol import DatasetClips, FeatureSpace, array_sum
from biasmir_utils.experiments.recognisers import Span, balanced_weights, solve_logistic

KINDS = ("linear", "rbf")
N_FOLDS = 5
# Enough for a probe; the corrections' default, 4 for each dimension, serves another purpose.
RANDOM_FEATURES = 1024
MEAN = "(mean)"


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
    fold_roc_auc: NDArray[np.float64]
    chance_roc_auc: NDArray[np.float64]

    @property
    def roc_auc(self) -> float:
        """Mean over the folds."""
        return float(self.fold_roc_auc.mean())


def dataset_separability(
    X: ArrayLike,
    sample_domain: ArrayLike,
    sample_track: ArrayLike | None = None,
    *,
    kind: str = "linear",
    leaked: bool = False,
    n_folds: int = N_FOLDS,
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
    rows = np.asarray(X, dtype=np.float64)
    names, domain = np.unique(np.asarray(sample_domain), return_inverse=True)
    tracks = track_codes(domain, sample_track)
    if rows.ndim != 2 or len(rows) != len(domain) or len(tracks) != len(domain):
        raise ArgumentError(
            f"X must be a matrix with one row for each of {len(domain)} datasets and "
            f"{len(tracks)} tracks, found the shape {rows.shape}"
        )
    if not np.isfinite(rows).all():
        raise ArgumentError("X holds NaN or infinite values; leave out clips without an embedding")
    if len(names) < 2:
        raise ArgumentError("at least two datasets are needed to tell them apart")
    twins = None
    if paired and sample_track is not None:
        compared, twins = compared_rows(domain, sample_track, n_folds)
        rows, domain = rows[compared], domain[compared]
        tracks = track_codes(domain, np.asarray(sample_track)[compared])
    for code, name in enumerate(names):
        n_tracks = len(np.unique(tracks[domain == code]))
        if n_tracks < n_folds:
            raise ArgumentError(
                f"dataset {str(name)!r} has {n_tracks} track(s), fewer than the {n_folds} folds"
            )
    with threadpool_limits(1):
        span = Span.of(_features(rows, kind, seed, scale))
        train = _folds(domain, tracks if twins is None else twins, leaked, n_folds, seed)
        targets = [1] if len(names) == 2 else list(range(len(names)))
        found = [
            Separability(
                str(names[target]),
                _held_out(span, train, domain[np.newaxis] == target, C)[0],
                _held_out(
                    span,
                    train,
                    permuted_tracks(domain == target, tracks, n_permutations, seed, twins),
                    C,
                ).mean(axis=1),
            )
            for target in targets
        ]
    if len(found) == 1:
        return found
    mean = Separability(
        MEAN,
        np.mean([one.fold_roc_auc for one in found], axis=0),
        np.mean([one.chance_roc_auc for one in found], axis=0),
    )
    return [mean, *found]


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
        used[used] = compared_rows(clips["dataset"], clips["track"], N_FOLDS)[0]
    clips = corpus.clips[used]
    domain, track = clips["dataset"].to_numpy(object), clips["track"].to_numpy(object)
    tracks = clips["track"] if corpus.shared_tracks else clips[["dataset", "track"]]
    n_tracks = len(tracks.drop_duplicates())
    rows = []
    for embedding in embeddings:
        X = corpus.embedding(embedding)[used]
        for kind in kinds:
            for how in (False, True) if leaked else (False,):
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
                    chance = one.chance_roc_auc[~np.isnan(one.chance_roc_auc)]
                    rows.append(
                        {
                            "corpus": corpus.name,
                            "embedding": embedding,
                            "kind": kind,
                            "folds": "leaked" if how else "by track",
                            "dataset": one.dataset
                            if len(corpus.datasets) > 2
                            else "/".join(corpus.datasets),
                            "n_clips": len(clips),
                            "n_tracks": n_tracks,
                            "roc_auc": one.roc_auc,
                            "sd": float(one.fold_roc_auc.std(ddof=1)),
                            "chance": float(chance.mean()) if len(chance) else np.nan,
                            "chance_max": float(chance.max()) if len(chance) else np.nan,
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


def compared_rows(
    sample_domain: ArrayLike, sample_track: ArrayLike, n_folds: int = N_FOLDS
) -> tuple[NDArray[np.bool_], NDArray[np.intp] | None]:
    """Return which rows to compare where a track of one name is the same track in all datasets.

    Parameters
    ----------
    sample_domain, sample_track : array-like, (n_clips,)
    n_folds : int

    Returns
    -------
    compared : ndarray of bool, (n_clips,)
        The clips of tracks that all datasets hold. If these are fewer than the folds, all clips:
        they are then compared like those of any datasets.
    twins : ndarray of int, or None
        A code of the track of each compared row, the same in all datasets; None in the latter
        case.
    """
    names, domain = np.unique(np.asarray(sample_domain, dtype=str), return_inverse=True)
    tracks, codes = np.unique(np.asarray(sample_track, dtype=str), return_inverse=True)
    held = np.zeros((len(tracks), len(names)), dtype=bool)
    held[codes, domain] = True
    everywhere = held.sum(axis=1) == len(names)
    if everywhere.sum() < n_folds:
        return np.ones(len(codes), dtype=bool), None
    compared = everywhere[codes]
    return compared, codes[compared]


def track_codes(domain: NDArray[np.intp], sample_track: ArrayLike | None) -> NDArray[np.intp]:
    """Return a code for each clip's track; those of different datasets are different.

    Parameters
    ----------
    domain : ndarray of int, (n_clips,)
        A code of the dataset.
    sample_track : array-like, (n_clips,), optional
        Default: every clip is a track.
    """
    if sample_track is None:
        return np.arange(len(domain))
    _, tracks = np.unique(np.asarray(sample_track, dtype=str), return_inverse=True)
    if len(tracks) != len(domain):
        return tracks
    return np.unique(domain * (tracks.max(initial=0) + 1) + tracks, return_inverse=True)[1]


def _features(
    rows: NDArray[np.float64], kind: str, seed: int, scale: ArrayLike | None = None
) -> NDArray[np.float64]:
    if scale is None:
        own = rows.std(axis=0)
        scale = np.where(own <= 1e-12 * np.abs(rows).max(axis=0), 1.0, own)
    rows = (rows - rows.mean(axis=0)) / np.asarray(scale, dtype=np.float64)
    if kind == "rbf":
        mapped: NDArray[np.float64] = Fastfood(
            n_components=RANDOM_FEATURES, random_state=seed
        ).fit_transform(rows)
        return mapped
    return rows / np.sqrt(rows.shape[1])


def _folds(
    domain: NDArray[np.intp], tracks: NDArray[np.intp], leaked: bool, n_folds: int, seed: int
) -> NDArray[np.bool_]:
    """Return which clips train in each fold, (n_folds, n_clips)."""
    # Dealing tracks to folds takes longer than a probe, and the corrections of a report are all
    # probed on the same clips.
    arrays = [np.asarray(codes, dtype=np.int64).tobytes() for codes in (domain, tracks)]
    return _dealt_folds(arrays[0], arrays[1], leaked, n_folds, seed)


@lru_cache(maxsize=8)
def _dealt_folds(
    domain_bytes: bytes, track_bytes: bytes, leaked: bool, n_folds: int, seed: int
) -> NDArray[np.bool_]:
    domain, tracks = (np.frombuffer(code, dtype=np.int64) for code in (domain_bytes, track_bytes))
    kind = StratifiedKFold if leaked else StratifiedGroupKFold
    splitter = kind(n_folds, shuffle=True, random_state=seed)
    masks = np.zeros((n_folds, len(domain)), dtype=bool)
    for mask, (train, _) in zip(
        masks,
        splitter.split(np.empty((len(domain), 1)), domain, None if leaked else tracks),
        strict=True,
    ):
        mask[train] = True
    masks.flags.writeable = False
    return masks


def permuted_tracks(
    y: NDArray[np.bool_],
    tracks: NDArray[np.intp],
    n: int,
    seed: int | Sequence[int],
    twins: NDArray[np.intp] | None = None,
) -> NDArray[np.bool_]:
    """Return labels in which whole tracks have changed places, (n, n_clips).

    With `twins`, the piece of each clip (see `compared_rows`), tracks change places only with those
    of the same piece.
    """
    rng = np.random.default_rng(seed)
    of_track = np.zeros(tracks.max() + 1, dtype=bool)
    of_track[tracks] = y
    if twins is None:
        drawn = [rng.permutation(of_track)[tracks] for _ in range(n)]
        return np.array(drawn).reshape(n, len(y))
    piece = np.zeros(len(of_track), dtype=np.intp)
    piece[tracks] = twins
    places = np.argsort(piece, kind="stable")
    swapped = np.empty((n, len(of_track)), dtype=bool)
    for labels in swapped:
        labels[places] = of_track[np.lexsort((rng.random(len(piece)), piece))]
    return swapped[:, tracks]


def _held_out(
    span: Span, train: NDArray[np.bool_], labels: NDArray[np.bool_], C: float
) -> NDArray[np.float64]:
    """Return the ROC-AUC on the held-out clips, (n_labelings, n_folds)."""
    y = np.repeat(labels, len(train), axis=0)
    masks = np.tile(train, (len(labels), 1))
    costs = [balanced_weights(*problem) for problem in zip(y, masks, strict=True)]
    _, decisions = solve_logistic(span.coordinates, y, C * np.reshape(costs, y.shape))
    found = [
        column_roc_auc(own[~mask], values[~mask, np.newaxis])[0]
        for own, mask, values in zip(y, masks, decisions, strict=True)
    ]
    return np.reshape(found, (len(labels), len(train)))


Array = NDArray[Any]
FloatArray = NDArray[np.float64]

PROBES = ("linear_probe", "rbf_probe")
DISTANCES = ("mean_gap", "mmd2")
SHIFT_MEASURES = (*PROBES, *DISTANCES)
DAMAGE_MEASURES = ("variance_moved", "variance_kept", "rank")
SCALE_FLOOR = 0.1


@dataclass(frozen=True)
class Measured:
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


def dataset_probes(
    X: ArrayLike,
    sample_domain: ArrayLike,
    sample_track: ArrayLike | None = None,
    *,
    n_permutations: int = 0,
    scale: ArrayLike | None = None,
    paired: bool = False,
    seed: int = 0,
) -> dict[str, Measured]:
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
    rows, domain, track, twins = _compared(X, sample_domain, sample_track, paired)
    scale = probe_scale(rows) if scale is None else scale
    tracks = track_codes(domain, track)
    found = dict.fromkeys(PROBES, Measured(float("nan")))
    if min(len(np.unique(tracks[domain == code])) for code in (0, 1)) < N_FOLDS:
        return found
    for kind in KINDS:
        try:
            (probe,) = dataset_separability(
                rows,
                domain,
                track,
                kind=kind,
                n_permutations=n_permutations,
                scale=scale,
                paired=twins is not None,
                seed=seed,
            )
        except ArgumentError:
            if kind == "linear":  # what is wrong with the arguments is wrong for both
                raise
            continue
        found[f"{kind}_probe"] = _measured(np.r_[probe.roc_auc, probe.chance_roc_auc])
    return found


def dataset_distances(
    X: ArrayLike,
    sample_domain: ArrayLike,
    sample_track: ArrayLike | None = None,
    *,
    n_permutations: int = 0,
    paired: bool = False,
    seed: int | Sequence[int] = 0,
) -> dict[str, Measured]:
    """Return how far two datasets are apart by each of `DISTANCES`.

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
    rows, domain, track, twins = _compared(X, sample_domain, sample_track, paired)
    tracks = track_codes(domain, track)
    permuted = permuted_tracks(domain == 1, tracks, n_permutations, seed, twins)
    second = np.vstack([domain == 1, permuted]).astype(np.float64)
    return {
        "mean_gap": _measured(_mean_gaps(rows, second)),
        "mmd2": _measured(_squared_mmds(rows, second, tracks if twins is None else twins)),
    }


def _compared(
    X: ArrayLike, sample_domain: ArrayLike, sample_track: ArrayLike | None, paired: bool
) -> tuple[FloatArray, NDArray[np.intp], Array, NDArray[np.intp] | None]:
    """Return rows, dataset and track of what is compared, and its twins; see `compared_rows`."""
    rows, domain = _two(X, sample_domain)
    track = np.arange(len(rows)) if sample_track is None else np.asarray(sample_track, dtype=str)
    if not paired or sample_track is None:
        return rows, domain, track, None
    compared, twins = compared_rows(domain, track)
    return rows[compared], domain[compared], track[compared], twins


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
    rows, domain = _two(X, sample_domain)
    return float(_mean_gaps(rows, (domain == 1).astype(np.float64)[np.newaxis])[0])


def damage(
    before: Array, after: Array, rank: int, alpha: float = 1.0
) -> dict[str, tuple[float, float]]:
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
    dict of str to (float, float)
        `variance_moved`, the total variance of x' - x over that of x: a translation that all rows
        have in common leaves every difference of rows as it is, and does not count. Beside it
        the expectation of that for the projection of a random subspace of the same rank and dose,
        ``alpha**2 * rank / n_features``. `variance_kept`, the total variance after over before,
        with the control ``1 - (2 * alpha - alpha**2) * rank / n_features``; `rank`. Controls are
        NaN for a correction that removes no direction.
    """
    before = np.asarray(before, dtype=np.float64)
    moved = np.asarray(after, dtype=np.float64) - before
    total = float(before.var(axis=0).sum())
    share = rank / before.shape[1] if rank else float("nan")
    if not total > 0:
        raise ArgumentError("the rows are all alike, so there is no variance to compare with")
    return {
        "variance_moved": (float(moved.var(axis=0).sum() / total), alpha**2 * share),
        "variance_kept": (
            float((before + moved).var(axis=0).sum() / total),
            1 - (2 * alpha - alpha**2) * share,
        ),
        "rank": (float(rank), float("nan")),
    }


def _two(X: ArrayLike, sample_domain: ArrayLike) -> tuple[FloatArray, NDArray[np.intp]]:
    """Return the rows, and 1 for those of the second dataset."""
    rows = np.asarray(X, dtype=np.float64)
    names, domain = np.unique(np.asarray(sample_domain), return_inverse=True)
    if len(names) != 2 or len(domain) != len(rows):
        raise ArgumentError(
            f"expected rows of two datasets, found {len(names)} datasets for {len(rows)} rows"
        )
    return rows, domain


def _measured(values: FloatArray) -> Measured:
    """Return the first value, and mean and largest of the others; NaN does not count there."""
    # A fold of few clips may hold one dataset only once these are permuted.
    chance = values[1:][~np.isnan(values[1:])]
    if not len(chance):
        return Measured(float(values[0]))
    return Measured(float(values[0]), float(chance.mean()), float(chance.max()))


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


QUIET_SHARE = 0.95
LEFT_OVER_PERMUTATIONS = 20


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
        `shift.mean_gap`) on the clips of the fit and on test clips; `chance_gap`, the mean of
        the latter with the datasets of tracks permuted; `fresh_probe`, ROC-AUC of a linear probe
        of the dataset, cross-validated on test clips by track. Where the datasets hold the same
        tracks (`Corpus.shared_tracks`), test clips are the `separability.compared_rows`, and
        permuted within tracks.

    Raises
    ------
    ArgumentError
        If the corpus has not two datasets, or fewer training clips than a size.
    """
    if len(corpus.datasets) != 2:
        raise ArgumentError(f"expected a corpus of two datasets, found {corpus.datasets}")
    names = [embeddings] if isinstance(embeddings, str) else list(embeddings)
    specs = parse_corrections(corrections)
    rows: list[dict[str, Any]] = []
    for name in names:
        clips = corpus.clips[corpus.complete([name])]
        X = corpus.embedding(name)[clips.index].astype(np.float64)
        domain = clips["dataset"].to_numpy(dtype=str)
        is_train = (clips["split"] == "train").to_numpy()
        if without_quiet:
            X = X[:, ~quiet_dimensions(X[is_train])]
        order = np.random.default_rng(seed).permutation(np.flatnonzero(is_train))
        fresh, track = np.flatnonzero(~is_train), clips["track"].to_numpy(dtype=str)[~is_train]
        twins = None
        if corpus.shared_tracks:
            compared, twins = compared_rows(domain[fresh], track)
            fresh, track = fresh[compared], track[compared]
        for size in sizes or [len(order)]:
            if size > len(order):
                raise ArgumentError(f"size {size}: there are {len(order)} training clips")
            fitted = order[:size]
            for spec in specs:
                correction = make_correction(spec, seed)
                if spec.method == "random" and "random_state" not in dict(spec.parameters):
                    correction.set_params(random_state=seed)
                correction.fit(X[fitted], sample_domain=domain[fitted])
                after = [
                    correction.transform(X[part], sample_domain=domain[part])
                    for part in (fitted, fresh)
                ]
                (probe,) = dataset_separability(
                    after[1],
                    domain[fresh],
                    track,
                    paired=twins is not None,
                    seed=seed,
                )
                rows.append(
                    {
                        "embedding": name,
                        "correction": str(spec),
                        "clips": int(size),
                        "dimensions": X.shape[1],
                        "fitted_gap": mean_gap(after[0], domain[fitted]),
                        "fresh_gap": mean_gap(after[1], domain[fresh]),
                        "chance_gap": _chance_gap(after[1], domain[fresh], track, twins, seed),
                        "fresh_probe": probe.roc_auc,
                    }
                )
    return pd.DataFrame(rows)


def _chance_gap(
    X: NDArray[np.float64],
    domain: NDArray[np.str_],
    track: NDArray[np.str_],
    twins: NDArray[np.intp] | None,
    seed: int,
) -> float:
    is_second = domain == domain[-1]
    tracks = track_codes(is_second.astype(np.intp), track)
    second = permuted_tracks(is_second, tracks, LEFT_OVER_PERMUTATIONS, seed, twins)
    return float(np.mean([mean_gap(X, one) for one in second]))


JudgedVariant = tuple[Correction, str]

MAX_CLIPS = 300
"""Test clips of each dataset that are judged at most; probes cost the cube of their number."""
PROBE_PERMUTATIONS = 10
"""How often the chance of the probes is measured; they take long to train."""
DISTANCE_PERMUTATIONS = 100
"""How often the chance of the distances is measured for each fit."""
JUDGED_COLUMNS = ("measure", "value", "chance", "chance_high", "control")

# What probes of uncorrected rows gave, by what it depends on.
_MEASURED: dict[str, dict[str, Measured]] = {}
_MAX_MEASURED = 64


def measure_corrections(
    space: FeatureSpace,
    corrections: Mapping[JudgedVariant, Any],
    pair: Sequence[DatasetClips],
    features: Sequence[Array],
    seed: int,
    label: str = "",
) -> Iterator[tuple[JudgedVariant, dict[str, Any]]]:
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
    clips = _Judged(domain, track, pair[0].shared_tracks, seed, label)
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
    label: str

    def shift(self, X: Array, scale: Array) -> dict[str, Measured]:
        """Return what tells the datasets apart; of the probes without chance."""
        found = dataset_probes(
            X, self.domain, self.track, scale=scale, paired=self.paired, seed=self.seed
        )
        return {**found, **self.distances(X)}

    def distances(self, X: Array) -> dict[str, Measured]:
        return dataset_distances(
            X,
            self.domain,
            self.track,
            n_permutations=DISTANCE_PERMUTATIONS,
            paired=self.paired,
            seed=[self.seed, *self.label.encode()],
        )


def _before(X: Array, clips: _Judged, scale: Array) -> dict[str, Measured]:
    """Return the shift of uncorrected rows, of the probes with chance, which takes long."""
    # All labels are judged on the same rows, as long as these are embeddings.
    key = f"{array_sum(X, clips.domain, clips.track)} {clips.paired} {clips.seed}"
    if key not in _MEASURED:
        if len(_MEASURED) >= _MAX_MEASURED:
            _MEASURED.clear()
        _MEASURED[key] = dataset_probes(
            X,
            clips.domain,
            clips.track,
            n_permutations=PROBE_PERMUTATIONS,
            scale=scale,
            paired=clips.paired,
            seed=clips.seed,
        )
    return {**_MEASURED[key], **clips.distances(X)}


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


NEIGHBOUR_BLOCK = 512
"""Rows whose distances to all others are held at a time."""


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
