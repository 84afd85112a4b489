"""Tables of results: their columns, their files, and the summary that is printed."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.metrics import metric_named, metrics_of
from biasmir_utils.experiments.protocol import CATEGORY, NUMBER
from biasmir_utils.files import atomic_path, check_outputs, read_json

# Names, which are texts whatever they look like: a dataset 007, a label 1e5.
NAME_COLUMNS = ("corpus", "embedding", "correction", "mode", "label", "train_set", "test_set")
KEY_COLUMNS = (*NAME_COLUMNS[:4], "alpha", *NAME_COLUMNS[4:], "partner", "recogniser", "seed")
SCORE_COLUMNS = (*KEY_COLUMNS, "clip", "track", "group", "y_true", "score", "probability")
_TEXTS = (*NAME_COLUMNS, "partner", "recogniser", "clip", "track", "group", "dataset", "pair")
TABLE_SUFFIXES = (".csv", ".parquet")
UNLABELLED = "unlabelled"
"""The mode in which the other dataset's labels are not looked at; see `evaluate.MODES`."""

# What tells the rows of one recogniser setting from those of another, labels and sets aside.
SETTING = ("embedding", "correction", "mode", "alpha")


def result_columns(kind: str) -> tuple[str, ...]:
    """Return the columns of a results table for a kind of target: keys, counts, metrics."""
    counts = {CATEGORY: ("n_classes",), NUMBER: ()}.get(kind, ("n_pos_test",))
    metrics = (metric.name for metric in metrics_of(kind))
    return (*KEY_COLUMNS, "n_train", "n_test", *counts, "C", *metrics)


def check_table_path(path: str | os.PathLike[str]) -> Path:
    """Return the path if a table can be written under its suffix.

    Raises
    ------
    ArgumentError
        If the suffix is neither `.csv` nor `.parquet`.
    """
    path = Path(path)
    if path.suffix not in TABLE_SUFFIXES:
        raise ArgumentError(
            f"{path}: the suffix tells the format, expected {' or '.join(TABLE_SUFFIXES)}"
        )
    return path


def check_table_outputs(
    table: str | os.PathLike[str], columns: Iterable[str], *others: Path
) -> Path:
    """Return the path if a table, and what goes beside it, can be written and replaces only such.

    Parameters
    ----------
    table : path
    columns : iterable of str
        Columns that such a table has: one that is there and has them may be replaced.
    *others : pathlib.Path
        What goes beside it; may be replaced if the record, with the suffix .json, lists it under
        `files`, with the table.

    Raises
    ------
    ArgumentError
        As of `check_table_path` and `files.check_outputs`; also for a name that a corpus in this
        folder would take for its clip table.
    """
    path = check_table_path(table)
    if path.stem == "clips" and path.with_name("corpus.json").is_file():
        raise ArgumentError(
            f"{path} cannot be written: it would be read as the corpus's clip table; choose "
            f"another name"
        )

    def is_ours(file: Path) -> bool:
        try:
            if file == path:
                return set(columns) <= set(read_table(file))
            return {path.name, file.name} <= set(read_json(path.with_suffix(".json"))["files"])
        except (OSError, ValueError, KeyError, TypeError):
            return False

    check_outputs([path, *others], is_ours)
    return path


def write_table(table: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a table as CSV or Parquet, by the suffix; the file is whole or absent.

    Floats in CSV are written so that reading them gives the same number.
    """
    path = check_table_path(path)
    with atomic_path(path) as temporary:
        if path.suffix == ".csv":
            table.to_csv(temporary, index=False, lineterminator="\n")
        else:
            table.to_parquet(temporary, index=False)


def read_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a table that `write_table` wrote.

    Raises
    ------
    ArgumentError
        If the file is missing or is not such a table.
    """
    path = check_table_path(path)
    if not path.is_file():
        raise ArgumentError(f"{path}: no such file")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        # pandas would take words such as "none" or "NA", which may be names, for missing.
        texts: Any = dict.fromkeys(_TEXTS, str)
        return pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=texts)
    except Exception as error:
        raise ArgumentError(f"{path}: cannot be read as a table ({error})") from error


def mean_over_labels(results: pd.DataFrame, metric: str = "roc_auc") -> pd.DataFrame:
    """Return the mean of a metric over labels, a column for each train-test pair.

    Parameters
    ----------
    results : pandas.DataFrame
        A results table with at most one pair of datasets a train-test pair; with more than two
        datasets, in-domain values are averaged over the partners.
    metric : str
        A column.

    Returns
    -------
    pandas.DataFrame
        Rows: embedding, correction, mode, alpha, in the order of the table. Columns: (train
        set, test set).
    """
    keys = [name for name in SETTING if name in results]
    sets = ["train_set", "test_set"]
    means = results.groupby([*keys, *sets], sort=False, dropna=False)[metric].mean()
    return means.unstack(sets, sort=False)


def falls(results: pd.DataFrame, metric: str = "roc_auc") -> pd.DataFrame:
    """Return what each recogniser loses when it comes from the other dataset.

    The test set is held fixed: fall = in-domain metric on a test set minus the metric there of
    the recogniser that was trained on the other dataset.

    Parameters
    ----------
    results : pandas.DataFrame
        A results table.
    metric : str
        A column.

    Returns
    -------
    pandas.DataFrame
        A row for each label, setting, test set and other training set: the key columns, with
        `train_set` the other dataset, `in_domain`, `cross` and `fall`.

    Raises
    ------
    ArgumentError
        If an in-domain row is there more than once.
    """
    keys = [
        name for name in KEY_COLUMNS if name in results and name not in ("train_set", "partner")
    ]
    inside = results[results["train_set"] == results["test_set"]]
    across = results[results["train_set"] != results["test_set"]]
    # The in-domain recogniser of a cross row is the one whose resampling had the same partner.
    inside = inside.rename(columns={metric: "in_domain", "partner": "other"})
    across = across.rename(columns={metric: "cross"}).assign(other=across["train_set"])
    if inside.duplicated([*keys, "other"]).any():
        raise ArgumentError("in-domain rows are there more than once; select one of them")
    table = across[[*keys, "train_set", "other", "cross"]].merge(
        inside[[*keys, "other", "in_domain"]], on=[*keys, "other"], how="left"
    )
    table["fall"] = table["in_domain"] - table["cross"]
    return table.drop(columns="other")[[*keys, "train_set", "in_domain", "cross", "fall"]]


def changes(results: pd.DataFrame, baseline: str = "none", metric: str = "roc_auc") -> pd.DataFrame:
    """Return what each correction changes against a baseline, label by label.

    Parameters
    ----------
    results : pandas.DataFrame
        A results table.
    baseline : str
        Name of a correction, such as `none`, or `k` for the corrections after random features.
        Rows of the mode `unlabelled`, whose recognisers have other training clips, are put beside
        the baseline of that mode.
    metric : str
        A column.

    Returns
    -------
    pandas.DataFrame
        The rows of all other corrections with their key columns, `baseline` (its metric),
        `corrected`, and `change`, their difference.

    Raises
    ------
    ArgumentError
        If the baseline is not there, or more than once (in several modes or doses).
    """
    own = [name for name in KEY_COLUMNS if name in results]
    keys = [name for name in own if name not in ("correction", "mode", "alpha")]
    is_baseline = results["correction"] == baseline
    if "mode" in results:
        results = results.assign(unlabelled=results["mode"] == UNLABELLED)
        keys = [*keys, "unlabelled"]
    reference = results.loc[is_baseline, [*keys, metric]].rename(columns={metric: "baseline"})
    if reference.empty:
        names = ", ".join(dict.fromkeys(results["correction"]))
        raise ArgumentError(f"the table has no correction {baseline!r}; it has {names}")
    if reference.duplicated(keys).any():
        raise ArgumentError(f"{baseline!r} is there in several modes or doses; select one of them")
    columns = list(dict.fromkeys([*own, *keys, metric]))
    table = results.loc[~is_baseline, columns].merge(reference, on=keys, how="left")
    table = table.rename(columns={metric: "corrected"})
    table["change"] = table["corrected"] - table["baseline"]
    return table[[*own, "baseline", "corrected", "change"]]


def summarise(results: pd.DataFrame) -> str:
    """Return a text: the main metric's mean over labels for each train-test pair, and the falls.

    The mean fall of two datasets over both directions comes before that on each test set, which
    also holds what else differs, such as the number of tracks that were trained on. The main metric
    is ROC-AUC, for numbers R2. Every pair of datasets has a block of its own.
    """
    if results.empty:
        return "no results"
    metric = "roc_auc" if "roc_auc" in results else "r2"
    heading, seeds = metric_named(metric).heading, results["seed"].nunique()
    others = results["test_set"].where(
        results["train_set"] != results["test_set"], results["partner"]
    )
    ends = zip(results["train_set"], others, strict=True)
    pairs = pd.Series([frozenset(pair) for pair in ends], results.index)
    told = "train>test; fall = in-domain minus cross-dataset on that test set"
    blocks = []
    for pair in dict.fromkeys(pairs):
        part = results[pairs == pair]
        over = f"over {part['label'].nunique()} label(s)" + f" and {seeds} seeds" * (seeds > 1)
        blocks.append(("/".join(dict.fromkeys(part["train_set"])), over, _block(part, metric)))
    if len(blocks) == 1:
        return f"Mean {heading} {over}, {told}\n{blocks[0][-1]}"
    parts = [f"{names}, {over}\n{table}" for names, over, table in blocks]
    return "\n\n".join([f"Mean {heading}, {told}", *parts])


def _block(results: pd.DataFrame, metric: str) -> str:
    """Return the means of one pair of datasets as lines: a row for each setting."""
    fall = falls(results, metric)
    labels = results["label"].nunique()
    settings = mean_over_labels(results, metric).index.to_frame(index=False).to_dict("records")
    columns = {"": [_setting_name(setting) for setting in settings]}
    ways: Any = mean_over_labels(fall, "fall") if len(fall) else pd.DataFrame()
    for what, rows, column, form in (("", results, metric, ".3f"), ("fall ", fall, "fall", "+.3f")):
        for k, (one, other) in enumerate(ways if rows is fall else ()):
            if (other, one) in list(ways)[k + 1 :]:
                both = (ways[one, other] + ways[other, one]) / 2
                columns[f"mean fall {one}/{other}"] = [format(value, form) for value in both]
        known = rows.dropna(subset=[column]).groupby(["train_set", "test_set"])["label"].nunique()
        for pair, values in mean_over_labels(rows, column).items() if len(rows) else ():
            name, n = f"{what}{'>'.join(pair)}", known.get(pair, 0)  # type: ignore[arg-type]
            name += "" if n == labels else f" (n={n})"
            columns[name] = [format(value, form) for value in values]
    return pd.DataFrame(columns).to_string(index=False, justify="right")


def _setting_name(setting: Mapping[Hashable, Any]) -> str:
    text = str(setting["embedding"])
    if setting.get("correction", "none") != "none":
        text += f" {setting['correction']}"
    if setting.get("mode", "none") != "none":
        text += f" {setting['mode']}"
    alpha = setting.get("alpha", np.nan)
    if not np.isnan(alpha) and alpha != 1:
        text += f" alpha={alpha:g}"
    return text
