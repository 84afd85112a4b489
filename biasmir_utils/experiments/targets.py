"""What is recognised: each label by itself, all labels by one model, a category, or a number.

`--target` names it: `labels` (the default, as in the paper: one recogniser for each label),
`tags` (one multi-label model for all labels), or the name of targets or of the clip table's
column `group`: a category makes one multi-class recogniser, a number one regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from biasmir_utils.corpus import Corpus
from biasmir_utils.errors import ArgumentError, did_you_mean

LABEL, TAGS, CATEGORY, NUMBER = "label", "tags", "category", "number"
LABELS = "labels"
GROUP = "group"
PRESENT, ABSENT, UNOBSERVED = 1, 0, -1


@dataclass(frozen=True)
class Subject:
    """Something that recognisers are trained for.

    Attributes
    ----------
    name : str
        What the results call it in the column `label`; of `tags` that is each tag.
    kind : {'label', 'tags', 'category', 'number'}
    names : tuple of str
        The tags, or the classes in the order of their codes; empty otherwise.
    """

    name: str
    kind: str
    names: tuple[str, ...] = ()

    def codes(self, clips: pd.DataFrame) -> NDArray[Any]:
        """Return what is true of each clip.

        Returns
        -------
        ndarray
            Label: int8, 1 present, 0 absent, -1 not observed. Tags: the same, (n_clips, n_tags).
            Category: the position of the class in `names`, -1 where missing. Number: float64, NaN
            where missing.
        """
        if self.kind == TAGS:
            return np.column_stack([label_codes(clips[name].to_numpy()) for name in self.names])
        if self.kind == CATEGORY:
            position = {name: code for code, name in enumerate(self.names)}
            return np.array([position.get(value, UNOBSERVED) for value in clips[self.name]], int)
        values = clips[self.name].to_numpy(dtype=np.float64)
        return label_codes(values) if self.kind == LABEL else values


def label_codes(likelihood: NDArray[np.float64]) -> NDArray[np.int8]:
    """Turn likelihoods into 1 (from 0.5), 0 and, where not observed, -1."""
    codes = (likelihood >= 0.5).astype(np.int8)
    codes[np.isnan(likelihood)] = UNOBSERVED
    return codes


def is_observed(codes: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which clips have a value, for a multi-label matrix at least one."""
    if codes.dtype.kind == "f":
        return ~np.isnan(codes)
    observed = codes != UNOBSERVED
    return observed.any(axis=1) if codes.ndim == 2 else observed


def subjects(
    corpus: Corpus, target: str | Sequence[str] = LABELS, labels: Sequence[str] | None = None
) -> list[Subject]:
    """Return what a target stands for.

    Parameters
    ----------
    corpus : Corpus
    target : str or sequence of str
        `labels`, `tags`, `group`, or names of targets of one kind.
    labels : sequence of str, optional
        For `labels` and `tags`: which; default all of the corpus.

    Raises
    ------
    ArgumentError
        If a name is unknown, or the names are of several kinds, or `labels` was given with
        another target.
    """
    names = [target] if isinstance(target, str) else list(dict.fromkeys(target))
    if names in ([LABELS], [TAGS]):
        chosen = list(corpus.labels if labels is None else dict.fromkeys(labels))
        for name in chosen:
            if name not in corpus.labels:
                raise ArgumentError(
                    f"corpus {corpus.name!r} has no label {name!r}; it has "
                    f"{', '.join(corpus.labels) or 'none'}.{did_you_mean(name, corpus.labels)}"
                )
        if not chosen:
            raise ArgumentError("at least one label is needed")
        if names == [TAGS]:
            return [Subject(TAGS, TAGS, tuple(chosen))]
        return [Subject(name, LABEL) for name in chosen]
    kinds = {GROUP: CATEGORY, **{found.name: found.kind for found in corpus.targets}}
    for name in names:
        if name in (LABELS, TAGS):
            others = ", ".join(other for other in names if other != name)
            raise ArgumentError(f"the target {name} stands by itself, not with {others}")
        if name not in kinds:
            known = [LABELS, TAGS, *kinds]
            raise ArgumentError(
                f"corpus {corpus.name!r} has no target {name!r}; there are {', '.join(known)}."
                f"{did_you_mean(name, known)}"
            )
    if labels is not None:
        raise ArgumentError(
            f"labels are chosen for the targets {LABELS} and {TAGS}, not for {', '.join(names)}; "
            "leave them out"
        )
    if len({kinds[name] for name in names}) != 1:
        raise ArgumentError(
            f"the targets {', '.join(names) or '(none)'} are not of one kind; evaluate labels, "
            "categories and numbers one after the other"
        )
    return [Subject(name, kinds[name], _classes(corpus, name, kinds[name])) for name in names]


def _classes(corpus: Corpus, name: str, kind: str) -> tuple[str, ...]:
    if kind != CATEGORY:
        return ()
    if name == GROUP:
        return tuple(corpus.groups)
    return tuple(sorted(map(str, corpus.clips[name].dropna().unique())))
