"""Which clips a recogniser of a label is trained on, and whether there are enough of them."""

from __future__ import annotations

from biasmir_utils.experiments.data import ABSENT, PRESENT, DatasetClips
from biasmir_utils.experiments.resampling import TrainingRows, match_training_rows

# A recogniser needs as many clips of each class as the cross-validation has folds.
MIN_CLIPS = 3


def training_rows(label: str, datasets: list[DatasetClips], seed: int) -> list[TrainingRows]:
    """Return the protocol's training rows of each of the datasets for a label."""
    return match_training_rows(
        [clips.train_rows(label, PRESENT) for clips in datasets],
        [clips.train_rows(label, ABSENT) for clips in datasets],
        [clips.groups for clips in datasets],
        seed,
    )


def why_impossible(label: str, pair: list[DatasetClips], seed: int) -> str | None:
    """Return why a label cannot be evaluated on a pair of datasets, None if it can."""
    for clips in pair:
        for value, word in ((PRESENT, "positive"), (ABSENT, "negative")):
            n = len(clips.train_rows(label, value))
            if n < MIN_CLIPS:
                return (
                    f"{clips.name} has {n} {word} training clips, at least {MIN_CLIPS} are needed"
                )
            if not (clips.labels[label][clips.test_rows(label)] == value).any():
                return f"{clips.name} has no {word} test clips"
    for clips, rows in zip(pair, training_rows(label, pair, seed), strict=True):
        n = min(len(rows.positives), len(rows.negatives))
        if n < MIN_CLIPS:
            return f"the resampling leaves {n} training clips of one class in {clips.name}"
    return None
