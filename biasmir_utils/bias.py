"""How two datasets differ, in what they hold and in an embedding; see `experiments.bias`."""

from biasmir_utils.experiments import (
    DirectionSpectrum,
    cosine_similarity,
    direction_cosines,
    direction_spectrum,
    direction_transfer,
    distribution_distances,
    group_counts,
    jensen_shannon,
    label_counts,
    mutual_information,
    random_cosine,
)

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
