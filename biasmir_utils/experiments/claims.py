"""What the paper says that can be checked on a results table, each point with its interval.

The paper's two claims are taken apart into points that a number decides. Inside a dataset the
embeddings are close, across datasets all of them fall, in a certain order; and a correction
changes little, most of it through the random features rather than through its projection.
Where a point needs a threshold that the paper does not give, it is ours, and its statement says
it.

Where a figure is the largest or smallest of several, the interval is that of the one which was
measured to be so. (The largest of resampled figures is larger than the largest figure, since
each draw picks its own.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from biasmir_utils.experiments.published import BASELINES, DATASETS, EMBEDDINGS
from biasmir_utils.experiments.samples import Cell, Draws, Samples

# What counts as little, in ROC-AUC: one point of a hundred. The paper's largest is 0.0056.
LITTLE = 0.01
PAIRS = tuple((train, test) for test in DATASETS for train in DATASETS)
ACROSS = tuple((train, test) for train, test in PAIRS if train != test)


@dataclass(frozen=True)
class Claim:
    """One point and what our results say to it.

    Attributes
    ----------
    name : str
        Short, for tables.
    statement : str
        What is claimed, about `figure`.
    figure : str
        What was computed; in units of ROC-AUC.
    bound : float
        The claim holds if the figure is above it (`above`), or else below it.
    above : bool
    ours : float
        Our figure; NaN if it cannot be computed.
    low : float
        Lower end of its interval.
    high : float
        Upper end of its interval.
    published : float
        The same figure, from the published means of the embeddings and corrections that we
        have; of all, if ours cannot be computed.
    missing : str
        Why it cannot be checked; empty if it can.
    lacking : str
        For a claim about everything that was published: which part of it the table lacks, so
        that it was checked on the rest; empty if nothing.
    published_whole : float
        The same figure, from all published means.
    """

    name: str
    statement: str
    figure: str
    bound: float
    above: bool
    ours: float
    low: float
    high: float
    published: float
    missing: str = ""
    lacking: str = ""
    published_whole: float = float("nan")

    @property
    def holds(self) -> bool | None:
        """Whether our figure lies on the claimed side; None if it could not be checked."""
        if np.isnan(self.ours):
            return None
        return self.ours > self.bound if self.above else self.ours < self.bound

    @property
    def clear(self) -> bool:
        """Whether the whole interval lies on one side of the bound."""
        return self.low > self.bound or self.high < self.bound

    @property
    def verdict(self) -> str:
        """`holds`, `does not hold`, or `not checked`, and whether the interval is clear."""
        if self.holds is None:
            return f"not checked: {self.missing}"
        words = "holds" if self.holds else "does not hold"
        if self.lacking:
            words += f", over a part of what it is about (the table lacks {self.lacking})"
        if np.isnan(self.low):
            return words
        return words if self.clear else f"{words}, but the interval has both sides"


def check_claims(ours: Samples, published: Samples, level: float = 0.95) -> list[Claim]:
    """Check every point.

    Parameters
    ----------
    ours, published : Samples
    level : float
        Coverage of the intervals.
    """
    return [point.check(ours, published, level) for point in _points()]


@dataclass(frozen=True)
class _Point:
    name: str
    statement: str
    figure: str
    compute: Callable[[Samples], Draws | str]
    bound: float = 0.0
    above: bool = True
    whole: bool = False  # about everything that was published, whatever a table has of it

    def check(self, ours: Samples, published: Samples, level: float) -> Claim:
        draws, reference = self.compute(ours), self.compute(published.only(ours.cells))
        if isinstance(reference, str):
            reference = self.compute(published)
        known = float("nan") if isinstance(reference, str) else float(reference[0])
        everything = self.compute(published)
        lacking = _lacking(ours, published) if self.whole and not isinstance(draws, str) else ""
        missing = draws if isinstance(draws, str) else ""
        if isinstance(draws, str):
            draws = np.full(1, np.nan)
        low, high = ours.interval(draws, level)
        return Claim(
            self.name,
            self.statement,
            self.figure,
            self.bound,
            self.above,
            float(draws[0]),
            low,
            high,
            known,
            missing,
            lacking,
            float("nan") if isinstance(everything, str) else float(everything[0]),
        )


def _points() -> list[_Point]:
    names = {"vggish": "VGGish", "openl3": "OpenL3", "yamnet": "YAMNet"}
    falls = [
        _Point(
            f"fall of {names[one]}",
            f"{names[one]} falls across datasets",
            "mean of the two falls, the test set held fixed",
            partial(mean_fall, embedding=one),
        )
        for one in ("vggish", "yamnet", "openl3")
    ]
    order = [
        _Point(
            f"{names[more]} after {names[less]}",
            f"{names[more]} falls more than {names[less]}",
            "difference of their mean falls",
            partial(_falls_more, more=more, less=less),
        )
        for less, more in (("vggish", "yamnet"), ("yamnet", "openl3"))
    ]
    return [
        _Point(
            "close in-domain",
            "the embeddings are closer together in-domain than across datasets",
            "range of the embeddings' means across minus in-domain, mean of both test sets",
            _closer,
        ),
        *falls,
        *order,
        _Point(
            "YAMNet on top",
            "YAMNet stays the highest across datasets",
            "YAMNet minus the best of the others, the smaller of the two pairs",
            _yamnet_lead,
        ),
        _Point(
            "projections add little",
            f"a projection by itself adds less than {100 * LITTLE:g} point anywhere",
            "largest gain of lda, mlda over none and of klda, mklda over k, over all pairs",
            _largest_projection_gain,
            bound=LITTLE,
            above=False,
            whole=True,
        ),
        _Point(
            "random features first",
            "of the largest gain over no correction, the random features bring more than the "
            "projection",
            "gain of k over none minus gain of the correction over k, where the correction gains "
            "most across datasets",
            _share_of_random_features,
            whole=True,
        ),
        _Point(
            "the fall remains",
            "no correction makes up for the fall",
            "in-domain mean without correction minus the best cross-dataset mean with any, the "
            "smallest over embeddings and test sets",
            _remaining_fall,
            whole=True,
        ),
    ]


def _lacking(ours: Samples, published: Samples) -> str:
    """Name what a table has nothing of, though it was published; empty if it has all of it."""
    absent = [cell for cell in published.cells if cell not in ours]
    names: list[str] = []
    for field in ("embedding", "correction", "mode"):
        present = ours.names(field)
        names += [name for name in published.names(field) if name not in present]
    if not names and absent:
        return f"{len(absent)} of {len(published.cells)} published means"
    return ", ".join(names)


def mean_fall(samples: Samples, embedding: str, correction: str = "none") -> Draws | str:
    """Return the mean of an embedding's two falls without correction, or why there is none."""
    falls = []
    for train, test in ACROSS:
        pair = [Cell(embedding, correction, "none", one, test) for one in (test, train)]
        absent = _absent(samples, pair)
        if absent:
            return absent
        falls.append(samples.mean(*pair))
    return np.mean(falls, axis=0)


def _falls_more(samples: Samples, more: str, less: str) -> Draws | str:
    first, second = mean_fall(samples, more), mean_fall(samples, less)
    if isinstance(first, str):
        return first
    return second if isinstance(second, str) else first - second


def _closer(samples: Samples) -> Draws | str:
    cells = [Cell(e, "none", "none", *pair) for e in EMBEDDINGS for pair in PAIRS]
    absent = _absent(samples, cells)
    if absent:
        return absent
    ranges = {}
    for pair in PAIRS:
        means = [samples.mean(Cell(e, "none", "none", *pair)) for e in EMBEDDINGS]
        ranges[pair] = _largest(means) - _smallest(means)
    across = np.mean([ranges[pair] for pair in ACROSS], axis=0)
    inside = np.mean([ranges[test, test] for test in DATASETS], axis=0)
    difference: Draws = across - inside
    return difference


def _yamnet_lead(samples: Samples) -> Draws | str:
    absent = _absent(samples, [Cell(e, "none", "none", *p) for e in EMBEDDINGS for p in ACROSS])
    if absent:
        return absent
    leads = [
        samples.mean(Cell("yamnet", "none", "none", *pair), Cell(other, "none", "none", *pair))
        for pair in ACROSS
        for other in ("vggish", "openl3")
    ]
    return _smallest(leads)


def _largest_projection_gain(samples: Samples) -> Draws | str:
    gains = [
        samples.mean(cell, baseline)
        for cell in _published_cells(samples, PAIRS)
        if cell.correction != "k"
        for baseline in [baseline_of(cell)]
        if baseline is not None and baseline in samples
    ]
    if not gains:
        return "no projection with its baseline in the table"
    return _largest(gains)


def _share_of_random_features(samples: Samples) -> Draws | str:
    found = []
    for cell in _published_cells(samples, ACROSS):
        none, k = (cell._replace(correction=name, mode="none") for name in ("none", "k"))
        if (
            cell.correction in BASELINES
            and cell.correction != "k"
            and none in samples
            and (k in samples or BASELINES[cell.correction] == "none")
        ):
            found.append((samples.mean(cell, none)[0], cell, none, k))
    if not any(BASELINES[cell.correction] == "k" for _, cell, _, _ in found):
        return "no klda or mklda with none and k in the table"
    _, cell, none, k = max(found, key=lambda one: one[0])
    if BASELINES[cell.correction] == "none":  # all of the gain is the projection's
        return -samples.mean(cell, none)
    return samples.mean(k, none) - samples.mean(cell, k)


def _remaining_fall(samples: Samples) -> Draws | str:
    remaining = []
    for embedding in EMBEDDINGS:
        for train, test in ACROSS:
            inside = Cell(embedding, "none", "none", test, test)
            corrected = [
                cell
                for cell in _published_cells(samples, [(train, test)])
                if cell.embedding == embedding and cell.correction in BASELINES
            ]
            if inside in samples and corrected:
                remaining.append(_smallest([samples.mean(inside, one) for one in corrected]))
    if not remaining:
        return "no correction in the table"
    return _smallest(remaining)


def baseline_of(cell: Cell, correction: str | None = None) -> Cell | None:
    """Return the cell that a correction is put beside: `none`, or `k` after random features.

    Parameters
    ----------
    cell : Cell
    correction : str, optional
        Another baseline than the correction's own.
    """
    name = correction or BASELINES.get(cell.correction)
    mode = "unlabelled" if cell.mode == "unlabelled" else "none"
    return None if name is None else cell._replace(correction=name, mode=mode)


def _published_cells(samples: Samples, pairs: Sequence[tuple[str, str]]) -> list[Cell]:
    """Return the cells of the paper's embeddings on some train-test pairs."""
    return [
        cell
        for cell in samples.cells
        if cell.embedding in EMBEDDINGS and (cell.train_set, cell.test_set) in pairs
    ]


def _largest(figures: Sequence[Draws]) -> Draws:
    return max(figures, key=lambda draws: draws[0])


def _smallest(figures: Sequence[Draws]) -> Draws:
    return min(figures, key=lambda draws: draws[0])


def _absent(samples: Samples, cells: Sequence[Cell]) -> str:
    missing = [cell for cell in cells if cell not in samples]
    if not missing:
        return ""
    present = samples.names("embedding")
    embeddings = list(dict.fromkeys(c.embedding for c in cells if c.embedding not in present))
    if embeddings:
        return f"the table lacks {' and '.join(embeddings)}"
    one = missing[0]
    return (
        f"the table has no {one.embedding} with the correction {one.correction} on "
        f"{one.train_set}>{one.test_set}"
    )
