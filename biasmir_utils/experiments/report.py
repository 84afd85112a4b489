"""A full report on corrections: gained, lost, left, damaged, seen, and how sure one can be.

It is made from what the tasks of an evaluation found (scores of test clips, probes of the
corrections) and fits nothing itself: tables, and a text in Markdown that tells how to read them.
The tables have the columns `embedding`, `correction`, `mode`, `alpha` and `pair` (the two
datasets), and these:

`changes`
    What each correction changes, mean over labels, over both directions and over seeds.
    `baseline`: against what (`none`, with recognisers trained on the same clips; `shift`, which
    moves all rows alike; `placebo`, the same correction fitted with the datasets of whole tracks
    permuted; or the same correction in the mode `unlabelled`); `where`: `across` datasets,
    `inside`, or `pooled` over both test sets (the clips with the label of each dataset, and those
    without, counting alike: else whoever scores the dataset with more positives higher would gain
    by it); `metric`; `before`, `after`, `change`, with `low` and `high`, the 95 % interval from
    tracks drawn again; `worst_change`, `worst_low`, `worst_high`: of the worst label, the one that
    is worst after against the one that was worst before; `n_labels`; `p`, of Wilcoxon's test over
    the labels, and `p_holm`, corrected for all corrections of the embedding and pair; `seed_sd`,
    `seed_low`, `seed_high`: of the change over the resampling seeds.
`task`
    The metrics themselves: `train_set`, `test_set` (blank where `where` is `pooled`), `where`,
    `statistic` (`label`; or `mean` or `worst` of all labels, where `label` is blank), `label`,
    `metric`, `value`, `low`, `high`.
`shift`
    What is left of the difference of the datasets, and the damage done, on test clips: `measure`
    (see `separability`), `value`, its range `low` to `high` over the fits (one for each label and
    seed), `chance`, `chance_high`, `control`, `n_fits`.
`summary`
    A row for each correction: what it `needs` of the target and the `information` it was given;
    the main metric `_inside` and `_across`; `gain` and `loss` of it with interval, p and SD over
    seeds; `gain_over_shift` and `gain_over_placebo` with interval and p, where these controls were
    evaluated (with `shift`, the rows of an embedding are ranked by the gain over it);
    `worst_label_across`, `worst_label_inside`; `<metric>_<where>_change` with interval; the
    measures of `shift`.

`few`, `worth`
    Of labels only: what some labelled clips of the target bring, and what each correction is worth
    in such labels; see `fewshot` and `label_worth`. `summary` has the latter as `worth`,
    `worth_low`, `worth_high`.

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
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import joblib
import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from biasmir_utils.corrections import INFORMATION, PLACEBO, Correction, parse_correction
from biasmir_utils.experiments import fewshot, stats
from biasmir_utils.experiments.evaluate import (
    REPORT_SEEDS,
    Plan,
    TaskResult,
    in_processes,
    skipped_lines,
)
from biasmir_utils.experiments.metrics import (
    Answers,
    Array,
    FloatArray,
    Metric,
    alike,
    metric_named,
    metrics_of,
)
from biasmir_utils.experiments.protocol import CATEGORY, GROUP, LABEL, NUMBER
from biasmir_utils.experiments.results import UNLABELLED
from biasmir_utils.experiments.separability import PROBE_FOLDS, SHIFT_MEASURES

SOURCE_ONLY, UNLABELLED_TARGET, GROUPED, LABELLED = INFORMATION
LEVEL = 0.95
N_REPLICATES = 1000
DRAWS_AT_A_TIME = 32
"""Draws whose metrics are computed together: their arrays fit into the processor's cache."""
WORTH_DRAWING_IN_PROCESSES = 500
"""Scored test sets from which on more than one process draws them again."""
PAIR_SETTING = ["embedding", "correction", "mode", "alpha", "pair"]
CHANGE_COLUMNS = [
    *(*PAIR_SETTING, "baseline", "where", "metric", "before", "after", "change", "low", "high"),
    *("worst_change", "worst_low", "worst_high", "n_labels", "p"),
    *("seed_sd", "seed_low", "seed_high", "p_holm"),
]
WHERE = {"across": (1, 0), "inside": (0, 1), "pooled": (2, 2)}
"""For each training set the position of the test set: the other dataset, the same, or both."""
NONE = "none"
"""No correction; its mode tells which clips its recognisers are trained on."""
SHIFT = "shift"
"""The control that moves the origin only."""
SIGNIFICANT = 0.05
FEW_TRACKS = 10
"""Test tracks of a class under which intervals that are drawn from them are too narrow."""


@dataclass(frozen=True)
class Report:
    """The tables of a full report; see `biasmir_utils.experiments.report` for their columns.

    Attributes
    ----------
    summary : pandas.DataFrame
        A row for each embedding, correction, mode, dose and pair of datasets.
    changes, task, shift, few, worth : pandas.DataFrame
        Long tables; the last two are empty where no few labels were asked for.
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
    few: pd.DataFrame
    worth: pd.DataFrame
    kind: str
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        """The metric of gains and losses, `roc_auc`, of a number `r2`."""
        return metrics_of(self.kind, report=True)[0].name

    @property
    def has_figure(self) -> bool:
        """Whether there is a gain to draw."""
        return "gain" in self.summary and bool(self.summary["gain"].notna().any())

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

_Variant = tuple[str, str, float | None]
"""A correction, its mode and its dose."""
_Scored = dict[tuple[str, int, _Variant, str], dict[str, tuple[dict[str, Array], float]]]
"""Label, seed, variant, training set -> by test set the columns of scores, and the threshold."""


def build_report(
    plan: Plan, found: Sequence[TaskResult], few: pd.DataFrame, jobs: int | None = None
) -> Report:
    """Make the report of an evaluation whose plan has `report`.

    Parameters
    ----------
    plan : Plan
    found : sequence of TaskResult
        With scores and `judged`.
    few : pandas.DataFrame
        What they found with few labels; see `fewshot.FEW_COLUMNS`.
    jobs : int, optional
        Processes; default all cores, where it is worth to start them.
    """
    corpus, seeds = plan.data.corpus, plan.parameters["seeds"]
    place = list(plan.data.datasets).index
    track_of: dict[str, dict[str, str]] = {}
    sizes: dict[str, list[tuple[int, int]]] = {}
    scored: dict[tuple[str, tuple[str, str]], _Scored] = {}
    for key, arrays in (entry for result in found for entry in result.scores):
        test_set = key["test_set"]
        tracks = map(str, arrays["track"])
        track_of.setdefault(test_set, {}).update(zip(arrays["clip"], tracks, strict=True))
        classes = np.ones(len(arrays["clip"])) if plan.kind == NUMBER else arrays["y_true"]
        of_class = (set(arrays["track"][classes == value]) for value in np.unique(classes))
        sizes.setdefault(test_set, []).append((len(arrays["clip"]), min(map(len, of_class))))
        first, second = sorted((key["train_set"], key["partner"]), key=place)
        alpha = None if np.isnan(key["alpha"]) else float(key["alpha"])
        where = (key["label"], key["seed"], (key["correction"], key["mode"], alpha))
        own = scored.setdefault((key["embedding"], (first, second)), {})
        needed = {name: arrays[name] for name in arrays if name not in ("clip", "group")}
        own.setdefault((*where, key["train_set"]), {})[test_set] = (needed, key["threshold"])
    tracks_of = {name: set(own.values()) for name, own in track_of.items()}
    draws = stats.TrackDraws(
        {name: list(own) for name, own in tracks_of.items()}, N_REPLICATES, 0, corpus.shared_tracks
    )
    asked = [
        (spec.name, mode, spec.alpha if spec.corrects else None)
        for task in plan.tasks
        for spec, mode in task.variants
    ]
    order = sorted(dict.fromkeys(asked), key=lambda variant: variant[0] != NONE)
    calls = [
        joblib.delayed(_tables)(plan.kind, *name, order, seeds, own, draws)
        for name, own in scored.items()
    ]
    n_scored = 2 * sum(len(own) for own in scored.values())
    parallel = in_processes(1 if n_scored < WORTH_DRAWING_IN_PROCESSES else jobs, len(calls))
    changes, task = (
        pd.concat(tables, ignore_index=True) for tables in zip(*parallel(calls), strict=True)
    )
    judged = pd.DataFrame([row for result in found for row in result.judged])
    values = {"value": "mean", "low": "min", "high": "max", "n_fits": "size"}
    averaged = {name: (name, "mean") for name in ("chance", "chance_high", "control")}
    fits = judged.groupby([*PAIR_SETTING, "measure"], sort=False, dropna=False)
    shift = fits.agg(**{name: ("value", how) for name, how in values.items()}, **averaged)
    shift = shift[["value", "low", "high", *averaged, "n_fits"]].reset_index()
    facts: dict[str, Any] = {"seeds": seeds, "n_replicates": N_REPLICATES, "test": {}}
    facts["n_labels"] = max(len({where[0] for where in own}) for own in scored.values())
    for name, own_sizes in sizes.items():
        n_clips, n_tracks = zip(*own_sizes, strict=True)
        counts = {"fewest": min(n_clips), "most": max(n_clips), "fewest_tracks": min(n_tracks)}
        counts |= {"clips": len(track_of[name]), "tracks": len(tracks_of[name])}
        facts["test"][name] = counts
    facts |= {"grouped": bool(corpus.groups), "warnings": list(corpus.warnings)}
    facts["unequal_tracks"] = plan.warnings
    records = {name: corpus.model_record(name) for name in plan.parameters["embeddings"]}
    facts["corrected"] = {k: one["source"] for k, one in records.items() if "correction" in one}
    facts["shared_tracks"] = [
        f"{first}/{second}"
        for first, second in dict.fromkeys(pair for _, pair in scored)
        if corpus.shared_tracks and tracks_of[first] & tracks_of[second]
    ]
    summary, worth = _summary(plan, changes, task, shift), fewshot.label_worth(few)
    if "worth" in worth:
        of_corrections = worth[worth["method"].eq(fewshot.PLAIN_SOURCE)]
        summary = summary.merge(of_corrections[[*PAIR_SETTING, *fewshot.WORTH]], how="left")
    return Report(summary, changes, task, shift, few, worth, plan.kind, facts)


@dataclass(frozen=True)
class _Block:
    """All metrics of one embedding and pair of datasets.

    `values`, (n_variants, 2, 3, n_labels, n_metrics, 1 + n_replicates): by variant, training set,
    test set (the third is both), label and metric, mean over seeds. `by_seed`, (n_seeds,
    n_variants, 2, 3, n_labels, n_metrics): as measured.
    """

    embedding: str
    pair: tuple[str, str]
    variants: list[_Variant]
    labels: list[str]
    metrics: list[Metric]
    values: NDArray[np.float32]
    by_seed: FloatArray

    def about(self, k: int) -> dict[str, Any]:
        """Return the columns that tell a variant."""
        correction, mode, alpha = self.variants[k]
        dose = np.nan if alpha is None else alpha
        setting = (self.embedding, correction, mode, dose, "/".join(self.pair))
        return dict(zip(PAIR_SETTING, setting, strict=True))

    def has_mean(self, metric: Metric) -> bool:
        """Return whether a mean over the targets says something: not in several units."""
        return not metric.has_unit or len(self.labels) == 1


def _tables(
    kind: str,
    embedding: str,
    pair: tuple[str, str],
    order: list[_Variant],
    seeds: list[int],
    scored: _Scored,
    draws: stats.TrackDraws,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the changes and the metrics of one embedding and pair of datasets."""
    labels = list(dict.fromkeys(where[0] for where in scored))
    there = {where[2] for where in scored}
    variants = [variant for variant in order if variant in there]
    metrics = metrics_of(kind, report=True)
    shape = (len(variants), 2, 3, len(labels), len(metrics))
    values = np.zeros((*shape, 1 + draws.n_replicates), dtype=np.float32)
    by_seed = np.full((len(seeds), *shape), np.nan)
    # Label by label, so that few of the weights are there at a time.
    for row, label in enumerate(labels):
        own = {where: tests for where, tests in scored.items() if where[0] == label}
        first = [next(iter(own.values()))[name][0] for name in pair]
        weights = [
            draws.weights(name, part["track"]) for name, part in zip(pair, first, strict=True)
        ]
        weights.append(np.hstack(weights))
        if kind != NUMBER:
            cells = [2 * d + (part["y_true"] == 1) for d, part in enumerate(first)]
            weights[-1] = alike(weights[-1], np.concatenate(cells))
        for (_, seed, variant, train_set), tests in own.items():
            parts = [tests[name][0] for name in pair]
            names = [name for name in parts[0] if name != "track"]
            parts.append({name: np.concatenate([part[name] for part in parts]) for name in names})
            for test, (arrays, w) in enumerate(zip(parts, weights, strict=True)):
                measured = _drawn(kind, metrics, arrays, tests[pair[0]][1], w)
                at = (variants.index(variant), pair.index(train_set), test, row)
                values[at] += measured
                by_seed[(seeds.index(seed), *at)] = measured[:, 0]
    count = (~np.isnan(by_seed)).any(axis=-1).sum(axis=0)
    with warnings.catch_warnings():  # of means of nothing, which are NaN
        warnings.simplefilter("ignore", RuntimeWarning)
        values /= count[..., np.newaxis, np.newaxis]
        block = _Block(embedding, pair, variants, labels, metrics, values, by_seed)
        return _changes(block), _task(block)


def _drawn(
    kind: str,
    metrics: Sequence[Metric],
    arrays: Mapping[str, Array],
    threshold: float,
    weights: FloatArray,
) -> FloatArray:
    """Return the metrics of a test set under each weighting, (n_metrics, n_weightings)."""
    if np.isnan(arrays["score"]).any():  # a gap, or pooled with one
        return np.full((len(metrics), len(weights)), np.nan)
    parts = [
        Answers(kind, arrays, threshold, weights[start : start + DRAWS_AT_A_TIME])
        for start in range(0, len(weights), DRAWS_AT_A_TIME)
    ]
    return np.hstack([[metric.compute(part) for metric in metrics] for part in parts])


def _changes(block: _Block) -> pd.DataFrame:
    """Return the changes against no correction, controls, and the mode `unlabelled`."""
    position = {variant: k for k, variant in enumerate(block.variants)}
    pairs = []
    for k, (correction, mode, alpha) in enumerate(block.variants):
        bases: dict[_Variant, str] = {(NONE, mode if mode == UNLABELLED else "none", None): NONE}
        bases[SHIFT, mode, 1.0] = SHIFT
        bases[f"{PLACEBO}:{correction}", mode, alpha] = PLACEBO
        if correction == NONE:
            bases.clear()
        if mode in ("none", "global"):
            bases[correction, UNLABELLED, alpha] = UNLABELLED
        # One that is not there has failed, or was not asked for.
        pairs += [(k, position[b], bases[b]) for b in bases if position.get(b, k) != k]
    metrics = [(m, one) for m, one in enumerate(block.metrics) if block.has_mean(one)]
    rows = []
    for (where, test), (m, metric) in itertools.product(WHERE.items(), metrics):
        values = (block.values[:, 0, test[0], :, m] + block.values[:, 1, test[1], :, m]) / 2
        of_seeds = block.by_seed[..., m]
        by_seed = (of_seeds[:, :, 0, test[0]] + of_seeds[:, :, 1, test[1]]) / 2
        worst = _worst(values, metric)
        for k, base, baseline in pairs:
            difference = values[k] - values[base]
            mean, fell = _mean(difference), worst[k] - worst[base]
            seeds = _mean(by_seed[:, k] - by_seed[:, base], 1)
            row = block.about(k) | {"baseline": baseline, "where": where, "metric": metric.name}
            row["before"], row["after"] = (_mean(values[one, :, 0]) for one in (base, k))
            row |= {"change": mean[0], **_interval("", mean)}
            row |= {"worst_change": fell[0], **_interval("worst_", fell)}
            row["n_labels"] = int((~np.isnan(difference[:, 0])).sum())
            row["p"] = stats.paired_wilcoxon(difference[:, 0])
            row["seed_sd"] = float(seeds.std(ddof=1)) if len(seeds) > 1 else np.nan
            rows.append({**row, "seed_low": float(seeds.min()), "seed_high": float(seeds.max())})
    table = pd.DataFrame(rows, columns=CHANGE_COLUMNS)
    if len(table):
        # A family: all corrections of one embedding and pair, for one metric in one place.
        family = table.groupby(["baseline", "where", "metric"], sort=False)["p"]
        table["p_holm"] = family.transform(stats.holm)
    return table


def _task(block: _Block) -> pd.DataFrame:
    """Return the metrics of each label, their mean and their worst."""
    rows = []
    sizes = (len(block.variants), 2, 3, len(block.metrics))
    for k, train, test, m in np.ndindex(*sizes):
        values, metric = block.values[k, train, test, :, m], block.metrics[m]
        drawn: list[tuple[str, str | None, Array]] = []
        if block.has_mean(metric):
            worst = _worst(values[np.newaxis], metric)[0]
            drawn = [("mean", None, _mean(values)), ("worst", None, worst)]
        drawn += [("label", label, one) for label, one in zip(block.labels, values, strict=True)]
        sets = {"train_set": block.pair[train], "test_set": [*block.pair, None][test]}
        where = next(name for name, tests in WHERE.items() if tests[train] == test)
        rows += [
            {**block.about(k), **sets, "where": where, "statistic": statistic, "label": label}
            | {"metric": metric.name, "value": float(one[0]), **_interval("", one)}
            for statistic, label, one in drawn
        ]
    return pd.DataFrame(rows)


def _worst(values: Array, metric: Metric) -> Array:
    """Return the worst over the labels, the axis after the first.

    It has draws only where each of the labels has enough of them for an interval.
    """
    worst = np.asarray((np.nanmin if metric.larger_is_better else np.nanmax)(values, axis=1))
    undefined = np.isnan(values[..., 1:]).mean(axis=-1) > stats.MOST_UNDEFINED
    worst[(undefined & ~np.isnan(values[..., 0])).any(axis=1), 1:] = np.nan
    return worst


def _mean(values: Array, axis: int = 0) -> Any:
    """Return the mean, NaN left out."""
    return np.nanmean(values, axis=axis, dtype=np.float64)


def _interval(prefix: str, draws: Array) -> dict[str, float]:
    low, high = stats.interval(draws, LEVEL)
    return {f"{prefix}low": low, f"{prefix}high": high}


def _summary(
    plan: Plan, changes: pd.DataFrame, task: pd.DataFrame, shift: pd.DataFrame
) -> pd.DataFrame:
    """Return a row for each correction, from the three other tables."""
    summary = task[PAIR_SETTING].drop_duplicates(ignore_index=True)

    def add(part: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
        renamed = part[[*PAIR_SETTING, *columns]].rename(columns=columns)
        return summary.merge(renamed, on=PAIR_SETTING, how="left")

    specs = {spec.name: spec for one in plan.tasks for spec, _ in one.variants}
    targets = [subject.name for subject in plan.data.subjects]
    summary["needs"] = [specs[name].information for name in summary["correction"]]
    summary["information"] = [
        information_used(specs[name], mode, plan.kind, targets, bool(plan.data.corpus.groups))
        for name, mode in summary[["correction", "mode"]].itertuples(index=False)
    ]
    metrics = [metric.name for metric in metrics_of(plan.kind, report=True)]
    main = metrics[0]
    means = task[task["statistic"].eq("mean") & task["metric"].eq(main)]
    both_ways = means.groupby([*PAIR_SETTING, "where"], dropna=False)["value"].mean()
    for where, mean in both_ways.unstack("where")[["inside", "across"]].items():
        summary = add(mean.reset_index(), {str(where): f"{main}_{where}"})
    told = dict(iter(changes.groupby(["baseline", "where", "metric"])))
    asked = [(control, "across", main) for control in (SHIFT, PLACEBO)]
    asked += [(NONE, *what) for what in itertools.product(WHERE, metrics)]
    for baseline, where, metric in (one for one in asked if one[0] in set(changes["baseline"])):
        part = told.get((baseline, where, metric), changes.iloc[:0])
        name, further = f"{metric}_{where}_change", {}
        if baseline != NONE:
            name = f"gain_over_{baseline}"
            further["p_holm"] = f"{name}_p_holm"
        elif metric == main and where != "pooled":
            name = {"across": "gain", "inside": "loss"}[where]
            further = {column: f"{name}_{column}" for column in ("p", "p_holm", "seed_sd")}
            further["worst_change"] = f"worst_label_{where}"
        if name == "loss":  # what went down
            part = part.assign(change=-part["change"], low=-part["high"], high=-part["low"])
        ends = {"change": name, "low": f"{name}_low", "high": f"{name}_high"}
        summary = add(part, ends | further)
    for measure, part in shift.groupby("measure", sort=False):
        beside = "chance" if measure in SHIFT_MEASURES else "control"
        columns = {"value": str(measure), beside: f"{measure}_{beside}"}
        if measure == "rank":  # nothing to be put beside it
            del columns[beside]
        summary = add(part, columns)
    if "gain_over_shift" in summary:
        # What is no correction first; of those that are, the best one.
        rank = -summary["gain_over_shift"].where(~summary["correction"].isin([NONE, SHIFT]), np.inf)
        block = summary.groupby(["embedding", "pair"], sort=False).ngroup()
        order = pd.DataFrame({"block": block, "rank": rank}).sort_values(
            ["block", "rank"], kind="stable"
        )
        summary = summary.loc[order.index].reset_index(drop=True)
    return summary


def best_corrections(report: Report) -> pd.DataFrame:
    """Return the row of the summary of the best correction of each embedding and pair.

    Best is the largest gain over `shift`, and where that was not evaluated the largest gain;
    controls and what has seen the target's labels when it was fitted, as its method needs, are no
    candidates.
    """
    table = report.summary
    gain = table.get("gain_over_shift", table.get("gain", pd.Series(np.nan, table.index)))
    control = table["correction"].str.match(rf"({NONE}|{SHIFT}|random|{PLACEBO})(:|$)|k$")
    gain = gain[~control & table["needs"].ne(LABELLED) & gain.notna()]
    blocks = [table.loc[gain.index, name] for name in ("embedding", "pair")]
    return table.loc[gain.groupby(blocks, sort=False).idxmax()]


# Texts in which what comes from data stays text

_MARKDOWN = re.compile(r"[\\`*\[\]<>|$~]|(?<!\w)_|_(?!\w)|&(?=#?\w+;)")
_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "%&_#${}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
)


def markdown_text(text: Any) -> str:
    """Return what Markdown shows as this text, in one line."""
    return _MARKDOWN.sub(r"\\\g<0>", re.sub(r"\s*[\r\n]\s*", " ", str(text)))


def rendered(template: str, plain: Callable[[Any], str] = str, **values: Any) -> str:
    """Fill in a template of this folder.

    Parameters
    ----------
    template : str
        Its file name.
    plain : callable
        What turns a value into the text that shows it, such as `markdown_text`; what is a
        `markupsafe.Markup`, and the template's own words, are left as they are.
    **values
        What the template names.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("biasmir_utils.experiments", ""),
        # Not for HTML: this is how the words of the template are told from the values.
        autoescape=True,
        finalize=lambda value: value if isinstance(value, Markup) else Markup(plain(value)),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["paragraphs"] = lambda text: [
        Markup(" ".join(own.split())) for own in re.split(r"\n\s*\n", text) if own.strip()
    ]
    environment.filters["interval"] = lambda low, high: Markup(
        "" if np.isnan(low) else f" [{low:+.3f}, {high:+.3f}]"
    )
    environment.filters["wrapped"] = lambda text, indent: Markup(
        textwrap.fill(text, 100, subsequent_indent=" " * indent)
    )
    text = environment.get_template(template).render(**values)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


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
    return _text(report, record, "report", figure) + "\n"


def report_summary(report: Report, record: Mapping[str, Any]) -> str:
    """Return the part of the report that is printed: its first table, with what it rests on."""
    return _text(report, record, "summary")


def report_latex(report: Report, record: Mapping[str, Any]) -> str:
    """Return the first table as LaTeX (package booktabs), its caption what it rests on."""
    caption = " ".join(_text(report, record, "rests_on", plain=str).split()).translate(_LATEX)
    table = _gains(report).to_latex(index=False, escape=True, caption=caption)
    # In a text, a hyphen before a number is no minus sign.
    return "% needs \\usepackage{booktabs}\n" + re.sub(r"(?<=[ \[])-(?=[.\d])", "$-$", table)


def _text(
    report: Report,
    record: Mapping[str, Any],
    part: str,
    figure: str | None = None,
    plain: Callable[[Any], str] = markdown_text,
) -> str:
    """Return a part of `report.md.jinja`, each paragraph on one line."""
    summary, asked = report.summary, record["parameters"]
    corrections = list(dict.fromkeys(summary["correction"]))
    methods, lines = {one.split(":")[0] for one in corrections}, skipped_lines(record["skipped"])
    corrected = summary.loc[summary["correction"] != NONE, ["correction", "mode", "alpha"]]
    n_tests, least_p = len(corrected.drop_duplicates()), stats.smallest_p(report.facts["n_labels"])
    brier = report.task.loc[report.task["metric"] == "brier", "value"]
    tables = (_gains, _other_metrics, _modes_compared, _shift_and_damage)
    return rendered(
        "report.md.jinja",
        plain,
        level=LEVEL,
        few=FEW_TRACKS,
        significant=SIGNIFICANT,
        n_folds=PROBE_FOLDS,
        report_seeds=REPORT_SEEDS,
        **{table.__name__[1:]: _markdown(table(report)) for table in tables},
        part=part,
        figure=figure,
        record=record,
        report=report,
        brier_is_blank=bool(len(brier) and brier.isna().all()),
        best=best_corrections(report).to_dict("records"),
        controls=[name for name in ("random", PLACEBO) if name in methods],
        groups_are_the_target=GROUP in asked["target"] and (summary["needs"] == GROUPED).any(),
        least_p=least_p,
        least_p_holm=min(1.0, least_p * max(n_tests, 1)),
        mapped=[name for name in corrections if parse_correction(name).kernel],
        n_tests=n_tests,
        seen=list(dict.fromkeys(summary["information"])),
        skipped=list(dict.fromkeys(line.removeprefix("skipped ") for line in lines)),
    )


# Tables of texts, from those of numbers


def _gains(report: Report) -> pd.DataFrame:
    """Return the table of gains and losses."""
    summary = report.summary
    table = _first(report, summary)
    table["needs"], table["sees"] = summary["needs"], summary["information"]
    table[f"{report.heading} across"] = _numbers(summary, f"{report.metric}_across")
    for name, where in (("gain", "across"), ("loss", "inside")):
        table[f"{name} {where}"] = _with_interval(summary, name)
        table[f"p {name}"] = _p_values(summary, f"{name}_p_holm")
        for control in (SHIFT, PLACEBO) if name == "gain" else ():
            if f"gain_over_{control}" in summary:
                table[f"gain over {control}"] = _with_interval(summary, f"gain_over_{control}")
    if "worth" in summary:
        table["worth in labels"] = _between(*(summary[name].fillna("") for name in fewshot.WORTH))
    table["change of the smallest across"] = _numbers(summary, "worst_label_across", "+")
    if len(report.facts["seeds"]) > 1:
        table["seed SD"] = _numbers(summary, "gain_seed_sd")
    return table


def _other_metrics(report: Report) -> pd.DataFrame:
    """Return the table of the changes of all other metrics, and of all pooled ones."""
    task = report.task
    across = task[task["statistic"].eq("mean") & task["where"].eq("across")]
    values = across.groupby([*PAIR_SETTING, "metric"], dropna=False, sort=False)["value"].mean()
    means = values.unstack("metric").reset_index()
    metrics = [one for one in metrics_of(report.kind, report=True) if one.name in means]
    summary = report.summary.merge(means, on=PAIR_SETTING, how="left", suffixes=("", "_value"))
    table = _first(report, summary)
    for metric in metrics:
        if metric.name != report.metric:
            table[f"{metric.heading} across"] = _numbers(summary, metric.name)
            changes = _with_interval(summary, f"{metric.name}_across_change")
            table[f"change of {metric.heading}"] = changes
    for metric in metrics:
        changes = _with_interval(summary, f"{metric.name}_pooled_change")
        table[f"change of pooled {metric.heading}"] = changes
    return table


def _shift_and_damage(report: Report) -> pd.DataFrame:
    """Return the table of what is left of the datasets' difference, and of the damage."""
    table = _first(report, report.summary)
    for name, measure in SHIFT_MEASURES.items():
        table[measure.heading] = _numbers(report.summary, name)
        table[f"chance {measure.heading}"] = _numbers(report.summary, f"{name}_chance")
    table["rank"] = _texts(report.summary, "rank", "{:.3g}".format)
    table["variance moved"] = _numbers(report.summary, "variance_moved")
    table["by random projection"] = _numbers(report.summary, "variance_moved_control")
    table["variance kept"] = _numbers(report.summary, "variance_kept")
    return table


def _modes_compared(report: Report) -> pd.DataFrame:
    """Return the table of `global` against `unlabelled`; empty if the report has not both."""
    changes = report.changes
    if not changes["baseline"].eq(UNLABELLED).any():
        return pd.DataFrame()
    chosen = changes[changes["baseline"] == UNLABELLED]
    keys = ["embedding", "correction", "alpha", "pair"]
    rows = chosen[keys].drop_duplicates(ignore_index=True)
    table = _first(report, rows)
    balanced = [name for name in chosen["metric"].unique() if name.startswith("balanced_accuracy")]
    shown = [(report.metric, where) for where in WHERE]
    shown += [(metric, where) for metric in balanced for where in ("across", "inside")]
    for metric, where in shown:
        part = chosen[chosen["metric"].eq(metric) & chosen["where"].eq(where)]
        part = part.rename(columns={"low": "change_low", "high": "change_high"})
        part = rows.merge(part, on=keys, how="left")
        heading = metric_named(metric).heading
        title = f"pooled {heading}" if where == "pooled" else f"{heading} {where}"
        table[title] = _with_interval(part, "change")
        if metric == report.metric and where != "pooled":
            table[f"p {where}"] = _p_values(part, "p_holm")
    return table


def _first(report: Report, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the first columns: embedding, datasets if there are several pairs, correction.

    What has nothing to fit is trained on the same clips as the mode `global`.
    """
    table = rows[["embedding"]].copy()
    if report.summary["pair"].nunique() > 1:
        table["datasets"] = rows["pair"]
    doses = ["" if np.isnan(a) or a == 1 else f" alpha={a:g}" for a in rows["alpha"]]
    table["correction"] = rows["correction"] + doses
    modes = set(report.summary["mode"]) - {"none"}
    if "mode" in rows and not modes <= {"global"}:
        table["correction"] += " (" + rows["mode"].replace("none", "global") + ")"
    return table


def _texts(table: pd.DataFrame, column: str, told: Callable[[float], str]) -> pd.Series:
    """Return a column in words, blank where it has no value or there is no such column."""
    values = table.reindex(columns=[column])[column]
    return values.map(lambda value: "" if pd.isna(value) else told(value))


def _numbers(table: pd.DataFrame, column: str, sign: str = "") -> pd.Series:
    told = _texts(table, column, f"{{:{sign}.3f}}".format)
    return told.replace(["+0.000", "-0.000"], "0.000")


def _with_interval(table: pd.DataFrame, column: str) -> pd.Series:
    value, low, high = (_numbers(table, f"{column}{end}", "+") for end in ("", "_low", "_high"))
    return _between(value, low, high)


def _between(value: pd.Series, low: pd.Series, high: pd.Series) -> pd.Series:
    """Return values with the ends of their intervals, where there are any."""
    return value + (" [" + low + ", " + high + "]").where((value != "") & (low != ""), "")


def _p_values(table: pd.DataFrame, column: str) -> pd.Series:
    def told(value: float) -> str:
        return "<.001" if value < 0.001 else f"{value:.3f}".lstrip("0") if value < 1 else "1"

    return _texts(table, column, told)


def _markdown(table: pd.DataFrame) -> Markup:
    """Return a table of texts as Markdown with aligned columns; in its first ones are names."""
    names = [name for name in ("embedding", "datasets", "correction") if name in table]
    table = table.assign(**{name: table[name].map(markdown_text) for name in names})
    lines = [list(table), *table.to_numpy().tolist()]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    told = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in lines]
    told.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return Markup("\n".join(told) if len(table) else "")
