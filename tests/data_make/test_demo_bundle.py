"""The bundle: what is kept of a rendered corpus. Its clips are noise here, its embedding a toy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from demo_command import run_demo

from biasmir_utils.corpus import Corpus, CorpusWriter, write_embedding_file
from biasmir_utils.errors import ArgumentError
from bundle import EXAMPLE_LEVEL_DB, choose_examples, choose_pieces, write_bundle
from design import COUNTERFACTUAL, DEMO, GENRES, INSTRUMENTS, CorpusDesign
from render import TARGETS, clip_table

FRAMES, DIMENSION = 3, 5


def corpus_of_noise(folder: Path, design: CorpusDesign, clips: int) -> Corpus:
    """Make a corpus such as rendering and extraction leave it, with noise for music."""
    tables = [clip_table(dataset, clips, 1) for dataset in design.datasets]
    corpus = CorpusWriter(
        folder,
        name=design.name,
        title="Noise",
        datasets=[dataset.name for dataset in design.datasets],
        groups=list(GENRES),
        targets=TARGETS,
        provenance={"seed": 1},
        licences=[{"what": "everything", "licence": "CC BY 4.0"}],
        shared_tracks=design is COUNTERFACTUAL,
    ).write(pd.concat(tables, ignore_index=True))
    rng = np.random.default_rng(0)
    for row, clip in corpus.clips.iterrows():
        file = corpus.audio_path(row)
        file.parent.mkdir(parents=True, exist_ok=True)
        wave = np.clip(rng.normal(0, 10 ** (clip["level_db"] / 20), 11_025), -0.95, 0.95)
        vorbis = {"format": "OGG", "subtype": "VORBIS"} if file.suffix == ".ogg" else {}
        soundfile.write(file, wave, 44_100, **vorbis)
    content, skipped = {}, {}
    for dataset, table in corpus.clips.groupby("dataset"):
        frames = np.repeat(table["clip"].iloc[1:].to_numpy(), FRAMES)
        content[dataset] = (frames, rng.normal(0, 1, (len(frames), DIMENSION)))
        skipped[dataset] = {table["clip"].iloc[0]: "too short"}
    file = folder / "embeddings" / "toy.h5"
    file.parent.mkdir()
    write_embedding_file(file, "toy", content, skipped=skipped)
    return corpus.add_embedding_file(file, {"toy": {"source": "noise"}}, made_here=True)


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Corpus:
    return corpus_of_noise(tmp_path_factory.mktemp("full") / "demo", DEMO, 150)


@pytest.fixture(scope="module")
def four(tmp_path_factory) -> Corpus:
    return corpus_of_noise(tmp_path_factory.mktemp("four") / "corpus", COUNTERFACTUAL, 40)


@pytest.fixture(scope="module")
def bundle(full, tmp_path_factory) -> Corpus:
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "README.md").write_text("# The card\n")
    return write_bundle(full, folder, progress=False)


def test_examples_cover_instruments_and_genres(full):
    clips = full.clips.loc[choose_examples(full, 3)]
    for _, mine in clips.groupby("dataset"):
        leads = mine["instruments"].str.split().str[0]
        assert leads.value_counts().to_dict() == dict.fromkeys(INSTRUMENTS, 3)
        assert set(mine["group"]) == set(GENRES)
        for instrument in INSTRUMENTS:
            assert (mine.loc[leads == instrument, instrument] >= 0.5).all()
    assert not clips.duplicated("track").any()
    assert len(choose_examples(full, 1000)) < len(full.clips)


def test_bundle_keeps_every_row_and_the_means(full, bundle):
    same = [name for name in full.clips.columns if name != "audio"]
    pd.testing.assert_frame_equal(bundle.clips[same], full.clips[same])
    np.testing.assert_allclose(bundle.embedding("toy"), full.embedding("toy"), atol=2e-3)
    assert bundle.missing("toy").equals(full.missing("toy"))
    assert set(bundle.missing("toy")["reason"]) == {"too short"}
    stored = {"pooling": "mean over frames", "dtype": "float16"}
    assert bundle.model_record("toy") == {"source": "noise", "stored": stored}
    assert bundle.path.joinpath("README.md").read_text() == "# The card\n"
    assert bundle.description.licences == full.description.licences
    provenance = bundle.description.provenance
    assert provenance["seed"] == 1
    assert provenance["bundle"]["examples"] == 60
    assert provenance["bundle"]["command"] == "python data/make/demo.py OUT --bundle RENDERED"


def test_examples_are_equally_loud_and_as_long_as_the_clip(full, bundle):
    rows = bundle.clips.index[bundle.clips["audio"].notna()]
    assert rows.tolist() == choose_examples(full, 3)
    for row in rows:
        assert bundle.audio_path(row).suffix == ".mp3"
        wave, rate = soundfile.read(bundle.audio_path(row))
        original, original_rate = soundfile.read(full.audio_path(row))
        assert (wave.shape, rate) == (original.shape, original_rate)
        # MP3 leaves out the highest frequencies, of which noise has more than music.
        level = 20 * np.log10(np.sqrt(np.mean(wave**2)))
        assert level == pytest.approx(EXAMPLE_LEVEL_DB, abs=3)
        gain = bundle.clips["example_gain_db"][row]
        wanted = EXAMPLE_LEVEL_DB - 20 * np.log10(np.sqrt(np.mean(original**2)))
        assert gain == pytest.approx(wanted, abs=0.01)


def test_pieces_to_listen_to_are_heard_in_all_four(four):
    chosen = four.clips.loc[choose_pieces(four, 4)]
    assert chosen.groupby("clip")["dataset"].nunique().tolist() == [4, 4, 4, 4]
    assert set(chosen["group"]) == set(GENRES)
    assert chosen["instruments"].str.split().str.len().max() <= 2
    assert chosen["instruments"].str.split().str[0].nunique() == 4
    assert len(choose_pieces(four, 1000)) == len(four.clips)


def test_what_cannot_be_bundled_is_refused(full, bundle, tiny_corpus, tmp_path):
    out = tmp_path / "out"
    for corpus, arguments, message in (
        (full, {"embedding": ["yamnet"]}, r"has no embedding 'yamnet' \(there: toy\)"),
        (full, {"examples": 0}, "expected 1 or more, got 0"),
        (full, {"pieces": 0}, "expected 1 or more, got 0"),
        (full, {"pieces": 2}, "do not hold the same pieces"),
        (Corpus.load(tiny_corpus), {}, r"is no corpus made by data/make/demo\.py"),
        (bundle, {}, "bundle a rendered corpus"),
    ):
        with pytest.raises(ArgumentError, match=message):
            write_bundle(corpus, out, progress=False, **arguments)
        assert not out.exists()
    before = sorted(bundle.path.rglob("*"))
    with pytest.raises(ArgumentError, match=r"holds something already; remove all but README\.md"):
        write_bundle(full, bundle.path, progress=False)
    assert sorted(bundle.path.rglob("*")) == before


def test_command(full, tmp_path):
    arguments = [tmp_path / "b", "--bundle", full.path, "--examples", 1, "--quiet"]
    several = run_demo(*arguments, "--embedding", "toy", "yamnet")
    assert several.returncode == 1
    assert several.stderr.startswith("Error: ")
    assert "has no embedding 'yamnet' (there: toy)" in several.stderr
    result = run_demo(*arguments, "--embedding", "toy")
    assert result.returncode == 0, result.stderr
    assert f" MB in {tmp_path / 'b'}" in result.stdout
    bundle = Corpus.load(tmp_path / "b")
    assert bundle.clips["audio"].notna().sum() == 20
    made = bundle.description.provenance["bundle"]["command"]
    assert made == "python data/make/demo.py OUT --bundle RENDERED --examples 1 --embedding toy"


def test_command_for_pieces(four, tmp_path):
    result = run_demo(tmp_path / "b", "--bundle", four.path, "--pieces", 2, "--quiet")
    assert result.returncode == 0, result.stderr
    bundle = Corpus.load(tmp_path / "b")
    assert bundle.shared_tracks
    heard = bundle.clips[bundle.clips["audio"].notna()]
    assert len(heard) == 8
    assert all(bundle.audio_path(row).is_file() for row in heard.index)
    record = bundle.description.provenance["bundle"]
    assert record["command"] == "python data/make/demo.py OUT --bundle RENDERED --pieces 2"
    assert record["pieces_to_listen_to"] == 2
