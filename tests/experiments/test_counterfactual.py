"""Statistics of known shifts, on data for which the answers are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_sounds import add_embedding

from biasmir_utils.corpus import Corpus, CorpusWriter, Target, write_embedding_file
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments import (
    PARTS,
    LogisticRecogniser,
    Renderings,
    deal_pieces,
    describe_shift,
    factor_shares,
    group_shifts,
    judge_on_renderings,
    roc_auc,
)

N, D = 240, 12
CORRECTIONS = (
    *("none", "random", "lda", "mlda", "meanproj", "leace", "leace:groups=group"),
    *("inlp", "center", "coral", "gaussian_ot"),
)
ORACLES = ("oracle:mean", "oracle:map", "oracle:retrained")
LEADS = ("cello", "flute", "organ")


def toy(shifts, *, n: int = N, dimensions: int = D, seed: int = 0) -> Renderings:
    """Pieces at home and away: `shifts` maps a dataset to a vector, or one for each piece."""
    rng = np.random.default_rng(seed)
    lead = rng.choice(LEADS, n)
    home = rng.normal(size=(n, dimensions))
    for feature, name in enumerate(LEADS):
        home[:, feature] += 2.5 * (lead == name)
    pieces = pd.DataFrame(
        {
            "clip": [f"c{i:04d}" for i in range(n)],
            "track": [f"t{i // 2:04d}" for i in range(n)],
            "split": np.where(np.arange(n) // 2 % 3 == 2, "test", "train"),
            "group": rng.choice(["folk", "jazz"], n),
            "lead": lead,
            **{name: (lead == name).astype(float) for name in LEADS},
        }
    )
    X = np.array([home, *(home + shift for shift in shifts.values())])
    return Renderings("toy", ("home", *shifts), pieces, list(LEADS), X)


def unit(feature: int, length: float = 1.0, dimensions: int = D) -> np.ndarray:
    return length * np.eye(dimensions)[feature]


def value(table: pd.DataFrame, quantity: str) -> float:
    return float(table.set_index("quantity").at[quantity, "value"])


# The shift itself


def describe(renderings: Renderings, away: str) -> pd.DataFrame:
    pieces = renderings.pieces
    return describe_shift(renderings.shift(away), renderings.X[0], pieces["lead"], pieces["track"])


class TestDescribeShift:
    def test_a_constant_shift(self):
        found = describe(toy({"away": unit(5, 3.0)}), "away")
        for quantity in ("constant", "along", "cosine"):
            row = found.set_index("quantity").loc[quantity]
            assert row[["value", "low", "high"]].tolist() == pytest.approx([1, 1, 1])
        assert value(found, "size") == pytest.approx(value(found, "piece_size"))
        assert value(found, "left") == pytest.approx(0, abs=1e-6)
        with pytest.raises(ArgumentError, match="zero for all pieces"):
            describe(toy({"away": np.zeros(D)}), "away")

    def test_size_is_in_units_of_the_spread_of_instruments(self):
        renderings = toy({"away": unit(5, 3.0), "far": unit(5, 6.0)}, n=3000)
        shares = renderings.pieces["lead"].value_counts(normalize=True)[list(LEADS)].to_numpy()
        # Means 2.5 e_k, so the variance between them is 2.5^2 (1 - sum of squared shares).
        spread = 2.5 * np.sqrt(1 - np.square(shares).sum())
        # The variance component is that of a population of instruments: K / (K - 1) times it.
        spread *= np.sqrt(1.5)
        near, far = (describe(renderings, name) for name in ("away", "far"))
        assert value(near, "size") == pytest.approx(3 / spread, rel=0.05)
        assert value(far, "size") == pytest.approx(2 * value(near, "size"))

    def test_shifts_in_all_directions_have_nothing_constant(self):
        shifts = np.random.default_rng(1).normal(size=(2000, D))
        found = describe(toy({"away": shifts}, n=2000), "away")
        row = found.set_index("quantity").loc["constant"]
        assert row["value"] == pytest.approx(0, abs=0.003)
        assert row["low"] < 0.003
        # A mean that may be zero has no direction.
        undefined = found.set_index("quantity").loc[["along", "cosine"], ["value", "low", "high"]]
        assert undefined.isna().all(axis=None)
        assert value(found, "left") == pytest.approx(value(found, "piece_size"), rel=0.003)

    def test_a_piece_does_not_agree_with_itself(self):
        """By loops: each track beside the others only, and no noise of their mean."""
        rng = np.random.default_rng(3)
        tracks = np.repeat(np.arange(12), 2)
        shifts = unit(3, 2.0) + 0.7 * rng.normal(size=(24, D))
        renderings = toy({"away": shifts}, n=24)
        found = describe_shift(shifts, renderings.X[0], renderings.pieces["lead"], tracks)
        cosines, squares = [], []
        for i, x in enumerate(shifts):
            others = np.flatnonzero(tracks != tracks[i])
            cosines.append(x @ shifts[others].mean(axis=0) / np.linalg.norm(x))
            squares.append(
                np.mean([
                    (x @ shifts[j]) * (x @ shifts[k])
                    for j in others for k in others if tracks[j] != tracks[k]
                ])
            )  # fmt: skip
        pairs = [shifts[i] @ shifts[j] for i in range(24) for j in range(24) if i != j]
        length, total = np.mean(pairs), np.square(shifts).sum(axis=1).mean()
        assert value(found, "constant") == pytest.approx(length / total)
        assert value(found, "cosine") == pytest.approx(np.mean(cosines) / np.sqrt(length))
        assert value(found, "along") == pytest.approx(np.mean(squares) / (length * total))

    def test_intervals_hold_the_truth_about_as_often_as_they_say(self):
        """Noise of 4 times the squared mean, in 80 dimensions, and instruments not far apart."""
        n, features, noise, runs = 120, 80, 4.0, 60
        sd = np.sqrt(noise / features)
        mean, centres = np.eye(features)[10], 1.2 * np.eye(4, features)
        spread = 1.2**2
        rng = np.random.default_rng(99)
        many = mean + sd * rng.normal(size=(40_000, features))
        truth = {
            "size": np.sqrt(1 / spread),
            "piece_size": np.sqrt((1 + noise) / spread),
            "constant": 1 / (1 + noise),
            "along": (1 + sd**2) / (1 + noise),
            "cosine": np.mean(many @ mean / np.linalg.norm(many, axis=1)),
            "left": np.sqrt(noise / spread),
        }
        inside = pd.DataFrame(0.0, truth, ["given", "share", "value", "width"])
        for seed in range(runs):
            rng = np.random.default_rng(seed)
            lead = rng.permutation(np.arange(n) % 4)
            home = centres[lead] + rng.normal(size=(n, features))
            shifts = mean + sd * rng.normal(size=(n, features))
            table = describe_shift(shifts, home, lead, np.arange(n), n_replicates=150, seed=seed)
            # There is none where the instruments are no further apart than noise in some draws.
            ends = table.dropna()[["quantity", "low", "high"]]
            for name, low, high in ends.itertuples(index=False):
                told = [1, low <= truth[name] <= high, high - low]
                inside.loc[name, ["given", "share", "width"]] += told
            inside["value"] += table.set_index("quantity")["value"] / runs
        assert (inside["given"] >= 0.85 * runs).all(), inside
        inside[["share", "width"]] = inside[["share", "width"]].div(inside["given"], axis=0)
        assert (inside["share"] >= 0.88).all(), inside
        expected = pd.Series(truth)
        bias = (inside["value"] - expected).abs() / inside["width"]
        assert (bias < 0.1).all(), bias
        assert inside.loc[["constant", "along", "cosine"], "share"].max() < 1


class TestGroupShifts:
    def test_groups_that_are_shifted_at_right_angles(self):
        renderings = toy({"away": np.zeros(D)})
        pieces = renderings.pieces
        jazz = (pieces["group"] == "jazz").to_numpy()[:, None]
        shifts = np.where(jazz, unit(3, 1.0), unit(4, 2.0))
        shifts = shifts + 0.1 * np.random.default_rng(0).normal(size=shifts.shape)
        found = group_shifts(shifts, pieces["group"], pieces["track"]).set_index("group")
        assert found["cosine"].abs().max() < 0.05
        assert found["chance"].min() > 0.95
        assert (found["high"] < found["chance_low"]).all()
        assert found.at["folk", "size"] / found.at["jazz", "size"] == pytest.approx(2, abs=0.05)

    def test_noise_does_not_make_cosines_small(self):
        """Mean shifts at 60 degrees, each as long as its noise is in 25 pieces."""
        n, features, runs = 200, 100, 50
        mean = np.array([np.eye(features)[0], np.eye(features)[0] / 2])
        mean[1, 1] = np.sqrt(0.75)
        values, hits = [], 0
        for seed in range(runs):
            rng = np.random.default_rng(seed)
            group = np.arange(n) % 4 == 0
            shifts = mean[group.astype(int)] + rng.normal(scale=0.5, size=(n, features))
            row = group_shifts(
                shifts, group, np.arange(n), n_replicates=150, n_permutations=1, seed=seed
            ).iloc[0]
            values.append(row["cosine"])
            hits += row["low"] <= 0.5 <= row["high"]
        assert np.mean(values) == pytest.approx(0.5, abs=0.02)
        assert 0.86 * runs <= hits <= runs

    def test_a_group_of_one_piece_has_no_cosine(self):
        renderings = toy({"away": unit(5, 2.0)}, n=40)
        group = np.where(np.arange(40) == 7, "alone", "rest")
        found = group_shifts(renderings.shift("away"), group, np.arange(40)).set_index("group")
        assert found["pieces"].tolist() == [1, 39]
        assert found["cosine"].isna().all()
        assert np.isnan(found.at["alone", "size"])
        assert found.at["rest", "size"] == pytest.approx(1)


class TestFactorShares:
    def test_additive_effects_have_no_interaction(self):
        font, chain = unit(3, 3.0), unit(4, 1.0)
        renderings = toy({"font": font, "chain": chain, "both": font + chain})
        found = factor_shares(renderings.X, renderings.pieces["track"])
        for of in ("mean shift", "single pieces"):
            shares = found[found["of"] == of].set_index("part")["value"]
            assert shares[list(PARTS)].tolist() == pytest.approx([0.9, 0.1, 0.0])
        assert found.set_index(["of", "part"]).at[("mean shift", "cosine"), "value"] == 0

    def test_noise_neither_turns_the_main_effects_nor_ties_them(self):
        """Effects of lengths 1 and 2 at 60 degrees; the noise of home, the largest, is in both."""
        features, runs = 80, 50
        font, chain = np.eye(features)[0], np.eye(features)[0]
        chain[1] = np.sqrt(3)
        values, hits = [], 0
        for seed in range(runs):
            rng = np.random.default_rng(seed)
            X = np.array([np.zeros(features), font, chain, font + chain])
            scale = np.array([0.8, 0.3, 0.3, 0.3])[:, None, None]
            X = X[:, None] + scale * rng.normal(size=(4, 80, features))
            found = factor_shares(X, np.arange(80), n_replicates=150, seed=seed)
            row = found.set_index("part").loc["cosine"]
            values.append(row["value"])
            hits += row["low"] <= 0.5 <= row["high"]
        assert np.mean(values) == pytest.approx(0.5, abs=0.02)
        assert 0.86 * runs <= hits <= runs

    def test_the_parts_sum_to_the_squares_around_the_mean(self):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(4, 30, 5))
        found = factor_shares(X, np.arange(30))
        assert found.loc[found["of"] == "single pieces", "value"].sum() == pytest.approx(1)
        x00, x10, x01, x11 = X
        interaction = np.square((x11 - x10 - x01 + x00) / 2).sum()
        total = np.square(X - X.mean(axis=0)).sum()
        shares = found[found["of"] == "single pieces"].set_index("part")["value"]
        assert shares["both together"] == pytest.approx(interaction / total)


# Corrections against the truth


@pytest.fixture(scope="module")
def constant() -> Renderings:
    """A constant shift, partly along what tells cello."""
    return toy({"away": unit(5, 4.0) + unit(0, 2.5)}, n=600)


@pytest.fixture(scope="module")
def judged(constant) -> pd.DataFrame:
    table = judge_on_renderings(constant, "away", [*CORRECTIONS, *ORACLES], n_replicates=50)
    return table.set_index(["metric", "quantity", "correction"])["value"].sort_index()


class TestJudging:
    def test_all_corrections_and_oracles_are_there(self, judged):
        assert set(judged["", "angle"].index) == {*CORRECTIONS, *ORACLES}
        assert judged.drop(("", "angle", "none")).drop("closed", level=1).notna().all()

    def test_oracles_close_all_of_a_constant_shift(self, judged):
        oracle = "oracle:mean"
        assert judged["", "angle", oracle] == pytest.approx(0, abs=1e-4)
        assert judged["", "mean_removed", oracle] == pytest.approx(1)
        assert judged["", "pieces_removed", oracle] == pytest.approx(1)
        assert judged["", "task_removed", oracle] == pytest.approx(0)
        assert judged["balanced_accuracy", "closed", oracle] == pytest.approx(1)
        assert judged["balanced_accuracy", "loss", oracle] == pytest.approx(0)
        assert judged["roc_auc", "cost", oracle] == pytest.approx(0)
        # A ratio of what was won to what was lost without a correction.
        closed = judged["balanced_accuracy", "gain"] / judged["balanced_accuracy", "loss", "none"]
        assert (judged["balanced_accuracy", "closed"] - closed).abs().max() < 1e-12
        assert judged["", "mean_removed", "oracle:map"] == pytest.approx(1, abs=0.01)

    def test_roc_auc_of_one_test_set_cannot_see_a_constant_shift(self, judged):
        assert judged["roc_auc", "loss", "none"] == pytest.approx(0, abs=1e-12)
        assert judged["roc_auc", "gain", "oracle:mean"] == pytest.approx(0, abs=1e-12)
        assert judged["balanced_accuracy", "loss", "none"] > 0.05
        pooled = judged["roc_auc", "pooled"]
        assert pooled["none"] < pooled["oracle:mean"] - 0.01

    def test_unpaired_corrections_come_close_and_random_does_not(self, judged):
        for name in ("meanproj", "leace", "center", "coral", "gaussian_ot"):
            assert judged["", "angle", name] < 15, name
            assert judged["", "mean_removed", name] > 0.9, name
        assert judged["", "angle", "random"] > 40
        assert judged["", "mean_removed", "random"] < 0.5

    def test_the_task_is_lost_where_the_shift_lies_along_it(self):
        renderings = toy({"away": unit(0, 6.0)}, n=600)
        table = judge_on_renderings(renderings, "away", ["meanproj", "center"], n_replicates=20)
        removed = table[table["quantity"] == "task_removed"].set_index("correction")["value"]
        # One of three equal directions between instruments, shared by all pairs with cello.
        assert removed["meanproj"] > 0.25
        assert removed["center"] == pytest.approx(0, abs=1e-9)

    def test_opposite_shifts_have_no_mean_to_take_away(self):
        """The shift of folk is the opposite of that of jazz, so that their mean is none."""
        jazz = (toy({"away": 0.0}).pieces["group"] == "jazz").to_numpy()[:, None]
        renderings = toy({"away": np.where(jazz, unit(8, 3.0), unit(8, -3.0))})
        table = judge_on_renderings(renderings, "away", ["oracle:mean"], n_replicates=2)
        table = table.set_index(["correction", "quantity"])["value"].sort_index()
        assert table["oracle:mean", "pieces_removed"].item() == pytest.approx(0, abs=0.05)
        for quantity in ("pieces_removed", "task_removed"):
            assert table["none", quantity].item() == 0

    def test_the_angle_is_that_to_the_mean_without_its_noise(self):
        shifts = unit(4, 2.0) + np.random.default_rng(5).normal(size=(90, D))
        renderings = toy({"away": shifts}, n=90)
        table = judge_on_renderings(renderings, "away", ["oracle:mean"], n_replicates=2)
        angle = table.query("quantity == 'angle' and correction == 'oracle:mean'")["value"].item()
        train, test = (
            shifts[(renderings.pieces["split"] == split).to_numpy()] for split in ("train", "test")
        )
        taken, n = train.mean(axis=0), len(test)
        pairs = (np.square(test.sum(axis=0)).sum() - np.square(test).sum()) / (n * (n - 1))
        cosine = taken @ test.mean(axis=0) / (np.linalg.norm(taken) * np.sqrt(pairs))
        assert angle == pytest.approx(np.degrees(np.arccos(cosine)))

    def test_pieces_that_are_tested_are_fitted_on_by_nothing(self, constant):
        """Other test pieces change no correction and no recogniser: scores of the rest stay."""
        deal = deal_pieces(constant.pieces, 0)
        assert not set(deal.test) & {*deal.source, *deal.target}
        assert not set(deal.source) & set(deal.target)
        tracks = [set(constant.pieces["track"].iloc[rows]) for rows in deal]
        assert not tracks[0] & tracks[1]
        assert not tracks[2] & (tracks[0] | tracks[1])
        assert sum(map(len, deal)) == len(constant.pieces)

    @pytest.mark.parametrize(
        ("name", "trained_on", "home"), [("none", 0, 0), ("oracle:retrained", 1, 1)]
    )
    def test_the_scores_are_those_of_a_recogniser(self, constant, name, trained_on, home):
        table = judge_on_renderings(constant, "away", ["oracle:retrained"])
        deal = deal_pieces(constant.pieces, 0)
        Y = constant.pieces[list(LEADS)].to_numpy().T
        X = constant.X[trained_on][deal.source]
        models = [LogisticRecogniser().fit(X, y[deal.source]) for y in Y]
        found = table[table["metric"] == "roc_auc"].set_index(["correction", "quantity"])["value"]
        for side, dataset in (("home", home), ("away", 1)):
            X = constant.X[dataset][deal.test]
            scores = [
                roc_auc(y[deal.test], model.decision_function(X))
                for y, model in zip(Y, models, strict=True)
            ]
            assert found[name, side] == pytest.approx(np.mean(scores))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"corrections": ["klda"]}, "without kernel"),
            ({"corrections": ["lad"]}, "Did you mean 'lda'"),
            ({"corrections": ["oracle:delphi"]}, "no oracle 'oracle:delphi'"),
            ({"away": "there"}, "no dataset 'there'"),
        ],
    )
    def test_names_that_there_are_not(self, constant, arguments, message):
        with pytest.raises(ArgumentError, match=message):
            judge_on_renderings(constant, **{"away": "away", "corrections": [], **arguments})

    def test_rare_labels_are_left_out_and_named(self):
        renderings = toy({"away": unit(4)})
        train = renderings.pieces["split"] == "train"
        there = renderings.pieces["organ"] == 1
        at_home = deal_pieces(renderings.pieces, 0).source
        few = [at_home[k] for k in range(2)]
        renderings.pieces.loc[there & train, "organ"] = 0.0
        renderings.pieces.loc[few, "organ"] = 1.0
        renderings.pieces.loc[~train, "cello"] = 0.0
        with pytest.warns(UserWarning, match="left out") as caught:
            table = judge_on_renderings(renderings, "away", ["leace"], n_replicates=2)
        assert [str(warning.message) for warning in caught] == [
            "label 'cello' is left out: the test pieces hold one class only",
            "label 'organ' is left out: the training pieces heard at home have 2 of the rarer "
            "class, fewer than the 3 folds",
        ]
        flute = replace(renderings, labels=["flute"])
        alone = judge_on_renderings(flute, "away", ["leace"], n_replicates=2)
        pd.testing.assert_frame_equal(table, alone)


# From a corpus


def write_corpus(folder, home: pd.DataFrame, away: pd.DataFrame, X) -> Corpus:
    targets = [Target("cello", "label"), Target("flute", "label")]
    about = {"datasets": ["home", "away"], "groups": ["folk", "jazz"], "targets": targets}
    table = pd.concat([home.assign(dataset="home"), away.assign(dataset="away")])
    writer = CorpusWriter(folder, name="twice", title="Twice", **about)
    return add_embedding(writer.write(table.reset_index(drop=True)), "toy", np.asarray(X))


def small_table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "clip": ["c2", "c1", "c3"],
            "track": ["t2", "t1", "t3"],
            "split": ["train", "train", "test"],
            "group": ["folk", "jazz", "jazz"],
            "cello": [0.9, 0.1, 1.0],
            "flute": [np.nan, 1.0, 0.0],
            "instruments": ["cello flute", "flute", "cello"],
        }
    )


class TestRenderings:
    def test_clips_are_matched_by_name(self, tmp_path):
        home = small_table()
        X = [[2.0], [1], [3], [33], [11], [22]]
        corpus = write_corpus(tmp_path / "c", home, home.iloc[::-1], X)
        found = Renderings.of(corpus, "toy")
        assert found.datasets == ("home", "away")
        assert found.pieces["clip"].tolist() == ["c1", "c2", "c3"]
        assert found.X[:, :, 0].tolist() == [[1, 2, 3], [11, 22, 33]]
        assert found.shift("away")[:, 0].tolist() == [10, 20, 30]
        assert found.pieces["lead"].tolist() == ["flute", "cello", "cello"]
        assert found.pieces["cello"].tolist() == [0, 1, 1]
        assert np.isnan(found.pieces["flute"][1])
        assert Renderings.of(corpus, "toy", ["away", "home"]).datasets == ("away", "home")

    def test_pieces_that_do_not_match_are_refused(self, tmp_path):
        home = small_table()
        away = home.assign(cello=[0.9, 0.8, 1.0])
        corpus = write_corpus(tmp_path / "c", home, away, np.zeros((6, 1)))
        with pytest.raises(ArgumentError, match=r"'home' and 'away'.*column 'cello'"):
            Renderings.of(corpus, "toy")
        with pytest.raises(ArgumentError, match="at least two datasets"):
            Renderings.of(corpus, "toy", ["home"])

    def test_a_piece_without_embedding_is_named(self, tmp_path):
        corpus = write_corpus(tmp_path / "c", small_table(), small_table(), np.zeros((6, 1)))
        file = tmp_path / "c" / "embeddings" / "toy.h5"
        skipped = {"away": {"c3": "too short"}}
        content = {"home": (["c1", "c2", "c3"], np.zeros((3, 1)))}
        content["away"] = (["c1", "c2"], np.zeros((2, 1)))
        write_embedding_file(file, "toy", content, skipped=skipped)
        with pytest.raises(ArgumentError, match="clip 'c3' of dataset 'away' has no embedding"):
            Renderings.of(Corpus.load(corpus.path), "toy")

    def test_other_corpora_are_refused(self, corpus):
        with pytest.raises(ArgumentError, match="no column 'instruments'"):
            Renderings.of(corpus, "toy")


def test_with_a_free_intercept_equal_means_change_no_ranking():
    """With the paper's recogniser they seem to, for its penalty sees where the origin is."""
    renderings = toy({"away": unit(3, 2.0) + unit(0, 0.5)})
    asked = ["center", "oracle:mean"]
    judged = judge_on_renderings(
        renderings, "away", asked, recogniser="logistic:intercept=free", n_replicates=2
    ).query("metric == 'roc_auc' and quantity == 'gain'")
    assert judged["value"].abs().max() < 1e-9
    with pytest.raises(ArgumentError, match="'ridge': expected 'logistic'"):
        judge_on_renderings(renderings, "away", [], recogniser="ridge")
