"""Corrections by name: what is understood and refused, fits by name, and the page of them all."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from biasmir_utils.corrections import (
    ALIASES,
    METHODS,
    SETS,
    DomainWarning,
    Method,
    NoCorrection,
    RandomProjection,
    SingularCovarianceError,
    fit_correction,
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
        "lda:groups=group,kernel=orthogonal",
        "mlda:singular=warn,alpha=0",
        "leace:groups=group,given=label,kernel=fastfood",
        "coral:to=irmas,unseen=own",
        "gaussian_ot:shrinkage=auto,to=band",
        "random:random_state=3,rank=4",
        "inlp:C=0.1,n_classifiers=5,tol=0.02",
        "placebo:mklda",
        "placebo:leace:alpha=0.5",
        "placebo:meanproj:given=label,alpha=0.5",
    ],
)
def test_names_come_back(text: str) -> None:
    correction = parse_correction(text)
    assert parse_correction(str(correction)) == correction
    assert "alpha" not in correction.name


def test_transformers_have_the_options() -> None:
    lda = make_correction("lda:alpha=0.25,shrinkage=0.5")
    assert str(lda) == "DomainLDA(alpha=0.25, shrinkage=0.5)"
    assert isinstance(make_correction("none"), NoCorrection)
    feature_map = parse_correction("mklda").feature_map(random_state=3)
    assert (feature_map.diagonal, feature_map.random_state) == ("gaussian", 3)
    assert parse_correction("lda").feature_map() is None
    assert [parse_correction(name).corrects for name in ("mklda", "k")] == [True, False]


def test_sets_and_repeats() -> None:
    names = [str(c) for c in parse_corrections(["paper", "lda", "lda:alpha=0.5"])]
    assert names == ["none", "lda", "mlda", "k", "klda", "mklda", "lda:alpha=0.5"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ldaa", "Did you mean 'lda'"),
        ("", "unknown correction ''"),
        ("pubset", r"There are: none, shift, lda, .*zscore\. .* the sets paper, standard, all"),
        ("all", r"'all' is a set of corrections \(none, lda, .*one of them is expected"),
        ("paper:alpha=0.5", "a set has no options"),
        ("lda:alpha", "expected option=value"),
        ("lda:alpha=2", r"alpha must be a number in \[0, 1\]"),
        ("lda:alpha=1,alpha=0", "given twice"),
        ("lda:groups=genre", "groups must be 'group' or 'auto', not 'genre'"),
        ("lda:kernel=rbf", "kernel must be 'fastfood' or 'orthogonal'"),
        ("lda:grups=group", "Did you mean 'groups'"),
        ("none:alpha=0.5", "'none' has no option 'alpha'"),
        ("leace:given=track", "given must be .*'label' or 'group'"),
        ("leace:groups=group,given=group", "exclude each other"),
        ("center:scale=maybe", "scale must be True or False"),
        ("random:rank=1.5", "a whole number from 0"),
        ("placebo:random", "'placebo:random': random looks at no dataset to be permuted"),
        ("placebo:shift", "shift looks at no dataset"),
        ("placebo:placebo:lda", "placebo:lda looks at no dataset"),
        ("placebo:ldaa", "Did you mean 'lda'"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        parse_correction(text)


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    domain, group = np.repeat(["a", "b"], 90), np.tile(["folk", "jazz", "rock"], 60)
    X = rng.normal(size=(180, 6)) + 5 * np.eye(3, 6)[np.unique(group, return_inverse=True)[1]]
    X[domain == "b"] += np.where(group == "folk", 1, -2)[domain == "b", None] * np.eye(6)[4]
    return X, domain, group


@pytest.mark.parametrize("name", ["leace", "leace:groups=group", "leace:given=label", "klda"])
def test_labels_and_groups_reach_those_that_ask_for_them(data, name):
    X, domain, group = data
    y = np.arange(180) % 2
    found = fit_correction(name, X, y, sample_domain=domain, sample_group=group, random_state=5)
    asked = {"sample_group": group} if "group=" in name or "groups=" in name else {}
    expected = make_correction(name, 5).fit(
        X, y if "label" in name else None, sample_domain=domain, **asked
    )
    np.testing.assert_allclose(
        found.transform(X, sample_domain=domain), expected.transform(X, sample_domain=domain)
    )


def test_a_group_with_too_few_rows_is_a_warning_unless_the_name_says_error(data):
    X, domain, group = data
    kept = np.flatnonzero((group != "jazz") | (np.arange(180) < 2) | (np.arange(180) > 176))
    part = {"sample_domain": domain[kept], "sample_group": group[kept]}
    with pytest.warns(DomainWarning, match="jazz"):
        fit_correction("mlda:shrinkage=0", X[kept], **part)
    with pytest.raises(SingularCovarianceError, match="jazz"):
        fit_correction("mlda:shrinkage=0,singular=error", X[kept], **part)


def test_a_placebo_is_the_correction_of_permuted_tracks(data):
    """Whole tracks change their dataset, a draw apart; a track of one dataset is one piece."""
    X, domain, _ = data
    track = np.arange(180) // 5 % 18  # names that both datasets have
    assert not make_correction("leace").fit(X, sample_domain=domain).coef_[0, 4] > -0.5

    def placebo(draw, track=track):
        found = fit_correction(
            "placebo:leace", X, sample_domain=domain, sample_track=track, draw=draw
        )
        return found.coef_[0]

    pieces = X.reshape(36, 5, 6).mean(axis=1)
    for draw in range(3):
        swapped = np.random.default_rng(draw).permutation(domain[::5])
        expected = pieces[swapped == "b"].mean(axis=0) - pieces[swapped == "a"].mean(axis=0)
        np.testing.assert_allclose(placebo(draw), expected)
    assert np.abs(placebo(0) - placebo(1)).max() > 0.1
    assert np.abs(placebo(0) - placebo(0, None)).max() > 0.1
    with pytest.raises(ArgumentError, match="fit_correction fits it"):
        make_correction("placebo:leace")


@pytest.mark.parametrize("missing", [None, np.nan])
def test_a_placebo_where_a_track_or_a_dataset_is_missing(data, missing):
    X, domain, _ = data
    named = (np.arange(180) // 5).astype(str).astype(object)
    track = np.where(np.isin(named, ["1", "2", "30"]), missing, named)
    # As if they had names: the clips of a dataset without a track change places together.
    named[named == "2"] = "1"
    one, other = (
        fit_correction("placebo:leace", X, sample_domain=domain, sample_track=own, draw=3)
        for own in (track, named)
    )
    np.testing.assert_array_equal(one.coef_, other.coef_)
    lost = domain.astype(object)
    lost[[7, 90]] = missing
    with pytest.raises(ArgumentError, match="in 2 rows, the first of them row 7;"):
        fit_correction("placebo:leace", X, sample_domain=lost, sample_track=named)


def test_a_placebo_swaps_the_versions_of_a_track_that_both_datasets_hold():
    domain, track = np.repeat(["a", "b"], 30), np.tile(np.arange(30) // 2, 2)
    track[50:] += 100  # five tracks of each dataset are not in the other
    pieces, piece = np.unique(track + 1000 * (domain == "b"), return_inverse=True)
    told = {"sample_domain": domain, "sample_track": track, "draw": 0}
    name = pieces % 1000
    is_twin = name < 10
    together = []
    for draw, shared in itertools.product(range(9), (True, False)):
        told |= {"draw": draw, "shared_tracks": shared}
        fitted = fit_correction("placebo:meanproj", np.eye(len(pieces))[piece], **told)
        in_b = fitted.coef_[0] > 0  # each piece has a feature of its own
        assert in_b.sum() == 15
        if shared:
            assert (np.bincount(name[is_twin], in_b[is_twin]) == 1).all()
            assert in_b[~is_twin].sum() == 5
            together.append(in_b)
        else:
            assert (np.bincount(name[is_twin], in_b[is_twin]) != 1).any()
    # Both kinds do change places.
    share = np.mean(together, axis=0)
    assert (share > 0).all()
    assert (share < 1).all()


def test_the_draw_of_a_random_subspace(data):
    X, domain, _ = data

    def drawn(name: str, draw: int | None) -> np.ndarray:
        fitted = fit_correction(name, X, sample_domain=domain, draw=draw)
        assert isinstance(fitted, RandomProjection)
        return fitted.transform(X)

    np.testing.assert_array_equal(drawn("random", None), drawn("random:random_state=0", 7))
    np.testing.assert_array_equal(drawn("random", 7), drawn("random:random_state=7", 0))
    assert np.abs(drawn("random", 7) - drawn("random", 8)).max() > 0.1


SHARED = {"alpha", "groups", "kernel"}


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "book" / "corrections.md").read_text(encoding="utf-8")


def table(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table after a heading, without its head."""
    after = page.split(f"\n## {heading}\n")[1]
    lines = re.search(r"(?:^\|.*\n)+", after, re.MULTILINE)
    assert lines is not None
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines.group().splitlines()[2:]
    ]


def names_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def depends_on_the_domain(method: Method) -> bool:
    """Return whether the same rows, said to be of another domain, are corrected otherwise."""
    domain = np.repeat(["a", "b"], 20)
    X = np.random.default_rng(0).normal(size=(40, 3)) + (domain == "b")[:, np.newaxis]
    fitted = method.make().fit(X, np.arange(40) % 3, sample_domain=domain)
    one, other = (fitted.transform(X, sample_domain=names) for names in (domain, domain[::-1]))
    return not np.array_equal(one, other)


def test_every_method_is_there_with_what_it_sees(page: str) -> None:
    rows = {names_in(row[0])[0]: row for row in table(page, "The methods")}
    assert list(rows) == list(METHODS)
    for name, method in METHODS.items():
        _, formula, sees, dataset, guarantee, *_ = rows[name]
        assert formula.startswith("$")
        assert sees == method.information == parse_correction(name).information
        assert dataset == ("yes" if depends_on_the_domain(method) else "no")
        assert guarantee


def test_costs_are_those_of_the_benchmark(page: str, repository: Path) -> None:
    text = (repository / "benchmarks" / "results" / "corrections.md").read_text(encoding="utf-8")
    assert text.split("\n")[2].startswith("10,000 rows")
    measured = dict(re.findall(r"^\| (\w+) \| 1,024 \| ([\d.]+) \|", text, re.MULTILINE))
    for row in table(page, "The methods"):
        name, seconds = names_in(row[0])[0], row[5]
        assert seconds == (f"{float(measured[name]):.2f}" if name in measured else "")


def test_every_short_name_is_there(page: str) -> None:
    found = {names_in(name)[0]: names_in(full)[0] for name, full in table(page, "Short names")}
    assert found == ALIASES
    assert set(SETS) <= set(names_in(page.split("## Short names")[1].split("## Options")[0]))


def test_every_option_is_there_with_the_methods_that_take_it(page: str) -> None:
    told: dict[str, set[str]] = {}
    for options, methods, _ in table(page, "Options"):
        for option in names_in(options):
            name = option.split("=")[0]
            takers = set(names_in(methods))
            if methods == "all":
                takers = set(METHODS)
            elif methods == "all but `none`":
                takers = set(METHODS) - {"none"}
            elif methods == "the same":
                takers = told[name]
            told[name] = takers
            for method in takers:
                value = option if "NAME" not in option else "to=irmas"
                parse_correction(f"{method}:{value}")
            for method in set(METHODS) - takers:
                with pytest.raises(ArgumentError):
                    parse_correction(f"{method}:{option}")
    assert set(told) == SHARED.union(*(method.make.options for method in METHODS.values()))


def test_no_name_is_unknown(page: str) -> None:
    """Whatever looks like a correction on the page is one."""
    for text in names_in(page):
        if re.fullmatch(r"[a-z_]+(:[\w=.,]+)", text):
            parse_correction(text)
    for command in re.findall(r"--correction ([\w:=, ]+?) --out", page):
        assert parse_corrections(command.split())
