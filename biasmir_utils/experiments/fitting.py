"""Corrections fitted on the training rows of both datasets, never on test rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasmir_utils.corrections.grammar import Correction
from biasmir_utils.corrections.groups import discover_groups
from biasmir_utils.errors import BiasMIRError
from biasmir_utils.experiments.data import DatasetClips
from biasmir_utils.experiments.resampling import TrainingRows

Array = NDArray[Any]


def fit_corrections(
    variants: Sequence[tuple[Correction, str]],
    pair: Sequence[DatasetClips],
    both: Sequence[TrainingRows],
    X_train: Sequence[Array],
    groups: Mapping[str, Array],
    seed: int = 0,
) -> dict[tuple[Correction, str], Any]:
    """Fit the corrections of a task; doses of one correction share a fit.

    Parameters
    ----------
    variants : sequence of (Correction, str)
        Corrections with their mode.
    pair : sequence of DatasetClips
        The two datasets.
    both : sequence of TrainingRows
        The training rows of each.
    X_train : sequence of ndarray, (n_rows, n_features)
        The features of these rows.
    groups : mapping of str to ndarray of object
        Group of every clip of a dataset, None where it has none.
    seed : int
        Of the search for groups, where a correction wants them found.

    Returns
    -------
    dict
        For each variant the fitted transformer; None for nothing to correct; a `BiasMIRError`
        for a correction that these rows do not allow.
    """
    fits: dict[tuple[Correction, str], Any] = {}
    fitted: dict[tuple[Correction, str], Any] = {}
    for spec, mode in variants:
        if not spec.corrects:
            fitted[spec, mode] = None
            continue
        key = (replace(spec, alpha=1.0), mode)
        if key not in fits:
            fits[key] = _fit_correction(spec, mode, pair, both, X_train, groups, seed)
        correction = copy(fits[key])
        if not isinstance(correction, BiasMIRError):
            correction.alpha = spec.alpha
        fitted[spec, mode] = correction
    return fitted


def _fit_correction(
    spec: Correction,
    mode: str,
    pair: Sequence[DatasetClips],
    both: Sequence[TrainingRows],
    X_train: Sequence[Array],
    groups: Mapping[str, Array],
    seed: int,
) -> Any:
    # Training rows are positives, then negatives.
    parts = [slice(None if mode == "global" else len(rows.positives)) for rows in both]
    X = np.concatenate([X[part] for X, part in zip(X_train, parts, strict=True)])
    y = np.concatenate([rows.y[part] for rows, part in zip(both, parts, strict=True)])
    domain = [
        np.full(len(rows.y[part]), clips.name)
        for clips, rows, part in zip(pair, both, parts, strict=True)
    ]
    group = [
        np.asarray(groups[clips.name], dtype=object)[rows.all[part]]
        for clips, rows, part in zip(pair, both, parts, strict=True)
    ]
    correction = spec.transformer()
    if "singular" in correction.get_params() and "singular" not in dict(spec.parameters):
        # A group with too few rows for a direction is a warning here, as one without any is.
        correction.set_params(singular="warn")
    sample_domain, sample_group = np.concatenate(domain), None
    try:
        if spec.finds_groups:
            sample_group = discover_groups(X, sample_domain, random_state=seed)
        elif spec.needs_groups:
            sample_group = np.concatenate(group)
        return correction.fit(X, y, sample_domain=sample_domain, sample_group=sample_group)
    except BiasMIRError as error:
        return error
