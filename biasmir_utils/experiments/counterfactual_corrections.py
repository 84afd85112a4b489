"""How well corrections find the shift between two renderings, and what is gained by it.

A correction is fitted as its user would fit it: on the training pieces, half of them from one
dataset and the other half from the other one, so that it never sees two renderings of a piece.
Then it is held against the truth, on the test pieces, of which both renderings are known.

Beside the corrections stand oracles, which are told what no user knows (`ORACLES`). They say how
much a correction of their kind could reach at best.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeCV

from biasmir_utils.corrections.by_name import fit_correction
from biasmir_utils.corrections.grammar import parse_correction
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.counterfactual import Renderings
from biasmir_utils.experiments.counterfactual_deals import (
    Deal,
    Rows,
    deal_pieces,
    usable_labels,
)
from biasmir_utils.experiments.metrics import weighted_balanced_accuracy, weighted_roc_auc
from biasmir_utils.experiments.paired_statistics import (
    FloatArray,
    between_variance,
    mean_product,
    ratio,
    root,
    squared_mean_length,
    track_weights,
    weighted_mean,
    with_intervals,
)
from biasmir_utils.experiments.recogniser import LogisticRecogniser
from biasmir_utils.experiments.span import Span

CORRECTIONS = (
    *("none", "random", "lda", "mlda", "meanproj", "leace", "leace:groups=group"),
    *("inlp", "center", "coral", "gaussian_ot"),
)
"""What is judged unless told otherwise."""

ORACLES = {
    "oracle:mean": "the mean shift of the training pieces is subtracted",
    "oracle:group": "the mean shift of the training pieces of the same genre is subtracted",
    "oracle:directions": "the ten directions in which the shifts are largest are projected out",
    "oracle:map": "the best linear map from one rendering to the other, a ridge regression",
    "oracle:piece": "the shift of the piece itself is subtracted, which leaves it as at home",
    "oracle:retrained": "nothing is corrected: the recogniser is trained on the pieces as away",
}
"""What the oracles do, with both renderings of the training pieces (``piece``: of all)."""

N_DIRECTIONS = 10
"""Directions that ``oracle:directions`` projects out."""

METRICS = ("roc_auc", "balanced_accuracy")

_BOUNDS = {
    "angle": (0.0, 180.0),
    **dict.fromkeys(("mean_removed", "pieces_removed", "task_removed"), (-np.inf, 1.0)),
    **dict.fromkeys(("home", "away", "pooled"), (0.0, 1.0)),
}


@dataclass(frozen=True)
class Correct:
    """A fitted correction: functions from positions of pieces to corrected rows.

    Attributes
    ----------
    name : str
    home : callable
    away : callable
    moves_home : bool
        Whether rows at home are changed at all.
    """

    name: str
    home: Callable[[Rows], FloatArray]
    away: Callable[[Rows], FloatArray]
    moves_home: bool


def judge_corrections(
    renderings: Renderings,
    away: str,
    corrections: Sequence[str] = CORRECTIONS,
    *,
    oracles: Sequence[str] = tuple(ORACLES),
    labels: Sequence[str] | None = None,
    deals: int = 2,
    n_replicates: int = 300,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Hold corrections, fitted on unpaired clips, against the true shift and the oracles.

    Parameters
    ----------
    renderings : Renderings
        The first dataset is home, where the recognisers are trained.
    away : str
        The dataset that they have not seen.
    corrections : sequence of str
        Names of corrections without a feature map.
    oracles : sequence of str
        Keys of `ORACLES`.
    labels : sequence of str, optional
        Instruments to recognise; all of them without it, none for an empty sequence. Those too
        rare to be learned at home in every deal, or to be tested, are left out with a warning.
    deals : int
        How often the training pieces are dealt anew into two halves; results are averaged.
    n_replicates : int
        Of the bootstrap over tracks of the test pieces. A draw has both renderings of a piece, so
        that differences between home and away are paired. Corrections are not fitted anew.
    level : float
        Of the intervals.
    seed : int
        Of the deals (which take `seed`, `seed` + 1, ...), of random corrections and the bootstrap.

    Returns
    -------
    pandas.DataFrame
        Columns `correction`, `metric`, `quantity`, `value`, `low`, `high`. All are measured on the
        test pieces. With an empty `metric`:

        - `angle`: degrees between the true mean shift and what the correction takes out of it,
          the mean of x_away - x_home before minus after the correction; 90 is not found at all.
          Both means are taken without their sampling noise; where what is taken out has no more
          than that in common, the angle is 90. NaN if nothing is taken out of any piece.
        - `mean_removed`: 1 - squared length of the mean shift after / before.
        - `pieces_removed`: 1 - mean squared length of the pieces' shifts after / before.
        - `task_removed`: 1 - variance between the lead instruments' means at home after / before.

        With `metric` ROC-AUC or balanced accuracy (at the recognisers' own threshold), means over
        the labels: `home` and `away`, the scores on the two renderings; `pooled`, on both as one
        test set; `loss`, home minus away; `gain` and `cost`, what is won away and lost at home
        against no correction; `closed`, the gain / the loss without correction, NaN if none.

    Raises
    ------
    ArgumentError
        For an unknown name, or a feature map.
    """
    names = [*dict.fromkeys(["none", *corrections])]
    _check(renderings, names, oracles)
    dealt = [deal_pieces(renderings.pieces, seed + number) for number in range(deals)]
    wanted = usable_labels(renderings, renderings.labels if labels is None else labels, dealt)
    collected: dict[tuple[str, str, str], list[FloatArray]] = {}
    for number, deal in enumerate(dealt):
        track = renderings.pieces["track"].to_numpy(object)[deal.test].astype(str)
        W = track_weights(track, n_replicates, seed)
        without: dict[str, dict[str, FloatArray]] = {}
        recognised: dict[str, dict[str, FloatArray]] = {}
        for correct in _fit_all(renderings, away, names, oracles, deal, seed + number):
            for quantity, values in _geometry(renderings, away, correct, deal.test, W).items():
                collected.setdefault((correct.name, "", quantity), []).append(values)
            scores = _recognise(renderings, correct, deal, wanted, W, recognised)
            for metric, found in scores.items():
                without.setdefault(metric, found)  # the first one is no correction
                for quantity, values in _gains(found, without[metric]).items():
                    collected.setdefault((correct.name, metric, quantity), []).append(values)
    means = {key: np.mean(values, axis=0) for key, values in collected.items()}
    rows = []
    for (name, metric, quantity), values in means.items():
        if quantity == "closed":  # a ratio of means, which is steadier than a mean of ratios
            loss = means["none", metric, "loss"]
            nothing = np.full(len(loss), np.nan)
            gain = means[name, metric, "gain"]
            values = np.divide(gain, loss, out=nothing, where=loss > 1e-9)
        bounds = _BOUNDS.get(quantity, (-np.inf, np.inf))
        centred = bool(metric) and quantity != "closed"
        row = with_intervals({quantity: values}, level, bounds, centred)
        rows.append({"correction": name, "metric": metric, **row.iloc[0].to_dict()})
    return pd.DataFrame(rows)


def _check(renderings: Renderings, names: Sequence[str], oracles: Sequence[str]) -> None:
    for name in names:
        if parse_correction(name).kernel is not None:
            raise ArgumentError(
                f"correction {name!r} maps to other features, in which the shift is another one; "
                f"expected a correction without kernel"
            )
    for name in oracles:
        if name not in ORACLES:
            raise ArgumentError(f"no oracle {name!r}; there are {', '.join(ORACLES)}")
    if renderings.pieces["lead"].isna().any():
        raise ArgumentError("some pieces have no lead instrument")


def _fit_all(
    renderings: Renderings,
    away: str,
    names: Sequence[str],
    oracles: Sequence[str],
    deal: Deal,
    seed: int,
) -> Iterator[Correct]:
    for name in names:
        yield _fit(renderings, away, name, deal, seed)
    for name in oracles:
        yield _oracle(renderings, away, name, deal)


def _fit(renderings: Renderings, away: str, name: str, deal: Deal, seed: int) -> Correct:
    """Fit a correction on the user's clips: `source` at home, `target` away."""
    spec = parse_correction(name)
    X_home, X_away = renderings.X[0], renderings.X[renderings.position(away)]
    if not spec.corrects:
        return Correct(name, lambda rows: X_home[rows], lambda rows: X_away[rows], False)
    home = renderings.datasets[0]
    both = np.concatenate([deal.source, deal.target])
    transformer = fit_correction(
        spec,
        np.concatenate([X_home[deal.source], X_away[deal.target]]),
        renderings.pieces["lead"].to_numpy(object)[both],
        sample_domain=np.repeat([home, away], [len(deal.source), len(deal.target)]),
        sample_group=renderings.pieces["group"].to_numpy(object)[both],
        random_state=seed,
        draw=seed,
    )

    def corrected(X: FloatArray, dataset: str) -> FloatArray:
        out: FloatArray = transformer.transform(X, sample_domain=np.full(len(X), dataset))
        return out

    return Correct(
        name,
        lambda rows: corrected(X_home[rows], home),
        lambda rows: corrected(X_away[rows], away),
        True,
    )


def _oracle(renderings: Renderings, away: str, name: str, deal: Deal) -> Correct:
    """Make an oracle, which knows both renderings of the training pieces."""
    X_home, X_away = renderings.X[0], renderings.X[renderings.position(away)]
    train = np.concatenate([deal.source, deal.target])
    shift = X_away - X_home

    def home(rows: Rows) -> FloatArray:
        return X_home[rows]

    if name == "oracle:piece":
        return Correct(name, home, home, False)
    if name == "oracle:retrained":
        return Correct(name, lambda rows: X_away[rows], lambda rows: X_away[rows], True)
    if name == "oracle:mean":
        mean = shift[train].mean(axis=0)
        return Correct(name, home, lambda rows: X_away[rows] - mean, False)
    if name == "oracle:group":
        group = renderings.pieces["group"].astype(str).to_numpy(object)
        of = {g: shift[train[group[train] == g]].mean(axis=0) for g in np.unique(group[train])}
        overall = shift[train].mean(axis=0)
        moved = X_away - np.array([of.get(g, overall) for g in group])
        return Correct(name, home, lambda rows: moved[rows], False)
    if name == "oracle:directions":
        _, lengths, V = np.linalg.svd(shift[train], full_matrices=False)
        V = V[lengths > 1e-9 * lengths[0]][:N_DIRECTIONS]

        def left(X: FloatArray) -> FloatArray:
            return X - (X @ V.T) @ V

        return Correct(name, lambda rows: left(X_home[rows]), lambda rows: left(X_away[rows]), True)
    scale = np.square(X_away[train] - X_away[train].mean(axis=0)).sum() / len(train)
    ridge = RidgeCV(alphas=scale * np.logspace(-4, 2, 7)).fit(X_away[train], X_home[train])
    return Correct(name, home, lambda rows: ridge.predict(X_away[rows]), False)


def _geometry(
    renderings: Renderings, away: str, correct: Correct, test: Rows, W: FloatArray
) -> dict[str, FloatArray]:
    home = renderings.X[0][test]
    before = renderings.X[renderings.position(away)][test] - home
    corrected = correct.home(test)
    after = correct.away(test) - corrected
    lead = renderings.pieces["lead"].to_numpy(object)[test]
    length, rest = (squared_mean_length(W, rows) for rows in (before, after))
    spread, kept = (between_variance(W, rows, lead) for rows in (home, corrected))
    removed = before - after
    taken = squared_mean_length(W, removed)
    cosines = ratio(mean_product(W, removed, before), root(taken) * root(length))
    cosines[(taken <= 0) & (length > 0)] = 0.0
    if np.square(removed).sum() <= 1e-13 * np.square(before).sum():
        cosines[:] = np.nan

    def share(rows: FloatArray) -> FloatArray:
        return weighted_mean(W, np.square(rows).sum(axis=1))

    return {
        "angle": np.degrees(np.arccos(np.clip(cosines, -1, 1))),
        "mean_removed": 1 - ratio(rest, length),
        "pieces_removed": 1 - share(after) / share(before),
        "task_removed": 1 - ratio(kept, spread),
    }


def _recognise(
    renderings: Renderings,
    correct: Correct,
    deal: Deal,
    labels: Sequence[str],
    W: FloatArray,
    trained: dict[str, dict[str, FloatArray]],
) -> dict[str, dict[str, FloatArray]]:
    """Train a recogniser of each label at home, and return its mean scores under weightings."""
    if not labels:
        return {}
    X = correct.home(deal.source)
    X_home, X_away = correct.home(deal.test), correct.away(deal.test)
    found: dict[str, dict[str, list[FloatArray]]] = {metric: {} for metric in METRICS}
    spans: dict[bytes, Span] = {}
    for label in labels:
        y = renderings.pieces[label].to_numpy(dtype=np.float64)
        y_train, y_test = y[deal.source], y[deal.test]
        known, seen = ~np.isnan(y_train), ~np.isnan(y_test)
        key = "" if not correct.moves_home else correct.name
        coefficients = trained.setdefault(key, {})
        if label not in coefficients:
            if known.tobytes() not in spans:  # one span serves all labels with the same clips
                spans[known.tobytes()] = Span.of(X[known])
            coefficients[label] = _train(spans[known.tobytes()], y_train[known], label)
        weights, intercept = coefficients[label][:-1], coefficients[label][-1]
        home, away = (rows[seen] @ weights + intercept for rows in (X_home, X_away))
        truth, w = y_test[seen], W[:, seen]
        sides = {
            "home": (truth, home, w),
            "away": (truth, away, w),
            "pooled": (np.tile(truth, 2), np.concatenate([home, away]), np.tile(w, 2)),
        }
        for side, (t, scores, weightings) in sides.items():
            auc = weighted_roc_auc(t, scores, weightings)
            found["roc_auc"].setdefault(side, []).append(auc)
            accuracy = weighted_balanced_accuracy(t, scores, weightings)
            found["balanced_accuracy"].setdefault(side, []).append(accuracy)
    return {
        metric: {side: np.nanmean(values, axis=0) for side, values in sides.items()}
        for metric, sides in found.items()
    }


def _train(span: Span, y: FloatArray, label: str) -> FloatArray:
    try:
        model = LogisticRecogniser().fit_span(span, y)
    except ArgumentError as error:
        raise ArgumentError(f"label {label!r}: {error}") from None
    return np.append(model.coef_[0], model.intercept_[0])


def _gains(found: dict[str, FloatArray], without: dict[str, FloatArray]) -> dict[str, FloatArray]:
    return {
        **found,
        "loss": found["home"] - found["away"],
        "gain": found["away"] - without["away"],
        "cost": without["home"] - found["home"],
        "closed": found["away"] - without["away"],
    }
