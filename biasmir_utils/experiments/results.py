"""Tables of results: their columns, their files, and the summary that is printed."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.metrics import metric_named, metrics_of
from biasmir_utils.experiments.protocol import CATEGORY, NUMBER
from biasmir_utils.files import atomic_path, check_outputs, json_object, read_json

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
        As of `check_table_path` and `files.check_outputs`.
    """
    path = check_table_path(table)

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


def join_runs(paths: Sequence[str | os.PathLike[str]]) -> tuple[pd.DataFrame, list[str]]:
    """Put the results of several evaluations of labels, tags or categories into one table.

    All means of a pair of datasets are over the same labels: those that have a fall in both
    directions in every row. Seeds are averaged.

    Parameters
    ----------
    paths : sequence of path
        Tables of results. A run is called by the name of its file, where files have one name by
        that of its folder. Its record and its full report are read where they stand beside it.

    Returns
    -------
    table : pandas.DataFrame
        A row for each `run`, `embedding`, `correction`, `mode`, `alpha` and `pair` of datasets, of
        each pair the best across first: `in_domain`, `across` and `fall`, the mean ROC-AUC over
        both directions and `n_labels` labels, the test set held fixed; `probe`, ROC-AUC of a
        linear probe of the dataset (NaN without a full report; over all labels of the run);
        `dimension`, of the embedding (missing if the record does not tell it).
    notes : list of str
        Which labels were left out, and in what the runs differ besides embeddings and corrections.

    Raises
    ------
    ArgumentError
        If a table has not the columns of `evaluate`, if two have one name, or if no label is left.
    """
    files = [Path(path) for path in paths]
    stems, folders = [one.stem for one in files], [one.absolute().parent.name for one in files]
    names = [b if stems.count(a) > 1 else a for a, b in zip(stems, folders, strict=True)]
    if len(set(names)) < len(names):
        raise ArgumentError(f"two runs have one name ({', '.join(names)}): rename file or folder")
    parts, facts = zip(*map(_read_run, files, names), strict=True)
    rows, keys = pd.concat(parts, ignore_index=True), ["run", *SETTING, "pair"]
    rows["row"] = rows.groupby(keys, sort=False, dropna=False).ngroup()
    known = rows.dropna(subset="fall")
    known = known[known.groupby(["row", "label"])["test_set"].transform("nunique") == 2]
    has = known.groupby(["pair", "label"])["row"].transform("nunique")
    kept = known[has == known["pair"].map(rows.groupby("pair")["row"].nunique())]
    all_labels, used = (set(zip(own["pair"], own["label"], strict=True)) for own in (rows, kept))
    left = [f"{label} ({pair})" for pair, label in sorted(all_labels - used)]
    notes = [f"left out, as not all have both falls: {', '.join(left)}"] if left else []
    if kept.empty:
        raise ArgumentError(f"the runs have no label in common; {'; '.join(notes)}")
    told = pd.DataFrame(dict(zip(names, facts, strict=True)))
    for what, values in told[told.nunique(axis=1) > 1].iterrows():
        each = "; ".join(f"{value} ({run})" for run, value in values.dropna().items())
        notes.append(f"the runs differ in {str(what).replace('_', ' ')}: {each}")
    sizes = kept.groupby(["label", "test_set"])["n_test"].nunique()
    if (sizes > 1).any():
        notes.append(f"the runs differ in test sets, as in clips of {' in '.join(sizes.idxmax())}")
    how = dict.fromkeys(keys, "first") | dict.fromkeys(["in_domain", "across", "fall"], "mean")
    how |= {"label": "nunique", "probe": "first", "dimension": "first"}
    table = kept.groupby("row").agg(how).rename(columns={"label": "n_labels"})
    order = table.sort_values(["pair", "across"], ascending=[True, False], kind="stable")
    return order.astype({"dimension": "Int64"}).reset_index(drop=True), notes


def _read_run(file: Path, name: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the falls of a run, and what may tell its results from those of others."""
    own, record = read_table(file), json_object(file.with_suffix(".json"))
    if missing := {*KEY_COLUMNS, "n_test", "roc_auc"} - set(own):
        raise ArgumentError(f"{file}: no column {min(missing)!r} as `biasmir evaluate` writes it")
    columns = ("corpus", "train_set", "recogniser", "seed")
    facts = {what: ", ".join(map(str, np.unique(own[what]))) for what in columns}
    facts["record"] = "there" if record else "missing, so that clips may differ unseen"
    for told in (record, record.get("parameters", {}), record.get("data", {})):
        beside = {"target", "match", "left_out", "clips.csv", "clips.parquet"} & set(told)
        facts |= {what: str(told[what])[:40] for what in beside}
    rows = falls(own, "roc_auc").rename(columns={"cross": "across"}).assign(run=name, probe=np.nan)
    rows = rows.merge(own.groupby(["label", "test_set"], as_index=False)["n_test"].max())
    rows["pair"] = ["/".join(sorted(two)) for two in rows[["train_set", "test_set"]].to_numpy()]
    rows["dimension"] = rows["embedding"].map(record.get("dimensions", {})).astype(float)
    if (report := file.with_suffix(f".report{file.suffix}")).is_file():
        judged = read_table(report).rename(columns={"linear_probe": "probe"})
        judged["pair"] = ["/".join(sorted(pair.split("/"))) for pair in judged["pair"]]
        rows = rows.drop(columns="probe").merge(
            judged.reindex(columns=[*SETTING, "pair", "probe"]), how="left"
        )
    return rows, facts
