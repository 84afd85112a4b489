"""What every embedding promises, the registry, and MFCC against librosa."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest

from biasmir_utils.embeddings import Embedding, available, extract, load
from biasmir_utils.embeddings.base import folder_sum, identity
from biasmir_utils.errors import ArgumentError, AudioError, ModelError

librosa = pytest.importorskip("librosa")
pytest.importorskip("tensorflow")

LOCAL = ["mfcc", "musicnn", "musicnn_penultimate", "mtt_musicnn", "msd_vgg", "yamnet"]
DIMENSIONS = {
    "mfcc": 80,
    "musicnn": 753,
    "musicnn_penultimate": 200,
    "mtt_musicnn": 753,
    "msd_vgg": 256,
    "yamnet": 1024,
}


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
    assert isinstance(embedding, Embedding)
    assert embedding.name == name
    assert embedding.dimension == DIMENSIONS[name]
    frames = embedding.embed(noise, 44_100)
    assert frames.dtype == np.float32
    assert frames.shape[1] == embedding.dimension
    assert len(frames) >= 1
    assert np.isfinite(frames).all()
    np.testing.assert_array_equal(embedding.embed(noise, 44_100), frames)
    np.testing.assert_array_equal(embedding.embed(noise.astype(np.float64), 44_100), frames)
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
    n = round(embedding.shortest * embedding.sample_rate)
    rng = np.random.default_rng(0)
    clip = rng.normal(scale=0.1, size=n)
    assert len(embedding.embed(clip, embedding.sample_rate)) == 1
    with pytest.raises(AudioError, match="too short"):
        embedding.embed(clip[:-2], embedding.sample_rate)


@pytest.mark.parametrize("name", LOCAL)
def test_silence_is_embedded(loaded, name):
    assert np.isfinite(loaded[name].embed(np.zeros(48_000), 16_000)).all()


@pytest.mark.parametrize("name", LOCAL)
@pytest.mark.parametrize(
    ("waveform", "error"),
    [
        (np.zeros(0), AudioError),
        (np.full(160_000, np.nan), AudioError),
        (np.zeros(160_000, np.int16), ArgumentError),
        (np.zeros((2, 2, 2)), ArgumentError),
    ],
    ids=["empty", "NaN", "integers", "shape"],
)
def test_bad_waveforms(loaded, name, waveform, error):
    with pytest.raises(error):
        loaded[name].embed(waveform, 16_000)


def test_the_registry_names_what_there_is():
    assert {*LOCAL, "vggish"} <= set(available())
    with pytest.raises(ArgumentError, match=r"'clap'.*yamnet"):
        load("clap")
    with pytest.raises(ArgumentError, match="takes no model"):
        load("mfcc", model="somewhere")


@pytest.mark.parametrize("name", ["yamnet", "vggish"])
def test_nothing_is_downloaded_unasked(name, monkeypatch, tmp_path):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    with pytest.raises(ModelError, match=r"--model FOLDER.*--download"):
        load(name)


@pytest.mark.parametrize("name", ["yamnet", "openl3", "musicnn"])
def test_a_model_in_the_home_of_nobody(name, tiny_corpus):
    model = "~nosuchuser/model"
    with pytest.raises(ModelError, match="'~nosuchuser/model' starts with no user's home"):
        load(name, model)
    with pytest.raises(ModelError, match="starts with no user's home"):
        extract(tiny_corpus, name, model=model, progress=False)


def test_what_was_not_asked_for_is_advised_for_what_was_given(monkeypatch, tmp_path):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    with pytest.raises(ModelError) as told:
        load("yamnet", "http://127.0.0.1:9/yamnet")
    assert "http://127.0.0.1:9/yamnet is not in the cache" in str(told.value)
    assert "--download" in str(told.value)
    assert "biasmir fetch" not in str(told.value)
    with pytest.raises(ModelError, match="biasmir fetch models"):
        load("yamnet")


def test_a_missing_package_is_named_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r'pip install "biasmir_utils\[tensorflow\]"'):
        load("yamnet")


def test_identity_ignores_versions_and_places():
    record = {"source": "a", "sums": {"folder": "1"}, "dimension": 4, "versions": {"numpy": "1"}}
    assert identity(record) == identity({**record, "source": "b", "versions": {}})
    assert identity(record) != identity({**record, "sums": {"folder": "2"}})
    assert identity({**record, "sums": {}}) != identity({**record, "sums": {}, "source": "b"})


def test_a_folder_sum_sees_content_and_names(tmp_path):
    (tmp_path / "a" / "sub").mkdir(parents=True)
    (tmp_path / "a" / "sub" / "x").write_text("1")
    first = folder_sum(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    assert folder_sum(tmp_path / "b") == first
    (tmp_path / "b" / "sub" / "x").write_text("2")
    assert folder_sum(tmp_path / "b") != first
    (tmp_path / "b" / "sub" / "x").write_text("1")
    (tmp_path / "b" / "sub" / "x").rename(tmp_path / "b" / "sub" / "y")
    assert folder_sum(tmp_path / "b") != first


def test_mfcc_is_librosas(shared):
    path = shared / "audio" / "000046_3840.ogg"
    import soundfile

    sound, sample_rate = soundfile.read(path, dtype="float32")
    mono = librosa.resample(sound.mean(axis=1), orig_sr=sample_rate, target_sr=22_050)
    expected = librosa.feature.mfcc(y=mono, sr=22_050, n_mfcc=40)
    frames = load("mfcc").embed(sound, sample_rate)
    np.testing.assert_allclose(frames[0, :40], expected.mean(axis=1), rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(frames[0, 40:], expected.std(axis=1), rtol=1e-3, atol=1e-2)
