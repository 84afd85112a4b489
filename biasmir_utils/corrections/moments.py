"""Running counts, means and scatter of domains and groups: all that most corrections need.

A *cell* is a domain, or a domain within a group. Moments of chunks of rows are merged by the
formulas of Chan, Golub and LeVeque, so that they do not lose digits however large the means
are, and chunks may come in any order, from one process or from many:

>>> import numpy as np
>>> X = np.random.default_rng(0).normal(size=(100, 3))
>>> domain = np.repeat(["a", "b"], 50)
>>> whole = Moments(3, "pooled").update(X, domain)
>>> parts = Moments(3, "pooled").update(X[:30], domain[:30])
>>> parts = parts + Moments(3, "pooled").update(X[30:], domain[30:])
>>> bool(np.allclose(whole.total_covariance(), parts.total_covariance()))
True
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from biasmir_utils.corrections.base import FloatArray
from biasmir_utils.corrections.labels import Labels, domain_labels, group_labels
from biasmir_utils.errors import ArgumentError

SCATTERS = ("none", "variance", "pooled", "domain")


@dataclass
class Cell:
    """Rows of one domain (in one group).

    Attributes
    ----------
    count : int
    mean : ndarray, (n_features,)
    scatter : ndarray, (n_features,) or (n_features, n_features), or None
        Sum of squared deviations from the mean (scatter 'variance'), or of their outer products
        (scatter 'domain').
    """

    count: int
    mean: FloatArray
    scatter: FloatArray | None = None


class Moments:
    """Counts, means and scatter of the cells of a stream of rows.

    Parameters
    ----------
    n_features : int
    scatter : {'none', 'variance', 'pooled', 'domain'}
        What is kept of second moments: nothing; the variance of each feature in each cell; one
        scatter matrix within the cells, summed over them; one scatter matrix for each cell.

    Attributes
    ----------
    cells : dict of (domain, group) to Cell
        `group` is None without groups, and for a missing group.
    within : ndarray, (n_features, n_features)
        The summed scatter within the cells; empty unless scatter is 'pooled'.
    grouped : bool
        Whether the rows came with groups.
    largest : ndarray, (n_features,)
        Largest absolute value of each feature, which tells what is rounding.
    """

    def __init__(self, n_features: int, scatter: str = "none") -> None:
        if scatter not in SCATTERS:
            raise ArgumentError(f"scatter must be one of {', '.join(SCATTERS)}, not {scatter!r}.")
        self.n_features = n_features
        self.scatter = scatter
        self.cells: dict[tuple[Any, Any], Cell] = {}
        size = n_features if scatter == "pooled" else 0
        self.within = np.zeros((size, size))
        self.largest = np.zeros(n_features)
        self.grouped = False

    def update(self, X: Any, sample_domain: Any, sample_group: Any = None) -> Moments:
        """Add rows and return self.

        Parameters
        ----------
        X : array-like, (n_samples, n_features)
        sample_domain : array-like, (n_samples,)
        sample_group : array-like, (n_samples,), or None
        """
        X = np.asarray(X)
        if X.ndim != 2 or X.shape[1] != self.n_features:
            raise ArgumentError(f"X must have {self.n_features} features, its shape is {X.shape}.")
        groups = None if sample_group is None else group_labels(sample_group, len(X))
        return self.add(X, domain_labels(sample_domain, len(X)), groups)

    def add(self, X: FloatArray, domains: Labels, groups: Labels | None = None) -> Moments:
        """Add rows whose labels are checked already, and return self."""
        if self.cells and self.grouped != (groups is not None):
            raise ArgumentError(
                "sample_group must be given for all chunks of rows, or for none of them."
            )
        self.grouped = groups is not None
        for d, domain in enumerate(domains.names):
            for g, group in enumerate([None] if groups is None else groups.names):
                members = domains.codes == d
                if groups is not None:
                    members &= groups.codes == g
                if members.any():
                    part = X if members.all() else X[members]
                    self._add((domain, group), *self._of(part))
        if len(X):
            np.maximum(self.largest, np.abs(X).max(axis=0), out=self.largest)
        return self

    def _of(self, X: FloatArray) -> tuple[Cell, FloatArray | None]:
        """Return the cell of some rows, and their scatter where that is pooled."""
        X = X.astype(np.float64)
        mean = X.mean(axis=0)
        X -= mean
        if self.scatter == "variance":
            return Cell(len(X), mean, np.einsum("ij,ij->j", X, X)), None
        if self.scatter == "domain":
            return Cell(len(X), mean, X.T @ X), None
        return Cell(len(X), mean), X.T @ X if self.scatter == "pooled" else None

    def _add(self, key: tuple[Any, Any], cell: Cell, within: FloatArray | None = None) -> None:
        old = self.cells.get(key)
        if within is not None:
            self.within += within
        if old is None:
            self.cells[key] = cell
            return
        count = old.count + cell.count
        step = cell.mean - old.mean
        weight = old.count * cell.count / count
        if self.within.size:
            self.within += weight * np.outer(step, step)
        scatter = None
        if old.scatter is not None and cell.scatter is not None:
            between = np.outer(step, step) if old.scatter.ndim == 2 else step**2
            scatter = old.scatter + cell.scatter + weight * between
        self.cells[key] = Cell(count, old.mean + step * (cell.count / count), scatter)

    def __add__(self, other: Moments) -> Moments:
        """Return the moments of the rows of both, leaving both as they are."""
        if (self.n_features, self.scatter) != (other.n_features, other.scatter):
            raise ArgumentError(
                f"moments of {self.n_features} features with scatter {self.scatter!r} cannot be "
                f"added to {other.n_features} features with scatter {other.scatter!r}."
            )
        if self.cells and other.cells and self.grouped != other.grouped:
            raise ArgumentError("moments with groups cannot be added to moments without.")
        total = Moments(self.n_features, self.scatter)
        total.grouped = self.grouped or other.grouped
        for part in (self, other):
            total.within += part.within
            np.maximum(total.largest, part.largest, out=total.largest)
            for key, cell in part.cells.items():
                total._add(key, cell)
        return total

    @property
    def domains(self) -> list[Any]:
        """The domains, sorted."""
        return sorted({domain for domain, _ in self.cells}, key=_order)

    @property
    def groups(self) -> list[Any]:
        """The groups, sorted, None last."""
        return sorted({group for _, group in self.cells}, key=_order)

    @property
    def count(self) -> int:
        """Number of rows."""
        return sum(cell.count for cell in self.cells.values())

    def mean(self) -> FloatArray:
        """Return the mean of all rows, (n_features,)."""
        total = sum(cell.count * cell.mean for cell in self.cells.values())
        return np.asarray(total / self.count)

    def of_domain(self, domain: Any) -> Cell:
        """Return one domain's cell, its groups merged."""
        merged = Moments(self.n_features, "none" if self.scatter == "pooled" else self.scatter)
        for (name, _), cell in self.cells.items():
            if name == domain:
                merged._add((domain, None), cell)
        return merged.cells[domain, None]

    def total_covariance(self) -> FloatArray:
        """Return the covariance of all rows around their mean, (n_features, n_features)."""
        means, counts = self._stacked()
        means -= self.mean()
        return (self._within() + (means * counts[:, np.newaxis]).T @ means) / self.count

    def within_covariance(self) -> FloatArray:
        """Return the covariance within the domains, weighted by their rows."""
        total = self._within()
        for domain in self.domains:
            cells = [cell for (name, _), cell in self.cells.items() if name == domain]
            center = self.of_domain(domain).mean
            for cell in cells:
                total += cell.count * np.outer(cell.mean - center, cell.mean - center)
        return total / self.count

    def _within(self) -> FloatArray:
        if self.scatter == "pooled":
            return self.within.copy()
        scatters = [c.scatter for c in self.cells.values() if c.scatter is not None]
        if self.scatter != "domain":
            raise ArgumentError(f"moments with scatter {self.scatter!r} have no covariance.")
        return np.sum(scatters, axis=0)

    def _stacked(self) -> tuple[FloatArray, FloatArray]:
        cells: Sequence[Cell] = list(self.cells.values())
        return np.array([c.mean for c in cells]), np.array([c.count for c in cells], dtype=float)


def _order(label: Any) -> tuple[bool, Any]:
    return (label is None, 0 if label is None else label)
