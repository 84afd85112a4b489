"""No score inside a dataset for what only known tracks are tested on; all other numbers stay."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from biasmir_utils.corpus import Corpus, CorpusWriter
from biasmir_utils.experiments import (
    bootstrap_scores,
    compare,
    evaluate,
    falls,
    interval_over_labels,
    plan_evaluation,
)
from biasmir_utils.notebook import chapter_corpus

INSIDE = ("beta", "beta")
ABOUT = {
    "name": "g",
    "title": "G",
    "datasets": ["alpha", "beta"],
    "groups": ["rock", "jazz", "folk"],
}


def with_known_tracks(folder, which) -> Corpus:
    """The corpus, in which every test clip of `beta` that `which` takes has its track in train."""
    corpus = Corpus.load(folder)
    clips = corpus.clips
    mine = (clips["dataset"] == "beta") & which(clips)
    tested = clips.loc[mine & (clips["split"] == "test"), "track"].unique()
    own = clips[(clips["dataset"] == "beta") & clips["track"].isin(tested)]
    # Of two clips the one that `which` takes is left in the test part.
    order = own.assign(taken=which(own)).sort_values("taken", kind="stable")
    clips.loc[order.drop_duplicates("track").index, "split"] = "train"
    return corpus


def cells(results: pd.DataFrame, column: str = "roc_auc") -> pd.Series:
    return results.set_index(["label", "train_set", "test_set"])[column]


@pytest.fixture
def gapped(tiny_corpus) -> Corpus:
    return with_known_tracks(tiny_corpus, lambda clips: clips["piano"] >= 0.5)


@pytest.mark.parametrize("target", ["labels", "tags"])
def test_a_label_has_a_gap_inside_and_scores_across(gapped, target):
    found = evaluate(gapped, "toy", target=target, scores=True, jobs=1)
    results = cells(found.results)
    assert results[results.isna()].index.tolist() == [("piano", *INSIDE)]
    known = found.scores.groupby(["label", "train_set", "test_set"])["score"].count()
    assert known[known == 0].index.tolist() == [("piano", *INSIDE)]
    gaps = [entry for entry in found.record["skipped"] if entry["pair"] == list(INSIDE)]
    assert [entry["label"] for entry in gaps] == ["piano"]
    assert "of tracks that are in the training part" in gaps[0]["reason"]
    text = found.summary()
    assert "beta>beta (n=1)" in text
    assert "fall alpha>beta (n=1)" in text
    assert "beta>alpha (n=" not in text
    assert "skipped piano on beta/beta: no score" in text
    assert text.splitlines()[-1] in plan_evaluation(gapped, "toy", target=target).describe()

    table = falls(found.results)
    assert table.loc[table["fall"].isna(), ["label", "test_set"]].to_numpy().tolist() == [
        ["piano", "beta"]
    ]
    means = interval_over_labels(table, "fall", ["test_set"]).set_index("test_set")
    assert means["n_labels"].to_dict() == {"alpha": 2, "beta": 1}
    assert means["mean"].notna().all()
    drawn = bootstrap_scores(found.scores, n_replicates=5).cells.set_index("label")
    assert drawn["value"].isna().sum() == 1
    (note,) = (one for one in compare(found.results).notes if "are over fewer than" in one)
    assert "or there is no score inside a dataset" in note


def test_a_chapter_keeps_a_label_with_a_gap(gapped, tmp_path):
    writer = CorpusWriter(tmp_path / "c", **ABOUT | {"targets": gapped.targets})
    values = {
        name: gapped.embedding("toy")[gapped.clips["dataset"] == name] for name in ABOUT["datasets"]
    }
    keys = gapped.clips.groupby("dataset")["clip"].agg(list)
    writer.write(gapped.clips, {"toy": {name: (keys[name], rows) for name, rows in values.items()}})
    assert chapter_corpus(tmp_path / "c", "toy", seed=0)[0].labels == ["piano", "voice"]


def test_nothing_else_changes_by_a_gap(gapped):
    clips = gapped.clips
    found = cells(evaluate(gapped, "toy", jobs=1).results)
    clips["track"] = clips["clip"]
    before = cells(evaluate(gapped, "toy", jobs=1).results)
    assert before.notna().all()
    pd.testing.assert_series_equal(found.dropna(), before[found.notna()])


def test_a_full_report_leaves_the_gap_out(gapped):
    report = evaluate(gapped, "toy", ["center"], report=True, jobs=1).report
    task = report.task[report.task["metric"] == "roc_auc"]
    empty = task[task["value"].isna()]
    assert set(empty["label"]) == {"piano"}
    assert set(empty["where"]) == {"inside", "pooled"}
    changes = report.changes[report.changes["metric"] == "roc_auc"].set_index("where")
    assert changes["n_labels"].to_dict() == {"across": 2, "inside": 1, "pooled": 1}
    assert np.isfinite(changes["change"]).all()
    # Inside, the one label that is left has too few tracks for an interval.
    assert np.isfinite(changes.loc[["across", "pooled"], ["low", "high"]]).all(axis=None)


def test_a_report_of_gaps_only_has_scores_across(gapped):
    report = evaluate(gapped, "toy", ["center"], labels=["piano"], report=True, jobs=1).report
    changes = report.changes.set_index(["where", "metric"])["change"]
    assert np.isfinite(changes["across", "roc_auc"])
    assert np.isnan(changes["inside", "roc_auc"])


@pytest.mark.parametrize(("target", "column"), [("tempo", "r2"), ("group", "balanced_accuracy")])
def test_numbers_and_categories_have_gaps_too(tiny_corpus, target, column):
    corpus = with_known_tracks(tiny_corpus, lambda clips: clips["split"] == "test")
    found = cells(evaluate(corpus, "toy", target=target, jobs=1).results, column)
    assert found[found.isna()].index.tolist() == [(target, *INSIDE)]
