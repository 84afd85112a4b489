"""Embeddings of other people: callables, objects and modules of HEAR, named on the command line."""

from __future__ import annotations

import textwrap

import numpy as np
import pytest
from running import run_command
from small_sounds import flat, level, make_sound_corpus

from biasmir_utils.corpus import Corpus
from biasmir_utils.embeddings import extract, load
from biasmir_utils.errors import ArgumentError, CorpusError, ModelError

pytest.importorskip("soundfile")

MODULE = """
    import numpy as np

    calls = []

    def levels(waveform, sample_rate):
        assert waveform.dtype == np.float32 and waveform.ndim == 1
        return np.array([[waveform.mean(), sample_rate], [waveform.mean(), 0]])

    class Scaled:
        sample_rate, hop, window = 16_000, 0.05, 0.05

        def __init__(self, model=None):
            self.scale = 1.0 if model is None else float(open(model).read())

        def embed(self, waveform, sample_rate):
            assert sample_rate == 16_000
            return [[self.scale * waveform.mean(), 1.0, 0.0]]

    one = Scaled()
    nothing = 3

    def broken(waveform, sample_rate):
        if waveform.mean() > 6 / 512:
            raise ValueError("too loud for me")
        return np.ones((1, 2))

    def always(waveform, sample_rate):
        raise KeyError("weights")

    def number(waveform, sample_rate):
        return 1.0

    def flat(waveform, sample_rate):
        return waveform[:5]

    def ragged(waveform, sample_rate):
        return np.ones((1, len(waveform) // 1000))
"""
HEAR = """
    import numpy as np
    {imports}

    shapes = []

    class Model({base}):
        sample_rate = 16_000
        scene_embedding_size = timestamp_embedding_size = 2

    def load_model(model_file_path=""):
        return Model()

    def get_timestamp_embeddings(audio, model):
        shapes.append(tuple(audio.shape))
        assert isinstance(audio, {kind})
        n = audio.shape[1] // 800
        means = np.asarray(audio)[:, : n * 800].reshape(len(audio), n, 800).mean(axis=2)
        both = np.stack([means, means * 0 + 1], axis=2)
        return {back}(both), {back}(np.tile(np.arange(n) * 50.0, (len(audio), 1)))

    def get_scene_embeddings(audio, model):
        return get_timestamp_embeddings(audio, model)[0].mean(1)
"""
FRAMEWORKS = {
    "numpy": {"imports": "", "base": "object", "kind": "np.ndarray", "back": "np.asarray"},
    "tensorflow": {
        "imports": "import tensorflow as tf",
        "base": "tf.Module",
        "kind": "tf.Tensor",
        "back": "tf.convert_to_tensor",
    },
    "torch": {
        "imports": "import torch",
        "base": "torch.nn.Module",
        "kind": "torch.Tensor",
        "back": "torch.from_numpy",
    },
}


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """The name of a module of somebody's, in a folder from which Python imports."""
    name = f"theirs_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.fixture
def corpus(tmp_path):
    return make_sound_corpus(tmp_path / "corpus", {f"c{i}.wav": flat(i) for i in range(8)})


@pytest.mark.parametrize(
    ("name", "vectors", "rate"),
    [
        ("levels", [[0, 22_050]], 44_100),
        ("one", [[0, 1, 0]], 16_000),
        ("Scaled", [[0, 1, 0]], 16_000),
    ],
)
def test_a_callable_an_object_and_a_class(theirs, corpus, name, vectors, rate):
    report = extract(corpus, f"{theirs}:{name}", progress=False)
    assert report.n_embedded == 8
    expected = np.repeat(np.float64(vectors), 8, axis=0)
    expected[:, 0] = [level(i) for i in range(8)]
    np.testing.assert_allclose(report.corpus.embedding(name), expected, rtol=1e-3)
    record = report.corpus.model_record(name)
    assert record["source"] == f"{theirs}:{name}"
    assert record["sample_rate"] == rate
    assert len(record["sums"]["module sha256"]) == 64
    assert extract(corpus.path, f"{theirs}:{name}", progress=False).n_embedded == 0


def test_the_command_with_processes_and_a_model(theirs, corpus, tmp_path):
    (tmp_path / "weights.txt").write_text("2")
    command = ["extract", corpus.path, "--embedding", f"{theirs}:Scaled", "--quiet"]
    done = run_command(*command, "--model", tmp_path / "weights.txt", "--jobs", "1")
    assert "Scaled: 8 clips embedded" in done
    levels = [2 * level(i) for i in range(8)]
    found = Corpus.load(corpus.path)
    np.testing.assert_allclose(found.embedding("Scaled")[:, 0], levels, rtol=1e-6)
    assert "model sha256" in found.model_record("Scaled")["sums"]
    (tmp_path / "others.txt").write_text("3")
    with pytest.raises(CorpusError, match="model sha256"):
        extract(corpus.path, f"{theirs}:Scaled", model=tmp_path / "others.txt", progress=False)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_module_of_hear_as_it_is(tmp_path, monkeypatch, framework):
    if framework != "numpy":
        pytest.importorskip(framework)
    name = f"hear_{framework}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(HEAR).format(**FRAMEWORKS[framework]))
    monkeypatch.syspath_prepend(tmp_path)
    sounds = {f"c{i}.wav": flat(i, 0.1 if i % 2 else 0.2) for i in range(8)}
    corpus = make_sound_corpus(tmp_path / "corpus", sounds)
    report = extract(corpus, f"{name}:load_model", progress=False)
    np.testing.assert_allclose(report.corpus.embedding(name)[:, 0], [level(i) for i in range(8)])
    assert report.corpus.frames(name, "even", "c0").shape == (4, 2)
    # After the trial, clips of one length together.
    assert sorted(__import__(name).shapes[1:]) == [(4, 1600), (4, 3200)]
    assert report.corpus.model_record(name)["sample_rate"] == 16_000


def test_errors_name_the_module_and_the_clip(theirs, corpus):
    report = extract(corpus, f"{theirs}:broken", progress=False)
    assert report.n_embedded == 6
    said = dict(zip(report.skipped["clip"], report.skipped["reason"], strict=True))
    assert set(said) == {"c6", "c7"}
    assert all(f"{theirs}:broken: ValueError: too loud for me" in one for one in said.values())
    with pytest.raises(ModelError, match=rf"{theirs}:always: KeyError: 'weights'"):
        extract(corpus, f"{theirs}:always", progress=False)


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("missing", ArgumentError, "cannot be imported .*package.module:Name"),
        ("nothing", ArgumentError, "neither a callable nor with a method 'embed'"),
        ("number", ModelError, r"expected numbers of shape \(frames, \), found float64 of \(\)"),
        ("flat", ModelError, r"expected numbers of shape \(frames, 5\), found float32 of \(5,\)"),
    ],
)
def test_what_is_no_embedding_is_refused(theirs, name, error, words):
    with pytest.raises(error, match=rf"{theirs}:{name}.*{words}"):
        load(f"{theirs}:{name}")


def test_vectors_of_two_lengths_are_refused(theirs):
    embedding = load(f"{theirs}:ragged")
    with pytest.raises(ModelError, match=r"shape \(frames, 441\), found float64 of \(1, 44\)"):
        embedding.embed(np.zeros(44_100), 44_100)


def test_no_module_and_no_model(theirs):
    with pytest.raises(ArgumentError, match="no_such_module"):
        load("no_such_module:Name")
    with pytest.raises(ArgumentError, match="takes no model"):
        load(f"{theirs}:levels", model="weights")
