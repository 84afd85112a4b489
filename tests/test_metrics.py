"""Metrics: against scikit-learn's, on any scores, with ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as reference

from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments import recognition_metrics, roc_auc, weighted_roc_auc
from biasmir_utils.experiments.metrics import (
    METRICS,
    average_precision,
    column_roc_auc,
    weighted_balanced_accuracy,
)


@st.composite
def scored_clips(draw):
    """Labels of both classes, and scores of which many are equal."""
    n = draw(st.integers(2, 30))
    y = draw(arrays(np.int8, n, elements=st.integers(0, 1)))
    y[0], y[1] = 0, 1
    score = draw(arrays(np.float64, n, elements=st.integers(-4, 4).map(lambda v: v / 2)))
    return y, score


@settings(deadline=None)
@given(scored_clips())
def test_every_metric_equals_scikit_learn_s(drawn):
    y, score = drawn
    probability = 1 / (1 + np.exp(-score))
    predicted = score > 0
    expected = {
        "roc_auc": reference.roc_auc_score(y, score),
        "average_precision": reference.average_precision_score(y, score),
        "balanced_accuracy": reference.balanced_accuracy_score(y, predicted),
        "precision": reference.precision_score(y, predicted, zero_division=0),
        "recall": reference.recall_score(y, predicted),
        "f1": reference.f1_score(y, predicted, zero_division=0),
        "accuracy": reference.accuracy_score(y, predicted),
        "brier": reference.brier_score_loss(y, probability),
    }
    found = recognition_metrics(y, score, probability)
    assert tuple(found) == METRICS
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name
    assert roc_auc(y, score) == found["roc_auc"]
    assert average_precision(y, score) == found["average_precision"]


@settings(deadline=None)
@given(scored_clips(), st.integers(0, 2**32 - 1))
def test_a_weight_counts_like_clips_that_are_there_as_often(drawn, seed):
    y, score = drawn
    weights = np.random.default_rng(seed).integers(0, 4, (5, len(y)))
    found = weighted_roc_auc(y, score, weights), weighted_balanced_accuracy(y, score, weights)
    for one, area, balanced in zip(weights, *found, strict=True):
        repeated = np.repeat(np.arange(len(y)), one)
        own, scores = y[repeated], score[repeated]
        if len(set(own)) < 2:
            assert np.isnan([area, balanced]).all()
        else:
            assert area == pytest.approx(reference.roc_auc_score(own, scores))
            expected = reference.balanced_accuracy_score(own, scores > 0)
            assert balanced == pytest.approx(expected)


def test_columns_are_scored_by_themselves():
    y = np.array([True, False, True, False])
    scores = np.array([[3.0, 0.0], [1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    assert column_roc_auc(y, scores).tolist() == [1.0, 0.25]
    assert np.isnan(column_roc_auc(np.ones(4, bool), scores)).all()


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
