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
    """Training and test rows of two datasets.

    Parameters
    ----------
    train, test : sequence of ndarray, (n_clips, D)
        Rows of both datasets.
    random : Fastfood or None
        Unfitted map to random features; its bandwidth is the median distance of the
        standardised training rows of both datasets. None: the rows are taken as they are.
    """

    def __init__(
        self, train: Sequence[Array], test: Sequence[Array], random: Fastfood | None
    ) -> None:
        self._train = [np.asarray(X, dtype=np.float64) for X in train]
        self._test = [np.asarray(X, dtype=np.float64) for X in test]
        self._random = random
        if random is not None:
            self._scalers = [_scaler(X) for X in self._train]
            random.fit(np.concatenate([self._scaled(X, i) for i, X in enumerate(self._train)]))

    def train(self, side: int) -> Array:
        """Return the training rows of a dataset."""
        return self._map(self._train[side], side)

    def test(self, train: int, test: int) -> Array:
        """Return the test rows of a dataset for the recogniser of a training dataset.

        Random features are in single precision: nothing is fitted on test rows.
        """
        return self._map(self._test[test], train, np.float32)

    def _map(self, X: Array, side: int, dtype: type = np.float64) -> Array:
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
