"""The full report: its numbers follow from the results, and the command writes all of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score
from small_sounds import add_embedding

from biasmir_utils.corpus import Corpus, CorpusWriter, Target
from biasmir_utils.corrections import correct_corpus
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments import (
    changes,
    evaluate,
    holm,
    paired_wilcoxon,
    plan_evaluation,
    report_latex,
    report_markdown,
)

CORRECTIONS = ["lda", "center", "leace", "random"]


@pytest.fixture(scope="module")
def corpus(_tiny_corpus_original: Path) -> Corpus:
    return Corpus.load(_tiny_corpus_original)


@pytest.fixture(scope="module")
def found(corpus):
    return evaluate(
        corpus,
        ["toy", "toy2"],
        CORRECTIONS,
        ["global", "unlabelled"],
        seeds=2,
        report=True,
        scores=True,
        jobs=1,
    )


def renamed(corpus: Corpus, folder: Path, embedding: str, names: dict[str, str]) -> Corpus:
    """Write a corpus again, with other names of labels and datasets, and one embedding."""
    clips = corpus.clips.rename(columns=names).replace({"dataset": names})
    other = CorpusWriter(
        folder,
        name=names.get(corpus.name, corpus.name),
        title="With other names",
        datasets=[names.get(name, name) for name in corpus.datasets],
        groups=corpus.groups,
        targets=[Target(names.get(label, label), "label") for label in corpus.labels],
    )
    return add_embedding(other.write(clips), embedding, corpus.embedding("toy"))


def row_of(table: pd.DataFrame, **where) -> pd.Series:
    for column, value in where.items():
        table = table[table[column] == value]
    (row,) = [row for _, row in table.iterrows()]
    return row


def test_the_results_are_those_without_a_report(found, corpus):
    plain = evaluate(corpus, ["toy", "toy2"], ["none", *CORRECTIONS], jobs=1).results
    same = found.results[(found.results["seed"] == 42) & (found.results["mode"] != "unlabelled")]
    pd.testing.assert_frame_equal(same.reset_index(drop=True), plain, check_exact=True)


def test_gain_and_loss_are_mean_changes_of_the_results(found):
    change = changes(found.results)
    across = change["train_set"] != change["test_set"]
    for row in found.report.summary.query("correction != 'none'").to_dict("records"):
        # Each mode beside its own baseline: see `changes`.
        keys = ["embedding", "correction", "mode"]
        own = change[(change[keys] == pd.Series(row)[keys]).all(axis=1)]
        for name, sign, where in (("gain", 1, across), ("loss", -1, ~across)):
            mean = sign * own.loc[where, "change"].mean()
            assert row[name] == pytest.approx(mean, abs=1e-6)
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
        seeds = own[across[own.index]].groupby("seed")["change"].mean()
        assert row["gain_seed_sd"] == pytest.approx(seeds.std(ddof=1))


def test_p_values_are_of_the_labels_differences(found):
    change = changes(found.results)
    change = change[(change["embedding"] == "toy") & (change["train_set"] != change["test_set"])]
    table = found.report.changes
    table = table[
        (table["embedding"] == "toy")
        & (table["baseline"] == "none")
        & (table["where"] == "across")
        & (table["metric"] == "roc_auc")
    ]
    for row in table.to_dict("records"):
        own = change[(change["correction"] == row["correction"]) & (change["mode"] == row["mode"])]
        assert row["p"] == pytest.approx(paired_wilcoxon(own.groupby("label")["change"].mean()))
    np.testing.assert_allclose(table["p_holm"], holm(table["p"]))
    # One family: all corrections of the embedding, in both modes.
    assert len(table) == 2 * len(CORRECTIONS)


def test_pooled_metrics_are_of_both_test_sets_together(found):
    own = "embedding == 'toy' and mode == 'none' and train_set == 'alpha' and label == 'piano'"
    chosen = found.scores.query(own)
    task = found.report.task.query(f"{own} and where == 'pooled'").set_index("metric")["value"]
    for metric, measure in (
        ("roc_auc", roc_auc_score),
        ("average_precision", average_precision_score),
    ):
        by_seed = []
        for _, part in chosen.groupby("seed"):
            sizes = part.groupby(["test_set", "y_true"])["clip"].transform("size")
            by_seed.append(measure(part["y_true"], part["score"], sample_weight=1 / sizes))
        assert task[metric] == pytest.approx(np.mean(by_seed), abs=1e-6)


def test_the_worst_label_is_the_worst(found):
    task = found.report.task
    names = ["piano", "voice"]
    for metric, worst in (("roc_auc", "min"), ("brier", "max")):
        part = task[(task["metric"] == metric) & (task["embedding"] == "toy2")]
        keys = ["correction", "mode", "train_set", "where"]
        own = part[part["label"].isin(names)].groupby(keys)["value"].agg(worst)
        told = part[part["statistic"] == "worst"].set_index(keys)["value"]
        pd.testing.assert_series_equal(told.sort_index(), own.sort_index(), check_names=False)


def test_names_of_summaries_are_names_like_any(corpus, tmp_path):
    names = {"piano": "(mean)", "voice": "(worst)", "alpha": "(both)"}
    other = renamed(corpus, tmp_path / "other", "toy", names)
    plain, odd = (evaluate(each, "toy", "lda", report=True, jobs=1) for each in (corpus, other))
    for table, columns in (
        ("summary", ["roc_auc_inside", "roc_auc_across", "gain", "loss", "worst_label_across"]),
        ("task", ["value"]),
    ):
        one, two = (getattr(each.report, table)[columns] for each in (plain, odd))
        pd.testing.assert_frame_equal(one, two, check_exact=True)
    task = odd.report.task
    assert list(task["label"].unique()[1:]) == ["(mean)", "(worst)"]
    assert (task["label"].isna() == (task["statistic"] != "label")).all()
    assert (task["test_set"].isna() == (task["where"] == "pooled")).all()


def test_names_are_texts_in_markdown_and_latex(corpus, tmp_path):
    names = {"alpha": r"\input{a}|b", "beta": "<script>\n# x", "tiny": "$x_{$ & [a](b) 5 % _i_"}
    other = renamed(corpus, tmp_path / "other", r"to|y \% $\x$", names)
    found = evaluate(other, [r"to|y \% $\x$"], "gaussian_ot", report=True, jobs=1)
    text = report_markdown(found.report, found.record)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert r"| to\|y \\% \$\\x\$ | gaussian_ot" in rows[2]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows[:3]}) == 1
    assert r"corpus \$x\_{\$ & \[a\](b) 5 % \_i\_" in text
    assert r"\\input{a}\|b 30 clips" in text
    assert r"\<script\> # x 30 clips" in text
    latex = report_latex(found.report, found.record)
    assert r"to|y \textbackslash \% \$\textbackslash x\$ &" in latex
    assert r"\$x\_\{\$ \& [a](b) 5 \% \_i\_" in latex
    assert r"\textbackslash{}input\{a\}|b" in latex


def test_shift_is_measured_on_clips_that_no_correction_was_fitted_on(found):
    shift = found.report.shift.set_index(
        ["embedding", "correction", "mode", "measure"]
    ).sort_index()
    none = shift.loc["toy", "none", "none"]
    assert none.loc["linear_probe", "value"] > 0.9
    assert none.loc["linear_probe", "chance"] == pytest.approx(0.5, abs=0.12)
    assert none.loc["variance_moved", "value"] == 0
    leace = shift.loc["toy", "leace", "global"]
    assert leace.loc["linear_probe", "value"] < 0.7
    # Zero on the rows of the fit, and not on these.
    assert 0.01 < leace.loc["mean_gap", "value"] < none.loc["mean_gap", "value"]
    assert leace.loc["rank", "value"] == 1
    assert leace.loc["variance_moved", "control"] > 0
    assert shift.loc["toy", "random", "global"].loc["linear_probe", "value"] > 0.8
    # Two labels, two seeds.
    assert set(found.report.shift["n_fits"]) == {4}


@pytest.mark.parametrize("several", [{"seeds": 2, "labels": ["piano"]}, {}])
def test_every_label_and_seed_has_a_control_of_its_own(corpus, several):
    report = evaluate(corpus, "toy", "random", report=True, jobs=1, **several).report
    row = row_of(report.shift, correction="random", measure="variance_moved")
    assert row["n_fits"] == 2
    assert row["low"] < row["high"]


def test_tests_of_one_metric_in_one_place_are_a_family(corpus):
    table = evaluate(corpus, "toy", "lda", report=True, jobs=1).report.changes
    assert table["where"].nunique() == 3
    assert table["p"].min() < 1
    np.testing.assert_array_equal(table["p_holm"], table["p"])


@pytest.mark.parametrize("method", ["coral", "gaussian_ot"])
def test_a_target_that_is_no_dataset_is_refused_before_the_start(corpus, method):
    with pytest.raises(ArgumentError, match=r"to must be one of alpha, beta.*Did you mean 'beta'"):
        plan_evaluation(corpus, "toy", f"{method}:to=betta")
    default = {"coral": "pooled", "gaussian_ot": "barycenter"}[method]
    for target in ("beta", default):
        plan_evaluation(corpus, "toy", f"{method}:to={target}")


def test_gains_are_told_against_the_controls_and_ranked_by_the_shift(corpus):
    names = ["shift", "lda", "leace", "placebo:leace", "random"]
    found = evaluate(corpus, "toy", names, report=True, jobs=1)
    table = found.report.summary.set_index("correction")
    assert list(table.index[:2]) == ["none", "shift"]
    for name in names[1:]:
        beyond = table.loc[name, "gain"] - table.loc["shift", "gain"]
        assert table.loc[name, "gain_over_shift"] == pytest.approx(beyond, abs=1e-6)
    assert table["gain_over_shift"][2:].is_monotonic_decreasing
    beyond = table.loc["leace", "gain"] - table.loc["placebo:leace", "gain"]
    assert table.loc["leace", "gain_over_placebo"] == pytest.approx(beyond, abs=1e-6)
    assert table["gain_over_placebo"].notna().sum() == 1
    best = table.loc[["lda", "leace"], "gain_over_shift"].idxmax()
    for text in (found.summary(), report_markdown(found.report, found.record)):
        assert f"Against shift the best correction is {best} on toy (" in text
        assert "gain over placebo" in text
    assert "controls random and placebo have" in text


def test_rows_may_move_to_the_dataset_that_is_not_trained_on(corpus):
    names = [f"gaussian_ot:to={name}" for name in ("partner", "alpha", "beta")]
    found = evaluate(corpus, "toy", names, report=True, jobs=1)
    of = dict(iter(found.results.groupby("correction")))
    for train_set, other in (("alpha", "beta"), ("beta", "alpha")):
        one, two = (
            of[f"gaussian_ot:to={to}"].query(f"train_set == '{train_set}'")["roc_auc"]
            for to in ("partner", other)
        )
        np.testing.assert_array_equal(one, two)
    assert set(found.report.shift.query(f"correction == '{names[0]}'")["n_fits"]) == {4}


def test_at_the_sources_rate_as_many_are_present_as_in_the_sources_training_clips(found, corpus):
    own = "embedding == 'toy' and correction == 'leace' and mode == 'unlabelled'"
    own += " and label == 'piano' and train_set == 'alpha' and test_set == 'beta'"
    # In this mode the recogniser is trained on all clips of its dataset that were observed.
    train = corpus.clips.query("dataset == 'alpha' and split == 'train'")["piano"].dropna()
    values = [
        balanced_accuracy_score(
            part["y_true"], part["score"] > part["score"].quantile(1 - (train >= 0.5).mean())
        )
        for _, part in found.scores.query(own).groupby("seed")
    ]
    task = found.report.task.query(f"{own} and metric == 'balanced_accuracy_rate'")
    assert task["value"].item() == pytest.approx(np.mean(values), abs=1e-6)


def test_the_text_says_what_the_numbers_rest_on(found):
    text = report_markdown(found.report, found.record, "r.report.png")
    row = row_of(found.report.summary, embedding="toy", correction="leace", mode="global")
    assert f"{row['gain']:+.3f} [{row['gain_low']:+.3f}, {row['gain_high']:+.3f}]" in text
    for part in (
        "(n = 2 labels)",
        "seeds 42 to 43 (n = 2)",
        "alpha 30 clips of 15 tracks",
        "numpy ",
        found.record["data"]["clips.parquet"][:16],
        "](r.report.png)",
        "What the labels of the target were worth",
        "2 resampling seeds: how much the choice of training clips matters is hardly shown",
        "leace (unlabelled)",
        "| change of pooled ROC-AUC",
        "follows the label counts of the target",
        "random has a subspace of its own for each recogniser's target and seed: its means are "
        "over 4 draws",
    ):
        assert part in text, part
    worth = text.split("## What the labels of the target were worth")[1].splitlines()[2]
    assert [cell.strip() for cell in worth.strip("|").split("|")] == [
        *("embedding", "correction", "ROC-AUC across", "p across", "ROC-AUC inside", "p inside"),
        "pooled ROC-AUC",
        *(
            f"balanced accuracy (source's {what}) {where}"
            for what in ("threshold", "rate")
            for where in ("across", "inside")
        ),
    ]
    rows = text.split(worth)[1].split("\n\n")[0].splitlines()[2:]
    assert [line.split("|")[2].strip() for line in rows] == 2 * ["none", *CORRECTIONS]
    # Nothing to say of what is not there.
    for part in ("random features", "Brier is blank", "same track in both datasets"):
        assert part not in text, part
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in tables[:9]}) == 1
    assert "nan" not in text


def test_the_table_for_latex(found):
    text = report_latex(found.report, found.record)
    assert text.startswith("% needs")
    assert "$-$0." in text
    assert " -0." not in text
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert len(body) == len(found.report.summary)
    row = row_of(found.report.summary, embedding="toy2", correction="leace", mode="unlabelled")
    (own,) = (line for line in body if line.startswith("toy2 & leace (unlabelled) & unlabelled"))
    assert f"{row['gain']:+.3f} [" in own
    assert "95 \\% intervals" in text


def test_what_a_mode_does_is_said_of_the_modes_that_ran(corpus):
    blind = evaluate(corpus, "toy", "leace", "unlabelled", labels=["piano"], report=True, jobs=1)
    text = report_markdown(blind.report, blind.record)
    assert "In the mode unlabelled nothing depends" in text
    assert "Mode: unlabelled." in text
    assert "as many with and as many without" not in text
    assert "follows the label counts" not in text
    matched = evaluate(corpus, "toy", "leace", labels=["piano"], report=True, jobs=1)
    text = report_markdown(matched.report, matched.record)
    assert "as many with and as many without the label from both datasets, every genre" in text
    assert "In the mode unlabelled nothing depends" not in text
    # alpha has 30 test clips, all observed; of beta some were not observed for voice.
    assert "alpha 30 clips of 15 tracks" in text
    fewest = matched.report.facts["test"]["alpha"]["fewest_tracks"]
    assert ("some label in alpha" in text) == (fewest < 10)


def test_errors_in_several_units_have_no_mean(tiny_corpus):
    path = tiny_corpus / "corpus.json"
    description = json.loads(path.read_text(encoding="utf-8"))
    (tempo,) = (target for target in description["targets"] if target["name"] == "tempo")
    description["targets"].append({**tempo, "name": "pitch", "unit": "semitones"})
    path.write_text(json.dumps(description), encoding="utf-8")
    table = pd.read_parquet(tiny_corpus / "clips.parquet")
    table["pitch"] = table["tempo"].to_numpy()[::-1] / 2
    table.to_parquet(tiny_corpus / "clips.parquet", index=False)
    corpus = Corpus.load(tiny_corpus)
    two = evaluate(corpus, "toy", "leace", target=["tempo", "pitch"], report=True, jobs=1)
    task = two.report.task
    assert set(task.loc[task["metric"] == "mae", "label"]) == {"tempo", "pitch"}
    assert "mae" not in set(two.report.changes["metric"])
    text = report_markdown(two.report, two.record)
    assert "not averaged over targets" in text
    assert "MAE across" not in text
    one = evaluate(corpus, "toy", "leace", target="tempo", report=True, jobs=1)
    assert "MAE across" in report_markdown(one.report, one.record)


def test_what_happened_before_the_evaluation_is_told(corpus, tmp_path):
    correct_corpus(corpus, "leace", tmp_path / "corrected", embeddings=["toy"])
    table = pd.read_parquet(tmp_path / "corrected" / "clips.parquet")
    rows = table.index[(table["dataset"] == "beta") & (table["split"] == "test")]
    table.loc[rows, "voice"] = np.nan
    track = table.loc[table["split"] == "train", "track"].iloc[0]
    table.loc[table.index[table["split"] == "test"][0], "track"] = track
    table.to_parquet(tmp_path / "corrected" / "clips.parquet", index=False)
    later = Corpus.load(tmp_path / "corrected")
    assert later.warnings
    found = evaluate(later, "toy", "leace", report=True, jobs=1)
    text = report_markdown(found.report, found.record)
    assert "The embedding toy was corrected before (toy of corpus tiny, corrected: leace)" in text
    assert f"Warning of the corpus: {later.warnings[0]}" in text
    assert "Left out: voice on alpha/beta: beta has no positive test clips." in text
    assert f"Warning of the corpus: {later.warnings[0]}" in found.summary()


def test_blanks_and_random_features_are_explained(corpus):
    found = evaluate(
        corpus, "toy", ["klda"], recogniser="sklearn.svm.LinearSVC", report=True, jobs=1
    )
    text = report_markdown(found.report, found.record)
    assert "Brier is blank: the recogniser sklearn.svm.LinearSVC gives scores" in text
    assert "With random features (klda) the probes" in text


def test_a_report_on_a_category_marks_groups_as_labels(corpus):
    found = evaluate(
        corpus,
        "toy",
        ["mlda", "lda"],
        "unlabelled",
        target="group",
        report=True,
        jobs=1,
    )
    summary = found.report.summary.set_index("correction")
    assert summary.loc["mlda", "information"] == "labelled target"
    assert summary.loc["lda", "information"] == "unlabelled target"
    assert "The groups are the target here" in report_markdown(found.report, found.record)
    assert "The groups are the target here" in found.summary()


@pytest.mark.parametrize("target", ["labels", "group"])
def test_a_name_in_results_and_report_has_one_value(corpus, target):
    found = evaluate(corpus, "toy", "none", target=target, report=True, jobs=1)
    task = found.report.task.query("statistic == 'mean' and where != 'pooled'")
    own = task.set_index(["train_set", "test_set", "metric"])["value"]
    means = found.results.groupby(["train_set", "test_set"])
    told = {name for name in own.index.unique("metric") if name in found.results}
    by_class = target == "group"
    assert told == {"roc_auc", "average_precision", "brier"} | (
        {"balanced_accuracy"} if by_class else set()
    )
    assert ("balanced_accuracy_source" in own.index.unique("metric")) != by_class
    for metric in told:
        for pair, value in means[metric].mean().items():
            assert own[(*pair, metric)] == pytest.approx(value, abs=1e-6), metric


def test_no_control_is_named_best_and_one_label_has_no_interval_of_its_worth(corpus):
    names = ["random", "placebo:lda", "lda", "leace:given=label"]
    found = evaluate(corpus, "toy", names, labels=["piano"], report=True, few_labels=[10], jobs=1)
    for text in (found.summary(), report_markdown(found.report, found.record)):
        (line,) = (line for line in text.splitlines() if line.startswith("Best across with"))
        assert ": lda, " in line
        assert line.rstrip(".").split("target: ")[1] in ("none", "under 10", "over 10")
        assert "[, ]" not in text
        assert "nan" not in text
    controls = evaluate(corpus, "toy", ["shift", "random"], report=True, jobs=1)
    assert "best correction" not in controls.summary()
