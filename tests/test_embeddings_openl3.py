"""OpenL3: agreement with openl3's own code, the weight file in all its forms, the package."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import importlib.metadata
import inspect
import itertools
import json
import pickle
import sys
import textwrap
import threading
import tracemalloc
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from biasmir_utils.corpus import Corpus, CorpusWriter, Target
from biasmir_utils.datasets import DATASETS
from biasmir_utils.embeddings import (
    available,
    extract,
    load,
    openl3_frontend,
    openl3_weights,
    read_audio,
)
from biasmir_utils.embeddings.base import identity
from biasmir_utils.embeddings.openl3 import OpenL3
from biasmir_utils.embeddings.openl3_frontend import (
    MelWindows,
    count_windows,
    hop_in_samples,
    resampler_record,
)
from biasmir_utils.embeddings.openl3_weights import FILE_NAME, expected_shapes, read_weights
from biasmir_utils.errors import ArgumentError, AudioError, DownloadError, ModelError
from biasmir_utils.files import locked

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
def openl3(weight_file) -> dict[float, OpenL3]:
    """The network with each hop of the expected values."""
    return {hop: load("openl3", model=weight_file, hop=hop) for hop in (0.1, 0.5)}


def front_end(hop: float = 0.5) -> MelWindows:
    return MelWindows(
        RATE,
        shortest=1 / RATE,
        resampler=resampler_record(),
        hop_samples=hop_in_samples(hop),
    )


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
    found = openl3[hop].embed(*read_audio(shared / "audio" / clip))
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    assert difference(found, expected) < TOLERANCE


def test_a_clip_without_samples_is_an_error(openl3, shared):
    with pytest.raises(AudioError, match=r"empty\.wav.*no samples"):
        read_audio(shared / "audio" / "empty.wav")
    with pytest.raises(AudioError, match="no samples"):
        openl3[0.5].embed(np.zeros(0), RATE)


def test_clips_in_a_batch_are_as_alone(openl3):
    rng = np.random.default_rng(0)
    network = openl3[0.5]
    # 9 windows: not a multiple of what goes through the network in one call.
    clips = [network.front_end(rng.normal(0, 0.1, n), RATE) for n in (RATE // 3, 4 * RATE, 100)]
    assert [len(clip) for clip in clips] == [1, 8, 1]
    together = network.run(clips)
    for clip, rows in zip(clips, together, strict=True):
        np.testing.assert_allclose(rows, network.run([clip])[0], rtol=0, atol=1e-4)
    assert network.run([]) == []


# The front end


def test_spectra_follow_the_definition_window_by_window(shared):
    """The vectorised front end against librosa's functions, called once for each window."""
    import librosa

    waveform, rate = read_audio(shared / "audio" / "chirp_stereo.wav")
    found = front_end(0.1)(waveform, rate)
    mono = waveform.astype(np.float64).mean(axis=1)
    padded = np.concatenate([np.zeros(24_000), mono, np.zeros(RATE)])
    assert len(found) == 16
    for number, spectrum in enumerate(found):
        window = padded[4_800 * number :][:RATE]
        mel = librosa.feature.melspectrogram(
            y=window, sr=RATE, n_fft=2048, hop_length=242, n_mels=256, power=1.0
        )
        level = librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=80.0)
        np.testing.assert_allclose(spectrum, level - level.max(), rtol=0, atol=1e-4)


def test_windows_see_nothing_of_each_other():
    """A loud window leaves the decibels of a soft one alone."""
    rng = np.random.default_rng(1)
    soft, loud = rng.normal(0, 1e-4, RATE), rng.normal(0, 0.5, RATE)
    alone = front_end(1.0)(soft, RATE)
    with_loud = front_end(1.0)(np.concatenate([soft, loud]), RATE)
    np.testing.assert_array_equal(alone[0], with_loud[0])
    assert with_loud.max() == 0.0
    assert with_loud.min() >= -80.0


@pytest.mark.parametrize("hop", [0.1, 0.25, 0.5, 1.0, 1.7])
@pytest.mark.parametrize("samples", [1, 23_999, 24_000, 24_001, 48_000, 96_000, 200_001])
def test_number_of_windows(hop, samples):
    beyond = max(0, samples + 24_000 - 48_000)
    expected = 1 + int(np.ceil(beyond / int(hop * RATE)))
    assert count_windows(samples, hop_in_samples(hop)) == expected
    assert front_end(hop)(np.ones(samples) * 0.1, RATE).shape == (expected, 256, 199)


@pytest.mark.parametrize("hop", [0.1, 0.5])
def test_the_last_sample_is_in_the_last_window(hop):
    click = np.zeros(100_000)
    click[-1] = 1.0
    spectra = front_end(hop)(click, RATE)
    # Silence has 0 dB everywhere, because each window's maximum is its reference.
    assert spectra[-1].min() < 0
    assert (spectra[0] == 0).all()


def test_single_precision_input_is_computed_in_double():
    rng = np.random.default_rng(2)
    stereo = rng.normal(0, 0.1, (44_100, 2)).astype(np.float32)
    single = front_end()(stereo, 44_100)
    double = front_end()(stereo.astype(np.float64), 44_100.0)
    np.testing.assert_array_equal(single, double)


def test_a_clip_with_no_sample_at_48_khz_is_too_short(openl3):
    with pytest.raises(AudioError, match="too short"):
        front_end()(np.ones(1), 192_000)
    with pytest.raises(AudioError, match="too short"):
        front_end()(np.ones(1), 96_000)
    assert openl3[0.5].embed(np.ones(2), 96_000).shape == (1, 512)


@pytest.mark.parametrize("hop", [0, -0.5, float("nan"), float("inf"), 1e-6, "0.5", None])
def test_a_hop_that_is_no_hop(hop):
    with pytest.raises(ArgumentError, match="hop: expected seconds"):
        hop_in_samples(hop)


@pytest.mark.parametrize("hop", [0.1, 0.5, 1.5])
@pytest.mark.parametrize("samples", [1, RATE // 2, 3 * RATE + 7, 8 * RATE])
def test_spectra_in_blocks_are_those_at_once(hop, samples, monkeypatch):
    mono = np.random.default_rng(0).normal(0, 0.1, samples)
    monkeypatch.setattr(openl3_frontend, "_WINDOWS_AT_ONCE", 3)
    whole = front_end(hop).features(mono)
    monkeypatch.setattr(openl3_frontend, "MOST_WINDOWS", 0)
    assert front_end(hop).features(mono) is mono
    blocks = list(front_end(hop).blocks(mono))
    np.testing.assert_array_equal(np.concatenate(blocks), whole)
    assert max(map(len, blocks)) <= 3
    assert [len(block) for block in front_end(hop).blocks(whole)] == [len(whole)]


def test_a_long_clip_takes_little_more_memory_than_its_sound():
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
    network = openl3[0.5]
    clips = [rng.normal(0, 0.1, n) for n in (RATE, 6 * RATE, RATE // 2)]
    at_once = network.run([network.front_end(clip, RATE) for clip in clips])
    monkeypatch.setattr(openl3_frontend, "MOST_WINDOWS", 4)
    inputs = [network.front_end(clip, RATE) for clip in clips]
    assert [array.ndim for array in inputs] == [3, 1, 3]
    for found, expected in zip(network.run(inputs), at_once, strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_the_front_end_goes_to_other_processes():
    original = front_end()
    assert pickle.loads(pickle.dumps(original)) == original


def test_an_old_resampy_is_refused_with_the_reason(monkeypatch, weight_file):
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "0.2.2" if name == "resampy" else real(name)
    )
    with pytest.raises(ModelError, match=r"resampy 0\.2\.2 is installed.*kaiser_best changed"):
        OpenL3(weight_file)
    # The package openl3 needs the old one; then the record names it.
    assert resampler_record(any_version=True) == "resampy 0.2.2 kaiser_best, float64"


# The record


def test_record(openl3, weight_file, unpacked):
    record = openl3[0.1].record
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
    assert identity(record) != identity(openl3[0.5].record)


def test_packed_or_not_it_is_the_same_source(openl3, h5_file):
    plain = load("openl3", model=h5_file)
    assert plain.record["source"] == "local weight file unpacked.h5"
    assert identity(plain.record) == identity(openl3[0.5].record)


def test_registry(openl3):
    assert "512-d" in available()["openl3"]
    assert openl3[0.5].name == "openl3"
    assert openl3[0.5].hop == 0.5
    with pytest.raises(ArgumentError, match="a hop of its own"):
        load("mfcc", hop=0.5)


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


def same_arrays(one, other) -> bool:
    return [[a.shape for a in layer] for layer in one.layers] == expected_shapes() and all(
        np.array_equal(a, b)
        for first, second in zip(one.layers, other.layers, strict=True)
        for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("place", ["/", "model_weights"])
@pytest.mark.parametrize("shift", [0, 1, 57])
def test_groups_elsewhere_and_other_suffixes(h5_file, weight_file, tmp_path, place, shift):
    copy = rewrite(h5_file, tmp_path / "copy.h5", place=place, shift=shift)
    found, expected = read_weights(copy), read_weights(weight_file)
    assert same_arrays(found, expected)
    assert found.h5_sum == hashlib.sha256(copy.read_bytes()).hexdigest() != expected.h5_sum


def test_a_configuration_in_the_file_is_never_looked_at(h5_file, weight_file, tmp_path):
    copy = rewrite(h5_file, tmp_path / "copy.h5", place="model_weights")
    code = {"class_name": "Lambda", "config": {"function": ["gASVfake", None, None]}}
    with h5py.File(copy, "a") as file:
        file.attrs["model_config"] = json.dumps(
            {"class_name": "Sequential", "config": {"layers": [code]}}
        )
        file.attrs["training_config"] = "{ not even JSON"
    assert same_arrays(read_weights(copy), read_weights(weight_file))


def _without_order(file):
    del file.attrs["layer_names"]


def _without_order_of_arrays(file):
    del file["conv2d_3"].attrs["weight_names"]


def _without_group(file):
    del file["conv2d_3"]


def _without_array(file):
    del file["conv2d_3/conv2d_3/bias:0"]


def _with_a_layer_less(file):
    file.attrs["layer_names"] = [n for n in file.attrs["layer_names"] if n != "conv2d_6"]


def _in_another_order(file):
    names = file.attrs["layer_names"].tolist()
    one, other = names.index("conv2d_2"), names.index("conv2d_4")
    names[one], names[other] = names[other], names[one]
    file.attrs["layer_names"] = names


def _replace(file, name, array):
    del file[name]
    file[name] = array


def _with_another_shape(file):
    _replace(file, "conv2d_2/conv2d_2/kernel:0", np.zeros((3, 3, 64, 127), np.float32))


def _with_a_group_for_an_array(file):
    del file["conv2d_2/conv2d_2/kernel:0"]
    file.create_group("conv2d_2/conv2d_2/kernel:0")


def _with_whole_numbers(file):
    _replace(file, "conv2d/conv2d/bias:0", np.zeros(64, np.int32))


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
    _without_order: "lacks the attribute 'layer_names'",
    _without_order_of_arrays: "'/conv2d_3' lacks the attribute 'weight_names'",
    _without_group: "'/' lacks 'conv2d_3'",
    _without_array: r"'/conv2d_3' lacks 'conv2d_3/bias:0'",
    _with_a_layer_less: "expected 16 layers with weights, found 15",
    _in_another_order: "layer 6 of 16 with weights, 'conv2d_4': expected arrays of",
    _with_another_shape: r"layer 6 of 16.*'conv2d_2'.*found \[\(3, 3, 64, 127\), \(128,\)\]",
    _with_a_group_for_an_array: "found .*a group",
    _with_whole_numbers: "'conv2d': expected floats, found int32",
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
        read_weights(copy)
    assert str(copy) in str(caught.value)
    assert "biasmir fetch models" in str(caught.value)


@pytest.mark.parametrize("kept", [0.001, 0.3, 0.999])
def test_a_gz_that_is_cut_off(weight_file, tmp_path, kept):
    stored = weight_file.read_bytes()
    broken = tmp_path / "cut.h5.gz"
    broken.write_bytes(stored[: int(kept * len(stored))])
    with pytest.raises(ModelError, match=r"cut\.h5\.gz: damaged gzip file"):
        OpenL3(broken)


def test_a_gz_with_a_flipped_byte(weight_file, tmp_path):
    stored = bytearray(weight_file.read_bytes())
    stored[len(stored) // 2] ^= 0xFF
    broken = tmp_path / "flipped.h5.gz"
    broken.write_bytes(stored)
    with pytest.raises(ModelError, match="damaged gzip file"):
        OpenL3(broken)


@pytest.mark.parametrize("kept", [0.0001, 0.3, 0.999])
def test_an_h5_that_is_cut_off(unpacked, tmp_path, kept):
    broken = tmp_path / "cut.h5"
    broken.write_bytes(unpacked[: int(kept * len(unpacked))])
    with pytest.raises(ModelError, match=r"cut\.h5: damaged HDF5 file"):
        OpenL3(broken)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
def test_what_is_no_hdf5(tmp_path, pack):
    other = tmp_path / "page.h5"
    other.write_bytes(pack(b"<html>404: Not Found</html>"))
    with pytest.raises(ModelError, match=r"page\.h5: not an HDF5 file"):
        OpenL3(other)


def test_a_file_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(openl3_weights, "LARGEST", 10**6)
    bomb, large = tmp_path / "bomb.h5.gz", tmp_path / "large.h5"
    bomb.write_bytes(gzip.compress(bytes(2 * 10**6)))
    large.write_bytes(bytes(2 * 10**6))
    with pytest.raises(ModelError, match="unpacks to more than 1 MB"):
        OpenL3(bomb)
    with pytest.raises(ModelError, match="too large"):
        OpenL3(large)


def test_a_model_that_is_not_there(tmp_path):
    with pytest.raises(ModelError, match=r"none\.h5: no such file"):
        OpenL3(tmp_path / "none.h5")
    with pytest.raises(ModelError, match="no such file"):
        OpenL3(tmp_path)


def test_keras_on_another_backend(weight_file, monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(tf.keras.backend, "backend", lambda: "jax")
    with pytest.raises(ModelError, match=r"Keras runs on jax here.*KERAS_BACKEND"):
        OpenL3(weight_file).embed(np.zeros(480), 48_000)


# The official file: fetched, checked, recorded


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """An empty folder in which fetched models are looked for."""
    monkeypatch.setenv("BIASMIR_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("BIASMIR_BASE_URL", raising=False)
    return tmp_path / "data"


def test_the_network_is_built_when_it_is_needed(weight_file):
    embedding = load("openl3", weight_file)
    assert embedding.record["dimension"] == 512
    assert "_network" not in vars(embedding)


def test_a_clip_is_looked_through_twice_at_most(openl3, monkeypatch):
    """For values that are not finite: as it is read, and as anybody gives it to the front end."""
    looked = []
    plain = np.isfinite
    monkeypatch.setattr(np, "isfinite", lambda x: looked.append(np.size(x)) or plain(x))
    openl3[0.5].front_end(np.zeros(1_000), 48_000)
    assert looked.count(1_000) == 1


@pytest.mark.parametrize("hop", [np.float32(0.5), np.float64(0.1), np.int64(1), Fraction(1, 2)])
def test_a_hop_is_any_real_number(hop):
    assert hop_in_samples(hop) == round(float(hop) * 48_000)


def test_without_a_model_the_error_says_how_to_get_it(data):
    with pytest.raises(ModelError, match="biasmir fetch models") as caught:
        load("openl3")
    assert str(data) in str(caught.value)
    assert "--download" in str(caught.value)


def test_a_fetched_file_must_be_the_official_one(data, unpacked, monkeypatch):
    fetched = data / "models" / "openl3" / FILE_NAME.removesuffix(".gz")
    fetched.parent.mkdir(parents=True)
    fetched.write_bytes(unpacked)
    with pytest.raises(ModelError, match=r"not the official weight file.*given explicitly"):
        load("openl3")
    monkeypatch.setattr(openl3_weights, "H5_SHA256", hashlib.sha256(unpacked).hexdigest())
    record = load("openl3").record
    assert record["source"] == f"official weights {FILE_NAME}"
    assert record["file"]["official"] is True


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


def test_download(data, server, weight_file, unpacked, tmp_path, monkeypatch):
    """The whole way of the official file, with the sums of this one in the table."""
    folder, asked = server
    (folder / FILE_NAME).write_bytes(weight_file.read_bytes())
    packed_sum = hashlib.sha256(weight_file.read_bytes()).hexdigest()
    h5_sum = hashlib.sha256(unpacked).hexdigest()
    models = DATASETS["models"]
    (file,) = [file for file in models.files if file.name == FILE_NAME]
    file = replace(file, sum=f"sha256:{packed_sum}", unpacked_sum=f"sha256:{h5_sum}")
    monkeypatch.setitem(DATASETS, "models", replace(models, files=(file,)))
    monkeypatch.setattr(openl3_weights, "H5_SHA256", h5_sum)
    assert load("openl3", download=True).record["sums"] == {"h5 sha256": h5_sum}
    assert asked == [FILE_NAME]
    assert load("openl3", download=True).record["file"]["official"] is True
    assert asked == [FILE_NAME]


def test_a_worker_waits_for_another_that_downloads(data, server, weight_file, monkeypatch, capsys):
    folder, asked = server
    (folder / FILE_NAME).write_bytes(weight_file.read_bytes())
    held = ExitStack()
    held.enter_context(locked(data / "downloads" / ".lock"))
    # The other one is done.
    monkeypatch.setattr("biasmir_utils.files.time.sleep", lambda seconds: held.close())
    with pytest.raises(DownloadError, match="not the file that was expected"):
        load("openl3", download=True)
    assert "another process fetches here; waiting for it" in capsys.readouterr().out
    assert set(asked) == {FILE_NAME}


# In a corpus


def test_extraction(openl3, shared, tmp_path):
    names = ["chirp_1s", "short", "empty"]
    folder = tmp_path / "corpus"
    audio = folder / "audio"
    audio.mkdir(parents=True)
    for name in names:
        (audio / f"{name}.wav").write_bytes((shared / "audio" / f"{name}.wav").read_bytes())
    writer = CorpusWriter(
        folder,
        name="sounds",
        title="Three sounds",
        datasets=["all"],
        groups=["any"],
        targets=[Target("chirp", "label")],
        provenance={},
        licences=[],
    )
    writer.write(
        pd.DataFrame(
            {
                "dataset": "all",
                "clip": names,
                "split": "train",
                "group": "any",
                "audio": [f"audio/{name}.wav" for name in names],
                "chirp": [1.0, 0.0, 0.0],
            }
        )
    )
    report = extract(folder, openl3[0.5], progress=False)
    assert report.n_embedded == 2
    assert report.skipped["clip"].tolist() == ["empty"]
    corpus = Corpus.load(folder)
    expected = openl3[0.5].embed(*read_audio(audio / "chirp_1s.wav"))
    np.testing.assert_allclose(corpus.frames("openl3", "all", "chirp_1s"), expected, atol=1e-4)
    assert corpus.model_record("openl3")["parameters"]["hop_samples"] == 24_000


# The package

DOCUMENTED = {
    "get_audio_embedding": "(audio, sr, model=None, input_repr=None, content_type='music', "
    "embedding_size=6144, center=True, hop_size=0.1, batch_size=32, frontend='kapre', "
    "verbose=True)",
    "models.load_audio_embedding_model": "(input_repr, content_type, embedding_size, "
    "frontend='kapre')",
    "models.get_audio_embedding_model_path": "(input_repr, content_type)",
}
"""Signatures of openl3 0.4.2, as its reference documents them."""


@pytest.fixture
def stand_in(tmp_path, monkeypatch, weight_file):
    """A module that takes the calls of the package, which cannot be installed here."""
    site = tmp_path / "site"
    (site / "openl3").mkdir(parents=True)
    (site / "openl3-0.4.2.dist-info").mkdir()
    metadata = site / "openl3-0.4.2.dist-info" / "METADATA"
    metadata.write_text("Metadata-Version: 2.1\nName: openl3\nVersion: 0.4.2\n")
    code = {
        "__init__": f"""
            import numpy as np
            from . import models
            from .models import calls

            def get_audio_embedding{DOCUMENTED["get_audio_embedding"]}:
                calls.append(("get_audio_embedding", dict(locals())))
                hop = int(hop_size * 48_000)
                counts = [1 + -(-max(0, len(clip) - 24_000) // hop) for clip in audio]
                rows = [np.full((n, 512), i, np.float32) for i, n in enumerate(counts)]
                return rows, [np.arange(n) * hop_size for n in counts]
            """,
        "models": f"""
            calls = []

            def load_audio_embedding_model{DOCUMENTED["models.load_audio_embedding_model"]}:
                calls.append(("load_audio_embedding_model", dict(locals())))
                return "the model"

            def get_audio_embedding_model_path{DOCUMENTED["models.get_audio_embedding_model_path"]}:
                return {str(weight_file)!r}
            """,
    }
    for name, text in code.items():
        (site / "openl3" / f"{name}.py").write_text(textwrap.dedent(text))

    def forget():
        for name in [name for name in sys.modules if name.split(".")[0] == "openl3"]:
            del sys.modules[name]
        importlib.invalidate_caches()

    forget()
    monkeypatch.syspath_prepend(site)
    yield importlib.import_module("openl3")
    forget()


def test_the_stand_in_has_the_documented_signatures(stand_in):
    for name, signature in DOCUMENTED.items():
        function = stand_in
        for part in name.split("."):
            function = getattr(function, part)
        assert str(inspect.signature(function)) == signature


def test_the_package_is_called_as_it_documents(stand_in, weight_file):
    package = load("openl3", model="openl3-package", hop=0.25)
    stereo = np.stack([np.linspace(-1, 1, RATE), np.zeros(RATE)], axis=1)
    short = np.ones(100) * 0.5
    inputs = [package.front_end(stereo, RATE), package.front_end(short, RATE)]
    rows = package.run(inputs)
    assert [row.shape for row in rows] == [(3, 512), (1, 512)]
    assert [row.max() for row in rows] == [0.0, 1.0]
    assert package.run([]) == []

    calls = stand_in.models.calls
    assert calls[0] == (
        "load_audio_embedding_model",
        {
            "input_repr": "mel256",
            "content_type": "music",
            "embedding_size": 512,
            "frontend": "librosa",
        },
    )
    ((_, asked),) = calls[1:]
    audio = asked.pop("audio")
    np.testing.assert_allclose(audio[0], stereo.mean(axis=1))
    np.testing.assert_array_equal(audio[1], short)
    assert [clip.dtype for clip in audio] == [np.float64] * 2
    assert asked.pop("batch_size") > 0
    assert asked == {
        "sr": RATE,
        "model": "the model",
        "input_repr": "mel256",
        "content_type": "music",
        "embedding_size": 512,
        "center": True,
        "hop_size": 0.25,
        "frontend": "librosa",
        "verbose": False,
    }

    record = package.record
    assert record["source"] == "package openl3 0.4.2"
    assert record["hop"] == 0.25
    assert record["sums"] == {"h5 sha256": hashlib.sha256(weight_file.read_bytes()).hexdigest()}
    assert record["parameters"]["centre"] is True
    resampy = importlib.metadata.version("resampy")
    assert record["parameters"]["resampler"] == f"resampy {resampy} kaiser_best, float64"


def test_package_and_loader_do_not_mix_in_a_corpus(stand_in, openl3):
    package = load("openl3", model="openl3-package")
    assert package.hop == openl3[0.5].hop
    assert identity(package.record) != identity(openl3[0.5].record)


def test_a_package_that_cannot_load_its_model(stand_in, monkeypatch):
    def fails(input_repr, content_type, embedding_size, frontend="kapre"):
        raise AttributeError("module 'keras' has no attribute 'engine'")

    monkeypatch.setattr(stand_in.models, "load_audio_embedding_model", fails)
    with pytest.raises(ModelError, match=r"package openl3 0\.4\.2 cannot load.*no attribute"):
        load("openl3", model="openl3-package")


def test_a_package_that_is_too_old(stand_in, monkeypatch):
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "0.3.1" if name == "openl3" else real(name)
    )
    with pytest.raises(ModelError, match=r"openl3 0\.3\.1 is installed, 0\.4 or later is needed"):
        load("openl3", model="openl3-package")


def test_without_the_package(monkeypatch):
    if find_spec("openl3") is not None:
        pytest.skip("the package openl3 is installed here")
    with pytest.raises(ModelError, match="needs the package openl3, which is not installed"):
        load("openl3", model="openl3-package")


def test_the_real_package_gives_the_same(shared, monkeypatch):
    """Where it is installed: its weights through both, on a clip that needs no resampling.

    So the old resampy that the package brings along does not matter, and is let through.
    """
    if find_spec("openl3") is None:
        pytest.skip("the package openl3 is not installed (it needs Python 3.11 or earlier)")
    import openl3

    old_one_too = partial(resampler_record, any_version=True)
    monkeypatch.setattr("biasmir_utils.embeddings.openl3.resampler_record", old_one_too)
    path = openl3.models.get_audio_embedding_model_path("mel256", "music")
    clip = read_audio(shared / "audio" / "chirp_stereo.wav")
    expected = load("openl3", model="openl3-package").embed(*clip)
    assert difference(load("openl3", model=path).embed(*clip), expected) < TOLERANCE
