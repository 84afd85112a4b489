"""Square matrices that act freely on a few directions and as a number on all others.

The shrunk covariance of n rows of D features has this form when n < D, and so have its powers
and the optimal maps between two of them; nothing of size D x D is built or decomposed.
"""

from __future__ import annotations

from collections.abc import Callable
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


def apply_function(matrix: FloatArray, function: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """Return a function of a symmetric matrix, applied to its eigenvalues."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * function(np.maximum(values, 0.0))) @ vectors.T


def inverse_root(matrix: FloatArray) -> FloatArray:
    """Return the inverse square root of a symmetric positive definite matrix."""
    return apply_function(matrix, lambda values: 1.0 / np.sqrt(values))


def root(matrix: FloatArray) -> FloatArray:
    """Return the square root of a symmetric positive semidefinite matrix."""
    return apply_function(matrix, np.sqrt)
