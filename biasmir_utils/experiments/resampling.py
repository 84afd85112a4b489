"""Training rows of the paper's protocol: two datasets made alike in size, not in genre.

For a label, each dataset's positives are cut down to the smaller of the two datasets' counts of
positives, and likewise its negatives. Within a dataset, every genre keeps its share.

Source: Wang, Richard and McFee, ISMIR 2023, Section 3.2, and the authors' program.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from biasmir_utils.errors import ArgumentError

Rows = NDArray[np.intp]


def resample_by_group(groups: ArrayLike, size: int, seed: int) -> Rows:
    """Choose about `size` rows such that every group keeps its share of them.

    The random generator starts anew from the seed. For each group in order, all of its m rows
    are shuffled and the first ``int(m * size / n)`` kept, so the result can be a few rows
    short of `size`: at most one for each group.

    Parameters
    ----------
    groups : array-like of int, (n,)
        Group of each row; groups are taken in the order of these numbers.
    size : int
        Rows wanted, 0 to n.
    seed : int
        Seed of Python's `random.Random`.

    Returns
    -------
    ndarray of int
        Positions in `groups`, group after group, shuffled within a group.

    Raises
    ------
    ArgumentError
        If `size` is negative or exceeds n.
    """
    groups = np.asarray(groups)
    if not 0 <= size <= len(groups):
        raise ArgumentError(f"size must lie between 0 and the {len(groups)} rows, found {size}")
    generator = random.Random(seed)
    chosen = []
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        shuffled = generator.sample(range(len(members)), len(members))
        chosen.append(members[shuffled[: int(len(members) * size / len(groups))]])
    return np.concatenate(chosen) if chosen else np.empty(0, dtype=np.intp)


@dataclass(frozen=True)
class TrainingRows:
    """Rows that a recogniser of one dataset is trained on.

    Attributes
    ----------
    positives : ndarray of int
        Row numbers, in the order in which they enter the training matrix.
    negatives : ndarray of int
        Row numbers, likewise.
    """

    positives: Rows
    negatives: Rows

    @property
    def all(self) -> Rows:
        """Positives, then negatives; unshuffled folds depend on this order."""
        return np.concatenate([self.positives, self.negatives])

    @property
    def y(self) -> NDArray[np.int8]:
        """Labels of `all`, ones and then zeros."""
        return np.repeat(np.array([1, 0], np.int8), [len(self.positives), len(self.negatives)])


def match_training_rows(
    positives: Sequence[Rows], negatives: Sequence[Rows], groups: Sequence[Rows], seed: int
) -> list[TrainingRows]:
    """Cut datasets down to the counts that they share.

    Parameters
    ----------
    positives, negatives : sequence of ndarray of int
        For each dataset, the training rows with and without the label, in sorted clip order.
    groups : sequence of ndarray of int
        For each dataset, the group of every row (indexed by the row numbers above).
    seed : int
        Used anew for each dataset and polarity.

    Returns
    -------
    list of TrainingRows
        One for each dataset.
    """
    n_positive = min(len(rows) for rows in positives)
    n_negative = min(len(rows) for rows in negatives)
    return [
        TrainingRows(
            with_label[resample_by_group(group[with_label], n_positive, seed)],
            without[resample_by_group(group[without], n_negative, seed)],
        )
        for with_label, without, group in zip(positives, negatives, groups, strict=True)
    ]
