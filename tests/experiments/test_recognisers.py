"""Recognisers by name and by dotted path, for every kind of target, and the logistic one within."""

from __future__ import annotations

import re

import h5py
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections import ThinMap
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments import (
    PAPER_C,
    RECOGNISERS,
    LogisticRecogniser,
    Span,
    evaluate,
    make_recogniser,
    recogniser_names,
    recogniser_scores,
    roc_auc,
)

QUICK_MLP = {
    f"perceptronclassifier__{k}": v for k, v in {"max_iter": 40, "learning_rate_init": 0.02}.items()
}
IN_PLACE = "scikit-learn's pipelines fit their steps in place, and it expects that of its own"


@pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore::sklearn.exceptions.SkipTestWarning"
)
@parametrize_with_checks(
    [
        LogisticRecogniser(),
        LogisticRecogniser(intercept="free"),
        LogisticRecogniser(Cs=(1.0,), solver="liblinear"),
        *(
            make_recogniser(name, kind)
            for name in ("ridge", "svm", "knn")
            for kind in ("label", "number")
        ),
        make_recogniser("mlp").set_params(**QUICK_MLP),
    ],
    expected_failed_checks=lambda estimator: dict.fromkeys(
        ("check_estimators_overwrite_params", "check_dont_overwrite_parameters")
        if hasattr(estimator, "steps")
        else (),
        IN_PLACE,
    ),
)
def test_scikit_learn_s_checks(estimator, check):
    check(estimator)


# The logistic recogniser


def make(n: int, n_features: int, seed: int, spread: float = 1.5, offset: float = 0.0):
    """Rows whose first features tell the label, with unequal scales and a mean off zero."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.3).astype(int)
    y[:4], y[4:8] = 1, 0
    X = rng.normal(offset, 1, (n, n_features))
    X[:, : min(5, n_features)] += spread * y[:, np.newaxis]
    return X * (1 + np.arange(n_features)) ** -0.5, y


def grid_search(X, y):
    model = LogisticRegression(solver="liblinear", class_weight="balanced")
    return GridSearchCV(model, {"C": PAPER_C}, scoring="roc_auc", cv=3).fit(X, y)


@pytest.mark.parametrize(("n", "n_features"), [(150, 10), (60, 100)])
def test_liblinear_is_scikit_learn_s_grid_search_without_its_overhead(n, n_features):
    X, y = make(n, n_features, 0)
    search = grid_search(X, y)
    ours = LogisticRecogniser(solver="liblinear").fit(X, y)
    assert search.best_params_["C"] == ours.C_
    np.testing.assert_allclose(ours.cv_roc_auc_, search.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(ours.coef_, search.best_estimator_.coef_)
    np.testing.assert_array_equal(ours.intercept_, search.best_estimator_.intercept_)


@pytest.mark.parametrize(
    ("n", "n_features", "offset"), [(200, 8, 0.0), (200, 8, 5.0), (90, 300, 0.0), (90, 300, 3.0)]
)
def test_newton_finds_what_liblinear_finds(n, n_features, offset):
    X, y = make(n, n_features, 1, offset=offset)
    X_test, y_test = make(400, n_features, 2, offset=offset)
    search = grid_search(X, y)
    ours = LogisticRecogniser().fit(X, y)
    expected = search.cv_results_["mean_test_score"]
    np.testing.assert_allclose(ours.cv_roc_auc_, expected, atol=0.01, rtol=0)
    scores = [model.decision_function(X_test) for model in (ours, search)]
    aucs = [roc_auc_score(y_test, score) for score in scores]
    assert abs(aucs[0] - aucs[1]) < 0.005
    np.testing.assert_array_equal(ours.predict(X_test), (scores[0] > 0).astype(int))
    np.testing.assert_allclose(ours.predict_proba(X_test).sum(axis=1), 1)


def assert_minimises(model, X, y, C):
    """Compare the objective at a fit with its minimum, as another program finds it."""
    costs = C * len(y) / (2 * np.where(y > 0, y.sum(), (1 - y).sum()))
    rows = np.column_stack([X, np.ones(len(y))])
    penalty = np.append(np.ones(X.shape[1]), model.intercept == "penalised")

    def objective(w):
        return 0.5 * w @ (penalty * w) + costs @ np.logaddexp(
            0, np.where(y > 0, -1, 1) * (rows @ w)
        )

    def gradient(w):
        return penalty * w + rows.T @ (costs * (expit(rows @ w) - y))

    best = minimize(
        objective,
        np.zeros(rows.shape[1]),
        jac=gradient,
        method="L-BFGS-B",
        options={"maxiter": 20000, "maxfun": 50000, "ftol": 0, "gtol": 1e-10},
    )
    start = objective(np.zeros(rows.shape[1]))
    found = objective(np.append(model.coef_[0], model.intercept_[0]))
    assert found - best.fun <= 1e-6 * (start - best.fun) + 1e-12 * start


@settings(deadline=None, max_examples=30)
@given(
    st.integers(16, 40),
    st.integers(1, 60),
    st.sampled_from([1e-6, 1e-2, 1.0, 100.0]),
    st.sampled_from(["penalised", "free"]),
    st.integers(0, 2**31),
)
def test_a_fit_minimises_the_objective(n, n_features, C, intercept, seed):
    X, y = make(n, n_features, seed, offset=2.0)
    assert_minimises(LogisticRecogniser(Cs=(C,), intercept=intercept).fit(X, y), X, y, C)


@settings(deadline=None, max_examples=20)
@given(st.integers(24, 60), st.integers(1, 80), st.floats(-100, 100), st.integers(0, 2**31))
def test_a_free_intercept_is_blind_to_a_translation_of_all_rows(n, n_features, far, seed):
    X, y = make(n, n_features, seed)
    fresh, _ = make(50, n_features, seed + 1)
    step = far * np.random.default_rng(seed).normal(size=n_features)
    scores = [
        make_recogniser("logistic:intercept=free").fit(X + by, y).decision_function(fresh + by)
        for by in (0.0, step)
    ]
    np.testing.assert_allclose(scores[1], scores[0], atol=1e-5 * (1e-9 + np.ptp(scores[0])))


def test_rows_far_out_are_no_trouble():
    """There whole Newton steps lead away from the solution."""
    _, y = make(150, 1, 1)
    X = np.random.default_rng(1).standard_cauchy((150, 200)) + y[:, np.newaxis]
    assert_minimises(LogisticRecogniser(Cs=(1000.0,)).fit(X, y), X, y, 1000.0)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(2, 30),
    st.integers(1, 50),
    st.integers(1, 3),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_a_thin_map_in_the_span_is_the_map_of_the_rows(
    n, n_features, k, dose, with_center, free, seed
):
    rng = np.random.default_rng(seed)
    X = rng.normal(1, 1, (n, n_features))
    right = np.linalg.qr(rng.normal(size=(n_features, min(k, n_features))))[0].T
    center = rng.normal(size=n_features) if with_center else None
    thin = ThinMap(rng.normal(size=right.shape), right, center)
    span, moved = Span.of(X, free).move(thin, dose), thin(X, dose)
    scale, rows = 1 + np.abs(moved).max(), moved - free * moved.mean(axis=0)
    np.testing.assert_allclose(
        span.coordinates @ span.coordinates.T, rows @ rows.T + (not free), atol=1e-8 * scale**2
    )
    solution = rng.normal(size=span.problem_rows.Z.shape[1])
    coef, intercept = span.weights(solution)
    np.testing.assert_allclose(
        moved @ coef + intercept, span.problem_rows.Z @ solution, atol=1e-7 * scale
    )


def test_duplicated_and_constant_rows_are_no_trouble():
    X, y = make(40, 100, 5)
    X[20:], y[20:] = X[:20], y[:20]
    X[:, 50:] = 7.0
    model = LogisticRecogniser().fit(X, y)
    assert np.isfinite(model.coef_).all()
    assert roc_auc_score(y, model.decision_function(X)) > 0.9


def test_of_equally_good_values_the_smallest_is_taken():
    # Far apart, so that every C ranks every fold perfectly.
    X, y = make(60, 3, 6, spread=200.0)
    assert LogisticRecogniser().fit(X, y).C_ == grid_search(X, y).best_params_["C"] == 1e-8


@pytest.mark.parametrize(
    ("y", "told"),
    [
        (np.zeros(10, int), "two classes or more, found 1"),
        (np.arange(10) < 2, r"class True: .* in 2 clip\(s\) only, fewer than the 3 folds"),
        (np.minimum(np.arange(10), 2), r"class 0: .* in 1 clip\(s\)"),
        (np.tile([[1, 0], [0, 0]], (5, 1)), r"tag 1: .* in 0 clip\(s\)"),
    ],
)
def test_labels_that_cannot_be_learnt(y, told):
    with pytest.raises(ArgumentError, match=told):
        LogisticRecogniser().fit(np.random.default_rng(0).normal(size=(10, 3)), y)
    with pytest.raises(ArgumentError, match="solver 'sgd': expected one of newton, liblinear"):
        LogisticRecogniser(solver="sgd").fit(*make(20, 3, 0))
    with pytest.raises(ArgumentError, match="intercept must be 'penalised' or 'free', not 'none'"):
        LogisticRecogniser(intercept="none").fit(*make(20, 3, 0))
    with pytest.raises(ArgumentError, match="liblinear penalises the intercept"):
        LogisticRecogniser(solver="liblinear", intercept="free").fit(*make(20, 3, 0))


def data(kind: str, n: int = 150, seed: int = 0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6))
    if kind == "number":
        return X, X[:, 0] * 3 + rng.normal(0, 0.5, n)
    if kind == "category":
        return X, (X[:, :3] + rng.normal(0, 0.5, (n, 3))).argmax(axis=1)
    tags = (X[:, :2] + rng.normal(0, 0.5, (n, 2)) > 0).astype(np.int8)
    return X, tags if kind == "tags" else tags[:, 0]


@pytest.mark.parametrize("solver", ["newton", "liblinear"])
def test_scores_of_the_folds_are_of_models_that_did_not_see_the_row(solver):
    X, y = data("label", n=90)
    order = np.argsort(-y, kind="stable")
    X, y = X[order], y[order]
    found = LogisticRecogniser(Cs=(1.0,), solver=solver).fit(X, y)
    for train, held_out in StratifiedKFold(3).split(X, y):
        again = LogisticRegression(
            C=1.0, solver="liblinear", class_weight="balanced", tol=1e-10
        ).fit(X[train], y[train])
        np.testing.assert_allclose(
            expit(found.cv_decision_[held_out]), again.predict_proba(X[held_out])[:, 1], atol=5e-3
        )


def test_one_tag_is_the_papers_recogniser():
    X, y = data("label")
    one = LogisticRecogniser(Cs=(0.1,)).fit(X, y)
    # Folds are others (not stratified), which matters for the choice of C only.
    tags = LogisticRecogniser(Cs=(0.1,)).fit(X, y[:, np.newaxis])
    np.testing.assert_allclose(tags.coef_, one.coef_, atol=1e-3)
    np.testing.assert_allclose(tags.intercept_, one.intercept_, atol=1e-3)


def test_tags_that_were_not_observed_do_not_count():
    X, Y = data("tags", n=300)
    with_gaps = Y.copy()
    with_gaps[100:, 1] = -1
    found = LogisticRecogniser(Cs=(1.0,)).fit(X, with_gaps)
    alone = LogisticRecogniser(Cs=(1.0,)).fit(X[:100], Y[:100, 1:])
    np.testing.assert_allclose(found.coef_[1], alone.coef_[0], atol=1e-3)


def test_classes_are_recognised():
    X, y = data("category", n=300)
    names = np.array(["blue", "green", "red"])
    model = LogisticRecogniser().fit(X[:200], names[y[:200]])
    assert (model.predict(X[200:]) == names[y[200:]]).mean() > 0.6
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)


# By name and by path


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

    fails, fitted = "", 0

    def fit(self, X, y):
        type(self).fitted += 1
        if self.fails == ("fit" if self.fitted == 1 else "folds"):
            raise ValueError("I do not like these")
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, X):
        if self.fails == "scores":
            raise KeyError("score")
        return X[:, 0]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *((kind, name) for name, kinds in RECOGNISERS.items() for kind in kinds),
        *((kind, "logistic:intercept=free") for kind in ("label", "tags", "category")),
    ],
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


@pytest.mark.parametrize("name", ["ridge", "svm", "knn", "mlp"])
@pytest.mark.parametrize("kind", ["label", "number"])
def test_dimensions_that_hardly_vary_in_training_are_not_blown_up(kind, name):
    X, y = data(kind, n=200)
    fresh, truth = data(kind, n=200, seed=1)
    X, fresh = X[:, :6] / X[:, :6].std(axis=0), fresh[:, :6] / X[:, :6].std(axis=0)
    rng = np.random.default_rng(2)
    still = np.column_stack([np.zeros(200), 1e-6 * rng.normal(size=200)])
    moving = 0.05 * rng.normal(size=(200, 2))

    def score(train, test):
        model = make_recogniser(name, kind, seed=3).fit(train, y)
        found = recogniser_scores(model, test, kind)[0]
        return r2_score(truth, found) if kind == "number" else roc_auc(truth, found)

    # Nothing of this is under the floor: the numbers are those of scikit-learn's scaler.
    plain = make_recogniser(name, kind, seed=3)
    plain.steps[0] = ("scaler", StandardScaler())
    own = make_recogniser(name, kind, seed=3).fit(X, y)
    expected = recogniser_scores(plain.fit(X, y), fresh, kind)[0]
    assert np.array_equal(recogniser_scores(own, fresh, kind)[0], expected)
    assert score(np.hstack([X, still]), np.hstack([fresh, moving])) > score(X, fresh) - 0.2


def test_clips_beyond_all_of_training_are_warned_of(tiny_corpus):
    h5 = tiny_corpus / "embeddings" / "toy.h5"
    with h5py.File(h5, "r+") as file:
        file["beta/toy/features"][:, 1] *= 100
    warned = evaluate(Corpus.load(tiny_corpus), "toy", recogniser="ridge", jobs=1).record[
        "warnings"
    ]
    warned = [w for w in warned if "clips lie far beyond what the recogniser was trained on" in w]
    assert {warning.split(":")[0] for warning in warned} == {
        f"toy, {label}, alpha/beta" for label in ("piano", "voice")
    }
    plain = evaluate(Corpus.load(tiny_corpus), "toy", jobs=1).record["warnings"]
    assert not any("far beyond" in warning for warning in plain)


def test_defaults():
    kinds = ("label", "tags", "category", "number")
    assert [recogniser_names(kind)[0] for kind in kinds] == [*["logistic"] * 3, "ridge"]


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


@pytest.mark.parametrize(
    ("fails", "told"),
    [
        (
            "fit",
            r"'test_recognisers:Moody', \d+ clips of alpha: could not be trained \(ValueError: I",
        ),
        ("folds", r"clips of alpha: could not be trained on folds, to choose a threshold"),
        ("scores", r"clips of alpha: could not score \d+ clips of alpha"),
    ],
)
def test_who_failed_is_told(tiny_corpus, monkeypatch, fails, told):
    monkeypatch.setattr(Moody, "fails", fails)
    monkeypatch.setattr(Moody, "fitted", 0)
    corpus, how = Corpus.load(tiny_corpus), {"recogniser": "test_recognisers:Moody", "jobs": 1}
    try:  # it may fail with one label, and the other goes on
        found = evaluate(corpus, "toy", report=fails == "folds", **how)
        said = found.record["skipped"][0]["reason"]
    except ArgumentError as error:
        said = str(error)
    assert re.search(told, said)


def test_tags_that_a_recogniser_learns_as_absent_are_warned_of(tiny_corpus):
    def warned(recogniser: str) -> list[str]:
        found = evaluate(
            Corpus.load(tiny_corpus), "toy", target="tags", recogniser=recogniser, jobs=1
        )
        return [text for text in found.record["warnings"] if "were not observed" in text]

    assert "clips of beta: of 180 tags of clips" in warned("ridge")[0]
    assert warned("logistic") == []


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
        ("logistic", "number", "expected one of ridge, svm, knn, mlp for a target of the kind num"),
        ("logistic:intercept=none", "label", "intercept must be 'penalised' or 'free', not 'none'"),
        ("logistic:C=1", "label", "'logistic' has no option 'C'; there are: intercept"),
        ("logistic-liblinear:intercept=free", "label", "no option 'intercept'; there are: none"),
        ("no.such:Thing", "label", r"cannot be imported \(No module named 'no'\)"),
        ("sklearn.svm.Nothing", "label", "cannot be imported .* has no attribute 'Nothing'"),
        (":SVC", "label", "cannot be imported"),
        ("numpy:pi", "label", "calling it without arguments gives no scikit-learn estimator"),
        ("test_recognisers:Demanding", "label", "missing 1 required positional argument: 'size'"),
        ("builtins:dict", "label", "gives no scikit-learn estimator"),
        ("sklearn.svm:SVR", "tags", "not a classifier, as is needed for"),
        ("sklearn.svm:SVC", "number", "not a regressor"),
        ("test_recognisers:Silent", "label", "neither decision_function nor predict_proba"),
    ],
)
def test_what_cannot_be_used_is_told(path, kind, told):
    with pytest.raises(ArgumentError, match=told) as caught:
        make_recogniser(path, kind)
    assert path in str(caught.value)


@pytest.mark.parametrize(("width", "fits"), [(5, 1e-10), (40, 1e-4)])
def test_rows_that_are_lost_in_rounding_are_refused_in_any_shape(width, fits):
    X, y = np.random.default_rng(0).normal(size=(30, width)), np.arange(30) % 2
    for scale in (fits, 0.0):
        make_recogniser("logistic").fit(X * scale, y)
    with pytest.raises(ArgumentError, match=r"long on average, out of the range"):
        make_recogniser("logistic").fit(X * 1e-18, y)
    with pytest.raises(ArgumentError, match=r"around an offset .* lost in its rounding; subtract"):
        make_recogniser("logistic").fit(X + 1e10, y)
    for rows in (X + 100, 0 * X + 1e10):
        make_recogniser("logistic").fit(rows, y)
