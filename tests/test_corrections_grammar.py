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
        ("lda:", "expected option=value"),
        ("lda:alpha", "expected option=value"),
        ("lda:alpha=", "expected option=value"),
        ("lda:alpha=2", r"alpha must lie in \[0, 1\]"),
        ("lda:alpha=much", "'much' is not a number"),
        ("lda:alpha=1,alpha=0", "given twice"),
        ("lda:groups=genre", "groups must be one of group"),
        ("lda:kernel=rbf", "kernel must be one of fastfood, orthogonal"),
        ("lda:grups=group", "Did you mean 'groups'"),
        ("lda:singular=x", "not one of error, warn"),
        ("none:alpha=0.5", "'none' has no option 'alpha'"),
        ("none:groups=group", "'none' has no option 'groups'"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        parse_correction(text)


def test_a_kernel_is_a_step_of_its_own() -> None:
    with pytest.raises(ArgumentError, match="two steps"):
        make_correction("klda")
