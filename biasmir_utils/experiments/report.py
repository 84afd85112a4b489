"""A full report on corrections: gained, lost, left, damaged, seen, and how sure one can be.

It is made from what the tasks of an evaluation found (scores of test clips, probes of the
corrections) and fits nothing itself: tables, and a text in Markdown that tells how to read them.
The tables have the columns `embedding`, `correction`, `mode`, `alpha` and `pair` (the two
datasets), and these:

`changes`
    What each correction changes, mean over labels, over both directions and over seeds.
    `baseline`: against what (`none`, with recognisers trained on the same clips; or the same
    correction in the mode `unlabelled`); `where`: `across` datasets, `inside`, or `pooled` over
    both test sets (the clips with the label of each dataset, and those without, counting alike:
    else whoever scores the dataset with more positives higher would gain by it); `metric`;
    `before`, `after`, `change`, with `low` and `high`, the 95 % interval from tracks drawn again;
    `worst_change`, `worst_low`, `worst_high`: of the worst label, the one that is worst after
    against the one that was worst before; `n_labels`; `p`, of Wilcoxon's test over the labels, and
    `p_holm`, corrected for all corrections of the embedding and pair; `seed_sd`, `seed_low`,
    `seed_high`: of the change over the resampling seeds.
`task`
    The metrics themselves: `train_set`, `test_set` (`(both)` is pooled), `label` (also `(mean)`,
    `(worst)`), `metric`, `value`, `low`, `high`.
`shift`
    What is left of the difference of the datasets, and the damage done, on test clips: `measure`
    (see `separability`), `value`, its range `low` to `high` over the fits (one for each label and
    seed), `chance`, `chance_high`, `control`, `n_fits`.
`summary`
    A row for each correction: what it `needs` of the target and the `information` it was given;
    the main metric `_inside` and `_across`; `gain` and `loss` of it with interval, p and SD over
    seeds; `worst_label_across`, `worst_label_inside`; `<metric>_<where>_change` with interval; the
    measures of `shift`.

What a correction was allowed to see has levels, from nothing to everything
(`corrections.INFORMATION`): `source only`; `unlabelled target`, the target's training clips;
`grouped target`, with their genres; `labelled target`, with the labels that are to be recognised.
What a method needs is one thing, what an experiment gives it another. The paper's protocol fits
every correction on training rows that were matched by their labels, the target's too, so there
even a correction that needs no labels has seen some, or, where rows are only drawn by the shares
of the genres (tags, numbers), the genres. The mode `unlabelled` does neither.
"""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
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
    Array,
    FloatArray,
    alike,
    metric_named,
    metrics_of,
    weighted_metrics,
)
from biasmir_utils.experiments.protocol import CATEGORY, GROUP, LABEL, NUMBER, TAGS
from biasmir_utils.experiments.results import UNLABELLED
from biasmir_utils.experiments.separability import PROBE_FOLDS, SHIFT_MEASURES
from biasmir_utils.experiments.stats import (
    TrackDraws,
    holm,
    interval,
    paired_wilcoxon,
    smallest_p,
)

SOURCE_ONLY, UNLABELLED_TARGET, GROUPED, LABELLED = INFORMATION
LEVEL = 0.95
N_REPLICATES = 1000
WORTH_DRAWING_IN_PROCESSES = 500
"""Scored test sets from which on more than one process draws them again."""
BOTH_TESTS, MEAN_OF_LABELS, WORST = "(both)", "(mean)", "(worst)"
PAIR_SETTING = ("embedding", "correction", "mode", "alpha", "pair")
WHERE = {"across": (1, 0), "inside": (0, 1), "pooled": (2, 2)}
"""For each training set the position of the test set: the other dataset, the same, or both."""
NONE = "none"
"""No correction; its mode tells which clips its recognisers are trained on."""
SIGNIFICANT = 0.05
FEW_TRACKS = 20
"""Test tracks under which intervals that are drawn from them are too narrow."""


class ReportedVariant(NamedTuple):
    """A correction in a mode and a dose."""

    correction: str
    mode: str
    alpha: float | None


@dataclass(frozen=True)
class Report:
    """The tables of a full report; see `biasmir_utils.experiments.report` for their columns.

    Attributes
    ----------
    summary : pandas.DataFrame
        A row for each embedding, correction, mode, dose and pair of datasets.
    changes, task, shift : pandas.DataFrame
        Long tables.
    kind : {'label', 'tags', 'category', 'number'}
        What is recognised.
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
        return metrics_of(self.kind, report=True)[0].name

    @property
    def heading(self) -> str:
        """The name of this metric for readers."""
        return metric_named(self.metric).heading


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
        On which training rows it is fitted; see `evaluate.MODES`.
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
        One of `corrections.INFORMATION`. The number of clips that a recogniser is trained on is
        cut down to what the target has to offer; that does not count here.
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


# From scores to tables

Cells = dict[tuple[str, int, ReportedVariant, str], dict[str, tuple[dict[str, Array], float]]]
"""Label, seed, variant, training set -> by test set the columns of scores, and the threshold."""


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
    corpus, seeds = plan.data.corpus, plan.parameters["seeds"]
    tracks, test = _test_sets(found)
    draws = TrackDraws(tracks, n_replicates, seed, corpus.shared_tracks)
    cells = _cells(list(plan.data.datasets), found)
    asked = [
        ReportedVariant(spec.name, mode, spec.alpha if spec.corrects else None)
        for task in plan.tasks
        for spec, mode in task.variants
    ]
    order = sorted(dict.fromkeys(asked), key=lambda variant: variant.correction != NONE)
    calls = [
        joblib.delayed(_tables)(plan.kind, *name, order, seeds, own, draws)
        for name, own in cells.items()
    ]
    n_scored = 2 * sum(len(own) for own in cells.values())
    n_jobs = 1 if n_scored < WORTH_DRAWING_IN_PROCESSES else process_count(jobs, len(calls))
    parts = list(joblib.Parallel(n_jobs=n_jobs)(calls))
    changes = pd.concat([part[0] for part in parts], ignore_index=True)
    task = pd.concat([part[1] for part in parts], ignore_index=True)
    shift = _shift_table(found)
    shared = [
        "/".join(pair)
        for pair in dict.fromkeys(pair for _, pair in cells)
        if corpus.shared_tracks and np.isin(tracks[pair[0]], tracks[pair[1]]).any()
    ]
    records = {name: corpus.model_record(name) for name in plan.parameters["embeddings"]}
    facts = {
        "n_labels": max(len({where[0] for where in own}) for own in cells.values()),
        "seeds": seeds,
        "n_replicates": n_replicates,
        "test": test,
        "grouped": bool(corpus.groups),
        "corrected": {
            name: record["source"] for name, record in records.items() if "correction" in record
        },
        "warnings": list(corpus.warnings),
        "shared_tracks": shared,
    }
    return Report(_summary(plan, changes, task, shift), changes, task, shift, plan.kind, facts)


def _test_sets(
    found: Sequence[TaskResult],
) -> tuple[dict[str, Array], dict[str, dict[str, int]]]:
    """Return the tracks of each test set, sorted, and its numbers of clips and tracks."""
    track_of: dict[str, dict[str, str]] = {}
    tested: dict[str, set[int]] = {}
    for key, arrays in (entry for result in found for entry in result.scores):
        clips = track_of.setdefault(key["test_set"], {})
        clips.update(zip(arrays["clip"], map(str, arrays["track"]), strict=True))
        tested.setdefault(key["test_set"], set()).add(len(arrays["clip"]))
    tracks = {name: np.unique(list(clips.values())) for name, clips in track_of.items()}
    counts = {
        name: {
            "clips": len(clips),
            "fewest": min(tested[name]),
            "most": max(tested[name]),
            "tracks": len(tracks[name]),
        }
        for name, clips in track_of.items()
    }
    return tracks, counts


def _cells(
    order: list[str], found: Sequence[TaskResult]
) -> dict[tuple[str, tuple[str, str]], Cells]:
    """Return the scores by embedding and pair of datasets."""
    cells: dict[tuple[str, tuple[str, str]], Cells] = {}
    for key, arrays in (entry for result in found for entry in result.scores):
        first, second = sorted((key["train_set"], key["partner"]), key=order.index)
        alpha = None if np.isnan(key["alpha"]) else float(key["alpha"])
        variant = ReportedVariant(key["correction"], key["mode"], alpha)
        needed = {name: arrays[name] for name in arrays if name not in ("clip", "group")}
        own = cells.setdefault((key["embedding"], (first, second)), {})
        where = (key["label"], key["seed"], variant, key["train_set"])
        own.setdefault(where, {})[key["test_set"]] = (needed, key["threshold"])
    return cells


@dataclass(frozen=True)
class _Block:
    """All metrics of one embedding and pair of datasets.

    `values`, (n_variants, 2, 3, n_labels, n_metrics, 1 + n_replicates): by variant, training set,
    test set (the third is both), label and metric, mean over seeds. `by_seed`, (n_seeds,
    n_variants, 2, 3, n_labels, n_metrics): as measured.
    """

    embedding: str
    pair: tuple[str, str]
    variants: list[ReportedVariant]
    labels: list[str]
    metrics: list[str]
    values: NDArray[np.float32]
    by_seed: FloatArray

    def about(self, k: int) -> dict[str, Any]:
        """Return the columns that tell a variant."""
        correction, mode, alpha = self.variants[k]
        dose = np.nan if alpha is None else alpha
        setting = (self.embedding, correction, mode, dose, "/".join(self.pair))
        return dict(zip(PAIR_SETTING, setting, strict=True))

    def has_mean(self, metric: str) -> bool:
        """Return whether a mean over the targets says something: not in several units."""
        return not metric_named(metric).has_unit or len(self.labels) == 1


def _tables(
    kind: str,
    embedding: str,
    pair: tuple[str, str],
    order: list[ReportedVariant],
    seeds: list[int],
    cells: Cells,
    draws: TrackDraws,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the changes and the metrics of one embedding and pair of datasets."""
    labels = list(dict.fromkeys(where[0] for where in cells))
    there = {where[2] for where in cells}
    variants = [variant for variant in order if variant in there]
    metrics = [metric.name for metric in metrics_of(kind, report=True)]
    shape = (len(variants), 2, 3, len(labels), len(metrics))
    values = np.zeros((*shape, 1 + draws.n_replicates), dtype=np.float32)
    by_seed = np.full((len(seeds), *shape), np.nan)
    # Label by label, so that few of the weights are there at a time.
    ordered = sorted(cells, key=lambda where: labels.index(where[0]))
    for label, group in itertools.groupby(ordered, key=lambda where: where[0]):
        weights: dict[str, FloatArray] = {}
        for where in group:
            _, seed, variant, train_set = where
            for name in pair:
                if name not in weights:
                    weights[name] = draws.weights(name, cells[where][name][0]["track"])
            at = (variants.index(variant), pair.index(train_set))
            for test, (arrays, w) in enumerate(_tested(kind, pair, cells[where], weights)):
                measured = weighted_metrics(kind, arrays, cells[where][pair[0]][1], w)
                values[(*at, test, labels.index(label))] += measured
                by_seed[(seeds.index(seed), *at, test, labels.index(label))] = measured[:, 0]
    count = (~np.isnan(by_seed)).any(axis=-1).sum(axis=0)
    with np.errstate(invalid="ignore"):
        values /= count[..., np.newaxis, np.newaxis]
    block = _Block(embedding, pair, variants, labels, metrics, values, by_seed)
    return _changes(block), _task(block)


def _tested(
    kind: str,
    pair: tuple[str, str],
    scored: Mapping[str, tuple[dict[str, Array], float]],
    weights: Mapping[str, FloatArray],
) -> Iterable[tuple[dict[str, Array], FloatArray]]:
    """Return scores and weights of each test set, and of both together."""
    parts = [(scored[name][0], weights[name]) for name in pair]
    columns = [column for column in parts[0][0] if column != "track"]
    both = {name: np.concatenate([part[name] for part, _ in parts]) for name in columns}
    together = np.hstack([w for _, w in parts])
    if kind != NUMBER:
        dataset = np.repeat([0, 1], [w.shape[1] for _, w in parts])
        together = alike(together, 2 * dataset + (both["y_true"] == 1))
    return [*parts, (both, together)]


def _changes(block: _Block) -> pd.DataFrame:
    """Return the changes against no correction, and of other modes against `unlabelled`."""
    position = {variant: k for k, variant in enumerate(block.variants)}
    pairs = []
    for k, (correction, mode, alpha) in enumerate(block.variants):
        if correction != NONE:
            plain = mode if mode == UNLABELLED else "none"
            pairs.append((k, position[ReportedVariant(NONE, plain, None)], NONE))
        other = position.get(ReportedVariant(correction, UNLABELLED, alpha))
        if mode in ("none", "global") and other is not None:
            pairs.append((k, other, UNLABELLED))
    metrics = [(m, name) for m, name in enumerate(block.metrics) if block.has_mean(name)]
    rows = []
    for (where, test), (m, metric) in itertools.product(WHERE.items(), metrics):
        values = (block.values[:, 0, test[0], :, m] + block.values[:, 1, test[1], :, m]) / 2
        by_seed = (
            block.by_seed[:, :, 0, test[0], :, m] + block.by_seed[:, :, 1, test[1], :, m]
        ) / 2
        worst = _worst(values, metric)
        for k, base, baseline in pairs:
            difference = values[k] - values[base]
            mean, fell = _nanmean(difference, 0), worst[k] - worst[base]
            seeds = _nanmean(by_seed[:, k] - by_seed[:, base], 1)
            rows.append(
                {
                    **block.about(k),
                    "baseline": baseline,
                    "where": where,
                    "metric": metric,
                    "before": _nanmean(values[base, :, 0], 0),
                    "after": _nanmean(values[k, :, 0], 0),
                    "change": mean[0],
                    **_interval("", mean),
                    "worst_change": fell[0],
                    **_interval("worst_", fell),
                    "n_labels": int((~np.isnan(difference[:, 0])).sum()),
                    "p": paired_wilcoxon(difference[:, 0]),
                    "seed_sd": float(seeds.std(ddof=1)) if len(seeds) > 1 else np.nan,
                    "seed_low": float(seeds.min()),
                    "seed_high": float(seeds.max()),
                }
            )
    table = pd.DataFrame(rows)
    if len(table):
        # A family: all corrections of one embedding and pair, for one metric in one place.
        family = table.groupby(["baseline", "where", "metric"], sort=False)["p"]
        table["p_holm"] = family.transform(holm)
    return table


def _task(block: _Block) -> pd.DataFrame:
    """Return the metrics of each label, their mean and their worst."""
    rows = []
    sizes = (len(block.variants), 2, 3, len(block.metrics))
    for k, train, test, m in np.ndindex(*sizes):
        values, metric = block.values[k, train, test, :, m], block.metrics[m]
        told = dict(zip(block.labels, values, strict=True))
        if block.has_mean(metric):
            worst = _worst(values[np.newaxis], metric)[0]
            told = {MEAN_OF_LABELS: _nanmean(values, 0), WORST: worst, **told}
        rows += [
            {
                **block.about(k),
                "train_set": block.pair[train],
                "test_set": [*block.pair, BOTH_TESTS][test],
                "label": label,
                "metric": metric,
                "value": float(drawn[0]),
                **_interval("", drawn),
            }
            for label, drawn in told.items()
        ]
    return pd.DataFrame(rows)


def _worst(values: Array, metric: str) -> Array:
    """Return the worst over the labels, the axis after the first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        worst = np.nanmin if metric_named(metric).larger_is_better else np.nanmax
        found: Array = worst(values, axis=1)
    return found


def _nanmean(values: Array, axis: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmean(np.asarray(values, dtype=np.float64), axis=axis)


def _interval(prefix: str, draws: Array) -> dict[str, float]:
    return dict(zip((f"{prefix}low", f"{prefix}high"), interval(draws, LEVEL), strict=True))


def _shift_table(found: Sequence[TaskResult]) -> pd.DataFrame:
    """Return means and ranges over the labels' fits of what was judged."""
    judged = pd.DataFrame([row for result in found for row in result.judged])
    grouped = judged.groupby([*PAIR_SETTING, "measure"], sort=False, dropna=False)
    return grouped.agg(
        value=("value", "mean"),
        low=("value", "min"),
        high=("value", "max"),
        chance=("chance", "mean"),
        chance_high=("chance_high", "mean"),
        control=("control", "mean"),
        n_fits=("value", "size"),
    ).reset_index()


def _summary(
    plan: Plan, changes: pd.DataFrame, task: pd.DataFrame, shift: pd.DataFrame
) -> pd.DataFrame:
    """Return a row for each correction, from the three other tables."""
    keys = list(PAIR_SETTING)
    summary = task[keys].drop_duplicates(ignore_index=True)

    def add(part: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
        return summary.merge(part[[*keys, *columns]].rename(columns=columns), on=keys, how="left")

    specs = {spec.name: spec for one in plan.tasks for spec, _ in one.variants}
    targets = [subject.name for subject in plan.data.subjects]
    summary["needs"] = [specs[name].information for name in summary["correction"]]
    summary["information"] = [
        information_used(specs[name], mode, plan.kind, targets, bool(plan.data.corpus.groups))
        for name, mode in summary[["correction", "mode"]].itertuples(index=False)
    ]
    metrics = [metric.name for metric in metrics_of(plan.kind, report=True)]
    main = metrics[0]
    means = task[(task["label"] == MEAN_OF_LABELS) & (task["metric"] == main)]
    means = means[means["test_set"] != BOTH_TESTS]
    for name, same in (("inside", True), ("across", False)):
        chosen = means[(means["train_set"] == means["test_set"]) == same]
        mean = chosen.groupby(keys, dropna=False)["value"].mean().reset_index()
        summary = add(mean, {"value": f"{main}_{name}"})
    own = changes[changes["baseline"] == NONE] if len(changes) else changes
    for where, metric in itertools.product(WHERE, metrics) if len(own) else ():
        part = own[(own["where"] == where) & (own["metric"] == metric)].copy()
        if where == "inside" and metric == main:
            # A loss is what went down.
            part[["change", "low", "high"]] = -part[["change", "high", "low"]].to_numpy()
        summary = add(part, _change_columns(where, metric, main))
    for measure in shift["measure"].unique():
        part = shift[shift["measure"] == measure]
        columns = {"value": measure}
        if measure in SHIFT_MEASURES:
            columns["chance"] = f"{measure}_chance"
        elif measure != "rank":
            columns["control"] = f"{measure}_control"
        summary = add(part, columns)
    return summary


def _change_columns(where: str, metric: str, main: str) -> dict[str, str]:
    """Return which columns of `changes` go to the summary, and their names there."""
    is_gain = metric == main and where != "pooled"
    gain = {"across": "gain", "inside": "loss"}
    name = gain[where] if is_gain else f"{metric}_{where}_change"
    columns = {"change": name, "low": f"{name}_low", "high": f"{name}_high"}
    if is_gain:
        columns |= {part: f"{name}_{part}" for part in ("p", "p_holm", "seed_sd")}
        columns["worst_change"] = f"worst_label_{where}"
    return columns


# The text


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

    def told(block: str) -> list[str]:
        return _paragraphs(block, report, record)

    parts = [
        f"# Corrections judged on the corpus {record['parameters']['corpus']}",
        *told("provenance"),
        "## Gain across datasets, loss inside",
        _markdown_table(_gains(report)),
        *told("caption"),
        *(f"![{text}]({figure})" for text in told("figure") if figure),
        f"## What the change of {report.heading} does not tell",
        _markdown_table(_other_metrics(report)),
        "## What is left of the difference, and what was changed",
        _markdown_table(_shift_and_damage(report)),
    ]
    compared = _modes_compared(report)
    if compared:
        table = _markdown_table(compared)
        parts += ["## What the labels of the target were worth", table, *told("modes_compared")]
    parts += ["## How to read this", "\n".join(f"- {note}" for note in told("notes"))]
    return "\n\n".join(parts) + "\n"


def report_summary(report: Report, record: Mapping[str, Any]) -> str:
    """Return the part of the report that is printed: its first table, with what it rests on."""
    blocks = ["caption", "provenance", "groups_are_the_target", "significance", "warnings"]
    if _smallest_p(report)["reachable"]:
        blocks.remove("significance")
    told = [text for block in blocks for text in _paragraphs(block, report, record)]
    return "\n\n".join([_markdown_table(_gains(report)), *told])


def report_latex(report: Report, record: Mapping[str, Any]) -> str:
    """Return the first table as LaTeX (package booktabs), its caption what it rests on."""
    told = [*_paragraphs("caption", report, record), *_paragraphs("provenance", report, record)]
    text = re.sub(r"([%&_#$])", r"\\\1", " ".join(told))
    return pd.DataFrame(_gains(report)).to_latex(index=False, escape=True, caption=text)


def _paragraphs(block: str, report: Report, record: Mapping[str, Any]) -> list[str]:
    """Return the paragraphs of a block of `report.md.jinja`, each on one line."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("biasmir_utils.experiments", ""),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    template = environment.get_template("report.md.jinja")
    facts, asked, summary = report.facts, record["parameters"], report.summary
    n_labels, seeds = facts["n_labels"], facts["seeds"]
    tables = [record["data"][name] for name in record["data"] if name.startswith("clips.")]
    corrections = list(dict.fromkeys(summary["correction"]))
    brier = report.task.loc[report.task["metric"] == "brier", "value"]
    n_models = {LABEL: n_labels, TAGS: 1}.get(report.kind, len(asked["target"]))
    skipped = [line.removeprefix("skipped ") for line in skipped_lines(record["skipped"])]
    names = {CATEGORY: ("class", "classes"), NUMBER: ("target", "targets")}
    one, several = names.get(report.kind, ("label", "labels"))
    context = {
        "asked": asked,
        "brier_is_blank": len(brier) and brier.isna().all(),
        "clip_table": tables[0] if tables else None,
        "facts": facts,
        "few": FEW_TRACKS,
        "few_tracks": [name for name, n in facts["test"].items() if n["tracks"] < FEW_TRACKS],
        "groups_are_the_target": GROUP in asked["target"] and (summary["needs"] == GROUPED).any(),
        "has_random": any(name.split(":")[0] == "random" for name in corrections),
        "heading": report.heading,
        "items": lambda n=2: one if n == 1 else several,
        "kind": report.kind,
        "level": f"{100 * LEVEL:.0f}",
        "mapped": [name for name in corrections if parse_correction(name).kernel],
        "matched": bool({"global", "classwise"} & set(asked["modes"])),
        "n_draws": len(seeds) * n_models,
        "n_folds": PROBE_FOLDS,
        "n_labels": n_labels,
        "n_seeds": len(seeds),
        "record": record,
        "report_seeds": REPORT_SEEDS,
        "seeds": seeds,
        "seen": list(dict.fromkeys(summary["information"])),
        "skipped": list(dict.fromkeys(skipped)),
        **_smallest_p(report),
    }
    text = "".join(template.blocks[block](template.new_context(context)))
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()]


def _smallest_p(report: Report) -> dict[str, Any]:
    """Return the smallest p that the tests could give, and whether that is significant."""
    corrected = report.summary[report.summary["correction"] != NONE]
    n_tests = len(corrected[["correction", "mode", "alpha"]].drop_duplicates())
    least = smallest_p(report.facts["n_labels"])
    at_best = min(1.0, least * max(n_tests, 1))
    return {
        "n_tests": n_tests,
        "least_p": least,
        "least_p_holm": at_best,
        "reachable": at_best <= SIGNIFICANT,
    }


def _gains(report: Report) -> list[dict[str, str]]:
    """Return the rows of the table of gains and losses."""
    rows = []
    for row in report.summary.to_dict("records"):
        cells = {
            **_first(report, row),
            "needs": row["needs"],
            "sees": row["information"],
            f"{report.heading} across": _number(row[f"{report.metric}_across"]),
            "gain across": _with_interval(row, "gain"),
            "p gain": _p(row.get("gain_p_holm")),
            "loss inside": _with_interval(row, "loss"),
            "p loss": _p(row.get("loss_p_holm")),
            "change of the smallest across": _number(row.get("worst_label_across"), "+"),
        }
        if len(report.facts["seeds"]) > 1:
            cells["seed SD"] = _number(row.get("gain_seed_sd"))
        rows.append(cells)
    return rows


def _other_metrics(report: Report) -> list[dict[str, str]]:
    """Return the rows of the changes of all other metrics, and of all pooled ones."""
    task = report.task
    across = task[
        (task["label"] == MEAN_OF_LABELS)
        & (task["train_set"] != task["test_set"])
        & (task["test_set"] != BOTH_TESTS)
    ]
    values = across.groupby([*PAIR_SETTING, "metric"], dropna=False, sort=False)["value"].mean()
    table = values.unstack("metric").reset_index()
    metrics = [one for one in metrics_of(report.kind, report=True) if one.name in table]
    rows = []
    summary = report.summary.merge(
        table, on=list(PAIR_SETTING), how="left", suffixes=("", "_value")
    )
    for row in summary.to_dict("records"):
        cells = _first(report, row)
        for metric in metrics[1:] if metrics[0].name == report.metric else metrics:
            cells[f"{metric.heading} across"] = _number(row[metric.name])
            cells[f"change of {metric.heading}"] = _with_interval(
                row, f"{metric.name}_across_change"
            )
        for metric in metrics:
            cells[f"change of pooled {metric.heading}"] = _with_interval(
                row, f"{metric.name}_pooled_change"
            )
        rows.append(cells)
    return rows


def _shift_and_damage(report: Report) -> list[dict[str, str]]:
    """Return the rows of what is left of the datasets' difference, and of the damage."""
    rows = []
    for row in report.summary.to_dict("records"):
        cells = _first(report, row)
        for measure, name in SHIFT_MEASURES.items():
            cells[name] = _number(row[measure])
            cells[f"chance {name}"] = _number(row[f"{measure}_chance"])
        cells["rank"] = f"{row['rank']:.3g}"
        cells["variance moved"] = _number(row["variance_moved"])
        cells["by random projection"] = _number(row["variance_moved_control"])
        cells["variance kept"] = _number(row["variance_kept"])
        rows.append(cells)
    return rows


def _modes_compared(report: Report) -> list[dict[str, str]]:
    """Return the rows of `global` against `unlabelled`; none if the report has not both."""
    changes, main = report.changes, report.metric
    if changes.empty or not changes["baseline"].eq(UNLABELLED).any():
        return []
    chosen = changes[changes["baseline"] == UNLABELLED]
    balanced = [name for name in chosen["metric"].unique() if name.startswith("balanced_accuracy")]
    shown = [(main, where) for where in WHERE]
    shown += [(metric, where) for metric in balanced for where in ("across", "inside")]
    rows = []
    keys = ["embedding", "correction", "alpha", "pair"]
    for about, part in chosen.groupby(keys, sort=False, dropna=False):
        own = dict(zip(keys, about, strict=True))
        cells = _first(report, {**own, "mode": "global"}, with_mode=False)
        by_place = {(row["metric"], row["where"]): row for row in part.to_dict("records")}
        for metric, where in shown:
            row = by_place[metric, where]
            title = metric_named(metric).heading
            title = f"pooled {title}" if where == "pooled" else f"{title} {where}"
            cells[title] = _with_interval(row, "change", "low", "high")
            if metric == main and where != "pooled":
                cells[f"p {where}"] = _p(row["p_holm"])
        rows.append(cells)
    return rows


def _markdown_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return rows of texts as a Markdown table with aligned columns."""
    if not rows:
        return "(nothing)"
    table = [list(rows[0]), *(list(row.values()) for row in rows)]
    widths = [max(3, *map(len, column)) for column in zip(*table, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in table]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _first(report: Report, row: Mapping[Any, Any], with_mode: bool | None = None) -> dict[str, str]:
    """Return the first cells of a row: embedding, datasets if there are several pairs, correction.

    What has nothing to fit is trained on the same clips as the mode `global`.
    """
    modes = set(report.summary["mode"]) - {"none"}
    if with_mode is None:
        with_mode = len(modes) > 1 or not modes <= {"global"}
    cells = {"embedding": str(row["embedding"])}
    if report.summary["pair"].nunique() > 1:
        cells["datasets"] = str(row["pair"])
    name = str(row["correction"])
    if not pd.isna(row["alpha"]) and row["alpha"] != 1:
        name += f" alpha={row['alpha']:g}"
    mode = "global" if row["mode"] == "none" else row["mode"]
    return {**cells, "correction": f"{name} ({mode})" if with_mode else name}


def _number(value: Any, sign: str = "") -> str:
    if pd.isna(value):
        return ""
    text = f"{value:{sign}.3f}"
    return "0.000" if text in ("+0.000", "-0.000") else text


def _with_interval(
    row: Mapping[Any, Any], value: str, low: str | None = None, high: str | None = None
) -> str:
    names = (value, low or f"{value}_low", high or f"{value}_high")
    if pd.isna(row.get(value)):
        return ""
    change, *ends = (_number(row[name], "+") for name in names)
    return f"{change} [{', '.join(ends)}]"


def _p(value: Any) -> str:
    if pd.isna(value):
        return ""
    return "<.001" if value < 0.001 else f"{value:.3f}".lstrip("0") if value < 1 else "1"
