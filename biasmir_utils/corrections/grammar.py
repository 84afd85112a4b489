"""Corrections by name: ``NAME[:option=value[,option=value...]]``.

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
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from biasmir_utils.corrections.auto_groups import AutoGroups
from biasmir_utils.corrections.base import DomainTransformer, check_share
from biasmir_utils.corrections.fastfood import Fastfood
from biasmir_utils.corrections.groups import SharedClusters
from biasmir_utils.corrections.kernel import KernelCorrection
from biasmir_utils.corrections.registry import (
    ALIASES,
    GROUPS,
    KERNELS,
    METHODS,
    SETS,
    parse_number,
)
from biasmir_utils.errors import ArgumentError, did_you_mean


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
