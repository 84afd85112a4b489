"""The published results, and ours beside them: figures, intervals, claims, files."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from biasmir_utils.cli import main
from biasmir_utils.corpus import Corpus
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments import (
    Cell,
    Samples,
    bootstrap_scores,
    changes,
    compare,
    comparison_text,
    evaluate,
    falls,
    published_claims,
    published_figures,
    write_comparison,
    write_evaluation,
    write_table,
)
from biasmir_utils.experiments.paper import BOTH, check_claims, published_means, published_results

LABELS = [f"instrument {i}" for i in range(10)]


def as_measured(spread: float = 0.01, shift: float = 0.0) -> pd.DataFrame:
    """The published means as a table of ten labels around each of them."""
    published = published_results()
    rng = np.random.default_rng(0)
    of_label = np.linspace(-0.02, 0.02, len(LABELS))
    parts = []
    for row in published.to_dict("records"):
        noise = rng.normal(0, spread, len(LABELS))
        values = row["roc_auc"] + shift + of_label + noise - noise.mean()
        n_test = 1666 if row["test_set"] == "irmas" else 500
        for label, value in zip(LABELS, values, strict=True):
            parts.append({**row, "corpus": "paper", "label": label, "roc_auc": value})
            parts[-1] |= {"recogniser": "logistic", "n_test": n_test}
    return pd.DataFrame(parts)


def claim(found, name: str):
    (one,) = [one for one in found if one.name == name]
    return one


# The published table


def test_the_table_is_the_published_one(shared):
    source = pd.read_csv(shared / "paper" / "published_mean_auc.csv", keep_default_na=False)
    keys = ["embedding", "correction", "mode", "train_set", "test_set"]
    ours = published_means().set_index(keys)["roc_auc"].sort_index()
    theirs = source.set_index(keys)["mean_roc_auc_percent"].sort_index()
    assert len(ours) == 144
    pd.testing.assert_index_equal(ours.index, theirs.index)
    np.testing.assert_allclose(100 * ours, theirs, atol=1e-9)


def test_published_falls_are_those_of_the_text():
    plain = published_results().query("correction == 'none'")
    mean = 100 * falls(plain).groupby("embedding")["fall"].mean()
    assert mean.round(3).to_dict() == {"openl3": 9.865, "vggish": 6.46, "yamnet": 6.955}


def test_published_changes_are_those_of_the_text():
    table = changes(published_results())
    best = table.loc[table["change"].idxmax()]
    assert tuple(best[["embedding", "correction", "mode", "train_set", "test_set"]]) == (
        "openl3", "klda", "classwise", "irmas", "openmic"
    )  # fmt: skip
    assert best["change"] == pytest.approx(0.0166)


def test_what_is_fitted_nowhere_is_the_same_in_both_modes():
    table = published_means()
    plain = table[table["correction"].isin(["none", "k"])]
    keys = ["embedding", "correction", "train_set", "test_set"]
    assert (plain.groupby(keys)["roc_auc"].nunique() == 1).all()
    assert len(published_results()) == 144 - len(plain) // 2


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
    comparison = compare(published_results())
    assert {one.name: round(100 * one.ours, 6) for one in comparison.claims} == FIGURES
    assert all(one.holds for one in comparison.claims)
    assert all(one.published == one.ours for one in comparison.claims)
    assert "Claims, without intervals: there is one label only" in comparison_text(comparison)


def test_claims_on_results_like_the_papers():
    comparison = compare(as_measured(), n_replicates=2000)
    for one in comparison.claims:
        assert one.holds, one
        assert 100 * one.ours == pytest.approx(FIGURES[one.name], abs=1e-9)
        assert one.low <= one.ours <= one.high
        assert one.low < one.high
    assert claim(comparison.claims, "fall of VGGish").clear
    loud = compare(as_measured(spread=0.05), n_replicates=2000)
    close = claim(loud.claims, "YAMNet after VGGish")
    assert close.holds
    assert not close.clear
    assert close.verdict == "holds, but the interval has both sides"


def change(table: pd.DataFrame, by: float, **where: str) -> pd.DataFrame:
    """Change some rows of a results table."""
    chosen = np.ones(len(table), dtype=bool)
    for column, value in where.items():
        chosen &= (table[column] == value).to_numpy()
    assert chosen.any()
    return table.assign(roc_auc=table["roc_auc"] + by * chosen)


ACROSS = {"train_set": "irmas", "test_set": "openmic"}
BROKEN = {
    "close in-domain": change(
        as_measured(0), -0.1, embedding="vggish", train_set="irmas", test_set="irmas"
    ),
    "fall of VGGish": change(as_measured(0), 0.2, embedding="vggish", **ACROSS),
    "fall of YAMNet": change(as_measured(0), 0.2, embedding="yamnet", **ACROSS),
    "fall of OpenL3": change(as_measured(0), 0.25, embedding="openl3", **ACROSS),
    "YAMNet after VGGish": change(as_measured(0), 0.02, embedding="yamnet", **ACROSS),
    "OpenL3 after YAMNet": change(as_measured(0), 0.07, embedding="openl3", **ACROSS),
    "YAMNet on top": change(as_measured(0), 0.02, embedding="vggish", **ACROSS),
    "projections add little": change(
        as_measured(0), 0.012, embedding="yamnet", correction="lda", mode="global", **ACROSS
    ),
    "random features first": change(
        as_measured(0), 0.02, embedding="yamnet", correction="mlda", mode="global", **ACROSS
    ),
    "the fall remains": change(
        as_measured(0), 0.06, embedding="yamnet", correction="klda", mode="global", **ACROSS
    ),
}


@pytest.mark.parametrize(("name", "table"), BROKEN.items(), ids=BROKEN)
def test_a_claim_that_does_not_hold_is_said_not_to(name, table):
    one = claim(compare(table, n_replicates=500).claims, name)
    assert one.holds is False
    assert one.verdict == "does not hold"
    assert one.clear
    assert 100 * one.published == pytest.approx(FIGURES[name])


def test_what_cannot_be_checked_is_said():
    table = as_measured()
    part = table[(table["embedding"] == "vggish") & table["correction"].isin(["none", "lda"])]
    comparison = compare(part, n_replicates=100)
    verdicts = {one.name: one.verdict for one in comparison.claims}
    assert verdicts["fall of VGGish"] == "holds"
    assert verdicts["close in-domain"] == "not checked: the table lacks openl3 and yamnet"
    assert verdicts["random features first"].startswith("not checked: no klda or mklda")
    assert comparison.n_matched == 8 + 8
    # The published figure beside ours is over what we have: VGGish and lda.
    assert 100 * claim(comparison.claims, "projections add little").published == pytest.approx(0.17)
    text = comparison_text(comparison)
    assert "NOT CHECKED: the table lacks openl3 and yamnet" in text
    without = table[(table["correction"] != "none") & (table["embedding"] == "vggish")]
    fall = claim(compare(without, n_replicates=100).claims, "fall of VGGish")
    assert fall.verdict.startswith("not checked: the table has no vggish with the correction none")


def test_a_claim_about_everything_says_when_it_was_checked_on_a_part():
    table = as_measured()
    comparison = compare(table[table["embedding"] == "vggish"], n_replicates=100)
    first = claim(comparison.claims, "random features first")
    assert 100 * first.published == pytest.approx(-0.31)
    assert 100 * first.published_whole == pytest.approx(0.54)
    assert first.lacking == "openl3, yamnet"
    text = " ".join(comparison_text(comparison).split())
    assert "HOLDS, over a part of what it is about (the table lacks openl3, yamnet)" in text
    assert "published, over the same part, -0.31, over all +0.54" in text
    # What is about one embedding only, or the whole table, needs no such word.
    assert claim(comparison.claims, "fall of VGGish").lacking == ""
    assert not any(one.lacking for one in compare(table, n_replicates=100).claims)
    fewer = compare(table[table["mode"] != "classwise"], n_replicates=100)
    assert claim(fewer.claims, "the fall remains").lacking == "classwise"


@pytest.mark.parametrize(("n_labels", "warned"), [(2, True), (4, True), (5, False)])
def test_intervals_from_few_labels_are_warned_of(n_labels, warned):
    table = as_measured()
    some = table[table["label"].isin(sorted(set(table["label"]))[:n_labels])]
    text = comparison_text(compare(some, n_replicates=100))
    assert (f"WARNING: intervals from {n_labels} resampled labels" in text) == warned


# Figures and intervals


def test_published_figures_with_and_without_ours():
    figures = {name: published_figures(name) for name in ("mean", "fall", "change against k")}
    assert [len(table) for table in figures.values()] == [120, 90, 48]
    with pytest.raises(ArgumentError, match="expected one of mean, fall, change against none"):
        published_figures("median")
    table = as_measured(shift=0.01)
    ours = compare(table[table["embedding"] == "yamnet"], n_replicates=50)
    beside = ours.beside_published("mean")
    assert len(beside) == 120
    assert set(beside.loc[beside["ours"].notna(), "embedding"]) == {"yamnet"}
    known = beside.dropna()
    np.testing.assert_allclose(known["ours"] - known["published"], 0.01)
    assert len(known) == 40
    assert {one.name: round(100 * one.ours, 6) for one in published_claims()} == FIGURES


def test_every_published_mean_is_matched_and_its_difference_told():
    comparison = compare(as_measured(shift=0.003), n_replicates=200)
    assert comparison.n_matched == 144
    means = comparison.quantity("mean")
    assert len(means) == 120
    np.testing.assert_allclose(means["difference"], 0.003)
    np.testing.assert_allclose(means["published"] + 0.003, means["ours"])
    assert (means["n_labels"] == 10).all()
    assert (means["low"] < means["ours"]).all()
    assert (means["ours"] < means["high"]).all()
    assert comparison.notes == []


def test_falls_and_changes_are_those_of_the_results_module():
    table = as_measured()
    comparison = compare(table, n_replicates=200)
    keys = ["embedding", "correction", "mode", "train_set", "test_set"]
    for quantity, other, value in (
        ("fall", falls(table), "fall"),
        ("change against none", changes(table), "change"),
    ):
        ours = comparison.quantity(quantity).set_index(keys)["ours"]
        expected = other.groupby(keys)[value].mean()
        ours = ours.drop(index=[key for key in ours.index if BOTH in key])
        np.testing.assert_allclose(ours.reindex(expected.index), expected)
        assert len(ours) == len(expected)
    both = comparison.quantity("fall").query("train_set == @BOTH and correction == 'none'")
    assert (100 * both.set_index("embedding")["published"]).round(3).to_dict() == {
        "openl3": 9.865,
        "vggish": 6.46,
        "yamnet": 6.955,
    }
    against_k = comparison.quantity("change against k")
    assert set(against_k["correction"]) == {"klda", "mklda"}
    best = against_k.loc[against_k["published"].idxmax()]
    assert 100 * best["published"] == pytest.approx(0.56)


def test_intervals_over_labels_are_those_of_the_mean_of_ten_values():
    """Student's interval knows the answer for a normal sample; the stretched bootstrap is near."""
    table = as_measured(spread=0.02)
    found = compare(table).quantity("fall").query("correction == 'none' and embedding == 'vggish'")
    values = falls(table[(table["correction"] == "none") & (table["embedding"] == "vggish")])
    for row in found[found["train_set"] != BOTH].itertuples():
        part = values[values["test_set"] == row.test_set]["fall"]
        half = 2.262 * part.std(ddof=1) / np.sqrt(len(part))
        assert row.low == pytest.approx(part.mean() - half, abs=0.15 * half)
        assert row.high == pytest.approx(part.mean() + half, abs=0.15 * half)


def test_a_difference_is_taken_over_the_labels_that_both_have():
    table = as_measured()
    lost = (
        (table["correction"] == "mlda")
        & (table["mode"] == "classwise")
        & table["label"].isin(LABELS[:4])
    )
    comparison = compare(table[~lost], n_replicates=200)
    whole = changes(table)
    part = whole[~whole["label"].isin(LABELS[:4])]
    chosen = {"embedding": "yamnet", "correction": "mlda", "mode": "classwise", **ACROSS}
    query = " and ".join(f"{name} == {value!r}" for name, value in chosen.items())
    row = comparison.quantity("change against none").query(query).iloc[0]
    assert row["n_labels"] == 6
    assert row["ours"] == pytest.approx(part.query(query)["change"].mean())
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
    from conftest import make_tiny_corpus

    corpus = make_tiny_corpus(tmp_path_factory.mktemp("tiny") / "tiny")
    found = evaluate(corpus, ["toy", "toy2"], ["none", "lda"], scores=True, jobs=1)
    names = {"alpha": "irmas", "beta": "openmic", "toy": "vggish", "toy2": "yamnet"}
    columns = ["embedding", "train_set", "test_set", "partner"]
    tables = [table.copy() for table in (found.results, found.scores)]
    for table in tables:
        table[columns] = table[columns].replace(names)
    return tables


def test_intervals_by_track_are_those_of_the_bootstrap(evaluated):
    results, scores = evaluated
    comparison = compare(results, scores, n_replicates=100, seed=3)
    assert comparison.record["intervals"] == {
        "resampled": "tracks",
        "level": 0.95,
        "n_replicates": 100,
        "seed": 3,
    }
    keys = ["embedding", "correction", "mode", "train_set", "test_set"]
    drawn = bootstrap_scores(scores, n_replicates=100, seed=3).falls().mean_over("label")
    expected = drawn.intervals().set_index(keys)
    found = comparison.quantity("fall").set_index(keys).loc[expected.index]
    for column, other in (("ours", "value"), ("low", "low"), ("high", "high")):
        np.testing.assert_allclose(found[column], expected[other], atol=1e-12)
    assert "tracks of the test sets resampled 100 times" in comparison_text(comparison)
    means = comparison.quantity("mean")["ours"].to_numpy()
    np.testing.assert_allclose(means, compare(results, n_replicates=9).quantity("mean")["ours"])


def test_scores_of_another_evaluation_are_refused(evaluated):
    results, scores = evaluated
    with pytest.raises(ArgumentError, match="does not belong to the results table"):
        compare(results, scores.assign(score=-scores["score"]), n_replicates=5)
    with pytest.raises(ArgumentError, match="lacks rows of it"):
        compare(results, scores[scores["label"] == "piano"], n_replicates=5)


def test_what_a_reader_has_to_know_is_noted(evaluated):
    results, _ = evaluated
    told = compare(results, n_replicates=20).notes
    assert told[0].startswith("These are not the paper's clips: irmas has 30 test clips here")
    assert "Published means are over 10 instruments, ours over 2: piano, voice." in told
    other = results.replace({"irmas": "solo", "openmic": "band", "vggish": "mfcc", "yamnet": "x"})
    comparison = compare(other, n_replicates=20)
    assert comparison.n_matched == 0
    mixed = compare(results.replace({"openmic": "band", "yamnet": "x"}), n_replicates=20)
    assert mixed.n_matched
    assert mixed.notes[:2] == [
        "The published figures are for irmas and openmic; nothing was published for band.",
        "Nothing was published for the embedding(s) x.",
    ]


def test_where_nothing_was_published_the_results_speak_for_themselves(evaluated):
    names = {"irmas": "solo", "openmic": "band", "vggish": "mfcc", "yamnet": "x"}
    results, scores = (table.replace(names) for table in evaluated)
    for comparison in (
        compare(results, n_replicates=20),
        compare(results.replace({"mfcc": "yamnet"}), n_replicates=20),  # only the embedding's
    ):
        assert comparison.n_matched == 0
        assert comparison.table["published"].isna().all()
        text = comparison_text(comparison)
        assert text.startswith("Nothing was published to set beside these results, of solo, band")
        for word in ("published means", "CHECKED", "Claims", "(published)", "VGGish", "nan"):
            assert word not in text
        for own in ("Mean ROC-AUC", "Fall without correction x 100", "Change x 100 against none"):
            assert own in text
        assert max(map(len, text.splitlines())) <= 100
    by_track = compare(results, scores, n_replicates=50)
    text = comparison_text(by_track)
    assert "95 % intervals (tracks of the test sets resampled 50 times)" in text
    changes = by_track.quantity("change against none").query("train_set != test_set")
    row = changes.query("embedding == 'x' and train_set == 'solo'").iloc[0]
    figures = [f"{100 * row[name]:+.2f}" for name in ("ours", "low", "high")]
    assert f"{figures[0]} [{figures[1]}, {figures[2]}]" in text
    up, down = (changes["low"] > 0).sum(), (changes["high"] < 0).sum()
    assert f"of {len(changes)} changes, {up} up and {down} down" in text


def test_falls_among_three_datasets_have_the_intervals_that_are_announced():
    rng = np.random.default_rng(0)
    names = ("hall", "radio", "booth")
    results = pd.DataFrame(
        {
            "corpus": "own", "embedding": "mine", "correction": correction, "mode": mode,
            "train_set": train, "test_set": test, "label": label, "recogniser": "logistic",
            "alpha": np.nan, "seed": 42, "n_test": 100,
            "roc_auc": 0.8 + 0.1 * (train == test) + rng.normal(0, 0.02),
        }
        for correction, mode in (("none", "none"), ("lda", "global"))
        for train in names
        for test in names
        for label in LABELS
    )  # fmt: skip
    comparison = compare(results, n_replicates=20)
    text = comparison_text(comparison)
    assert "Fall without correction x 100: " in text
    assert "Change x 100 against none, " in text
    falls_shown = text.split("Fall without")[1].split("Change x 100")[0]
    assert "with 95 % intervals" in falls_shown
    table = comparison.quantity("fall").query("correction == 'none'")
    assert len(table) == 6
    for row in table.to_dict("records"):
        ours, low, high = (f"{100 * row[name]:.2f}" for name in ("ours", "low", "high"))
        (line,) = (
            x for x in falls_shown.splitlines() if f"{row['train_set']}>{row['test_set']}" in x
        )
        assert line.endswith(f" {ours} [{low}, {high}]")


def test_tables_that_cannot_be_compared():
    table = as_measured()
    with pytest.raises(ArgumentError, match="lacks the column 'test_set'"):
        compare(table.drop(columns="test_set"))
    with pytest.raises(ArgumentError, match=r"more than one corpus \(paper, other\)"):
        compare(pd.concat([table, table.assign(corpus="other")]))
    with pytest.raises(ArgumentError, match="more than one recogniser"):
        compare(pd.concat([table, table.assign(recogniser="ridge")]))
    with pytest.raises(ArgumentError, match="no rows"):
        compare(table[table["alpha"] == 7])
    with pytest.raises(ArgumentError, match="level"):
        compare(table, level=1.0)
    with pytest.raises(ArgumentError, match="n_replicates"):
        compare(table, n_replicates=0)


def test_samples_answer_for_their_cells():
    samples = Samples.of_results(as_measured(), 50)
    cell = Cell("vggish", "none", "none", "irmas", "openmic")
    assert cell in samples
    assert cell._replace(embedding="mfcc") not in samples
    assert samples.mean(cell).shape == (51,)
    assert samples.n_labels(cell) == 10
    assert samples.only([cell]).cells == (cell,)
    nothing = Samples.of_results(published_results(), 50)
    assert nothing.resampled == "nothing"
    assert all(np.isnan(one.low) for one in check_claims(nothing, nothing))


# The command


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
    assert max(map(len, output.splitlines())) <= max(100, len(str(tmp_path)) * 2 + 30)
    written = pd.read_csv(tmp_path / "c.csv", keep_default_na=False, na_values=[""])
    expected = compare(table, n_replicates=200)
    pd.testing.assert_frame_equal(written, expected.table, check_dtype=False)
    record = json.loads((tmp_path / "c.json").read_text())
    assert [one["claim"] for one in record["claims"]] == list(FIGURES)
    assert all(one["holds"] for one in record["claims"])
    assert list(record["results"]) == ["r.csv"]
    assert "arXiv 2307.10834" in record["source"]
    again = run(tmp_path / "r.csv", "--replicates", 200)
    assert output.startswith(again)


def test_the_command_takes_scores(evaluated, tmp_path):
    results, scores = evaluated
    write_table(results, tmp_path / "r.csv")
    write_table(scores, tmp_path / "r.scores.parquet")
    output = run(
        tmp_path / "r.csv", "--scores", tmp_path / "r.scores.parquet", "--replicates", 50,
        "--level", 0.9,
    )  # fmt: skip
    assert "90 % intervals (tracks of the test sets resampled 50 times)" in output


def test_the_command_refuses_what_it_cannot_use(tmp_path):
    assert "no such file" in run(tmp_path / "absent.csv", code=1)
    (tmp_path / "r.csv").write_text("a,b\n1,2\n")
    assert "lacks the column 'embedding'" in run(tmp_path / "r.csv", code=1)
    write_table(published_results(), tmp_path / "p.csv")
    told = run(tmp_path / "p.csv", "--out", tmp_path / "c.txt", code=1)
    assert "expected .csv or .parquet" in told


def test_not_checked_claims_are_written_without_numbers(evaluated, tmp_path):
    write_comparison(compare(evaluated[0], n_replicates=20), tmp_path / "c.parquet", note="x")
    record = json.loads((tmp_path / "c.json").read_text())
    close = record["claims"][0]
    assert close["holds"] is None
    assert close["ours"] is None
    assert record["note"] == "x"
    assert len(pd.read_parquet(tmp_path / "c.parquet"))


def test_the_oracle_is_compared_and_said_to_be_synthetic(shared, tmp_path):
    from biasmir_utils.datasets import prepare_paper

    corpus: Corpus = prepare_paper(shared / "oracle" / "a", tmp_path / "paper")
    found = evaluate(corpus, "vggish", ["none", "lda", "mlda"], ["global", "classwise"], jobs=1)
    write_evaluation(found, tmp_path / "r.csv")
    output = run(tmp_path / "r.csv")
    # One embedding, four pairs, two modes, and of the corrections none, lda, mlda.
    assert "24 of 144 published means matched" in output
    assert "irmas has 400 test clips here, 1,666 in the paper" in output
    assert "2. VGGish falls across datasets: HOLDS" in output
