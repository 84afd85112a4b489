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

`MomentCorrection` is the base of the corrections that moments suffice for, which can therefore be
fitted in chunks. `moments_of_corpus` makes one pass over the frames of a corpus that do not fit
into memory: it holds one chunk of rows (64 MB) and the moments, whatever the size of the file.
Blocks of rows are independent and their moments can be added, so that processes, on one machine or
on many, can share the work:

    from concurrent.futures import ProcessPoolExecutor
    with ProcessPoolExecutor() as executor:
        moments = moments_of_corpus(corpus, "yamnet", executor=executor)

and with Dask ``executor=client.get_executor()``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from biasmir_utils.corpus import CHUNK_BYTES, Corpus, open_embedding_file
from biasmir_utils.corrections.base import (
    FLOAT_DTYPES,
    DomainTransformer,
    FloatArray,
    Labels,
    domain_labels,
    group_labels,
    largest_values,
    warn,
)
from biasmir_utils.errors import ArgumentError, CorpusError

SCATTERS = ("none", "variance", "pooled", "domain")
FIT_SPLITS = ("train", "all")
BLOCK_ROWS = 65_536


@dataclass
class CellMoments:
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

    @property
    def covariance(self) -> FloatArray:
        """The scatter a row: the variances of the features, or their covariance."""
        assert self.scatter is not None
        return self.scatter / self.count


class Moments:
    """Counts, means and scatter of the cells of a stream of rows.

    Parameters
    ----------
    n_features : int
        Number of features of the rows.
    scatter : {'none', 'variance', 'pooled', 'domain'}
        What is kept of second moments: nothing; the variance of each feature in each cell; one
        scatter matrix within the cells, summed over them; one scatter matrix for each cell.

    Attributes
    ----------
    cells : dict of (domain, group) to CellMoments
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
        self.cells: dict[tuple[Any, Any], CellMoments] = {}
        size = n_features if scatter == "pooled" else 0
        self.within = np.zeros((size, size))
        self.largest = np.zeros(n_features)
        self.grouped = False

    def update(self, X: Any, sample_domain: Any, sample_group: Any = None) -> Moments:
        """Add rows and return self.

        Parameters
        ----------
        X : array-like, (n_samples, n_features)
            Rows of embeddings, or of features made of them.
        sample_domain : array-like, (n_samples,)
            Domain (dataset) of each row.
        sample_group : array-like, (n_samples,), or None
            Group (genre) of each row; None is rows without groups.
        """
        X = np.asarray(X)
        if X.ndim != 2 or X.shape[1] != self.n_features:
            raise ArgumentError(f"X must have {self.n_features} features, its shape is {X.shape}.")
        groups = None if sample_group is None else group_labels(sample_group, len(X))
        return self.add(X, domain_labels(sample_domain, len(X)), groups)

    def add(self, X: FloatArray, domains: Labels, groups: Labels | None = None) -> Moments:
        """Add rows whose labels are checked already, and return self.

        Parameters
        ----------
        X : ndarray, (n_samples, n_features)
            Rows of embeddings.
        domains : Labels
            Domain of each row.
        groups : Labels or None
            Group of each row.
        """
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
            np.maximum(self.largest, largest_values(X), out=self.largest)
        return self

    def _of(self, X: FloatArray) -> tuple[CellMoments, FloatArray | None]:
        """Return the cell of some rows, and their scatter where that is pooled."""
        X = X.astype(np.float64)
        mean = X.mean(axis=0)
        X -= mean
        if self.scatter == "variance":
            return CellMoments(len(X), mean, np.einsum("ij,ij->j", X, X)), None
        if self.scatter == "domain":
            return CellMoments(len(X), mean, X.T @ X), None
        return CellMoments(len(X), mean), X.T @ X if self.scatter == "pooled" else None

    def _add(
        self, key: tuple[Any, Any], cell: CellMoments, within: FloatArray | None = None
    ) -> None:
        """Merge a cell, and the pooled scatter within it, into the one of its name."""
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
        self.cells[key] = CellMoments(count, old.mean + step * (cell.count / count), scatter)

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
        return sorted({domain for domain, _ in self.cells})

    @property
    def groups(self) -> list[Any]:
        """The groups, sorted, None last."""
        names = {group for _, group in self.cells}
        return [*sorted(names - {None}), *([None] if None in names else [])]

    @property
    def count(self) -> int:
        """Number of rows."""
        return sum(cell.count for cell in self.cells.values())

    def rows_of(self, domain: Any, group: Any) -> int:
        """Return the number of rows of a cell, which there may not be.

        Parameters
        ----------
        domain, group : object
            Names; the group is None for missing ones, and without groups.
        """
        cell = self.cells.get((domain, group))
        return 0 if cell is None else cell.count

    def mean(self) -> FloatArray:
        """Return the mean of all rows, (n_features,)."""
        total = sum(cell.count * cell.mean for cell in self.cells.values())
        return np.asarray(total / self.count)

    def of_domain(self, domain: Any) -> CellMoments:
        """Return one domain's cell, its groups merged.

        Parameters
        ----------
        domain : object
            Its name.
        """
        merged = Moments(self.n_features, "none" if self.scatter == "pooled" else self.scatter)
        for (name, _), cell in self.cells.items():
            if name == domain:
                merged._add((domain, None), cell)
        return merged.cells[domain, None]

    def total_covariance(self) -> FloatArray:
        """Return the covariance of all rows around their mean, (n_features, n_features)."""
        cells = list(self.cells.values())
        means = np.array([cell.mean for cell in cells]) - self.mean()
        counts = np.array([cell.count for cell in cells], dtype=float)
        return (self._within() + (means * counts[:, np.newaxis]).T @ means) / self.count

    def within_covariance(self) -> FloatArray:
        """Return the covariance within the domains, weighted by their rows."""
        total = self._within()
        for domain in self.domains:
            center = self.of_domain(domain).mean
            for (name, _), cell in self.cells.items():
                if name == domain:
                    total += cell.count * np.outer(cell.mean - center, cell.mean - center)
        return total / self.count

    def _within(self) -> FloatArray:
        """Return the summed scatter within the cells, as a new array."""
        if self.scatter == "pooled":
            return self.within.copy()
        if self.scatter != "domain":
            raise ArgumentError(f"moments with scatter {self.scatter!r} have no covariance.")
        scatters = [c.scatter for c in self.cells.values() if c.scatter is not None]
        return np.sum(scatters, axis=0)


class MomentCorrection(DomainTransformer):
    """Base of the corrections that are functions of the domains' moments.

    A subclass names the second moments that it needs in `required_scatter`, turns moments into its
    attributes in `_solve`; with fewer than two domains it must become the identity. Where moments
    of more do not determine a correction, `_solve` raises an `ArgumentError`.
    """

    required_scatter = "none"

    __metadata_request__partial_fit = {  # noqa: RUF012
        "sample_domain": True,
        "sample_group": True,
    }

    def partial_fit(
        self, X: Any, y: Any = None, *, sample_domain: Any = None, sample_group: Any = None
    ) -> MomentCorrection:
        """Add rows to those seen before, and learn the correction of all of them.

        The result equals that of one `fit`, up to rounding, in whatever order the rows come. Until
        a second domain is seen the correction is the identity; so it is, with a `DomainWarning`,
        while the rows of two domains do not determine it: no group has two domains yet, a domain
        has too few rows for a covariance, or the domain that others are moved to has not come.
        For many chunks it is faster to collect `Moments` and to call `fit_moments` once.

        Parameters
        ----------
        X, y, sample_domain, sample_group
            As in `fit`; `sample_group` for all chunks or for none. Rows without `sample_domain`
            are not counted.

        Returns
        -------
        self
        """
        first = not hasattr(self, "_moments")  # also after a fit that ended in an error
        X = validate_data(self, X, dtype=FLOAT_DTYPES, reset=first)
        self.check_moments([], grouped=sample_group is not None)
        moments: Moments | None = (
            Moments(X.shape[1], self.required_scatter) if first else self._moments
        )
        if moments is None:
            raise ArgumentError(
                f"partial_fit cannot continue this fit of {type(self).__name__}, which kept no "
                "moments; call partial_fit from the first chunk on."
            )
        if sample_domain is not None:
            self._check_groups(sample_group is not None)
            groups = None if sample_group is None else group_labels(sample_group, len(X))
            moments.add(X, domain_labels(sample_domain, len(X)), groups)
        elif moments.cells:
            warn(f"{len(X)} rows without sample_domain are not counted.")
        else:
            self._warn_of_one_domain()
        self._moments: Moments | None = moments
        self.domains_ = moments.domains
        try:
            self._solve(moments)
        except ArgumentError as error:
            # The rows are counted: more of them may determine it.
            self._solve(Moments(moments.n_features, moments.scatter))
            warn(
                f"the {moments.count} rows so far do not determine {type(self).__name__}, and rows "
                f"will be left as they are until more have come: {error}"
            )
        return self

    def fit_moments(self, moments: Moments) -> MomentCorrection:
        """Learn the correction of the rows that the moments are of.

        Parameters
        ----------
        moments : Moments
            With the scatter that the correction needs, `required_scatter`.

        Returns
        -------
        self

        Raises
        ------
        ArgumentError
            As `check_moments`, or if the moments do not determine the correction.
        """
        if moments.scatter != self.required_scatter:
            raise ArgumentError(
                f"{type(self).__name__} needs moments with scatter {self.required_scatter!r}, not "
                f"{moments.scatter!r}."
            )
        self.check_moments(moments.domains, grouped=moments.grouped)
        self.n_features_in_ = moments.n_features
        self.domains_ = moments.domains
        if len(self.domains_) < 2:
            self._warn_of_one_domain()
        self._solve(moments)
        self._moments = moments
        return self

    def _learn(self, X: FloatArray, y: Any, domains: Labels | None, groups: Labels | None) -> None:
        self.__dict__.pop("_moments", None)  # a fit that ends in an error leaves none behind
        moments = Moments(X.shape[1], self.required_scatter)
        if domains is not None:
            moments.add(X, domains, groups)
        self._solve(moments)
        self._moments = moments

    def check_moments(self, domains: Sequence[Any], *, grouped: bool) -> None:
        """Raise what `fit_moments` would raise, before anybody has passed over the rows.

        Parameters
        ----------
        domains : sequence
            Those that the moments will be of.
        grouped : bool
            Whether they will be kept for each group.

        Raises
        ------
        ArgumentError
            If moments do not suffice, or a parameter asks for something else.
        """
        self._check_parameters()
        if not self.moments_suffice:
            raise ArgumentError(
                f"{self} needs all rows at once and cannot be fitted from moments or in chunks; "
                "use fit."
            )
        if len(domains) > 1:
            self._check_groups(grouped)
            self._check_domains(list(domains))

    @property
    def moments_suffice(self) -> bool:
        """Whether the correction, with its parameters, can be fitted from moments."""
        return True

    def _check_domains(self, domains: list[Any]) -> None:
        """Raise an `ArgumentError` if a parameter names a domain that is not among these."""

    def _solve(self, moments: Moments) -> None:
        """Learn from moments; of fewer than two domains, the identity."""
        raise NotImplementedError


Block = tuple[Path, str, int, int]
"""A file, its group `<dataset>/<embedding>`, the first of some rows, and the one after the last."""


def _moments_of_block(
    block: Block, clips: Mapping[str, Any], scatter: str, grouped: bool
) -> Moments:
    """Return the moments of a block's rows that are of these clips, in bounded memory.

    The clips come with their group. A feature that is NaN or infinite is a `CorpusError`, which
    names the clip; so is a damaged file.
    """
    path, name, first, last = block
    where = f"{path}, /{name}"
    with open_embedding_file(path) as file:
        features, keys = file[f"{name}/features"], file[f"{name}/keys"].asstr()
        moments = Moments(features.shape[1], scatter)
        step = max(1, CHUNK_BYTES // (8 * features.shape[1]))
        for start in range(first, last, step):
            stop = min(start + step, last)
            names = keys[start:stop]
            used = np.fromiter((clip in clips for clip in names), bool, len(names))
            if not used.any():
                continue
            try:
                X = features[start:stop].astype(np.float64)
            except OSError as error:
                raise CorpusError(
                    f"{where}: rows from {start} cannot be read, the file is damaged ({error}); "
                    f"fetch or make it anew"
                ) from error
            if not used.all():
                X, names = X[used], names[used]
            finite = np.isfinite(X.sum(axis=1))  # a sum is finite unless a value is not
            if not finite.all():
                raise CorpusError(
                    f"{where}, clip {names[~finite][0]!r}: the features hold NaN or infinite "
                    "values; extract it anew"
                )
            domains = Labels(np.zeros(len(X), dtype=np.intp), [name.split("/")[0]])
            of_clip = np.array([clips[clip] for clip in names], dtype=object)
            moments.add(X, domains, group_labels(of_clip, len(X)) if grouped else None)
    return moments


def moments_of_corpus(
    corpus: Corpus,
    embedding: str,
    *,
    scatter: str = "pooled",
    fit_split: str = "train",
    grouped: bool = False,
    executor: Executor | None = None,
    block_rows: int = BLOCK_ROWS,
) -> Moments:
    """Return the moments of an embedding's rows (frames, where the file has frames).

    Parameters
    ----------
    corpus : Corpus
        Whose clips and embeddings are read.
    embedding : str
        Rows of clips that the clip table does not list are passed over.
    scatter : {'none', 'variance', 'pooled', 'domain'}
        What is kept of second moments; a correction says it, `required_scatter`.
    fit_split : {'train', 'all'}
        Rows of the training clips, or of all.
    grouped : bool
        Whether moments are kept for each group of the clip table.
    executor : concurrent.futures.Executor, optional
        Does the blocks; by default they are done one after the other. The result is the same up to
        rounding.
    block_rows : int
        Rows of a block.

    Returns
    -------
    Moments
        For the `fit_moments` of a correction.
    """
    if fit_split not in FIT_SPLITS:
        raise ArgumentError(f"fit split {fit_split!r}: expected {' or '.join(FIT_SPLITS)}")
    table = corpus.clips
    if fit_split == "train":
        table = table[table["split"] == "train"]
    clips = {
        dataset: dict(zip(rows["clip"], rows["group"], strict=True))
        for dataset, rows in table.groupby("dataset")
    }
    total = Moments(corpus.dimension(embedding), scatter)  # raises if there is none
    blocks: list[Block] = []
    of_block = []
    for dataset in corpus.datasets:
        path = corpus.embedding_file(embedding, dataset)
        if path is None:
            continue
        name = f"{dataset}/{embedding}"
        with open_embedding_file(path) as file:
            n = len(file[f"{name}/features"])
        for start in range(0, n, block_rows):
            # A process may start elsewhere, and is sent the clips of its block's dataset only: of
            # large corpora they are megabytes.
            blocks.append((path.resolve(), name, start, min(start + block_rows, n)))
            of_block.append(clips.get(dataset, {}))
    work = partial(_moments_of_block, scatter=scatter, grouped=grouped)
    for part in (map if executor is None else executor.map)(work, blocks, of_block):
        total = total + part
    return total
