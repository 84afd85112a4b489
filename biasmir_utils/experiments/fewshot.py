"""What labels of the target are worth: recognisers that get some, and what corrections gain.

A correction that sees no label competes with labelling: whoever can label n clips of the target
dataset can train on them. So a full report puts beside every correction, on the same test clips and
with the same recogniser (`method` in the table `few`):

`source only`
    Trained on the source's training clips, with or without a correction; n = 0.
`fewshot`
    Trained on the same clips and n labelled ones of the target's *training* part: half of them with
    the label (or all that there are), half without, either half drawn track by track: whole tracks
    until there are enough clips, the last one cut. A smaller n is the beginning of a larger one.
    So n counts the clips that are kept; where a label is rare, more have to be heard to find them.
`target only`
    Trained on these n clips alone.
`both`
    Trained on the clips that the recognisers of either dataset are trained on, together, without
    and with every correction: the plainest remedy, and what all labels are worth.

Where a track of the target has clips in both parts, those of its training part are not taken.

The weight of a labelled clip: as much as the source's clips have in all, divided by n, but never
more than ten of them (`HEAVIEST`), and at least as one. It is repeated so often, which every
recogniser understands, though what one holds out to choose a setting (ridge, mlp) may then
hold copies of what it trains on; both classes count alike in all, as they always do. The logistic
recogniser keeps the C that it chose on the source's clips (but for `target only`), since the folds
of a few clips tell nothing of it.

Measured on the demonstration corpus (musicnn, five labels, two draws; mfcc, two labels, three):
with n = 10 a clip would weigh about 65 without a limit, and mfcc lose .012 where it gains .002 with
it; from n = 50 on the two agree. Weight 1 brings musicnn .060 at n = 50, the full weight .075. C
chosen anew changes ROC-AUC by -.009 to +.005. What matters most is how the clips are chosen: at
full weight 10 that are drawn blindly change musicnn by -.029, half of them with the label by +.029.

All of it has seen labels of the target: `labelled target`, in the words of `corrections`. A label
that has no honest score inside the target (`DatasetClips.gaps`) has none here either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.metrics import roc_auc
from biasmir_utils.experiments.protocol import LABEL, DatasetClips
from biasmir_utils.experiments.recognisers import recogniser_scores
from biasmir_utils.experiments.results import SETTING, UNLABELLED
from biasmir_utils.experiments.stats import interval_over_labels

Array = NDArray[Any]

LABEL_SIZES, FEW_DRAWS = (10, 50, 200), 2
"""Numbers of labelled clips of the target in a full report, and how often each is drawn anew."""
HEAVIEST = 10
"""Clips of the source that a labelled clip of the target weighs as much as, at most."""
PLAIN_SOURCE, FEWSHOT, TARGET, BOTH = "source only", "fewshot", "target only", "both"
WORTH = {"worth": "mean", "worth_low": "low", "worth_high": "high"}
_CELL = ["label", "train_set", "test_set"]
FEW_COLUMNS = (*SETTING, "pair", *_CELL, "seed", "method", "n", "draw", "roc_auc")
"""Columns of the table `few`: a score across datasets in each row."""


def few_draws(
    sizes: Sequence[int] | None, draws: int, report: bool, kind: str
) -> tuple[tuple[int, int], ...]:
    """Return the numbers of labels asked for, or those of a report, each with those of its draws.

    Raises
    ------
    ArgumentError
        If they were asked for where no label is recognised, or a number is below 1.
    """
    if sizes and kind != LABEL:
        raise ArgumentError(f"few_labels are for labels; leave them out where a {kind} is told")
    if min([draws, *(sizes or ())]) < 1:
        raise ArgumentError(f"few_labels and draws must be at least 1, found {sizes} and {draws}")
    own = LABEL_SIZES if sizes is None and report and kind == LABEL else sizes or ()
    return tuple((n, draw) for draw in range(draws) for n in sorted(set(own)))


def few_label_sets(
    X: Array, y: Array, target: DatasetClips, X_target: Array, label: str, few: Any, seed: int
) -> Iterator[tuple[str, int, int, Array, Array]]:
    """Yield the training sets of `fewshot` and `target only`.

    Parameters
    ----------
    X, y : ndarray, (n_source, D) and (n_source,)
        Training rows of the source, and whether the label is present in each, 1 or 0.
    target : DatasetClips
    X_target : ndarray, (n_target, D)
        The embedding of all its clips.
    label : str
    few : sequence of (int, int)
        Numbers of labelled clips, each with the number of the draw; what the target has not is
        left out.
    seed : int
        Labels and datasets are drawn independently.

    Yields
    ------
    tuple
        Method, number of labelled clips, number of the draw; rows and labels.
    """
    pool, truth = target.train_rows(label), target.labels[label]
    pool = pool[~target.is_tested(label)[pool]]
    names, track = np.unique(target.tracks[pool].astype(str), return_inverse=True)
    for n, draw in (one for one in few if one[0] <= len(pool)):
        generator = np.random.default_rng([seed, draw, *f"{label} {target.name}".encode()])
        place = generator.permutation(len(names))[track]
        order = pool[np.lexsort((generator.random(len(pool)), place))]
        positives, negatives = order[truth[order] == 1], order[truth[order] == 0]
        wanted = max(min(n // 2, len(positives)), n - len(negatives))
        own = np.concatenate([positives[:wanted], negatives[: n - wanted]])
        heavy = np.repeat(own, np.clip(round(len(y) / n), 1, HEAVIEST))
        together = np.concatenate([X, X_target[heavy]]), np.concatenate([y, truth[heavy]])
        yield FEWSHOT, n, draw, *together
        yield TARGET, n, draw, X_target[own], truth[own]


def score_trained(recogniser: Any, train: Sequence[Array], test: Sequence[Array]) -> float:
    """Return the ROC-AUC of an unfitted recogniser; NaN where it cannot be trained on so little.

    `train` and `test` are rows and labels.
    """
    try:
        return roc_auc(test[1], recogniser_scores(recogniser.fit(*train), test[0])[0])
    except (ValueError, IndexError):  # too few clips of a class, for its folds or at all
        return float("nan")


def label_worth(few: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Return what each method and correction reaches across datasets, and its worth in labels.

    Means are over labels, both directions, draws and seeds; only over those labels and directions
    that `fewshot` has a score of, so that all are of the same test clips.

    Parameters
    ----------
    few : pandas.DataFrame
        `Report.few`, or `Evaluation.few`.
    level : float
        Of the intervals, in (0, 1). They draw the labels, with which the draws of clips go.

    Returns
    -------
    pandas.DataFrame
        A row for each embedding, pair, correction, mode, dose, `method` and `n`: `roc_auc`;
        `worst`, that of the worst label; `gain` against no correction and no label, with `low` and
        `high`. What lacks a score of a label or direction is not there. For corrections also
        `worth`, `worth_low` and `worth_high`: with how many labels `fewshot` first reaches as much,
        its curve being taken as straight over the logarithm of n between the numbers measured.
        Texts: `none` where the correction gains nothing; `under 10`, `over 200` beyond these
        numbers. Without rows of `fewshot` the table is empty.
    """
    spaces = few.groupby(["embedding", "pair", few["mode"] == UNLABELLED], sort=False)
    rows = [row for _, part in spaces for row in _of_one_space(part, level)]
    return pd.DataFrame(rows).replace({"alpha": {-1: np.nan}})


def _of_one_space(few: pd.DataFrame, level: float) -> Iterator[dict[str, Any]]:
    """Yield the rows of `label_worth` of one embedding, pair, and choice of training clips."""
    about: list[Any] = [*SETTING, "pair", "method", "n"]
    # Both datasets in training: as many clips as there are, another number for each label.
    both = few["method"].eq(BOTH)
    few = few.assign(n=few["n"].where(~both, few["n"].where(both).mean()))
    scores = few.fillna({"alpha": -1}).groupby([*about, *_CELL], sort=False)["roc_auc"]
    wide = scores.agg(lambda own: own.mean(skipna=False)).unstack(_CELL)
    method = wide.index.get_level_values("method")
    wide = wide.loc[:, wide[method == FEWSHOT].notna().any()].dropna()
    plain = wide[wide.index.isin(["none"], level="correction")]
    curve = plain[plain.index.isin([PLAIN_SOURCE, FEWSHOT], level="method")]
    curve = curve.droplevel(about[:-1]).sort_index()
    found: Any = wide.iterrows() if len(curve) > 1 else ()
    for key, own in found:
        lead = (own - curve).stack(_CELL).rename("lead").reset_index()
        told: Any = interval_over_labels(lead, "lead", ["n"], level=level)
        by_label = own.groupby("label").mean()
        row = {**dict(zip(about, key, strict=True)), "n_labels": len(by_label)}
        row |= {"roc_auc": by_label.mean(), "worst": by_label.min(), "gain": told.at[0, "mean"]}
        row |= dict(told.loc[0, ["low", "high"]])
        if row["method"] == PLAIN_SOURCE and row["correction"] != "none":
            n = curve.index.to_numpy(int)
            row |= {name: _labels(n, told[end].to_numpy()) for name, end in WORTH.items()}
        yield row


def _labels(n: Array, lead: Array) -> str:
    """Return with how many labels a lead over the curve is gone first, in words."""
    if np.isnan(lead).any():
        return ""
    k = int(np.argmax(np.r_[lead, -1] <= 0))
    if k in (0, 1, len(n)):
        return {0: "none", 1: f"under {n[1]}"}.get(k, f"over {n[-1]}")
    worth = np.exp(np.interp(0, lead[[k, k - 1]], np.log(n[[k, k - 1]])))
    return f"{float(f'{worth:.2g}'):.0f}"
