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

Other options are parameters of the method, for instance ``lda:shrinkage=0.1``. ``placebo:NAME`` is
the control for a correction: the same, fitted with the datasets of whole tracks permuted. The
groups of ``groups=auto`` are looked for before that, with the true datasets, so that a placebo has
the groups of its correction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from biasmir_utils.corrections import base
from biasmir_utils.corrections.base import ALIASES, METHODS, SETS, DomainTransformer, Option
from biasmir_utils.corrections.groups import AutoGroups, SharedClusters, discover_groups
from biasmir_utils.corrections.kernel import Fastfood, KernelCorrection
from biasmir_utils.errors import ArgumentError, did_you_mean

# Names of feature maps: what `Fastfood(diagonal=...)` they are.
KERNELS = {"fastfood": "gaussian", "orthogonal": "signs"}
PLACEBO = "placebo"


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
    placebo : bool
        Whether it is fitted with the domains of whole tracks permuted.
    """

    method: str
    alpha: float = 1.0
    groups: str | None = None
    kernel: str | None = None
    parameters: tuple[tuple[str, Any], ...] = ()
    placebo: bool = False

    @property
    def name(self) -> str:
        """The shortest name without the dose, which is the paper's where it has one."""
        options = {"groups": self.groups, "kernel": self.kernel, **dict(self.parameters)}
        parts = [f"{key}={_text(value)}" for key, value in options.items() if value is not None]
        text = f"{self.method}:{','.join(parts)}".rstrip(":")
        text = next((alias for alias, full in ALIASES.items() if full == text), text)
        return f"{PLACEBO}:{text}" if self.placebo else text

    def __str__(self) -> str:
        """Return the full name, from which `parse_correction` gives this correction again."""
        if self.alpha == 1.0:
            return self.name
        joint = "," if ":" in self.name.removeprefix(f"{PLACEBO}:") else ":"
        return f"{self.name}{joint}alpha={self.alpha:.12g}"

    @property
    def corrects(self) -> bool:
        """Whether anything is corrected, which `none` and `k` do not."""
        return self.method != "none"

    @property
    def needs_groups(self) -> bool:
        """Whether `fit` must be given the group of each row."""
        return self.groups == "group" or self.given == "group"

    @property
    def needs_labels(self) -> bool:
        """Whether `fit` must be given the labels of the rows."""
        return self.given == "label" or METHODS[self.method].make.needs_labels

    @property
    def information(self) -> str:
        """What the correction sees of the dataset that is tested on, one of `INFORMATION`.

        That is the method itself. An experiment whose training rows were chosen by their labels
        has used these as well, whatever the correction.
        """
        nothing, rows, grouped, labelled = base.INFORMATION
        if self.needs_labels:
            return labelled
        plain = METHODS[self.method].information
        if plain == nothing and self.kernel is None:
            return nothing
        least = grouped if self.needs_groups else rows
        return max(plain, least, key=base.INFORMATION.index)

    @property
    def given(self) -> str | None:
        """What the domain is conditioned on, 'label', 'group' or None."""
        return dict(self.parameters).get("given")

    @property
    def is_low_rank(self) -> bool:
        """Whether the fitted transformer has a `thin_map` of few directions.

        Every projection has, and maps that read one thing and subtract along another.
        """
        return hasattr(METHODS[self.method].make, "thin_map")

    def feature_map(self, random_state: Any = 0) -> Fastfood | None:
        """Return a new, unfitted map to random Fourier features, or None without kernel.

        Parameters
        ----------
        random_state : int, RandomState or None
            Seed of the map's random matrices.
        """
        if self.kernel is None:
            return None
        return Fastfood(diagonal=KERNELS[self.kernel], random_state=random_state)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def parse_correction(text: str | Correction) -> Correction:
    """Return the correction that ``NAME[:option=value[,...]]`` names.

    Parameters
    ----------
    text : str
        For instance ``lda``, ``mklda``, ``lda:groups=group,alpha=0.5``, ``placebo:leace``. A
        `Correction` is returned as it is.

    Raises
    ------
    ArgumentError
        If the name, an option or a value is unknown; the message names what there is.

    Examples
    --------
    >>> parse_correction("lda:groups=group,alpha=0.5")
    Correction(method='lda', alpha=0.5, groups='group', kernel=None, parameters=(), placebo=False)
    >>> str(parse_correction("lda:kernel=fastfood"))
    'klda'
    """
    if isinstance(text, Correction):
        return text
    if text.startswith(f"{PLACEBO}:"):
        spec = parse_correction(text.removeprefix(f"{PLACEBO}:"))
        if spec.placebo or not METHODS[spec.method].make.sees_domains:
            raise ArgumentError(f"correction {text!r}: {spec} looks at no dataset to be permuted.")
        return replace(spec, placebo=True)
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
    """Parse one or several, without repeats; a name of `SETS` stands for several.

    Parameters
    ----------
    texts : str, Correction, or iterable of these
        As in `parse_correction`, or names of sets.

    Returns
    -------
    list of Correction
        In the order in which they were given first.
    """
    if isinstance(texts, str | Correction):
        texts = [texts]
    forms = (form for text in texts for form in SETS.get(str(text), (text,)))
    return list(dict.fromkeys(map(parse_correction, forms)))


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
        If the name cannot be parsed, or is that of a placebo, which `fit_correction` makes.
    """
    correction = parse_correction(text)
    if correction.placebo:
        raise ArgumentError(f"{correction}: fit_correction fits it, which permutes the datasets.")
    make = METHODS[correction.method].make
    dose = {"alpha": correction.alpha} if "alpha" in make.options else {}
    transformer: DomainTransformer = make(**dose, **dict(correction.parameters))
    # Else a fit without `sample_group` would give the form without groups, under the wrong name.
    transformer._named_with_groups = correction.groups == "group"
    if correction.groups == "auto":
        transformer = AutoGroups(transformer, SharedClusters(random_state=random_state))
    feature_map = correction.feature_map(random_state)
    return transformer if feature_map is None else KernelCorrection(transformer, feature_map)


def fit_correction(
    correction: str | Correction,
    X: Any,
    y: Any = None,
    *,
    sample_domain: Any,
    sample_group: Any = None,
    sample_track: Any = None,
    shared_tracks: bool = False,
    random_state: Any = 0,
    draw: int | None = None,
) -> DomainTransformer:
    """Make a correction by name and fit it, to as much as its name says that it looks at.

    A group with too few rows for a direction of its own is a `DomainWarning`, not an error, since
    one group should not stop an experiment; a name with ``singular=error`` has it its way.

    Parameters
    ----------
    correction : str or Correction
        By name; see `parse_correction`.
    X : array-like, (n_samples, n_features)
        Rows of all domains together.
    y : array-like, (n_samples, ...), or None
        Labels; passed on to what needs them, as with ``given=label``.
    sample_domain : array-like, (n_samples,)
        Domain (dataset) of each row.
    sample_group : array-like, (n_samples,), or None
        Passed on with ``groups=group`` and ``given=group`` only; ``groups=auto`` finds its own.
    sample_track : array-like, (n_samples,), or None
        Track of each row, for a placebo; those of one name in two domains are two, unless
        `shared_tracks`. None: each row is a track.
    shared_tracks : bool
        Whether a track of one name is the same track in all domains (`Corpus.shared_tracks`). Then
        a placebo swaps the versions of a track that all domains hold with each other only: music
        stays as evenly dealt to the domains as it is. The others are permuted among themselves.
    random_state : int, RandomState or None
        Seed of random features and of the search for groups.
    draw : int, optional
        Seed of the random subspace of ``random``, unless the name has one, and of a placebo's
        permutation.

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
    if spec.placebo and spec.groups == "auto":
        mapped = make_correction(Correction("none", kernel=spec.kernel), random_state)
        rows = mapped.fit_transform(np.asarray(X, np.float64), sample_domain=sample_domain)
        sample_group = discover_groups(rows, sample_domain, random_state=random_state)
        spec = replace(spec, groups="group")
    if spec.placebo:
        # Whole tracks: clips of one track resemble each other in any dataset.
        track = range(len(X)) if sample_track is None else sample_track
        base.domain_labels(sample_domain, len(X))  # before rows change places: it names a row
        rows = pd.DataFrame({"domain": np.asarray(sample_domain), "track": track})
        # Rows of a dataset without a track are one piece.
        piece = rows.groupby(list(rows), sort=False, dropna=False).ngroup()
        pieces = rows.drop_duplicates()
        versions = pieces["track"].map(pieces["track"].value_counts())
        is_twin = shared_tracks & (versions == pieces["domain"].nunique())
        within = pd.factorize(pieces["track"].where(is_twin))[0] if is_twin.any() else None
        rng = np.random.default_rng(draw or 0)
        sample_domain = base.permuted(pieces["domain"].to_numpy(), rng, within)[piece]
        spec = replace(spec, placebo=False)
    taken = METHODS[spec.method].make.options
    unless_named = {"singular": "warn", "random_state": draw}
    values = {k: one for k, one in unless_named.items() if k in taken and one is not None}
    spec = replace(spec, parameters=tuple(sorted({**values, **dict(spec.parameters)}.items())))
    return make_correction(spec, random_state).fit(
        X,
        y if spec.needs_labels else None,
        sample_domain=sample_domain,
        sample_group=sample_group if spec.needs_groups else None,
    )


def _split(text: str) -> tuple[str, dict[str, str]]:
    """Return the name and the texts of its options."""
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


def _build(name: str, texts: dict[str, str]) -> Correction:
    """Return the correction of a method with these options."""
    method = METHODS[name]
    known: dict[str, Option | None] = {"kernel": Option(tuple(KERNELS)), **method.make.options}
    if method.has_groups:
        known["groups"] = Option(("group", "auto"))
    values: dict[str, Any] = {}
    for key, text in sorted(texts.items()):
        if key not in known:
            raise ArgumentError(
                f"{name!r} has no option {key!r}.{did_you_mean(key, known)} There are: "
                f"{', '.join(known)}."
            )
        option = known[key]
        values[key] = text if option is None else option.parse(text, key)
    alpha, groups = values.pop("alpha", 1.0), values.pop("groups", None)
    kernel = values.pop("kernel", None)
    if groups is not None and values.get("given") == "group":
        raise ArgumentError("groups and given=group exclude each other; leave one out.")
    return Correction(name, alpha, groups, kernel, tuple(values.items()))
