"""`biasmir correct`: corrected corpora, and saved corrections applied to others."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from running import run_command

from biasmir_utils.cli import main
from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections import (
    apply_to_corpus,
    correct_corpus,
    load_correction,
    make_correction,
    read_record,
    save_correction,
)
from biasmir_utils.errors import ArgumentError, CorpusError
from biasmir_utils.experiments import evaluate


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(main, ["correct", *map(str, arguments)])


def sums(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("*")
        if p.is_file()
    }


def rewritten(folder: Path, clips: pd.DataFrame | None = None, **description: Any) -> Corpus:
    """Change the clip table and the description of a corpus, and read it anew."""
    content = json.loads((folder / "corpus.json").read_text())
    (folder / "corpus.json").write_text(json.dumps(content | description))
    if clips is not None:
        clips.to_parquet(folder / "clips.parquet")
    return Corpus.load(folder)


def by_hand(corpus: Corpus, name: str, embedding: str) -> Any:
    rows = corpus.complete([embedding])
    fit = rows & (corpus.clips["split"] == "train").to_numpy()
    X, domain = corpus.embedding(embedding), corpus.clips["dataset"].to_numpy()
    fitted = make_correction(name).fit(X[fit], sample_domain=domain[fit])
    return fitted.transform(X[rows], sample_domain=domain[rows])


def test_a_corrected_corpus_is_a_corpus_with_corrected_embeddings(corpus: Corpus) -> None:
    before = sums(corpus.path)
    out = corpus.path.parent / "out"
    told = run_command("correct", corpus.path, "--correction", "leace", "--out", out)
    assert "toy2: 238 clips of 12 dimensions" in told
    assert sums(corpus.path) == before
    found = Corpus.load(out)
    assert found.embedding_names == ["toy", "toy2"]
    assert (found.name, found.datasets) == ("tiny+leace", corpus.datasets)
    assert found.clips.drop(columns="audio").equals(corpus.clips.drop(columns="audio"))
    np.testing.assert_allclose(found.embedding("toy"), by_hand(corpus, "leace", "toy"), atol=1e-5)
    rows = found.complete(["toy2"])
    expected = by_hand(corpus, "leace", "toy2")
    np.testing.assert_allclose(found.embedding("toy2")[rows], expected, atol=1e-5)
    assert set(found.missing("toy2")["reason"]) == {"too short", "not in the embedding file"}
    results = evaluate(found, "toy", jobs=1).results
    assert np.isfinite(results["roc_auc"]).all()
    assert "tiny+leace" in run_command("info", out)


def test_the_record_says_what_was_done(corpus: Corpus, tmp_path: Path) -> None:
    found = correct_corpus(corpus, "leace:alpha=0.5", tmp_path / "out", embeddings=["toy2"])
    record = found.model_record("toy2")
    assert record["corrected_from"] == {"source": "tests"}
    about = record["correction"]
    assert about["correction"] == "leace:alpha=0.5"
    assert about["parameters"]["alpha"] == 0.5
    assert about["fitted_to"]["clips"] == {"alpha": 90, "beta": 90}
    assert about["fitted_to"]["data"] == corpus.data_sums()
    assert "numpy" in about["versions"]
    provenance = found.description.provenance
    assert provenance["source"]["sums"] == corpus.data_sums()
    assert provenance["source_provenance"] == corpus.description.provenance
    assert found.description.licences == corpus.description.licences
    assert read_record(tmp_path / "out" / about["file"])["embedding"] == "toy2"


def test_fit_to_all_clips_and_given_a_label(corpus: Corpus, tmp_path: Path) -> None:
    found = correct_corpus(corpus, "center", tmp_path / "all", embeddings=["toy"], fit_split="all")
    X, domain = found.embedding("toy"), found.clips["dataset"]
    np.testing.assert_allclose(
        X[domain == "alpha"].mean(axis=0), X[domain == "beta"].mean(axis=0), atol=1e-5
    )
    given = correct_corpus(
        corpus, "leace:given=label", tmp_path / "given", embeddings=["toy"], label="voice"
    )
    n = given.model_record("toy")["correction"]["fitted_to"]["clips"]
    train = corpus.clips[corpus.clips["split"] == "train"]
    observed = train["voice"].notna().groupby(train["dataset"]).sum()
    assert n == observed.to_dict()
    assert n["beta"] < 90


def test_audio_stays_where_it_is(corpus: Corpus, tmp_path: Path) -> None:
    (corpus.path / "audio").mkdir()
    (corpus.path / "audio" / "a.wav").write_bytes(b"RIFF")
    audio = np.where(corpus.clips.index == 3, "audio/a.wav", None)
    heard = rewritten(corpus.path, corpus.clips.assign(audio=audio))
    found = correct_corpus(heard, "center", tmp_path / "deep" / "er" / "out", embeddings=["toy"])
    path = found.audio_path(3)
    assert path is not None
    assert path.resolve() == (corpus.path / "audio" / "a.wav").resolve()
    assert found.audio_path(4) is None
    assert not list(found.path.rglob("*.wav"))


def with_gamma(corpus: Corpus, folder: Path) -> Corpus:
    """Copy a corpus, its second dataset renamed."""
    shutil.copytree(corpus.path, folder)
    for file in (folder / "embeddings").glob("*.h5"):
        with h5py.File(file, "r+") as content:
            content.move("beta", "gamma")
    clips = corpus.clips.assign(dataset=corpus.clips["dataset"].replace("beta", "gamma"))
    return rewritten(folder, clips, datasets=["alpha", "gamma"])


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("leace", "rows of it are corrected like every other row"),
        ("mlda", "rows of it are corrected like every other row"),
        ("center", "rows of it stay where they are, as there is no map for that dataset"),
        ("zscore", "rows of it are moved as if they had the statistics of all rows of the fit"),
        ("coral:unseen=own", "by the statistics of that dataset's rows, all together"),
        ("klda", "rows of it are standardised by all rows of the fit, mapped to random features"),
    ],
)
def test_a_saved_correction_on_a_corpus_it_has_not_seen(
    corpus: Corpus, tmp_path: Path, name: str, rule: str
) -> None:
    first = correct_corpus(corpus, name, tmp_path / "first", embeddings=["toy"])
    new = with_gamma(corpus, tmp_path / "new")
    told = run_command("correct", new.path, "--load", first.path, "--out", tmp_path / "out")
    assert "fitted to alpha, beta and has not seen gamma" in told
    assert rule in told
    found = Corpus.load(tmp_path / "out")
    assert found.embedding_names == ["toy"]
    fitted = load_correction(first.path / "corrections" / "toy.npz")
    expected = fitted.transform(new.embedding("toy"), sample_domain=new.clips["dataset"].to_numpy())
    np.testing.assert_allclose(found.embedding("toy"), expected, atol=1e-6)
    alpha = (new.clips["dataset"] == "alpha").to_numpy()
    np.testing.assert_allclose(
        found.embedding("toy")[alpha], first.embedding("toy")[alpha], atol=1e-5
    )


def test_one_file_may_be_for_another_name_and_seen_datasets_need_no_note(
    corpus: Corpus, tmp_path: Path
) -> None:
    first = correct_corpus(corpus, "leace", tmp_path / "first")
    file = first.path / "corrections" / "toy.npz"
    again = apply_to_corpus(corpus, file, tmp_path / "again")
    np.testing.assert_array_equal(again.embedding("toy"), first.embedding("toy"))
    # Of the corpus's two embeddings the file is for one.
    (note,) = again.description.provenance["notes"]
    assert note == ("left out, since no saved correction was fitted to them: toy2 of corpus 'tiny'")
    assert note in run_command("correct", corpus.path, "--load", file, "--out", tmp_path / "told")
    whole = apply_to_corpus(corpus, first.path, tmp_path / "whole")
    assert whole.description.provenance["notes"] == []
    asked = apply_to_corpus(corpus, file, tmp_path / "asked", embeddings=["toy"])
    assert asked.description.provenance["notes"] == []
    own = tmp_path / "mine.npz"
    X, domain = corpus.embedding("toy"), corpus.clips["dataset"].to_numpy()
    save_correction(own, make_correction("leace").fit(X, sample_domain=domain))
    assert apply_to_corpus(corpus, own, tmp_path / "own", embeddings=["toy"]).name == "tiny+LEACE"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --correction"),
        (["--correction", "leace", "--load", "x.npz"], "give either --correction"),
        (["--correction", "leacee"], "Did you mean 'leace'"),
        (["--correction", "leace", "--embedding", "yamnet"], "no embedding 'yamnet'"),
        (["--correction", "leace:given=label"], "say which label (--label); there are piano"),
        (["--correction", "leace", "--label", "piano"], "uses no labels"),
        (["--correction", "leace:given=label", "--label", "era"], "label 'era'"),
        (["--load", "absent.npz"], "no saved correction can be read"),
        (["--load", "absent.npz", "--fit-split", "all"], "are for a fit"),
    ],
)
def test_arguments_that_cannot_be_used(
    corpus: Corpus, tmp_path: Path, arguments: list[str], message: str
) -> None:
    out = tmp_path / "out"
    result = run(corpus.path, "--out", out, *arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert not out.exists()
    assert not list(tmp_path.glob(".*partial*"))


def test_an_existing_folder_is_refused_and_an_error_leaves_nothing(
    corpus: Corpus, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(CorpusError, match="exists already"):
        correct_corpus(corpus, "leace", tmp_path / "out")
    with pytest.raises(CorpusError, match="exists already"):
        correct_corpus(corpus, "leace", corpus.path)
    (tmp_path / "file").touch()  # said before the work
    with pytest.raises(ArgumentError, match="file is not a folder"):
        correct_corpus(corpus, "leace", tmp_path / "file" / "x")
    (tmp_path / "file").unlink()
    # What a killed process has left takes no space for ever, nor blocks the next try.
    (tmp_path / ".first.0123abcd.partial" / "embeddings").mkdir(parents=True)
    first = correct_corpus(corpus, "leace", tmp_path / "first")
    with pytest.raises(ArgumentError, match="fitted to 8 dimensions, but toy2"):
        apply_to_corpus(
            corpus, first.path / "corrections" / "toy.npz", tmp_path / "x", embeddings=["toy2"]
        )
    with pytest.raises(ArgumentError, match="no saved correction for musicnn"):
        apply_to_corpus(corpus, first.path, tmp_path / "x", embeddings=["toy", "musicnn"])
    file = first.path / "corrections" / "toy.npz"
    (tmp_path / "out" / "x.npy").touch()
    with pytest.raises(ArgumentError, match=r"out: no saved correction \(.npz\) in this folder"):
        apply_to_corpus(corpus, [first.path, tmp_path / "out"], tmp_path / "x")
    with pytest.raises(ArgumentError, match="both for 'toy'"):
        apply_to_corpus(corpus, [file, file], tmp_path / "x")
    assert {path.name for path in tmp_path.iterdir()} == {"out", "first", "tiny"}


def test_another_network_under_the_name_is_told(corpus: Corpus, tmp_path: Path) -> None:
    first = correct_corpus(corpus, "leace", tmp_path / "first", embeddings=["toy2"])
    models = corpus.description.embedding_models | {"toy2": {"source": "another"}}
    found = apply_to_corpus(
        rewritten(corpus.path, embedding_models=models), first.path, tmp_path / "x"
    )
    assert "check that it is the same network" in " ".join(found.description.provenance["notes"])


def test_a_corpus_that_lacks_what_the_correction_needs(corpus: Corpus, tmp_path: Path) -> None:
    no_groups = rewritten(corpus.path, corpus.clips.assign(group=np.nan))
    with pytest.raises(ArgumentError, match="with groups=auto they are looked for"):
        correct_corpus(no_groups, "mlda", tmp_path / "x")
    alpha = corpus.clips[corpus.clips["dataset"] == "alpha"].reset_index(drop=True)
    with pytest.raises(ArgumentError, match="one dataset only"):
        correct_corpus(rewritten(corpus.path, alpha, datasets=["alpha"]), "leace", tmp_path / "x")


def test_several_corrections_are_several_commands(tiny_corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    several = run(tiny_corpus, "--correction", "leace", "coral", "--out", out)
    assert several.exit_code == 2
    words = " ".join(several.output.split())
    assert (
        "Got unexpected extra argument(s): coral. --correction takes one correction here, found "
        "leace; for several, call the command once for each, with an --out of its own"
    ) in words
    # What follows CORPUS may be meant for one more corpus.
    more = run(tiny_corpus, "other", "--correction", "leace", "--out", out)
    assert "Got unexpected extra argument(s): other. " in " ".join(more.output.split())
    assert not out.exists()
    # Other errors stay as they are, and so does the corpus after the option.
    other = run(tiny_corpus, "--correction", "leace", "--oot", out)
    assert "No such option" in other.output
    run_command("correct", "--correction", "center", tiny_corpus, "--out", out)
