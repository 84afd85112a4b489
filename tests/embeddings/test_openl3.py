"""OpenL3: agreement with openl3's own code, the weight file in all its forms."""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.metadata
import itertools
import json
import threading
import tracemalloc
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import numpy as np
import pytest

from biasmir_utils.datasets import DATASETS
from biasmir_utils.embeddings import load, read_audio
from biasmir_utils.errors import ArgumentError, AudioError, DownloadError, ModelError

pytest.importorskip("tensorflow")

MODULE = "biasmir_utils.embeddings.openl3"
FILE_NAME = "openl3_audio_mel256_music-v0_4_0.h5.gz"
RATE = 48_000
TOLERANCE = 1e-4
# What openl3's own code was run on, with hops of 0.1 and 0.5 s (the OpenMIC clip with 0.5).
CASES = [
    (clip, hop)
    for clip in (
        "chirp_mono.wav",
        "chirp_stereo.wav",
        "chirp_44k.wav",
        "chirp_1s.wav",
        "silence.wav",
        "short.wav",
        "000046_3840.ogg",
    )
    for hop in (0.1, 0.5)
    if (clip, hop) != ("000046_3840.ogg", 0.1)
]


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


@pytest.fixture(scope="module")
def front_end(openl3):
    return lambda hop=0.5: openl3(hop).front_end


def loaded_as(path, expected):
    """A weight file that gives what the expected network gives."""
    found, clip = load("openl3", path), np.ones(4_800)
    np.testing.assert_array_equal(found.embed(clip, RATE), expected.embed(clip, RATE))
    return found


def difference(found, expected) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


# Agreement


def test_all_expected_values_are_compared(shared):
    with np.load(shared / "models" / "openl3" / "expected.npz", allow_pickle=False) as expected:
        assert set(expected) == {f"{Path(clip).stem}_hop{hop}" for clip, hop in CASES}


@pytest.mark.parametrize(("clip", "hop"), CASES)
def test_agrees_with_openl3s_own_code(openl3, shared, clip, hop):
    with np.load(shared / "models" / "openl3" / "expected.npz", allow_pickle=False) as file:
        expected = file[f"{Path(clip).stem}_hop{hop}"]
    found = openl3(hop).embed(*read_audio(shared / "audio" / clip))
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    assert difference(found, expected) < TOLERANCE


def test_a_clip_without_samples_is_an_error(openl3, shared):
    with pytest.raises(AudioError, match=r"empty\.wav.*no samples"):
        read_audio(shared / "audio" / "empty.wav")
    with pytest.raises(AudioError, match="no samples"):
        openl3().embed(np.zeros(0), RATE)


def test_clips_in_a_batch_are_as_alone(openl3):
    rng = np.random.default_rng(0)
    network = openl3()
    # 9 windows: not a multiple of what goes through the network in one call.
    clips = [network.front_end(rng.normal(0, 0.1, n), RATE) for n in (RATE // 3, 4 * RATE, 100)]
    assert [len(clip) for clip in clips] == [1, 8, 1]
    together = network.run(clips)
    for clip, rows in zip(clips, together, strict=True):
        np.testing.assert_allclose(rows, network.run([clip])[0], rtol=0, atol=1e-4)
    assert network.run([]) == []


# The front end


def test_a_clip_with_no_sample_at_48_khz_is_too_short(front_end, openl3):
    with pytest.raises(AudioError, match="too short"):
        front_end()(np.ones(1), 192_000)
    with pytest.raises(AudioError, match="too short"):
        front_end()(np.ones(1), 96_000)
    assert openl3().embed(np.ones(2), 96_000).shape == (1, 512)


@pytest.mark.parametrize("hop", [0, -0.5, float("nan"), float("inf"), 1e-6])
def test_a_hop_that_is_no_hop(weight_file, hop):
    with pytest.raises(ArgumentError, match="hop: expected seconds"):
        load("openl3", weight_file, hop=hop)


def test_a_long_clip_takes_little_more_memory_than_its_sound(front_end):
    mono = np.random.default_rng(0).normal(0, 0.1, 360 * RATE)  # 3,600 windows of 0.2 MB each
    tracemalloc.start()
    try:
        features = front_end(0.1)(mono, RATE)
        n = sum(len(block) for block in itertools.islice(front_end(0.1).blocks(features), 3))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert n == 48
    assert peak < 3 * mono.nbytes < 3600 * 256 * 199 * 4


def test_long_and_short_clips_through_the_network_together(openl3, monkeypatch):
    rng = np.random.default_rng(2)
    network = openl3()
    clips = [rng.normal(0, 0.1, n) for n in (RATE, 6 * RATE, RATE // 2)]
    at_once = network.run([network.front_end(clip, RATE) for clip in clips])
    monkeypatch.setattr(f"{MODULE}._MOST_WINDOWS", 4)
    inputs = [network.front_end(clip, RATE) for clip in clips]
    assert [array.ndim for array in inputs] == [3, 1, 3]
    for found, expected in zip(network.run(inputs), at_once, strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


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
    assert record["hop"] == 0.1
    assert record["window"] == 1.0
    assert record["dimension"] == 512
    assert record["source"] == "local weight file openl3_audio_mel256_music.h5.gz"
    assert record["sums"] == {"h5 sha256": hashlib.sha256(unpacked).hexdigest()}
    assert record["file"] == {
        "name": weight_file.name,
        "sha256": hashlib.sha256(weight_file.read_bytes()).hexdigest(),
        "official": False,
    }
    assert record["parameters"]["centre"] is True
    assert record["parameters"]["hop_samples"] == 4_800
    assert "32 x 24" in record["parameters"]["pooling"]
    assert "resampy" in record["parameters"]["resampler"]
    assert {"tensorflow", "librosa", "resampy"} <= set(record["versions"])
    assert json.loads(json.dumps(record)) == record
    assert record["parameters"] != openl3().record["parameters"]


def test_packed_or_not_it_is_the_same_source(openl3, h5_file):
    plain = load("openl3", model=h5_file)
    assert plain.record["source"] == "local weight file unpacked.h5"
    for key in ("sums", "parameters", "hop"):
        assert plain.record[key] == openl3().record[key]


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
    return target


@pytest.mark.parametrize(("place", "shift"), [("/", 57), ("model_weights", 0)])
def test_groups_elsewhere_and_other_suffixes(h5_file, openl3, tmp_path, place, shift):
    copy = rewrite(h5_file, tmp_path / "copy.h5", place=place, shift=shift)
    found = loaded_as(copy, openl3()).record["sums"]
    assert found == {"h5 sha256": hashlib.sha256(copy.read_bytes()).hexdigest()}
    assert found != openl3().record["sums"]


def test_a_configuration_in_the_file_is_never_looked_at(h5_file, openl3, tmp_path):
    copy = rewrite(h5_file, tmp_path / "copy.h5", place="model_weights")
    code = {"class_name": "Lambda", "config": {"function": ["gASVfake", None, None]}}
    with h5py.File(copy, "a") as file:
        file.attrs["model_config"] = json.dumps(
            {"class_name": "Sequential", "config": {"layers": [code]}}
        )
        file.attrs["training_config"] = "{ not even JSON"
    loaded_as(copy, openl3())


def _without_order(file):
    del file.attrs["layer_names"]


def _with_a_layer_less(file):
    file.attrs["layer_names"] = [n for n in file.attrs["layer_names"] if n != "conv2d_6"]


def _replace(file, name, array):
    del file[name]
    file[name] = array


def _with_another_shape(file):
    _replace(file, "conv2d_2/conv2d_2/kernel:0", np.zeros((3, 3, 64, 127), np.float32))


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
        (lambda h5, gz: gz[:-20_000], "end-of-stream"),
        (lambda h5, gz: flipped(gz), "."),
        (lambda h5, gz: h5[: len(h5) // 3], "truncated"),
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


def test_a_model_that_is_not_there(tmp_path):
    with pytest.raises(ModelError, match=r"none\.h5: no such file"):
        load("openl3", tmp_path / "none.h5")
    with pytest.raises(ModelError, match="no such file"):
        load("openl3", tmp_path)


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
    with pytest.raises(ModelError, match="biasmir fetch models") as caught:
        load("openl3")
    assert str(data) in str(caught.value)
    assert "--download" in str(caught.value)


@pytest.fixture
def official(weight_file, unpacked, monkeypatch):
    """The weight file at hand, as the official one."""
    models = DATASETS["models"]
    (file,) = [file for file in models.files if file.name == FILE_NAME]
    sums = [hashlib.sha256(content).hexdigest() for content in (weight_file.read_bytes(), unpacked)]
    file = replace(file, sum=f"sha256:{sums[0]}")
    monkeypatch.setitem(DATASETS, "models", replace(models, files=(file,)))
    monkeypatch.setattr(f"{MODULE}._OFFICIAL_SUM", sums[1])


def test_a_fetched_file_must_be_the_official_one(data, unpacked):
    fetched = data / "models" / "openl3" / FILE_NAME.removesuffix(".gz")
    fetched.parent.mkdir(parents=True)
    fetched.write_bytes(unpacked)
    with pytest.raises(ModelError, match=r"not the official weight file.*given explicitly"):
        load("openl3")


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A mirror on this machine: its folder, and the names that were asked for."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path.lstrip("/"))
            super().do_GET()

        def log_message(self, *args):
            pass

    folder = tmp_path / "mirror"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        monkeypatch.setenv("BIASMIR_BASE_URL", f"http://127.0.0.1:{running.server_port}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield folder, asked
        running.shutdown()
        thread.join()


def test_a_download_with_another_sum_is_refused(data, server, weight_file):
    folder, asked = server
    (folder / FILE_NAME).write_bytes(weight_file.read_bytes())
    with pytest.raises(DownloadError, match="not the file that was expected"):
        load("openl3", download=True)
    assert set(asked) == {FILE_NAME}
    assert not list(data.rglob("*.h5"))


def test_download(data, server, weight_file, unpacked, official):
    """The whole way of the official file, with the sums of this one in the table."""
    folder, asked = server
    (folder / FILE_NAME).write_bytes(weight_file.read_bytes())
    record = load("openl3", download=True).record
    assert record["sums"] == {"h5 sha256": hashlib.sha256(unpacked).hexdigest()}
    assert record["source"] == f"official weights {FILE_NAME}"
    assert load("openl3", download=True).record["file"]["official"] is True
    assert asked == [FILE_NAME]
