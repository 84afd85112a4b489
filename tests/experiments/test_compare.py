"""The published results, and ours beside them: figures, intervals, claims, report, files."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from small_sounds import make_tiny_corpus

from biasmir_utils.cli import main
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments import (
    bootstrap_scores,
    changes,
    compare,
    comparison_text,
    evaluate,
    falls,
    interval_over_labels,
    join_runs,
    published_claims,
    published_figures,
    read_table,
    write_comparison,
    write_evaluation,
    write_table,
)

LABELS = [f"instrument {i}" for i in range(10)]
KEYS = ["embedding", "correction", "mode", "train_set", "test_set"]


def published_table() -> pd.DataFrame:
    """The published means in the form of a results table of one label."""
    table = published_figures("mean").rename(columns={"published": "roc_auc"})
    return table.drop(columns="quantity").assign(
        corpus="paper",
        label="(mean)",
        alpha=np.where(table["mode"] == "none", np.nan, 1.0),
        partner=np.where(table["train_set"] == "irmas", "openmic", "irmas"),
        recogniser="logistic",
        seed=42,
        n_test=np.where(table["test_set"] == "irmas", 1666, 500),
    )


@cache
def as_measured(spread: float = 0.01, shift: float = 0.0) -> pd.DataFrame:
    """The published means as a table of ten labels around each of them."""
    rng = np.random.default_rng(0)
    of_label = np.linspace(-0.02, 0.02, len(LABELS))
    parts = []
    for row in published_table().to_dict("records"):
        noise = rng.normal(0, spread, len(LABELS))
        values = row["roc_auc"] + shift + of_label + noise - noise.mean()
        parts += [
            {**row, "label": label, "roc_auc": value}
            for label, value in zip(LABELS, values, strict=True)
        ]
    return pd.DataFrame(parts)


def claim(found: pd.DataFrame, name: str) -> pd.Series:
    return found.set_index("claim").loc[name]


# The published table


def test_the_table_is_the_published_one(shared):
    source = pd.read_csv(shared / "paper" / "published_mean_auc.csv", keep_default_na=False)
    plain = source["correction"].isin(["none", "k"])
    source["mode"] = source["mode"].mask(plain, "none")
    theirs = source.set_index(KEYS)["mean_roc_auc_percent"]
    # What is fitted nowhere stands there twice, in both modes.
    assert len(theirs) == 144
    assert (theirs.groupby(KEYS).nunique() == 1).all()
    ours = published_figures("mean").set_index(KEYS)["published"]
    pd.testing.assert_series_equal(
        100 * ours.sort_index(), theirs.groupby(KEYS).first(), check_names=False
    )


def test_figures_that_were_not_published():
    with pytest.raises(ArgumentError, match="expected one of mean, fall, mean fall, change"):
        published_figures("median")


# Claims


FIGURES = {
    "close in-domain": 2.08,
    "fall of VGGish": 6.46,
    "fall of YAMNet": 6.955,
    "fall of OpenL3": 9.865,
    "YAMNet after VGGish": 0.495,
    "OpenL3 after YAMNet": 2.91,
    "YAMNet on top": 1.66,
    "projections add little": 0.56,
    "random features first": 0.54,
    "the fall remains": 4.10,
}


def test_the_paper_keeps_its_own_claims():
    comparison = compare(published_table())
    for claims in (published_claims(), comparison.claims):
        assert (100 * claims.set_index("claim")["ours"]).round(6).to_dict() == FIGURES
        assert claims["holds"].all()
        assert set(claims["verdict"]) == {"holds"}
        for name in ("published", "published_whole"):
            assert claims[name].tolist() == claims["ours"].tolist()
    assert "Claims, without intervals: there is one label only" in comparison_text(comparison)


def test_claims_on_results_like_the_papers():
    found = compare(as_measured(), n_replicates=500).claims.set_index("claim")
    assert found["holds"].all()
    assert (100 * found["ours"]).to_dict() == pytest.approx(FIGURES, abs=1e-9)
    assert ((found["low"] < found["ours"]) & (found["ours"] < found["high"])).all()
    assert found.at["fall of VGGish", "clear"]
    loud = compare(as_measured(spread=0.05), n_replicates=500)
    close = claim(loud.claims, "YAMNet after VGGish")
    assert close.verdict == "holds, but the interval has both sides"
    assert not close.clear


def change(table: pd.DataFrame, by: float, **where: str) -> pd.DataFrame:
    """Change some rows of a results table."""
    chosen = np.logical_and.reduce([table[column] == value for column, value in where.items()])
    assert chosen.any()
    return table.assign(roc_auc=table["roc_auc"] + by * chosen)


ACROSS = {"train_set": "irmas", "test_set": "openmic"}
GLOBAL = {"embedding": "yamnet", "mode": "global", **ACROSS}
HOME = {"embedding": "vggish", "train_set": "irmas", "test_set": "irmas"}
BROKEN = {
    "close in-domain": (-0.1, HOME),
    "fall of VGGish": (0.2, {"embedding": "vggish", **ACROSS}),
    "fall of YAMNet": (0.2, {"embedding": "yamnet", **ACROSS}),
    "fall of OpenL3": (0.25, {"embedding": "openl3", **ACROSS}),
    "YAMNet after VGGish": (0.02, {"embedding": "yamnet", **ACROSS}),
    "OpenL3 after YAMNet": (0.07, {"embedding": "openl3", **ACROSS}),
    "YAMNet on top": (0.02, {"embedding": "vggish", **ACROSS}),
    "projections add little": (0.012, {"correction": "lda", **GLOBAL}),
    "random features first": (0.02, {"correction": "mlda", **GLOBAL}),
    "the fall remains": (0.06, {"correction": "klda", **GLOBAL}),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_claim_that_does_not_hold_is_said_not_to(name):
    by, where = BROKEN[name]
    one = claim(compare(change(as_measured(0), by, **where), n_replicates=100).claims, name)
    assert (one.holds, one.clear, one.verdict) == (False, True, "does not hold")
    assert 100 * one.published == pytest.approx(FIGURES[name])


def test_what_cannot_be_checked_is_said():
    table = as_measured()
    part = table[(table["embedding"] == "vggish") & table["correction"].isin(["none", "lda"])]
    comparison = compare(part, n_replicates=100)
    verdicts = comparison.claims.set_index("claim")["verdict"]
    assert verdicts["fall of VGGish"] == "holds"
    assert verdicts["close in-domain"] == "not checked: the table lacks openl3 and yamnet"
    assert verdicts["random features first"].startswith("not checked: no klda or mklda")
    assert comparison.n_matched == 8 + 8
    # The published figure beside ours is over what we have: VGGish and lda.
    assert 100 * claim(comparison.claims, "projections add little").published == pytest.approx(0.17)
    assert "NOT CHECKED: the table lacks openl3 and yamnet" in comparison_text(comparison)
    without = table[(table["correction"] != "none") & (table["embedding"] == "vggish")]
    fall = claim(compare(without, n_replicates=100).claims, "fall of VGGish")
    assert fall.verdict.startswith("not checked: the table has no vggish with the correction none")


def test_a_claim_about_everything_says_when_it_was_checked_on_a_part():
    table = as_measured()
    comparison = compare(table[table["embedding"] == "vggish"], n_replicates=100)
    first = claim(comparison.claims, "random features first")
    assert 100 * first.published == pytest.approx(-0.31)
    assert 100 * first.published_whole == pytest.approx(0.54)
    text = " ".join(comparison_text(comparison).split())
    assert "HOLDS, over a part of what it is about (the table lacks openl3, yamnet)" in text
    assert "published, over the same part, -0.31, over all +0.54" in text
    # What is about one embedding only, or the whole table, needs no such word.
    assert claim(comparison.claims, "fall of VGGish").lacking == ""
    assert not compare(table, n_replicates=100).claims["lacking"].any()
    fewer = compare(table[table["mode"] != "classwise"], n_replicates=100)
    assert claim(fewer.claims, "the fall remains").lacking == "classwise"


# Figures and intervals


def test_published_figures_are_there_without_ours():
    table = as_measured()
    beside = compare(table[table["embedding"] == "yamnet"], n_replicates=50).beside_published(
        "mean"
    )
    assert len(beside) == 120
    known = beside[beside["ours"].notna()]
    assert set(known["embedding"]) == {"yamnet"}
    np.testing.assert_allclose(known["ours"], known["published"])


def test_falls_and_changes_are_those_of_the_results():
    table = as_measured()
    comparison = compare(table, n_replicates=9)
    for quantity, other, value in (
        ("fall", falls(table), "fall"),
        ("change against none", changes(table), "change"),
    ):
        ours = comparison.quantity(quantity).set_index(KEYS)["ours"]
        expected = other.groupby(KEYS)[value].mean()
        assert len(ours) == len(expected)
        np.testing.assert_allclose(ours.reindex(expected.index), expected)


def test_intervals_are_stretched_by_the_number_of_labels_averaged():
    """Three labels of a table of ten have the interval of three labels, and one has none."""
    table = as_measured().query("embedding == 'vggish'")
    corrected = table["correction"] != "none"
    for kept, ends in ((LABELS[:3], "low high"), (LABELS[:1], "")):
        some = table[~corrected | table["label"].isin(kept)]
        found = compare(some).quantity("change against none").set_index(KEYS)
        expected = interval_over_labels(changes(some), "change").set_index(KEYS)
        expected = expected.loc[found.index]
        assert (found["n_labels"] == len(kept)).all()
        for end in ("low", "high"):
            np.testing.assert_allclose(found[end], expected[end], atol=1e-12)
        assert found["low"].notna().all() == bool(ends)


def test_claims_over_several_means_are_stretched_by_the_fewest_labels():
    """Falls that are alike in all labels, but in three of OpenL3, which lacks the others."""
    table = as_measured(spread=0)
    openl3 = table["embedding"] == "openl3"
    for label, by in zip(LABELS[:3], (0.01, -0.02, 0.0), strict=True):
        table = change(table, by, embedding="openl3", label=label, **ACROSS)
    table = table[~openl3 | table["label"].isin(LABELS[:3])]
    claims = compare(table).claims
    plain = falls(table.query("embedding == 'openl3' and correction == 'none'"))
    expected = interval_over_labels(plain, "fall", ["embedding"]).iloc[0]
    fall, further = claim(claims, "fall of OpenL3"), claim(claims, "OpenL3 after YAMNet")
    assert (fall.low, fall.high) == pytest.approx((expected["low"], expected["high"]))
    assert further.high - further.low == pytest.approx(fall.high - fall.low)


def test_a_difference_is_taken_over_the_labels_that_both_have():
    table = as_measured()
    few = (table["correction"] == "mlda") & (table["mode"] == "classwise")
    comparison = compare(table[~(few & table["label"].isin(LABELS[:4]))], n_replicates=200)
    chosen = {"embedding": "yamnet", "correction": "mlda", "mode": "classwise", **ACROSS}
    query = " and ".join(f"{name} == {value!r}" for name, value in chosen.items())
    row = comparison.quantity("change against none").query(query).iloc[0]
    assert row["n_labels"] == 6
    part = changes(table[table["label"].isin(LABELS[4:])]).query(query)["change"]
    assert row["ours"] == pytest.approx(part.mean())
    (note,) = comparison.notes
    assert note.startswith("12 means are over fewer than 10 labels")
    assert "mlda classwise of vggish (6)" in note


def test_doses_are_left_out_and_seeds_averaged():
    table = as_measured()
    dosed = table[table["correction"] == "lda"].assign(alpha=0.5, roc_auc=0.1)
    again = table.assign(seed=43, roc_auc=table["roc_auc"] + 0.02)
    comparison = compare(pd.concat([table, dosed, again]), n_replicates=100)
    np.testing.assert_allclose(comparison.quantity("mean")["difference"], 0.01)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A real evaluation with scores, of two datasets that are called as the paper's are."""
    corpus = make_tiny_corpus(tmp_path_factory.mktemp("tiny") / "tiny")
    found = evaluate(corpus, ["toy", "toy2"], ["none", "lda"], scores=True, jobs=1)
    names = {"alpha": "irmas", "beta": "openmic", "toy": "vggish", "toy2": "yamnet"}
    columns = ["embedding", "train_set", "test_set", "partner"]
    tables = [table.copy() for table in (found.results, found.scores)]
    for table in tables:
        table[columns] = table[columns].replace(names)
    return tables


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_names_are_texts_whatever_they_look_like(evaluated, tmp_path, suffix):
    names = {"irmas": "007", "openmic": "(mean)", "vggish": "1e5", "yamnet": "NA"}
    names |= {"piano": "01", "voice": "1"}
    tables = [table.replace(names) for table in evaluated]
    paths = [tmp_path / f"{what}{suffix}" for what in ("results", "scores")]
    for table, path in zip(tables, paths, strict=True):
        write_table(table, path)
    run(paths[0], "--scores", paths[1], "--out", tmp_path / f"c{suffix}", "--replicates", 20)
    found = read_table(tmp_path / f"c{suffix}")
    known = compare(*evaluated, n_replicates=20).table
    assert list(found["embedding"]) == list(known["embedding"].replace(names))
    assert list(found["test_set"].dropna()) == list(known["test_set"].replace(names).dropna())
    np.testing.assert_array_equal(found["ours"], known["ours"])
    assert (found["test_set"].isna() == (found["quantity"] == "mean fall")).all()


def test_intervals_by_track_are_those_of_the_bootstrap(evaluated):
    results, scores = evaluated
    comparison = compare(results, scores, n_replicates=100, seed=3)
    drawn = {"level": 0.95, "n_replicates": 100, "seed": 3}
    assert comparison.record["intervals"] == {"resampled": "tracks", **drawn}
    drawn = bootstrap_scores(scores, n_replicates=100, seed=3).falls().mean_over("label")
    expected = drawn.intervals().set_index(KEYS)
    found = comparison.quantity("fall").set_index(KEYS).loc[expected.index]
    for column, other in (("ours", "value"), ("low", "low"), ("high", "high")):
        np.testing.assert_allclose(found[column], expected[other], atol=1e-12)
    means = comparison.quantity("mean")["ours"].to_numpy()
    np.testing.assert_allclose(means, compare(results, n_replicates=9).quantity("mean")["ours"])


def test_tables_that_cannot_be_compared(evaluated):
    results, scores = evaluated
    turned, piano = scores.assign(score=-scores["score"]), scores[scores["label"] == "piano"]
    two = pd.concat([results, results.assign(corpus="other")])
    recognisers = pd.concat([results, results.assign(recogniser="ridge")])
    for table, options, message in (
        (results, {"scores": turned}, "does not belong to the results table"),
        (results, {"scores": piano}, "lacks rows of it"),
        (results.drop(columns="test_set"), {}, "lacks the column 'test_set'"),
        (results.rename(columns={"roc_auc": "r2"}), {}, "numbers .* for which nothing was publish"),
        (two, {}, r"more than one corpus \(tiny, other\)"),
        (recognisers, {}, "more than one recogniser"),
        (results.assign(alpha=7.0), {}, "no rows"),
        (results, {"level": 1.0}, "level"),
        (results, {"n_replicates": 0}, "n_replicates"),
    ):
        with pytest.raises(ArgumentError, match=message):
            compare(table, **{"n_replicates": 5, **options})


# The report


@pytest.mark.parametrize(("n_labels", "warned"), [(4, True), (5, False)])
def test_intervals_from_few_labels_are_warned_of(n_labels, warned):
    table = as_measured()
    some = table[table["label"].isin(LABELS[:n_labels])]
    text = comparison_text(compare(some, n_replicates=100))
    assert (f"WARNING: intervals from {n_labels} resampled labels" in text) == warned


def test_what_a_reader_has_to_know_is_noted(evaluated):
    results, _ = evaluated
    told = compare(results, n_replicates=20).notes
    assert told[0].startswith("These are not the paper's clips: irmas has 30 test clips here")
    assert "Published means are over 10 instruments, ours over 2: piano, voice." in told
    mixed = compare(results.replace({"openmic": "band", "yamnet": "x"}), n_replicates=20)
    assert mixed.n_matched
    assert mixed.notes[:2] == [
        "The published figures are for irmas and openmic; nothing was published for band.",
        "Nothing was published for the embedding(s) x.",
    ]


def test_where_nothing_was_published_the_results_speak_for_themselves(evaluated):
    names = {"irmas": "solo", "openmic": "band", "vggish": "yamnet", "yamnet": "x"}
    results, scores = (table.replace(names) for table in evaluated)
    comparison = compare(results, scores, n_replicates=50)
    assert comparison.n_matched == 0
    assert comparison.table["published"].isna().all()
    text = comparison_text(comparison)
    assert "Note: Nothing was published to set beside these results, of solo, band" in text
    for word in ("published means", "CHECKED", "Claims", "(published)", "(+", "VGGish", "nan"):
        assert word not in text
    for own in ("Mean ROC-AUC", "Fall without correction x 100", "Change x 100 against none"):
        assert own in text
    assert max(map(len, text.splitlines())) <= 100
    assert "95 % intervals (tracks of the test sets resampled 50 times)" in text
    plain = " ".join(text.split())
    told = comparison.table[comparison.table["quantity"].isin(["fall", "mean fall"])]
    for row in told.query("correction == 'none'").to_dict("records"):
        pair = f"{row['train_set']}>{row['test_set']}".replace("nan>nan", "mean of both")
        ours, low, high = (f"{100 * row[name]:.2f}" for name in ("ours", "low", "high"))
        assert f"{row['embedding']} {pair} {ours} [{low}, {high}]" in plain
    across = comparison.quantity("change against none").query("train_set != test_set")
    up, down = (across["low"] > 0).sum(), (across["high"] < 0).sum()
    assert f"of {len(across)} changes, {up} up and {down} down" in text


# The command and the files


def run(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["compare", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done.output


def test_the_command_prints_and_writes(tmp_path):
    table = as_measured()
    write_table(table, tmp_path / "r.csv")
    output = run(tmp_path / "r.csv", "--out", tmp_path / "c.csv", "--replicates", 200)
    assert "144 of 144 published means matched" in output
    assert "5. YAMNet falls more than VGGish: HOLDS" in output
    report = run(tmp_path / "r.csv", "--replicates", 200)
    assert output.startswith(report)
    assert max(map(len, report.splitlines())) <= 100
    written = pd.read_csv(tmp_path / "c.csv", keep_default_na=False, na_values=[""])
    expected = compare(table, n_replicates=200)
    pd.testing.assert_frame_equal(written, expected.table, check_dtype=False)
    record = json.loads((tmp_path / "c.json").read_text())
    assert [one["claim"] for one in record["claims"]] == list(FIGURES)
    assert all(one["holds"] is True for one in record["claims"])
    assert list(record["results"]) == ["r.csv"]
    assert "arXiv 2307.10834" in record["source"]


def test_the_command_refuses_what_it_cannot_use(tmp_path):
    assert "no such file" in run(tmp_path / "absent.csv", code=1)
    (tmp_path / "r.csv").write_text("a,b\n1,2\n")
    assert "lacks the column 'embedding'" in run(tmp_path / "r.csv", code=1)
    told = run(tmp_path / "r.csv", "--out", tmp_path / "c.txt", code=1)
    assert "expected .csv or .parquet" in told


def test_not_checked_claims_are_written_without_numbers(evaluated, tmp_path):
    write_comparison(compare(evaluated[0], n_replicates=20), tmp_path / "c.parquet", note="x")
    record = json.loads((tmp_path / "c.json").read_text())
    close = record["claims"][0]
    assert close["holds"] is None
    assert close["ours"] is None
    assert record["note"] == "x"
    assert len(pd.read_parquet(tmp_path / "c.parquet"))


# Several runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two evaluations of one corpus, the first with a full report."""
    folder = tmp_path_factory.mktemp("runs")
    corpus = make_tiny_corpus(folder / "tiny")
    first = evaluate(corpus, "toy", ["none", "lda"], report=True, few_labels=[10], jobs=1)
    write_evaluation(first, folder / "a.csv")
    write_evaluation(evaluate(corpus, "toy2", seeds=2, jobs=1), folder / "b.csv")
    return folder


def test_runs_stand_beside_one_another(runs):
    table, notes = join_runs([runs / "a.csv", runs / "b.csv"])
    assert sorted(zip(table["run"], table["embedding"], table["correction"], strict=True)) == [
        ("a", "toy", "lda"),
        ("a", "toy", "none"),
        ("b", "toy2", "none"),
    ]
    assert table["across"].is_monotonic_decreasing
    assert (table["n_labels"] == 2).all()
    for row in table.to_dict("records"):
        own = falls(read_table(runs / f"{row['run']}.csv"))
        own = own[own["correction"] == row["correction"]]
        for name, column in {"in_domain": "in_domain", "across": "cross", "fall": "fall"}.items():
            assert row[name] == pytest.approx(own[column].mean())
    # The interval is that of the difference to the best, label by label.
    best, second = table.iloc[0], table.iloc[1]
    assert best[["behind", "low", "high"]].isna().all()
    assert second["behind"] == pytest.approx(best["across"] - second["across"])
    both = [
        falls(read_table(runs / f"{row['run']}.csv"))
        .query("embedding == @row.embedding and correction == @row.correction")
        .groupby("label")["cross"]
        .mean()
        for row in (best, second)
    ]
    apart = (both[0] - both[1]).rename("apart").reset_index().assign(row=0)
    expected = interval_over_labels(apart, "apart", ["row"])[["low", "high"]].iloc[0]
    assert second[["low", "high"]].tolist() == pytest.approx(expected.tolist())
    narrow = join_runs([runs / "a.csv", runs / "b.csv"], level=0.5)[0].iloc[1]
    assert second["low"] < narrow["low"] <= narrow["high"] < second["high"]
    report = read_table(runs / "a.report.csv").set_index("correction")["linear_probe"]
    probes = table.set_index(["run", "correction"])["probe"]
    assert probes["a"].to_dict() == pytest.approx(report.to_dict())
    assert np.isnan(probes["b", "none"])
    assert table.set_index("run")["dimension"].to_dict() == {"a": 8, "b": 12}
    assert "intervals from 2 labels are rough (alpha/beta)" in notes
    # toy2 lacks two clips of beta: said, as the seeds are.
    assert "the runs differ in seed: 42 (a); 42, 43 (b)" in notes
    lacking = "{'alpha': 0, 'beta': 0} (a); {'alpha': 0, 'beta': 2} (b)"
    assert f"the runs differ in left out: {lacking}" in notes
    assert not [note for note in notes if "clips.parquet" in note or "corpus" in note]


def test_all_means_are_over_the_labels_that_all_rows_have(runs, tmp_path):
    """A label without one of its two falls in one row counts nowhere."""
    results = read_table(runs / "b.csv")
    inside = results["train_set"].eq("beta") & results["test_set"].eq("beta")
    gap = results.assign(roc_auc=results["roc_auc"].mask(inside & results["label"].eq("voice")))
    write_table(gap.assign(corpus="other"), tmp_path / "b.csv")
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    for folder, table in (("one", read_table(runs / "a.csv")), ("two", gap)):
        write_table(table, tmp_path / folder / "results.csv")
    files = [tmp_path / folder / "results.csv" for folder in ("one", "two")]
    table, notes = join_runs([*files, tmp_path / "b.csv"])
    assert set(table["run"]) == {"one", "two", "b"}
    assert (table["n_labels"] == 1).all()
    own = falls(read_table(files[0])).query("label == 'piano' and correction == 'lda'")
    lda = table.set_index("correction").loc["lda"]
    assert (lda["fall"], lda["pair"]) == (pytest.approx(own["fall"].mean()), "alpha/beta")
    assert table["dimension"].isna().all()
    assert "left out, as not all have both falls: voice (alpha/beta)" in notes
    assert table["low"].isna().all()
    assert not [note for note in notes if "rough" in note]
    assert "the runs differ in corpus: tiny (one); tiny (two); other (b)" in notes
    fewer = read_table(files[0]).assign(n_test=7)
    write_table(fewer, files[0])
    assert any("differ in test sets, as in clips of piano" in n for n in join_runs(files)[1])
    write_table(fewer[fewer["label"] == "voice"], files[0])
    for given, message in (
        (files, "no label in common; left out, .*: piano .*, voice"),
        ([files[0], files[0]], "two runs have one name"),
    ):
        with pytest.raises(ArgumentError, match=message):
            join_runs(given)


def test_the_command_joins_several_runs(runs, tmp_path):
    files, out = (runs / "a.csv", runs / "b.csv"), tmp_path / "c.csv"
    output = run(*files, "--out", out)
    for word in ("in_domain", "toy2", "Note: the runs differ in seed", f"{out.stem}.png"):
        assert word in output
    known, _ = join_runs(files)
    pd.testing.assert_frame_equal(read_table(out), known, check_dtype=False)
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["files"] == ["c.json", "c.png", "c.csv"]
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    run(*files, "--out", out)  # which replaces its own
    assert "already, which it does not replace" in run(*files, "--out", files[0], code=1)
    (tmp_path / "d.png").write_text("a picture of somebody's")
    assert "d.png" in run(*files, "--out", tmp_path / "d.csv", code=1)
    assert not (tmp_path / "d.csv").exists()
    assert "--scores goes with one table" in run(*files, "--scores", files[0], code=2)
    assert "no column 'corpus'" in run(files[0], runs / "a.few.csv", code=1)
