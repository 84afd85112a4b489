"""A full report on corrections: gained, lost, left, damaged, seen, and how sure one can be.

It is made from what the tasks of an evaluation found (scores of test clips, probes of the
corrections) and fits nothing itself. Its tables have the columns `embedding`, `correction`,
`mode`, `alpha` and `pair` (the two datasets), and these:

`changes`
    What each correction changes, mean over labels, over both directions and over seeds.
    `baseline`: against what (`none`, with recognisers trained on the same clips; or the same
    correction in the mode `unlabelled`); `where`: `across` datasets, `inside`, or `pooled` over
    both test sets (the clips with the label of each dataset, and those without, counting alike:
    else whoever scores the dataset with more positives higher would gain by it); `metric`;
    `before`, `after`, `change`, with `low` and `high`, the 95 % interval from tracks drawn again;
    `worst_change`, `worst_low`, `worst_high`: of the worst label, the one
    that is worst after against the one that was worst before; `n_labels`; `p`, of Wilcoxon's test
    over the labels, and `p_holm`, corrected for all corrections of the embedding and pair;
    `seed_sd`, `seed_low`, `seed_high`: of the change over the resampling seeds.
`task`
    The metrics themselves: `train_set`, `test_set` (`(both)` is pooled), `label` (also `(mean)`,
    `(worst)`), `metric`, `value`, `low`, `high`.
`shift`
    What is left of the difference of the datasets, and the damage done, on test clips: `measure`
    (see `shift`), `value`, its range `low` to `high` over the fits (one for each label and seed),
    `chance`, `chance_high`, `control`, `n_fits`.
`summary`
    A row for each correction: what it `needs` of the target and the `information` it was given;
    the main metric `_inside` and `_across`; `gain` and `loss` of it with interval, p and SD over
    seeds; `worst_label_across`, `worst_label_inside`; `<metric>_<where>_change` with interval; the
    measures of `shift`.

What a correction was allowed to see of the dataset that its recogniser is taken to.

The levels, from nothing to everything, are `corrections.names.INFORMATION`: `source only`;
`unlabelled target`, its training clips; `grouped target`, with their genres; `labelled target`,
with the labels that are to be recognised.

What a method needs is one thing, what an experiment gives it another. The paper's protocol fits
every correction on training rows that were matched by their labels, the target's too, so there
even a correction that needs no labels has seen some, or, where rows are only drawn by the shares
of the genres (tags, numbers), the genres. The mode `unlabelled` does neither.

The tables of a full report, from the metrics of all recognisers under all bootstrap draws.

What a reader must know to read the tables of a full report right.

A full report as Markdown: tables that can be pasted into a paper, and how to read them.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from biasmir_utils.corrections import INFORMATION, Correction, parse_correction
from biasmir_utils.experiments.evaluate import (
    REPORT_SEEDS,
    Plan,
    TaskResult,
    process_count,
    skipped_lines,
)
from biasmir_utils.experiments.metrics import (
    LOWER_IS_BETTER,
    alike,
    metrics_of,
    shared_track_weights,
    weighted_metrics,
)
from biasmir_utils.experiments.protocol import CATEGORY, GROUP, LABEL, NUMBER, TAGS
from biasmir_utils.experiments.results import UNLABELLED
from biasmir_utils.experiments.separability import N_FOLDS, SHIFT_MEASURES
from biasmir_utils.experiments.stats import holm, paired_wilcoxon, smallest_p

SOURCE_ONLY, UNLABELLED_TARGET, GROUPED, LABELLED = INFORMATION


def information_used(
    spec: Correction,
    mode: str = "global",
    kind: str = LABEL,
    targets: Sequence[str] = (),
    grouped: bool = True,
) -> str:
    """Return what a correction sees of the target dataset in an experiment.

    Parameters
    ----------
    spec : Correction
    mode : {'none', 'global', 'classwise', 'unlabelled'}
        On which training rows it is fitted; see `planning.MODES`.
    kind : {'label', 'tags', 'category', 'number'}
        What is recognised. Rows are matched by label for a label and a category only.
    targets : sequence of str
        Names of the targets: a correction that uses groups has seen the labels where the groups
        are the target.
    grouped : bool
        Whether the clips have groups.

    Returns
    -------
    str
        One of `corrections.names.INFORMATION`. The number of clips that a recogniser is
        trained on is cut down to what the target has to offer; that does not count here.
    """
    level = spec.information
    if level == SOURCE_ONLY:
        return level
    matched = mode != UNLABELLED
    if matched and grouped and level == UNLABELLED_TARGET:
        level = GROUPED
    by_labels = kind in (LABEL, CATEGORY) and matched
    if by_labels or mode == "classwise" or (level == GROUPED and GROUP in targets):
        return LABELLED
    return level


Array = NDArray[Any]
FloatArray = NDArray[np.float64]

LEVEL = 0.95
BOTH_TESTS, MEAN_OF_LABELS, WORST = "(both)", "(mean)", "(worst)"
PAIR_SETTING = ("embedding", "correction", "mode", "alpha", "pair")
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
                    means = {MEAN_OF_LABELS: _nanmean(values, 0), WORST: worst}
                for label, draws in [*means.items(), *zip(block.labels, values, strict=True)]:
                    rows.append(
                        {
                            **_about(block, k),
                            "train_set": block.pair[train],
                            "test_set": [*block.pair, BOTH_TESTS][test],
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
    return dict(zip(PAIR_SETTING, setting, strict=True))


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
    grouped = judged.groupby([*PAIR_SETTING, "measure"], sort=False, dropna=False)
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
    keys = list(PAIR_SETTING)
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
    of_mean = task[(task["label"] == MEAN_OF_LABELS) & (task["metric"] == main)]
    for name, same in (("inside", True), ("across", False)):
        chosen = of_mean[of_mean["test_set"] != BOTH_TESTS]
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


N_REPLICATES = 1000
WORTH_PROCESSES = 500
"""Scored test sets from which on more than one process draws them again."""


@dataclass(frozen=True)
class Report:
    """The tables of a full report.

    Attributes
    ----------
    summary : pandas.DataFrame
        A row for each embedding, correction, mode, dose and pair of datasets.
    changes : pandas.DataFrame
        A long table; see `biasmir_utils.experiments.report`.
    task : pandas.DataFrame
        A long table, likewise.
    shift : pandas.DataFrame
        A long table, likewise.
    kind : str
        What is recognised; see `targets`.
    facts : dict
        Numbers of labels, seeds, test clips (also the fewest and most that one label was tested
        on) and tracks, replicates; pairs that share tracks; whether there are groups; embeddings
        that were corrected before; warnings of the corpus.
    """

    summary: pd.DataFrame
    changes: pd.DataFrame
    task: pd.DataFrame
    shift: pd.DataFrame
    kind: str
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        """The metric of gains and losses, `roc_auc`, of a number `r2`."""
        return metrics_of(self.kind)[0]


def build_report(
    plan: Plan,
    found: Sequence[TaskResult],
    n_replicates: int = N_REPLICATES,
    seed: int = 0,
    jobs: int | None = None,
) -> Report:
    """Make the report of an evaluation whose plan has `report`.

    Parameters
    ----------
    plan : Plan
    found : sequence of TaskResult
        With scores and `judged`.
    n_replicates : int
        Draws of the tracks of each test set.
    seed : int
        Of the draws.
    jobs : int, optional
        Processes; default all cores, where it is worth to start them.
    """
    tracks, n_clips, n_tested = _tracks(found)
    corpus = plan.data.corpus
    shared = corpus.shared_tracks
    to_draw = tracks
    if shared:
        to_draw = dict.fromkeys(tracks, np.unique(np.concatenate(list(tracks.values()))))
    every_cell = _cells(plan, found)
    asked = [
        Variant(spec.name, mode, spec.alpha if spec.corrects else None)
        for task in plan.tasks
        for spec, mode in task.variants
    ]
    calls = [
        joblib.delayed(_block_tables)(
            plan.kind,
            *name,
            list(dict.fromkeys(asked)),
            plan.parameters["seeds"],
            cells,
            _Draws({dataset: to_draw[dataset] for dataset in name[1]}, n_replicates, seed, shared),
        )
        for name, cells in every_cell.items()
    ]
    n_cells = sum(len(cells) for cells in every_cell.values())
    n_jobs = 1 if n_cells < WORTH_PROCESSES else process_count(jobs, len(calls))
    changes, task, n_labels = zip(*joblib.Parallel(n_jobs=n_jobs)(calls), strict=True)
    shift = shift_table(found)
    tables = pd.concat(changes, ignore_index=True), pd.concat(task, ignore_index=True)
    summary = summary_table(plan, tables[0], tables[1], shift)
    pairs = dict.fromkeys(pair for _, pair in every_cell)
    facts = {
        "n_labels": max(n_labels),
        "seeds": plan.parameters["seeds"],
        "n_replicates": n_replicates,
        "test": {
            dataset: {
                "clips": n_clips[dataset],
                "fewest": min(n_tested[dataset]),
                "most": max(n_tested[dataset]),
                "tracks": len(names),
            }
            for dataset, names in tracks.items()
        },
        "grouped": bool(corpus.groups),
        "corrected": {
            name: corpus.model_record(name)["source"]
            for name in plan.parameters["embeddings"]
            if "correction" in corpus.model_record(name)
        },
        "warnings": list(corpus.warnings),
        "shared_tracks": [
            "/".join(pair)
            for pair in pairs
            if shared and np.isin(tracks[pair[0]], tracks[pair[1]]).any()
        ],
    }
    return Report(summary, *tables, shift, plan.kind, facts)


Cells = dict[tuple[str, int, Variant, str, str], tuple[dict[str, Array], float]]
"""Label, seed, variant, training and test set -> the table of scores, and the threshold."""


def _tracks(
    found: Sequence[TaskResult],
) -> tuple[dict[str, Array], dict[str, int], dict[str, set[int]]]:
    """Return the tracks of each test set, sorted, its clips, and how many single labels have."""
    track_of: dict[str, dict[str, str]] = {}
    n_tested: dict[str, set[int]] = {}
    for result in found:
        for key, arrays in result.scores:
            clips = track_of.setdefault(key["test_set"], {})
            clips.update(zip(arrays["clip"], map(str, arrays["track"]), strict=True))
            n_tested.setdefault(key["test_set"], set()).add(len(arrays["clip"]))
    tracks = {
        name: np.unique(np.array(list(c.values()), dtype=str)) for name, c in track_of.items()
    }
    return tracks, {name: len(clips) for name, clips in track_of.items()}, n_tested


def _cells(plan: Plan, found: Sequence[TaskResult]) -> dict[tuple[str, tuple[str, str]], Cells]:
    """Return the scores by embedding and pair of datasets."""
    order = list(plan.data.datasets)
    cells: dict[tuple[str, tuple[str, str]], Cells] = {}
    for result in found:
        for key, arrays in result.scores:
            first, second = sorted((key["train_set"], key["partner"]), key=order.index)
            alpha = None if np.isnan(key["alpha"]) else float(key["alpha"])
            variant = Variant(key["correction"], key["mode"], alpha)
            where = (key["label"], key["seed"], variant, key["train_set"], key["test_set"])
            needed = {name: arrays[name] for name in arrays if name not in ("clip", "group")}
            own = cells.setdefault((key["embedding"], (first, second)), {})
            own[where] = (needed, key["threshold"])
    return cells


class _Draws:
    """Draws of the tracks of test sets, shared by all that is tested on them.

    With `shared`, test sets hold the same tracks, and the draws are of these.
    """

    def __init__(
        self, tracks: dict[str, Array], n_replicates: int, seed: int, shared: bool = False
    ) -> None:
        self.tracks, self.n_replicates, self.seed = tracks, n_replicates, seed
        self.shared = shared
        self._kept: dict[tuple[str, str], NDArray[np.float32]] = {}

    def weights(self, dataset: str, label: str, tracks: Array) -> NDArray[np.float32]:
        """Return the weights of the clips of a label in a test set, (1 + n_replicates, n)."""
        if (dataset, label) not in self._kept:
            if len(self._kept) > 8:
                self._kept.clear()
            own_seed = [self.seed] if self.shared else [self.seed, *dataset.encode()]
            self._kept[dataset, label] = shared_track_weights(
                self.tracks[dataset], tracks.astype(str), self.n_replicates, own_seed
            )
        return self._kept[dataset, label]


def _block_tables(
    kind: str,
    embedding: str,
    pair: tuple[str, str],
    asked: list[Variant],
    seeds: list[int],
    cells: Cells,
    draws: _Draws,
) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """Return the two tables of one embedding and pair, and how many labels they have."""
    block = _block(kind, embedding, pair, asked, seeds, cells, draws)
    metrics = metrics_of(kind)
    return changes_table(block, metrics), task_table(block, metrics), len(block.labels)


def _block(
    kind: str,
    embedding: str,
    pair: tuple[str, str],
    asked: list[Variant],
    seeds: list[int],
    cells: Cells,
    draws: _Draws,
) -> Block:
    labels = list(dict.fromkeys(where[0] for where in cells))
    there = {where[2] for where in cells}
    named = [variant for variant in asked if variant in there]
    variants = sorted(named, key=lambda variant: variant.correction != NONE)
    n_metrics = len(metrics_of(kind))
    shape = (len(variants), 2, 3, len(labels), n_metrics)
    values = np.zeros((*shape, 1 + draws.n_replicates), dtype=np.float32)
    by_seed = np.full((len(seeds), *shape), np.nan)
    count = np.zeros(shape[:4])
    # Label by label, so that few of the weights are there at a time.
    for where in sorted(cells, key=lambda where: labels.index(where[0])):
        label, seed, variant, train_set, test_set = where
        if test_set != pair[0]:
            continue
        both = [cells[label, seed, variant, train_set, name] for name in pair]
        weights = [
            draws.weights(name, label, cell[0]["track"])
            for name, cell in zip(pair, both, strict=True)
        ]
        at = (variants.index(variant), pair.index(train_set))
        parts = [(cell[0], w) for cell, w in zip(both, weights, strict=True)]
        together = {
            column: np.concatenate([cell[0][column] for cell in both])
            for column in both[0][0]
            if column != "track"
        }
        w = np.hstack(weights)
        if kind != NUMBER:
            dataset = np.repeat([0, 1], [part.shape[1] for part in weights])
            w = alike(w, 2 * dataset + (together["y_true"] == 1))
        parts.append((together, w))
        for test, (arrays, w) in enumerate(parts):
            measured = weighted_metrics(kind, arrays, both[0][1], w)
            values[(*at, test, labels.index(label))] += measured
            by_seed[(seeds.index(seed), *at, test, labels.index(label))] = measured[:, 0]
            count[(*at, test, labels.index(label))] += 1
    with np.errstate(invalid="ignore"):
        values /= count[..., np.newaxis, np.newaxis]
    return Block(embedding, pair, variants, labels, values, by_seed)


SIGNIFICANT = 0.05
FEW_TRACKS = 20
TRAINING_RULES = {
    LABEL: "Training clips: as many with and as many without the label from both datasets, every "
    "genre in its share.",
    TAGS: "Training clips: as many from each dataset, every genre in its share. A tag that was not "
    "observed in a clip does not count there (for recognisers other than logistic it counts as "
    "absent in training).",
    CATEGORY: "Training clips: as many of each class from both datasets.",
    NUMBER: "Training clips: as many from each dataset, every genre in its share.",
}
GROUPS_ARE_THE_TARGET = (
    "The groups are the target here: corrections that use groups have seen the target's labels, "
    "and are marked so."
)


def notes(report: Report, record: Mapping[str, Any], name: str) -> list[str]:
    """Return what a reader must know to read the tables right.

    Parameters
    ----------
    report : Report
    record : dict
        Of the evaluation.
    name : str
        Of the main metric, for readers.
    """
    facts, modes = report.facts, record["parameters"]["modes"]
    items = items_of(report.kind)
    seeds = facts["seeds"]
    lines = []
    if len(seeds) < REPORT_SEEDS:
        n = "One resampling seed" if len(seeds) == 1 else f"{len(seeds)} resampling seeds"
        lines.append(
            f"{n}: how much the choice of training clips matters is "
            f"{'not' if len(seeds) == 1 else 'hardly'} shown; --seeds {REPORT_SEEDS} shows it."
        )
    lines.append(significance_note(report)[0])
    lines.append(
        "Intervals hold for the recognisers at hand: tracks of the test sets are drawn again, "
        "nothing is fitted anew."
    )
    few = [name for name, n in facts["test"].items() if n["tracks"] < FEW_TRACKS]
    if few:
        lines.append(
            f"Fewer than {FEW_TRACKS} test tracks in {', '.join(few)}: intervals drawn from so few "
            f"are too narrow, and with fewer than {N_FOLDS} in a dataset there are no probes."
        )
    if {"global", "classwise"} & set(modes):
        rule = TRAINING_RULES[report.kind]
        lines.append(rule if facts["grouped"] else rule.replace(", every genre in its share", ""))
        if report.kind in (LABEL, CATEGORY):
            lines.append(
                "So the number of clips that a recogniser is trained on follows the label counts "
                "of the target, without a correction, too. The column sees is about the "
                "correction only."
            )
    if "unlabelled" in modes:
        lines.append(
            "In the mode unlabelled nothing depends on the target's labels: recognisers are "
            "trained on all observed training clips of their own dataset, corrections are fitted "
            "on as many clips of both, drawn blindly, and gains and losses are against none in "
            "that mode."
        )
    n_models = {LABEL: facts["n_labels"], TAGS: 1}.get(
        report.kind, len(record["parameters"]["target"])
    )
    n_draws = len(seeds) * n_models
    if "random" in set(report.summary["correction"].str.split(":").str[0]):
        lines.append(
            "The control random has a subspace of its own for each recogniser's target"
            + (" and seed" if len(seeds) > 1 else "")
            + f": its means are over {n_draws} draw{'' if n_draws == 1 else 's'}. The intervals "
            "hold these draws fixed" + ("; the seed SD holds them, too." if len(seeds) > 1 else ".")
        )
    if report.kind in (LABEL, TAGS):
        lines.append(
            "Balanced accuracy (source's threshold), in the tables balanced_accuracy_source, is "
            "taken at the threshold that is best on the source's training clips, each scored by "
            "the fold that was not trained on it (3 folds). The balanced_accuracy of the results "
            "is taken where a probability exceeds one half."
        )
    elif report.kind == CATEGORY:
        lines.append(
            "Balanced accuracy: mean recall of the classes, the class with the largest score being "
            "recognised. Brier: each class against the rest, mean over the classes."
        )
    if report.kind != NUMBER:
        lines.append(
            f"{name} on one test set cannot see a shift of all scores; balanced accuracy, Brier "
            "and the metrics pooled over both test sets can. In these, each dataset's positive "
            "clips, and each one's negative clips, count as much as the other's: scoring the "
            "dataset with more positives higher gains nothing."
        )
    lines += [
        "The probes of the dataset (ROC-AUC, 5 folds, no track in training and test of a fold, "
        "features in units of their spread before any correction), "
        "the mean gap (in standard deviations of the embedding) and the squared MMD (Gaussian "
        "kernel, median bandwidth, unbiased: over pairs of clips of different tracks) are measured "
        "on test clips, on which no correction "
        f"was fitted, for the fit of each of the {items} and averaged. Chance: the same with the "
        "datasets of tracks permuted; of the probes before any correction, of mean gap and MMD "
        "after it.",
        "Variance moved: variance of the change of the rows over the variance of the rows (a "
        "translation of all rows alike does not count); beside it the expectation for a random "
        "projection of the same rank and dose. Rank: directions removed.",
    ]
    mapped = [
        one for one in dict.fromkeys(report.summary["correction"]) if parse_correction(one).kernel
    ]
    if mapped:
        lines.append(
            f"With random features ({', '.join(mapped)}) the probes, mean gap, MMD and variances "
            "are those of the features, not of the embedding: there are more of them, every row of "
            "them has length one, and they hold what a nonlinear probe would find. They are to be "
            "compared with k (none:kernel=fastfood), not with the corrections of the embedding. "
            "Their gains and losses, too, are against no features and no correction, so that they "
            "hold what the features alone change, which is the row k"
            + ("." if "k" in mapped else " (to be asked for with --correction).")
        )
    brier = report.task.loc[report.task["metric"] == "brier", "value"]
    if len(brier) and brier.isna().all():
        lines.append(
            f"Brier is blank: the recogniser {record['parameters']['recogniser']} gives scores, "
            "but no probabilities."
        )
    twins = _shared_tracks(report)
    if twins:
        lines.append(twins)
    seen = dict.fromkeys(report.summary["information"])
    if report.kind in (LABEL, CATEGORY) and {"global", "classwise"} & set(modes):
        shown = (
            "the difference is shown above"
            if "unlabelled" in modes
            else "--mode global unlabelled shows the difference"
        )
        lines.append(
            "The paper's protocol matches the training clips of both datasets by their labels "
            "before a correction is fitted, so every correction there has seen the target's "
            f"labels, even if it needs none. --mode unlabelled does without them; {shown}."
        )
    if GROUPED in seen:
        lines.append("Grouped target: the genres of the target's training clips were used.")
    if groups_are_the_target(report, record):
        lines.append(GROUPS_ARE_THE_TARGET)
    left = {dataset: n for dataset, n in record["left_out"].items() if n}
    if left:
        lines.append(
            "Clips left out for lack of an embedding: "
            + ", ".join(f"{dataset} {n}" for dataset, n in left.items())
            + "."
        )
    if record["skipped"]:
        told = dict.fromkeys(
            line.removeprefix("skipped ") for line in skipped_lines(record["skipped"])
        )
        lines.append(f"Left out: {'; '.join(told)}.")
    for name, source in facts["corrected"].items():
        lines.append(
            f"The embedding {name} was corrected before ({source}). What that correction has seen "
            "is not in the column sees, and test clips may have been among those of its fit: its "
            "record is in corpus.json."
        )
    if (report.kind == NUMBER) and facts["n_labels"] > 1:
        lines.append(
            "The mean absolute error is not averaged over targets, which have units of their own; "
            "the table of tasks has it for each."
        )
    lines.append(
        "The columns of the tables of numbers are described at biasmir_utils.experiments.report."
    )
    return [*lines, *warnings_of_the_corpus(report)]


def significance_note(report: Report) -> tuple[str, bool]:
    """Return the smallest p that the tests could give, and whether that is significant."""
    n_labels = report.facts["n_labels"]
    corrected = report.summary[report.summary["correction"] != "none"]
    n_tests = corrected[["correction", "mode", "alpha"]].drop_duplicates().shape[0]
    least = smallest_p(n_labels)
    at_best = min(1.0, least * max(n_tests, 1))
    reachable = at_best <= SIGNIFICANT
    text = (
        f"With {n_labels} {items_of(report.kind, n_labels)} the smallest p that the Wilcoxon test "
        f"can give is {least:.2g}, after Holm's correction over {n_tests} "
        f"correction{'' if n_tests == 1 else 's'} (of one embedding and pair of datasets) "
        f"{at_best:.2g}{'.' if reachable else ': no change can be significant here.'}"
    )
    return text, reachable


def warnings_of_the_corpus(report: Report) -> list[str]:
    """Return the warnings that `biasmir info` gives of the corpus."""
    return [f"Warning of the corpus: {text}" for text in report.facts["warnings"]]


def _shared_tracks(report: Report) -> str:
    """Return what to say if datasets share tracks; nothing if they do not."""
    pairs = report.facts.get("shared_tracks", [])
    if not pairs:
        return ""
    return (
        f"{', '.join(pairs)}: the corpus says that a track of one name is the same track in both "
        "datasets. Probes, mean gap and MMD are of the tracks that both hold; both versions are in "
        "one fold of a probe, chance is the same with the datasets swapped within tracks, and the "
        "intervals draw the same tracks for both test sets."
    )


def groups_are_the_target(report: Report, record: Mapping[str, Any]) -> bool:
    """Return whether corrections have used groups that are what is recognised."""
    uses_groups = (report.summary["needs"] == GROUPED).any()
    return bool(uses_groups) and GROUP in record["parameters"]["target"]


def items_of(kind: str, n: int = 2) -> str:
    """Return what the subjects of a kind are called."""
    one, several = {CATEGORY: ("class", "classes"), NUMBER: ("target", "targets")}.get(
        kind, ("label", "labels")
    )
    return one if n == 1 else several


METRIC_NAMES = {
    "roc_auc": "ROC-AUC",
    "average_precision": "average precision",
    "balanced_accuracy": "balanced accuracy",
    "balanced_accuracy_source": "balanced accuracy (source's threshold)",
    "brier": "Brier",
    "r2": "R2",
    "mae": "MAE",
}


def report_markdown(report: Report, record: Mapping[str, Any], figure: str | None = None) -> str:
    """Return the whole report.

    Parameters
    ----------
    report : Report
    record : dict
        Of the evaluation.
    figure : str, optional
        File name of the figure beside the report.
    """
    name = METRIC_NAMES[report.metric]
    parts = [
        f"# Corrections judged on the corpus {record['parameters']['corpus']}",
        provenance(report, record),
        "## Gain across datasets, loss inside",
        markdown_table(gains(report)),
        caption(report),
    ]
    if figure:
        seen = ", ".join(dict.fromkeys(report.summary["information"]))
        parts.append(
            f"![For each embedding a row for each correction: the gain of {name} across datasets "
            f"and the loss inside one (its axis runs backwards: further right is better in both), "
            f"with intervals, marked by what the correction has seen: {seen}.]({figure})"
        )
    parts += [f"## What the change of {name} does not tell", other_metrics(report)]
    parts += ["## What is left of the difference, and what was changed", shift_and_damage(report)]
    compared = modes_compared(report)
    if compared:
        parts += ["## What the labels of the target were worth", compared]
    parts += ["## How to read this", "\n".join(f"- {line}" for line in notes(report, record, name))]
    return "\n\n".join(parts) + "\n"


def report_summary(report: Report, record: Mapping[str, Any]) -> str:
    """Return the part of the report that is printed: its first table, with what it rests on."""
    parts = [markdown_table(gains(report)), caption(report), provenance(report, record)]
    if groups_are_the_target(report, record):
        parts.append(GROUPS_ARE_THE_TARGET)
    told, reachable = significance_note(report)
    parts += [] if reachable else [told]
    return "\n\n".join([*parts, *warnings_of_the_corpus(report)])


def provenance(report: Report, record: Mapping[str, Any]) -> str:
    """Return a paragraph: the data, the recogniser, the numbers of clips, seeds and versions."""
    asked, facts = record["parameters"], report.facts
    kinds = {
        LABEL: "one recogniser for each label",
        TAGS: "one model for all labels",
        CATEGORY: "multi-class",
        NUMBER: "regression",
    }
    test = "; ".join(_test_set(dataset, n) for dataset, n in facts["test"].items())
    seeds = facts["seeds"]
    of_seeds = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    table = next((name for name in record["data"] if name.startswith("clips.")), None)
    total = f"; clip table SHA-256 {record['data'][table][:16]}" if table else ""
    what = f"{kinds[report.kind]}, {facts['n_labels']} {items_of(report.kind, facts['n_labels'])}"
    return " ".join(
        [
            f"Corpus {asked['corpus']}{total}.",
            f"Target: {', '.join(asked['target'])} ({what}).",
            f"Recogniser: {asked['recogniser']}.",
            f"Mode: {' and '.join(asked['modes'])}.",
            f"Test sets: {test}.",
            f"Training clips drawn with {of_seeds} (n = {len(seeds)}).",
            f"{facts['n_replicates']} bootstrap draws of tracks.",
            f"Versions: {versions}.",
        ]
    )


def _test_set(dataset: str, n: Mapping[str, int]) -> str:
    text = f"{dataset} {n['clips']} clips of {n['tracks']} tracks"
    if n["fewest"] == n["clips"]:
        return text
    return f"{text}, of which one label was tested on {n['fewest']} to {n['most']}"


def caption(report: Report) -> str:
    """Return what the columns of the first table are."""
    name, facts = METRIC_NAMES[report.metric], report.facts
    level = f"{100 * LEVEL:.0f} %"
    text = (
        f"Gain and loss: change of mean {name} against no correction, tested on the other dataset "
        f"and on the same one, mean of both directions (n = {facts['n_labels']} "
        f"{items_of(report.kind, facts['n_labels'])}); in brackets {level} intervals from tracks "
        f"drawn again. p: paired Wilcoxon test over the {items_of(report.kind)}, Holm's correction "
        "over the corrections of an embedding and pair of datasets. Change of the smallest "
        f"across: the smallest {name} of the {items_of(report.kind)} across datasets (mean "
        "of both directions) with the correction, minus the smallest without; that need not be the "
        "same one. Needs: what the method needs of the target dataset; sees: what it was given "
        "here."
    )
    if len(facts["seeds"]) > 1:
        text += f" Seed SD: standard deviation of the gain over {len(facts['seeds'])} seeds."
    return text


def gains(report: Report) -> list[dict[str, str]]:
    """Return the rows of the table of gains and losses."""
    name, several = METRIC_NAMES[report.metric], len(report.facts["seeds"]) > 1
    rows = []
    for row in _rows(report.summary):
        cells = {
            **_first(report, row),
            "needs": row["needs"],
            "sees": row["information"],
            f"{name} across": _plain(row[f"{report.metric}_across"]),
            "gain across": _with_interval(row, "gain", "gain_low", "gain_high"),
            "p gain": _p(row.get("gain_p_holm")),
            "loss inside": _with_interval(row, "loss", "loss_low", "loss_high"),
            "p loss": _p(row.get("loss_p_holm")),
            "change of the smallest across": _signed(row.get("worst_label_across")),
        }
        if several:
            cells["seed SD"] = _plain(row.get("gain_seed_sd"))
        rows.append(cells)
    return rows


def other_metrics(report: Report) -> str:
    """Return the table of the changes of all other metrics, and of all pooled ones."""
    of_mean = report.task[(report.task["label"] == MEAN_OF_LABELS)]
    across = of_mean[
        (of_mean["train_set"] != of_mean["test_set"]) & (of_mean["test_set"] != BOTH_TESTS)
    ]
    values = across.groupby([*PAIR_SETTING, "metric"], dropna=False, sort=False)["value"].mean()
    table = values.unstack("metric").reset_index()
    summary = report.summary.merge(
        table, on=list(PAIR_SETTING), how="left", suffixes=("", "_value")
    )
    metrics = [name for name in METRIC_NAMES if name in table]
    rows = []
    for row in _rows(summary):
        cells = _first(report, row)
        for metric in metrics:
            if metric != report.metric:
                label = METRIC_NAMES[metric]
                start = f"{metric}_across_change"
                cells[f"{label} across"] = _plain(row[metric])
                cells[f"change of {label}"] = _with_interval(
                    row, start, f"{start}_low", f"{start}_high"
                )
        for metric in metrics:
            start = f"{metric}_pooled_change"
            cells[f"change of pooled {METRIC_NAMES[metric]}"] = _with_interval(
                row, start, f"{start}_low", f"{start}_high"
            )
        rows.append(cells)
    return markdown_table(rows)


def shift_and_damage(report: Report) -> str:
    """Return the table of what is left of the datasets' difference, and of the damage."""
    names = dict(
        zip(SHIFT_MEASURES, ("linear probe", "RBF probe", "mean gap", "squared MMD"), strict=True)
    )
    rows = []
    for row in _rows(report.summary):
        cells = _first(report, row)
        for measure, name in names.items():
            cells[name] = _plain(row[measure])
            cells[f"chance {name}"] = _plain(row[f"{measure}_chance"])
        cells["rank"] = f"{row['rank']:.3g}"
        cells["variance moved"] = _plain(row["variance_moved"])
        cells["by random projection"] = _plain(row["variance_moved_control"])
        cells["variance kept"] = _plain(row["variance_kept"])
        rows.append(cells)
    return markdown_table(rows)


def modes_compared(report: Report) -> str:
    """Return the table of `global` against `unlabelled`; empty if the report has not both."""
    changes = report.changes
    if changes.empty:
        return ""
    chosen = changes[changes["baseline"] == UNLABELLED]
    if chosen.empty:
        return ""
    main = report.metric
    shown = [(main, "across"), (main, "inside"), (main, "pooled")]
    for metric in ("balanced_accuracy", "balanced_accuracy_source"):
        if (chosen["metric"] == metric).any():
            shown += [(metric, "across"), (metric, "inside")]
    rows = []
    keys = ["embedding", "correction", "alpha", "pair"]
    for about, part in chosen.groupby(keys, sort=False, dropna=False):
        own = dict(zip(keys, about, strict=True))
        cells = _first(report, {**own, "mode": "global"}, with_mode=False)
        for metric, where in shown:
            (row,) = _rows(part[(part["where"] == where) & (part["metric"] == metric)])
            title = METRIC_NAMES[metric]
            title = f"pooled {title}" if where == "pooled" else f"{title} {where}"
            cells[title] = _with_interval(row, "change", "low", "high")
            if metric == main and where != "pooled":
                cells[f"p {where}"] = _p(row["p_holm"])
        rows.append(cells)
    return markdown_table(rows) + (
        f"\n\nEach column is a difference, mean over the {items_of(report.kind)}: with the paper's "
        "training clips (mode global: of both datasets, matched by their labels) minus without a "
        "look at the target's labels (mode unlabelled: recognisers trained on all clips of their "
        "own dataset, corrections fitted on clips of both that were drawn blindly). The row none "
        "is what the recognisers' clips alone are worth. The two modes differ in the number of "
        f"clips, too. p: of {METRIC_NAMES[main]}."
    )


def report_latex(report: Report, record: Mapping[str, Any]) -> str:
    """Return the first table as LaTeX (package booktabs), its caption what it rests on."""
    rows = gains(report)
    names = list(rows[0])
    lines = [" & ".join(map(_latex, names)), *(" & ".join(map(_latex, r.values())) for r in rows)]
    head, *body = [f"{line} \\\\" for line in lines]
    text = f"{caption(report)} {provenance(report, record)}"
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            "\\begin{table}",
            f"\\caption{{{_latex(text)}}}",
            f"\\begin{{tabular}}{{{'l' * len(names)}}}",
            *("\\toprule", head, "\\midrule", *body, "\\bottomrule"),
            "\\end{tabular}",
            "\\end{table}",
            "",
        ]
    )


def _latex(text: str) -> str:
    """Escape a text; numbers with a sign get a minus of mathematics."""
    text = re.sub(r"([%&_#$])", r"\\\1", text).replace("<", "$<$")
    return re.sub(r"(?<![\w.])([+-])(?=\d)", r"$\1$", text)


def markdown_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return rows of texts as a Markdown table with aligned columns."""
    if not rows:
        return "(nothing)"
    names = list(rows[0])
    widths = [max(len(name), *(len(row[name]) for row in rows), 3) for name in names]
    lines = [
        "| " + " | ".join(n.ljust(w) for n, w in zip(names, widths, strict=True)) + " |",
        "|" + "|".join("-" * (width + 2) for width in widths) + "|",
    ]
    for row in rows:
        cells = (row[name].ljust(width) for name, width in zip(names, widths, strict=True))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def setting_name(row: Mapping[str, Any], with_mode: bool) -> str:
    """Return the name of a correction with its dose and, if asked for, its mode.

    What has nothing to fit is trained on the same clips as the mode `global`.
    """
    name = str(row["correction"])
    if not pd.isna(row["alpha"]) and row["alpha"] != 1:
        name += f" alpha={row['alpha']:g}"
    mode = "global" if row["mode"] == "none" else row["mode"]
    return f"{name} ({mode})" if with_mode else name


def _first(report: Report, row: Mapping[str, Any], with_mode: bool | None = None) -> dict[str, str]:
    summary = report.summary
    modes = set(summary["mode"]) - {"none"}
    if with_mode is None:
        with_mode = len(modes) > 1 or not modes <= {"global"}
    cells = {"embedding": str(row["embedding"])}
    if summary["pair"].nunique() > 1:
        cells["datasets"] = str(row["pair"])
    return {**cells, "correction": setting_name(row, with_mode)}


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _missing(value: Any) -> bool:
    return value is None or bool(np.isnan(value))


def _plain(value: Any) -> str:
    return "" if _missing(value) else f"{value:.3f}".replace("-0.000", "0.000")


def _signed(value: Any) -> str:
    text = "" if _missing(value) else f"{value:+.3f}"
    return "0.000" if text in ("+0.000", "-0.000") else text


def _with_interval(row: Mapping[str, Any], value: str, low: str, high: str) -> str:
    if _missing(row.get(value)):
        return ""
    return f"{_signed(row[value])} [{_signed(row[low])}, {_signed(row[high])}]"


def _p(value: Any) -> str:
    if _missing(value):
        return ""
    return "<.001" if value < 0.001 else f"{value:.3f}".lstrip("0") if value < 1 else "1"
