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
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from threadpoolctl import threadpool_limits

from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections.fastfood import Fastfood
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.logistic import balanced_weights, solve_logistic
from biasmir_utils.experiments.metrics import column_roc_auc
from biasmir_utils.experiments.span import Span

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
    seed: int,
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
