"""Names of corrections: what is understood, what comes back, and what is refused."""

from __future__ import annotations

import pytest

from biasmir_utils.corrections import (
    ALIASES,
    METHODS,
    DomainLDA,
    NoCorrection,
    make_correction,
    parse_correction,
    parse_corrections,
)
from biasmir_utils.errors import ArgumentError


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("mlda", "lda:groups=group"),
        ("klda", "lda:kernel=fastfood"),
        ("k", "none:kernel=fastfood"),
        ("mklda", "lda:groups=group,kernel=fastfood"),
        ("mklda", "lda:kernel=fastfood,groups=group"),
        ("mklda", "mlda:kernel=fastfood"),
        ("mklda:alpha=0.5", "lda:alpha=0.50,kernel=fastfood,groups=group"),
        ("lda", " lda "),
        ("zscore", "center:scale=TRUE"),
    ],
)
def test_the_papers_names_are_aliases(name: str, full: str) -> None:
    assert parse_correction(name) == parse_correction(full)
    assert str(parse_correction(full)) == name


@pytest.mark.parametrize(
    "text",
    [
        *METHODS,
        *ALIASES,
        "lda:alpha=0.25",
        "lda:shrinkage=0.1,tol=1e-07",
        "lda:groups=group,kernel=orthogonal",
        "mlda:singular=warn,alpha=0",
        "none:kernel=orthogonal",
        "leace:given=label,shrinkage=0.5",
        "meanproj:groups=group,alpha=0.5",
        "leace:groups=group,given=label,kernel=fastfood",
        "coral:to=irmas,unseen=own",
        "gaussian_ot:shrinkage=auto,to=band",
        "random:random_state=3,rank=4",
        "inlp:C=0.1,n_classifiers=5,tol=0.02",
    ],
)
def test_names_come_back(text: str) -> None:
    correction = parse_correction(text)
    assert parse_correction(str(correction)) == correction
    assert "alpha" not in correction.name


def test_transformers_have_the_options() -> None:
    lda = make_correction("lda:alpha=0.25,shrinkage=0.5")
    assert isinstance(lda, DomainLDA)
    assert (lda.alpha, lda.shrinkage) == (0.25, 0.5)
    assert isinstance(make_correction("none"), NoCorrection)
    mklda = parse_correction("mklda")
    assert mklda.groups == "group"
    assert mklda.corrects
    feature_map = mklda.feature_map(random_state=3)
    assert feature_map is not None
    assert (feature_map.diagonal, feature_map.random_state) == ("gaussian", 3)
    assert parse_correction("lda").feature_map() is None
    assert not parse_correction("k").corrects


def test_sets_and_repeats() -> None:
    names = [str(c) for c in parse_corrections(["paper", "lda", "lda:alpha=0.5"])]
    assert names == ["none", "lda", "mlda", "k", "klda", "mklda", "lda:alpha=0.5"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ldaa", "Did you mean 'lda'"),
        ("", "unknown correction ''"),
        ("pubset", r"There are: none, lda, .*zscore\. .* the sets paper, standard, all"),
        ("standrad", "Did you mean 'standard'"),
        ("all", r"'all' is a set of corrections \(none, lda, .*one of them is expected"),
        ("paper:alpha=0.5", "a set has no options"),
        ("lda:", "expected option=value"),
        ("lda:alpha", "expected option=value"),
        ("lda:alpha=", "expected option=value"),
        ("lda:alpha=2", r"alpha must be a number in \[0, 1\]"),
        ("lda:alpha=much", "alpha must be a number.*'much'"),
        ("lda:alpha=1,alpha=0", "given twice"),
        ("lda:groups=genre", "groups must be 'group' or 'auto', not 'genre'"),
        ("lda:kernel=rbf", "kernel must be 'fastfood' or 'orthogonal'"),
        ("lda:grups=group", "Did you mean 'groups'"),
        ("lda:singular=x", "singular must be 'error' or 'warn'"),
        ("none:alpha=0.5", "'none' has no option 'alpha'"),
        ("none:groups=group", "'none' has no option 'groups'"),
        ("leace:given=track", "given must be .*'label' or 'group'"),
        ("leace:groups=group,given=group", "exclude each other"),
        ("center:scale=maybe", "scale must be True or False"),
        ("random:rank=1.5", "a whole number from 0"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        parse_correction(text)
