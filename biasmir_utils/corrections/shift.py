"""One translation for all rows: a control for what depends on where the origin lies."""

from __future__ import annotations

from typing import Any

import numpy as np

from biasmir_utils.corrections.base import FloatArray
from biasmir_utils.corrections.methods import SHARE, Method, parameter
from biasmir_utils.corrections.moments import MomentCorrection, Moments


@Method(
    "shift",
    "subtract the mean of all rows from every row (a control)",
    sets={"standard": ("shift",)},
    place=0.5,
)
class CommonShift(MomentCorrection):
    r"""Subtract one and the same vector, the mean of all rows, from every row.

    A control for corrections that move the rows: it does the same to both domains, so that every
    difference between them stays as it is. What a recogniser gains by it, it gains by where the
    origin lies: one with a penalised intercept, as the paper's, is not blind to that, and one with
    a free intercept is.

    Parameters
    ----------
    alpha : float, default 1.0
        Dose in [0, 1]; 0 is the identity.

    Attributes
    ----------
    mean_ : ndarray, (n_features,)
        What is subtracted: the mean of the rows of all domains, each row counting alike.
    domains_ : list
        The domains seen in `fit`, sorted.

    Notes
    -----
    With :math:`\mu` the mean of all rows,

    .. math:: x' = x - \alpha\, \mu.

    Information used: unlabelled rows of all domains, without their domain. Nothing at transform
    time.

    Guarantee: differences of rows are those of before, and so are all distances, the difference of
    the domains' means, and what any recogniser finds that does not depend on the origin.

    References
    ----------
    R.-E. Fan et al., "LIBLINEAR: a library for large linear classification", JMLR 9, 2008: the
    objective in which the intercept is penalised.
    """

    alpha: float = parameter(SHARE, default=1.0, kw_only=False)

    def _solve(self, moments: Moments) -> None:
        none = np.zeros(moments.n_features)
        self.mean_: FloatArray = moments.mean() if moments.cells else none

    def _correct(self, X: FloatArray, sample_domain: Any) -> FloatArray:
        moved: FloatArray = X - (self.alpha * self.mean_).astype(X.dtype)
        return moved
