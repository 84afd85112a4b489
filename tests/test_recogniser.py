"""The recogniser: its solver, its span, and the choice of C."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV

from biasmir_utils.corrections import ThinMap
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments import PAPER_C, LogisticRecogniser, Span
from biasmir_utils.experiments.recognisers import balanced_weights, solve_logistic


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
    np.testing.assert_allclose(
        ours.cv_roc_auc_, search.cv_results_["mean_test_score"], atol=0.01, rtol=0
    )
    scores = [model.decision_function(X_test) for model in (ours, search)]
    aucs = [roc_auc_score(y_test, score) for score in scores]
    assert abs(aucs[0] - aucs[1]) < 0.005
    np.testing.assert_array_equal(ours.predict(X_test), (scores[0] > 0).astype(int))
    np.testing.assert_allclose(ours.predict_proba(X_test).sum(axis=1), 1)


@settings(deadline=None, max_examples=30)
@given(
    st.integers(10, 40),
    st.integers(1, 60),
    st.sampled_from([1e-6, 1e-2, 1.0, 100.0]),
    st.integers(0, 2**31),
)
def test_the_solver_minimises_the_objective(n, n_features, C, seed):
    X, y = make(n, n_features, seed, offset=2.0)
    costs = C * balanced_weights(y, np.ones(n, bool))
    rows = np.column_stack([X, np.ones(n)])

    def objective(w):
        return 0.5 * w @ w + costs @ np.logaddexp(0, np.where(y > 0, -1, 1) * (rows @ w))

    def gradient(w):
        return w + rows.T @ (costs * (1 / (1 + np.exp(-(rows @ w))) - y))

    best = minimize(
        objective,
        np.zeros(n_features + 1),
        jac=gradient,
        method="L-BFGS-B",
        options={"maxiter": 20000, "maxfun": 50000, "ftol": 0, "gtol": 1e-10},
    )
    span = Span.of(X)
    solution, decisions = solve_logistic(span.coordinates, y, costs[np.newaxis])
    w = np.append(*span.weights(solution[0]))
    start = objective(np.zeros(n_features + 1))
    assert objective(w) - best.fun <= 1e-6 * (start - best.fun) + 1e-12 * start
    np.testing.assert_allclose(decisions[0], rows @ w, atol=1e-6 * (1 + np.abs(decisions).max()))


def test_problems_are_solved_independently():
    X, y = make(80, 120, 3)
    span = Span.of(X)
    masks = np.random.default_rng(0).random((6, 80)) < 0.7
    costs = np.array([10.0**i * balanced_weights(y, mask) for i, mask in enumerate(masks, -3)])
    together, _ = solve_logistic(span.coordinates, y, costs)
    for cost, solution in zip(costs, together, strict=True):
        alone, _ = solve_logistic(span.coordinates, y, cost[np.newaxis])
        np.testing.assert_allclose(alone[0], solution, rtol=1e-3, atol=1e-6 * np.abs(alone).max())


def test_rows_outside_of_a_fold_do_not_matter():
    X, y = make(90, 12, 4)
    mask = np.arange(90) % 3 > 0
    span = Span.of(X)
    cost = balanced_weights(y, mask)
    solution, _ = solve_logistic(span.coordinates, y, cost[np.newaxis], tol=1e-8)
    model = LogisticRegression(solver="liblinear", class_weight="balanced", tol=1e-10)
    model.fit(X[mask], y[mask])
    coef, intercept = span.weights(solution[0])
    np.testing.assert_allclose(coef, model.coef_[0], atol=1e-5)
    assert intercept == pytest.approx(model.intercept_[0], abs=1e-5)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(2, 30),
    st.integers(1, 50),
    st.integers(1, 3),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_a_projection_in_the_span_is_the_projection_of_the_rows(
    n, n_features, k, dose, within, seed
):
    rng = np.random.default_rng(seed)
    X = rng.normal(1, 1, (n, n_features))
    source = X if within else rng.normal(size=(k, n_features))
    V = np.linalg.qr(source[: min(k, n, n_features)].T)[0].T
    span = Span.of(X).project_out(V, dose)
    projected = X - dose * (X @ V.T) @ V
    # Inner products, with the constant, are all that an L2-penalised model sees.
    gram = span.coordinates @ span.coordinates.T
    np.testing.assert_allclose(gram, projected @ projected.T + 1, atol=1e-8 * (1 + n_features))
    # And the basis is orthonormal, so that the penalty is that of the weights.
    solution = rng.normal(size=span.coordinates.shape[1])
    coef, intercept = span.weights(solution)
    assert coef @ coef + intercept**2 == pytest.approx(solution @ solution, rel=1e-6)
    np.testing.assert_allclose(
        projected @ coef + intercept, span.coordinates @ solution, atol=1e-7 * (1 + n_features)
    )


@settings(deadline=None, max_examples=40)
@given(
    st.integers(2, 30),
    st.integers(1, 50),
    st.integers(1, 3),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_a_thin_map_in_the_span_is_the_map_of_the_rows(n, n_features, k, dose, with_center, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(1, 1, (n, n_features))
    right = np.linalg.qr(rng.normal(size=(n_features, min(k, n_features))))[0].T
    center = rng.normal(size=n_features) if with_center else None
    thin = ThinMap(rng.normal(size=right.shape), right, center)
    span, moved = Span.of(X).move(thin, dose), thin(X, dose)
    scale = 1 + np.abs(moved).max()
    np.testing.assert_allclose(
        span.coordinates @ span.coordinates.T, moved @ moved.T + 1, atol=1e-8 * scale**2
    )
    solution = rng.normal(size=span.coordinates.shape[1])
    coef, intercept = span.weights(solution)
    np.testing.assert_allclose(
        moved @ coef + intercept, span.coordinates @ solution, atol=1e-7 * scale
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


def test_classes_may_have_any_name():
    X, y = make(60, 5, 7)
    names = np.array(["absent", "present"])
    model = LogisticRecogniser().fit(X, names[y])
    assert model.classes_.tolist() == ["absent", "present"]
    assert set(model.predict(X)) == {"absent", "present"}


@pytest.mark.parametrize(
    ("y", "told"),
    [
        (np.zeros(10, int), "two classes, found 1"),
        (np.arange(10) % 3, "two classes, found 3"),
        (np.arange(10) < 2, "2 clip.s., fewer than the 3 folds"),
    ],
)
def test_labels_that_cannot_be_learnt(y, told):
    with pytest.raises(ArgumentError, match=told):
        LogisticRecogniser().fit(np.random.default_rng(0).normal(size=(10, 3)), y)


def test_an_unknown_solver():
    with pytest.raises(ArgumentError, match="solver 'sgd': expected one of newton, liblinear"):
        LogisticRecogniser(solver="sgd").fit(*make(20, 3, 0))
