"""The corrections that there are, by name: each is registered beside its class.

>>> from biasmir_utils.corrections import METHODS
>>> METHODS["leace"].summary
"erase the difference of the datasets' means with the least change"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from biasmir_utils.errors import ArgumentError

# What a correction is allowed to see of the dataset that a recogniser is taken to, from nothing to
# everything: no rows of it; rows; rows with their groups (genres); rows with their labels.
INFORMATION = ("source only", "unlabelled target", "grouped target", "labelled target")

Made = TypeVar("Made")


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
