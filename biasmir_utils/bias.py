"""How two datasets differ, in what they hold and in an embedding; see `experiments.bias`."""

from biasmir_utils.experiments.bias import (
    DirectionSpectrum,
    cosine_similarity,
    direction_cosines,
    direction_spectrum,
    distribution_distances,
    group_counts,
    jensen_shannon,
    label_counts,
    mutual_information,
    random_cosine,
)
from biasmir_utils.experiments.transfer import direction_transfer

__all__ = [
    "DirectionSpectrum",
    "cosine_similarity",
    "direction_cosines",
    "direction_spectrum",
    "direction_transfer",
    "distribution_distances",
    "group_counts",
    "jensen_shannon",
    "label_counts",
    "mutual_information",
    "random_cosine",
]
