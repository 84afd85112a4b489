"""How well groups that were found in an embedding agree with those that somebody has named."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections.base import FloatArray
from biasmir_utils.corrections.groups import SharedClusters
from biasmir_utils.corrections.projections import MeanProjection
from biasmir_utils.errors import ArgumentError


def group_agreement(
    corpus: Corpus,
    embeddings: Sequence[str] = (),
    *,
    n_groups: int | str = "auto",
    random_state: int = 0,
) -> pd.DataFrame:
    """Compare the groups of a corpus with those that `SharedClusters` finds without them.

    Groups are found in the training clips of all datasets that have the embedding and a group.

    Parameters
    ----------
    corpus : Corpus
        With groups.
    embeddings : sequence of str
        Default: all that the corpus has.
    n_groups : 'auto' or int
        See `SharedClusters`.
    random_state : int
        Seed of the search, and of the shuffled groups of `overlap_chance`.

    Returns
    -------
    DataFrame
        Indexed by `embedding`:

        - `clips`; `groups`, how many were found; `smallest_share`, the smallest share of a
          dataset in one of them, counted as if the datasets were of one size;
        - `adjusted_rand`, agreement with the corpus's groups: 1 is perfect, 0 is chance;
        - `adjusted_rand_dataset`, the same with the datasets, which should be near 0;
        - `label` and `adjusted_rand_label`: the label that agrees best, which tells what the
          groups are groups of;
        - `overlap`, the share of the subspace of the groups' mean differences (what `meanproj`
          with ``groups=group`` takes out, each direction counted once) that lies in the one of the
          groups found; `overlap_chance`, the same for the groups found, shuffled within each
          dataset.

    Raises
    ------
    ArgumentError
        If the corpus has no groups.
    """
    table = corpus.clips
    if not table["group"].notna().any():
        raise ArgumentError(f"corpus {corpus.name!r} names no groups to compare with")
    rows = []
    for name in embeddings or corpus.embedding_names:
        used = corpus.complete([name]) & table["group"].notna().to_numpy()
        used &= (table["split"] == "train").to_numpy()
        X = corpus.embedding(name)[used].astype(np.float64)
        domain = table.loc[used, "dataset"].to_numpy(dtype=str)
        group = table.loc[used, "group"].to_numpy(dtype=str)
        clusters = SharedClusters(n_groups, random_state=random_state)
        found = clusters.fit(X, sample_domain=domain).labels_
        labels = {
            label: adjusted_rand_score(table.loc[used, label].to_numpy() >= 0.5, found)
            for label in corpus.labels
        }
        best = max(labels, key=labels.__getitem__, default=None)
        even = clusters.counts_ / clusters.counts_.sum(axis=0)
        shuffled = _shuffled(found, domain, random_state)
        named = _span(X, domain, group)
        rows.append(
            {
                "embedding": name,
                "clips": len(X),
                "groups": clusters.n_groups_,
                "smallest_share": float((even / even.sum(axis=1, keepdims=True)).min()),
                "adjusted_rand": adjusted_rand_score(group, found),
                "adjusted_rand_dataset": adjusted_rand_score(domain, found),
                "label": best,
                "adjusted_rand_label": np.nan if best is None else labels[best],
                "overlap": _overlap(named, _span(X, domain, found)),
                "overlap_chance": _overlap(named, _span(X, domain, shuffled)),
            }
        )
    return pd.DataFrame(rows).set_index("embedding")


def _span(X: FloatArray, domain: NDArray[np.str_], group: NDArray[np.generic]) -> FloatArray:
    return MeanProjection().fit(X, sample_domain=domain, sample_group=group).directions_


def _overlap(one: FloatArray, other: FloatArray) -> float:
    return float(((one @ other.T) ** 2).sum() / len(one))


def _shuffled(
    group: NDArray[np.intp], domain: NDArray[np.str_], random_state: int
) -> NDArray[np.intp]:
    rng = np.random.default_rng(random_state)
    shuffled = group.copy()
    for name in np.unique(domain):
        rows = np.flatnonzero(domain == name)
        shuffled[rows] = group[rng.permutation(rows)]
    return shuffled
