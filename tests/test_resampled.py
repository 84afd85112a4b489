"""Weighted metrics are those of the clips written down as often as they were drawn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, mean_absolute_error, r2_score

from biasmir_utils.experiments import roc_auc
from biasmir_utils.experiments.metrics import (
    alike,
    average_precision,
    best_threshold,
    class_metrics,
    number_metrics,
    shared_track_weights,
    weighted_metrics,
)


@pytest.mark.parametrize("ties", [False, True])
def test_weights_count_like_repeated_clips(ties):
    rng = np.random.default_rng(0)
    y = (rng.random(60) < 0.3).astype(int)
    score = y + rng.normal(0, 1, 60)
    if ties:
        score = np.round(score)
    probability = 1 / (1 + np.exp(-score))
    arrays = {"y_true": y, "score": score, "probability": probability}
    weights = np.vstack([np.ones(60), rng.integers(0, 4, (20, 60))]).astype(np.float32)
    found = weighted_metrics("label", arrays, 0.4, weights)
    for w, column in zip(weights.astype(int), found.T, strict=True):
        rows = np.repeat(np.arange(60), w)
        expected = [
            roc_auc(y[rows], score[rows]),
            average_precision(y[rows], score[rows]),
            balanced_accuracy_score(y[rows], score[rows] > 0.4),
            np.mean((probability[rows] - y[rows]) ** 2),
        ]
        np.testing.assert_allclose(column, expected, rtol=1e-6)


def test_a_draw_without_a_class_has_no_value():
    arrays = {"y_true": [1, 0, 0], "score": [2.0, 1, 0], "probability": [np.nan] * 3}
    found = weighted_metrics("label", arrays, 0.5, np.array([[0, 1, 1], [1, 1, 0]], np.float32))
    assert np.isnan(found[:3, 0]).all()
    assert found[:3, 1].tolist() == [1, 1, 0.5]
    assert np.isnan(found[3]).all()


@pytest.mark.parametrize("kind", ["label", "category"])
@pytest.mark.parametrize("only", [0, 1])
def test_a_test_set_of_one_class_has_a_brier_score_only(kind, only):
    arrays = {
        "y_true": np.full(3, only),
        "score": np.array([2.0, 1, 0]),
        "probability": np.array([0.5, 0.5, 1.0]),
        "right": np.array([True, True, False]),
    }
    found = weighted_metrics(kind, arrays, 0.5, np.array([[1, 1, 1], [2, 1, 0]], np.float32))
    assert np.isnan(found[0]).all()
    assert np.isnan(found[1]).all() == (only == 0)
    # Of a class its recall, which needs no other clips.
    recall = [2 / 3, 1] if (kind, only) == ("category", 1) else [np.nan, np.nan]
    np.testing.assert_allclose(found[2], recall)
    np.testing.assert_allclose(found[3], [0.5 if only == 0 else 0.5 / 3, 0.25])


def simulated(offset: float, seed: int = 0):
    """Two datasets with 10 and 40 % positives, ROC-AUC .80 in each; one scores higher."""
    rng = np.random.default_rng(seed)
    rich = np.repeat([False, True], 20_000)
    y = rng.random(40_000) < np.where(rich, 0.4, 0.1)
    score = rng.normal(size=40_000) + 1.19 * y + offset * rich
    arrays = {"y_true": y, "score": score, "probability": np.full(40_000, 0.5)}
    return arrays, alike(np.ones((1, 40_000)), 2 * rich + y)


def test_scoring_the_dataset_with_more_positives_higher_gains_nothing_in_pooled_metrics():
    """Every dataset-and-class cell counts alike."""
    values = {}
    for offset in (0, 0.3, -0.3, 1):
        arrays, weights = simulated(offset)
        values[offset] = weighted_metrics("label", arrays, 0.6, weights)[:, 0]
        by_clip = weighted_metrics("label", arrays, 0.6, np.ones_like(weights))[:, 0]
        if offset == 1:
            assert by_clip[0] > values[0][0] + 0.03
    assert values[0][0] == pytest.approx(0.8, abs=0.005)
    for offset in (0.3, -0.3):
        assert values[offset][0] == pytest.approx(0.8, abs=0.01)
    for metric in (0, 1):
        assert all(values[offset][metric] < values[0][metric] for offset in (0.3, -0.3, 1))


def test_a_cell_without_weight_is_left_out():
    weights = alike(np.array([[1, 3, 2, 0], [0, 0, 1, 1]]), [0, 0, 1, 1])
    assert weights.tolist() == [[0.25, 0.75, 1, 0], [0, 0, 0.5, 0.5]]


def test_recall_of_a_class():
    arrays = {
        "y_true": np.array([1, 1, 1, 0]),
        "score": np.array([3.0, 2, 1, 0]),
        "probability": np.full(4, 0.5),
        "right": np.array([True, False, True, True]),
    }
    weights = np.array([[1, 1, 1, 1], [2, 1, 0, 1]], np.float32)
    found = weighted_metrics("category", arrays, np.nan, weights)
    np.testing.assert_allclose(found[2], [2 / 3, 2 / 3])


def test_numbers():
    rng = np.random.default_rng(0)
    y = rng.normal(100, 20, 30)
    predicted = y + rng.normal(0, 5, 30)
    weights = np.vstack([np.ones(30), rng.integers(0, 3, (5, 30))]).astype(np.float32)
    found = weighted_metrics("number", {"y_true": y, "score": predicted}, np.nan, weights)
    for w, (r2, mae) in zip(weights.astype(int), found.T, strict=True):
        rows = np.repeat(np.arange(30), w)
        assert r2 == pytest.approx(r2_score(y[rows], predicted[rows]), rel=1e-5)
        assert mae == pytest.approx(mean_absolute_error(y[rows], predicted[rows]), rel=1e-5)
    measured = number_metrics(y, predicted)
    assert measured["r2"] == pytest.approx(r2_score(y, predicted))
    assert measured["correlation"] == pytest.approx(np.corrcoef(y, predicted)[0, 1])


def test_tracks_are_drawn_whole_and_subsets_share_the_draws():
    names = np.array(["s", "t", "u"])
    whole = shared_track_weights(names, np.array(["s", "s", "t", "u"]), 50, seed=3)
    assert (whole[0] == 1).all()
    assert (whole[:, 0] == whole[:, 1]).all()
    assert (whole[:, 1:].sum(axis=1) == 3).all()
    part = shared_track_weights(names, np.array(["u", "s"]), 50, seed=3)
    np.testing.assert_array_equal(part, whole[:, [3, 0]])


def test_the_best_threshold_has_the_largest_balanced_accuracy():
    rng = np.random.default_rng(0)
    for _ in range(20):
        y = (rng.random(25) < 0.4).astype(int)
        score = np.round(y + rng.normal(0, 1, 25), 1)
        if y.min() == y.max():
            continue
        best = max(balanced_accuracy_score(y, score > t) for t in np.r_[score, score - 0.05])
        found = best_threshold(y, score)
        assert balanced_accuracy_score(y, score > found) == pytest.approx(best)
    assert best_threshold([0, 0, 1, 1], [1, 2, 4, 5]) == 3


def test_class_metrics_are_scikit_learns():
    from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 20)
    P = rng.dirichlet(np.ones(3), 60) + 0.5 * np.eye(3)[y]
    P /= P.sum(axis=1, keepdims=True)
    found = class_metrics(y, P, P)
    said = P.argmax(axis=1)
    assert found["roc_auc"] == pytest.approx(roc_auc_score(y, P, multi_class="ovr"))
    assert found["macro_f1"] == pytest.approx(f1_score(y, said, average="macro"))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(y, said))
    assert found["accuracy"] == pytest.approx(accuracy_score(y, said))
    assert found["brier"] == pytest.approx(((P - np.eye(3)[y]) ** 2).sum(axis=1).mean() / 3)
