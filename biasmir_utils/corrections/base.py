"""What every correction has in common: its name and options, inputs, dose, and thin map.

Each is registered beside its class, by `Method`:

>>> from biasmir_utils.corrections import METHODS
>>> METHODS["leace"].summary
"erase the difference of the datasets' means with the least change"

Conventions
-----------
- `X` is a matrix of embeddings, (n_samples, n_features), one row a clip (or a frame).
- `sample_domain` holds the domain (dataset) of each row, integers or strings. None means one
  domain: there is nothing to correct, the transformer is the identity, and a `DomainWarning`
  says so.
- `sample_group` holds the group (genre) of each row; a missing one (None, NaN) is a group of
  its own.
- `alpha` in [0, 1] is the dose: 0 leaves the rows as they are, 1 is the full correction, and
  between them the rows move that share of the way.

A linear correction is kept as a `ThinMap`, two matrices of as many rows as the correction has
directions. The n_features x n_features projection is never built.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, TypeVar, dataclass_transform

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from biasmir_utils.errors import ArgumentError

FloatArray = npt.NDArray[np.floating[Any]]
FLOAT_DTYPES = (np.float64, np.float32)
# Characters that numpy keeps for a float which it makes a text of.
_DIGITS = 32
Made = TypeVar("Made")
# What a correction is allowed to see of the dataset that a recogniser is taken to, from nothing to
# everything: no rows of it; rows; rows with their groups (genres); rows with their labels.
INFORMATION = ("source only", "unlabelled target", "grouped target", "labelled target")


@dataclass(frozen=True)
class Option:
    """What a parameter may be, in Python and as the text of a value in a correction's name.

    Attributes
    ----------
    words : tuple
        Values that are allowed as they are: texts, None, True and False.
    low, high : float or None
        Numbers from `low` to `high` are allowed, too; none where `low` is None.
    whole : bool
        Whether these must be whole numbers.
    types : tuple of type
        Objects of these classes are allowed in Python.
    """

    words: tuple[Any, ...] = ()
    low: float | None = None
    high: float = np.inf
    whole: bool = False
    types: tuple[type, ...] = ()

    def check(self, value: Any, name: str) -> None:
        """Raise an `ArgumentError` unless the value is allowed.

        Parameters
        ----------
        value : object
            What was given.
        name : str
            Name of the parameter, for the message.
        """
        numbers = (int, np.integer) if self.whole else (int, float, np.number)
        is_number = isinstance(value, numbers) and not isinstance(value, bool)
        in_span = is_number and self.low is not None and self.low <= value <= self.high
        is_word = any(
            value is word or (isinstance(value, str) and value == word) for word in self.words
        )
        if not (is_word or isinstance(value, self.types) or (in_span and np.isfinite(value))):
            raise ArgumentError(f"{name} must be {self}, not {value!r}.")

    def parse(self, text: str, name: str) -> Any:
        """Return the value that a text stands for, or raise an `ArgumentError`.

        Parameters
        ----------
        text : str
            As it stands in a correction's name.
        name : str
            Name of the parameter, for the message.
        """
        known = {str(word).lower(): word for word in self.words if word is not None}
        value: Any = known.get(text.lower(), text)
        if value is text and self.low is not None:
            with suppress(ValueError):
                value = int(text) if self.whole else float(text)
        self.check(value, name)
        return value

    def __str__(self) -> str:
        kinds = [str(word) if word is None else repr(word) for word in self.words]
        if self.low is not None:
            span = f"in [{self.low:g}, {self.high:g}]"
            if not np.isfinite(self.high):
                span = f"from {self.low:g}" if self.low == round(self.low) else "above 0"
            kinds.append(f"a {'whole ' if self.whole else ''}number {span}")
        return " or ".join(kinds)


Options = Mapping[str, Option | None]
"""What each parameter of a class may be; None is any text, which `fit` checks."""


def parameter(option: Option | None, *, default: Any, kw_only: bool = True) -> Any:
    """Return a parameter of a correction, to stand in its class as ``name: type = parameter(...)``.

    Parameters
    ----------
    option : Option or None
        What the parameter may be; None is anything, which `fit` checks.
    default : object
        Its value where none is given.
    kw_only : bool
        Whether it is given by name only.
    """
    return field(default=default, kw_only=kw_only, metadata={"option": option})


SHARE = Option(low=0.0, high=1.0)
SHRINKAGE = Option(("auto",), low=0.0, high=1.0)
POSITIVE = Option(low=float(np.finfo(float).tiny))
SEED = Option((None,), low=0, high=2**32 - 1, whole=True, types=(np.random.RandomState,))


@dataclass(frozen=True)
class Method:
    """What is known of a correction besides its class; as a decorator it registers the class.

    From then on the name is known to `make_correction`, the command line, its help, reports, and
    `load_correction`. The options that a name may have are the parameters of the class.

    Parameters
    ----------
    name : str
        Lower case, without ``:``, ``,`` and ``=``.
    summary : str
        One line, for help texts.
    information : str
        What the plain form, without groups and conditions, must see of the dataset that a
        recogniser will be tested on: one of `INFORMATION`.
    has_groups : bool
        Whether `sample_group` makes a form with directions for each group.
    aliases : mapping of str to str
        Short names, with what they stand for, such as ``{"mlda": "lda:groups=group"}``.
    sets : mapping of str to sequence of str
        Names of `SETS`, with the forms of this method that are in them; `all` has those of the
        others as well. By default the plain form is in `all`.
    place : float
        Where it stands in lists, smaller ones first; by default at the end.
    make : type
        The class, a `DomainTransformer`; what is decorated.

    Examples
    --------
    A file with these lines, once imported, makes ``--correction clip`` known:

    >>> from biasmir_utils.corrections import DomainTransformer, Method, Option, parameter
    >>> @Method("clip", "cut off what exceeds a limit")  # doctest: +SKIP
    ... class Clip(DomainTransformer):
    ...     limit: float = parameter(Option(low=0.0), default=3.0)
    ...
    ...     def _learn(self, X, y, domains, groups):
    ...         self.limit_ = self.limit * X.std()
    ...
    ...     def _correct(self, X, sample_domain):
    ...         return X.clip(-self.limit_, self.limit_)
    """

    name: str
    summary: str
    information: str = "unlabelled target"
    has_groups: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    sets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    place: float = np.inf
    make: Any = None

    def __call__(self, made: type[Made]) -> type[Made]:
        """Register a class, and return it."""
        forms = dict.fromkeys(form for key in SETS for form in self.sets.get(key, ()))
        sets = {**self.sets, "all": tuple(forms) or (self.name,)}
        METHODS[self.name] = replace(self, make=made, sets=sets)
        _derive()
        return made


METHODS: dict[str, Method] = {}
"""Every correction by its name."""
ALIASES: dict[str, str] = {}
"""Short names, the paper's (its Section 3) and the field's, with what they stand for."""
SETS: dict[str, tuple[str, ...]] = {"paper": (), "standard": (), "all": ()}
"""Names that stand for several corrections. `all` has every method, and every choice of what a
correction may see; settings of another kind (`NOT_IN_SETS`) would multiply it."""
NOT_IN_SETS = ("alpha", "groups=auto", "kernel=orthogonal", "to", "unseen=own")
"""Options that no set has; corrections with them are asked for one by one."""


def _derive() -> None:
    """Put `METHODS` in order, and make `ALIASES` and `SETS` anew from what stands there."""
    ordered = sorted(METHODS.items(), key=lambda item: item[1].place)
    METHODS.clear()
    METHODS.update(ordered)
    full = {alias: name for _, method in ordered for alias, name in method.aliases.items()}
    members = {
        key: [form for _, method in ordered for form in method.sets.get(key, ())] for key in SETS
    }

    def paper_first(form: str) -> int:
        # The paper lists its corrections without random features first, then with them.
        return (1 if "kernel" in full.get(form, form) else 0) if form in members["paper"] else 2

    ALIASES.clear()
    ALIASES.update({alias: full[alias] for alias in sorted(full, key=paper_first)})
    SETS.update({key: tuple(sorted(forms, key=paper_first)) for key, forms in members.items()})


class DomainWarning(UserWarning):
    """A correction does something else than its arguments suggest, and says what and why."""


def rounding(largest: npt.NDArray[Any]) -> FloatArray:
    """Return below what differences of means are rounding, given the features' largest values."""
    return np.asarray(32 * np.finfo(np.float64).eps * largest)


def largest_values(X: FloatArray) -> FloatArray:
    """Return the largest absolute value of each feature, (n_features,)."""
    return np.asarray(np.maximum(np.abs(X.max(axis=0)), np.abs(X.min(axis=0))))


@dataclass(frozen=True)
class Labels:
    """Labels of rows as integers.

    Attributes
    ----------
    codes : ndarray of int, (n_samples,)
        Position of each row's label in `names`.
    names : list
        The distinct labels, sorted; None stands for a missing label and comes last.
    """

    codes: npt.NDArray[np.intp]
    names: list[Any]

    @classmethod
    def of(cls, values: Any, n_samples: int, name: str) -> Labels:
        """Check one label a row and turn the labels into integers.

        Parameters
        ----------
        values : array-like, (n_samples,)
            Integers, strings or booleans; None and NaN are missing. `Labels` come back.
        n_samples : int
            Number of rows that the labels must be for.
        name : str
            Name of the argument, for messages.

        Raises
        ------
        ArgumentError
            If the shape is wrong, or the labels cannot be put in order.
        """
        if isinstance(values, Labels):
            return values
        # numpy would make texts of the numbers in a list of both, and of what is missing there.
        array = np.asarray(values, dtype=None if hasattr(values, "dtype") else object)
        if array.ndim != 1 or array.shape[0] != n_samples:
            raise ArgumentError(
                f"{name} must hold one label for each of the {n_samples} rows of X, "
                f"but its shape is {array.shape}."
            )
        missing = np.asarray(pd.isna(array))
        if array.dtype.kind == "U" and array.dtype.itemsize >= 4 * _DIGITS:
            missing |= array == "nan"  # an array of such a list, or of names as long as that
        present = array[~missing]
        try:
            names, inverse = np.unique(present, return_inverse=True)
        except TypeError as error:
            kinds = sorted({type(value).__name__ for value in present.tolist()})
            raise ArgumentError(
                f"{name} mixes labels that cannot be put in order ({', '.join(kinds)}); "
                "use only integers or only strings."
            ) from error
        codes = np.full(n_samples, len(names), dtype=np.intp)
        codes[~missing] = inverse
        listed = [one.item() if isinstance(one, np.generic) else one for one in names.tolist()]
        return cls(codes, [*listed, *([None] if missing.any() else [])])

    def __getitem__(self, members: Any) -> Labels:
        """Return the labels of some rows, with the names that occur among them."""
        found, codes = np.unique(self.codes[members], return_inverse=True)
        return Labels(codes, [self.names[code] for code in found])


def domain_labels(sample_domain: Any, n_samples: int) -> Labels:
    """Return the domain of each row; none may be missing."""
    labels = Labels.of(sample_domain, n_samples, "sample_domain")
    if None in labels.names:
        missing = np.flatnonzero(labels.codes == len(labels.names) - 1)
        raise ArgumentError(
            f"sample_domain is missing (None or NaN) in {len(missing)} rows, the first of them "
            f"row {missing[0]}; drop these rows or name their label."
        )
    return labels


def cell_counts(codes: Any, n_groups: int, domains: Labels) -> npt.NDArray[np.intp]:
    """Return the numbers of rows, (n_groups, n_domains), of groups from 0 to n_groups - 1."""
    cells = codes * len(domains.names) + domains.codes
    return np.bincount(cells, minlength=n_groups * len(domains.names)).reshape(n_groups, -1)


def permuted(values: Any, rng: np.random.Generator, within: Any = None) -> Any:
    """Return values that have changed places, those of one code with each other only.

    Parameters
    ----------
    values : ndarray, (n,)
    rng : Generator
    within : array-like of int, (n,), or None
        Code of each value; None is one code for all.
    """
    if within is None:
        return rng.permutation(values)
    found = np.empty_like(values)
    found[np.argsort(within, kind="stable")] = values[np.lexsort((rng.random(len(values)), within))]
    return found


def warn(message: str) -> None:
    """Give a `DomainWarning`."""
    warnings.warn(message, DomainWarning, stacklevel=4)


@dataclass(frozen=True)
class ThinMap:
    """The map x -> x - dose * right' left (x - center), of rank r.

    Attributes
    ----------
    left : ndarray, (r, n_features)
        What is read off a row: its scores are `left @ (x - center)`.
    right : ndarray, (r, n_features)
        Along what the scores are subtracted. An orthogonal projection has `right == left`.
    center : ndarray, (n_features,), or None
        The point that stays where it is; None is the origin.
    """

    left: FloatArray
    right: FloatArray
    center: FloatArray | None = None

    @property
    def rank(self) -> int:
        """Number of directions that the map touches."""
        return int(self.left.shape[0])

    def __call__(self, X: FloatArray, dose: float = 1.0) -> FloatArray:
        """Return a new array, the rows of `X` after the map, in the dtype of `X`."""
        if self.rank == 0 or dose == 0:
            return X.copy()
        scores = X @ self.left.T.astype(X.dtype, copy=False)
        if self.center is not None:
            scores -= (self.left @ self.center).astype(X.dtype)
        scores *= X.dtype.type(dose)
        moved = scores @ self.right.astype(X.dtype, copy=False)
        return np.subtract(X, moved, out=moved)


@dataclass_transform(field_specifiers=(parameter,))
class Storable(BaseEstimator):
    """A scikit-learn estimator whose parameters are checked, and which can be saved.

    A subclass says of each parameter ``name: type = parameter(...)``, and gets an `__init__` that
    takes them. What is saved are its parameters and what it has learned, the attributes whose
    names end in an underscore: numbers, texts, arrays, lists of these, and other `Storable`
    objects.

    Attributes
    ----------
    options : mapping of str to (Option or None)
        What each parameter may be; None is not checked here.
    """

    options: ClassVar[Options] = {}
    classes: ClassVar[dict[str, type[Storable]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclass(eq=False, repr=False)(cls)
        cls.options = {one.name: one.metadata.get("option") for one in fields(cls)}
        Storable.classes[cls.__name__] = cls

    def _check_parameters(self, domains: Sequence[Any] = ()) -> None:
        """Raise an `ArgumentError` for parameters that no fit, to these domains, can use."""
        for name, option in self.options.items():
            if option is not None:
                option.check(getattr(self, name), name)


class DomainTransformer(OneToOneFeatureMixin, TransformerMixin, Storable):
    """Base of the corrections: a scikit-learn transformer that knows the domain of each row.

    A subclass names its parameters (see `Storable`), learns in `_learn` and maps rows in
    `_correct`. In a pipeline with scikit-learn's metadata routing enabled, `sample_domain` and
    `sample_group` are requested by default; nothing is switched on globally.
    """

    __metadata_request__fit = {"sample_domain": True, "sample_group": True}  # noqa: RUF012
    __metadata_request__transform = {"sample_domain": True}  # noqa: RUF012

    _named_with_groups = False
    _needs_domains = True
    sees_domains = True
    """Whether a fit would be another one, were the rows of other domains."""
    needs_labels = False
    """Whether the correction cannot be fitted without labels, whatever its parameters."""

    def fit(
        self, X: Any, y: Any = None, *, sample_domain: Any = None, sample_group: Any = None
    ) -> DomainTransformer:
        """Learn the correction.

        Parameters
        ----------
        X : array-like, (n_samples, n_features)
            Rows of all domains together.
        y : array-like, (n_samples, ...), or None
            Labels; ignored but for corrections that are conditional on them.
        sample_domain : array-like, (n_samples,), or None
            Domain of each row, integers or strings. None, or a single domain, gives the
            identity with a `DomainWarning`.
        sample_group : array-like, (n_samples,), or None
            Group of each row, for the grouped form; None is the form without groups.

        Returns
        -------
        self
        """
        X = validate_data(self, X, dtype=FLOAT_DTYPES)
        domains = None if sample_domain is None else domain_labels(sample_domain, len(X))
        groups = None
        if sample_group is not None:
            groups = Labels.of(sample_group, len(X), "sample_group")
        if not self._differ([] if domains is None else domains.names, groups is not None):
            domains = groups = None
        self._learn(X.astype(np.float64, copy=False), y, domains, groups)
        return self

    def _differ(self, domains: list[Any], grouped: bool) -> bool:
        """Check the parameters, and tell whether there are domains that can be told apart."""
        self._check_parameters()
        self.domains_ = domains
        if len(domains) > 1 and self._named_with_groups and not grouped:
            raise ArgumentError(
                f"groups=group needs the group of each row, sample_group, to fit "
                f"{type(self).__name__}; without groups leave the option out, or take groups=auto."
            )
        if len(domains) < 2 and self._needs_domains:
            warn(
                f"{type(self).__name__} was fitted without sample_domain, or with one domain only: "
                "there is nothing to correct, and the rows will be left as they are."
            )
        return len(domains) > 1

    def transform(self, X: Any, *, sample_domain: Any = None) -> Any:
        """Return the corrected rows.

        Parameters
        ----------
        X : array-like, (n_samples, n_features)
            Rows to correct, with the features of the fit.
        sample_domain : array-like, (n_samples,), or None
            Domain of each row. Projections ignore it; maps that depend on the domain take rows
            without it for those of one unseen domain, with a `DomainWarning`.

        Returns
        -------
        ndarray, (n_samples, n_features)
            New array, float32 for float32 input and float64 otherwise.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=FLOAT_DTYPES, reset=False)
        return self._correct(X, sample_domain)

    def fit_transform(
        self, X: Any, y: Any = None, *, sample_domain: Any = None, sample_group: Any = None
    ) -> Any:
        """Fit to `X` and return it corrected; scikit-learn's own would lose the domains.

        Parameters
        ----------
        X, y, sample_domain, sample_group
            As in `fit`.

        Returns
        -------
        ndarray, (n_samples, n_features)
            As `transform`.
        """
        self.fit(X, y, sample_domain=sample_domain, sample_group=sample_group)
        return self.transform(X, sample_domain=sample_domain)

    def unseen_rule(self) -> str:
        """Return in words what becomes of rows of a domain that was not in the fit.

        The words go on after "rows of it".
        """
        return "are corrected like every other row; what that dataset has of its own stays"

    def __sklearn_clone__(self) -> Any:
        # Not a parameter, since `sample_group` alone makes the grouped form; but a copy of what was
        # named `groups=group` must still be told of groups that are not there.
        fresh = super().__sklearn_clone__()
        fresh._named_with_groups = self._named_with_groups
        return fresh

    def _learn(self, X: FloatArray, y: Any, domains: Labels | None, groups: Labels | None) -> None:
        """Learn from rows of at least two domains, or, with `domains` None, the identity."""
        raise NotImplementedError

    def _correct(self, X: FloatArray, sample_domain: Any) -> FloatArray:
        """Return the rows after the fitted correction, in the dtype of `X`, and not `X` itself."""
        raise NotImplementedError


class ThinCorrection:
    """Mixin of the corrections that do the same to every row, by a `ThinMap`.

    It is the orthogonal projection that takes out the orthonormal rows `directions_`, where a
    class gives no other.
    """

    alpha: float
    directions_: FloatArray

    @property
    def thin_map(self) -> ThinMap:
        """The fitted correction at full dose.

        A caller can then apply it to inner products of rows, without making the rows.
        """
        return ThinMap(self.directions_, self.directions_)

    def _correct(self, X: FloatArray, sample_domain: Any) -> FloatArray:
        return self.thin_map(X, float(self.alpha))


@Method(
    "none",
    "no correction",
    information="source only",
    aliases={"k": "none:kernel=fastfood"},
    sets={"paper": ("none", "k"), "standard": ("none",)},
    place=0,
)
class NoCorrection(ThinCorrection, DomainTransformer):
    r"""Leave every row as it is: the baseline that corrections are compared with.

    Notes
    -----
    .. math:: x' = x

    Information used: none.

    Guarantee: none.

    References
    ----------
    C. Wang, G. Richard and B. McFee, "Transfer learning and bias correction with pre-trained audio
    embeddings", ISMIR 2023: the uncorrected recognisers there.
    """

    _needs_domains = sees_domains = False
    alpha = 1.0

    def _learn(self, X: FloatArray, y: Any, domains: Labels | None, groups: Labels | None) -> None:
        self.rank_ = 0

    @property
    def thin_map(self) -> ThinMap:
        """A map of rank 0."""
        return ThinMap(*np.empty((2, 0, self.n_features_in_)))
