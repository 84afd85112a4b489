"""Which clips lie near each other in an embedding: the question of the first chapter."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from biasmir_utils.errors import ArgumentError

BLOCK = 512
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
    for start in range(0, len(X), BLOCK):
        rows = slice(start, start + BLOCK)
        similarity = unit[rows] @ unit.T
        similarity[codes[rows, np.newaxis] == codes] = -np.inf
        some = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(similarity, some, axis=1), axis=1, kind="stable")
        nearest[rows] = np.take_along_axis(some, order, axis=1)
    return nearest
