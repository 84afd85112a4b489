"""Datasets that hold the same tracks: what says so, who hands it on, and what follows from it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from biasmir_utils.cli import main
from biasmir_utils.corpus import Corpus, CorpusWriter, Target
from biasmir_utils.corrections import correct_corpus
from biasmir_utils.errors import CorpusError
from biasmir_utils.experiments import (
    ExperimentData,
    bootstrap_scores,
    evaluate,
    left_over,
    probe,
    refit_scores,
    report_markdown,
)


def declare(folder: Path, value=True) -> Path:
    """Say in a corpus's description that its datasets hold the same tracks."""
    path = folder / "corpus.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, "shared_tracks": value}), encoding="utf-8")
    return folder


# What says so


def test_tracks_are_shared_only_where_the_corpus_says_so(tiny_corpus, corpus):
    # Both datasets number their tracks alike, which makes them no more alike.
    alpha, beta = (set(part["track"]) for _, part in corpus.clips.groupby("dataset"))
    assert alpha == beta
    assert not corpus.shared_tracks
    assert "shared_tracks" not in (tiny_corpus / "corpus.json").read_text(encoding="utf-8")
    assert "same track in all datasets" not in corpus.summary()
    declared = Corpus.load(declare(tiny_corpus))
    assert declared.shared_tracks
    assert "A track of one name is the same track in all datasets" in declared.summary()
    with pytest.raises(CorpusError, match="must be true or false, found 'yes'"):
        Corpus.load(declare(tiny_corpus, "yes"))


def test_a_track_that_is_in_training_here_and_in_test_there_is_told(tmp_path):
    clips = pd.DataFrame(
        {
            "dataset": ["a", "a", "b", "b"],
            "clip": ["1", "2", "1", "2"],
            "split": ["train", "test", "train", "train"],
            "t": [0.0, 1.0, 0.0, 1.0],
        }
    )
    about = {"name": "n", "title": "N", "datasets": ["a", "b"], "groups": []}
    targets = [Target("t", "label")]
    apart = CorpusWriter(tmp_path / "1", **about, targets=targets).write(clips)
    assert apart.warnings == []
    same = CorpusWriter(tmp_path / "2", **about, targets=targets, shared_tracks=True).write(clips)
    assert len(same.warnings) == 1
    told = "or not given where all of a label's test clips are such; the first is '2' of 'a'"
    assert told in same.warnings[0]


# Who hands it on


def test_a_corrected_corpus_still_says_so(tiny_corpus, tmp_path):
    assert not correct_corpus(Corpus.load(tiny_corpus), "center", tmp_path / "1").shared_tracks
    corpus = Corpus.load(declare(tiny_corpus))
    assert correct_corpus(corpus, "center", tmp_path / "2").shared_tracks
    # Registering an embedding writes the description again.
    assert corpus.add_embedding_file(tiny_corpus / "embeddings" / "toy.h5").shared_tracks


def test_an_import_may_say_so(tmp_path):
    table = tmp_path / "clips.csv"
    rows = [
        {"dataset": d, "clip": f"{d}{i}", "track": f"t{i}", "piano": i % 2}
        for d in ("mp3", "flac")
        for i in range(40)
    ]
    pd.DataFrame(rows).to_csv(table, index=False)

    def imported(*more: str) -> Corpus:
        out = tmp_path / f"out{len(more)}"
        result = CliRunner().invoke(main, ["import", str(out), "--clips", str(table), *more])
        assert result.exit_code == 0, result.output
        return Corpus.load(out)

    def test_tracks(corpus: Corpus) -> list[set[str]]:
        test = corpus.clips[corpus.clips["split"] == "test"]
        return [set(test.loc[test["dataset"] == d, "track"]) for d in corpus.datasets]

    apart, same = imported(), imported("--shared-tracks")
    assert (apart.shared_tracks, same.shared_tracks) == (False, True)
    first, second = test_tracks(apart)
    assert first != second
    # One draw for both, else a piece would be trained on here and tested on there.
    first, second = test_tracks(same)
    assert first == second
    assert len(first) == 10
    assert same.warnings == []


# What follows from it


def test_the_arrays_of_an_experiment_and_the_probe_know_of_it(tiny_corpus, corpus):
    apart = probe(corpus, "toy", n_permutations=2)
    assert not any(d.shared_tracks for d in ExperimentData.of(corpus, ["toy"]).datasets.values())
    corpus = Corpus.load(declare(tiny_corpus))
    assert all(d.shared_tracks for d in ExperimentData.of(corpus, ["toy"]).datasets.values())
    same = probe(corpus, "toy", n_permutations=2)
    assert apart["chance"].item() != same["chance"].item()


def test_the_intervals_of_a_report_draw_both_versions_of_a_track(tiny_corpus):
    found = {}
    for shared in (False, True):
        corpus = Corpus.load(declare(tiny_corpus) if shared else tiny_corpus)
        one = evaluate(corpus, "toy", "center", report=True, scores=True, jobs=1)
        assert one.report.facts["shared_tracks"] == (["alpha/beta"] if shared else [])
        text = report_markdown(one.report, one.record)
        assert (
            "alpha/beta: the corpus says that a track of one name is the same" in text
        ) == shared
        drawn = bootstrap_scores(one.scores, shared_tracks=shared).changes().mean_over("label")
        across = drawn.cells["train_set"] != drawn.cells["test_set"]
        replicates = drawn.replicates[across.to_numpy()].mean(axis=0)
        row = one.report.summary.iloc[-1]
        assert row["correction"] == "center"
        expected = np.quantile(replicates, [0.025, 0.975])
        assert [row["gain_low"], row["gain_high"]] == pytest.approx(expected, abs=1e-5)
        found[shared] = row["gain"], row["gain_low"]
    assert found[True][0] == found[False][0]
    assert found[True][1] != found[False][1]


def test_halves_of_the_training_tracks_are_those_of_both_versions(tiny_corpus):
    corpus, halves = Corpus.load(declare(tiny_corpus)), []
    scores = evaluate(corpus, "toy", labels=["piano"], scores=True, jobs=1).scores

    def run(part, seed):
        halves.append(part.clips[part.clips["split"] == "train"])
        return scores

    refit_scores(corpus, run, n_refits=4, n_replicates=3)
    whole, *halves = halves
    halves, again = halves[:4], halves[4:]
    assert again
    assert all(part.equals(whole) for part in again), "other seeds see the whole corpus"
    for half in halves:
        alpha, beta = (set(half.loc[half["dataset"] == name, "track"]) for name in corpus.datasets)
        assert len(alpha) < whole["track"].nunique()
        assert alpha == beta


def test_placebos_swap_both_versions_of_a_track(tiny_corpus, tmp_path):
    """Evaluation, correction and what is left over all hand it on; how is tested where it is."""
    found = []
    for shared in (False, True):
        corpus = Corpus.load(declare(tiny_corpus) if shared else tiny_corpus)
        assert corpus.shared_tracks == shared
        told = evaluate(corpus, "toy", "placebo:meanproj", labels=["piano"], jobs=1).results
        corrected = correct_corpus(corpus, "placebo:meanproj", tmp_path / str(shared))
        left = left_over(corpus, "toy", "placebo:meanproj")["fitted_gap"].item()
        found.append((told["roc_auc"].to_numpy(), corrected.embedding("toy"), left))
    for one, other in zip(*found, strict=True):
        assert np.abs(one - other).max() > 1e-4
