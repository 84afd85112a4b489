"""One logistic model with several outputs: tags that do not exclude each other, or classes.

The outputs share the features, the folds and one C, chosen by their mean ROC-AUC: that is what
makes them one model. In all else each is the paper's recogniser, so that a comparison with one
recogniser a label shows what sharing costs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.utils.validation import check_is_fitted, validate_data

from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.logistic import balanced_weights, solve_logistic
from biasmir_utils.experiments.metrics import column_roc_auc
from biasmir_utils.experiments.recogniser import PAPER_C
from biasmir_utils.experiments.span import FloatArray, Span


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
