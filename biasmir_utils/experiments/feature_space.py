"""The rows of a task in the space in which it recognises: the embedding, or random features.

With random features the paper standardises: each dataset's training rows by themselves where
they decide the bandwidth or a correction; and all rows of a recogniser, test rows too, by the
dataset that it was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasmir_utils.corrections.fastfood import Fastfood

Array = NDArray[Any]


class FeatureSpace:
    """The map from embeddings of two datasets to what recognisers and corrections get.

    Parameters
    ----------
    train : sequence of ndarray, (n_clips, D)
        Rows of both datasets: they decide means, scales and bandwidth.
    random : Fastfood or None
        Unfitted map to random features; its bandwidth is the median distance of the
        standardised training rows of both datasets. None: the rows are taken as they are.
    """

    def __init__(self, train: Sequence[Array], random: Fastfood | None) -> None:
        self._random = random
        if random is not None:
            rows = [np.asarray(X, dtype=np.float64) for X in train]
            self._scalers = [_scaler(X) for X in rows]
            random.fit(np.concatenate([self._scaled(X, side) for side, X in enumerate(rows)]))

    def train(self, X: Array, side: int) -> Array:
        """Return training rows of a dataset, in double precision."""
        return self._map(X, side)

    def test(self, X: Array, side: int) -> Array:
        """Return test rows of any dataset for the recogniser of the training dataset `side`.

        Random features are in single precision: nothing is fitted on test rows.
        """
        return self._map(X, side, np.float32)

    @property
    def depends_on_side(self) -> bool:
        """Whether a row's features depend on the dataset that the recogniser comes from."""
        return self._random is not None

    def _map(self, X: Array, side: int, dtype: type = np.float64) -> Array:
        X = np.asarray(X, dtype=np.float64)
        if self._random is None:
            return X
        mapped: Array = self._random.transform(self._scaled(X, side).astype(dtype))
        return mapped

    def _scaled(self, X: Array, side: int) -> Array:
        center, scale = self._scalers[side]
        return (X - center) / scale


def _scaler(X: Array) -> tuple[Array, Array]:
    """Return mean and standard deviation of each feature, 1 for the latter where constant."""
    scale = X.std(axis=0)
    scale[scale <= 10 * np.finfo(X.dtype).eps * np.abs(X).max(axis=0)] = 1.0
    return X.mean(axis=0), scale
