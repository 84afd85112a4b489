"""The published results: mean ROC-AUC over ten instruments, retyped from the paper.

Source: C. Wang, G. Richard and B. McFee, "Transfer Learning and Bias Correction with Pre-trained
Audio Embeddings", ISMIR 2023 (arXiv 2307.10834). Real data: IRMAS and OpenMIC-2018, and the
authors' own extraction of the three embeddings.

What the paper says that can be checked on a results table, each point with its interval.

The paper's two claims are taken apart into points that a number decides. Inside a dataset the
embeddings are close, across datasets all of them fall, in a certain order; and a correction
changes little, most of it through the random features rather than through its projection.
Where a point needs a threshold that the paper does not give, it is ours, and its statement says
it.

Where a figure is the largest or smallest of several, the interval is that of the one which was
measured to be so. (The largest of resampled figures is larger than the largest figure, since
each draw picks its own.)

Our results beside the published ones: means, falls, changes, and the claims.

Rows are matched by embedding, correction, mode and train-test pair. Results on other data sets
or embeddings are shown without a published figure beside them.

A comparison in words and columns, as `biasmir compare` prints it; in points of 100.

The paper from beginning to end: fetch, prepare, evaluate, compare.

Each step leaves its product under one folder, and is skipped when that product is there and was
made from what is there now. An interrupted download or evaluation goes on where it was. Results of
other parameters or data are kept under another name (``.bak``).
"""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biasmir_utils.corpus import Corpus
from biasmir_utils.datasets import default_root, fetch, prepare_paper
from biasmir_utils.errors import ArgumentError, CorpusError
from biasmir_utils.experiments.results import check_table_path, read_table, write_table
from biasmir_utils.experiments.run import (
    OutputPaths,
    Plan,
    TaskStore,
    output_paths,
    plan_evaluation,
    run_plan,
    set_aside,
    task_keys,
    write_evaluation,
)
from biasmir_utils.experiments.stats import Cell, FloatArray, Samples
from biasmir_utils.files import atomic_path, sha256, versions, write_json

PUBLISHED_EMBEDDINGS = ("vggish", "openl3", "yamnet")
PUBLISHED_CORRECTIONS = ("none", "lda", "mlda", "k", "klda", "mklda")
PUBLISHED_MODES = ("global", "classwise")
PUBLISHED_DATASETS = ("irmas", "openmic")
N_LABELS = 10
# Every test clip of IRMAS is scored for every instrument; of OpenMIC-2018 the observed ones.
IRMAS_TEST_CLIPS = 1666

# What each correction is put beside: the same recogniser without a projection.
BASELINES = {"lda": "none", "mlda": "none", "k": "none", "klda": "k", "mklda": "k"}


@lru_cache(maxsize=1)
def _table() -> pd.DataFrame:
    path = files("biasmir_utils.experiments").joinpath("published_mean_auc.csv")
    with path.open(encoding="utf-8") as file:
        wide = pd.read_csv(file, comment="#", keep_default_na=False)
    keys = ["embedding", "correction", "mode"]
    table = wide.melt(keys, var_name="pair", value_name="roc_auc")
    pairs = table.pop("pair").str.split(">", expand=True)
    table.insert(3, "train_set", pairs[0])
    table.insert(4, "test_set", pairs[1])
    table["roc_auc"] = (table["roc_auc"] / 100).round(4)
    return table


def published_means() -> pd.DataFrame:
    """Return the 144 published means.

    Returns
    -------
    pandas.DataFrame
        Columns `embedding`, `correction`, `mode` (`global`, `classwise`), `train_set`,
        `test_set`, `roc_auc` in [0, 1]. The corrections `none` and `k` have equal rows in both
        modes.
    """
    return _table().copy()


def published_results() -> pd.DataFrame:
    """Return the published means in the form of a results table (`results.RESULT_COLUMNS`).

    The columns are those that tell recognisers apart, and `roc_auc`; there is one label,
    `(mean)`. As in our own results, what has no direction to fit (`none`, `k`) is there once,
    with the mode `none`. What reads a results table reads this.
    """
    table = _table()
    plain = table["correction"].isin(["none", "k"])
    table = table[~plain | (table["mode"] == "global")].reset_index(drop=True)
    plain = table["correction"].isin(["none", "k"])
    other = np.where(table["train_set"] == "irmas", "openmic", "irmas")
    return pd.DataFrame(
        {
            "corpus": "published",
            "embedding": table["embedding"],
            "correction": table["correction"],
            "mode": table["mode"].mask(plain, "none"),
            "alpha": np.where(plain, np.nan, 1.0),
            "label": "(mean)",
            "train_set": table["train_set"],
            "test_set": table["test_set"],
            "partner": other,
            "recogniser": "published",
            "seed": 42,
            "roc_auc": table["roc_auc"],
        }
    )


# What counts as little, in ROC-AUC: one point of a hundred. The paper's largest is 0.0056.
LITTLE = 0.01
PAIRS = tuple((train, test) for test in PUBLISHED_DATASETS for train in PUBLISHED_DATASETS)
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
    compute: Callable[[Samples], FloatArray | str]
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


def mean_fall(samples: Samples, embedding: str, correction: str = "none") -> FloatArray | str:
    """Return the mean of an embedding's two falls without correction, or why there is none."""
    falls = []
    for train, test in ACROSS:
        pair = [Cell(embedding, correction, "none", one, test) for one in (test, train)]
        absent = _absent(samples, pair)
        if absent:
            return absent
        falls.append(samples.mean(*pair))
    return np.mean(falls, axis=0)


def _falls_more(samples: Samples, more: str, less: str) -> FloatArray | str:
    first, second = mean_fall(samples, more), mean_fall(samples, less)
    if isinstance(first, str):
        return first
    return second if isinstance(second, str) else first - second


def _closer(samples: Samples) -> FloatArray | str:
    cells = [Cell(e, "none", "none", *pair) for e in PUBLISHED_EMBEDDINGS for pair in PAIRS]
    absent = _absent(samples, cells)
    if absent:
        return absent
    ranges = {}
    for pair in PAIRS:
        means = [samples.mean(Cell(e, "none", "none", *pair)) for e in PUBLISHED_EMBEDDINGS]
        ranges[pair] = _largest(means) - _smallest(means)
    across = np.mean([ranges[pair] for pair in ACROSS], axis=0)
    inside = np.mean([ranges[test, test] for test in PUBLISHED_DATASETS], axis=0)
    difference: FloatArray = across - inside
    return difference


def _yamnet_lead(samples: Samples) -> FloatArray | str:
    absent = _absent(
        samples, [Cell(e, "none", "none", *p) for e in PUBLISHED_EMBEDDINGS for p in ACROSS]
    )
    if absent:
        return absent
    leads = [
        samples.mean(Cell("yamnet", "none", "none", *pair), Cell(other, "none", "none", *pair))
        for pair in ACROSS
        for other in ("vggish", "openl3")
    ]
    return _smallest(leads)


def _largest_projection_gain(samples: Samples) -> FloatArray | str:
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


def _share_of_random_features(samples: Samples) -> FloatArray | str:
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


def _remaining_fall(samples: Samples) -> FloatArray | str:
    remaining = []
    for embedding in PUBLISHED_EMBEDDINGS:
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
        if cell.embedding in PUBLISHED_EMBEDDINGS and (cell.train_set, cell.test_set) in pairs
    ]


def _largest(figures: Sequence[FloatArray]) -> FloatArray:
    return max(figures, key=lambda draws: draws[0])


def _smallest(figures: Sequence[FloatArray]) -> FloatArray:
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


N_LABEL_REPLICATES = 10_000
N_TRACK_REPLICATES = 1_000
FEW_LABELS = 5
"""Below so many labels, resampling them tells little."""
BOTH = "(mean)"
SOURCE = (
    "C. Wang, G. Richard and B. McFee, Transfer Learning and Bias Correction with Pre-trained "
    "Audio Embeddings, ISMIR 2023 (arXiv 2307.10834)"
)
_KEYS = ["quantity", *Cell._fields]


@dataclass(frozen=True)
class Comparison:
    """Results beside the published ones; all figures in units of ROC-AUC.

    Attributes
    ----------
    table : pandas.DataFrame
        Columns `quantity`, `embedding`, `correction`, `mode`, `train_set`, `test_set`,
        `n_labels`, `ours`, `low`, `high`, `published` (NaN where nothing was), `difference`
        (ours minus published). Quantities: `mean`; `fall` (in-domain minus cross-dataset, the
        test set held fixed; `(mean)` for the mean over both test sets); `change against none`
        and `change against k`.
    claims : list of Claim
    notes : list of str
        What to know before reading the differences.
    n_matched : int
        How many of the 144 published means have a counterpart.
    record : dict
        How the intervals were made, versions, source.
    """

    table: pd.DataFrame
    claims: list[Claim]
    notes: list[str]
    n_matched: int
    record: dict[str, Any]

    def quantity(self, name: str) -> pd.DataFrame:
        """Return the rows of one quantity."""
        return self.table[self.table["quantity"] == name].reset_index(drop=True)

    def beside_published(self, name: str) -> pd.DataFrame:
        """Return all published figures of a quantity, with ours where there are any."""
        ours = self.quantity(name)[[*_KEYS, "n_labels", "ours", "low", "high"]]
        return published_figures(name).merge(ours, on=_KEYS, how="left")

    def claims_table(self) -> pd.DataFrame:
        """Return a row for each claim: name, statement, figure, numbers and verdict."""
        return pd.DataFrame(
            [
                {
                    "claim": claim.name,
                    "statement": claim.statement,
                    "figure": claim.figure,
                    "ours": claim.ours,
                    "low": claim.low,
                    "high": claim.high,
                    "published": claim.published,
                    "published_whole": claim.published_whole,
                    "verdict": claim.verdict,
                }
                for claim in self.claims
            ]
        )


def compare(
    results: pd.DataFrame,
    scores: pd.DataFrame | None = None,
    *,
    level: float = 0.95,
    n_replicates: int | None = None,
    seed: int = 0,
) -> Comparison:
    """Put results beside the published ones.

    Parameters
    ----------
    results : pandas.DataFrame
        The results table of an evaluation.
    scores : pandas.DataFrame, optional
        Its table of scores. With it, intervals come from resampled tracks of the test sets;
        without it, from resampled labels.
    level : float
        Coverage of the intervals, in (0, 1).
    n_replicates : int, optional
        Draws; default 10,000 of labels, 1,000 of tracks.
    seed : int

    Returns
    -------
    Comparison

    Raises
    ------
    ArgumentError
        If a table cannot be used, the two do not belong together, or an argument is out of
        range.
    """
    if not 0 < level < 1:
        raise ArgumentError(f"level must lie between 0 and 1, found {level}")
    if n_replicates is None:
        n_replicates = N_LABEL_REPLICATES if scores is None else N_TRACK_REPLICATES
    if n_replicates < 1:
        raise ArgumentError(f"n_replicates must be at least 1, found {n_replicates}")
    if scores is None:
        ours = Samples.of_results(results, n_replicates, seed)
    else:
        ours = Samples.of_scores(scores, results, n_replicates, seed)
    published = Samples.of_results(published_results())
    table = _beside_published(_figures(ours, level))
    table["difference"] = table["ours"] - table["published"]
    n_matched = _n_matched(ours)
    return Comparison(
        table,
        check_claims(ours, published, level),
        _notes(results, ours, n_matched),
        n_matched,
        {
            "source": SOURCE,
            "intervals": {
                "resampled": ours.resampled,
                "level": level,
                "n_replicates": n_replicates,
                "seed": seed,
            },
            "versions": versions("numpy", "pandas"),
        },
    )


def published_figures(quantity: str) -> pd.DataFrame:
    """Return the published means, or what follows from them.

    Parameters
    ----------
    quantity : str
        `mean`, `fall`, `change against none` or `change against k`; see `Comparison`.

    Returns
    -------
    pandas.DataFrame
        Columns `quantity`, `embedding`, `correction`, `mode`, `train_set`, `test_set`,
        `published`.

    Raises
    ------
    ArgumentError
        If there is no such quantity.
    """
    table = _published_table()
    names = list(dict.fromkeys(table["quantity"]))
    if quantity not in names:
        raise ArgumentError(f"quantity {quantity!r}: expected one of {', '.join(names)}")
    return table[table["quantity"] == quantity].reset_index(drop=True)


def published_claims() -> list[Claim]:
    """Return the claims as the published means answer them, without intervals."""
    published = Samples.of_results(published_results())
    return check_claims(published, published)


def write_comparison(
    comparison: Comparison, out: str | os.PathLike[str], **record: Any
) -> list[Path]:
    """Write the table (.csv or .parquet), and the claims, notes and record beside it as .json.

    Parameters
    ----------
    comparison : Comparison
    out : path
    **record
        Further entries of the record.

    Returns
    -------
    list of pathlib.Path
        The files written, the table last.
    """
    path = check_table_path(out)
    claims = [
        {
            **{key: _or_none(value) for key, value in row.items()},
            "holds": claim.holds,
            "clear": None if claim.holds is None else claim.clear,
        }
        for row, claim in zip(
            comparison.claims_table().to_dict("records"), comparison.claims, strict=True
        )
    ]
    content = {
        "claims": claims,
        "notes": comparison.notes,
        "n_published_means_matched": comparison.n_matched,
        **comparison.record,
        **record,
    }
    write_json(path.with_suffix(".json"), content)
    write_table(comparison.table, path)
    return [path.with_suffix(".json"), path]


def _figures(samples: Samples, level: float) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []

    def add(quantity: str, cell: Cell, draws: FloatArray, n_labels: int) -> None:
        low, high = samples.interval(draws, level)
        rows.append(
            {
                "quantity": quantity,
                **cell._asdict(),
                "n_labels": n_labels,
                "ours": float(draws[0]),
                "low": low,
                "high": high,
            }
        )

    for cell in samples.cells:
        add("mean", cell, samples.mean(cell), samples.n_labels(cell))
    falls: dict[Cell, list[tuple[FloatArray, int]]] = {}
    for cell in samples.cells:
        home = cell._replace(train_set=cell.test_set)
        if cell != home and home in samples:
            draws, n_labels = samples.mean(home, cell), samples.n_labels(home, cell)
            add("fall", cell, draws, n_labels)
            both = cell._replace(train_set=BOTH, test_set=BOTH)
            falls.setdefault(both, []).append((draws, n_labels))
    for both, parts in falls.items():
        if len(parts) == 2:
            mean = np.mean([draws for draws, _ in parts], axis=0)
            add("fall", both, mean, min(n for _, n in parts))
    for name in ("none", "k"):
        for cell in samples.cells:
            baseline = baseline_of(cell, name)
            corrects = cell.correction not in (("none",) if name == "none" else ("none", "k"))
            same_space = name == "none" or baseline_of(cell) == baseline
            if corrects and same_space and baseline is not None and baseline in samples:
                draws = samples.mean(cell, baseline)
                add(f"change against {name}", cell, draws, samples.n_labels(cell, baseline))
    return pd.DataFrame(rows)


def _beside_published(figures: pd.DataFrame) -> pd.DataFrame:
    """Add the published figures; NaN where nothing was published."""
    table = figures.merge(_published_table(), on=_KEYS, how="left")
    # A mean over both test sets is one of the paper's only if both falls are.
    both = table["train_set"] == BOTH
    settings = list(zip(table["embedding"], table["correction"], table["mode"], strict=True))
    others = {
        setting
        for setting, quantity, mean, published in zip(
            settings, table["quantity"], both, table["published"], strict=True
        )
        if quantity == "fall" and not mean and np.isnan(published)
    }
    table.loc[both & np.array([one in others for one in settings]), "published"] = np.nan
    return table


def _published_table() -> pd.DataFrame:
    figures = _figures(Samples.of_results(published_results()), level=0.95)
    return figures[[*_KEYS, "ours"]].rename(columns={"ours": "published"})


def _n_matched(ours: Samples) -> int:
    """Count the published means that have a counterpart; `none` and `k` stand in two rows."""
    table = published_means()
    plain = table["correction"].isin(["none", "k"])
    modes = table["mode"].mask(plain, "none")
    columns = [table["embedding"], table["correction"], modes, table["train_set"]]
    keys = zip(*columns, table["test_set"], strict=True)
    return sum(Cell(*key) in ours for key in keys)


def _notes(results: pd.DataFrame, ours: Samples, n_matched: int) -> list[str]:
    notes = []
    sets = list(dict.fromkeys([*ours.names("test_set"), *ours.names("train_set")]))
    if not n_matched:
        return [
            f"Nothing was published to set beside these results, of {', '.join(sets)} with "
            f"{', '.join(ours.names('embedding'))} (the paper: "
            f"{' and '.join(PUBLISHED_DATASETS)} with {', '.join(PUBLISHED_EMBEDDINGS)}). "
            "What follows is your own.",
            *_notes_on_labels(ours),
        ]
    unknown = [name for name in sets if name not in PUBLISHED_DATASETS]
    if unknown:
        notes.append(
            f"The published figures are for irmas and openmic; nothing was published for "
            f"{', '.join(unknown)}."
        )
    others = [name for name in ours.names("embedding") if name not in PUBLISHED_EMBEDDINGS]
    if others:
        notes.append(f"Nothing was published for the embedding(s) {', '.join(others)}.")
    n_test = _irmas_test_clips(results)
    if n_test is not None and n_test != {IRMAS_TEST_CLIPS}:
        found = " to ".join(f"{n:,}" for n in sorted({min(n_test), max(n_test)}))
        notes.append(
            f"These are not the paper's clips: irmas has {found} test clips here, "
            f"{IRMAS_TEST_CLIPS:,} in the paper. The published figures are for the real data, "
            f"so differences from them tell nothing about a reproduction."
        )
    if len(ours.labels) != N_LABELS:
        notes.append(
            f"Published means are over {N_LABELS} instruments, ours over {len(ours.labels)}: "
            f"{', '.join(ours.labels)}."
        )
    return notes + _notes_on_labels(ours)


def _notes_on_labels(ours: Samples) -> list[str]:
    notes = []
    if ours.resampled == "labels" and len(ours.labels) < FEW_LABELS:
        notes.append(
            f"WARNING: intervals from {len(ours.labels)} resampled labels are rough and very wide. "
            f"Keep the scores (biasmir evaluate --scores) and give them (--scores), then "
            f"tracks are resampled."
        )
    counts = {cell: ours.n_labels(cell) for cell in ours.cells}
    fewer = [cell for cell, n in counts.items() if n < len(ours.labels)]
    if fewer:
        one = fewer[0]
        notes.append(
            f"{len(fewer)} means are over fewer than {len(ours.labels)} labels, where a correction "
            f"could not be fitted; the first is {one.correction} {one.mode} of {one.embedding} "
            f"({counts[one]})."
        )
    return notes


def _irmas_test_clips(results: pd.DataFrame) -> set[int] | None:
    if "n_test" not in results:
        return None
    rows = results[
        (results["test_set"] == "irmas") & results["embedding"].isin(PUBLISHED_EMBEDDINGS)
    ]
    return {int(n) for n in rows["n_test"].unique()} or None


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and np.isnan(value) else value


WIDTH = 100
PAIRS_BESIDE_EACH_OTHER = 2


def comparison_text(comparison: Comparison) -> str:
    """Return the report: means, falls, changes, claims, notes.

    All figures are ROC-AUC times 100, that is points; published ones stand in brackets. Where
    nothing was published, as for a corpus of one's own, only what the results say by themselves
    is told.
    """
    if not comparison.n_matched:
        return _own_text(comparison)
    parts = [
        f"Mean ROC-AUC x 100 (published), train>test\n{_means(comparison)}",
        f"Fall without correction x 100: in-domain minus cross-dataset, the test set held fixed "
        f"(published)\n{_falls(comparison)}",
    ]
    for baseline in ("none", "k"):
        table = comparison.quantity(f"change against {baseline}")
        if len(table):
            parts.append(
                f"Change x 100 against {baseline}, mean of the cross-dataset pairs (published)\n"
                f"{_changes(table)}"
            )
    parts.append(_claims(comparison))
    parts.extend(_wrapped(f"Note: {note}", 6) for note in comparison.notes)
    return "\n\n".join(parts)


def _own_text(comparison: Comparison) -> str:
    """Return the report for results that have no published counterpart."""
    how = _intervals_in_words(comparison)
    parts = [
        _wrapped(comparison.notes[0], 0),
        f"Mean ROC-AUC x 100, train>test\n{_means(comparison)}",
        f"Fall without correction x 100: in-domain minus cross-dataset, the test set held fixed,"
        f"\n{how}\n{_own_falls(comparison)}",
    ]
    for baseline in ("none", "k"):
        table = comparison.quantity(f"change against {baseline}")
        if len(table):
            parts.append(f"Change x 100 against {baseline}, {how}\n{_own_changes(table)}")
    parts.extend(_wrapped(f"Note: {note}", 6) for note in comparison.notes[1:])
    return "\n\n".join(parts)


def _own_falls(comparison: Comparison) -> str:
    """Write the falls: a row for each pair, with its interval, where two have no common mean."""
    table = comparison.quantity("fall")
    table = table[table["correction"] == "none"]
    if not len(table) or (table["train_set"] == BOTH).any():
        return _falls(comparison)
    rows = [
        {
            "": f"{cell['embedding']} {cell['train_set']}>{cell['test_set']}",
            "fall": _with_interval(cell, False),
        }
        for cell in table.to_dict("records")
    ]
    return _columns(rows)


def _own_changes(table: pd.DataFrame) -> str:
    """Write what each correction changed across datasets, and how much of it is clear."""
    across = table[table["train_set"] != table["test_set"]]
    n_pairs = len(across.drop_duplicates(["train_set", "test_set"]))
    rows: list[dict[str, str]] = []
    for key, part in across.groupby(["embedding", "correction", "mode"], sort=False):
        setting, row = _setting(*map(str, key)), {}
        for cell in part.to_dict("records"):
            pair = f"{cell['train_set']}>{cell['test_set']}"
            change = _with_interval(cell, True)
            if n_pairs > PAIRS_BESIDE_EACH_OTHER:
                rows.append({"": f"{setting} {pair}", "change": change})
            else:
                row[pair] = change
        if row:
            rows.append({"": setting, **row})
    text = _columns(rows)
    if across["low"].notna().any():
        gains, losses = int((across["low"] > 0).sum()), int((across["high"] < 0).sum())
        text += (
            f"\n  of {len(across)} changes, {gains} up and {losses} down with the whole interval "
            f"on one side of 0"
        )
    return text


def _intervals_in_words(comparison: Comparison) -> str:
    how = comparison.record["intervals"]
    if how["resampled"] == "nothing":
        return "without intervals: there is one label only"
    what = "tracks of the test sets" if how["resampled"] == "tracks" else "labels"
    return (
        f"with {100 * how['level']:g} % intervals ({what} resampled {how['n_replicates']:,} times)"
    )


def _means(comparison: Comparison) -> str:
    table = comparison.quantity("mean")
    found = dict.fromkeys(zip(table["train_set"], table["test_set"], strict=True))
    pairs = [pair for pair in PAIRS if pair in found]
    pairs += [pair for pair in found if pair not in pairs]
    rows = []
    for key, part in table.groupby(["embedding", "correction", "mode"], sort=False):
        row = {"": _setting(*map(str, key))}
        for train, test in pairs:
            cell = part[(part["train_set"] == train) & (part["test_set"] == test)]
            row[f"{train}>{test}"] = _beside(cell)
        rows.append(row)
    apart = table["difference"].dropna()
    if not comparison.n_matched:
        return _columns(rows)
    last = f"  {comparison.n_matched} of 144 published means matched"
    if len(apart):
        last += (
            f"; ours minus published from {_in_points(apart.min(), True)} to "
            f"{_in_points(apart.max(), True)}, {_in_points(apart.abs().mean())} in the mean "
            "of sizes"
        )
    return f"{_columns(rows)}\n{last}"


def _falls(comparison: Comparison) -> str:
    table = comparison.quantity("fall")
    table = table[table["correction"] == "none"]
    rows = []
    for embedding, part in table.groupby("embedding", sort=False):
        row = {"": str(embedding)}
        order = [
            *PUBLISHED_DATASETS,
            *sorted(set(part["test_set"]) - {*PUBLISHED_DATASETS, BOTH}),
            BOTH,
        ]
        for test in (name for name in order if (part["test_set"] == name).any()):
            cell = part[part["test_set"] == test]
            row["mean" if test == BOTH else f"on {test}"] = _beside(cell)
            if test == BOTH:
                row["interval"] = _interval(cell["low"].iloc[0], cell["high"].iloc[0])
        rows.append(row)
    return _columns(rows) if rows else "  no cross-dataset rows without correction"


def _changes(table: pd.DataFrame) -> str:
    across = table[table["train_set"] != table["test_set"]]
    embeddings = list(dict.fromkeys(across["embedding"]))
    rows = []
    for (correction, mode), part in across.groupby(["correction", "mode"], sort=False):
        row = {"": _setting(str(correction), str(mode))}
        for embedding in embeddings:
            row[embedding] = _beside(part[part["embedding"] == embedding], sign=True)
        rows.append(row)
    return _columns(rows)


def _claims(comparison: Comparison) -> str:
    lines = [f"Claims, {_intervals_in_words(comparison)}"]
    for number, claim in enumerate(comparison.claims, start=1):
        verdict = re.sub("^[^,:]+", lambda words: words[0].upper(), claim.verdict)
        lines.append(_wrapped(f"{number:3d}. {claim.statement}: {verdict}", 5))
        figures = f"published {_in_points(claim.published, True)}"
        if claim.lacking:
            figures = (
                f"published, over the same part, {_in_points(claim.published, True)}, over all "
                f"{_in_points(claim.published_whole, True)}"
            )
        if claim.holds is not None:
            interval = "" if np.isnan(claim.low) else f" {_interval(claim.low, claim.high, True)}"
            figures = f"ours {_in_points(claim.ours, True)}{interval}, {figures}"
        lines.append(_wrapped(f"     {claim.figure}: {figures}", 5))
    return "\n".join(lines)


def _setting(*words: str) -> str:
    return " ".join(word for word in words if word != "none") or "none"


def _beside(cells: pd.DataFrame, sign: bool = False) -> str:
    """Write ours and, in brackets, the published figure; the mean if there are several rows."""
    if cells.empty:
        return "-"
    published = cells["published"].mean(skipna=False)
    text = _in_points(cells["ours"].mean(), sign)
    return text if np.isnan(published) else f"{text} ({_in_points(published, sign)})"


def _in_points(value: float, sign: bool = False) -> str:
    if np.isnan(value):
        return "-"
    # Adding zero turns a rounded -0.0 into 0.0.
    rounded = round(100 * value, 2) + 0.0
    return f"{rounded:+.2f}" if sign else f"{rounded:.2f}"


def _interval(low: float, high: float, sign: bool = False) -> str:
    return f"[{_in_points(low, sign)}, {_in_points(high, sign)}]"


def _with_interval(cell: Mapping[Hashable, Any], sign: bool) -> str:
    text = _in_points(cell["ours"], sign)
    if np.isnan(cell["low"]):
        return text
    return f"{text} {_interval(cell['low'], cell['high'], sign)}"


def _columns(rows: list[dict[str, str]]) -> str:
    """Align rows of texts: the first column to the left, the others to the right."""
    table = pd.DataFrame(rows).fillna("-")
    widths = [max(len(str(name)), *table[name].map(len)) for name in table.columns]
    lines = []
    for cells in (list(map(str, table.columns)), *table.to_numpy().tolist()):
        first, *others = [
            cell.rjust(width) if position else cell.ljust(width)
            for position, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        lines.append("  ".join(["", first, *others]).rstrip())
    return "\n".join(lines)


def _wrapped(text: str, indent: int) -> str:
    return "\n".join(textwrap.wrap(text, WIDTH, subsequent_indent=" " * indent))


SOURCES = ("paper-split", "paper-embeddings", "openmic")
REPRODUCED = ("paper",)


@dataclass(frozen=True)
class Reproduction:
    """Where the products are, and what the comparison says.

    Attributes
    ----------
    corpus : pathlib.Path
        The corpus folder.
    results : pathlib.Path
        Table of results, with a .json beside it.
    comparison : pathlib.Path
        Table of the comparison, with a .json beside it.
    report : pathlib.Path
        The report as a text file.
    text : str
        The report.
    """

    corpus: Path
    results: Path
    comparison: Path
    report: Path
    text: str


def reproduce(
    root: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    *,
    offline: bool = False,
    base_url: str | None = None,
    from_dir: str | os.PathLike[str] | None = None,
    embeddings: Sequence[str] = (),
    modes: Sequence[str] = PUBLISHED_MODES,
    scores: bool = False,
    jobs: int | None = None,
    progress: bool = False,
    scheduler: str | None = None,
    say: Callable[[str], object] = print,
) -> Reproduction:
    """Do the paper's experiment on its data, and put the results beside the published ones.

    Parameters
    ----------
    root : path, optional
        Folder of the fetched files; default as for `fetch`.
    out : path, optional
        Folder of what is made; default `reproduction` in `root`.
    offline : bool
        Whether to leave out the fetching, because everything is there.
    base_url, from_dir
        As for `fetch`.
    embeddings : sequence of str
        Of `published.EMBEDDINGS`; default those that the published file has.
    modes : sequence of str
        `global`, `classwise` or both.
    scores : bool
        Whether to keep the score of every test clip, and to resample tracks for the intervals.
    jobs : int, optional
        Processes of the evaluation; default all cores.
    progress : bool
        Whether to show a progress bar of the evaluation.
    scheduler : str, optional
        Dask scheduler whose workers do the evaluation, or `local`; see `evaluate`.
    say : callable
        Receives each line meant for the user.

    Returns
    -------
    Reproduction

    Raises
    ------
    DownloadError, CorpusError, ArgumentError
        Naming the file or argument; what was finished stays, and the next call goes on.
    """
    place = (Path(root).expanduser() if root is not None else default_root()).absolute()
    made = Path(out).absolute() if out is not None else place / "reproduction"
    for embedding in embeddings:
        if embedding not in PUBLISHED_EMBEDDINGS:
            raise ArgumentError(
                f"embedding {embedding!r}: published were {', '.join(PUBLISHED_EMBEDDINGS)}; for "
                f"others, use `biasmir evaluate`"
            )
    if offline:
        say("1/4 fetch: left out")
    else:
        say(f"1/4 fetch: {', '.join(SOURCES)}")
        fetch(SOURCES, place, base_url=base_url, from_dir=from_dir, say=say)
    corpus = _prepared(place, made / "corpus", say)
    paths = output_paths(made / "results.csv")
    table, report = made / "comparison.csv", made / "report.txt"
    aside = _evaluated(corpus, paths, embeddings, modes, scores, jobs, progress, scheduler, say)
    text = _compared(paths, table, report, scores, aside, say)
    return Reproduction(corpus.path, paths.results, table, report, text)


def _prepared(root: Path, folder: Path, say: Callable[[str], object]) -> Corpus:
    if not folder.exists():
        say(f"2/4 prepare: the corpus of the paper, in {folder}")
        with atomic_path(folder) as temporary:
            prepare_paper(root, temporary)
        return Corpus.load(folder)
    advice = f"remove the folder {folder} and start again"
    try:
        corpus = Corpus.load(folder)
    except CorpusError as error:
        raise CorpusError(f"{error}; or {advice}") from error
    for name, made_from in corpus.description.provenance.get("sources", {}).items():
        if not (root / name).is_file() or sha256(root / name) != made_from:
            raise CorpusError(f"{folder}: made from another file than {root / name}; {advice}")
    embeddings = [Path(entry.path) for entry in corpus.description.embedding_files]
    if embeddings != [(root / "paper" / "embeddings.h5").resolve()]:
        raise CorpusError(f"{folder}: made with other embeddings than those in {root}; {advice}")
    say(f"2/4 prepare: done before, {folder}")
    return corpus


def _evaluated(
    corpus: Corpus,
    paths: OutputPaths,
    embeddings: Sequence[str],
    modes: Sequence[str],
    scores: bool,
    jobs: int | None,
    progress: bool,
    scheduler: str | None,
    say: Callable[[str], object],
) -> str:
    """Evaluate unless it is done; return what is behind the names of older files, if any."""
    chosen = list(embeddings) or [e for e in PUBLISHED_EMBEDDINGS if e in corpus.embedding_names]
    if not chosen:
        raise CorpusError(
            f"{corpus.path}: none of {', '.join(PUBLISHED_EMBEDDINGS)} is among its embeddings "
            f"({', '.join(corpus.embedding_names)})"
        )
    plan = plan_evaluation(corpus, chosen, REPRODUCED, list(modes))
    if _is_done(plan, paths, scores):
        say(f"3/4 evaluate: done before, {paths.results}")
        return ""
    say(f"3/4 evaluate: {plan.describe(jobs).splitlines()[-1]}")
    found = run_plan(
        plan,
        scores=scores,
        jobs=jobs,
        progress=progress,
        resume=paths.tasks,
        scheduler=scheduler,
    )
    if aside := set_aside(found, paths.results):
        say(
            f"  the earlier {paths.results} was of other parameters or data; it is kept as "
            f"{aside}, and so are the files beside it"
        )
    write_evaluation(found, paths.results, task_keys(plan))
    if others := len(TaskStore(paths.tasks).keys()):
        say(f"  {paths.tasks} still has {others} finished task(s) of a call with other parameters")
    for warning in found.record["warnings"][:1]:
        n = len(found.record["warnings"])
        say(f"  {n} warning(s), all in {paths.record}; the first: {warning}")
    return aside.suffix if aside else ""


def _is_done(plan: Plan, paths: OutputPaths, scores: bool) -> bool:
    """Tell whether the results are there, of these parameters and these data."""
    if not paths.results.is_file() or (scores and not paths.scores.is_file()):
        return False
    record = _read_json(paths.record)
    return bool(
        record.get("parameters") == plan.parameters
        and record.get("versions", {}).get("biasmir_utils") == versions()["biasmir_utils"]
        and record.get("data") == plan.data.corpus.data_sums()
    )


def _compared(
    paths: OutputPaths,
    table: Path,
    report: Path,
    scores: bool,
    aside: str,
    say: Callable[[str], object],
) -> str:
    files = [paths.results, *([paths.scores] if scores else [])]
    made_from = {
        "results": {path.name: sha256(path) for path in files},
        "biasmir_utils": versions()["biasmir_utils"],
    }
    record = _read_json(table.with_suffix(".json"))
    if report.is_file() and table.is_file() and record.get("made_from") == made_from:
        say(f"4/4 compare: done before, {table}")
        return report.read_text(encoding="utf-8")
    say(f"4/4 compare: {table}")
    for path in (table, table.with_suffix(".json"), report) if aside else ():
        if path.is_file():
            os.replace(path, f"{path}{aside}")
    found = compare(read_table(paths.results), read_table(paths.scores) if scores else None)
    text = comparison_text(found) + "\n"
    with atomic_path(report) as temporary:
        temporary.write_text(text, encoding="utf-8")
    write_comparison(found, table, made_from=made_from)
    return text


def _read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; empty if there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
