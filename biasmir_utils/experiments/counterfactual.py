"""The shift that a change of dataset causes, clip by clip: how large, how constant, from what.

A counterfactual corpus holds the same pieces in several datasets, which differ in sound only. So
the *shift* of a piece is known: the embedding of one rendering minus that of another. What the
functions here say of it, for one embedding:

- `describe_shift`: its size against the spread of instruments, and how far it is one and the same
  vector for all pieces;
- `group_shifts`: whether genres or instruments are shifted alike;
- `factor_shares`: what the SoundFont causes, what the production chain, what only the two together.

- `judge_on_renderings`: how well corrections find it, and what is gained by it. A correction is
  fitted as its user would fit it: on the training pieces, half of them from one dataset and the
  other half from the other one, so that it never sees two renderings of a piece. Then it is held
  against the truth, on the test pieces, of which both renderings are known. Beside the corrections
  stand oracles, which are told what no user knows. They say how much a correction of their kind
  could reach at best.

Conventions
-----------
- Squared lengths of mean vectors are unbiased: the share of sampling noise, trace(S) / n, is left
  out, so that they may fall below zero. Cosines between mean vectors are made of unbiased products
  and lengths, lest noise pull them towards zero; where they come out above 1, they are set to 1.
- Intervals are quantiles of a bootstrap by track. A piece that is drawn twice is no second piece:
  its product with its copy is left out of lengths, products and variances like that with itself.
  Else all of them would be larger in the draws than they are (`_mean_product`).
  Where a length or variance is small beside its noise, its draws scatter up to the root of three
  times too much, and the intervals are on the safe side.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.linear_model import RidgeCV

from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections import fit_correction, parse_correction
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.metrics import FloatArray, ratio, weighted_metric
from biasmir_utils.experiments.recognisers import LogisticRecogniser, Span, make_recogniser
from biasmir_utils.experiments.stats import track_weights, with_intervals

PARTS = ("SoundFont", "production", "both together")
"""The parts of `factor_shares`: two main effects and their interaction."""
COUNTERFACTUAL_METRICS = ("roc_auc", "balanced_accuracy")
_BOUNDS = {
    "constant": (-np.inf, 1.0),
    "along": (0.0, 1.0),
    "cosine": (-1.0, 1.0),
    "angle": (0.0, 180.0),
    **dict.fromkeys(("mean_removed", "pieces_removed", "task_removed"), (-np.inf, 1.0)),
    **dict.fromkeys(("home", "away", "pooled"), (0.0, 1.0)),
}
_Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Renderings:
    """An embedding of the same pieces in several datasets.

    Attributes
    ----------
    embedding : str
        Name of the embedding.
    datasets : tuple of str
        The first one is home; the shift of another is counted from there.
    pieces : pandas.DataFrame
        A row for each piece: `clip`, `track`, `split`, `group`, `lead` (first of the instruments
        that play) and a column for each of `labels` (1, 0, or NaN where not observed).
    labels : list of str
        Instruments.
    X : ndarray, (n_datasets, n_pieces, n_features)
        Embedding of each piece in each dataset.
    """

    embedding: str
    datasets: tuple[str, ...]
    pieces: pd.DataFrame
    labels: list[str]
    X: FloatArray

    @classmethod
    def of(
        cls, corpus: Corpus, embedding: str, datasets: Sequence[str] | None = None
    ) -> Renderings:
        """Take an embedding out of a counterfactual corpus.

        Parameters
        ----------
        corpus : Corpus
            Its datasets hold clips of the same names.
        embedding : str
            One of the corpus's.
        datasets : sequence of str, optional
            At least two, home first; without it, all of the corpus in order.

        Raises
        ------
        ArgumentError
            If the datasets do not hold the same clips, or their labels differ, or a clip has not
            the embedding.
        """
        names = tuple(datasets or corpus.datasets)
        if len(names) < 2 or not set(names) <= set(corpus.datasets):
            raise ArgumentError(
                f"expected at least two datasets of corpus {corpus.name!r}, which has "
                f"{', '.join(corpus.datasets)}; got {', '.join(names)}"
            )
        if "instruments" not in corpus.clips:
            raise ArgumentError(
                f"corpus {corpus.name!r} has no column 'instruments'; expected one made by "
                f"'python data/make/demo.py OUT --counterfactual'"
            )
        clips = corpus.clips.sort_values("clip")
        parts = {name: clips[clips["dataset"] == name] for name in names}
        columns = ["clip", "track", "split", "group", "instruments", *corpus.labels]
        home = parts[names[0]][columns].reset_index(drop=True)
        for name, part in parts.items():
            other = part[columns].reset_index(drop=True)
            if differ := [column for column in columns if not home[column].equals(other[column])]:
                raise ArgumentError(
                    f"datasets {names[0]!r} and {name!r} of corpus {corpus.name!r} differ in the "
                    f"column {differ[0]!r}; expected the same pieces in both"
                )
        features = corpus.embedding(embedding)
        X = np.array([features[part.index] for part in parts.values()], dtype=np.float64)
        for d, piece in np.argwhere(np.isnan(X).any(axis=2)):
            raise ArgumentError(
                f"clip {home['clip'][piece]!r} of dataset {names[d]!r} has no embedding "
                f"{embedding!r}; run 'biasmir extract', or leave the piece out"
            )
        pieces = home.drop(columns="instruments")
        pieces[corpus.labels] = pieces[corpus.labels].ge(0.5).where(pieces[corpus.labels].notna())
        pieces.insert(4, "lead", home["instruments"].str.split().str[0].to_numpy(object))
        return cls(embedding, names, pieces, corpus.labels, X)

    def position(self, dataset: str) -> int:
        """Return the place of a dataset in `X`."""
        if dataset not in self.datasets:
            raise ArgumentError(f"no dataset {dataset!r}; there are {', '.join(self.datasets)}")
        return self.datasets.index(dataset)

    def shift(self, away: str) -> FloatArray:
        """Return the shift of each piece from the first dataset to another."""
        return self.X[self.position(away)] - self.X[0]


def describe_shift(
    shift: ArrayLike,
    home: ArrayLike,
    instrument: ArrayLike,
    track: ArrayLike,
    *,
    n_replicates: int = 500,
    seed: int = 0,
) -> pd.DataFrame:
    """Say how large and how constant a shift is.

    Parameters
    ----------
    shift : array-like, (n_pieces, n_features)
        Embedding away minus embedding at home.
    home : array-like, (n_pieces, n_features)
        Embedding at home.
    instrument : array-like, (n_pieces,)
        Lead instrument of each piece.
    track : array-like, (n_pieces,)
        Track of each piece; pieces of one track are drawn together.
    n_replicates : int
        Draws of the tracks, at least 1.
    seed : int
        Of the draws.

    Returns
    -------
    pandas.DataFrame
        Columns `quantity`, `value`, `low`, `high`, with the rows

        - `size`: length of the mean shift / spread of the instruments. The spread is the root of
          the variance between the lead instruments' means at home, over all features (the
          variance component of a one-way analysis of variance): how far an instrument's mean
          typically lies from the mean of all.
        - `piece_size`: the root mean squared length of single pieces' shifts, by the same spread.
        - `constant`: squared length of the mean shift / mean squared length of the shifts: what
          one vector, subtracted from all, would take away. 1 for a constant shift.
        - `along`: share of the mean squared length of the shifts that lies along the direction of
          their mean: what a projection would take away. At least `constant`, but for noise.
        - `cosine`: mean cosine between the shift of a piece and the mean shift.

          Both compare a piece with the mean of the other tracks only, and the noise of that mean
          is taken off. NaN where the interval of the mean's length includes zero: it has no
          direction to speak of then.
        - `left`: root mean squared length of the shifts after their mean is subtracted, by the
          spread of the instruments.
    """
    shift, home = np.asarray(shift, dtype=np.float64), np.asarray(home, dtype=np.float64)
    if not shift.any():
        raise ArgumentError("the shift is zero for all pieces; expected two different datasets")
    W = track_weights(track, n_replicates, seed)
    squares = np.square(shift).sum(axis=1)
    total = _mean_square(W, shift)
    length = _mean_product(W, shift, shift)
    spread = _between_variance(W, home, instrument)
    products, squared = _products_with_others(W, shift, track)
    products /= np.sqrt(np.where(squares > 0, squares, 1.0))
    along, agreement = ((W * each).sum(axis=1) / W.sum(axis=1) for each in (squared, products))
    if not with_intervals({"length": length}, centred=False)["low"][0] > 0:
        along, agreement = np.full((2, len(W)), np.nan)
    statistics = {
        "size": _root(ratio(length, spread)),
        "piece_size": _root(ratio(total, spread)),
        "constant": length / total,
        "along": ratio(along, length * total),
        "cosine": ratio(agreement, _root(length)),
        "left": _root(ratio(total - length, spread)),
    }
    return with_intervals(statistics, bounds=_BOUNDS, centred=False)


def group_shifts(
    shift: ArrayLike,
    group: ArrayLike,
    track: ArrayLike,
    *,
    n_replicates: int = 500,
    n_permutations: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare the mean shift of each group (genre, instrument) with that of all other pieces.

    Parameters
    ----------
    shift : array-like, (n_pieces, n_features)
        Embedding away minus embedding at home.
    group : array-like, (n_pieces,)
        What to compare: genre or lead instrument of each piece.
    track : array-like, (n_pieces,)
        Track of each piece.
    n_replicates : int
        Draws of the tracks, at least 1.
    n_permutations : int
        Of random groups of the same sizes, whose cosines differ from 1 by noise alone.
    seed : int
        As in `describe_shift`.

    Returns
    -------
    pandas.DataFrame
        A row for each group, in sorted order: `group`, `pieces`; `cosine` of the angle between
        the group's mean shift and that of all other pieces, with `low` and `high`, NaN if one of
        the two means is no longer than noise would make it; `chance`, the mean of that cosine for
        random groups of this size, and `chance_low`, which one in twenty of them falls below
        (where theirs is NaN, it counts as -1); `size`, the length of the group's mean shift / that
        of all pieces, with `size_low` and `size_high`.
    """
    shift, codes, names = np.asarray(shift, dtype=np.float64), *_category_codes(group)
    W = track_weights(track, n_replicates, seed)
    whole = _mean_product(W, shift, shift)
    rng = np.random.default_rng(seed)
    once = np.ones((1, len(shift)))
    dealt = [rng.permutation(codes) for _ in range(n_permutations)]
    random = np.array([_cosines(once, shift, deal)[0][:, 0] for deal in dealt]).clip(-1, 1)
    cosines, lengths = _cosines(W, shift, codes)
    alike, sizes = (
        dict(zip(names, values, strict=True)) for values in (cosines, _root(ratio(lengths, whole)))
    )
    table = with_intervals(alike, bounds=dict.fromkeys(names, (-1.0, 1.0)), centred=False)
    table = table.rename(columns={"quantity": "group", "value": "cosine"})
    table.insert(1, "pieces", np.bincount(codes))
    table["chance"] = pd.DataFrame(random).mean().to_numpy()
    table["chance_low"] = np.quantile(np.nan_to_num(random, nan=-1.0), 0.05, axis=0)
    size = with_intervals(sizes, centred=False)
    return table.assign(size=size["value"], size_low=size["low"], size_high=size["high"])


def factor_shares(
    X: ArrayLike,
    track: ArrayLike,
    *,
    n_replicates: int = 500,
    seed: int = 0,
) -> pd.DataFrame:
    """Divide what changes between four renderings among SoundFont and production.

    For each piece the four embeddings x00 (home), x10 (other SoundFont), x01 (other production)
    and x11 (both) give the effects F = (x10 - x00 + x11 - x01) / 2, C = (x01 - x00 + x11 - x10) / 2
    and I = (x11 - x10 - x01 + x00) / 2. The sum of squares of the four around their mean is
    exactly `|F|^2 + |C|^2 + |I|^2`.

    Parameters
    ----------
    X : array-like, (4, n_pieces, n_features)
        In that order.
    track : array-like, (n_pieces,)
        Track of each piece.
    n_replicates, seed : int
        As in `describe_shift`.

    Returns
    -------
    pandas.DataFrame
        Columns `of`, `part`, `value`, `low`, `high`: the share of each of `PARTS` in the squared
        lengths of the mean effects (`of` is "mean shift") and in the mean squared lengths of the
        effects on single pieces ("single pieces"); each of the two sums to 1. One more row
        ("mean shift", "cosine") is the cosine of the angle between the two mean main effects.
    """
    x00, x10, x01, x11 = np.asarray(X, dtype=np.float64)
    doubled = x10 - x00 + x11 - x01, x01 - x00 + x11 - x10, x11 - x10 - x01 + x00
    effects = [effect / 2 for effect in doubled]
    W = track_weights(track, n_replicates, seed)
    of_mean = np.array([_mean_product(W, effect, effect) for effect in effects])
    of_pieces = np.array([_mean_square(W, effect) for effect in effects])
    tables = []
    for name, squares in (("mean shift", of_mean), ("single pieces", of_pieces)):
        statistics = dict(zip(PARTS, ratio(squares, squares.sum(axis=0)), strict=True))
        if name == "mean shift":
            product = _mean_product(W, effects[0], effects[1])
            statistics["cosine"] = ratio(product, _root(of_mean[0]) * _root(of_mean[1]))
        table = with_intervals(statistics, bounds=_BOUNDS, centred=False)
        table = table.rename(columns={"quantity": "part"})
        table.insert(0, "of", name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _cosines(
    W: FloatArray, shift: FloatArray, codes: NDArray[np.intp]
) -> tuple[FloatArray, FloatArray]:
    """Return the cosine of each group's mean shift with that of the others, and its length^2.

    Both under weightings, (n_groups, n_weightings).
    """
    squares = np.square(shift).sum(axis=1)

    def sums(rows: _Rows) -> tuple[FloatArray, ...]:
        w, twice = W[:, rows], np.square(W[:, rows])
        return w @ shift[rows], twice @ squares[rows], w.sum(axis=1), twice.sum(axis=1)

    whole = sums(np.arange(len(shift)))
    cosines, lengths = [], []
    for code in range(codes.max() + 1):
        own = sums(np.flatnonzero(codes == code))
        others = tuple(total - part for total, part in zip(whole, own, strict=True))
        # As `_mean_product`, for which the sums would be made anew for each group.
        length, other = (
            ratio(np.square(total).sum(axis=1) - same, np.square(n) - pairs)
            for total, same, n, pairs in (own, others)
        )
        # No piece is in both, so that the product of the two means is unbiased as it is.
        product = ratio(np.einsum("ij,ij->i", own[0], others[0]), own[2] * others[2])
        cosines.append(ratio(product, _root(length) * _root(other)))
        lengths.append(length)
    return np.array(cosines), np.array(lengths)


# Statistics of paired embeddings: W is weightings of the pieces, (n_weightings, n_pieces), equal
# for the pieces of a track; each returns a value for each weighting.


def _root(values: FloatArray) -> FloatArray:
    """Return the square root, of what is below zero 0."""
    roots: FloatArray = np.sqrt(np.maximum(values, 0))
    return roots


def _category_codes(category: ArrayLike) -> tuple[NDArray[np.intp], list[str]]:
    """Return a code for each piece, and the sorted names of the codes."""
    names, codes = np.unique(np.asarray(category).astype(str), return_inverse=True)
    return codes, names.tolist()


def _mean_square(W: FloatArray, rows: FloatArray) -> FloatArray:
    """Return the mean squared length of rows under each weighting."""
    means: FloatArray = (W @ np.square(rows).sum(axis=1)) / W.sum(axis=1)
    return means


def _mean_product(W: FloatArray, one: FloatArray, other: FloatArray) -> FloatArray:
    """Return the inner product of two mean rows under each weighting, unbiased.

    The means are of the same pieces, a row of each for a piece. Their product would be too large
    by the covariance of the rows, summed over features, / n. So it is the mean of the products of
    one row with the other rows of *different* pieces; a piece that was drawn twice is not two.
    """
    products = np.einsum("ij,ij->i", one, other)
    together = np.einsum("ij,ij->i", W @ one, W @ other) - np.square(W) @ products
    return ratio(together, np.square(W.sum(axis=1)) - np.square(W).sum(axis=1))


def _products_with_others(
    W: FloatArray, rows: FloatArray, track: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Return the product of each row with the mean of the other tracks' rows, and its square.

    A row that had a part in the mean would agree with it too well. And the square of a product
    with a noisy mean is too large, even when the row had none: so what is returned as the square
    is the mean, over pairs of different other tracks, of the product of the products with both.
    Both are (n_weightings, n_pieces), NaN where there are no other tracks, or no two.
    """
    codes, names = _category_codes(track)
    _, first = np.unique(codes, return_index=True)
    drawn, sizes = W[:, first], np.bincount(codes)
    sums = np.zeros((len(names), rows.shape[1]))
    np.add.at(sums, codes, rows)
    products = rows @ sums.T
    own = W * products[np.arange(len(rows)), codes]
    own_size = W * sizes[codes]
    product = drawn @ products.T - own
    square = np.square(product) - (np.square(drawn) @ np.square(products).T - np.square(own))
    n = (drawn @ sizes)[:, np.newaxis] - own_size
    pairs = np.square(n) - (np.square(drawn) @ np.square(sizes))[:, np.newaxis]
    pairs += np.square(own_size)
    return ratio(product, n), ratio(square, pairs)


def _between_variance(W: FloatArray, rows: FloatArray, category: ArrayLike) -> FloatArray:
    """Return the variance between categories' means, summed over features, noise taken off.

    The variance component of a one-way analysis of variance, (MS_between - MS_within) / n_0,
    under each weighting; NaN for a single category. As in `_mean_product`, a piece that was drawn
    twice is not two: the noise of a mean of n rows is that of the different ones among them.

    References
    ----------
    S. R. Searle, G. Casella, C. E. McCulloch, Variance Components, 1992, section 3.6.
    """
    codes, names = _category_codes(category)
    rows = rows - rows.mean(axis=0)
    of_means, own, effective = np.zeros((3, len(W)))
    for code in range(len(names)):
        w = W[:, codes == code]
        count = np.maximum(w.sum(axis=1), 1)
        of_means += np.square(w @ rows[codes == code]).sum(axis=1) / count
        own += np.square(w).sum(axis=1) / count
        effective += np.square(w.sum(axis=1))
    n = W.sum(axis=1)
    between = of_means - n * np.square((W @ rows) / n[:, np.newaxis]).sum(axis=1)
    within = W @ np.square(rows).sum(axis=1) - of_means
    noise = ratio(within, n - own)
    share = own - np.square(W).sum(axis=1) / n  # categories - 1, if all pieces count once
    return ratio(between - share * noise, n - effective / n)


# Corrections, fitted on unpaired pieces


class Deal(NamedTuple):
    """Positions of pieces: the user's training clips at home and away, and the test pieces."""

    source: _Rows
    target: _Rows
    test: _Rows


def deal_pieces(pieces: pd.DataFrame, seed: int) -> Deal:
    """Deal the training tracks at random into two halves: heard at home, heard away.

    Parameters
    ----------
    pieces : pandas.DataFrame
        Columns `track` and `split`, as in `Renderings.pieces`.
    seed : int
        Of the dealing.

    Returns
    -------
    Deal
        Positions of the pieces in the table.

    Raises
    ------
    ArgumentError
        If there are fewer than two training tracks, or no test piece.
    """
    train = (pieces["split"] == "train").to_numpy()
    tracks = np.unique(pieces["track"].to_numpy(object)[train].astype(str))
    if len(tracks) < 2 or train.all():
        raise ArgumentError("expected at least two training tracks and one test piece")
    chosen = np.random.default_rng(seed).permutation(tracks)[: len(tracks) // 2]
    at_home = pieces["track"].astype(str).isin(chosen).to_numpy()
    return Deal(*(np.flatnonzero(rows) for rows in (train & at_home, train & ~at_home, ~train)))


def _usable_labels(renderings: Renderings, deal: Deal, n_folds: int) -> list[str]:
    """Return the labels that can be learned at home and tested; warn of the others."""
    usable = []
    for label in renderings.labels:
        y = renderings.pieces[label].to_numpy(dtype=np.float64)
        rarer, tested = (
            min((y[rows] == 0).sum(), (y[rows] == 1).sum()) for rows in (deal.source, deal.test)
        )
        if rarer >= n_folds and tested:
            usable.append(label)
            continue
        reason = (
            f"the training pieces heard at home have {rarer} of the rarer class, fewer than the "
            f"{n_folds} folds"
            if rarer < n_folds
            else "the test pieces hold one class only"
        )
        warnings.warn(f"label {label!r} is left out: {reason}", stacklevel=3)
    return usable


class _Trial(NamedTuple):
    """What there is to fit a correction on, and to judge it by.

    `X` are the pieces at home (0) and away (1), which `datasets` names.
    """

    pieces: pd.DataFrame
    datasets: list[str]
    X: FloatArray
    deal: Deal

    def rows(self, side: int, rows: _Rows) -> FloatArray:
        """Return pieces as they are at home (0) or away (1)."""
        of_pieces: FloatArray = self.X[side][rows]
        return of_pieces

    @property
    def train(self) -> _Rows:
        """The training pieces, heard at home first."""
        return np.concatenate([self.deal.source, self.deal.target])

    def column(self, name: str, rows: _Rows) -> NDArray[np.object_]:
        """Return what the table of pieces says of some of them."""
        return self.pieces[name].to_numpy(object)[rows]


# From home (0) or away (1) and positions of pieces to their corrected rows.
_Moves = Callable[[int, _Rows], FloatArray]


def _subtract_mean(trial: _Trial) -> _Moves:
    mean = (trial.rows(1, trial.train) - trial.rows(0, trial.train)).mean(axis=0)
    return lambda side, rows: trial.rows(side, rows) - side * mean


def _map_back(trial: _Trial) -> _Moves:
    home, away = (trial.rows(side, trial.train) for side in (0, 1))
    scale = np.square(away - away.mean(axis=0)).sum() / len(away)
    ridge = RidgeCV(alphas=scale * np.logspace(-4, 2, 7)).fit(away, home)
    return lambda side, rows: ridge.predict(trial.rows(1, rows)) if side else trial.rows(0, rows)


_ORACLES: dict[str, Callable[[_Trial], _Moves]] = {
    "oracle:mean": _subtract_mean,
    "oracle:map": _map_back,
    "oracle:retrained": lambda trial: lambda side, rows: trial.rows(1, rows),
}


def _fitted(trial: _Trial, name: str, seed: int) -> _Moves:
    """Fit a correction on the user's clips: `source` at home, `target` away."""
    if name in _ORACLES:
        return _ORACLES[name](trial)
    spec, deal = parse_correction(name), trial.deal
    if not spec.corrects:
        return trial.rows
    transformer = fit_correction(
        spec,
        np.concatenate([trial.rows(0, deal.source), trial.rows(1, deal.target)]),
        trial.column("lead", trial.train),
        sample_domain=np.repeat(trial.datasets, [len(deal.source), len(deal.target)]),
        sample_group=trial.column("group", trial.train),
        sample_track=trial.column("track", trial.train),
        random_state=seed,
        draw=seed,
    )

    def corrected(side: int, rows: _Rows) -> FloatArray:
        domain = np.full(len(rows), trial.datasets[side])
        out: FloatArray = transformer.transform(trial.rows(side, rows), sample_domain=domain)
        return out

    return corrected


def judge_on_renderings(
    renderings: Renderings,
    away: str,
    corrections: Sequence[str],
    *,
    n_replicates: int = 300,
    seed: int = 0,
    recogniser: str = "logistic",
) -> pd.DataFrame:
    """Hold corrections, fitted on unpaired clips, against the true shift and the oracles.

    All instruments are recognised; those too rare to be learned at home or to be tested are left
    out with a warning.

    Parameters
    ----------
    renderings : Renderings
        The first dataset is home, where the recognisers are trained.
    away : str
        The dataset that they have not seen.
    corrections : sequence of str
        Names of corrections without a feature map, and of oracles, which have both renderings of
        the training pieces:

        - `oracle:mean`: their mean shift is subtracted;
        - `oracle:map`: the best linear map from one rendering to the other, a ridge regression;
        - `oracle:retrained`: nothing is corrected, the recogniser is trained on the pieces as away.
    n_replicates : int
        Of the bootstrap over tracks of the test pieces. A draw has both renderings of a piece, so
        that differences between home and away are paired. Corrections are not fitted anew.
    seed : int
        Of the deal of the training pieces, of random corrections and the bootstrap.
    recogniser : {'logistic', 'logistic:intercept=free'}
        With a penalised intercept, as the paper has it, or a free one, which does not see where
        the origin lies: only so does subtracting one vector from all clips change no ROC-AUC.

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
        For an unknown name, a feature map, or another recogniser.
    """
    model = make_recogniser(recogniser)
    if not isinstance(model, LogisticRecogniser):
        raise ArgumentError(
            f"recogniser {recogniser!r}: expected 'logistic' or 'logistic:intercept=free'"
        )
    names = [*dict.fromkeys(["none", *corrections])]
    for name in names:
        if name.startswith("oracle:"):
            if name not in _ORACLES:
                raise ArgumentError(f"no oracle {name!r}; there are {', '.join(_ORACLES)}")
        elif parse_correction(name).kernel is not None:
            raise ArgumentError(
                f"correction {name!r} maps to other features, in which the shift is another one; "
                f"expected a correction without kernel"
            )
    pieces, both = renderings.pieces, [0, renderings.position(away)]
    if pieces["lead"].isna().any():
        raise ArgumentError("some pieces have no lead instrument")
    deal = deal_pieces(pieces, seed)
    labels = _usable_labels(renderings, deal, model.n_folds)
    trial = _Trial(pieces, [renderings.datasets[k] for k in both], renderings.X[both], deal)
    W = track_weights(trial.column("track", deal.test), n_replicates, seed)
    trained: dict[str, LogisticRecogniser] = {}
    plain: dict[tuple[str, str], FloatArray] = {}
    rows = []
    for name in names:
        moves = _fitted(trial, name, seed)
        found = _geometry(trial, moves, W)
        scores = _recognise(trial, moves, model, labels, W, trained)
        plain = plain or scores
        for metric in COUNTERFACTUAL_METRICS if labels else ():
            home, away_from, pooled = (scores[metric, side] for side in ("home", "away", "pooled"))
            fell = plain[metric, "home"] - plain[metric, "away"]
            gain = away_from - plain[metric, "away"]
            closed = np.divide(gain, fell, out=np.full_like(fell, np.nan), where=fell > 1e-9)
            figures = {"home": home, "away": away_from, "pooled": pooled, "loss": home - away_from}
            figures |= {"gain": gain, "cost": plain[metric, "home"] - home, "closed": closed}
            found |= {(metric, quantity): values for quantity, values in figures.items()}
        for (metric, quantity), values in found.items():
            centred = bool(metric) and quantity != "closed"
            row = with_intervals({quantity: values}, bounds=_BOUNDS, centred=centred)
            rows.append(row.assign(correction=name, metric=metric))
    table = pd.concat(rows, ignore_index=True)
    return table[["correction", "metric", "quantity", "value", "low", "high"]]


def _geometry(trial: _Trial, moves: _Moves, W: FloatArray) -> dict[tuple[str, str], FloatArray]:
    """Hold what a correction takes out of the test pieces against their shift."""
    test = trial.deal.test
    home, corrected, moved = trial.rows(0, test), moves(0, test), moves(1, test)
    before, after = trial.rows(1, test) - home, moved - corrected
    lead = trial.column("lead", test)
    length, rest = (_mean_product(W, rows, rows) for rows in (before, after))
    spread, kept = (_between_variance(W, rows, lead) for rows in (home, corrected))
    removed = before - after
    taken = _mean_product(W, removed, removed)
    cosines = ratio(_mean_product(W, removed, before), _root(taken) * _root(length))
    cosines[(taken <= 0) & (length > 0)] = 0.0
    if np.square(removed).sum() <= 1e-13 * np.square(before).sum():
        cosines[:] = np.nan
    left, whole = (_mean_square(W, rows) for rows in (after, before))
    return {
        ("", "angle"): np.degrees(np.arccos(np.clip(cosines, -1, 1))),
        ("", "mean_removed"): 1 - ratio(rest, length),
        ("", "pieces_removed"): 1 - left / whole,
        ("", "task_removed"): 1 - ratio(kept, spread),
    }


def _recognise(
    trial: _Trial,
    moves: _Moves,
    recogniser: LogisticRecogniser,
    labels: Sequence[str],
    W: FloatArray,
    trained: dict[str, LogisticRecogniser],
) -> dict[tuple[str, str], FloatArray]:
    """Train a recogniser of each label at home, and return its mean scores under weightings.

    By metric and `home`, `away` or `pooled`. `trained` are the recognisers of pieces as they are at
    home, for all corrections that leave them so.
    """
    source, test = trial.deal.source, trial.deal.test
    X, X_home, X_away = moves(0, source), moves(0, test), moves(1, test)
    models = trained if np.array_equal(X, trial.rows(0, source)) else {}
    scores: dict[tuple[str, str], list[FloatArray]] = {}
    spans: dict[bytes, Span] = {}
    for label in labels:
        y = trial.pieces[label].to_numpy(dtype=np.float64)
        y_train, y_test = y[source], y[test]
        known, seen = ~np.isnan(y_train), ~np.isnan(y_test)
        if label not in models:
            if known.tobytes() not in spans:  # one span serves all labels with the same clips
                spans[known.tobytes()] = Span.of(X[known], recogniser.is_free)
            model = clone(recogniser)
            models[label] = model.fit_span(spans[known.tobytes()], y_train[known])
        weights, intercept = models[label].coef_[0], models[label].intercept_[0]
        home, away = (rows[seen] @ weights + intercept for rows in (X_home, X_away))
        truth, w = y_test[seen], W[:, seen]
        sides = {
            "home": (truth, home, w),
            "away": (truth, away, w),
            "pooled": (np.tile(truth, 2), np.concatenate([home, away]), np.tile(w, 2)),
        }
        for metric, (side, answers) in itertools.product(COUNTERFACTUAL_METRICS, sides.items()):
            scores.setdefault((metric, side), []).append(weighted_metric(metric, *answers))
    return {key: np.nanmean(values, axis=0) for key, values in scores.items()}
