"""Recognisers behind corrections: trained on corrected rows, asked about corrected rows."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import KFold, StratifiedKFold

from biasmir_utils.corrections.grammar import Correction
from biasmir_utils.errors import ArgumentError, BiasMIRError
from biasmir_utils.experiments.metrics import best_threshold
from biasmir_utils.experiments.recogniser import LogisticRecogniser
from biasmir_utils.experiments.recognisers import make_recogniser, recogniser_scores
from biasmir_utils.experiments.shared_logistic import SharedLogistic
from biasmir_utils.experiments.span import Span
from biasmir_utils.experiments.targets import LABEL, TAGS

Array = NDArray[Any]
N_FOLDS = 3


@dataclass(frozen=True)
class Trained:
    """A recogniser with the correction of the rows that it takes.

    Attributes
    ----------
    recogniser : estimator
    correction : transformer, or None
        None: it takes rows as they are.
    kind : {'label', 'tags', 'category', 'number'}
    thresholds : ndarray, (1,) or (n_tags,)
        Score above which a label is taken for present such that the balanced accuracy is best on
        the source's training rows, each scored by the fold that did not train on it; NaN where
        it was not asked for.
    told : str
        What it is, for messages.
    """

    recogniser: Any
    correction: Any
    kind: str
    thresholds: Array
    told: str = "recogniser"

    def scores(self, X: Array, dataset: str) -> tuple[Array, Array]:
        """Return scores and probabilities of a dataset's rows; see `recogniser_scores`.

        Raises
        ------
        ArgumentError
            If the recogniser, which may be anybody's, fails.
        """
        rows = corrected(self.correction, X, dataset)
        with _telling(f"{self.told}: could not score {len(rows)} clips of {dataset}"):
            return recogniser_scores(self.recogniser, rows, self.kind)


def train_recognisers(
    name: str,
    kind: str,
    corrections: Mapping[tuple[Correction, str], Any],
    X: Array,
    y: Array,
    dataset: str,
    *,
    spans: dict[str, Span],
    seed: int = 0,
    thresholds: bool = False,
) -> list[Trained]:
    """Train a recogniser on the rows of a dataset after each of some corrections.

    Parameters
    ----------
    name, kind : str
        See `recognisers.make_recogniser`.
    corrections : mapping
        For each variant the fitted transformer, None for nothing to correct.
    X : ndarray, (n_clips, n_features)
    y : ndarray
    dataset : str
        The domain of the rows.
    spans : dict
        The span of these rows under the dataset's name, filled in when it is first needed.
    seed : int
    thresholds : bool
        Whether to choose thresholds.

    Returns
    -------
    list of Trained
        In the order of `corrections`.

    Raises
    ------
    ArgumentError
        If a recogniser, which may be anybody's, fails.
    """
    trained = []
    told = f"recogniser {name!r}, {len(X)} clips of {dataset}"
    for (spec, _), correction in corrections.items():
        recogniser = make_recogniser(name, kind, seed)
        if _takes_spans(recogniser) and (correction is None or spec.is_low_rank):
            # One span serves the uncorrected rows and all thin maps of them.
            if dataset not in spans:
                spans[dataset] = Span.of(X)
            _fit_span(recogniser, spans[dataset], correction, y)
            found = recogniser.cv_decision_ if thresholds else None
            correction = None
        else:
            rows = corrected(correction, X, dataset)
            blank = clone(recogniser) if thresholds else None
            complete = _complete(recogniser, y, told)
            with _telling(f"{told}: could not be trained"):
                recogniser.fit(rows, complete)
            found = None
            if blank is not None:
                with _telling(f"{told}: could not be trained on folds, to choose a threshold"):
                    found = _out_of_fold(recogniser, blank, rows, complete, kind)
        chosen = np.full(y.shape[1] if y.ndim == 2 else 1, np.nan)
        if found is not None and kind in (LABEL, TAGS):
            columns = zip(y.reshape(len(y), -1).T, found.reshape(len(y), -1).T, strict=True)
            for k, (truth, score) in enumerate(columns):
                chosen[k] = best_threshold(truth[truth >= 0], score[truth >= 0])
        trained.append(Trained(recogniser, correction, kind, chosen, told))
    return trained


def corrected(correction: Any, X: Array, dataset: str) -> Array:
    """Return a dataset's rows after a correction, None being no correction."""
    if correction is None:
        return X
    found: Array = correction.transform(X, sample_domain=np.full(len(X), dataset))
    return found


def _takes_spans(recogniser: Any) -> bool:
    if isinstance(recogniser, LogisticRecogniser):
        return recogniser.solver == "newton"
    return isinstance(recogniser, SharedLogistic)


def _fit_span(recogniser: Any, span: Span, correction: Any, y: Array) -> None:
    """Fit to the rows after a thin map, and make the recogniser take rows before it."""
    if correction is None:
        recogniser.fit_span(span, y)
        return
    thin, alpha = correction.thin_map, correction.alpha
    recogniser.fit_span(span.move(thin, alpha), y)
    # w'(x - a R'L (x - c)) = (w - a L'R w)'x + a w'R'L c.
    along = alpha * (recogniser.coef_ @ thin.right.T)
    recogniser.coef_ -= along @ thin.left
    if thin.center is not None:
        recogniser.intercept_ += along @ (thin.left @ thin.center)


@contextmanager
def _telling(what: str) -> Iterator[None]:
    """Say which recogniser it was if it fails, and what it could not do."""
    try:
        yield
    except BiasMIRError:
        raise
    except Exception as error:
        raise ArgumentError(
            f"{what} ({type(error).__name__}: {error}); choose another recogniser or embedding"
        ) from error


def _complete(recogniser: Any, y: Array, told: str) -> Array:
    """Return tags without gaps for a recogniser that knows of none: not observed is absent."""
    if y.ndim == 1 or isinstance(recogniser, SharedLogistic):
        return y
    unknown = int((y < 0).sum())
    if unknown:
        warnings.warn(
            f"{told}: of {y.size} tags of clips {unknown} were not observed; this recogniser "
            "learns them as absent, and may find too few. logistic leaves them out",
            stacklevel=2,
        )
    filled: Array = np.maximum(y, 0)
    return filled


def _out_of_fold(recogniser: Any, blank: Any, X: Array, y: Array, kind: str) -> Array | None:
    """Return the score of each row by a recogniser that was not trained on it."""
    if kind not in (LABEL, TAGS):
        return None
    if hasattr(recogniser, "cv_decision_"):
        kept: Array = recogniser.cv_decision_
        return kept
    folds: Sequence[Any] = [StratifiedKFold(N_FOLDS), KFold(N_FOLDS)]
    found = np.empty(y.shape)
    for train, held_out in folds[y.ndim - 1].split(X, y if y.ndim == 1 else None):
        model = clone(blank).fit(X[train], y[train])
        found[held_out] = recogniser_scores(model, X[held_out], kind)[0]
    return found
