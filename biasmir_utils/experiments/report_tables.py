"""The tables of a full report, from the metrics of all recognisers under all bootstrap draws."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from biasmir_utils.experiments.information import information_used
from biasmir_utils.experiments.metrics import LOWER_IS_BETTER
from biasmir_utils.experiments.planning import Plan
from biasmir_utils.experiments.resampled import metrics_of
from biasmir_utils.experiments.results import UNLABELLED
from biasmir_utils.experiments.shift import SHIFT_MEASURES
from biasmir_utils.experiments.significance import holm, paired_wilcoxon
from biasmir_utils.experiments.tasks import TaskResult

Array = NDArray[Any]
FloatArray = NDArray[np.float64]

LEVEL = 0.95
BOTH, MEAN, WORST = "(both)", "(mean)", "(worst)"
SETTING = ("embedding", "correction", "mode", "alpha", "pair")
WHERE = ("across", "inside", "pooled")
"""Tested on the other dataset, on the same, or on the test sets of both together."""


class Variant(NamedTuple):
    """A correction in a mode and a dose."""

    correction: str
    mode: str
    alpha: float | None


NONE = "none"
"""No correction; its mode tells which clips its recognisers are trained on."""


@dataclass(frozen=True)
class Block:
    """All metrics of one embedding and pair of datasets.

    Attributes
    ----------
    values : ndarray, (n_variants, 2, 3, n_labels, n_metrics, 1 + n_replicates)
        By variant, training set, test set (the third is both), label, metric; mean over seeds.
    by_seed : ndarray, (n_seeds, n_variants, 2, 3, n_labels, n_metrics)
        As measured.
    """

    embedding: str
    pair: tuple[str, str]
    variants: list[Variant]
    labels: list[str]
    values: NDArray[np.float32]
    by_seed: FloatArray


def _where(values: Array, where: str, seeds: bool = False) -> Array:
    """Return metrics for `across`, `inside` or `pooled`, the mean over the two training sets.

    The axes of training and test sets go; with `seeds` they come after the first axis.
    """
    test = {"across": (1, 0), "inside": (0, 1), "pooled": (2, 2)}[where]
    lead = (slice(None), slice(None)) if seeds else (slice(None),)
    mean: Array = (values[(*lead, 0, test[0])] + values[(*lead, 1, test[1])]) / 2
    return mean


def changes_table(block: Block, metrics: Sequence[str]) -> pd.DataFrame:
    """Return the changes against no correction, and of other modes against `unlabelled`."""
    rows = []
    pairs = []
    position = {variant: k for k, variant in enumerate(block.variants)}
    for k, (correction, mode, alpha) in enumerate(block.variants):
        if correction != NONE:
            plain = mode if mode == UNLABELLED else "none"
            pairs.append((k, position[Variant(NONE, plain, None)], NONE))
        other = position.get(Variant(correction, UNLABELLED, alpha))
        if mode in ("none", "global") and other is not None:
            pairs.append((k, other, UNLABELLED))
    for where in WHERE:
        values = _where(block.values, where)
        by_seed = _where(block.by_seed, where, seeds=True)
        for m, metric in enumerate(metrics):
            if not _has_mean(block, metric):
                continue
            for k, baseline, name in pairs:
                difference = values[k, :, m] - values[baseline, :, m]
                worst = _worst(values[:, :, m], metric)
                seeds = _nanmean(by_seed[:, k, :, m] - by_seed[:, baseline, :, m], 1)
                mean = _nanmean(difference, 0)
                rows.append(
                    {
                        **_about(block, k),
                        "baseline": name,
                        "where": where,
                        "metric": metric,
                        "before": _nanmean(values[baseline, :, m, 0], 0),
                        "after": _nanmean(values[k, :, m, 0], 0),
                        "change": mean[0],
                        **_interval("", mean),
                        "worst_change": (worst[k] - worst[baseline])[0],
                        **_interval("worst_", worst[k] - worst[baseline]),
                        "n_labels": int((~np.isnan(difference[:, 0])).sum()),
                        "p": paired_wilcoxon(difference[:, 0]),
                        "seed_sd": float(seeds.std(ddof=1)) if len(seeds) > 1 else np.nan,
                        "seed_low": float(seeds.min()),
                        "seed_high": float(seeds.max()),
                    }
                )
    table = pd.DataFrame(rows)
    if table.empty:
        return table
    # A family: all corrections of one embedding and pair, for one metric in one place.
    family = table.groupby(["baseline", "where", "metric"], sort=False)["p"]
    table["p_holm"] = family.transform(holm)
    return table


def task_table(block: Block, metrics: Sequence[str]) -> pd.DataFrame:
    """Return the metrics of each label, their mean and their worst."""
    rows = []
    for k, _ in enumerate(block.variants):
        for train, test in np.ndindex(2, 3):
            for m, metric in enumerate(metrics):
                values = block.values[k, train, test, :, m]
                means = {}
                if _has_mean(block, metric):
                    worst = _worst(values[np.newaxis], metric)[0]
                    means = {MEAN: _nanmean(values, 0), WORST: worst}
                for label, draws in [*means.items(), *zip(block.labels, values, strict=True)]:
                    rows.append(
                        {
                            **_about(block, k),
                            "train_set": block.pair[train],
                            "test_set": [*block.pair, BOTH][test],
                            "label": label,
                            "metric": metric,
                            "value": float(draws[0]),
                            **_interval("", draws),
                        }
                    )
    return pd.DataFrame(rows)


def _has_mean(block: Block, metric: str) -> bool:
    """Return whether a mean over the targets says something: not of errors in several units."""
    return metric != "mae" or len(block.labels) == 1


def _about(block: Block, k: int) -> dict[str, Any]:
    correction, mode, alpha = block.variants[k]
    dose = np.nan if alpha is None else alpha
    setting = (block.embedding, correction, mode, dose, "/".join(block.pair))
    return dict(zip(SETTING, setting, strict=True))


def _worst(values: Array, metric: str) -> Array:
    """Return the worst over the labels, the axis after the first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        worst: Array = (np.nanmax if metric in LOWER_IS_BETTER else np.nanmin)(values, axis=1)
    return worst


def _nanmean(values: Array, axis: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmean(np.asarray(values, dtype=np.float64), axis=axis)


def _interval(prefix: str, draws: Array) -> dict[str, float]:
    """Return the percentile interval of draws, the first of which is what was measured."""
    again = draws[1:][~np.isnan(draws[1:])]
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(again, [tail, 1 - tail]) if len(again) else (np.nan, np.nan)
    return {f"{prefix}low": float(low), f"{prefix}high": float(high)}


def shift_table(found: Sequence[TaskResult]) -> pd.DataFrame:
    """Return means and ranges over the labels' fits of what was judged."""
    judged = pd.DataFrame([row for result in found for row in result.judged])
    grouped = judged.groupby([*SETTING, "measure"], sort=False, dropna=False)
    table = grouped.agg(
        value=("value", "mean"),
        low=("value", "min"),
        high=("value", "max"),
        chance=("chance", "mean"),
        chance_high=("chance_high", "mean"),
        control=("control", "mean"),
        n_fits=("value", "size"),
    )
    return table.reset_index()


def summary_table(
    plan: Plan, changes: pd.DataFrame, task: pd.DataFrame, shift: pd.DataFrame
) -> pd.DataFrame:
    """Return a row for each correction, from the three other tables."""
    keys = list(SETTING)
    summary = task[keys].drop_duplicates(ignore_index=True)
    specs = {spec.name: spec for one in plan.tasks for spec, _ in one.variants}
    targets = [subject.name for subject in plan.data.subjects]
    summary["needs"] = [specs[name].information for name in summary["correction"]]
    summary["information"] = [
        information_used(specs[name], mode, plan.kind, targets, bool(plan.data.corpus.groups))
        for name, mode in summary[["correction", "mode"]].itertuples(index=False)
    ]
    metrics = metrics_of(plan.kind)
    main = metrics[0]
    of_mean = task[(task["label"] == MEAN) & (task["metric"] == main)]
    for name, same in (("inside", True), ("across", False)):
        chosen = of_mean[of_mean["test_set"] != BOTH]
        chosen = chosen[(chosen["train_set"] == chosen["test_set"]) == same]
        means = chosen.groupby(keys, dropna=False)["value"].mean().rename(f"{main}_{name}")
        summary = summary.merge(means.reset_index(), on=keys, how="left")
    own = changes[changes["baseline"] == NONE] if len(changes) else changes
    for where, metric in [(where, metric) for where in WHERE for metric in metrics]:
        if own.empty:
            break
        part = own[(own["where"] == where) & (own["metric"] == metric)].copy()
        if where == "inside" and metric == main:
            # A loss is what went down.
            part[["change", "low", "high"]] = -part[["change", "high", "low"]].to_numpy()
        columns = _change_columns(where, metric, main)
        part = part[[*keys, *columns]].rename(columns=columns)
        summary = summary.merge(part, on=keys, how="left")
    for measure, part in shift.groupby("measure", sort=False):
        columns = {"value": str(measure)}
        if measure in SHIFT_MEASURES:
            columns["chance"] = str(measure) + "_chance"
        elif measure != "rank":
            columns["control"] = str(measure) + "_control"
        part = part[[*keys, *columns]].rename(columns=columns)
        summary = summary.merge(part, on=keys, how="left")
    return summary


def _change_columns(where: str, metric: str, main: str) -> dict[str, str]:
    """Return which columns of `changes` go to the summary, and their names there."""
    if metric == main and where != "pooled":
        name = {"across": "gain", "inside": "loss"}[where]
        columns = {"change": name, "low": f"{name}_low", "high": f"{name}_high"}
        columns |= {"p": f"{name}_p", "p_holm": f"{name}_p_holm", "seed_sd": f"{name}_seed_sd"}
        return columns | {"worst_change": f"worst_label_{where}"}
    name = f"{metric}_{where}_change"
    return {"change": name, "low": f"{name}_low", "high": f"{name}_high"}
