"""Metrics: against scikit-learn's, on any scores, with ties, under any weighting of the clips."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as reference

from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments import (
    METRICS,
    Answers,
    Metric,
    alike,
    best_threshold,
    metrics_of,
    recognition_metrics,
    register_metric,
    roc_auc,
    weighted_metric,
)


@st.composite
def scored_clips(draw):
    """Labels of both classes, and scores of which many are equal."""
    n = draw(st.integers(2, 30))
    y = draw(arrays(np.int8, n, elements=st.integers(0, 1)))
    y[0], y[1] = 0, 1
    score = draw(arrays(np.float64, n, elements=st.integers(-4, 4).map(lambda v: v / 2)))
    return y, score


def answers(y, score, threshold=0.4, weights=None):
    probability = 1 / (1 + np.exp(-np.asarray(score)))
    found = {"y_true": y, "score": score, "probability": probability}
    found["said_at_rate"] = np.asarray(score) > 0.7
    return Answers("label", found, threshold, weights)


def of_report(kind, given_, threshold, weights):
    """The metrics of a report, (n_metrics, n_weightings)."""
    told = Answers(kind, given_, threshold, weights)
    return np.array([metric.compute(told) for metric in metrics_of(kind, report=True)])


def scikit_learns(y, score, threshold=0.4) -> dict[str, float]:
    predicted = score > 0
    return {
        "roc_auc": reference.roc_auc_score(y, score),
        "average_precision": reference.average_precision_score(y, score),
        "balanced_accuracy": reference.balanced_accuracy_score(y, predicted),
        "balanced_accuracy_source": reference.balanced_accuracy_score(y, score > threshold),
        "balanced_accuracy_rate": reference.balanced_accuracy_score(y, score > 0.7),
        "precision": reference.precision_score(y, predicted, zero_division=0),
        "recall": reference.recall_score(y, predicted),
        "f1": reference.f1_score(y, predicted, zero_division=0),
        "accuracy": reference.accuracy_score(y, predicted),
        "brier": reference.brier_score_loss(y, 1 / (1 + np.exp(-score))),
    }


@settings(deadline=None)
@given(scored_clips(), st.integers(0, 2**32 - 1))
def test_every_metric_of_labels_is_scikit_learn_s_under_any_weighting(drawn, seed):
    y, score = drawn
    weights = np.random.default_rng(seed).integers(0, 4, (3, len(y)))
    weights[0] = 1
    found = {
        metric.name: metric.compute(answers(y, score, weights=weights))
        for metric in METRICS
        if "label" in metric.kinds
    }
    for row, w in enumerate(weights):
        repeated = np.repeat(np.arange(len(y)), w)
        if len(set(y[repeated])) == 2:
            expected = scikit_learns(y[repeated], score[repeated])
            assert set(found) == set(expected)
            for name, value in expected.items():
                assert found[name][row] == pytest.approx(value, abs=1e-12), name
        else:
            assert np.isnan([found["roc_auc"][row], found["balanced_accuracy"][row]]).all()
    told = recognition_metrics(y, score, 1 / (1 + np.exp(-score)))
    assert told == {metric.name: found[metric.name][0] for metric in metrics_of("label")}
    assert roc_auc(y, score) == told["roc_auc"] == weighted_metric("roc_auc", y, score, weights)[0]


def test_metrics_of_a_category_are_scikit_learns():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 20)
    P = rng.dirichlet(np.ones(3), 60) + 0.5 * np.eye(3)[y]
    P /= P.sum(axis=1, keepdims=True)
    said = P.argmax(axis=1)
    one_hot = np.eye(3)[y]
    expected = {
        "roc_auc": reference.roc_auc_score(y, P, multi_class="ovr"),
        "average_precision": reference.average_precision_score(one_hot, P),
        "balanced_accuracy": reference.balanced_accuracy_score(y, said),
        "macro_f1": reference.f1_score(y, said, average="macro"),
        "accuracy": reference.accuracy_score(y, said),
        "brier": ((P - one_hot) ** 2).mean(),
    }
    assert recognition_metrics(y, P, P, "category") == pytest.approx(expected)
    # A class without a clip has no part but in the Brier score.
    more = np.column_stack([P, np.zeros(60)])
    expected["brier"] *= 3 / 4
    assert recognition_metrics(y, more, more, "category") == pytest.approx(expected)


def test_metrics_of_numbers_are_scikit_learns_under_any_weighting():
    rng = np.random.default_rng(0)
    y = rng.normal(100, 20, 30)
    predicted = y + rng.normal(0, 5, 30)
    weights = np.vstack([np.ones(30), rng.integers(0, 3, (5, 30))])
    told = Answers("number", {"y_true": y, "score": predicted}, weights=weights)
    found = {metric.name: metric.compute(told) for metric in metrics_of("number")}
    for row, w in enumerate(weights.astype(int)):
        own, estimates = np.repeat(y, w), np.repeat(predicted, w)
        expected = {
            "r2": reference.r2_score(own, estimates),
            "mae": reference.mean_absolute_error(own, estimates),
            "rmse": reference.root_mean_squared_error(own, estimates),
            "correlation": np.corrcoef(own, estimates)[0, 1],
        }
        assert {name: values[row] for name, values in found.items()} == pytest.approx(expected)
    constant = recognition_metrics(np.ones(4), [1, 2, 3, 4], kind="number")
    assert np.isnan([constant["r2"], constant["correlation"]]).all()


@pytest.mark.parametrize("metric", METRICS, ids=lambda one: f"{one.name}-{one.kinds[0]}")
def test_range_and_direction_are_as_the_table_says(metric):
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 20)
    kind = metric.kinds[0]
    told = {}
    for how, sign in (("best", 1), ("worst", -1)):
        score = 3.0 * sign * (2 * y - 1)
        probability = (score > 0).astype(float)
        given_ = {"y_true": y, "score": score, "probability": probability}
        given_["said_at_rate"] = score > np.median(score)
        if kind == "number":
            given_["score"] = y if how == "best" else rng.normal(5, 1, 40)
        told[how] = metric.compute(Answers(kind, given_, 0.0))[0]
    low, high = metric.range
    assert all(low <= value <= high for value in told.values())
    assert told["best"] == pytest.approx(high if metric.larger_is_better else low)
    assert (told["best"] > told["worst"]) == metric.larger_is_better
    assert metric.has_unit == (metric.name in ("mae", "rmse"))


def test_a_test_set_of_one_class_has_a_brier_score_and_its_own_recall():
    score, probability = np.array([2.0, 1, 0]), np.array([0.5, 0.5, 1.0])
    weights = np.array([[1, 1, 1], [2, 1, 0]])
    for kind, only in (("label", 0), ("label", 1), ("category", 1)):
        given_ = {"y_true": np.full(3, only), "score": score, "probability": probability}
        said = {"said": np.array([True, True, False])} if kind == "category" else {}
        found = of_report(kind, given_ | said, 0.5, weights)
        assert np.isnan(found[0]).all()
        assert np.isnan(found[1]).all() == (only == 0)
        recall = [2 / 3, 1] if kind == "category" else [np.nan, np.nan]
        np.testing.assert_allclose(found[2], recall)
        np.testing.assert_allclose(found[-1], [0.5 if only == 0 else 0.5 / 3, 0.25])


def test_what_was_not_asked_for_has_no_value():
    y, score = [1, 0, 0], [2.0, 1, 0]
    found = of_report("label", {"y_true": y, "score": score}, np.nan, np.ones((2, 3)))
    assert np.isnan(found[2:]).all()  # neither a threshold nor probabilities


def simulated(offset: float):
    """Two datasets with 10 and 40 % positives, ROC-AUC .80 in each; one scores higher."""
    rng = np.random.default_rng(0)
    rich = np.repeat([False, True], 20_000)
    y = rng.random(40_000) < np.where(rich, 0.4, 0.1)
    score = rng.normal(size=40_000) + 1.19 * y + offset * rich
    return {"y_true": y, "score": score}, alike(np.ones((1, 40_000)), 2 * rich + y)


def test_scoring_the_dataset_with_more_positives_higher_gains_nothing_in_pooled_metrics():
    """Every dataset-and-class cell counts alike."""
    values = {}
    for offset in (0, 0.3, -0.3, 1):
        given_, weights = simulated(offset)
        values[offset] = of_report("label", given_, 0.6, weights)[:, 0]
        by_clip = of_report("label", given_, 0.6, np.ones_like(weights))[:, 0]
    assert by_clip[0] > values[1][0] + 0.03
    assert values[0][0] == pytest.approx(0.8, abs=0.005)
    for offset in (0.3, -0.3):
        assert values[offset][0] == pytest.approx(0.8, abs=0.01)
    for metric in (0, 1):
        assert all(values[offset][metric] < values[0][metric] for offset in (0.3, -0.3, 1))
    weights = alike(np.array([[1, 3, 2, 0], [0, 0, 1, 1]]), [0, 0, 1, 1])
    assert weights.tolist() == [[0.25, 0.75, 1, 0], [0, 0, 0.5, 0.5]]


def test_the_best_threshold_has_the_largest_balanced_accuracy():
    rng = np.random.default_rng(0)
    for _ in range(20):
        y = np.r_[0, 1, (rng.random(25) < 0.4).astype(int)]
        score = np.round(y + rng.normal(0, 1, 27), 1)
        balanced = [
            reference.balanced_accuracy_score(y, score > t) for t in np.r_[score, score - 0.05]
        ]
        found = reference.balanced_accuracy_score(y, score > best_threshold(y, score))
        assert found == pytest.approx(max(balanced))
    assert best_threshold([0, 0, 1, 1], [1, 2, 4, 5]) == 3


def test_a_new_metric_is_one_row(monkeypatch):
    monkeypatch.setattr("biasmir_utils.experiments.metrics.METRICS", list(METRICS))
    youden = Metric("youden", "Youden's J", ("label",), lambda a: a.recall + a.specificity - 1)
    register_metric(youden)
    assert recognition_metrics([0, 1, 1], [-1, -1, 1], [0, 0, 1])["youden"] == 0.5
    assert metrics_of("label", report=True)[-1] is youden
    with pytest.raises(ArgumentError, match="there is a metric 'youden' for label"):
        register_metric(youden)


def test_an_error_without_bounds_is_infinite():
    with np.errstate(invalid="ignore"):
        found = recognition_metrics([1.0, 2, 3], [1, 2, np.inf], kind="number")
    assert found["mae"] == found["rmse"] == np.inf


@pytest.mark.parametrize(
    ("y", "score", "told"),
    [
        ([0, 1, 1], [0.1, 0.2], "one length"),
        ([0, 1, 2], [0.1, 0.2, 0.3], "only 0 and 1"),
        ([0, 1, 1], [0.1, np.nan, 0.3], "first in row 1"),
        ([1, 1, 1], [0.1, 0.2, 0.3], "3 positive of 3"),
        ([0, 0], [0.1, 0.2], "0 positive of 2"),
    ],
)
def test_what_cannot_be_scored(y, score, told):
    with pytest.raises(ArgumentError, match=told):
        roc_auc(y, score)


def test_shapes_have_to_fit():
    with pytest.raises(ArgumentError, match="a column for each class"):
        recognition_metrics([0, 1], [0.5, 1], [0.5, 1], "category")
    with pytest.raises(ArgumentError, match="one length"):
        recognition_metrics([0, 1], [0.5], kind="number")
