"""L2-regularised logistic regression for many weightings of the same rows at once.

The objective is liblinear's (`scikit-learn`'s `LogisticRegression(solver='liblinear')`)::

    |w|^2 / 2 + sum_i c_i log(1 + exp(-s_i z_i'w)),   s_i = 1 or -1

where the intercept is the weight of a constant feature of z and is penalised too. A problem is
one vector c: it holds C, the class weights, and 0 for rows outside of a fold. Choosing C among 12
values by 3 folds makes 36 problems on the same rows, and one matrix product serves them all.

Method: Newton steps, each by conjugate gradients with a diagonal preconditioner. In the
coordinates of `span.Span` the Hessian is nearly diagonal, so a few iterations are enough. The
inner iterations run in single precision (they only choose a direction); objective, gradient and
weights are kept in double precision, and so is the test of convergence.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

FloatArray = NDArray[np.float64]
SingleArray = NDArray[np.float32]

TOLERANCE = 1e-4
MAX_NEWTON_STEPS = 100
MAX_GRADIENT_STEPS = 200
FORCING = 0.3


def balanced_weights(y: NDArray[Any], rows: NDArray[np.bool_]) -> FloatArray:
    """Return the weights that give both classes the same total: n / (2 n_class), 0 elsewhere."""
    weights = np.zeros(len(y))
    n = int(rows.sum())
    for value in (0, 1):
        members = rows & (y == value)
        weights[members] = n / (2 * max(1, int(members.sum())))
    return weights


def solve_logistic(
    Z: FloatArray,
    y: NDArray[Any],
    costs: FloatArray,
    start: FloatArray | None = None,
    tol: float = TOLERANCE,
) -> tuple[FloatArray, FloatArray]:
    """Minimise the objective for each row of `costs`.

    Parameters
    ----------
    Z : ndarray, (n_rows, r)
        Coordinates, the constant feature included.
    y : ndarray, (n_rows,) or (n_problems, n_rows)
        0 or 1; the same for all problems, or each has its own.
    costs : ndarray, (n_problems, n_rows)
        The weights c of the loss, not negative.
    start : ndarray, (n_problems, r), optional
        Where to start; default 0.
    tol : float
        A problem is solved when its Newton decrement (with the diagonal Hessian) is below
        `tol` times the one at w = 0.

    Returns
    -------
    weights : ndarray, (n_problems, r)
    decisions : ndarray, (n_problems, n_rows)
        ``weights @ Z.T``.
    """
    Z = np.ascontiguousarray(Z)
    single = Z.astype(np.float32)
    inner = _Inner(single, np.ascontiguousarray(single.T), single**2)
    n_problems = len(costs)
    y = np.broadcast_to(np.asarray(y, dtype=np.float64), costs.shape)
    weights = np.zeros((n_problems, Z.shape[1])) if start is None else start.copy()
    decisions = weights @ Z.T
    reference = _reference_decrement(Z, y, costs, inner)

    open_problems = np.arange(n_problems)
    for _ in range(MAX_NEWTON_STEPS):
        W, F = weights[open_problems], decisions[open_problems]
        c, t = costs[open_problems], y[open_problems]
        probability = expit(F)
        gradient = W + (c * (probability - t)) @ Z
        curvature = (c * probability * (1 - probability)).astype(np.float32)
        diagonal = 1 + curvature @ inner.squares
        progress = _decrement(gradient, diagonal) / reference[open_problems]
        unsolved = progress > tol
        if not unsolved.any():
            break
        open_problems = open_problems[unsolved]
        W, F, c, t, gradient = (a[unsolved] for a in (W, F, c, t, gradient))
        step = inner.newton_step(
            gradient,
            curvature[unsolved],
            diagonal[unsolved],
            np.minimum(FORCING, np.sqrt(progress[unsolved])),
        )
        change = step @ Z.T
        size = _line_search(W, F, step, change, gradient, c, t)[:, np.newaxis]
        weights[open_problems] = W + size * step
        decisions[open_problems] = F + size * change
    return weights, decisions


class _Inner:
    """The single-precision side: the rows, their transpose and their squares."""

    def __init__(self, Z: SingleArray, transposed: SingleArray, squares: SingleArray) -> None:
        self.Z = Z
        self.transposed = transposed
        self.squares = squares

    def newton_step(
        self,
        gradient: FloatArray,
        curvature: SingleArray,
        diagonal: SingleArray,
        forcing: FloatArray,
    ) -> FloatArray:
        """Solve ``(1 + Z' diag(curvature) Z) step = -gradient`` to the relative error `forcing`."""
        # Scaled to unit length: single precision overflows early.
        length = np.maximum(np.linalg.norm(gradient, axis=1), np.finfo(np.float64).tiny)
        residual = (-gradient / length[:, np.newaxis]).astype(np.float32)
        preconditioned = residual / diagonal
        direction = preconditioned.copy()
        energy = _row_dot(residual, preconditioned)
        enough = (forcing**2 * energy).astype(np.float32)
        solution = np.zeros_like(residual)
        current = np.zeros_like(residual)
        active = np.arange(len(residual))
        for _ in range(MAX_GRADIENT_STEPS):
            product = ((direction @ self.transposed) * curvature) @ self.Z + direction
            rate = (energy / _row_dot(direction, product))[:, np.newaxis]
            current += rate * direction
            residual -= rate * product
            preconditioned = residual / diagonal
            new_energy = _row_dot(residual, preconditioned)
            going_on = new_energy > enough
            if not going_on.all():
                solution[active[~going_on]] = current[~going_on]
                if not going_on.any():
                    active = active[:0]
                    break
                active, current, residual = (a[going_on] for a in (active, current, residual))
                preconditioned, direction = preconditioned[going_on], direction[going_on]
                curvature, diagonal = curvature[going_on], diagonal[going_on]
                enough, energy = enough[going_on], energy[going_on]
                new_energy = new_energy[going_on]
            direction = preconditioned + (new_energy / energy)[:, np.newaxis] * direction
            energy = new_energy
        if len(active):
            solution[active] = current
        return solution * length[:, np.newaxis]


def _reference_decrement(
    Z: FloatArray, y: FloatArray, costs: FloatArray, inner: _Inner
) -> FloatArray:
    gradient = (costs * (0.5 - y)) @ Z
    diagonal = 1 + (costs / 4).astype(np.float32) @ inner.squares
    return np.maximum(_decrement(gradient, diagonal), np.finfo(np.float64).tiny)


def _decrement(gradient: FloatArray, diagonal: SingleArray) -> FloatArray:
    return np.sqrt(np.einsum("ij,ij,ij->i", gradient, gradient, 1.0 / diagonal))


def _row_dot(a: SingleArray, b: SingleArray) -> SingleArray:
    return np.einsum("ij,ij->i", a, b)


def _line_search(
    W: FloatArray,
    F: FloatArray,
    step: FloatArray,
    change: FloatArray,
    gradient: FloatArray,
    costs: FloatArray,
    y: FloatArray,
) -> FloatArray:
    """Return for each problem the largest of 1, 1/2, 1/4, ... that lowers the objective enough."""
    sign = np.where(y > 0, -1.0, 1.0)

    def objective(size: FloatArray) -> FloatArray:
        weights, decisions = W + size[:, np.newaxis] * step, F + size[:, np.newaxis] * change
        loss = np.einsum("ij,ij->i", costs, np.logaddexp(0, sign * decisions))
        return 0.5 * np.einsum("ij,ij->i", weights, weights) + loss

    size = np.ones(len(W))
    before = objective(np.zeros(len(W)))
    slope = np.einsum("ij,ij->i", gradient, step)
    for _ in range(30):
        too_high = objective(size) > before + 1e-4 * size * slope + 1e-12 * np.abs(before)
        if not too_high.any():
            break
        size[too_high] /= 2
    return size
