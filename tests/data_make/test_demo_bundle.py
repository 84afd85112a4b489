"""The bundle: what is kept of a rendered corpus. Its clips are noise here, its embedding a toy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from helpers import run_demo

from biasmir_utils.corpus import Corpus, CorpusWriter
from biasmir_utils.corpus.embedding_file import write_embedding_file
from biasmir_utils.errors import ArgumentError
from bundle import EXAMPLE_LEVEL_DB, choose_examples, write_bundle
from design import DATASETS, GENRES, INSTRUMENTS
from render import TARGETS, clip_table

CLIPS, FRAMES, DIMENSION = 150, 3, 5


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Corpus:
    """A corpus such as demo-corpus and extract leave it, with noise for music."""
    folder = tmp_path_factory.mktemp("full") / "demo"
    tables = [clip_table(design, CLIPS, 1) for design in DATASETS.values()]
    writer = CorpusWriter(
        folder,
        name="demo",
        title="Demo",
        datasets=list(DATASETS),
        groups=list(GENRES),
        targets=list(TARGETS),
        provenance={"seed": 1},
        licences=[{"what": "everything", "licence": "CC BY 4.0"}],
    )
    corpus = writer.write(pd.concat(tables, ignore_index=True))
    rng = np.random.default_rng(0)
    for row, clip in corpus.clips.iterrows():
        file = corpus.audio_path(row)
        file.parent.mkdir(parents=True, exist_ok=True)
        level = 10 ** (clip["level_db"] / 20)
        wave = np.clip(rng.normal(0, level, 11_025), -0.95, 0.95)
        vorbis = {"format": "OGG", "subtype": "VORBIS"} if file.suffix == ".ogg" else {}
        soundfile.write(file, wave, 44_100, **vorbis)
    content = {}
    for dataset in corpus.datasets:
        keys = corpus.clips.loc[corpus.clips["dataset"] == dataset, "clip"].iloc[1:]
        frames = np.repeat(keys.to_numpy(), FRAMES)
        content[dataset] = (frames, rng.normal(0, 1, (len(frames), DIMENSION)))
    skipped = {dataset: {f"{dataset}_0000_0": "too short"} for dataset in corpus.datasets}
    file = folder / "embeddings" / "toy.h5"
    file.parent.mkdir()
    write_embedding_file(file, "toy", content, skipped=skipped)
    return corpus.add_embedding_file(file, {"toy": {"source": "noise"}}, made_here=True)


@pytest.fixture(scope="module")
def bundle(full, tmp_path_factory) -> Corpus:
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "README.md").write_text("# The card\n")
    return write_bundle(full, folder, progress=False)


def test_examples_cover_instruments_and_genres(full):
    clips = full.clips.loc[choose_examples(full, 3)]
    assert len(clips) == 3 * len(INSTRUMENTS) * len(DATASETS)
    for dataset in full.datasets:
        mine = clips[clips["dataset"] == dataset]
        leads = mine["instruments"].str.split().str[0]
        assert leads.value_counts().to_dict() == dict.fromkeys(INSTRUMENTS, 3)
        assert set(mine["group"]) == set(GENRES)
        for instrument in INSTRUMENTS:
            assert (mine.loc[leads == instrument, instrument] >= 0.5).all()
    assert not clips.duplicated("track").any()


def test_bundle_keeps_every_row_and_the_means(full, bundle):
    same = [name for name in full.clips.columns if name != "audio"]
    pd.testing.assert_frame_equal(bundle.clips[same], full.clips[same])
    np.testing.assert_allclose(bundle.embedding("toy"), full.embedding("toy"), atol=2e-3)
    assert bundle.missing("toy").equals(full.missing("toy"))
    assert set(bundle.missing("toy")["reason"]) == {"too short"}
    assert bundle.model_record("toy") == {
        "source": "noise",
        "stored": {"pooling": "mean over frames", "dtype": "float16"},
    }
    assert bundle.path.joinpath("README.md").read_text() == "# The card\n"


def test_examples_are_equally_loud_and_as_long_as_the_clip(full, bundle):
    rows = bundle.clips.index[bundle.clips["audio"].notna()]
    assert rows.tolist() == choose_examples(full, 3)
    for row in rows:
        file = bundle.audio_path(row)
        assert file.suffix == ".mp3"
        wave, rate = soundfile.read(file)
        original, original_rate = soundfile.read(full.audio_path(row))
        assert wave.shape == original.shape
        assert rate == original_rate
        # MP3 leaves out the highest frequencies, of which noise has more than music.
        level = 20 * np.log10(np.sqrt(np.mean(wave**2)))
        assert level == pytest.approx(EXAMPLE_LEVEL_DB, abs=3)
        gain = bundle.clips["example_gain_db"][row]
        wanted = EXAMPLE_LEVEL_DB - 20 * np.log10(np.sqrt(np.mean(original**2)))
        assert gain == pytest.approx(wanted, abs=0.01)


def test_bundle_tells_where_it_comes_from(bundle):
    content = json.loads((bundle.path / "corpus.json").read_text())
    assert content["provenance"]["seed"] == 1
    assert content["provenance"]["bundle"]["examples"] == 60
    assert (
        content["provenance"]["bundle"]["command"]
        == "python data/make/demo.py OUT --bundle RENDERED"
    )
    assert content["licences"] == [{"what": "everything", "licence": "CC BY 4.0"}]


def test_a_folder_in_use_is_left_alone(full, bundle):
    before = sorted(bundle.path.rglob("*"))
    with pytest.raises(ArgumentError, match=r"holds something already; remove all but README\.md"):
        write_bundle(full, bundle.path, progress=False)
    assert sorted(bundle.path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"embedding": ["yamnet"]}, "has no embedding 'yamnet' \\(there: toy\\)"),
        ({"examples": 0}, "expected 1 or more, got 0"),
    ],
)
def test_arguments_that_cannot_be_met(full, tmp_path, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        write_bundle(full, tmp_path / "out", progress=False, **arguments)
    assert not (tmp_path / "out").exists()


def test_other_corpora_are_refused(tiny_corpus, bundle, tmp_path):
    tiny = tiny_corpus if isinstance(tiny_corpus, Corpus) else Corpus.load(Path(tiny_corpus))
    with pytest.raises(ArgumentError, match=r"is no corpus made by data/make/demo\.py"):
        write_bundle(tiny, tmp_path / "out")
    with pytest.raises(ArgumentError, match="bundle a rendered corpus"):
        write_bundle(bundle, tmp_path / "out")


def test_command(full, tmp_path):
    arguments = [tmp_path / "b", "--bundle", full.path, "--examples", "1", "--quiet"]
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
    mixed = run_demo(*arguments, "--seed", "1")
    assert mixed.returncode == 2
    assert "--seed: only without --bundle" in mixed.stderr
