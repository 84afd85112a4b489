"""Draws of tracks and labels, intervals, and tests: against their definitions."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata, wilcoxon

from biasmir_utils.corpus import Corpus
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments import (
    KEY_COLUMNS,
    SCORE_COLUMNS,
    Draws,
    TrackDraws,
    bootstrap_scores,
    changes,
    evaluate,
    falls,
    holm,
    interval_over_labels,
    mean_over_labels,
    paired_wilcoxon,
    refit_scores,
    roc_auc,
    small_sample_stretch,
    smallest_p,
    with_intervals,
)

KEYS = list(KEY_COLUMNS)


def score_table(n_tracks=40, clips_per_track=1, spread=1.0, seed=0, **key) -> pd.DataFrame:
    """Scores of one recogniser on one test set; clips of a track are copies of each other."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n_tracks) < 0.4).astype(int)
    y[:2] = [0, 1]
    score = rng.normal(0, 1, n_tracks) + spread * y
    table = pd.DataFrame(
        {
            "corpus": "c",
            "embedding": "e",
            "correction": "none",
            "mode": "none",
            "alpha": np.nan,
            "label": "piano",
            "train_set": "a",
            "test_set": "a",
            "partner": "b",
            "recogniser": "logistic",
            "seed": 42,
            "clip": [f"c{i}" for i in range(n_tracks)],
            "track": [f"t{i}" for i in range(n_tracks)],
            "group": None,
            "y_true": y,
            "score": score,
            "probability": 1 / (1 + np.exp(-score)),
        }
    ).assign(**key)
    assert tuple(table) == SCORE_COLUMNS
    return table.loc[table.index.repeat(clips_per_track)].reset_index(drop=True)


@pytest.fixture(scope="module")
def evaluation(_tiny_corpus_original):
    corpus = Corpus.load(_tiny_corpus_original)
    return evaluate(corpus, ["toy", "toy2"], ["none", "lda", "mlda"], jobs=1, scores=True)


def test_replicates_are_the_metric_of_the_drawn_tracks():
    table = score_table(n_tracks=25, clips_per_track=2)
    found = bootstrap_scores(table, n_replicates=20, seed=3).replicates[0]
    # The same draws, by hand: a generator for each test set.
    rng = np.random.default_rng([3, *b"a"])
    counts = rng.multinomial(25, np.full(25, 1 / 25), size=20)
    names = sorted(set(table["track"]))
    for value, drawn in zip(found, counts, strict=True):
        repeated = pd.concat(
            [table[table["track"] == name] for name, n in zip(names, drawn, strict=True)
             for _ in range(n)]
        )  # fmt: skip
        assert value == pytest.approx(roc_auc(repeated["y_true"], repeated["score"]))


def test_estimates_are_those_of_the_results(evaluation):
    boot = bootstrap_scores(evaluation.scores, n_replicates=50)
    cells = boot.cells.merge(evaluation.results, on=KEYS, validate="one_to_one")
    assert len(cells) == len(evaluation.results) == len(boot.cells)
    np.testing.assert_allclose(cells["value"], cells["roc_auc"])

    table = falls(evaluation.results)
    own = boot.falls().cells.merge(table, on=[k for k in KEYS if k != "partner"])
    assert len(own) == len(table)
    np.testing.assert_allclose(own["value"], own["fall"])

    table = changes(evaluation.results)
    own = boot.changes().cells.merge(table, on=KEYS, validate="one_to_one")
    assert len(own) == len(table) == 2 * 2 * 2 * 4
    np.testing.assert_allclose(own["value"], own["change"])

    means = mean_over_labels(evaluation.results)
    own = boot.mean_over().where(embedding="toy2", correction="mlda", train_set="beta")
    for test_set, value in zip(own.cells["test_set"], own.cells["value"], strict=True):
        row = means.loc[("toy2", "mlda", "global", 1.0)]
        assert value == pytest.approx(row["beta", test_set])


def test_differences_are_paired():
    one = score_table(embedding="one")
    # The same ranking, so the same ROC-AUC in every draw.
    two = one.assign(embedding="two", score=3 * one["score"] - 1)
    corrected = two.assign(correction="lda", mode="global", alpha=1.0, embedding="one")
    boot = bootstrap_scores(pd.concat([one, two, corrected], ignore_index=True), n_replicates=100)
    change = boot.changes()
    assert len(change.cells) == 1
    assert change.cells["correction"].tolist() == ["lda"]
    np.testing.assert_allclose(change.replicates, 0, atol=1e-12)
    assert boot.replicates.std() > 0.01


def test_draws_do_not_depend_on_the_order_nor_on_other_rows():
    table = pd.concat([score_table(), score_table(seed=5, test_set="z")], ignore_index=True)
    whole = bootstrap_scores(table, n_replicates=50).where(test_set="a")
    shuffled = bootstrap_scores(score_table().sample(frac=1, random_state=0), n_replicates=50)
    np.testing.assert_allclose(whole.replicates, shuffled.replicates)
    other = bootstrap_scores(table, n_replicates=50, seed=1).where(test_set="a")
    assert (other.replicates != whole.replicates).any()


def test_tracks_are_drawn_whole_and_subsets_share_the_draws():
    tracks = {"a": ["s", "s", "t", "u"], "b": ["t", "u", "v"]}
    draws = TrackDraws(tracks, 50, seed=3)
    whole = draws.weights("a", tracks["a"])
    assert (whole[0] == 1).all()
    assert (whole[:, 0] == whole[:, 1]).all()
    assert (whole[:, 1:].sum(axis=1) == 3).all()
    np.testing.assert_array_equal(draws.weights("a", ["u", "s"]), whole[:, [3, 0]])
    assert (draws.weights("b", ["t"]) != whole[:, [2]]).any()
    shared = TrackDraws(tracks, 50, seed=3, shared=True)
    np.testing.assert_array_equal(shared.weights("b", ["t", "u"]), shared.weights("a", ["t", "u"]))


def test_intervals_hold_the_estimate_and_narrow_with_more_tracks():
    widths = []
    for n_tracks in (60, 960):
        row = bootstrap_scores(score_table(n_tracks=n_tracks)).intervals().iloc[0]
        assert row["low"] < row["value"] < row["high"]
        assert row["undefined"] == 0
        widths.append(row["high"] - row["low"])
    assert widths[1] < widths[0] / 2.5
    boot = bootstrap_scores(score_table())
    inner, outer = boot.intervals(0.5).iloc[0], boot.intervals(0.99).iloc[0]
    assert outer["low"] < inner["low"] < inner["high"] < outer["high"]


def test_draws_without_a_positive_clip_are_counted():
    table = score_table(n_tracks=30)
    table["y_true"] = 0
    table.loc[3, "y_true"] = 1
    row = bootstrap_scores(table, n_replicates=2000).intervals().iloc[0]
    # The one positive track is missed with probability (1 - 1/30)^30.
    assert row["undefined"] == pytest.approx((29 / 30) ** 30, abs=0.04)
    assert np.isnan([row["low"], row["high"]]).all()  # the interval would be far too narrow
    for number, is_given in ((3, False), (9, True)):
        table["y_true"] = table["track"].isin(table["track"].unique()[:number]).astype(int)
        row = bootstrap_scores(table).intervals().iloc[0]
        assert np.isfinite([row["low"], row["high"]]).all() == is_given
    table["y_true"] = (np.arange(len(table)) == 3).astype(int)
    other = score_table(label="voice")
    both = bootstrap_scores(pd.concat([table, other], ignore_index=True), n_replicates=500)
    assert not np.isnan(both.mean_over().replicates).any()


def test_an_interval_over_labels_is_that_of_the_mean_over_labels():
    rng = np.random.default_rng(0)
    values = rng.normal(0.05, 0.02, 10)
    table = pd.DataFrame(
        {
            "embedding": ["x"] * 10 + ["y"] * 10,
            "label": [f"l{i}" for i in range(10)] * 2,
            "change": [*values, *([0.3] * 10)],
        }
    )
    found = interval_over_labels(table, "change")
    assert found["n_labels"].tolist() == [10, 10]
    assert found["mean"].tolist() == pytest.approx([values.mean(), 0.3])
    assert found.loc[1, ["low", "high"]].tolist() == pytest.approx([0.3, 0.3])
    # Close to Student's interval, as it should be for values from a normal distribution.
    half = 2.262 * values.std(ddof=1) / np.sqrt(10)
    assert found.loc[0, "low"] == pytest.approx(values.mean() - half, abs=0.003)
    assert found.loc[0, "high"] == pytest.approx(values.mean() + half, abs=0.003)


@pytest.mark.parametrize("n", [2, 5])
def test_the_interval_of_a_mean_covers_it_as_often_as_it_says(n):
    drawn = pd.DataFrame(np.random.default_rng(n).normal(size=(600, n)))
    table = drawn.stack().rename_axis(["embedding", "label"]).rename("change").reset_index()
    intervals = interval_over_labels(table, "change", n_replicates=400)
    covered = (intervals["low"] <= 0) & (intervals["high"] >= 0)
    # Three standard errors of the count are 0.027; plain percentiles cover 0.49 to 0.90.
    assert 0.91 <= covered.mean() <= 0.98


def test_the_interval_of_a_mean_follows_level_and_skewness():
    values = np.random.default_rng(0).exponential(size=12)
    table = pd.DataFrame({"embedding": "x", "label": range(12), "change": values})
    narrow, wide = (
        interval_over_labels(table, "change", level=level).iloc[0] for level in (0.5, 0.95)
    )
    assert wide["low"] < narrow["low"] < values.mean() < narrow["high"] < wide["high"]
    assert wide["high"] - values.mean() > 1.05 * (values.mean() - wide["low"])
    # By how much is a matter of the number of values only.
    assert small_sample_stretch(2) == pytest.approx(12.706 / 1.960 * 2**0.5, rel=1e-3)
    assert small_sample_stretch(10, 0.9) == pytest.approx(1.833 / 1.645 * (10 / 9) ** 0.5, rel=1e-3)
    assert small_sample_stretch(10_000) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda t: bootstrap_scores(t.drop(columns="track")), "lacks the column 'track'"),
        (lambda t: bootstrap_scores(t, "f2"), "metric 'f2': expected one of roc_auc"),
        (lambda t: bootstrap_scores(t, n_replicates=0), "at least 1"),
        (lambda t: bootstrap_scores(t).intervals(1.5), "between 0 and 1"),
        (lambda t: bootstrap_scores(t).where(colour="red"), "no column 'colour'; there are corp"),
        (lambda t: bootstrap_scores(t).mean_over("value"), "no column 'value'"),
        (lambda t: bootstrap_scores(t).changes("lda"), "no correction 'lda'; it has none"),
        (lambda t: refit_scores(None, None, n_refits=5), "an even number from 4 on, found 5"),
        (lambda t: refit_scores(None, None, n_seeds=1), "n_seeds must be at least 2, found 1"),
        (lambda t: interval_over_labels(t, "fall"), "lacks the column 'fall'"),
    ],
)
def test_what_cannot_be_done(call, told):
    with pytest.raises(ArgumentError, match=told):
        call(score_table())


def test_changes_need_one_baseline(evaluation):
    results = evaluation.results
    with pytest.raises(ArgumentError, match="no correction 'k'; it has none, lda, mlda"):
        changes(results, "k")
    both = pd.concat([results, results.assign(mode="classwise")])
    with pytest.raises(ArgumentError, match="several modes or doses"):
        changes(both, "lda")
    with pytest.raises(ArgumentError, match="in-domain rows are there more than once"):
        falls(pd.concat([results, results]))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1, 0.05, 1.95]),  # moved by the bias of the replicates
        ({"bounds": {"q": (0.5, 1.0)}}, [1, 0.5, 1.0]),
        ({"bounds": {"q": (0.0, 0.9)}}, [0.9, 0.05, 0.9]),
        ({"centred": False}, [1, 1.05, 2.95]),
    ],
)
def test_intervals_of_a_statistic(options, expected):
    values = np.concatenate([[1.0], np.linspace(1, 3, 1001)])
    row = with_intervals({"q": values}, **options).iloc[0]
    assert row[["value", "low", "high"]].tolist() == pytest.approx(expected)
    # Of 1,001 draws ten may lack a value, eleven may not.
    for n_lost, is_given in ((10, True), (11, False)):
        values[1 : 1 + n_lost] = np.nan
        row = with_intervals({"q": values}, **options).iloc[0]
        assert np.isfinite(row[["low", "high"]].tolist()).all() == is_given
    assert np.isfinite(row["value"])
    assert with_intervals({"q": np.r_[np.nan, values[20:]]}).isna()["low"].all()


def test_everything_is_fitted_anew_to_halves_of_the_training_tracks(corpus):
    seen, own = [], score_table(n_tracks=30)

    def run(part, seed):
        seen.append((part.clips, seed))
        lost = own.assign(label="voice")[: 0 if len(seen) == 3 else None]
        return pd.concat([own, lost], ignore_index=True).assign(seed=seed)

    found = refit_scores(corpus, run, n_refits=8, n_replicates=200, seed=5, n_seeds=2)
    (whole, first), *halves = seen[:9]
    assert first == 5
    assert len({seed for _, seed in seen}) == len(seen) == 11
    for again, _ in (seen[0], *seen[9:]):
        pd.testing.assert_frame_equal(again, corpus.clips)
    train = whole["split"] == "train"
    drawn = [set(half.loc[half["split"] == "train", "clip"]) for half, _ in halves]
    assert len(set(map(frozenset, drawn))) == 8
    for one, other in zip(halves[::2], halves[1::2], strict=True):
        parts = [half[half["split"] == "train"] for half, _ in (one, other)]
        again = pd.concat(parts).sort_values(["dataset", "clip"], ignore_index=True)
        pd.testing.assert_frame_equal(
            again, whole[train].sort_values(["dataset", "clip"], ignore_index=True)
        )
        sizes = [part.groupby("dataset")["track"].nunique() for part in parts]
        assert ((sizes[0] - sizes[1]).abs() <= 1).all()
        for half, _ in (one, other):
            tested = half[half["split"] == "test"].reset_index(drop=True)
            pd.testing.assert_frame_equal(tested, whole[~train].reset_index(drop=True))
    # Recognisers that no training clip changes: what is left is what the test tracks draw.
    rows = found.intervals().set_index("label")
    plain = bootstrap_scores(own, n_replicates=200, seed=5).intervals().iloc[0]
    columns = ["value", "low", "high"]
    assert rows.loc["piano", columns].tolist() == pytest.approx(plain[columns].tolist())
    # The label that one of the halves does not have: it gives no mean over both labels either,
    # while a draw of the tracks without a value is left out of the mean.
    assert rows.loc["voice", ["low", "high"]].isna().all()
    mean = found.mean_over("label")
    assert mean.cells["value"].notna().all()
    assert np.isnan(mean.halves).tolist() == [[False, True] + 6 * [False]]
    assert mean.intervals()[["low", "high"]].isna().all(axis=None)
    found.replicates[0, 0] = np.nan
    assert found.mean_over("label").replicates[0, 0] == found.replicates[1, 0]


@pytest.mark.parametrize(("pairs", "n"), [(0, 8), (2, 20)])
def test_what_refits_add_is_the_variance_of_the_first_and_second_order(pairs, n):
    """It is unbiased; what two halves differ by would be too much with pairs, by 1.3 here."""
    rng, found, zero = np.random.default_rng(pairs), [], pd.DataFrame({"value": [0.0]})

    def statistic(rows):
        m = len(rows)
        of_pairs = (rows.sum() ** 2 - (rows**2).sum()) / (m * (m - 1))
        return rows.mean() + pairs * of_pairs

    for _ in range(600):
        x = rng.normal(size=n)
        dealt = [half for _ in range(10) for half in rng.permutation(x).reshape(2, -1)]
        draws = Draws(zero, np.zeros((1, 9)), np.empty((1, 20)), np.zeros((1, 4)))
        draws.halves[0] = [statistic(half) for half in dealt]
        row = draws.intervals().iloc[0]
        assert row["low"] == -row["high"]
        found.append(row["high"] ** 2)
    # The variance, times the square of Student's t with 9 degrees of freedom.
    expected = 2.262157**2 * (1 / n + pairs**2 * 2 / (n * (n - 1)))
    assert np.mean(found) == pytest.approx(expected, rel=0.15)


def test_what_seeds_change_is_in_the_intervals_of_a_method():
    """A figure that is nothing but the luck of its seed: intervals hold its mean, which is 0."""
    rng, n = np.random.default_rng(0), 1500
    value, halves, seeds = np.split(rng.normal(size=(n, 46)), [1, 41], axis=1)
    draws = Draws(pd.DataFrame({"value": value[:, 0]}), np.repeat(value, 9, axis=1), halves, seeds)
    rows = draws.intervals()
    width = rows["high"] - rows["value"]
    assert 0.93 < ((rows["low"] < 0) & (rows["high"] > 0)).mean() < 0.98
    # The variance of a single seed, times the square of Student's t with 4 degrees of freedom.
    assert (width**2).mean() == pytest.approx(2.776445**2, rel=0.1)
    # Without the seeds, that luck is in what halves differ by, and in their mean, alike.
    calm = replace(draws, seeds=np.repeat(value, 5, axis=1)).intervals()
    assert ((calm["high"] - calm["value"]) ** 2).mean() < 0.1 * (width**2).mean()


def test_intervals_of_a_method_are_wider_and_end_where_the_metric_does():
    cells = pd.DataFrame({"value": [0.99, 0.99, 0.5]})
    drawn = np.linspace([0.97, 0.95, 0.5], [1.0, 0.98, 0.5], 1001, axis=1)
    draws = Draws(cells, drawn, bounds=(0.0, 1.0))
    plain = draws.intervals()
    for spread in (0.0, 0.001, 0.03):
        halves = np.tile([0.5 + spread, 0.5 - spread], (3, 10))
        wide = replace(draws, halves=halves, seeds=np.tile(cells, 4)).intervals()
        if spread:
            assert (wide["low"] < plain["low"]).all()
            assert ((wide["high"] > plain["high"]) | (wide["high"] == 1)).all()
        else:  # also where the value lies outside
            np.testing.assert_allclose(wide, plain)
    assert wide["high"].tolist() == pytest.approx([1, 1, 0.5 + spread * 2.262157])


def test_the_range_of_draws_is_that_of_the_metric():
    both = [score_table(correction=name) for name in ("none", "lda")]
    draws = bootstrap_scores(pd.concat(both, ignore_index=True), n_replicates=3)
    assert draws.mean_over("label").bounds == (0, 1)
    assert draws.changes("lda").mean_over("label").bounds == (-1, 1)


def test_the_worst_label_has_no_interval_where_a_label_has_too_few_tracks(corpus):
    clips = corpus.clips
    tested = (clips["split"] == "test").to_numpy()
    chosen = np.isin(clips["track"], clips["track"][tested].unique()[:3])
    clips.loc[tested, "voice"] = chosen[tested].astype(float)
    report = evaluate(corpus, "toy", "center", report=True, jobs=1).report
    task = report.task.query("metric == 'roc_auc' and where != 'pooled'")
    assert task["value"].notna().all()
    given = task.fillna({"label": task["statistic"]}).groupby("label")["low"].agg(["count", "size"])
    assert given["count"].to_dict() == {"mean": 8, "piano": 8, "voice": 0, "worst": 0}
    change = report.changes.query("metric == 'roc_auc' and where == 'across'").iloc[0]
    assert change[["worst_low", "worst_high"]].isna().all()
    assert change[["worst_change", "low", "high"]].notna().all()


# Tests over labels


def by_enumeration(values: np.ndarray) -> float:
    """The two-sided p-value from all signs that the differences could have."""
    ranks = rankdata(np.abs(values))
    reached = ranks[values > 0].sum()
    sums = np.array([ranks @ s for s in itertools.product([0, 1], repeat=len(values))])
    return min(1.0, 2 * min((sums <= reached).mean(), (sums >= reached).mean()))


@pytest.mark.parametrize("seed", range(5))
def test_the_p_value_is_that_of_all_possible_signs(seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(0.5, 1, 9)
    assert paired_wilcoxon(values) == pytest.approx(by_enumeration(values))
    assert paired_wilcoxon(values) == pytest.approx(wilcoxon(values, method="exact").pvalue)
    tied = np.round(values, 0)
    tied = tied[tied != 0]
    assert paired_wilcoxon(tied) == pytest.approx(by_enumeration(tied))


def test_many_pairs_are_approximated():
    values = np.random.default_rng(0).normal(0.2, 1, 80)
    assert paired_wilcoxon(values) == wilcoxon(values, method="approx").pvalue


def test_zeros_and_missing_differences_do_not_count():
    assert paired_wilcoxon([0.1, 0.2, -0.3, 0.0, np.nan]) == paired_wilcoxon([0.1, 0.2, -0.3])
    assert paired_wilcoxon([0.0, 0.0]) == 1.0
    assert np.isnan(paired_wilcoxon([np.nan]))


def test_the_smallest_p_is_reached_when_all_labels_agree():
    for n in (1, 2, 5, 10):
        assert paired_wilcoxon(np.arange(1, n + 1)) == pytest.approx(smallest_p(n))


def test_holm_by_hand():
    # Sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.5 x 1; none smaller than the one before.
    np.testing.assert_allclose(holm([0.03, 0.5, 0.01, 0.02]), [0.06, 0.5, 0.04, 0.06])
    np.testing.assert_allclose(holm([0.6, 0.7]), [1.0, 1.0])
    adjusted = holm([0.01, np.nan, 0.04])
    np.testing.assert_allclose(adjusted[[0, 2]], [0.02, 0.04])
    assert np.isnan(adjusted[1])
