"""A grouped correction that finds its groups itself."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import clone

from biasmir_utils.corrections.base import DomainTransformer, FloatArray, ThinMap
from biasmir_utils.corrections.groups import SharedClusters
from biasmir_utils.corrections.labels import DomainWarning, Labels
from biasmir_utils.corrections.lda import DomainLDA


class AutoGroups(DomainTransformer):
    r"""A grouped correction with the groups of `SharedClusters`: ``groups=auto``.

    `fit` finds groups that the domains share in the rows that it is given, and fits the
    correction with these; a `sample_group` is not needed, and is not used. `transform` does not
    need groups.

    Parameters
    ----------
    correction : DomainTransformer or None, default None
        One that has a grouped form; None is `DomainLDA`, the paper's `mlda`.
    clusters : SharedClusters or None, default None
        How groups are found; None is `SharedClusters()`.

    Attributes
    ----------
    clusters_ : SharedClusters
    correction_ : DomainTransformer
    domains_ : list

    Notes
    -----
    With c(x) the cluster that `SharedClusters` puts a row of `fit` into,

    .. math:: x' = f(x), \qquad f \text{ fitted to } (x_i, z_i, c(x_i)),

    where f is the correction, with the domains :math:`z_i` and the clusters as groups.

    Information used: unlabelled rows of all domains, with their domain.
    Nothing at transform time.

    Guarantee: that of the correction with groups, within the groups found. None on what these
    are: they may be groups of something else than a genre.

    References
    ----------
    C. Wang, G. Richard and B. McFee, "Transfer learning and bias correction with pre-trained
    audio embeddings", ISMIR 2023, for corrections by named groups. P. J. Rousseeuw, "Silhouettes:
    a graphical aid to the interpretation and validation of cluster analysis", Journal of
    Computational and Applied Mathematics 20, 1987, for the number of clusters.
    """

    def __init__(
        self, correction: DomainTransformer | None = None, clusters: SharedClusters | None = None
    ) -> None:
        self.correction = correction
        self.clusters = clusters

    def _learn(self, X: FloatArray, y: Any, domains: Labels | None, groups: Labels | None) -> None:
        self.correction_: DomainTransformer = clone(self.correction or DomainLDA())
        if domains is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DomainWarning)  # `fit` has warned already
                self.correction_.fit(X)
            return
        names = np.array(domains.names)[domains.codes]
        self.clusters_: SharedClusters = clone(self.clusters or SharedClusters())
        found = self.clusters_.fit(X, sample_domain=names).labels_
        self.correction_.fit(X, y, sample_domain=names, sample_group=found)

    def _correct(self, X: FloatArray, sample_domain: Any) -> FloatArray:
        corrected: FloatArray = self.correction_.transform(X, sample_domain=sample_domain)
        return corrected

    @property
    def thin_map(self) -> ThinMap:
        """The map of the fitted correction, at full dose."""
        return self.correction_.thin_map
