"""Corrections that make the covariances of the domains equal, too: CORAL and Gaussian transport.

References
----------
B. Sun, J. Feng and K. Saenko, "Return of frustratingly easy domain adaptation", AAAI 2016.
R. Flamary, K. Lounici and A. Ferrari, "Concentration bounds for linear Monge mapping estimation
and optimal transport domain adaptation", 2019. P. C. Alvarez-Esteban et al., "A fixed-point
approach to barycenters in Wasserstein space", Journal of Mathematical Analysis and Applications
441, 2016.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from biasmir_utils.corrections.base import FloatArray, check_share
from biasmir_utils.corrections.covariance import SingularCovarianceError, oas_shrinkage
from biasmir_utils.corrections.domain_maps import DomainMap
from biasmir_utils.corrections.labels import Labels
from biasmir_utils.corrections.moments import Cell, Moments
from biasmir_utils.corrections.spanmatrix import (
    SpanMatrix,
    common_basis,
    inverse_root,
    root,
)
from biasmir_utils.errors import ArgumentError

_EPS = float(np.finfo(np.float64).eps)


class CovarianceMap(DomainMap):
    """Base of the maps from one covariance to another.

    Attributes
    ----------
    means_ : ndarray, (n_domains + 1, n_features)
        Of each domain, then of all rows.
    mean_ : ndarray, (n_features,)
        Of the target.
    covariances_ : list of SpanMatrix
        The shrunk covariance of each domain, then of all rows.
    covariance_ : SpanMatrix
        Of the target.
    maps_ : list of SpanMatrix
        For each of `covariances_`, the transposed map to the target.
    domains_ : list
    """

    _scatter = "domain"
    _default_target = ""

    shrinkage: Any
    to: Any

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.shrinkage != "auto":
            check_share(self.shrinkage, "shrinkage")

    def _learn(self, X: FloatArray, y: Any, domains: Labels | None, groups: Labels | None) -> None:
        if domains is None or len(X) >= X.shape[1]:
            super()._learn(X, y, domains, None)
            return
        # Fewer rows than features: work in the span of the rows around their mean, which holds
        # every domain's rows around theirs.
        self._moments = None
        mean = X.mean(axis=0)
        basis, Z = _span_coordinates(X - mean)
        parts = [Z[domains.codes == code] for code in range(len(domains.names))]
        means = np.array([part.mean(axis=0) for part in parts])
        scatters = [(part - m).T @ (part - m) for part, m in zip(parts, means, strict=True)]
        covariances = [
            self._covariance(scatter / len(part), len(part), f"domain {name!r}", basis)
            for scatter, part, name in zip(scatters, parts, domains.names, strict=True)
        ]
        for inner in (Z.T @ Z / len(Z), np.sum(scatters, axis=0) / len(Z)):
            covariances.append(self._covariance(inner, len(Z), "the rows", basis))
        self._set(means @ basis + mean, mean, covariances)

    def _solve(self, moments: Moments) -> None:
        names = moments.domains
        if len(names) < 2:
            return
        cells = [moments.of_domain(name) for name in names]
        covariances = [
            self._cell_covariance(cell, f"domain {name!r}")
            for cell, name in zip(cells, names, strict=True)
        ]
        for matrix in (moments.total_covariance(), moments.within_covariance()):
            covariances.append(self._covariance(matrix, moments.count, "the rows"))
        self._set(np.array([cell.mean for cell in cells]), moments.mean(), covariances)

    def _cell_covariance(self, cell: Cell, what: str) -> SpanMatrix:
        assert cell.scatter is not None
        return self._covariance(cell.scatter / cell.count, cell.count, what)

    def _covariance(
        self, inner: FloatArray, n_samples: int, what: str, basis: FloatArray | None = None
    ) -> SpanMatrix:
        """Return the shrunk form of a sample covariance, given on a basis that it stays in."""
        n_features = self.n_features_in_
        trace = float(np.trace(inner))
        share = self.shrinkage
        if share == "auto":
            share = oas_shrinkage(float(np.vdot(inner, inner)), trace, n_features, n_samples)
        level = share * trace / n_features
        inner = (1.0 - share) * inner
        inner.flat[:: len(inner) + 1] += level
        values = np.linalg.eigvalsh(inner)
        smallest = values[0] if basis is None else min(values[0], level)
        if not smallest > len(values) * _EPS * max(values[-1], 0.0):
            raise SingularCovarianceError(
                f"the shrunk covariance of {what} is singular: it has one row, or too few "
                "different ones, or a constant feature without shrinkage. Give more rows, drop "
                "constant features, or set shrinkage to a number above 0."
            )
        return SpanMatrix(inner, level, basis)

    def _set(self, means: FloatArray, mean: FloatArray, covariances: list[SpanMatrix]) -> None:
        """Keep what is known and find the maps; the last two covariances are total and within."""
        self.means_ = np.vstack([means, mean])
        *self.covariances_, within = covariances
        self.mean_, self.covariance_ = self._target(within)
        self.maps_ = [self._map(covariance, self.covariance_) for covariance in self.covariances_]

    def _target(self, within: SpanMatrix) -> tuple[FloatArray, SpanMatrix]:
        if self.to == self._default_target:
            return self._default(within)
        for k, domain in enumerate(self.domains_):
            if domain == self.to or str(domain) == str(self.to):
                return self.means_[k], self.covariances_[k]
        raise ArgumentError(
            f"to must be {self._default_target!r} or one of the domains "
            f"{', '.join(repr(d) for d in self.domains_)}, not {self.to!r}."
        )

    def _map_seen(self, X: FloatArray, k: int) -> FloatArray:
        return (self.maps_[k].rows_times(X - self.means_[k]) + self.mean_).astype(X.dtype)

    def _map_unseen(self, X: FloatArray, cell: Cell) -> FloatArray:
        if len(X) < X.shape[1]:
            basis, Z = _span_coordinates((X - cell.mean).astype(np.float64))
            own = self._covariance(Z.T @ Z / len(Z), len(Z), "the unseen domain", basis)
        else:
            own = self._cell_covariance(cell, "the unseen domain")
        source, target = common_basis([own, self.covariance_])
        moved = self._map(source, target).rows_times(X - cell.mean) + self.mean_
        return moved.astype(X.dtype)

    def _default(self, within: SpanMatrix) -> tuple[FloatArray, SpanMatrix]:
        raise NotImplementedError

    def _map(self, source: SpanMatrix, target: SpanMatrix) -> SpanMatrix:
        """Return the transposed linear map between two covariances on the same basis."""
        raise NotImplementedError


class CORAL(CovarianceMap):
    """Correlation alignment: give every domain the same mean and covariance.

    A row x of domain d becomes ``C^(1/2) C_d^(-1/2) (x - mean_d) + mean``: it is centred,
    whitened with its domain's covariance, and coloured and shifted like the target.

    Needs the domain of each row in `fit` and in `transform`, no labels. Guarantees, without
    shrinkage, equal means and covariances on the rows of `fit`; with it, as far as the shrunk
    covariances are right. Differences in what the domains hold are removed as well.

    Parameters
    ----------
    alpha : float, default 1.0
        Dose in [0, 1]: the share of the way that each row moves.
    to : 'pooled' or name of a domain, default 'pooled'
        The target: the mean of all rows and the covariance within the domains, or those of one
        domain, whose rows then stay where they are.
    shrinkage : 'auto' or float in [0, 1], default 'auto'
        Share of each covariance that is replaced by its mean variance on the diagonal: by the
        oracle approximating formula, or fixed.
    unseen : {'training', 'own'}, default 'training'
        Statistics for rows of an unseen domain, or without one: those of all training rows, or
        those of the rows that are transformed together.

    Attributes
    ----------
    means_, mean_, covariances_, covariance_, maps_, domains_
        See `CovarianceMap`.

    Raises
    ------
    SingularCovarianceError
        If the covariance of a domain is singular: one row, or too few without shrinkage.
    """

    _default_target = "pooled"

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        to: Any = "pooled",
        shrinkage: Any = "auto",
        unseen: str = "training",
    ) -> None:
        self.alpha = alpha
        self.to = to
        self.shrinkage = shrinkage
        self.unseen = unseen

    def _default(self, within: SpanMatrix) -> tuple[FloatArray, SpanMatrix]:
        return self.means_[-1], within

    def _map(self, source: SpanMatrix, target: SpanMatrix) -> SpanMatrix:
        outer = np.sqrt(target.outer / source.outer) if source.basis is not None else 0.0
        inner = inverse_root(source.inner) @ root(target.inner)
        return SpanMatrix(inner, float(outer), source.basis)


class GaussianOT(CovarianceMap):
    """Optimal transport of every domain, taken as Gaussian, to one target.

    A row x of domain d becomes ``T (x - mean_d) + mean`` with
    ``T = C_d^(-1/2) (C_d^(1/2) C C_d^(1/2))^(1/2) C_d^(-1/2)``: of all maps that give the domain
    the target's mean and covariance, the one that moves the rows least.

    Needs the domain of each row in `fit` and in `transform`, no labels. Guarantees what `CORAL`
    does. The cost is that of a few eigenproblems of min(n, D) dimensions for each domain, with
    more than two domains for each step of the barycentre.

    Parameters
    ----------
    alpha : float, default 1.0
        Dose in [0, 1]: the share of the way that each row moves.
    to : 'barycenter' or name of a domain, default 'barycenter'
        The target: the Gaussian with the least mean squared Wasserstein distance to the
        domains, each counted alike; or one domain, whose rows then stay where they are.
    shrinkage : 'auto' or float in [0, 1], default 'auto'
        As in `CORAL`.
    unseen : {'training', 'own'}, default 'training'
        As in `CORAL`.

    Attributes
    ----------
    means_, mean_, covariances_, covariance_, maps_, domains_
        See `CovarianceMap`.

    Raises
    ------
    SingularCovarianceError
        If the covariance of a domain is singular: one row, or too few without shrinkage.
    """

    _default_target = "barycenter"

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        to: Any = "barycenter",
        shrinkage: Any = "auto",
        unseen: str = "training",
    ) -> None:
        self.alpha = alpha
        self.to = to
        self.shrinkage = shrinkage
        self.unseen = unseen

    def _default(self, within: SpanMatrix) -> tuple[FloatArray, SpanMatrix]:
        domains = self.covariances_[:-1]
        inner = barycenter([covariance.inner for covariance in domains])
        outer = np.mean([np.sqrt(covariance.outer) for covariance in domains]) ** 2
        return self.means_[:-1].mean(axis=0), SpanMatrix(inner, float(outer), domains[0].basis)

    def _map(self, source: SpanMatrix, target: SpanMatrix) -> SpanMatrix:
        outer = np.sqrt(target.outer / source.outer) if source.basis is not None else 0.0
        return SpanMatrix(monge_map(source.inner, target.inner), float(outer), source.basis)


def monge_map(source: FloatArray, target: FloatArray) -> FloatArray:
    """Return the optimal linear map between centred Gaussians, a symmetric matrix."""
    half, inverse_half = root(source), inverse_root(source)
    return inverse_half @ root(half @ target @ half) @ inverse_half


def barycenter(
    covariances: list[FloatArray], tol: float = 1e-10, max_steps: int = 200
) -> FloatArray:
    """Return the Wasserstein barycentre of centred Gaussians, each counted alike.

    For two it is known in closed form; for more, the fixed-point iteration of Alvarez-Esteban
    et al. is run until the relative change is below `tol`.
    """
    if len(covariances) == 2:
        middle = (np.eye(len(covariances[0])) + monge_map(*covariances)) / 2
        return middle @ covariances[0] @ middle
    current = np.mean(covariances, axis=0)
    for _ in range(max_steps):
        half, inverse_half = root(current), inverse_root(current)
        mean_root = np.mean([root(half @ c @ half) for c in covariances], axis=0)
        new = inverse_half @ mean_root @ mean_root @ inverse_half
        change = np.linalg.norm(new - current) / np.linalg.norm(new)
        current = (new + new.T) / 2
        if change < tol:
            break
    return current


def _span_coordinates(rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return an orthonormal basis that spans fewer rows than features, and their coordinates."""
    basis, triangle = np.linalg.qr(rows.T)
    return np.ascontiguousarray(basis.T), triangle.T
