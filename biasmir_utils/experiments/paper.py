"""The paper: what it published, what it claims, our results beside it, and all of it done again.

Source: C. Wang, G. Richard and B. McFee, "Transfer Learning and Bias Correction with Pre-trained
Audio Embeddings", ISMIR 2023 (arXiv 2307.10834). Real data: IRMAS and OpenMIC-2018, and the
authors' own extraction of the three embeddings.

- `published_figures`: mean ROC-AUC over ten instruments, retyped, and what follows from it;
- `compare`: results beside them. Rows are matched by embedding, correction, mode and train-test
  pair; what was never published stands alone;
- `published_claims`: the paper's two claims, taken apart into points that a number decides. Inside
  a dataset the embeddings are close, across datasets all of them fall, in a certain order; and a
  correction changes little, most of it through the random features rather than through its
  projection. Where a point needs a threshold that the paper does not give, it is ours, and its
  statement says it. Where a figure is the largest or smallest of several, the interval is that of
  the one which was measured to be so. (The largest of resampled figures is larger than the largest
  figure, since each draw picks its own.);
- `comparison_text`: what `biasmir compare` prints, in points of 100;
- `reproduce`: fetch, prepare, evaluate, compare. Each step leaves its product under one folder, and
  is skipped when that is there and was made from what is there now.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biasmir_utils.corpus import Corpus
from biasmir_utils.datasets import default_root, fetch, prepare_paper
from biasmir_utils.errors import ArgumentError, CorpusError
from biasmir_utils.experiments import run
from biasmir_utils.experiments.report import rendered
from biasmir_utils.experiments.results import check_table_path, read_table, write_table
from biasmir_utils.experiments.stats import FEW_LABELS, Cell, FloatArray, Samples, interval
from biasmir_utils.files import atomic_path, json_object, sha256, versions, write_json

PUBLISHED_EMBEDDINGS = ("vggish", "openl3", "yamnet")
PUBLISHED_CORRECTIONS = ("none", "lda", "mlda", "k", "klda", "mklda")
PUBLISHED_MODES = ("global", "classwise")
PUBLISHED_DATASETS = ("irmas", "openmic")
SOURCE = (
    "C. Wang, G. Richard and B. McFee, Transfer Learning and Bias Correction with Pre-trained "
    "Audio Embeddings, ISMIR 2023 (arXiv 2307.10834)"
)

# What each correction is put beside: the same recogniser without a projection.
BASELINES = {"lda": "none", "mlda": "none", "k": "none", "klda": "k", "mklda": "k"}
PAIRS = tuple((train, test) for test in PUBLISHED_DATASETS for train in PUBLISHED_DATASETS)
ACROSS = tuple((train, test) for train, test in PAIRS if train != test)


class _AbsentError(Exception):
    """A figure cannot be computed; says what the table lacks."""


@dataclass(frozen=True)
class _Figure:
    """A mean over labels, or what follows from such, as measured and for each draw."""

    draws: FloatArray
    n_labels: int  # over how many labels; the fewest, where several means take part

    def __sub__(self, other: _Figure) -> _Figure:
        return _Figure(self.draws - other.draws, min(self.n_labels, other.n_labels))

    def __lt__(self, other: _Figure) -> bool:
        return self.value < other.value

    @property
    def value(self) -> float:
        return float(self.draws[0])

    def ends(self, samples: Samples, level: float) -> tuple[float, float]:
        """Return the interval; that of few labels is stretched by how many were averaged."""
        few = samples.resampled == "labels"
        if few and self.n_labels < 2:  # one label tells nothing of the spread
            return np.nan, np.nan
        return interval(self.draws, level, self.n_labels if few else None)


def _average(figures: Iterable[_Figure]) -> _Figure:
    found = list(figures)
    draws = np.mean([figure.draws for figure in found], axis=0)
    return _Figure(draws, min(figure.n_labels for figure in found))


def _mean(samples: Samples, plus: Cell, minus: Cell | None = None) -> _Figure:
    """Return the mean over labels of a cell, or of a difference of two, taken label by label."""
    for cell in (plus, minus or plus):
        if cell not in samples:
            raise _AbsentError(
                f"the table has no {cell.embedding} with the correction {cell.correction} on "
                f"{cell.train_set}>{cell.test_set}"
            )
    return _Figure(samples.mean(plus, minus), samples.n_labels(plus, minus))


def _baseline(cell: Cell, correction: str | None = None) -> Cell:
    """Return what a correction is put beside: `none`, or `k` after random features, or another."""
    mode = "unlabelled" if cell.mode == "unlabelled" else "none"
    name = correction or BASELINES.get(cell.correction, "none")
    return cell._replace(correction=name, mode=mode)


def _plain(embedding: str, train: str, test: str) -> Cell:
    return Cell(embedding, "none", "none", train, test)


def _corrected(samples: Samples, pairs: Iterable[tuple[str, str]]) -> list[Cell]:
    """Return the cells of the paper's embeddings and corrections on some train-test pairs."""
    return [
        cell
        for cell in samples.cells
        if cell.embedding in PUBLISHED_EMBEDDINGS
        and cell.correction in BASELINES
        and (cell.train_set, cell.test_set) in pairs
    ]


def _mean_fall(samples: Samples, embedding: str) -> _Figure:
    return _average(
        _mean(samples, _plain(embedding, test, test), _plain(embedding, train, test))
        for train, test in ACROSS
    )


def _falls_more(samples: Samples, more: str, less: str) -> _Figure:
    return _mean_fall(samples, more) - _mean_fall(samples, less)


def _closer(samples: Samples, *embeddings: str) -> _Figure:
    ranges = {}
    for pair in PAIRS:
        means = [_mean(samples, _plain(name, *pair)) for name in embeddings]
        ranges[pair] = max(means) - min(means)
    inside = _average(ranges[name, name] for name in PUBLISHED_DATASETS)
    return _average(ranges[pair] for pair in ACROSS) - inside


def _lead(samples: Samples, first: str, *others: str) -> _Figure:
    return min(
        _mean(samples, _plain(first, *pair), _plain(other, *pair))
        for pair in ACROSS
        for other in others
    )


def _largest_projection_gain(samples: Samples) -> _Figure:
    gains = [
        _mean(samples, cell, _baseline(cell))
        for cell in _corrected(samples, PAIRS)
        if cell.correction != "k" and _baseline(cell) in samples
    ]
    if not gains:
        raise _AbsentError("no projection with its baseline in the table")
    return max(gains)


def _share_of_random_features(samples: Samples) -> _Figure:
    found = []
    for cell in _corrected(samples, ACROSS):
        none, k = (cell._replace(correction=name, mode="none") for name in ("none", "k"))
        linear = BASELINES[cell.correction] == "none"
        if cell.correction != "k" and none in samples and (linear or k in samples):
            found.append((_mean(samples, cell, none).value, linear, cell, none, k))
    if all(linear for _, linear, *_ in found):
        raise _AbsentError("no klda or mklda with none and k in the table")
    _, linear, cell, none, k = max(found, key=lambda one: one[0])
    if linear:  # all of the gain is the projection's
        return _mean(samples, none, cell)
    return _mean(samples, k, none) - _mean(samples, cell, k)


def _remaining_fall(samples: Samples) -> _Figure:
    remaining = [
        _mean(samples, inside, cell)
        for cell in _corrected(samples, ACROSS)
        if (inside := _plain(cell.embedding, cell.test_set, cell.test_set)) in samples
    ]
    if not remaining:
        raise _AbsentError("no correction in the table")
    return min(remaining)


_COMPUTED: dict[str, Callable[..., _Figure]] = {
    "close in-domain": _closer,
    **dict.fromkeys(("fall of VGGish", "fall of YAMNet", "fall of OpenL3"), _mean_fall),
    **dict.fromkeys(("YAMNet after VGGish", "OpenL3 after YAMNet"), _falls_more),
    "YAMNet on top": _lead,
    "projections add little": _largest_projection_gain,
    "random features first": _share_of_random_features,
    "the fall remains": _remaining_fall,
}
"""How the figure of each claim in `published_claims.csv` follows from results and embeddings."""


def _checked_claims(ours: Samples, published: Samples, level: float) -> pd.DataFrame:
    """Return a row for each claim: what it says, our figure, the published one, the verdict."""
    claims = _read("published_claims.csv").itertuples(index=False)
    return pd.DataFrame([_checked(claim, ours, published, level) for claim in claims])


def _checked(claim: Any, ours: Samples, published: Samples, level: float) -> dict[str, Any]:
    compute, embeddings = _COMPUTED[claim.claim], claim.embeddings.split()
    whole = compute(published, *embeddings).value
    try:
        known = compute(published.only(ours.cells), *embeddings).value
    except _AbsentError:
        known = whole
    lacking, holds, clear = "", None, None
    try:
        if absent := [name for name in embeddings if name not in ours.names("embedding")]:
            raise _AbsentError(f"the table lacks {' and '.join(absent)}")
        mine = compute(ours, *embeddings)
        if np.isnan(mine.value):
            raise _AbsentError("no label has all of its means")
    except _AbsentError as error:
        value = low = high = np.nan
        verdict = f"not checked: {error}"
    else:
        value, (low, high) = mine.value, mine.ends(ours, level)
        lacking = _lacking(ours, published) if claim.whole == "yes" else ""
        holds = value > claim.bound if claim.side == "above" else value < claim.bound
        clear = low > claim.bound or high < claim.bound
        verdict = "holds" if holds else "does not hold"
        if lacking:
            verdict += f", over a part of what it is about (the table lacks {lacking})"
        if not (clear or np.isnan(low)):
            verdict += ", but the interval has both sides"
    said = {"claim": claim.claim, "statement": claim.statement, "figure": claim.figure}
    figures = {"ours": value, "low": low, "high": high, "published": known}
    answer = {"published_whole": whole, "verdict": verdict, "holds": holds, "clear": clear}
    return {**said, **figures, **answer, "lacking": lacking}


def _lacking(ours: Samples, published: Samples) -> str:
    """Name what a table has nothing of, though it was published; empty if it has all of it."""
    names = [
        name
        for part in ("embedding", "correction", "mode")
        for name in published.names(part)
        if name not in ours.names(part)
    ]
    absent = sum(cell not in ours for cell in published.cells)
    if absent and not names:
        return f"{absent} of {len(published.cells)} published means"
    return ", ".join(names)


def _read(name: str) -> pd.DataFrame:
    with files("biasmir_utils.experiments").joinpath(name).open(encoding="utf-8") as file:
        return pd.read_csv(file, comment="#", keep_default_na=False)


@lru_cache(maxsize=1)
def _published() -> Samples:
    wide = _read("published_mean_auc.csv")
    table = wide.melt(["embedding", "correction", "mode"], var_name="pair", value_name="roc_auc")
    table[["train_set", "test_set"]] = table["pair"].str.split(">", expand=True)
    table["roc_auc"] = (table["roc_auc"] / 100).round(4)
    return Samples.of_results(table.assign(label="mean", alpha=np.nan))


_PAPER = {
    "datasets": PUBLISHED_DATASETS,
    "embeddings": PUBLISHED_EMBEDDINGS,
    "labels": 10,
    # Every test clip of IRMAS is scored for every instrument; of OpenMIC-2018 the observed ones.
    "test_clips": 1666,
}
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
        test set held fixed); `mean fall` (over both test sets, which are blank); `change against
        none` and `change against k`.
    claims : pandas.DataFrame
        The paper's claims, held against these results, a row each; see `published_claims`.
    notes : list of str
        What to know before reading the differences.
    n_matched : int
        How many of the 144 published means have a counterpart.
    record : dict
        How the intervals were made, versions, source.
    """

    table: pd.DataFrame
    claims: pd.DataFrame
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
        without it, from resampled labels, and are stretched by how many labels were averaged
        (see `interval_over_labels`).
    level : float
        Coverage of the intervals, in (0, 1).
    n_replicates : int, optional
        Draws, at least 1; default 10,000 of labels, 1,000 of tracks.
    seed : int
        Of the draws.

    Returns
    -------
    Comparison

    Raises
    ------
    ArgumentError
        If a table cannot be used, the two do not belong together, or an argument is out of
        range.
    """
    if "roc_auc" not in results and "r2" in results:
        raise ArgumentError(
            "the table is of numbers that were estimated (r2, mae), for which nothing was "
            "published; evaluate labels to compare, or put two such tables side by side by r2"
        )
    if n_replicates is None:
        n_replicates = 10_000 if scores is None else 1_000
    if n_replicates < 1:
        raise ArgumentError(f"n_replicates must be at least 1, found {n_replicates}")
    if scores is None:
        ours = Samples.of_results(results, n_replicates, seed)
    else:
        ours = Samples.of_scores(scores, results, n_replicates, seed)
    published = _published()
    table = _figures(ours, published, level)
    table["difference"] = table["ours"] - table["published"]
    # The paper prints what has nothing to fit twice, once for each mode.
    found = [cell for cell in published.cells if cell in ours]
    n_matched = sum(2 if cell.mode == "none" else 1 for cell in found)
    drawn = {"resampled": ours.resampled, "level": level, "n_replicates": n_replicates}
    record = {"source": SOURCE, "intervals": {**drawn, "seed": seed}}
    record["versions"] = versions("numpy", "pandas")
    claims = _checked_claims(ours, published, level)
    return Comparison(table, claims, _notes(results, ours, n_matched), n_matched, record)


def published_figures(quantity: str) -> pd.DataFrame:
    """Return the published means, or what follows from them.

    Parameters
    ----------
    quantity : str
        `mean`, `fall`, `mean fall`, `change against none` or `change against k`; see
        `Comparison`.

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
    table = _figures(_published(), _published(), 0.95)[[*_KEYS, "published"]]
    names = list(dict.fromkeys(table["quantity"]))
    if quantity not in names:
        raise ArgumentError(f"quantity {quantity!r}: expected one of {', '.join(names)}")
    return table[table["quantity"] == quantity].reset_index(drop=True)


def published_cosines() -> pd.DataFrame:
    """Return the published cosines between the dataset's direction and a recogniser's.

    Returns
    -------
    pandas.DataFrame
        Columns `embedding` (OpenL3 and YAMNet), `train_set`, `label` and `cosine`, in [-1, 1]: of
        the LDA that tells the two datasets apart and the in-domain recogniser of the label.
    """
    table = _read("published_cosines.csv").melt("label", var_name="cell", value_name="cosine")
    table[["embedding", "train_set"]] = table["cell"].str.split(">", expand=True)
    return table[["embedding", "train_set", "label", "cosine"]]


def published_claims() -> pd.DataFrame:
    """Return the paper's claims as its own means answer them, without intervals.

    Returns
    -------
    pandas.DataFrame
        A row for each point: `claim` (short), `statement`, `figure` (what is computed, in units of
        ROC-AUC), `ours` with the ends `low` and `high` of its interval (NaN where there is none),
        `published` (the same from the published means of the embeddings and corrections that the
        results have; of all, if ours cannot be computed) and `published_whole` (from all of
        them), `verdict` in words, `holds` and `clear` (whether our figure, and its whole interval,
        lie on the claimed side, or on one; None if not checked), `lacking` (for a claim about
        everything published: which part the results lack; empty if nothing).
    """
    return _checked_claims(_published(), _published(), 0.95)


def write_comparison(
    comparison: Comparison, out: str | os.PathLike[str], **record: Any
) -> list[Path]:
    """Write the table (.csv or .parquet), and the claims, notes and record beside it as .json.

    Parameters
    ----------
    comparison : Comparison
        What `compare` returned.
    out : path
        Of the table.
    **record
        Further entries of the record.

    Returns
    -------
    list of pathlib.Path
        The files written, the table last.
    """
    path = check_table_path(out)
    record["files"] = [path.with_suffix(".json").name, path.name]
    claims = comparison.claims.drop(columns="lacking").astype(object)
    content = {
        "claims": claims.replace({np.nan: None}).to_dict("records"),
        "notes": comparison.notes,
        "n_published_means_matched": comparison.n_matched,
        **comparison.record,
        **record,
    }
    write_json(path.with_suffix(".json"), content)
    write_table(comparison.table, path)
    return [path.with_suffix(".json"), path]


def _differences(samples: Samples) -> Iterator[tuple[str, Cell, list[tuple[Cell, Cell | None]]]]:
    """Yield what is told of a table: quantity, cell, and the differences that it averages."""
    for cell in samples.cells:
        yield "mean", cell, [(cell, None)]
    both: dict[Cell, list[tuple[Cell, Cell | None]]] = {}
    for cell in samples.cells:
        home = cell._replace(train_set=cell.test_set)
        if cell != home and home in samples:
            yield "fall", cell, [(home, cell)]
            both.setdefault(cell._replace(train_set="", test_set=""), []).append((home, cell))
    yield from (("mean fall", mean, two) for mean, two in both.items() if len(two) == 2)
    for name in ("none", "k"):
        for cell in samples.cells:
            baseline = _baseline(cell, name)
            one_space = name == "none" or _baseline(cell) == baseline
            if cell != baseline and cell.correction != "none" and one_space and baseline in samples:
                yield f"change against {name}", cell, [(cell, baseline)]


def _figures(ours: Samples, published: Samples, level: float) -> pd.DataFrame:
    rows = []
    for quantity, cell, differences in _differences(ours):
        figure = _average(_mean(ours, *pair) for pair in differences)
        try:
            known = _average(_mean(published, *pair) for pair in differences).value
        except _AbsentError:
            known = np.nan
        ends = figure.ends(ours, level)
        names = (name or None for name in cell)  # of both test sets: blank
        rows.append([quantity, *names, figure.n_labels, figure.value, *ends, known])
    return pd.DataFrame(rows, columns=[*_KEYS, "n_labels", "ours", "low", "high", "published"])


def _notes(results: pd.DataFrame, ours: Samples, n_matched: int) -> list[str]:
    """Say in what the data differ from the paper's, and how far the figures can be trusted."""
    sets = list(dict.fromkeys([*ours.names("test_set"), *ours.names("train_set")]))
    embeddings, labels = ours.names("embedding"), ours.labels
    tested = (results["test_set"] == "irmas") & results["embedding"].isin(PUBLISHED_EMBEDDINGS)
    counts = [(cell, ours.n_labels(cell)) for cell in ours.cells]
    text = rendered(
        "comparison.txt.jinja",
        part="notes",
        n_matched=n_matched,
        sets=sets,
        embeddings=embeddings,
        labels=labels,
        unknown=[name for name in sets if name not in PUBLISHED_DATASETS],
        others=[name for name in embeddings if name not in PUBLISHED_EMBEDDINGS],
        sizes=sorted(set(results.loc[tested, "n_test"])) if "n_test" in results else [],
        fewer=[(cell, n) for cell, n in counts if n < len(labels)],
        resampled=ours.resampled,
        few=FEW_LABELS,
        paper=_PAPER,
    )
    return text.splitlines()


def comparison_text(comparison: Comparison) -> str:
    """Return the report: means, falls, changes, claims, notes.

    All figures are ROC-AUC times 100, that is points; published ones stand in brackets. The
    claims are told where something of the paper's is in the results.

    Parameters
    ----------
    comparison : Comparison
        What `compare` returned.
    """
    means = comparison.quantity("mean")
    means["pair"] = means["train_set"] + ">" + means["test_set"]
    known = [f"{train}>{test}" for train, test in PAIRS]
    order = sorted(means["pair"].unique(), key=lambda p: known.index(p) if p in known else 4)
    falls = []
    for cell in comparison.table.query("correction == 'none'").to_dict("records"):
        if cell["quantity"] in ("fall", "mean fall"):
            both = cell["quantity"] == "mean fall"
            pair = "mean of both" if both else f"{cell['train_set']}>{cell['test_set']}"
            row = {"": f"{cell['embedding']} {pair}", "fall": _beside(pd.DataFrame([cell]))}
            falls.append({**row, "interval": _interval(cell["low"], cell["high"])})
    changes = []
    for baseline in ("none", "k"):
        across = comparison.quantity(f"change against {baseline}")
        across = across[across["train_set"] != across["test_set"]]
        if len(across):
            names = across["embedding"].drop_duplicates()
            grid = _grid(across, ["correction", "mode"], "embedding", names, sign=True)
            up, down = int((across["low"] > 0).sum()), int((across["high"] < 0).sum())
            n = len(across) if across["low"].notna().any() else 0
            changes.append((baseline, grid, up, down, n))
    claims = comparison.claims.assign(
        verdict=comparison.claims["verdict"].str.replace(
            "^[^,:]+", lambda words: words[0].upper(), regex=True
        )
    )
    return rendered(
        "comparison.txt.jinja",
        part="text",
        n_matched=comparison.n_matched,
        how=comparison.record["intervals"],
        means=_grid(means, ["embedding", "correction", "mode"], "pair", order),
        apart=means["difference"].dropna(),
        falls=_columns(falls) if falls else "",
        changes=changes,
        claims=claims.to_dict("records"),
        comparison_notes=comparison.notes,
        points=_in_points,
        ends=_interval,
    )


def _grid(
    table: pd.DataFrame, rows: list[str], column: str, order: Iterable[str], sign: bool = False
) -> str:
    """Write a table with a row for each setting; the mean, where several rows share a place."""
    lines = []
    for key, part in table.groupby(rows, sort=False):
        setting = " ".join(word for word in map(str, key) if word != "none") or "none"
        own = dict(iter(part.groupby(column)))
        texts = {name: _beside(own[name], sign) if name in own else "-" for name in order}
        lines.append({"": setting, **texts})
    return _columns(lines)


def _beside(cells: pd.DataFrame, sign: bool = False) -> str:
    """Write ours and, in brackets, the published figure; the mean if there are several rows."""
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
    return "-" if np.isnan(low) else f"[{_in_points(low, sign)}, {_in_points(high, sign)}]"


def _columns(rows: list[dict[str, str]]) -> str:
    """Align rows of texts: the first column to the left, the others to the right."""
    table = pd.DataFrame(rows).fillna("-").set_index("").rename_axis(None)
    return textwrap.indent(table.to_string(), "  ")


SOURCES = ("paper-split", "paper-embeddings", "openmic")


@dataclass(frozen=True)
class Reproduction:
    """Where the products are, and what the comparison says.

    Attributes
    ----------
    results : pathlib.Path
        Table of results, with a .json beside it.
    comparison : pathlib.Path
        Table of the comparison, with a .json beside it.
    report : pathlib.Path
        The report as a text file.
    text : str
        The report.
    """

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

    An interrupted download or evaluation goes on where it was.

    Parameters
    ----------
    root : path, optional
        Folder of the fetched files; default as for `fetch`.
    out : path, optional
        Folder of what is made; default `reproduction` in `root`.
    offline : bool
        Whether to leave out the fetching, because everything is there.
    base_url, from_dir : optional
        Where to fetch from, as for `fetch`.
    embeddings : sequence of str
        Of `PUBLISHED_EMBEDDINGS`; default those that the published file has.
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
    place = Path(root or default_root()).expanduser().absolute()
    made = Path(out or place / "reproduction").absolute()
    published = ", ".join(PUBLISHED_EMBEDDINGS)
    for name in (one for one in embeddings if one not in PUBLISHED_EMBEDDINGS):
        raise ArgumentError(
            f"embedding {name!r}: published were {published}; for others, use `biasmir evaluate`"
        )
    if offline:
        say("1/4 fetch: left out")
    else:
        say(f"1/4 fetch: {', '.join(SOURCES)}")
        fetch(SOURCES, place, base_url=base_url, from_dir=from_dir, say=say)
    corpus = _prepared(place, made / "corpus", say)
    names = corpus.embedding_names
    chosen = list(embeddings) or [name for name in PUBLISHED_EMBEDDINGS if name in names]
    if not chosen:
        raise CorpusError(
            f"{corpus.path}: none of {published} is among its embeddings ({', '.join(names)})"
        )
    paths = run.OutputPaths(made / "results.csv")
    plan = run.plan_evaluation(corpus, chosen, ("paper",), list(modes))
    if _is_done(plan.parameters, corpus, paths, scores):
        say(f"3/4 evaluate: done before, {paths.results}")
    else:
        say(f"3/4 evaluate: {len(plan.tasks)} tasks")
        paths.check()
        how: dict[str, Any] = {"jobs": jobs, "progress": progress, "scheduler": scheduler}
        found = run.run_plan(plan, scores=scores, resume=paths.tasks, **how)
        run.write_evaluation(found, paths.results, run.task_keys(plan))
        if others := len(run.TaskStore(paths.tasks).keys()):
            say(f"  {paths.tasks} has {others} finished task(s) of a call with other parameters")
        if warned := found.record["warnings"]:
            say(f"  {len(warned)} warning(s), all in {paths.record}; the first: {warned[0]}")
    table, report = made / "comparison.csv", made / "report.txt"
    text = _compared(paths, table, report, scores, say)
    return Reproduction(paths.results, table, report, text)


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


def _is_done(parameters: Any, corpus: Corpus, paths: run.OutputPaths, scores: bool) -> bool:
    """Tell whether the results are there, of these parameters, data and program."""
    if not paths.results.is_file() or (scores and not paths.scores.is_file()):
        return False
    record = json_object(paths.record)
    made_by = record.get("versions", {}).get("biasmir_utils")
    known = (record.get("parameters"), record.get("data"), made_by)
    return known == (parameters, corpus.data_sums(), versions()["biasmir_utils"])


def _compared(
    paths: run.OutputPaths, table: Path, report: Path, scores: bool, say: Callable[[str], object]
) -> str:
    files = [paths.results, *([paths.scores] if scores else [])]
    made_from = {
        "results": {path.name: sha256(path) for path in files},
        "biasmir_utils": versions()["biasmir_utils"],
    }
    record = json_object(table.with_suffix(".json"))
    if report.is_file() and table.is_file() and record.get("made_from") == made_from:
        say(f"4/4 compare: done before, {table}")
        return report.read_text(encoding="utf-8")
    say(f"4/4 compare: {table}")
    found = compare(read_table(paths.results), read_table(paths.scores) if scores else None)
    text = comparison_text(found) + "\n"
    with atomic_path(report) as temporary:
        temporary.write_text(text, encoding="utf-8")
    write_comparison(found, table, made_from=made_from)
    return text
