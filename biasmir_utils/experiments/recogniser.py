"""Binary recognisers, which tell whether a clip holds a label.

The paper's recogniser is a logistic regression whose C is chosen by cross-validation:
12 values from 1e-8 to 1e3 in decades, 3 stratified, unshuffled folds, ROC-AUC, the smallest of
the best values, and a last fit on all training rows.

References
----------
R.-E. Fan et al., "LIBLINEAR: a library for large linear classification", JMLR 9, 2008 (the
objective); Wang, Richard and McFee, ISMIR 2023 (the protocol).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.utils.validation import check_is_fitted, validate_data

from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.logistic import balanced_weights, solve_logistic
from biasmir_utils.experiments.metrics import column_roc_auc
from biasmir_utils.experiments.span import FloatArray, Span

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
