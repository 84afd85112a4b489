"""Corrections of dataset bias in embeddings, as scikit-learn transformers.

What a correction is fitted on, and how it is applied, follows one set of conventions, which
`biasmir_utils.corrections.base` states. By name: `parse_correction`, `make_correction`,
`fit_correction`.
On disk, without pickle: `save_correction`, `load_correction`. For whole corpora: `correct_corpus`,
`apply_to_corpus`; for frames that do not fit into memory: `fit_to_frames`, `moments_of_corpus`.
A correction of one's own is a class in a file of its own, registered by the decorator `Method`.

==================  =====================================================================
`DomainLDA`         the LDA direction between domains, projected out: the paper's `lda`
`MeanProjection`    the difference of the domains' means, projected out
`LEACE`             the same information erased, with the least change
`DomainCenter`      equal means, domain by domain (with `scale`: z-scores)
`CORAL`             equal means and covariances, domain by domain
`GaussianOT`        the same by optimal transport
`INLP`              linear domain classifiers, projected out one after the other
`RandomProjection`  the control: a random subspace, projected out
`NoCorrection`      the baseline
`Fastfood`          random Fourier features, the paper's `k`; `median_distance` its bandwidth
`KernelCorrection`  any of these behind random features
`AutoGroups`        a grouped form of these, with the groups that `discover_groups` finds
`Moments`           running moments, from which most of these can be fitted in chunks
==================  =====================================================================
"""

from importlib import import_module
from pkgutil import iter_modules

from biasmir_utils.corrections.apply import apply_to_corpus, correct_corpus, fit_to_frames
from biasmir_utils.corrections.base import DomainTransformer, DomainWarning, NoCorrection, ThinMap
from biasmir_utils.corrections.covariance import SingularCovarianceError
from biasmir_utils.corrections.groups import (
    AutoGroups,
    SharedClusters,
    discover_groups,
    group_agreement,
)
from biasmir_utils.corrections.kernel import Fastfood, KernelCorrection, median_distance
from biasmir_utils.corrections.maps import CORAL, DomainCenter, GaussianOT
from biasmir_utils.corrections.methods import (
    ALIASES,
    INFORMATION,
    METHODS,
    NOT_IN_SETS,
    SETS,
    Method,
    Option,
    parameter,
)
from biasmir_utils.corrections.moments import Moments, moments_of_corpus
from biasmir_utils.corrections.names import (
    Correction,
    fit_correction,
    make_correction,
    parse_correction,
    parse_corrections,
)
from biasmir_utils.corrections.projections import (
    INLP,
    LEACE,
    DomainLDA,
    MeanProjection,
    RandomProjection,
    lda_coefficients,
)
from biasmir_utils.corrections.storage import load_correction, read_record, save_correction

__all__ = [
    "ALIASES",
    "CORAL",
    "INFORMATION",
    "INLP",
    "LEACE",
    "METHODS",
    "NOT_IN_SETS",
    "SETS",
    "AutoGroups",
    "Correction",
    "DomainCenter",
    "DomainLDA",
    "DomainTransformer",
    "DomainWarning",
    "Fastfood",
    "GaussianOT",
    "KernelCorrection",
    "MeanProjection",
    "Method",
    "Moments",
    "NoCorrection",
    "Option",
    "RandomProjection",
    "SharedClusters",
    "SingularCovarianceError",
    "ThinMap",
    "apply_to_corpus",
    "correct_corpus",
    "discover_groups",
    "fit_correction",
    "fit_to_frames",
    "group_agreement",
    "lda_coefficients",
    "load_correction",
    "make_correction",
    "median_distance",
    "moments_of_corpus",
    "parameter",
    "parse_correction",
    "parse_corrections",
    "read_record",
    "save_correction",
]

for _module in iter_modules(__path__):  # a correction in a new file registers itself
    import_module(f"{__name__}.{_module.name}")
