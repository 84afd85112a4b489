"""Recognisers by name, or by the dotted path of any scikit-learn estimator.

`logistic` is the paper's: `recogniser.LogisticRecogniser`, its C chosen by cross-validation. The
others stand for families that read an embedding in other ways, with the habits of scikit-learn
and standardised features. A dotted path, `package.module:Name` or `package.module.Name`, names an
estimator class or a function that returns an estimator; **it is imported and called, so it runs
the code that it names**.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.linear_model import RidgeClassifier, RidgeClassifierCV, RidgeCV
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from biasmir_utils.errors import ArgumentError, did_you_mean
from biasmir_utils.experiments.recogniser import LogisticRecogniser
from biasmir_utils.experiments.shared_logistic import SharedLogistic
from biasmir_utils.experiments.targets import CATEGORY, LABEL, NUMBER, TAGS

Array = NDArray[Any]

RIDGE_ALPHAS = tuple(10.0**exponent for exponent in range(-1, 6))
N_NEIGHBOURS = 15


class _AtMost:
    """Nearest neighbours of which there may be fewer than were asked for: then all of them."""

    def kneighbors(
        self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True
    ) -> Any:
        wanted = self.n_neighbors if n_neighbors is None else n_neighbors  # type: ignore[attr-defined]
        there = self.n_samples_fit_ - (X is None)  # type: ignore[attr-defined]
        return super().kneighbors(X, min(wanted, there), return_distance)  # type: ignore[misc]


class NeighboursClassifier(_AtMost, KNeighborsClassifier):
    """scikit-learn's, with as many neighbours as there are training rows at most."""


class NeighboursRegressor(_AtMost, KNeighborsRegressor):
    """scikit-learn's, with as many neighbours as there are training rows at most."""


def _scaled(estimator: Any) -> Any:
    return make_pipeline(StandardScaler(), estimator)


def _neighbours() -> Any:
    return _scaled(NeighboursClassifier(N_NEIGHBOURS, weights="distance"))


def _perceptron(kind: Callable[..., Any]) -> Any:
    return _scaled(kind(hidden_layer_sizes=(128,), early_stopping=True))


# What is recognised -> name -> how to make an unfitted estimator.
RECOGNISERS: Mapping[str, Mapping[str, Callable[[], Any]]] = {
    LABEL: {
        "logistic": LogisticRecogniser,
        "logistic-liblinear": lambda: LogisticRecogniser(solver="liblinear"),
        "ridge": lambda: _scaled(RidgeClassifierCV(RIDGE_ALPHAS, class_weight="balanced")),
        "svm": lambda: _scaled(SVC(class_weight="balanced")),
        "knn": _neighbours,
        "mlp": lambda: _perceptron(MLPClassifier),
    },
    TAGS: {
        "logistic": SharedLogistic,
        "ridge": lambda: _scaled(RidgeClassifier(1e3)),
        "knn": _neighbours,
        "mlp": lambda: _perceptron(MLPClassifier),
    },
    CATEGORY: {
        "logistic": SharedLogistic,
        "ridge": lambda: _scaled(RidgeClassifierCV(RIDGE_ALPHAS, class_weight="balanced")),
        "svm": lambda: _scaled(SVC(class_weight="balanced", decision_function_shape="ovr")),
        "knn": _neighbours,
        "mlp": lambda: _perceptron(MLPClassifier),
    },
    NUMBER: {
        "ridge": lambda: _scaled(RidgeCV(RIDGE_ALPHAS)),
        "svm": lambda: _scaled(SVR()),
        "knn": lambda: _scaled(NeighboursRegressor(N_NEIGHBOURS, weights="distance")),
        "mlp": lambda: _perceptron(MLPRegressor),
    },
}
_IN_WORDS = {LABEL: "a label", TAGS: "tags", CATEGORY: "a category", NUMBER: "a number"}
DEFAULTS = {LABEL: "logistic", TAGS: "logistic", CATEGORY: "logistic", NUMBER: "ridge"}


def make_recogniser(name: str, kind: str = LABEL, seed: int = 0) -> Any:
    """Return an unfitted recogniser.

    Parameters
    ----------
    name : str
        A name of `RECOGNISERS` for this kind, or a dotted path.
    kind : {'label', 'tags', 'category', 'number'}
        What is recognised.
    seed : int
        Given to every parameter called `random_state` that has no value, so that the same run
        gives the same numbers.

    Raises
    ------
    ArgumentError
        If there is no such name, or the path cannot be imported, or what it names is not an
        estimator for this kind.
    """
    known = RECOGNISERS[kind]
    if name in known:
        estimator = known[name]()
    elif "." in name or ":" in name:
        estimator = _imported(name, kind)
    else:
        raise ArgumentError(
            f"recogniser {name!r}: expected one of {', '.join(known)} for {_IN_WORDS[kind]}, or "
            f"the dotted path of a scikit-learn estimator, such as sklearn.naive_bayes:GaussianNB."
            f"{did_you_mean(name, known)}"
        )
    unset = {
        key: seed
        for key, value in estimator.get_params().items()
        if key.split("__")[-1] == "random_state" and value is None
    }
    return estimator.set_params(**unset)


def _imported(path: str, kind: str) -> Any:
    """Return an estimator made by the class or function that a dotted path names."""
    module_name, colon, attribute = path.partition(":")
    if not colon:
        module_name, _, attribute = path.rpartition(".")
    told = f"recogniser {path!r}"
    try:
        made: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            made = getattr(made, part)
    except (ImportError, ValueError) as error:
        raise ArgumentError(f"{told}: {module_name!r} cannot be imported ({error})") from error
    except AttributeError:
        raise ArgumentError(f"{told}: {module_name!r} has no {attribute!r}") from None
    try:
        estimator = made()
    except Exception as error:
        raise ArgumentError(
            f"{told}: calling it without arguments failed ({type(error).__name__}: {error}); name "
            "a class whose parameters have defaults, or a function that returns an estimator"
        ) from error
    lacks = [
        method for method in ("fit", "get_params", "set_params") if not hasattr(estimator, method)
    ]
    if lacks:
        raise ArgumentError(f"{told}: not a scikit-learn estimator, it has no {lacks[0]!r}")
    try:
        clone(estimator)
    except (TypeError, RuntimeError) as error:
        raise ArgumentError(f"{told}: cannot be cloned by scikit-learn ({error})") from error
    if kind == NUMBER:
        if not is_regressor(estimator):
            raise ArgumentError(f"{told}: not a regressor, as is needed for a number")
    elif not is_classifier(estimator):
        raise ArgumentError(f"{told}: not a classifier, as is needed for {_IN_WORDS[kind]}")
    elif not (hasattr(estimator, "decision_function") or hasattr(estimator, "predict_proba")):
        raise ArgumentError(f"{told}: has neither decision_function nor predict_proba")
    return estimator


def recogniser_scores(recogniser: Any, X: Array, kind: str = LABEL) -> tuple[Array, Array]:
    """Return scores and probabilities of rows.

    Parameters
    ----------
    recogniser : estimator
        Fitted.
    X : ndarray, (n, n_features)
    kind : {'label', 'tags', 'category', 'number'}

    Returns
    -------
    score : ndarray, (n,) or (n, n_columns)
        For a label or a number a vector; a column for each tag or class otherwise. Without a
        `decision_function`, a label's score is its probability minus 1/2.
    probability : ndarray
        Of the same shape; NaN where the recogniser gives none.
    """
    if kind == NUMBER:
        score = np.asarray(recogniser.predict(X), dtype=np.float64).reshape(len(X))
        return score, np.full(len(X), np.nan)
    if isinstance(recogniser, LogisticRecogniser):
        coef, intercept = recogniser.coef_[0], recogniser.intercept_[0]
        # In the precision of the rows: random features of test rows are in single precision.
        score = (X @ coef.astype(X.dtype)).astype(np.float64) + intercept
        return score, expit(score)
    probability = None
    if hasattr(recogniser, "predict_proba"):
        probability = _columns(recogniser.predict_proba(X), kind)
    if hasattr(recogniser, "decision_function"):
        score = np.asarray(recogniser.decision_function(X), dtype=np.float64)
        if kind == CATEGORY and score.ndim == 1:
            # Of two classes scikit-learn scores only the second.
            score = np.column_stack([-score, score])
    else:
        assert probability is not None
        score = probability if kind == CATEGORY else probability - 0.5
    return score, np.full(score.shape, np.nan) if probability is None else probability


def _columns(probability: Any, kind: str) -> Array:
    """Return what `predict_proba` gave as a column for each tag or class, a vector for a label."""
    if isinstance(probability, list):
        # scikit-learn's multi-label form: for each tag a matrix with a column for each class.
        return np.column_stack(
            [part[:, 1] if part.shape[1] > 1 else np.zeros(len(part)) for part in probability]
        ).astype(np.float64)
    columns = np.asarray(probability, dtype=np.float64)
    return columns[:, 1] if kind == LABEL else columns
