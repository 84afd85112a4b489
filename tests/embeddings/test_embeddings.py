"""What every embedding promises, an embedding of one's own, and MFCC against librosa."""

from __future__ import annotations

import pickle
import re
import sys
import textwrap

import numpy as np
import pytest
from running import run_command
from small_sounds import flat, make_sound_corpus

from biasmir_utils.corpus import Corpus
from biasmir_utils.embeddings import available, load
from biasmir_utils.errors import ArgumentError, AudioError, ModelError

librosa = pytest.importorskip("librosa")
pytest.importorskip("tensorflow")

LOCAL = ["mfcc", "musicnn", "musicnn_penultimate", "mtt_musicnn", "msd_vgg", "yamnet"]


@pytest.fixture(scope="module")
def loaded(shared):
    """The embeddings that run without a download, each loaded once."""
    models = {"yamnet": shared / "models" / "yamnet"}
    return {name: load(name, models.get(name)) for name in LOCAL}


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(3).normal(scale=0.1, size=(4 * 44_100, 2)).astype(np.float32)


@pytest.mark.parametrize("name", LOCAL)
def test_promises(loaded, noise, name):
    embedding = loaded[name]
    assert isinstance(embedding, available()[name])
    frames = embedding.embed(noise, 44_100)
    assert frames.dtype == np.float32
    assert frames.shape[1] == embedding.dimension == available()[name].dimension
    assert len(frames) >= 1
    assert np.isfinite(frames).all()
    np.testing.assert_array_equal(embedding.embed(noise.astype(np.float64), 44_100), frames)
    assert np.isfinite(embedding.embed(np.zeros(48_000), 16_000)).all(), "silence"
    record = embedding.record
    assert record["dimension"] == embedding.dimension
    assert record["source"]
    assert record["versions"]["numpy"] == np.__version__
    assert "/" not in record["source"], "no path of this machine"
    # The front end goes to other processes, and must not take the network along.
    copy = pickle.loads(pickle.dumps(embedding.front_end))
    np.testing.assert_array_equal(copy(noise, 44_100), embedding.front_end(noise, 44_100))


@pytest.mark.parametrize("name", LOCAL)
def test_a_batch_gives_what_single_clips_give(loaded, name):
    rng = np.random.default_rng(5)
    embedding = loaded[name]
    clips = [rng.normal(scale=0.1, size=int(s * 16_000)) for s in (3.0, 10.0, 3.3, 7.1)]
    inputs = [embedding.front_end(clip, 16_000) for clip in clips]
    for batched, clip in zip(embedding.run(inputs), clips, strict=True):
        np.testing.assert_allclose(batched, embedding.embed(clip, 16_000), rtol=1e-3, atol=1e-4)
    assert embedding.run([]) == []


@pytest.mark.parametrize("name", LOCAL)
def test_the_shortest_clip(loaded, name):
    embedding = loaded[name]
    n = round(embedding.front_end.shortest * embedding.sample_rate)
    clip = np.random.default_rng(0).normal(scale=0.1, size=n)
    assert len(embedding.embed(clip, embedding.sample_rate)) == 1
    with pytest.raises(AudioError, match="too short"):
        embedding.embed(clip[:-2], embedding.sample_rate)


def test_what_is_known_of_each_stands_at_its_class():
    assert {*LOCAL, "vggish", "openl3"} <= set(available())
    for name, one in available().items():
        assert one.name == name
        assert all([one.summary, one.licence, one.weights, one.dimension > 0])
        assert one.sample_rate >= 16_000
        assert (one.hop > 0) == (one.window > 0) == one.has_network


def test_names_and_arguments_that_cannot_be():
    with pytest.raises(ArgumentError, match=r"'clap'.*yamnet"):
        load("clap")
    with pytest.raises(ArgumentError, match=r"Did you mean 'openl3'\?"):
        load("openl-3")
    with pytest.raises(ArgumentError, match="takes no model"):
        load("mfcc", model="somewhere")
    with pytest.raises(ArgumentError, match="takes no hop"):
        load("mfcc", hop=0.5)


TOY = """
    import numpy as np
    from biasmir_utils.embeddings import Embedding, add_embedding

    @add_embedding
    class ToyLevel(Embedding):
        name, summary = "toy_level", "Root mean square of a clip"
        licence, weights = "CC0", "nothing was learned"
        dimension, sample_rate, hop, window = 1, 16_000, 0.0, 0.0

        def run(self, inputs):
            return [np.float32([[np.sqrt(np.mean(clip**2))]]) for clip in inputs]
"""


def test_an_embedding_of_ones_own_is_one_class_in_one_file(tmp_path, monkeypatch):
    """Reached by Python and by the command, with help text, report and record."""
    (tmp_path / "toy_level.py").write_text(textwrap.dedent(TOY))
    monkeypatch.syspath_prepend(tmp_path)
    names = "biasmir_utils.embeddings.names._CLASSES"
    monkeypatch.setattr(names, dict(available()))
    __import__("toy_level")
    corpus = make_sound_corpus(tmp_path / "corpus", {f"c{i}.wav": flat(i) for i in range(4)})
    helped = run_command("extract", "--help")
    assert re.search(r"toy_level\s+Root mean square of a clip; 1-d, licence: CC0", helped)
    done = run_command("extract", corpus.path, "--embedding", "toy_level", "--quiet")
    assert "toy_level: 4 clips embedded" in done
    corpus = Corpus.load(corpus.path)
    record = corpus.model_record("toy_level")
    assert (record["source"], record["dimension"]) == ("nothing was learned", 1)
    np.testing.assert_allclose(corpus.embedding("toy_level")[:, 0], np.arange(1, 5) / 512)
    assert load("toy_level").embed(np.ones(16_000), 16_000) == 1
    with pytest.raises(ArgumentError, match="two embeddings are named 'toy_level'"):
        exec(textwrap.dedent(TOY).replace("class ToyLevel", "class Other"), {})


@pytest.mark.parametrize("name", ["mfcc", "musicnn"])
def test_spectra_of_a_long_clip_are_those_of_the_whole(loaded, noise, name, monkeypatch):
    front_end = loaded[name].front_end
    expected = front_end(noise, 44_100)
    monkeypatch.setattr("biasmir_utils.embeddings.base._SPECTRA_BYTES", 4 * 512 * 60)
    np.testing.assert_allclose(front_end(noise, 44_100), expected, rtol=1e-4, atol=1e-5)


def test_a_missing_package_is_named_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r'pip install "biasmir_utils\[tensorflow\]"'):
        load("yamnet")


def test_mfcc_is_librosas(shared):
    import soundfile

    path = shared / "audio" / "000046_3840.ogg"
    sound, sample_rate = soundfile.read(path, dtype="float32")
    mono = librosa.resample(sound.mean(axis=1), orig_sr=sample_rate, target_sr=22_050)
    expected = librosa.feature.mfcc(y=mono, sr=22_050, n_mfcc=40)
    frames = load("mfcc").embed(sound, sample_rate)
    np.testing.assert_allclose(frames[0, :40], expected.mean(axis=1), rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(frames[0, 40:], expected.std(axis=1), rtol=1e-3, atol=1e-2)
