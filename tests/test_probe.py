"""The dataset probe: what it reads, that tracks stay together, and chance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler

from biasmir_utils.cli import main
from biasmir_utils.corpus import Corpus, write_embedding_file
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments import dataset_separability, probe, read_table


def make(n=400, n_features=12, shift=1.0, clips_per_track=2, within=0.0, seed=0):
    """Rows of two datasets; `within` is the share of a row that its track decides."""
    rng = np.random.default_rng(seed)
    track = np.arange(n) // clips_per_track
    domain = np.where(track % 2, "b", "a")
    X = np.sqrt(within) * rng.normal(size=(n, n_features))[track]
    X += np.sqrt(1 - within) * rng.normal(size=(n, n_features))
    X[:, 0] += shift * (domain == "b")
    return X, domain, track


def test_the_probe_is_a_cross_validated_logistic_regression():
    X, domain, number = make(shift=1.0)
    track = np.char.zfill(number.astype(str), 4)
    (found,) = dataset_separability(X, domain, track, C=2.0, seed=3)
    rows = StandardScaler().fit_transform(X) / np.sqrt(X.shape[1])
    y = domain == "b"
    expected = []
    groups = np.unique(np.char.add(domain, track), return_inverse=True)[1]
    for train, test in StratifiedGroupKFold(5, shuffle=True, random_state=3).split(rows, y, groups):
        model = LogisticRegression(
            C=2.0, solver="liblinear", class_weight="balanced", tol=1e-8
        ).fit(rows[train], y[train])
        expected.append(roc_auc_score(y[test], model.decision_function(rows[test])))
    np.testing.assert_allclose(found.fold_roc_auc, expected, atol=1e-3)
    assert found.dataset == "b"
    assert found.roc_auc == pytest.approx(np.mean(expected), abs=1e-3)


@pytest.mark.parametrize("kind", ["linear", "rbf"])
def test_datasets_apart_and_datasets_alike(kind):
    apart = dataset_separability(*make(shift=6.0), kind=kind)[0]
    assert apart.roc_auc > 0.98
    alike = dataset_separability(*make(shift=0.0), kind=kind, n_permutations=40)[0]
    chance = alike.chance_roc_auc
    assert chance.mean() == pytest.approx(0.5, abs=0.02)
    assert chance.min() - 0.03 < alike.roc_auc < chance.max() + 0.03


def test_only_rbf_reads_a_difference_of_spread():
    X, domain, track = make(shift=0.0, n_features=4)
    X[domain == "b"] *= 3
    linear = dataset_separability(X, domain, track)[0].roc_auc
    rbf = dataset_separability(X, domain, track, kind="rbf")[0].roc_auc
    assert linear < 0.65
    assert rbf > 0.85


def test_leaked_folds_read_the_track():
    # The dataset is not there, but clips of a track are nearly equal, and few rows, many features.
    X, domain, track = make(n=200, n_features=300, shift=0.0, within=0.95)
    by_track = dataset_separability(X, domain, track)[0].roc_auc
    leaked = dataset_separability(X, domain, track, leaked=True)[0].roc_auc
    assert by_track < 0.65
    assert leaked > 0.8


def test_tracks_of_different_datasets_may_share_their_name():
    X, domain, track = make()
    renamed = np.where(domain == "a", track // 2, (track - 1) // 2)
    first = dataset_separability(X, domain, track)[0].fold_roc_auc
    second = dataset_separability(X, domain, renamed)[0].fold_roc_auc
    # Numbered otherwise, the folds differ, but nothing is lost: a third of the tracks would be,
    # if equal names were one track.
    assert abs(first.mean() - second.mean()) < 0.05


def test_twins_of_a_corpus_stay_in_one_fold(repository):
    corpus = Corpus.load(repository / "data" / "counterfactual")
    found = probe(corpus, "mfcc", n_permutations=0).iloc[0]
    clips = corpus.clips
    about = (corpus.embedding("mfcc"), clips["dataset"], clips["track"])
    paired = dataset_separability(*about, paired=True)[0]
    assert (found["dataset"], found["roc_auc"]) == ("(mean)", pytest.approx(paired.roc_auc))
    # A twin in the training folds is called by another dataset.
    assert found["roc_auc"] > dataset_separability(*about)[0].roc_auc + 0.01


def test_a_track_that_all_datasets_share_is_one_track(repository):
    corpus = Corpus.load(repository / "data" / "counterfactual")
    found = probe(corpus, "mfcc", n_permutations=0)
    assert set(found["n_tracks"]) == {corpus.clips["track"].nunique()}
    assert found["n_clips"].iloc[0] >= len(corpus.datasets) * found["n_tracks"].iloc[0]


def test_only_tracks_that_all_datasets_hold_are_compared(repository):
    corpus = Corpus.load(repository / "data" / "counterfactual")
    clips = corpus.clips
    dropped = clips.index[clips["dataset"] == corpus.datasets[0]][:200]
    X, rest = corpus.embedding("mfcc"), np.ones(len(clips), dtype=bool)
    rest[dropped] = False
    whole = ~clips["track"].isin(clips["track"][dropped]).to_numpy()
    assert 0 < whole.sum() < rest.sum()
    arguments = {"paired": True, "n_permutations": 2}
    some, same = (
        dataset_separability(X[rows], clips["dataset"][rows], clips["track"][rows], **arguments)
        for rows in (rest, whole)
    )
    assert [one.dataset for one in some] == ["(mean)", *sorted(corpus.datasets)]
    for one, other in zip(some, same, strict=True):
        np.testing.assert_array_equal(one.fold_roc_auc, other.fold_roc_auc)
        np.testing.assert_array_equal(one.chance_roc_auc, other.chance_roc_auc)


def test_more_than_two_datasets_are_told_from_the_rest():
    X, domain, track = make(shift=0.0)
    domain = np.array(["a", "b", "c"])[track % 3]
    X[:, 1] += 5.0 * (domain == "c")
    found = dataset_separability(X, domain, track, n_permutations=3)
    assert [one.dataset for one in found] == ["(mean)", "a", "b", "c"]
    by_name = {one.dataset: one for one in found}
    assert by_name["c"].roc_auc > 0.97
    assert by_name["a"].roc_auc < 0.85
    mean = np.mean([by_name[name].fold_roc_auc for name in "abc"], axis=0)
    np.testing.assert_allclose(by_name["(mean)"].fold_roc_auc, mean)
    assert by_name["(mean)"].chance_roc_auc.shape == (3,)


def test_the_same_seed_gives_the_same_numbers():
    arguments = make(shift=0.5)
    folds = [
        dataset_separability(*arguments, kind="rbf", seed=seed)[0].fold_roc_auc
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(folds[0], folds[1])
    assert (folds[0] != folds[2]).any()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"kind": "cubic"}, "kind 'cubic': expected one of linear, rbf"),
        ({"sample_domain": np.repeat("a", 40)}, "at least two datasets"),
        ({"sample_domain": np.repeat(["a", "b"], [37, 3])}, "'b' has 3 track.s., fewer than"),
        ({"sample_domain": np.repeat(["a", "b"], 10)}, "one row for each of 20 datasets"),
        ({"sample_track": np.arange(20)}, "and 20 tracks"),
        ({"X": np.full((40, 3), np.nan)}, "NaN or infinite"),
    ],
)
def test_what_cannot_be_probed(changes, told):
    rng = np.random.default_rng(0)
    arguments = {"X": rng.normal(size=(40, 3)), "sample_domain": np.repeat(["a", "b"], 20)}
    with pytest.raises(ArgumentError, match=told):
        dataset_separability(**{**arguments, **changes})


def test_a_corpus_is_probed_on_the_clips_that_have_all_embeddings(tiny_corpus):
    corpus = Corpus.load(tiny_corpus)
    table = probe(corpus, ["toy", "toy2"], ["linear", "rbf"], leaked=True, n_permutations=5)
    assert len(table) == 2 * 2 * 2
    assert set(table["folds"]) == {"by track", "leaked"}
    assert set(table["n_clips"]) == {238}
    # Tracks are named alike in both datasets, and are not the same.
    assert set(table["n_tracks"]) == {119}
    assert (table["dataset"] == "alpha/beta").all()
    # Its datasets are apart by three standard deviations of one feature.
    assert table.loc[table["kind"] == "linear", "roc_auc"].min() > 0.95
    assert table["chance"].between(0.4, 0.6).all()
    assert (table["chance"] <= table["chance_max"]).all()


def test_probe_on_the_command_line(tiny_corpus, tmp_path):
    out = tmp_path / "p.csv"
    arguments = [str(tiny_corpus), "--embedding", "toy", "--permutations", "3", "--out", str(out)]
    done = CliRunner().invoke(main, ["probe", *arguments])
    assert done.exit_code == 0, done.output
    assert "by track alpha/beta" in " ".join(done.output.split())
    pd.testing.assert_frame_equal(
        read_table(out),
        probe(Corpus.load(tiny_corpus), "toy", n_permutations=3),
        check_dtype=False,
    )
    every = CliRunner().invoke(main, ["probe", str(tiny_corpus), "--permutations", "3"])
    assert every.exit_code == 0, every.output
    shown = {line.split()[0] for line in every.output.splitlines() if line.strip()}
    assert {"toy", "toy2"} <= shown
    failed = CliRunner().invoke(main, ["probe", str(tiny_corpus), "--embedding", "nope"])
    assert failed.exit_code == 1
    assert "no embedding 'nope'" in failed.output


def few_tracks(folder, tracks_per_dataset):
    """A copy of the tiny corpus that has but some of its tracks."""
    content = folder / "clips.parquet"
    table = pd.read_parquet(content)
    number = table["track"].str[1:].astype(int)
    table[number < tracks_per_dataset].reset_index(drop=True).to_parquet(content)
    return folder


@pytest.mark.parametrize(("n", "all_lost"), [(20, False), (2, True)])
def test_permutations_that_leave_a_fold_one_dataset_do_not_count(tiny_corpus, n, all_lost):
    folder = few_tracks(tiny_corpus, 5 if all_lost else 10)
    command = ["probe", str(folder), "--embedding", "toy", "--permutations", str(n)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    (note,) = (line for line in done.stderr.splitlines() if line.startswith("Note: "))
    assert note.startswith("Note: toy, linear probe, folds by track: in ")
    assert "permutations the clips of a fold are of one dataset only" in note
    assert note.endswith("(too few tracks)")
    assert ("so there is no chance" in note) == all_lost
    with pytest.warns(UserWarning, match="too few tracks"):
        table = probe(Corpus.load(folder), "toy", n_permutations=n)
    assert np.isnan(table["chance"].iloc[0]) == all_lost
    if not all_lost:
        X = Corpus.load(folder).embedding("toy")
        clips = Corpus.load(folder).clips
        about = (X, clips["dataset"], clips["track"])
        every = dataset_separability(*about, n_permutations=20)[0].chance_roc_auc
        left = int(np.isfinite(every).sum())
        assert 0 < left < 20
        assert f"in {20 - left} of 20 permutations" in note
        assert f"chance is over the other {left} " in note
        assert table["chance"].iloc[0] == pytest.approx(np.nanmean(every))


def test_the_embedding_that_cannot_be_probed_is_named(tiny_corpus):
    corpus = Corpus.load(tiny_corpus)
    keys = {d: corpus.clips.loc[corpus.clips["dataset"] == d, "clip"] for d in corpus.datasets}
    flat = {d: (names.tolist(), np.ones((len(names), 3))) for d, names in keys.items()}
    write_embedding_file(tiny_corpus / "embeddings" / "flat.h5", "flat", flat)
    corpus = corpus.add_embedding_file(tiny_corpus / "embeddings" / "flat.h5", made_here=True)
    with pytest.raises(ArgumentError, match="embedding 'flat', rbf: the median distance"):
        probe(corpus, ["toy", "flat"], "rbf", n_permutations=0)
