"""Groups that domains share, found without labels: stand-ins for genres.

The grouped corrections compare domains within subsets that hold the same kind of music in each
(genres, in the paper). Where nobody has labelled them, `discover_groups` looks for such subsets
in the embedding itself, `AutoGroups` corrects with them, and `group_agreement` tells how well they
agree with those that somebody has named.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import t
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, silhouette_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections import base
from biasmir_utils.corrections.base import SEED, FloatArray, Labels, Option, parameter
from biasmir_utils.corrections.projections import DomainLDA, MeanProjection
from biasmir_utils.errors import ArgumentError

IntArray = npt.NDArray[np.intp]
SILHOUETTE_ROWS = 1000
REFERENCE_ROWS = 400
REFERENCES = 10
ALIGNMENTS = 20


def discover_groups(X: Any, sample_domain: Any, **options: Any) -> IntArray:
    """Return a group for each row, such that all domains have rows in each group.

    Parameters
    ----------
    X : array-like, (n_samples, n_features)
        Rows of all domains together.
    sample_domain : array-like, (n_samples,)
        Domain of each row.
    **options : object
        Parameters of `SharedClusters`, such as ``n_groups`` and ``random_state``.

    Returns
    -------
    ndarray of int, (n_samples,)
        Groups from 0, the largest first; ready to be `sample_group` of a correction.

    Warns
    -----
    DomainWarning
        If the domains share no two clusters, or none that one Gaussian would not show: all rows are
        one group then.

    Examples
    --------
    >>> import numpy as np
    >>> from biasmir_utils.corrections import LEACE, discover_groups
    >>> rng = np.random.default_rng(0)
    >>> genre, domain = rng.integers(0, 3, 300), rng.integers(0, 2, 300)
    >>> X = rng.normal(size=(300, 4)) + 9 * np.eye(3, 4)[genre] + 9 * domain[:, None]
    >>> group = discover_groups(X, domain)
    >>> len(np.unique(group)), len(np.unique(group * 3 + genre))
    (3, 3)
    >>> LEACE().fit(X, sample_domain=domain, sample_group=group).rank_
    3
    """
    return SharedClusters(**options).fit(X, sample_domain=sample_domain).labels_


class SharedClusters(base.Storable):
    """Clusters of an embedding in which every domain has its part.

    1. The mean of its domain is taken from each row, and every feature is divided by its standard
       deviation within the domains. What tells the domains apart in the mean is gone then, and
       cannot make the clusters.
    2. The rows are reduced to their first `n_components` principal components.
    3. k-means finds k clusters. Domains that hold them in unequal shares have their means at
       unequal places among them, so the step between the domains is then taken from rows of the
       same cluster (least squares of a centre for each cluster and a step for each domain), the
       rows are moved by it, and put to the nearest centre again, until nothing changes.
    4. The floor: in each cluster every domain has at least `min_rows` rows, and at least the
       share `min_share` when the domains are counted as if they were of one size. While some
       cluster breaks the floor, the most one-sided one is given up, and its rows go to the
       nearest of the others.
    5. The rule for the number: of k = 2, ..., `max_groups`, the one with the largest mean
       silhouette after step 4 (of 1,000 rows, drawn once); of equal ones the smallest. If no two
       clusters are left for any k, there is one group.
    6. The test of one group, with this rule only: the same search, for 2 clusters and the number
       chosen, in 10 samples of 400 rows of one Gaussian with the variances of the components.
       There is one group unless the silhouette is above their mean by 2.37 standard deviations,
       the 97.5 % prediction limit. Rows of one group that are far from a Gaussian can pass for
       several.

    Parameters
    ----------
    n_groups : 'auto' or int, default 'auto'
        k of step 3: by the rule, or fixed (step 4 may still leave fewer).
    max_groups : int, default 8
        Largest k that the rule tries.
    min_share : float, default 0.1
        Smallest share of a domain in a cluster, in [0, 0.5].
    min_rows : int, default 10
        Smallest number of rows of a domain in a cluster.
    n_components : int, default 16
        Principal components that distances are measured in.
    random_state : int, RandomState or None, default 0
        Seed of the centres that k-means starts from and of the rows of step 5.

    Attributes
    ----------
    labels_ : ndarray of int, (n_samples,)
        Group of each row of `fit`, the largest group first.
    n_groups_ : int
        Number of groups found.
    counts_ : ndarray of int, (n_groups_, n_domains)
        Rows of each domain in each group.
    silhouettes_ : ndarray, (n_tried,)
        Mean silhouette for each k that was tried, NaN where fewer than two clusters were left.
    tried_ : list of int
        These k.
    reference_ : ndarray, (10,) or (0,)
        The largest silhouettes of the samples of one Gaussian.
    domains_ : list
        The domains seen in `fit`, sorted.
    """

    n_groups: int | str = parameter(
        Option(("auto",), low=1, whole=True), default="auto", kw_only=False
    )
    max_groups: int = parameter(Option(low=2, whole=True), default=8)
    min_share: float = parameter(Option(low=0.0, high=0.5), default=0.1)
    min_rows: int = parameter(Option(low=0, whole=True), default=10)
    n_components: int = parameter(Option(low=1, whole=True), default=16)
    random_state: Any = parameter(SEED, default=0)

    def fit(self, X: Any, y: Any = None, *, sample_domain: Any = None) -> SharedClusters:
        """Find the groups.

        Parameters
        ----------
        X : array-like, (n_samples, n_features)
            Rows of embeddings, or of features made of them.
        y : None
            Ignored.
        sample_domain : array-like, (n_samples,), or None
            Domain (dataset) of each row; None is one domain for all.

        Returns
        -------
        self
        """
        X = validate_data(self, X, dtype=base.FLOAT_DTYPES)
        self._check_parameters()
        domains = base.domain_labels(
            np.zeros(len(X), dtype=int) if sample_domain is None else sample_domain, len(X)
        )
        self.domains_ = domains.names
        rng = check_random_state(self.random_state)
        points = self._reduced(X.astype(np.float64), domains, rng)
        if self.n_groups == "auto":
            self.tried_ = list(range(2, min(self.max_groups, len(X) - 1) + 1))
        else:
            self.tried_ = [min(int(self.n_groups), len(X))] if int(self.n_groups) > 1 else []
        sample = np.sort(rng.permutation(len(X))[:SILHOUETTE_ROWS])
        seeds = rng.randint(0, 2**31 - 1, size=len(self.tried_))
        self.silhouettes_ = np.full(len(self.tried_), np.nan)
        best, labels = -np.inf, np.zeros(len(X), dtype=np.intp)
        for i, (k, seed) in enumerate(zip(self.tried_, seeds, strict=True)):
            moved, found = _aligned_clusters(points, domains, k, int(seed))
            nearest = _nearest(moved, self._keep_shared(moved, found, domains))
            self.silhouettes_[i] = _silhouette(moved[sample], nearest[sample])
            if self.silhouettes_[i] > best + 1e-12:
                best, labels = self.silhouettes_[i], nearest
        limit = -np.inf
        self.reference_: FloatArray = np.empty(0)
        if self.n_groups == "auto" and np.isfinite(best):
            chosen = self.tried_[int(np.nanargmax(self.silhouettes_))]
            self.reference_ = _reference(points, domains, {2, chosen}, rng)
            spread = self.reference_.std(ddof=1) * np.sqrt(1 + 1 / REFERENCES)
            limit = self.reference_.mean() + t.ppf(0.975, REFERENCES - 1) * spread
        if not best > limit:
            labels = np.zeros(len(X), dtype=np.intp)
            base.warn(
                "the domains share no two clusters of "
                f"{self.min_rows} rows and a share of {self.min_share} of each domain"
                f"{' that one Gaussian would not show, too' if np.isfinite(best) else ''}: "
                "all rows are one group."
            )
        order = np.argsort(-np.bincount(labels), kind="stable")
        self.labels_: IntArray = np.argsort(order)[labels]
        self.n_groups_ = len(order)
        self.counts_ = base.cell_counts(self.labels_, len(order), domains)
        return self

    def _reduced(self, X: FloatArray, domains: Labels, rng: np.random.RandomState) -> FloatArray:
        """Return the rows without their domains' means, standardised, in few dimensions."""
        constant_below = base.rounding(base.largest_values(X))
        for code in range(len(domains.names)):
            members = domains.codes == code
            X[members] -= X[members].mean(axis=0)
        deviation = X.std(axis=0)
        constant = deviation <= constant_below
        X /= np.where(constant, 1.0, deviation)
        X[:, constant] = 0.0
        pca = PCA(min(self.n_components, *X.shape), random_state=rng.randint(2**31 - 1))
        return np.asarray(X @ pca.fit(X).components_.T)

    def _keep_shared(self, points: FloatArray, centers: FloatArray, domains: Labels) -> FloatArray:
        """Return the centres that are left when every cluster keeps the floor."""
        sizes = np.bincount(domains.codes, minlength=len(domains.names))
        while len(centers) > 1:
            counts = base.cell_counts(_nearest(points, centers), len(centers), domains)
            even = counts / sizes
            share = (even / np.maximum(even.sum(axis=1, keepdims=True), 1e-300)).min(axis=1)
            broken = (share < self.min_share) | (counts.min(axis=1) < self.min_rows)
            if not broken.any():
                break
            worst = np.lexsort((counts.min(axis=1), np.where(broken, share, np.inf)))[0]
            centers = np.delete(centers, worst, axis=0)
        return centers


def _aligned_clusters(
    points: FloatArray, domains: Labels, k: int, seed: int, n_init: int = 4
) -> tuple[FloatArray, FloatArray]:
    """Return rows moved by the steps between the domains within k clusters, and the centres."""
    model = KMeans(k, n_init=n_init, random_state=seed).fit(points)
    labels, centers, moved = model.labels_, model.cluster_centers_, points
    of_domain = np.eye(len(domains.names))[domains.codes]
    for _ in range(ALIGNMENTS):
        design = np.hstack([np.eye(k)[labels], of_domain])
        solution = np.linalg.pinv(design.T @ design) @ (design.T @ points)
        centers, moved = solution[:k], points - of_domain @ solution[k:]
        before, labels = labels, _nearest(moved, centers)
        if (labels == before).all():
            break
    return moved, centers


def _reference(
    points: FloatArray, domains: Labels, tried: set[int], rng: np.random.RandomState
) -> FloatArray:
    """Return the largest silhouettes of samples of one Gaussian with the rows' variances."""
    rows = np.sort(rng.permutation(len(points))[:REFERENCE_ROWS])
    own, found = domains[rows], np.empty((REFERENCES, len(tried)))
    for one in found:
        sample = rng.normal(size=(len(rows), points.shape[1])) * points.std(axis=0)
        for i, k in enumerate(tried):
            moved, centers = _aligned_clusters(sample, own, k, i, n_init=1)
            one[i] = _silhouette(moved, _nearest(moved, centers))
    return np.asarray(np.nanmax(found, axis=1))


def _silhouette(points: FloatArray, labels: IntArray) -> float:
    """Return the mean silhouette, NaN of a single cluster."""
    several = 1 < len(np.unique(labels)) < len(points)
    return float(silhouette_score(points, labels)) if several else np.nan


def _nearest(points: FloatArray, centers: FloatArray) -> IntArray:
    distances = (centers**2).sum(axis=1) - 2 * points @ centers.T
    return np.asarray(distances.argmin(axis=1), dtype=np.intp)


class AutoGroups(base.DomainTransformer):
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
        Fitted to the rows of `fit`; their groups are its `labels_`.
    correction_ : DomainTransformer
        Fitted with the groups found.
    domains_ : list
        The domains seen in `fit`, sorted.

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

    correction: base.DomainTransformer | None = parameter(None, default=None, kw_only=False)
    clusters: SharedClusters | None = parameter(None, default=None, kw_only=False)

    def _learn(self, X: FloatArray, y: Any, domains: Labels | None, groups: Labels | None) -> None:
        self.correction_: Any = base.NoCorrection()
        if domains is None:
            self.correction_.fit(X)
            return
        self.correction_ = clone(self.correction or DomainLDA())
        self.clusters_: SharedClusters = clone(self.clusters or SharedClusters())
        found = self.clusters_.fit(X, sample_domain=domains).labels_
        self.correction_.fit(X, y, sample_domain=domains, sample_group=found)

    def _correct(self, X: FloatArray, sample_domain: Any) -> FloatArray:
        return np.asarray(self.correction_.transform(X, sample_domain=sample_domain))

    @property
    def thin_map(self) -> base.ThinMap:
        """The map of the fitted correction, at full dose."""
        return self.correction_.thin_map


def group_agreement(
    corpus: Corpus, embeddings: Sequence[str] = (), *, random_state: int = 0
) -> pd.DataFrame:
    """Compare the groups of a corpus with those that `SharedClusters` finds without them.

    Groups are found in the training clips of all datasets that have the embedding and a group.

    Parameters
    ----------
    corpus : Corpus
        With groups.
    embeddings : sequence of str
        Default: all that the corpus has.
    random_state : int
        Seed of the search, and of the shuffled groups of `overlap_chance`.

    Returns
    -------
    DataFrame
        Indexed by `embedding`:

        - `clips`; `groups`, how many were found; `smallest_share`, the smallest share of a
          dataset in one of them, counted as if the datasets were of one size;
        - `adjusted_rand`, agreement with the corpus's groups: 1 is perfect, 0 is chance;
        - `adjusted_rand_dataset`, the same with the datasets, which should be near 0;
        - `label` and `adjusted_rand_label`: the label that agrees best, which tells what the
          groups are groups of;
        - `overlap`, the share of the subspace of the groups' mean differences (what `meanproj`
          with ``groups=group`` takes out, each direction counted once) that lies in the one of the
          groups found; `overlap_chance`, the same for the groups found, shuffled within each
          dataset.

    Raises
    ------
    ArgumentError
        If the corpus has no groups.
    """
    table = corpus.clips
    if not table["group"].notna().any():
        raise ArgumentError(f"corpus {corpus.name!r} names no groups to compare with")
    rows = []
    for name in embeddings or corpus.embedding_names:
        used = corpus.complete([name]) & table["group"].notna().to_numpy()
        used &= (table["split"] == "train").to_numpy()
        X = corpus.embedding(name)[used].astype(np.float64)
        domain = table.loc[used, "dataset"].to_numpy(dtype=str)
        group = table.loc[used, "group"].to_numpy(dtype=str)
        clusters = SharedClusters(random_state=random_state)
        found = clusters.fit(X, sample_domain=domain).labels_
        labels = {
            label: adjusted_rand_score(table.loc[used, label].to_numpy() >= 0.5, found)
            for label in corpus.labels
        }
        best = max(labels, key=labels.__getitem__, default=None)
        even = clusters.counts_ / clusters.counts_.sum(axis=0)
        rng, shuffled = np.random.default_rng(random_state), found.copy()
        for dataset in np.unique(domain):
            rows_of = np.flatnonzero(domain == dataset)
            shuffled[rows_of] = found[rng.permutation(rows_of)]
        named, own, chance = (
            MeanProjection().fit(X, sample_domain=domain, sample_group=one).directions_
            for one in (group, found, shuffled)
        )
        row = {"embedding": name, "clips": len(X), "groups": clusters.n_groups_}
        row["smallest_share"] = float((even / even.sum(axis=1, keepdims=True)).min())
        row["adjusted_rand"] = adjusted_rand_score(group, found)
        row["adjusted_rand_dataset"] = adjusted_rand_score(domain, found)
        row |= {"label": best, "adjusted_rand_label": np.nan if best is None else labels[best]}
        for title, of in (("overlap", own), ("overlap_chance", chance)):
            row[title] = float(((named @ of.T) ** 2).sum() / len(named))
        rows.append(row)
    return pd.DataFrame(rows).set_index("embedding")
