"""Corrections that move each domain by a map of its own, and so need the domain of each row."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from biasmir_utils.corrections.base import FloatArray, check_share
from biasmir_utils.corrections.labels import DomainWarning, domain_labels
from biasmir_utils.corrections.moments import Cell, Moments
from biasmir_utils.corrections.streaming import MomentCorrection
from biasmir_utils.errors import ArgumentError


class DomainMap(MomentCorrection):
    """Base of the corrections with one map for each domain.

    Rows whose domain was not seen in `fit`, or whose domain is not given (all of them together
    then), are treated as one unseen domain: ``unseen='training'`` maps them as if they had the
    statistics of all training rows together, one by one; ``unseen='own'`` takes the statistics
    of the rows that are transformed together, which uses unlabelled rows of the new domain.

    Warns
    -----
    DomainWarning
        In `transform` without `sample_domain`: rows of the domains that were seen would be moved
        wrongly, too, or not at all.
    """

    alpha: float
    unseen: str

    def _check_parameters(self) -> None:
        check_share(self.alpha, "alpha")
        if self.unseen not in ("training", "own"):
            raise ArgumentError(f"unseen must be 'training' or 'own', not {self.unseen!r}.")

    def _correct(self, X: FloatArray, sample_domain: Any) -> FloatArray:
        check_is_fitted(self, "domains_")
        if self._is_identity() or self.alpha == 0:
            return X.copy()
        if sample_domain is None:
            rule = {
                "training": "as if they had the statistics of all rows of the fit",
                "own": "by their own statistics, all together",
            }[self.unseen]
            warnings.warn(
                "transform without sample_domain: the rows are taken for those of one domain that "
                f"was not in the fit, and moved {rule} (unseen={self.unseen!r}). Give the domain "
                f"of each row; those of the fit are {', '.join(map(str, self.domains_))}.",
                DomainWarning,
                stacklevel=4,
            )
            return self._moved(X, None)
        labels = domain_labels(sample_domain, len(X))
        out = np.empty_like(X)
        unseen = np.zeros(len(X), dtype=bool)
        for code, domain in enumerate(labels.names):
            members = labels.codes == code
            if domain in self.domains_:
                out[members] = self._moved(X[members], self.domains_.index(domain))
            elif self.unseen == "own":
                out[members] = self._moved(X[members], None)
            else:
                unseen |= members
        if unseen.any():
            out[unseen] = self._moved(X[unseen], None)
        return out

    def _moved(self, X: FloatArray, position: int | None) -> FloatArray:
        if not len(X):
            return X.copy()
        if position is None and self.unseen == "own":
            moments = Moments(X.shape[1], self._scatter)
            moments.update(X, np.zeros(len(X), dtype=int))
            target = self._map_unseen(X, moments.of_domain(0))
        else:
            k = len(self.domains_) if position is None else position
            target = self._map_seen(X, k)
        if self.alpha == 1:
            return target
        return X + X.dtype.type(self.alpha) * (target - X)

    def _is_identity(self) -> bool:
        """Return whether the rows of the fit give no maps."""
        return len(self.domains_) < 2

    def _map_seen(self, X: FloatArray, k: int) -> FloatArray:
        """Return the rows after the full map of domain k, or of all training rows if last."""
        raise NotImplementedError

    def _map_unseen(self, X: FloatArray, cell: Cell) -> FloatArray:
        """Return the rows after the full map of a domain with the statistics of the rows."""
        raise NotImplementedError


class DomainCenter(DomainMap):
    r"""Give every domain the same mean, and with `scale` the same variance of each feature.

    A row x of domain d becomes ``x - mean_d + mean``, with `scale`
    ``(x - mean_d) s / s_d + mean``: the mean of all rows and s, the standard deviation within the
    domains, are the same for all, and the rows stay in their units (per-domain z-scores up to
    one common shift and scale). Without `scale` it is the least change that makes the domains'
    means equal when the domain is known.

    Needs the domain of each row in `fit` and in `transform`, no labels.

    Parameters
    ----------
    alpha : float, default 1.0
        Dose in [0, 1]: the share of the way that each row moves.
    scale : bool, default False
        Whether the standard deviations are made equal, too. A feature that is constant in a
        domain is only shifted.
    unseen : {'training', 'own'}, default 'training'
        Statistics for rows of an unseen domain, or without one: those of all training rows, or
        those of the rows that are transformed together.

    Attributes
    ----------
    means_ : ndarray, (n_domains + 1, n_features)
        Of each domain, then of all rows.
    deviations_ : ndarray, (n_domains + 1, n_features)
        Standard deviations of each domain, then of all rows.
    mean_ : ndarray, (n_features,)
        Of the target: the mean of all rows.
    deviation_ : ndarray, (n_features,)
        Of the target: the standard deviation within the domains.
    domains_ : list

    Notes
    -----
    For a row of domain z, with :math:`\bar x_z` its mean and :math:`\mu` that of all rows,

    .. math:: x' = x - \alpha\, (\bar x_z - \mu),

    and with `scale`, feature by feature, :math:`x' = x + \alpha\,(\mu + (x - \bar x_z)\, s / s_z
    - x)`.

    Information used: unlabelled rows of all domains, with their domain,
    and the domain of each row at transform time; with ``unseen='own'`` also the other rows of an
    unseen domain that are transformed together.

    Guarantee: with alpha 1 the domains have equal means on the rows of `fit`, with `scale` also
    equal variances of each feature that varies in them. So no affine predictor of the domain has
    a lower expected loss there than the best constant, for any convex loss. Differences of the
    means that are due to what the domains hold (their labels) are removed as well.

    References
    ----------
    N. Belrose et al., "LEACE: perfect linear concept erasure in closed form", NeurIPS 2023: the
    oracle form, for a concept that is known at transform time.
    """

    _scatter = "variance"

    def __init__(
        self, alpha: float = 1.0, *, scale: bool = False, unseen: str = "training"
    ) -> None:
        self.alpha = alpha
        self.scale = scale
        self.unseen = unseen

    def _solve(self, moments: Moments) -> None:
        cells = [moments.of_domain(domain) for domain in moments.domains]
        if not cells:
            cells = [Cell(1, np.zeros(moments.n_features), np.zeros(moments.n_features))]
        counts = np.array([cell.count for cell in cells], dtype=float)
        means = np.array([cell.mean for cell in cells])
        variances = np.array([_variance(cell) for cell in cells])
        weights = counts / counts.sum()
        self.mean_ = weights @ means
        within = weights @ variances
        total = within + weights @ (means - self.mean_) ** 2
        self.means_ = np.vstack([means, self.mean_])
        self.deviations_ = np.sqrt(np.vstack([variances, total]))
        self.deviation_ = np.sqrt(within)

    def _map_seen(self, X: FloatArray, k: int) -> FloatArray:
        return self._to_target(X, self.means_[k], self.deviations_[k])

    def _map_unseen(self, X: FloatArray, cell: Cell) -> FloatArray:
        return self._to_target(X, cell.mean, np.sqrt(_variance(cell)))

    def _to_target(self, X: FloatArray, mean: FloatArray, deviation: FloatArray) -> FloatArray:
        if not self.scale:
            return X + (self.mean_ - mean).astype(X.dtype)
        positive = deviation > 1e-12 * np.abs(mean)
        ratio = np.where(positive, self.deviation_ / np.where(positive, deviation, 1.0), 1.0)
        return ((X - mean) * ratio + self.mean_).astype(X.dtype)


def _variance(cell: Cell) -> FloatArray:
    assert cell.scatter is not None
    return cell.scatter / cell.count
