"""Bias analysis: angles, spectra, distributions; and the paper's published cosines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import mutual_info_score, roc_auc_score
from small_sounds import add_embedding

from biasmir_utils import experiments
from biasmir_utils.corpus import Corpus
from biasmir_utils.errors import ArgumentError


def test_published_cosine_similarities(shared: Path) -> None:
    published = pd.read_csv(shared / "paper" / "cosine_similarity_global.csv")
    with np.load(shared / "paper" / "coefs_global.npz", allow_pickle=False) as coefficients:
        found = [
            experiments.cosine_similarity(
                coefficients[f"{row.embedding}/{row.train_set}/{row.instrument}/lda"][0],
                coefficients[f"{row.embedding}/{row.train_set}/{row.instrument}/lr"],
            )
            for row in published.itertuples()
        ]
    assert len(found) == 40
    np.testing.assert_allclose(found, published["cosine_similarity"], atol=1e-5)


def test_cosine_similarity() -> None:
    assert experiments.cosine_similarity([1, 0], [3, 3]) == pytest.approx(np.sqrt(0.5))
    assert experiments.cosine_similarity([1, 2], [-2, -4]) == pytest.approx(-1.0)
    for zero in ([0, 0], [np.nan, 2]):
        with pytest.raises(ArgumentError, match="zero or not finite"):
            experiments.cosine_similarity([1, 2], zero)


@pytest.mark.parametrize("d", [1, 2, 30, 1024])
def test_random_cosine_is_the_mean_of_random_directions(d: int) -> None:
    rng = np.random.default_rng(0)
    pairs = rng.normal(size=(4000, 2, d))
    measured = np.mean([abs(experiments.cosine_similarity(*pair)) for pair in pairs])
    assert experiments.random_cosine(d) == pytest.approx(measured, rel=0.05)
    assert experiments.random_cosine(1) == pytest.approx(1.0)


def test_mutual_information_equals_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 4, (2, 300))
    b = np.where(rng.random(300) < 0.5, a, b)
    expected = mutual_info_score(a, b) / np.log(2)
    assert experiments.mutual_information(a, b) == pytest.approx(expected)
    assert experiments.mutual_information(["x", "y"], [0, 1]) == pytest.approx(1.0)
    assert experiments.mutual_information([None, "y"], [0, 1]) == pytest.approx(1.0)
    assert experiments.mutual_information(["x", "x"], [0, 1]) == 0.0
    with pytest.raises(ArgumentError, match="same rows"):
        experiments.mutual_information([1, 2], [1])


def test_counts_of_a_corpus(corpus: Corpus) -> None:
    train = corpus.clips[corpus.clips["split"] == "train"]
    groups = experiments.group_counts(corpus)
    assert list(groups.columns) == ["alpha", "beta"]
    assert list(groups.index) == ["rock", "jazz", "folk", "(none)"]
    assert groups.to_numpy().sum() == len(train)
    rock = (train["group"] == "rock") & (train["dataset"] == "beta")
    assert groups.loc["rock", "beta"] == rock.sum()
    labels = experiments.label_counts(corpus)
    voice = (train["voice"] >= 0.5) & (train["dataset"] == "beta")
    assert list(labels.index) == corpus.labels
    assert labels.loc["voice", "beta"] == voice.sum()
    both = experiments.label_counts(corpus, by_group=True)
    assert both.loc[("rock", "voice"), "beta"] == (voice & rock).sum()
    pd.testing.assert_frame_equal(both.groupby("label").sum().loc[corpus.labels], labels)
    test = experiments.group_counts(corpus, split="test").reindex(groups.index, fill_value=0)
    pd.testing.assert_frame_equal(experiments.group_counts(corpus, split=None) - test, groups)
    with pytest.raises(ArgumentError, match="split"):
        experiments.group_counts(corpus, split="valid")


def test_distances_of_a_corpus(corpus: Corpus) -> None:
    (row,) = experiments.distribution_distances(corpus).to_dict("records")
    assert (row["first"], row["second"]) == ("alpha", "beta")
    groups = experiments.group_counts(corpus)
    expected = jensenshannon(groups["alpha"], groups["beta"], base=2)
    assert row["group_distance"] == pytest.approx(expected)
    # With datasets of equal size, the information is the squared distance.
    sizes = groups.sum()
    assert sizes["alpha"] == sizes["beta"]
    assert row["group_dataset_information"] == pytest.approx(expected**2)
    assert 0 <= row["label_distance"] < row["group_distance"]


@pytest.mark.filterwarnings("error")
def test_where_a_dataset_has_no_label_there_is_no_distance(tiny_corpus: Path) -> None:
    clips = pd.read_parquet(tiny_corpus / "clips.parquet")
    clips.loc[clips["dataset"] == "beta", ["piano", "voice"]] = 0.0
    clips.to_parquet(tiny_corpus / "clips.parquet", index=False)
    (row,) = experiments.distribution_distances(Corpus.load(tiny_corpus)).to_dict("records")
    assert np.isnan(row["label_distance"])
    assert row["group_distance"] > 0


def test_direction_cosines_of_a_corpus(corpus: Corpus) -> None:
    table = experiments.direction_cosines(corpus, "toy")
    assert len(table) == 4  # two labels, two training sets
    assert set(table["train_set"]) == {"alpha", "beta"}
    assert (table["train_set"] != table["partner"]).all()
    assert table["angle"].between(0, 90).all()
    # The tiny corpus has the labels on features 0 and 1, the datasets on feature 2.
    assert table["cosine"].abs().max() < 0.5
    np.testing.assert_allclose(np.cos(np.radians(table["angle"])), table["cosine"].abs())


def test_transfer_of_directions_between_groups(corpus: Corpus) -> None:
    clips = corpus.clips
    sign = np.where(clips["group"] == "jazz", -1.0, 1.0)
    X = np.random.default_rng(0).normal(size=(len(clips), 4))
    X[:, 3] += 6.0 * sign * (clips["dataset"] == "beta")  # the other way round in jazz
    corpus = add_embedding(corpus, "turned", X)
    table = experiments.direction_transfer(corpus, "turned")
    assert len(table) == 9
    assert table[["first", "second"]].drop_duplicates().to_numpy().tolist() == [["alpha", "beta"]]
    found = table.pivot(index="fitted_on", columns="tested_on", values="roc_auc")
    same = np.equal.outer(found.index == "jazz", found.columns == "jazz")
    assert found.to_numpy()[same].min() > 0.95
    assert found.to_numpy()[~same].max() < 0.05

    test = clips[(clips["split"] == "test") & (clips["group"] == "folk")]
    train = clips[(clips["split"] == "train") & (clips["group"] == "rock")]
    stored = corpus.embedding("turned").astype(float)
    lda = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto")
    lda.fit(stored[train.index], train["dataset"] == "beta")
    expected = roc_auc_score(test["dataset"] == "beta", stored[test.index] @ lda.coef_[0])
    assert found.loc["rock", "folk"] == pytest.approx(expected, abs=1e-9)


def test_transfer_leaves_out_groups_with_too_few_clips(tiny_corpus: Path, corpus: Corpus) -> None:
    whole = experiments.direction_transfer(corpus, "toy")
    test, jazz = corpus.clips["split"] == "test", corpus.clips["group"] == "jazz"

    def without(rows: pd.Series) -> pd.DataFrame:
        clips = corpus.clips.assign(group=corpus.clips["group"].mask(rows))
        clips.to_parquet(tiny_corpus / "clips.parquet")
        return experiments.direction_transfer(Corpus.load(tiny_corpus), "toy")

    few = jazz & ~test
    few[few] = corpus.clips[few].duplicated("dataset")
    with pytest.warns(UserWarning, match="toy, alpha/beta: no direction from the 2 .* 'jazz'"):
        table = without(few)
    kept = whole[whole["fitted_on"] != "jazz"].reset_index(drop=True)
    pd.testing.assert_frame_equal(table, kept)
    table = without(jazz & test & (corpus.clips["dataset"] == "alpha"))
    assert set(table["fitted_on"]) == {"rock", "jazz", "folk"}
    assert set(table["tested_on"]) == {"rock", "folk"}
    with pytest.raises(ArgumentError, match="no groups"):
        without(jazz | True)
