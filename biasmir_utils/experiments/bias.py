"""How two datasets differ: in what they hold, and along which direction of an embedding.

Two questions of the paper's Section 5 are asked here. What do the datasets hold: how are
groups (genres) and labels (instruments) distributed, and how much does the group tell of the
dataset? And where does an embedding keep the dataset: how near is the direction that tells the
datasets apart to the direction that a recogniser reads a label from, and do the groups share
one such direction?

Conventions
-----------
- A *direction* is a vector of n_features numbers; only its line matters, so that a cosine near
  0 means orthogonal and the sign says nothing unless both directions have a sense.
- Distances between distributions are Jensen-Shannon distances with logarithms to base 2, in
  [0, 1]; mutual information is in bits.
- Whether the direction between datasets that is found in one group holds in another, the angle
  between the two does not say: directions at right angles may both separate the datasets, and
  parallel ones may agree in a dimension that hardly any clip moves along. Scores of clips that no
  direction was fitted on do (`direction_transfer`).

References
----------
C. Wang, G. Richard and B. McFee, ISMIR 2023, Section 5. J. Lin, "Divergence measures based on
the Shannon entropy", IEEE Transactions on Information Theory 37, 1991.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial.distance import jensenshannon
from scipy.special import gammaln
from sklearn.metrics import mutual_info_score
from threadpoolctl import threadpool_limits

from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections import SingularCovarianceError, lda_coefficients
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.metrics import roc_auc
from biasmir_utils.experiments.protocol import LABEL, ExperimentData, subject_rows, why_impossible
from biasmir_utils.experiments.recognisers import LogisticRecogniser


def cosine_similarity(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return the cosine of the angle between two directions, in [-1, 1].

    Parameters
    ----------
    first, second : array-like, (n_features,)

    Raises
    ------
    ArgumentError
        If a direction is zero or not finite.
    """
    a, b = (np.asarray(value, dtype=np.float64) for value in (first, second))
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    if not 0 < lengths < np.inf:
        raise ArgumentError("a direction that is zero or not finite has no angle.")
    return float(np.clip(a @ b / lengths, -1.0, 1.0))


def random_cosine(n_features: int) -> float:
    """Return the mean absolute cosine of two random directions.

    It is what to compare an observed cosine with: in high dimensions, directions that have
    nothing to do with each other are nearly orthogonal. About ``sqrt(2 / (pi n_features))``.

    Parameters
    ----------
    n_features : int
        At least 1.
    """
    half = n_features / 2
    return float(np.exp(gammaln(half) - gammaln(half + 0.5)) / np.sqrt(np.pi))


def group_counts(corpus: Corpus, split: str | None = "train") -> pd.DataFrame:
    """Return how many clips of each group every dataset has.

    Parameters
    ----------
    corpus : Corpus
        Whose clips are counted.
    split : 'train', 'test' or None
        None counts both.

    Returns
    -------
    DataFrame
        Index: groups in the corpus's order, then `Corpus.no_group` if clips lack one. Columns:
        datasets.
    """
    clips = _clips(corpus, split)
    counts = pd.crosstab(clips["group"], clips["dataset"])
    return counts.reindex(index=_groups(corpus, clips), columns=corpus.datasets, fill_value=0)


def label_counts(
    corpus: Corpus, split: str | None = "train", *, by_group: bool = False
) -> pd.DataFrame:
    """Return how many clips hold each label (likelihood 0.5 or more) in every dataset.

    Parameters
    ----------
    corpus : Corpus
        Whose clips are counted.
    split : 'train', 'test' or None
        None counts both.
    by_group : bool
        Whether to count for each group: the genre x instrument tables of the paper.

    Returns
    -------
    DataFrame
        Index: labels, or (group, label). Columns: datasets.
    """
    clips = _clips(corpus, split)
    keys = ["group", "dataset"] if by_group else ["dataset"]
    sums: Any = clips[corpus.labels].ge(0.5).groupby([clips[key] for key in keys]).sum().stack()
    counts, rows = sums.unstack("dataset", fill_value=0), pd.Index(corpus.labels, name="label")
    if by_group:
        rows = pd.MultiIndex.from_product([_groups(corpus, clips), rows], names=["group", "label"])
    return counts.reindex(index=rows, columns=corpus.datasets, fill_value=0).astype(int)


def _clips(corpus: Corpus, split: str | None) -> pd.DataFrame:
    """Return the clips of a split, those without a group in one of their own."""
    if split not in ("train", "test", None):
        raise ArgumentError(f"split must be 'train', 'test' or None, not {split!r}.")
    clips = corpus.clips.assign(group=corpus.clips["group"].astype(object).fillna(corpus.no_group))
    return clips if split is None else clips[clips["split"] == split]


def _groups(corpus: Corpus, clips: pd.DataFrame) -> list[str]:
    """Return the groups in the corpus's order, then that of clips without one, if there are any."""
    return [*corpus.groups, *({corpus.no_group} & set(clips["group"]))]


def mutual_information(
    first: Sequence[Any] | pd.Series, second: Sequence[Any] | pd.Series
) -> float:
    """Return the mutual information of two labellings of the same rows, in bits.

    The plug-in estimate from the joint counts; of independent labellings with a and b values
    in n rows it is about ``(a - 1) (b - 1) / (2 n ln 2)`` too high. Missing values (None, NaN)
    are a value of their own.

    Parameters
    ----------
    first, second : sequence of labels, (n,)
        For instance the group and the dataset of each clip.
    """
    if len(first) != len(second) or not len(first):
        raise ArgumentError(
            f"both labellings must be of the same rows, found {len(first)} and {len(second)}."
        )
    codes = (pd.factorize(pd.Series(list(each), dtype=object))[0] for each in (first, second))
    return max(0.0, float(mutual_info_score(*codes) / np.log(2)))


def _distance(first: pd.Series, second: pd.Series) -> float:
    counted = first.sum() > 0 and second.sum() > 0
    return float(jensenshannon(first, second, base=2)) if counted else float("nan")


def distribution_distances(corpus: Corpus, split: str | None = "train") -> pd.DataFrame:
    """Return how far the datasets are apart in what they hold, for every pair of them.

    Parameters
    ----------
    corpus : Corpus
        Whose datasets are compared.
    split : 'train', 'test' or None
        None takes both.

    Returns
    -------
    DataFrame
        One row a pair: `first`, `second`; `group_distance` and `label_distance`, the
        Jensen-Shannon distances of the group and label distributions, NaN where nothing is counted;
        `group_dataset_information`, the mutual information of group and dataset in bits.
    """
    clips = _clips(corpus, split)
    groups, labels = group_counts(corpus, split), label_counts(corpus, split)
    rows = []
    for first, second in itertools.combinations(corpus.datasets, 2):
        part = clips[clips["dataset"].isin([first, second])]
        distances = [_distance(counts[first], counts[second]) for counts in (groups, labels)]
        told = mutual_information(part["group"], part["dataset"])
        rows.append((first, second, *distances, told))
    columns = ["first", "second", "group_distance", "label_distance", "group_dataset_information"]
    return pd.DataFrame(rows, columns=columns)


# As in `evaluate`: more threads are slower on matrices of this size.
@threadpool_limits.wrap(limits=1)
def direction_cosines(
    corpus: Corpus,
    embedding: str,
    *,
    labels: Sequence[str] | None = None,
    seed: int = 42,
) -> pd.DataFrame:
    """Return the cosines between the dataset's direction and the labels' directions.

    For each label and pair of datasets, on the training rows of the paper's protocol: the
    dataset's direction is the LDA coefficient between the two datasets, the label's direction
    the coefficient of the recogniser of one dataset.

    Parameters
    ----------
    corpus : Corpus
        With labels and the embedding.
    embedding : str
        One of the corpus's.
    labels : sequence of str, optional
        Default: all labels of the corpus.
    seed : int
        Of the resampling.

    Returns
    -------
    DataFrame
        One row for each label, pair and training set: embedding, label, train_set, partner,
        cosine (of a random pair of directions about `random_cosine`), angle in degrees
        (0 to 90) and C of the recogniser. Labels that a pair cannot be trained on are left out.
    """
    labels = corpus.labels if labels is None else list(labels)
    data = ExperimentData.of(corpus, [embedding], labels)
    features = {name: data.features(embedding, name) for name in corpus.datasets}
    rows = []
    for pair, label in itertools.product(itertools.combinations(corpus.datasets, 2), labels):
        datasets = [data.datasets[name] for name in pair]
        if why_impossible(label, datasets, seed):
            continue
        both = subject_rows(label, LABEL, datasets, seed)
        X = np.concatenate([features[n][side.all] for n, side in zip(pair, both, strict=True)])
        domain = lda_coefficients(X, np.repeat([0, 1], [len(side.all) for side in both]))[0]
        for name, partner, side in zip(pair, pair[::-1], both, strict=True):
            recogniser = LogisticRecogniser().fit(features[name][side.all], np.asarray(side.y))
            cosine = cosine_similarity(domain, recogniser.coef_[0])
            angle = float(np.degrees(np.arccos(abs(cosine))))
            rows.append((embedding, label, name, partner, cosine, angle, recogniser.C_))
    columns = ["embedding", "label", "train_set", "partner", "cosine", "angle", "C"]
    return pd.DataFrame(rows, columns=columns)


# As in `evaluate`: more threads are slower on matrices of this size.
@threadpool_limits.wrap(limits=1)
def direction_transfer(corpus: Corpus, embedding: str) -> pd.DataFrame:
    """Return how well the dataset's direction of each group separates the datasets in each group.

    The direction is the LDA coefficient between two datasets on the training clips of one group;
    the score of a test clip is its part along that direction.

    Parameters
    ----------
    corpus : Corpus
        With groups.
    embedding : str
        Clips without it are left out.

    Returns
    -------
    DataFrame
        One row for each pair of datasets and ordered pair of groups: `embedding`, `first`,
        `second` (datasets), `fitted_on`, `tested_on` (groups), `n_test` and `roc_auc`. The
        direction points to `second`: 1 is perfect, 0.5 is chance, and less than 0.5 means that
        it points the wrong way there. Groups that lack training or test clips of a dataset are
        left out on that side, with a warning those that have too few for a direction.

    Raises
    ------
    ArgumentError
        If the corpus has no groups.
    """
    clips = corpus.clips
    if not clips["group"].notna().any():
        raise ArgumentError(f"corpus {corpus.name!r} names no groups to take directions from")
    X = corpus.embedding(embedding).astype(np.float64)
    dataset, group = (clips[name].to_numpy(dtype=object) for name in ("dataset", "group"))
    train = (clips["split"] == "train").to_numpy()
    used = corpus.complete([embedding])
    rows = []
    for first, second in itertools.combinations(corpus.datasets, 2):
        pair, is_second = used & np.isin(dataset, [first, second]), dataset == second
        parts = (
            {name: pair & (train == fits) & (group == name) for name in corpus.groups}
            for fits in (True, False)
        )
        fitted, tested = (
            {name: part for name, part in of.items() if len(np.unique(is_second[part])) == 2}
            for of in parts
        )
        for name, part in fitted.items():
            try:
                direction = lda_coefficients(X[part], is_second[part].astype(np.intp))[0]
            except SingularCovarianceError as error:
                warnings.warn(
                    f"{embedding}, {first}/{second}: no direction from the {int(part.sum())} "
                    f"training clips of group {name!r}, which is left out ({error})",
                    stacklevel=3,
                )
                continue
            scores = X @ direction
            for other, fresh in tested.items():
                score = roc_auc(is_second[fresh], scores[fresh])
                rows.append((embedding, first, second, name, other, int(fresh.sum()), score))
    columns = ["embedding", "first", "second", "fitted_on", "tested_on", "n_test", "roc_auc"]
    return pd.DataFrame(rows, columns=columns)
