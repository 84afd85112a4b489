"""The paper's protocol: its resampling, and its numbers on the oracle's corpora."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from biasmir_utils.corpus import Corpus
from biasmir_utils.datasets import INSTRUMENTS, prepare_paper
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments import (
    ExperimentData,
    drawn_rows,
    evaluate,
    own_rows,
    resample_by_group,
    subject_rows,
)

# Classes in which a genre has no positives in one of the oracle's datasets. There the authors'
# program projects out an arbitrary direction (classwise, mlda), and ours none.
WITHOUT_A_GENRE = ("cello", "clarinet", "organ", "saxophone", "trumpet", "voice")

group_lists = st.lists(st.integers(0, 4), min_size=1, max_size=200).map(np.array)


@given(group_lists, st.integers(0, 2**31), st.data())
def test_resampling_keeps_the_share_of_every_group(groups, seed, data):
    size = data.draw(st.integers(0, len(groups)))
    chosen = resample_by_group(groups, size, seed)
    assert len(set(chosen.tolist())) == len(chosen)
    assert size - len(np.unique(groups)) < len(chosen) <= size
    assert (np.diff(groups[chosen]) >= 0).all()
    for group in np.unique(groups):
        m = int((groups == group).sum())
        assert (groups[chosen] == group).sum() == int(m * size / len(groups))


def test_resampling_uses_python_s_generator_and_leaves_the_global_one_alone():
    groups = np.array([1, 0, 1, 1, 0, 0, 0])
    random.seed(5)
    state = random.getstate()
    chosen = resample_by_group(groups, 4, 42)
    assert random.getstate() == state
    # By hand, with the global generator as the authors use it.
    random.seed(42)
    first = random.sample(range(4), 4)[: int(4 * 4 / 7)]
    second = random.sample(range(3), 3)[: int(3 * 4 / 7)]
    expected = [[1, 4, 5, 6][i] for i in first] + [[0, 2, 3][i] for i in second]
    assert chosen.tolist() == expected
    random.setstate(state)


def test_resampling_more_than_there_is():
    with pytest.raises(ArgumentError, match="between 0 and the 3 rows, found 4"):
        resample_by_group([0, 0, 1], 4, 0)


def pair_of(corpus: Corpus, target: str):
    data = ExperimentData.of(corpus, ["toy"], target=target)
    return list(data.datasets.values())


def test_a_label_is_present_from_one_half_on(tiny_corpus):
    table = pd.read_parquet(tiny_corpus / "clips.parquet")
    table.loc[:2, "piano"] = [0.49, 0.5, np.nan]
    table.to_parquet(tiny_corpus / "clips.parquet", index=False)
    pair = pair_of(Corpus.load(tiny_corpus), "labels")
    codes = {row: code for c in pair for row, code in zip(c.index, c.labels["piano"], strict=True)}
    assert [codes[row] for row in range(3)] == [0, 1, -1]


def test_datasets_are_cut_down_to_the_counts_that_they_share(corpus):
    pair = pair_of(corpus, "labels")
    for label in ("piano", "voice"):
        available = np.array([[len(c.train_rows(label, v)) for v in (1, 0)] for c in pair])
        for clips, rows in zip(pair, subject_rows(label, "label", pair, 42), strict=True):
            positives, negatives = (int((rows.y == value).sum()) for value in (1, 0))
            # A group's share is rounded down.
            shared = available.min(axis=0)
            assert shared[0] - 4 < positives <= shared[0]
            assert shared[1] - 4 < negatives <= shared[1]
            assert rows.y.tolist() == [1] * positives + [0] * negatives
            assert (clips.labels[label][rows.all] == rows.y).all()
            assert clips.is_train[rows.all].all()
            assert len(set(rows.all)) == len(rows.all)
            for k, value in enumerate((1, 0)):  # the dataset that sets the size is kept whole
                own = clips.train_rows(label, value)
                if len(own) == shared[k]:
                    assert sorted(rows.all[rows.y == value]) == own.tolist()


def test_classes_have_equally_many_training_clips_in_both_datasets(corpus):
    pair = pair_of(corpus, "group")
    rows = subject_rows("group", "category", pair, seed=1)
    counts = [np.bincount(part.y, minlength=3) for part in rows]
    available = [[len(clips.train_rows("group", k)) for k in range(3)] for clips in pair]
    np.testing.assert_array_equal(counts[0], counts[1])
    np.testing.assert_array_equal(counts[0], np.min(available, axis=0))
    # A class that a dataset cannot test is left out.
    codes = pair[1].labels["group"]
    codes[(codes == 2) & ~pair[1].is_train] = -1
    rows = subject_rows("group", "category", pair, seed=1)
    assert [np.unique(part.y).tolist() for part in rows] == [[0, 1], [0, 1]]


@pytest.mark.parametrize(("target", "kind"), [("tempo", "number"), ("tags", "tags")])
def test_numbers_and_tags_have_equally_many_training_clips(corpus, target, kind):
    pair = pair_of(corpus, target)
    rows, again = (subject_rows(target, kind, pair, seed=1) for _ in range(2))
    assert len(rows[0].all) == len(rows[1].all) == 90
    np.testing.assert_array_equal(rows[0].all, again[0].all)


def test_rows_drawn_without_labels_are_training_rows_and_alike_for_every_label(corpus):
    pair = pair_of(corpus, "labels")
    rows = drawn_rows(pair, seed=0)
    assert [part.y for part in rows] == [None, None]
    for clips, part in zip(pair, rows, strict=True):
        assert clips.is_train[part.all].all()
        assert len(set(part.all)) == 90
        clips.labels["piano"][:] = 0
    np.testing.assert_array_equal(drawn_rows(pair, seed=0)[0].all, rows[0].all)


@pytest.mark.parametrize("target", ["labels", "group", "tempo", "tags"])
def test_tracks_are_matched_and_as_many_clips_of_each(corpus, target):
    """As tracks of one clip and of three, with other clips of theirs in the other labels."""
    pair = [
        replace(clips, tracks=np.array([f"t{i // size:02d}" for i in range(len(clips.clips))]))
        for clips, size in zip(pair_of(corpus, target), (1, 3), strict=True)
    ]
    name, kind = {"labels": ("piano", "label"), "group": ("group", "category")}.get(
        target, (target, {"tempo": "number"}.get(target, target))
    )

    def sizes(rows, code):
        chosen = [r.all if code is None else r.all[np.asarray(r.y) == code] for r in rows]
        return [
            sorted(np.unique(c.tracks[own], return_counts=True)[1])
            for c, own in zip(pair, chosen, strict=True)
        ]

    rows = subject_rows(name, kind, pair, 1, "tracks")
    for code in (0, 1) if kind in ("label", "category") else (None,):
        one, other = sizes(rows, code)
        assert one == other
        there = [
            c.tracks[c.train_rows(name, code)] if code is not None else c.tracks[c.train_rows(name)]
            for c in pair
        ]
        fewest = min(len(set(tracks)) for tracks in there)
        assert fewest - 4 < len(one) <= fewest
    again = subject_rows(name, kind, pair, 1, "tracks")
    assert all((a.all == b.all).all() for a, b in zip(rows, again, strict=True))
    blindly = drawn_rows(pair, 1, "tracks")
    one, other = sizes(blindly, None)
    assert one == other
    for clips, own, part in zip(
        pair, own_rows(name, kind, pair, 1, "tracks"), blindly, strict=True
    ):
        assert set(own.all) <= set(part.all)
        assert (own.y == clips.labels[name][own.all]).all() or kind == "number"


@pytest.fixture(scope="module")
def oracle(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return prepare_paper(shared / "oracle" / "a", tmp_path_factory.mktemp("oracle") / "corpus")


@pytest.fixture(scope="module")
def expected(shared: Path) -> pd.DataFrame:
    """What the authors' program gives, in our terms: one row a label, correction, mode, pair."""
    table = pd.read_csv(shared / "oracle" / "a" / "expected_reference.csv")
    table["correction"] = table["embedding"].str.partition("-")[2].replace("", "none")
    single = table["correction"].isin(["none", "k"])
    table.loc[single, "mode"] = "none"
    table = table.drop_duplicates(["mode", "correction", "instrument", "train_set", "test_set"])
    return table.rename(
        columns={"instrument": "label", "f1-score": "f1", "ap": "average_precision"}
    )


KEY = ["correction", "mode", "label", "train_set", "test_set"]


def beside(results: pd.DataFrame, expected: pd.DataFrame) -> pd.DataFrame:
    """Our rows and theirs side by side; every one of ours must have a counterpart."""
    both = results.merge(expected, on=KEY, suffixes=("", "_expected"), validate="one_to_one")
    assert len(both) == len(results)
    return both


def comparable(both: pd.DataFrame) -> pd.DataFrame:
    arbitrary = (
        (both["correction"] == "mlda")
        & (both["mode"] == "classwise")
        & both["label"].isin(WITHOUT_A_GENRE)
    )
    return both[~arbitrary]


@pytest.mark.parametrize(
    ("recogniser", "metrics", "tolerance"),
    [
        (
            "logistic-liblinear",
            ["roc_auc", "average_precision", "precision", "recall", "f1", "accuracy"],
            1e-6,
        ),
        ("logistic", ["roc_auc"], 0.005),
    ],
)
def test_every_linear_row_is_the_authors_and_with_the_default_solver_close_to_it(
    oracle, expected, recogniser, metrics, tolerance
):
    corrections, modes = ["none", "lda", "mlda"], ["global", "classwise"]
    found = evaluate(oracle, "vggish", corrections, modes, recogniser=recogniser, jobs=2)
    assert len(found.results) == 10 * 4 * 5
    both = comparable(beside(found.results, expected))
    assert len(both) == 4 * (10 * 4 + len(INSTRUMENTS) - len(WITHOUT_A_GENRE))
    for metric in metrics:
        difference = (both[metric] - both[f"{metric}_expected"]).abs()
        assert difference.mean() < 1e-4, metric
        assert difference.max() < tolerance, metric
    assert (both["n_pos_test"] == both["support"]).all()


def test_with_random_features_the_means_are_the_authors(oracle, expected):
    results = evaluate(
        oracle, "vggish", ["k", "klda", "mklda"], ["global", "classwise"], jobs=2
    ).results
    both = beside(results, expected)
    means = both.groupby(["correction", "mode", "train_set", "test_set"])[
        ["roc_auc", "roc_auc_expected"]
    ].mean()
    assert len(means) == 4 * 5
    assert (means["roc_auc"] - means["roc_auc_expected"]).abs().max() < 0.02
    # What a projection changes, under one draw of the random features.
    change = means - means.loc["k", "none"].reindex(means.index.droplevel([0, 1])).to_numpy()
    assert (change["roc_auc"] - change["roc_auc_expected"]).abs().max() < 0.006
