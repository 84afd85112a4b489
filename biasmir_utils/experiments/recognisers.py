"""Recognisers by name, or by the dotted path of any scikit-learn estimator.

`logistic` is the paper's: `recogniser.LogisticRecogniser`, its C chosen by cross-validation. The
others stand for families that read an embedding in other ways, with the habits of scikit-learn
and standardised features. A dotted path, `package.module:Name` or `package.module.Name`, names an
estimator class or a function that returns an estimator; **it is imported and called, so it runs
the code that it names**.

A training set in the coordinates of its own span.

An L2-penalised linear model has its weights in the span of its training rows. With n rows and
more features than that, the fit needs no more than n coordinates; the result is the same, not
an approximation. The constant-1 feature of the intercept is part of the span, because
liblinear's objective penalises the intercept like any other weight.

The coordinates are those of the principal axes of the rows (not centred), in which the Hessian
of a logistic loss is nearly diagonal: that makes the solver in `logistic` fast.

L2-regularised logistic regression for many weightings of the same rows at once.

The objective is liblinear's (`scikit-learn`'s `LogisticRegression(solver='liblinear')`)::

    |w|^2 / 2 + sum_i c_i log(1 + exp(-s_i z_i'w)),   s_i = 1 or -1

where the intercept is the weight of a constant feature of z and is penalised too. A problem is
one vector c: it holds C, the class weights, and 0 for rows outside of a fold. Choosing C among 12
values by 3 folds makes 36 problems on the same rows, and one matrix product serves them all.

Method: Newton steps, each by conjugate gradients with a diagonal preconditioner. In the
coordinates of `span.Span` the Hessian is nearly diagonal, so a few iterations are enough. The
inner iterations run in single precision (they only choose a direction); objective, gradient and
weights are kept in double precision, and so is the test of convergence.

Binary recognisers, which tell whether a clip holds a label.

The paper's recogniser is a logistic regression whose C is chosen by cross-validation:
12 values from 1e-8 to 1e3 in decades, 3 stratified, unshuffled folds, ROC-AUC, the smallest of
the best values, and a last fit on all training rows.

References
----------
R.-E. Fan et al., "LIBLINEAR: a library for large linear classification", JMLR 9, 2008 (the
objective); Wang, Richard and McFee, ISMIR 2023 (the protocol).

One logistic model with several outputs: tags that do not exclude each other, or classes.

The outputs share the features, the folds and one C, chosen by their mean ROC-AUC: that is what
makes them one model. In all else each is the paper's recogniser, so that a comparison with one
recogniser a label shows what sharing costs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin, clone, is_classifier, is_regressor
from sklearn.linear_model import LogisticRegression, RidgeClassifier, RidgeClassifierCV, RidgeCV
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR
from sklearn.utils.validation import check_is_fitted, validate_data

from biasmir_utils.corrections import ThinMap
from biasmir_utils.errors import ArgumentError, did_you_mean
from biasmir_utils.experiments.metrics import column_roc_auc
from biasmir_utils.experiments.protocol import CATEGORY, LABEL, NUMBER, TAGS

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


PAPER_C = tuple(10.0**exponent for exponent in range(-8, 4))
SOLVERS = ("newton", "liblinear")


class LogisticRecogniser(ClassifierMixin, BaseEstimator):
    """Logistic regression, C by cross-validated ROC-AUC, both classes weighted alike.

    Parameters
    ----------
    Cs : sequence of float
        Values to choose from; of equally good ones the first is taken.
    n_folds : int
        Stratified folds, not shuffled: the order of the rows matters.
    solver : {'newton', 'liblinear'}
        Both minimise liblinear's objective. `liblinear` is scikit-learn's and gives the
        authors' numbers to the last digit; `newton` (see `logistic`) solves all values of C and
        all folds together, in the span of the rows, and is many times faster. The two differ
        where C is large and the classes are separable: scikit-learn's stops before the optimum.

    Attributes
    ----------
    classes_ : ndarray, (2,)
    C_ : float
        The chosen value.
    cv_roc_auc_ : ndarray, (n_Cs,)
        Mean ROC-AUC over the folds.
    cv_decision_ : ndarray, (n_clips,)
        Decision value of each training row from the fold that did not train on it, with the
        chosen C.
    coef_ : ndarray, (1, n_features)
    intercept_ : ndarray, (1,)
    n_features_in_ : int
    """

    def __init__(
        self, Cs: tuple[float, ...] = PAPER_C, n_folds: int = 3, solver: str = "newton"
    ) -> None:
        self.Cs = Cs
        self.n_folds = n_folds
        self.solver = solver

    def fit(self, X: ArrayLike, y: ArrayLike) -> LogisticRecogniser:
        """Choose C and fit.

        Parameters
        ----------
        X : array-like, (n_clips, n_features)
        y : array-like, (n_clips,)
            Two classes.

        Raises
        ------
        ArgumentError
            If there are not two classes, or fewer clips of one than folds.
        """
        rows, labels = validate_data(self, X, y, dtype=np.float64)
        codes = self._check(labels)
        if self.solver == "liblinear":
            self._fit_liblinear(rows, codes)
        else:
            self._fit_span(Span.of(rows), codes)
        return self

    def fit_span(self, span: Span, y: ArrayLike) -> LogisticRecogniser:
        """Fit to rows whose span is known already; `solver` must be 'newton'.

        Parameters
        ----------
        span : Span
        y : array-like, (n_clips,)
        """
        codes = self._check(np.asarray(y))
        self._fit_span(span, codes)
        self.n_features_in_ = self.coef_.shape[1]
        return self

    def decision_function(self, X: ArrayLike) -> FloatArray:
        """Return the decision values, (n_clips,); above 0 the second class is predicted."""
        check_is_fitted(self)
        rows: FloatArray = validate_data(self, X, dtype=np.float64, reset=False)
        decisions: FloatArray = rows @ self.coef_[0] + self.intercept_[0]
        return decisions

    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """Return the probabilities of both classes, (n_clips, 2)."""
        positive = expit(self.decision_function(X))
        return np.column_stack([1 - positive, positive])

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the predicted class of each clip."""
        return self.classes_[(self.decision_function(X) > 0).astype(int)]

    def _check(self, y: NDArray[Any]) -> NDArray[np.int8]:
        if self.solver not in SOLVERS:
            raise ArgumentError(f"solver {self.solver!r}: expected one of {', '.join(SOLVERS)}")
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) != 2:
            raise ArgumentError(f"y must hold two classes, found {len(self.classes_)}")
        rarest = int(np.bincount(codes).min())
        if rarest < self.n_folds:
            raise ArgumentError(
                f"the rarer class has {rarest} clip(s), fewer than the {self.n_folds} folds"
            )
        return codes.astype(np.int8)

    def _folds(self, y: NDArray[np.int8]) -> NDArray[np.bool_]:
        """Return which rows train in each fold, (n_folds, n_rows)."""
        masks = np.zeros((self.n_folds, len(y)), dtype=bool)
        for mask, (train, _) in zip(
            masks, StratifiedKFold(self.n_folds).split(np.empty((len(y), 1)), y), strict=True
        ):
            mask[train] = True
        return masks

    def _choose(self, scores: FloatArray) -> int:
        """Keep the mean score of each C and return the first position of the best."""
        self.cv_roc_auc_ = scores.mean(axis=1)
        best = int(np.argmax(self.cv_roc_auc_))
        self.C_ = float(self.Cs[best])
        return best

    def _fit_span(self, span: Span, y: NDArray[np.int8]) -> None:
        masks = self._folds(y)
        fold_weights = np.array([balanced_weights(y, mask) for mask in masks])
        Cs = np.asarray(self.Cs, dtype=np.float64)
        costs = (Cs[:, np.newaxis, np.newaxis] * fold_weights).reshape(-1, len(y))
        weights, decisions = solve_logistic(span.coordinates, y, costs)
        decisions = decisions.reshape(len(Cs), self.n_folds, len(y))
        scores = [
            column_roc_auc(y[~mask] == 1, decisions[:, fold, ~mask].T)
            for fold, mask in enumerate(masks)
        ]
        best = self._choose(np.array(scores).T)
        self.cv_decision_ = np.empty(len(y))
        for fold, mask in enumerate(masks):
            self.cv_decision_[~mask] = decisions[best, fold, ~mask]
        start = weights.reshape(len(Cs), self.n_folds, -1)[best].mean(axis=0, keepdims=True)
        cost = Cs[best] * balanced_weights(y, np.ones(len(y), dtype=bool))
        solution, _ = solve_logistic(span.coordinates, y, cost[np.newaxis], start=start)
        coef, intercept = span.weights(solution[0])
        self.coef_, self.intercept_ = coef[np.newaxis], np.array([intercept])

    def _fit_liblinear(self, X: FloatArray, y: NDArray[np.int8]) -> None:
        masks = self._folds(y)
        scores = np.empty((len(self.Cs), self.n_folds))
        decisions = np.empty((len(self.Cs), len(y)))
        for fold, mask in enumerate(masks):
            for i, C in enumerate(self.Cs):
                model = _liblinear(C).fit(X[mask], y[mask])
                held_out = decisions[i, ~mask] = model.decision_function(X[~mask])
                scores[i, fold] = column_roc_auc(y[~mask] == 1, held_out[:, np.newaxis])[0]
        best = self._choose(scores)
        self.cv_decision_ = decisions[best]
        model = _liblinear(self.Cs[best]).fit(X, y)
        self.coef_, self.intercept_ = model.coef_, model.intercept_


def _liblinear(C: float) -> LogisticRegression:
    # scikit-learn's random_state only matters to liblinear's dual solvers; fixed all the same.
    return LogisticRegression(C=C, solver="liblinear", class_weight="balanced", random_state=0)


class SharedLogistic(ClassifierMixin, BaseEstimator):
    """Logistic regressions on the same rows, with one C by cross-validated mean ROC-AUC.

    Parameters
    ----------
    Cs : sequence of float
        Values to choose from; of equally good ones the first is taken.
    n_folds : int
        Folds, not shuffled; stratified by class where the outputs are classes.

    Attributes
    ----------
    classes_ : ndarray, or None
        The classes; None for tags.
    C_ : float
    coef_ : ndarray, (n_outputs, n_features)
    intercept_ : ndarray, (n_outputs,)
    cv_decision_ : ndarray, (n_clips, n_outputs)
        Decision values of each row from the fold that did not train on it, with the chosen C.
    n_features_in_ : int
    """

    def __init__(self, Cs: tuple[float, ...] = PAPER_C, n_folds: int = 3) -> None:
        self.Cs = Cs
        self.n_folds = n_folds

    def fit(self, X: ArrayLike, y: ArrayLike) -> SharedLogistic:
        """Choose C and fit.

        Parameters
        ----------
        X : array-like, (n_clips, n_features)
        y : array-like, (n_clips,) or (n_clips, n_tags)
            Classes; or tags, 1 present, 0 absent, -1 not observed, which does not count.

        Raises
        ------
        ArgumentError
            If there are fewer than two classes, or a tag has fewer clips of one kind than folds.
        """
        rows = validate_data(self, X, dtype=np.float64)
        return self.fit_span(Span.of(rows), y)

    def fit_span(self, span: Span, y: ArrayLike) -> SharedLogistic:
        """Fit to rows whose span is known already.

        Parameters
        ----------
        span : Span
        y : array-like
            As for `fit`.
        """
        outputs, train = self._outputs(np.asarray(y))
        n, n_outputs = outputs.shape
        Cs = np.asarray(self.Cs, dtype=np.float64)
        weights = np.array(
            [
                [balanced_weights(column, mask & (column >= 0)) for mask in train]
                for column in outputs.T
            ]
        )
        costs = (Cs[:, np.newaxis, np.newaxis, np.newaxis] * weights).reshape(-1, n)
        y_of = np.broadcast_to(
            outputs.T[np.newaxis, :, np.newaxis], (len(Cs), n_outputs, len(train), n)
        ).reshape(-1, n)
        solutions, decisions = solve_logistic(span.coordinates, np.maximum(y_of, 0), costs)
        decisions = decisions.reshape(len(Cs), n_outputs, len(train), n)
        scores = np.full((len(Cs), n_outputs, len(train)), np.nan)
        for fold, mask in enumerate(train):
            for k, column in enumerate(outputs.T):
                held_out = ~mask & (column >= 0)
                scores[:, k, fold] = column_roc_auc(
                    column[held_out] == 1, decisions[:, k, fold, held_out].T
                )
        self.cv_roc_auc_ = np.nanmean(scores, axis=(1, 2))
        best = int(np.argmax(self.cv_roc_auc_))
        self.C_ = float(Cs[best])
        self.cv_decision_ = np.empty((n, n_outputs))
        for fold, mask in enumerate(train):
            self.cv_decision_[~mask] = decisions[best, :, fold][:, ~mask].T
        start = solutions.reshape(len(Cs), n_outputs, len(train), -1)[best].mean(axis=1)
        final = [Cs[best] * balanced_weights(column, column >= 0) for column in outputs.T]
        found, _ = solve_logistic(
            span.coordinates, np.maximum(outputs.T, 0), np.array(final), start=start
        )
        parts = [span.weights(solution) for solution in found]
        self.coef_ = np.array([coef for coef, _ in parts])
        self.intercept_ = np.array([intercept for _, intercept in parts])
        self.n_features_in_ = self.coef_.shape[1]
        return self

    def decision_function(self, X: ArrayLike) -> FloatArray:
        """Return the decision values, (n_clips, n_outputs)."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        decisions: FloatArray = (rows @ self.coef_.T.astype(rows.dtype)).astype(np.float64)
        return decisions + self.intercept_

    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """Return probabilities, (n_clips, n_outputs); of classes they sum to 1."""
        probability: FloatArray = expit(self.decision_function(X))
        if self.classes_ is not None:
            total = probability.sum(axis=1, keepdims=True)
            probability /= np.maximum(total, np.finfo(np.float64).tiny)
        return probability

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the class of each clip, or for each tag 0 or 1."""
        decisions = self.decision_function(X)
        if self.classes_ is None:
            return (decisions > 0).astype(np.int8)
        found: NDArray[Any] = self.classes_[decisions.argmax(axis=1)]
        return found

    def _outputs(self, y: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
        """Return the outputs, (n_clips, n_outputs), and which rows train in each fold."""
        n = len(y)
        if y.ndim == 2:
            self.classes_ = None
            outputs = y.astype(np.int8)
            splits = KFold(self.n_folds).split(np.empty((n, 1)))
        else:
            self.classes_, codes = np.unique(y, return_inverse=True)
            if len(self.classes_) < 2:
                raise ArgumentError("y must hold two classes or more, found one")
            outputs = np.eye(len(self.classes_), dtype=np.int8)[codes]
            splits = StratifiedKFold(self.n_folds).split(np.empty((n, 1)), codes)
        for k, column in enumerate(outputs.T):
            rarest = min(int((column == 1).sum()), int((column == 0).sum()))
            if rarest < self.n_folds:
                raise ArgumentError(
                    f"output {k} has {rarest} clip(s) of its rarer value, fewer than the "
                    f"{self.n_folds} folds"
                )
        train = np.zeros((self.n_folds, n), dtype=bool)
        for mask, (chosen, _) in zip(train, splits, strict=True):
            mask[chosen] = True
        return outputs, train


Array = NDArray[Any]

RIDGE_ALPHAS = tuple(10.0**exponent for exponent in range(-1, 6))
N_NEIGHBOURS = 15


class _AtMost:
    """Nearest neighbours of which there may be fewer than were asked for: then all of them."""

    def kneighbors(
        self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True
    ) -> Any:
        wanted = self.n_neighbors if n_neighbors is None else n_neighbors  # type: ignore[attr-defined]
        there = self.n_samples_fit_ - (X is None)  # type: ignore[attr-defined]
        return super().kneighbors(X, min(wanted, there), return_distance)  # type: ignore[misc]


class NeighboursClassifier(_AtMost, KNeighborsClassifier):
    """scikit-learn's, with as many neighbours as there are training rows at most."""


class NeighboursRegressor(_AtMost, KNeighborsRegressor):
    """scikit-learn's, with as many neighbours as there are training rows at most."""


def _scaled(estimator: Any) -> Any:
    return make_pipeline(StandardScaler(), estimator)


def _neighbours() -> Any:
    return _scaled(NeighboursClassifier(N_NEIGHBOURS, weights="distance"))


def _perceptron(kind: Callable[..., Any]) -> Any:
    return _scaled(kind(hidden_layer_sizes=(128,), early_stopping=True))


# What is recognised -> name -> how to make an unfitted estimator.
RECOGNISERS: Mapping[str, Mapping[str, Callable[[], Any]]] = {
    LABEL: {
        "logistic": LogisticRecogniser,
        "logistic-liblinear": lambda: LogisticRecogniser(solver="liblinear"),
        "ridge": lambda: _scaled(RidgeClassifierCV(RIDGE_ALPHAS, class_weight="balanced")),
        "svm": lambda: _scaled(SVC(class_weight="balanced")),
        "knn": _neighbours,
        "mlp": lambda: _perceptron(MLPClassifier),
    },
    TAGS: {
        "logistic": SharedLogistic,
        "ridge": lambda: _scaled(RidgeClassifier(1e3)),
        "knn": _neighbours,
        "mlp": lambda: _perceptron(MLPClassifier),
    },
    CATEGORY: {
        "logistic": SharedLogistic,
        "ridge": lambda: _scaled(RidgeClassifierCV(RIDGE_ALPHAS, class_weight="balanced")),
        "svm": lambda: _scaled(SVC(class_weight="balanced", decision_function_shape="ovr")),
        "knn": _neighbours,
        "mlp": lambda: _perceptron(MLPClassifier),
    },
    NUMBER: {
        "ridge": lambda: _scaled(RidgeCV(RIDGE_ALPHAS)),
        "svm": lambda: _scaled(SVR()),
        "knn": lambda: _scaled(NeighboursRegressor(N_NEIGHBOURS, weights="distance")),
        "mlp": lambda: _perceptron(MLPRegressor),
    },
}
_IN_WORDS = {LABEL: "a label", TAGS: "tags", CATEGORY: "a category", NUMBER: "a number"}
DEFAULTS = {LABEL: "logistic", TAGS: "logistic", CATEGORY: "logistic", NUMBER: "ridge"}


def make_recogniser(name: str, kind: str = LABEL, seed: int = 0) -> Any:
    """Return an unfitted recogniser.

    Parameters
    ----------
    name : str
        A name of `RECOGNISERS` for this kind, or a dotted path.
    kind : {'label', 'tags', 'category', 'number'}
        What is recognised.
    seed : int
        Given to every parameter called `random_state` that has no value, so that the same run
        gives the same numbers.

    Raises
    ------
    ArgumentError
        If there is no such name, or the path cannot be imported, or what it names is not an
        estimator for this kind.
    """
    known = RECOGNISERS[kind]
    if name in known:
        estimator = known[name]()
    elif "." in name or ":" in name:
        estimator = _imported(name, kind)
    else:
        raise ArgumentError(
            f"recogniser {name!r}: expected one of {', '.join(known)} for {_IN_WORDS[kind]}, or "
            f"the dotted path of a scikit-learn estimator, such as sklearn.naive_bayes:GaussianNB."
            f"{did_you_mean(name, known)}"
        )
    unset = {
        key: seed
        for key, value in estimator.get_params().items()
        if key.split("__")[-1] == "random_state" and value is None
    }
    return estimator.set_params(**unset)


def _imported(path: str, kind: str) -> Any:
    """Return an estimator made by the class or function that a dotted path names."""
    module_name, colon, attribute = path.partition(":")
    if not colon:
        module_name, _, attribute = path.rpartition(".")
    told = f"recogniser {path!r}"
    try:
        made: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            made = getattr(made, part)
    except (ImportError, ValueError) as error:
        raise ArgumentError(f"{told}: {module_name!r} cannot be imported ({error})") from error
    except AttributeError:
        raise ArgumentError(f"{told}: {module_name!r} has no {attribute!r}") from None
    try:
        estimator = made()
    except Exception as error:
        raise ArgumentError(
            f"{told}: calling it without arguments failed ({type(error).__name__}: {error}); name "
            "a class whose parameters have defaults, or a function that returns an estimator"
        ) from error
    lacks = [
        method for method in ("fit", "get_params", "set_params") if not hasattr(estimator, method)
    ]
    if lacks:
        raise ArgumentError(f"{told}: not a scikit-learn estimator, it has no {lacks[0]!r}")
    try:
        clone(estimator)
    except (TypeError, RuntimeError) as error:
        raise ArgumentError(f"{told}: cannot be cloned by scikit-learn ({error})") from error
    if kind == NUMBER:
        if not is_regressor(estimator):
            raise ArgumentError(f"{told}: not a regressor, as is needed for a number")
    elif not is_classifier(estimator):
        raise ArgumentError(f"{told}: not a classifier, as is needed for {_IN_WORDS[kind]}")
    elif not (hasattr(estimator, "decision_function") or hasattr(estimator, "predict_proba")):
        raise ArgumentError(f"{told}: has neither decision_function nor predict_proba")
    return estimator


def recogniser_scores(recogniser: Any, X: Array, kind: str = LABEL) -> tuple[Array, Array]:
    """Return scores and probabilities of rows.

    Parameters
    ----------
    recogniser : estimator
        Fitted.
    X : ndarray, (n, n_features)
    kind : {'label', 'tags', 'category', 'number'}

    Returns
    -------
    score : ndarray, (n,) or (n, n_columns)
        For a label or a number a vector; a column for each tag or class otherwise. Without a
        `decision_function`, a label's score is its probability minus 1/2.
    probability : ndarray
        Of the same shape; NaN where the recogniser gives none.
    """
    if kind == NUMBER:
        score = np.asarray(recogniser.predict(X), dtype=np.float64).reshape(len(X))
        return score, np.full(len(X), np.nan)
    if isinstance(recogniser, LogisticRecogniser):
        coef, intercept = recogniser.coef_[0], recogniser.intercept_[0]
        # In the precision of the rows: random features of test rows are in single precision.
        score = (X @ coef.astype(X.dtype)).astype(np.float64) + intercept
        return score, expit(score)
    probability = None
    if hasattr(recogniser, "predict_proba"):
        probability = _columns(recogniser.predict_proba(X), kind)
    if hasattr(recogniser, "decision_function"):
        score = np.asarray(recogniser.decision_function(X), dtype=np.float64)
        if kind == CATEGORY and score.ndim == 1:
            # Of two classes scikit-learn scores only the second.
            score = np.column_stack([-score, score])
    else:
        assert probability is not None
        score = probability if kind == CATEGORY else probability - 0.5
    return score, np.full(score.shape, np.nan) if probability is None else probability


def _columns(probability: Any, kind: str) -> Array:
    """Return what `predict_proba` gave as a column for each tag or class, a vector for a label."""
    if isinstance(probability, list):
        # scikit-learn's multi-label form: for each tag a matrix with a column for each class.
        return np.column_stack(
            [part[:, 1] if part.shape[1] > 1 else np.zeros(len(part)) for part in probability]
        ).astype(np.float64)
    columns = np.asarray(probability, dtype=np.float64)
    return columns[:, 1] if kind == LABEL else columns
