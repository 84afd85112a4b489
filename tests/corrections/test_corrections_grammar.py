"""Names of corrections: what is understood, what comes back, and what is refused."""

from __future__ import annotations

import pytest

from biasmir_utils.corrections import (
    ALIASES,
    METHODS,
    SETS,
    DomainLDA,
    KernelCorrection,
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
        ("lda:alpha=2", r"alpha must lie in \[0, 1\]"),
        ("lda:alpha=much", "'much' is not a number"),
        ("lda:alpha=1,alpha=0", "given twice"),
        ("lda:groups=genre", "groups must be one of group"),
        ("lda:kernel=rbf", "kernel must be one of fastfood, orthogonal"),
        ("lda:grups=group", "Did you mean 'groups'"),
        ("lda:singular=x", "not one of error, warn"),
        ("none:alpha=0.5", "'none' has no option 'alpha'"),
        ("none:groups=group", "'none' has no option 'groups'"),
        ("leace:given=track", "not one of label, group"),
        ("leace:groups=group,given=group", "exclude each other"),
        ("center:scale=maybe", "not one of true, false"),
        ("random:rank=1.5", "not a whole number"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        parse_correction(text)


def test_a_kernel_goes_before() -> None:
    both = make_correction("klda:alpha=0.5", random_state=7)
    assert isinstance(both, KernelCorrection)
    assert isinstance(both.correction, DomainLDA)
    assert (both.correction.alpha, both.feature_map.random_state) == (0.5, 7)


@pytest.mark.parametrize("name", SETS)
def test_every_set_can_be_made(name: str) -> None:
    for correction in parse_corrections([name]):
        assert parse_correction(str(correction)) == correction
        correction.transformer()


def test_what_no_set_has() -> None:
    # The help says so of all of them, and that they can be asked for beside a set.
    members = [parse_correction(name) for names in SETS.values() for name in names]
    options = {option for one in members for option in one._options()}
    assert not {"to", "unseen"} & options
    assert {one.alpha for one in members} == {1.0}
    assert {one.groups for one in members} == {None, "group"}
    assert {one.kernel for one in members} == {None, "fastfood"}
    assert {one.method for one in members} == set(METHODS)
    assert len(parse_corrections(["all", "leace:groups=auto"])) == len(SETS["all"]) + 1


def test_what_a_correction_needs() -> None:
    assert parse_correction("leace:given=group").needs_groups
    assert parse_correction("leace:groups=group").needs_groups
    assert not parse_correction("leace:given=label").needs_groups
    assert parse_correction("leace:given=label").needs_labels
    assert not parse_correction("leace").needs_labels
