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
`SPLINCE`           the same, and the covariance with the labels kept
`DomainCenter`      equal means, domain by domain (with `scale`: z-scores)
`CORAL`             equal means and covariances, domain by domain
`GaussianOT`        the same by optimal transport
`INLP`              linear domain classifiers, projected out one after the other
`RandomProjection`  the control: a random subspace, projected out
`NoCorrection`      the baseline
`CommonShift`       a control: the mean of all rows, subtracted from all of them
`Fastfood`          random Fourier features, the paper's `k`; `median_distance` its bandwidth
`KernelCorrection`  any of these behind random features
`AutoGroups`        a grouped form of these, with the groups that `discover_groups` finds
`Moments`           running moments, from which most of these can be fitted in chunks
==================  =====================================================================
"""

import importlib
import pkgutil
import types

from biasmir_utils.corrections.apply import (
    apply_to_corpus as apply_to_corpus,
    correct_corpus as correct_corpus,
    fit_to_frames as fit_to_frames,
    load_correction as load_correction,
    read_record as read_record,
    save_correction as save_correction,
)
from biasmir_utils.corrections.base import (
    ALIASES as ALIASES,
    INFORMATION as INFORMATION,
    METHODS as METHODS,
    NOT_IN_SETS as NOT_IN_SETS,
    SETS as SETS,
    DomainTransformer as DomainTransformer,
    DomainWarning as DomainWarning,
    Method as Method,
    NoCorrection as NoCorrection,
    Option as Option,
    ThinMap as ThinMap,
    parameter as parameter,
    permuted as permuted,
)
from biasmir_utils.corrections.covariance import SingularCovarianceError as SingularCovarianceError
from biasmir_utils.corrections.groups import (
    AutoGroups as AutoGroups,
    SharedClusters as SharedClusters,
    discover_groups as discover_groups,
    group_agreement as group_agreement,
)
from biasmir_utils.corrections.kernel import (
    Fastfood as Fastfood,
    KernelCorrection as KernelCorrection,
    median_distance as median_distance,
)
from biasmir_utils.corrections.maps import (
    CORAL as CORAL,
    CommonShift as CommonShift,
    DomainCenter as DomainCenter,
    GaussianOT as GaussianOT,
)
from biasmir_utils.corrections.moments import (
    Moments as Moments,
    moments_of_corpus as moments_of_corpus,
)
from biasmir_utils.corrections.names import (
    PLACEBO as PLACEBO,
    Correction as Correction,
    fit_correction as fit_correction,
    make_correction as make_correction,
    parse_correction as parse_correction,
    parse_corrections as parse_corrections,
)
from biasmir_utils.corrections.projections import (
    INLP as INLP,
    LEACE as LEACE,
    SPLINCE as SPLINCE,
    DomainLDA as DomainLDA,
    MeanProjection as MeanProjection,
    RandomProjection as RandomProjection,
    lda_coefficients as lda_coefficients,
)

for _module in pkgutil.iter_modules(__path__):  # a correction in a new file registers itself
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = sorted(
    name
    for name, value in globals().items()
    if not (name.startswith("_") or isinstance(value, types.ModuleType))
)
