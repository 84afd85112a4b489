"""The shift that a change of dataset causes, clip by clip: how large, how constant, from what.

A counterfactual corpus holds the same pieces in several datasets, which differ in sound only. So
the *shift* of a piece is known: the embedding of one rendering minus that of another. What the
functions here say of it, for one embedding:

- `describe_shift`: its size against the spread of instruments, and how far it is one and the same
  vector for all pieces;
- `group_shifts`: whether genres or instruments are shifted alike;
- `factor_shares`: what the SoundFont causes, what the production chain, what only the two together.

`counterfactual_corrections` asks how well corrections find it.

Conventions
-----------
- Squared lengths of mean vectors are unbiased: the share of sampling noise, trace(S) / n, is left
  out, so that they may fall below zero. Cosines between mean vectors are made of unbiased products
  and lengths, lest noise pull them towards zero; where they come out above 1, they are set to 1.
- Intervals are quantiles of a bootstrap by track. A piece that is drawn twice is no second piece:
  its product with its copy is left out of lengths, products and variances like that with itself.
  Else all of them would be larger in the draws than they are (`paired_statistics.mean_product`).
  Where a length or variance is small beside its noise, its draws scatter up to the root of three
  times too much, and the intervals are on the safe side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from biasmir_utils.corpus import Corpus
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.paired_statistics import (
    FloatArray,
    between_variance,
    category_codes,
    mean_product,
    products_with_others,
    ratio,
    root,
    squared_mean_length,
    track_weights,
    weighted_mean,
    weighted_mean_of_rows,
    with_intervals,
)

PARTS = ("SoundFont", "production", "both together")
"""The parts of `factor_shares`: two main effects and their interaction."""

_ANY = (-np.inf, np.inf)


@dataclass(frozen=True)
class Renderings:
    """An embedding of the same pieces in several datasets.

    Attributes
    ----------
    embedding : str
    datasets : tuple of str
        The first one is home; the shift of another is counted from there.
    pieces : pandas.DataFrame
        A row for each piece: `clip`, `track`, `split`, `group`, `lead` (first of the instruments
        that play) and a column for each of `labels` (1, 0, or NaN where not observed).
    labels : list of str
    X : ndarray, (n_datasets, n_pieces, n_features)
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
        datasets : sequence of str, optional
            At least two, home first; without it, all of the corpus in order.

        Raises
        ------
        ArgumentError
            If the datasets do not hold the same clips, or their labels differ, or a clip has not
            the embedding.
        """
        names = tuple(datasets or corpus.datasets)
        unknown = [name for name in names if name not in corpus.datasets]
        if unknown or len(names) < 2:
            raise ArgumentError(
                f"expected at least two datasets of corpus {corpus.name!r}, which has "
                f"{', '.join(corpus.datasets)}; got {', '.join(names)}"
            )
        if "instruments" not in corpus.clips:
            raise ArgumentError(
                f"corpus {corpus.name!r} has no column 'instruments'; expected one made by "
                f"'python data/make/demo.py OUT --counterfactual'"
            )
        parts = {}
        for name in names:
            part = corpus.clips[corpus.clips["dataset"] == name]
            parts[name] = part.sort_values("clip")
        home = parts[names[0]]
        same = ["clip", "track", "split", "group", "instruments", *corpus.labels]
        for name in names[1:]:
            for column in same:
                if not _equal(home[column], parts[name][column]):
                    raise ArgumentError(
                        f"datasets {names[0]!r} and {name!r} of corpus {corpus.name!r} differ in "
                        f"the column {column!r}; expected the same pieces in both"
                    )
        features = corpus.embedding(embedding)
        X = np.array([features[part.index] for part in parts.values()], dtype=np.float64)
        if np.isnan(X).any():
            d, piece = (int(i) for i in np.argwhere(np.isnan(X).any(axis=2))[0])
            raise ArgumentError(
                f"clip {home['clip'].iloc[piece]!r} of dataset {names[d]!r} has no embedding "
                f"{embedding!r}; run 'biasmir extract', or leave the piece out"
            )
        pieces = home[["clip", "track", "split", "group", *corpus.labels]].reset_index(drop=True)
        pieces[corpus.labels] = pieces[corpus.labels].ge(0.5).where(pieces[corpus.labels].notna())
        pieces.insert(4, "lead", home["instruments"].str.split().str[0].to_numpy(object))
        return cls(embedding, names, pieces, corpus.labels, X)

    def position(self, dataset: str) -> int:
        """Return the place of a dataset in `X`."""
        if dataset not in self.datasets:
            raise ArgumentError(f"no dataset {dataset!r}; there are {', '.join(self.datasets)}")
        return self.datasets.index(dataset)

    def shift(self, away: str, home: str | None = None) -> FloatArray:
        """Return the shift of each piece from a dataset (the first, unless named) to another."""
        start = 0 if home is None else self.position(home)
        return self.X[self.position(away)] - self.X[start]


def describe_shift(
    shift: ArrayLike,
    home: ArrayLike,
    instrument: ArrayLike,
    track: ArrayLike,
    *,
    n_replicates: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Say how large and how constant a shift is.

    Parameters
    ----------
    shift : array-like, (n_pieces, n_features)
        Embedding away minus embedding at home.
    home : array-like, (n_pieces, n_features)
    instrument : array-like, (n_pieces,)
        Lead instrument of each piece.
    track : array-like, (n_pieces,)
    n_replicates : int
    level : float
        Of the intervals.
    seed : int

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
    total = weighted_mean(W, squares)
    length = squared_mean_length(W, shift)
    spread = between_variance(W, home, instrument)
    products, squared = products_with_others(W, shift, track)
    products /= np.sqrt(np.where(squares > 0, squares, 1.0))
    along = weighted_mean_of_rows(W, squared)
    agreement = weighted_mean_of_rows(W, products)
    if not with_intervals({"length": length}, level, centred=False)["low"][0] > 0:
        along, agreement = np.full((2, len(W)), np.nan)
    parts = {
        "size": root(ratio(length, spread)),
        "piece_size": root(ratio(total, spread)),
        "constant": length / total,
        "along": ratio(along, length * total),
        "cosine": ratio(agreement, root(length)),
        "left": root(ratio(total - length, spread)),
    }
    bounds = {"constant": (-np.inf, 1.0), "along": (0.0, 1.0), "cosine": (-1.0, 1.0)}
    rows = [
        with_intervals({name: part}, level, bounds.get(name, _ANY), centred=False)
        for name, part in parts.items()
    ]
    return pd.concat(rows, ignore_index=True)


def group_shifts(
    shift: ArrayLike,
    group: ArrayLike,
    track: ArrayLike,
    *,
    n_replicates: int = 500,
    n_permutations: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare the mean shift of each group (genre, instrument) with that of all other pieces.

    Parameters
    ----------
    shift : array-like, (n_pieces, n_features)
    group : array-like, (n_pieces,)
    track : array-like, (n_pieces,)
    n_replicates : int
        Of the bootstrap.
    n_permutations : int
        Of random groups of the same sizes, whose cosines differ from 1 by noise alone.
    level, seed
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
    shift, codes, names = np.asarray(shift, dtype=np.float64), *category_codes(group)
    W = track_weights(track, n_replicates, seed)
    whole = squared_mean_length(W, shift)
    rng = np.random.default_rng(seed)
    once = np.ones((1, len(shift)))
    random = np.array(
        [_cosines(once, shift, rng.permutation(codes), len(names))[0][:, 0]
         for _ in range(n_permutations)]
    ).clip(-1, 1)  # fmt: skip
    cosines, lengths = _cosines(W, shift, codes, len(names))
    rows: list[dict[str, Any]] = []
    for code, name in enumerate(names):
        alike = with_intervals({"": cosines[code]}, level, (-1, 1), centred=False).iloc[0]
        size = with_intervals({"": root(ratio(lengths[code], whole))}, level, centred=False).iloc[0]
        drawn = random[:, code]
        rows.append(
            {
                "group": name,
                "pieces": int((codes == code).sum()),
                "cosine": alike["value"],
                "low": alike["low"],
                "high": alike["high"],
                "chance": drawn[~np.isnan(drawn)].mean() if np.isfinite(drawn).any() else np.nan,
                "chance_low": np.quantile(np.nan_to_num(drawn, nan=-1.0), 0.05),
                "size": size["value"],
                "size_low": size["low"],
                "size_high": size["high"],
            }
        )
    return pd.DataFrame(rows)


def factor_shares(
    X: ArrayLike,
    track: ArrayLike,
    *,
    n_replicates: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Divide what changes between four renderings among SoundFont and production.

    For each piece the four embeddings x00 (home), x10 (other SoundFont), x01 (other production)
    and x11 (both) give the effects F = (x10 - x00 + x11 - x01) / 2, C = (x01 - x00 + x11 - x10) / 2
    and I = (x11 - x10 - x01 + x00) / 2. The sum of squares of the four around their mean is
    exactly |F|^2 + |C|^2 + |I|^2.

    Parameters
    ----------
    X : array-like, (4, n_pieces, n_features)
        In that order.
    track : array-like, (n_pieces,)
    n_replicates, level, seed
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
    effects = (
        (x10 - x00 + x11 - x01) / 2,
        (x01 - x00 + x11 - x10) / 2,
        (x11 - x10 - x01 + x00) / 2,
    )
    W = track_weights(track, n_replicates, seed)
    tables = []
    of_mean = np.array([squared_mean_length(W, effect) for effect in effects])
    of_pieces = np.array([weighted_mean(W, np.square(e).sum(axis=1)) for e in effects])
    for name, squares in (("mean shift", of_mean), ("single pieces", of_pieces)):
        shares = dict(zip(PARTS, ratio(squares, squares.sum(axis=0)), strict=True))
        table = with_intervals(shares, level, centred=False)
        if name == "mean shift":
            product = mean_product(W, effects[0], effects[1])
            angle = {"cosine": ratio(product, root(of_mean[0]) * root(of_mean[1]))}
            found = with_intervals(angle, level, (-1, 1), centred=False)
            table = pd.concat([table, found], ignore_index=True)
        table = table.rename(columns={"quantity": "part"})
        table.insert(0, "of", name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _equal(one: pd.Series, other: pd.Series) -> bool:
    return one.reset_index(drop=True).equals(other.reset_index(drop=True))


def _cosines(
    W: FloatArray, shift: FloatArray, codes: NDArray[np.intp], n_groups: int
) -> tuple[FloatArray, FloatArray]:
    """Return the cosine of each group's mean shift with that of the others, and its length^2.

    Both under weightings, (n_groups, n_weightings).
    """
    squares = np.square(shift).sum(axis=1)

    def sums(rows: NDArray[Any]) -> tuple[FloatArray, ...]:
        w, twice = W[:, rows], np.square(W[:, rows])
        return w @ shift[rows], twice @ squares[rows], w.sum(axis=1), twice.sum(axis=1)

    whole = sums(np.arange(len(shift)))
    cosines, lengths = [], []
    for code in range(n_groups):
        own = sums(np.flatnonzero(codes == code))
        others = tuple(total - part for total, part in zip(whole, own, strict=True))
        # As `squared_mean_length`, for which the sums would be made anew for each group.
        length, other = (
            ratio(np.square(total).sum(axis=1) - same, np.square(n) - pairs)
            for total, same, n, pairs in (own, others)
        )
        # No piece is in both, so that the product of the two means is unbiased as it is.
        product = ratio(np.einsum("ij,ij->i", own[0], others[0]), own[2] * others[2])
        cosines.append(ratio(product, root(length) * root(other)))
        lengths.append(length)
    return np.array(cosines), np.array(lengths)
