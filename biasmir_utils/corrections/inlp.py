"""Iterative null-space projection.

References
----------
S. Ravfogel et al., "Null it out: guarding protected attributes by iterative nullspace
projection", ACL 2020.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from biasmir_utils.corrections.base import (
    DomainTransformer,
    FloatArray,
    ThinCorrection,
    ThinMap,
    check_share,
    orthonormal_rows,
)
from biasmir_utils.corrections.labels import Labels
from biasmir_utils.errors import ArgumentError


class INLP(ThinCorrection, DomainTransformer):
    r"""Project out the weights of linear domain classifiers, one after the other.

    A logistic regression is trained to tell the domains apart, its weights are projected out,
    another one is trained on what remains, and so on: here for comparison, `LEACE` erases the
    same information in closed form with one direction.

    Needs rows of both domains, no labels and no domain at transform time. With fewer rows than
    features it takes out direction after direction, since some linear classifier always succeeds.

    Parameters
    ----------
    alpha : float, default 1.0
        Dose in [0, 1]; 0 is the identity, 1 the projection.
    n_classifiers : int, default 20
        How many at most.
    tol : float, default 0.05
        The iteration stops when the balanced accuracy on the rows of `fit` is at most
        1 / n_domains + tol.
    C : float, default 1.0
        Inverse strength of the classifiers' penalty, on rows scaled to a mean variance of 1.

    Attributes
    ----------
    directions_ : ndarray, (rank_, n_features)
        Orthonormal rows that span what is projected out.
    rank_ : int
    accuracies_ : list of float
        Balanced accuracy of each classifier on the rows that it was fitted on.
    domains_ : list

    Notes
    -----
    With :math:`q_1` the weights of the first classifier, and :math:`q_{k+1}` those of one that is
    trained on the rows after :math:`I - Q_k Q_k^\top`, where the columns of :math:`Q_k` are an
    orthonormal basis of :math:`q_1, \dots, q_k`,

    .. math:: x' = x - \alpha\, Q_k Q_k^\top x,

    with the last of the bases.

    Information used: unlabelled rows of all domains, with their domain.
    Nothing at transform time.

    Guarantee: with alpha 1, and if the iteration stopped before `n_classifiers`, that the last of
    these classifiers had a balanced accuracy of at most 1 / n_domains + tol on the rows of `fit`.
    None on other classifiers, on the means, which may stay apart, or on other rows.

    References
    ----------
    S. Ravfogel, Y. Elazar, H. Gonen, M. Twiton and Y. Goldberg, "Null it out: guarding protected
    attributes by iterative nullspace projection", ACL 2020.
    """

    def __init__(
        self, alpha: float = 1.0, *, n_classifiers: int = 20, tol: float = 0.05, C: float = 1.0
    ) -> None:
        self.alpha = alpha
        self.n_classifiers = n_classifiers
        self.tol = tol
        self.C = C

    def _check_parameters(self) -> None:
        check_share(self.alpha, "alpha")
        check_share(self.tol, "tol")
        if not isinstance(self.n_classifiers, int | np.integer) or self.n_classifiers < 1:
            raise ArgumentError(
                f"n_classifiers must be a positive integer, not {self.n_classifiers!r}."
            )
        if not isinstance(self.C, int | float | np.number) or not 0 < self.C < np.inf:
            raise ArgumentError(f"C must be a positive number, not {self.C!r}.")

    def _learn(self, X: FloatArray, y: Any, domains: Labels | None, groups: Labels | None) -> None:
        self.directions_: FloatArray = np.empty((0, X.shape[1]))
        self.accuracies_: list[float] = []
        if domains is not None:
            self._iterate(X - X.mean(axis=0), domains)
        self.rank_ = len(self.directions_)

    def _iterate(self, X: FloatArray, domains: Labels) -> None:
        # With fewer rows than features, work in coordinates of their span: an L2 penalty keeps
        # the weights there.
        basis: FloatArray | None = None
        if len(X) < X.shape[1]:
            basis = np.linalg.qr(X.T)[0].T
            X = X @ basis.T
        deviation = np.sqrt((X**2).sum() / (len(X) * self.n_features_in_))
        left = X / (deviation or 1.0)
        weights: list[FloatArray] = []
        for _ in range(self.n_classifiers):
            classifier = LogisticRegression(C=self.C, class_weight="balanced", max_iter=2000)
            classifier.fit(left, domains.codes)
            accuracy = balanced_accuracy_score(domains.codes, classifier.predict(left))
            self.accuracies_.append(float(accuracy))
            if accuracy <= 1 / len(domains.names) + self.tol:
                break
            weights.extend(np.asarray(classifier.coef_, dtype=np.float64))
            removed, _ = orthonormal_rows(np.array(weights), 1e-8)
            left = ThinMap(removed, removed)(left)
        if weights:
            rows = np.array(weights)
            self.directions_, _ = orthonormal_rows(rows if basis is None else rows @ basis, 1e-8)
