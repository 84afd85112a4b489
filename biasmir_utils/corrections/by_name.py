"""From the name of a correction to the fitted transformer: one way for experiments and corpora."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from biasmir_utils.corrections.base import DomainTransformer
from biasmir_utils.corrections.grammar import Correction, make_correction, parse_correction
from biasmir_utils.corrections.registry import METHODS


def fit_correction(
    correction: str | Correction,
    X: Any,
    y: Any = None,
    *,
    sample_domain: Any,
    sample_group: Any = None,
    random_state: Any = 0,
    draw: int | None = None,
) -> DomainTransformer:
    """Make a correction by name and fit it, to as much as its name says that it looks at.

    A group with too few rows for a direction of its own is a `DomainWarning`, not an error, since
    one group should not stop an experiment; a name with ``singular=error`` has it its way.

    Parameters
    ----------
    correction : str or Correction
    X : array-like, (n_samples, n_features)
        Rows of all domains together.
    y : array-like, (n_samples, ...), or None
        Labels; passed on with ``given=label`` only.
    sample_domain : array-like, (n_samples,)
    sample_group : array-like, (n_samples,), or None
        Passed on with ``groups=group`` and ``given=group`` only; ``groups=auto`` finds its own.
    random_state : int, RandomState or None
        Seed of random features and of the search for groups.
    draw : int, optional
        Seed of the random subspace of ``random``, unless the name has one.

    Returns
    -------
    DomainTransformer
        Fitted.

    Raises
    ------
    ArgumentError
        If the name cannot be parsed, or what it needs is not given.
    """
    spec = parse_correction(correction)
    spec = _unless_named(spec, "singular", "warn")
    if draw is not None:
        spec = _unless_named(spec, "random_state", draw)
    return make_correction(spec, random_state).fit(
        X,
        y if spec.needs_labels else None,
        sample_domain=sample_domain,
        sample_group=sample_group if spec.needs_groups else None,
    )


def _unless_named(spec: Correction, parameter: str, value: Any) -> Correction:
    """Set a parameter that the method has and the name leaves open."""
    if parameter not in METHODS[spec.method].parameters or parameter in dict(spec.parameters):
        return spec
    return replace(spec, parameters=tuple(sorted((*spec.parameters, (parameter, value)))))
