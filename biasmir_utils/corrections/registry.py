"""The corrections that there are, by name: `METHODS`, their `ALIASES`, and `SETS` of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from biasmir_utils.corrections.base import DomainTransformer, NoCorrection, check_share
from biasmir_utils.corrections.differences import GIVEN
from biasmir_utils.corrections.domain_maps import DomainCenter
from biasmir_utils.corrections.inlp import INLP
from biasmir_utils.corrections.lda import DomainLDA
from biasmir_utils.corrections.leace import LEACE
from biasmir_utils.corrections.projections import MeanProjection, RandomProjection
from biasmir_utils.corrections.transport import CORAL, GaussianOT
from biasmir_utils.errors import ArgumentError

# What a correction is allowed to see of the dataset that a recogniser is taken to, from nothing to
# everything: no rows of it; rows; rows with their groups (genres); rows with their labels.
INFORMATION = ("source only", "unlabelled target", "grouped target", "labelled target")


@dataclass(frozen=True)
class Method:
    """What the grammar knows of a method.

    Attributes
    ----------
    make : callable
        Returns the transformer, given its parameters by name.
    summary : str
        One line, for help texts.
    parameters : dict
        Option name -> function that turns the text of its value into the parameter.
    has_dose : bool
        Whether the method takes ``alpha``.
    has_groups : bool
        Whether it has a grouped form.
    is_low_rank : bool
        Whether the fitted transformer has a `thin_map` of few directions: every projection, and
        maps that read one thing and subtract along another.
    information : str
        What the plain form, without groups and conditions, must see of the dataset that a
        recogniser will be tested on: one of `INFORMATION`.
    """

    make: Callable[..., DomainTransformer]
    summary: str
    parameters: Mapping[str, Callable[[str], Any]] = field(default_factory=dict)
    has_dose: bool = True
    has_groups: bool = False
    is_low_rank: bool = False
    information: str = "unlabelled target"


def parse_number(text: str) -> float:
    """Return the number that the text of an option's value is."""
    try:
        return float(text)
    except ValueError:
        raise ArgumentError(f"{text!r} is not a number.") from None


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ArgumentError(f"{text!r} is not a whole number.") from None


def _shrinkage(text: str) -> Any:
    return text if text == "auto" else check_share(parse_number(text), "shrinkage")


def _one_of(*allowed: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in allowed:
            raise ArgumentError(f"{text!r} is not one of {', '.join(allowed)}.")
        return text

    return check


def _yes_or_no(text: str) -> bool:
    return _one_of("true", "false")(text.lower()) == "true"


_GIVEN = {"given": _one_of(*GIVEN)}
_UNSEEN = {"unseen": _one_of("training", "own")}

METHODS: dict[str, Method] = {
    "none": Method(
        NoCorrection,
        "no correction",
        has_dose=False,
        is_low_rank=True,
        information="source only",
    ),
    "lda": Method(
        DomainLDA,
        "project out the LDA direction between the datasets (the paper's)",
        {"shrinkage": _shrinkage, "tol": parse_number, "singular": _one_of("error", "warn")},
        has_groups=True,
        is_low_rank=True,
    ),
    "center": Method(
        DomainCenter,
        "give the datasets equal means",
        {"scale": _yes_or_no, **_UNSEEN},
    ),
    "meanproj": Method(
        MeanProjection,
        "project out the difference of the datasets' means",
        {"tol": parse_number, **_GIVEN},
        has_groups=True,
        is_low_rank=True,
    ),
    "leace": Method(
        LEACE,
        "erase the difference of the datasets' means with the least change",
        {"shrinkage": _shrinkage, "tol": parse_number, **_GIVEN},
        has_groups=True,
        is_low_rank=True,
    ),
    "coral": Method(
        CORAL,
        "give the datasets equal means and covariances",
        {"to": str, "shrinkage": _shrinkage, **_UNSEEN},
    ),
    "gaussian_ot": Method(
        GaussianOT,
        "transport the datasets, taken as Gaussians, to one target",
        {"to": str, "shrinkage": _shrinkage, **_UNSEEN},
    ),
    "inlp": Method(
        INLP,
        "project out linear classifiers of the dataset, one after the other",
        {"n_classifiers": _whole, "tol": parse_number, "C": parse_number},
        is_low_rank=True,
    ),
    "random": Method(
        RandomProjection,
        "project out a random subspace of the same rank (the control)",
        {"rank": _whole, "random_state": _whole},
        has_groups=True,
        is_low_rank=True,
        information="source only",
    ),
}

# The paper's names (its Section 3), and the field's.
ALIASES: dict[str, str] = {
    "mlda": "lda:groups=group",
    "k": "none:kernel=fastfood",
    "klda": "lda:kernel=fastfood",
    "mklda": "lda:groups=group,kernel=fastfood",
    "zscore": "center:scale=true",
}

# Names that stand for several corrections. `all` has every method, and every choice of what a
# correction may see; settings of another kind (`NOT_IN_SETS`) would multiply it.
SETS: dict[str, tuple[str, ...]] = {
    "paper": ("none", "lda", "mlda", "k", "klda", "mklda"),
    "standard": (
        *("none", "lda", "mlda", "klda", "center", "meanproj", "leace"),
        *("leace:groups=group", "coral", "gaussian_ot", "random"),
    ),
    "all": (
        *("none", "lda", "mlda", "k", "klda", "mklda"),
        *("center", "zscore", "meanproj", "meanproj:groups=group", "meanproj:given=label"),
        *("leace", "leace:groups=group", "leace:given=label", "leace:given=group"),
        *("leace:kernel=fastfood", "coral", "gaussian_ot", "inlp"),
        *("random", "random:groups=group"),
    ),
}

NOT_IN_SETS = ("alpha", "groups=auto", "kernel=orthogonal", "to", "unseen=own")
"""Options that no set has; corrections with them are asked for one by one."""

# Names of feature maps: what `Fastfood(diagonal=...)` they are.
KERNELS: dict[str, str] = {"fastfood": "gaussian", "orthogonal": "signs"}
GROUPS = ("group", "auto")
