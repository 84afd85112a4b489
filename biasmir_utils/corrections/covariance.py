"""The shrunk within-domain covariance, as a diagonal plus a few rows.

With n rows of D features, Ledoit and Wolf's shrunk covariance of a domain is a multiple of its
sample covariance plus a diagonal. The pooled covariance over domains is therefore
``diag(d) + R' R`` with an (n, D) matrix R, and a linear system in it costs an n x n Cholesky
factorisation when n < D (Woodbury's identity) and a D x D one otherwise.

References
----------
O. Ledoit and M. Wolf, "A well-conditioned estimator for large-dimensional covariance matrices",
Journal of Multivariate Analysis 88, 2004, 365-411.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, lapack, pinv, pinvh

from biasmir_utils.corrections.base import FloatArray
from biasmir_utils.errors import ArgumentError

_EPS = float(np.finfo(np.float64).eps)
# Below this share of its terms, the numerator of the Ledoit-Wolf formula is rounding.
_NO_SHRINKAGE = 64 * _EPS


class SingularCovarianceError(ArgumentError):
    """The within-domain covariance cannot be inverted, even after shrinkage."""


def ledoit_wolf_shrinkage(Z: FloatArray) -> float:
    """Return the Ledoit-Wolf shrinkage of centred rows, in [0, 1].

    Equal to `sklearn.covariance.ledoit_wolf_shrinkage`. The sum of squares of the sample
    covariance is taken from the smaller of Z Z' and Z' Z, so n rows of D features cost
    n D min(n, D) operations.

    Parameters
    ----------
    Z : ndarray of float64, (n_samples, n_features)
        Rows with mean zero.
    """
    n_samples, n_features = Z.shape
    if n_features == 1:
        return 0.0
    lengths = np.einsum("ij,ij->i", Z, Z)
    gram = Z @ Z.T if n_samples <= n_features else Z.T @ Z
    fourth = float(lengths @ lengths) / n_samples
    squared_covariance = float(np.vdot(gram, gram)) / n_samples**2
    mean_variance = float(lengths.sum()) / (n_samples * n_features)
    beta = (fourth - squared_covariance) / (n_features * n_samples)
    delta = squared_covariance / n_features - mean_variance**2
    beta = min(beta, delta)
    if beta <= _NO_SHRINKAGE * fourth / (n_features * n_samples):
        return 0.0
    return beta / delta


def oas_shrinkage(
    shrinkage: Any, square_sum: float, trace: float, n_features: int, n_samples: int
) -> float:
    """Return the shrinkage of the oracle approximating estimator (Chen et al. 2010), in [0, 1].

    Equal to that of `sklearn.covariance.oas`. It needs second moments only, and does not change
    when the rows are rotated.

    Parameters
    ----------
    shrinkage : 'auto' or float in [0, 1]
        A number is returned as it is.
    square_sum : float
        Sum of the squared entries of the sample covariance.
    trace : float
        Its trace.
    n_features, n_samples : int
    """
    if shrinkage != "auto":
        return float(shrinkage)
    alpha = square_sum / n_features**2
    level = (trace / n_features) ** 2
    denominator = (n_samples + 1) * (alpha - level / n_features)
    if denominator <= _NO_SHRINKAGE * alpha * n_samples:
        return 1.0
    return min((alpha + level) / denominator, 1.0)


@dataclass(frozen=True)
class Dense:
    """A covariance as a matrix.

    Attributes
    ----------
    matrix : ndarray, (n_features, n_features)
    """

    matrix: FloatArray

    @property
    def variance(self) -> FloatArray:
        """The diagonal, (n_features,)."""
        return np.diagonal(self.matrix)

    def solve(self, right: FloatArray) -> FloatArray:
        """Return the rows x with ``matrix @ x = right``; see `DiagonalPlusRows.solve`."""
        variance = self.variance
        if not variance.min() > 0:
            raise _singular(*self.matrix.shape)
        root = np.sqrt(variance)
        scaled = self.matrix / root
        scaled /= root[:, np.newaxis]
        return _solve_positive(scaled, (right / root).T, self.matrix.shape).T / root

    def without(self, constant: npt.NDArray[np.bool_]) -> Dense:
        """Return the covariance with constant features, whose variance is rounding, set apart."""
        matrix = np.where(constant | constant[:, np.newaxis], 0.0, self.matrix)
        matrix[constant, constant] = float(self.variance.max()) or 1.0
        return Dense(matrix)

    def pseudo_solve(self, right: FloatArray) -> FloatArray:
        """Return the shortest least-squares solutions, for a singular matrix."""
        return np.asarray(right @ pinvh(self.matrix))


@dataclass(frozen=True)
class DiagonalPlusRows:
    """The matrix ``diag(diagonal) + rows' rows``, never built when it has a smaller form.

    Attributes
    ----------
    diagonal : ndarray, (n_features,)
        All zero (nothing was shrunk) or all positive.
    rows : ndarray, (n_rows, n_features)
    """

    diagonal: FloatArray
    rows: FloatArray

    def solve(self, right: FloatArray) -> FloatArray:
        """Return the rows x with ``matrix @ x = right`` for each row of `right`.

        Parameters
        ----------
        right : ndarray, (m, n_features)

        Raises
        ------
        SingularCovarianceError
            If the matrix is singular to working precision.
        """
        n_rows, n_features = self.rows.shape
        if n_rows >= n_features:
            matrix = self.rows.T @ self.rows
            matrix.flat[:: n_features + 1] += self.diagonal
            return Dense(matrix).solve(right)
        if not self.diagonal.min() > 0:
            raise _singular(n_rows, n_features)
        # In coordinates divided by the root of the diagonal the matrix is I + B' B, and its
        # inverse is I - B' (I + B B')^-1 B.
        root = np.sqrt(self.diagonal)
        B = self.rows / root
        small = B @ B.T
        small.flat[:: len(small) + 1] += 1.0
        scaled = right / root
        inner = _solve_positive(small, B @ scaled.T, (n_rows, n_features), smallest=1.0)
        return (scaled - inner.T @ B) / root

    def without(self, constant: npt.NDArray[np.bool_]) -> DiagonalPlusRows:
        """Return the covariance with constant features, whose variance is rounding, set apart."""
        return DiagonalPlusRows(self.diagonal, np.where(constant, 0.0, self.rows))

    def pseudo_solve(self, right: FloatArray) -> FloatArray:
        """Return the shortest least-squares solutions, for a zero diagonal."""
        inverse = pinv(self.rows)
        return right @ inverse @ inverse.T

    @property
    def variance(self) -> FloatArray:
        """The diagonal of the matrix, (n_features,)."""
        return self.diagonal + np.einsum("ij,ij->j", self.rows, self.rows)


def _solve_positive(
    matrix: FloatArray, right: FloatArray, shape: tuple[int, int], smallest: float | None = None
) -> FloatArray:
    """Solve with a positive definite matrix, refusing one that is singular to precision.

    `smallest` is a known lower bound of the eigenvalues of the full matrix; the reciprocal
    condition is estimated from the Cholesky factor without it.
    """
    norm = float(np.abs(matrix).sum(axis=0).max())
    try:
        factor, lower = cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
    except np.linalg.LinAlgError:
        raise _singular(*shape) from None
    if smallest is not None:
        reciprocal_condition = smallest / norm
    else:
        reciprocal_condition, _ = lapack.dpocon(factor, norm, uplo="L")
    if not reciprocal_condition > 8 * _EPS:
        raise _singular(*shape)
    return cho_solve((factor, lower), right, check_finite=False)


def _singular(n_rows: int, n_features: int) -> SingularCovarianceError:
    rows = "" if n_rows == n_features else f" of {n_rows} rows"
    return SingularCovarianceError(
        f"the shrunk covariance{rows} with {n_features} features is singular: the rows of each "
        "domain are equal or too few. Give more (different) rows, drop constant features, or "
        "set shrinkage to a number above 0."
    )


def within_domain_covariance(
    X: FloatArray, codes: npt.NDArray[np.intp], shrinkage: Any = "auto"
) -> tuple[FloatArray, DiagonalPlusRows]:
    """Return the mean of each domain and the pooled, shrunk covariance within the domains.

    The domains are weighted by their numbers of rows. With ``shrinkage='auto'`` each domain is
    standardised, shrunk by the Ledoit-Wolf formula and scaled back, as scikit-learn's
    `LinearDiscriminantAnalysis` does; with a number each domain's sample covariance is mixed
    with that share of its mean variance on the diagonal.

    Parameters
    ----------
    X : ndarray of float64, (n_samples, n_features)
        Rows of embeddings, or of features made of them.
    codes : ndarray of int, (n_samples,)
        Domain of each row, 0 to K - 1, each occurring.
    shrinkage : 'auto' or float in [0, 1]

    Returns
    -------
    means : ndarray, (K, n_features)
    covariance : DiagonalPlusRows
        Its rows are in the order of domains, not of X.
    """
    n_samples, n_features = X.shape
    counts = np.bincount(codes)
    means = np.empty((len(counts), n_features))
    diagonal = np.zeros(n_features)
    rows = np.empty((n_samples, n_features))
    start = 0
    for code, count in enumerate(counts):
        part = rows[start : start + count]
        start += count
        np.take(X, np.flatnonzero(codes == code), axis=0, out=part, mode="clip")
        means[code] = part.mean(axis=0)
        part -= means[code]
        variance = np.einsum("ij,ij->j", part, part) / count
        # A feature whose variance is within the rounding of its mean is constant; it is left in
        # its own unit, as StandardScaler leaves it.
        constant = variance <= count * _EPS * variance + (count * means[code] * _EPS) ** 2
        part[:, constant] = variance[constant] = 0.0
        if shrinkage == "auto":
            scale = np.sqrt(np.where(constant, 1.0, variance))
            share = ledoit_wolf_shrinkage(part / scale) if count > 1 else 0.0
            level = float((variance / scale**2).mean())
            target = scale**2 * level
        else:
            share = float(shrinkage)
            target = np.full(n_features, variance.mean())
        diagonal += (count / n_samples * share) * target
        part *= np.sqrt((1.0 - share) / n_samples)
    return means, DiagonalPlusRows(diagonal, rows)


def total_covariance(X: FloatArray, shrinkage: Any = "auto") -> DiagonalPlusRows:
    """Return the shrunk covariance of all rows around their mean.

    Parameters
    ----------
    X : ndarray of float64, (n_samples, n_features)
        Rows of embeddings, or of features made of them.
    shrinkage : 'auto' or float in [0, 1]
        Share of the mean variance that replaces the covariance; 'auto' is `oas_shrinkage`.
    """
    n_samples, n_features = X.shape
    rows = X - X.mean(axis=0)
    trace = float(np.einsum("ij,ij->", rows, rows)) / n_samples
    gram = rows @ rows.T if n_samples <= n_features else rows.T @ rows
    square_sum = float(np.vdot(gram, gram)) / n_samples**2
    share = oas_shrinkage(shrinkage, square_sum, trace, n_features, n_samples)
    rows *= np.sqrt((1.0 - share) / n_samples)
    return DiagonalPlusRows(np.full(n_features, share * trace / n_features), rows)


def shrunk(
    covariance: FloatArray, n_samples: int, n_features: int, shrinkage: Any
) -> tuple[FloatArray, float]:
    """Return a sample covariance after shrinkage towards its mean variance.

    Parameters
    ----------
    covariance : ndarray, (m, m)
        On all features, or on a basis outside which it is zero.
    n_samples : int
        Rows that it was estimated from.
    n_features : int
        Features of the rows; m or more.
    shrinkage : 'auto' or float in [0, 1]
        As in `total_covariance`.

    Returns
    -------
    matrix : ndarray, (m, m)
    level : float
        What was added to the diagonal, and stands there outside the basis.
    """
    trace = float(np.trace(covariance))
    square_sum = float(np.vdot(covariance, covariance))
    share = oas_shrinkage(shrinkage, square_sum, trace, n_features, n_samples)
    level = share * trace / n_features
    matrix = (1.0 - share) * covariance
    matrix.flat[:: len(matrix) + 1] += level
    return matrix, level
