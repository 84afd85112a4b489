"""OpenL3: agreement with openl3's own code, the weight file in all its forms."""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.metadata
import itertools
import json
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
from faulty_server import FaultyServer
from stand_in import expect

from biasmir_utils.embeddings import load, read_audio
from biasmir_utils.errors import ArgumentError, AudioError, DownloadError, ModelError

pytest.importorskip("tensorflow")

MODULE = "biasmir_utils.embeddings.openl3"
FILE_NAME = "openl3_audio_mel256_music-v0_4_0.h5.gz"
RATE = 48_000
# What openl3's own code was run on, with hops of 0.1 and 0.5 s (the OpenMIC clip with 0.5).
CLIPS = "chirp_mono.wav chirp_stereo.wav chirp_44k.wav chirp_1s.wav silence.wav short.wav"
CASES = [*itertools.product(CLIPS.split(), (0.1, 0.5)), ("000046_3840.ogg", 0.5)]


@pytest.fixture(scope="module")
def weight_file(shared) -> Path:
    return shared / "models" / "openl3" / "openl3_audio_mel256_music.h5.gz"


@pytest.fixture(scope="module")
def unpacked(weight_file) -> bytes:
    return gzip.decompress(weight_file.read_bytes())


@pytest.fixture(scope="module")
def h5_file(unpacked, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "unpacked.h5"
    path.write_bytes(unpacked)
    return path


@pytest.fixture(scope="module")
def openl3(weight_file):
    """A function from a hop to the network, loaded once for each."""
    return functools.cache(lambda hop=0.5: load("openl3", model=weight_file, hop=hop))


# Agreement


@pytest.mark.parametrize(("clip", "hop"), CASES)
def test_agrees_with_openl3s_own_code(openl3, shared, clip, hop):
    with np.load(shared / "models" / "openl3" / "expected.npz", allow_pickle=False) as file:
        expected = file[f"{Path(clip).stem}_hop{hop}"]
    found = openl3(hop).embed(*read_audio(shared / "audio" / clip))
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


# The front end


def test_a_clip_with_no_sample_at_48_khz_is_too_short(openl3):
    for n, rate, told in ((0, RATE, "no samples"), (1, 192_000, "short"), (1, 96_000, "short")):
        with pytest.raises(AudioError, match=told):
            openl3().front_end(np.ones(n), rate)
    assert openl3().embed(np.ones(2), 96_000).shape == (1, 512)


@pytest.mark.parametrize("hop", [0, -0.5, float("nan"), float("inf"), 1e-6, "half"])
def test_a_hop_that_is_no_hop(weight_file, hop):
    with pytest.raises(ArgumentError, match="hop: expected seconds"):
        load("openl3", weight_file, hop=hop)


def test_a_long_clip_takes_little_more_memory_than_its_sound(openl3):
    mono = np.random.default_rng(0).normal(0, 0.1, 360 * RATE)  # 3,600 windows of 0.2 MB each
    tracemalloc.start()
    try:
        features = openl3(0.1).front_end(mono, RATE)
        n = sum(len(block) for block in itertools.islice(openl3(0.1).front_end.blocks(features), 3))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert n == 48
    assert peak < 3 * mono.nbytes < 3600 * 256 * 199 * 4


def test_long_and_short_clips_through_the_network_together(openl3, monkeypatch):
    rng = np.random.default_rng(2)
    network = openl3()
    clips = [rng.normal(0, 0.1, n) for n in (RATE, 6 * RATE, 100)]
    alone = [network.run([network.front_end(clip, RATE)])[0] for clip in clips]
    # Of 14 windows, not a multiple of what goes through in one call; then some in pieces.
    for most, dimensions in ((None, [3, 3, 3]), (4, [3, 1, 3])):
        if most:
            monkeypatch.setattr(f"{MODULE}._MOST_WINDOWS", most)
        inputs = [network.front_end(clip, RATE) for clip in clips]
        assert [array.ndim for array in inputs] == dimensions
        for found, expected in zip(network.run(inputs), alone, strict=True):
            assert found.shape == expected.shape
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    assert network.run([]) == []


def test_an_old_resampy_is_refused_with_the_reason(monkeypatch, weight_file):
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "0.2.2" if name == "resampy" else real(name)
    )
    with pytest.raises(ModelError, match=r"resampy 0\.2\.2 is installed.*kaiser_best changed"):
        load("openl3", weight_file)


# The record


def test_record(openl3, weight_file, unpacked):
    record = openl3(0.1).record
    assert (record["hop"], record["window"], record["dimension"]) == (0.1, 1.0, 512)
    assert record["source"] == "local weight file openl3_audio_mel256_music.h5.gz"
    assert record["sums"] == {"h5 sha256": hashlib.sha256(unpacked).hexdigest()}
    packed_sum = hashlib.sha256(weight_file.read_bytes()).hexdigest()
    assert record["file"] == {"name": weight_file.name, "sha256": packed_sum, "official": False}
    assert record["parameters"]["hop_samples"] == 4_800
    assert {"tensorflow", "librosa", "resampy"} <= set(record["versions"])
    assert json.loads(json.dumps(record)) == record
    assert record["parameters"] != openl3().record["parameters"]


# The weight file


def rewrite(source: Path, target: Path, *, place: str = "/", shift: int = 0) -> Path:
    """Copy a weight file with its groups elsewhere and other numbers in the layers' names."""

    def renamed(name: str) -> str:
        stem, _, number = name.rpartition("_")
        if stem and number.isdigit():
            return f"{stem}_{int(number) + shift}"
        return f"{name}_{shift}" if shift else name

    with h5py.File(source) as old, h5py.File(target, "w") as new:
        root = new.require_group(place)
        root.attrs["layer_names"] = [renamed(name).encode() for name in old.attrs["layer_names"]]
        for name in old.attrs["layer_names"]:
            group = root.create_group(renamed(name))
            weights = []
            for weight in old[name].attrs["weight_names"]:
                layer, _, kind = weight.partition("/")
                weights.append(f"{renamed(layer)}/{kind}")
                group[weights[-1]] = old[name][weight][()]
            group.attrs["weight_names"] = np.array(weights, dtype="S")
        # A configuration can carry code, and is never looked at.
        code = {"class_name": "Lambda", "config": {"function": ["gASVfake", None, None]}}
        layers = {"class_name": "Sequential", "config": {"layers": [code]}}
        new.attrs["model_config"] = json.dumps(layers)
        new.attrs["training_config"] = "{ not even JSON"
    return target


@pytest.mark.parametrize(("place", "shift"), [("/", 0), ("/", 57), ("model_weights", 0)])
def test_weights_in_all_layouts_of_keras_2(h5_file, openl3, tmp_path, place, shift):
    copy = rewrite(h5_file, tmp_path / "copy.h5", place=place, shift=shift)
    found, clip = load("openl3", copy), np.ones(4_800)
    np.testing.assert_array_equal(found.embed(clip, RATE), openl3().embed(clip, RATE))
    assert found.record["sums"] == {"h5 sha256": hashlib.sha256(copy.read_bytes()).hexdigest()}
    assert found.record["parameters"] == openl3().record["parameters"]


def _without_order(file):
    del file.attrs["layer_names"]


def _without_names(file):
    del file["conv2d_1"].attrs["weight_names"]


def _with_a_layer_less(file):
    file.attrs["layer_names"] = [n for n in file.attrs["layer_names"] if n != "conv2d_6"]


def _with_another_shape(file):
    del file["conv2d_2/conv2d_2/kernel:0"]
    file["conv2d_2/conv2d_2/kernel:0"] = np.zeros((3, 3, 64, 127), np.float32)


def _with_nan(file):
    file["conv2d_1/conv2d_1/bias:0"][3] = np.nan


def _with_a_negative_variance(file):
    file["batch_normalization_2/batch_normalization_2/moving_variance:0"][0] = -1.0


def _with_a_link_to_another_file(file):
    del file["conv2d_3"]
    file["conv2d_3"] = h5py.ExternalLink("other.h5", "/conv2d_3")


def _with_numbers_in_another_file(file):
    name = "conv2d/conv2d/bias:0"
    del file[name]
    file.create_dataset(name, (64,), np.float32, external=[("other.raw", 0, 256)])


BROKEN = {
    _without_order: "lacks 'model_weights'",
    _without_names: "'/conv2d_1' lacks the attribute 'weight_names'",
    _with_a_layer_less: "'batch_normalization_7': expected arrays of",
    _with_another_shape: r"'conv2d_2'.*found \[\(3, 3, 64, 127\), \(128,\)\]",
    _with_nan: "'conv2d_1': holds NaN",
    _with_a_negative_variance: "variance below zero",
    _with_a_link_to_another_file: "'/' lacks 'conv2d_3'",
    _with_numbers_in_another_file: "numbers lie in another file",
}


@pytest.mark.parametrize("breakage", BROKEN, ids=lambda f: f.__name__.strip("_"))
def test_weights_of_another_network(h5_file, tmp_path, breakage):
    copy = rewrite(h5_file, tmp_path / "copy.h5")
    with h5py.File(copy, "a") as file:
        breakage(file)
    with pytest.raises(ModelError, match=BROKEN[breakage]) as caught:
        load("openl3", copy)
    assert str(copy) in str(caught.value)
    assert "biasmir fetch models" in str(caught.value)


def flipped(stored):
    return stored[:9_000_000] + bytes([stored[9_000_000] ^ 0xFF]) + stored[9_000_001:]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda h5, gz: gz[: len(gz) // 1_000], "end-of-stream"),
        (lambda h5, gz: flipped(gz), "."),
        (lambda h5, gz: h5[:-20_000], "truncated"),
        (lambda h5, gz: b"<html>404: Not Found</html>", "signature"),
        (lambda h5, gz: gzip.compress(b"<html>404: Not Found</html>"), "signature"),
        (lambda h5, gz: gzip.compress(bytes(100_000_001)), "more than 100 MB"),
        (lambda h5, gz: bytes(100_000_001), "more than 100 MB"),
    ],
)
def test_files_that_are_damaged_or_something_else(weight_file, unpacked, tmp_path, spoil, told):
    broken = tmp_path / "broken.h5"
    broken.write_bytes(spoil(unpacked, weight_file.read_bytes()))
    with pytest.raises(ModelError, match=rf"broken\.h5: no weight file of OpenL3.*{told}"):
        load("openl3", broken)


def test_keras_on_another_backend(weight_file, monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(tf.keras.backend, "backend", lambda: "jax")
    with pytest.raises(ModelError, match=r"Keras runs on jax here.*KERAS_BACKEND"):
        load("openl3", weight_file).embed(np.zeros(480), 48_000)


# The official file: fetched, checked, recorded


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """An empty folder in which fetched models are looked for."""
    monkeypatch.setenv("BIASMIR_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("BIASMIR_BASE_URL", raising=False)
    return tmp_path / "data"


def test_without_a_model_the_error_says_how_to_get_it(data):
    with pytest.raises(ModelError, match=rf"{data}.*biasmir fetch models.*--download"):
        load("openl3")
    for absent in (data / "none.h5", data.parent):
        with pytest.raises(ModelError, match=f"{absent}: no such file"):
            load("openl3", absent)


def test_a_fetched_file_must_be_the_official_one(data, unpacked):
    fetched = data / "models" / "openl3" / FILE_NAME.removesuffix(".gz")
    fetched.parent.mkdir(parents=True)
    fetched.write_bytes(unpacked)
    with pytest.raises(ModelError, match=r"not the official weight file.*given explicitly"):
        load("openl3")


@pytest.fixture
def asked(weight_file, monkeypatch):
    """What is asked of a mirror on this machine, which has the weight file."""
    with FaultyServer() as server:
        monkeypatch.setenv("BIASMIR_BASE_URL", server.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        server.add(f"/{FILE_NAME}", weight_file.read_bytes())
        yield server.asked


def test_a_download_with_another_sum_is_refused(data, asked):
    with pytest.raises(DownloadError, match="not the file that was expected"):
        load("openl3", download=True)
    assert asked
    assert not list(data.rglob("*.h5"))


def test_download(data, asked, weight_file, unpacked, monkeypatch):
    """The whole way of the official file, with the sums of this one in the table."""
    expect({FILE_NAME: weight_file.read_bytes()}, monkeypatch)
    h5_sum = hashlib.sha256(unpacked).hexdigest()
    monkeypatch.setattr(f"{MODULE}._OFFICIAL_SUM", h5_sum)
    record = load("openl3", download=True).record
    assert record["sums"] == {"h5 sha256": h5_sum}
    assert record["source"] == f"official weights {FILE_NAME}"
    n_asked = len(asked)
    assert load("openl3", download=True).record["file"]["official"] is True
    assert len(asked) == n_asked
