"""Square matrices that act freely on a few directions and as a number on all others.

The shrunk covariance of n rows of D features has this form when n < D, and so have its powers
and the optimal maps between two of them; nothing of size D x D is built or decomposed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from biasmir_utils.corrections.base import FloatArray


@dataclass(frozen=True)
class SpanMatrix:
    """The matrix ``B' inner B + outer (I - B'B)`` with orthonormal rows B.

    Attributes
    ----------
    inner : ndarray, (m, m)
    outer : float
        What the matrix does to vectors orthogonal to B.
    basis : ndarray, (m, n_features), or None
        B; None means that B is the identity, and then `outer` has nothing to act on.
    """

    inner: FloatArray
    outer: float = 0.0
    basis: FloatArray | None = None

    def rows_times(self, X: FloatArray) -> FloatArray:
        """Return the rows of `X` times the matrix, each row x giving ``matrix' x``."""
        if self.basis is None:
            return X @ self.inner
        coordinates = X @ self.basis.T
        change = coordinates @ self.inner - self.outer * coordinates
        return self.outer * X + change @ self.basis

    def in_basis(self, basis: FloatArray | None) -> SpanMatrix:
        """Return the same matrix on a basis that spans this one's, None for all directions."""
        if self.basis is None or self.basis is basis:
            return self
        turn = self.basis if basis is None else self.basis @ basis.T
        inner = turn.T @ (self.inner - self.outer * np.eye(len(self.inner))) @ turn
        inner.flat[:: len(inner) + 1] += self.outer
        return SpanMatrix(inner, self.outer, basis)


def common_basis(matrices: list[SpanMatrix]) -> list[SpanMatrix]:
    """Return matrices on one basis that spans all of theirs."""
    bases = [matrix.basis for matrix in matrices if matrix.basis is not None]
    joint: FloatArray | None = None
    if len(bases) == len(matrices):
        stacked = np.concatenate(bases)
        if len(stacked) < stacked.shape[1]:
            joint = np.ascontiguousarray(np.linalg.qr(stacked.T)[0].T)
    return [matrix.in_basis(joint) for matrix in matrices]


@dataclass(frozen=True)
class SpanCovariance:
    """A symmetric positive definite `SpanMatrix` by its eigenvalues, of which powers are cheap.

    Attributes
    ----------
    values : ndarray, (m,)
        Eigenvalues on the basis, ascending; negative ones, which are rounding, are zero.
    vectors : ndarray, (m, m)
        Eigenvectors in columns.
    outer : float
        As in `SpanMatrix`.
    basis : ndarray, (m, n_features), or None
        As in `SpanMatrix`.
    """

    values: FloatArray
    vectors: FloatArray
    outer: float = 0.0
    basis: FloatArray | None = None

    @classmethod
    def of(cls, matrix: SpanMatrix) -> SpanCovariance:
        """Decompose a covariance."""
        values, vectors = np.linalg.eigh((matrix.inner + matrix.inner.T) / 2)
        return cls(np.maximum(values, 0.0), vectors, matrix.outer, matrix.basis)

    def power(self, exponent: float) -> FloatArray:
        """Return a power of the matrix on the basis, (m, m)."""
        return (self.vectors * self.values**exponent) @ self.vectors.T

    def matrix(self, inner: FloatArray, outer: float) -> SpanMatrix:
        """Return another matrix on the same basis; `outer` does not matter without one."""
        return SpanMatrix(inner, 0.0 if self.basis is None else float(outer), self.basis)
