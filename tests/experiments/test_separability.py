"""What tells the datasets apart, what corrections leave of it, and what they do to the rows."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from running import run_command
from scipy.spatial.distance import pdist, squareform
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler
from small_sounds import add_embedding

from biasmir_utils.cli import main
from biasmir_utils.corpus import Corpus, CorpusWriter, Target
from biasmir_utils.corrections import fit_correction, make_correction, parse_correction
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments import (
    compared_rows,
    damage,
    dataset_separability,
    dataset_shift,
    left_over,
    mean_gap,
    measure_corrections,
    probe,
    probe_scale,
    read_table,
)

# The probe


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
    (found,) = dataset_separability(X, domain, track, seed=3)
    rows = StandardScaler().fit_transform(X) / np.sqrt(X.shape[1])
    y = domain == "b"
    expected = []
    groups = np.unique(np.char.add(domain, track), return_inverse=True)[1]
    for train, test in StratifiedGroupKFold(5, shuffle=True, random_state=3).split(rows, y, groups):
        model = LogisticRegression(solver="liblinear", class_weight="balanced", tol=1e-8).fit(
            rows[train], y[train]
        )
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


def test_leaked_folds_read_the_track():
    # The dataset is not there, but clips of a track are nearly equal, and few rows, many features.
    X, domain, track = make(n=200, n_features=300, shift=0.0, within=0.95)
    by_track = dataset_separability(X, domain, track)[0].roc_auc
    leaked = dataset_separability(X, domain, track, leaked=True)[0].roc_auc
    assert by_track < 0.65
    assert leaked > 0.8


def test_twins_of_a_corpus_stay_in_one_fold(repository):
    corpus = Corpus.load(repository / "data" / "counterfactual")
    found = probe(corpus, "mfcc", n_permutations=0).iloc[0]
    clips = corpus.clips
    about = (corpus.embedding("mfcc"), clips["dataset"], clips["track"])
    paired = dataset_separability(*about, paired=True)[0]
    assert pd.isna(found["dataset"])
    assert found["roc_auc"] == pytest.approx(paired.roc_auc)
    # A track that all datasets share is one track.
    assert found["n_tracks"] == clips["track"].nunique()
    # A twin in the training folds is called by another dataset.
    assert found["roc_auc"] > dataset_separability(*about)[0].roc_auc + 0.01


def test_more_than_two_datasets_are_told_from_the_rest():
    X, domain, track = make(shift=0.0)
    # A dataset may have the name of the mean.
    domain = np.array(["(mean)", "b", "c"])[track % 3]
    X[:, 1] += 5.0 * (domain == "c")
    found = dataset_separability(X, domain, track, n_permutations=3)
    assert [one.dataset for one in found] == [None, "(mean)", "b", "c"]
    assert found[-1].roc_auc > 0.97
    assert found[1].roc_auc < 0.85
    mean = np.mean([one.fold_roc_auc for one in found[1:]], axis=0)
    np.testing.assert_allclose(found[0].fold_roc_auc, mean)
    assert found[0].chance_roc_auc.shape == (3,)


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


def test_a_corpus_is_probed_on_the_clips_that_have_all_embeddings(corpus):
    with pytest.warns(UserWarning, match=r"2 clip\(s\) of beta left out: they lack one of the emb"):
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
    assert (table["chance_min"] <= table["chance"]).all()


def test_a_probe_far_below_chance_is_explained(tiny_corpus, tmp_path):
    to_all = ["--embedding", "toy", "--correction", "leace", "--fit-split", "all"]
    run_command("correct", tiny_corpus, *to_all, "--out", tmp_path / "c")
    for corpus, said in ((tmp_path / "c", True), (tiny_corpus, False)):
        output = run_command("probe", corpus, "--embedding", "toy", "--permutations", 3)
        assert ("is below chance, which does not mean" in output) is said, output


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


@pytest.mark.parametrize(("n", "all_lost"), [(20, False), (2, True)])
def test_permutations_that_leave_a_fold_one_dataset_do_not_count(tiny_corpus, n, all_lost):
    table = pd.read_parquet(tiny_corpus / "clips.parquet")
    few = table["track"] < ("t0005" if all_lost else "t0010")
    table[few].reset_index(drop=True).to_parquet(tiny_corpus / "clips.parquet")
    command = ["probe", str(tiny_corpus), "--embedding", "toy", "--permutations", str(n)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    (note,) = (line for line in done.stderr.splitlines() if line.startswith("Note: "))
    assert note.startswith("Note: toy, linear probe, folds by track: in ")
    assert "permutations the clips of a fold are of one dataset only" in note
    assert note.endswith("(too few tracks)")
    assert ("so there is no chance" in note) == all_lost
    with pytest.warns(UserWarning, match="too few tracks"):
        table = probe(Corpus.load(tiny_corpus), "toy", n_permutations=n)
    assert np.isnan(table["chance"].iloc[0]) == all_lost


def test_the_embedding_that_cannot_be_probed_is_named(corpus):
    corpus = add_embedding(corpus, "flat", np.ones((len(corpus.clips), 3)))
    with pytest.raises(ArgumentError, match="embedding 'flat', rbf: the median distance"):
        probe(corpus, ["toy", "flat"], "rbf", n_permutations=0)


# What is left of a difference, and the damage done


D = 64


def two_datasets(n: int, seed: int, d: int = D, shift: float = 1.0):
    """Rows of two Gaussian datasets with one correlated covariance and other means."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(d, d)) / np.sqrt(d) + 0.5 * np.eye(d)
    delta = rng.normal(size=d) * shift
    rows = np.random.default_rng(seed).normal(size=(n, d)) @ mixing
    domain = np.repeat(["a", "b"], n // 2)
    return rows + np.outer(domain == "b", delta), domain


def test_squared_mmd_is_the_unbiased_formula():
    X, domain = two_datasets(40, seed=3, d=5)
    distances = squareform(pdist(X))
    sigma = np.median(pdist(X))
    K = np.exp(-(distances**2) / (2 * sigma**2))
    a, b = domain == "a", domain == "b"
    n, m = a.sum(), b.sum()
    inside = [
        sum(K[i, j] for i in np.flatnonzero(own) for j in np.flatnonzero(own) if i != j)
        for own in (a, b)
    ]
    expected = inside[0] / (n * (n - 1)) + inside[1] / (m * (m - 1)) - 2 * K[np.ix_(a, b)].mean()
    assert dataset_shift(X, domain)["mmd2"].value == pytest.approx(expected)
    assert dataset_shift(np.zeros((6, 2)), ["a", "b"] * 3)["mmd2"].value == 0
    # Of several clips a track the pairs of different tracks count.
    track = np.arange(40) // 2
    apart = track[:, np.newaxis] != track
    means = [K[np.ix_(own, own)][apart[np.ix_(own, own)]].mean() for own in (a, b)]
    found = dataset_shift(X, domain, track)["mmd2"].value
    assert found == pytest.approx(sum(means) - 2 * K[np.ix_(a, b)].mean())
    # Twins are clips of one track, too.
    track = np.tile(np.arange(20), 2)
    between = K[np.ix_(a, b)][~np.eye(20, dtype=bool)].mean()
    found = dataset_shift(X, domain, track, paired=True, n_permutations=200)["mmd2"]
    assert found.value == pytest.approx(expected + 2 * K[np.ix_(a, b)].mean() - 2 * between)
    assert abs(found.chance) < 0.1 * found.value


def test_chance_is_that_of_tracks_whatever_their_numbers_of_clips():
    """Of datasets without a difference: tracks of one clip against tracks of eight."""
    found = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        track = np.r_[np.arange(80), 80 + np.repeat(np.arange(40), 8)]
        X = rng.normal(size=(120, 10))[track] + 0.5 * rng.normal(size=(400, 10))
        domain = np.where(track < 80, "a", "b")
        measures = ["mean_gap", "mmd2"]
        shift = dataset_shift(X, domain, track, measures=measures, n_permutations=50, seed=seed)
        found.append([(one.value, one.chance) for one in shift.values()])
    (gap, chance), (mmd, by_chance) = np.mean(found, axis=0)
    assert chance == pytest.approx(gap, rel=0.12)
    assert abs(mmd - by_chance) < 0.003
    doubled = np.r_[np.arange(400), np.arange(80)]  # the same tracks with more clips
    again = mean_gap(X[doubled], domain[doubled], track[doubled])
    assert again == pytest.approx(mean_gap(X, domain, track))


def test_mean_gap_is_the_formula():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 3))
    domain = np.array(["a"] * 20 + ["b"] * 30)
    parts = [X[domain == name] for name in "ab"]
    within = sum(((part - part.mean(axis=0)) ** 2).sum() for part in parts) / 50
    expected = np.linalg.norm(parts[1].mean(axis=0) - parts[0].mean(axis=0)) / np.sqrt(within)
    assert mean_gap(X, domain) == pytest.approx(expected)
    assert mean_gap(np.ones((4, 2)), ["a", "a", "b", "b"]) == 0


def test_damage_of_a_projection_on_an_axis():
    X = np.random.default_rng(0).normal(size=(1000, 4)) * [3, 1, 1, 1] + [5, 0, 0, 0]
    after = X.copy()
    after[:, 0] = 0
    found = damage(X, after, rank=1)
    total = X.var(axis=0).sum()
    told = {name: (one.value, one.control) for name, one in found.items()}
    # What lies along the axis, but not the mean, which all rows lose alike.
    assert told["variance_moved"] == pytest.approx((X[:, 0].var() / total, 0.25))
    assert told["variance_kept"] == pytest.approx((1 - X[:, 0].var() / total, 0.75))
    assert told["rank"][0] == 1
    shifted = damage(X, X + 2, rank=0)
    assert shifted["variance_moved"].value == pytest.approx(0)
    assert shifted["variance_kept"].value == pytest.approx(1)
    assert np.isnan(shifted["variance_moved"].control)
    # Half of the way: a quarter of the variance moves, and three quarters of it are gone.
    half = damage(X, (X + after) / 2, rank=1, alpha=0.5)
    moved, kept = half["variance_moved"], half["variance_kept"]
    assert (moved.value, moved.control) == pytest.approx((X[:, 0].var() / total / 4, 0.25 / 4))
    share = 0.75 * X[:, 0].var() / total
    assert (kept.value, kept.control) == pytest.approx((1 - share, 1 - 0.75 / 4))
    assert np.isnan(damage(np.ones((3, 2)), np.ones((3, 2)), 0)["variance_moved"].value)


def test_only_the_rbf_probe_sees_a_difference_of_spread():
    X = np.random.default_rng(0).normal(size=(300, 4))
    domain = np.repeat(["a", "b"], 150)
    X[domain == "b"] *= 3
    found = dataset_shift(X, domain)
    assert found["linear_probe"].value < 0.65
    assert found["rbf_probe"].value > 0.85


def test_twins_do_not_push_the_probes_below_chance():
    """The same tracks in both datasets: what a track holds tells nothing of the dataset."""
    rng = np.random.default_rng(0)
    pieces = 3 * rng.normal(size=(60, 40))
    X = np.vstack([pieces, pieces + 0.1 * rng.normal(size=(60, 40))])
    domain, track = np.repeat(["a", "b"], 60), np.tile([f"t{i}" for i in range(60)], 2)
    shift = np.outer(domain == "b", rng.normal(size=40))

    def probed(rows, paired):
        found = dataset_shift(rows, domain, track, n_permutations=20, paired=paired, seed=1)
        return found["linear_probe"]

    # Taken for different tracks, a twin in the training folds is called by the wrong dataset.
    assert probed(X, False).value < 0.4
    paired = probed(X, True)
    assert abs(paired.value - 0.5) < 0.1
    assert abs(paired.chance - 0.5) < 0.1
    # Datasets are swapped within tracks: as little is between them as between twins.
    gap = dataset_shift(X, domain, track, measures=["mean_gap"], n_permutations=20, paired=True)
    assert gap["mean_gap"].chance_high < 0.02
    found = probed(X + shift, True)
    assert found.value > found.chance_high
    assert found.value > probed(X + shift, False).value


@pytest.mark.parametrize(
    ("of_a", "of_b", "compared"),
    [
        (range(90), range(30), 30),  # b is a new recording of a third of a
        (range(60), range(58, 118), 118),  # too few twins: tracks as any others
    ],
)
def test_chance_is_chance_where_not_all_tracks_have_a_twin(of_a, of_b, compared):
    domain = np.repeat(["a", "b"], [len(of_a), len(of_b)])
    track = np.array([f"t{i}" for i in (*of_a, *of_b)])
    kept, twins = compared_rows(domain, track)
    assert len(np.unique(track[kept])) == compared
    assert twins != kept.all()
    chance = []
    for seed in range(3):
        X = np.random.default_rng(seed).normal(size=(len(track), 10))
        X += 1.5 * (domain == "b")[:, np.newaxis]
        found = dataset_shift(X, domain, track, n_permutations=10, paired=True, seed=seed)
        assert found["linear_probe"].value > 0.95
        chance.append([found["linear_probe"].chance, found["rbf_probe"].chance])
        alone = dataset_shift(
            *(X[kept], domain[kept], track[kept]), n_permutations=10, paired=True, seed=seed
        )
        np.testing.assert_equal(found, alone)
    np.testing.assert_allclose(np.mean(chance, axis=0), 0.5, atol=0.05)


def test_tracks_of_one_name_are_different_unless_told_otherwise():
    X, domain = two_datasets(200, seed=2, d=8)
    numbered = np.tile(np.arange(50), 4)
    apart = np.array([f"{d}/{t}" for d, t in zip(domain, numbered, strict=True)])
    alike, known = (dataset_shift(X, domain, t, n_permutations=3) for t in (numbered, apart))
    np.testing.assert_equal(alike, known)
    paired = dataset_shift(X, domain, numbered, n_permutations=3, paired=True)
    assert paired["mean_gap"].chance != known["mean_gap"].chance


def test_a_probe_needs_as_many_tracks_as_folds():
    X, domain = two_datasets(12, seed=2, d=4)
    found = dataset_shift(X, domain, ["same"] * 12)
    assert np.isnan(found["linear_probe"].value)
    assert np.isnan(found["mmd2"].value)
    assert np.isfinite(found["mean_gap"].value)


def test_two_datasets_are_needed():
    with pytest.raises(ArgumentError, match="two datasets"):
        dataset_shift(np.eye(3), ["a", "b", "c"])
    with pytest.raises(ArgumentError, match="two datasets"):
        mean_gap(np.eye(3), ["a", "a", "a"])


def test_silent_features_do_not_show_the_dataset_after_a_correction():
    """A feature that hardly varies gets a trace of the domain from any thin map."""
    rng = np.random.default_rng(0)
    X, domain = two_datasets(600, seed=2, d=8, shift=0.15)
    X = np.column_stack([X, 1e-6 * rng.normal(size=(600, 40))])
    traces = X.copy()
    traces[:, 8:] += 1e-4 * (domain == "b")[:, np.newaxis]
    before = dataset_shift(X, domain)["linear_probe"].value
    after = dataset_shift(traces, domain, scale=probe_scale(X))["linear_probe"].value
    assert before < 0.99
    assert after == pytest.approx(before, abs=0.01)
    # In units of their own spread they would give the dataset away.
    own = dataset_shift(traces, domain, scale=traces.std(axis=0))["linear_probe"].value
    assert own > 0.999


# Corrections measured on test clips

SEED = 42


def clips_of(name: str, tracks: list[str], n_train: int = 0, shared: bool = False):
    """A dataset of training clips, and a test clip for each of some tracks."""
    return SimpleNamespace(
        name=name,
        tracks=np.array([*(f"train{i}" for i in range(n_train)), *tracks], dtype=object),
        is_train=np.arange(n_train + len(tracks)) < n_train,
        shared_tracks=shared,
    )


class Recorder:
    """A correction that changes nothing and keeps the rows that it is asked about."""

    alpha = 1.0

    def transform(self, X, sample_domain):
        self.rows = X
        return X


# Corrections apply to the embedding itself.
SPACE = SimpleNamespace(depends_on_side=False, test=lambda X, side: X)


def judged(pair, X, corrections=("none",)):
    """What is told of corrections that are fitted on the training rows."""
    train = [rows[clips.is_train] for clips, rows in zip(pair, X, strict=True)]
    domain = np.repeat([clips.name for clips in pair], [len(rows) for rows in train])
    fitted = {}
    for text in corrections:
        spec = parse_correction(text)
        made = None
        if spec.corrects:
            made = make_correction(spec).fit(np.concatenate(train), sample_domain=domain)
        fitted[spec, "global"] = made
    found = {}
    for (spec, _), row in measure_corrections(SPACE, fitted, pair, X, SEED, "piano"):
        found[str(spec), row["measure"]] = row
    return found


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def judged_rows(clips, seed: int = SEED) -> np.ndarray:
    """The positions of the clips of a dataset that are judged, all of them test clips."""
    other, recorder = clips_of("b", [f"u{i}" for i in range(20)]), Recorder()
    X = np.arange(len(clips.tracks), dtype=float)[:, np.newaxis] + normal(0, 1, 3) / 10
    list(measure_corrections(SPACE, {"": recorder}, [clips, other], [X, normal(1, 20, 3)], seed))
    return np.round(recorder.rows[:-20, 0]).astype(int)


def test_of_many_clips_whole_tracks_are_judged():
    few = clips_of("a", ["t", "u", "v", "w", "x", "y"] * 2, n_train=5)
    np.testing.assert_array_equal(judged_rows(few), np.arange(5, 17))
    many = clips_of("a", [f"t{i // 7}" for i in range(700)], n_train=10)
    chosen = judged_rows(many)
    assert len(chosen) == 294
    assert chosen.min() >= 10
    _, counts = np.unique(many.tracks[chosen].astype(str), return_counts=True)
    assert (counts == 7).all()
    np.testing.assert_array_equal(judged_rows(many), chosen)
    assert set(judged_rows(many, seed=1)) != set(chosen)


@pytest.mark.parametrize("n", [8, 250])
def test_of_datasets_with_the_same_tracks_the_same_ones_are_judged(n):
    """However many clips each has of a track, and whatever else it has."""
    few, many = [f"t{i}" for i in range(n)], [f"t{i // 2}" for i in range(900)]
    pair = [clips_of("a", few, shared=True), clips_of("b", many, shared=True)]
    signal = normal(0, 450, 3)
    X = [signal[:n], np.repeat(signal, 2, axis=0)]
    found = judged(pair, X)
    # Equal rows of equal tracks: as near as can be.
    assert found["none", "mean_gap"]["value"] == pytest.approx(0, abs=1e-12)


@pytest.fixture(scope="module")
def two():
    """Two datasets far apart, and what is told of corrections of them."""
    names = [[f"t{i // 2}" for i in range(60)]] * 2
    pair = [clips_of(name, own, n_train=80) for name, own in zip("ab", names, strict=True)]
    X = [normal(2, 140, 6), normal(3, 140, 6) + np.array([3, 1, 0, 0, 0, 0])]
    corrections = [
        "none",
        "lda",
        "leace",
        "center",
        "random:rank=3",
        "leace:alpha=0.5",
        "lda:alpha=0",
    ]
    return pair, X, judged(pair, X, corrections)


def test_rank_and_controls_are_those_of_each_correction(two):
    found = two[2]
    told = {
        name: (row["value"], found[name, "variance_moved"]["control"])
        for (name, measure), row in found.items()
        if measure == "rank"
    }
    expected = {"none": 0, "lda": 1, "leace": 1, "center": 0, "random:rank=3": 3}
    expected |= {"leace:alpha=0.5": 1, "lda:alpha=0": 0}
    for name, rank in expected.items():
        dose = 0.25 if "0.5" in name else 1
        control = dose * rank / 6 if rank else np.nan
        assert told[name] == pytest.approx((rank, control), nan_ok=True), name
    kept = found["leace:alpha=0.5", "variance_kept"]
    assert kept["control"] == pytest.approx(1 - 0.75 / 6)


def test_chance_is_that_of_the_corrected_rows_but_for_the_probes(two):
    pair, X, found = two
    domain, track = np.repeat(["a", "b"], 60), np.concatenate([c.tracks[80:] for c in pair])
    before, train = (
        np.concatenate([rows[part] for rows in X]) for part in (np.s_[80:], np.s_[:80])
    )
    leace = make_correction("leace").fit(train, sample_domain=np.repeat(["a", "b"], 80))
    probes, distances = ["linear_probe", "rbf_probe"], ["mean_gap", "mmd2"]

    def shift(rows, measures, n, seed):
        return dataset_shift(
            *(rows, domain, track),
            measures=measures,
            n_permutations=n,
            scale=probe_scale(before),
            seed=seed,
        )

    for name, rows in (("none", before), ("leace", leace.transform(before))):
        own = shift(rows, probes, 0, SEED) | shift(rows, distances, 100, [SEED, *b"piano"])
        chance = own | shift(before, probes, 10, SEED)
        for measure, one in own.items():
            row = found[name, measure]
            assert row["value"] == one.value
            assert (row["chance"], row["chance_high"]) == chance[measure][1:3]
            assert row["chance"] < row["chance_high"]


# On the clips of a fit, and on others

N, WIDTH = 240, 6


@pytest.fixture(scope="module")
def shifted(tmp_path_factory) -> Corpus:
    """Two datasets that are shifted apart; the last dimension is silent but for two clips."""
    rng = np.random.default_rng(0)
    split = np.where(np.arange(N) % 3 == 0, "test", "train")
    parts, features = [], []
    for number, dataset in enumerate("ab"):
        clip = [f"{dataset}{i}" for i in range(N)]
        cello = rng.integers(0, 2, N).astype(float)
        about = {"dataset": dataset, "clip": clip, "track": clip, "split": split, "cello": cello}
        parts.append(pd.DataFrame(about))
        X = rng.normal(size=(N, WIDTH)) * np.linspace(1, 3, WIDTH) + 2.0 * number
        X[np.arange(N) % 10 > 0, 0] = 0.0  # silent in nine clips of ten: too few to be quiet
        X[:, -1] = 0.0
        X[np.flatnonzero(split == "train")[:2], -1] = 5.0 * number
        features.append(X.astype(np.float32))
    about = {"name": "toy", "title": "Toy", "datasets": ["a", "b"], "groups": []}
    writer = CorpusWriter(
        tmp_path_factory.mktemp("left_over"), **about, targets=[Target("cello", "label")]
    )
    corpus = writer.write(pd.concat(parts, ignore_index=True))
    return add_embedding(corpus, "toy", np.concatenate(features))


def test_gaps_are_those_of_the_corrected_clips(shifted):
    table = left_over(shifted, "toy", ["none", "leace"]).set_index("correction")
    clips = shifted.clips
    train, domain = (clips["split"] == "train").to_numpy(), clips["dataset"].to_numpy(str)
    X = shifted.embedding("toy").astype(float)
    after = make_correction("leace").fit(X[train], sample_domain=domain[train]).transform(X)
    assert table.loc["none", "fresh_gap"] == pytest.approx(mean_gap(X[~train], domain[~train]))
    assert table.loc["leace", "fresh_gap"] == pytest.approx(mean_gap(after[~train], domain[~train]))
    assert table.loc["leace", "fitted_gap"] == pytest.approx(0, abs=1e-9)
    assert table.loc["none", "fitted_gap"] > 0.5
    assert table["clips"].eq(train.sum()).all()
    rng = np.random.default_rng(7)
    for name, fresh in (("none", X[~train]), ("leace", after[~train])):
        drawn = [mean_gap(fresh, rng.permutation(domain[~train])) for _ in range(300)]
        # The mean of 20 permutations against that of 300.
        error = np.std(drawn) * np.sqrt(1 / 20 + 1 / 300)
        assert table.loc[name, "chance_gap"] == pytest.approx(np.mean(drawn), abs=3 * error)
        assert np.mean(drawn) > 5 * error


def test_a_quiet_dimension_tells_the_dataset_after_centring(shifted):
    with_it = left_over(shifted, "toy", ["center"])
    without = left_over(shifted, "toy", ["center"], without_quiet=True)
    assert (with_it["dimensions"].item(), without["dimensions"].item()) == (WIDTH, WIDTH - 1)
    assert with_it["fresh_probe"].item() > 0.95
    assert without["fresh_probe"].item() < 0.75


def test_the_seed_decides_of_the_clips_and_of_a_random_subspace(shifted):
    def fresh(name, seed, sizes=()):
        return left_over(shifted, "toy", name, sizes=sizes, seed=seed)["fresh_gap"].item()

    assert fresh("lda", 1, [40]) != fresh("lda", 2, [40])
    assert fresh("random", 1) == fresh("random", 1) != fresh("random", 2)
    assert fresh("random:random_state=1", 2) == pytest.approx(fresh("random", 1))


def test_too_large_a_size_is_refused(shifted):
    with pytest.raises(ArgumentError, match="there are 320 training clips"):
        left_over(shifted, "toy", "lda", sizes=[321])


def test_what_a_placebo_leaves_is_that_of_whole_tracks_permuted(shifted, monkeypatch):
    clips = shifted.clips
    monkeypatch.setitem(clips, "track", clips["track"].str[:-1])  # longer ones
    train = np.random.default_rng(0).permutation(np.flatnonzero(clips["split"] == "train"))
    X, domain = shifted.embedding("toy").astype(float), clips["dataset"].to_numpy(str)
    told = {"sample_domain": domain[train], "sample_track": clips["track"].to_numpy(str)[train]}
    seen = fit_correction("placebo:leace", X[train], **told, draw=0).transform(X[train])
    found = left_over(shifted, "toy", "placebo:leace")["fitted_gap"].item()
    assert found == pytest.approx(mean_gap(seen, domain[train]))
