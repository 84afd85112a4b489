"""A full report on corrections: gained, lost, left, damaged, seen, and how sure one can be.

It is made from what the tasks of an evaluation found (scores of test clips, probes of the
corrections) and fits nothing itself. Its tables have the columns `embedding`, `correction`,
`mode`, `alpha` and `pair` (the two datasets), and these:

`changes`
    What each correction changes, mean over labels, over both directions and over seeds.
    `baseline`: against what (`none`, or for the mode `global` also the mode `unlabelled`); `where`:
    `across` datasets, `inside`, or `pooled` over both test sets; `metric`; `before`, `after`,
    `change`, with `low` and `high`, the 95 % interval from tracks drawn again; `worst_change`,
    `worst_low`, `worst_high`: of the worst label; `n_labels`; `p`, of Wilcoxon's test over the
    labels, and `p_holm`, corrected for all corrections of the embedding and pair; `seed_sd`,
    `seed_low`, `seed_high`: of the change over the resampling seeds.
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
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from biasmir_utils.experiments.planning import Plan
from biasmir_utils.experiments.report_tables import (
    NONE,
    Block,
    Variant,
    changes_table,
    shift_table,
    summary_table,
    task_table,
)
from biasmir_utils.experiments.resampled import metrics_of, track_weights, weighted_metrics
from biasmir_utils.experiments.tasks import TaskResult

Array = NDArray[Any]

N_REPLICATES = 1000


@dataclass(frozen=True)
class Report:
    """The tables of a full report.

    Attributes
    ----------
    summary : pandas.DataFrame
        A row for each embedding, correction, mode, dose and pair of datasets.
    changes, task, shift : pandas.DataFrame
        Long tables; see `biasmir_utils.experiments.report`.
    kind : str
        What is recognised; see `targets`.
    facts : dict
        Numbers of labels, seeds, test clips and tracks, replicates.
    """

    summary: pd.DataFrame
    changes: pd.DataFrame
    task: pd.DataFrame
    shift: pd.DataFrame
    kind: str
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        """The metric of gains and losses: `roc_auc`, of a number `r2`."""
        return metrics_of(self.kind)[0]


def build_report(
    plan: Plan, found: Sequence[TaskResult], n_replicates: int = N_REPLICATES, seed: int = 0
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
    """
    metrics = metrics_of(plan.kind)
    draws = _Draws(found, n_replicates, seed)
    changes, task, n_labels = [], [], 0
    for block in _blocks(plan, found, draws):
        n_labels = max(n_labels, len(block.labels))
        changes.append(changes_table(block, metrics))
        task.append(task_table(block, metrics))
    shift = shift_table(found)
    tables = pd.concat(changes, ignore_index=True), pd.concat(task, ignore_index=True)
    summary = summary_table(plan, tables[0], tables[1], shift)
    facts = {
        "n_labels": n_labels,
        "seeds": plan.parameters["seeds"],
        "n_replicates": n_replicates,
        "test": {
            dataset: {"clips": int(draws.n_clips[dataset]), "tracks": len(names)}
            for dataset, names in draws.tracks.items()
        },
    }
    return Report(summary, *tables, shift, plan.kind, facts)


class _Draws:
    """Draws of the tracks of each test set, shared by all that is tested on it."""

    def __init__(self, found: Sequence[TaskResult], n_replicates: int, seed: int) -> None:
        self.n_replicates, self.seed = n_replicates, seed
        tracks: dict[str, dict[str, str]] = {}
        for result in found:
            for key, arrays in result.scores:
                clips = tracks.setdefault(key["test_set"], {})
                clips.update(zip(arrays["clip"], map(str, arrays["track"]), strict=True))
        self.n_clips = {dataset: len(clips) for dataset, clips in tracks.items()}
        self.tracks = {
            dataset: np.unique(np.array(list(clips.values()), dtype=str))
            for dataset, clips in tracks.items()
        }
        self._kept: dict[tuple[str, str, int], NDArray[np.float32]] = {}

    def weights(self, dataset: str, label: str, tracks: Array) -> NDArray[np.float32]:
        """Return the weights of the clips of a label in a test set, (1 + n_replicates, n)."""
        key = (dataset, label, len(tracks))
        if key not in self._kept:
            if len(self._kept) > 8:
                self._kept.clear()
            own_seed = [self.seed, *dataset.encode()]
            self._kept[key] = track_weights(
                self.tracks[dataset], tracks.astype(str), self.n_replicates, own_seed
            )
        return self._kept[key]


def _blocks(plan: Plan, found: Sequence[TaskResult], draws: _Draws) -> list[Block]:
    order = list(plan.data.datasets)
    cells: dict[tuple[str, tuple[str, str]], dict[tuple[Any, ...], Any]] = {}
    for result in found:
        for key, arrays in result.scores:
            pair = tuple(sorted((key["train_set"], key["partner"]), key=order.index))
            alpha = None if np.isnan(key["alpha"]) else float(key["alpha"])
            variant = Variant(key["correction"], key["mode"], alpha)
            where = (key["label"], key["seed"], variant, key["train_set"], key["test_set"])
            own = cells.setdefault((key["embedding"], pair), {})
            own[where] = (arrays, key["threshold"])
    return [_block(plan, *name, own, draws) for name, own in cells.items()]


def _block(
    plan: Plan, embedding: str, pair: tuple[str, str], cells: dict[Any, Any], draws: _Draws
) -> Block:
    labels = list(dict.fromkeys(where[0] for where in cells))
    asked = [
        Variant(spec.name, mode, spec.alpha if spec.corrects else None)
        for task in plan.tasks
        for spec, mode in task.variants
    ]
    there = {where[2] for where in cells}
    named = [variant for variant in dict.fromkeys(asked) if variant in there]
    variants = [NONE, *(variant for variant in named if variant != NONE)]
    seeds = plan.parameters["seeds"]
    n_metrics = len(metrics_of(plan.kind))
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
            if column not in ("clip", "track", "group")
        }
        parts.append((together, np.hstack(weights)))
        for test, (arrays, w) in enumerate(parts):
            measured = weighted_metrics(plan.kind, arrays, both[0][1], w)
            values[(*at, test, labels.index(label))] += measured
            by_seed[(seeds.index(seed), *at, test, labels.index(label))] = measured[:, 0]
            count[(*at, test, labels.index(label))] += 1
    with np.errstate(invalid="ignore"):
        values /= count[..., np.newaxis, np.newaxis]
    return Block(embedding, pair, variants, labels, values, by_seed)
