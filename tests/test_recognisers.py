"""Recognisers by name and by dotted path, for every kind of target."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from biasmir_utils.corrections import parse_correction
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments import LogisticRecogniser, roc_auc
from biasmir_utils.experiments.evaluate import train_recognisers
from biasmir_utils.experiments.recognisers import (
    DEFAULTS,
    RECOGNISERS,
    SharedLogistic,
    make_recogniser,
    recogniser_scores,
)


def shrunk():
    """A factory that a dotted path may name."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1))


class Silent(ClassifierMixin, BaseEstimator):
    """A classifier that only predicts."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.zeros(len(X), int)


class Demanding(BaseEstimator):
    """Cannot be made without an argument."""

    def __init__(self, size):
        self.size = size


class Moody(ClassifierMixin, BaseEstimator):
    """Fails where it is told to."""

    fails = ""

    def fit(self, X, y):
        if self.fails == ("fit" if len(X) == 12 else "folds"):
            raise ValueError("I do not like these")
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, X):
        if self.fails == "scores":
            raise KeyError("score")
        return X[:, 0]


def data(kind: str, n: int = 150, seed: int = 0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6))
    if kind == "number":
        return X, X[:, 0] * 3 + rng.normal(0, 0.5, n)
    if kind == "category":
        return X, (X[:, :3] + rng.normal(0, 0.5, (n, 3))).argmax(axis=1)
    tags = (X[:, :2] + rng.normal(0, 0.5, (n, 2)) > 0).astype(np.int8)
    return X, tags if kind == "tags" else tags[:, 0]


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in RECOGNISERS.items() for name in names]
)
def test_every_recogniser_learns_what_is_there(kind, name):
    X, y = data(kind, n=400)
    fresh, truth = data(kind, n=400, seed=1)
    model = make_recogniser(name, kind, seed=3).fit(X, y)
    score, probability = recogniser_scores(model, fresh, kind)
    if kind == "number":
        assert score.shape == (400,)
        assert np.corrcoef(score, truth)[0, 1] > 0.8
        return
    columns = {"label": 1, "tags": 2, "category": 3}[kind]
    assert score.shape == probability.shape == ((400,) if kind == "label" else (400, columns))
    score = score.reshape(400, -1)
    for k in range(columns):
        own = truth == k if kind == "category" else truth.reshape(400, -1)[:, k]
        assert roc_auc(own, score[:, k]) > 0.75
    known = probability[~np.isnan(probability)]
    assert ((known >= 0) & (known <= 1)).all()
    assert DEFAULTS[kind] in RECOGNISERS[kind]


@pytest.mark.parametrize("kind", ["label", "tags", "category", "number"])
def test_neighbours_may_be_fewer_than_asked_for(kind):
    """Three clips of each class are enough for an evaluation, and 15 neighbours are not there."""
    X, y = data(kind, n=9)
    model = make_recogniser("knn", kind).fit(X, y)
    assert model[-1].n_neighbors == 15
    score, _ = recogniser_scores(model, X[:4] + 1e-9, kind)
    assert np.isfinite(score).all()
    if kind == "number":
        np.testing.assert_allclose(score, y[:4], rtol=1e-4)
    distances, indices = model[-1].kneighbors()
    assert distances.shape == indices.shape == (9, 8)
    assert model[-1].kneighbors(X, 2, return_distance=False).shape == (9, 2)


def test_with_enough_rows_neighbours_are_scikit_learns():
    X, y = data("label")
    own = make_recogniser("knn").fit(X, y)
    other = make_pipeline(StandardScaler(), KNeighborsClassifier(15, weights="distance")).fit(X, y)
    fresh = data("label", seed=1)[0]
    np.testing.assert_array_equal(own.predict_proba(fresh), other.predict_proba(fresh))


def trained(name, kind, X, y, thresholds=False):
    none = {(parse_correction("none"), "none"): None}
    return train_recognisers(name, kind, none, X, y, "mine", spans={}, thresholds=thresholds)[0]


def test_a_threshold_is_chosen_with_few_clips():
    X = data("label", n=12)[0]
    y = np.tile([0, 1], 6)
    assert np.isfinite(trained("knn", "label", X, y, thresholds=True).thresholds).all()


@pytest.mark.parametrize(
    ("fails", "told"),
    [
        (
            "fit",
            r"'test_recognisers:Moody', 12 clips of mine: could not be trained \(ValueError: I",
        ),
        ("folds", "12 clips of mine: could not be trained on folds, to choose a threshold"),
        ("scores", "could not score 5 clips of other"),
    ],
)
def test_who_failed_is_told(monkeypatch, fails, told):
    monkeypatch.setattr(Moody, "fails", fails)
    X = data("label", n=12)[0]
    about = ("test_recognisers:Moody", "label", X, np.tile([0, 1], 6), fails == "folds")
    with pytest.raises(ArgumentError, match=told):
        trained(*about).scores(X[:5], "other")


def test_tags_that_a_recogniser_learns_as_absent_are_warned_of():
    X, Y = data("tags", n=60)
    Y[:10, 1] = -1
    with pytest.warns(UserWarning, match="60 clips of mine: of 120 tags of clips 10 were not obs"):
        filled = trained("ridge", "tags", X, Y, thresholds=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other = trained("ridge", "tags", X, np.maximum(Y, 0))
        trained("logistic", "tags", X, Y)
    np.testing.assert_array_equal(filled.scores(X, "a")[0], other.scores(X, "a")[0])


def test_without_probabilities_they_are_missing():
    X, y = data("label")
    score, probability = recogniser_scores(make_recogniser("svm").fit(X, y), X)
    assert np.isfinite(score).all()
    assert np.isnan(probability).all()


def test_without_decision_values_the_score_is_the_probability_above_one_half():
    X, y = data("label")
    model = make_recogniser("sklearn.naive_bayes:GaussianNB").fit(X, y)
    score, probability = recogniser_scores(model, X)
    np.testing.assert_allclose(score, probability - 0.5)
    np.testing.assert_array_equal(score > 0, model.predict(X) == 1)


@pytest.mark.parametrize("dotted", ["test_recognisers:shrunk", "test_recognisers.shrunk"])
def test_a_dotted_path_may_name_a_function(dotted):
    model = make_recogniser(dotted, seed=5)
    assert model[-1].C == 0.1
    # What is random gets the seed of the experiment.
    assert model[-1].random_state == 5


@pytest.mark.parametrize(
    ("path", "kind", "told"),
    [
        ("tuba", "label", "'tuba': expected one of logistic, logistic-liblinear, ridge, svm, knn"),
        ("rigde", "label", "'rigde': expected one of .* Did you mean 'ridge'"),
        ("logistic", "number", "expected one of ridge, svm, knn, mlp for a number, or"),
        ("svm", "tags", "expected one of logistic, ridge, knn, mlp for tags, or"),
        ("no.such:Thing", "label", "'no.such' cannot be imported"),
        ("sklearn.svm:Nothing", "label", "'sklearn.svm' has no 'Nothing'"),
        ("sklearn.svm.", "label", "has no ''"),
        (":SVC", "label", "cannot be imported"),
        ("numpy:pi", "label", "calling it without arguments failed"),
        ("test_recognisers:Demanding", "label", "calling it without arguments failed"),
        ("builtins:dict", "label", "not a scikit-learn estimator, it has no 'fit'"),
        ("sklearn.svm:SVR", "label", "not a classifier, as is needed for a label"),
        ("sklearn.svm:SVR", "tags", "not a classifier, as is needed for tags"),
        ("sklearn.svm:SVC", "number", "not a regressor"),
        ("test_recognisers:Silent", "label", "neither decision_function nor predict_proba"),
    ],
)
def test_what_cannot_be_used_is_told(path, kind, told):
    with pytest.raises(ArgumentError, match=told) as caught:
        make_recogniser(path, kind)
    assert path in str(caught.value)


def test_one_output_of_the_shared_model_is_the_papers_recogniser():
    X, y = data("label")
    one = LogisticRecogniser(Cs=(0.1,)).fit(X, y)
    # Folds are others (not stratified), which matters for the choice of C only.
    shared = SharedLogistic(Cs=(0.1,)).fit(X, y[:, np.newaxis])
    np.testing.assert_allclose(shared.coef_, one.coef_, atol=1e-3)
    np.testing.assert_allclose(shared.intercept_, one.intercept_, atol=1e-3)


def test_tags_that_were_not_observed_do_not_count():
    X, Y = data("tags", n=300)
    with_gaps = Y.copy()
    with_gaps[100:, 1] = -1
    found = SharedLogistic(Cs=(1.0,)).fit(X, with_gaps)
    alone = SharedLogistic(Cs=(1.0,)).fit(X[:100], Y[:100, 1:])
    np.testing.assert_allclose(found.coef_[1], alone.coef_[0], atol=1e-3)


def test_the_shared_model_recognises_classes():
    X, y = data("category", n=300)
    names = np.array(["blue", "green", "red"])
    model = SharedLogistic().fit(X[:200], names[y[:200]])
    assert (model.predict(X[200:]) == names[y[200:]]).mean() > 0.6
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)
    with pytest.raises(ArgumentError, match="two classes or more"):
        SharedLogistic().fit(X, np.zeros(300, int))
    with pytest.raises(ArgumentError, match=r"output 2 has 1 clip\(s\) of its rarer value"):
        SharedLogistic().fit(X, np.r_[np.repeat([0, 1], [150, 149]), 2])


@pytest.mark.parametrize("solver", ["newton", "liblinear"])
def test_scores_of_the_folds_are_of_models_that_did_not_see_the_row(solver):
    X, y = data("label", n=90)
    order = np.argsort(-y, kind="stable")
    X, y = X[order], y[order]
    found = LogisticRecogniser(Cs=(1.0,), solver=solver).fit(X, y)
    from sklearn.model_selection import StratifiedKFold

    for train, held_out in StratifiedKFold(3).split(X, y):
        again = LogisticRegression(
            C=1.0, solver="liblinear", class_weight="balanced", tol=1e-10
        ).fit(X[train], y[train])
        np.testing.assert_allclose(
            expit(found.cv_decision_[held_out]), again.predict_proba(X[held_out])[:, 1], atol=5e-3
        )
