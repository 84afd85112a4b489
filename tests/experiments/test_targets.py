"""Tags, categories and numbers as targets of the experiment, and what corrections have seen."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections import parse_correction
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments import (
    ExperimentData,
    evaluate,
    information_used,
    plan_evaluation,
    recognition_metrics,
    result_columns,
    run_plan,
)


def test_tags_are_one_model_with_a_row_for_each_tag(corpus):
    found = evaluate(corpus, "toy", ["none", "leace"], target="tags", jobs=1, scores=True)
    results = found.results
    assert tuple(results.columns) == result_columns("label")
    assert set(results["label"]) == {"piano", "voice"}
    # One model: one C for all tags of a training set.
    assert results.groupby(["correction", "train_set"])["C"].nunique().max() == 1
    assert results.loc[results["train_set"] == results["test_set"], "roc_auc"].mean() > 0.75
    clips = corpus.clips.set_index(["dataset", "clip"])
    voice = found.scores[(found.scores["label"] == "voice") & (found.scores["test_set"] == "beta")]
    assert clips.loc[[("beta", clip) for clip in voice["clip"]], "voice"].notna().all()


def test_a_category_is_multi_class(corpus):
    found = evaluate(corpus, "toy", ["none", "center"], target="group", jobs=1, scores=True)
    results = found.results
    assert tuple(results.columns) == result_columns("category")
    assert len(results) == 2 * 4
    assert set(results["n_classes"]) == {3}
    assert results["roc_auc"].between(0, 1).all()
    # Rock is there to be read, in one feature.
    scores = found.scores
    assert set(scores["label"]) == {"group=rock", "group=jazz", "group=folk"}
    names = ["group=rock", "group=jazz", "group=folk"]
    for key, row in results.iterrows():
        own = scores[
            (scores["correction"] == row["correction"])
            & (scores["train_set"] == row["train_set"])
            & (scores["test_set"] == row["test_set"])
        ]
        wide = {
            column: own.pivot(index="clip", columns="label", values=column)[names].to_numpy()
            for column in ("y_true", "score", "probability")
        }
        again = recognition_metrics(
            wide["y_true"].argmax(axis=1), wide["score"], wide["probability"], "category"
        )
        assert row[list(again)].to_dict() == pytest.approx(again), key


def test_a_number_is_a_regression(tiny_corpus, corpus):
    table = corpus.clips.assign(tempo=100 + 10 * corpus.embedding("toy")[:, 0])
    table.loc[3, "tempo"] = np.nan
    table.to_parquet(tiny_corpus / "clips.parquet", index=False)
    found = evaluate(Corpus.load(tiny_corpus), "toy", ["none", "leace"], target="tempo", jobs=1)
    results = found.results
    assert tuple(results.columns) == result_columns("number")
    assert (results["r2"] > 0.9).all()
    assert (results["mae"] < 4).all()
    assert set(results["recogniser"]) == {"ridge"}
    assert "Mean R2" in found.summary()


@pytest.mark.parametrize("recogniser", ["ridge", "sklearn.naive_bayes:GaussianNB"])
def test_other_recognisers_run_behind_every_kind_of_correction(corpus, recogniser):
    found = evaluate(
        corpus, "toy", ["none", "lda", "leace", "coral", "klda"], recogniser=recogniser, jobs=1
    )
    results = found.results
    assert len(results) == 2 * 4 * 5
    assert results["roc_auc"].between(0, 1).all()
    assert results["brier"].isna().all() == (recogniser == "ridge")
    inside = results[(results["train_set"] == results["test_set"])]
    assert inside.loc[inside["correction"] == "none", "roc_auc"].mean() > 0.75


def test_every_kind_goes_on_where_it_was(corpus, tmp_path):
    for target in ("tags", "group", "tempo"):
        plan = plan_evaluation(corpus, "toy", ["none", "leace"], target=target, report=True)
        folder = tmp_path / target
        first = run_plan(plan, jobs=1, resume=folder, scores=True)
        kept = {path: path.stat().st_mtime_ns for path in folder.glob("*.npz")}
        assert len(kept) == 1
        again = run_plan(plan, jobs=1, resume=folder, scores=True)
        assert {path: path.stat().st_mtime_ns for path in folder.glob("*.npz")} == kept
        pd.testing.assert_frame_equal(first.results, again.results, check_exact=True)
        for table in ("summary", "changes", "task", "shift"):
            pd.testing.assert_frame_equal(
                getattr(first.report, table), getattr(again.report, table), check_exact=True
            )
        assert "1 tasks" in plan.describe()


@pytest.mark.parametrize("target", ["labels", "tags", "group"])
def test_recognisers_of_the_unlabelled_mode_know_no_counts_of_the_target(tiny_corpus, target):
    """Fewer positives in the training clips of one dataset leave the other's recognisers alone."""
    path = tiny_corpus / "clips.parquet"
    corrections = ["none", "leace", "coral", "random", "klda"]

    def scores() -> tuple[pd.Series, pd.Series]:
        modes = ["global", "unlabelled"]
        corpus = Corpus.load(tiny_corpus)
        found = evaluate(corpus, "toy2", corrections, modes, target=target, scores=True, jobs=1)
        own = found.scores[found.scores["train_set"] == "alpha"]
        keys = ["correction", "mode", "label", "test_set", "clip"]
        blind = own["mode"] == "unlabelled"
        return tuple(own[chosen].set_index(keys)["score"] for chosen in (blind, ~blind))

    blind, matched = scores()
    assert set(blind.index.unique("correction")) == set(corrections)
    table = pd.read_parquet(path)
    train = (table["dataset"] == "beta") & (table["split"] == "train")
    if target == "group":
        jazz = table.index[train & (table["group"] == "jazz")]
        table.loc[jazz[: len(jazz) // 2], "group"] = "rock"
    else:
        with_piano = table.index[train & (table["piano"] >= 0.5)]
        table.loc[with_piano[: len(with_piano) // 2], "piano"] = 0.0
    table.to_parquet(path, index=False)
    blind_again, matched_again = scores()
    pd.testing.assert_series_equal(blind, blind_again, check_exact=True)
    changed = (matched != matched_again).groupby(["correction", "mode"]).any()
    # Rows for a model of all tags are counted, not matched by their labels.
    assert changed.all() or target == "tags"


def test_unlabelled_recognisers_are_trained_on_all_clips_of_their_dataset(corpus):
    found = evaluate(corpus, "toy", ["none", "leace"], ["global", "unlabelled"], jobs=1)
    data = ExperimentData.of(corpus, ["toy"])
    n_train = found.results.groupby(["mode", "label", "train_set"])["n_train"].agg(["min", "max"])
    for name, clips in data.datasets.items():
        for label in data.subjects:
            everything = len(clips.train_rows(label.name))
            assert tuple(n_train.loc["unlabelled", label.name, name]) == (everything, everything)
    matched = n_train.loc["none"].droplevel("train_set")["max"]
    assert (
        matched.groupby("label").max() < n_train.loc["unlabelled"]["max"].groupby("label").max()
    ).all()


def test_a_correction_that_needs_labels_is_skipped_where_none_are_looked_at(corpus):
    found = evaluate(corpus, "toy", ["none", "leace:given=label"], "unlabelled", jobs=1)
    assert set(found.results["correction"]) == {"none"}
    assert "does not look" in found.record["skipped"][0]["reason"]


@pytest.mark.parametrize(
    ("correction", "mode", "kind", "targets", "seen"),
    [
        ("none", "none", "label", ["piano"], "source only"),
        ("random", "global", "label", ["piano"], "source only"),
        ("leace", "global", "label", ["piano"], "labelled target"),
        ("leace", "unlabelled", "label", ["piano"], "unlabelled target"),
        ("k", "none", "label", ["piano"], "labelled target"),
        ("mlda", "unlabelled", "label", ["piano"], "grouped target"),
        ("mlda", "unlabelled", "category", ["group"], "labelled target"),
        ("lda", "global", "category", ["era"], "labelled target"),
        ("lda", "unlabelled", "category", ["group"], "unlabelled target"),
        # These rows are drawn by the shares of the genres.
        ("lda", "global", "number", ["tempo"], "grouped target"),
        ("lda", "global", "tags", ["tags"], "grouped target"),
        ("lda", "unlabelled", "tags", ["tags"], "unlabelled target"),
        ("none", "unlabelled", "label", ["piano"], "source only"),
        ("k", "unlabelled", "label", ["piano"], "unlabelled target"),
        ("leace:given=label", "global", "number", ["tempo"], "labelled target"),
        ("leace:given=group", "global", "number", ["tempo"], "grouped target"),
    ],
)
def test_what_a_correction_has_seen(correction, mode, kind, targets, seen):
    spec = parse_correction(correction)
    assert information_used(spec, mode, kind, targets) == seen
    if seen == "grouped target" and not spec.needs_groups and spec.given is None:
        assert information_used(spec, mode, kind, targets, grouped=False) == "unlabelled target"


def test_too_little_to_evaluate_is_told(tiny_corpus):
    path = tiny_corpus / "clips.parquet"
    table = pd.read_parquet(path)
    table.loc[table["dataset"] == "beta", "tempo"] = np.nan
    table.loc[table["dataset"] == "beta", "era"] = "old"
    table.loc[table["dataset"] == "beta", "voice"] = 0.0
    table.assign(pitch=440.0).to_parquet(path, index=False)
    about = json.loads((tiny_corpus / "corpus.json").read_text())
    about["targets"].append({"name": "pitch", "kind": "number"})
    (tiny_corpus / "corpus.json").write_text(json.dumps(about))
    corpus = Corpus.load(tiny_corpus)
    for target, told in (
        ("tempo", "beta has 0 training and 0 test clips"),
        ("era", r"1 class\(es\) have 3 training clips or more"),
        ("tags", r"beta has 0 positive training clips, .*, of the tags voice \(0\); choose"),
        ("pitch", "all 90 training clips of alpha have the value 440"),
    ):
        with pytest.raises(ArgumentError, match=told):
            evaluate(corpus, "toy", target=target, jobs=1)


def test_a_class_of_too_few_matched_tracks_is_told(tiny_corpus):
    table = pd.read_parquet(tiny_corpus / "clips.parquet")
    one = (table["dataset"] == "alpha") & (table["group"] == "rock") & (table["split"] == "train")
    table["track"] = table["clip"].where(~one, "one")
    table.to_parquet(tiny_corpus / "clips.parquet", index=False)
    corpus = Corpus.load(tiny_corpus)
    assert plan_evaluation(corpus, "toy", target="group").tasks
    plan = plan_evaluation(corpus, "toy", target="group", match="tracks")
    assert not plan.tasks
    told = "alpha has 1 training clips of rock after the resampling, at least 3 are needed"
    assert [entry["reason"] for entry in plan.skipped] == [told]
