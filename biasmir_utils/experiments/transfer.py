"""Whether the direction between datasets that is found in one group holds in another.

The angle between two directions does not say so: directions at right angles may both separate
the datasets, and parallel ones may agree in a dimension that hardly any clip moves along. Scores
of clips that no direction was fitted on do.
"""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections import lda_coefficients
from biasmir_utils.corrections.covariance import SingularCovarianceError
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.metrics import roc_auc


# As in `tasks.run_task`: more threads are slower on matrices of this size.
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
        pair = used & np.isin(dataset, [first, second])
        is_second = dataset == second

        def both(part: np.ndarray, is_second: np.ndarray = is_second) -> bool:
            return len(np.unique(is_second[part])) == 2

        fitted = {name: pair & train & (group == name) for name in corpus.groups}
        tested = {name: pair & ~train & (group == name) for name in corpus.groups}
        tested = {name: part for name, part in tested.items() if both(part)}
        for name, part in fitted.items():
            if not both(part):
                continue
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
                rows.append(
                    {
                        "embedding": embedding,
                        "first": first,
                        "second": second,
                        "fitted_on": name,
                        "tested_on": other,
                        "n_test": int(fresh.sum()),
                        "roc_auc": roc_auc(is_second[fresh], scores[fresh]),
                    }
                )
    return pd.DataFrame(rows)
