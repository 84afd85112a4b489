"""Groups that domains share, found in the rows, and how they agree with named ones."""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from biasmir_utils.corpus import Corpus, write_embedding_file
from biasmir_utils.corrections import (
    AutoGroups,
    DomainWarning,
    MeanProjection,
    SharedClusters,
    discover_groups,
    fit_correction,
    group_agreement,
    make_correction,
)
from biasmir_utils.experiments import evaluate


def music(
    n: int = 600, genres: int = 4, d: int = 30, shift: float = 8.0, seed: int = 0
) -> tuple[Any, Any, Any]:
    """Rows of two domains that hold the same genres in different numbers, far apart in the mean."""
    rng = np.random.default_rng(seed)
    domain = rng.integers(0, 2, n)
    odds = rng.dirichlet(np.full(genres, 4.0), size=2)
    genre = np.array([rng.choice(genres, p=odds[k]) for k in domain])
    X = rng.normal(size=(n, d)) + 4 * rng.normal(size=(genres, d))[genre]
    # Each genre is shifted a little differently: what the grouped corrections are for.
    X += shift * rng.normal(size=d) * domain[:, None]
    X += rng.normal(size=(genres, d))[genre] * domain[:, None]
    return X, np.array(["a", "b"])[domain], genre


@pytest.mark.parametrize("genres", [2, 3, 4, 6])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_known_groups_are_found_through_the_shift(genres: int, seed: int) -> None:
    X, domain, genre = music(genres=genres, seed=seed)
    found = discover_groups(X, domain)
    assert adjusted_rand_score(genre, found) > 0.95
    assert len(np.unique(found)) == genres


@pytest.mark.parametrize("seed", range(4))
def test_one_group_is_an_answer_and_shares_may_be_unequal(seed: int) -> None:
    """A Gaussian is one group; two that are .85 and .15 of a dataset, .3 and .7 of another, two."""
    rng = np.random.default_rng([6, seed])
    X, domain = rng.normal(size=(800, 10)), np.arange(800) % 2
    X += 2 * np.outer(domain, rng.normal(size=10))
    clusters = SharedClusters(random_state=seed)
    with pytest.warns(DomainWarning, match="that one Gaussian would not show"):
        assert clusters.fit(X, sample_domain=domain).n_groups_ == 1
    assert len(clusters.reference_) == 10
    genre = rng.random(800) > np.where(domain == 0, 0.85, 0.3)
    X += 6 * np.outer(genre, np.full(10, 10**-0.5))  # spread, since features are standardised
    clusters.fit(X, sample_domain=domain)
    assert adjusted_rand_score(genre, clusters.labels_) > 0.9
    assert np.nanmax(clusters.silhouettes_) > clusters.reference_.max()


def test_the_floor_counts_domains_as_if_of_one_size() -> None:
    # Of 300 and 100 rows: two clusters that both share alike, and one with as many rows of each,
    # which is 0.1 of the large domain and 0.3 of the small one: a share of 0.25.
    genre = np.repeat([0, 1, 2, 0, 1, 2], [140, 130, 30, 36, 34, 30])
    domain = np.repeat(["a", "b"], [300, 100])
    X = np.random.default_rng(0).normal(size=(400, 6)) + 20 * np.eye(3, 6)[genre]
    clusters = SharedClusters(3, min_share=0.3, min_rows=0).fit(X, sample_domain=domain)
    assert clusters.n_groups_ == 2
    for name, rows in (("large", genre == 0), ("second", genre == 1)):
        assert len(np.unique(clusters.labels_[rows])) == 1, name
    assert clusters.labels_[genre == 0][0] != clusters.labels_[genre == 1][0]
    assert SharedClusters(3, min_share=0.0, min_rows=31).fit(X, sample_domain=domain).n_groups_ == 2
    lower = SharedClusters(3, min_share=0.2, min_rows=0).fit(X, sample_domain=domain)
    np.testing.assert_array_equal(lower.counts_, [[140, 36], [130, 34], [30, 30]])


def test_domains_that_share_nothing_are_one_group_and_say_so() -> None:
    rng = np.random.default_rng(0)
    few, domain = rng.normal(size=(12, 3)), np.repeat(["a", "b"], 6)
    with pytest.warns(DomainWarning, match="share no two clusters of 10 rows"):
        found = discover_groups(few, domain)
    np.testing.assert_array_equal(found, 0)
    whole = MeanProjection().fit(few, sample_domain=domain)
    grouped = MeanProjection().fit(few, sample_domain=domain, sample_group=found)
    np.testing.assert_allclose(grouped.directions_, whole.directions_)


def test_the_seed_decides_and_the_rule_can_be_seen() -> None:
    X, domain, _ = music(genres=3)
    one, other = (SharedClusters(random_state=5).fit(X, sample_domain=domain) for _ in range(2))
    np.testing.assert_array_equal(one.labels_, other.labels_)
    assert one.tried_ == list(range(2, 9))
    assert one.tried_[int(np.nanargmax(one.silhouettes_))] == 3
    sizes = np.bincount(one.labels_)
    assert (np.diff(sizes) <= 0).all()


@pytest.mark.parametrize("kind", ["constant", "copies", "few", "wide"])
def test_poor_rows_give_groups_or_one(kind: str) -> None:
    rng = np.random.default_rng(0)
    domain = np.arange(60) % 3
    X = {
        "constant": np.full((60, 4), 3.7),
        "copies": np.repeat(rng.normal(size=(3, 4)), 20, axis=0),
        "few": rng.normal(size=(60, 1)),
        "wide": rng.normal(size=(60, 500)),
    }[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = discover_groups(X, domain, min_rows=3)
    assert found.shape == (60,)
    assert set(np.unique(found)) == set(range(found.max() + 1))


@pytest.mark.parametrize("name", ["lda", "leace", "meanproj"])
def test_corrections_find_their_groups(name: str) -> None:
    X, domain, _ = music()
    found = discover_groups(X, domain, random_state=3)
    for placebo in ("", "placebo:"):  # a placebo has the groups of its correction
        auto, by_hand = (
            fit_correction(
                f"{placebo}{name}:groups={groups}",
                X,
                sample_domain=domain,
                sample_group=found,
                random_state=3,
            )
            for groups in ("auto", "group")
        )
        np.testing.assert_array_equal(auto.transform(X), by_hand.transform(X))
        assert auto.thin_map.rank == 4
    transformer = make_correction(f"{name}:groups=auto", random_state=3)
    assert isinstance(transformer, AutoGroups)
    transformer.fit(X, sample_domain=domain)
    by_hand = make_correction(name).fit(X, sample_domain=domain, sample_group=found)
    np.testing.assert_array_equal(transformer.transform(X), by_hand.transform(X))
    assert transformer.thin_map.rank == 4


def test_groups_behind_random_features_are_found_in_these() -> None:
    X, domain, _ = music(n=200, d=5)
    features = fit_correction("k", X, sample_domain=domain)
    mapped = features.transform(X, sample_domain=domain)
    fitted = fit_correction("leace:groups=auto,kernel=fastfood", X, sample_domain=domain)
    expected = MeanProjection().fit(
        mapped, sample_domain=domain, sample_group=discover_groups(mapped, domain)
    )
    np.testing.assert_array_equal(fitted.correction_.correction_.coef_, expected.coef_)


def test_an_evaluation_finds_groups_in_training_rows_only(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Any, int]] = []

    def watched(X: Any, domain: Any, *, random_state: int) -> Any:
        seen.append((X, random_state))
        return discover_groups(X, domain, random_state=random_state)

    monkeypatch.setattr(
        sys.modules["biasmir_utils.experiments.evaluate"], "discover_groups", watched
    )
    names = ["lda:groups=auto", "leace:groups=auto"]
    results = evaluate(corpus, "toy", names, ["global"], seed=7, jobs=1).results
    assert set(results["correction"]) == set(names)
    train = corpus.embedding("toy")[(corpus.clips["split"] == "train").to_numpy()]
    allowed = {row.tobytes() for row in train.astype(np.float32)}
    assert [seed for _, seed in seen] == [7] * 2 * len(names)  # for each label and correction
    for X, _ in seen:
        assert {row.tobytes() for row in np.asarray(X, dtype=np.float32)} <= allowed


def test_genres_are_found_where_the_embedding_shows_them(corpus: Corpus) -> None:
    rng = np.random.default_rng(0)
    genre = corpus.clips["group"].map({"rock": 0, "jazz": 1}).fillna(2).astype(int).to_numpy()
    beta = (corpus.clips["dataset"] == "beta").to_numpy()
    centers, offsets = rng.normal(size=(2, 3, 12))
    for name, strength in (("shown", 4.0), ("hidden", 0.0)):
        X = rng.normal(size=(len(genre), 12)) + strength * centers[genre]
        X[beta] += 5.0 + strength / 4 * offsets[genre[beta]]
        clips = corpus.clips["clip"]
        content = {"alpha": (clips[~beta], X[~beta]), "beta": (clips[beta], X[beta])}
        write_embedding_file(corpus.path / f"{name}.h5", name, content)
        corpus = corpus.add_embedding_file(corpus.path / f"{name}.h5", made_here=True)
    found = group_agreement(corpus)
    shown, hidden = found.loc["shown"], found.loc["hidden"]
    assert shown["groups"] == 3
    assert shown["adjusted_rand"] > 0.95
    assert shown["overlap"] > 0.95 > shown["overlap_chance"]
    named = corpus.clips["group"].notna() & (corpus.clips["split"] == "train")
    assert shown["clips"] == named.sum() < 180
    # As the genres themselves do, which are not equally frequent in both datasets.
    own = adjusted_rand_score(genre[named], beta[named])
    assert shown["adjusted_rand_dataset"] == pytest.approx(own, abs=0.05)
    assert abs(hidden["adjusted_rand"]) < 0.1


def test_on_the_demonstration_corpus_the_groups_are_not_its_genres(repository: Path) -> None:
    found = group_agreement(Corpus.load(repository / "data" / "demo"))
    assert list(found.index) == ["yamnet", "musicnn", "msd_vgg", "mfcc"]
    assert (found["adjusted_rand_dataset"].abs() < 0.05).all()
    assert (found["smallest_share"] >= 0.1).all()
    # The page says what was found.
    page = (repository / "book" / "corrections.md").read_text(encoding="utf-8")
    told = re.search(r"chance, is ([\d.]+) to ([\d.]+) in its four embeddings", page)
    assert told is not None
    low, high = found["adjusted_rand"].min(), found["adjusted_rand"].max()
    assert told.groups() == (f"{low:.2f}", f"{high:.2f}")
    assert found["adjusted_rand_label"].idxmax() == "yamnet"
    several = found[found["groups"] > 1]
    assert (several["adjusted_rand_label"] > several["adjusted_rand"]).all()
    assert len(several) == 3
