"""From the scores of test clips to rows of the results, for each kind of target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasmir_utils.experiments.metrics import class_metrics, number_metrics, recognition_metrics
from biasmir_utils.experiments.targets import CATEGORY, LABEL, NUMBER, TAGS

Array = NDArray[Any]
Row = dict[str, Any]
ScoreEntry = tuple[Row, dict[str, Array]]


@dataclass(frozen=True)
class Tested:
    """A test set with the scores of a recogniser.

    Attributes
    ----------
    clips : ndarray of object, (n,)
    tracks : ndarray of object, (n,)
    groups : ndarray of object, (n,)
    truth : ndarray, (n,) or (n, n_tags)
        As `targets.Subject.codes` gives it; of a category the position among the trained classes.
    score : ndarray, (n,) or (n, n_columns)
    probability : ndarray, (n,) or (n, n_columns)
    """

    clips: Array
    tracks: Array
    groups: Array
    truth: Array
    score: Array
    probability: Array

    def column(self, k: int, chosen: Array, truth: Array) -> Tested:
        """Return one column of the scores, for some of the clips."""
        return Tested(
            self.clips[chosen],
            self.tracks[chosen],
            self.groups[chosen],
            truth[chosen],
            self.score[chosen, k],
            self.probability[chosen, k],
        )

    def arrays(self, **more: Array) -> dict[str, Array]:
        """Return the columns of a table of scores."""
        return {
            "clip": self.clips,
            "track": self.tracks,
            "group": self.groups,
            "y_true": self.truth,
            "score": self.score,
            "probability": self.probability,
            **more,
        }


def outcomes(
    kind: str, names: tuple[str, ...], key: Row, tested: Tested, thresholds: Array
) -> Iterator[tuple[Row, list[ScoreEntry]]]:
    """Yield the rows of the results, each with the scores behind it.

    Parameters
    ----------
    kind : {'label', 'tags', 'category', 'number'}
    names : tuple of str
        The tags, or the trained classes.
    key : dict
        The key columns, and `n_train` and `C`.
    tested : Tested
    thresholds : ndarray, (1,) or (n_tags,)

    Yields
    ------
    row : dict
        A row of the results; of tags one for each.
    scores : list of (dict, dict)
        Key and columns. A category has an entry for each class, called ``category=class``, with
        the column `right`, whether the clip's class was the one that was recognised.
    """
    if kind == LABEL:
        yield _label(key, tested, thresholds[0])
    elif kind == TAGS:
        for k, name in enumerate(names):
            truth = tested.truth[:, k]
            part = tested.column(k, np.flatnonzero(truth >= 0), truth)
            yield _label({**key, "label": name}, part, thresholds[k])
    elif kind == CATEGORY:
        yield _category(names, key, tested)
    else:
        assert kind == NUMBER
        found = number_metrics(tested.truth, tested.score)
        row = {**key, "n_test": len(tested.truth), **found}
        yield row, [({**_identity(key), "threshold": np.nan}, tested.arrays())]


def _identity(key: Row) -> Row:
    return {name: value for name, value in key.items() if name not in ("n_train", "C")}


def _label(key: Row, tested: Tested, threshold: float) -> tuple[Row, list[ScoreEntry]]:
    row = {
        **key,
        "n_test": len(tested.truth),
        "n_pos_test": int(tested.truth.sum()),
        **recognition_metrics(tested.truth, tested.score, tested.probability),
    }
    return row, [({**_identity(key), "threshold": float(threshold)}, tested.arrays())]


def _category(names: tuple[str, ...], key: Row, tested: Tested) -> tuple[Row, list[ScoreEntry]]:
    row = {
        **key,
        "n_test": len(tested.truth),
        "n_classes": len(names),
        **class_metrics(tested.truth, tested.score, tested.probability),
    }
    right = tested.score.argmax(axis=1) == tested.truth
    everyone = np.arange(len(tested.truth))
    entries = []
    for k, name in enumerate(names):
        part = tested.column(k, everyone, (tested.truth == k).astype(np.int8))
        own = {**_identity(key), "label": f"{key['label']}={name}", "threshold": np.nan}
        entries.append((own, part.arrays(right=right)))
    return row, entries
