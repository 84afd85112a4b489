"""Our results beside the published ones: means, falls, changes, and the claims.

Rows are matched by embedding, correction, mode and train-test pair. Results on other data sets
or embeddings are shown without a published figure beside them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.claims import Claim, baseline_of, check_claims
from biasmir_utils.experiments.published import (
    DATASETS,
    EMBEDDINGS,
    IRMAS_TEST_CLIPS,
    N_LABELS,
    published_means,
    published_results,
)
from biasmir_utils.experiments.results import check_table_path, write_table
from biasmir_utils.experiments.samples import Cell, Draws, Samples
from biasmir_utils.files import versions, write_json

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

    def add(quantity: str, cell: Cell, draws: Draws, n_labels: int) -> None:
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
    falls: dict[Cell, list[tuple[Draws, int]]] = {}
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
            f"{', '.join(ours.names('embedding'))} (the paper: {' and '.join(DATASETS)} with "
            f"{', '.join(EMBEDDINGS)}). What follows is your own.",
            *_notes_on_labels(ours),
        ]
    unknown = [name for name in sets if name not in DATASETS]
    if unknown:
        notes.append(
            f"The published figures are for irmas and openmic; nothing was published for "
            f"{', '.join(unknown)}."
        )
    others = [name for name in ours.names("embedding") if name not in EMBEDDINGS]
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
    rows = results[(results["test_set"] == "irmas") & results["embedding"].isin(EMBEDDINGS)]
    return {int(n) for n in rows["n_test"].unique()} or None


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and np.isnan(value) else value
