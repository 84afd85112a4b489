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

`MomentCorrection` is the base of the corrections that moments suffice for: its `partial_fit` and
`fit_moments` fit them to rows that came in chunks. `moments_of_corpus` makes one pass over the
frames of a corpus that do not fit into memory: it holds one chunk of rows (64 MB) and the moments,
whatever the size of the file. Blocks of rows are independent and their moments can be added, so
that processes, on one machine or on many, can share the work:

    from concurrent.futures import ProcessPoolExecutor
    with ProcessPoolExecutor() as executor:
        moments = moments_of_corpus(corpus, "yamnet", executor=executor)

and with Dask ``executor=client.get_executor()``.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import validate_data

from biasmir_utils.corpus import CHUNK_BYTES, Corpus, open_embedding, read_keys
from biasmir_utils.corrections import base
from biasmir_utils.corrections.base import FloatArray, Labels
from biasmir_utils.errors import ArgumentError, CorpusError

SCATTERS = ("none", "variance", "pooled", "domain")
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
        What is kept of second moments: nothing; the variance of each feature in each domain; one
        scatter matrix within the cells, summed over them; one scatter matrix for each domain.
        With 'variance' and 'domain' the cells are the domains, and groups are not kept.

    Attributes
    ----------
    cells : dict of (domain, group) to CellMoments
        `group` is None without groups, and for a missing group.
    within : ndarray, (n_features, n_features)
        The summed scatter within the cells; empty unless scatter is 'pooled'.
    grouped : bool
        Whether cells are kept for each group.
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
        domains = base.domain_labels(sample_domain, len(X))
        groups = None if sample_group is None else Labels.of(sample_group, len(X), "sample_group")
        if self.scatter in ("variance", "domain"):
            groups = None
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
                if not members.any():
                    continue
                own = (X if members.all() else X[members]).astype(np.float64)
                mean, scatter = own.mean(axis=0), None
                own -= mean
                if self.scatter == "variance":
                    scatter = np.einsum("ij,ij->j", own, own)
                elif self.scatter == "domain":
                    scatter = own.T @ own
                elif self.scatter == "pooled":
                    self.within += own.T @ own
                self._merge((domain, group), CellMoments(len(own), mean, scatter))
        if len(X):
            np.maximum(self.largest, base.largest_values(X), out=self.largest)
        return self

    def _merge(self, key: tuple[Any, Any], cell: CellMoments) -> None:
        """Merge a cell into the one of its name."""
        old = self.cells.get(key)
        if old is None:
            self.cells[key] = cell
            return
        count = old.count + cell.count
        step = cell.mean - old.mean
        weight = old.count * cell.count / count
        if self.scatter == "pooled":
            self.within += weight * np.outer(step, step)
        scatter = None
        if old.scatter is not None and cell.scatter is not None:
            between = np.outer(step, step) if self.scatter == "domain" else step**2
            scatter = old.scatter + cell.scatter + weight * between
        self.cells[key] = CellMoments(count, old.mean + step * (cell.count / count), scatter)

    def __add__(self, other: Moments) -> Moments:
        """Return the moments of the rows of both, leaving both as they are."""
        if (self.n_features, self.scatter) != (other.n_features, other.scatter) or (
            self.cells and other.cells and self.grouped != other.grouped
        ):
            raise ArgumentError(
                "moments can be added that are of as many features, with the same scatter, and "
                "all or none of them with groups."
            )
        total = Moments(self.n_features, self.scatter)
        total.grouped = self.grouped or other.grouped
        for part in (self, other):
            total.within += part.within
            np.maximum(total.largest, part.largest, out=total.largest)
            for key, cell in part.cells.items():
                total._merge(key, cell)
        return total

    @property
    def domains(self) -> list[Any]:
        """The domains, sorted."""
        of_cells = [domain for domain, _ in self.cells]
        names: list[Any] = base.domain_labels(of_cells, len(of_cells)).names
        return names

    @property
    def groups(self) -> list[Any]:
        """The groups, sorted, None last."""
        return sorted({group for _, group in self.cells}, key=lambda name: (name is None, name))

    @property
    def count(self) -> int:
        """Number of rows."""
        return sum(cell.count for cell in self.cells.values())

    def mean(self) -> FloatArray:
        """Return the mean of all rows, (n_features,)."""
        total = sum(cell.count * cell.mean for cell in self.cells.values())
        return np.asarray(total / self.count)

    def within_scatter(self) -> FloatArray:
        """Return the scatter matrix within the cells, summed over them."""
        if self.scatter == "domain":
            scatters = [cell.scatter for cell in self.cells.values() if cell.scatter is not None]
            return np.asarray(np.sum(scatters, axis=0))
        if self.scatter != "pooled":
            raise ArgumentError(f"moments with scatter {self.scatter!r} have no covariance.")
        return self.within

    def total_covariance(self) -> FloatArray:
        """Return the covariance of all rows around their mean, (n_features, n_features)."""
        cells = list(self.cells.values())
        means = np.array([cell.mean for cell in cells]) - self.mean()
        counts = np.array([cell.count for cell in cells], dtype=float)
        return (self.within_scatter() + (means * counts[:, np.newaxis]).T @ means) / self.count


class MomentCorrection(base.DomainTransformer):
    """Base of the corrections that are functions of the domains' moments.

    A subclass names the second moments that it needs in `required_scatter`, and turns moments into
    its attributes in `_solve`; with fewer than two domains it must become the identity.
    """

    required_scatter = "none"

    __metadata_request__partial_fit = {"sample_domain": True, "sample_group": True}  # noqa: RUF012

    @available_if(lambda self: self.moments_suffice)
    def partial_fit(
        self, X: Any, y: Any = None, *, sample_domain: Any = None, sample_group: Any = None
    ) -> MomentCorrection:
        """Add rows to those of the calls before, and learn the correction of all of them.

        The result equals that of one `fit`, up to rounding, in whatever order the rows come. While
        they do not determine a correction it is the identity, with a `DomainWarning`: there is one
        domain, no group has two yet, a domain has too few rows for a covariance, or the one that
        others are moved to has not come. For many chunks it is faster to collect `Moments` and to
        call `fit_moments` once.

        Parameters
        ----------
        X, y, sample_domain, sample_group
            As in `fit`; `sample_group` for all chunks or for none. Rows without `sample_domain`
            are not counted.

        Returns
        -------
        self

        Raises
        ------
        ArgumentError
            If the correction has no moments to go on from: it was loaded, or fitted by
            `fit_moments` or to fewer rows than features. A new one begins with the first chunk.
        AttributeError
            If moments do not suffice: with `given`, all rows are needed at once.
        """
        first = not hasattr(self, "domains_")
        X = validate_data(self, X, dtype=base.FLOAT_DTYPES, reset=first)
        shape = X.shape[1], self.required_scatter
        moments = Moments(*shape) if first else getattr(self, "_moments", None)
        if moments is None:
            raise ArgumentError(f"{self} has kept no moments to go on from; begin with a new one.")
        if sample_domain is not None:
            moments.update(X, sample_domain, sample_group)
        elif moments.cells:
            base.warn(f"{len(X)} rows without sample_domain are not counted.")
        differ, self._moments = self._differ(moments.domains, moments.grouped), moments
        try:
            self._solve(moments if differ else Moments(*shape))
        except ArgumentError as error:
            self.domains_ = []
            self._solve(Moments(*shape))  # the rows are counted: more of them may determine it
            base.warn(
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
            If moments do not suffice or do not determine the correction, or a parameter asks for
            something else.
        """
        if not self.moments_suffice or moments.scatter != self.required_scatter:
            needs = f"moments with scatter {self.required_scatter!r}"
            if not self.moments_suffice:
                needs = "all rows at once (use fit)"
            raise ArgumentError(f"{self} needs {needs}, not moments with {moments.scatter!r}.")
        self.n_features_in_ = moments.n_features
        if not self._differ(moments.domains, moments.grouped):
            moments = Moments(moments.n_features, moments.scatter)
        self._solve(moments)
        return self

    def _differ(self, domains: list[Any], grouped: bool) -> bool:
        self.__dict__.pop("_moments", None)  # those of an earlier fit
        return super()._differ(domains, grouped)

    def _learn(self, X: FloatArray, y: Any, domains: Labels | None, groups: Labels | None) -> None:
        moments = Moments(X.shape[1], self.required_scatter)
        if domains is not None:
            moments.update(X, domains, groups)
        self._solve(moments)
        self._moments = moments

    @property
    def moments_suffice(self) -> bool:
        """Whether the correction, with its parameters, can be fitted from moments."""
        return True

    def _solve(self, moments: Moments) -> None:
        """Learn from moments; of none, the identity."""
        raise NotImplementedError


def _moments_of_block(
    block: tuple[Path, str, int, int], clips: Mapping[str, Any], scatter: str, grouped: bool
) -> Moments:
    """Return the moments of a block's rows that are of these clips, in bounded memory.

    A block is a file, its group `<dataset>/<embedding>`, the first of some rows, and the one after
    the last. The clips come with their group. A feature that is NaN or infinite is a `CorpusError`,
    which names the clip; so is a damaged file.
    """
    path, name, first, last = block
    where, dataset = f"{path}, /{name}", name.split("/")[0]
    with open_embedding(path, *name.split("/")) as group:
        features = group["features"]
        moments = Moments(features.shape[1], scatter)
        step = max(1, CHUNK_BYTES // (8 * features.shape[1]))
        for start in range(first, last, step):
            rows = slice(start, min(start + step, last))
            names = read_keys(group, rows=rows)
            used = np.fromiter((clip in clips for clip in names), bool, len(names))
            X, names = features[rows].astype(np.float64)[used], names[used]
            finite = np.isfinite(X.sum(axis=1))  # a sum is finite unless a value is not
            if not finite.all():
                raise CorpusError(
                    f"{where}, clip {str(names[~finite][0])!r}: the features hold NaN or infinite "
                    "values; extract it anew"
                )
            of_clip = np.array([clips[clip] for clip in names], dtype=object)
            domain = np.full(len(X), dataset)
            moments.update(X, domain, of_clip if grouped else None)
    return moments


def clips_to_fit(corpus: Corpus, fit_split: str) -> npt.NDArray[np.bool_]:
    """Return which clips a correction is fitted to: those for training, or all."""
    if fit_split not in ("train", "all"):
        raise ArgumentError(f"fit split {fit_split!r}: expected train or all")
    return (corpus.clips["split"] == "train").to_numpy() | (fit_split == "all")


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
    clips = {
        dataset: dict(zip(rows["clip"], rows["group"], strict=True))
        for dataset, rows in corpus.clips[clips_to_fit(corpus, fit_split)].groupby("dataset")
    }
    total = Moments(corpus.dimension(embedding), scatter)  # raises if there is none
    blocks, of_block = [], []
    for dataset in corpus.datasets:
        path = corpus.embedding_file(embedding, dataset)
        if path is None:
            continue
        name = f"{dataset}/{embedding}"
        with open_embedding(path, dataset, embedding) as group:
            n = len(group["features"])
        for start in range(0, n, block_rows):
            # A process may start elsewhere, and is sent the clips of its block's dataset only: of
            # large corpora they are megabytes.
            blocks.append((path.resolve(), name, start, min(start + block_rows, n)))
            of_block.append(clips.get(dataset, {}))
    work = partial(_moments_of_block, scatter=scatter, grouped=grouped)
    for part in (map if executor is None else executor.map)(work, blocks, of_block):
        total = total + part
    return total
