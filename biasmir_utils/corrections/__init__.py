"""Corrections of dataset bias in embeddings, as scikit-learn transformers.

What a correction is fitted on, and how it is applied, follows one set of conventions, which
`biasmir_utils.corrections.base` states. By name: `parse_correction`, `make_correction`.

==================  ==============================================================
`DomainLDA`         the paper's `lda` and, with groups, `mlda`
`NoCorrection`      the baseline
`Fastfood`          random Fourier features, the paper's `k`
`median_distance`   its bandwidth
==================  ==============================================================
"""

from biasmir_utils.corrections.base import (
    DomainTransformer,
    NoCorrection,
    ThinMap,
)
from biasmir_utils.corrections.covariance import SingularCovarianceError
from biasmir_utils.corrections.fastfood import Fastfood, median_distance
from biasmir_utils.corrections.grammar import (
    ALIASES,
    METHODS,
    SETS,
    Correction,
    make_correction,
    parse_correction,
    parse_corrections,
)
from biasmir_utils.corrections.labels import DomainWarning
from biasmir_utils.corrections.lda import DomainLDA, lda_coefficients

__all__ = [
    "ALIASES",
    "METHODS",
    "SETS",
    "Correction",
    "DomainLDA",
    "DomainTransformer",
    "DomainWarning",
    "Fastfood",
    "NoCorrection",
    "SingularCovarianceError",
    "ThinMap",
    "lda_coefficients",
    "make_correction",
    "median_distance",
    "parse_correction",
    "parse_corrections",
]
