"""Recognisers by name, or by the dotted path of any scikit-learn estimator.

`logistic` is the paper's, `LogisticRecogniser`: its C is one of 12 values from 1e-8 to 1e3 in
decades, chosen by ROC-AUC in 3 unshuffled folds (the smallest of the best values), with a last fit
on all training rows. `logistic:intercept=free` solves the same without a penalty on the intercept,
exactly: a translation of all rows changes nothing in it, which cannot be said of the paper's. The
paper's is the default, so that results stand beside its, and since the free one is no clear gain:
in four embeddings it changes ROC-AUC across datasets by +.005 to +.013 on five labels of data/demo
and by -.016 to +.025 on data/recordings, for 1.1 to 1.3 times the time. To judge corrections it is
the better instrument, as what they gain with it is not the origin's. The others stand for families
that read an embedding in other ways, with the habits of scikit-learn and standardised features. A
dotted path, `package.module:Name` or `package.module.Name`, names an estimator class or a function
that returns an estimator; **it is imported and called, so it runs the code that it names**.

The logistic regression minimises liblinear's objective::

    |w|^2 / 2 + sum_i c_i log(1 + exp(-s_i z_i'w)),   s_i = 1 or -1

where the intercept is the weight of a constant feature of z and is penalised too, unless it is
free: then the rows are centred and the weight of the constant has no part in |w|^2. A problem is
one vector c: it holds C, the class weights, and 0 for rows outside of a fold. Two things make
it fast. An L2-penalised model has its weights in the span of its rows, so that n rows need no
more than n coordinates (`Span`; no approximation). In those coordinates, the principal axes of
the rows, the Hessian is nearly diagonal, so Newton steps by preconditioned conjugate gradients
are cheap, and one matrix product serves all values of C and all folds (`solve_logistic`).

References
----------
R.-E. Fan et al., "LIBLINEAR: a library for large linear classification", JMLR 9, 2008 (the
objective); Wang, Richard and McFee, ISMIR 2023 (the protocol).
"""

from __future__ import annotations

import itertools
import pkgutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
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
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _num_samples,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from biasmir_utils.corrections import Option, ThinMap
from biasmir_utils.errors import ArgumentError, did_you_mean
from biasmir_utils.experiments.metrics import column_roc_auc
from biasmir_utils.experiments.protocol import CATEGORY, LABEL, NUMBER, TAGS, floored

Array = NDArray[Any]
FloatArray = NDArray[np.float64]
SingleArray = NDArray[np.float32]


TOLERANCE = 1e-4
MAX_NEWTON_STEPS = 100
MAX_GRADIENT_STEPS = 200
FORCING = 0.3
# With a free intercept.
EXACT = 1e-8
SHORTEST_ROWS, LONGEST_ROWS = 1e-5, 1e15
ROUNDING = float(np.finfo(np.float64).eps)


def balanced_weights(y: NDArray[Any], rows: NDArray[np.bool_]) -> FloatArray:
    """Return the weights that give both classes the same total: n / (2 n_class), 0 elsewhere.

    Of one problem, (n_rows,), or of several, (..., n_rows).
    """
    weights = np.zeros(np.broadcast_shapes(y.shape, rows.shape))
    n = rows.sum(axis=-1, keepdims=True)
    for value in (0, 1):
        members = rows & (y == value)
        own = n / (2 * np.maximum(1, members.sum(axis=-1, keepdims=True)))
        weights = np.where(members, own, weights)
    return weights


class LogisticRows:
    """Rows of a training set for `solve_logistic`, in double and in single precision.

    Parameters
    ----------
    Z : ndarray, (n_rows, r)
        Coordinates, the constant feature included.
    free : bool
        Whether the weight of the last coordinate is not penalised.
    """

    def __init__(self, Z: FloatArray, free: bool = False) -> None:
        self.Z = np.ascontiguousarray(Z)
        self.penalty = np.ones(self.Z.shape[1], np.float32)
        self.penalty[-1] -= free
        self.single = self.Z.astype(np.float32)
        self.transposed = np.ascontiguousarray(self.single.T)
        self.squares = self.single**2

    def newton_step(
        self,
        gradient: FloatArray,
        curvature: SingleArray,
        diagonal: SingleArray,
        forcing: FloatArray,
    ) -> FloatArray:
        """Solve ``(penalty + Z' diag(curvature) Z) step = -gradient`` to the error `forcing`."""
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
            product = ((direction @ self.transposed) * curvature) @ self.single
            product += self.penalty * direction
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


def solve_logistic(
    rows: LogisticRows,
    y: Array,
    costs: FloatArray,
    start: FloatArray | None = None,
    tol: float = TOLERANCE,
) -> tuple[FloatArray, FloatArray]:
    """Minimise the objective for each row of `costs`.

    The inner iterations run in single precision (they only choose a direction); objective,
    gradient and weights are kept in double precision, and so is the test of convergence.

    Parameters
    ----------
    rows : LogisticRows
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
    Z = rows.Z
    y = np.broadcast_to(np.asarray(y, dtype=np.float64), costs.shape)
    weights = np.zeros((len(costs), Z.shape[1])) if start is None else start.copy()
    decisions = np.zeros(costs.shape) if start is None else weights @ Z.T
    at_zero = (costs * (0.5 - y)) @ Z
    diagonal = rows.penalty + (costs / 4).astype(np.float32) @ rows.squares
    reference = np.maximum(_decrement(at_zero, diagonal), np.finfo(np.float64).tiny)

    unsolved = np.arange(len(costs))
    for _ in range(MAX_NEWTON_STEPS):
        W, F, c, t = (a[unsolved] for a in (weights, decisions, costs, y))
        probability = expit(F)
        gradient = rows.penalty * W + (c * (probability - t)) @ Z
        curvature = (c * probability * (1 - probability)).astype(np.float32)
        diagonal = rows.penalty + curvature @ rows.squares
        progress = _decrement(gradient, diagonal) / reference[unsolved]
        going_on = progress > tol
        if not going_on.any():
            break
        unsolved = unsolved[going_on]
        W, F, c, t, gradient = (a[going_on] for a in (W, F, c, t, gradient))
        step = rows.newton_step(
            gradient,
            curvature[going_on],
            diagonal[going_on],
            np.minimum(FORCING, np.sqrt(progress[going_on])),
        )
        change = step @ Z.T
        size = _line_search(rows.penalty, W, F, step, change, gradient, c, t)[:, np.newaxis]
        weights[unsolved] = W + size * step
        decisions[unsolved] = F + size * change
    return weights, decisions


def _decrement(gradient: FloatArray, diagonal: SingleArray) -> FloatArray:
    return np.sqrt(np.einsum("ij,ij,ij->i", gradient, gradient, 1.0 / diagonal))


def _row_dot(a: SingleArray, b: SingleArray) -> SingleArray:
    return np.einsum("ij,ij->i", a, b)


def _line_search(
    penalty: SingleArray,
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
        margin = sign * decisions  # log(1 + exp(margin)), several times as fast as logaddexp
        softplus = np.maximum(margin, 0) + np.log1p(np.exp(-np.abs(margin)))
        loss = np.einsum("ij,ij->i", costs, softplus)
        return 0.5 * np.einsum("ij,ij->i", weights, penalty * weights) + loss

    size = np.ones(len(W))
    before = objective(np.zeros(len(W)))
    slope = np.einsum("ij,ij->i", gradient, step)
    for _ in range(30):
        too_high = objective(size) > before + 1e-4 * size * slope + 1e-12 * np.abs(before)
        if not too_high.any():
            break
        size[too_high] /= 2
    return size


@dataclass(frozen=True)
class Span:
    """Rows ``[X, 1] = coordinates @ Q'`` with orthonormal columns Q, (n_features + 1, r).

    With fewer rows than features, Q is not built: it is ``rows.T @ factor``. For a free intercept
    the rows are ``[X - center, 0]``.

    Attributes
    ----------
    coordinates : ndarray, (n_rows, r)
    rows : ndarray, (n_rows, n_features + 1), or None
        ``[X, 1]``; None where `factor` is Q itself.
    factor : ndarray, (n_rows, r) or (n_features + 1, r)
    extra : ndarray, (n_features + 1, k)
        Further orthonormal columns of Q, outside the span of the rows.
    center : ndarray, (n_features,), or None
        The mean of X where the intercept is free.
    """

    coordinates: FloatArray
    rows: FloatArray | None
    factor: FloatArray
    extra: FloatArray
    center: FloatArray | None = None

    @classmethod
    def of(cls, X: FloatArray, free: bool = False) -> Span:
        """Return the span of the rows of `X`, (n_rows, n_features), and the constant."""
        center = X.mean(axis=0) if free else None
        rows = np.column_stack([X if center is None else X - center, np.full(len(X), 1.0 - free)])
        extra = np.empty((rows.shape[1], 0))
        if rows.shape[1] <= rows.shape[0]:
            _, axes = np.linalg.eigh(rows.T @ rows)
            return cls(rows @ axes, None, axes, extra, center)
        values, vectors = np.linalg.eigh(rows @ rows.T)
        # Below this an eigenvalue is rounding error: the rows are linearly dependent.
        kept = values > values[-1] * len(values) * np.finfo(np.float64).eps
        lengths = np.sqrt(values[kept])
        return cls(vectors[:, kept] * lengths, rows, vectors[:, kept] / lengths, extra, center)

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
        center = None if self.center is None else thin(self.center[np.newaxis], dose)[0]
        return replace(
            self, coordinates=coordinates, extra=np.hstack([self.extra, added]), center=center
        )

    @cached_property
    def problem_rows(self) -> LogisticRows:
        """The coordinates as `solve_logistic` takes them, a free constant last."""
        if self.center is None:
            return LogisticRows(self.coordinates)
        ones = np.ones(len(self.coordinates))
        return LogisticRows(np.column_stack([self.coordinates, ones]), free=True)

    def weights(self, solution: FloatArray) -> tuple[FloatArray, float]:
        """Return coefficients (n_features,) and intercept of a solution (r,)."""
        if self.center is None:
            full = self._from_coordinates(solution)
            return full[:-1], float(full[-1])
        coef = self._from_coordinates(solution[:-1])[:-1]
        return coef, float(solution[-1] - coef @ self.center)

    def _to_coordinates(self, columns: FloatArray) -> FloatArray:
        """Return ``Q' @ columns``."""
        own = columns if self.rows is None else self.rows @ columns
        return np.concatenate([self.factor.T @ own, self.extra.T @ columns])

    def _from_coordinates(self, columns: FloatArray) -> FloatArray:
        """Return ``Q @ columns``."""
        r = self.factor.shape[1]
        own = self.factor @ columns[:r]
        return (own if self.rows is None else self.rows.T @ own) + self.extra @ columns[r:]


def span_in_range(X: FloatArray, free: bool = False) -> Span:
    """Return the span of rows, (n_rows, n_features), that a `LogisticRecogniser` can be fitted to.

    Parameters
    ----------
    X : ndarray, (n_rows, n_features)
    free : bool
        Whether the intercept is.

    Raises
    ------
    ArgumentError
        If they are too long for single precision, or lost in the rounding of the constant or of
        an offset.
    """
    length = np.sqrt(np.einsum("ij,ij->", X, X) / len(X))
    # Fewer features than rows give the same ranks down to a length of 1e-14.
    shortest = (SHORTEST_ROWS if X.shape[1] >= len(X) else 1e-12) if length else 0.0
    if not shortest <= length <= LONGEST_ROWS:
        raise ArgumentError(
            f"the rows are {length:.1e} long on average, out of the range of single precision "
            f"({shortest:g} to {LONGEST_ROWS:g}); multiply the embedding by a number"
        )
    center = X.mean(axis=0)
    spread = np.sqrt(np.einsum("ij,ij->", X - center, X - center) / len(X))
    # In the span of fewer rows than features the rank is told from squares.
    lost = len(X) * np.sqrt(ROUNDING) if X.shape[1] >= len(X) else np.sqrt(ROUNDING)
    if not free and 1e3 * ROUNDING * length < spread < lost * length:
        raise ArgumentError(
            f"the rows vary by {spread:.1e} around an offset that is {length:.1e} long, and are "
            f"lost in its rounding; subtract the mean of each dimension from the embedding"
        )
    return Span.of(X, free)


PAPER_C = tuple(10.0**exponent for exponent in range(-8, 4))
SOLVERS = ("newton", "liblinear")
INTERCEPT = Option(("penalised", "free"))


class LogisticRecogniser(ClassifierMixin, BaseEstimator):
    """Logistic regression, C by cross-validated ROC-AUC, present and absent weighted alike.

    Two classes make one regression. More classes, or tags, make one for each (against the rest):
    they share the rows, the folds and one C, chosen by their mean ROC-AUC.

    Parameters
    ----------
    Cs : sequence of float
        Values to choose from; of equally good ones the first is taken.
    n_folds : int
        Folds, not shuffled: the order of the rows matters. Stratified by class; not for tags.
    solver : {'newton', 'liblinear'}
        Both minimise liblinear's objective. `liblinear` is scikit-learn's and gives the
        authors' numbers to the last digit; `newton` (see `solve_logistic`) solves values of C
        and folds together, in the span of the rows, and is many times faster. The two differ
        where C is large and the classes are separable: scikit-learn's stops before the optimum.
    intercept : {'penalised', 'free'}
        Penalised, as liblinear does and the paper did, the intercept makes the result depend on
        where the origin lies. Free, a translation of all rows changes nothing, and all fits that
        decide are solved to a relative Newton decrement of 1e-8; with `newton` only.

    Attributes
    ----------
    classes_ : ndarray, (n_classes,)
        For tags 0 and 1.
    outputs_2d_ : bool
        Whether `y` was a matrix, of tags.
    C_ : float
        The chosen value.
    cv_roc_auc_ : ndarray, (n_Cs,)
        Mean ROC-AUC over outputs and folds.
    cv_decision_ : ndarray, (n_clips,) or (n_clips, n_outputs)
        Decision value of each training row from the fold that did not train on it, with the
        chosen C.
    coef_ : ndarray, (n_outputs, n_features)
    intercept_ : ndarray, (n_outputs,)
    n_features_in_ : int
    """

    def __init__(
        self,
        Cs: tuple[float, ...] = PAPER_C,
        n_folds: int = 3,
        solver: str = "newton",
        intercept: str = "penalised",
    ) -> None:
        self.Cs = Cs
        self.n_folds = n_folds
        self.solver = solver
        self.intercept = intercept

    def fit(self, X: ArrayLike, y: ArrayLike) -> LogisticRecogniser:
        """Choose C and fit.

        Parameters
        ----------
        X : array-like, (n_clips, n_features)
        y : array-like, (n_clips,) or (n_clips, n_tags)
            Two or more classes; or tags, 1 present, 0 absent, -1 not observed, which does not
            count.

        Raises
        ------
        ArgumentError
            If there are fewer than two classes, a class or tag has fewer clips of one kind than
            there are folds, or a parameter has another value.
        ValueError
            If `y` holds numbers that are no classes, such as 0.5.
        """
        rows, values = validate_data(self, X, y, dtype=np.float64, multi_output=True)
        check_classification_targets(values)
        if values.ndim == 2 and values.shape[1] == 1 and not np.isin(values, (-1, 0, 1)).all():
            values = column_or_1d(values, warn=True)  # a column of classes
        if self.solver not in SOLVERS:
            raise ArgumentError(f"solver {self.solver!r}: expected one of {', '.join(SOLVERS)}")
        INTERCEPT.check(self.intercept, "intercept")
        if self.solver == "newton":
            return self.fit_span(span_in_range(rows, self.is_free), values)
        if self.is_free:
            raise ArgumentError("liblinear penalises the intercept; a free one needs newton")
        outputs, train = self._folds(values)
        decisions = [
            [_liblinear(C, rows, y, own).decision_function(rows) for y in outputs for own in train]
            for C in self.Cs
        ]
        shape = (len(self.Cs), len(outputs), *train.shape)
        self._choose(outputs, train, np.reshape(decisions, shape))
        final = [_liblinear(self.C_, rows, y, np.full(len(y), True)) for y in outputs]
        self.coef_ = np.concatenate([model.coef_ for model in final])
        self.intercept_ = np.concatenate([model.intercept_ for model in final])
        return self

    def fit_span(self, span: Span, y: ArrayLike) -> LogisticRecogniser:
        """Fit to rows whose span is known already; `solver` must be 'newton'.

        Parameters
        ----------
        span : Span
            With a center where the intercept is free.
        y : array-like
            As for `fit`.
        """
        outputs, train = self._folds(np.asarray(y))
        rows, tol = span.problem_rows, EXACT if self.is_free else TOLERANCE
        known, truth = outputs >= 0, np.maximum(outputs, 0)
        weights = balanced_weights(outputs[:, np.newaxis], train & known[:, np.newaxis])
        costs = np.multiply.outer(np.array(self.Cs, dtype=np.float64), weights)
        of_folds = np.broadcast_to(truth[:, np.newaxis], costs.shape).reshape(-1, len(rows.Z))
        solved, decisions = solve_logistic(rows, of_folds, costs.reshape(of_folds.shape), tol=tol)
        best = self._choose(outputs, train, decisions.reshape(costs.shape))
        start = solved.reshape(*costs.shape[:3], -1)[best].mean(axis=1)
        final = self.C_ * balanced_weights(outputs, known)
        found, _ = solve_logistic(rows, truth, final, start, tol)
        coef, intercept = zip(*map(span.weights, found), strict=True)
        self.coef_, self.intercept_ = np.array(coef), np.array(intercept)
        self.n_features_in_ = self.coef_.shape[1]
        return self

    def decision_function(self, X: ArrayLike) -> FloatArray:
        """Return decision values, (n_clips,) for two classes, else (n_clips, n_outputs).

        They are computed in the precision of `X`. Above 0 the second class, or the output's own,
        is more likely than not.
        """
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        coef = (self.coef_[0] if self._is_binary else self.coef_.T).astype(rows.dtype)
        decisions: FloatArray = (rows @ coef).astype(np.float64)
        return decisions + (self.intercept_[0] if self._is_binary else self.intercept_)

    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """Return probabilities, (n_clips, n_classes), which sum to 1, or (n_clips, n_tags)."""
        return self._probability(self.decision_function(X))

    def _probability(self, decisions: FloatArray) -> FloatArray:
        probability: FloatArray = expit(decisions)
        if self._is_binary:
            return np.column_stack([1 - probability, probability])
        if not self.outputs_2d_:
            total = probability.sum(axis=1, keepdims=True)
            probability /= np.maximum(total, np.finfo(np.float64).tiny)
        return probability

    def predict(self, X: ArrayLike) -> Array:
        """Return the class of each clip, or for each tag 0 or 1."""
        decisions = self.decision_function(X)
        yes_or_no = self._is_binary or self.outputs_2d_
        chosen = (decisions > 0).astype(int) if yes_or_no else decisions.argmax(axis=1)
        found: Array = self.classes_[chosen]
        return found

    @property
    def options(self) -> dict[str, Option]:
        """What a name may set, as in ``logistic:intercept=free``."""
        return {"intercept": INTERCEPT} if self.solver == "newton" else {}

    @property
    def is_free(self) -> bool:
        """Whether the intercept is not penalised."""
        return self.intercept == "free"

    @property
    def _is_binary(self) -> bool:
        return not self.outputs_2d_ and len(self.classes_) == 2

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = tags.target_tags.multi_output = True
        return tags

    def _folds(self, y: Array) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
        """Keep the classes; return what is to be learnt, and which rows each fold trains on.

        That is 1, 0, or -1 where it does not count, (n_outputs, n_rows); and (n_folds, n_rows).
        """
        empty = np.empty((len(y), 1))
        self.outputs_2d_ = y.ndim == 2
        if self.outputs_2d_:
            self.classes_ = np.array([0, 1], y.dtype)
            outputs = y.T.astype(np.int8)
            splits = KFold(self.n_folds).split(empty)
            told = [f"tag {k}" for k in range(len(outputs))]
        else:
            self.classes_, codes = np.unique(y, return_inverse=True)
            if len(self.classes_) < 2:
                raise ArgumentError(
                    f"y must hold two classes or more, found {len(self.classes_)} class"
                )
            own = [1] if len(self.classes_) == 2 else range(len(self.classes_))
            outputs = np.array([codes == k for k in own], np.int8)
            splits = StratifiedKFold(self.n_folds).split(empty, codes)
            told = [f"class {self.classes_[k]!s}" for k in own]
        for column, name in zip(outputs, told, strict=True):
            rarest = min(int((column == 1).sum()), int((column == 0).sum()))
            if rarest < self.n_folds:
                raise ArgumentError(
                    f"{name}: present or absent in {rarest} clip(s) only, fewer than the "
                    f"{self.n_folds} folds"
                )
        train = np.zeros((self.n_folds, len(y)), dtype=bool)
        for mask, (chosen, _) in zip(train, splits, strict=True):
            mask[chosen] = True
        return outputs, train

    def _choose(self, outputs: Array, train: Array, decisions: FloatArray) -> int:
        """Choose C by decisions, (n_Cs, n_outputs, n_folds, n_rows), and return its position.

        What counts is the mean ROC-AUC of held-out rows. Decisions on them are kept.
        """
        found = np.empty(decisions.shape[:3])
        for (k, y), (fold, mask) in itertools.product(enumerate(outputs), enumerate(train)):
            rows = ~mask & (y >= 0)
            found[:, k, fold] = column_roc_auc(y[rows] == 1, decisions[:, k, fold, rows].T)
        self.cv_roc_auc_ = np.nanmean(found, axis=(1, 2))
        best = int(np.argmax(self.cv_roc_auc_))
        self.C_ = float(self.Cs[best])
        held_out = np.where(train, 0.0, decisions[best]).sum(axis=1)  # each row in one fold
        self.cv_decision_ = held_out[0] if self._is_binary else held_out.T
        return best


def _liblinear(C: float, X: FloatArray, y: Array, rows: NDArray[np.bool_]) -> LogisticRegression:
    """Return scikit-learn's, fitted to those of some rows that count."""
    known = rows & (y >= 0)
    # Its random_state only matters to liblinear's dual solvers; fixed all the same.
    how: Any = {"solver": "liblinear", "class_weight": "balanced", "random_state": 0}
    return LogisticRegression(C=C, **how).fit(X[known], y[known])


RIDGE_ALPHAS = tuple(10.0**exponent for exponent in range(-1, 6))
N_NEIGHBOURS = 15


class _AtMost:
    """Nearest neighbours of which there may be fewer than were asked for: then all of them."""

    def kneighbors(
        self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True
    ) -> Any:
        wanted = self.n_neighbors if n_neighbors is None else n_neighbors  # type: ignore[attr-defined]
        check_is_fitted(self)
        there = self.n_samples_fit_ - (X is None)  # type: ignore[attr-defined]
        return super().kneighbors(X, min(wanted, there), return_distance)  # type: ignore[misc]


class NeighboursClassifier(_AtMost, KNeighborsClassifier):
    """scikit-learn's, with as many neighbours as there are training rows at most."""


class NeighboursRegressor(_AtMost, KNeighborsRegressor):
    """scikit-learn's, with as many neighbours as there are training rows at most."""


class _StopsEarly:
    """Early stopping where there are rows enough to hold some out, else none."""

    def fit(self, X: Any, y: Any) -> Any:
        asked = self.early_stopping  # type: ignore[has-type]
        held_out = int(np.ceil(self.validation_fraction * _num_samples(X)))  # type: ignore[attr-defined]
        classes = len(np.unique(np.asarray(y))) if is_classifier(self) else 0
        self.early_stopping = asked and held_out >= max(2, classes)
        try:
            return super().fit(X, y)  # type: ignore[misc]
        finally:
            self.early_stopping = asked


class PerceptronClassifier(_StopsEarly, MLPClassifier):
    """scikit-learn's, that can be trained on a few rows, too."""


class PerceptronRegressor(_StopsEarly, MLPRegressor):
    """scikit-learn's, that can be trained on a few rows, too."""


FAR = 3
"""How many times as far out as any training row another one is warned of."""


class Standardiser(StandardScaler):
    """scikit-learn's, with a floor under the scales, and a warning of rows beyond all of the fit.

    Attributes
    ----------
    scale_ : ndarray, (n_features,)
        The standard deviations, at least a tenth of their median; see `protocol.floored`.
    reach_ : float
        How far from the mean any row of the fit is in any feature, in these scales.
    """

    def fit(self, X: ArrayLike, y: Any = None, sample_weight: Any = None) -> Standardiser:
        """Find means and scales of rows, (n_clips, n_features)."""
        super().fit(X, y, sample_weight)
        deviation = np.sqrt(self.var_)
        is_constant = self.scale_ != deviation  # type: ignore[has-type]
        self.scale_ = floored(np.where(is_constant, 0.0, deviation))
        self.reach_ = float(np.abs(super().transform(X)).max())
        return self

    def transform(self, X: ArrayLike, copy: bool | None = None) -> Array:
        """Return rows, (n_clips, n_features), in these scales."""
        rows: Array = super().transform(X, copy)
        farthest = np.abs(rows).max(axis=1)
        if beyond := int((farthest > FAR * self.reach_).sum()):
            warnings.warn(
                f"{beyond} of {len(rows)} clips lie far beyond what the recogniser was trained on: "
                f"up to {farthest.max():,.0f} standard deviations from the mean of a dimension, in "
                f"training {self.reach_:,.0f} at most; what it says of them is extrapolated",
                stacklevel=2,
            )
        return rows


def _scaled(make: Callable[..., Any], *arguments: Any, **options: Any) -> Callable[[], Any]:
    return lambda: make_pipeline(Standardiser(), make(*arguments, **options))


_NEIGHBOURS = _scaled(NeighboursClassifier, N_NEIGHBOURS, weights="distance")
_PERCEPTRON = _scaled(PerceptronClassifier, hidden_layer_sizes=(128,), early_stopping=True)
_RIDGE = _scaled(RidgeClassifierCV, RIDGE_ALPHAS, class_weight="balanced")


# For each name what can be recognised, and how an unfitted estimator for it is made. The first name
# is the default.
RECOGNISERS: Mapping[str, Mapping[str, Callable[[], Any]]] = {
    "logistic": dict.fromkeys((LABEL, TAGS, CATEGORY), LogisticRecogniser),
    "logistic-liblinear": {LABEL: lambda: LogisticRecogniser(solver="liblinear")},
    "ridge": {
        LABEL: _RIDGE,
        TAGS: _scaled(RidgeClassifier, 1e3),
        CATEGORY: _RIDGE,
        NUMBER: _scaled(RidgeCV, RIDGE_ALPHAS),
    },
    "svm": {
        **dict.fromkeys((LABEL, CATEGORY), _scaled(SVC, class_weight="balanced")),
        NUMBER: _scaled(SVR),
    },
    "knn": {
        **dict.fromkeys((LABEL, TAGS, CATEGORY), _NEIGHBOURS),
        NUMBER: _scaled(NeighboursRegressor, N_NEIGHBOURS, weights="distance"),
    },
    "mlp": {
        **dict.fromkeys((LABEL, TAGS, CATEGORY), _PERCEPTRON),
        NUMBER: _scaled(PerceptronRegressor, hidden_layer_sizes=(128,), early_stopping=True),
    },
}


def recogniser_names(kind: str) -> list[str]:
    """Return the names of recognisers for a kind of target, the default first."""
    return [name for name, kinds in RECOGNISERS.items() if kind in kinds]


def make_recogniser(name: str, kind: str = LABEL, seed: int = 0) -> Any:
    """Return an unfitted recogniser.

    Parameters
    ----------
    name : str
        One of `recogniser_names` for this kind, `logistic` also with its option, as in
        ``logistic:intercept=free``; or a dotted path.
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
    known = recogniser_names(kind)
    plain, _, options = name.partition(":")
    if plain in known and (name == plain or "=" in options):
        estimator = RECOGNISERS[plain][kind]()
        may_be = getattr(estimator, "options", {})
        for option in options.split(",") if options else ():
            key, _, text = option.partition("=")
            if key not in may_be:
                raise ArgumentError(
                    f"recogniser {name!r}: {plain!r} has no option {key!r}; there are: "
                    f"{', '.join(may_be) or 'none'}"
                )
            estimator.set_params(**{key: may_be[key].parse(text, f"recogniser {name!r}: {key}")})
    elif "." in name or ":" in name:
        estimator = _imported(name, kind)
    else:
        raise ArgumentError(
            f"recogniser {name!r}: expected one of {', '.join(known)} for a target of the kind "
            f"{kind}, or the dotted path of a scikit-learn estimator, such as "
            f"sklearn.naive_bayes:GaussianNB.{did_you_mean(name, known)}"
        )
    unset = {
        key: seed
        for key, value in estimator.get_params().items()
        if key.split("__")[-1] == "random_state" and value is None
    }
    return estimator.set_params(**unset)


def _imported(path: str, kind: str) -> Any:
    """Return an estimator made by the class or function that a dotted path names."""
    told = f"recogniser {path!r}"
    try:
        # Without a colon pkgutil would take a module for what was named.
        make = pkgutil.resolve_name(path if ":" in path else ":".join(path.rsplit(".", 1)))
    except (ImportError, ValueError, AttributeError) as error:
        raise ArgumentError(f"{told}: cannot be imported ({error})") from error
    try:
        estimator = clone(make())
        suits = is_regressor(estimator) if kind == NUMBER else is_classifier(estimator)
    except Exception as error:
        raise ArgumentError(
            f"{told}: calling it without arguments gives no scikit-learn estimator "
            f"({type(error).__name__}: {error}); name a class whose parameters have defaults, or "
            "a function that returns an estimator"
        ) from error
    if not suits:
        needed = "regressor" if kind == NUMBER else "classifier"
        raise ArgumentError(f"{told}: not a {needed}, as is needed for the target's kind, {kind}")
    scored = hasattr(estimator, "decision_function") or hasattr(estimator, "predict_proba")
    if kind != NUMBER and not scored:
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
        values = np.asarray(recogniser.predict(X), dtype=np.float64).reshape(len(X))
        return values, np.full(len(X), np.nan)
    score: Any = None
    probability: Any = None
    if hasattr(recogniser, "decision_function"):
        score = np.asarray(recogniser.decision_function(X), dtype=np.float64)
    if isinstance(recogniser, LogisticRecogniser):
        # The same as predict_proba, without going through the rows again.
        probability = _columns(recogniser._probability(score), kind)
    elif hasattr(recogniser, "predict_proba"):
        probability = _columns(recogniser.predict_proba(X), kind)
    if score is None:
        score = probability if kind == CATEGORY else probability - 0.5
    elif kind == CATEGORY and score.ndim == 1:
        # Of two classes scikit-learn scores only the second.
        score = np.column_stack([-score, score])
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
