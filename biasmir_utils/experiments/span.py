"""A training set in the coordinates of its own span.

An L2-penalised linear model has its weights in the span of its training rows. With n rows and
more features than that, the fit needs no more than n coordinates; the result is the same, not
an approximation. The constant-1 feature of the intercept is part of the span, because
liblinear's objective penalises the intercept like any other weight.

The coordinates are those of the principal axes of the rows (not centred), in which the Hessian
of a logistic loss is nearly diagonal: that makes the solver in `logistic` fast.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from biasmir_utils.corrections.base import ThinMap

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Span:
    """Rows ``[X, 1] = coordinates @ Q'`` with orthonormal columns Q, (n_features + 1, r).

    With fewer rows than features, Q is not built: it is ``rows.T @ factor``.

    Attributes
    ----------
    coordinates : ndarray, (n_rows, r)
    rows : ndarray, (n_rows, n_features + 1), or None
        ``[X, 1]``; None where `factor` is Q itself.
    factor : ndarray, (n_rows, r) or (n_features + 1, r)
    extra : ndarray, (n_features + 1, k)
        Further orthonormal columns of Q, outside the span of the rows.
    """

    coordinates: FloatArray
    rows: FloatArray | None
    factor: FloatArray
    extra: FloatArray

    @classmethod
    def of(cls, X: FloatArray) -> Span:
        """Return the span of the rows of `X`, (n_rows, n_features), and the constant."""
        rows = np.column_stack([X, np.ones(len(X))])
        extra = np.empty((rows.shape[1], 0))
        if rows.shape[1] <= rows.shape[0]:
            _, axes = np.linalg.eigh(rows.T @ rows)
            return cls(rows @ axes, None, axes, extra)
        values, vectors = np.linalg.eigh(rows @ rows.T)
        # Below this an eigenvalue is rounding error: the rows are linearly dependent.
        kept = values > values[-1] * len(values) * np.finfo(np.float64).eps
        lengths = np.sqrt(values[kept])
        return cls(vectors[:, kept] * lengths, rows, vectors[:, kept] / lengths, extra)

    def project_out(self, directions: FloatArray, dose: float = 1.0) -> Span:
        """Return the span after a projection of the rows; see `move`.

        Parameters
        ----------
        directions : ndarray, (k, n_features)
            Orthonormal rows V.
        dose : float
            The rows become ``x - dose * V'V x``.
        """
        return self.move(ThinMap(directions, directions), dose)

    def move(self, thin: ThinMap, dose: float = 1.0) -> Span:
        """Return the span after a thin map of the rows, without going back to the features.

        Parameters
        ----------
        thin : ThinMap
            With orthonormal rows `right`.
        dose : float
            The rows become ``x - dose * right' left (x - center)``; the constant is not touched.

        Returns
        -------
        Span
            With the same Q, widened by the part of `right` that lies outside of it.
        """
        along = np.zeros((thin.right.shape[1] + 1, thin.rank))
        along[:-1] = thin.right.T
        read = np.zeros_like(along)
        read[:-1] = thin.left.T
        if thin.center is not None:
            read[-1] = -(thin.left @ thin.center)
        inside = self._to_coordinates(along)
        outside = along - self._from_coordinates(inside)
        left, lengths, _ = np.linalg.svd(outside, full_matrices=False)
        added = left[:, lengths > 1e-8]
        # Rows have nothing outside of Q, so what is read off them is seen in their coordinates.
        scores = self.coordinates @ self._to_coordinates(read)
        coordinates = np.hstack(
            [self.coordinates, np.zeros((len(self.coordinates), added.shape[1]))]
        )
        coordinates -= dose * scores @ np.vstack([inside, added.T @ along]).T
        return replace(self, coordinates=coordinates, extra=np.hstack([self.extra, added]))

    def weights(self, solution: FloatArray) -> tuple[FloatArray, float]:
        """Return coefficients (n_features,) and intercept of a solution (r,)."""
        full = self._from_coordinates(solution)
        return full[:-1], float(full[-1])

    def _to_coordinates(self, columns: FloatArray) -> FloatArray:
        """Return ``Q' @ columns``."""
        own = columns if self.rows is None else self.rows @ columns
        return np.concatenate([self.factor.T @ own, self.extra.T @ columns])

    def _from_coordinates(self, columns: FloatArray) -> FloatArray:
        """Return ``Q @ columns``."""
        r = self.factor.shape[1]
        own = self.factor @ columns[:r]
        return (own if self.rows is None else self.rows.T @ own) + self.extra @ columns[r:]
