"""Which clips a recogniser is trained on, and whether there are enough of them.

For a label that is the paper's resampling. The other kinds keep its idea, that a training set is
no larger than what the other dataset has to offer, and every genre keeps its share:

- tags (one model): as many training clips from each dataset, whatever their labels;
- a category: as many training clips of each class from both datasets;
- a number: as many training clips from each dataset that have the number.

All of that looks at the labels of both datasets. The mode `unlabelled` does not look at the
target's: a recogniser is trained on all that its own dataset has (`own_rows`), a correction is
fitted on rows of both datasets that were drawn without their labels (`drawn_rows`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasmir_utils.experiments.data import DatasetClips
from biasmir_utils.experiments.resampling import (
    TrainingRows,
    match_training_rows,
    resample_by_group,
)
from biasmir_utils.experiments.targets import ABSENT, CATEGORY, LABEL, NUMBER, PRESENT, TAGS

# A recogniser needs as many clips of each class as the cross-validation has folds.
MIN_CLIPS = 3
MIN_NUMBERS = 10


@dataclass(frozen=True)
class ChosenRows:
    """Rows that a recogniser or a correction is trained on.

    Attributes
    ----------
    all : ndarray of int
    y : ndarray, or None
        What is true of each; None where nobody looked.
    """

    all: NDArray[np.intp]
    y: NDArray[Any] | None


def training_rows(label: str, datasets: Sequence[DatasetClips], seed: int) -> list[TrainingRows]:
    """Return the protocol's training rows of each of the datasets for a label."""
    return match_training_rows(
        [clips.train_rows(label, PRESENT) for clips in datasets],
        [clips.train_rows(label, ABSENT) for clips in datasets],
        [clips.groups for clips in datasets],
        seed,
    )


def subject_rows(
    name: str, kind: str, datasets: Sequence[DatasetClips], seed: int
) -> Sequence[TrainingRows | ChosenRows]:
    """Return the training rows of each of the datasets for anything that is recognised.

    Parameters
    ----------
    name : str
        A key of `DatasetClips.labels`.
    kind : {'label', 'tags', 'category', 'number'}
    datasets : sequence of DatasetClips
    seed : int
    """
    if kind == LABEL:
        return training_rows(name, datasets, seed)
    if kind == CATEGORY:
        return _of_classes(name, datasets, seed, shared_classes(name, datasets))
    chosen = []
    available = [clips.observed_train_rows(name) for clips in datasets]
    size = min(len(rows) for rows in available)
    for clips, rows in zip(datasets, available, strict=True):
        kept = rows[resample_by_group(clips.groups[rows], size, seed)]
        # Folds are not shuffled, and these rows are in the order of their groups.
        kept = np.random.default_rng(seed).permutation(kept)
        chosen.append(ChosenRows(kept, clips.labels[name][kept]))
    return chosen


def own_rows(
    name: str, kind: str, datasets: Sequence[DatasetClips], seed: int
) -> Sequence[TrainingRows | ChosenRows]:
    """Return all training rows of each of the datasets, none cut down to another's counts.

    Their order follows the rules of `subject_rows`. Of a category only the classes that the
    datasets share are there, since there is nothing to test the others on.
    """
    if kind == CATEGORY:
        codes = shared_classes(name, datasets)
        return [_of_classes(name, [clips], seed, codes)[0] for clips in datasets]
    return [subject_rows(name, kind, [clips], seed)[0] for clips in datasets]


def _of_classes(
    name: str, datasets: Sequence[DatasetClips], seed: int, codes: Sequence[int]
) -> list[ChosenRows]:
    parts: list[list[NDArray[np.intp]]] = [[] for _ in datasets]
    for code in codes:
        available = [clips.train_rows(name, code) for clips in datasets]
        size = min(len(rows) for rows in available)
        for part, clips, rows in zip(parts, datasets, available, strict=True):
            part.append(rows[resample_by_group(clips.groups[rows], size, seed)])
    rows_of = [np.concatenate(part) if part else np.empty(0, np.intp) for part in parts]
    return [
        ChosenRows(rows, clips.labels[name][rows])
        for clips, rows in zip(datasets, rows_of, strict=True)
    ]


def shared_classes(name: str, datasets: Sequence[DatasetClips]) -> list[int]:
    """Return the codes of the classes that all datasets can train (`MIN_CLIPS`) and test."""
    highest = max(int(clips.labels[name].max(initial=-1)) for clips in datasets)
    return [
        code
        for code in range(highest + 1)
        if all(
            len(clips.train_rows(name, code)) >= MIN_CLIPS
            and (clips.labels[name][clips.test_rows(name)] == code).any()
            for clips in datasets
        )
    ]


def drawn_rows(datasets: Sequence[DatasetClips], seed: int) -> list[ChosenRows]:
    """Return training rows drawn uniformly, as many from each dataset, without their labels."""
    train = [np.flatnonzero(clips.is_train) for clips in datasets]
    size = min(len(rows) for rows in train)
    return [
        ChosenRows(np.sort(np.random.default_rng(seed).permutation(rows)[:size]), None)
        for rows in train
    ]


def why_impossible(
    name: str, pair: Sequence[DatasetClips], seed: int, kind: str = LABEL
) -> str | None:
    """Return why something cannot be evaluated on a pair of datasets, None if it can."""
    if kind == LABEL:
        return _why_impossible_label(name, pair, seed)
    if kind == CATEGORY:
        n_classes = len(shared_classes(name, pair))
        if n_classes < 2:
            return (
                f"{n_classes} class(es) have {MIN_CLIPS} training clips or more and a test clip "
                f"in both datasets, at least 2 are needed"
            )
        return None
    for clips in pair:
        n_train, n_test = len(clips.observed_train_rows(name)), len(clips.test_rows(name))
        if n_train < MIN_NUMBERS or n_test < 2:
            return (
                f"{clips.name} has {n_train} training and {n_test} test clips with a value, at "
                f"least {MIN_NUMBERS} and 2 are needed"
            )
    if kind == TAGS:
        return _why_impossible_tags(name, pair, seed)
    assert kind == NUMBER
    return None


def _why_impossible_label(label: str, pair: Sequence[DatasetClips], seed: int) -> str | None:
    for clips in pair:
        for value, word in ((PRESENT, "positive"), (ABSENT, "negative")):
            n = len(clips.train_rows(label, value))
            if n < MIN_CLIPS:
                clips_of_it = "clip" if n == 1 else "clips"
                return (
                    f"{clips.name} has {n} {word} training {clips_of_it}, at least {MIN_CLIPS} are "
                    f"needed"
                )
            if not (clips.labels[label][clips.test_rows(label)] == value).any():
                return f"{clips.name} has no {word} test clips"
    for clips, rows in zip(pair, training_rows(label, pair, seed), strict=True):
        n = min(len(rows.positives), len(rows.negatives))
        if n < MIN_CLIPS:
            left = f"{n} training {'clip' if n == 1 else 'clips'}"
            return f"the resampling leaves {left} of one class in {clips.name}"
    return None


def _why_impossible_tags(name: str, pair: Sequence[DatasetClips], seed: int) -> str | None:
    for clips, rows in zip(pair, subject_rows(name, TAGS, pair, seed), strict=True):
        test = clips.labels[name][clips.test_rows(name)]
        for value, word in ((PRESENT, "positive"), (ABSENT, "negative")):
            assert rows.y is not None
            if int((rows.y == value).sum(axis=0).min()) < MIN_CLIPS:
                return (
                    f"a tag has fewer than {MIN_CLIPS} {word} training clips in {clips.name}; "
                    "choose the tags with --labels"
                )
            if not (test == value).any(axis=0).all():
                return f"a tag has no {word} test clips in {clips.name}"
    return None
