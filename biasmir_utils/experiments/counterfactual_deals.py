"""How the pieces of a counterfactual corpus are dealt, and which labels such deals allow."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from biasmir_utils.errors import ArgumentError, did_you_mean
from biasmir_utils.experiments.counterfactual import Renderings
from biasmir_utils.experiments.paired_statistics import FloatArray
from biasmir_utils.experiments.recogniser import LogisticRecogniser

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Deal:
    """Positions of pieces: the user's training clips at home and away, and the test pieces."""

    source: Rows
    target: Rows
    test: Rows


def deal_pieces(pieces: pd.DataFrame, seed: int) -> Deal:
    """Deal the training tracks at random into two halves: heard at home, heard away.

    Parameters
    ----------
    pieces : pandas.DataFrame
        Columns `track` and `split`, as in `Renderings.pieces`.
    seed : int
    """
    train = (pieces["split"] == "train").to_numpy()
    tracks = np.unique(pieces["track"].to_numpy(object)[train].astype(str))
    if len(tracks) < 2 or train.all():
        raise ArgumentError("expected at least two training tracks and one test piece")
    chosen = np.random.default_rng(seed).permutation(tracks)[: len(tracks) // 2]
    at_home = pieces["track"].astype(str).isin(chosen).to_numpy()
    return Deal(*(np.flatnonzero(rows) for rows in (train & at_home, train & ~at_home, ~train)))


def usable_labels(
    renderings: Renderings, labels: Sequence[str], deals: Sequence[Deal]
) -> list[str]:
    """Return the labels that every deal can learn and test; warn of the others.

    Those of some deals only are left out as well: the deals' means are then over the same labels.
    """
    n_folds = LogisticRecogniser().n_folds
    usable = []
    for label in labels:
        if label not in renderings.labels:
            raise ArgumentError(
                f"no label {label!r}; there are {', '.join(renderings.labels)}."
                f"{did_you_mean(label, renderings.labels)}"
            )
        y = renderings.pieces[label].to_numpy(dtype=np.float64)
        reason = None
        for number, deal in enumerate(deals, start=1):
            rarer = _rarer(y[deal.source])
            if rarer < n_folds:
                reason = (
                    f"in deal {number} of {len(deals)}, the training pieces heard at home have "
                    f"{rarer} of the rarer class, fewer than the {n_folds} folds"
                )
            elif not _rarer(y[deal.test]):
                reason = "the test pieces hold one class only"
            if reason is not None:
                warnings.warn(f"label {label!r} is left out: {reason}", stacklevel=3)
                break
        else:
            usable.append(label)
    return usable


def _rarer(y: FloatArray) -> int:
    counts = np.unique(y[~np.isnan(y)], return_counts=True)[1]
    return int(counts.min()) if len(counts) > 1 else 0
