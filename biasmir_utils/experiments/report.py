"""A full report on corrections: gained, lost, left, damaged, seen, and how sure one can be.

It is made from what the tasks of an evaluation found (scores of test clips, probes of the
corrections) and fits nothing itself. Its tables have the columns `embedding`, `correction`,
`mode`, `alpha` and `pair` (the two datasets), and these:

`changes`
    What each correction changes, mean over labels, over both directions and over seeds.
    `baseline`: against what (`none`, with recognisers trained on the same clips; or the same
    correction in the mode `unlabelled`); `where`: `across` datasets, `inside`, or `pooled` over
    both test sets; `metric`; `before`, `after`, `change`, with `low` and `high`, the 95 % interval
    from tracks drawn again; `worst_change`, `worst_low`, `worst_high`: of the worst label, the one
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
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from biasmir_utils.experiments.planning import Plan, process_count
from biasmir_utils.experiments.report_tables import (
    NONE,
    Block,
    Variant,
    changes_table,
    shift_table,
    summary_table,
    task_table,
)
from biasmir_utils.experiments.resampled import metrics_of, shared_track_weights, weighted_metrics
from biasmir_utils.experiments.tasks import TaskResult

Array = NDArray[Any]

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
        parts.append((together, np.hstack(weights)))
        for test, (arrays, w) in enumerate(parts):
            measured = weighted_metrics(kind, arrays, both[0][1], w)
            values[(*at, test, labels.index(label))] += measured
            by_seed[(seeds.index(seed), *at, test, labels.index(label))] = measured[:, 0]
            count[(*at, test, labels.index(label))] += 1
    with np.errstate(invalid="ignore"):
        values /= count[..., np.newaxis, np.newaxis]
    return Block(embedding, pair, variants, labels, values, by_seed)
