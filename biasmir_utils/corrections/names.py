"""The corrections that there are, by name: `METHODS`, their `ALIASES`, and `SETS` of them.

Corrections by name: ``NAME[:option=value[,option=value...]]``.

`NAME` is a method of `METHODS` or one of the `ALIASES`, among them the paper's names. The options
that methods share:

- ``alpha=0.5``: the dose, a number in [0, 1];
- ``groups=group``: one set of directions for each group (genre) of the clips; ``groups=auto``: for
  each of the groups that `SharedClusters` finds in the embedding;
- ``given=label`` or ``given=group``: what of the domain labels or groups do not explain;
- ``to=NAME``: the domain that others are moved to;
- ``unseen=own``: an unseen domain is described by its own rows;
- ``kernel=fastfood``: rows are mapped to random Fourier features first (`kernel=orthogonal`
  draws orthogonal basis functions, for less error at the same cost).

Other options are parameters of the method, for instance ``lda:shrinkage=0.1``.

From the name of a correction to the fitted transformer: one way for experiments and corpora.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from biasmir_utils.corrections.base import DomainTransformer, NoCorrection, check_share
from biasmir_utils.corrections.groups import AutoGroups, SharedClusters
from biasmir_utils.corrections.kernel import Fastfood, KernelCorrection
from biasmir_utils.corrections.maps import CORAL, DomainCenter, GaussianOT
from biasmir_utils.corrections.projections import (
    GIVEN,
    INLP,
    LEACE,
    DomainLDA,
    MeanProjection,
    RandomProjection,
)
from biasmir_utils.errors import ArgumentError, did_you_mean

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


@dataclass(frozen=True)
class Correction:
    """A correction as it was asked for; equal when they do the same.

    Attributes
    ----------
    method : str
        Key of `METHODS`.
    alpha : float
        Dose in [0, 1].
    groups : str or None
        'group' for one direction a group of the clip table, 'auto' for one a group that is
        found in the rows of the fit.
    kernel : str or None
        Key of `KERNELS`: the feature map that comes first.
    parameters : tuple of (str, value)
        The method's own parameters that were given, sorted by name.
    """

    method: str
    alpha: float = 1.0
    groups: str | None = None
    kernel: str | None = None
    parameters: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """The shortest name without the dose, which is the paper's where it has one."""
        text = _join(self.method, self._options())
        return next((alias for alias, full in ALIASES.items() if full == text), text)

    def __str__(self) -> str:
        """Return the full name, from which `parse_correction` gives this correction again."""
        if self.alpha == 1.0:
            return self.name
        return f"{self.name}{',' if ':' in self.name else ':'}alpha={self.alpha:.12g}"

    @property
    def corrects(self) -> bool:
        """Whether anything is corrected, which `none` and `k` do not."""
        return self.method != "none"

    @property
    def needs_groups(self) -> bool:
        """Whether `fit` must be given the group of each row."""
        return self.groups == "group" or self.given == "group"

    @property
    def finds_groups(self) -> bool:
        """Whether groups are to be found in the rows of the fit (see `discover_groups`)."""
        return self.groups == "auto"

    @property
    def needs_labels(self) -> bool:
        """Whether `fit` must be given the labels of the rows."""
        return self.given == "label"

    @property
    def information(self) -> str:
        """What the correction sees of the dataset that is tested on, one of `INFORMATION`.

        That is the method itself. An experiment whose training rows were chosen by their labels
        has used these as well, whatever the correction.
        """
        if self.needs_labels:
            return "labelled target"
        if self.method in ("none", "random") and self.kernel is None:
            return METHODS[self.method].information
        return "grouped target" if self.needs_groups else "unlabelled target"

    @property
    def given(self) -> str | None:
        """What the domain is conditioned on, 'label', 'group' or None."""
        return dict(self.parameters).get("given")

    @property
    def is_low_rank(self) -> bool:
        """Whether the fitted transformer has a `thin_map`."""
        return METHODS[self.method].is_low_rank

    def transformer(self) -> DomainTransformer:
        """Return a new, unfitted transformer, to which the caller brings features and groups.

        That is without the feature map of `kernel`, and without the search of ``groups=auto``.
        """
        method = METHODS[self.method]
        dose = {"alpha": self.alpha} if method.has_dose else {}
        return method.make(**dose, **dict(self.parameters))

    def feature_map(self, random_state: Any = 0) -> Fastfood | None:
        """Return a new, unfitted map to random Fourier features, or None without kernel."""
        if self.kernel is None:
            return None
        return Fastfood(diagonal=KERNELS[self.kernel], random_state=random_state)

    def _options(self) -> dict[str, str]:
        found = {"groups": self.groups, "kernel": self.kernel, **dict(self.parameters)}
        return {name: _text(value) for name, value in found.items() if value is not None}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _join(method: str, options: Mapping[str, str]) -> str:
    return ":".join([method, ",".join(f"{k}={v}" for k, v in options.items())]).rstrip(":")


def parse_correction(text: str | Correction) -> Correction:
    """Return the correction that ``NAME[:option=value[,...]]`` names.

    Parameters
    ----------
    text : str
        For instance ``lda``, ``mklda``, ``lda:groups=group,alpha=0.5``. A `Correction` is
        returned as it is.

    Raises
    ------
    ArgumentError
        If the name, an option or a value is unknown; the message names what there is.

    Examples
    --------
    >>> parse_correction("lda:groups=group,alpha=0.5")
    Correction(method='lda', alpha=0.5, groups='group', kernel=None, parameters=())
    >>> str(parse_correction("lda:kernel=fastfood"))
    'klda'
    """
    if isinstance(text, Correction):
        return text
    name, options = _split(text)
    if name in ALIASES:
        name, implied = _split(ALIASES[name])
        options = {**implied, **options}
    if name in SETS:
        raise ArgumentError(
            f"{text!r}: {name!r} is a set of corrections ({', '.join(SETS[name])}), where one of "
            "them is expected; a set has no options."
        )
    if name not in METHODS:
        known = [*METHODS, *ALIASES]
        raise ArgumentError(
            f"unknown correction {name!r} in {text!r}.{did_you_mean(name, [*known, *SETS])} There "
            f"are: {', '.join(known)}. Where several may be given, there are also the sets "
            f"{', '.join(SETS)}."
        )
    try:
        return _build(name, options)
    except ArgumentError as error:
        raise ArgumentError(f"correction {text!r}: {error}") from None


def parse_corrections(texts: str | Correction | Iterable[str | Correction]) -> list[Correction]:
    """Parse one or several, without repeats; a name of `SETS` stands for several."""
    if isinstance(texts, str | Correction):
        texts = [texts]
    found: dict[Correction, None] = {}
    for text in texts:
        for one in SETS.get(text, (text,)) if isinstance(text, str) else (text,):
            found[parse_correction(one)] = None
    return list(found)


def make_correction(text: str | Correction, random_state: Any = 0) -> DomainTransformer:
    """Return the unfitted transformer of a correction by name.

    Parameters
    ----------
    text : str or Correction
        With a kernel the transformer is a `KernelCorrection`, with ``groups=auto`` it is, or
        holds, `AutoGroups`. With ``groups=group`` its `fit` raises an `ArgumentError` unless it
        is given `sample_group`.
    random_state : int, RandomState or None
        Seed of the random features, and of the search for groups.

    Raises
    ------
    ArgumentError
        If the name cannot be parsed.
    """
    correction = parse_correction(text)
    transformer = correction.transformer()
    # Else a fit without `sample_group` would give the form without groups, under the wrong name.
    transformer._named_with_groups = correction.groups == "group"
    if correction.finds_groups:
        transformer = AutoGroups(transformer, SharedClusters(random_state=random_state))
    feature_map = correction.feature_map(random_state)
    return transformer if feature_map is None else KernelCorrection(transformer, feature_map)


def _split(text: str) -> tuple[str, dict[str, str]]:
    name, colon, rest = text.partition(":")
    options: dict[str, str] = {}
    for part in rest.split(",") if colon else []:
        key, equals, value = part.partition("=")
        key, value = key.strip(), value.strip()
        if not (equals and key and value):
            raise ArgumentError(
                f"correction {text!r}: expected option=value after the colon, not {part!r}."
            )
        if key in options:
            raise ArgumentError(f"correction {text!r}: option {key!r} is given twice.")
        options[key] = value
    return name.strip(), options


def _build(name: str, options: dict[str, str]) -> Correction:
    method = METHODS[name]
    options = dict(options)
    alpha = 1.0
    if "alpha" in options and method.has_dose:
        alpha = check_share(parse_number(options.pop("alpha")), "alpha")
    groups = _choice(options, "groups", GROUPS) if method.has_groups else None
    kernel = _choice(options, "kernel", tuple(KERNELS))
    known = ["kernel", *method.parameters]
    known += ["alpha"] * method.has_dose + ["groups"] * method.has_groups
    parameters = []
    for key, value in sorted(options.items()):
        if key not in method.parameters:
            raise ArgumentError(f"{name!r} has no option {key!r}.{_hint(key, known)}")
        parameters.append((key, method.parameters[key](value)))
    if groups is not None and ("given", "group") in parameters:
        raise ArgumentError("groups and given=group exclude each other; leave one out.")
    return Correction(name, alpha, groups, kernel, tuple(parameters))


def _choice(options: dict[str, str], key: str, allowed: tuple[str, ...]) -> str | None:
    value = options.pop(key, None)
    if value is not None and value not in allowed:
        raise ArgumentError(f"{key} must be one of {', '.join(allowed)}, not {value!r}.")
    return value


def _hint(word: str, known: list[str]) -> str:
    return f"{did_you_mean(word, known)} There are: {', '.join(known)}."


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
