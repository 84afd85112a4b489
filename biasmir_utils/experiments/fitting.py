"""Corrections fitted on the training rows of both datasets, never on test rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasmir_utils.corrections.by_name import fit_correction
from biasmir_utils.corrections.grammar import Correction
from biasmir_utils.corrections.groups import discover_groups
from biasmir_utils.errors import ArgumentError, BiasMIRError
from biasmir_utils.experiments.data import DatasetClips
from biasmir_utils.experiments.resampling import TrainingRows
from biasmir_utils.experiments.targets import PRESENT
from biasmir_utils.experiments.training import ChosenRows

Array = NDArray[Any]


def fit_corrections(
    variants: Sequence[tuple[Correction, str]],
    pair: Sequence[DatasetClips],
    both: Sequence[TrainingRows | ChosenRows],
    X_train: Sequence[Array],
    groups: Mapping[str, Array],
    seed: int = 0,
    label: str = "",
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
        Of the search for groups, where a correction wants them found, and of random subspaces.
    label : str
        Every label and seed has a random subspace of its own, so that means over labels are means
        over that many draws of the control.

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
            fits[key] = _fit_correction(spec, mode, pair, both, X_train, groups, seed, label)
        correction = copy(fits[key])
        if not isinstance(correction, BiasMIRError):
            correction.alpha = spec.alpha
        fitted[spec, mode] = correction
    return fitted


def _fit_correction(
    spec: Correction,
    mode: str,
    pair: Sequence[DatasetClips],
    both: Sequence[TrainingRows | ChosenRows],
    X_train: Sequence[Array],
    groups: Mapping[str, Array],
    seed: int,
    label: str,
) -> Any:
    # A label's training rows are positives, then negatives.
    parts = [
        slice(len(rows.positives))
        if mode == "classwise" and isinstance(rows, TrainingRows)
        else slice(None)
        for rows in both
    ]
    X = np.concatenate([X[part] for X, part in zip(X_train, parts, strict=True)])
    chosen = [rows.all[part] for rows, part in zip(both, parts, strict=True)]
    domain = np.repeat([clips.name for clips in pair], [len(rows) for rows in chosen])
    group = np.concatenate(
        [
            np.asarray(groups[clips.name], dtype=object)[rows]
            for clips, rows in zip(pair, chosen, strict=True)
        ]
    )
    draw = np.random.SeedSequence([seed, *label.encode()]).generate_state(1)[0]
    if spec.needs_groups and all(name is None for name in group):
        # As one group the rows would give the ungrouped correction under another name.
        return ArgumentError(_no_groups(spec, [clips.name for clips in pair]))
    try:
        if spec.finds_groups:
            # Found here, so that what is fitted has a dose that can be set afterwards.
            group = discover_groups(X, domain, random_state=seed)
            spec = replace(spec, groups="group")
        return fit_correction(
            replace(spec, kernel=None),  # the rows have been mapped
            X,
            _labels(both, parts) if spec.needs_labels else None,
            sample_domain=domain,
            sample_group=group,
            draw=int(draw),
        )
    except BiasMIRError as error:
        return error


def _no_groups(spec: Correction, datasets: Sequence[str]) -> str:
    reason = f"no training clip of {' or '.join(datasets)} has a group"
    return reason if spec.given == "group" else f"{reason}; with groups=auto they are looked for"


def _labels(both: Sequence[TrainingRows | ChosenRows], parts: Sequence[slice]) -> Array:
    """Return the labels of the rows, of tags as a matrix of what is present."""
    found = []
    for rows, part in zip(both, parts, strict=True):
        if rows.y is None:
            raise ArgumentError(
                "given=label needs the labels of both datasets, at which the mode unlabelled "
                "does not look; use the mode global, or given=group"
            )
        found.append(rows.y[part])
    y = np.concatenate(found)
    return (y == PRESENT).astype(np.float64) if y.ndim == 2 else y
