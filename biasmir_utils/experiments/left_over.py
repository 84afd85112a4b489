"""What a correction leaves where it was fitted, and on clips that it has not seen.

A correction that makes the means of two datasets equal does so on the clips of its fit. Means of
other clips differ by as much as means are uncertain, the more the fewer clips there were to
learn from. And a dimension that is silent in nearly all clips, such as a unit of a network that
hardly ever fires, gets a shift from the few clips in which it is not; on clips in which it is
silent, that shift is all that there is in it, and tells the dataset without error
(`quiet_dimensions`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections import Correction, make_correction, parse_corrections
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.separability import (
    compared_rows,
    dataset_separability,
    permuted_tracks,
    track_codes,
)
from biasmir_utils.experiments.shift import mean_gap

QUIET_SHARE = 0.95
N_PERMUTATIONS = 20


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
    second = permuted_tracks(is_second, tracks, N_PERMUTATIONS, seed, twins)
    return float(np.mean([mean_gap(X, one) for one in second]))
