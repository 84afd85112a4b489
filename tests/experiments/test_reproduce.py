"""`biasmir reproduce`: all steps from a server that stands in for the real hosts, and again."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from running import absent
from stand_in import PaperFiles, expect, serve, synthetic_clips, synthetic_features
from test_stopping import FINISHED, stopped

from biasmir_utils.cli import main
from biasmir_utils.corpus import Corpus
from biasmir_utils.errors import ArgumentError, CorpusError
from biasmir_utils.experiments import read_table, reproduce

pytestmark = pytest.mark.xdist_group("reproduce")

PART = ("--offline", "--embedding", "vggish", "--mode", "global")
STEPS = ("1/4 fetch", "2/4 prepare", "3/4 evaluate", "4/4 compare")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> PaperFiles:
    clips = synthetic_clips()
    features = {
        "vggish": synthetic_features(clips, 8, seed=1),
        "yamnet": synthetic_features(clips, 12, seed=2),
    }
    return PaperFiles.pack(clips, features, tmp_path_factory.mktemp("packed"))


def run(*arguments: object, code: int = 0) -> str:
    command = ["reproduce", *map(str, arguments), "--jobs", "1", "--quiet"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture(scope="module")
def original(files, tmp_path_factory):
    """A root in which everything was done, and what the command printed."""
    root = tmp_path_factory.mktemp("original") / "root"
    with pytest.MonkeyPatch.context() as patch:
        try:
            with serve(files, tmp_path_factory.mktemp("tls"), patch) as hosts:
                output = run("--root", root)
                asked = [one.address for one in hosts.asked if one.sent]
                hosts.asked.clear()
                again = run("--root", root)
                assert hosts.asked == [], "a second call asked for something"
        except LookupError as error:
            absent(str(error))
    return root, output, asked, again


@pytest.fixture
def no_network(monkeypatch):
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there


@pytest.fixture
def root(original, tmp_path) -> Path:
    """Fetched files in a root of its own, with nothing made from them yet."""
    copy = Path(shutil.copytree(original[0], tmp_path / "root"))
    shutil.rmtree(copy / "reproduction")
    return copy


def test_everything_is_done_in_one_command(original, files):
    root, output, asked, _ = original
    positions = [output.index(step) for step in STEPS]
    assert positions == sorted(positions)
    assert set(asked) >= {
        address
        for name, address in files.addresses().items()
        if name != "IRMAS-TrainingData.zip"  # the paper's numbers do not need that audio
    }
    made = root / "reproduction"
    names = {path.name for path in made.iterdir()}
    assert names == {
        "corpus", "results.csv", "results.json", "comparison.csv", "comparison.json", "report.txt",
    }  # fmt: skip
    results = read_table(made / "results.csv")
    assert set(results["embedding"]) == {"vggish", "yamnet"}
    corrections = "none lda mlda k klda mklda"
    assert " ".join(dict.fromkeys(results["correction"])) == corrections
    assert set(results["mode"]) == {"none", "global", "classwise"}
    assert set(results["label"]) == {"cello", "flute"}
    assert len(results) == 2 * 2 * 10 * 4
    report = (made / "report.txt").read_text()
    assert report in output
    assert "96 of 144 published means matched" in report
    assert "2. VGGish falls across datasets: " in report
    assert "These are not the paper's clips" in report
    corpus = Corpus.load(made / "corpus")
    assert corpus.name == "paper"
    assert len(corpus.clips) == 192
    record = json.loads((made / "comparison.json").read_text())
    assert record["n_published_means_matched"] == 96


def test_a_second_call_skips_what_is_done(original):
    root, _, _, again = original
    assert again.count("there already, checked") == 4
    assert again.count("done before") == 3
    assert (root / "reproduction" / "report.txt").read_text() in again


def test_workers_of_a_cluster_find_the_same(original, root):
    pytest.importorskip("distributed")
    run("--root", root, "--offline", "--scheduler", "local")
    for name in ("results.csv", "comparison.csv", "report.txt"):
        made, expected = (one / "reproduction" / name for one in (root, original[0]))
        assert made.read_bytes() == expected.read_bytes()


def test_it_is_the_chain_of_the_other_commands(original, tmp_path):
    root, *_ = original
    corpus, results, table = (tmp_path / name for name in ("corpus", "r.csv", "c.csv"))
    for command in (
        f"prepare paper {corpus} --root {root}",
        f"evaluate {corpus} --embedding vggish yamnet --correction paper --mode global classwise "
        f"--out {results} --jobs 1",
        f"compare {results} --out {table}",
    ):
        done = CliRunner().invoke(main, command.split())
        assert done.exit_code == 0, done.output
    made = root / "reproduction"
    assert results.read_bytes() == (made / "results.csv").read_bytes()
    assert table.read_bytes() == (made / "comparison.csv").read_bytes()


def test_offline_needs_no_network_and_scores_resample_tracks(root, no_network, tmp_path):
    options = ["--root", root, *PART]
    output = run(*options, "--scores", "--out", tmp_path / "made")
    assert "1/4 fetch: left out" in output
    assert "tracks of the test sets resampled 1,000 times" in output
    results = read_table(tmp_path / "made" / "results.csv")
    assert set(results["embedding"]) == {"vggish"}
    assert set(results["mode"]) == {"none", "global"}
    # The scores are there already, so a call without them is served by the same results.
    without = run(*options, "--out", tmp_path / "made")
    assert "3/4 evaluate: done before" in without
    assert "labels resampled 10,000 times" in without


def test_other_parameters_are_evaluated_anew(root):
    first = run("--root", root, *PART)
    assert "done before" not in first
    made = root / "reproduction"
    # What an interrupted call with other parameters has finished.
    (made / "results.csv.tasks").mkdir()
    other = f"{0:024}.npz"
    (made / "results.csv.tasks" / other).write_text("{}")
    second = run("--root", root, "--offline", "--embedding", "yamnet", "--mode", "global")
    assert second.count("done before") == 1
    assert set(read_table(made / "results.csv")["embedding"]) == {"yamnet"}
    assert "1 finished task(s) of a call with other parameters" in second
    assert [path.name for path in (made / "results.csv.tasks").iterdir()] == [other]


def test_what_is_in_the_way_is_named_before_the_work(root):
    made = root / "reproduction"
    made.mkdir(exist_ok=True)
    (made / "results.csv").write_text("mine\n")
    assert "results.csv cannot be written" in run("--root", root, *PART, code=1)
    assert (made / "results.csv").read_text() == "mine\n"
    assert not (made / "results.csv.tasks").exists()


def test_a_killed_evaluation_goes_on(original, root):
    made = root / "reproduction"
    tasks = made / "results.csv.tasks"
    command = ["reproduce", "--root", root, "--offline", "--jobs", 1, "--quiet"]
    stopped(root.parent, tasks, FINISHED, signal.SIGKILL, *command)
    assert not (made / "results.csv").exists()
    output = run("--root", root, "--offline")
    assert "2/4 prepare: done before" in output
    assert not tasks.exists()
    whole = original[0] / "reproduction"
    # The corpus lies elsewhere, so compare the numbers.
    pd.testing.assert_frame_equal(
        read_table(made / "results.csv"), read_table(whole / "results.csv")
    )
    assert (made / "report.txt").read_bytes() == (whole / "report.txt").read_bytes()


def test_a_damaged_product_is_made_again(root):
    options = ["--root", root, *PART]
    run(*options)
    made = root / "reproduction"
    whole = (made / "results.csv").read_bytes()
    (made / "comparison.json").write_text("{")
    (made / "report.txt").unlink()
    output = run(*options)
    assert output.count("done before") == 2
    assert (made / "report.txt").is_file()
    (made / "results.json").unlink()
    (made / "results.csv").write_bytes(whole[:100])
    assert run(*options).count("done before") == 2  # the corpus, and the comparison of the same
    assert (made / "results.csv").read_bytes() == whole


def test_a_corpus_of_other_files_is_not_used(root):
    run("--root", root, *PART)
    labels = root / "openmic-2018" / "openmic-2018-aggregated-labels.csv"
    whole = labels.read_bytes()
    labels.write_bytes(whole.replace(b",1.0,", b",0.9,", 1))
    told = run("--root", root, *PART, code=1)
    assert f"made from another file than {labels}; remove the folder" in told
    labels.write_bytes(whole)
    moved = root.rename(root.with_name("moved"))
    told = run("--root", moved, *PART, code=1)
    assert "no such embedding file" in told
    assert f"remove the folder {moved / 'reproduction' / 'corpus'} and start again" in told


def test_what_is_missing_is_named(tmp_path):
    told = run("--root", tmp_path, "--offline", code=1)
    assert str(tmp_path / "paper" / "irmas_train.csv") in told
    assert not (tmp_path / "reproduction" / "corpus").exists()
    with pytest.raises(ArgumentError, match="published were vggish, openl3, yamnet"):
        reproduce(tmp_path, embeddings=["mfcc"])


def test_a_file_with_no_embedding_of_the_paper(tmp_path, no_network, monkeypatch):
    clips = synthetic_clips(16)
    features = {"mfcc": np.ones((len(clips), 2))}
    packed = PaperFiles.pack(clips, features, tmp_path)
    source = tmp_path / "files"
    source.mkdir()
    for name, content in packed.content.items():
        (source / name).write_bytes(content)
    expect(packed.content, monkeypatch)
    with pytest.raises(CorpusError, match="none of vggish, openl3, yamnet is among"):
        reproduce(tmp_path / "root", from_dir=source, say=lambda _: None)
