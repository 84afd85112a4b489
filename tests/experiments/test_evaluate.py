"""`evaluate`: what it runs, what it skips, and that nothing else changes its numbers."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_sounds import add_embedding

from biasmir_utils.corpus import Corpus, CorpusWriter, Target, write_embedding_file
from biasmir_utils.corrections import Correction
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments import (
    KEY_COLUMNS,
    SCORE_COLUMNS,
    ExperimentData,
    evaluate,
    falls,
    mean_over_labels,
    plan_evaluation,
    read_table,
    recognition_metrics,
    report_markdown,
    result_columns,
    run_plan,
    write_table,
)

PAIRS = [("alpha", "alpha"), ("alpha", "beta"), ("beta", "alpha"), ("beta", "beta")]


def write_corpus(folder: Path, table: pd.DataFrame, features: np.ndarray, **changes) -> Corpus:
    """Write a corpus from a clip table and one row of features for each of its rows."""
    settings = {
        "name": "made",
        "datasets": list(dict.fromkeys(table["dataset"])),
        "groups": sorted(set(table["group"].dropna())),
        "targets": [Target("piano", "label"), Target("voice", "label")],
    }
    writer = CorpusWriter(folder, title="Made", **{**settings, **changes})
    return add_embedding(writer.write(table), "toy", features)


def made_table(datasets=("one", "two"), n=90, seed=0):
    rng = np.random.default_rng(seed)
    parts, features = [], []
    for number, dataset in enumerate(datasets):
        piano, voice = rng.random(n) < 0.5, rng.random(n) < 0.4
        X = rng.normal(number, 1, (n, 6))
        X[:, 0] += 2 * piano
        X[:, 1] += 2 * voice
        features.append(X)
        parts.append(
            pd.DataFrame(
                {
                    "dataset": dataset,
                    "clip": [f"{dataset}{i:03d}" for i in range(n)],
                    "split": np.where(np.arange(n) % 3 == 2, "test", "train"),
                    "group": rng.choice(["jazz", "rock"], n),
                    "piano": piano.astype(float),
                    "voice": voice.astype(float),
                }
            )
        )
    return pd.concat(parts, ignore_index=True), np.concatenate(features).astype(np.float32)


def test_a_row_for_each_label_embedding_correction_mode_and_ordered_pair(corpus):
    found = evaluate(
        corpus, ["toy", "toy2"], ["none", "lda", "mlda"], ["global", "classwise"], jobs=1
    )
    results = found.results
    assert tuple(results.columns) == result_columns("label")
    assert not results.duplicated(list(KEY_COLUMNS)).any()
    assert len(results) == 2 * 2 * 4 * 5
    assert set(results.loc[results["correction"] == "none", "mode"]) == {"none"}
    assert set(results.loc[results["correction"] != "none", "mode"]) == {"global", "classwise"}
    assert results["alpha"].isna().sum() == (results["correction"] == "none").sum()
    cells = results[(results["embedding"] == "toy") & (results["correction"] == "none")]
    for label in ("piano", "voice"):
        part = cells[cells["label"] == label]
        assert list(zip(part["train_set"], part["test_set"], strict=True)) == PAIRS
        assert part["partner"].tolist() == ["beta", "beta", "alpha", "alpha"]
    assert results["roc_auc"].between(0, 1).all()
    assert (results["corpus"] == "tiny").all()
    # The label is there to be read, and the datasets differ.
    assert cells.loc[cells["train_set"] == cells["test_set"], "roc_auc"].mean() > 0.75


def test_evaluate_spells_out_the_parameters_of_its_plan(corpus):
    own = inspect.signature(evaluate).parameters
    for name, parameter in inspect.signature(plan_evaluation).parameters.items():
        assert (own[name].kind, own[name].default) == (parameter.kind, parameter.default), name
    with pytest.raises(TypeError, match=r"^evaluate\(\) got an unexpected keyword .*'label'"):
        evaluate(corpus, "toy", label=["piano"])


def test_numbers_do_not_depend_on_jobs_nor_on_what_else_is_asked(corpus):
    corrections = ["none", "lda", "k", "mklda"]
    one = evaluate(corpus, ["toy", "toy2"], corrections, jobs=1, scores=True)
    two = evaluate(corpus, ["toy", "toy2"], corrections, jobs=2, scores=True)
    pd.testing.assert_frame_equal(one.results, two.results, check_exact=True)
    pd.testing.assert_frame_equal(one.scores, two.scores, check_exact=True)
    alone = evaluate(corpus, ["toy2", "toy"], ["mklda"], labels=["voice"], jobs=1).results
    chosen = one.results[(one.results["correction"] == "mklda") & (one.results["label"] == "voice")]
    key = list(KEY_COLUMNS)
    pd.testing.assert_frame_equal(
        alone.sort_values(key, ignore_index=True),
        chosen.sort_values(key, ignore_index=True),
        check_exact=True,
    )


def test_the_order_of_the_clip_table_does_not_matter(tmp_path):
    table, features = made_table()
    first = write_corpus(tmp_path / "a", table, features)
    order = np.random.default_rng(1).permutation(len(table))
    shuffled = table.iloc[order].reset_index(drop=True)
    second = write_corpus(tmp_path / "b", shuffled, features[order], datasets=["one", "two"])
    results = [evaluate(c, "toy", ["none", "lda"], jobs=1).results for c in (first, second)]
    pd.testing.assert_frame_equal(*results, check_exact=True)


def test_with_three_datasets_every_pair_is_run(tmp_path):
    table, features = made_table(("one", "two", "three"))
    corpus = write_corpus(tmp_path / "c", table, features)
    found = evaluate(corpus, "toy", jobs=1)
    results = found.results
    assert len(results) == 2 * 3 * 4
    across = results[results["train_set"] != results["test_set"]]
    assert len(across[["train_set", "test_set"]].drop_duplicates()) == 6
    assert (across["partner"] == across["test_set"]).all()
    # In-domain rows differ by the partner that the resampling took into account.
    inside = results[(results["train_set"] == "one") & (results["test_set"] == "one")]
    assert set(inside["partner"]) == {"two", "three"}
    fall = falls(results)
    assert len(fall) == 2 * 6
    assert np.isfinite(fall["fall"]).all()
    # A block for each pair, whose falls are the differences of what stands beside them.
    head, *blocks = found.summary().split("\n\n")
    assert head.startswith("Mean ROC-AUC, train>test; fall = in-domain minus")
    for block in blocks:
        title, names, values = block.splitlines()[:3]
        first, second = title.split(",")[0].split("/")
        names = names.replace("mean fall ", "mean").replace("fall ", "fall").split()
        shown = dict(zip(names, values.split()[1:], strict=True))
        fall = float(shown[f"{first}>{first}"]) - float(shown[f"{second}>{first}"])
        assert float(shown[f"fall{second}>{first}"]) == pytest.approx(fall, abs=0.0011)
    titles = [block.splitlines()[0] for block in blocks]
    assert titles == [f"{pair}, over 2 label(s)" for pair in ("one/two", "one/three", "two/three")]


def test_scores_give_the_metrics_again(corpus):
    found = evaluate(corpus, "toy", ["none", "lda"], jobs=1, scores=True)
    assert tuple(found.scores.columns) == SCORE_COLUMNS
    keys = list(KEY_COLUMNS)
    results = found.results.set_index(keys)
    clips = corpus.clips.set_index(["dataset", "clip"])
    n = 0
    for key, part in found.scores.groupby(keys, dropna=False):
        row = results.loc[key]
        again = recognition_metrics(part["y_true"], part["score"], part["probability"])
        assert row[list(again)].to_dict() == pytest.approx(again)
        assert len(part) == row["n_test"]
        assert part["y_true"].sum() == row["n_pos_test"]
        own = clips.loc[[(key[keys.index("test_set")], clip) for clip in part["clip"]]]
        assert (own["split"] == "test").all()
        assert own["track"].tolist() == part["track"].tolist()
        label = own[key[keys.index("label")]]
        assert (label >= 0.5).astype(int).tolist() == part["y_true"].tolist()
        n += len(part)
    assert n == len(found.scores)


def test_only_clips_with_every_embedding_take_part(corpus):
    both = evaluate(corpus, ["toy", "toy2"], jobs=1)
    assert both.record["left_out"] == {"alpha": 0, "beta": 2}
    assert "2 clip(s) of beta left out" in both.summary()
    assert both.results.groupby(["label", "test_set"])["n_test"].nunique().max() == 1
    assert evaluate(corpus, "toy", jobs=1).record["left_out"] == {"alpha": 0, "beta": 0}


def test_a_clip_without_a_group_comes_after_all_groups(corpus):
    data = ExperimentData.of(corpus, ["toy"], ["piano"])
    assert data.datasets["alpha"].groups.max() == len(corpus.groups)
    names = data.datasets["alpha"].group_names
    assert None in names
    assert set(names) - {None} <= set(corpus.groups)


def test_a_label_that_cannot_be_evaluated_is_skipped_with_the_reason(tmp_path):
    table, features = made_table()
    table.loc[(table["dataset"] == "two") & (table["split"] == "train"), "voice"] = 0.0
    corpus = write_corpus(tmp_path / "c", table, features)
    found = evaluate(corpus, "toy", jobs=1)
    assert set(found.results["label"]) == {"piano"}
    assert found.record["skipped"] == [
        {
            "label": "voice",
            "pair": ["one", "two"],
            "reason": "two has 0 positive training clips, at least 3 are needed",
        }
    ]
    assert "skipped voice on one/two: two has 0 positive" in found.summary()
    with pytest.raises(ArgumentError, match="no label can be evaluated: voice: two has 0"):
        evaluate(corpus, "toy", labels=["voice"], jobs=1)


@pytest.mark.parametrize(
    ("split", "value", "told"),
    [
        ("test", 0.0, "two has no positive test clips"),
        ("test", np.nan, "two has no positive test clips"),
        ("test", 1.0, "two has no negative test clips"),
        ("train", 1.0, "two has 0 negative training clips"),
    ],
)
def test_the_reason_names_dataset_and_class(tmp_path, split, value, told):
    table, features = made_table()
    table.loc[(table["dataset"] == "two") & (table["split"] == split), "voice"] = value
    plan = plan_evaluation(write_corpus(tmp_path / "c", table, features), "toy")
    assert [(entry["label"], entry["reason"]) for entry in plan.skipped] == [
        ("voice", told if split == "test" else f"{told}, at least 3 are needed")
    ]


def test_a_correction_that_cannot_be_fitted_is_skipped_with_the_reason(tmp_path):
    table, features = made_table()
    table["group"] = np.where(table["dataset"] == "one", "rock", "jazz")
    corpus = write_corpus(tmp_path / "c", table, features)
    found = evaluate(corpus, "toy", ["none", "mlda"], labels=["piano"], jobs=1)
    assert set(found.results["correction"]) == {"none"}
    assert len(found.record["skipped"]) == 1
    assert "no group has rows of two domains" in found.record["skipped"][0]["reason"]
    assert "skipped piano toy mlda global on one/two: no group" in found.summary()


def test_without_any_group_a_correction_by_group_is_skipped(tmp_path):
    table, features = made_table()
    table["group"] = None
    corpus = write_corpus(tmp_path / "c", table, features, groups=[])
    found = evaluate(corpus, "toy", ["lda", "mlda", "leace:given=group"], jobs=1)
    assert set(found.results["correction"]) == {"lda"}
    reasons = {entry["correction"]: entry["reason"] for entry in found.record["skipped"]}
    none = "no training clip of one or two has a group"
    assert reasons == {
        "mlda": f"{none}; with groups=auto they are looked for",
        "leace:given=group": none,
    }
    assert len(found.record["skipped"]) == 4
    lines = [line for line in found.summary().splitlines() if line.startswith("skipped")]
    assert lines == [
        f"skipped piano, voice toy mlda global on one/two: {none}; with groups=auto they are "
        "looked for",
        f"skipped piano, voice toy leace:given=group global on one/two: {none}",
    ]
    # What is skipped for sure is known before, and no task.
    plan = plan_evaluation(corpus, "toy", ["lda", "mlda", "mklda"])
    assert [str(spec) for task in plan.tasks for spec, _ in task.variants] == ["lda", "lda"]
    assert f"mklda global on one/two: {none}" in plan.describe()


@pytest.mark.parametrize("apart", [0.0, 1.0])
def test_a_degenerate_embedding_does_not_stop_the_others(tmp_path, apart):
    """One embedding is constant, or constant in each of two datasets of different size."""
    table, features = made_table(n=150)
    kept = ~((table["dataset"] == "two") & (np.arange(len(table)) % 150 >= 30))
    table, features = table[kept].reset_index(drop=True), features[kept.to_numpy()]
    corpus = write_corpus(tmp_path / "c", table, features)
    flat = 0.1 + apart * (table[["dataset"]] == "two").to_numpy() @ np.ones((1, 6))
    corpus = add_embedding(corpus, "flat", flat.astype(np.float32))
    corrections = ["none", "klda", "meanproj"]
    plan = plan_evaluation(corpus, ["flat", "toy"], corrections, labels=["piano"], report=True)
    for _ in range(2):  # the second time from what was kept
        found = run_plan(plan, jobs=1, resume=tmp_path / "kept")
        done = found.results.groupby("embedding")["correction"].unique()
        assert set(done["toy"]) == set(corrections)
        assert set(done["flat"]) == {"none", "meanproj"}
        (skipped,) = found.record["skipped"]
        about = [skipped[name] for name in ("embedding", "label", "pair", "correction", "mode")]
        assert about == ["flat", "piano", ["one", "two"], "klda", "global"]
        assert "the training clips give no random features" in skipped["reason"]
        told = [text for text in found.record["warnings"] if "equal rows" in text]
        assert told
        assert all(text.startswith("flat, piano, one/two: most test clips") for text in told)
        assert any("rbf_probe" in text for text in told)
        assert any("variance_moved" in text for text in told) == (not apart)
        judged = found.report.shift
        values = judged[judged["measure"] == "rbf_probe"].groupby("embedding")["value"]
        assert values.apply(lambda v: v.isna().all()).to_dict() == {"flat": True, "toy": False}


def test_an_embedding_out_of_range_is_named_and_does_not_stop_the_others(tmp_path):
    table, features = made_table()
    corpus = write_corpus(tmp_path / "c", table, features)
    wide = np.random.default_rng(1).normal(size=(len(table), 300)).astype(np.float32)
    corpus = add_embedding(corpus, "huge", features * np.float32(1e18))
    corpus = add_embedding(corpus, "tiny", wide * np.float32(1e-18))
    corrections, labels = ["none", "lda", "klda"], ["piano"]
    plan = plan_evaluation(corpus, ["huge", "tiny", "toy"], corrections, labels=labels, report=True)
    for _ in range(2):  # the second time what failed is tried again, and the rest was kept
        found = run_plan(plan, jobs=1, resume=tmp_path / "kept")
        assert len(list((tmp_path / "kept").glob("*.npz"))) == len(plan.tasks) - 2
        done = found.results.groupby("embedding", sort=False)["correction"].unique().map(list)
        assert done.to_dict() == {"huge": ["klda"], "tiny": ["klda"], "toy": corrections}
        skipped = [(s["embedding"], s["correction"], s["label"]) for s in found.record["skipped"]]
        assert skipped == [(e, c, "piano") for e in ("huge", "tiny") for c in ("none", "lda")]
        told = found.record["skipped"][0]["reason"]
        assert "e+18 long on average, out of the range of single precision" in told
        assert "skipped piano tiny none, lda global on one/two: the rows are" in found.summary()
    alone = evaluate(corpus, "toy", corrections, labels=labels, report=True, jobs=1)
    own = found.results[found.results["embedding"] == "toy"].reset_index(drop=True)
    pd.testing.assert_frame_equal(own, alone.results, check_exact=True)
    pd.testing.assert_frame_equal(
        found.report.changes.query("embedding == 'toy'").reset_index(drop=True),
        alone.report.changes,
        check_exact=True,
        check_dtype=False,
    )
    with pytest.raises(ArgumentError, match=r"(?s)nothing can be evaluated.*piano huge lda global"):
        evaluate(corpus, "huge", "lda", labels=labels, jobs=1)


def test_a_dose_of_zero_is_no_correction_and_doses_share_the_direction(corpus):
    doses = [f"lda:alpha={a}" for a in (0, 0.5, 1)]
    results = evaluate(corpus, "toy2", ["none", *doses, "lda"], jobs=1).results
    assert len(results) == 2 * 4 * 4
    by_dose = {a: part["roc_auc"].to_numpy() for a, part in results.groupby("alpha")}
    none = results[results["correction"] == "none"]["roc_auc"].to_numpy()
    np.testing.assert_allclose(by_dose[0.0], none, atol=1e-12)
    alone = evaluate(corpus, "toy2", ["lda:alpha=0.5"], jobs=1).results["roc_auc"].to_numpy()
    np.testing.assert_array_equal(alone, by_dose[0.5])
    assert (by_dose[1.0] != none).any()


@pytest.mark.parametrize(
    ("correction", "recogniser"),
    [
        *((name, "logistic") for name in ("lda:alpha=0.7", "mlda", "mklda", "leace:alpha=0.7")),
        ("leace:groups=group,kernel=fastfood", "logistic"),
        ("leace:alpha=0.7", "logistic:intercept=free"),
    ],
)
def test_the_short_cut_for_thin_maps_gives_what_transforming_the_rows_gives(
    corpus, monkeypatch, correction, recogniser
):
    how = {"recogniser": recogniser, "jobs": 1, "scores": True}
    short = evaluate(corpus, "toy2", correction, **how)
    monkeypatch.setattr(Correction, "is_low_rank", False)
    long = evaluate(corpus, "toy2", correction, **how)
    np.testing.assert_array_equal(short.results["C"], long.results["C"])
    for score in ("score", "probability"):
        spread = long.scores[score].abs().max()
        np.testing.assert_allclose(short.scores[score], long.scores[score], atol=2e-3 * spread)


def test_with_a_free_intercept_rows_that_move_alike_change_nothing(corpus):
    """Neither the origin of all rows nor that of each dataset; with the paper's, both do."""
    for recogniser in ("logistic", "logistic:intercept=free"):
        names = ["none", "shift", "center"]
        found = evaluate(corpus, "toy2", names, recogniser=recogniser, jobs=1).results
        aucs = [part["roc_auc"].to_numpy() for _, part in found.groupby("correction", sort=False)]
        same = [np.allclose(one, aucs[0], atol=1e-12) for one in aucs[1:]]
        assert same == 2 * [recogniser != "logistic"]


def test_unequal_numbers_of_tracks_are_told_of_and_can_be_matched(tmp_path):
    table, X = made_table(n=360)
    number = np.arange(len(table)) % 360
    of_four = (table["dataset"] == "one") & (table["split"] == "train")
    table["track"] = np.where(of_four, number // 6, number).astype(str)
    table["track"] = table["split"] + table["track"]
    corpus = write_corpus(tmp_path, table, X)
    by_clip = evaluate(corpus, "toy", jobs=1, report=True)
    (told,) = by_clip.record["warnings"]
    assert "one/two: the training clips are of unequal numbers of tracks (for 2 of 2" in told
    assert told in report_markdown(by_clip.report, by_clip.record).replace("\\", "")
    matched = evaluate(corpus, "toy", match="tracks", modes=("global", "unlabelled"), jobs=1)
    assert matched.record["parameters"]["match"] == "tracks"
    assert not matched.record["warnings"]
    assert matched.results["n_train"].max() < by_clip.results["n_train"].min()
    summary, both = evaluate(corpus, "toy", jobs=1).summary(), falls(by_clip.results)["fall"].mean()
    assert "mean fall one/two fall" in " ".join(summary.split())
    assert f" {both:+.3f} " in summary
    with pytest.raises(ArgumentError, match="match 'track': expected clips or tracks"):
        evaluate(corpus, "toy", match="track")


def test_the_seed_decides_the_resampling(corpus):
    results = [evaluate(corpus, "toy", seed=seed, jobs=1).results for seed in (1, 1, 2)]
    pd.testing.assert_frame_equal(results[0], results[1])
    assert (results[0]["roc_auc"] != results[2]["roc_auc"]).any()
    assert set(results[2]["seed"]) == {2}


def test_warnings_of_corrections_are_recorded(tmp_path):
    table, features = made_table()
    table.loc[table["dataset"] == "one", "group"] = "rock"
    found = evaluate(write_corpus(tmp_path / "c", table, features), "toy", "mlda", jobs=1)
    assert len(found.record["warnings"]) == 2
    assert "toy, piano, one/two: group 'jazz' has no rows" in found.record["warnings"][0]
    assert "2 warning(s)" in found.summary()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"embeddings": "yamnet"}, "no embedding 'yamnet'; it has toy, toy2"),
        ({"embeddings": []}, "at least one embedding"),
        ({"labels": ["pino"]}, "no label 'pino'; it has piano, voice. Did you mean 'piano'"),
        ({"labels": []}, "at least one label"),
        (
            {"modes": "class-wise"},
            "expected one of global, .* Did you mean 'classwise'",
        ),
        ({"corrections": "ldaa"}, "unknown correction 'ldaa'"),
        ({"recogniser": "forest"}, "recogniser 'forest': expected one of logistic, logistic-lib"),
        ({"target": "label"}, "no target 'label'; there are labels, tags, .*tempo. Did you mean"),
        # The misspelt target is told, not the labels, which are right.
        ({"target": "tmpo", "labels": ["piano"]}, "no target 'tmpo'; .* Did you mean 'tempo'"),
        ({"target": ["era", "tempo", "tags"]}, "tags stands by itself, not with era, tempo$"),
        ({"target": ["tempo", "era"]}, "not of one kind"),
        ({"target": "tempo", "labels": ["piano"]}, "labels and tags, not for tempo; leave"),
        ({"target": "tempo", "modes": "classwise"}, "there are none of number"),
        ({"seeds": 0}, "seeds must be at least 1"),
    ],
)
def test_arguments_that_cannot_be_used(corpus, changes, told):
    with pytest.raises(ArgumentError, match=told):
        evaluate(corpus, **{"embeddings": "toy", **changes})


def test_one_dataset_is_not_enough(tmp_path):
    table, features = made_table(("one",))
    with pytest.raises(ArgumentError, match="one dataset only"):
        evaluate(write_corpus(tmp_path / "c", table, features), "toy")


def test_datasets_without_common_embeddings(tmp_path):
    table, features = made_table()
    corpus = write_corpus(tmp_path / "c", table, features)
    write_embedding_file(tmp_path / "c" / "e.h5", "late", {"one": (["one000"], features[:1])})
    corpus = corpus.add_embedding_file(tmp_path / "c" / "e.h5", made_here=True)
    with pytest.raises(ArgumentError, match=r"no label can be evaluated: .* training clips"):
        evaluate(corpus, ["late"])


def results_of(rows):
    columns = ["embedding", "correction", "mode", "alpha", "label", "train_set", "test_set"]
    table = pd.DataFrame(rows, columns=[*columns, "roc_auc"])
    others = table["test_set"].map({"a": "b", "b": "a"})
    return table.assign(
        corpus="c",
        partner=others.where(table["train_set"] == table["test_set"], table["test_set"]),
        recogniser="logistic",
        seed=0,
    )


def test_falls_hold_the_test_set_fixed():
    results = results_of(
        [
            ("e", "none", "none", np.nan, "x", "a", "a", 0.9),
            ("e", "none", "none", np.nan, "x", "a", "b", 0.6),
            ("e", "none", "none", np.nan, "x", "b", "a", 0.8),
            ("e", "none", "none", np.nan, "x", "b", "b", 0.95),
        ]
    )
    table = falls(results).set_index("test_set")
    assert table["fall"].round(10).to_dict() == {"b": 0.35, "a": 0.1}
    assert table["train_set"].to_dict() == {"b": "a", "a": "b"}


def test_means_over_labels_keep_the_order_of_the_table():
    rows = []
    for embedding, correction, alpha in [("z", "none", np.nan), ("z", "lda", 0.5), ("a", "lda", 1)]:
        for label, shift in (("x", 0.0), ("y", 0.2)):
            mode = "none" if correction == "none" else "global"
            rows.append((embedding, correction, mode, alpha, label, "a", "b", 0.5 + shift))
    table = mean_over_labels(results_of(rows))
    assert table.index.get_level_values("embedding").tolist() == ["z", "z", "a"]
    np.testing.assert_allclose(table["a", "b"], 0.6)


def test_names_that_look_like_numbers_stay_what_they_are(tmp_path):
    """In results, scores and kept tasks, and in tables that are written and read again."""
    table, features = made_table(("007", "7"))
    table = table.rename(columns={"piano": "01", "voice": "1e5"})
    table["group"] = table["group"].map({"jazz": "1e5", "rock": "NA"})
    table["track"] = table["clip"].str[-2:]
    targets = [Target("01", "label"), Target("1e5", "label")]
    corpus = write_corpus(tmp_path / "c", table, features, name="1.0", targets=targets)
    plan = plan_evaluation(corpus, "toy", ["none", "lda"])
    names = {"corpus": {"1.0"}, "label": {"01", "1e5"}, "train_set": {"007", "7"}}
    for _ in range(2):  # the second time from what was kept
        found = run_plan(plan, scores=True, jobs=1, resume=tmp_path / "kept")
        assert {"02", "05"} < set(found.scores["track"])
        assert set(found.scores["group"]) == {"1e5", "NA"}
        for suffix in (".csv", ".parquet"):
            for one in (found.results, found.scores):
                write_table(one, tmp_path / f"r{suffix}")
                again = read_table(tmp_path / f"r{suffix}")
                pd.testing.assert_frame_equal(again, one, check_exact=True, check_dtype=False)
                assert {name: set(again[name]) for name in names} == names


def test_tables_that_cannot_be_written_or_read(tmp_path):
    with pytest.raises(ArgumentError, match=r"expected \.csv or \.parquet"):
        write_table(pd.DataFrame(), tmp_path / "r.xlsx")
    with pytest.raises(ArgumentError, match="no such file"):
        read_table(tmp_path / "r.csv")
    (tmp_path / "r.parquet").write_bytes(b"PAR1")
    with pytest.raises(ArgumentError, match="cannot be read as a table"):
        read_table(tmp_path / "r.parquet")
