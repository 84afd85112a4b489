"""What labels of the target are worth: who is trained on what, and how that is read off a curve."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.naive_bayes import GaussianNB

from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments import LABEL_SIZES, evaluate, label_worth, report_markdown


class Recorder(ClassifierMixin, BaseEstimator):
    """A recogniser that keeps what it was trained on."""

    seen: ClassVar[list[np.ndarray]] = []

    def fit(self, X: Any, y: Any) -> Recorder:
        Recorder.seen.append(np.column_stack([X, y]))
        self.classes_ = np.unique(y)
        self.model_ = GaussianNB().fit(X, y)
        return self

    def predict_proba(self, X: Any) -> Any:
        return self.model_.predict_proba(X)


@pytest.fixture
def trained(corpus) -> dict[str, Any]:
    """For each method what the recogniser that is tested on beta was trained on, row by row."""
    Recorder.seen.clear()
    path = f"{__name__}:Recorder"
    asked = {"labels": ["piano"], "few_labels": [40, 8, 200], "draws": 2, "recogniser": path}
    found = evaluate(corpus, "toy", "none", **asked, jobs=1)
    rows = {
        values.astype(np.float32).tobytes(): k for k, values in enumerate(corpus.embedding("toy"))
    }
    clips = [
        corpus.clips.iloc[[rows[one.astype(np.float32).tobytes()] for one in seen[:, :-1]]]
        for seen in Recorder.seen
    ]
    for table, seen in zip(clips, Recorder.seen, strict=True):
        np.testing.assert_array_equal(table["piano"], seen[:, -1])
    return {"few": found.few, "results": found.results, "clips": clips}


def test_labelled_clips_are_training_clips_of_the_target_drawn_by_track(trained, corpus):
    source, few = trained["clips"][0], trained["clips"][3:11]  # see the next test
    table = trained["few"].query("test_set == 'beta' and n > 0 and method != 'both'")
    assert list(zip(table["method"], table["n"], table["draw"], strict=True)) == [
        (method, n, draw)
        for draw in (0, 1)
        for n in (8, 40)  # 200 there are not
        for method in ("fewshot", "target only")
    ]
    pool = corpus.clips.query("dataset == 'beta' and split == 'train'")
    drawn = {}
    for key, clips in zip(table[["method", "n", "draw"]].itertuples(index=False), few, strict=True):
        own = clips[clips["dataset"] == "beta"]
        assert set(own["split"]) == {"train"}
        assert own["clip"].nunique() == key.n
        if key.method == "fewshot":
            pd.testing.assert_frame_equal(clips[clips["dataset"] == "alpha"], source)
            copies = own["clip"].value_counts()
            assert set(copies) == {min(10, round(len(source) / key.n))}
        else:
            assert len(clips) == len(own) == key.n
            drawn[key.n, key.draw] = own
    for draw in (0, 1):
        assert drawn[8, draw]["piano"].sum() == 4
        assert set(drawn[8, draw]["clip"]) < set(drawn[40, draw]["clip"])
        # Both clips of a track, where both have the label or both lack it.
        cut = pool.groupby(["track", "piano"])["clip"].agg(
            lambda own, chosen=set(drawn[40, draw]["clip"]): 0 < own.isin(chosen).sum() < len(own)
        )
        assert cut.sum() <= 2, "whole tracks, but for the last of either half"
    assert set(drawn[8, 0]["clip"]) != set(drawn[8, 1]["clip"])


def test_beside_them_stand_the_results_and_both_datasets_together(trained):
    across = trained["results"].query("train_set != test_set")
    table = trained["few"].query("method == 'source only'")
    assert table["roc_auc"].tolist() == across["roc_auc"].tolist()
    # Trained on either dataset; then on both, to be tested on beta, and with labels of beta.
    alpha, beta, both = trained["clips"][:3]
    pd.testing.assert_frame_equal(both, pd.concat([alpha, beta]))
    assert len(trained["few"].query("method == 'both'")) == 2


def curve(correction: float, labels: int = 4, gap: bool = False) -> pd.DataFrame:
    """A table `few`: .70 without labels, .72 with 10, .76 with 50; 200 not everywhere."""
    rows = []
    for label in map(str, range(labels)):
        for train, test in (("a", "b"), ("b", "a")):
            own = {"embedding": "e", "pair": "a/b", "label": label, "seed": 1, "alpha": np.nan}
            own |= {"train_set": train, "test_set": test}
            shift = 0.01 * int(label)  # of which no difference tells
            values = [("source only", "none", 0, 0.70), ("source only", "leace", 0, correction)]
            if not (gap and label == "0" and test == "b"):
                few = {10: 0.72, 50: 0.76} | ({200: 0.9} if label == "1" else {})
                values += [("fewshot", "none", n, value) for n, value in few.items()]
                values.append(("both", "none", 300 + int(label), 0.8))
            for method, name, n, value in values:
                mode = {"none": "none", "leace": "global"}[name]
                about = {"method": method, "correction": name, "mode": mode, "n": n}
                rows += [
                    own | about | {"draw": draw, "roc_auc": value + shift + spread}
                    for draw, spread in enumerate((-0.01, 0.01) if method == "fewshot" else (0,))
                ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("score", "told"),
    [
        (0.699, "none"),
        (0.71, "under 10"),
        (0.74, "22"),  # halfway between 10 and 50 in their logarithm
        (0.76, "50"),
        (0.77, "over 50"),
    ],
)
def test_worth_is_where_the_curve_meets_the_correction(score, told):
    worth = label_worth(curve(score)).set_index(["correction", "method", "n"])
    row = worth.loc["leace", "source only", 0]
    assert [row["worth"], row["worth_low"], row["worth_high"]] == [told] * 3
    assert row["gain"] == pytest.approx(score - 0.7)
    assert row["worst"] == pytest.approx(score)
    assert row["roc_auc"] == pytest.approx(score + 0.015)
    few = worth.loc["none", "fewshot", 10]
    assert [few["gain"], few["low"], few["high"]] == pytest.approx([0.02] * 3)
    assert pd.isna(few["worth"])
    # Both datasets have another number for each label; 200 labels few labels have.
    assert set(worth.index.get_level_values("n")) == {0, 10, 50, 301.5}


def test_a_cell_without_a_score_counts_nowhere():
    table = curve(0.74, gap=True)
    table.loc[table["label"].eq("0") & table["test_set"].eq("b"), "roc_auc"] = 0.1
    worth = label_worth(table).set_index(["correction", "method", "n"])
    assert worth.loc["leace", "source only", 0]["worth"] == "22"
    assert worth.loc["leace", "source only", 0]["worst"] == pytest.approx(0.74)


def test_a_report_names_the_best_correction_with_its_worth(corpus):
    found = evaluate(corpus, ["toy"], ["center", "lda"], report=True, jobs=1)
    assert found.record["parameters"]["few_labels"] == list(LABEL_SIZES)
    summary = found.report.summary.set_index("correction")
    best = summary.drop("none").query("gain == gain.max()").iloc[0]
    text = report_markdown(found.report, found.record)
    assert best["worth"] in ("none", "under 10", "over 50") or float(best["worth"]) <= 50
    for told in (text, found.summary()):
        (line,) = (line for line in told.splitlines() if line.startswith("Best across with toy"))
        assert f": {best.name}, " in line
        assert f"target: {best['worth']} (" in line
    assert "| toy | alpha/beta | none | fewshot:n=10 | labelled target |" in text
    assert "| center | both:n=" in text
    assert pd.isna(summary.at["none", "worth"])
    alone = evaluate(corpus, "toy", labels=["piano"], report=True, jobs=1)
    assert "fewshot:n=10" in report_markdown(alone.report, alone.record)
    plain = evaluate(corpus, "toy", "lda", target="era", report=True, jobs=1)
    assert plain.report.few.empty
    assert "few labels" not in report_markdown(plain.report, plain.record)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"few_labels": [0]}, "at least 1"),
        ({"draws": 0, "report": True}, "at least 1"),
        ({"few_labels": [5], "target": "era"}, "are for labels"),
    ],
)
def test_what_cannot_be_is_refused(corpus, asked, told):
    with pytest.raises(ArgumentError, match=told):
        evaluate(corpus, "toy", **asked)


def test_clips_of_tracks_that_are_tested_are_not_among_the_labelled_ones(corpus):
    clips = corpus.clips
    of_beta = clips["dataset"].eq("beta") & clips["piano"].notna()
    tested = clips[of_beta & clips["split"].eq("test")]
    torn = clips[of_beta & clips["split"].eq("train")].groupby("track")["clip"].first().iloc[:6]
    # Six tracks of the training part are tested, too.
    clips["track"] = clips["track"].where(
        ~clips["clip"].isin(tested["clip"].iloc[:6]),
        clips["clip"].map(dict(zip(tested["clip"], torn.index, strict=False))),
    )
    Recorder.seen.clear()
    asked = {"labels": ["piano"], "few_labels": [40], "draws": 1, "jobs": 1}
    few = evaluate(corpus, "toy", recogniser=f"{__name__}:Recorder", **asked).few
    assert set(few["method"]) == {"source only", "both", "fewshot", "target only"}
    rows = {one.astype(np.float32).tobytes(): k for k, one in enumerate(corpus.embedding("toy"))}
    for seen in Recorder.seen[2:5]:  # both, fewshot, target only
        own = clips.iloc[[rows[one.astype(np.float32).tobytes()] for one in seen[:, :-1]]]
        assert not set(own.query("dataset == 'beta'")["track"]) & set(torn.index)
